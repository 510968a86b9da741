"""Faults in a lane's share of the streaming pipeline: the register holds something of one query and one key."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_step import exponential
from accel_sim.engines.replay.codes import ALLOW, CHK_PR, DA, DS, P_ACC, P_REG, PROD, PV, SCORE, SUMS
from accel_sim.engines.replay.rerun import (
    AT_CHK_P_ACC,
    AT_CHK_PR,
    AT_P_ACC,
    AT_PV,
    BOTH,
    CHECKER,
    DATAPATH,
    Event,
    rerun_event,
    rerun_weights,
)
from accel_sim.engines.replay.strike import hit, struck_score
from accel_sim.engines.replay.types import MASKED
from accel_sim.engines.replay.weights import differ_at, golden_differences, golden_weights, masked, with_score
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def replay_stage(code, own, lane, i, j, at, level, k, st, g, f, data, w):
    """A register that holds a value of (query i, key j), or the check unit's own copy of it: MASKED or CHANGED."""
    if code == PV or code == P_ACC or code == CHK_PR:
        event = AT_PV
        if code == CHK_PR:
            event = AT_CHK_PR
        elif code == P_ACC:
            event = AT_CHK_P_ACC if own else AT_P_ACC
        if event == AT_CHK_P_ACC and not g.own_sum:
            hit(np.float64(st.P[i, j]), k, w)
            return MASKED  # what weighs c has been formed; nothing else reads it
        return rerun_event(lane, i, Event(event, j, at, 0.0, 0.0), k, st, g, f, data, w)
    P, A = (w.PC, w.AC) if own else (w.P, w.A)
    if not strike_weights(P, A, code, i, j, at, level, k, st, g, f, data, w):
        return MASKED
    side = CHECKER if own else DATAPATH
    if not own:
        if code == PROD or code == SUMS or code == SCORE:
            side = DATAPATH if g.own_score else BOTH
        elif code == DS or code == DA or code == ALLOW:
            side = DATAPATH if g.own_max else BOTH
    return rerun_weights(lane, i, j, side, k, st, g, f, data, w)


@inner
def strike_weights(P, A, code, i, j, at, level, k, st, g, f, data, w):
    """Weights and corrections of query i, into P and A, after a strike on what key j's are made of. Returns False if
    no bit of them changes."""
    if code == PROD or code == SUMS or code == SCORE:
        s = struck_score(i, j, code, level, at, k, st, g, f, data, w)
        return with_score(P, A, i, j, s, st, g, f, data, w)
    golden_weights(P, A, i, st)
    allowed = not masked(i, j, data)
    if code == DS or code == DA:
        ds, da = golden_differences(i, j, st, g, f, data, w)
        if code == DA:
            A[j] = exponential(hit(da, k, w), g, f, data.exp_table)
        else:
            ds = hit(ds, k, w)
            if allowed:
                P[j] = exponential(ds, g, f, data.exp_table)
    elif code == ALLOW:
        allow = hit(1.0 if allowed else 0.0, k, w) != 0.0
        if allow != allowed:  # a masked key's ds is zero
            P[j] = exponential(0.0, g, f, data.exp_table) if allow else 0.0
    elif code == P_REG:
        P[j] = quiet(hit(np.float64(P[j]), k, w), f.exp)
    else:
        A[j] = quiet(hit(np.float64(A[j]), k, w), f.exp)
    return differ_at(P, A, i, j, st)
