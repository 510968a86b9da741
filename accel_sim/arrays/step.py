"""One cycle of an array, and many: what every register does.

In every cycle all registers take their next values from what all of them held at its start. The kernel moves nothing
that only moves: a delay line is a buffer in which the window slides by one a cycle.

* `x[r]` is the line of row r: skew registers, then those of the PEs. The port stands at `px`, the j-th register
  behind it at px + j, the input of PE c at px + r + c. px falls by one a cycle, and now and then goes back to the far
  end.
* Row (cycle − r) mod L of `y` is what the PEs of row r have at their upper inputs: elements enter it at the top and it
  turns into the next row's. What enters column c in a cycle stands c rows ahead until then: that is the skew.

Beside each value stands a word of control bits: VALID, FIRST, LAST.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.numerics.arithmetic import add, mul
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet, quiet_below

VALID, FIRST, LAST = 1, 2, 4
"""Control bits beside x; beside y there is only VALID."""

CYCLE, PX, LAST_WRITE, WRITES, ENV_SIZE = range(5)
"""Places in `env`: next cycle, window of x, cycle of the last output written (−1: none), outputs written."""


class State(NamedTuple):
    """The registers, as the kernel keeps them (see the module). T is the native type.

    x (R, LX) T, x_bits (R, LX) int32; y (LY, C) T, y_bits (LY, C) int32, LY = R + C; s (R, C) T; load (R,) int32;
    env (ENV_SIZE,) int64. bus (C,) int64 is no register: the last cycle in which a column's bus was driven.
    """

    x: Any
    x_bits: Any
    y: Any
    y_bits: Any
    s: Any
    load: Any
    env: Any
    bus: Any


class Ports(NamedTuple):
    """The memories at the edges, all of type T.

    right (stream, rows): what moves right. down (stream, cols): what moves down, if that is an operand. stays
    (rows, cols): what stays, if that is an operand. out: the sums, (rows, cols) or (stream, cols), written here.
    constants (2,): zero and NaN.
    """

    right: Any
    down: Any
    stays: Any
    out: Any
    constants: Any


class Geometry(NamedTuple):
    """Sizes, as scalars: of the array, of the product along rows, columns and stream, and of a fold."""

    rows: int
    cols: int
    row_size: int
    col_size: int
    stream: int
    row_folds: int
    fill: int
    period: int
    loads: bool


@inner
def multiply_add(total: Any, x: Any, y: Any, nan: Any, rule: Any) -> Any:
    """total + x · y, product and sum each rounded once; a NaN is the canonical one."""
    if rule is None:
        result = total + x * y
        return result if result == result else nan
    product = mul(quiet_below(x, rule.tiny), quiet_below(y, rule.tiny), rule.sum)
    return add(quiet(total, rule.sum), product, rule.sum)


@inner
def row_of_moving_sums(x: Any, x_bits: Any, y: Any, y_bits: Any, s: Any, nan: Any, rule: Any) -> None:
    """A row of PEs whose sums move down: y becomes what goes on to the next row."""
    for c in range(y.shape[0]):
        total = y[c]
        result = multiply_add(total, x[c], s[c], nan, rule)
        y[c] = result if x_bits[c] & y_bits[c] & VALID else total


@inner
def row_of_staying_sums(x: Any, x_bits: Any, y: Any, y_bits: Any, s: Any, constants: Any, rule: Any) -> Any:
    """A row of PEs whose sums stay in s. Returns the control bits that are set anywhere in the row."""
    zero, nan = constants[0], constants[1]
    seen = np.int32(0)
    for c in range(y.shape[0]):
        bits = x_bits[c]
        held = s[c]
        result = multiply_add(zero if bits & FIRST else held, x[c], y[c], nan, rule)
        s[c] = result if bits & y_bits[c] & VALID else held
        seen |= bits
    return seen


@inner
def feed(state: Any, ports: Any, g: Any, cycle: Any, px: Any, step: Any, row_base: Any, col_base: Any) -> None:
    """What the memories deliver in this cycle, into the first place of every line."""
    zero = ports.constants[0]
    t = step - g.fill
    live = 0 <= t < g.stream
    word = VALID
    if not g.loads:
        word |= (FIRST if t == 0 else 0) | (LAST if t == g.stream - 1 else 0)
    for r in range(g.rows):
        here = live and row_base + r < g.row_size
        state.x[r, px] = ports.right[t, row_base + r] if here else zero
        state.x_bits[r, px] = word if here else 0
    lines = state.y.shape[0]
    for c in range(g.cols):
        here = live and col_base + c < g.col_size
        at = (cycle + c) % lines
        value = zero
        if here and not g.loads:
            value = ports.down[t, col_base + c]
        elif here and row_base > 0:
            value = ports.out[t, col_base + c]
        state.y[at, c] = value
        state.y_bits[at, c] = VALID if here else 0


@inner
def deliver_row(state: Any, ports: Any, g: Any, cycle: Any, r: Any, x_bits: Any, y_bits: Any, row_base: Any,
                col_base: Any) -> Any:
    """Sums of row r that are complete leave on the buses of their columns. Returns how many were written."""
    written = 0
    for c in range(g.cols):
        leaves = x_bits[c] & y_bits[c] & VALID and x_bits[c] & LAST
        if not leaves or state.bus[c] == cycle:
            continue
        state.bus[c] = cycle
        if row_base + r < g.row_size and col_base + c < g.col_size:
            ports.out[row_base + r, col_base + c] = state.s[r, c]
            written += 1
    return written


@inner
def deliver_bottom(y: Any, y_bits: Any, ports: Any, g: Any, step: Any, col_base: Any) -> Any:
    """Sums that have passed the last row are written. Returns how many."""
    written = 0
    for c in range(g.cols):
        t = step - g.fill - (g.rows - 1) - c
        if y_bits[c] & VALID and 0 <= t < g.stream and col_base + c < g.col_size:
            ports.out[t, col_base + c] = y[c]
            written += 1
    return written


@inner
def shift_stationary(state: Any, ports: Any, g: Any, step: Any, row_base: Any, col_base: Any) -> None:
    """Rows whose `load` is set take what stands above them; the last row of the fold comes in first."""
    for r in range(g.rows - 1, -1, -1):
        if state.load[r] == 0:
            continue
        if r > 0:
            for c in range(g.cols):
                state.s[r, c] = state.s[r - 1, c]
            continue
        row = row_base + g.rows - 1 - step
        for c in range(g.cols):
            here = step < g.rows and row < g.row_size and col_base + c < g.col_size
            state.s[0, c] = ports.stays[row, col_base + c] if here else ports.constants[0]
    following = step + 1 if step + 1 < g.period else 0
    for r in range(g.rows):
        state.load[r] = 1 if following < g.rows else 0


@inner
def rewind(state: Any, kept: Any) -> Any:
    """Bring the window of x back to the far end of its buffer; returns where it stands now."""
    far = state.x.shape[1] - kept
    for r in range(state.x.shape[0]):
        for j in range(kept):
            state.x[r, far + j] = state.x[r, j]
            state.x_bits[r, far + j] = state.x_bits[r, j]
    return far


@kernel
def advance(state: Any, ports: Any, g: Any, rule: Any, until: int) -> None:
    """Clock the array from cycle env[CYCLE] to the start of cycle `until`.

    state: `State`; ports: `Ports`; g: `Geometry`; rule: `operands.Rule`, or None.
    """
    env = state.env
    px = env[PX]
    lines = state.y.shape[0]
    for cycle in range(env[CYCLE], until):
        number = cycle // g.period
        step = cycle - number * g.period
        row_base = (number % g.row_folds) * g.rows
        col_base = (number // g.row_folds) * g.cols
        if px == 0:
            px = rewind(state, g.rows + g.cols - 2)
        px -= 1
        feed(state, ports, g, cycle, px, step, row_base, col_base)
        written = 0
        for r in range(g.rows):  # downwards: the upper of two rows has the bus
            q = (cycle - r) % lines
            x, x_bits = state.x[r, px + r:px + r + g.cols], state.x_bits[r, px + r:px + r + g.cols]
            if g.loads:
                row_of_moving_sums(x, x_bits, state.y[q], state.y_bits[q], state.s[r], ports.constants[1], rule)
            elif row_of_staying_sums(x, x_bits, state.y[q], state.y_bits[q], state.s[r], ports.constants, rule) & LAST:
                written += deliver_row(state, ports, g, cycle, r, x_bits, state.y_bits[q], row_base, col_base)
        if g.loads:
            q = (cycle - g.rows + 1) % lines
            written += deliver_bottom(state.y[q], state.y_bits[q], ports, g, step, col_base)
            shift_stationary(state, ports, g, step, row_base, col_base)
        if written:
            env[LAST_WRITE] = cycle
            env[WRITES] += written
    env[PX] = px
    env[CYCLE] = until
