"""A struck value, and what the sum that it enters comes to: the score of one query and key, the row sum of a value
vector, the sum of a delivered row."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_golden import row_sum
from accel_sim.engines.lanes_step import SERIAL, TREE
from accel_sim.engines.replay.chains import canonical, native, widen
from accel_sim.engines.replay.codes import PROD, R_DELAY, SCORE, SUMS
from accel_sim.numerics.arithmetic import add, mul, tree_level
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet, round_to


@inner
def struck(x, k):
    """x after the strike k."""
    if k.op == 0:
        return flip_bits(x, k.arith, k.stored, k.mask)
    ones = k.mask if k.op == 2 else np.uint64(0)
    return force_bits(x, k.arith, k.stored, k.mask, ones)


@inner
def hit(x, k, w):
    """Strike x, and note the value before and after in w.value (raw, as the register holds it)."""
    after = struck(x, k)
    w.value[0] = x
    w.value[1] = after
    return after


@inner
def struck_score(i, j, code, level, at, k, st, g, f, data, w):
    """Scaled score of (query i, key j) after the strike: code PROD (element at), SUMS (level, element at) or
    SCORE. With any other code it is the golden score."""
    rs = f.score
    q, key = st.q[i], st.k[j]
    if g.dot == TREE:
        total = struck_tree_dot(q, key, code, level, at, k, g, rs, w)
    elif g.dot == SERIAL:
        total = struck_serial_dot(q, key, code, at, k, rs, w)
    else:
        products = w.v
        for t in range(q.shape[0]):
            products[t] = mul(np.float64(q[t]), np.float64(key[t]), f.exact)
        if code == PROD:
            products[at] = hit(products[at], k, w)
        total = fused_sum(products, q.shape[0], data.digits, rs, 0.0)
        if code == SUMS:
            total = hit(total, k, w)
    s = mul(quiet(total, rs), st.scale, rs)
    if code == SCORE:
        s = hit(s, k, w)
    return quiet(s, rs)


@inner
def struck_tree_dot(q, key, code, level, at, k, g, r, w):
    """q · key through the adder tree, a product (PROD) or a sum of a level (SUMS) struck."""
    x, y = w.xa, w.xb
    n = q.shape[0]
    direct = native(r, x)
    if direct:
        for t in range(n):
            x[t] = q[t] * key[t]
    else:
        for t in range(n):
            x[t] = round_to(np.float64(q[t]) * np.float64(key[t]), r)
    if code == PROD:
        x[at] = quiet(hit(np.float64(x[at]), k, w), r)
    for step in range(g.levels):
        h = (n + 1) // 2
        if direct:
            for t in range(n - h):
                y[t] = x[t] + x[t + h]
        else:
            for t in range(n - h):
                y[t] = round_to(np.float64(x[t]) + np.float64(x[t + h]), r)
        for t in range(n - h, h):
            y[t] = x[t]
        if code == SUMS and step == level:
            # A native NaN may not be canonical yet; the register's is.
            y[at] = quiet(hit(canonical(y[at]), k, w), r)
        x, y = y, x
        n = h
    return canonical(x[0])


@inner
def struck_serial_dot(q, key, code, at, k, r, w):
    """q · key through the serial chain, a product (PROD) or the sum after it (SUMS) struck."""
    total = 0.0
    for t in range(q.shape[0]):
        x = round_to(np.float64(q[t]) * np.float64(key[t]), r)
        if code == PROD and t == at:
            x = hit(x, k, w)
        total = x if t == 0 else add(quiet(total, r), quiet(x, r), r)
        if code == SUMS and t == at:
            total = hit(total, k, w)
    return total


@inner
def struck_row_sum(j, code, level, at, k, st, g, f, w):
    """r_j after a strike on its way through the row-sum tree (level, element at) or the delay behind it (R_DELAY)."""
    rc = f.checker
    widen(w.v, st.v[j])
    r = row_sum(w.v, w.tree, g, rc, f.operand)
    if code == R_DELAY:
        return quiet(hit(r, k, w), rc)
    return quiet(struck_tree(w.tree, level, at, k, g, rc, w), rc)


@inner
def struck_tree(tree, level, at, k, g, r, w):
    """Root of a filled adder tree after a strike on one of its registers (level, element at)."""
    size = (g.head_dim + 1) // 2
    before = size
    start = 0
    for step in range(g.levels):
        if step == level:
            tree[start + at] = hit(tree[start + at], k, w)
        elif step > level:
            tree_level(tree[start:start + size], tree[start - before:start], before, r, r.flush_below)
        before = size
        start += size
        size = (size + 1) // 2
    return tree[start - 1]
