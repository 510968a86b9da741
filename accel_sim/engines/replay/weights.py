"""Weights and corrections of one query after something on their way has changed: P and A (N,), type T.

Each `with_…` starts from the golden ones. Where the running maximum changes, later weights do too, until it is the
golden one again. Query i may attend to keys data.first[i] … data.bound[i]; none, where the first is behind the last.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_step import exponential, max_step
from accel_sim.engines.replay.chains import same_bits
from accel_sim.engines.replay.scores import scores_range
from accel_sim.engines.replay.types import YES
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.exp import exp_exact_row
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def golden_maximum(i, j, st):
    """Running maximum of query i after key j, in the golden run."""
    low, high = st.m_start[i], st.m_start[i + 1]
    while high - low > 1:
        middle = (low + high) // 2
        if st.m_key[middle] <= j:
            low = middle
        else:
            high = middle
    return np.float64(st.m_value[low])


@inner
def before_key(i, j, st, data):
    """(maximum, seen) of query i before key j is met, in the golden run."""
    if j <= data.first[i] or data.bound[i] < data.first[i]:
        return 0.0, False
    return golden_maximum(i, min(j - 1, data.bound[i]), st), True


@inner
def masked(i, j, data):
    """True if query i may not attend to key j, in the golden run."""
    return j < data.first[i] or j > data.bound[i]


@inner
def golden_differences(i, j, st, g, f, data, w):
    """(ds, da) that the max stage forms for (query i, key j); zeros for a masked key."""
    if masked(i, j, data):
        return 0.0, 0.0
    scores_range(st.q[i], j, j + 1, st, g, f, data, w)
    m, seen = before_key(i, j, st, data)
    m, ds, da = max_step(w.S[j], m, seen, f)
    return ds, da


@inner
def golden_weights(P, A, i, st):
    """Those of query i in the golden run, to be changed."""
    move(P, st.P[i])
    move(A, st.A[i])


@inner
def differ_at(P, A, i, j, st):
    """True if key j has another weight or correction than in the golden run."""
    return not (same_bits(P[j], st.P[i, j]) and same_bits(A[j], st.A[i, j]))


@inner
def resume_softmax(P, A, i, start, m, seen, first, bound, st, g, f, data, w):
    """Run the max and exp stages of query i again from key `start`, with maximum m before it and keys `first` … `bound`
    allowed, until the maximum is again the golden one; overwrites P and A from there.

    Scores are computed a run of keys at a time.
    """
    n = g.n_keys
    golden_first, golden_bound = data.first[i], data.bound[i]
    unit = exponential(0.0, g, f, data.exp_table)
    scored = start
    for j in range(start, n):
        if j < first or j > bound:
            P[j] = 0.0
            A[j] = unit
            if j > bound and j > golden_bound:
                return  # masked in both runs, and so is every later key
            continue
        if j >= scored:
            scored = min(n, j + KEYS_AT_ONCE)
            scores_range(st.q[i], j, scored, st, g, f, data, w)
        m, ds, da = max_step(w.S[j], m, seen, f)
        seen = YES
        P[j] = exponential(ds, g, f, data.exp_table)
        A[j] = exponential(da, g, f, data.exp_table) if da != 0.0 else unit
        # Once the golden run has met a key too, a first key that is behind makes no difference any more.
        met = golden_first <= j and j <= golden_bound
        if j < n - 1 and met and bound == golden_bound and same_bits(m, golden_maximum(i, j, st)):
            return


@inner
def with_score(P, A, i, j, s, st, g, f, data, w):
    """When key j scores s. Returns False if no bit of a weight changes."""
    if masked(i, j, data):
        return False
    golden_weights(P, A, i, st)
    m, seen = before_key(i, j, st, data)
    m, ds, da = max_step(s, m, seen, f)
    P[j] = exponential(ds, g, f, data.exp_table)
    A[j] = exponential(da, g, f, data.exp_table)
    if same_bits(m, golden_maximum(i, j, st)):
        return differ_at(P, A, i, j, st)
    resume_softmax(P, A, i, j + 1, m, YES, data.first[i], data.bound[i], st, g, f, data, w)
    return True


@inner
def with_tag(P, A, i, j, tag, st, g, f, data, w):
    """When the mask takes key j for key `tag`. Returns False if that makes no difference to query i."""
    first, bound = data.first[i], data.bound[i]
    skipped = tag < first or tag > bound
    if skipped == masked(i, j, data):
        return False
    golden_weights(P, A, i, st)
    m, seen = before_key(i, j, st, data)
    if skipped:
        # The key is skipped: the maximum stays.
        P[j] = 0.0
        A[j] = exponential(0.0, g, f, data.exp_table)
        if not seen or not same_bits(m, golden_maximum(i, j, st)):
            resume_softmax(P, A, i, j + 1, m, seen, first, bound, st, g, f, data, w)
    else:
        # A masked key gets in. Behind the last allowed one its maximum matters to it alone.
        scores_range(st.q[i], j, j + 1, st, g, f, data, w)
        m, ds, da = max_step(w.S[j], m, seen, f)
        P[j] = exponential(ds, g, f, data.exp_table)
        A[j] = exponential(da, g, f, data.exp_table)
        if j < first:
            resume_softmax(P, A, i, j + 1, m, YES, first, bound, st, g, f, data, w)
    return True


@inner
def with_maximum(P, A, i, j, m, seen, first, bound, st, g, f, data, w):
    """When key j is met with maximum m, and keys `first` … `bound` are allowed from there on."""
    golden_weights(P, A, i, st)
    resume_softmax(P, A, i, j, m, seen, first, bound, st, g, f, data, w)


@inner
def with_query(P, A, i, j, q, st, g, f, data, w):
    """When the query's vector is q from key j on."""
    golden_weights(P, A, i, st)
    n = min(g.n_keys, data.bound[i] + 1)
    j = max(j, data.first[i])
    if j < n:
        scores_range(q, j, n, st, g, f, data, w)
        weigh_scores(P, A, i, j, st, g, f, data, w)


@inner
def weigh_scores(P, A, i, j, st, g, f, data, w):
    """From key j on with the scores in w.S, which are lost; before it they are as they are."""
    n = min(g.n_keys, data.bound[i] + 1)
    j = max(j, data.first[i])
    unit = exponential(0.0, g, f, data.exp_table)
    m, seen = before_key(i, j, st, data)
    together = not g.exp_pwl and f.exp.kind != 0
    for key in range(j, n):
        m, ds, da = max_step(w.S[key], m, seen, f)
        seen = True
        if together:
            w.S[key] = quiet(ds, f.score)
        else:
            P[key] = exponential(ds, g, f, data.exp_table)
        A[key] = exponential(da, g, f, data.exp_table) if da != 0.0 else unit
    if together and j < n:
        exp_exact_row(w.E, w.S, j, n, w.spare, f.exp)
        for key in range(j, n):
            P[key] = w.E[key]
