"""A run under a fault, told swap by swap instead of being run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accel_sim.engines.golden import first_alarms
from accel_sim.engines.lanes_golden import add_terms
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.numerics.arithmetic import sub
from accel_sim.numerics.rounding import quiet


class Drained(NamedTuple):
    """The live lanes that one swap reads: lane and address (n,) int64 of each, row (n, d) and terms (n, 2) of what it
    holds, and its comparisons by the units that only look, whatever cycle these bear."""

    lane: np.ndarray
    address: np.ndarray
    row: np.ndarray
    terms: np.ndarray
    seen: Sequence[Sequence[Comparison]]

    def only(self, chosen: np.ndarray) -> Drained:
        """Some of the lanes. chosen: bool, one a lane."""
        seen = [seen for seen, kept in zip(self.seen, chosen, strict=True) if kept]
        return Drained(self.lane[chosen], self.address[chosen], self.row[chosen], self.terms[chosen], seen)


class Teller:
    """Tells one run, what is delivered and compared, from one swap to the next. Cycles are stall-free, which is the
    clock. watchdog: cycles after which the run is stopped."""

    def __init__(self, engine: ReplayEngine, watchdog: int) -> None:
        self.engine = engine
        self.watchdog = watchdog
        self.machine, self.timing = engine.machine, engine.timing
        self._depth = {unit.kind: self.machine.watch_depth(unit.kind) for unit in self.machine.units}
        self._rc = engine.roundings.checker
        self._output = np.zeros_like(engine.golden.output)
        self._comparisons: list[Comparison] = []
        self._pred = self._act = 0.0

    def golden(self, block: int) -> Drained:
        """The lanes of a block as they are without a fault."""
        t = self.timing
        first = block * t.lanes
        return self.queries(np.arange(first, min(first + t.lanes, t.n_queries)))

    def queries(self, numbers: np.ndarray, lanes: np.ndarray | None = None) -> Drained:
        """Lanes that hold these queries, as they are without a fault; 0, 1, … unless others are given."""
        store, seen = self.engine.store, self.engine.seen
        lanes = np.arange(len(numbers)) if lanes is None else lanes
        return Drained(lanes, numbers, store.o[numbers], store.terms[numbers], [seen[i] for i in numbers.tolist()])

    def deliver(self, swap: int, drained: Drained, closes: bool, ends: bool) -> None:
        """Lanes read by a swap that starts at cycle `swap`. closes: the last lane's tag marks the end of a block;
        ends: no block follows."""
        t = self.timing
        stored = (swap + drained.lane + 1 + t.normalise < self.watchdog) & (drained.address < t.n_queries)
        self._output[drained.address[stored]] = drained.row[stored]
        self._pred, self._act = add_terms(drained.terms, 0, len(drained.lane), self._pred, self._act, self._rc)
        for lane, seen in zip(drained.lane.tolist(), drained.seen, strict=True):
            for c in seen:
                self.compare(swap + lane + self._depth[c.unit], c)
        check = self.machine.check
        if check is None or not closes or (check.granularity == "head" and not ends):
            return
        limit = float(quiet(self.engine.job.threshold, self._rc))
        residual = float(sub(self._pred, self._act, self._rc))
        self.compare(t.residual_cycle(swap + t.lanes - 1),
                      Comparison(-1, residual, limit, self._pred, self._act, False))
        self._pred = self._act = 0.0

    def compare(self, cycle: int, c: Comparison) -> None:
        """A comparison whose residual stands in its register from a cycle on, if the run lasts so long."""
        if cycle <= self.watchdog:
            if c.cycle != cycle:
                c = Comparison(cycle, c.residual, c.limit, c.predicted, c.actual, False, c.unit)
            self._comparisons.append(c)

    def result(self, cycles: int) -> RunResult:
        """The run, ended."""
        hang = cycles > self.watchdog
        end = min(cycles, self.watchdog)
        number = {unit.kind: n for n, unit in enumerate(self.machine.units)}
        comparisons = tuple(sorted(self._comparisons, key=lambda c: (c.cycle, number[c.unit])))
        raised = [c.cycle + 1 for c in first_alarms(self.machine, self.engine.job, comparisons)]
        alarm = min((cycle for cycle in raised if cycle < end + (not hang)), default=None)
        return RunResult(self._output, comparisons, alarm, end, hang)
