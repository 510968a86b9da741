"""How far a head's output is from attention, or a plain product, computed in float64.

The reference is softmax(QKᵀ/√d)V of the same rounded operands under the same mask, or their product ABᵀ where the
workload is one: the distance measures the machine's arithmetic, not the rounding of its inputs. It is computed in a
fixed order by IEEE operations and the project's own exponential, so that the distance, too, has the same bits on every
CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accel_sim.faults.outcome import severity
from accel_sim.numerics.exp import exp_exact
from accel_sim.numerics.formats import FORMATS, Rounding
from accel_sim.numerics.jit import kernel

if TYPE_CHECKING:
    from accel_sim.engines.job import Job
    from accel_sim.machines.machine import Machine


class Distance(NamedTuple):
    """‖O − R‖ for an output O and its reference R.

    max_abs: largest |O − R|. rel_l2: ‖O − R‖₂ / ‖R‖₂. Both are inf where O is not finite.
    """

    max_abs: float
    rel_l2: float


def distance(output: np.ndarray, reference: np.ndarray) -> Distance:
    """Distance of an (Nq, d) output from its reference."""
    harm = severity(reference, output, FORMATS["fp64"].codec)
    return Distance(harm.max_abs, harm.rel_l2)


def reference(machine: Machine, job: Job) -> np.ndarray:
    """What a job's output would be in float64: (Nq, d) of attention, or (Nq, N) of a plain product."""
    if machine.plain:
        return reference_product(job.q, job.k)
    return reference_attention(job.q, job.k, job.v, job.bound, job.first)


def reference_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A·Bᵀ in float64, added up in the order of k: a (M, K), b (N, K). Returns (M, N)."""
    out = np.zeros((a.shape[0], b.shape[0]))
    _multiply(out, a, np.ascontiguousarray(b.T, dtype=np.float64))
    return out


@kernel
def _multiply(out: np.ndarray, a: np.ndarray, b: np.ndarray) -> None:
    """Into out (M, N), zeros. b (K, N)."""
    for i in range(a.shape[0]):
        for k in range(a.shape[1]):
            for j in range(b.shape[1]):
                out[i, j] += a[i, k] * b[k, j]


def reference_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray, bounds: np.ndarray,
                        firsts: np.ndarray | None = None) -> np.ndarray:
    """softmax(QKᵀ/√d)V in float64: q (Nq, d), k and v (N, d), bounds and firsts (Nq,) int64 the last and the first key
    each query may see (None: the first of all).

    Returns (Nq, d). A query that may see no key gives a row of NaN.
    """
    out = np.zeros((q.shape[0], v.shape[1]))
    keys = np.ascontiguousarray(k.T, dtype=np.float64)
    root = float(np.sqrt(np.float64(q.shape[1])))
    firsts = np.zeros_like(bounds) if firsts is None else firsts
    _attend(out, q, keys, v, bounds, firsts, root, np.empty(k.shape[0]), FORMATS["fp64"].rounding())
    return out


@kernel
def _attend(
    out: np.ndarray, q: np.ndarray, k_t: np.ndarray, v: np.ndarray, bounds: np.ndarray, firsts: np.ndarray,
    root: float, scores: np.ndarray, double: Rounding,
) -> None:
    """Into out (Nq, d). k_t (d, N): the keys, transposed. scores (N,) is scratch."""
    for i in range(q.shape[0]):
        first, n = firsts[i], bounds[i] + 1
        row = scores[:n]
        row[:] = 0.0
        for t in range(q.shape[1]):
            for j in range(first, n):
                row[j] += q[i, t] * k_t[t, j]
        top = -np.inf
        for j in range(first, n):
            row[j] /= root
            top = max(top, row[j])
        total = 0.0
        for j in range(first, n):
            row[j] = exp_exact(row[j] - top, double)
            total += row[j]
        for j in range(first, n):
            for t in range(v.shape[1]):
                out[i, t] += row[j] * v[j, t]
        for t in range(v.shape[1]):
            out[i, t] /= total
