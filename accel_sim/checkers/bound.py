"""Bounds on clean residuals, from the formats, the sizes and the operands' sizes: of the fused output check, and (at
the end) of the row sums of the scores.

Notation: u(f) = 2^−p is half a unit in the last place of 1 in format f, and g(n, f) = (1 + u)^n − 1 bounds the
relative error of n roundings in a row (Higham, Accuracy and Stability of Numerical Algorithms, ch. 3, with
the exact power instead of nu/(1 − nu), so that it also holds when nu ≥ 1).

Both sides are the same sums of the same weights w_j = p_j Π a (the stored exponentials; with unshared
signals the check unit's own are equal when nothing is faulty). Per query, with A = max_j Σ_t |v_jt|:

  o_t     2N + 1 roundings in the state format on every term:   Σ_t |error| ≤ g(2N + 1, state) A W
  c       2N + 1 roundings in the checker format, and the row-sum tree's log2 d:  ≤ g(2N + 1 + log2 d, checker) A W
  c/l     one rounding in the checker format;  o/l one in the output format
  Σ_t O   the output tree's log2 d roundings in the checker format

where W = Σ_j w_j / l bounds how far the divisor l is from the exact sum: W ≤ (1 + u(state))^(2N + 1), and with a
piecewise-linear reciprocal another factor 25/24: the chord of 1/x over [1, 1.5], the coarsest piece there is,
exceeds 1/x by (a + b)² / 4ab − 1 = 1/24 at most. Every underflow adds at most the smallest magnitude that its
format resolves. Summing M rows adds g(M, checker) of the sum of their magnitudes on each side.

Dividing by l does not enlarge what underflows lose, and no undivided row exceeds N values, as long as the largest
weight is 1: then 1 ≤ l ≤ N. It is, when the state format holds every score, so that the maximum is one of them.
Otherwise the maximum is a score rounded, off by u(state) S for scores up to S, and weights reach from
e^(−u S) to e^(u S): `weight_excess`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import Format
from accel_sim.workloads import Workload

RECIPROCAL_EXCESS = 25 / 24


def growth(n: int, fmt: Format) -> float:
    """(1 + u)^n − 1 for n roundings in `fmt`."""
    return float(np.expm1(n * np.log1p(2.0 ** -fmt.precision)))


def rounding_bound(machine: LanesMachine, v: np.ndarray, rows: int, excess: float = 1.0) -> float:
    """Largest |residual| that `rows` fault-free queries against the values v (N, d) can leave.

    `excess` is the `weight_excess` of the head. A bound, not an estimate: for bf16 state it is far above what
    is ever seen, because it lets every one of 2N roundings go the same way. It is about finite residuals: one
    that is not finite raises the alarm under any threshold.
    """
    n = v.shape[0]
    state, output, checker = (machine.formats[role] for role in ("state", "output", "checker"))
    magnitude = float(np.max(np.sum(np.abs(v), axis=1)))
    weight = 1.0 + growth(2 * n + 1, state)
    if machine.reciprocal:
        weight *= RECIPROCAL_EXCESS * (1.0 + growth(1, state))
    side_o = (1.0 + growth(2 * n + 1, state)) * (1.0 + growth(1, output)) * (1.0 + growth(machine.levels, checker))
    side_c = (1.0 + growth(2 * n + 1 + machine.levels, checker)) * (1.0 + growth(1, checker))
    # Underflow: each of the 2N + 1 steps of a term, in each of d columns, loses at most one smallest step.
    flush = machine.subnormals == "flush"
    smallest = sum(f.min_normal if flush else f.min_subnormal for f in (state, output, checker))
    per_row = magnitude * weight * ((side_o - 1.0) + (side_c - 1.0))
    per_row += (2 * n + 4) * (v.shape[1] + 2) * smallest * weight * excess
    sums = 2.0 * growth(rows, checker) * magnitude * weight * max(side_o, side_c)
    # The subtraction itself rounds once.
    return float(rows * (per_row + sums) * (1.0 + growth(1, checker)))


def weight_excess(machine: LanesMachine, q: np.ndarray, k: np.ndarray) -> float:
    """How far the largest weight of a head, q (Nq, d) and k (N, d), can be from 1, as a factor; 1 if it is 1.

    At most inf: with scores so large that their rounding decides the weights, nothing can be promised.
    """
    score, state, exp = (machine.formats[role] for role in ("score", "state", "exp"))
    if state.exponent_bits >= score.exponent_bits and state.precision >= score.precision:
        return 1.0
    # |s| by Cauchy and Schwarz, with a rounding for each product, level and scaling.
    norms = np.sqrt(np.max(np.sum(q * q, axis=1)) * np.max(np.sum(k * k, axis=1)) / q.shape[1])
    largest = float(norms) * (1.0 + growth(machine.depth + 4, score))
    off = 2.0**-state.precision * largest + state.min_normal
    # The exp unit's own error: one rounding, and 1/64 for its lines; a weight that is subnormal, in its own
    # format or in that of the sum, can be 3/2 of what it should be, or 2/3.
    unit = (1.0 + growth(1, exp)) * (1.0 + 1.0 / 64.0)
    with np.errstate(over="ignore"):
        return float(np.exp(off)) * unit * 1.5 * 1.5


def rowsum_bound(machine: LanesMachine, q: np.ndarray, k: np.ndarray) -> float:
    """Largest |residual| that score_rowsum can have without a fault on a query of q (Nq, d) and the keys k (N, d).

    With A = Σ_t |q_t| Σ_j |k_jt| / √d: a score carries D + 2 roundings in the score format (D for the latency of the
    dot product), their sum N in the checker's; the prediction N for the sum of the keys, one for a product, the tree's
    levels and one for the scale, which both sides multiply by as it is. As in `rounding_bound`, about finite residuals.
    """
    n, d = k.shape
    score, checker = machine.formats["score"], machine.formats["checker"]
    size = float(np.max(np.abs(q) @ np.sum(np.abs(k), axis=0))) * (1.0 + 2.0**-score.precision) / float(np.sqrt(d))
    actual = (1.0 + growth(machine.depth + 2, score)) * (1.0 + growth(n, checker)) - 1.0
    predicted = growth(n + machine.levels + 2, checker)
    flush = machine.subnormals == "flush"
    small, smallest = (f.min_normal if flush else f.min_subnormal for f in (score, checker))
    largest_q = float(np.max(np.sum(np.abs(q), axis=1)))
    underflow = (n * (2 * d + 2) * small + n * smallest) * (1.0 + actual)
    underflow += (n * largest_q + 2 * d + 2) * smallest * (1.0 + predicted)
    return float((size * (actual + predicted) + underflow) * (1.0 + growth(1, checker)))


def lanes_bounds(machine: LanesMachine, workload: Workload, unit: Any) -> tuple[float, float]:
    """Largest bound over the workload's heads, for a unit of comparison and for a scan; NaN for what a unit never
    compares."""
    if unit.kind == "score_rowsum":
        return max(rowsum_bound(machine, *workload.tensors(head)[:2]) for head in workload.heads), float("nan")
    rows = workload.n_queries if unit.granularity == "head" else min(machine.lanes, workload.n_queries)
    limit = scan = 0.0
    for head in workload.heads:
        q, k, v = workload.tensors(head)
        excess = weight_excess(machine, q, k)
        bound = rounding_bound(machine, v, rows, excess)
        limit = max(limit, bound)
        # Undivided rows are larger by at most l ≤ N.
        scan = max(scan, bound * workload.n_keys * excess)
    return limit, scan
