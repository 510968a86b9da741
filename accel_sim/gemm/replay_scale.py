"""Replay of faults in `scale`: nothing writes it in a head, so from that cycle on every lane scales scores by what is
left in it. The softmax again from there, and all behind it, by the golden kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.gemm import golden_kernel as kernels
from accel_sim.gemm.golden import Golden, run_phase
from accel_sim.gemm.head import Head
from accel_sim.gemm.tuples import LANE_SCALARS, Lanes
from accel_sim.gemm.vector_step import softmax_steps

Floats = NDArray[np.float64]


class Rescaled:
    """A golden head, ready to go on from its softmax with another scale. Not for machines that watch their softmax."""

    def __init__(self, golden: Golden) -> None:
        self._golden, self._given = golden, golden.head.given
        self._phase = self._given.timing.by_name["softmax"]
        self._head = Head(self._given)
        self._head.copy_until(self._phase.number, golden.head)
        self._head.fetch("qk")
        count = golden.counts[self._phase.number]
        self._head.log.table[:count] = golden.table[:count]

    def run(self, cycle: int, scale: float) -> tuple[Floats, Floats]:
        """(comparisons of the head in order, outputs (Nq, d)), both to be read only until the next run, if the register
        holds `scale` from this cycle on."""
        head, phase = self._head, self._phase
        self._softmax(max(0, cycle - phase.start), scale)
        head.log.count[0] = self._golden.counts[phase.number]
        for later in self._given.timing.program[phase.number + 1:]:
            run_phase(head, later, later.start)
        return head.log.table[:int(head.log.count[0])], head.memory.o

    def _softmax(self, local: int, scale: float) -> None:
        """Weights and sums, struck in a cycle of the phase: queries of blocks before are golden, and the lanes of the
        block that is under way go through it step by step."""
        given, memory, golden = self._given, self._head.memory, self._golden.head.memory
        sizes, rules = given.sizes, given.rules
        part, step = divmod(local, self._phase.steps)
        first = min(part * sizes.lanes, sizes.n_queries)
        memory.p[:first], memory.l[:first] = golden.p[:first], golden.l[:first]
        if step > 0:
            lanes = self._lanes()
            lanes.scale[0] = given.job.scale
            softmax_steps(lanes, memory, sizes, rules, 0, sizes.lanes, part, 0, step)
            lanes.scale[0] = scale
            softmax_steps(lanes, memory, sizes, rules, 0, sizes.lanes, part, step, self._phase.steps)
            first = min(first + sizes.lanes, sizes.n_queries)
        left = sizes.n_queries - first
        kernels.softmax(memory.p[first:], np.zeros(left), memory.l[first:], memory.s[first:], memory.first[first:],
                        memory.bound[first:], scale, rules, np.zeros(sizes.n_keys))

    def _lanes(self) -> Lanes:
        """Cleared registers."""
        width: Any = self._given.sizes.lanes
        return Lanes(*(np.zeros(1 if name in LANE_SCALARS else width) for name in Lanes._fields))
