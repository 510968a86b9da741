"""One query accumulated again: with other weights (`rerun_weights`), or with one event on the way (`rerun_event`).

Only what can change is run: a column of the output, a running sum, or (`rerun_row`) everything. All return MASKED
or CHANGED and leave what came out under the query's lane.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.lanes_golden import row_sum
from accel_sim.engines.lanes_step import KEY_TILE
from accel_sim.engines.replay.chains import (
    accumulate_row,
    base_of,
    both_chains,
    canonical,
    checksum_chain,
    checksum_through,
    column_chain,
    final_accumulators,
    sum_chain,
    sum_through,
    widen,
)
from accel_sim.engines.replay.finish import new_accumulator, new_checksum, new_row
from accel_sim.engines.replay.strike import hit
from accel_sim.engines.replay.types import ZERO
from accel_sim.numerics.arithmetic import add, move, mul
from accel_sim.numerics.jit import Word, inner
from accel_sim.numerics.rounding import quiet, round_to

NO_EVENT, AT_O, AT_L, AT_C, AT_CHK_L, AT_PV, AT_P_ACC, AT_CHK_PR, AT_V, AT_R, AT_V_AND_R, AT_CHK_P_ACC = (
    np.int64(event) for event in range(12))
"""Up to AT_CHK_L an event strikes the accumulator after `when` keys; the others change what key `when` adds."""

DATAPATH, CHECKER, BOTH = (np.int64(side) for side in range(3))
"""Who works with changed weights: the datapath (and a check unit that shares them), the check unit alone, or both."""


class Event(NamedTuple):
    """What happens to an accumulation: kind, and when (see AT_O); at: the struck dim; value, row_sum: what stands for
    v[when, at] (AT_V) and for the row sum of v[when] (AT_R)."""

    kind: Word
    when: Word
    at: Word
    value: float
    row_sum: float


@inner
def rerun_weights(lane, i, first, side, k, st, g, f, data, w):
    """Query i again with weights that were changed from key `first` on: w.PC, w.AC for the CHECKER, else w.P, w.A."""
    P, A = st.P[i], st.A[i]
    PC, AC = P, A
    if side == CHECKER:
        PC, AC = w.PC, w.AC
        if g.granularity != KEY_TILE:
            n, start = base_of(first, st)
            c = checksum_chain(st.c_at[i, n], st.r, PC, AC, start, g.n_keys, f.checker)
            own = st.sums[i, 0]
            if g.own_sum:
                own = sum_chain(st.l_at[i, n], PC, AC, start, g.n_keys, f.state)
            return new_checksum(lane, i, c, own, st, g, f, data, w)
    else:
        P, A = w.P, w.A
        if side == BOTH or not g.own_exp:
            PC, AC = P, A
    nothing = Event(NO_EVENT, first, ZERO, 0.0, 0.0)
    return rerun_row(lane, i, P, A, PC, AC, nothing, k, st, g, f, data, w)


@inner
def rerun_event(lane, i, e, k, st, g, f, data, w):
    """Query i again with golden weights and the event e."""
    if g.granularity == KEY_TILE or e.kind == AT_V_AND_R:
        P, A = st.P[i], st.A[i]
        return rerun_row(lane, i, P, A, P, A, e, k, st, g, f, data, w)
    if e.kind == AT_O or e.kind == AT_PV or e.kind == AT_V:
        return rerun_column(lane, i, e, k, st, g, f, data, w)
    if e.kind == AT_L or e.kind == AT_P_ACC:
        return rerun_sum(lane, i, e, k, st, g, f, data, w)
    return rerun_checksum(lane, i, e, k, st, g, f, data, w)


@inner
def rerun_column(lane, i, e, k, st, g, f, data, w):
    """One column of the accumulators of query i again: AT_O, AT_PV or AT_V."""
    P, A, v = st.P[i], st.A[i], st.v_t[e.at]
    rst = f.state
    n, start = base_of(e.when, st)
    x = column_chain(np.float64(st.o_at[i, n, e.at]), v, P, A, start, e.when, rst)
    after = e.when
    if e.kind == AT_O:
        x = quiet(hit(x, k, w), rst)
    else:
        pv = round_to(np.float64(P[after]) * (e.value if e.kind == AT_V else np.float64(v[after])), rst)
        if e.kind == AT_PV:
            pv = quiet(hit(pv, k, w), rst)
        x = add(mul(x, np.float64(A[after]), rst), pv, rst)
        after += 1
    x = column_chain(x, v, P, A, after, g.n_keys, rst)
    return new_accumulator(lane, i, e.at, x, st, g, f, data, w)


@inner
def rerun_sum(lane, i, e, k, st, g, f, data, w):
    """The running sum of query i again, and the whole row with its new divisor: AT_L or AT_P_ACC."""
    P, A = st.P[i], st.A[i]
    rst = f.state
    n, start = base_of(e.when, st)
    total = st.l_at[i, n]
    if e.kind == AT_L:
        total = sum_chain(total, P, A, start, e.when, rst)
        total = sum_chain(quiet(hit(total, k, w), rst), P, A, e.when, g.n_keys, rst)
    else:
        weight = quiet(hit(np.float64(P[e.when]), k, w), f.exp)
        total = sum_through(total, start, weight, e.when, P, A, g.n_keys, rst)
    own = total
    if g.own_sum and (e.kind == AT_L or g.own_exp):
        own = st.sums[i, 0]
    final_accumulators(w.o, i, st, g, f)
    return new_row(lane, w.o, total, st.sums[i, 1], own, g, f, data, w)


@inner
def rerun_checksum(lane, i, e, k, st, g, f, data, w):
    """The checksum of query i again, or the check unit's own sum: AT_C, AT_CHK_PR, AT_R, AT_CHK_L or AT_CHK_P_ACC."""
    P, A = st.P[i], st.A[i]
    rst, rc = f.state, f.checker
    n, start = base_of(e.when, st)
    c, own = st.sums[i, 1], st.sums[i, 0]
    if e.kind == AT_C:
        c = checksum_chain(st.c_at[i, n], st.r, P, A, start, e.when, rc)
        c = checksum_chain(quiet(hit(c, k, w), rc), st.r, P, A, e.when, g.n_keys, rc)
    elif e.kind == AT_CHK_L:
        own = sum_chain(st.l_at[i, n], P, A, start, e.when, rst)
        own = sum_chain(quiet(hit(own, k, w), rst), P, A, e.when, g.n_keys, rst)
    elif e.kind == AT_CHK_P_ACC:
        weight = quiet(hit(np.float64(P[e.when]), k, w), f.exp)
        own = sum_through(st.l_at[i, n], start, weight, e.when, P, A, g.n_keys, rst)
    else:
        pr = mul(np.float64(P[e.when]), quiet(e.row_sum, rc) if e.kind == AT_R else st.r[e.when], rc)
        if e.kind == AT_CHK_PR:
            pr = quiet(hit(pr, k, w), rc)
        c = checksum_through(st.c_at[i, n], start, pr, e.when, st.r, P, A, g.n_keys, rc)
    return new_checksum(lane, i, c, own, st, g, f, data, w)


@inner
def rerun_row(lane, i, P, A, PC, AC, e, k, st, g, f, data, w):
    """All of query i again with weights P, A (PC, AC at the check unit) and the event e, scans included. No weight of a
    key before e.when differs from the golden run's."""
    n = g.n_keys
    rst, rc = f.state, f.checker
    o = w.o
    scanning = g.granularity == KEY_TILE
    base, done = base_of(e.when, st)
    if scanning:
        base, done = ZERO, ZERO  # scans before the event are taken again too
    move(o, st.o_at[i, base])
    total, c = st.l_at[i, base], st.c_at[i, base]
    own = total
    scan = 0
    pending = e.kind != NO_EVENT
    while True:
        if pending and done == e.when and e.kind <= AT_CHK_L:
            pending = False
            total, c, own = strike_accumulator(o, total, c, own, e, k, f, w)
        scan_at = n + 1
        if scanning and scan < g.tiles:
            scan_at = (scan + 1) * g.key_tile + lane
        if done == scan_at:
            widen(w.v, o)
            w.scans[lane, scan, 0] = c
            w.scans[lane, scan, 1] = row_sum(w.v, w.tree, g, rc, rst)
            scan += 1
            continue
        if done >= n:
            break
        if pending and done == e.when:
            pending = False
            total, c, own = add_struck_key(o, total, c, own, P, A, PC, AC, e, k, st, g, f, w)
            done += 1
            continue
        upto = min(n, scan_at)
        if pending:
            upto = min(upto, e.when)
        accumulate_row(o, st.v, P, A, done, upto, rst)
        if g.check and not g.own_exp:
            total, c = both_chains(total, c, st.r, P, A, done, upto, rst, rc)
        else:
            total = sum_chain(total, P, A, done, upto, rst)
            if g.check:
                c = checksum_chain(c, st.r, PC, AC, done, upto, rc)
        if g.own_sum:
            own = sum_chain(own, PC, AC, done, upto, rst)
        done = upto
    return new_row(lane, o, total, c, own if g.own_sum else total, g, f, data, w)


@inner
def strike_accumulator(o, total, c, own, e, k, f, w):
    """(l, c, own l) after the event e between two keys; AT_O strikes o in place."""
    if e.kind == AT_O:
        o[e.at] = quiet(hit(canonical(o[e.at]), k, w), f.state)
    elif e.kind == AT_L:
        total = quiet(hit(total, k, w), f.state)
    elif e.kind == AT_C:
        c = quiet(hit(c, k, w), f.checker)
    else:
        own = quiet(hit(own, k, w), f.state)
    return total, c, own


@inner
def add_struck_key(o, total, c, own, P, A, PC, AC, e, k, st, g, f, w):
    """(l, c, own l) after key e.when with the event e in what it adds; o is accumulated in place."""
    j = e.when
    rst, rc = f.state, f.checker
    p, a = np.float64(P[j]), np.float64(A[j])
    pc, ac = np.float64(PC[j]), np.float64(AC[j])
    new_v = e.kind == AT_V or e.kind == AT_V_AND_R
    for t in range(o.shape[0]):
        pv = round_to(p * (e.value if new_v and t == e.at else np.float64(st.v[j, t])), rst)
        if e.kind == AT_PV and t == e.at:
            pv = quiet(hit(pv, k, w), rst)
        o[t] = add(mul(np.float64(o[t]), a, rst), pv, rst)
    weight: float = p
    if e.kind == AT_P_ACC:
        weight = quiet(hit(p, k, w), f.exp)
    total = add(mul(total, a, rst), weight, rst)
    if g.check:
        new_r = e.kind == AT_R or e.kind == AT_V_AND_R
        pr = mul(pc, quiet(e.row_sum, rc) if new_r else st.r[j], rc)
        if e.kind == AT_CHK_PR:
            pr = quiet(hit(pr, k, w), rc)
        c = add(mul(c, ac, rc), pr, rc)
        own_weight: float = pc if g.own_exp else weight
        if e.kind == AT_CHK_P_ACC:
            own_weight = quiet(hit(pc, k, w), f.exp)
        own = add(mul(own, ac, rst), own_weight, rst)
    return total, c, own
