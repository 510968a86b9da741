"""The examples in docstrings and in the documentation give what they show."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [path for path in sorted((ROOT / "accel_sim").rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PAGES = [
    path
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if ">>> " in path.read_text(encoding="utf-8")
]


def module_of(source: Path) -> str:
    """Dotted name of a module of the package."""
    parts = source.relative_to(ROOT).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def test_the_public_functions_have_examples() -> None:
    assert {"accel_sim", "accel_sim.api"} <= {module_of(source) for source in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=module_of)
def test_examples_in_docstrings(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(import_module(module_of(source)))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_in_pages(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert result.attempted
    assert not result.failed
