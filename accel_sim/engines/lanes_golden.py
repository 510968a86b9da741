"""The fault-free values of a head on the `lanes` machine, computed in the order that is fast.

Same operations on the same operands as `lanes_step`, so the same bits; but a query at a time, with the
dot products of a run of keys side by side (so that the adder tree vectorises over keys), and nothing moved
through registers.
"""

from __future__ import annotations

from accel_sim.engines.lanes_blocks import (
    KEYS_AT_ONCE,
    chain_by_key,
    products_by_key,
    tree_by_key,
    weigh_values,
)
from accel_sim.engines.lanes_step import (
    FUSED,
    HEAD,
    KEY_TILE,
    TREE,
    exponential,
    first_level,
    limit_of,
    max_step,
)
from accel_sim.engines.lanes_tree import tree_root
from accel_sim.engines.observers.golden import watch_query
from accel_sim.numerics.arithmetic import add, div, div_vs, mul, mul_vs, sub
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet, round_to


@kernel
def row_sum(x, tree, g, r, source):
    """Sum of a row, of format `source`, through the checker's adder tree (format r); `tree` is scratch of the tree's
    size, and left holding every level."""
    half = (g.head_dim + 1) // 2
    first_level(tree[:half], x, g.head_dim, r, source)
    return tree_root(tree, half, r)


@kernel
def row_sum_with(x, tree, t, value, g, r, source):
    """`row_sum` of x with element t replaced by `value`; tree: the levels of x itself. Only the path from that
    element to the root is formed."""
    n = g.head_dim
    half = (n + 1) // 2
    at = t if t < half else t - half
    if at + half < n:
        other = quiet(x[at + half if t < half else at], source)
        value = add(quiet(value, source), other, r)
    else:
        value = round_to(quiet(value, source), r)
    start, n = 0, half
    while n > 1:
        half = (n + 1) // 2
        pair = at + half if at < half else at - half
        if pair < n:
            value = add(quiet(value, r), quiet(tree[start + pair], r), r)
        start += n
        at = at if at < half else at - half
        n = half
    return value


@kernel
def row_sums(r, v, tree, g, f):
    """r_j: the row sum of each value vector, as the check unit forms it, into r (N,)."""
    for j in range(v.shape[0]):
        r[j] = row_sum(v[j], tree, g, f.checker, f.operand)


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
def softmax_row(scores, weights, corrections, maxima, first_key, last_key, g, f, table):
    """Weights p_j, corrections a_j and running maxima of one query, online: what the max and exp stages make of
    its scores. All arrays (N,). It may attend to keys first_key … last_key."""
    unit = exponential(0.0, g, f, table)
    m = 0.0
    seen = False
    before = min(first_key, g.n_keys)
    for j in range(before):
        weights[j] = 0.0
        corrections[j] = unit
        maxima[j] = m
    for j in range(before, g.n_keys):
        weights[j] = 0.0
        corrections[j] = unit
        if j <= last_key:
            m, ds, da = max_step(scores[j], m, seen, f)
            seen = True
            weights[j] = exponential(ds, g, f, table)
            if da != 0.0:
                corrections[j] = exponential(da, g, f, table)
        maxima[j] = m


@kernel
def divisor_of(total, g, f, recip_table):
    """What a row is divided by, or multiplied by where the machine has reciprocals, given its running sum l."""
    total = quiet(total, f.state)
    if g.reciprocal:
        return quiet(reciprocal_pwl(total, recip_table, f.state), f.state)
    return total


@kernel
def normalised(x, divisor, g, r):
    """One quotient of the normaliser, in r; `divisor` from `divisor_of`, x quiet."""
    return mul(x, divisor, r) if g.reciprocal else div(x, divisor, r)


@kernel
def finish_row(row, terms, o, total, c, chk_total, tree, g, f, recip_table):
    """Normalise a row of accumulators into `row`, and form its predicted and actual sums into `terms`.

    After a fault an accumulator can be subnormal; where the machine flushes it reads as zero.
    """
    divisor = divisor_of(total, g, f, recip_table)
    if g.reciprocal:
        mul_vs(row, o, divisor, f.output, f.state.flush_below)
    else:
        div_vs(row, o, divisor, f.output, f.state.flush_below)
    if g.check:
        terms[0] = normalised(quiet(c, f.checker), divisor_of(chk_total, g, f, recip_table), g, f.checker)
        terms[1] = row_sum(row, tree, g, f.checker, f.output)


@kernel
def golden_queries(g, f, data, first, last, q, k_t, v, r, scale, tree, rows, buf, o, keep, P, A, M, sums, terms,
                   scan_terms, watched):
    """Outputs of queries first … last − 1 into data.o, and what the check unit sees of them.

    q (Nq, d), k_t (d, N), v (N, d): quiet operands. r (N,): row sums of v. tree (of the tree's size), rows (4, N),
    buf (d, KEYS_AT_ONCE) and o (d,): scratch. keep: whether weights, corrections and maxima go into P, A (Nq, N) and M
    (last − first, N). sums (Nq, 2): final l and c of each query. terms (Nq, 2): its predicted and actual row sum.
    scan_terms (Nq, tiles, 2): the same, undivided, at each key-tile boundary. watched: what the units that only look
    see of each query.
    """
    n = g.n_keys
    rst, rc = f.state, f.checker
    scores, weights, corrections, maxima = rows[0], rows[1], rows[2], rows[3]
    for i in range(first, last):
        score_row(scores, q[i], k_t, buf, g, f, scale, data.digits)
        softmax_row(scores, weights, corrections, maxima, data.first[i], data.bound[i], g, f, data.exp_table)
        if keep:
            for j in range(n):
                P[i, j] = weights[j]
                A[i, j] = corrections[j]
                M[i - first, j] = maxima[j]
        if g.rowsum or g.softmax:
            watch_query(i, scores, maxima, g, f, data, watched)
        total = 0.0
        for j in range(n):
            total = add(mul(total, corrections[j], rst), weights[j], rst)
        o[:] = 0.0
        c = 0.0
        done = 0
        scan = 0
        while done < n:
            # Up to the key after which a scan reads this lane, then on.
            upto = n
            if g.check and g.granularity == KEY_TILE:
                upto = min(n, (scan + 1) * g.key_tile + i % g.lanes)
            weigh_values(o, v, weights, corrections, done, upto, rst)
            if g.check:
                for j in range(done, upto):
                    c = add(mul(c, corrections[j], rc), mul(weights[j], r[j], rc), rc)
                if g.granularity == KEY_TILE and scan < g.tiles:
                    scan_terms[i, scan, 0] = c
                    scan_terms[i, scan, 1] = row_sum(o, tree, g, rc, f.state)
                    scan += 1
            done = upto
        sums[i, 0] = total
        sums[i, 1] = c
        finish_row(data.o[i], terms[i], o, total, c, total, tree, g, f, data.recip_table)


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
    table[n, 0] = cycle
    table[n, 1] = sub(pred, act, rc)
    table[n, 2] = limit_of(threshold, pred, act, g, rc)
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
