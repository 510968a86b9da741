"""The replay engine's kernel: from a fault to what it changes, by recomputing only what it can reach.

A fault in a register of the datapath strikes a known value of a known (query, key, dim): the schedule says
which (accel_sim.machines.lanes_schedule gives the same answers one at a time). `replay` recomputes the rows of
attention that this value enters, from the golden store, and the comparisons those rows enter. A fault whose
register is dead in that cycle is masked without running. What control registers do is not a matter of
values: `replay` hands those faults back (FALL_BACK) for the stepped engine.

Everything here is one query block: the rows a fault can change are lanes of the block in flight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.lanes_golden import divisor_of, finish_row, normalised, row_sum, row_sum_with
from accel_sim.engines.lanes_step import (
    HEAD,
    KEY_TILE,
    QUERY_BLOCK,
    SERIAL,
    TREE,
    exponential,
    limit_of,
    max_step,
    over,
)
from accel_sim.engines.replay_rows import (
    accumulate_row,
    both_chains,
    checksum_chain,
    column_chain,
    golden_maximum,
    keep_accumulators,
    lanes_checksum,
    lanes_column,
    native,
    resume_softmax,
    same_bits,
    scores_range,
    sum_chain,
    turn_block,
)
from accel_sim.faults.outcome import compare_rows, compare_values
from accel_sim.numerics.arithmetic import add, move, mul, sub, tree_level
from accel_sim.numerics.dot import fused_sum
from accel_sim.numerics.exp import exp_exact_row
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet, round_to

# What a register array is to the replay engine. Codes from CHK on belong to the check unit's own copies.
(
    OTHER, Q, K, V, V_DELAY, PROD, SUMS, SCORE, KEY_TAG, BOUND, SEEN, MAX, ALLOW, DS, DA, P_REG, A_REG,
    P_ACC, A_ACC, PV, L_SUM, O_ACC, ACTIVE, R_TREE, R_DELAY, CHK_PR, C_SUM, NORM_O, NORM_L, NORM_C, NORM_CHK_L,
    RECIP, RECIP_O, RECIP_C, CHK_RECIP, OUT, PRED_TERM, OUT_TREE, PRED_DELAY, PRED, ACT, RESIDUAL, LIMIT, ALARM,
    CHK_PROD, CHK_SUMS, CHK_SCORE, CHK_SEEN, CHK_MAX, CHK_ALLOW, CHK_DS, CHK_DA, CHK_P, CHK_A, CHK_P_ACC,
    CHK_A_ACC, CHK_L, ADDRESS, THRESHOLD, ENABLE, SCALE,
) = (np.int64(code) for code in range(61))

CODES = {
    "scale": SCALE, "threshold": THRESHOLD, "enable": ENABLE, "norm_addr": ADDRESS, "recip_addr": ADDRESS,
    "out_addr": ADDRESS,
    "q": Q, "k": K, "k_skew": K, "v": V, "v_delay": V_DELAY, "prod": PROD, "tree": SUMS, "chain": SUMS,
    "dot": SUMS, "score": SCORE, "key_tag": KEY_TAG, "bound": BOUND, "seen": SEEN, "m": MAX, "allow": ALLOW,
    "ds": DS, "da": DA, "p": P_REG, "a": A_REG, "p_acc": P_ACC, "a_acc": A_ACC, "pv": PV, "l": L_SUM, "o": O_ACC,
    "active": ACTIVE, "r_tree": R_TREE, "r_delay": R_DELAY, "chk_pr": CHK_PR, "c": C_SUM, "norm_o": NORM_O,
    "norm_l": NORM_L, "norm_c": NORM_C, "norm_chk_l": NORM_CHK_L, "recip": RECIP, "recip_o": RECIP_O,
    "recip_c": RECIP_C, "chk_recip": CHK_RECIP, "out": OUT, "pred_term": PRED_TERM, "out_tree": OUT_TREE,
    "pred_delay": PRED_DELAY, "pred": PRED, "act": ACT, "residual": RESIDUAL, "limit": LIMIT, "alarm": ALARM,
    "chk_prod": CHK_PROD, "chk_tree": CHK_SUMS, "chk_chain": CHK_SUMS, "chk_dot": CHK_SUMS,
    "chk_score": CHK_SCORE, "chk_seen": CHK_SEEN, "chk_m": CHK_MAX, "chk_allow": CHK_ALLOW, "chk_ds": CHK_DS,
    "chk_da": CHK_DA, "chk_p": CHK_P, "chk_a": CHK_A, "chk_p_acc": CHK_P_ACC, "chk_a_acc": CHK_A_ACC,
    "chk_l": CHK_L,
}
"""Code of each register array; one that is not here is OTHER, and falls back."""

IN_LANE = {Q, BOUND, SEEN, MAX, L_SUM, O_ACC, ACTIVE, C_SUM, CHK_SEEN, CHK_MAX, CHK_L}
"""Registers that a lane keeps for its query; the streaming pipeline has a stage for the others."""

MASKED, CHANGED, FALL_BACK = (np.int64(status) for status in range(3))

CHECK_CODES = (ALARM, ENABLE, THRESHOLD, RESIDUAL, LIMIT, PRED, ACT)
"""Registers of the comparison, which `replay_check` knows."""

ROW, DROPPED, COLUMN, TERMS = (np.uint8(mark) for mark in range(1, 5))
"""Marks of a changed lane: a whole row was computed again; the row is never delivered; one element of the row (dim
w.column[0]) was; only its terms were."""

# As NumPy scalars these are plain values to the compiler; Python ones would make it compile a version of every
# function for each constant.
ZERO, YES, NO = np.int64(0), np.bool_(True), np.bool_(False)

# Events inside a row's accumulation.
NO_EVENT, AT_O, AT_L, AT_C, AT_CHK_L, AT_PV, AT_P_ACC, AT_CHK_PR, AT_V, AT_R, AT_V_AND_R, AT_CHK_P_ACC = (
    np.int64(event) for event in range(12))


class Strike(NamedTuple):
    """What happens to a struck value: op 0 inverts the bits of mask, 1 clears them, 2 sets them."""

    op: int
    mask: int
    arith: Codec
    stored: Codec


class Where(NamedTuple):
    """Per slot of the machine's state: register code, pipeline stage, lane, and position (dim, tree element)."""

    code: np.ndarray
    stage: np.ndarray
    lane: np.ndarray
    at: np.ndarray
    level: np.ndarray


class Clockwork(NamedTuple):
    """When things happen, in stall-free machine cycles, and what comparisons there are.

    machine_cycle (cycles,): stall-free cycle that each clock cycle executes or waits for. alarm_cycle
    (comparisons,): clock cycle in which the alarm of a comparison is visible. block_comparison (blocks,) and
    scan_comparison (blocks, tiles): index of a comparison, −1 for none. cycle, residual, limit (comparisons,):
    golden. prefix (Nq + 1, 2): pred and act before each query is added (reset at each block, unless compared
    once a head). golden_alarm: alarm cycle of the fault-free run, −1 for none.
    """

    period: int
    normalise: int
    machine_cycle: np.ndarray
    cycle: np.ndarray
    prefix: np.ndarray
    alarm_cycle: np.ndarray
    block_comparison: np.ndarray
    scan_comparison: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    threshold: float
    scan_threshold: float
    golden_alarm: int


class Scratch(NamedTuple):
    """Room to work in; see `engines.replay`. Type T: P, A, PC, AC (N,), o (d,), xa, xb (d,), buf (d, 64), PT, AT (N, P), columns (P,).
    float64: S, E, spare (N,), products (d,), rows (P, d), terms (P, 2), scans (P, tiles, 2), tree, residual and limit (comparisons,).
    checksums (P,) float32. changed (P,) uint8.
    turned, column (1,) int64: the block that stands in PT and AT, the dim of a COLUMN."""

    P: np.ndarray
    A: np.ndarray
    PC: np.ndarray
    AC: np.ndarray
    o: np.ndarray
    xa: np.ndarray
    xb: np.ndarray
    buf: np.ndarray
    S: np.ndarray
    q: np.ndarray
    v: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    scans: np.ndarray
    tree: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    changed: np.ndarray
    value: np.ndarray
    products: np.ndarray
    E: np.ndarray
    spare: np.ndarray
    PT: np.ndarray
    AT: np.ndarray
    columns: np.ndarray
    checksums: np.ndarray
    turned: np.ndarray
    column: np.ndarray


@inner
def struck(x, k):
    """x after the strike k."""
    if k.op == 0:
        return flip_bits(x, k.arith, k.stored, k.mask)
    ones = k.mask if k.op == 2 else np.uint64(0)
    return force_bits(x, k.arith, k.stored, k.mask, ones)


@inner
def hit(x, k, w):
    """Strike x, and note the value before and after in w.value (raw, as the register holds it)."""
    after = struck(x, k)
    w.value[0] = x
    w.value[1] = after
    return after


@inner
def widen(out, x):
    """Copy x of type T into the float64 array out."""
    for t in range(x.shape[0]):
        out[t] = np.float64(x[t])


# -- the score of one (query, key) with one value on its way struck --------------------------------------


@inner
def struck_score(i, j, code, level, at, k, st, g, f, data, scale, w):
    """Scaled score of (query i, key j) after the strike: code PROD (element at), SUMS (level, element at) or
    SCORE. The golden score is the same without the strike."""
    d = g.head_dim
    rs = f.score
    q, key = st.q[i], st.k[j]
    total = 0.0
    if g.dot == TREE:
        xa, xb = w.xa, w.xb
        if native(rs, xa):
            for t in range(d):
                xa[t] = q[t] * key[t]
        else:
            for t in range(d):
                xa[t] = round_to(np.float64(q[t]) * np.float64(key[t]), rs)
        if code == PROD:
            xa[at] = quiet(hit(np.float64(xa[at]), k, w), rs)
        n = d
        for step in range(g.levels):
            h = (n + 1) // 2
            if native(rs, xa):
                for t in range(n - h):
                    xb[t] = xa[t] + xa[t + h]
            else:
                for t in range(n - h):
                    xb[t] = round_to(np.float64(xa[t]) + np.float64(xa[t + h]), rs)
            for t in range(n - h, h):
                xb[t] = xa[t]
            if code == SUMS and step == level:
                # A native NaN may not be canonical yet; the register's is.
                xb[at] = quiet(hit(canonical(xb[at]), k, w), rs)
            xa, xb = xb, xa
            n = h
        total = canonical(xa[0])
    elif g.dot == SERIAL:
        for t in range(d):
            x = round_to(np.float64(q[t]) * np.float64(key[t]), rs)
            if code == PROD and t == at:
                x = hit(x, k, w)
            total = x if t == 0 else add(quiet(total, rs), quiet(x, rs), rs)
            if code == SUMS and t == at:
                total = hit(total, k, w)
    else:
        products = w.v
        for t in range(d):
            products[t] = mul(np.float64(q[t]), np.float64(key[t]), f.exact)
        if code == PROD:
            products[at] = hit(products[at], k, w)
        total = fused_sum(products, d, data.digits, rs, 0.0)
        if code == SUMS:
            total = hit(total, k, w)
    s = mul(quiet(total, rs), scale, rs)
    if code == SCORE:
        s = hit(s, k, w)
    return quiet(s, rs)


@inner
def canonical(x):
    """x with any NaN made the canonical one, as float64."""
    y = np.float64(x)
    return y if y == y else np.nan


# -- weights and corrections of a row ----------------------------------------------------------------------


@inner
def copy_row(P, A, i, st):
    """Golden weights and corrections of query i, to be changed."""
    move(P, st.P[i])
    move(A, st.A[i])


@inner
def before_key(i, j, st, data):
    """(maximum, seen) of query i before key j is met, in the golden run."""
    if j == 0 or data.bound[i] < 0:
        return 0.0, False
    return golden_maximum(i, min(j - 1, data.bound[i]), st), True


@inner
def with_score(P, A, i, j, s, st, g, f, data, scale, w):
    """Weights of query i when key j scores s. Returns False if no bit of them changes."""
    if j > data.bound[i]:
        return False
    copy_row(P, A, i, st)
    m, seen = before_key(i, j, st, data)
    m, ds, da = max_step(s, m, seen, f)
    p = exponential(ds, g, f, data.exp_table)
    a = exponential(da, g, f, data.exp_table)
    changed = not (same_bits(p, np.float64(P[j])) and same_bits(a, np.float64(A[j])))
    P[j] = p
    A[j] = a
    if not same_bits(m, golden_maximum(i, j, st)):
        changed = True
        bound = data.bound[i]
        resume_softmax(P, A, i, j + 1, m, True, bound, bound, j + 1, st, w, g, f, data, scale)
    return changed


@inner
def with_maximum(P, A, i, j, m, seen, bound, st, g, f, data, scale, w):
    """Weights of query i when key j is met with maximum m, and keys up to `bound` are allowed from there on."""
    copy_row(P, A, i, st)
    resume_softmax(P, A, i, j, m, seen, bound, data.bound[i], j, st, w, g, f, data, scale)


@inner
def with_query(P, A, i, j, q, st, g, f, data, scale, w):
    """Weights of query i when its vector is q from key j on."""
    copy_row(P, A, i, st)
    n = min(g.n_keys, data.bound[i] + 1)
    if j >= n:
        return
    scores_range(w.S, q, st.k_t, j, n, w.buf, w.products, g, f, scale, data.digits)
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
    if together:
        exp_exact_row(w.E, w.S, j, n, w.spare, f.exp)
        for key in range(j, n):
            P[key] = w.E[key]


@inner
def golden_differences(i, j, st, g, f, data, scale, w):
    """(ds, da) that the max stage forms for (query i, key j); zeros for a masked key."""
    if j > data.bound[i]:
        return 0.0, 0.0
    scores_range(w.S, st.q[i], st.k_t, j, j + 1, w.buf, w.products, g, f, scale, data.digits)
    m, seen = before_key(i, j, st, data)
    m, ds, da = max_step(w.S[j], m, seen, f)
    return ds, da


# -- a whole row, with at most one event ------------------------------------------------------------------------


@inner
def base_of(when, st):
    """Index of the last golden accumulators that the keys before `when` alone have made."""
    return min(when // st.spacing, st.o_at.shape[1] - 1)


@inner
def rerun_row(lane, i, P, A, PC, AC, event, when, at, new_v, new_r, k, st, g, f, data, w):
    """Accumulate query i again with weights P, A (PC, AC at the check unit) and an event, normalise it, and
    leave its output, terms and scan terms in the scratch under `lane`.

    AT_O, AT_L, AT_C and AT_CHK_L strike the accumulator after `when` keys; the other events change key `when`, and
    no weight of a key before it differs from the golden run's.
    """
    n, d = g.n_keys, g.head_dim
    rst, rc = f.state, f.checker
    o = w.o
    scanning = g.check and g.granularity == KEY_TILE
    # Scans before the event are taken again too, and so need the accumulators from key 0.
    base = ZERO if scanning else base_of(when, st)
    done = base * st.spacing
    move(o, st.o_at[i, base])
    total = st.l_at[i, base]
    c = st.c_at[i, base]
    own = total
    scan = 0
    shared_weight = not g.own_exp
    pending = event != NO_EVENT
    while True:
        if pending and done == when and event <= AT_CHK_L:
            pending = False
            if event == AT_O:
                o[at] = quiet(hit(canonical(o[at]), k, w), rst)
            elif event == AT_L:
                total = quiet(hit(total, k, w), rst)
            elif event == AT_C:
                c = quiet(hit(c, k, w), rc)
            else:
                own = quiet(hit(own, k, w), rst)
        if scanning and scan < g.tiles and done == (scan + 1) * g.key_tile + lane:
            widen(w.v, o)
            w.scans[lane, scan, 0] = c
            w.scans[lane, scan, 1] = row_sum(w.v, w.tree, g, rc, rst)
            scan += 1
        if done >= n:
            break
        if pending and done == when:
            pending = False
            p, a = np.float64(P[done]), np.float64(A[done])
            pc, ac = np.float64(PC[done]), np.float64(AC[done])
            for t in range(d):
                x = np.float64(st.v[done, t])
                if (event == AT_V or event == AT_V_AND_R) and t == at:
                    x = new_v
                pv = round_to(p * x, rst)
                if event == AT_PV and t == at:
                    pv = quiet(hit(pv, k, w), rst)
                o[t] = add(mul(np.float64(o[t]), a, rst), pv, rst)
            weight: float = p
            if event == AT_P_ACC:
                weight = quiet(hit(p, k, w), f.exp)
            total = add(mul(total, a, rst), weight, rst)
            if g.check:
                r = np.float64(new_r) if event == AT_R or event == AT_V_AND_R else st.r[done]
                pr = mul(pc, quiet(r, rc), rc)
                if event == AT_CHK_PR:
                    pr = quiet(hit(pr, k, w), rc)
                c = add(mul(c, ac, rc), pr, rc)
                own_weight: float = weight if shared_weight else pc
                if event == AT_CHK_P_ACC:
                    own_weight = quiet(hit(pc, k, w), f.exp)
                own = add(mul(own, ac, rst), own_weight, rst)
            done += 1
            continue
        upto = n
        if pending:
            upto = min(upto, when)
        if scanning and scan < g.tiles:
            upto = min(upto, (scan + 1) * g.key_tile + lane)
        accumulate_row(o, st.v, P, A, done, upto, rst)
        if g.check and not g.own_exp:
            total, c = both_chains(total, c, st.r, P, A, done, upto, rst, rc)
        else:
            total = sum_chain(total, P, A, done, upto, rst)
            if g.check:
                c = checksum_chain(c, st.r, PC, AC, done, upto, rc)
        if g.own_sum:
            own = sum_chain(own, PC, AC, done, upto, rst)
        done = upto
    widen(w.v, o)
    if not g.own_sum:
        own = total
    finish_row(w.rows[lane], w.terms[lane], w.v, total, c, own, w.tree, g, f, data.recip_table)
    w.changed[lane] = ROW


@inner
def rerun_column(lane, i, t, x, st, g, f, data, w):
    """Query i with column t of its accumulators ending at x: everything else is golden. Returns MASKED or CHANGED."""
    divisor = divisor_of(st.sums[i, 0], g, f, data.recip_table)
    return new_element(lane, i, t, normalised(quiet(x, f.state), divisor, g, f.output), st, g, f, w)


@inner
def new_element(lane, i, t, value, st, g, f, w):
    """Query i with element t of its output row being `value`. Returns MASKED (it was that already) or CHANGED."""
    if same_bits(value, st.o[i, t]):
        return MASKED
    w.rows[lane, t] = value
    w.changed[lane] = COLUMN
    w.column[0] = t
    if g.check:
        w.terms[lane, 0] = st.terms[i, 0]
        w.terms[lane, 1] = row_sum_with(st.o[i], st.out_tree[i], t, value, g, f.checker, f.output)
    return CHANGED


@inner
def new_checksum(lane, i, c, own, st, g, f, data, w):
    """Query i with the checksum c, divided by what the sum `own` gives, and its output golden. Returns MASKED or CHANGED."""
    term = normalised(quiet(c, f.checker), divisor_of(own, g, f, data.recip_table), g, f.checker)
    return new_term(lane, i, term, st, w)


@inner
def new_term(lane, i, term, st, w):
    """Query i with the predicted row sum `term`, and its output golden. Returns MASKED or CHANGED."""
    if same_bits(term, st.terms[i, 0]):
        return MASKED
    w.terms[lane, 0] = term
    w.terms[lane, 1] = st.terms[i, 1]
    w.changed[lane] = TERMS
    return CHANGED


@inner
def sum_through(total, start, weight, when, P, A, n, r):
    """The running sum over all keys when key `when` weighs `weight`; it is `total` after key start − 1."""
    total = sum_chain(total, P, A, start, when, r)
    total = add(mul(total, np.float64(A[when]), r), weight, r)
    return sum_chain(total, P, A, when + 1, n, r)


@inner
def checksum_through(c, start, pr, when, row_sums, P, A, n, r):
    """The checksum over all keys when key `when` adds `pr`; it is `c` after key start − 1."""
    c = checksum_chain(c, row_sums, P, A, start, when, r)
    c = add(mul(c, np.float64(A[when]), r), pr, r)
    return checksum_chain(c, row_sums, P, A, when + 1, n, r)


@inner
def rerun_sums(lane, i, P, A, PC, AC, event, when, k, st, g, f, data, w):
    """Query i with its output accumulators golden: only l, c or the check unit's own l change. Returns MASKED or CHANGED.

    Not for key-tile scans, which read o as well.
    """
    n = g.n_keys
    rst, rc = f.state, f.checker
    total, c = st.sums[i, 0], st.sums[i, 1]
    own = total
    base = base_of(when, st)
    start = base * st.spacing
    l_at, c_at = st.l_at[i, base], st.c_at[i, base]
    if event == AT_L:
        total = sum_chain(l_at, P, A, start, when, rst)
        total = sum_chain(quiet(hit(total, k, w), rst), P, A, when, n, rst)
    elif event == AT_P_ACC:
        total = sum_through(l_at, start, quiet(hit(np.float64(P[when]), k, w), f.exp), when, P, A, n, rst)
        if g.own_sum and not g.own_exp:
            own = total
    elif event == AT_C:
        c = checksum_chain(c_at, st.r, PC, AC, start, when, rc)
        c = checksum_chain(quiet(hit(c, k, w), rc), st.r, PC, AC, when, n, rc)
    elif event == AT_CHK_PR:
        pr = quiet(hit(mul(np.float64(PC[when]), st.r[when], rc), k, w), rc)
        c = checksum_through(c_at, start, pr, when, st.r, PC, AC, n, rc)
    elif event == AT_CHK_L:
        own = sum_chain(l_at, PC, AC, start, when, rst)
        own = sum_chain(quiet(hit(own, k, w), rst), PC, AC, when, n, rst)
    elif event == AT_CHK_P_ACC:
        own = sum_through(l_at, start, quiet(hit(np.float64(PC[when]), k, w), f.exp), when, PC, AC, n, rst)
    else:  # weights of the check unit changed, from key `when` on
        c = checksum_chain(c_at, st.r, PC, AC, start, n, rc)
        if g.own_sum:
            own = sum_chain(l_at, PC, AC, start, n, rst)
    if not g.own_sum:
        own = total
    if event == AT_L or event == AT_P_ACC:
        # A new divisor: the whole row. The accumulators themselves are golden, so run them once more.
        golden_accumulators(i, st, g, f, w)
        finish_row(w.rows[lane], w.terms[lane], w.v, total, c, own, w.tree, g, f, data.recip_table)
        w.changed[lane] = ROW
        return CHANGED
    return new_checksum(lane, i, c, own, st, g, f, data, w) if g.check else MASKED


@inner
def golden_accumulators(i, st, g, f, w):
    """The output accumulators of query i at the end of the golden run, into w.v."""
    base = st.o_at.shape[1] - 1
    move(w.o, st.o_at[i, base])
    accumulate_row(w.o, st.v, st.P[i], st.A[i], base * st.spacing, g.n_keys, f.state)
    widen(w.v, w.o)


# -- dispatch ---------------------------------------------------------------------------------------------------


@inner
def replay(slot, cycle, k, wh, cw, st, g, f, data, scale, w):
    """What the strike k on a slot, at machine cycle `cycle`, changes: MASKED, CHANGED or FALL_BACK, and the block.

    CHANGED leaves the rows that were computed again in the scratch, under their lanes.
    """
    code = wh.code[slot]
    w.value[:] = np.nan
    if code == OTHER or code == SCALE:
        return FALL_BACK, ZERO
    stage, lane, at = wh.stage[slot], wh.lane[slot], wh.at[slot]
    if stage >= 0:
        offset = cycle - 1 - stage - g.lanes
        block = offset // cw.period
        j = offset - block * cw.period
        if offset < 0 or block >= g.blocks or j >= g.n_keys:
            return MASKED, ZERO
        if lane < 0:
            return replay_shared(code, block, j, at, wh.level[slot], k, st, g, f, data, scale, w), block
        i = block * g.lanes + lane
        if i >= g.n_queries:
            return MASKED, ZERO
        return replay_stage(code, lane, i, j, at, wh.level[slot], k, st, g, f, data, scale, w), block
    if lane >= 0:
        return replay_lane(code, lane, cycle, at, k, cw, st, g, f, data, scale, w)
    return replay_drain(code, cycle, at, wh.level[slot], k, cw, st, g, f, data, w)


@inner
def own_weights(P, A, i, st, g, w, both):
    """The check unit's weights: those of the datapath where it shares them; else golden ones, unless the fault
    reaches `both`, in which case they were changed alike."""
    if both or not g.own_exp:
        return P, A
    return st.P[i], st.A[i]


@inner
def rerun_checker(lane, i, first, st, g, f, data, w, k):
    """Query i again with the changed weights w.PC, w.AC at the check unit only, golden before key `first`."""
    if g.granularity == KEY_TILE:
        rerun_row(lane, i, st.P[i], st.A[i], w.PC, w.AC, NO_EVENT, first, ZERO, 0.0, 0.0, k, st, g, f, data, w)
        return CHANGED
    return rerun_sums(lane, i, st.P[i], st.A[i], w.PC, w.AC, NO_EVENT, first, k, st, g, f, data, w)


@inner
def rerun_weights(lane, i, first, both, st, g, f, data, w, k):
    """Query i again with the changed weights w.P, w.A, golden before key `first`."""
    PC, AC = own_weights(w.P, w.A, i, st, g, w, both)
    rerun_row(lane, i, w.P, w.A, PC, AC, NO_EVENT, first, ZERO, 0.0, 0.0, k, st, g, f, data, w)


@inner
def rerun_side(lane, i, first, own, both, st, g, f, data, w, k):
    """Query i again with weights that were changed, from key `first` on, in the check unit (own) or in the datapath
    (see `own_weights`)."""
    if own:
        return rerun_checker(lane, i, first, st, g, f, data, w, k)
    rerun_weights(lane, i, first, both, st, g, f, data, w, k)
    return CHANGED


@inner
def rerun_event(lane, i, event, when, at, k, st, g, f, data, w):
    """Query i again, golden weights, one event. Returns MASKED or CHANGED."""
    scanning = g.check and g.granularity == KEY_TILE
    P, A = st.P[i], st.A[i]
    if scanning or (event != AT_O and event != AT_PV and event != AT_V):
        if scanning:
            rerun_row(lane, i, P, A, P, A, event, when, at, w.value[1], 0.0, k, st, g, f, data, w)
            return CHANGED
        return rerun_sums(lane, i, P, A, P, A, event, when, k, st, g, f, data, w)
    base = base_of(when, st)
    x = column_chain(np.float64(st.o_at[i, base, at]), st.v_t[at], P, A, base * st.spacing, when, f.state)
    if event == AT_O:
        x = quiet(hit(x, k, w), f.state)
    else:
        v = np.float64(st.v[when, at]) if event == AT_PV else w.value[1]
        pv = round_to(np.float64(P[when]) * v, f.state)
        if event == AT_PV:
            pv = quiet(hit(pv, k, w), f.state)
        x = add(mul(x, np.float64(A[when]), f.state), pv, f.state)
        when += 1
    x = column_chain(x, st.v_t[at], P, A, when, g.n_keys, f.state)
    return rerun_column(lane, i, at, x, st, g, f, data, w)


@inner
def replay_stage(code, lane, i, j, at, level, k, st, g, f, data, scale, w):
    """A register that holds a value of (query i, key j)."""
    if code == PROD or code == SUMS or code == SCORE:
        s = struck_score(i, j, code, level, at, k, st, g, f, data, scale, w)
        if not with_score(w.P, w.A, i, j, s, st, g, f, data, scale, w):
            return MASKED
        rerun_weights(lane, i, j, not g.own_score, st, g, f, data, w, k)
        return CHANGED
    if code == CHK_PROD or code == CHK_SUMS or code == CHK_SCORE:
        plain = PROD if code == CHK_PROD else (SUMS if code == CHK_SUMS else SCORE)
        s = struck_score(i, j, plain, level, at, k, st, g, f, data, scale, w)
        if not with_score(w.PC, w.AC, i, j, s, st, g, f, data, scale, w):
            return MASKED
        return rerun_checker(lane, i, j, st, g, f, data, w, k)
    if code == DS or code == DA or code == CHK_DS or code == CHK_DA:
        ds, da = golden_differences(i, j, st, g, f, data, scale, w)
        allowed = j <= data.bound[i]
        own = code == CHK_DS or code == CHK_DA
        P, A = (w.PC, w.AC) if own else (w.P, w.A)
        copy_row(P, A, i, st)
        if code == DS or code == CHK_DS:
            ds = hit(ds, k, w)
            if allowed:
                P[j] = exponential(ds, g, f, data.exp_table)
        else:
            A[j] = exponential(hit(da, k, w), g, f, data.exp_table)
        if same_bits(np.float64(P[j]), np.float64(st.P[i, j])) and same_bits(np.float64(A[j]), np.float64(st.A[i, j])):
            return MASKED
        return rerun_side(lane, i, j, own, not g.own_max, st, g, f, data, w, k)
    if code == ALLOW or code == CHK_ALLOW:
        golden = 1.0 if j <= data.bound[i] else 0.0
        allow = hit(golden, k, w)
        if allow == golden:
            return MASKED
        own = code == CHK_ALLOW
        P, A = (w.PC, w.AC) if own else (w.P, w.A)
        copy_row(P, A, i, st)
        P[j] = 0.0
        if allow != 0.0:
            P[j] = exponential(0.0, g, f, data.exp_table)  # a masked key's ds is zero
        return rerun_side(lane, i, j, own, not g.own_max, st, g, f, data, w, k)
    if code == P_REG or code == A_REG or code == A_ACC:
        copy_row(w.P, w.A, i, st)
        if code == P_REG:
            w.P[j] = quiet(hit(np.float64(w.P[j]), k, w), f.exp)
        else:
            w.A[j] = quiet(hit(np.float64(w.A[j]), k, w), f.exp)
        rerun_weights(lane, i, j, NO, st, g, f, data, w, k)
        return CHANGED
    if code == CHK_P or code == CHK_A or code == CHK_A_ACC:
        copy_row(w.PC, w.AC, i, st)
        if code == CHK_P:
            w.PC[j] = quiet(hit(np.float64(w.PC[j]), k, w), f.exp)
        else:
            w.AC[j] = quiet(hit(np.float64(w.AC[j]), k, w), f.exp)
        return rerun_checker(lane, i, j, st, g, f, data, w, k)
    event = AT_PV
    if code == P_ACC:
        event = AT_P_ACC
    elif code == CHK_PR:
        event = AT_CHK_PR
    elif code == CHK_P_ACC:
        event = AT_CHK_P_ACC
        if not g.own_sum:
            hit(np.float64(st.P[i, j]), k, w)
            return MASKED
    elif code != PV:
        return FALL_BACK
    return rerun_event(lane, i, event, j, at, k, st, g, f, data, w)


@inner
def replay_shared(code, block, j, at, level, k, st, g, f, data, scale, w):
    """A register that all lanes read: it holds something of key j."""
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    scanning = g.granularity == KEY_TILE
    status = MASKED
    if code == K:
        x = hit(data.k[j, at], k, w)
        golden = st.k[j, at]
        for i in range(first, last):
            # The key is shared by every query of the block, and by nothing else while it is in flight.
            st.k[j, at] = quiet(x, f.operand)
            s = struck_score(i, j, OTHER, ZERO, ZERO, k, st, g, f, data, scale, w)
            st.k[j, at] = golden
            if with_score(w.P, w.A, i, j, s, st, g, f, data, scale, w):
                rerun_weights(i - first, i, j, YES, st, g, f, data, w, k)
                status = CHANGED
        return status
    if code == KEY_TAG:
        tag = hit(np.float64(j), k, w)
        for i in range(first, last):
            bound = data.bound[i]
            if (tag > bound) == (j > bound):
                continue
            m, seen = before_key(i, j, st, data)
            copy_row(w.P, w.A, i, st)
            unit = exponential(0.0, g, f, data.exp_table)
            if tag > bound:
                # The key is skipped: the maximum stays.
                w.P[j] = 0.0
                w.A[j] = unit
                if not same_bits(m, golden_maximum(i, j, st)) or not seen:
                    resume_softmax(w.P, w.A, i, j + 1, m, seen, bound, bound, j + 1, st, w, g, f, data, scale)
            else:
                # A masked key gets in; every later one is masked, so that the maximum matters to it alone.
                scores_range(w.S, st.q[i], st.k_t, j, j + 1, w.buf, w.products, g, f, scale, data.digits)
                m, ds, da = max_step(w.S[j], m, seen, f)
                w.P[j] = exponential(ds, g, f, data.exp_table)
                w.A[j] = exponential(da, g, f, data.exp_table) if da != 0.0 else unit
            rerun_weights(i - first, i, j, YES, st, g, f, data, w, k)
            status = CHANGED
        return status
    if code == V or code == V_DELAY:
        x = quiet(hit(data.v[j, at], k, w), f.operand)
        raw = w.value[1]
        new_r = 0.0
        r_changed = False
        if code == V and g.check:
            widen(w.v, st.v[j])
            w.v[at] = x
            new_r = row_sum(w.v, w.tree, g, f.checker, f.operand)
            r_changed = not same_bits(new_r, st.r[j])
        sums_native = f.checker.kind == 1 and f.checker.flush_below == 0.0 and w.PT.itemsize == 4
        if not scanning and native(f.state, w.PT) and (sums_native or not r_changed):
            return lanes_with(block, j, at, x, new_r, YES, r_changed, st, g, f, data, w)
        for i in range(first, last):
            w.value[1] = x
            if r_changed or scanning:
                event = AT_V_AND_R if r_changed else AT_V
                P, A = st.P[i], st.A[i]
                rerun_row(i - first, i, P, A, P, A, event, j, at, x, new_r, k, st, g, f, data, w)
                status = CHANGED
            elif rerun_event(i - first, i, AT_V, j, at, k, st, g, f, data, w) == CHANGED:
                status = CHANGED
        w.value[1] = raw
        return status
    if code == R_TREE or code == R_DELAY:
        r = struck_row_sum(j, code, level, at, k, st, g, f, w)
        if same_bits(r, st.r[j]):
            return MASKED
        if not scanning and f.checker.kind == 1 and f.checker.flush_below == 0.0 and w.PT.itemsize == 4:
            return lanes_with(block, j, at, 0.0, r, NO, YES, st, g, f, data, w)
        for i in range(first, last):
            P, A = st.P[i], st.A[i]
            if scanning:
                rerun_row(i - first, i, P, A, P, A, AT_R, j, ZERO, 0.0, r, k, st, g, f, data, w)
                status = CHANGED
                continue
            pr = mul(np.float64(P[j]), quiet(r, f.checker), f.checker)
            base = base_of(j, st)
            c = checksum_through(st.c_at[i, base], base * st.spacing, pr, j, st.r, P, A, g.n_keys, f.checker)
            if new_checksum(i - first, i, c, st.sums[i, 0], st, g, f, data, w) == CHANGED:
                status = CHANGED
        return status
    return FALL_BACK


@inner
def lanes_with(block, j, t, value, row_sum, in_column, in_sum, st, g, f, data, w):
    """All lanes of a block together, natively, with element t of v being `value` for key j (in_column) and its row sum
    `row_sum` (in_sum). Returns MASKED or CHANGED."""
    turn_block(block, st, g, w)
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    base = base_of(j, st)
    start = base * st.spacing
    column, sums = w.columns[:last - first], w.checksums[:last - first]
    status = MASKED
    if in_column:
        for i in range(first, last):
            column[i - first] = st.o_at[i, base, t]
        lanes_column(column, st.v_t[t], j, value, start, w.PT, w.AT)
        for i in range(first, last):
            if rerun_column(i - first, i, t, round_to(np.float64(column[i - first]), f.state), st, g, f, data, w) == (
                    CHANGED):
                status = CHANGED
    if in_sum:
        for i in range(first, last):
            sums[i - first] = st.c_at[i, base]
        lanes_checksum(sums, st.r, j, row_sum, start, w.PT, w.AT)
        for i in range(first, last):
            c = round_to(np.float64(sums[i - first]), f.checker)
            if w.changed[i - first]:  # its column has changed too
                divisor = divisor_of(st.sums[i, 0], g, f, data.recip_table)
                w.terms[i - first, 0] = normalised(quiet(c, f.checker), divisor, g, f.checker)
            elif new_checksum(i - first, i, c, st.sums[i, 0], st, g, f, data, w) == CHANGED:
                status = CHANGED
    return status


@inner
def struck_row_sum(j, code, level, at, k, st, g, f, w):
    """r_j after a strike on its way through the row-sum tree (level, element at) or the delay behind it."""
    rc = f.checker
    widen(w.v, st.v[j])
    r = row_sum(w.v, w.tree, g, rc, f.operand)
    if code == R_DELAY:
        return quiet(hit(r, k, w), rc)
    return quiet(strike_tree(w.tree, level, at, k, g, rc, w), rc)


@inner
def replay_lane(code, lane, cycle, at, k, cw, st, g, f, data, scale, w):
    """A register that a lane keeps for its query."""
    since = cycle - 1 - lane
    block = since // cw.period
    if since < 0 or block >= g.blocks:
        # Before the first load the flag is still read, by the first swap's drain.
        return (FALL_BACK if code == ACTIVE and since < 0 else MASKED), ZERO
    i = block * g.lanes + lane
    if i >= g.n_queries:
        return (FALL_BACK if code == ACTIVE else MASKED), ZERO
    n = g.n_keys
    start = g.lanes + block * cw.period
    if code == Q:
        skew = at if g.dot == SERIAL else 0
        j = max(0, cycle - start - 1 - skew)
        if j >= n:
            return MASKED, ZERO
        move(w.q, st.q[i])
        w.q[at] = quiet(hit(data.q[i, at], k, w), f.operand)
        with_query(w.P, w.A, i, j, w.q, st, g, f, data, scale, w)
        rerun_weights(lane, i, j, YES, st, g, f, data, w, k)
        return CHANGED, block
    met = max(0, cycle - start - 3 - g.depth)  # keys that have passed the max stage
    if code == BOUND or code == MAX or code == SEEN or code == CHK_MAX or code == CHK_SEEN:
        if met >= n:
            return MASKED, ZERO
        m, seen = before_key(i, met, st, data)
        bound = data.bound[i]
        own = code == CHK_MAX or code == CHK_SEEN
        if code == BOUND:
            bound = np.int64(hit(np.float64(bound), k, w))
            # A key that the golden run had masked does not raise its maximum, so start from what there is.
        elif code == MAX or code == CHK_MAX:
            m = hit(m, k, w)
            if not seen:
                return MASKED, ZERO
            m = quiet(m, f.state)
        else:
            seen = hit(1.0 if seen else 0.0, k, w) != 0.0
        P, A = (w.PC, w.AC) if own else (w.P, w.A)
        with_maximum(P, A, i, met, m, seen, bound, st, g, f, data, scale, w)
        return rerun_side(lane, i, met, own, not g.own_max or code == BOUND, st, g, f, data, w, k), block
    if cycle > (block + 1) * cw.period + lane:
        return MASKED, ZERO
    if code == ACTIVE:
        if g.check and g.granularity == KEY_TILE:
            return FALL_BACK, ZERO
        if hit(1.0, k, w) != 0.0:
            return MASKED, ZERO
        w.rows[lane] = 0.0  # never delivered: the O SRAM keeps its zeros
        w.changed[lane] = DROPPED
        return CHANGED, block
    done = min(max(0, cycle - start - 6 - g.depth), n)  # keys that have been accumulated
    event = AT_O
    if code == L_SUM:
        event = AT_L
    elif code == C_SUM:
        event = AT_C
    elif code == CHK_L:
        event = AT_CHK_L
    return rerun_event(lane, i, event, done, at, k, st, g, f, data, w), block


@inner
def replay_drain(code, cycle, at, level, k, cw, st, g, f, data, w):
    """A register behind the lanes: it holds something of the row that is being delivered."""
    if g.check and g.granularity == KEY_TILE:
        if code == NORM_O or code == NORM_C or code == OUT_TREE or code == PRED_DELAY or code == RESIDUAL or (
                code == LIMIT):
            return FALL_BACK, ZERO
    lag = 1 + level if code == ADDRESS else 1
    if code == RECIP or code == RECIP_O or code == RECIP_C or code == CHK_RECIP:
        lag = 2
    elif code == OUT or code == PRED_TERM:
        lag = 1 + cw.normalise
    elif code == OUT_TREE:
        lag = 2 + cw.normalise + level
    elif code == PRED_DELAY:
        lag = 2 + cw.normalise + at
    swap = (cycle - lag) // cw.period
    lane = cycle - lag - swap * cw.period
    if cycle < lag or swap < 1 or swap > g.blocks or lane >= g.lanes:
        return MASKED, ZERO
    block = swap - 1
    i = block * g.lanes + lane
    if i >= g.n_queries:
        return MASKED, ZERO
    if code == ADDRESS:
        return FALL_BACK, ZERO
    rst, rc = f.state, f.checker
    if g.check and g.granularity == KEY_TILE:
        for tile in range(g.tiles):  # scanned before the row was read
            move(w.scans[lane, tile], st.scan_terms[i, tile])
    total, c = st.sums[i, 0], st.sums[i, 1]
    divisor = divisor_of(total, g, f, data.recip_table)
    if code == NORM_O or code == RECIP_O:
        base = st.o_at.shape[1] - 1
        x = column_chain(np.float64(st.o_at[i, base, at]), st.v_t[at], st.P[i], st.A[i], base * st.spacing, g.n_keys, rst)
        value = normalised(quiet(hit(x, k, w), rst), divisor, g, f.output)
        return new_element(lane, i, at, value, st, g, f, w), block
    if code == NORM_C or code == RECIP_C:
        return new_term(lane, i, normalised(quiet(hit(c, k, w), rc), divisor, g, rc), st, w), block
    if code == NORM_L or code == NORM_CHK_L:
        divisor = divisor_of(hit(total, k, w), g, f, data.recip_table)
    elif code == RECIP or code == CHK_RECIP:
        divisor = quiet(hit(divisor, k, w), rst)
    if code == NORM_L or code == RECIP:
        golden_accumulators(i, st, g, f, w)
        row = w.rows[lane]
        w.changed[lane] = ROW
        for t in range(g.head_dim):
            row[t] = normalised(quiet(w.v[t], rst), divisor, g, f.output)
        if g.check:
            w.terms[lane, 0] = st.terms[i, 0] if g.own_sum else normalised(quiet(c, rc), divisor, g, rc)
            w.terms[lane, 1] = row_sum(row, w.tree, g, rc, f.output)
        return CHANGED, block
    if code == NORM_CHK_L or code == CHK_RECIP:
        return new_term(lane, i, normalised(quiet(c, rc), divisor, g, rc), st, w), block
    if code == OUT:
        return new_element(lane, i, at, hit(st.o[i, at], k, w), st, g, f, w), block
    if code == PRED_TERM or code == PRED_DELAY:
        return new_term(lane, i, hit(st.terms[i, 0], k, w), st, w), block
    if code == OUT_TREE:
        move(w.tree, st.out_tree[i])
        w.terms[lane, 0] = st.terms[i, 0]
        w.terms[lane, 1] = strike_tree(w.tree, level, at, k, g, rc, w)
        w.changed[lane] = TERMS
        return CHANGED, block
    return FALL_BACK, ZERO


@inner
def strike_tree(tree, level, at, k, g, r, w):
    """Root of a filled adder tree after a strike on one of its registers (level, element at)."""
    size = (g.head_dim + 1) // 2
    before = size
    start = 0
    for step in range(g.levels):
        if step == level:
            tree[start + at] = hit(tree[start + at], k, w)
        elif step > level:
            tree_level(tree[start:start + size], tree[start - before:start], before, r, r.flush_below)
        before = size
        start += size
        size = (size + 1) // 2
    return tree[start - 1]


# -- what the changed rows mean ---------------------------------------------------------------------------------


@inner
def compare_again(index, pred, act, scanned, cw, g, rc, w):
    """Write comparison `index` into the scratch."""
    pred, act = quiet(pred, rc), quiet(act, rc)
    w.residual[index] = sub(pred, act, rc)
    w.limit[index] = limit_of(cw.scan_threshold if scanned else cw.threshold, pred, act, g, rc)


@inner
def compare_block(block, cw, st, g, rc, w):
    """Take every comparison again that the changed rows of a block enter."""
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    if g.granularity == KEY_TILE:
        for tile in range(g.tiles):
            index = cw.scan_comparison[block, tile]
            if index < 0:
                continue
            pred, act = 0.0, 0.0
            for i in range(first, last):
                lane = i - first
                if w.changed[lane]:
                    pred = add(pred, w.scans[lane, tile, 0], rc)
                    act = add(act, w.scans[lane, tile, 1], rc)
                else:
                    pred = add(pred, st.scan_terms[i, tile, 0], rc)
                    act = add(act, st.scan_terms[i, tile, 1], rc)
            compare_again(index, pred, act, True, cw, g, rc, w)
    start = first
    while start < last and not w.changed[start - first]:
        start += 1
    stop = g.n_queries if g.granularity == HEAD else last
    pred, act = cw.prefix[start, 0], cw.prefix[start, 1]
    if rc.kind == 1 and rc.flush_below == 0.0:
        # The machine's binary32 sums, natively: up to the payload of a NaN, which the comparison makes canonical.
        x, y = np.float32(pred), np.float32(act)
        for i in range(start, last):
            changed = w.changed[i - first]
            if changed != DROPPED:
                x = x + np.float32(w.terms[i - first, 0] if changed else st.terms[i, 0])
                y = y + np.float32(w.terms[i - first, 1] if changed else st.terms[i, 1])
        for i in range(last, stop):
            if x == np.float32(cw.prefix[i, 0]) and y == np.float32(cw.prefix[i, 1]) and x != 0 and y != 0:
                return  # the sums are golden again, and stay so
            x = x + np.float32(st.terms[i, 0])
            y = y + np.float32(st.terms[i, 1])
        compare_again(cw.block_comparison[g.blocks - 1 if g.granularity == HEAD else block], canonical(x), canonical(y),
                      False, cw, g, rc, w)
        return
    for i in range(start, stop):
        if i < last and w.changed[i - first] == DROPPED:
            continue
        if i < last and w.changed[i - first]:
            p, a = w.terms[i - first, 0], w.terms[i - first, 1]
        else:
            p, a = st.terms[i, 0], st.terms[i, 1]
            if i >= last and same_bits(pred, cw.prefix[i, 0]) and same_bits(act, cw.prefix[i, 1]):
                return  # the sums are golden again, and stay so
        pred = add(quiet(pred, rc), quiet(p, rc), rc)
        act = add(quiet(act, rc), quiet(a, rc), rc)
    compare_again(cw.block_comparison[g.blocks - 1 if g.granularity == HEAD else block], pred, act, False, cw, g,
                  rc, w)


@inner
def verdict(cw, w):
    """(alarm cycle or −1, residual and limit of the telling comparison) of the comparisons in the scratch."""
    best = -1
    for index in range(w.residual.shape[0]):
        if over(w.residual[index], w.limit[index]):
            return cw.alarm_cycle[index], w.residual[index], w.limit[index]
        if best < 0 or not abs(w.residual[index]) <= abs(w.residual[best]):
            best = index
    if best < 0:
        return -1, np.nan, np.nan
    return -1, w.residual[best], w.limit[best]


@inner
def restore(block, cw, g, w):
    """Make the scratch golden again after a block's rows were changed."""
    w.changed[:] = 0
    if not g.check:
        return
    index = cw.block_comparison[g.blocks - 1 if g.granularity == HEAD else block]
    w.residual[index] = cw.residual[index]
    w.limit[index] = cw.limit[index]
    if g.granularity == KEY_TILE:
        for tile in range(g.tiles):
            index = cw.scan_comparison[block, tile]
            if index >= 0:
                w.residual[index] = cw.residual[index]
                w.limit[index] = cw.limit[index]


@inner
def replay_check(code, cycle, clock_cycle, k, cw, st, g, f, w):
    """A register of the comparison itself: (status, cycle of an alarm that no comparison explains, or −1). Not for
    key-tile scans.

    Output rows are golden; w.residual and w.limit are left changed for `verdict`, and have to be restored.
    """
    rc = f.checker
    if g.granularity == KEY_TILE or cw.golden_alarm >= 0:
        return FALL_BACK, np.int64(-1)
    if code == ALARM:
        raised = hit(0.0, k, w) != 0.0
        return (CHANGED if raised else MASKED), (clock_cycle if raised else np.int64(-1))
    if code == ENABLE:
        hit(1.0, k, w)
        return MASKED, np.int64(-1)
    if code == THRESHOLD:
        if g.relative:
            return FALL_BACK, np.int64(-1)
        limit = quiet(hit(cw.threshold, k, w), rc)
        for index in range(w.limit.shape[0]):
            if cw.cycle[index] > clock_cycle:
                w.limit[index] = limit
        return CHANGED, np.int64(-1)
    # Blocks are compared in cycle `compares` of their swap; a residual stands in the cycle after.
    compares = g.lanes - 1 + cw.normalise + g.levels + 2
    if code == RESIDUAL or code == LIMIT:
        swap = (cycle - 1 - compares) // cw.period
        if cycle - 1 - compares != swap * cw.period or swap < 1 or swap > g.blocks or (
                g.granularity == HEAD and swap != g.blocks):
            return MASKED, np.int64(-1)
        index = cw.block_comparison[swap - 1]
        residual, limit = w.residual[index], w.limit[index]
        if code == RESIDUAL:
            residual = hit(residual, k, w)
        else:
            limit = hit(limit, k, w)
        if over(residual, limit):
            return CHANGED, cw.alarm_cycle[index]
        return MASKED, np.int64(-1)
    # pred or act: struck after the rows that were added before this cycle.
    block = g.blocks - 1
    first = 0
    if g.granularity == QUERY_BLOCK:
        block = max(0, -((compares - cycle) // cw.period) - 1)
        first = block * g.lanes
    if cycle > (block + 1) * cw.period + compares or block >= g.blocks:
        hit(0.0, k, w)  # compared for the last time: the sums are empty, and stay unread
        return MASKED, np.int64(-1)
    last = min((block + 1) * g.lanes, g.n_queries)
    pred, act = 0.0, 0.0
    waiting = True
    for i in range(first, last):
        added = (i // g.lanes + 1) * cw.period + i % g.lanes + cw.normalise + g.levels + 1
        if waiting and added >= cycle:
            waiting = False
            if code == PRED:
                pred = quiet(hit(pred, k, w), rc)
            else:
                act = quiet(hit(act, k, w), rc)
        pred = add(pred, st.terms[i, 0], rc)
        act = add(act, st.terms[i, 1], rc)
    if waiting:
        if code == PRED:
            pred = hit(pred, k, w)
        else:
            act = hit(act, k, w)
    compare_again(cw.block_comparison[block], pred, act, False, cw, g, rc, w)
    return CHANGED, np.int64(-1)


class Outcomes(NamedTuple):
    """What `replay_all` writes, one entry per fault: see accel_sim.campaign.columns. status: MASKED, CHANGED
    or FALL_BACK (whose other entries are not valid)."""

    status: np.ndarray
    differs: np.ndarray
    alarm_cycle: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    square: np.ndarray
    max_abs: np.ndarray
    max_ulp: np.ndarray
    nonfinite: np.ndarray
    rows: np.ndarray
    old_value: np.ndarray
    new_value: np.ndarray


@kernel
def replay_all(order, slots, cycles, last_cycles, ops, masks, arith, stored, wh, cw, st, g, f, data, scale, codec, w, out):
    """Replay many faults of one head, in the given order (a permutation; results do not depend on it).

    slots, cycles (clock), last_cycles (last clock cycle in which the fault acts), ops (n,) int64; masks (n,)
    uint64; arith, stored (n, 4) int64: `Codec` fields. codec: the output format's.
    """
    clean_alarm, clean_residual, clean_limit = verdict(cw, w)
    for n in order:
        slot = slots[n]
        a, b = arith[n], stored[n]
        k = Strike(ops[n], masks[n], Codec(a[0], a[1], a[2], a[3]), Codec(b[0], b[1], b[2], b[3]))
        cycle = cw.machine_cycle[cycles[n]]
        out.differs[n] = False
        out.alarm_cycle[n] = clean_alarm
        out.residual[n] = clean_residual
        out.limit[n] = clean_limit
        out.square[n] = 0.0
        out.max_abs[n] = 0.0
        out.max_ulp[n] = 0
        out.nonfinite[n] = 0
        out.rows[n] = 0
        if cw.machine_cycle[last_cycles[n]] != cycle:
            out.status[n] = FALL_BACK  # it acts in more than one machine cycle
            continue
        code = wh.code[slot]
        if code in CHECK_CODES:
            w.value[:] = np.nan
            status, raised = replay_check(code, cycle, cycles[n], k, cw, st, g, f, w)
            out.status[n] = status
            out.old_value[n] = w.value[0]
            out.new_value[n] = w.value[1]
            if status == CHANGED:
                out.alarm_cycle[n], out.residual[n], out.limit[n] = verdict(cw, w)
                if raised >= 0:
                    out.alarm_cycle[n] = raised
                move(w.residual, cw.residual)
                move(w.limit, cw.limit)
            continue
        status, block = replay(slot, cycle, k, wh, cw, st, g, f, data, scale, w)
        out.status[n] = status
        out.old_value[n] = w.value[0]
        out.new_value[n] = w.value[1]
        if status != CHANGED:
            w.changed[:] = 0
            continue
        first = block * g.lanes
        last = min(first + g.lanes, g.n_queries)
        for i in range(first, last):
            mark = w.changed[i - first]
            if mark == COLUMN:
                t = w.column[0]
                _, delta, ulp, lost = compare_values(st.o[i, t], w.rows[i - first, t], codec)
                out.square[n] += delta * delta
                out.max_abs[n] = max(out.max_abs[n], abs(delta))
                out.max_ulp[n] = max(out.max_ulp[n], ulp)
                out.nonfinite[n] += lost
                out.rows[n] += 1
            elif mark == ROW or mark == DROPPED:
                square, largest, ulp, nonfinite, rows = compare_rows(
                    st.o[i:i + 1], w.rows[i - first:i - first + 1], codec, out.square[n])
                out.square[n] = square
                out.max_abs[n] = max(out.max_abs[n], largest)
                out.max_ulp[n] = max(out.max_ulp[n], ulp)
                out.nonfinite[n] += nonfinite
                out.rows[n] += rows
        out.differs[n] = out.rows[n] > 0
        if g.check:
            compare_block(block, cw, st, g, f.checker, w)
            out.alarm_cycle[n], out.residual[n], out.limit[n] = verdict(cw, w)
        restore(block, cw, g, w)


@kernel
def keep_golden(st, g, f, o):
    """Fill the golden accumulators and output trees of the store; o (d,) is scratch of type T."""
    keep_accumulators(st, g, f.state, f.checker, o)
    if g.check:
        for i in range(g.n_queries):
            row_sum(st.o[i], st.out_tree[i], g, f.checker, f.output)


@kernel
def rows_again(first, last, from_key, n_keys, scale, st, g, f, data, w, rows, terms):
    """Queries first … last − 1 meeting the first `n_keys` keys only, with `scale` for the keys from `from_key` on
    (the number of keys or more: for none).

    rows (count, d) and terms (count, 2) float64 receive their outputs and row sums.
    """
    for i in range(first, last):
        with_query(w.P, w.A, i, from_key, st.q[i], st, g, f, data, scale, w)
        w.o[:] = 0
        accumulate_row(w.o, st.v, w.P, w.A, 0, n_keys, f.state)
        total = sum_chain(0.0, w.P, w.A, 0, n_keys, f.state)
        c = 0.0
        if g.check:
            c = checksum_chain(0.0, st.r, w.P, w.A, 0, n_keys, f.checker)
        widen(w.v, w.o)
        finish_row(rows[i - first], terms[i - first], w.v, total, c, total, w.tree, g, f, data.recip_table)
