"""What is imported is declared, and the lower bounds are the versions that are tested."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]
PACKAGE_OF = {"yaml": "pyyaml", "pydantic_core": "pydantic", "dask": "distributed", "llvmlite": "numba"}
"""Distribution of a module where the names differ, or where one brings the other."""


def named(requirements: list[str]) -> dict[str, str]:
    """Lower bound (or nothing) by normalised name."""
    parts = [re.fullmatch(r"([\w.-]+)(?:\[.*\])?\s*(?:>=\s*([\w.]+))?(?:,<[\w.]+)?", text) for text in requirements]
    return {part[1].lower().replace("-", "_"): part[2] or "" for part in parts if part is not None}


def imported(folder: str) -> dict[str, Path]:
    """Top-level names that the Python files of a folder import, with one file that does."""
    found: dict[str, Path] = {}
    # Experiments borrow the drawing of cases from the tests.
    packages = {path.name for place in (folder, "tests") for path in (ROOT / place).iterdir() if path.is_dir()}
    for source in sorted((ROOT / folder).rglob("*.py")):
        own = {"accel_sim", *packages, *(path.stem for path in source.parent.iterdir())}
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            names: list[str] = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.importorskip":
                names = [ast.literal_eval(node.args[0])]
            for full in names:
                top = full.partition(".")[0]
                if top not in own and top not in sys.stdlib_module_names:
                    found.setdefault(PACKAGE_OF.get(top, top), source)
    return found


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("accel_sim", ["dask"]),
        ("tests", ["test", "capture", "dask", "dev"]),
        ("experiments", ["capture"]),
        ("benchmarks", []),
        ("docs", []),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: list[str]) -> None:
    declared = named(PROJECT["dependencies"] + [text for extra in extras for text in EXTRAS[extra]])
    missing = {module: str(file) for module, file in imported(folder).items() if module not in declared}
    assert not missing


def test_what_is_declared_is_imported() -> None:
    used = set(imported("accel_sim")) | set(imported("tests")) | set(imported("experiments"))
    declared = {*named(PROJECT["dependencies"]), *named(EXTRAS["test"]), *named(EXTRAS["capture"])}
    assert declared <= used


def test_lower_bounds_are_the_versions_that_the_oldest_run_installs() -> None:
    text = (ROOT / "tests" / "constraints-oldest.txt").read_text(encoding="utf-8")
    pins = dict(line.lower().replace("-", "_").split("==") for line in text.splitlines() if "==" in line)
    tested = PROJECT["dependencies"] + [text for extra in ("test", "capture", "dask") for text in EXTRAS[extra]]
    for name, bound in named(tested).items():
        assert bound, f"{name} has no lower bound"
        padded, pin = ([*map(int, version.split(".")), 0, 0][:3] for version in (bound, pins[name]))
        assert padded == pin, f"{name} >= {bound}, but {pins[name]} is what is tested"


def test_the_version_is_one() -> None:
    import accel_sim

    if accel_sim.__version__ == "0+unknown":
        pytest.skip("accel-sim is not installed")
    assert accel_sim.__version__ == PROJECT["version"]
    headings = re.findall(r"(?m)^## \[?([\w.]+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert PROJECT["version"] in headings
