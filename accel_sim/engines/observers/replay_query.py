"""One query's comparisons again, with something on the way to them changed.

`note_sums` and `note_softmax` put a comparison into the sink if any bit of it is another than in the golden run. The
invariants are told from the golden extremes wherever all scores are finite (then a maximum cannot fall by itself), else
key by key: wt.lane holds what stands in the lane's registers meanwhile, by the places below.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.judgement import allowed_by
from accel_sim.engines.lanes_step import max_step
from accel_sim.engines.observers.step import beyond, masks, worst
from accel_sim.engines.replay.chains import base_of, binary32, same_bits, sum_chain
from accel_sim.numerics.arithmetic import add, maximum, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_to

SUMS_UNIT, SOFTMAX_UNIT = np.int64(0), np.int64(1)
M, SEEN, COPY, MET, EXCESS = range(5)
"""Places in wt.lane: the datapath's maximum and its flag, then the unit's copy, flag and largest violation."""

NOWHERE = np.int64(-1)


@inner
def note(n, unit, i, residual, limit, wt, sink):
    """The comparison of query i by a unit under fault n."""
    if same_bits(residual, wt.residual[unit, i]) and same_bits(limit, wt.limit[unit, i]):
        return
    at = sink.filled[0]
    sink.fault[at], sink.number[at] = n, unit * wt.sums.shape[0] + i
    sink.residual[at], sink.limit[at] = residual, limit
    sink.filled[0] += 1


@inner
def note_sums(n, i, pred, total, wt, g, f, sink):
    """Query i with this predicted and this actual sum of its scores."""
    rc = f.checker
    pred, total = quiet(pred, rc), quiet(total, rc)
    limit = allowed_by(wt.threshold[0], pred, total, g.rowsum_relative, rc)
    note(n, SUMS_UNIT, i, sub(pred, total, rc), limit, wt, sink)


@inner
def note_softmax(n, i, residual, wt, sink):
    """Query i with this worst violation."""
    note(n, SOFTMAX_UNIT, i, residual, wt.limit[1, i], wt, sink)


@inner
def sum_scores(total, i, first, last, wt, r):
    """The sum of the scores of query i after keys first … last − 1."""
    scores = wt.scores[i]
    if binary32(r, scores):
        x = np.float32(total)
        for j in range(first, last):
            x = x + np.float32(scores[j])
        return round_to(np.float64(x), r)
    for j in range(first, last):
        total = add(quiet(total, r), np.float64(scores[j]), r)
    return total


@inner
def sum_row(total, first, last, wt, r):
    """`sum_scores` of the scores in wt.row."""
    if binary32(r, wt.scores):
        x = np.float32(total)
        for j in range(first, last):
            x = x + np.float32(wt.row[j])
        return round_to(np.float64(x), r)
    for j in range(first, last):
        total = add(quiet(total, r), wt.row[j], r)
    return total


@inner
def total_from(i, j, st, g, f, w):
    """The running sum l of query i at its end, its weights in w.P and w.A being golden before key j."""
    n, start = base_of(j, st)
    return sum_chain(st.l_at[i, n], w.P, w.A, start, g.n_keys, f.state)


@inner
def load_row(i, wt, g):
    """The golden scores of query i into wt.row."""
    for j in range(g.n_keys):
        wt.row[j] = np.float64(wt.scores[i, j])


@inner
def empty_lane(wt, f):
    """A lane as it has just been loaded."""
    for place in range(5):
        wt.lane[place] = 0.0
    wt.lane[COPY] = -f.state.max_finite


@inner
def meet_keys(start, stop, first, bound, odd, score_bound, wt, g, f):
    """The maximum's and the unit's registers of a lane, as keys start … stop − 1 pass by with the scores in wt.row,
    keys first … bound being allowed; of key `odd` (or NOWHERE) it is the other way round."""
    x, rc = wt.lane, f.checker
    for j in range(start, stop):
        s = wt.row[j]
        if g.watch_score:
            x[EXCESS] = maximum(x[EXCESS], beyond(s, score_bound, rc))
        masked = masks(first, bound, j)
        if masked != (j == odd):
            continue
        if g.watch_max and x[MET] != 0.0:
            x[EXCESS] = maximum(x[EXCESS], sub(quiet(x[COPY], f.state), quiet(x[M], f.state), rc))
            x[COPY] = x[M]
        x[MET] = 1.0
        m, _, _ = max_step(s, quiet(x[M], f.state), x[SEEN] != 0.0, f)
        x[M] = m
        x[SEEN] = 1.0


@inner
def drain_lane(total, wt, g, f):
    """The residual of the lane, its running sum being `total`."""
    x = wt.lane
    met = x[MET] != 0.0
    fall = 0.0
    if g.watch_max and met:
        fall = sub(quiet(x[COPY], f.state), quiet(x[M], f.state), f.checker)
    return worst(quiet(x[EXCESS], f.checker), fall, met, total, np.float64(g.n_keys), g, f)


@inner
def keeps_within(i, wt, g, f):
    """Whether query i breaks neither `max` nor `score` in the golden run, whatever its mask."""
    return wt.tame[i] and (not g.watch_score or beyond(wt.peak[i], wt.score_bound, f.checker) <= 0.0)


@inner
def with_total(i, total, extra, wt, g, f):
    """The residual of query i when its running sum ends at `total`, or a violation `extra` occurs on the way."""
    excess = 0.0
    if g.watch_score:
        excess = beyond(wt.peak[i], wt.score_bound, f.checker)
    fall = wt.fall[i] if g.watch_max else 0.0
    return worst(maximum(maximum(excess, 0.0), extra), fall, wt.met[i], total, np.float64(g.n_keys), g, f)


@inner
def with_struck_score(i, j, s, total, wt, g, f, data):
    """The residual of query i when key j scores s, and its running sum ends at `total`."""
    if keeps_within(i, wt, g, f) and abs(round_to(s, f.state)) < np.inf:
        extra = 0.0
        if g.watch_score:
            extra = beyond(s, wt.score_bound, f.checker)
        return worst(extra, 0.0, wt.met[i], total, np.float64(g.n_keys), g, f)
    load_row(i, wt, g)
    wt.row[j] = s
    return with_row(data.first[i], data.bound[i], NOWHERE, total, wt, g, f)


@inner
def with_struck_scores(i, start, total, wt, g, f, data):
    """The residual of query i when the keys from `start` on have the scores in wt.row, and its running sum ends at
    `total`."""
    peak, sound = 0.0, True
    for j in range(start, g.n_keys):
        s = abs(wt.row[j])
        peak = s if s > peak else peak
        sound = sound and s == s
    if keeps_within(i, wt, g, f) and sound and round_to(peak, f.state) < np.inf:
        extra = 0.0
        if g.watch_score:
            extra = beyond(peak, wt.score_bound, f.checker)
        return worst(extra, 0.0, wt.met[i], total, np.float64(g.n_keys), g, f)
    for j in range(start):
        wt.row[j] = np.float64(wt.scores[i, j])
    return with_row(data.first[i], data.bound[i], NOWHERE, total, wt, g, f)


@inner
def with_row(first, bound, odd, total, wt, g, f):
    """The residual of a query with the scores in wt.row and this mask; see `meet_keys`."""
    empty_lane(wt, f)
    meet_keys(np.int64(0), g.n_keys, first, bound, odd, wt.score_bound, wt, g, f)
    return drain_lane(total, wt, g, f)
