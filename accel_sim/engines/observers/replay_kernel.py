"""What faults do to the comparisons of the units that only look, each told from the golden state: no run.

`observe_all` goes through the same faults as `replay.kernel.replay_all`, by itself: it asks which queries' scores,
maxima, weights or sums a fault changes, and makes their comparisons again. What the units do not read, they do not see.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_step import SERIAL
from accel_sim.engines.observers.golden import allows, predict, sum_column
from accel_sim.engines.observers.replay_own import observe_own
from accel_sim.engines.observers.replay_query import (
    SEEN,
    M,
    drain_lane,
    empty_lane,
    load_row,
    meet_keys,
    note_softmax,
    note_sums,
    sum_row,
    sum_scores,
    total_from,
    with_row,
    with_struck_score,
    with_struck_scores,
    with_total,
)
from accel_sim.engines.replay.chains import base_of, same_bits, sum_chain, sum_through
from accel_sim.engines.replay.codes import (
    A_ACC,
    A_REG,
    ACTIVE,
    ALLOW,
    BOUND,
    DA,
    DS,
    FIRST,
    KEY_TAG,
    L_SUM,
    MASKED_FLAG,
    MAX,
    OTHER,
    P_ACC,
    P_REG,
    PROD,
    SCORE,
    SUM_OF_KEYS,
    SUMS,
    K,
    Q,
)
from accel_sim.engines.replay.codes import SEEN as SEEN_FLAG
from accel_sim.engines.replay.kernel import in_stage, strike_of
from accel_sim.engines.replay.scores import scores_range
from accel_sim.engines.replay.stage import strike_weights
from accel_sim.engines.replay.strike import hit, struck_score
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, ZERO
from accel_sim.engines.replay.weights import golden_weights, weigh_scores, with_maximum, with_score, with_tag
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet, round_to


@kernel
def observe_all(order, start, faults, wh, cw, st, wt, g, f, data, w, sink, out):
    """What the units see of many faults of one head, in the given order (a permutation), from place `start` of it on.

    sink: a `replay.types.ComparisonSink`, in which number u · Nq + i is the comparison of query i by unit u; out: the
    `Seen` to write. Returns the place in the order of the first fault that was left out, because the sink might not
    have had room for it.
    """
    space = sink.fault.shape[0]
    for turn in range(start, order.shape[0]):
        if sink.filled[0] + 2 * g.n_queries > space:
            return turn
        n = order[turn]
        out.status[n] = MASKED
        out.raised[n] = -1
        w.value[:] = np.nan
        cycle = cw.machine_cycle[faults.cycle[n]]
        slot = faults.slot[n]
        code, stage, lane = wh.code[slot], wh.stage[slot], wh.lane[slot]
        if wh.own[slot] or code == OTHER or cw.machine_cycle[faults.last_cycle[n]] != cycle:
            continue  # the output check's own, or told by `replay_all` to be run
        at, level = wh.at[slot], wh.level[slot]
        k = strike_of(n, faults)
        if code >= SUM_OF_KEYS and code != MASKED_FLAG:
            out.status[n], out.raised[n] = observe_own(
                n, code, lane, cycle, faults.cycle[n], at, level, k, cw, st, wt, g, f, data, w, sink)
        elif stage >= 0:
            block, j = in_stage(stage, cycle, cw, g)
            i = block * g.lanes + lane
            if j >= 0 and lane >= 0 and i < g.n_queries:
                observe_stage(n, code, i, j, at, level, k, st, wt, g, f, data, w, sink)
            elif j >= 0 and lane < 0 and code == K:
                observe_key(n, block, j, at, stage == 0, k, st, wt, g, f, data, w, sink)
            elif j >= 0 and lane < 0 and code == KEY_TAG and g.softmax:
                observe_tag(n, block, j, k, st, wt, g, f, data, w, sink)
        elif lane >= 0:
            out.status[n] = observe_lane(n, code, lane, cycle, at, k, cw, st, wt, g, f, data, w, sink)
        out.old_value[n], out.new_value[n] = w.value[0], w.value[1]
    return order.shape[0]


@inner
def observe_stage(n, code, i, j, at, level, k, st, wt, g, f, data, w, sink):
    """A register that holds something of (query i, key j)."""
    if code == PROD or code == SUMS or code == SCORE:
        s = struck_score(i, j, code, level, at, k, st, g, f, data, w)
        changed_score(n, i, j, s, wt.pred[i], st, wt, g, f, data, w, sink)
    elif not g.softmax:
        return
    elif code == DS or code == DA or code == ALLOW or code == P_REG or code == A_REG or code == A_ACC:
        if not strike_weights(w.P, w.A, code, i, j, at, level, k, st, g, f, data, w):
            return
        extra = 0.0
        if g.watch_mask and (code == P_REG or code == ALLOW) and not allows(i, j, data):
            extra = round_to(np.float64(w.P[j]), f.checker)
        total = total_from(i, j, st, g, f, w) if g.watch_sum else st.sums[i, 0]
        note_softmax(n, i, with_total(i, total, extra, wt, g, f), wt, sink)
    elif code == P_ACC:
        if g.watch_sum:
            base, first = base_of(j, st)
            weight = quiet(hit(np.float64(st.P[i, j]), k, w), f.exp)
            total = sum_through(st.l_at[i, base], first, weight, j, st.P[i], st.A[i], g.n_keys, f.state)
            note_softmax(n, i, with_total(i, total, 0.0, wt, g, f), wt, sink)
    elif code == MASKED_FLAG:
        allowed = allows(i, j, data)
        masked = hit(0.0 if allowed else 1.0, k, w) != 0.0
        if masked and allowed:
            extra = round_to(np.float64(st.P[i, j]), f.checker)
            note_softmax(n, i, with_total(i, st.sums[i, 0], extra, wt, g, f), wt, sink)


@inner
def changed_score(n, i, j, s, pred, st, wt, g, f, data, w, sink):
    """Key j scores s for query i, whose predicted sum is `pred`."""
    same = same_bits(s, np.float64(wt.scores[i, j]))
    if same and same_bits(pred, wt.pred[i]):
        return
    if g.rowsum:
        total = wt.sums[i]
        if not same:
            wt.row[j] = s
            total = sum_scores(0.0, i, ZERO, j, wt, f.checker)
            total = sum_row(total, j, j + 1, wt, f.checker)
            total = sum_scores(total, i, j + 1, g.n_keys, wt, f.checker)
        note_sums(n, i, pred, total, wt, g, f, sink)
    if g.softmax and not same:
        total = st.sums[i, 0]
        if g.watch_sum and with_score(w.P, w.A, i, j, s, st, g, f, data, w):
            total = total_from(i, j, st, g, f, w)
        note_softmax(n, i, with_struck_score(i, j, s, total, wt, g, f, data), wt, sink)


@inner
def observe_key(n, block, j, at, summed, k, st, wt, g, f, data, w, sink):
    """Element `at` of key j, on its way to every lane of the block; summed: as the sum of the keys takes it in."""
    first = block * g.lanes
    x = hit(data.k[j, at], k, w)
    summed = summed and g.rowsum
    if summed:
        move(wt.sum, wt.keys)
        wt.sum[at] = sum_column(data.k, at, j, x, g, f)
    for i in range(first, min(first + g.lanes, g.n_queries)):
        # The key is shared by every query of the block, and by nothing else while it is in flight.
        golden = st.k[j, at]
        st.k[j, at] = quiet(x, f.operand)
        s = struck_score(i, j, OTHER, ZERO, ZERO, k, st, g, f, data, w)
        st.k[j, at] = golden
        pred = wt.pred[i]
        if summed:
            pred = predict(data.q[i], wt.sum, st.scale, wt.prod, wt.tree, g, f)
        changed_score(n, i, j, s, pred, st, wt, g, f, data, w, sink)


@inner
def observe_tag(n, block, j, k, st, wt, g, f, data, w, sink):
    """Key j, taken for another by the datapath's mask and by the unit's own."""
    first = block * g.lanes
    tag = hit(np.float64(j), k, w)
    for i in range(first, min(first + g.lanes, g.n_queries)):
        if not with_tag(w.P, w.A, i, j, tag, st, g, f, data, w):
            continue
        total = total_from(i, j, st, g, f, w) if g.watch_sum else st.sums[i, 0]
        load_row(i, wt, g)
        note_softmax(n, i, with_row(data.first[i], data.bound[i], j, total, wt, g, f), wt, sink)


@inner
def observe_lane(n, code, lane, cycle, at, k, cw, st, wt, g, f, data, w, sink):
    """A register that a lane keeps for its query: MASKED, CHANGED or FALL_BACK."""
    since = cycle - 1 - lane
    block = since // cw.period
    i = block * g.lanes + lane
    if since < 0 or block >= g.blocks or i >= g.n_queries:
        return MASKED  # or told by `replay_all` to be run
    into = cycle - g.lanes - block * cw.period  # cycles since the block's first fetch
    if code == ACTIVE:
        return FALL_BACK  # the lane's comparisons may not take place
    met = min(max(0, into - 3 - g.depth), g.n_keys)  # keys that have passed the max stage
    if code == Q:
        skew = at if g.dot == SERIAL else 0
        observe_query(n, i, min(max(0, into - 1 - skew), g.n_keys), at, k, st, wt, g, f, data, w, sink)
    elif not g.softmax:
        return MASKED
    elif code == BOUND or code == FIRST or code == SEEN_FLAG or code == MAX:
        if met < g.n_keys or (code == MAX and g.watch_max):
            observe_maximum(n, code, i, met, k, st, wt, g, f, data, w, sink)
    elif code == L_SUM and g.watch_sum:
        done = min(max(0, into - 6 - g.depth), g.n_keys)  # keys that have been accumulated
        base, start = base_of(done, st)
        total = sum_chain(st.l_at[i, base], st.P[i], st.A[i], start, done, f.state)
        total = sum_chain(quiet(hit(total, k, w), f.state), st.P[i], st.A[i], done, g.n_keys, f.state)
        note_softmax(n, i, with_total(i, total, 0.0, wt, g, f), wt, sink)
    return CHANGED


@inner
def observe_query(n, i, j, at, k, st, wt, g, f, data, w, sink):
    """Element `at` of the query vector from key j on, and when the lane is drained."""
    if j >= g.n_keys and not g.rowsum:
        return
    x = hit(data.q[i, at], k, w)
    move(w.q, st.q[i])
    w.q[at] = quiet(x, f.operand)
    rc = f.checker
    total = st.sums[i, 0]
    if j < g.n_keys:
        scores_range(w.q, j, g.n_keys, st, g, f, data, w)
        for key in range(j, g.n_keys):
            wt.row[key] = w.S[key]
        if g.watch_sum:
            golden_weights(w.P, w.A, i, st)
            weigh_scores(w.P, w.A, i, j, st, g, f, data, w)
            total = total_from(i, j, st, g, f, w)
    if g.rowsum:
        move(wt.q, data.q[i])
        wt.q[at] = x
        pred = predict(wt.q, wt.keys, st.scale, wt.prod, wt.tree, g, f)
        scored = sum_row(sum_scores(0.0, i, ZERO, j, wt, rc), j, g.n_keys, wt, rc)
        note_sums(n, i, pred, scored, wt, g, f, sink)
    if g.softmax and j < g.n_keys:
        note_softmax(n, i, with_struck_scores(i, j, total, wt, g, f, data), wt, sink)


@inner
def observe_maximum(n, code, i, met, k, st, wt, g, f, data, w, sink):
    """The ends of the mask, the maximum or its flag of query i, between `met` keys and the next (or the drain)."""
    first, bound = data.first[i], data.bound[i]
    load_row(i, wt, g)
    empty_lane(wt, f)
    meet_keys(ZERO, met, first, bound, np.int64(-1), wt.score_bound, wt, g, f)
    if code == BOUND:
        bound = np.int64(hit(np.float64(bound), k, w))
    elif code == FIRST:
        first = np.int64(hit(np.float64(first), k, w))
    elif code == MAX:
        wt.lane[M] = hit(wt.lane[M], k, w)
    else:
        wt.lane[SEEN] = hit(wt.lane[SEEN], k, w)
    total = st.sums[i, 0]
    if g.watch_sum and met < g.n_keys:
        seen = wt.lane[SEEN] != 0.0
        with_maximum(w.P, w.A, i, met, quiet(wt.lane[M], f.state), seen, first, bound, st, g, f, data, w)
        total = total_from(i, met, st, g, f, w)
    meet_keys(met, g.n_keys, first, bound, np.int64(-1), wt.score_bound, wt, g, f)
    note_softmax(n, i, drain_lane(total, wt, g, f), wt, sink)
