"""One cycle of the check units that only look, as Numba kernels: called before the datapath moves, so that they see
what stood in its registers at the start of the cycle.

Like the datapath's, each kernel visits its pipeline from its end to its beginning. docs/machines/lanes.md gives the
same equations as text.
"""

from __future__ import annotations

from accel_sim.engines.judgement import allowed_by, judge
from accel_sim.engines.lanes_log import log_comparison
from accel_sim.engines.lanes_tree import tree_shift
from accel_sim.machines.lanes import SWAP
from accel_sim.numerics.arithmetic import add, maximum, mul, mul_vv, sub, tree_level
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import NAN, quiet, round_to


@kernel
def masks(first, bound, tag):
    """Whether a query with this mask may not attend to a key: the units' own comparator."""
    return tag < first or tag > bound


@kernel
def observe(R, s, g, f, env, data):
    """Clock every register of both units once."""
    row, query = int(R[s.row]), int(R[s.query])
    lane = row if int(R[s.phase]) == SWAP and row < g.lanes else -1
    if g.rowsum:
        closes = lane == g.lanes - 1
        last = closes and ((query - row) & g.query_mask) >= g.lanes
        watch_row_sums(R, s, g, f, env, data, lane, closes, last)
    if g.softmax:
        watch_softmax(R, s, g, f, env, data, lane)


@kernel
def watch_row_sums(R, s, g, f, env, data, lane, closes, last):
    """score_rowsum: the sums of keys and scores, and what becomes of the lane that is drained (−1: none)."""
    n, d, levels = g.lanes, g.head_dim, g.levels
    rc = f.checker
    judge(R, s.rowsum_judge, s.rowsum_enable, s.rowsum_residual, s.rowsum_limit, s.rowsum_alarm,
          s.rowsum_small_threshold, s.rowsum_frequent, s.rowsum_deviations, g.rowsum_most)
    prod = R[s.rowsum_prod:s.rowsum_prod + d]
    tree = R[s.rowsum_tree:s.rowsum_tree + s.rowsum_tree_size]
    delay = R[s.rowsum_delay:s.rowsum_delay + levels + 2]
    valid = R[s.rowsum_valid:s.rowsum_valid + levels + 2]
    ends = R[s.rowsum_last:s.rowsum_last + levels + 2]
    keys = R[s.rowsum_keys:s.rowsum_keys + d]
    if valid[levels + 1] != 0.0:
        pred, act = quiet(R[s.rowsum_pred], rc), quiet(delay[levels + 1], rc)
        residual = sub(pred, act, rc)
        limit = allowed_by(R[s.rowsum_threshold], pred, act, g.rowsum_relative, rc)
        log_comparison(env, data, g.rowsum_at, residual, limit, pred, act, False)
        R[s.rowsum_residual] = residual
        R[s.rowsum_limit] = limit
    R[s.rowsum_judge] = valid[levels + 1]
    # The prediction: products, their tree, the scale.
    if valid[levels] != 0.0:
        R[s.rowsum_pred] = mul(quiet(tree[s.rowsum_tree_size - 1], rc), quiet(R[s.scale], f.score), rc)
    tree_shift(tree, valid, d, levels, 0, rc)
    if valid[0] != 0.0:
        tree_level(tree[:(d + 1) // 2], prod, d, rc, rc.flush_below)
    for i in range(levels + 1, 0, -1):
        if valid[i - 1] != 0.0:
            delay[i] = delay[i - 1]
        valid[i] = valid[i - 1]
        ends[i] = ends[i - 1]
    reads = lane >= 0 and R[s.active + lane] != 0.0
    if reads:
        mul_vv(prod, R[s.q + lane * d:s.q + (lane + 1) * d], keys, rc, f.operand.flush_below, rc.flush_below)
        delay[0] = R[s.rowsum_sum + lane]
    valid[0] = 1.0 if reads else 0.0
    ends[0] = 1.0 if last else 0.0
    # The sums; a lane's is emptied as it is read, that of the keys with the last lane.
    if R[s.valid + 2 + g.depth] != 0.0:
        for p in range(n):
            R[s.rowsum_sum + p] = add(quiet(R[s.rowsum_sum + p], rc), quiet(R[s.score + p], f.score), rc)
    if R[s.valid] != 0.0:
        for t in range(d):
            keys[t] = add(quiet(keys[t], rc), quiet(R[s.k + t], f.operand), rc)
    if lane >= 0:
        R[s.rowsum_sum + lane] = 0.0
    if closes:
        for t in range(d):
            keys[t] = 0.0


@kernel
def watch_softmax(R, s, g, f, env, data, lane):
    """softmax_invariants: the violations of every lane, and the judgement of the lane that is drained (−1: none)."""
    n, depth = g.lanes, g.depth
    rc = f.checker
    judge(R, s.softmax_judge, s.softmax_enable, s.softmax_residual, s.softmax_limit, s.softmax_alarm,
          s.softmax_small_threshold, s.softmax_frequent, s.softmax_deviations, g.softmax_most)
    reads = lane >= 0 and R[s.active + lane] != 0.0
    if reads:
        fall = 0.0
        met = g.watch_met and R[s.softmax_seen + lane] != 0.0
        if g.watch_max and met:
            fall = sub(quiet(R[s.softmax_m + lane], f.state), quiet(R[s.m + lane], f.state), rc)
        residual = worst(quiet(R[s.softmax_excess + lane], rc), fall, met, R[s.l + lane], R[s.last_key] + 1.0, g, f)
        limit = quiet(R[s.softmax_threshold], rc)
        log_comparison(env, data, g.softmax_at, residual, limit, NAN, NAN, False)
        R[s.softmax_residual] = residual
        R[s.softmax_limit] = limit
    R[s.softmax_judge] = 1.0 if reads else 0.0
    weighed, scored = R[s.valid + 4 + depth] != 0.0, R[s.valid + 2 + depth] != 0.0
    for p in range(n):
        excess = quiet(R[s.softmax_excess + p], rc)
        changes = False
        if g.watch_mask:
            masked = s.softmax_masked + 2 * p
            if weighed:
                changes = True
                if R[masked + 1] != 0.0:
                    excess = maximum(excess, round_to(quiet(R[s.p + p], f.exp), rc))
            if R[s.valid + 3 + depth] != 0.0:
                R[masked + 1] = R[masked]
        if scored:
            first = R[s.first + p] if g.window else 0.0
            allowed = not masks(first, R[s.bound + p], R[s.key_tag + 2 + depth])
            if g.watch_mask:
                R[s.softmax_masked + 2 * p] = 0.0 if allowed else 1.0
            if g.watch_score:
                changes = True
                excess = maximum(excess, beyond(quiet(R[s.score + p], f.score), R[s.softmax_bound], rc))
            if g.watch_max:
                changes = True
                if allowed and R[s.softmax_seen + p] != 0.0:
                    m = R[s.m + p]
                    excess = maximum(excess, sub(quiet(R[s.softmax_m + p], f.state), quiet(m, f.state), rc))
                    R[s.softmax_m + p] = m
            if g.watch_met and allowed:
                R[s.softmax_seen + p] = 1.0
        if changes:
            R[s.softmax_excess + p] = excess
    if lane >= 0:
        R[s.softmax_excess + lane] = 0.0
        if g.watch_max:
            R[s.softmax_m + lane] = -f.state.max_finite
        if g.watch_met:
            R[s.softmax_seen + lane] = 0.0


@kernel
def beyond(score, bound, rc):
    """How far a score lies beyond the bound."""
    return sub(abs(score), quiet(bound, rc), rc)


@kernel
def worst(excess, fall, met, total, n_keys, g, f):
    """The residual of a query: its largest violation so far, the last fall of its maximum, and (where it has met an
    allowed key) how far its sum of weights `total` is from where it must be; 0 for none."""
    rc = f.checker
    residual = maximum(maximum(excess, 0.0), fall)
    if g.watch_sum and met:
        total = quiet(total, f.state)
        residual = maximum(residual, sub(1.0, total, rc))
        residual = maximum(residual, sub(total, n_keys, rc))
    return residual
