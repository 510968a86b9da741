"""Faults in units on the output buffer, and in anything once the machine's run has ended: many at a time.

None of them touches an output. One in a row, a residual or a limit changes one comparison; one in what a unit keeps all
that are still to be made. What moves the readback itself (its counter), or acts in several of its cycles, or finds an
alarm up already, is left to be run.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, Outcomes
from accel_sim.engines.stepped import strike
from accel_sim.engines.verdicts import Changes, exceeds, in_order
from accel_sim.faults.fault import FaultArrays
from accel_sim.output_units.judge import COMPARE, JUDGE, alarm_cycle
from accel_sim.output_units.registers import ALARM, COUNTING, LIMIT, QUERY, RESIDUAL, ROW, THRESHOLD
from accel_sim.output_units.verdict import Verdicts, verdicts

if TYPE_CHECKING:
    from accel_sim.output_units.replay import OutputReplay

FLIP, STUCK0, STUCK1 = range(3)

_CODES = {name: code for code, name in enumerate((QUERY, ROW, RESIDUAL, LIMIT, ALARM))}
_COUNTING = len(_CODES)
"""Code of the registers of a statistical threshold."""

_KEPT = len(_CODES) + 1
"""Code of a register that is loaded before the head: the threshold, and what the unit holds."""

REMEMBERED = 1 << 24
"""Comparisons under faults in kept registers that are remembered: such faults mostly differ in when they strike."""

Comparisons = tuple[np.ndarray, np.ndarray]


class _Faults:
    """Some faults, as `outcomes` is given them."""

    def __init__(self, slots: np.ndarray, cycles: np.ndarray, last: np.ndarray, ops: np.ndarray, masks: np.ndarray,
                 arith: np.ndarray, stored: np.ndarray) -> None:
        self.slots, self.cycles, self.last, self.ops = slots, cycles, last, ops
        self.masks, self.arith, self.stored = masks, arith, stored

    def struck(self, at: np.ndarray, values: np.ndarray) -> np.ndarray:
        """What the elements that faults `at` strike hold afterwards; by the kernel that strikes a machine's state."""
        n = len(at)
        found = np.array(values, dtype=np.float64)
        none = np.zeros(n, dtype=np.int64)
        strike(found, FaultArrays(none, none + 1, np.arange(n), self.masks[at].astype(np.uint64),
                                  self.ops[at].astype(np.int64), np.ascontiguousarray(self.arith[at]),
                                  np.ascontiguousarray(self.stored[at])), 0)
        return found


class LateFaults:
    """Such faults on one head. engine: whose golden run and units they are."""

    def __init__(self, engine: OutputReplay) -> None:
        self.engine = engine
        self.units, self.end = engine.units, engine.end
        self.n, self.n_units = engine.job.shape[0], len(engine.units)
        self._remembered: dict[tuple[int, int, int], Comparisons] = {}

    def outcomes(self, *given: np.ndarray) -> Outcomes:
        """See `OutputReplay.outcomes`."""
        faults = _Faults(*given)
        out = self.engine.nothing(len(faults.slots))
        number, code = (table[faults.slots] for table in self._places)
        # A counter can be anything's, and so can, where deviations are counted, a residual that is judged.
        counting = np.array([bool(unit.policy[1]) for unit in self.units])[number] & (number >= 0)
        whole = (code == _CODES[QUERY]) | (code == _COUNTING)
        whole |= counting & np.isin(code, (_CODES[RESIDUAL], _CODES[LIMIT]))
        changed: list[Changes] = []
        for name, delay in ((ROW, COMPARE), (RESIDUAL, JUDGE), (LIMIT, JUDGE)):
            here = code == _CODES[name]
            lasting = here & (faults.last != faults.cycles) & (faults.last >= self.end + delay)
            whole |= lasting
            query = faults.cycles - self.end - delay
            live = here & ~whole & (query >= 0) & (query < self.n)
            for u in range(self.n_units):
                at = np.flatnonzero(live & (number == u))
                if not at.size:
                    continue
                if name == ROW:
                    changed.append(self._rows(out, faults, at, u, query[at]))
                else:
                    self._standing(out, faults, at, u, name, query[at])
        for u in range(self.n_units):
            changed += self._kept(out, faults, np.flatnonzero((code == _KEPT) & (number == u)), u)
        self._retell(out, in_order(changed))
        self._alarms(out, faults, whole, (code == _CODES[ALARM]) | np.isin(faults.slots, self.engine.flag_slots))
        return out

    def _rows(self, out: Outcomes, faults: _Faults, at: np.ndarray, u: int, query: np.ndarray) -> Changes:
        """Rows that are struck before they are compared."""
        unit = self.units[u]
        rows = self.engine.bare.golden.output[query].copy()
        place = np.arange(len(at)), faults.slots[at] - self._offset(u, ROW)
        out.old_value[at] = rows[place]
        out.new_value[at] = rows[place] = faults.struck(at, rows[place])
        residual, limit = unit.compare(rows, query)
        return Changes(at, query * self.n_units + u, residual, limit)

    def _standing(self, out: Outcomes, faults: _Faults, at: np.ndarray, u: int, name: str, query: np.ndarray) -> None:
        """Residuals and limits that are struck once they stand: the record keeps what was computed, the alarm follows
        what is judged."""
        residual, limit = (x.reshape(-1, self.n_units) for x in (self.engine.residual, self.engine.limit))
        old = (residual if name == RESIDUAL else limit)[query, u]
        new = faults.struck(at, old)
        out.old_value[at], out.new_value[at] = old, new
        up = exceeds(new, limit[query, u]) if name == RESIDUAL else exceeds(residual[query, u], new)
        golden = exceeds(residual, limit)
        machine = self.engine.bare.golden.alarm_cycle
        for i, q, now in zip(at, query, up, strict=True):
            if now == golden[q, u]:
                continue
            raised = golden.copy()
            raised[q, u] = now
            first = np.flatnonzero(raised.any(axis=1))
            cycles = [] if machine is None else [machine]
            cycles += [alarm_cycle(self.end, int(first[0]))] if first.size else []
            out.alarm_cycle[i] = min(cycles, default=-1)

    def _kept(self, out: Outcomes, faults: _Faults, at: np.ndarray, u: int) -> list[Changes]:
        """What is loaded before the head: all rows that are compared from then on are judged with it."""
        start = np.maximum(faults.cycles[at] - self.end - COMPARE, 0)
        live = start < self.n
        at, start = at[live], start[live]
        if not at.size:
            return []
        old = self._loaded[faults.slots[at]]
        new = faults.struck(at, old)
        out.old_value[at], out.new_value[at] = old, new
        found = []
        for i, first, was, value in zip(at, start, old, new, strict=True):
            if _bits(was) == _bits(value):
                continue
            residual, limit = self._with(u, int(faults.slots[i]), float(value))
            queries = np.arange(first, self.n)
            numbers = queries * self.n_units + u
            differs = (_bits(residual[queries]) != _bits(self.engine.residual[numbers])) | (
                _bits(limit[queries]) != _bits(self.engine.limit[numbers]))
            queries, numbers = queries[differs], numbers[differs]
            found.append(Changes(np.full(len(queries), i), numbers, residual[queries], limit[queries]))
        return found

    def _with(self, u: int, slot: int, value: float) -> Comparisons:
        """Every comparison of a unit with one element of what it keeps changed."""
        key = (u, slot, int(_bits(value)))
        if key in self._remembered:
            return self._remembered[key]
        while len(self._remembered) * self.n > REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)))
        unit = self.units[u]
        register, index = self.engine.machine.inventory.locate(slot)
        name = register.name.removeprefix(f"{unit.kind}_")
        rows, queries = self.engine.bare.golden.output, np.arange(self.n, dtype=np.int64)
        if name == THRESHOLD:
            self._remembered[key] = unit.compare(rows, queries, threshold=value)
        else:
            struck = unit.held[name].copy()
            struck[index] = value
            self._remembered[key] = unit.compare(rows, queries, {**unit.held, name: struck})
        return self._remembered[key]

    def _retell(self, out: Outcomes, changes: Changes) -> None:
        """Verdicts where comparisons change, after the machine's own."""
        touched = np.unique(changes.fault)
        if not touched.size:
            return
        n, golden = len(out.status), self.engine.bare.golden
        residual, limit = self.engine.bare_telling
        before = Verdicts(np.full(n, -1 if golden.alarm_cycle is None else golden.alarm_cycle), np.full(n, residual),
                          np.full(n, limit))
        found = self.engine.with_machine(verdicts(self.engine.comparisons, n, changes), before)
        out.alarm_cycle[touched] = found.alarm[touched]
        out.residual[touched], out.limit[touched] = found.residual[touched], found.limit[touched]

    def _alarms(self, out: Outcomes, faults: _Faults, whole: np.ndarray, is_alarm: np.ndarray) -> None:
        """Alarm registers, the units' and, once it has ended, the machine's; and what has to be run."""
        if self.engine.golden.alarm_cycle is None:
            out.old_value[is_alarm], out.new_value[is_alarm] = 0.0, np.where(faults.ops[is_alarm] == STUCK0, 0.0, 1.0)
            sets = is_alarm & (faults.ops != STUCK0)
            out.alarm_cycle[sets] = faults.cycles[sets]
        else:
            whole = whole | is_alarm
        changed = out.alarm_cycle != self.engine.clean_alarm
        out.status[:] = np.where(whole, FALL_BACK, np.where(changed, CHANGED, MASKED))

    @cached_property
    def _places(self) -> tuple[np.ndarray, np.ndarray]:
        """By slot: number of the unit (−1 for none), and which of its registers it is."""
        inventory = self.engine.machine.inventory
        number, code = np.full(inventory.slots, -1), np.full(inventory.slots, -1)
        for u, unit in enumerate(self.units):
            for register in inventory:
                if register.component == unit.unit.component:
                    start = inventory.offsets[register.name]
                    number[start:start + register.size] = u
                    name = register.name.removeprefix(f"{unit.kind}_")
                    code[start:start + register.size] = _COUNTING if name in COUNTING else _CODES.get(name, _KEPT)
        return number, code

    @cached_property
    def _loaded(self) -> np.ndarray:
        """By slot: what is loaded there before the head; NaN elsewhere."""
        found = np.full(self.engine.machine.inventory.slots, np.nan)
        for u, unit in enumerate(self.units):
            found[self._offset(u, THRESHOLD)] = unit.threshold
            for name, values in unit.held.items():
                start = self._offset(u, name)
                found[start:start + values.size] = values.reshape(-1)
        return found

    def _offset(self, u: int, name: str) -> int:
        return self.engine.machine.inventory.offsets[f"{self.units[u].kind}_{name}"]


def _bits(x: np.ndarray | float) -> np.ndarray:
    return np.asarray(x, dtype=np.float64).view(np.int64)
