"""Yosys on the arithmetic units, for the tests that hold its netlist against the sources."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from accel_sim.rtl.units import Unit, unit_sources
from accel_sim.rtl.verilate import ToolMissing
from accel_sim.rtl.yosys import find_yosys


def yosys_command() -> tuple[str, ...]:
    """The command, or a skip with the reason."""
    try:
        return find_yosys()
    except ToolMissing as missing:
        pytest.skip(str(missing))


def synthesise(units: Sequence[Unit], folder: Path) -> Path:
    """Gates of each unit, as modules net_0, net_1, ... of one Verilog file in `folder`."""
    command = yosys_command()
    for source in unit_sources():
        shutil.copy(source, folder)
    (folder / "tops.sv").write_text("".join(unit.wrapper(f"net_{i}") for i, unit in enumerate(units)))
    files = " ".join([*(source.name for source in unit_sources()), "tops.sv"])
    script = [f"read_verilog -sv {files}", "design -save sources"]
    for i in range(len(units)):
        script += ["design -load sources", f"hierarchy -check -top net_{i}", "synth -flatten -noabc", "check -assert",
                   f"write_verilog -noattr net_{i}.v"]  # fmt: skip
    # Relative paths in its own folder: the WebAssembly build does not see all of the file system.
    done = subprocess.run([*command, "-q", "-p", "; ".join(script)], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    netlist = folder / "netlist.v"
    netlist.write_text("".join((folder / f"net_{i}.v").read_text() for i in range(len(units))))
    return netlist
