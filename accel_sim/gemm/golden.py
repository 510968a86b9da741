"""The fault-free run of a head on the gemm machine, phase by phase, without the stepped units."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.golden import golden as product_of
from accel_sim.engines.job import Job
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.gemm import golden_kernel as kernels
from accel_sim.gemm.head import Head, Setting, setting, unit_name
from accel_sim.gemm.invariants_step import SCORE
from accel_sim.gemm.tuples import UNITS
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.gemm_timing import Phase


def run_phase(head: Head, phase: Phase, start: int) -> None:
    """Do what a phase does, beginning in cycle `start`."""
    given, name = head.given, phase.name
    machine, rules, memory = given.machine, given.rules, head.memory
    if name in head.sums:
        source, group = head.source(name)
        kernels.encode(head.sums[name], source, group, rules)
    elif name in head.outs:
        a, b = head.operands(name)
        out = product_of(machine.array, a, b)
        product = given.timing.products[name]
        head.outs[name][:] = out.T if product.turned else out
        if product.checked:
            _compare(head, name, start)
    elif name == "softmax":
        head.fetch("qk")
        n_queries, n_keys = memory.s.shape
        kernels.softmax(memory.p, np.zeros(n_queries), memory.l, memory.s, memory.first, memory.bound, given.job.scale,
                        rules, np.zeros(n_keys))
        if machine.softmax is not None:
            _log(head, watched(head, phase, start)[0])
    elif name == "divide":
        head.fetch("pv")
        terms = np.zeros((given.sizes.n_queries, 2))
        kernels.divide(memory.o, terms, memory.u, memory.l, rules, given.sizes.words)
        if machine.fused is not None:
            table = np.zeros((given.sizes.blocks, 6))
            prefix = np.zeros((given.sizes.n_queries + 1, 2))
            count = kernels.fused_table(table, prefix, terms, given.sizes, rules, given.limit("fused_output"), start,
                                        phase.steps, phase.steps - 1)
            _log(head, table[:count])


def watched(head: Head, phase: Phase, start: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Of the softmax invariants: their comparisons (Nq, 6), and the excess of each query but for that of its sum."""
    given, memory = head.given, head.memory
    n_queries, n_keys = memory.s.shape
    table, before = np.zeros((n_queries, 6)), np.zeros(n_queries)
    ceiling = given.score_bound if given.sizes.watched & SCORE else 0.0
    kernels.watch_table(table, before, memory.s, np.zeros(n_keys), memory.first, memory.bound, memory.l,
                        given.job.scale, ceiling, given.limit("softmax_invariants"), given.sizes, given.rules, start,
                        phase.steps)
    return table, before


def _compare(head: Head, name: str, start: int) -> None:
    """The comparisons of a checked product, in the order in which they are taken."""
    given = head.given
    table = np.zeros((given.comparisons, 6))
    count = kernels.edge_table(table, head.outs[name], given.edges[name], given.rules, given.limits, start)
    table = table[:count]
    _log(head, table[np.lexsort((given.ranks[table[:, 5].astype(np.int64)], table[:, 0]))])


def _log(head: Head, table: np.ndarray) -> None:
    at = int(head.log.count[0])
    head.log.table[at:at + len(table)] = table
    head.log.count[0] = at + len(table)


def comparisons_of(table: np.ndarray) -> tuple[Comparison, ...]:
    """`Comparison` objects from lines of a log."""
    return tuple(Comparison(int(line[0]), float(line[1]), float(line[2]), float(line[3]), float(line[4]), False,
                            unit_name(line[5])) for line in table)


@dataclass(frozen=True)
class Verdict:
    """What judging comparisons gives. alarm_cycle: first cycle in which an alarm can be read, or None. raised: of each
    of `UNITS`, whether its alarm is. counts: their deviations."""

    alarm_cycle: int | None
    raised: tuple[bool, ...]
    counts: NDArray[np.float64]


def judge(table: NDArray[np.float64], policies: NDArray[np.float64],
          counts: NDArray[np.float64] | None = None) -> Verdict:
    """Judge comparisons in order, the units having counted so many deviations before."""
    firsts = np.zeros(len(UNITS), np.int64)
    counts = np.zeros(len(UNITS)) if counts is None else counts.copy()
    kernels.tally(firsts, counts, table, policies)
    raised = firsts >= 0
    cycle = int(table[firsts[raised], 0].min()) + 1 if raised.any() else None
    return Verdict(cycle, tuple(bool(x) for x in raised), counts)


@dataclass(frozen=True)
class Golden:
    """A fault-free head. counts: comparisons that have been taken when each phase begins, and at the end."""

    head: Head
    result: RunResult
    counts: tuple[int, ...]

    @property
    def table(self) -> np.ndarray:
        """(comparisons, 6): the log."""
        table: np.ndarray = self.head.log.table[:int(self.head.log.count[0])]
        return table


def run(machine: GemmMachine, job: Job) -> Golden:
    """The fault-free run, and everything that it leaves in memory."""
    return run_from(Head(setting(machine, job)))


def run_from(head: Head) -> Golden:
    """The fault-free run of an empty head."""
    given = head.given
    counts = []
    for phase in given.timing.program:
        counts.append(int(head.log.count[0]))
        run_phase(head, phase, phase.start)
    counts.append(int(head.log.count[0]))
    table = head.log.table[:counts[-1]]
    alarm = judge(table, given.policies).alarm_cycle
    result = RunResult(head.output(), comparisons_of(table), alarm, given.timing.head_cycles)
    return Golden(head, result, tuple(counts))


def golden(machine: GemmMachine, job: Job) -> RunResult:
    """The fault-free run of a job: the same bits as the stepped engine's."""
    return run(machine, job).result


def phase_at(given: Setting, cycle: int) -> int:
    """Number of the phase that runs in a cycle; as many as there are phases after the last."""
    return int(bisect_left([phase.end for phase in given.timing.program], cycle + 1))


def watchdog_cycles(given: Setting) -> int:
    """A run that is still going after so many cycles is stopped and marked as a hang."""
    return 3 * given.timing.head_cycles + 1000
