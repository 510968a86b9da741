"""A machine with check units on its output buffer: their registers, their cycles, their operators."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accel_sim.engines.job import Job
from accel_sim.engines.result import RunResult
from accel_sim.machines.counting import frequent_of
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.machines.machine import Machine, Occupant
from accel_sim.machines.operators import Activity, Operator
from accel_sim.output_units.job import LoadedUnit, load_units
from accel_sim.output_units.judge import DRAIN, judged
from accel_sim.output_units.registers import (
    ALARM,
    COMMON,
    COUNTING,
    DEVIATIONS,
    LIMIT,
    QUERY,
    RESIDUAL,
    ROW,
    THRESHOLD,
    unit_registers,
)
from accel_sim.output_units.unit import OutputUnit

if TYPE_CHECKING:
    from accel_sim.output_units.replay import OutputReplay
    from accel_sim.output_units.stepped import OutputStepped
    from accel_sim.system import RecoveryCost

READBACK = "readback"
"""The phase in which rows are read back and judged, after all others."""


class OutputTiming:
    """A machine's timing with the readback behind it. What else the machine's own timing knows, this knows too."""

    def __init__(self, bare: Any) -> None:
        self.bare = bare

    def __getattr__(self, name: str) -> Any:
        if name == "bare":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.bare, name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutputTiming) and bool(self.bare == other.bare)

    def __hash__(self) -> int:
        return hash((READBACK, self.bare))

    @property
    def readback_cycles(self) -> int:
        """Cycles from the end of the machine's run until the last row is judged: Nq + 3."""
        return int(self.bare.n_queries) + DRAIN

    @property
    def head_cycles(self) -> int:
        """The machine's own, and Nq + 3."""
        return int(self.bare.head_cycles) + self.readback_cycles

    def spans(self) -> Iterator[tuple[str, int, int, int]]:
        """The machine's own, and the readback."""
        number = 0
        for span in self.bare.spans():
            number = span[1] + 1
            yield span
        yield READBACK, number, self.bare.head_cycles, self.readback_cycles

    def phase_name(self, phase: str, number: int) -> str:
        """One of them in words."""
        return READBACK if phase == READBACK else str(self.bare.phase_name(phase, number))


class OutputMachine(Machine):
    """A machine with check units that read its output buffer back.

    bare: the machine itself; its registers come first in the inventory, in the same slots. What else it has (lanes,
    its own check unit, ...) is found here under the same name. reads_back: what wrappers of machines are told apart by.
    """

    reads_back = True

    def __init__(self, bare: Machine, units: tuple[OutputUnit, ...]) -> None:
        self.bare = bare
        self.output_units = units
        self.kind = bare.kind
        self.formula = f"{bare.formula} + Nq + {DRAIN}"
        self.useful = bare.useful
        self.config = bare.config
        self.formats = bare.formats
        self.subnormals = bare.subnormals
        self.head_dim = bare.head_dim

    def __getattr__(self, name: str) -> Any:
        if name == "bare":  # while it is being copied
            raise AttributeError(name)
        return getattr(self.bare, name)

    @cached_property
    def inventory(self) -> Inventory:
        """The machine's registers, then those of each unit."""
        added = (register for unit in self.output_units for register in unit_registers(unit, self.bare))
        return Inventory((*self.bare.inventory.registers, *added))

    @property
    def units(self) -> tuple[Any, ...]:
        """The sections of the machine's own units and of those on its output buffer, in the config's order."""
        mine = [*self.bare.units, *(unit.settings for unit in self.output_units)]
        return tuple(section for section in self.config.checker.units if section in mine)

    def load(self, job: Job) -> tuple[LoadedUnit, ...]:
        """The units with a head in sight."""
        return load_units(self.output_units, job)

    def unit_of(self, register: str) -> OutputUnit | None:
        """The unit that a register array belongs to; None for the machine's own."""
        component = self.inventory[register].component
        if register in self.bare.inventory:
            return None
        return next(unit for unit in self.output_units if unit.component == component)

    @cached_property
    def flags(self) -> tuple[Register, ...]:
        """The sticky alarms of the machine's own check units: all that still matters of it once its run has ended."""
        return tuple(r for r in self.bare.inventory if r.component.startswith("checker.") and r.width_bits == 1
                     and r.shape == () and (r.name == ALARM or r.name.endswith(f"_{ALARM}")))

    def timing(self, n_queries: int, n_keys: int) -> OutputTiming:
        """The machine's, with the readback."""
        return OutputTiming(self.bare.timing(n_queries, n_keys))

    def stall_points(self, n_queries: int, n_keys: int) -> dict[str, int]:
        """The machine's: nothing holds the readback."""
        return self.bare.stall_points(n_queries, n_keys)

    def occupant(self, timing: OutputTiming, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """Of the machine's registers, once its run has ended, only alarms hold anything that is read again."""
        bare, n = timing.bare, int(timing.n_queries)
        unit = self.unit_of(register.name)
        since = cycle - int(bare.head_cycles)
        if unit is None:
            if since < 0:
                return self.bare.occupant(bare, register, index, cycle)
            return Occupant("sticky alarm") if register in self.flags else None
        name = register.name.removeprefix(f"{unit.kind}_")
        if name == ALARM:
            return Occupant("sticky alarm")
        if name == QUERY:
            return Occupant("row to be read", query=max(since, 0) if since < n else None)
        if name == ROW:
            return Occupant("row read back", query=since - 1, dim=index[0]) if 1 <= since <= n else None
        if name in COUNTING and since <= n + 1:
            return Occupant(register.about)
        if name in (RESIDUAL, LIMIT):
            return Occupant(name, query=since - 2) if 2 <= since <= n + 1 else None
        if since > n:
            return None
        about = "the threshold" if name == THRESHOLD else register.about
        return Occupant(about, dim=index[0] if register.shape == (self.head_dim,) else None)

    def activity(self, timing: OutputTiming) -> Activity:
        """The machine's, with each unit's arithmetic, counter and comparator. All units share one reading of a row."""
        found = self.bare.activity(timing.bare)
        n, n_keys, d = int(timing.n_queries), int(timing.n_keys), self.head_dim
        writes = dict(found.register_writes)
        for unit in self.output_units:
            clocked = {QUERY: n + DRAIN, ROW: n * d, RESIDUAL: n, LIMIT: n, THRESHOLD: 0, ALARM: n}
            writes |= {f"{unit.kind}_{name}": clocked[name] for name in COMMON}
            if frequent_of(unit.settings):  # clean heads seldom deviate
                writes |= {f"{unit.kind}_{name}": 0 for name in COUNTING}
            times = {"head": 1, "key": n_keys, "query": n}
            writes |= {register.name: register.size * times[held.loads] for held in unit.registers()
                       for register in (self.inventory[f"{unit.kind}_{held.name}"],)}
        elements = dict(found.sram_elements)
        elements["o"] = elements.get("o", 0) + n * d
        operators = (op for unit in self.output_units for op in self._operators(unit, n, n_keys))
        return Activity(
            cycles=found.cycles + timing.readback_cycles,
            operators=(*found.operators, *operators),
            register_writes=writes, sram_elements=elements, sram_formats=found.sram_formats,
        )

    def _operators(self, unit: OutputUnit, n: int, n_keys: int) -> Iterator[Operator]:
        yield from unit.operators(n, n_keys)
        kind, checker = unit.kind, self.stored_formats["checker"].name
        width = self.inventory[f"{kind}_{QUERY}"].format.name
        yield Operator(f"{kind}_count", "int_add", width, unit.component, 1, n + DRAIN)
        judges = 2 if frequent_of(unit.settings) else 1
        yield Operator(f"{kind}_judge", "fp_cmp", checker, unit.component, judges, judges * n)
        if frequent_of(unit.settings):
            counter = self.inventory[f"{kind}_{DEVIATIONS}"].format.name
            yield Operator(f"{kind}_deviate", "int_add", counter, unit.component, 1, 0)
        if unit.settings.threshold.kind == "relative":
            yield Operator(f"{kind}_limit", "fp_mul", f"{checker}*{checker}->{checker}", unit.component, 1, n)

    def utilisation(self, timing: OutputTiming, cycles: int) -> float:
        """The machine's, over all cycles."""
        return self.bare.utilisation(timing.bare, cycles)

    def streamed_bytes(self, timing: OutputTiming) -> dict[str, int]:
        """The machine's: the output buffer is on the chip."""
        return self.bare.streamed_bytes(timing.bare)

    def describe(self) -> dict[str, Any]:
        """The machine's."""
        return self.bare.describe()

    # -- its engines and its memory system ------------------------------------------------------------------

    def stepped(self, bare: Any) -> OutputStepped:
        """The stepped engine with the units. bare: that of the machine without them."""
        from accel_sim.output_units.stepped import OutputStepped

        return OutputStepped(bare, self, bare.job)

    def replay(self, bare: Any, stepped: Callable[[], Any]) -> OutputReplay:
        """The replay engine with the units. bare: that of the machine without them; stepped: makes its stepped one."""
        from accel_sim.output_units.replay import OutputReplay

        return OutputReplay(bare, self, bare.job)

    def judged(self, job: Job, run: RunResult) -> RunResult:
        """A run of the machine with its rows read back and judged, without faults in the units."""
        return judged(self.load(job), run)

    def in_system(self, run: Any) -> Any:
        """One head's run on its memory (`SystemRun` or `ProgramRun`) with the readback behind it."""
        from accel_sim.output_units.system import with_readback

        return with_readback(run, self.timing(run.n_queries, run.n_keys))

    def recovery(self, run: Any) -> RecoveryCost:
        """What an alarm costs. run: as `in_system` gives it."""
        from accel_sim.output_units.system import head_again

        return head_again(run)


def with_output_units(machine: Machine) -> Machine:
    """The machine with the units on the output buffer that its config asks for; itself if there are none.

    Raises ConfigError for a unit that cannot be.
    """
    from accel_sim.output_units.registry import output_units

    units = output_units(machine)
    return OutputMachine(machine, units) if units else machine
