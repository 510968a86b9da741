"""What a changed value is to a column's tile: an **edit** of its work, or nothing that is read any more.

`edit_of_register` says which edit a strike on a column's register is at the start of a wave, `edit_of_left` which one
another value at a PE's left input is. They follow from the control program alone; what the edits lead to is worked out
in `accel_sim.fused.again`.
"""

from __future__ import annotations

from typing import Any

from accel_sim.machines.fused_places import (
    BOUND,
    CMP_OUT,
    DONE_BIT,
    DOWN,
    EXCESS,
    FIRST,
    NEW_MAX,
    OLD_MAX,
    OWN_MAX,
    OWN_SUM,
    UP,
    S,
)
from accel_sim.numerics.jit import inner, kernel

(DEAD, WAVES, KEY, QUERY, PARTIAL, LOW, MINUS, DELTA, INTERCEPT, SLOPE, ONE, SCALE, ADDEND, STATIONARY, ONE_SUM, SUM,
 VALUE, ELEMENT, BEGINNING, NEW, OLD, LIMIT, LOWER, COPY, WORST, SUMMED) = range(26)
"""Edits. DEAD: none. WAVES: none that is known here. With row r and place `at`, of a tile:

KEY: element r of key `at`. QUERY: element r of the query, from key `at` on. PARTIAL: the score of key `at` after row r.
LOW: the score of key `at` on its way back. MINUS: −m from row r down. DELTA: Δm. INTERCEPT, SLOPE: of piece `at`,
from row
r down and in row r. ONE, SCALE, ADDEND: of the two operations before the exponential in row r. STATIONARY: s of row r
before operation `at` (0 subtract, 1 scale, 2 … the pieces, then the row sum, then the dimensions). ONE_SUM: the 1 of
row r's row sum. SUM: the row sum after row r. VALUE: output `at` after row r. ELEMENT: dimension `at` of row r's value.
BEGINNING: the zero that row sum (at 0) and dimensions (at 1 …) start from, from `at` on. NEW: the maximum after `at`
keys
(N + 1: after −m has been sent, N + 2: after Δm has). OLD: the maximum before the tile, until Δm is sent (0), or after
(1). LIMIT, LOWER: the bound and the first key, from key `at` on. COPY, WORST: the invariants' own maximum, and the
largest violation, after `at` keys. SUMMED: the sum of the scores after `at` keys.
"""


@inner
def edit_of_up(row: Any, a: Any, n: Any) -> Any:
    """(edit, row, at) of a strike on `up` at the start of wave a of AttentionScore."""
    key = a - (n + 1 - row)
    if 0 <= key < n:
        return PARTIAL, row, key
    # Zeros flow up for the scaling: row r moves them in waves 2N + 3 − r … 3N + 2 − r; row r − 1 reads in 2N + 2 + r.
    if row == 0 or a < 2 * n + 4 - row or a > 2 * n + 2 + row:
        return DEAD, 0, 0
    if a <= 3 * n + 2 - row:
        twice = 2 * n + 2 + row - a
        rows_up = twice // 2
        if twice % 2 == 1 or row - rows_up < 1:
            return DEAD, 0, 0
        return ADDEND, row - rows_up - 1, 0
    if a == 3 * n + 3 - row:
        return WAVES, 0, 0
    return ADDEND, row - 1, 0


@inner
def edit_of_down(row: Any, a: Any, b: Any, g: Any) -> Any:
    """The same for `down` below row r, or (row −1) for `cmp_out`; b: the wave of AttentionValue."""
    n, width = g.size, g.size + g.columns
    key = a - (n + 3 + row)
    if 0 <= key < n:
        if a <= 2 * n + 1 and row + 1 <= n - 1 - key:
            return LOW, 0, key
        if a <= 2 * n + 1:
            return DEAD, 0, 0
    if a == 2 * n + 3 + row:
        return MINUS, row + 1, 0
    if a == 2 * n + 4 + row:
        return DELTA, 0, 0
    piece = a - (2 * n + 5 + row)
    if 0 <= piece < g.pieces:
        return INTERCEPT, row + 1, piece
    if row < 0:
        if 0 <= b <= width:
            return BEGINNING, 0, b
        return DEAD, 0, 0
    if b == 1 + row:
        return SUM, row, 0
    if 0 <= b - 2 - row < width:
        return VALUE, row, b - 2 - row
    return DEAD, 0, 0


@inner
def edit_of_stationary(row: Any, a: Any, b: Any, g: Any) -> Any:
    """The same for `s`, from AttentionScore on."""
    n = g.size
    if a <= 2 * n + 1:
        key = max(0, a - (n - row))
        return (QUERY, row, key) if key < n else (DEAD, 0, 0)
    if a <= 2 * n + 2 + row:
        return STATIONARY, row, 0
    operation = a - (2 * n + 2 + row)
    if operation <= 2 + g.pieces + n + g.columns:
        return STATIONARY, row, operation
    return DEAD, 0, 0


@inner
def edit_of_register(code: Any, row: Any, col: Any, wave: Any, g: Any) -> Any:
    """(edit, row, at, column) of a strike on a column's register at the start of a wave of a tile."""
    n = g.size
    a = wave - g.load
    b = a - g.score
    found = (DEAD, 0, 0)
    if (code in (S, BOUND, FIRST)) and wave <= n:
        target = col + n + 1 - wave  # it is still moving right
        if target >= n:
            return DEAD, 0, 0, col
        if code == FIRST:
            return LOWER, row, 0, target
        return (QUERY if code == S else LIMIT), row, 0, target
    if code == S:
        found = edit_of_stationary(row, a, b, g)
    elif code == UP:
        found = edit_of_up(row, a, n)
    elif code == DOWN:
        found = edit_of_down(row, a, b, g)
    elif code == CMP_OUT:
        found = edit_of_down(-1, a, b, g)
    elif code == DONE_BIT:
        if 2 * n + 4 + row <= a < 2 * n + 4 + row + g.pieces:
            found = (WAVES, 0, 0)
    elif code == NEW_MAX:
        found = (NEW, 0, min(max(0, a - n - 1), n + 2))
    elif code == OLD_MAX:
        found = (OLD, 0, 0 if a <= 2 * n + 2 else 1)
    elif code == BOUND:
        found = (LIMIT, 0, min(max(0, a - n - 1), n))  # after the keys only the sum's invariant looks at it
    elif code == FIRST:
        key = max(0, a - n - 1)
        if key < n:
            found = (LOWER, 0, key)
    elif code in (OWN_MAX, EXCESS, OWN_SUM):
        kind = SUMMED if code == OWN_SUM else (COPY if code == OWN_MAX else WORST)
        found = (kind, 0, min(max(0, a - n - 1), n))
    return found[0], found[1], found[2], col


@inner
def edit_of_left(row: Any, col: Any, wave: Any, g: Any) -> Any:
    """(edit, row, at, first column, last) of another value at the left input of PE (row, col), which passes it on."""
    n = g.size
    a = wave - g.load
    b = a - g.score
    if wave <= n:
        target = col + n - wave
        return (QUERY, row, 0, target, target + 1) if target < n else (DEAD, 0, 0, 0, 0)
    key = a - (n - row)
    if 0 <= key < n:
        return KEY, row, key, col, n
    operation = a - (2 * n + 2 + row)
    if operation == 0:
        return ONE, row, 0, col, n
    if operation == 1:
        return SCALE, row, 0, col, n
    if 2 <= operation < 2 + g.pieces:
        return SLOPE, row, operation - 2, col, n
    if b == row:
        return ONE_SUM, row, 0, col, n
    if 0 <= b - 1 - row < n + g.columns:
        return ELEMENT, row, b - 1 - row, col, n
    return DEAD, 0, 0, 0, 0


@kernel
def register_edit(code: int, row: int, col: int, wave: int, g: Any) -> Any:
    """`edit_of_register`, from Python."""
    return edit_of_register(code, row, col, wave, g)


@kernel
def left_edit(row: int, col: int, wave: int, g: Any) -> Any:
    """`edit_of_left`, from Python."""
    return edit_of_left(row, col, wave, g)
