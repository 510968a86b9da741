"""What each register array is to the replay engine: a code, and whether it is the check unit's own copy."""

from __future__ import annotations

import numpy as np

(
    OTHER, Q, K, V, V_DELAY, KEY_TAG, BOUND, ACTIVE, PROD, SUMS, SCORE, SEEN, MAX, ALLOW, DS, DA, P_REG, A_REG,
    P_ACC, A_ACC, PV, L_SUM, O_ACC, R_TREE, R_DELAY, CHK_PR, C_SUM, NORM_O, NORM_L, NORM_C, RECIP, RECIP_O, RECIP_C,
    OUT, PRED_TERM, OUT_TREE, PRED_DELAY, ADDRESS, PRED, ACT, RESIDUAL, LIMIT, ALARM, THRESHOLD, ENABLE, FIRST,
    SMALL_THRESHOLD, FREQUENT, DEVIATIONS,
) = (np.int64(code) for code in range(49))

CODES = {
    "q": Q, "k": K, "k_skew": K, "v": V, "v_delay": V_DELAY, "key_tag": KEY_TAG, "bound": BOUND, "active": ACTIVE,
    "prod": PROD, "tree": SUMS, "chain": SUMS, "dot": SUMS, "score": SCORE, "seen": SEEN, "m": MAX, "allow": ALLOW,
    "ds": DS, "da": DA, "p": P_REG, "a": A_REG, "p_acc": P_ACC, "a_acc": A_ACC, "pv": PV, "l": L_SUM, "o": O_ACC,
    "r_tree": R_TREE, "r_delay": R_DELAY, "chk_pr": CHK_PR, "c": C_SUM, "norm_o": NORM_O, "norm_l": NORM_L,
    "norm_c": NORM_C, "norm_addr": ADDRESS, "recip": RECIP, "recip_o": RECIP_O, "recip_c": RECIP_C,
    "recip_addr": ADDRESS, "out": OUT, "out_addr": ADDRESS, "pred_term": PRED_TERM, "out_tree": OUT_TREE,
    "pred_delay": PRED_DELAY, "pred": PRED, "act": ACT, "residual": RESIDUAL, "limit": LIMIT, "alarm": ALARM,
    "threshold": THRESHOLD, "enable": ENABLE, "small_threshold": SMALL_THRESHOLD, "frequent": FREQUENT,
    "deviations": DEVIATIONS, "first": FIRST,
}
"""Code of each register array of the datapath, and of those that only the check unit has."""

IN_LANE = {Q, BOUND, FIRST, SEEN, MAX, L_SUM, O_ACC, ACTIVE, C_SUM}
"""Registers that a lane keeps for its query; the streaming pipeline has a stage for the others."""

(
    SUM_OF_KEYS, SUM_OF_SCORES, ROWSUM_PROD, ROWSUM_TREE, ROWSUM_DELAY, ROWSUM_PRED, EXCESS, COPY, MET, MASKED_FLAG,
    SCORE_BOUND, JUDGEMENT,
) = (np.int64(code) for code in range(100, 112))
"""Registers of the units that only look; JUDGEMENT is the first of those that both have, see `JUDGED`."""

(OF_RESIDUAL, OF_LIMIT, OF_THRESHOLD, OF_ENABLE, OF_ALARM, OF_SMALL, OF_FREQUENT, OF_DEVIATIONS, JUDGED) = (
    np.int64(part) for part in range(9))
"""Code JUDGEMENT + unit · JUDGED + part, for unit 0 (score_rowsum) and 1 (softmax_invariants)."""

OBSERVER_CODES = {
    "rowsum_keys": SUM_OF_KEYS, "rowsum_sum": SUM_OF_SCORES, "rowsum_prod": ROWSUM_PROD, "rowsum_tree": ROWSUM_TREE,
    "rowsum_delay": ROWSUM_DELAY, "rowsum_pred": ROWSUM_PRED, "softmax_excess": EXCESS, "softmax_m": COPY,
    "softmax_seen": MET, "softmax_masked": MASKED_FLAG, "softmax_bound": SCORE_BOUND,
} | {
    f"{prefix}_{part}": JUDGEMENT + np.int64(unit) * JUDGED + np.int64(number)
    for unit, prefix in enumerate(("rowsum", "softmax"))
    for number, part in enumerate(("residual", "limit", "threshold", "enable", "alarm", "small_threshold", "frequent",
                                   "deviations"))
}
"""Code of each register array of the units that only look, but for tags."""

CHECK_CODES = (ALARM, ENABLE, THRESHOLD, RESIDUAL, LIMIT, PRED, ACT, SMALL_THRESHOLD, FREQUENT, DEVIATIONS)
"""Registers of the comparison, which `replay_check` knows."""


def code_of(name: str) -> tuple[np.int64, bool]:
    """(code, whether it is the check unit's own copy of a register of the datapath) of the register array `name`;
    one that replay does not know is OTHER."""
    if name in CODES or name in OBSERVER_CODES:
        return (CODES | OBSERVER_CODES)[name], False
    return CODES.get(name.replace("chk_", ""), OTHER), "chk_" in name
