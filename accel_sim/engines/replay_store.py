"""What the replay engine keeps of the fault-free run of one head, and how it is made."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.lanes_blocks import chain_by_key, products_by_key, tree_by_key, weigh_values
from accel_sim.engines.lanes_golden import KEYS_AT_ONCE, row_sum
from accel_sim.engines.lanes_step import KEY_TILE, TREE, exponential
from accel_sim.engines.replay_rows import max_step, scores_range
from accel_sim.numerics.arithmetic import add, div, div_vs, mul, mul_vs
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet


class Store(NamedTuple):
    """The golden state of a head. T is float32 when no format from operand to state is wider, else float64.

    q (Nq, d), k (N, d), k_t (d, N), v (N, d), v_t (d, N): quiet operands, type T. P, A, M (Nq, N), type T: weight,
    correction and running maximum of each key. r (N,) float64: row sums of v. o (Nq, d) float64: outputs.
    sums (Nq, 2): final l and c. terms (Nq, 2): predicted and actual row sum. scan_terms (Nq, tiles, 2): the
    same, undivided, at each key-tile boundary.
    """

    q: np.ndarray
    k: np.ndarray
    k_t: np.ndarray
    v: np.ndarray
    v_t: np.ndarray
    P: np.ndarray
    A: np.ndarray
    M: np.ndarray
    r: np.ndarray
    o: np.ndarray
    sums: np.ndarray
    terms: np.ndarray
    scan_terms: np.ndarray


@kernel
def fill_store(g, f, data, q, k_t, v, k_t64, v64, scale, P, A, M, r, out, sums, terms, scan_terms, tree):
    """Compute the golden run of a head into the arrays of a `Store` (see there for shapes)."""
    n, d = g.n_keys, g.head_dim
    rst, rc = f.state, f.checker
    scores = np.empty(n)
    weights = np.empty(n)
    corrections = np.empty(n)
    buf = np.empty((d, KEYS_AT_ONCE))
    buf_t = np.empty((d, KEYS_AT_ONCE), q.dtype)
    q64 = np.empty(d)
    o = np.empty(d)
    unit = exponential(0.0, g, f, data.exp_table)
    for i in range(g.n_queries):
        q64[:] = q[i]
        if g.dot == TREE or g.dot == 1:
            for first in range(0, n, KEYS_AT_ONCE):
                count = min(KEYS_AT_ONCE, n - first)
                products_by_key(buf, q64, k_t64, first, count, f.score)
                if g.dot == TREE:
                    tree_by_key(buf, d, count, f.score)
                else:
                    chain_by_key(buf, d, count, f.score)
                for j in range(count):
                    scores[first + j] = mul(buf[0, j], scale, f.score)
        else:
            scores_range(scores, q[i], k_t, 0, n, buf_t, g, f, scale, data.digits)
        m = 0.0
        seen = False
        for j in range(n):
            weights[j] = 0.0
            corrections[j] = unit
            if j <= data.bound[i]:
                m, ds, da = max_step(scores[j], m, seen, f)
                seen = True
                weights[j] = exponential(ds, g, f, data.exp_table)
                if da != 0.0:
                    corrections[j] = exponential(da, g, f, data.exp_table)
            P[i, j] = weights[j]
            A[i, j] = corrections[j]
            M[i, j] = m
        total = 0.0
        for j in range(n):
            total = add(mul(total, corrections[j], rst), weights[j], rst)
        o[:] = 0.0
        c = 0.0
        done = 0
        scan = 0
        while done < n:
            upto = n
            if g.check and g.granularity == KEY_TILE:
                upto = min(n, (scan + 1) * g.key_tile + i % g.lanes)
            weigh_values(o, v64, weights, corrections, done, upto, rst)
            if g.check:
                for j in range(done, upto):
                    c = add(mul(c, corrections[j], rc), mul(weights[j], r[j], rc), rc)
                if g.granularity == KEY_TILE and scan < g.tiles:
                    scan_terms[i, scan, 0] = c
                    scan_terms[i, scan, 1] = row_sum(o, tree, g, rc, 0.0)
                    scan += 1
            done = upto
        sums[i, 0] = total
        sums[i, 1] = c
        finish_row(out[i], terms[i], o, total, c, total, tree, g, f, data.recip_table)


@kernel
def finish_row(row, terms, o, total, c, chk_total, tree, g, f, recip_table):
    """Normalise a row of accumulators into `row`, and form its predicted and actual sums into `terms`."""
    # After a fault an accumulator can be subnormal; where the machine flushes it reads as zero.
    divisor, chk_divisor = quiet(total, f.state), quiet(chk_total, f.state)
    if g.reciprocal:
        divisor = reciprocal_pwl(divisor, recip_table, f.state)
        chk_divisor = reciprocal_pwl(chk_divisor, recip_table, f.state)
        mul_vs(row, o, quiet(divisor, f.state), f.output, f.state.flush_below)
    else:
        div_vs(row, o, divisor, f.output, f.state.flush_below)
    if g.check:
        c = quiet(c, f.checker)
        if g.reciprocal:
            terms[0] = mul(c, quiet(chk_divisor, f.state), f.checker)
        else:
            terms[0] = div(c, chk_divisor, f.checker)
        terms[1] = row_sum(row, tree, g, f.checker, f.output.flush_below)
