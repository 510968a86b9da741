"""The fault-free values of a head on the `lanes` machine, computed in the order that is fast.

Same operations on the same operands as `lanes_step`, so the same bits; but a query at a time, with the
dot products of a run of keys side by side (so that the adder tree vectorises over keys), and nothing moved
through registers.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_blocks import chain_by_key, products_by_key, tree_by_key, weigh_values
from accel_sim.engines.lanes_step import FUSED, HEAD, KEY_TILE, TREE, exponential, first_level
from accel_sim.numerics.arithmetic import add, div, div_vs, maximum, mul, mul_vs, sub, tree_level
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet, round_to

KEYS_AT_ONCE = 64
"""Keys whose dot products are formed side by side: d × 64 doubles stay in the nearest caches."""


@kernel
def row_sum(x, tree, g, r, flush_below):
    """Sum of a row through the checker's adder tree; `tree` is scratch of the tree's size."""
    size = g.head_dim
    start = (size + 1) // 2
    first_level(tree[:start], x, size, r, flush_below)
    size = start
    while size > 1:
        h = (size + 1) // 2
        tree_level(tree[start:start + h], tree[start - size:start], size, r, r.flush_below)
        start += h
        size = h
    return tree[start - 1]


@kernel
def row_sums(v, tree, g, f):
    """r_j: the row sum of each value vector, as the check unit forms it."""
    r = np.empty(v.shape[0])
    for j in range(v.shape[0]):
        r[j] = row_sum(v[j], tree, g, f.checker, 0.0)
    return r


@kernel
def score_row(out, q, k_t, buf, g, f, scale, digits):
    """Scaled scores of one query against every key, into out (N,).

    k_t (d, N): the keys, transposed. buf (d, KEYS_AT_ONCE) is scratch.
    """
    d, n = g.head_dim, g.n_keys
    rs = f.score
    if g.dot == FUSED:
        products = buf.reshape(buf.size)[:d]
        for j in range(n):
            for t in range(d):
                products[t] = mul(q[t], k_t[t, j], f.exact)
            out[j] = mul(fused_sum(products, d, digits, rs, 0.0), scale, rs)
        return
    for first in range(0, n, KEYS_AT_ONCE):
        count = min(KEYS_AT_ONCE, n - first)
        products_by_key(buf, q, k_t, first, count, rs)
        if g.dot == TREE:
            tree_by_key(buf, d, count, rs)
        else:
            chain_by_key(buf, d, count, rs)
        for j in range(count):
            out[first + j] = mul(buf[0, j], scale, rs)


@kernel
def softmax_row(scores, weights, corrections, last_key, g, f, table):
    """Weights p_j and corrections a_j of one query, online: what the max and exp stages make of its scores."""
    rst = f.state
    unit = exponential(0.0, g, f, table)
    m = 0.0
    seen = False
    for j in range(g.n_keys):
        corrections[j] = unit
        if j > last_key:
            weights[j] = 0.0
            continue
        s = scores[j]
        new = round_to(s, rst)
        if seen:
            old = m
            new = maximum(old, new)
            da = sub(old, new, f.score)
            if da != 0.0:
                corrections[j] = exponential(da, g, f, table)
        weights[j] = exponential(sub(s, new, f.score), g, f, table)
        m = new
        seen = True


@kernel
def golden_queries(g, f, data, q, k_t, v, r, scale, scores, weights, corrections, buf, tree, terms, scan_terms):
    """Outputs of every query into data.o, and what the check unit sees of them.

    q (Nq, d), k_t (d, N), v (N, d): quiet operands. r (N,): row sums of v. scores, weights, corrections:
    (N,) scratch. terms (Nq, 2): predicted and actual row sum of each query. scan_terms (Nq, tiles, 2): the
    same, undivided, at each key-tile boundary.
    """
    n = g.n_keys
    rst, rc = f.state, f.checker
    o = np.empty(g.head_dim)
    for i in range(g.n_queries):
        score_row(scores, q[i], k_t, buf, g, f, scale, data.digits)
        softmax_row(scores, weights, corrections, data.bound[i], g, f, data.exp_table)
        total = 0.0
        for j in range(n):
            total = add(mul(total, corrections[j], rst), weights[j], rst)
        o[:] = 0.0
        c = 0.0
        if not g.check:
            weigh_values(o, v, weights, corrections, 0, n, rst)
        else:
            done = 0
            scan = 0
            while done < n:
                # Up to the key after which a scan reads this lane, then on.
                upto = n
                if g.granularity == KEY_TILE:
                    upto = min(n, (scan + 1) * g.key_tile + i % g.lanes)
                weigh_values(o, v, weights, corrections, done, upto, rst)
                for j in range(done, upto):
                    c = add(mul(c, corrections[j], rc), mul(weights[j], r[j], rc), rc)
                done = upto
                if g.granularity == KEY_TILE and scan < g.tiles:
                    scan_terms[i, scan, 0] = c
                    scan_terms[i, scan, 1] = row_sum(o, tree, g, rc, 0.0)
                    scan += 1
        row = data.o[i]
        if g.reciprocal:
            total = reciprocal_pwl(total, data.recip_table, rst)
            mul_vs(row, o, quiet(total, rst), f.output, 0.0)
        else:
            div_vs(row, o, total, f.output, 0.0)
        if g.check:
            terms[i, 0] = mul(c, quiet(total, rst), rc) if g.reciprocal else div(c, total, rc)
            terms[i, 1] = row_sum(row, tree, g, rc, 0.0)


@kernel
def add_terms(terms, first, last, pred, act, rc):
    """Add the terms of queries first … last − 1 to pred and act, in order."""
    for i in range(first, last):
        pred = add(pred, terms[i, 0], rc)
        act = add(act, terms[i, 1], rc)
    return pred, act


@kernel
def compare(table, n, cycle, pred, act, scanned, threshold, g, rc):
    """Write comparison n into the table (columns as in `lanes_step`)."""
    threshold = quiet(threshold, rc)
    table[n, 0] = cycle
    table[n, 1] = sub(pred, act, rc)
    table[n, 2] = mul(threshold, maximum(abs(pred), abs(act)), rc) if g.relative else threshold
    table[n, 3] = pred
    table[n, 4] = act
    table[n, 5] = 1.0 if scanned else 0.0


@kernel
def golden_comparisons(g, f, terms, scan_terms, threshold, scan_threshold, block_cycles, scan_cycles, table):
    """Every comparison of the head, in order; returns how many.

    block_cycles (blocks,) and scan_cycles (blocks, tiles): cycle of each residual; a scan whose cycle is
    negative is not taken.
    """
    rc = f.checker
    n = 0
    pred = 0.0
    act = 0.0
    for block in range(g.blocks):
        first = block * g.lanes
        last = min(first + g.lanes, g.n_queries)
        if g.granularity == KEY_TILE:
            for tile in range(g.tiles):
                if scan_cycles[block, tile] >= 0:
                    pred, act = add_terms(scan_terms[:, tile], first, last, 0.0, 0.0, rc)
                    compare(table, n, scan_cycles[block, tile], pred, act, True, scan_threshold, g, rc)
                    n += 1
        if g.granularity != HEAD:
            pred, act = 0.0, 0.0
        pred, act = add_terms(terms, first, last, pred, act, rc)
        if g.granularity != HEAD or block == g.blocks - 1:
            compare(table, n, block_cycles[block], pred, act, False, threshold, g, rc)
            n += 1
    return n
