"""Packages with check units, installed into a folder: as a tool would lay them out, without a tool."""

from __future__ import annotations

from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "column_sum_unit"
GROUP = "accel_sim.check_units"


def install(folder: Path, package: str, module: str, source: str, points: dict[str, str]) -> Path:
    """Put a module and the entry points of its package into `folder`, which goes on sys.path; returns it."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n", encoding="utf-8")
    lines = "".join(f"{name} = {value}\n" for name, value in points.items())
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}", encoding="utf-8")
    return folder


def install_example(folder: Path) -> Path:
    """The worked example of the documentation."""
    source = (EXAMPLE / "column_sum_unit.py").read_text(encoding="utf-8")
    return install(folder, "column_sum_unit", "column_sum_unit", source, {"column_sum": "column_sum_unit:ColumnSum"})
