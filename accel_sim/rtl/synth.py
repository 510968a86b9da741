"""Synthesis of a generated design: its area by module and by component, and its flip-flops beside the inventory's.

`synthesise_design(machine, library)` writes the RTL of a machine, maps it to a cell library with Yosys and returns a
`Synthesis`. Cells only: no placement, no wires, no clock tree, no SRAM (it is behind the ports).

`LOGIC` says to which component of the inventory the logic of a module belongs; a module that it does not name belongs
where it is instantiated. Flip-flops belong to the component of their register, wherever they stand.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.lanes_operators import CHECKER
from accel_sim.rtl.generate import TOP, write_design
from accel_sim.rtl.liberty import Library
from accel_sim.rtl.registers import placements
from accel_sim.rtl.yosys import Netlist, base_name, synthesise

LOGIC: dict[str, str] = {
    "lanes": "normalise",  # it selects the lane that is drained
    "lanes_controller": "control",
    "lanes_broadcast": "operand",
    "lanes_lane": "operand",  # it loads the query
    "lanes_score": "score",
    "lanes_softmax": "softmax",
    "lanes_output": "output",
    "lanes_normaliser": "normalise",
    "lanes_row_sum": CHECKER,
    "lanes_check_lane": CHECKER,
    "lanes_check_normaliser": CHECKER,
    "lanes_check": CHECKER,
    "lanes_scan": CHECKER,
}
"""The component of a module's logic, and of that of the modules inside it. The selection of the checksum that is
drained stands in `lanes`, beside that of the row: by modules it counts as `normalise`."""


@dataclass(frozen=True)
class ModuleArea:
    """All instances of one module of the sources, without the modules inside it.

    flip_flop_bits: flip-flops that synthesis made. inventory_bits: those that the inventory has in this module.
    logic_um2, flip_flops_um2: area of its other cells, and of its flip-flops.
    """

    module: str
    instances: int
    flip_flop_bits: int
    inventory_bits: int
    logic_um2: float
    flip_flops_um2: float

    @property
    def area_um2(self) -> float:
        """Of all its own cells."""
        return self.logic_um2 + self.flip_flops_um2


@dataclass(frozen=True, eq=False)
class Synthesis:
    """A machine in the cells of a library. seconds: what Yosys took; unique_modules: sets of parameters synthesised."""

    machine: LanesMachine
    library: Library
    netlist: Netlist
    seconds: float

    @property
    def unique_modules(self) -> int:
        """Modules that were synthesised: one for each set of parameters."""
        return len(self.netlist.modules)

    @cached_property
    def modules(self) -> tuple[ModuleArea, ...]:
        """Every module of the design, in order of name."""
        expected: dict[str, int] = {}
        for place in placements(self.machine):
            expected[place.module] = expected.get(place.module, 0) + place.count * place.width
        found: dict[str, list[float]] = {name: [0, 0, 0.0, 0.0] for name in expected}
        for name, instances in self.netlist.instances.items():
            bits, logic, sequential = self._own(name)
            row = found.setdefault(base_name(name), [0, 0, 0.0, 0.0])
            for i, value in enumerate((instances, bits * instances, logic * instances, sequential * instances)):
                row[i] += value
        return tuple(
            ModuleArea(name, int(row[0]), int(row[1]), expected.get(name, 0), row[2], row[3])
            for name, row in sorted(found.items())
        )  # fmt: skip

    @property
    def area_um2(self) -> float:
        """Of all cells."""
        return sum(module.area_um2 for module in self.modules)

    @property
    def flip_flop_bits(self) -> int:
        """Flip-flops that synthesis made."""
        return sum(module.flip_flop_bits for module in self.modules)

    @property
    def differences(self) -> tuple[str, ...]:
        """Where flip-flops are not the inventory's, in words: nothing, if all of them are."""
        registers: dict[str, dict[str, None]] = {}
        for place in placements(self.machine):
            registers.setdefault(place.module, {})[place.register] = None
        return tuple(
            f"{m.module} has {m.flip_flop_bits} flip-flops and the inventory {m.inventory_bits} "
            f"({', '.join(registers.get(m.module, ['no register']))})"
            for m in self.modules if m.flip_flop_bits != m.inventory_bits
        )  # fmt: skip

    @cached_property
    def by_component(self) -> dict[str, float]:
        """Area in um2 of each component of the inventory, in its order."""
        totals = dict.fromkeys(self.machine.inventory.bits_by("component"), 0.0)
        shares = self._register_shares()
        for name, component, instances in self._walk(self.netlist.top, "control"):
            _, logic, sequential = self._own(name)
            totals[component] = totals.get(component, 0.0) + logic * instances
            for owner, share in shares.get(base_name(name), {component: 1.0}).items():
                totals[owner] = totals.get(owner, 0.0) + sequential * instances * share
        return totals

    @property
    def check_share(self) -> float:
        """Area of the check unit's modules and registers over that of everything else."""
        check = self.by_component.get(CHECKER, 0.0)
        return check / (self.area_um2 - check)

    def _own(self, module: str) -> tuple[int, float, float]:
        """One instance: flip-flops, area of other cells, area of flip-flops."""
        areas, flip_flops = self._areas, self._flip_flops
        cells = {cell: n for cell, n in self.netlist.modules[module].items() if cell in areas}
        bits = sum(n for cell, n in cells.items() if cell in flip_flops)
        sequential = sum(areas[cell] * n for cell, n in cells.items() if cell in flip_flops)
        return bits, sum(areas[cell] * n for cell, n in cells.items() if cell not in flip_flops), sequential

    @cached_property
    def _areas(self) -> dict[str, float]:
        return self.library.areas

    @cached_property
    def _flip_flops(self) -> frozenset[str]:
        return self.library.flip_flops

    def _walk(self, module: str, around: str) -> Iterator[tuple[str, str, int]]:
        """(module, component of its logic, how often) for everything below one instance of a module."""
        component = LOGIC.get(base_name(module), around)
        yield module, component, 1
        for cell, count in self.netlist.modules[module].items():
            if cell in self.netlist.modules:
                for name, owner, inside in self._walk(cell, component):
                    yield name, owner, inside * count

    def _register_shares(self) -> dict[str, Mapping[str, float]]:
        """Shares of each component in the inventory's bits of each module."""
        bits: dict[str, dict[str, int]] = {}
        for place in placements(self.machine):
            owner = self.machine.inventory[place.register].component
            of = bits.setdefault(place.module, {})
            of[owner] = of.get(owner, 0) + place.count * place.width
        return {module: {owner: n / sum(of.values()) for owner, n in of.items()} for module, of in bits.items()}


def synthesise_design(machine: LanesMachine, library: Library) -> Synthesis:
    """Map the RTL of a machine to a library.

    Raises ConfigError for a machine that the RTL cannot express, and what `yosys.synthesise` raises.
    """
    with tempfile.TemporaryDirectory(prefix="accel-sim-synth-") as name:
        folder = Path(name)
        sources = [path.name for path in write_design(machine, folder) if path.suffix == ".sv"]
        start = time.monotonic()
        netlist = synthesise(folder, sources, TOP, library)
        return Synthesis(machine, library, netlist, time.monotonic() - start)


def unprotected(machine: LanesMachine) -> LanesMachine:
    """The same machine without its check unit."""
    return LanesMachine(machine.config.changed({"checker.units": []}))
