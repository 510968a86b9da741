"""One query of the array, tile by tile, without the registers: the same operations in the same order as the PEs'.

A query is a column of the array. Kernels work on slices of its keys or dimensions side by side; their order along the
column is that of `step`: scores from the last dimension to the first, sums over keys from the tile's last to its first.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.fused.arithmetic import multiply_add, multiply_add_native, multiply_sum, power_by_table
from accel_sim.numerics.arithmetic import add, div, maximum, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_to


class Constants(NamedTuple):
    """Tables (2, P) of the exponentials, intercepts without tags; tags (P,), those with; and the two scales."""

    in_array: Any
    tags: Any
    in_accumulator: Any
    operand_scale: float
    sum_scale: float


@inner
def one_step(s: Any, x: Any, total: Any, f: Any) -> Any:
    """s · x + total, rounded once into a sum."""
    return multiply_add_native(s, x, total) if f.native else multiply_add(s, x, total, f.sum, f.operand, f.sum)


@inner
def add_products(out: Any, s: Any, x: Any, f: Any) -> None:
    """out[i] = s · x[i] + out[i], each rounded once into a sum."""
    if f.native:
        for i in range(out.shape[0]):
            out[i] = multiply_add_native(s, x[i], out[i])
    else:
        for i in range(out.shape[0]):
            out[i] = multiply_add(s, x[i], out[i], f.sum, f.operand, f.sum)


@inner
def scores(out: Any, q: Any, k_t: Any, first: Any, last: Any, f: Any) -> None:
    """out[first : last] = scores of query q (N,) and keys k_t (N, N_keys) transposed, from the last dimension up."""
    for j in range(first, last):
        out[j] = 0.0
    for r in range(q.shape[0] - 1, -1, -1):
        add_products(out[first:last], q[r], k_t[r, first:last], f)


@inner
def row_maximum(new: Any, s: Any, start: Any, allowed: Any, f: Any) -> Any:
    """Running maximum after the allowed ones, from start on, of a tile's scores s."""
    for j in range(max(start, 0), min(allowed, s.shape[0])):
        new = maximum(quiet(new, f.sum), quiet(s[j], f.sum))
    return new


@inner
def negative(new: Any, f: Any) -> Any:
    """What is sent down for a maximum: −m, or 0 for a query that has met no key."""
    return 0.0 if new == -np.inf else sub(0.0, quiet(new, f.sum), f.sum)


@inner
def difference(old: Any, new: Any, f: Any) -> Any:
    """Δm = old − new maximum; −∞ for a query that had met no key."""
    return -np.inf if old == -np.inf else sub(quiet(old, f.sum), quiet(new, f.sum), f.sum)


@inner
def put_back(score: Any, masked: Any, f: Any) -> Any:
    """A score as it goes back into the array."""
    return -np.inf if masked else round_to(quiet(score, f.sum), f.operand)


@inner
def exponent(low: Any, minus: Any, t: Any, f: Any) -> Any:
    """(s − m) · log₂e/√N, rounded twice into an operand."""
    x = multiply_add(low, 1.0, minus, f.operand, f.operand, f.sum)
    return multiply_add(x, t.operand_scale, 0.0, f.operand, f.operand, f.sum)


@inner
def weight(low: Any, minus: Any, t: Any, f: Any) -> Any:
    """The weight of a score that was put back."""
    return power_by_table(quiet(exponent(low, minus, t, f), f.operand), t.in_array, f.operand)


@inner
def weights(p: Any, s: Any, minus: Any, start: Any, allowed: Any, t: Any, f: Any) -> None:
    """p[j] = weight of score s[j] of a tile."""
    n = s.shape[0]
    begin = min(max(start, 0), n)
    end = max(begin, min(allowed, n))
    for j in range(begin, end):
        p[j] = weight(put_back(s[j], False, f), minus, t, f)
    if end - begin == n:
        return
    masked = weight(-np.inf, minus, t, f)  # the same of every masked key
    for j in range(begin):
        p[j] = masked
    for j in range(end, n):
        p[j] = masked


@inner
def sum_of_weights(p: Any, f: Any) -> Any:
    """Row sum of a tile's weights."""
    total = 0.0
    for j in range(p.shape[0] - 1, -1, -1):
        total = one_step(p[j], 1.0, total, f)
    return total


@inner
def products(out: Any, p: Any, v: Any, f: Any) -> None:
    """out[t] = Σ p[j] · v[j, t] of a tile, v (keys, N + C) with the checksum columns at the end."""
    for t in range(out.shape[0]):
        out[t] = 0.0
    for j in range(p.shape[0] - 1, -1, -1):
        add_products(out, p[j], v[j], f)


@inner
def correction(delta: Any, t: Any, f: Any) -> Any:
    """e^Δm, as the accumulator forms it from what arrives there."""
    x = multiply_sum(delta, t.sum_scale, 0.0, f.sum)
    return power_by_table(quiet(x, f.sum), t.in_accumulator, f.sum)


@inner
def accumulate_row(total: Any, a: Any, arrived: Any, first: Any, f: Any) -> None:
    """total[i] = total[i] · a + arrived[i]; of the first tile arrived[i] alone, by the same operation."""
    for i in range(total.shape[0]):
        total[i] = multiply_sum(a, 0.0 if first else total[i], arrived[i], f.sum)


@inner
def reciprocal(l: Any, f: Any) -> Any:  # noqa: E741
    """1/l."""
    return div(1.0, quiet(l, f.sum), f.sum)


@inner
def normalise(out: Any, total: Any, scale: Any, f: Any) -> None:
    """out[i] = total[i] · scale."""
    for i in range(out.shape[0]):
        out[i] = multiply_sum(scale, total[i], 0.0, f.sum)


@inner
def checksum_columns(v: Any, columns: Any, f: Any) -> None:
    """Write the checksums of every value into the last columns of v (keys, N + C)."""
    n = v.shape[1] - columns
    for j in range(v.shape[0]):
        rest = round_to(quiet(v[j, 0], f.operand), f.checker)
        for t in range(1, n):
            rest = add(quiet(rest, f.checker), quiet(v[j, t], f.operand), f.checker)
        for i in range(columns):
            rest = quiet(rest, f.checker)
            v[j, n + i] = round_to(rest, f.operand)
            rest = sub(rest, v[j, n + i], f.checker)
