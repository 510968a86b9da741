"""The operators of the machines: each computes exactly and rounds once into its result format.

Limits, and why one rounding is really one:

* The result format is fp64 whenever an operand is fp64 (the configuration enforces it); then the CPU's own binary64
  operation is the answer. Everything below is about operands of at most 24 significant bits (fp32 and narrower).
* mul: 24 + 24 bits fit the 53 of binary64, and the exponents stay within 2^-298..2^256: the product is exact.
* add, sub: the scalar kernels round the binary64 sum to odd (its error is known exactly), after which rounding to any
  format of at most 51 bits is as if from the exact sum. This holds for any operands below 2^1022.
* The vector additions skip that and need operands *no wider than the result format*, of at most 25 bits: a sum of two
  p-bit numbers rounded to at least 2p+2 bits and then to p is rounded as once (Figueroa, "When is double rounding
  innocuous?", SIGNUM Newsletter 30(3), 1995), and 53 >= 2*24 + 2; a subnormal sum is exact.
* div: a quotient of 24-bit numbers that is not halfway between two results of at most 24 bits is at least 2^-49 of
  its size away from halfway, and binary64 is off by at most 2^-53; halfway itself is exact in binary64.

Vector kernels: `out` first, contiguous one-dimensional float64 slices, no allocation, element for element the scalar
kernels. A parameter `tiny_*` is the operand's flush threshold (`Rounding.flush_below` of the *operand's* format,
0.0 to keep subnormals): an operand below it reads as zero. Scalars are passed already `quiet`. An output may be the
same slice as an input, but must not overlap one otherwise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import (
    NAN,
    bits_of,
    from_bits,
    quiet_below,
    round_32,
    round_64,
    round_narrow,
    round_to,
)

Vector = NDArray[np.float64]


@kernel
def make_odd(nearest: float, error: float) -> float:
    """Round to odd: the binary64 neighbour with an odd last bit, given the nearest value and the exact error.

    An exact value (error 0) and an infinite or NaN one stay as they are.
    """
    bits = bits_of(nearest)
    if error == 0.0 or bits & np.int64(1) == 1 or not abs(nearest) < np.inf:
        return nearest
    # Patterns grow with magnitude: step away from zero when the error has the sign of the value.
    step = np.int64(1) if (error > 0.0) == (nearest > 0.0) else np.int64(-1)
    return from_bits(bits + step)


@kernel
def add(a: float, b: float, r: Rounding) -> float:
    """a + b, rounded once into r. Operands may be wider than the result."""
    total = a + b
    if r.kind == 0:
        return round_64(total, r.flush_below)
    part = total - a
    error = (a - (total - part)) + (b - part)
    return round_to(make_odd(total, error), r)


@kernel
def sub(a: float, b: float, r: Rounding) -> float:
    """a - b, rounded once into r. Operands may be wider than the result."""
    return add(a, -b, r)


@kernel
def mul(a: float, b: float, r: Rounding) -> float:
    """a * b, rounded once into r. Operands up to fp32, or fp64 with an fp64 result."""
    return round_to(a * b, r)


@kernel
def div(a: float, b: float, r: Rounding) -> float:
    """a / b, rounded once into r; x/0 is an infinity, 0/0 NaN. Operands up to fp32, or fp64 with an fp64 result."""
    return round_to(a / b, r)


@kernel
def maximum(a: float, b: float) -> float:
    """The larger operand; the canonical NaN if either is NaN; +0 of zeros of both signs. Exact, so no rounding."""
    if a > b:
        return a
    if b > a:
        return b
    if a == b:
        return a + b if a == 0.0 else a
    return NAN


@kernel
def move(out: Vector, x: Vector) -> None:
    """out[i] = x[i]: a register that takes another's value as it is. (A slice assignment would allocate.)"""
    for i in range(out.shape[0]):
        out[i] = x[i]


@kernel
def mul_vs(out: Vector, a: Vector, s: float, r: Rounding, tiny_a: float) -> None:
    """out[i] = round(a[i] * s)."""
    if r.kind == 1:
        for i in range(out.shape[0]):
            out[i] = round_32(quiet_below(a[i], tiny_a) * s, r.flush_below)
    elif r.kind == 0:
        for i in range(out.shape[0]):
            out[i] = round_64(quiet_below(a[i], tiny_a) * s, r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(out.shape[0]):
            out[i] = round_narrow(quiet_below(a[i], tiny_a) * s, magic, low, high, over, flush)


@kernel
def mul_vv(out: Vector, a: Vector, b: Vector, r: Rounding, tiny_a: float, tiny_b: float) -> None:
    """out[i] = round(a[i] * b[i])."""
    if r.kind == 1:
        for i in range(out.shape[0]):
            out[i] = round_32(quiet_below(a[i], tiny_a) * quiet_below(b[i], tiny_b), r.flush_below)
    elif r.kind == 0:
        for i in range(out.shape[0]):
            out[i] = round_64(quiet_below(a[i], tiny_a) * quiet_below(b[i], tiny_b), r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(out.shape[0]):
            product = quiet_below(a[i], tiny_a) * quiet_below(b[i], tiny_b)
            out[i] = round_narrow(product, magic, low, high, over, flush)


@kernel
def add_vv(out: Vector, a: Vector, b: Vector, r: Rounding, tiny_a: float, tiny_b: float) -> None:
    """out[i] = round(a[i] + b[i]). Operands no wider than the result format."""
    if r.kind == 1:
        for i in range(out.shape[0]):
            out[i] = round_32(quiet_below(a[i], tiny_a) + quiet_below(b[i], tiny_b), r.flush_below)
    elif r.kind == 0:
        for i in range(out.shape[0]):
            out[i] = round_64(quiet_below(a[i], tiny_a) + quiet_below(b[i], tiny_b), r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(out.shape[0]):
            total = quiet_below(a[i], tiny_a) + quiet_below(b[i], tiny_b)
            out[i] = round_narrow(total, magic, low, high, over, flush)


@kernel
def scale_add(acc: Vector, s: float, x: Vector, r: Rounding, tiny_acc: float, tiny_x: float) -> None:
    """acc[i] = round(round(acc[i] * s) + x[i]): an accumulator rescaled and added to. x no wider than r's format."""
    if r.kind == 1:
        for i in range(acc.shape[0]):
            scaled = round_32(quiet_below(acc[i], tiny_acc) * s, r.flush_below)
            acc[i] = round_32(scaled + quiet_below(x[i], tiny_x), r.flush_below)
    elif r.kind == 0:
        for i in range(acc.shape[0]):
            scaled = round_64(quiet_below(acc[i], tiny_acc) * s, r.flush_below)
            acc[i] = round_64(scaled + quiet_below(x[i], tiny_x), r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(acc.shape[0]):
            scaled = round_narrow(quiet_below(acc[i], tiny_acc) * s, magic, low, high, over, flush)
            acc[i] = round_narrow(scaled + quiet_below(x[i], tiny_x), magic, low, high, over, flush)


@kernel
def div_vs(out: Vector, a: Vector, s: float, r: Rounding, tiny_a: float) -> None:
    """out[i] = round(a[i] / s)."""
    if r.kind == 1:
        for i in range(out.shape[0]):
            out[i] = round_32(quiet_below(a[i], tiny_a) / s, r.flush_below)
    elif r.kind == 0:
        for i in range(out.shape[0]):
            out[i] = round_64(quiet_below(a[i], tiny_a) / s, r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(out.shape[0]):
            out[i] = round_narrow(quiet_below(a[i], tiny_a) / s, magic, low, high, over, flush)


@kernel
def tree_level(out: Vector, x: Vector, n: int, r: Rounding, tiny_x: float) -> None:
    """One level of an adder tree over x[:n]: element i pairs with i + h, where h = ceil(n / 2).

    out[i] = round(x[i] + x[i+h]) for i < n - h; with n odd the middle element x[h-1] passes through, unrounded.
    Operands no wider than r's format.
    """
    half = (n + 1) // 2  # indices, not sub-slices: making a slice costs more than adding it up
    if r.kind == 1:
        for i in range(n - half):
            out[i] = round_32(quiet_below(x[i], tiny_x) + quiet_below(x[i + half], tiny_x), r.flush_below)
    elif r.kind == 0:
        for i in range(n - half):
            out[i] = round_64(quiet_below(x[i], tiny_x) + quiet_below(x[i + half], tiny_x), r.flush_below)
    else:
        magic, low, high, over, flush = r.magic, r.min_normal, r.max_finite, r.overflow, r.flush_below
        for i in range(n - half):
            total = quiet_below(x[i], tiny_x) + quiet_below(x[i + half], tiny_x)
            out[i] = round_narrow(total, magic, low, high, over, flush)
    if n - half < half:
        out[half - 1] = x[half - 1]


@kernel
def fold(x: Vector, n: int, r: Rounding) -> float:
    """The adder tree over x[:n], n >= 1, in place. `tree_level` on one array, which the compiler can vectorise."""
    flush = r.flush_below
    if r.kind == 1:
        while n > 1:
            half = (n + 1) // 2
            for i in range(n - half):
                x[i] = round_32(quiet_below(x[i], flush) + quiet_below(x[i + half], flush), flush)
            n = half
    elif r.kind == 0:
        while n > 1:
            half = (n + 1) // 2
            for i in range(n - half):
                x[i] = round_64(quiet_below(x[i], flush) + quiet_below(x[i + half], flush), flush)
            n = half
    else:
        magic, low, high, over = r.magic, r.min_normal, r.max_finite, r.overflow
        while n > 1:
            half = (n + 1) // 2
            for i in range(n - half):
                total = quiet_below(x[i], flush) + quiet_below(x[i + half], flush)
                x[i] = round_narrow(total, magic, low, high, over, flush)
            n = half
    return float(x[0])


@kernel
def tree_sum(scratch: Vector, x: Vector, n: int, r: Rounding, tiny_x: float) -> float:
    """The whole adder tree over x[:n] (0.0 when n is 0); scratch has room for ceil(n / 2) elements and may be x.

    Inner levels are registers of r's format and read with its own flush threshold: an element that passed through
    may be subnormal there.
    """
    if n == 0:
        return 0.0
    if n == 1:
        return float(x[0])
    tree_level(scratch, x, n, r, tiny_x)
    return fold(scratch, (n + 1) // 2, r)
