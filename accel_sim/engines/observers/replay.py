"""The check units that only look, in the replay engine: what faults do to their comparisons, and to all of a head's.

`replay_all` tells what a fault does to the outputs and to the output check; `observe_all` what these units see of it.
`ObserverReplay.joined` makes one outcome of both.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import numpy as np

from accel_sim.engines.golden import quiet_operands
from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_build import policy_of
from accel_sim.engines.observers.again import stream_keys, watch_again
from accel_sim.engines.observers.golden import (
    Observed,
    Watched,
    comparisons_of_queries,
    judge_queries,
    residual_cycles,
    room_to_watch,
    sum_keys,
)
from accel_sim.engines.observers.replay_kernel import observe_all
from accel_sim.engines.observers.types import Seen, Watching
from accel_sim.engines.replay.types import FALL_BACK, ComparisonSink, Faults, Outcomes, comparison_sink
from accel_sim.engines.result import Comparison
from accel_sim.engines.verdicts import NONE, Changes, Comparisons, exceeds, in_order
from accel_sim.machines.lanes import tree_sizes

if TYPE_CHECKING:
    from accel_sim.engines.replay.engine import ReplayEngine

KINDS = ("score_rowsum", "softmax_invariants")

ROOM = 1 << 16
"""Changed comparisons that are taken at a time, at least."""

KEPT_BLOCKS = 1 << 10
"""Blocks whose comparisons under another scale or key count are kept."""


class ObserverReplay:
    """The units on one head. engine: the replay engine of the same job; watched, observed: what its golden run saw."""

    def __init__(self, engine: ReplayEngine, watched: Watched, observed: Observed) -> None:
        self.engine = engine
        self.kinds = [unit.kind for unit in engine.machine.units]
        comparisons = engine.golden.comparisons
        self._whose = np.array([self.kinds.index(c.unit) for c in comparisons], dtype=np.int64)
        self._all = Comparisons(np.array([c.residual for c in comparisons]), np.array([c.limit for c in comparisons]),
                                self._whose, [policy_of(engine.job, unit) for unit in engine.machine.units])
        self._observed = observed
        self._kept: OrderedDict[tuple[int, int, int, str, int], list[tuple[Comparison, ...]]] = OrderedDict()
        self._watching = self._watch(watched, observed)
        self._places = np.zeros(2 * len(watched.sums), dtype=np.int64)
        self._alarm_cycle = np.full(len(comparisons), -1, dtype=np.int64)
        for unit, kind in enumerate(KINDS):
            if kind in self.kinds:
                at = np.flatnonzero(self._whose == self.kinds.index(kind))
                self._places[unit * len(at):(unit + 1) * len(at)] = at
                self._alarm_cycle[at] = self._watching.alarm_cycle[unit]
        check = self.kinds.index("fused_output") if "fused_output" in self.kinds else NONE
        self._checked = np.flatnonzero(self._whose == check)

    def _watch(self, watched: Watched, observed: Observed) -> Watching:
        engine = self.engine
        machine, job, timing = engine.machine, engine.job, engine.timing
        _, n_keys, d = job.shape
        table, clock = observed.table, engine.clock

        def cycles(later: int) -> np.ndarray:
            return np.stack([residual_cycles(machine, timing, clock, kind, later) for kind in KINDS])

        policies = [policy_of(job, unit) for unit in (machine.rowsum, machine.invariants)]
        residual, limit = np.stack([table[:, 1], table[:, 3]]), np.stack([table[:, 2], table[:, 4]])
        alarm = engine.golden.alarm_cycle
        return Watching(
            *watched, keys=observed.keys, pred=np.ascontiguousarray(table[:, 0]), residual=residual, limit=limit,
            cycle=cycles(0), alarm_cycle=cycles(1), depth=np.array([machine.watch_depth(kind) for kind in KINDS]),
            threshold=observed.thresholds[:2], small=np.array([small for small, _ in policies]),
            frequent=np.array([frequent for _, frequent in policies]),
            deviations=np.array([int(np.sum(exceeds(r, small))) if frequent else 0
                                 for r, (small, frequent) in zip(residual, policies, strict=True)]),
            score_bound=float(observed.thresholds[2]), golden_alarm=-1 if alarm is None else alarm,
            row=np.zeros(n_keys), lane=np.zeros(5), q=np.zeros(d), sum=np.zeros(d), prod=np.zeros(d),
            tree=np.zeros(sum(tree_sizes(d))),
        )

    def block_again(self, block: int, from_key: int, n_keys: int, scale: float,
                    last_key: int) -> list[tuple[Comparison, ...]]:
        """The units' comparisons of each query of a block when it meets `n_keys` keys, the score of `from_key` and
        of every later one and the predicted sums are multiplied by the quiet value `scale`, and the register last_key
        reads `last_key` as the lanes are drained. They bear the cycles of the fault-free run. What faults have in
        common is kept."""
        key = (block, from_key, n_keys, repr(scale), last_key)  # which tells zeros by their sign
        if key in self._kept:
            self._kept.move_to_end(key)
        else:
            self._kept[key] = self._block_again(block, from_key, n_keys, scale, last_key)
            if len(self._kept) > KEPT_BLOCKS:
                self._kept.popitem(last=False)
        return self._kept[key]

    def _block_again(self, block: int, from_key: int, n_keys: int, scale: float,
                     last_key: int) -> list[tuple[Comparison, ...]]:
        engine, machine, job = self.engine, self.engine.machine, self.engine.job
        g, f, data, _ = engine.around
        d = machine.head_dim
        first, last = block * g.lanes, min((block + 1) * g.lanes, g.n_queries)
        count = last - first
        keys = np.zeros((n_keys, d))
        stream_keys(block * g.tiles, job.k, keys, g)
        seen, sums = room_to_watch(count, (0, 0), np.float64), np.zeros((count, 2))
        here = g._replace(n_queries=count, n_keys=n_keys)
        watch_again(from_key, job.scale, scale, quiet_operands(job.q[first:last], f),
                    np.ascontiguousarray(quiet_operands(keys, f).T), np.zeros((d, KEYS_AT_ONCE)), np.zeros((4, n_keys)),
                    here, f, data._replace(bound=data.bound[first:last], first=data.first[first:last]), sums, seen)
        return self.judged(np.arange(first, last), keys, scale, sums, seen, last_key)

    def judged(self, queries: np.ndarray, keys: np.ndarray, scale: float, sums: np.ndarray, seen: Watched,
               last_key: int) -> list[tuple[Comparison, ...]]:
        """The units' comparisons of queries (count,) that have met `keys` (any number, d); see `block_again`. sums
        (count, 2): their final l in column 0; seen: what the units have seen of them."""
        g, f, _, _ = self.engine.around
        q = self.engine.job.q[queries]
        count, d = q.shape
        total, table = np.zeros(d), np.zeros((count, 5))
        sum_keys(total, keys, g._replace(n_keys=len(keys)), f)
        judge_queries(g._replace(n_queries=count, n_keys=last_key + 1), f, q, total, scale, sums, seen,
                      self._observed.thresholds, np.zeros(d), np.zeros(sum(tree_sizes(d))), table)
        made = [comparisons_of_queries(kind, table, seen.sums, self._watching.cycle[KINDS.index(kind), queries])
                for kind in self.kinds if kind in KINDS]
        return list(zip(*made, strict=True))

    @property
    def check_room(self) -> int:
        """Changed comparisons of the output check that are taken at a time."""
        return max(ROOM, len(self._checked)) if self._checked.size else 0

    def of_check(self, sink: ComparisonSink) -> Changes:
        """Changed comparisons of the output check, numbered among all."""
        n = int(sink.filled[0])
        return Changes(sink.fault[:n].copy(), self._checked[sink.number[:n]], sink.residual[:n].copy(),
                       sink.limit[:n].copy())

    def joined(self, out: Outcomes, faults: Faults, order: np.ndarray, of_check: list[Changes]) -> Outcomes:
        """The outcomes of faults that `replay_all` has told, with what the units see of them."""
        n = len(faults.slot)
        seen, changes = self._observe(faults, order)
        every = in_order([*of_check, *changes])
        status = np.where((out.status == FALL_BACK) | (seen.status == FALL_BACK), FALL_BACK,
                          np.maximum(out.status, seen.status))
        raised = [out.alarm_cycle, seen.raised]
        for unit, kind in enumerate(self.kinds):
            if kind in KINDS:
                at = self._all.alarms(unit, n, every)
                raised.append(np.where(at == NONE, -1, self._alarm_cycle[at]))
        far = np.iinfo(np.int64).max
        cycle = np.min([np.where(r < 0, far, r) for r in raised], axis=0)
        residual, limit = self._all.told(n, every)
        return out._replace(
            status=status, alarm_cycle=np.where(cycle == far, -1, cycle), residual=residual, limit=limit,
            old_value=np.where(np.isnan(out.old_value), seen.old_value, out.old_value),
            new_value=np.where(np.isnan(out.new_value), seen.new_value, out.new_value),
        )

    def _observe(self, faults: Faults, order: np.ndarray) -> tuple[Seen, list[Changes]]:
        engine, n = self.engine, len(faults.slot)
        seen = Seen(np.zeros(n, np.int64), np.full(n, -1, np.int64), np.full(n, np.nan), np.full(n, np.nan))
        sink = comparison_sink(max(ROOM, 2 * len(self._watching.sums)))
        done, kept = 0, []
        while done < n:
            sink.filled[0] = 0
            done = observe_all(order, done, faults, *engine.places, self._watching, *engine.around, sink, seen)
            count = int(sink.filled[0])
            kept.append(Changes(sink.fault[:count].copy(), self._places[sink.number[:count]],
                                sink.residual[:count].copy(), sink.limit[:count].copy()))
        return seen, kept
