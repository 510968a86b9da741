"""The edge that checks a product, cycle by cycle: sums of what the array delivers, compared with what it predicts.

The sum of line p in column c is delivered in cycle first + u + c of the fold that completes it, u being the line's
place in its group. So a chain of adders along the columns meets the outputs of one line one after the other, and an
accumulator below a column those of one column. What is summed is the word that stands in the output memory after the
delivery.

Stages are visited from the last to the first, so that each still reads what the one before held at the start of the
cycle. Data registers move in every cycle; where nothing is delivered that is checked, the edge reads zeros.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.judgement import allowed_by
from accel_sim.gemm.encoder_step import at_its_place
from accel_sim.gemm.judge import add_once, judge_now, note, residual_of
from accel_sim.gemm.tuples import UNITS
from accel_sim.machines.gemm_layout import Product
from accel_sim.numerics.arithmetic import add
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet

FIX_STEP = 2
"""Cycle of the next fold (or of the drain) in which an element is corrected: both sides have been judged by then."""


class Edge(NamedTuple):
    """Registers of the edge of a product, float64: see `machines.gemm_registers`. Those that a machine has not are
    there and unused."""

    row_act: Any
    row_pred: Any
    row_hold: Any
    row_residual: Any
    row_limit: Any
    row_valid: Any
    col_act: Any
    col_pred: Any
    col_residual: Any
    col_limit: Any
    col_valid: Any
    fix_rows: Any
    fix_row: Any
    fix_value: Any
    fix_cols: Any
    fix_col: Any


class EdgeSizes(NamedTuple):
    """What the edge knows of the product, as scalars. row_unit, col_unit: what compares, index into `tuples.UNITS`.
    columns_first: whether a column's comparison is noted before a row's of the same cycle. words: of a row's checksum.
    first: cycle of a fold in which its first sum is delivered. native: the CPU's own binary32 additions are those of
    the comparisons."""

    rows: bool
    columns: bool
    correct: bool
    row_unit: int
    col_unit: int
    row_relative: bool
    col_relative: bool
    columns_first: bool
    words: int
    cols: int
    row_sums: int
    p_size: int
    q_size: int
    p_total: int
    q_total: int
    p_group: int
    p_extra: int
    streams_p: bool
    period: int
    folds: int
    row_folds: int
    first: int
    native: bool


def edge_sizes(machine: Any, product: Product) -> EdgeSizes:
    """The sizes of the edge of a product, checked or not."""
    rows, columns, folding = machine.row_check(product.name), machine.col_check(product.name), product.folding
    order = [unit.kind for unit in machine.units]
    columns_first = bool(rows and columns and order.index(columns.unit) < order.index(rows.unit))
    native = machine.subnormals == "keep" and all(machine.formats[role].name == "fp32" for role in ("state", "checker"))
    return EdgeSizes(rows is not None, columns is not None, bool(rows and rows.correct),
                     UNITS.index(rows.unit) if rows else 0, UNITS.index(columns.unit) if columns else 0,
                     bool(rows and rows.relative), bool(columns and columns.relative), columns_first,
                     rows.words if rows else 1, product.cols, product.row_sums, product.p_size, product.q_size,
                     product.p_total, product.q_total, product.p_group, product.p_extra, product.streams_p,
                     folding.fold_cycles, folding.folds, folding.row_folds, product.first_delivery, native)


@inner
def line_at(local: Any, c: Any, z: Any) -> Any:
    """(group of p, place in the group, group of q) of the line whose sum in column c is complete in a cycle; a place of
    −1 if there is none."""
    since = local - c
    fold = since // z.period
    if since < 0 or fold >= z.folds:
        return 0, -1, 0
    u = since - fold * z.period - z.first
    q_group = fold // z.row_folds
    row = fold - q_group * z.row_folds
    if z.streams_p:
        if row != z.row_folds - 1:
            return 0, -1, 0
        row = 0
    if u < 0 or u >= z.p_group + z.p_extra:
        return 0, -1, 0
    return row, u, q_group


@inner
def is_data(p_group: Any, u: Any, z: Any) -> Any:
    """Whether a place of a group is a line of the product (not a checksum, not filling, not nothing)."""
    return 0 <= u < z.p_group and p_group * z.p_group + u < z.p_size


@inner
def word_at(out: Any, p_group: Any, u: Any, q_group: Any, c: Any, z: Any) -> Any:
    """What stands in the output memory; zero where no column is."""
    q = q_group * (z.cols + z.row_sums) + c
    if q >= z.q_total:
        return 0.0
    return np.float64(out[p_group * (z.p_group + z.p_extra) + u, q])


@inner
def row_input(out: Any, local: Any, c: Any, z: Any) -> Any:
    """What the chain reads at column c."""
    p_group, u, q_group = line_at(local, c, z)
    return word_at(out, p_group, u, q_group, c, z) if is_data(p_group, u, z) else 0.0


@inner
def plus(total: Any, x: Any, f: Any) -> Any:
    """A sum in the checker's format with one more output."""
    return add_once(quiet(total, f.checker), quiet(x, f.state), f.checker, f.state)


@inner
def rows_cycle(e: Any, judge: Any, out: Any, z: Any, f: Any, local: Any, cycle: Any, log: Any) -> None:
    """The chain along the rows, in one cycle."""
    c, s = z.cols, z.words
    judged = e.row_valid[c + s] != 0.0
    if judged and judge_now(judge, e.row_residual[0], e.row_limit[0], f, log, cycle) and z.correct:
        p_group, u, _ = line_at(local - (c + s + 1), 0, z)
        e.fix_rows[0] = min(e.fix_rows[0] + 1.0, 3.0)
        e.fix_row[0] = p_group * (z.p_group + z.p_extra) + max(u, 0)
        e.fix_value[0] = e.row_residual[0]
    pred, act = e.row_pred[s - 1], e.row_hold[s - 1]
    e.row_residual[0] = residual_of(pred, act, f.checker)
    e.row_limit[0] = allowed_by(judge.threshold[0], pred, act, z.row_relative, f.checker)
    if e.row_valid[c + s - 1] != 0.0:
        note(log, cycle + 1, e.row_residual[0], e.row_limit[0], pred, act, z.row_unit)
    for i in range(s - 1, 0, -1):
        e.row_pred[i] = plus(e.row_pred[i - 1], at_its_place(row_input(out, local, c + i, z), i, f), f)
        e.row_hold[i] = e.row_hold[i - 1]
    e.row_pred[0] = plus(0.0, row_input(out, local, c, z), f)
    e.row_hold[0] = e.row_act[c - 1]
    for j in range(c - 1, 0, -1):
        e.row_act[j] = plus(e.row_act[j - 1], row_input(out, local, j, z), f)
    e.row_act[0] = plus(0.0, row_input(out, local, 0, z), f)
    for j in range(c + s, 0, -1):
        e.row_valid[j] = e.row_valid[j - 1]
    p_group, u, _ = line_at(local, 0, z)
    e.row_valid[0] = 1.0 if is_data(p_group, u, z) else 0.0


@inner
def columns_cycle(e: Any, judge: Any, out: Any, z: Any, f: Any, local: Any, cycle: Any, log: Any) -> None:
    """The accumulators below the columns, in one cycle. The last word of a column's checksum is delivered a cycle after
    that of the column before it, so one comparison a cycle is enough."""
    judged = e.col_valid[0] != 0.0
    if judged and judge_now(judge, e.col_residual[0], e.col_limit[0], f, log, cycle) and z.correct:
        e.fix_cols[0] = min(e.fix_cols[0] + 1.0, 3.0)
        e.fix_col[0] = column_judged(local - 2, z)
    due = column_judged(local - 1, z)
    c = due % (z.cols + z.row_sums) if due >= 0 else 0
    pred, act = e.col_pred[c], e.col_act[c]
    e.col_residual[0] = residual_of(pred, act, f.checker)
    e.col_limit[0] = allowed_by(judge.threshold[0], pred, act, z.col_relative, f.checker)
    e.col_valid[0] = 1.0 if due >= 0 else 0.0
    if due >= 0:
        note(log, cycle + 1, e.col_residual[0], e.col_limit[0], pred, act, z.col_unit)
    for j in range(z.cols):
        p_group, u, q_group = line_at(local, j, z)
        if u < 0:
            continue
        if u == 0:
            e.col_act[j] = 0.0
        if is_data(p_group, u, z):
            e.col_act[j] = plus(e.col_act[j], word_at(out, p_group, u, q_group, j, z), f)
        elif u >= z.p_group:
            total = 0.0 if u == z.p_group else e.col_pred[j]
            e.col_pred[j] = plus(total, at_its_place(word_at(out, p_group, u, q_group, j, z), u - z.p_group, f), f)


@inner
def column_judged(local: Any, z: Any) -> Any:
    """Place on the array of the data column whose last checksum word is delivered in a cycle; −1 if there is none."""
    since = local - z.first - (z.p_group + z.p_extra - 1)
    fold = since // z.period
    c = since - fold * z.period
    if since < 0 or fold >= z.folds or c >= z.cols:
        return -1
    q_group = fold // z.row_folds
    if z.streams_p and fold - q_group * z.row_folds != z.row_folds - 1:
        return -1
    if q_group * z.cols + c >= z.q_size:
        return -1
    return q_group * (z.cols + z.row_sums) + c


@inner
def corrected(value: Any, residual: Any, f: Any) -> Any:
    """An output with a row's residual added, in the format of the sums."""
    return add(quiet(value, f.state), quiet(residual, f.checker), f.state)


@inner
def fix_cycle(e: Any, out: Any, z: Any, f: Any, local: Any) -> None:
    """Correct the element that one row and one column of the fold before point at, once both have been judged."""
    fold = local // z.period
    if fold < 1 or local - fold * z.period != FIX_STEP:
        return
    p, q = int(e.fix_row[0]), int(e.fix_col[0])
    known = e.fix_rows[0] == 1.0 and e.fix_cols[0] == 1.0 and abs(e.fix_value[0]) < np.inf
    if known and p < z.p_total and q < z.q_total:
        out[p, q] = corrected(np.float64(out[p, q]), e.fix_value[0], f)
    e.fix_rows[0] = 0.0
    e.fix_cols[0] = 0.0


@kernel
def edge_steps(e: Any, rows: Any, columns: Any, out: Any, z: Any, f: Any, begin: int, end: int, cycle: int,
               log: Any) -> None:
    """Cycles begin … end − 1 of a product; cycle: that of `begin` on the head's clock. rows, columns: `Judge` of what
    compares. out (P', Q'): the output memory, in which the sums of these cycles already stand."""
    for local in range(begin, end):
        now = cycle + local - begin
        if z.correct:
            fix_cycle(e, out, z, f, local)
        for turn in range(2):
            if (turn == 1) != z.columns_first:
                if z.columns:
                    columns_cycle(e, columns, out, z, f, local, now, log)
            elif z.rows:
                rows_cycle(e, rows, out, z, f, local, now, log)
