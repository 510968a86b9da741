"""Faults behind the lanes: the register holds something of the row that is being delivered."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_golden import divisor_of, normalised, row_sum
from accel_sim.engines.lanes_step import KEY_TILE
from accel_sim.engines.replay.chains import base_of, column_chain, final_accumulators
from accel_sim.engines.replay.codes import (
    ADDRESS,
    NORM_C,
    NORM_L,
    NORM_O,
    OUT,
    OUT_TREE,
    PRED_DELAY,
    PRED_TERM,
    RECIP,
    RECIP_C,
    RECIP_O,
)
from accel_sim.engines.replay.finish import new_element, new_term
from accel_sim.engines.replay.strike import hit, struck_tree
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, ROW, TERMS, ZERO
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def replay_drain(code, own, cycle, at, level, k, cw, st, g, f, data, w):
    """A register behind the lanes, or the check unit's own copy of it: (MASKED, CHANGED or FALL_BACK, block)."""
    if g.granularity == KEY_TILE and (code == NORM_O or code == NORM_C or code == OUT_TREE or code == PRED_DELAY):
        return FALL_BACK, ZERO  # rows of scans pass there as well
    since = cycle - lag_of(code, at, level, cw)
    swap = since // cw.period
    lane = since - swap * cw.period
    block = swap - 1
    i = block * g.lanes + lane
    if block < 0 or block >= g.blocks or lane >= g.lanes or i >= g.n_queries:
        return MASKED, ZERO
    if code == ADDRESS:
        return FALL_BACK, ZERO
    if g.granularity == KEY_TILE:
        for tile in range(g.tiles):  # scanned before the row was read
            move(w.scans[lane, tile], st.scan_terms[i, tile])
    return replay_row(code, own, lane, i, at, level, k, st, g, f, data, w), block


@inner
def lag_of(code, at, level, cw):
    """Cycles from the swap cycle that reads a lane to the one in which the register holds something of its row."""
    if code == ADDRESS:
        return 1 + level
    if code == RECIP or code == RECIP_O or code == RECIP_C:
        return 2
    if code == OUT or code == PRED_TERM:
        return 1 + cw.normalise
    if code == OUT_TREE:
        return 2 + cw.normalise + level
    if code == PRED_DELAY:
        return 2 + cw.normalise + at
    return 1


@inner
def replay_row(code, own, lane, i, at, level, k, st, g, f, data, w):
    """A register that holds something of the finished row of query i: MASKED, CHANGED or FALL_BACK."""
    rst, rc = f.state, f.checker
    total, c = st.sums[i, 0], st.sums[i, 1]
    divisor = divisor_of(total, g, f, data.recip_table)
    if code == NORM_O or code == RECIP_O:
        n, key = base_of(g.n_keys, st)
        x = column_chain(np.float64(st.o_at[i, n, at]), st.v_t[at], st.P[i], st.A[i], key, g.n_keys, rst)
        value = normalised(quiet(hit(x, k, w), rst), divisor, g, f.output)
        return new_element(lane, i, at, value, st, g, f, w)
    if code == NORM_C or code == RECIP_C:
        return new_term(lane, i, normalised(quiet(hit(c, k, w), rc), divisor, g, rc), st, w)
    if code == NORM_L or code == RECIP:
        if code == NORM_L:
            divisor = divisor_of(hit(total, k, w), g, f, data.recip_table)
        else:
            divisor = quiet(hit(divisor, k, w), rst)
        if own:
            return new_term(lane, i, normalised(quiet(c, rc), divisor, g, rc), st, w)
        return divided_by(lane, i, divisor, st, g, f, w)
    if code == OUT:
        return new_element(lane, i, at, hit(st.o[i, at], k, w), st, g, f, w)
    if code == PRED_TERM or code == PRED_DELAY:
        return new_term(lane, i, hit(st.terms[i, 0], k, w), st, w)
    if code == OUT_TREE:
        move(w.tree, st.out_tree[i])
        w.terms[lane, 0] = st.terms[i, 0]
        w.terms[lane, 1] = struck_tree(w.tree, level, at, k, g, rc, w)
        w.changed[lane] = TERMS
        return CHANGED
    return FALL_BACK


@inner
def divided_by(lane, i, divisor, st, g, f, w):
    """Query i with its golden accumulators divided by something else: CHANGED."""
    final_accumulators(w.o, i, st, g, f)
    row = w.rows[lane]
    for t in range(g.head_dim):
        row[t] = normalised(quiet(np.float64(w.o[t]), f.state), divisor, g, f.output)
    if g.check:
        c = quiet(st.sums[i, 1], f.checker)
        w.terms[lane, 0] = st.terms[i, 0] if g.own_sum else normalised(c, divisor, g, f.checker)
        w.terms[lane, 1] = row_sum(row, w.tree, g, f.checker, f.output)
    w.changed[lane] = ROW
    return CHANGED
