"""Faults in the registers of the units that only look.

What they do is in the comparisons that the struck value enters, or an alarm by itself. With an alarm in the fault-free
run, or deviations that count towards one, the few registers behind a comparison are left to be run.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.judgement import allowed_by, over
from accel_sim.engines.observers.golden import predict, scaled, sum_products
from accel_sim.engines.observers.replay_query import (
    COPY,
    EXCESS,
    MET,
    NOWHERE,
    drain_lane,
    empty_lane,
    load_row,
    meet_keys,
    note,
    note_softmax,
    note_sums,
    sum_scores,
)
from accel_sim.engines.replay.codes import COPY as COPY_CODE
from accel_sim.engines.replay.codes import (
    JUDGED,
    JUDGEMENT,
    OF_ALARM,
    OF_DEVIATIONS,
    OF_ENABLE,
    OF_FREQUENT,
    OF_LIMIT,
    OF_RESIDUAL,
    OF_SMALL,
    OF_THRESHOLD,
    ROWSUM_DELAY,
    ROWSUM_PRED,
    ROWSUM_PROD,
    ROWSUM_TREE,
    SCORE_BOUND,
    SUM_OF_KEYS,
    SUM_OF_SCORES,
)
from accel_sim.engines.replay.codes import MET as MET_CODE
from accel_sim.engines.replay.strike import hit, struck_tree
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, ZERO
from accel_sim.numerics.arithmetic import add, move, mul_vv
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet

NEVER = np.int64(-1)


@inner
def observe_own(n, code, lane, cycle, clock_cycle, at, level, k, cw, st, wt, g, f, data, w, sink):
    """A register of a unit: (MASKED, CHANGED or FALL_BACK, cycle of an alarm that no comparison explains, or NEVER)."""
    if code >= JUDGEMENT:
        unit = (code - JUDGEMENT) // JUDGED
        part = code - JUDGEMENT - unit * JUDGED
        return observe_judgement(n, unit, part, cycle, clock_cycle, k, cw, wt, g, f, w, sink)
    if code == SUM_OF_KEYS:
        observe_sum_of_keys(n, cycle, at, k, cw, st, wt, g, f, data, w, sink)
    elif code == SCORE_BOUND:
        observe_score_bound(n, cycle, k, cw, st, wt, g, f, data, w, sink)
    elif lane >= 0:
        since = cycle - 1 - lane
        block = since // cw.period
        i = block * g.lanes + lane
        if since >= 0 and block < g.blocks and i < g.n_queries:
            into = cycle - g.lanes - block * cw.period
            met = min(max(0, into - 3 - g.depth), g.n_keys)  # keys that have passed the stage behind the score
            observe_kept(n, code, i, met, k, st, wt, g, f, data, w, sink)
    else:
        lag = ZERO + 1
        if code == ROWSUM_TREE:
            lag = 2 + level
        elif code == ROWSUM_DELAY:
            lag = 1 + at
        elif code == ROWSUM_PRED:
            lag = ZERO + 2 + g.levels
        i = drained(cycle - lag, cw, g)
        if i >= 0:
            observe_drained(n, code, i, at, level, k, st, wt, g, f, data, w, sink)
    return CHANGED, NEVER


@inner
def drained(cycle, cw, g):
    """The query whose lane is read in a cycle, or −1."""
    swap = cycle // cw.period
    lane = cycle - swap * cw.period
    i = (swap - 1) * g.lanes + lane
    if swap < 1 or swap > g.blocks or lane >= g.lanes or i >= g.n_queries:
        return NEVER
    return i


@inner
def observe_kept(n, code, i, met, k, st, wt, g, f, data, w, sink):
    """What a unit keeps of query i, after `met` keys."""
    if code == SUM_OF_SCORES:
        total = sum_scores(0.0, i, ZERO, met, wt, f.checker)
        total = sum_scores(quiet(hit(total, k, w), f.checker), i, met, g.n_keys, wt, f.checker)
        note_sums(n, i, wt.pred[i], total, wt, g, f, sink)
        return
    first, bound = data.first[i], data.bound[i]
    load_row(i, wt, g)
    empty_lane(wt, f)
    meet_keys(ZERO, met, first, bound, NOWHERE, wt.score_bound, wt, g, f)
    place = EXCESS
    if code == COPY_CODE:
        place = COPY
    elif code == MET_CODE:
        place = MET
    wt.lane[place] = hit(wt.lane[place], k, w)
    wt.lane[EXCESS] = quiet(wt.lane[EXCESS], f.checker)
    meet_keys(met, g.n_keys, first, bound, NOWHERE, wt.score_bound, wt, g, f)
    note_softmax(n, i, drain_lane(st.sums[i, 0], wt, g, f), wt, sink)


@inner
def observe_sum_of_keys(n, cycle, at, k, cw, st, wt, g, f, data, w, sink):
    """Element `at` of the sum of the keys: every query of the block that is not yet drained."""
    block = (cycle - g.lanes) // cw.period
    if cycle < g.lanes or block >= g.blocks:
        return
    into = cycle - g.lanes - block * cw.period
    met = min(max(0, into - 1), g.n_keys)
    rc = f.checker
    total = 0.0
    for j in range(met):
        total = add(total, quiet(data.k[j, at], f.operand), rc)
    total = hit(total, k, w)
    for j in range(met, g.n_keys):
        total = add(quiet(total, rc), quiet(data.k[j, at], f.operand), rc)
    move(wt.sum, wt.keys)
    wt.sum[at] = total
    drain = (block + 1) * cw.period
    first = block * g.lanes
    for i in range(first, min(first + g.lanes, g.n_queries)):
        if drain + i - first >= cycle:
            pred = predict(data.q[i], wt.sum, st.scale, wt.prod, wt.tree, g, f)
            note_sums(n, i, pred, wt.sums[i], wt, g, f, sink)


@inner
def observe_drained(n, code, i, at, level, k, st, wt, g, f, data, w, sink):
    """A register that holds something of the prediction for query i, or of the sum beside it."""
    rc = f.checker
    pred, total = wt.pred[i], wt.sums[i]
    if code == ROWSUM_PRED:
        pred = hit(pred, k, w)
    elif code == ROWSUM_DELAY:
        total = hit(total, k, w)
    elif code == ROWSUM_PROD:
        mul_vv(wt.prod, data.q[i], wt.keys, rc, f.operand.flush_below, rc.flush_below)
        wt.prod[at] = hit(wt.prod[at], k, w)
        pred = scaled(sum_products(wt.prod, wt.tree, g, rc), st.scale, f)
    elif code == ROWSUM_TREE:
        predict(data.q[i], wt.keys, st.scale, wt.prod, wt.tree, g, f)
        pred = scaled(struck_tree(wt.tree, level, at, k, g, rc, w), st.scale, f)
    note_sums(n, i, pred, total, wt, g, f, sink)


@inner
def observe_score_bound(n, cycle, k, cw, st, wt, g, f, data, w, sink):
    """The bound of the scores, from this cycle on: every query some of whose scores are still to be compared."""
    bound = hit(wt.score_bound, k, w)
    for i in range(max(0, ((cycle - g.lanes) // cw.period) * g.lanes), g.n_queries):
        start = g.lanes + (i // g.lanes) * cw.period
        met = min(max(0, cycle - start - 3 - g.depth), g.n_keys)
        if met == g.n_keys:
            continue
        load_row(i, wt, g)
        empty_lane(wt, f)
        meet_keys(ZERO, met, data.first[i], data.bound[i], NOWHERE, wt.score_bound, wt, g, f)
        meet_keys(met, g.n_keys, data.first[i], data.bound[i], NOWHERE, bound, wt, g, f)
        note_softmax(n, i, drain_lane(st.sums[i, 0], wt, g, f), wt, sink)


@inner
def observe_judgement(n, unit, part, cycle, clock_cycle, k, cw, wt, g, f, w, sink):
    """A register behind a unit's comparison, or its configuration; as `observe_own`."""
    rc = f.checker
    counting = (g.softmax_most if unit == 1 else g.rowsum_most) > 0.0
    relative = unit == 0 and g.rowsum_relative
    if part == OF_THRESHOLD:
        threshold = hit(wt.threshold[unit], k, w)
        for i in range(g.n_queries):
            if wt.cycle[unit, i] > clock_cycle:
                limit = allowed_by(threshold, wt.pred[i], wt.sums[i], relative, rc)
                note(n, unit, i, wt.residual[unit, i], limit, wt, sink)
        return CHANGED, NEVER
    if wt.golden_alarm >= 0 or (counting and wt.deviations[unit] > 0):
        return FALL_BACK, NEVER
    if part == OF_ALARM:
        return MASKED, (clock_cycle if hit(0.0, k, w) != 0.0 else NEVER)
    if part == OF_ENABLE:
        hit(1.0, k, w)
    elif part == OF_FREQUENT:
        hit(np.float64(wt.frequent[unit]), k, w)  # nothing deviates, whatever is frequent
    elif part == OF_DEVIATIONS:
        hit(0.0, k, w)
    elif part == OF_SMALL:
        return MASKED, count_again(unit, cycle, hit(wt.small[unit], k, w), cw, wt, g)
    elif part == OF_RESIDUAL or part == OF_LIMIT:
        i = drained(cycle - wt.depth[unit], cw, g)
        if i >= 0:
            residual, limit = wt.residual[unit, i], wt.limit[unit, i]
            if part == OF_RESIDUAL:
                residual = hit(residual, k, w)
            else:
                limit = hit(limit, k, w)
            often = counting and wt.frequent[unit] <= 1 and over(residual, wt.small[unit])
            if over(residual, limit) or often:
                return MASKED, wt.alarm_cycle[unit, i]
    return MASKED, NEVER


@inner
def count_again(unit, cycle, small, cw, wt, g):
    """The alarm cycle when the small limit is `small` from a cycle on, or NEVER; nothing has deviated before."""
    count = ZERO
    for i in range(g.n_queries):
        judged = (i // g.lanes + 1) * cw.period + i % g.lanes + wt.depth[unit]
        if judged >= cycle and over(wt.residual[unit, i], small):
            count += 1
            if count >= wt.frequent[unit]:
                return wt.alarm_cycle[unit, i]
    return NEVER
