"""Faults in the registers of the comparison itself: no row changes, only what is compared. Not for key-tile scans."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.judgement import over
from accel_sim.engines.lanes_step import HEAD, KEY_TILE, QUERY_BLOCK
from accel_sim.engines.replay.codes import (
    ALARM,
    DEVIATIONS,
    ENABLE,
    FREQUENT,
    LIMIT,
    PRED,
    RESIDUAL,
    SMALL_THRESHOLD,
    THRESHOLD,
)
from accel_sim.engines.replay.compare import compare_again
from accel_sim.engines.replay.strike import hit
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED
from accel_sim.numerics.arithmetic import add
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet

NEVER = np.int64(-1)


@inner
def replay_check(code, cycle, clock_cycle, k, cw, st, g, f, w):
    """A register of the comparison: (MASKED, CHANGED or FALL_BACK, cycle of an alarm that no comparison explains, or
    NEVER).

    CHANGED leaves w.residual and w.limit changed for `verdict`; they have to be restored.
    """
    if g.granularity == KEY_TILE or cw.golden_alarm >= 0:
        return FALL_BACK, NEVER
    if code == ALARM:
        raised = hit(0.0, k, w) != 0.0
        return (CHANGED if raised else MASKED), (clock_cycle if raised else NEVER)
    if code == ENABLE:
        hit(1.0, k, w)
        return MASKED, NEVER
    if code == THRESHOLD:
        if g.relative:
            return FALL_BACK, NEVER
        limit = quiet(hit(cw.threshold, k, w), f.checker)
        for index in range(w.limit.shape[0]):
            if cw.cycle[index] > clock_cycle:
                w.limit[index] = limit
        return CHANGED, NEVER
    if code == SMALL_THRESHOLD or code == FREQUENT or code == DEVIATIONS:
        raised = replay_count(code, clock_cycle, k, cw, g, w)
        return (MASKED if raised == NEVER else CHANGED), raised
    # Blocks are compared in cycle `compares` of their swap; a residual stands in the cycle after.
    compares = g.lanes - 1 + cw.normalise + g.levels + 2
    if code == RESIDUAL or code == LIMIT:
        return replay_judged(code, cycle - 1 - compares, k, cw, g, w)
    return replay_sums(code, cycle, compares, k, cw, st, g, f.checker, w), NEVER


@inner
def replay_judged(code, since, k, cw, g, w):
    """residual or limit, `since` cycles after the first swap's residual stands: (MASKED or CHANGED, alarm or NEVER)."""
    swap = since // cw.period
    if since != swap * cw.period or swap < 1 or swap > g.blocks or (g.granularity == HEAD and swap != g.blocks):
        return MASKED, NEVER
    index = cw.block_comparison[swap - 1]
    residual, limit = w.residual[index], w.limit[index]
    if code == RESIDUAL:
        residual = hit(residual, k, w)
    else:
        limit = hit(limit, k, w)
    if over(residual, limit):
        return CHANGED, cw.alarm_cycle[index]
    if g.check_most > 0.0 and code == RESIDUAL:
        # It may deviate where the comparison on record does not, or the other way round.
        recorded = w.residual[index]
        w.residual[index] = residual
        raised = count_from(0, 0, cw.small_threshold, cw.frequent, cw, g, w)
        w.residual[index] = recorded
        return (MASKED if raised == NEVER else CHANGED), raised
    return MASKED, NEVER


@inner
def replay_count(code, clock_cycle, k, cw, g, w):
    """What counts as a deviation, how many are frequent, or how many there have been, struck between two comparisons:
    cycle of the alarm, or NEVER."""
    small, frequent, deviations = cw.small_threshold, np.int64(cw.frequent), np.int64(0)
    judged = 0
    while judged < w.residual.shape[0] and cw.alarm_cycle[judged] <= clock_cycle:
        deviations += 1 if over(w.residual[judged], small) else 0
        judged += 1
    if code == SMALL_THRESHOLD:
        small = hit(small, k, w)
    elif code == FREQUENT:
        frequent = np.int64(hit(np.float64(frequent), k, w))
    else:
        deviations = np.int64(hit(np.float64(deviations), k, w))
    return count_from(judged, deviations, small, frequent, cw, g, w)


@inner
def count_from(judged, deviations, small, frequent, cw, g, w):
    """Cycle of the alarm that comparison `judged` or a later one raises by being one deviation too many, after so many
    `deviations`; or NEVER."""
    for index in range(judged, w.residual.shape[0]):
        if over(w.residual[index], small):
            deviations = min(deviations + 1, np.int64(g.check_most))
            if deviations >= frequent:
                return cw.alarm_cycle[index]
    return NEVER


@inner
def replay_sums(code, cycle, compares, k, cw, st, g, rc, w):
    """pred or act, struck after the rows that were added before this cycle: MASKED or CHANGED."""
    block = g.blocks - 1
    first = 0
    if g.granularity == QUERY_BLOCK:
        block = max(0, -((compares - cycle) // cw.period) - 1)
        first = block * g.lanes
    if cycle > (block + 1) * cw.period + compares or block >= g.blocks:
        hit(0.0, k, w)  # compared for the last time: the sums are empty, and stay unread
        return MASKED
    last = min((block + 1) * g.lanes, g.n_queries)
    pred, act = 0.0, 0.0
    waiting = True
    for i in range(first, last + 1):
        added = (i // g.lanes + 1) * cw.period + i % g.lanes + cw.normalise + g.levels + 1
        if waiting and (i == last or added >= cycle):
            waiting = False
            if code == PRED:
                pred = quiet(hit(pred, k, w), rc)
            else:
                act = quiet(hit(act, k, w), rc)
        if i < last:
            pred = add(pred, st.terms[i, 0], rc)
            act = add(act, st.terms[i, 1], rc)
    compare_again(cw.block_comparison[block], pred, act, cw.threshold, g, rc, w)
    return CHANGED
