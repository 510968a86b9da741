"""How far a machine may be from softmax(QKᵀ/√d)V, and that attention itself in float64.

`distance_bound` follows the rounding errors of a head through the machine. Notation: u(f) = 2^−p, half a unit in the
last place of 1 in format f; tiny(f), the most that an underflow loses in f; P_j the true probabilities of a query,
s_j its true scores, M their maximum.

1. A computed score is off by E_j ≤ ((1 + u)^(depth + 3) − 1) Σ_t |q_t k_jt| / √d: a product, at most `depth` sums,
   the scaling and the rounding of the scale itself (score format).
2. A weight that reaches the output is e^(s_j − m_j) Π e^(m_i − m_i+1). The maxima cancel, whatever they are, so only
   the roundings of the exponents count: u (M − s_j) for all of them together (score format), and the relative error
   ε of each exponential: one of p_j, and one for each later key that raises the maximum, K at most.
   Together the weight is off by a factor within e^(±δ_j), δ_j = E_j + u (M − s_j) + (1 + K) ε.
3. Probabilities are weights over their sum: P'_j lies within P_j e^(±δ_j) / Σ_i P_i e^(∓δ_i).
4. Then 2N + 1 roundings of each term of o, as many of l (state format), one of the quotient (output format), and with
   a piecewise linear reciprocal its error and one more rounding.
5. Underflow: weights that vanish (N + N K of them, exp format), terms that vanish (2N in o, 2N in l, state format),
   the result itself; the true l is at least 1 when weights are counted from the maximum.
"""

from __future__ import annotations

import numpy as np

from accel_sim.checkers import weight_excess
from accel_sim.engines.job import Job
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.exp import EXP_PWL_ERROR
from accel_sim.numerics.formats import Format
from accel_sim.numerics.reciprocal import RECIPROCAL_ERROR


def allowed_keys(job: Job) -> np.ndarray:
    """(Nq, N) bool: what the mask lets each query see."""
    keys = np.arange(len(job.k))[None, :]
    return (job.first[:, None] <= keys) & (keys <= job.bound[:, None])


def softmax_attention(job: Job) -> np.ndarray:
    """softmax(QKᵀ/√d)V of a job in float64, (Nq, d)."""
    return probabilities(scores(job), allowed_keys(job)) @ job.v


def scores(job: Job) -> np.ndarray:
    """QKᵀ/√d in float64, (Nq, N)."""
    return job.q @ job.k.T / np.sqrt(job.q.shape[1])


def probabilities(s: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Row-wise softmax over the allowed entries."""
    s = np.where(allowed, s, -np.inf)
    weights = np.exp(s - s.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def unit(fmt: Format) -> float:
    return 2.0**-fmt.precision


def roundings(n: int, fmt: Format) -> float:
    """Natural logarithm of the largest factor that n roundings can make."""
    return -n * float(np.log1p(-unit(fmt)))


def distance_bound(machine: LanesMachine, job: Job) -> np.ndarray:
    """(Nq, d): how far each output may be from `softmax_attention`. inf where nothing can be promised."""
    f, flush = machine.formats, machine.subnormals == "flush"
    tiny = {role: fmt.min_normal if flush else fmt.min_subnormal for role, fmt in f.items()}
    n, d = job.k.shape
    allowed, s = allowed_keys(job), scores(job)
    # 1. scores
    size = np.abs(job.q) @ np.abs(job.k).T / np.sqrt(d)
    off = np.expm1(roundings(machine.depth + 3, f["score"])) * size + (2 * d + 2) * tiny["score"]
    if flush:  # operands read as zeros
        off = off + tiny["operand"] * (np.abs(job.q).sum(1)[:, None] + np.abs(job.k).sum(1)[None, :])
    off_most = np.where(allowed, off, 0.0).max(axis=1, keepdims=True)
    # 2. weights
    top = np.where(allowed, s, -np.inf).max(axis=1, keepdims=True)
    excess = weight_excess(machine, job.q, job.k)
    slack = 2 * off_most + 2 * np.log(excess)
    with np.errstate(all="ignore"):
        before = np.maximum.accumulate(np.where(allowed, s, -np.inf), axis=1)
        raises = allowed[:, 1:] & (s[:, 1:] + 2 * off_most >= before[:, :-1])
    k = raises.sum(axis=1)
    delta = off + unit(f["score"]) * (top - s + slack) + (2 * n + 2) * tiny["score"]
    delta = delta + (1 + k[:, None]) * -np.log1p(-exponential_error(machine, float((top - s).max() + slack.max())))
    # 3. probabilities
    p = probabilities(s, allowed)
    with np.errstate(all="ignore"):
        grown = np.where(allowed, np.exp(delta), 0.0)
        shrunk = np.where(allowed, np.exp(-delta), 0.0)
        up = grown / (p * shrunk).sum(1, keepdims=True) - 1.0
        down = 1.0 - shrunk / (p * grown).sum(1, keepdims=True)
        change = np.where(allowed, p * np.maximum(up, down), 0.0)
        bound = change @ np.abs(job.v)
        # 4. accumulation and division
        factor = roundings(4 * n + 2, f["state"]) + roundings(1, f["output"])
        if machine.reciprocal:
            factor += roundings(1, f["state"]) + np.log1p(1.1 * RECIPROCAL_ERROR[machine.divide.pieces])
        bound = bound + np.expm1(factor) * ((p + change) @ np.abs(job.v))
        # 5. underflow
        largest = float(np.abs(job.v).max())
        lost = tiny["exp"] * n * (1 + k[:, None]) * excess
        lost = np.where(lost < 0.5, 2 * lost / (1 - lost), np.inf) * largest
        lost = lost + 2 * n * tiny["state"] * excess * (1 + largest) + (tiny["operand"] if flush else 0.0)
        return bound + np.exp(factor) * lost + tiny["output"] + reference_error(job, p, size)


def exponential_error(machine: LanesMachine, reach: float) -> float:
    """Relative error of one exponential, of arguments down to −reach, before it underflows."""
    rounding = unit(machine.formats["exp"])
    if machine.exp.kind == "exact":
        return 2 * rounding if machine.formats["exp"].name == "fp64" else rounding  # faithful in fp64
    return (1 + rounding) * (1 + EXP_PWL_ERROR[machine.exp.pieces] + 2.1e-8 + 2.2e-9 * reach) - 1


def reference_error(job: Job, p: np.ndarray, size: np.ndarray) -> np.ndarray:
    """What float64 itself may be off by: scores, exponentials, sums of N terms."""
    n, d = job.k.shape
    return 2.0**-52 * (2 * n + 8 + (d + 8) * size.max()) * (p @ np.abs(job.v))
