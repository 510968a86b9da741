"""The golden engine's two hot loops: dot products of many keys side by side, and a query's accumulation.

Each loop stands three times, once per rounding kind, so that the compiler sees which rounding it has and
vectorises it. Operands are already quiet: inputs are flushed once by the caller, and what an operation
returns never needs it.
"""

from __future__ import annotations

from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import round_32, round_64, round_narrow

KEYS_AT_ONCE = 64
"""Keys whose dot products are formed side by side: d × 64 doubles stay in the nearest caches."""


@kernel
def products_by_key(buf, q, k_t, first, count, r):
    """buf[t, j] = round(q[t] · k_t[t, first + j]) for every dim t and `count` keys."""
    flush = r.flush_below
    if r.kind == 1:
        for t in range(q.shape[0]):
            s = q[t]
            for j in range(count):
                buf[t, j] = round_32(k_t[t, first + j] * s, flush)
    elif r.kind == 0:
        for t in range(q.shape[0]):
            s = q[t]
            for j in range(count):
                buf[t, j] = round_64(k_t[t, first + j] * s, flush)
    else:
        for t in range(q.shape[0]):
            s = q[t]
            for j in range(count):
                buf[t, j] = round_narrow(k_t[t, first + j] * s, r.magic, r.min_normal, r.max_finite,
                                         r.overflow, flush)


@kernel
def add_rows(buf, a, b, count, r):
    """buf[a] = round(buf[a] + buf[b]), over `count` keys."""
    flush = r.flush_below
    if r.kind == 1:
        for j in range(count):
            buf[a, j] = round_32(buf[a, j] + buf[b, j], flush)
    elif r.kind == 0:
        for j in range(count):
            buf[a, j] = round_64(buf[a, j] + buf[b, j], flush)
    else:
        for j in range(count):
            buf[a, j] = round_narrow(buf[a, j] + buf[b, j], r.magic, r.min_normal, r.max_finite, r.overflow,
                                     flush)


@kernel
def tree_by_key(buf, n, count, r):
    """The adder tree over rows 0 … n − 1 of buf, into row 0: row i pairs with row i + ⌈n/2⌉."""
    while n > 1:
        h = (n + 1) // 2
        for i in range(n - h):
            add_rows(buf, i, i + h, count, r)
        n = h


@kernel
def chain_by_key(buf, n, count, r):
    """The serial sum ((row 0 + row 1) + row 2) + …, into row 0."""
    for t in range(1, n):
        add_rows(buf, 0, t, count, r)


@kernel
def weigh_values(o, v, weights, corrections, first, last, r):
    """o = round(round(o · a_j) + round(p_j · v_j)) for keys first … last − 1, in order.

    A correction of exactly 1 leaves o as it is, and is skipped.
    """
    flush = r.flush_below
    d = o.shape[0]
    for j in range(first, last):
        a, p = corrections[j], weights[j]
        if r.kind == 1:
            if a != 1.0:
                for t in range(d):
                    o[t] = round_32(o[t] * a, flush)
            for t in range(d):
                o[t] = round_32(o[t] + round_32(p * v[j, t], flush), flush)
        elif r.kind == 0:
            if a != 1.0:
                for t in range(d):
                    o[t] = round_64(o[t] * a, flush)
            for t in range(d):
                o[t] = round_64(o[t] + round_64(p * v[j, t], flush), flush)
        else:
            if a != 1.0:
                for t in range(d):
                    o[t] = round_narrow(o[t] * a, r.magic, r.min_normal, r.max_finite, r.overflow, flush)
            for t in range(d):
                pv = round_narrow(p * v[j, t], r.magic, r.min_normal, r.max_finite, r.overflow, flush)
                o[t] = round_narrow(o[t] + pv, r.magic, r.min_normal, r.max_finite, r.overflow, flush)
