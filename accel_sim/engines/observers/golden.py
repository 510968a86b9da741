"""The check units that only look, on a fault-free head: the same operations on the same operands as in `step`, a query
at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accel_sim.engines.clock import Clock
from accel_sim.engines.job import Job
from accel_sim.engines.judgement import allowed_by
from accel_sim.engines.lanes_tree import tree_root
from accel_sim.engines.observers.step import beyond, masks, worst
from accel_sim.engines.result import Comparison
from accel_sim.machines.lanes import LanesMachine, Timing, tree_sizes
from accel_sim.machines.score_bound import score_bound
from accel_sim.numerics.arithmetic import add, maximum, mul, mul_vv, sub, tree_level
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import quiet, round_to

if TYPE_CHECKING:
    from accel_sim.engines.lanes_step import Geometry, Roundings


class Watched(NamedTuple):
    """What the units see of each query. scores (Nq, N) of type T, or (0, 0) where they are not kept. sums (Nq,)
    float64: sum of its scores; peak (Nq,): largest |score|, NaN if one is; fall (Nq,): largest fall of its maximum, at
    least 0; met (Nq,) bool: whether it may see any key; tame (Nq,) bool: whether every score is finite in the state
    format."""

    scores: np.ndarray
    sums: np.ndarray
    peak: np.ndarray
    fall: np.ndarray
    met: np.ndarray
    tame: np.ndarray


def room_to_watch(n_queries: int, kept: tuple[int, int], t: Any) -> Watched:
    """An empty `Watched`; kept: shape of the scores that are kept."""
    n = n_queries
    return Watched(np.zeros(kept, t), np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n, np.bool_),
                   np.zeros(n, np.bool_))


@kernel
def allows(i, j, data):
    """Whether query i may attend to key j."""
    return not masks(data.first[i], data.bound[i], j)


@kernel
def watch_query(i, scores, maxima, g, f, data, seen):
    """What the units see of query i, with all its scores and running maxima (N,), into a `Watched`."""
    rc = f.checker
    n = g.n_keys
    if seen.scores.shape[0] > 0:
        for j in range(n):
            seen.scores[i, j] = scores[j]
    if g.rowsum:
        total = 0.0
        for j in range(n):
            total = add(total, scores[j], rc)
        seen.sums[i] = total
    if not g.softmax:
        return
    peak, fall, m = 0.0, 0.0, 0.0
    before = -f.state.max_finite
    met, tame = False, True
    for j in range(n):
        peak = maximum(peak, abs(scores[j]))
        tame = tame and abs(round_to(scores[j], f.state)) < np.inf
        if allows(i, j, data):
            if met:
                fall = maximum(fall, sub(before, m, rc))
                before = m
            met = True
            m = maxima[j]
    if met:
        fall = maximum(fall, sub(before, m, rc))
    seen.peak[i], seen.fall[i], seen.met[i], seen.tame[i] = peak, fall, met, tame


@kernel
def sum_keys(keys, k, g, f):
    """Sum of all keys k (N, d), as they are read, into keys (d,)."""
    for t in range(g.head_dim):
        keys[t] = sum_column(k, t, -1, 0.0, g, f)


@kernel
def sum_column(k, t, j, value, g, f):
    """Sum of element t of all keys k (N, d), as they are read; that of key j is `value` (−1: of none)."""
    total = 0.0
    for i in range(g.n_keys):
        x = value if i == j else np.float64(k[i, t])
        total = add(total, quiet(x, f.operand), f.checker)
    return total


@kernel
def predict(q, keys, scale, prod, tree, g, f):
    """Predicted sum of the scores of the query vector q (d,); prod (d,) and tree (W,) receive what stands in the unit's
    registers."""
    rc = f.checker
    mul_vv(prod, q, keys, rc, f.operand.flush_below, rc.flush_below)
    return scaled(sum_products(prod, tree, g, rc), scale, f)


@kernel
def sum_products(prod, tree, g, rc):
    """The unit's adder tree over its products prod (d,), level by level into tree (W,); returns its root."""
    half = (g.head_dim + 1) // 2
    tree_level(tree[:half], prod, g.head_dim, rc, rc.flush_below)
    return tree_root(tree, half, rc)


@kernel
def scaled(total, scale, f):
    """The root of the unit's tree, scaled."""
    return mul(quiet(total, f.checker), quiet(scale, f.score), f.checker)


@kernel
def judge_queries(g, f, q, keys, scale, sums, seen, thresholds, prod, tree, table):
    """The comparisons of both units, a query a row, into table (Nq, 5): predicted sum, residual and limit of its sum of
    scores; residual and limit of its invariants. sums (Nq, 2): final l in column 0; thresholds (3,): of the row sums,
    of the invariants, and the bound of the scores."""
    rc = f.checker
    for i in range(g.n_queries):
        if g.rowsum:
            pred = predict(q[i], keys, scale, prod, tree, g, f)
            table[i, 0] = pred
            table[i, 1] = sub(pred, seen.sums[i], rc)
            table[i, 2] = allowed_by(thresholds[0], pred, seen.sums[i], g.rowsum_relative, rc)
        if g.softmax:
            excess = 0.0
            if g.watch_score:
                excess = maximum(excess, beyond(seen.peak[i], thresholds[2], rc))
            fall = seen.fall[i] if g.watch_max else 0.0
            table[i, 3] = worst(excess, fall, seen.met[i], sums[i, 0], float(g.n_keys), g, f)
            table[i, 4] = quiet(thresholds[1], rc)


class Observed(NamedTuple):
    """The units' fault-free comparisons. keys (d,): sum of all keys. table (Nq, 5) and thresholds (3,): as in
    `judge_queries`."""

    keys: np.ndarray
    table: np.ndarray
    thresholds: np.ndarray


def judge_head(machine: LanesMachine, job: Job, g: Geometry, f: Roundings, sums: np.ndarray, seen: Watched) -> Observed:
    """The comparisons of both units on a fault-free head. sums (Nq, 2): final l in column 0."""
    d = machine.head_dim
    keys, table = np.zeros(d), np.zeros((g.n_queries, 5))
    bound = score_bound(job.q, job.k, machine.formats["checker"]) if machine.watches("score") else 0.0
    thresholds = np.array([job.limit("score_rowsum"), job.limit("softmax_invariants"), bound])
    sum_keys(keys, job.k, g, f)
    prod, tree = np.zeros(d), np.zeros(sum(tree_sizes(d)))
    judge_queries(g, f, job.q, keys, job.scale, sums, seen, thresholds, prod, tree, table)
    return Observed(keys, table, thresholds)


def residual_cycles(machine: LanesMachine, timing: Timing, clock: Clock, unit: str, later: int = 0) -> np.ndarray:
    """(Nq,) int64: clock cycle in which each query's residual of a unit first stands in its register; `later`: so many
    machine cycles after."""
    reads = np.array([timing.read_cycle(i) for i in range(timing.n_queries)], dtype=np.int64)
    return clock.all_visible(reads + machine.watch_depth(unit) + later)


def comparisons_of_queries(unit: str, table: np.ndarray, sums: np.ndarray, cycles: np.ndarray) -> list[Comparison]:
    """A unit's comparisons, one a query. table (Nq, 5): as in `judge_queries`; sums (Nq,): of the scores; cycles (Nq,):
    clock cycle of each residual."""
    if unit == "score_rowsum":
        rows = (cycles, table[:, 1], table[:, 2], table[:, 0], sums)
    else:
        rows = (cycles, table[:, 3], table[:, 4], np.full(len(sums), np.nan), np.full(len(sums), np.nan))
    return [Comparison(cycle, residual, limit, predicted, actual, False, unit)
            for cycle, residual, limit, predicted, actual in zip(*(x.tolist() for x in rows), strict=True)]


def with_observed(machine: LanesMachine, job: Job, timing: Timing, clock: Clock, comparisons: tuple[Comparison, ...],
                  found: Observed, sums: np.ndarray) -> tuple[Comparison, ...]:
    """All comparisons of a head, in order of cycle and, within one, of the units. sums (Nq,): those of the scores."""
    kinds = [unit.kind for unit in machine.units]
    every = [(c.cycle, kinds.index(c.unit), c) for c in comparisons]
    for number, kind in enumerate(kinds):
        if kind == "fused_output":
            continue
        made = comparisons_of_queries(kind, found.table, sums, residual_cycles(machine, timing, clock, kind))
        every += [(c.cycle, number, c) for c in made]
    return tuple(c for _, _, c in sorted(every, key=lambda entry: entry[:2]))
