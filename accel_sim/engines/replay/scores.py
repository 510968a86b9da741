"""Scores of one query against a run of keys: the dot products of many keys side by side."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_step import FUSED, TREE
from accel_sim.engines.replay.chains import native
from accel_sim.numerics.arithmetic import mul
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import round_to


@inner
def scores_range(q, first, last, st, g, f, data, w):
    """Scaled scores of the query vector q (d,) of type T against keys first … last − 1, into w.S[first:last]."""
    d = g.head_dim
    rs = f.score
    out, k_t, buf = w.S, st.k_t, w.buf
    if g.dot == FUSED:
        products = w.v
        for j in range(first, last):
            for t in range(d):
                products[t] = mul(np.float64(q[t]), np.float64(k_t[t, j]), f.exact)
            out[j] = mul(fused_sum(products, d, data.digits, rs, 0.0), st.scale, rs)
        return
    for start in range(first, last, KEYS_AT_ONCE):
        count = min(KEYS_AT_ONCE, last - start)
        if g.dot == TREE and d % 4 == 0 and native(rs, buf):
            fold_products(buf, q, k_t, start, count, d)
        else:
            sum_products(buf, q, k_t, start, count, g, rs)
        for j in range(count):
            out[start + j] = mul(np.float64(buf[0, j]), st.scale, rs)


@inner
def sum_products(buf, q, k_t, start, count, g, r):
    """The adder tree or the serial chain over the products of q with each of `count` keys, into buf[0]."""
    d = q.shape[0]
    direct = native(r, buf)
    for t in range(d):
        s = q[t]
        if direct:
            for j in range(count):
                buf[t, j] = s * k_t[t, start + j]
        else:
            for j in range(count):
                buf[t, j] = round_to(np.float64(s) * np.float64(k_t[t, start + j]), r)
    if g.dot == TREE:
        n = d
        while n > 1:
            h = (n + 1) // 2
            for i in range(n - h):
                add_rows_t(buf, i, i + h, count, direct, r)
            n = h
    else:
        for t in range(1, d):
            add_rows_t(buf, np.int64(0), t, count, direct, r)


@inner
def fold_products(buf, q, k_t, start, count, d):
    """The native adder tree over the d products of q with each of `count` keys, d a multiple of 4, into buf[0].

    Two levels at a time, so that sums between them need not be stored."""
    n = d // 4
    for i in range(n):
        a, b, c, e = q[i], q[i + n], q[i + 2 * n], q[i + 3 * n]
        for j in range(count):
            x = a * k_t[i, start + j] + c * k_t[i + 2 * n, start + j]
            y = b * k_t[i + n, start + j] + e * k_t[i + 3 * n, start + j]
            buf[i, j] = x + y
    while n > 1:
        if n % 4 == 0:
            n = n // 4
            for i in range(n):
                for j in range(count):
                    buf[i, j] = (buf[i, j] + buf[i + 2 * n, j]) + (buf[i + n, j] + buf[i + 3 * n, j])
        else:
            h = (n + 1) // 2
            for i in range(n - h):
                for j in range(count):
                    buf[i, j] = buf[i, j] + buf[i + h, j]
            n = h


@inner
def add_rows_t(buf, a, b, count, direct, r):
    """buf[a] += buf[b], each sum rounded."""
    if direct:
        for j in range(count):
            buf[a, j] = buf[a, j] + buf[b, j]
    else:
        for j in range(count):
            buf[a, j] = round_to(np.float64(buf[a, j]) + np.float64(buf[b, j]), r)
