"""Row arithmetic of the replay engine: what a changed value does to one query, from there on.

The golden store keeps, for every (query, key), the weight p, the correction a and the running maximum m. From
them any accumulator of any query can be had at any key by running its chain again from key 0; nothing else
of the fault-free run has to be kept.

Arrays of the store have one element type T: float32 when no format from operand to state is wider, else
float64. When the arithmetic of a chain *is* binary32 (or binary64), and nothing is flushed, it runs natively
in that type; the results differ from the machine's at most in the payload of a NaN, which the next rounding
makes canonical. Every other format goes through the same kernels as everywhere.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_step import FUSED, TREE, exponential, max_step
from accel_sim.numerics.arithmetic import add, move, mul
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import round_32, round_narrow, round_to


@inner
def native(r, x):
    """True if chains in r's format may run in the element type of the array x."""
    if r.flush_below != 0.0:
        return False
    return (r.kind == 1 and x.itemsize == 4) or (r.kind == 0 and x.itemsize == 8)


@inner
def scores_range(out, q, k_t, first, last, buf, products, g, f, scale, digits):
    """Scaled scores of the query vector q against keys first … last − 1, into out[first:last].

    buf (d, KEYS_AT_ONCE) of type T and products (d,) float64 are scratch.
    """
    d = g.head_dim
    rs = f.score
    if g.dot == FUSED:
        for j in range(first, last):
            for t in range(d):
                products[t] = mul(np.float64(q[t]), np.float64(k_t[t, j]), f.exact)
            out[j] = mul(fused_sum(products, d, digits, rs, 0.0), scale, rs)
        return
    direct = native(rs, buf)
    if direct and g.dot == TREE and d % 4 == 0:
        for start in range(first, last, KEYS_AT_ONCE):
            count = min(KEYS_AT_ONCE, last - start)
            fold_products(buf, q, k_t, start, count, d)
            for j in range(count):
                out[start + j] = mul(np.float64(buf[0, j]), scale, rs)
        return
    for start in range(first, last, KEYS_AT_ONCE):
        count = min(KEYS_AT_ONCE, last - start)
        for t in range(d):
            s = q[t]
            if direct:
                for j in range(count):
                    buf[t, j] = s * k_t[t, start + j]
            else:
                for j in range(count):
                    buf[t, j] = round_to(np.float64(s) * np.float64(k_t[t, start + j]), rs)
        if g.dot == TREE:
            n = d
            while n > 1:
                h = (n + 1) // 2
                for i in range(n - h):
                    add_rows_t(buf, i, i + h, count, direct, rs)
                n = h
        else:
            for t in range(1, d):
                add_rows_t(buf, 0, t, count, direct, rs)
        for j in range(count):
            out[start + j] = mul(np.float64(buf[0, j]), scale, rs)


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


@inner
def resume_softmax(P, A, i, start, m, seen, bound, golden_bound, fresh, st, w, g, f, data, scale):
    """Run the max and exp stages of query i again from key `start`, with maximum m before it, until the maximum is
    again the golden one; overwrites P and A from there.

    The scores w.S are there up to key `fresh`; the others are computed, a run of keys at a time. bound, golden_bound: last allowed key now, and in the
    golden run. Returns the key from which P and A are golden again.
    """
    n = g.n_keys
    unit = exponential(0.0, g, f, data.exp_table)
    for j in range(start, n):
        if j > bound:
            P[j] = 0.0
            A[j] = unit
            if j > golden_bound:
                return j  # masked in both runs, and so is every later key
            continue
        if j >= fresh:
            upto = min(n, fresh + KEYS_AT_ONCE)
            scores_range(w.S, st.q[i], st.k_t, fresh, upto, w.buf, w.products, g, f, scale, data.digits)
            fresh = upto
        m, ds, da = max_step(w.S[j], m, seen, f)
        seen = True
        P[j] = exponential(ds, g, f, data.exp_table)
        A[j] = exponential(da, g, f, data.exp_table) if da != 0.0 else unit
        if j < n - 1 and j <= golden_bound and bound == golden_bound and same_bits(m, golden_maximum(i, j, st)):
            return j + 1
    return n


@inner
def golden_maximum(i, j, st):
    """Running maximum of query i after key j, in the golden run."""
    low, high = st.m_start[i], st.m_start[i + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if st.m_key[middle] <= j:
            low = middle
        else:
            high = middle
    return np.float64(st.m_value[low])


@inner
def same_bits(a, b):
    """Bit for bit equality of two doubles."""
    return np.float64(a).view(np.int64) == np.float64(b).view(np.int64)


@inner
def accumulate_row(o, v, P, A, first, last, r):
    """o = o · a_j + p_j · v_j over keys first … last − 1, every operation rounded. o (d,) of type T."""
    d = o.shape[0]
    if native(r, o):
        j = first
        while j < last:
            # Four keys at a time while the maximum stands still: the accumulators are loaded and stored once.
            if j + 4 <= last and A[j] == 1.0 and A[j + 1] == 1.0 and A[j + 2] == 1.0 and A[j + 3] == 1.0:
                p0, p1, p2, p3 = P[j], P[j + 1], P[j + 2], P[j + 3]
                for t in range(d):
                    o[t] = (((o[t] + p0 * v[j, t]) + p1 * v[j + 1, t]) + p2 * v[j + 2, t]) + p3 * v[j + 3, t]
                j += 4
                continue
            a, p = A[j], P[j]
            for t in range(d):
                o[t] = o[t] * a + p * v[j, t]
            j += 1
        return
    flush = r.flush_below
    for j in range(first, last):
        a, p = np.float64(A[j]), np.float64(P[j])
        if r.kind == 1:
            for t in range(d):
                scaled = round_32(np.float64(o[t]) * a, flush)
                o[t] = round_32(scaled + round_32(p * np.float64(v[j, t]), flush), flush)
        else:
            for t in range(d):
                if r.kind == 0:
                    scaled = round_to(np.float64(o[t]) * a, r)
                    o[t] = round_to(scaled + round_to(p * np.float64(v[j, t]), r), r)
                else:
                    scaled = round_narrow(np.float64(o[t]) * a, r.magic, r.min_normal, r.max_finite,
                                          r.overflow, flush)
                    pv = round_narrow(p * np.float64(v[j, t]), r.magic, r.min_normal, r.max_finite,
                                      r.overflow, flush)
                    o[t] = round_narrow(scaled + pv, r.magic, r.min_normal, r.max_finite, r.overflow, flush)


@inner
def column_chain(o, v_t, P, A, first, last, r):
    """One column of `accumulate_row`: returns the accumulator after keys first … last − 1. v_t (N,): the
    column of v, of type T."""
    if native(r, v_t):
        if r.kind == 1:
            x = np.float32(o)
            for j in range(first, last):
                if A[j] != 1.0:  # seldom, and what is left is one addition deep
                    x = x * A[j]
                x = x + P[j] * v_t[j]
            return round_to(np.float64(x), r)
        y = np.float64(o)
        for j in range(first, last):
            y = y * A[j] + P[j] * v_t[j]
        return round_to(y, r)
    for j in range(first, last):
        pv = round_to(np.float64(P[j]) * np.float64(v_t[j]), r)
        o = round_to(round_to(o * np.float64(A[j]), r) + pv, r)
    return o


@inner
def sum_chain(total, P, A, first, last, r):
    """The running sum l after keys first … last − 1: l = l · a_j + p_j. P, A of type T."""
    if native(r, P):
        if r.kind == 1:
            x = np.float32(total)
            for j in range(first, last):
                if A[j] != 1.0:
                    x = x * A[j]
                x = x + P[j]
            return round_to(np.float64(x), r)
        y = np.float64(total)
        for j in range(first, last):
            y = y * A[j] + P[j]
        return round_to(y, r)
    for j in range(first, last):
        total = add(mul(total, np.float64(A[j]), r), np.float64(P[j]), r)
    return total


@inner
def checksum_chain(c, row_sums, P, A, first, last, r):
    """The checksum c after keys first … last − 1: c = c · a_j + p_j · r_j. row_sums (N,) float64."""
    if r.kind == 1 and r.flush_below == 0.0 and P.itemsize == 4:
        x = np.float32(c)
        for j in range(first, last):
            if A[j] != 1.0:
                x = x * np.float32(A[j])
            x = x + np.float32(P[j]) * np.float32(row_sums[j])
        return round_to(np.float64(x), r)
    if r.kind == 0 and r.flush_below == 0.0:
        for j in range(first, last):
            c = c * np.float64(A[j]) + np.float64(P[j]) * row_sums[j]
        return round_to(c, r)
    for j in range(first, last):
        c = add(mul(c, np.float64(A[j]), r), mul(np.float64(P[j]), row_sums[j], r), r)
    return c


@inner
def both_chains(total, c, row_sums, P, A, first, last, rst, rc):
    """(`sum_chain`, `checksum_chain`) of the same weights. Where both run natively in binary32 they run side by side,
    since each alone waits for its own last addition."""
    if native(rst, P) and rst.kind == 1 and rc.kind == 1 and rc.flush_below == 0.0:
        x, y = np.float32(total), np.float32(c)
        for j in range(first, last):
            p, a = P[j], A[j]
            if a != 1.0:
                x = x * a
                y = y * a
            x = x + p
            y = y + p * np.float32(row_sums[j])
        return round_to(np.float64(x), rst), round_to(np.float64(y), rc)
    return sum_chain(total, P, A, first, last, rst), checksum_chain(c, row_sums, P, A, first, last, rc)


@inner
def turn_block(block, st, g, w):
    """Weights and corrections of a block's queries, key by key, into w.PT and w.AT (N, P)."""
    if w.turned[0] == block:
        return
    w.turned[0] = block
    first = block * g.lanes
    for lane in range(min(g.lanes, g.n_queries - first)):
        P, A = st.P[first + lane], st.A[first + lane]
        for j in range(g.n_keys):
            w.PT[j, lane] = P[j]
            w.AT[j, lane] = A[j]


@inner
def lanes_column(x, v_t, j, value, start, PT, AT):
    """One column of every lane's accumulators, natively, from key `start` on: x (P,) of type T, in and out. Element j of
    the column v_t is `value`."""
    for key in range(start, v_t.shape[0]):
        element = v_t.dtype.type(value) if key == j else v_t[key]
        for lane in range(x.shape[0]):
            x[lane] = x[lane] * AT[key, lane] + PT[key, lane] * element


@inner
def lanes_checksum(x, row_sums, j, value, start, PT, AT):
    """The checksums of every lane, natively in binary32: x (P,) float32, in and out. Row sum j is `value`."""
    for key in range(start, row_sums.shape[0]):
        r = np.float32(value if key == j else row_sums[key])
        for lane in range(x.shape[0]):
            x[lane] = x[lane] * AT[key, lane] + PT[key, lane] * r


@inner
def keep_accumulators(st, g, rst, rc, o):
    """Fill the golden accumulators o_at, l_at, c_at of the store; o (d,) is scratch of type T."""
    for i in range(g.n_queries):
        o[:] = 0
        total = 0.0
        c = 0.0
        P, A = st.P[i], st.A[i]
        for n in range(st.o_at.shape[1]):
            move(st.o_at[i, n], o)
            st.l_at[i, n] = total
            st.c_at[i, n] = c
            first = n * st.spacing
            last = min(first + st.spacing, g.n_keys)
            accumulate_row(o, st.v, P, A, first, last, rst)
            if g.check:
                total, c = both_chains(total, c, st.r, P, A, first, last, rst, rc)
            else:
                total = sum_chain(total, P, A, first, last, rst)
