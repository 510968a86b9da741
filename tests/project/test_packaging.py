"""The installed package works without the checkout: it carries its configs, workloads and tables."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as an installer would."""
    pytest.importorskip("hatchling", reason="needs the extra accel-sim[dev]")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the wheel installs, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, code: str, **environment: str) -> str:
    """What some code prints when the installed package is the only one to be found."""
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "NUMBA_CACHE_DIR")}
    # -P: not from the working directory; the path comes before that of an editable install.
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=cwd, env={**clean, "PYTHONPATH": str(installed), **environment}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_every_data_file_and_nothing_of_the_project_around(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    configs = [path for path in (ROOT / "configs").rglob("*") if path.is_file()]
    assert configs
    assert {f"accel_sim/_data/{path.relative_to(ROOT).as_posix()}" for path in configs} <= set(names)
    tables = [path for path in (ROOT / "accel_sim").rglob("*.yaml") if path.is_file()]
    assert {path.relative_to(ROOT).as_posix() for path in tables} <= set(names)
    assert "accel_sim/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"accel_sim"}
    assert not [name for name in names if "__pycache__" in name]


def test_the_wheel_names_licence_and_command(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        text = archive.read(metadata).decode()
        entry_points = archive.read(metadata.replace("METADATA", "entry_points.txt")).decode()
        assert metadata.replace("METADATA", "licenses/LICENSE") in archive.namelist()
    assert "License-Expression: Apache-2.0" in text
    assert "accel-sim = accel_sim.cli:main" in entry_points


def test_shipped_configs_are_found_from_anywhere(installed: Path, tmp_path: Path) -> None:
    code = """
import accel_sim.config as c
from accel_sim.workloads import load_workload
for name in c.shipped_configs():
    config = c.load_config(name)
    print(name, c.shipped_configs_dir(), load_workload(config).n_keys)
"""
    lines = run(installed, tmp_path, code).splitlines()
    assert {line.split()[0] for line in lines} == {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert {line.split()[1] for line in lines} == {str(installed / "accel_sim" / "_data" / "configs")}


KERNEL = """
from accel_sim.numerics import FORMATS, round_to
print(round_to(1.00390625, FORMATS["bf16"].rounding()))
"""


def test_kernels_compile_where_nothing_can_be_written_beside_them(installed: Path, tmp_path: Path) -> None:
    blocked = installed / "accel_sim" / "numerics" / "__pycache__"
    if blocked.is_dir():
        for file in blocked.iterdir():
            file.unlink()
        blocked.rmdir()
    blocked.write_text("a file in the folder's place: not even root can write into it")
    try:
        home = tmp_path / "home"
        home.mkdir()
        assert run(installed, tmp_path, KERNEL, HOME=str(home), XDG_CACHE_HOME=str(home / "cache")) == "1.0\n"
        assert list(home.rglob("*.nbi")), "the compiled kernels are kept in the user's cache instead"
        nowhere = {"HOME": "/dev/null", "XDG_CACHE_HOME": "/dev/null"}
        assert run(installed, tmp_path, KERNEL, **nowhere) == "1.0\n"
    finally:
        blocked.unlink()
