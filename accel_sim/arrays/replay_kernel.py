"""Single faults in an array, without clocking it: the outputs that a strike reaches, formed again.

All dataflows compute out[p, q] = Σ_k P[k, p] · Q[k, q], a chain in the order of k: where the sum stays, p is the row
and k the stream; where it moves, p is the stream and k the row; q is always the column. Whatever is struck, the
result is a chain with one edit, along a line of outputs with the same p or the same q:

| edit | the chain |
|---|---|
| REPLACE | has another factor in product `first` |
| SKIP | lacks the products from `first` to before `stop` |
| STRUCK | has its sum struck before product `first` |
| RESTART | starts with product `first`, from zero |
| RESUME | starts with product `first`, from what the fold before left in the PE |
| UNWRITTEN | is never written: the output stays zero |
| ADD_ZERO | has 0 · 0 added at the end |

`edit_of` says which edit, `replay_all` forms the lines and records what differs.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.arrays.golden import add_products
from accel_sim.arrays.step import FIRST, LAST, VALID, Geometry, multiply_add
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import decode_value, encode_value

NOTHING, REPLACE, SKIP, STRUCK, RESTART, RESUME, UNWRITTEN, ADD_ZERO, MISLOAD = range(9)
"""Edits. MISLOAD: REPLACE in every column of the fold, by the operand that stands a row above or below."""

X, Y, STAYS, LOAD = range(4)
"""What a register belongs to: a line to the right, a line down, what stays, or `load`."""

ZEROS, FOLD_BEFORE = -1, -2
"""Where the wrong operand of a MISLOAD comes from, if not a row of Q: nowhere, or row 0 of the fold before."""

ALONG_Q, ALONG_P = range(2)
"""Which way a line of outputs runs: with the same p, or with the same q."""


class Places(NamedTuple):
    """Where every slot of the inventory is: int64 arrays. line: X, Y, STAYS or LOAD. control: 0, VALID, FIRST or LAST.

    row, col: the next PE that reads a register of a line, or the PE of one that stays. age: cycles since what it holds
    was at the port.
    """

    line: Any
    control: Any
    row: Any
    col: Any
    age: Any


class Strikes(NamedTuple):
    """Faults, each an array: cycle, slot int64; mask int64; op int64, 0 inverts, 1 forces to 0, 2 forces to 1."""

    cycle: Any
    slot: Any
    mask: Any
    op: Any


class Values(NamedTuple):
    """p (K, P), q (K, Q): the factors; out (P, Q): the fault-free sums; out_bits its integer view; constants (2,)."""

    p: Any
    q: Any
    out: Any
    out_bits: Any
    constants: Any


class Scratch(NamedTuple):
    """line (max(P, Q),) of the native type and cell (1,) likewise, with their integer views."""

    line: Any
    line_bits: Any
    cell: Any
    cell_bits: Any


class Edit(NamedTuple):
    """One edit of the chains of out[fixed, low : high] (ALONG_Q) or out[low : high, fixed] (ALONG_P).

    first, stop: products, see the module. fold: number of the fold. row: of a MISLOAD, the row of Q that the wrong
    operand comes from, or ZEROS or FOLD_BEFORE; its `fixed` is the cycle of the fold from which it stands there.
    """

    kind: int
    axis: int
    fixed: int
    low: int
    high: int
    first: int
    stop: int
    fold: int
    row: int


@inner
def struck_bit(bit: Any, op: Any) -> Any:
    """A control bit after a strike."""
    if op == 0:
        return 1 - bit
    return 0 if op == 1 else 1


@inner
def struck_pattern(bits: Any, mask: Any, op: Any) -> Any:
    """A pattern after a strike."""
    if op == 0:
        return bits ^ mask
    return bits & ~mask if op == 1 else bits | mask


@inner
def struck_value(value: Any, mask: Any, op: Any, codec: Any, width: Any, cell: Any) -> Any:
    """A value of the native type after a strike. codec: of its format; None for a signed integer of `width` bits."""
    if codec is None:
        spare = np.int64(64 - width)
        cell[0] = (struck_pattern(np.int64(value), mask, op) << spare) >> spare
    else:
        bits = struck_pattern(np.int64(encode_value(np.float64(value), codec)), mask, op)
        cell[0] = decode_value(np.uint64(bits), codec)
    return cell[0]


@inner
def struck_sum(total: Any, mask: Any, op: Any, codec: Any, rule: Any, w: Any) -> Any:
    """A sum after a strike, every bit of a NaN kept: the output may be this very value."""
    if rule is None:  # the native type has the register's pattern
        w.cell[0] = total
        w.cell_bits[0] = struck_pattern(np.int64(w.cell_bits[0]), mask, op)
    else:
        w.cell[0] = struck_value(total, mask, op, codec, 0, w.cell)
    return w.cell[0]


@inner
def no_edit() -> Any:
    return Edit(NOTHING, 0, 0, 0, 0, 0, 0, 0, 0)


@inner
def lost_product(axis: Any, fixed: Any, low: Any, high: Any, k: Any, fold: Any, g: Any) -> Any:
    """A PE whose sum stays does not fire on product k: neither does it start or deliver the sum then."""
    if k == g.stream - 1:
        return Edit(UNWRITTEN, axis, fixed, low, high, k, k, fold, 0)
    if k == 0:
        return Edit(RESUME, axis, fixed, low, high, 1, 1, fold, 0)
    return Edit(SKIP, axis, fixed, low, high, k, k + 1, fold, 0)


@inner
def edit_of_line(place: Any, control: Any, line: Any, cycle: Any, age: Any, op: Any, g: Any) -> Any:
    """The edit that a strike in a line of registers is. place: (row, col) of the next PE."""
    row, col = place
    entered = cycle - age
    if entered < 0:
        return no_edit()
    fold = entered // g.period
    t = entered - fold * g.period - g.fill
    if t < 0 or t >= g.stream:
        return no_edit()
    row_base, col_base = (fold % g.row_folds) * g.rows, (fold // g.row_folds) * g.cols
    n_rows, n_cols = min(g.rows, g.row_size - row_base), min(g.cols, g.col_size - col_base)
    if col >= n_cols or (row >= n_rows and not g.loads):
        return no_edit()
    present = row < n_rows or line == Y
    if control == FIRST:
        now = 1 if present and t == 0 else 0
    elif control == LAST:
        now = 1 if present and t == g.stream - 1 else 0
    else:
        now = 1 if present else 0
    if control and struck_bit(now, op) == now:
        return no_edit()

    if line == X:
        p, k = (t, row_base + row) if g.loads else (row_base + row, t)
        low, high = col_base + col, col_base + n_cols
        if not present:
            return Edit(ADD_ZERO if control == VALID else NOTHING, ALONG_Q, p, low, high, 0, 0, fold, 0)
        if control == FIRST:
            return Edit(RESUME if now else RESTART, ALONG_Q, p, low, high, k, k, fold, 0)
        if control == LAST:
            return Edit(UNWRITTEN if now else NOTHING, ALONG_Q, p, low, high, k, k, fold, 0)
        if control == VALID and not g.loads:
            return lost_product(ALONG_Q, p, low, high, k, fold, g)
        return Edit(SKIP if control == VALID else REPLACE, ALONG_Q, p, low, high, k, k + 1, fold, 0)

    q = col_base + col
    if g.loads:
        if control == VALID:  # the sum passes what is left of the fold as it is, and is not written
            return Edit(SKIP, ALONG_P, q, t, t + 1, row_base, row_base + n_rows, fold, 0)
        k = min(row_base + row, g.row_size)
        return Edit(STRUCK, ALONG_P, q, t, t + 1, k, k, fold, 0)
    low, high = row_base + row, row_base + n_rows
    if control == VALID:
        return lost_product(ALONG_P, q, low, high, t, fold, g)
    return Edit(REPLACE, ALONG_P, q, low, high, t, t + 1, fold, 0)


@inner
def edit_of_staying(row: Any, col: Any, cycle: Any, g: Any) -> Any:
    """The edit that a strike in what stays is."""
    fold = cycle // g.period
    step = cycle - fold * g.period
    row_base, col_base = (fold % g.row_folds) * g.rows, (fold // g.row_folds) * g.cols
    n_rows, n_cols = min(g.rows, g.row_size - row_base), min(g.cols, g.col_size - col_base)
    if col >= n_cols:
        return no_edit()
    q = col_base + col
    if not g.loads:
        seen = step - row - col
        if row >= n_rows or seen <= 0 or seen >= g.stream:
            return no_edit()
        return Edit(STRUCK, ALONG_P, q, row_base + row, row_base + row + 1, seen, seen, fold, 0)
    if step < g.rows:
        if row >= step:
            return no_edit()
        row += g.rows - step  # where the load will bring it
    low = max(0, step - g.fill - row - col)
    if row >= n_rows or low >= g.stream:
        return no_edit()
    return Edit(REPLACE, ALONG_P, q, low, g.stream, row_base + row, row_base + row + 1, fold, 0)


@inner
def edit_of_load(row: Any, cycle: Any, op: Any, g: Any) -> Any:
    """The edit that a strike in a row's `load` is: the row has not moved on, or has once too often."""
    fold = cycle // g.period
    step = cycle - fold * g.period
    row_base = (fold % g.row_folds) * g.rows
    n_rows = min(g.rows, g.row_size - row_base)
    loading = 1 if step < g.rows else 0
    if struck_bit(loading, op) == loading:
        return no_edit()
    if loading:
        final = row + g.rows - 1 - step
        source = row_base + final + 1 if final + 1 < n_rows else ZEROS
        if row == step:
            source = FOLD_BEFORE
        if row > step or final >= n_rows:
            return no_edit()
    else:
        final, source = row, row_base + row - 1 if row > 0 else ZEROS
        if row >= n_rows:
            return no_edit()
    return Edit(MISLOAD, ALONG_P, step + 1, 0, g.stream, row_base + final, row_base + final + 1, fold, source)


@inner
def edit_of(cycle: Any, slot: Any, op: Any, places: Any, g: Any) -> Any:
    """The edit that a strike is; none after the run."""
    if cycle >= g.period * g.row_folds * (-(-g.col_size // g.cols)):
        return no_edit()
    line, row, col = places.line[slot], places.row[slot], places.col[slot]
    if line == STAYS:
        return edit_of_staying(row, col, cycle, g)
    if line == LOAD:
        return edit_of_load(row, cycle, op, g)
    return edit_of_line((row, col), places.control[slot], line, cycle, places.age[slot], op, g)


@inner
def left_before(fold: Any, p: Any, q: Any, v: Any, g: Any) -> Any:
    """What the PE of output (p, q) of a fold, whose sum stays, still holds when the fold begins."""
    row, col = p % g.rows, q % g.cols
    for earlier in range(fold - 1, -1, -1):
        p_then, q_then = (earlier % g.row_folds) * g.rows + row, (earlier // g.row_folds) * g.cols + col
        if p_then < g.row_size and q_then < g.col_size:
            return v.out[p_then, q_then]
    return v.constants[0]


@inner
def form_line(e: Any, factor: Any, mask: Any, op: Any, codec: Any, v: Any, g: Any, rule: Any, w: Any) -> None:
    """The outputs of the line of edit e, into w.line. factor: what a REPLACE multiplies with."""
    line = w.line[:e.high - e.low]
    zero, nan = v.constants[0], v.constants[1]
    scalars, vectors = (v.p, v.q) if e.axis == ALONG_Q else (v.q, v.p)
    length = v.p.shape[0]
    for j in range(line.shape[0]):
        p, q = (e.fixed, e.low + j) if e.axis == ALONG_Q else (e.low + j, e.fixed)
        if e.kind == RESUME:
            line[j] = left_before(e.fold, p, q, v, g)
        elif e.kind == ADD_ZERO:
            line[j] = multiply_add(v.out[p, q], zero, zero, nan, rule)
        else:
            line[j] = zero
    if e.kind == UNWRITTEN or e.kind == ADD_ZERO:
        return
    for k in range(e.first if e.kind == RESTART or e.kind == RESUME else 0, length):
        if e.kind == SKIP and e.first <= k < e.stop:
            continue
        if e.kind == STRUCK and k == e.first:
            line[0] = struck_sum(line[0], mask, op, codec, rule, w)
        scalar = factor if e.kind == REPLACE and k == e.first else scalars[k, e.fixed]
        add_products(line, scalar, vectors[k, e.low:e.high], nan, rule)
    if e.kind == STRUCK and e.first == length:
        line[0] = struck_sum(line[0], mask, op, codec, rule, w)


@inner
def record_line(e: Any, v: Any, w: Any, at: Any, place: Any, value: Any) -> Any:
    """Note the outputs of the line that differ from the fault-free ones, from record `at` on; returns the next."""
    columns = v.out.shape[1]
    for j in range(e.high - e.low):
        p, q = (e.fixed, e.low + j) if e.axis == ALONG_Q else (e.low + j, e.fixed)
        if w.line_bits[j] != v.out_bits[p, q]:
            place[at] = p * columns + q
            value[at] = w.line[j]
            at += 1
    return at


@inner
def misloaded_line(e: Any, col: Any, v: Any, g: Any) -> Any:
    """The line of a MISLOAD in one column of the fold, as a REPLACE, and the wrong operand."""
    col_base = (e.fold // g.row_folds) * g.cols
    q = col_base + col
    factor = v.constants[0]
    if e.row >= 0:
        factor = v.q[e.row, q]
    elif e.row == FOLD_BEFORE and e.fold > 0:
        q_then = ((e.fold - 1) // g.row_folds) * g.cols + col
        if q_then < g.col_size:
            factor = v.q[((e.fold - 1) % g.row_folds) * g.rows, q_then]
    low = max(0, e.fixed - g.fill - e.first % g.rows - col)
    return Edit(REPLACE, ALONG_P, q, min(low, g.stream), g.stream, e.first, e.stop, e.fold, 0), factor


@kernel
def replay_all(strikes: Any, begin: int, places: Any, v: Any, g: Geometry, rule: Any, operand: Any, total: Any,
               width: int, w: Any, ends: Any, place: Any, value: Any, most: int) -> int:
    """Replay faults from number `begin` on, until all are done or the records may not hold another (`most` outputs).

    operand, total: the codecs of operands and sums (None for integers; `width` is the operand's then). ends[i]: records
    up to and with fault i. place, value: the records, flat index p · Q + q and new sum. Returns the next fault.
    """
    at = 0
    for i in range(begin, strikes.cycle.shape[0]):
        if at + most > place.shape[0]:
            return i
        mask, op = strikes.mask[i], strikes.op[i]
        e = edit_of(strikes.cycle[i], strikes.slot[i], op, places, g)
        lines = 0 if e.kind == NOTHING else 1
        misloaded = e.kind == MISLOAD
        factor = v.constants[0]
        if misloaded:
            lines = min(g.cols, g.col_size - (e.fold // g.row_folds) * g.cols)
        elif e.kind == REPLACE:
            clean = v.p[e.first, e.fixed] if e.axis == ALONG_Q else v.q[e.first, e.fixed]
            factor = struck_value(clean, mask, op, operand, width, w.cell)
        for n in range(lines):
            one = e
            if misloaded:
                one, factor = misloaded_line(e, n, v, g)
            form_line(one, factor, mask, op, total, v, g, rule, w)
            at = record_line(one, v, w, at, place, value)
        ends[i] = at
    return int(strikes.cycle.shape[0])

