"""Replay of faults in what the softmax is configured with: nothing writes `scale` and `softmax_bound` in a head, so
from that cycle on every lane works with what is left in them. The softmax again from there, and all behind it, by the
golden kernels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_sim.gemm import golden_kernel as kernels
from accel_sim.gemm.golden import Golden, run_phase
from accel_sim.gemm.head import Head
from accel_sim.gemm.invariants_step import SCORE
from accel_sim.gemm.tuples import LANE_SCALARS, Lanes
from accel_sim.gemm.vector_step import softmax_steps

Floats = NDArray[np.float64]


class SoftmaxAgain:
    """A golden head, ready to go on from its softmax with another configuration. scale, bound: what it is."""

    def __init__(self, golden: Golden) -> None:
        self._golden, self._given = golden, golden.head.given
        self._phase = self._given.timing.by_name["softmax"]
        self.scale = float(self._given.job.scale)
        self.bound = self._given.score_bound if self._given.sizes.watched & SCORE else 0.0
        self._head = Head(self._given)
        self._head.copy_until(self._phase.number, golden.head)
        self._head.fetch("qk")
        self._own = slice(golden.counts[self._phase.number], golden.counts[self._phase.number + 1])

    def run(self, cycle: int, scale: float, bound: float) -> tuple[Floats, Floats]:
        """(comparisons of the head in order, outputs (Nq, d)) if the registers hold these from this cycle on. Both are
        to be read only, and only until the next run."""
        head, golden, number = self._head, self._golden, self._phase.number
        excess = self._softmax(max(0, cycle - self._phase.start), scale, bound)
        scaled_alike = scale == self.scale
        count = len(golden.table) if scaled_alike else self._own.stop
        head.log.table[:count] = golden.table[:count]
        head.log.table[self._own, 1] = head.log.table[self._own, 3] = excess
        head.log.count[0] = count
        for later in () if scaled_alike else self._given.timing.program[number + 1:]:
            run_phase(head, later, later.start)
        return head.log.table[:int(head.log.count[0])], golden.result.output if scaled_alike else head.memory.o

    def _softmax(self, local: int, scale: float, bound: float) -> Floats:
        """Weights, sums, and the excess of each query whose softmax is watched, struck in a cycle of the phase: queries
        of blocks before are golden, and the lanes of the block that is under way go through it step by step."""
        given, memory, golden = self._given, self._head.memory, self._golden.head.memory
        sizes, rules = given.sizes, given.rules
        part, step = divmod(local, self._phase.steps)
        first = min(part * sizes.lanes, sizes.n_queries)
        excess = self._golden.table[self._own, 1].copy()
        memory.p[:first], memory.l[:] = golden.p[:first], golden.l
        if step > 0:
            last = min(first + sizes.lanes, sizes.n_queries)
            lanes = Lanes(*(np.zeros(1 if name in LANE_SCALARS else sizes.lanes) for name in Lanes._fields))
            lanes.scale[0], lanes.softmax_bound[0] = self.scale, self.bound
            softmax_steps(lanes, memory, sizes, rules, 0, sizes.lanes, part, 0, step)
            lanes.scale[0], lanes.softmax_bound[0] = scale, bound
            softmax_steps(lanes, memory, sizes, rules, 0, sizes.lanes, part, step, self._phase.steps)
            if excess.size:
                excess[first:last] = lanes.softmax_excess[:last - first]
            first = last
        left, scratch = sizes.n_queries - first, np.zeros(sizes.n_keys)
        rest = memory.s[first:], memory.first[first:], memory.bound[first:]
        if scale != self.scale:
            kernels.softmax(memory.p[first:], np.zeros(left), memory.l[first:], *rest, scale, rules, scratch)
        if excess.size:
            table = np.zeros((left, 6))
            kernels.watch_table(table, np.zeros(left), rest[0], scratch, *rest[1:], memory.l[first:], scale, bound, 0.0,
                                sizes._replace(n_queries=left), rules, 0, self._phase.steps)
            excess[first:] = table[:, 1]
        return excess
