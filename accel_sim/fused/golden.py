"""The fault-free run of a head, without the registers: the same bits as the stepped engine's, in milliseconds.

`golden_run` is the run alone; `golden_values` keeps what passes between the array and its accumulators, for replay.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.result import Comparison, RunResult, first_alarm
from accel_sim.fused.adder_tree import first_sums, later_sums
from accel_sim.fused.arithmetic import Rules, chords, log2e_over_sqrt, rules, tagged
from accel_sim.fused.build import allowed_keys, bound_of_scores, first_keys, in_order
from accel_sim.fused.column import (
    Constants,
    accumulate_row,
    checksum_columns,
    correction,
    difference,
    negative,
    normalise,
    products,
    reciprocal,
    row_maximum,
    scores,
    sum_of_weights,
    weights,
)
from accel_sim.fused.summed import PRED, Summed, judged_sums, sum_keys, sum_query, summed
from accel_sim.fused.summed import TOLD as SUM_TOLD
from accel_sim.fused.watched import RESIDUAL, TOLD, Watched, watch_query, watched
from accel_sim.machines.fused import FusedMachine
from accel_sim.numerics.arithmetic import add, maximum, mul, sub
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet

Array = NDArray[np.float64]


class Values(NamedTuple):
    """A head's fault-free values. T key tiles, C checksum columns, B query tiles.

    q (Nq, N), k_t (N, N_keys), v (N_keys, N + C), allowed, first (Nq,): what goes in. s, p (Nq, N_keys): scores and
    weights. new_max (Nq, T): maximum after a tile. delta, total (Nq, T) and value (Nq, T, N + C): what arrives at the
    accumulators; a (Nq, T): the correction. l (Nq, T), o (Nq, T, N + C): accumulators after a tile. inverse (Nq,), out
    (Nq, N + C): 1/l, divided rows. root (B, N + C): of the check unit's tree. watched, summed: of the units
    that only look.
    """

    q: Array
    k_t: Array
    v: Array
    allowed: NDArray[np.int64]
    first: NDArray[np.int64]
    s: Array
    p: NDArray[np.float32]
    new_max: Array
    delta: Array
    total: Array
    value: Array
    a: Array
    l: Array  # noqa: E741
    o: Array
    inverse: Array
    out: Array
    root: Array
    watched: Watched
    summed: Summed


def constants(machine: FusedMachine) -> Constants:
    """The machine's constants as the column kernels take them."""
    operand, total = machine.formats["operand"], machine.formats["state"]
    array = chords(machine.pieces, operand, total)
    return Constants(array, tagged(array[1], total), chords(machine.pieces, total, total),
                     log2e_over_sqrt(machine.size, operand), log2e_over_sqrt(machine.size, total))


@kernel
def run_queries(x: Any, p: Any, tree: Any, n: int, t: Any, f: Any) -> None:
    """Fill everything of `Values` x but the check unit's tree. p (N,), tree (⌈N/2⌉,): room."""
    n_queries, n_keys = x.s.shape
    tiles = x.delta.shape[1]
    checksum_columns(x.v, x.v.shape[1] - n, f)
    if x.summed.on:
        sum_keys(x, n, f)
    for i in range(n_queries):
        scores(x.s[i], x.q[i], x.k_t, 0, n_keys, f)
        old = -np.inf
        for tile in range(tiles):
            first, last = tile * n, min(n_keys, tile * n + n)
            s, here = x.s[i, first:last], p[:last - first]
            start, allowed = x.first[i] - first, x.allowed[i] - first
            new = row_maximum(old, s, start, allowed, f)
            weights(here, s, negative(new, f), start, allowed, t, f)
            x.new_max[i, tile] = new
            x.delta[i, tile] = difference(old, new, f)
            for j in range(first, last):
                x.p[i, j] = np.float32(here[j - first])
            x.total[i, tile] = sum_of_weights(here, f)
            products(x.value[i, tile], here, x.v[first:last], f)
            old = new
        add_up(i, 0, x.l[i], x.o[i], x, t, f)
        x.inverse[i] = reciprocal(x.l[i, tiles - 1], f)
        normalise(x.out[i], x.o[i, tiles - 1], x.inverse[i], f)
        if x.watched.what != 0:
            watch_query(i, x, n, f)
        if x.summed.on:
            sum_query(i, x, n, p, tree, f)


@inner
def add_up(i: Any, start: Any, l: Any, o: Any, x: Any, t: Any, f: Any) -> None:  # noqa: E741
    """Accumulate what arrives from tile `start` on: l (T,), o (T, N + C), of query i."""
    for tile in range(start, l.shape[0]):
        a = correction(x.delta[i, tile], t, f)
        x.a[i, tile] = a
        before = max(0, tile - 1)
        for c in range(o.shape[1]):
            o[tile, c] = o[before, c]
        l[tile] = l[before]
        accumulate_row(l[tile:tile + 1], a, x.total[i, tile:tile + 1], tile == 0, f)
        accumulate_row(o[tile], a, x.value[i, tile], tile == 0, f)


@inner
def root_of(row: Any, live: Any, tree: Any, f: Any) -> Any:
    """The root of the check unit's tree over a row (N,) of the output register, up to the payload of a NaN; tree
    (⌈N/2⌉,): room."""
    if f.checker.kind == 1 and f.checker.flush_below == 0.0:
        return root_native(row, live, tree)
    n = (row.shape[0] + 1) // 2
    first_sums(tree[:n], row, live, f.checker, f.sum)
    while n > 1:
        half = (n + 1) // 2
        later_sums(tree[:half], tree[:n], n, f.checker)
        n = half
    return tree[0]


@inner
def root_native(row: Any, live: Any, tree: Any) -> Any:
    """The same with the CPU's own binary32 additions."""
    n = row.shape[0]
    half = (n + 1) // 2
    for i in range(half):
        a = np.float32(row[i]) if i < live else np.float32(0.0)
        b = np.float32(row[i + half]) if i + half < min(live, n) else np.float32(0.0)
        tree[i] = np.float64(a + b) if i + half < n else np.float64(a)
    n = half
    while n > 1:
        half = (n + 1) // 2
        for i in range(n - half):
            tree[i] = np.float64(np.float32(tree[i]) + np.float32(tree[i + half]))
        n = half
    return tree[0]


@kernel
def run_tree(x: Any, n: int, row: Any, tree: Any, f: Any) -> None:
    """Fill the roots. row (N,), tree (⌈N/2⌉,): room."""
    n_queries = x.out.shape[0]
    for block in range(x.root.shape[0]):
        live = min(n, n_queries - block * n)
        for c in range(x.out.shape[1]):
            for i in range(n):
                row[i] = x.out[block * n + i, c] if i < live else 0.0
            x.root[block, c] = root_of(row, live, tree, f)


@kernel
def sum_rows(roots: Any, first: int, n: int, pred: Any, act: Any, f: Any) -> Any:
    """(pred, act) after the roots from `first` on."""
    for c in range(first, roots.shape[0]):
        if c < n:
            act = add(quiet(act, f.checker), quiet(roots[c], f.checker), f.checker)
        else:
            pred = add(quiet(pred, f.checker), quiet(roots[c], f.checker), f.checker)
    return pred, act


@kernel
def sum_block(roots: Any, n: int, pred: Any, act: Any, f: Any) -> Any:
    """(pred, act) after the roots (N + C,) of one more query tile."""
    return sum_rows(roots, 0, n, pred, act, f)


@kernel
def compared(pred: Any, act: Any, threshold: Any, relative: bool, f: Any) -> Any:
    """(residual, limit, predicted, actual) of a comparison."""
    p, a = quiet(pred, f.checker), quiet(act, f.checker)
    limit = threshold
    if relative:
        limit = mul(quiet(threshold, f.checker), maximum(abs(p), abs(a)), f.checker)
    return sub(p, a, f.checker), limit, p, a


def golden_values(machine: FusedMachine, job: Any) -> Values:
    """The fault-free values of a job on `machine`."""
    n, c = machine.size, machine.columns
    n_queries, n_keys = job.q.shape[0], job.k.shape[0]
    tiles, blocks = -(-n_keys // n), -(-n_queries // n)
    v, unit = np.zeros((n_keys, n + c)), machine.rowsum
    v[:, :n] = job.v
    per_tile = [np.zeros((n_queries, tiles)) for _ in range(5)]
    x = Values(
        q=np.ascontiguousarray(job.q, dtype=np.float64), k_t=np.ascontiguousarray(job.k.T, dtype=np.float64), v=v,
        allowed=allowed_keys(job), first=first_keys(machine, job), s=np.zeros((n_queries, n_keys)),
        p=np.zeros((n_queries, n_keys), np.float32), new_max=per_tile[0], delta=per_tile[1],
        total=per_tile[2], value=np.zeros((n_queries, tiles, n + c)), a=per_tile[3], l=per_tile[4],
        o=np.zeros((n_queries, tiles, n + c)), inverse=np.zeros(n_queries), out=np.zeros((n_queries, n + c)),
        root=np.zeros((blocks, n + c)),
        watched=watched(machine.watch, bound_of_scores(machine, job), n_queries, n_keys, tiles),
        summed=summed(unit, job.limit("score_rowsum"), n_queries, tiles, n),
    )
    f = rules(machine)
    run_queries(x, np.zeros(n), np.zeros((n + 1) // 2), n, constants(machine), f)
    if machine.check is not None:
        run_tree(x, n, np.zeros(n), np.zeros((n + 1) // 2), f)
    return x


def comparison_blocks(machine: FusedMachine, blocks: int) -> tuple[int, ...]:
    """The query tiles after which there is a comparison."""
    if machine.check is None:
        return ()
    return tuple(range(blocks)) if machine.check.granularity == "query_block" else (blocks - 1,)


def result_of(machine: FusedMachine, job: Any, x: Values, f: Rules) -> RunResult:
    """The run that fault-free values belong to."""
    timing = machine.timing(job.q.shape[0], job.k.shape[0])
    comparisons = []
    pred = act = 0.0
    ends = comparison_blocks(machine, x.root.shape[0])
    for block in range(x.root.shape[0] if ends else 0):
        pred, act = sum_block(x.root[block], machine.size, pred, act, f)
        if block in ends:
            assert machine.check is not None
            relative = machine.check.threshold.kind == "relative"
            residual, limit, p, a = compared(pred, act, job.limit("fused_output"), relative, f)
            comparisons.append(Comparison(timing.residual_cycle(block), float(residual), float(limit), float(p),
                                          float(a), False))
            pred = act = 0.0
    if machine.watch:
        limit = job.limit("softmax_invariants")
        for query, residual in enumerate(x.watched.table[:, RESIDUAL].tolist()):
            cycle = timing.read_out_cycle(query)
            comparisons.append(Comparison(cycle, residual, limit, np.nan, np.nan, False, "softmax_invariants"))
    for query in range(x.q.shape[0] if x.summed.on else 0):
        pred, act = x.summed.table[query, PRED], x.summed.table[query, -1]
        residual, limit = judged_sums(pred, act, x.summed.threshold, x.summed.relative, f)
        comparisons.append(Comparison(timing.row_sum_cycle(query), float(residual), float(limit), float(pred),
                                      float(act), False, "score_rowsum"))
    told = in_order(machine, comparisons)
    for table, column, unit in ((x.watched.table, TOLD, "softmax_invariants"),
                                (x.summed.table, SUM_TOLD, "score_rowsum")):
        if len(table):
            table[:, column] = [i for i, c in enumerate(told) if c.unit == unit]
    raised = [first_alarm([c for c in told if c.unit == section.kind], job.policy(section.kind))
              for section in machine.units]
    alarm = min((c.cycle + 1 for c in raised if c is not None), default=None)
    return RunResult(x.out[:, :machine.size].copy(), told, alarm, timing.head_cycles)


def golden_run(machine: FusedMachine, job: Any) -> RunResult:
    """The fault-free run of a job: outputs, comparisons, cycles. Bit for bit that of the stepped engine."""
    return result_of(machine, job, golden_values(machine, job), rules(machine))
