"""Bounds on clean residuals on the array machines, with the notation of `accel_sim.checkers.bound`: u(f), g(n, f).

A checksum of values x_1 … x_m is carried by w **words** in the operand format: their sum r in the checker format, m
roundings; then each word the rounded rest of it, which leaves at most u(operand)^w |r|. The words together are at most
|r| (1 + u)/(1 − u). Both sides of a comparison are the same sum of products but for that error, and for

  the products' own roundings, n of them on every term, on each side,
  the additions in the checker format, on each side.

Where both sides are weighted by the same exponentials p and divided by the same l, their weights p/l add up to at most
W: how far a sum of n rounded positive terms can be below the exact one, (1 − u)^−n, and the roundings of the quotient.

Every operation may lose as much as its format's smallest magnitude by underflow; a division by l makes it at most
1/l larger. The bounds are about finite residuals: one that is not raises the alarm under any threshold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel_sim.checkers.bound import RECIPROCAL_EXCESS, growth
from accel_sim.machines.fused import FusedMachine
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.integers import SignedFormat
from accel_sim.numerics.formats import Format
from accel_sim.workloads import Workload

PWL_EXCESS = 1.0 + 1.0 / 64.0
"""Most that lines make of an exponential, over what it is."""


@dataclass(frozen=True)
class Roundings:
    """The formats of a machine: operand; total, of the array's sums; checker; and whether subnormals are flushed."""

    operand: Format
    total: Format
    checker: Format
    flush: bool

    def tiny(self, fmt: Format) -> float:
        """Most that underflow takes away."""
        return fmt.min_normal if self.flush else fmt.min_subnormal

    def words_of(self, size: float, terms: int, words: int) -> tuple[float, float]:
        """(how far the words of a sum of `terms` values with magnitudes adding up to `size` are from it, most that
        the words' magnitudes add up to)."""
        u = 2.0**-self.operand.precision
        summed = size * (1.0 + growth(terms, self.checker)) + terms * self.tiny(self.checker)
        lost = self.tiny(self.operand) + words * self.tiny(self.checker)
        off = size * growth(terms, self.checker) + terms * self.tiny(self.checker) + u**words * summed + lost
        return off, summed * (1.0 + u) / (1.0 - u) + words * lost


def shortfall(n: int, fmt: Format) -> float:
    """(1 − u)^−n: how far n roundings can leave a positive sum below what it is, as a factor."""
    return float(np.exp(-n * np.log1p(-(2.0 ** -fmt.precision))))


def roundings(machine: Any) -> Roundings:
    """Those of a machine."""
    formats = machine.formats
    return Roundings(formats["operand"], formats["state"], formats["checker"], machine.subnormals == "flush")


# ---- fused


def smallest_sum(machine: FusedMachine, q: np.ndarray, k: np.ndarray) -> float:
    """The largest 1/l of a query. The weight of its largest score is 1 but for what that score loses on its way back
    into the array: its rounding to an operand, and those of the difference and the scaling."""
    r = roundings(machine)
    u, n = 2.0**-r.operand.precision, machine.size
    norms = np.sqrt(np.max(np.sum(q * q, axis=1)) * np.max(np.sum(k * k, axis=1)))
    largest = float(norms) * (1.0 + growth(n, r.total)) + n * r.tiny(r.total)
    off = (largest * u * (1.0 + u) ** 4 + 2.0 * r.tiny(r.operand)) * float(np.log2(np.e) / np.sqrt(n))
    with np.errstate(over="ignore"):
        return float(np.exp2(off + r.tiny(r.operand))) * (1.0 + 2.0 * u) * shortfall(2 * k.shape[0] + 2, r.total)


def fused_output_bound(machine: FusedMachine, q: np.ndarray, k: np.ndarray, v: np.ndarray, rows: int) -> float:
    """Largest |residual| that `rows` fault-free queries can leave: q (rows or more, N), k and v (N_keys, N).

    A term goes through N multiply-adds of a tile, T accumulations and the product with 1/l; then the tree's levels, and
    one addition a row of the output register.
    """
    r, n, words = roundings(machine), machine.size, machine.columns
    tiles, blocks = -(-k.shape[0] // n), -(-rows // n)
    size = float(np.max(np.sum(np.abs(v), axis=1)))
    off, carried = r.words_of(size, n, words)
    steps = n + tiles
    largest, losses = smallest_sum(machine, q, k), n * tiles + 2 * tiles
    lost = losses * r.tiny(r.total) * largest
    if lost >= 1.0:
        return float("inf")
    weights = shortfall(steps, r.total) * (1.0 + growth(1, r.total)) / (1.0 - lost)
    through = 1.0 + growth(steps + 1, r.total)
    outputs = through * (1.0 + growth(machine.levels + n * blocks, r.checker))
    checksums = through * (1.0 + growth(machine.levels + words * blocks, r.checker))
    row = weights * (size * (outputs - 1.0) + carried * (checksums - 1.0) + off)
    row += (n + words) * (lost + r.tiny(r.total)) * max(outputs, checksums)
    row += (n + words) * (n + 1) * blocks * r.tiny(r.checker)
    return float(rows * row * (1.0 + growth(1, r.checker)))


def fused_rowsum_bound(machine: FusedMachine, q: np.ndarray, k: np.ndarray) -> float:
    """Largest |residual| of score_rowsum without a fault: a score carries N roundings in the sum's format, their sum
    one a streamed key in the checker's; the prediction as many for the sum of the keys, one for a product, and the
    tree."""
    r, n = roundings(machine), machine.size
    streamed = -(-k.shape[0] // n) * n
    size = float(np.max(np.abs(q) @ np.sum(np.abs(k), axis=0)))
    actual = (1.0 + growth(n, r.total)) * (1.0 + growth(streamed, r.checker)) - 1.0
    predicted = growth(streamed + machine.levels + 1, r.checker)
    tiny, total = r.tiny(r.checker), float(np.max(np.sum(np.abs(q), axis=1)))
    underflow = streamed * (n * r.tiny(r.total) + tiny) * (1.0 + actual)
    underflow += (streamed * total + 2 * n) * tiny * (1.0 + predicted)
    return float((size * (actual + predicted) + underflow) * (1.0 + growth(1, r.checker)))


def fused_bounds(machine: FusedMachine, workload: Workload, unit: Any) -> tuple[float, float]:
    """Largest bound over the workload's heads for a comparison of a unit; NaN for scans, which it never makes."""
    whole = unit.kind == "fused_output" and unit.granularity == "head"
    rows = workload.n_queries if whole else min(machine.size, workload.n_queries)
    bound = 0.0
    for head in workload.heads:
        q, k, v = workload.tensors(head)
        if unit.kind == "score_rowsum":
            bound = max(bound, fused_rowsum_bound(machine, q, k))
        else:
            bound = max(bound, fused_output_bound(machine, q, k, v, rows))
    return bound, float("nan")


# ---- gemm


def product_bound(r: Roundings, a: np.ndarray, b: np.ndarray, group: int, words: int) -> float:
    """Largest |residual| of the checksums of a product without a fault, over groups of `group` of its columns:
    magnitudes a (M, K) and b (K, N). A term is rounded as a product and K times in a sum."""
    terms, columns = b.shape
    starts = np.arange(0, columns, group)
    together = np.add.reduceat(b, starts, axis=1)
    size, lines = float(np.max(a @ together)), float(np.max(np.sum(a, axis=1)))
    wide = min(group, columns)
    through = 1.0 + growth(terms + 1, r.total)
    actual = through * (1.0 + growth(wide + 1, r.checker)) - 1.0
    predicted = through * (1.0 + growth(words + 1, r.checker)) - 1.0
    # Of the words' error and size, the part that grows with the sum goes with `size`, the rest with each line of a.
    off, carried = r.words_of(1.0, wide, words)
    off_alone, carried_alone = r.words_of(0.0, wide, words)
    bound = size * (actual + carried * predicted + off)
    bound += lines * (off_alone + carried_alone * predicted)
    bound += (wide + words) * (2 * terms * r.tiny(r.total) + r.tiny(r.checker)) * (1.0 + actual + predicted)
    return float(bound * (1.0 + growth(1, r.checker)))


def gemm_output_bound(machine: GemmMachine, v: np.ndarray, rows: int) -> float:
    """Largest |residual| that the fused check of `rows` queries can have without a fault, of the values v (N, d).

    The largest weight is e^0 = 1, so l is at least 1; it adds up weights before they are rounded to operands.
    """
    r, words = roundings(machine), machine.fused_words
    n, d = v.shape
    output = machine.formats["output"]
    size = float(np.max(np.sum(np.abs(v), axis=1)))
    off, carried = r.words_of(size, d, words)
    weights = shortfall(n, r.total) * (1.0 + growth(1, r.operand)) / (1.0 - min(0.5, n * r.tiny(r.total)))
    if machine.reciprocal:
        weights *= RECIPROCAL_EXCESS * (1.0 + growth(1, r.total))
    through = 1.0 + growth(n + 1, r.total)
    outputs = through * (1.0 + growth(1, output)) * (1.0 + growth(d + rows, r.checker))
    checksums = through * (1.0 + growth(words + 1 + rows, r.checker))
    row = weights * (size * (outputs - 1.0) + carried * (checksums - 1.0) + off)
    # A weight that is subnormal as an operand can be twice what it is in l; and what products and sums lose.
    row += (n + 1) * r.tiny(r.operand) * (size + carried) * weights
    row += (d + words) * (2 * n * r.tiny(r.total) * weights + r.tiny(output) + 2 * r.tiny(r.checker))
    sums = d * rows * r.tiny(r.checker)
    return float((rows * row + sums) * (1.0 + growth(1, r.checker)))


def gemm_bounds(machine: GemmMachine, workload: Workload, unit: Any) -> tuple[float, float]:
    """Largest bound over the workload's heads for a comparison of a unit; NaN for scans, which it never makes."""
    whole = unit.kind == "fused_output" and unit.granularity == "head"
    rows = workload.n_queries if whole else min(machine.lanes, workload.n_queries)
    bound = 0.0
    for head in workload.heads:
        tensors = workload.tensors(head)
        if unit.kind == "fused_output":
            bound = max(bound, gemm_output_bound(machine, tensors[2], rows))
        else:
            check = machine.gemm if unit.kind == "gemm" else machine.rowsum
            assert check is not None
            bound = max(bound, *(checksum_bound(machine, check, name, *tensors) for name in check.products))
    return bound, float("nan")


def checksum_bound(machine: GemmMachine, check: Any, name: str, q: np.ndarray, k: np.ndarray, v: np.ndarray) -> float:
    """Largest |residual| of classic checksums of product `qk` or `pv` (of a plain product, `qk`) without a fault; 0 for
    integers, whose sums are exact. check: a `GemmCheck`. Weights are at most 1, but for what their unit's lines and its
    rounding add."""
    if isinstance(machine.formats["operand"], SignedFormat):
        return 0.0
    r, p = roundings(machine), machine.product(name, q.shape[0], k.shape[0])
    a, b = np.abs(q), np.abs(k).T
    if name == "pv":
        most = (1.0 + growth(1, machine.formats["exp"])) * (1.0 + growth(1, r.operand))
        most *= PWL_EXCESS if machine.exp.kind == "pwl" else 1.0
        words = np.full((v.shape[0], machine.fused_words),
                        r.words_of(float(np.max(np.sum(np.abs(v), axis=1))), v.shape[1], 1)[1])
        a, b = np.full((q.shape[0], k.shape[0]), most), np.hstack([np.abs(v), words])
    lines = (a, b) if not p.turned else (b.T, a.T)  # p runs along the first, q along the second
    bound = 0.0
    if check.rows:
        bound = product_bound(r, *lines, machine.cols, check.words)
    if check.columns:
        bound = max(bound, product_bound(r, lines[1].T, lines[0].T, p.p_group, check.words))
    return bound
