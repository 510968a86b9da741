"""The golden engine: the fault-free run of a head, fast, bit for bit what the stepped engine computes.

`run_golden` returns the `RunResult` of a job, `golden_run` that and what it is made of; `clock_of` gives the clock that
a job's stalls make of its machine cycles.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.clock import Clock
from accel_sim.engines.job import Job
from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_build import data, geometry, policy_of, roundings
from accel_sim.engines.lanes_golden import golden_comparisons, golden_queries, row_sums
from accel_sim.engines.lanes_step import COMPARISON_COLUMNS, Roundings
from accel_sim.engines.result import Comparison, RunResult, comparisons_from, first_alarm
from accel_sim.machines.lanes import LanesMachine, Timing, tree_sizes


def clock_of(machine: LanesMachine, job: Job, timing: Timing) -> Clock:
    """The clock of a head behind the memory that a job's stalls stand for."""
    tiles = -(-timing.n_keys // machine.key_tile)
    points = [(timing.swap_start(s), int(job.swap_stall[s])) for s in range(timing.blocks + 1)]
    points += [
        (timing.stream_start(b) + t * machine.key_tile, int(job.kv_stall[b * tiles + t]))
        for b in range(timing.blocks) for t in range(tiles)
    ]
    return Clock(points)


def comparison_cycles(machine: LanesMachine, timing: Timing, clock: Clock) -> tuple[np.ndarray, np.ndarray]:
    """Clock cycle of every residual: (blocks,) at the end of blocks, (blocks, tiles) of scans, −1 for none."""
    tiles = -(-timing.n_keys // machine.key_tile)
    at_block = np.array([
        clock.visible(timing.residual_cycle(timing.swap_start(b + 1) + machine.lanes - 1))
        for b in range(timing.blocks)
    ], dtype=np.int64)
    at_scan = np.full((timing.blocks, tiles), -1, dtype=np.int64)
    if machine.scans:
        for b in range(timing.blocks):
            for t in range(tiles):
                key = (t + 1) * machine.key_tile - 1
                if timing.n_keys - 1 - key >= machine.lanes:
                    last_row = timing.accumulate_cycle(b, key) + machine.lanes
                    at_scan[b, t] = clock.visible(timing.residual_cycle(last_row, scan=True))
    return at_block, at_scan


def quiet_operands(x: np.ndarray, f: Roundings) -> np.ndarray:
    """Operands as the machine reads them: subnormals as zeros where it flushes."""
    return np.where(np.abs(x) < f.operand.flush_below, np.copysign(0.0, x), x)


class Golden(NamedTuple):
    """A fault-free run and what it is made of: r (N,) row sums of v, sums (Nq, 2) final l and c, terms (Nq, 2)
    predicted and actual row sums, scan_terms (Nq, tiles, 2) the same at key-tile boundaries."""

    result: RunResult
    r: np.ndarray
    sums: np.ndarray
    terms: np.ndarray
    scan_terms: np.ndarray


AT_ONCE = 64
"""Queries whose running maxima stand in full at a time."""


class Maxima:
    """Running maxima of many queries, by the keys at which they change: a few keys of each.

    Maximum of query i after key j: `value` at the last place in `start`[i] … `start`[i + 1] − 1 whose `key` is at
    most j.
    """

    def __init__(self) -> None:
        self._start = [0]
        self._key: list[np.ndarray] = [np.empty(0, np.int32)]
        self._value: list[np.ndarray] = []

    def extend(self, rows: np.ndarray) -> None:
        """Add the maxima (count, N) of the next queries."""
        bits = rows.view(np.int32 if rows.itemsize == 4 else np.int64)
        changes = np.ones(rows.shape, dtype=bool)
        changes[:, 1:] = bits[:, 1:] != bits[:, :-1]
        for row, changed in zip(rows, changes, strict=True):
            key = np.flatnonzero(changed).astype(np.int32)
            self._key.append(key)
            self._value.append(row[key])
            self._start.append(self._start[-1] + len(key))

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """start (Nq + 1,) int64, key (changes,) int32, value (changes,)."""
        return np.array(self._start, dtype=np.int64), np.concatenate(self._key), np.concatenate(self._value)


class Kept(NamedTuple):
    """What a golden run is asked to leave behind: weights P and corrections A (Nq, N), and the running maxima."""

    P: np.ndarray
    A: np.ndarray
    maxima: Maxima


def run_golden(machine: LanesMachine, job: Job) -> RunResult:
    """The fault-free run of `job`: outputs, comparisons, alarm (a false one, if any) and cycles."""
    return golden_run(machine, job).result


def golden_run(machine: LanesMachine, job: Job, keep: Kept | None = None) -> Golden:
    """`run_golden` with its parts. keep: what receives every weight, correction and maximum."""
    n_queries, n_keys, d = job.shape
    g, f = geometry(machine, n_queries, n_keys), roundings(machine)
    around = data(machine, job, g)
    timing = machine.timing(n_queries, n_keys)
    q, k, v = (quiet_operands(x, f) for x in (job.q, job.k, job.v))
    tree = np.zeros(sum(tree_sizes(d)))
    r = np.zeros(n_keys)
    if machine.check:
        row_sums(r, v, tree, g, f)
    sums, terms = np.zeros((n_queries, 2)), np.zeros((n_queries, 2))
    scan_terms = np.zeros((n_queries, g.tiles, 2)) if machine.scans else np.zeros((1, 1, 2))
    P, A, M = (np.empty((0, 0)),) * 3 if keep is None else (keep.P, keep.A, np.empty((AT_ONCE, n_keys), keep.P.dtype))
    rows, buf, o = np.zeros((4, n_keys)), np.zeros((d, KEYS_AT_ONCE)), np.zeros(d)
    k_t = np.ascontiguousarray(k.T)
    for first in range(0, n_queries, AT_ONCE):
        last = min(first + AT_ONCE, n_queries)
        golden_queries(g, f, around, first, last, q, k_t, v, r, job.scale, tree, rows, buf, o, keep is not None,
                       P, A, M, sums, terms, scan_terms)
        if keep is not None:
            keep.maxima.extend(M[:last - first])
    clock = clock_of(machine, job, timing)
    comparisons: tuple[Comparison, ...] = ()
    if machine.check is not None:
        table = np.zeros((g.blocks * (g.tiles + 1), COMPARISON_COLUMNS))
        at_block, at_scan = comparison_cycles(machine, timing, clock)
        count = golden_comparisons(g, f, terms, scan_terms, job.threshold, job.scan_threshold, at_block, at_scan,
                                   table)
        comparisons = comparisons_from(table, count)
    raised = first_alarm(comparisons, policy_of(machine.check, job))
    alarm_cycle = None if raised is None else clock.after(raised.cycle)
    result = RunResult(around.o, comparisons, alarm_cycle, timing.head_cycles + clock.stalls)
    return Golden(result, r, sums, terms, scan_terms)
