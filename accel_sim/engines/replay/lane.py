"""Faults in what a lane keeps for its query, from its load to its drain."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_step import KEY_TILE, SERIAL
from accel_sim.engines.replay.codes import ACTIVE, BOUND, C_SUM, FIRST, L_SUM, MAX, SEEN, Q
from accel_sim.engines.replay.rerun import (
    AT_C,
    AT_CHK_L,
    AT_L,
    AT_O,
    BOTH,
    CHECKER,
    DATAPATH,
    Event,
    rerun_event,
    rerun_weights,
)
from accel_sim.engines.replay.strike import hit
from accel_sim.engines.replay.types import CHANGED, DROPPED, FALL_BACK, MASKED, ZERO
from accel_sim.engines.replay.weights import before_key, with_maximum, with_query
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def replay_lane(code, own, lane, cycle, at, k, cw, st, g, f, data, w):
    """A register of a lane, or the check unit's own copy of it: (MASKED, CHANGED or FALL_BACK, block)."""
    since = cycle - 1 - lane
    block = since // cw.period
    if since < 0 or block >= g.blocks:
        # Before the first load the flag is still read, by the first swap's drain.
        return (FALL_BACK if code == ACTIVE and since < 0 else MASKED), ZERO
    i = block * g.lanes + lane
    if i >= g.n_queries:
        return (FALL_BACK if code == ACTIVE else MASKED), ZERO
    into = cycle - g.lanes - block * cw.period  # cycles since the block's first fetch
    if code == Q:
        skew = at if g.dot == SERIAL else 0
        return replay_query(lane, i, max(0, into - 1 - skew), at, k, st, g, f, data, w), block
    if code == BOUND or code == FIRST or code == MAX or code == SEEN:
        met = max(0, into - 3 - g.depth)  # keys that have passed the max stage
        return replay_maximum(code, own, lane, i, met, k, st, g, f, data, w), block
    if cycle > (block + 1) * cw.period + lane:
        return MASKED, ZERO
    if code == ACTIVE:
        if g.granularity == KEY_TILE:
            return FALL_BACK, ZERO
        if hit(1.0, k, w) != 0.0:
            return MASKED, ZERO
        w.rows[lane] = 0.0  # never delivered: the O SRAM keeps its zeros
        w.changed[lane] = DROPPED
        return CHANGED, block
    event = AT_O
    if code == L_SUM:
        event = AT_CHK_L if own else AT_L
    elif code == C_SUM:
        event = AT_C
    done = min(max(0, into - 6 - g.depth), g.n_keys)  # keys that have been accumulated
    return rerun_event(lane, i, Event(event, done, at, 0.0, 0.0), k, st, g, f, data, w), block


@inner
def replay_query(lane, i, j, at, k, st, g, f, data, w):
    """Element `at` of the query vector from key j on: MASKED or CHANGED."""
    if j >= g.n_keys:
        return MASKED
    move(w.q, st.q[i])
    w.q[at] = quiet(hit(data.q[i, at], k, w), f.operand)
    with_query(w.P, w.A, i, j, w.q, st, g, f, data, w)
    return rerun_weights(lane, i, j, BOTH, k, st, g, f, data, w)


@inner
def replay_maximum(code, own, lane, i, met, k, st, g, f, data, w):
    """What the max stage keeps, between `met` keys and the next: MASKED or CHANGED."""
    if met >= g.n_keys:
        return MASKED
    m, seen = before_key(i, met, st, data)
    first, bound = data.first[i], data.bound[i]
    side = DATAPATH if g.own_max else BOTH
    if code == BOUND:
        # A key that the golden run had masked does not raise its maximum, so start from what there is.
        bound = np.int64(hit(np.float64(bound), k, w))
        side = BOTH
    elif code == FIRST:
        first = np.int64(hit(np.float64(first), k, w))
        side = BOTH
    elif code == MAX:
        m = hit(m, k, w)
        if not seen:
            return MASKED
        m = quiet(m, f.state)
    else:
        seen = hit(1.0 if seen else 0.0, k, w) != 0.0
    if own:
        side = CHECKER
    P, A = (w.PC, w.AC) if own else (w.P, w.A)
    with_maximum(P, A, i, met, m, seen, first, bound, st, g, f, data, w)
    return rerun_weights(lane, i, met, side, k, st, g, f, data, w)
