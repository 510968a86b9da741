"""One cycle of the `lanes` machine: the definition of the hardware, as a Numba kernel.

`step` computes every register's next value from the present ones. It keeps a single copy of the state by
visiting the pipeline from its end to its beginning, so that each stage still reads what its predecessor
held at the start of the cycle. Registers of a stage are written only when the stage's input is live
(clock enable); otherwise they hold.

Shapes: P lanes, head dim d. Every value is a float64 that its register's format represents exactly.
docs/machines/lanes.md gives the same equations as text.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.judgement import allowed_by, judge
from accel_sim.engines.lanes_log import (
    STALL,
    SWAPS,
    TILE,
    log_comparison,
)
from accel_sim.engines.lanes_tree import tree_shift
from accel_sim.engines.observers.step import observe
from accel_sim.machines.lanes import DONE, FLUSH, STREAM, SWAP, TAIL
from accel_sim.numerics.arithmetic import (
    add,
    div,
    div_vs,
    maximum,
    move,
    mul,
    mul_vs,
    mul_vv,
    scale_add,
    sub,
    tree_level,
)
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.exp import exp_exact, exp_pwl
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet, quiet_below, round_to

TREE, SERIAL, FUSED = range(3)
HEAD, QUERY_BLOCK, KEY_TILE = range(3)


class Geometry(NamedTuple):
    """What is fixed at build time, and the shape of the head being run.

    check_at, rowsum_at, softmax_at: numbers of the check units among those of the machine. check_most, rowsum_most,
    softmax_most: where their counters of deviations stop, 0 for none. watch_met: whether any invariant asks if a query
    has met a key.
    """

    lanes: int
    head_dim: int
    levels: int
    depth: int
    stages: int
    key_tile: int
    key_mask: int
    query_mask: int
    dot: int
    exp_pwl: bool
    reciprocal: bool
    window: bool
    check: bool
    own_score: bool
    own_max: bool
    own_exp: bool
    own_sum: bool
    granularity: int
    relative: bool
    check_most: float
    n_queries: int
    n_keys: int
    tiles: int
    blocks: int
    check_at: int
    rowsum: bool
    rowsum_at: int
    rowsum_relative: bool
    rowsum_most: float
    softmax: bool
    softmax_at: int
    softmax_most: float
    watch_sum: bool
    watch_max: bool
    watch_mask: bool
    watch_score: bool
    watch_met: bool


class Roundings(NamedTuple):
    """Rounding of each format role; `exact` leaves a double alone."""

    operand: Rounding
    score: Rounding
    exp: Rounding
    state: Rounding
    output: Rounding
    checker: Rounding
    exact: Rounding


class Data(NamedTuple):
    """What surrounds the registers: SRAM contents, tables, scratch.

    q (Nq, d), k and v (N, d), o (Nq, d) float64; bound and first (Nq,) int64, first 0 without a window; tables from
    `numerics`; digits is the fused dot product's scratch; kv_stall (blocks · tiles,) and swap_stall (blocks + 1,) int64
    cycles.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    bound: np.ndarray
    first: np.ndarray
    o: np.ndarray
    exp_table: np.ndarray
    recip_table: np.ndarray
    digits: np.ndarray
    kv_stall: np.ndarray
    swap_stall: np.ndarray
    comparisons: np.ndarray


@kernel
def exponential(x, g, f, table):
    """e^x in the exp format, by the machine's own unit."""
    x = quiet(x, f.score)
    if g.exp_pwl:
        return exp_pwl(x, table, f.exp)
    return exp_exact(x, f.exp)


@kernel
def divide(a, b, recip, g, r):
    """a/b: one correctly rounded quotient, or a times the reciprocal that was computed a stage before."""
    if g.reciprocal:
        return mul(a, recip, r)
    return div(a, b, r)


@kernel
def score_path(prod, sums, score, scale, q, k, k_skew, valid, g, f, digits):
    """Products, dot product and scaled score of every lane."""
    p_lanes, d, depth = g.lanes, g.head_dim, g.depth
    rs = f.score
    last = sums.shape[1] - 1
    if valid[1 + depth] != 0.0:
        for p in range(p_lanes):
            score[p] = mul(quiet(sums[p, last], rs), quiet(scale, rs), rs)
    if g.dot == TREE:
        for p in range(p_lanes):
            tree_shift(sums[p], valid, d, g.levels, 1, rs)
        if valid[1] != 0.0:
            for p in range(p_lanes):
                tree_level(sums[p, :(d + 1) // 2], prod[p], d, rs, rs.flush_below)
        if valid[0] != 0.0:
            for p in range(p_lanes):
                mul_vv(prod[p], q[p], k, rs, f.operand.flush_below, f.operand.flush_below)
    elif g.dot == SERIAL:
        for t in range(d - 1, 0, -1):
            if valid[t + 1] != 0.0:
                for p in range(p_lanes):
                    sums[p, t] = add(quiet(sums[p, t - 1], rs), quiet(prod[p, t], rs), rs)
        if valid[1] != 0.0:
            for p in range(p_lanes):
                sums[p, 0] = prod[p, 0]
        for t in range(d - 1, -1, -1):
            if valid[t] != 0.0:
                kt = k[0] if t == 0 else k_skew[skew_at(t, t, d)]
                kt = quiet(kt, f.operand)
                for p in range(p_lanes):
                    prod[p, t] = mul(quiet(q[p, t], f.operand), kt, rs)
    else:
        for i in range(last, 0, -1):
            if valid[1 + i] != 0.0:
                for p in range(p_lanes):
                    sums[p, i] = sums[p, i - 1]
        if valid[1] != 0.0:
            for p in range(p_lanes):
                sums[p, 0] = fused_sum(prod[p], d, digits, rs, 0.0)
        if valid[0] != 0.0:
            for p in range(p_lanes):
                mul_vv(prod[p], q[p], k, f.exact, f.operand.flush_below, f.operand.flush_below)


@kernel
def skew_at(stage, element, d):
    """Flat index of k_skew's stage (1 …) and element (stage … d − 1): stage u holds elements u and up."""
    before = (stage - 1) * d - ((stage - 1) * stage) // 2
    return before + element - stage


@kernel
def max_step(s, m, seen, f):
    """One allowed key at the max stage, score s against the maximum m so far: (new maximum, ds, da)."""
    new = round_to(s, f.state)
    da = 0.0
    if seen:
        new = maximum(m, new)
        da = sub(m, new, f.score)
    return new, sub(s, new, f.score), da


@kernel
def limit_of(threshold, pred, act, g, r):
    """What a comparison of the output check allows."""
    return allowed_by(threshold, pred, act, g.relative, r)


@kernel
def max_stage(score, m, seen, allow, ds, da, bound, first, tag, g, f):
    """Running maximum and the two exponents of every lane; a masked key leaves the lane as it was."""
    for p in range(g.lanes):
        if tag > bound[p] or (g.window and tag < first[p]):
            allow[p] = 0.0
            ds[p] = 0.0
            da[p] = 0.0
            continue
        m[p], ds[p], da[p] = max_step(quiet(score[p], f.score), quiet(m[p], f.state), seen[p] != 0.0, f)
        allow[p] = 1.0
        seen[p] = 1.0


@kernel
def exp_stage(ds, da, allow, p_out, a_out, g, f, table):
    """Weight and correction of every lane; a masked key weighs nothing."""
    for p in range(g.lanes):
        p_out[p] = exponential(ds[p], g, f, table) if allow[p] != 0.0 else 0.0
        a_out[p] = exponential(da[p], g, f, table)


@kernel
def sram_row(bank, row, tile, g):
    """Key that stands in a K/V SRAM row, or −1 for zeros.

    `tile` counts the tiles streamed so far in the head. The bank of that parity holds the tile being
    streamed, the other one the tile prefetched after it (at the very end, the one before it). A short last
    tile is zero-filled.
    """
    total = g.blocks * g.tiles
    held = tile if (tile & 1) == bank else tile + 1
    while held >= total:
        held -= 2
    if held < 0:
        return -1
    key = (held % g.tiles) * g.key_tile + row
    return key if key < g.n_keys else -1


@kernel
def check_tail(R, s, g, f, env, data, phase):
    """The end of the check unit: output sum, accumulation, comparison, alarm."""
    rc = f.checker
    levels, d = g.levels, g.head_dim
    judge(R, s.judge, s.enable, s.residual, s.limit, s.alarm, s.small_threshold, s.frequent, s.deviations, g.check_most)
    # Compare.
    comparing = R[s.compare] != 0.0
    if comparing:
        pred, act = quiet(R[s.pred], rc), quiet(R[s.act], rc)
        scanned = g.granularity == KEY_TILE and R[s.compare_scan] != 0.0
        residual = sub(pred, act, rc)
        limit = limit_of(R[s.scan_threshold] if scanned else R[s.threshold], pred, act, g, rc)
        log_comparison(env, data, g.check_at, residual, limit, pred, act, scanned)
        R[s.residual] = residual
        R[s.limit] = limit
    R[s.judge] = R[s.compare]
    # Accumulate; a comparison that is being taken empties the sums.
    tree = R[s.out_tree:s.out_tree + s.out_tree_size]
    delay = R[s.pred_delay:s.pred_delay + levels]
    valid = R[s.sum_valid:s.sum_valid + levels]
    last = R[s.sum_last:s.sum_last + levels]
    root = levels - 1
    if valid[root] != 0.0 or comparing:
        pred = 0.0 if comparing else R[s.pred]
        act = 0.0 if comparing else R[s.act]
        if valid[root] != 0.0:
            pred = add(quiet(pred, rc), quiet(delay[root], rc), rc)
            act = add(quiet(act, rc), quiet(tree[s.out_tree_size - 1], rc), rc)
        R[s.pred] = pred
        R[s.act] = act
    R[s.compare] = last[root]
    if g.granularity == KEY_TILE:
        scan = R[s.sum_scan:s.sum_scan + levels]
        R[s.compare_scan] = scan[root]
        for i in range(root, 0, -1):
            scan[i] = scan[i - 1]
    # Sum of the delivered (or scanned) row.
    tree_shift(tree, valid, d, levels, -1, rc)
    for i in range(root, 0, -1):
        if valid[i - 1] != 0.0:
            delay[i] = delay[i - 1]
        last[i] = last[i - 1]
    for i in range(root, 0, -1):
        valid[i] = valid[i - 1]
    h = (d + 1) // 2
    if g.granularity == KEY_TILE and R[s.norm_scan] != 0.0:
        if R[s.norm_valid] != 0.0:
            first_level(tree[:h], R[s.norm_o:s.norm_o + d], d, rc, f.state)
            delay[0] = R[s.norm_c]
        valid[0] = R[s.norm_valid]
        last[0] = R[s.norm_last]
        R[s.sum_scan] = 1.0
    else:
        if R[s.out_valid] != 0.0:
            first_level(tree[:h], R[s.out:s.out + d], d, rc, f.output)
            delay[0] = R[s.pred_term]
        valid[0] = R[s.out_valid]
        closes = R[s.out_last] != 0.0 and (g.granularity != HEAD or phase == TAIL)
        last[0] = 1.0 if closes else 0.0
        if g.granularity == KEY_TILE:
            R[s.sum_scan] = 0.0


@kernel
def first_level(out, x, n, r, source):
    """First level of a tree of r's format over inputs of another one, `source`. An element that passes through is
    rounded (and, under flush, its subnormals read as zero) like the sums beside it."""
    half = (n + 1) // 2
    tiny = source.flush_below
    if r.kind == 0 or (r.kind == 1 and source.kind != 0):
        tree_level(out, x, n, r, tiny)  # inputs no wider than the sums
    else:
        for i in range(n - half):
            out[i] = add(quiet_below(x[i], tiny), quiet_below(x[i + half], tiny), r)
    if n - half < half:
        out[half - 1] = round_to(quiet_below(x[half - 1], tiny), r)


@kernel
def normalise(R, s, g, f, data):
    """The shared normaliser: out = norm_o / norm_l and the checksum's c/l, one row a cycle."""
    d = g.head_dim
    scanned = g.granularity == KEY_TILE and g.check and R[s.norm_scan] != 0.0
    norm_valid = R[s.norm_valid] != 0.0 and not scanned
    norm_last = 1.0 if R[s.norm_last] != 0.0 and not scanned else 0.0
    norm_l = quiet(R[s.norm_l], f.state)
    if g.reciprocal:
        if R[s.recip_valid] != 0.0:
            recip = quiet(R[s.recip], f.state)
            mul_vs(R[s.out:s.out + d], R[s.recip_o:s.recip_o + d], recip, f.output, f.state.flush_below)
            R[s.out_addr] = R[s.recip_addr]
            if g.check:
                if g.own_sum:
                    recip = quiet(R[s.chk_recip], f.state)
                R[s.pred_term] = mul(quiet(R[s.recip_c], f.checker), recip, f.checker)
        R[s.out_valid] = R[s.recip_valid]
        R[s.out_last] = R[s.recip_last]
        if norm_valid:
            R[s.recip] = reciprocal_pwl(norm_l, data.recip_table, f.state)
            move(R[s.recip_o:s.recip_o + d], R[s.norm_o:s.norm_o + d])
            R[s.recip_addr] = R[s.norm_addr]
            if g.check:
                R[s.recip_c] = R[s.norm_c]
                if g.own_sum:
                    own_l = quiet(R[s.norm_chk_l], f.state)
                    R[s.chk_recip] = reciprocal_pwl(own_l, data.recip_table, f.state)
        R[s.recip_valid] = 1.0 if norm_valid else 0.0
        R[s.recip_last] = norm_last
        return
    if norm_valid:
        div_vs(R[s.out:s.out + d], R[s.norm_o:s.norm_o + d], norm_l, f.output, f.state.flush_below)
        R[s.out_addr] = R[s.norm_addr]
        if g.check:
            if g.own_sum:
                norm_l = quiet(R[s.norm_chk_l], f.state)
            R[s.pred_term] = div(quiet(R[s.norm_c], f.checker), norm_l, f.checker)
    R[s.out_valid] = 1.0 if norm_valid else 0.0
    R[s.out_last] = norm_last


@kernel
def read_lane(R, s, g, lane):
    """Copy a lane's accumulators into the normaliser's operand registers."""
    d = g.head_dim
    move(R[s.norm_o:s.norm_o + d], R[s.o + lane * d:s.o + (lane + 1) * d])
    R[s.norm_l] = R[s.l + lane]
    if g.check:
        R[s.norm_c] = R[s.c + lane]
        if g.own_sum:
            R[s.norm_chk_l] = R[s.chk_l + lane]


@kernel
def accumulate(R, s, g, f):
    """l = l·a + p, o = o·a + pv, c = c·a + pr, each operation rounded."""
    p_lanes, d = g.lanes, g.head_dim
    o = R[s.o:s.o + p_lanes * d].reshape(p_lanes, d)
    pv = R[s.pv:s.pv + p_lanes * d].reshape(p_lanes, d)
    rst, rc = f.state, f.checker
    for p in range(p_lanes):
        weight, a = quiet(R[s.p_acc + p], f.exp), quiet(R[s.a_acc + p], f.exp)
        R[s.l + p] = add(mul(quiet(R[s.l + p], rst), a, rst), weight, rst)
        scale_add(o[p], a, pv[p], rst, rst.flush_below, rst.flush_below)
        if g.check:
            if g.own_exp:
                weight, a = quiet(R[s.chk_p_acc + p], f.exp), quiet(R[s.chk_a_acc + p], f.exp)
            R[s.c + p] = add(mul(quiet(R[s.c + p], rc), a, rc), quiet(R[s.chk_pr + p], rc), rc)
            if g.own_sum:
                R[s.chk_l + p] = add(mul(quiet(R[s.chk_l + p], rst), a, rst), weight, rst)


@kernel
def weigh(R, s, g, f):
    """pv = p·v and pr = p·r; the weights move on beside them."""
    p_lanes, d, depth = g.lanes, g.head_dim, g.depth
    pv = R[s.pv:s.pv + p_lanes * d].reshape(p_lanes, d)
    v = R[s.v_delay + (3 + depth) * d:s.v_delay + (4 + depth) * d]
    for p in range(p_lanes):
        weight = R[s.p + p]
        mul_vs(pv[p], v, quiet(weight, f.exp), f.state, f.operand.flush_below)
        R[s.p_acc + p] = weight
        R[s.a_acc + p] = R[s.a + p]
        if g.check:
            if g.own_exp:
                weight = R[s.chk_p + p]
                R[s.chk_p_acc + p] = weight
                R[s.chk_a_acc + p] = R[s.chk_a + p]
            r = quiet(R[s.r_delay + 3 + depth - g.levels], f.checker)
            R[s.chk_pr + p] = mul(quiet(weight, f.exp), r, f.checker)


@kernel
def softmax_stages(R, s, g, f, valid, data):
    """Exponentials, then maximum: the datapath's, and the check unit's own where it has them."""
    n, depth = g.lanes, g.depth
    ds, da = R[s.ds:s.ds + n], R[s.da:s.da + n]
    allow, score = R[s.allow:s.allow + n], R[s.score:s.score + n]
    own_ds, own_da, own_allow = ds, da, allow
    if g.check and g.own_max:
        own_ds, own_da = R[s.chk_ds:s.chk_ds + n], R[s.chk_da:s.chk_da + n]
        own_allow = R[s.chk_allow:s.chk_allow + n]
    if valid[3 + depth] != 0.0:
        exp_stage(ds, da, allow, R[s.p:s.p + n], R[s.a:s.a + n], g, f, data.exp_table)
        if g.check and g.own_exp:
            exp_stage(own_ds, own_da, own_allow, R[s.chk_p:s.chk_p + n], R[s.chk_a:s.chk_a + n], g, f,
                      data.exp_table)
    if valid[2 + depth] != 0.0:
        tag = R[s.key_tag + 2 + depth]
        bound, first = R[s.bound:s.bound + n], R[s.first:s.first + n]
        max_stage(score, R[s.m:s.m + n], R[s.seen:s.seen + n], allow, ds, da, bound, first, tag, g, f)
        if g.check and g.own_max:
            own_score = R[s.chk_score:s.chk_score + n] if g.own_score else score
            max_stage(own_score, R[s.chk_m:s.chk_m + n], R[s.chk_seen:s.chk_seen + n], own_allow, own_ds,
                      own_da, bound, first, tag, g, f)


@kernel
def front(R, s, g, f, valid, data):
    """Scores, the value delay line and the row-sum tree."""
    n, d, depth, levels = g.lanes, g.head_dim, g.depth, g.levels
    k = R[s.k:s.k + d]
    q = R[s.q:s.q + n * d].reshape(n, d)
    k_skew = R[s.k_skew:s.k_skew + s.k_skew_size]
    width = s.sums_size // n
    score_path(R[s.prod:s.prod + n * d].reshape(n, d), R[s.sums:s.sums + s.sums_size].reshape(n, width),
               R[s.score:s.score + n], R[s.scale], q, k, k_skew, valid, g, f, data.digits)
    if g.check and g.own_score:
        score_path(R[s.chk_prod:s.chk_prod + n * d].reshape(n, d),
                   R[s.chk_sums:s.chk_sums + s.sums_size].reshape(n, width),
                   R[s.chk_score:s.chk_score + n], R[s.scale], q, k, k_skew, valid, g, f, data.digits)
    if g.dot == SERIAL:
        for stage in range(d - 1, 0, -1):
            if valid[stage - 1] != 0.0:
                for t in range(stage, d):
                    source = k[t] if stage == 1 else k_skew[skew_at(stage - 1, t, d)]
                    k_skew[skew_at(stage, t, d)] = source
    v_delay = R[s.v_delay:s.v_delay + (4 + depth) * d].reshape(4 + depth, d)
    v = R[s.v:s.v + d]
    if g.check:
        tree = R[s.r_tree:s.r_tree + s.out_tree_size]
        waits = 4 + depth - levels
        for i in range(waits - 1, 0, -1):
            if valid[levels + i] != 0.0:
                R[s.r_delay + i] = R[s.r_delay + i - 1]
        if valid[levels] != 0.0:
            R[s.r_delay] = tree[s.out_tree_size - 1]
        tree_shift(tree, valid, d, levels, 0, f.checker)
        if valid[0] != 0.0:
            first_level(tree[:(d + 1) // 2], v, d, f.checker, f.operand)
    for i in range(3 + depth, 0, -1):
        if valid[i] != 0.0:
            move(v_delay[i], v_delay[i - 1])
    if valid[0] != 0.0:
        move(v_delay[0], v)


@kernel
def step(R, s, g, f, env, data):
    """Clock every register once. `env` holds the run's cycle and what the memory system knows."""
    n, d, depth, stages = g.lanes, g.head_dim, g.depth, g.stages
    valid = R[s.valid:s.valid + stages]
    phase, row = int(R[s.phase]), int(R[s.row])
    query, key = int(R[s.query]), int(R[s.key])
    last_query, last_key = int(R[s.last_query]), int(R[s.last_key])
    scanning = g.check and g.granularity == KEY_TILE and R[s.scanning] != 0.0
    draining = True  # nothing but the last stage is live
    for i in range(stages - 1):
        if valid[i] != 0.0:
            draining = False
    idle = not row_in_flight(R, s, g)
    closing_tile = g.check and g.granularity == KEY_TILE and (
        valid[stages - 1] != 0.0 and R[s.tile_last + stages - 1] != 0.0)

    if g.rowsum or g.softmax:
        observe(R, s, g, f, env, data)
    # The end of the pipe first, so that every stage reads what its predecessor held.
    if g.check:
        check_tail(R, s, g, f, env, data, phase)
    if R[s.out_valid] != 0.0:
        address = int(R[s.out_addr])
        if address < g.n_queries:
            move(data.o[address], R[s.out:s.out + d])
    normalise(R, s, g, f, data)
    first_query = (query - row) & g.query_mask
    swapping = phase == SWAP and row < n
    if swapping:
        read_lane(R, s, g, row)
        R[s.norm_addr] = (query - n) & g.query_mask
        R[s.norm_valid] = R[s.active + row]
        R[s.norm_last] = 1.0 if row == n - 1 and first_query >= n else 0.0
    elif scanning and int(R[s.scan_row]) < n:
        lane = int(R[s.scan_row])
        read_lane(R, s, g, lane)
        R[s.norm_valid] = R[s.active + lane]
        R[s.norm_last] = 1.0 if lane == n - 1 else 0.0
    else:
        R[s.norm_valid] = 0.0
        R[s.norm_last] = 0.0
    if g.check and g.granularity == KEY_TILE:
        lane = int(R[s.scan_row])
        R[s.norm_scan] = 1.0 if scanning and not swapping and lane < n else 0.0
        if closing_tile:
            R[s.scanning] = 1.0
            R[s.scan_row] = 0.0
        elif scanning:
            if lane >= n - 1:
                R[s.scanning] = 0.0
            else:
                R[s.scan_row] = lane + 1
    if valid[5 + depth] != 0.0:
        accumulate(R, s, g, f)
    if valid[4 + depth] != 0.0:
        weigh(R, s, g, f)
    softmax_stages(R, s, g, f, valid, data)
    front(R, s, g, f, valid, data)

    # Tags move with the data; then the fetch stage fills stage 0.
    for i in range(stages - 1, 0, -1):
        valid[i] = valid[i - 1]
    tag = R[s.key_tag:s.key_tag + 3 + depth]
    for i in range(2 + depth, 0, -1):
        if valid[i] != 0.0:
            tag[i] = tag[i - 1]
    fetching = phase == STREAM
    valid[0] = 1.0 if fetching else 0.0
    tile_row = key & (g.key_tile - 1)
    if g.check and g.granularity == KEY_TILE:
        closes = R[s.tile_last:s.tile_last + stages]
        for i in range(stages - 1, 0, -1):
            closes[i] = closes[i - 1]
        scan_due = fetching and tile_row == g.key_tile - 1 and last_key - key >= n
        closes[0] = 1.0 if scan_due else 0.0
    if fetching:
        bank = int(R[s.kv_bank])
        source = sram_row(bank, tile_row, env[TILE], g)
        if source >= 0:
            move(R[s.k:s.k + d], data.k[source])
            move(R[s.v:s.v + d], data.v[source])
        else:
            R[s.k:s.k + d] = 0.0
            R[s.v:s.v + d] = 0.0
        tag[0] = key

    # Load the lane that was just drained; it overrides what the pipeline wrote to it.
    if swapping:
        load_lane(R, s, g, data, row, query if query <= last_query else -1)

    # Next state.
    if phase == SWAP:
        R[s.query] = (query + 1) & g.query_mask
        if row >= n - 1:
            R[s.row] = 0.0
            if first_query <= last_query:
                start_block(R, s, g, env, data)
            else:
                R[s.phase] = TAIL
        else:
            R[s.row] = row + 1
    elif phase == STREAM:
        R[s.key] = (key + 1) & g.key_mask
        if tile_row == g.key_tile - 1:
            R[s.kv_bank] = 1.0 - R[s.kv_bank]
            env[TILE] += 1
        if key >= last_key:
            R[s.phase] = FLUSH
        elif tile_row == g.key_tile - 1:
            wait_for_tile(g, env, data)
    elif phase == FLUSH:
        if draining:
            R[s.phase] = SWAP
            if env[SWAPS] < data.swap_stall.shape[0]:
                env[STALL] = data.swap_stall[env[SWAPS]]
    elif phase == TAIL:
        if idle:
            R[s.phase] = DONE


@kernel
def row_in_flight(R, s, g):
    """True while a drained row is still on its way to the O SRAM or to the comparison."""
    busy = R[s.norm_valid] + R[s.norm_last]
    if g.reciprocal:
        busy += R[s.recip_valid] + R[s.recip_last]
    if g.rowsum:
        for i in range(g.levels + 2):
            busy += R[s.rowsum_valid + i] + R[s.rowsum_last + i]
    if not g.check:
        return busy != 0.0
    busy += R[s.out_valid] + R[s.out_last] + R[s.compare]
    for i in range(g.levels):
        busy += R[s.sum_valid + i] + R[s.sum_last + i]
    return busy != 0.0


@kernel
def load_lane(R, s, g, data, lane, query):
    """Give a lane its next query (−1: none) and empty its accumulators."""
    d = g.head_dim
    q = R[s.q + lane * d:s.q + (lane + 1) * d]
    if 0 <= query < g.n_queries:
        move(q, data.q[query])
        R[s.bound + lane] = data.bound[query]
        R[s.active + lane] = 1.0
    else:
        q[:] = 0.0
        R[s.bound + lane] = 0.0
        R[s.active + lane] = 0.0
    if g.window:
        R[s.first + lane] = data.first[query] if 0 <= query < g.n_queries else 0.0
    R[s.seen + lane] = 0.0
    R[s.m + lane] = 0.0
    R[s.l + lane] = 0.0
    R[s.o + lane * d:s.o + (lane + 1) * d] = 0.0
    if g.check:
        R[s.c + lane] = 0.0
        if g.own_max:
            R[s.chk_seen + lane] = 0.0
            R[s.chk_m + lane] = 0.0
        if g.own_sum:
            R[s.chk_l + lane] = 0.0


@kernel
def start_block(R, s, g, env, data):
    """Begin to stream: key 0, and the bank in which the block's first tile stands."""
    env[TILE] = env[SWAPS] * g.tiles
    env[SWAPS] += 1
    R[s.phase] = STREAM
    R[s.key] = 0.0
    R[s.kv_bank] = env[TILE] & 1
    wait_for_tile(g, env, data)


@kernel
def wait_for_tile(g, env, data):
    """Stall until the tile about to be streamed has arrived."""
    if env[TILE] < data.kv_stall.shape[0]:
        env[STALL] = data.kv_stall[env[TILE]]
