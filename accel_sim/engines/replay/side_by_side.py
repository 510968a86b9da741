"""All lanes of a block together, natively: what a value that every lane reads does to one column or to the checksums.

A chain waits for its own last addition; the chains of many lanes do not wait for each other. Both functions return
MASKED or CHANGED and leave what came out under the lanes.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_golden import divisor_of, normalised
from accel_sim.engines.replay.chains import base_of
from accel_sim.engines.replay.finish import new_accumulator, new_checksum
from accel_sim.engines.replay.types import MASKED
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_to


@inner
def columns_again(block, j, t, value, st, g, f, data, w):
    """Column t of every lane with v[j, t] being `value`; state format native in T."""
    turn_block(block, st, g, w)
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    n, start = base_of(j, st)
    x = w.columns[:last - first]
    for i in range(first, last):
        x[i - first] = st.o_at[i, n, t]
    lanes_column(x, st.v_t[t], j, value, start, w.PT, w.AT)
    status = MASKED
    for i in range(first, last):
        o = round_to(np.float64(x[i - first]), f.state)
        status = max(status, new_accumulator(i - first, i, t, o, st, g, f, data, w))
    return status


@inner
def checksums_again(block, j, row_sum, st, g, f, data, w):
    """The checksum of every lane with r_j being `row_sum`; checker format native, T binary32. A lane whose output has
    changed already keeps that."""
    turn_block(block, st, g, w)
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    n, start = base_of(j, st)
    x = w.checksums[:last - first]
    for i in range(first, last):
        x[i - first] = st.c_at[i, n]
    lanes_checksum(x, st.r, j, row_sum, start, w.PT, w.AT)
    status = MASKED
    for i in range(first, last):
        c = round_to(np.float64(x[i - first]), f.checker)
        if w.changed[i - first]:
            divisor = divisor_of(st.sums[i, 0], g, f, data.recip_table)
            w.terms[i - first, 0] = normalised(quiet(c, f.checker), divisor, g, f.checker)
        else:
            status = max(status, new_checksum(i - first, i, c, st.sums[i, 0], st, g, f, data, w))
    return status


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
    """One column of every lane's accumulators from key `start` on: x (P,) of type T, in and out. Element j of the
    column v_t is `value`."""
    for key in range(start, v_t.shape[0]):
        element = v_t.dtype.type(value) if key == j else v_t[key]
        for lane in range(x.shape[0]):
            x[lane] = x[lane] * AT[key, lane] + PT[key, lane] * element


@inner
def lanes_checksum(x, row_sums, j, value, start, PT, AT):
    """The checksums of every lane from key `start` on: x (P,) float32, in and out. Row sum j is `value`."""
    for key in range(start, row_sums.shape[0]):
        r = np.float32(value if key == j else row_sums[key])
        for lane in range(x.shape[0]):
            x[lane] = x[lane] * AT[key, lane] + PT[key, lane] * r
