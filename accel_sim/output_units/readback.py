"""The check units on the output buffer, cycle by cycle: the definition of the hardware.

In the cycle in which `KIND_query` reads t (counted from the end of the machine's run, in cycle E, when it is 0):

1. 2 ≤ t ≤ Nq + 1: `KIND_alarm` becomes 1 if residual and limit are out of bounds; with a statistical threshold,
   `KIND_deviations` counts on (as far as it can) if the residual is over `KIND_small_threshold`, and the alarm becomes
   1 if that makes it `KIND_frequent` or more;
2. 1 ≤ t ≤ Nq: `KIND_residual` and `KIND_limit` are computed from `KIND_row`, the row of query t − 1;
3. t < Nq: `KIND_row` takes row t from the output buffer;
4. t ≤ Nq + 2: `KIND_query` becomes t + 1.

All of a cycle reads what stood in the registers as it began. The run ends once every counter is past Nq + 2. Until
cycle E nothing moves, but the registers are there, hold what they were loaded with, and can be struck.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from accel_sim.engines.result import Comparison, RunResult
from accel_sim.engines.verdicts import exceeds
from accel_sim.faults.fault import Fault
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.numerics.rounding import flip_bits, force_bits
from accel_sim.output_units.arithmetic import as_read
from accel_sim.output_units.job import LoadedUnit
from accel_sim.output_units.judge import DRAIN, comparison
from accel_sim.output_units.registers import (
    ALARM,
    DEVIATIONS,
    FREQUENT,
    LIMIT,
    QUERY,
    RESIDUAL,
    ROW,
    SMALL,
    THRESHOLD,
)

HANG_FACTOR, HANG_CYCLES = 3, 1000
"""Reading back is stopped, and the run marked as a hang, after three times its length and so many cycles more."""


@dataclass(frozen=True)
class Seen:
    """A run with its rows read back. before, after: values of the element that the first fault of the list strikes, as
    it strikes; NaN if it is no register of a unit, or struck after the end."""

    result: RunResult
    before: float
    after: float


def read_back(run: RunResult, units: Sequence[LoadedUnit], inventory: Inventory, faults: Sequence[Fault] = (),
              flags: Mapping[str, bool] | None = None) -> Seen:
    """Read the rows of a machine's run back under faults in the units' registers.

    run: of the machine alone, and what cycles count from. faults: of the clock; those in other registers act on nothing
    here. flags: the machine's own alarm registers by name, and whether each reads 1 as the run ends; they too can be
    struck while the rows are read.
    """
    return Readback(run, units, inventory, faults, flags or {}).finish()


def struck(register: Register, value: float, fault: Fault) -> float:
    """What an element holds once a fault has acted on it."""
    arith, stored, mask = register.format.codec, register.stored.codec, np.uint64(fault.mask)
    if fault.kind.startswith("stuck"):
        return float(force_bits(value, arith, stored, mask, mask if fault.kind == "stuck1" else np.uint64(0)))
    return float(flip_bits(value, arith, stored, mask))


class Readback:
    """`read_back` in two steps, for who wants to look at the registers on the way: `pass_through` the machine's run, as
    far as one likes, then `finish`."""

    def __init__(self, run: RunResult, units: Sequence[LoadedUnit], inventory: Inventory, faults: Sequence[Fault],
                 flags: Mapping[str, bool]) -> None:
        self.machine_run, self.units, self.inventory = run, units, inventory
        self.rows = len(run.output)
        self.values: dict[str, np.ndarray] = {}
        for unit in units:
            small, frequent = unit.policy
            start = {THRESHOLD: np.array([unit.threshold]), SMALL: np.array([small]),
                     FREQUENT: np.array([float(frequent)]), **{n: x.reshape(-1) for n, x in unit.held.items()}}
            prefix = f"{unit.kind}_"
            for register in inventory:
                if register.component == unit.unit.component:
                    zero = np.zeros(register.size)
                    self.values[register.name] = start.get(register.name.removeprefix(prefix), zero).copy()
        self.faults = sorted((f for f in faults if f.register in self.values), key=lambda f: f.cycle)
        # An alarm of the machine's that could be read before the end was: what becomes of its register is no matter.
        self.told = not flags or (run.alarm_cycle is not None and run.alarm_cycle < run.cycles)
        self.flags = {name: np.array([float(up)]) for name, up in flags.items()}
        self.flag_faults = sorted((f for f in faults if f.register in self.flags), key=lambda f: f.cycle)
        self.alarm = run.alarm_cycle if self.told else None
        self.first = faults[0] if faults else None
        self.before = self.after = float("nan")
        self.comparisons: list[Comparison] = list(run.comparisons)
        # Cycles before the end of the machine's run in which a strike can change something or show.
        eventful = {c for f in self.faults for c in (f.cycle, f.cycle + 1, f.end) if c < run.cycles}
        self._eventful = sorted(eventful, reverse=True)

    def pass_through(self, cycle: int) -> None:
        """Go on to a cycle of the machine's run, with what strikes at its start."""
        while self._eventful and self._eventful[-1] <= cycle:
            self._begin(self._eventful.pop())

    def registers(self) -> np.ndarray:
        """Values of all registers of the units, in the order of the inventory."""
        return np.concatenate([self.values[r.name] for r in self.inventory if r.name in self.values])

    def finish(self, watch: Callable[[int], None] | None = None) -> Seen:
        """Read the rows back. watch(cycle): called in each cycle in which that is done, after its faults have acted."""
        end = self.machine_run.cycles
        self.pass_through(end)
        if self.machine_run.hang:
            return self._seen(end, True)
        watchdog = end + HANG_FACTOR * (self.rows + DRAIN) + HANG_CYCLES
        cycle = end
        while self._busy():
            if cycle >= watchdog:
                return self._seen(cycle, True)
            self._begin(cycle)
            if not self._busy():
                break  # a strike has ended the run: this cycle is not executed
            if watch is not None:
                watch(cycle)
            for unit in self.units:
                self._step(unit, cycle)
            cycle += 1
        self._look(cycle)
        return self._seen(cycle, False)

    def _seen(self, cycles: int, hang: bool) -> Seen:
        found = replace(self.machine_run, comparisons=tuple(self.comparisons), alarm_cycle=self.alarm, cycles=cycles,
                        hang=hang)
        return Seen(found, self.before, self.after)

    def _busy(self) -> bool:
        return any(self.values[f"{unit.kind}_{QUERY}"][0] < self.rows + DRAIN for unit in self.units)

    def _begin(self, cycle: int) -> None:
        """What acts at the start of a cycle, and what can be read then."""
        for fault in self.faults:
            self._strike(self.values, fault, cycle)
        if cycle >= self.machine_run.cycles:
            for fault in self.flag_faults:
                self._strike(self.flags, fault, cycle)
        self._look(cycle)

    def _look(self, cycle: int) -> None:
        up = any(self.values[f"{unit.kind}_{ALARM}"][0] != 0.0 for unit in self.units)
        if cycle >= self.machine_run.cycles and not self.told:
            up = up or any(flag[0] != 0.0 for flag in self.flags.values())
        if up and (self.alarm is None or cycle < self.alarm):
            self.alarm = cycle

    def _strike(self, values: dict[str, np.ndarray], fault: Fault, cycle: int) -> None:
        if not fault.cycle <= cycle < fault.end:
            return
        register = self.inventory[fault.register]
        at = self.inventory.slot(fault.register, fault.index) - self.inventory.offsets[fault.register]
        old = float(values[fault.register][at])
        new = struck(register, old, fault)
        values[fault.register][at] = new
        if fault is self.first and cycle == fault.cycle:
            self.before, self.after = old, new

    def _step(self, unit: LoadedUnit, cycle: int) -> None:
        def register(name: str) -> np.ndarray:
            return self.values[f"{unit.kind}_{name}"]

        query, row, residual, limit = (register(name) for name in (QUERY, ROW, RESIDUAL, LIMIT))
        t = int(query[0])
        if 2 <= t <= self.rows + 1:
            up = exceeds(residual, limit)[0]
            if unit.policy[1] and exceeds(residual, as_read(register(SMALL), unit.unit.checker.rounding))[0]:
                deviations = register(DEVIATIONS)
                most = 2 ** self.inventory[f"{unit.kind}_{DEVIATIONS}"].width_bits - 1
                deviations[0] = min(deviations[0] + 1, most)
                up = up or deviations[0] >= register(FREQUENT)[0]
            if up:
                register(ALARM)[0] = 1.0
        if 1 <= t <= self.rows:
            held = {name: register(name).reshape(shape.shape) for name, shape in unit.held.items()}
            found, allowed = unit.compare(row.reshape(1, -1), np.array([t - 1]), held, float(register(THRESHOLD)[0]))
            residual[0], limit[0] = found[0], allowed[0]
            # Where a struck counter has sent the unit astray, the comparison still belongs to its own cycle.
            made = comparison(self.machine_run.cycles, t - 1, unit.kind, found[0], allowed[0])
            self.comparisons.append(replace(made, cycle=cycle + 1))
        if t < self.rows:
            row[:] = self.machine_run.output[t]
        if t < self.rows + DRAIN:
            query[0] = float(t + 1)
