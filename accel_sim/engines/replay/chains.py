"""The running sums of a query, key by key: output accumulators o, sum of weights l, checksum c.

The golden store keeps, for every (query, key), the weight p and the correction a, and the accumulators every few
keys. From them any accumulator of any query can be had at any key by running its chain from there.

Arrays of the store have one element type T: float32 when no format from operand to state is wider, else
float64. When the arithmetic of a chain *is* binary32 (or binary64), and nothing is flushed, it runs natively
in that type; the results differ from the machine's at most in the payload of a NaN, which the next rounding
makes canonical. Every other format goes through the same kernels as everywhere.
"""

from __future__ import annotations

import numpy as np

from accel_sim.numerics.arithmetic import add, move, mul
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import round_32, round_narrow, round_to


@inner
def native(r, x):
    """True if chains in r's format may run in the element type of the array x."""
    if r.flush_below != 0.0:
        return False
    return (r.kind == 1 and x.itemsize == 4) or (r.kind == 0 and x.itemsize == 8)


@inner
def binary32(r, x):
    """True if chains in r's format may run in binary32 on the array x, which is of that type."""
    return r.kind == 1 and r.flush_below == 0.0 and x.itemsize == 4


@inner
def same_bits(a, b):
    """Bit for bit equality of two doubles."""
    return np.float64(a).view(np.int64) == np.float64(b).view(np.int64)


@inner
def canonical(x):
    """x with any NaN made the canonical one, as float64."""
    y = np.float64(x)
    return y if y == y else np.nan


@inner
def widen(out, x):
    """Copy x of type T into the float64 array out."""
    for t in range(x.shape[0]):
        out[t] = np.float64(x[t])


@inner
def base_of(when, st):
    """(n, key): the last golden accumulators st.*_at[:, n] that the keys before `when` alone have made, after `key`
    keys."""
    n = min(when // st.spacing, st.o_at.shape[1] - 1)
    return n, n * st.spacing


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
    if binary32(r, P):
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
    if binary32(rst, P) and binary32(rc, P):
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
def sum_through(total, start, weight, when, P, A, n, r):
    """The running sum over all n keys when key `when` weighs `weight`; it is `total` after `start` keys."""
    total = sum_chain(total, P, A, start, when, r)
    total = add(mul(total, np.float64(A[when]), r), weight, r)
    return sum_chain(total, P, A, when + 1, n, r)


@inner
def checksum_through(c, start, pr, when, row_sums, P, A, n, r):
    """The checksum over all n keys when key `when` adds `pr`; it is `c` after `start` keys."""
    c = checksum_chain(c, row_sums, P, A, start, when, r)
    c = add(mul(c, np.float64(A[when]), r), pr, r)
    return checksum_chain(c, row_sums, P, A, when + 1, n, r)


@inner
def final_accumulators(o, i, st, g, f):
    """The output accumulators of query i at the end of the golden run, into o (d,) of type T."""
    n, key = base_of(g.n_keys, st)
    move(o, st.o_at[i, n])
    accumulate_row(o, st.v, st.P[i], st.A[i], key, g.n_keys, f.state)


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
