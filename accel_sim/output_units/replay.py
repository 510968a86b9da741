"""The replay engine of a machine with units on its output buffer: what `OutputStepped` gives, many faults at a time.

A fault in the machine is replayed by its own engine, which hands over the rows that change; only those are judged
again. Faults in the units, and all that strike once the machine's run has ended, are the business of `late`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.engines.job import Job
from accel_sim.engines.replay.types import FALL_BACK, MASKED, Outcomes, RowSink
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.engines.verdicts import NONE, Changes, Comparisons, in_order
from accel_sim.faults.fault import Fault
from accel_sim.output_units.judge import alarm_cycle, judged, tables
from accel_sim.output_units.late import STUCK0, LateFaults
from accel_sim.output_units.machine import OutputMachine
from accel_sim.output_units.readback import read_back
from accel_sim.output_units.stepped import OutputStepped, flags
from accel_sim.output_units.verdict import Verdicts, merged, verdicts

AT_ONCE = 1 << 16
"""Elements of the rows that are compared at once: what stays in the cache while one operator after another goes over
it."""


class OutputReplay:
    """bare: the machine's own replay engine, on the clock, for the same job. One without `gives_rows` leaves the faults
    that change an output to be run. comparisons, residual, limit (Nq · units,): the units' fault-free comparisons; end:
    clock cycle in which the machine's run has ended."""

    def __init__(self, bare: Any, machine: OutputMachine, job: Job) -> None:
        self.bare, self.machine, self.job = bare, machine, job
        n_queries, n_keys, _ = job.shape
        self.timing = machine.timing(n_queries, n_keys)
        self.units = machine.load(job)
        self.golden: RunResult = judged(self.units, bare.golden)
        self.golden_square: float = bare.golden_square
        self.end: int = bare.golden.cycles
        self.residual, self.limit = (x.reshape(-1) for x in tables(self.units, bare.golden.output))
        whose = np.arange(len(self.residual)) % len(self.units)
        self.comparisons = Comparisons(self.residual, self.limit, whose, [unit.policy for unit in self.units])

    @cached_property
    def machine_cycles(self) -> np.ndarray:
        """(cycles,) int64: the machine cycle of every clock cycle; nothing holds the readback."""
        cycles: np.ndarray = self.bare.machine_cycles
        since = np.arange(1, self.golden.cycles - self.end + 1, dtype=np.int64)
        return np.concatenate([cycles, cycles[-1] + since])

    def outcomes(self, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray, ops: np.ndarray,
                 masks: np.ndarray, arith: np.ndarray, stored: np.ndarray) -> Outcomes:
        """As `accel_sim.engines.replay.engine.ReplayEngine.outcomes`, with slots of the whole inventory."""
        given = tuple(np.asarray(x) for x in (slots, cycles, last_cycles, ops, masks, arith, stored))
        in_machine = (given[0] < self.machine.bare.inventory.slots) & (given[1] < self.end)
        out = self.nothing(len(given[0]))
        for chosen, replay in ((in_machine, self._machine_faults), (~in_machine, self._late.outcomes)):
            at = np.flatnonzero(chosen)
            if at.size:
                for field, values in zip(out, replay(*(x[at] for x in given)), strict=True):
                    field[at] = values
        return out

    def inject(self, fault: Fault, stepped: OutputStepped) -> Injection:
        """One fault that `outcomes` has left to be run."""
        machine, golden = self.machine, self.bare.golden
        in_unit = fault.register in machine.inventory and machine.unit_of(fault.register) is not None
        if in_unit or fault.cycle >= self.end:
            seen = read_back(golden, self.units, machine.inventory, [fault], flags(machine, self.job, golden))
            return Injection(fault, seen.before, seen.after, seen.result)
        injection: Injection = self.bare.inject(fault, stepped.bare)
        result = judged(self.units, injection.result)
        if fault.register in (r.name for r in machine.flags):
            run = injection.result
            result = read_back(run, self.units, machine.inventory, [fault], flags(machine, self.job, run)).result
        return Injection(fault, injection.old_value, injection.new_value, result)

    def nothing(self, n: int) -> Outcomes:
        """Outcomes of faults that change nothing."""
        residual, limit = self.golden.told
        return Outcomes(
            status=np.full(n, MASKED), differs=np.zeros(n, np.bool_), alarm_cycle=np.full(n, self.clean_alarm),
            residual=np.full(n, residual), limit=np.full(n, limit), square=np.zeros(n), max_abs=np.zeros(n),
            max_ulp=np.zeros(n, np.int64), nonfinite=np.zeros(n, np.int64), rows=np.zeros(n, np.int64),
            old_value=np.full(n, np.nan), new_value=np.full(n, np.nan),
        )

    @property
    def clean_alarm(self) -> int:
        """Alarm cycle of the fault-free run, −1 for none."""
        return -1 if self.golden.alarm_cycle is None else self.golden.alarm_cycle

    @property
    def flag_slots(self) -> np.ndarray:
        """Slots of the machine's own alarm registers."""
        return np.array([self.machine.inventory.offsets[r.name] for r in self.machine.flags], dtype=np.int64)

    @cached_property
    def bare_telling(self) -> tuple[float, float]:
        """(residual, limit) of the machine's own telling comparison."""
        told: tuple[float, float] = self.bare.golden.told
        return told

    def with_machine(self, own: Verdicts, before: Verdicts) -> Verdicts:
        """The units' verdicts after those of the machine's own checks (`merged`)."""
        raised = np.where(own.alarm == NONE, NONE, alarm_cycle(self.end, 0) + own.alarm // len(self.units))
        return merged(own, raised, before, bool(self.bare.golden.comparisons))

    @cached_property
    def _late(self) -> LateFaults:
        return LateFaults(self)

    def _machine_faults(self, slots: np.ndarray, cycles: np.ndarray, last: np.ndarray, ops: np.ndarray,
                        masks: np.ndarray, arith: np.ndarray, stored: np.ndarray) -> Outcomes:
        """Faults that strike while the machine runs."""
        kept: list[Changes] = []
        given = (slots, cycles, np.minimum(last, self.end - 1), ops, masks, arith, stored)
        if getattr(self.bare, "gives_rows", False):
            out: Outcomes = self.bare.outcomes(*given, changed=lambda sink: kept.append(self._judge_rows(sink)))
        else:
            out = self.bare.outcomes(*given)
            out.status[out.differs] = FALL_BACK  # whose rows nobody knows
        own = verdicts(self.comparisons, len(slots), in_order(kept))
        found = self.with_machine(own, Verdicts(out.alarm_cycle, out.residual, out.limit))
        # An alarm register may still be held down when the alarm of the last cycle would be read.
        outlasts = (last >= self.end) & (ops == STUCK0) & np.isin(slots, self.flag_slots)
        out.status[outlasts] = FALL_BACK
        return out._replace(alarm_cycle=found.alarm, residual=found.residual, limit=found.limit)

    def _judge_rows(self, sink: RowSink) -> Changes:
        """The comparisons that changed rows enter."""
        n, units = int(sink.filled[0]), len(self.units)
        step = max(1, AT_ONCE // sink.row.shape[1])
        residual, limit = np.empty((n, units)), np.empty((n, units))
        for some in (slice(at, min(at + step, n)) for at in range(0, n, step)):
            for u, unit in enumerate(self.units):
                residual[some, u], limit[some, u] = unit.compare(sink.row[some], sink.query[some].copy())
        numbers = sink.query[:n, None] * units + np.arange(units)
        return Changes(np.repeat(sink.fault[:n], units), numbers.reshape(-1), residual.reshape(-1), limit.reshape(-1))
