"""The fault-free values of every phase of the gemm machine, without registers: the same operations on the same operands
in the same order as the units' kernels, so the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.engines.judgement import allowed_by, over
from accel_sim.gemm.edge_step import corrected, plus
from accel_sim.gemm.encoder_step import added, at_its_place, rest_of, word_of
from accel_sim.gemm.invariants_step import MAX, SCORE, SUM, beyond, fallen, outside
from accel_sim.gemm.judge import add_once, residual_of
from accel_sim.gemm.vector_step import (
    as_operand,
    difference,
    exponential,
    larger,
    quotient,
    reciprocal,
    scaled,
    summed,
)
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import NAN, quiet


@kernel
def encode(sums: Any, source: Any, group: int, f: Any) -> None:
    """Checksums of the groups of `source` (K, L), into sums (K, groups, words)."""
    for k in range(sums.shape[0]):
        for n in range(sums.shape[1]):
            total = 0.0
            for j in range(n * group, (n + 1) * group):
                total = added(total, source[k, j] if j < source.shape[1] else 0.0, f)
            for word in range(sums.shape[2]):
                taken = word_of(total, f)
                sums[k, n, word] = taken
                total = rest_of(total, taken, f)


@inner
def softmax_row(p: Any, s: Any, x: Any, first: Any, bound: Any, scale: Any, f: Any) -> Any:
    """Weights of one query, of its scores s (N,), into p (N,), as operands. x (N,): left holding the scaled scores.
    Returns (m, l)."""
    m, seen = 0.0, 0.0
    for j in range(s.shape[0]):
        x[j] = scaled(s[j], scale, f)
        if first <= j < bound:
            m = larger(m, x[j], seen, f)
            seen = 1.0
    total = 0.0
    for j in range(s.shape[0]):
        weight = exponential(difference(x[j], m, f), f) if first <= j < bound else 0.0
        p[j] = as_operand(weight, f)
        total = summed(total, weight, f)
    return m, total


@kernel
def softmax(p: Any, m: Any, total: Any, s: Any, first: Any, bound: Any, scale: float, f: Any, x: Any) -> None:
    """All queries: weights p (Nq, N), maxima m (Nq,), sums total (Nq,), of scores s (Nq, N). x (N,): scratch."""
    for i in range(s.shape[0]):
        m[i], total[i] = softmax_row(p[i], s[i], x, first[i], bound[i], scale, f)


@inner
def excess_but_sum(x: Any, first: Any, bound: Any, ceiling: Any, watched: Any, f: Any) -> Any:
    """How far the invariants of a query without faults are violated, but for that of its sum: its weights are 0 where
    they must be, but a score can be too large, and of a maximum that is not finite none can say that it has not
    fallen. x (N,): its scaled scores. ceiling: the largest score that can be."""
    excess, m, seen = 0.0, 0.0, 0.0
    if watched & (SCORE | MAX) == 0:
        return excess
    for j in range(x.shape[0]):
        if watched & SCORE != 0:
            excess = beyond(excess, x[j], ceiling, f)
        if watched & MAX != 0 and first <= j < bound:
            if seen != 0.0:
                excess = fallen(excess, m, m, f)
            m = larger(m, x[j], seen, f)
            seen = 1.0
    return fallen(excess, m, m, f) if watched & MAX != 0 else excess


@inner
def with_sum(excess: Any, total: Any, first: Any, bound: Any, n_keys: Any, watched: Any, f: Any) -> Any:
    """That, and the invariant of the sum of the weights; a query that may see no key has none."""
    return outside(excess, total, n_keys, f) if watched & SUM != 0 and first < bound else excess


@kernel
def watch_table(table: Any, before: Any, s: Any, x: Any, first: Any, bound: Any, total: Any, scale: float,
                ceiling: float, threshold: float, g: Any, f: Any, start: int, steps: int) -> None:
    """The comparisons of the softmax invariants into table (Nq, columns as in `tuples.Log`), and into before (Nq,) the
    excess without that of the sum. start: cycle of the softmax; steps: of a block."""
    for i in range(g.n_queries):
        for j in range(g.n_keys):
            x[j] = scaled(s[i, j], scale, f)
        before[i] = excess_but_sum(x, first[i], bound[i], ceiling, g.watched, f)
        excess = with_sum(before[i], total[i], first[i], bound[i], g.n_keys, g.watched, f)
        block, line = i // g.lanes, table[i]
        line[0] = start + block * steps + 2 * g.n_keys + 9 + i - block * g.lanes
        line[1] = excess
        line[2] = allowed_by(threshold, 0.0, 0.0, False, f.checker)
        line[3], line[4], line[5] = excess, 0.0, 3


@inner
def divided_row(o: Any, terms: Any, u: Any, total: Any, f: Any, words: Any) -> None:
    """A finished row o (d,) of u (d + words,), and its predicted and actual sum into terms (2,)."""
    d = o.shape[0]
    recip = reciprocal(total, f) if f.reciprocal else 0.0
    actual, c = 0.0, 0.0
    for t in range(d):
        o[t] = quotient(u[t], total, recip, f.output, f.state, f)
    if words > 0:
        if f.checker.kind == 1 and f.checker.flush_below == 0.0 and f.output.kind != 0:
            actual = native_sum(o)
        else:
            for t in range(d):
                actual = add_once(quiet(actual, f.checker), quiet(o[t], f.output), f.checker, f.output)
        for t in range(d, d + words):
            c = add_once(quiet(c, f.checker), quiet(u[t], f.state), f.checker, f.state)
        terms[0] = quotient(c, total, recip, f.checker, f.checker, f)
        terms[1] = actual


@kernel
def divide(o: Any, terms: Any, u: Any, total: Any, f: Any, words: int) -> None:
    """All rows: o (Nq, d), terms (Nq, 2), of u (Nq, d + words) and total (Nq,)."""
    for i in range(o.shape[0]):
        divided_row(o[i], terms[i], u[i], total[i], f, words)


@inner
def add_terms(pred: Any, act: Any, terms: Any, first: Any, last: Any, r: Any) -> Any:
    """pred and act with the terms of rows first … last − 1 added, in order."""
    for i in range(first, last):
        pred = add_once(quiet(pred, r), quiet(terms[i, 0], r), r, r)
        act = add_once(quiet(act, r), quiet(terms[i, 1], r), r, r)
    return pred, act


@kernel
def fused_table(table: Any, prefix: Any, terms: Any, g: Any, f: Any, threshold: float, start: int, steps: int,
                stands: int) -> int:
    """The fused check's comparisons into table, columns as in `tuples.Log`; returns how many. prefix (Nq + 1, 2): pred
    and act before each query is added. start: cycle of the divide pass; steps: of a block; stands: cycle of a block in
    which its residual stands."""
    n = 0
    pred, act = 0.0, 0.0
    for block in range(g.blocks):
        if g.per_block:
            pred, act = 0.0, 0.0
        for i in range(block * g.lanes, min((block + 1) * g.lanes, g.n_queries)):
            prefix[i, 0], prefix[i, 1] = pred, act
            pred, act = add_terms(pred, act, terms, i, i + 1, f.checker)
        if g.per_block or block == g.blocks - 1:
            line = table[n]
            line[0] = start + block * steps + stands
            line[1] = residual_of(pred, act, f.checker)
            line[2] = allowed_by(threshold, pred, act, g.relative, f.checker)
            line[3], line[4], line[5] = pred, act, 1
            n += 1
    prefix[g.n_queries, 0], prefix[g.n_queries, 1] = pred, act
    return n


@inner
def native_sum(values: Any) -> Any:
    """A serial sum in binary32, by the CPU's own additions."""
    total = np.float32(0.0)
    for i in range(values.shape[0]):
        total = total + np.float32(values[i])
    return np.float64(total) if total == total else NAN


@inner
def row_sums(out: Any, p: Any, q_group: Any, z: Any, f: Any) -> Any:
    """(predicted, actual) sum of line p of the output memory over a group of columns."""
    start = q_group * (z.cols + z.row_sums)
    if z.native:
        act = native_sum(out[p, start:start + z.cols])
        return native_sum(out[p, start + z.cols:start + z.cols + z.words]), act
    pred, act = 0.0, 0.0
    for c in range(z.cols):
        act = plus(act, np.float64(out[p, start + c]), f)
    for i in range(z.words):
        pred = plus(pred, at_its_place(np.float64(out[p, start + z.cols + i]), i, f), f)
    return pred, act


@inner
def column_sums(out: Any, q: Any, p_group: Any, z: Any, f: Any) -> Any:
    """(predicted, actual) sum of column q over a group of lines."""
    start = p_group * (z.p_group + z.p_extra)
    lines = min(z.p_group, z.p_size - p_group * z.p_group)
    if z.native:
        act = native_sum(out[start:start + lines, q])
        return native_sum(out[start + z.p_group:start + z.p_group + z.p_extra, q]), act
    pred, act = 0.0, 0.0
    for u in range(lines):
        act = plus(act, np.float64(out[start + u, q]), f)
    for i in range(z.p_extra):
        pred = plus(pred, at_its_place(np.float64(out[start + z.p_group + i, q]), i, f), f)
    return pred, act


@inner
def p_groups_of(z: Any) -> Any:
    """Groups of lines of a product."""
    return 1 if z.streams_p else z.row_folds


@inner
def row_stands(fold: Any, u: Any, z: Any) -> Any:
    """Cycle of the product in which the residual of line u of a fold stands in its register."""
    return fold * z.period + z.first + u + z.cols + z.words + 1


@inner
def column_stands(fold: Any, c: Any, z: Any) -> Any:
    """Cycle of the product in which the residual of column c of a fold stands in its register."""
    return fold * z.period + z.first + z.p_group + z.p_extra - 1 + c + 2


@inner
def fold_of(p_group: Any, q_group: Any, z: Any) -> Any:
    """The fold that completes the sums of a group."""
    return q_group * z.row_folds + (z.row_folds - 1 if z.streams_p else p_group)


@inner
def fill_line(line: Any, cycle: Any, pred: Any, act: Any, threshold: Any, relative: Any, unit: Any, f: Any) -> Any:
    """Write a comparison; returns whether it raises the alarm."""
    line[0] = cycle
    line[1] = residual_of(pred, act, f.checker)
    line[2] = allowed_by(threshold, pred, act, relative, f.checker)
    line[3], line[4], line[5] = pred, act, unit
    return over(line[1], line[2])


@kernel
def edge_table(table: Any, out: Any, z: Any, f: Any, limits: Any, start: int) -> int:
    """Every comparison of a product into table (columns as in `tuples.Log`), rows before columns within a fold; returns
    how many. Corrects `out` as the machine does. limits (units,): thresholds. start: cycle of the product."""
    n = 0
    for fold in range(z.folds):
        q_group = fold // z.row_folds
        row = fold - q_group * z.row_folds
        if z.streams_p and row != z.row_folds - 1:
            continue
        p_group = 0 if z.streams_p else row
        rows, columns, line, column, value = 0, 0, 0, 0, 0.0
        begin = p_group * (z.p_group + z.p_extra)
        if z.rows:
            for u in range(min(z.p_group, z.p_size - p_group * z.p_group)):
                pred, act = row_sums(out, begin + u, q_group, z, f)
                stands = start + row_stands(fold, u, z)
                if fill_line(table[n], stands, pred, act, limits[z.row_unit], z.row_relative, z.row_unit, f):
                    rows += 1
                    line, value = begin + u, table[n, 1]
                n += 1
        if z.columns:
            for c in range(min(z.cols, z.q_size - q_group * z.cols)):
                q = q_group * (z.cols + z.row_sums) + c
                pred, act = column_sums(out, q, p_group, z, f)
                stands = start + column_stands(fold, c, z)
                if fill_line(table[n], stands, pred, act, limits[z.col_unit], z.col_relative, z.col_unit, f):
                    columns += 1
                    column = q
                n += 1
        if z.correct and rows == 1 and columns == 1 and abs(value) < np.inf:
            out[line, column] = corrected(np.float64(out[line, column]), value, f)
    return n


@kernel
def tally(firsts: Any, counts: Any, table: Any, policies: Any) -> None:
    """Judge comparisons, in order. firsts (units,) int64: of each unit, index of the one that raises its alarm, −1 for
    none. counts (units,): deviations so far, brought up to date. policies: as in `head.Setting`."""
    for unit in range(firsts.shape[0]):
        firsts[unit] = -1
    for i in range(table.shape[0]):
        unit = int(table[i, 5])
        fires = over(table[i, 1], table[i, 2])
        if policies[unit, 2] != 0.0 and over(table[i, 1], policies[unit, 0]):
            counts[unit] = min(counts[unit] + 1.0, policies[unit, 2])
            fires = fires or counts[unit] >= policies[unit, 1]
        if fires and firsts[unit] < 0:
            firsts[unit] = i


@kernel
def over_all(alarms: Any, table: Any) -> None:
    """Which comparisons of a log raise the alarm."""
    for i in range(table.shape[0]):
        alarms[i] = over(table[i, 1], table[i, 2])
