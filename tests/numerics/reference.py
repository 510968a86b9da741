"""The authorities that the kernels are held against, and operands that seek out trouble.

Three authorities, none of which uses a kernel: NumPy's and ml_dtypes' own types; a binary64 value rounded to odd into
binary32 and then cast once by ml_dtypes or NumPy (its casts from binary64 may go through binary32 and round twice);
and exact fractions rounded by `round_fraction`.
"""

from __future__ import annotations

import math
from fractions import Fraction

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import FORMATS, Format, Subnormals

DTYPES = {
    "fp64": np.dtype(np.float64),
    "fp32": np.dtype(np.float32),
    "fp16": np.dtype(np.float16),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "fp8_e4m3": np.dtype(ml_dtypes.float8_e4m3fn),
    "fp8_e5m2": np.dtype(ml_dtypes.float8_e5m2),
}
ALL = tuple(FORMATS)
NARROW = ("fp16", "bf16", "fp8_e4m3", "fp8_e5m2")  # small enough to walk over every bit pattern
UP_TO_FP32 = ("fp32", *NARROW)
SUBNORMALS: tuple[Subnormals, ...] = ("keep", "flush")

Values = NDArray[np.float64]
_CANONICAL_NAN = np.int64(0x7FF8000000000000)


def every_pattern(fmt: Format) -> NDArray[np.uint64]:
    """All bit patterns of a narrow format."""
    return np.arange(1 << fmt.width_bits, dtype=np.uint64)


def native(bits: NDArray[np.uint64], name: str) -> NDArray:
    """Bit patterns as an array of the authority's own type."""
    dtype = DTYPES[name]
    return bits.astype(f"u{dtype.itemsize}").view(dtype)


def widened(values: NDArray) -> Values:
    """Authority's values as binary64, every NaN canonical."""
    with np.errstate(invalid="ignore"):
        wide = np.array(values, dtype=np.float64)
    wide[np.isnan(wide)] = np.nan
    return wide


def values_of(bits: NDArray[np.uint64], name: str) -> Values:
    """Bit patterns as binary64 values, by the authority."""
    return widened(native(bits, name))


def assert_same_bits(got: Values, want: Values, *operands: Values, note: str = "") -> None:
    """Equal as binary64 patterns: signs of zeros count, and a NaN must be the canonical one."""
    got_bits, want_bits = np.asarray(got).view(np.int64), np.asarray(want).view(np.int64)
    wrong = np.flatnonzero(got_bits != want_bits)
    if wrong.size:
        i = wrong[0]
        case = ", ".join(float(operand[i]).hex() for operand in operands)
        raise AssertionError(
            f"{note}: {wrong.size} of {got_bits.size} differ; first at ({case}): "
            f"got {float(got[i]).hex()} ({got_bits[i]:#x}), want {float(want[i]).hex()}"
        )


def odd_float32(wide: Values) -> NDArray[np.float32]:
    """Binary64 to binary32, rounded to odd: casting the result again rounds as if the binary64 value had been cast."""
    with np.errstate(all="ignore"):
        near = wide.astype(np.float32)
        bits = near.view(np.int32).copy()
        beyond = np.abs(near.astype(np.float64)) > np.abs(wide)
        inexact = near.astype(np.float64) != wide
    bits[beyond] -= 1  # towards zero
    bits[inexact & ~np.isnan(wide)] |= 1
    return bits.view(np.float32)


def cast_once(wide: Values, name: str, subnormals: Subnormals = "keep") -> Values:
    """Binary64 values rounded once into the format by the authority's cast; flushed after that if asked."""
    with np.errstate(all="ignore"):
        if name == "fp64":
            rounded = widened(wide)
        elif name == "fp32":
            rounded = widened(wide.astype(np.float32))
        else:
            rounded = widened(odd_float32(wide).astype(DTYPES[name]))
    return flushed(rounded, name) if subnormals == "flush" else rounded


def flushed(values: Values, name: str) -> Values:
    """Subnormals of the format become zeros of their sign."""
    tiny = float(np.finfo(DTYPES[name]).tiny) if name in ("fp64", "fp32") else float(_finfo(name).smallest_normal)
    return np.where(np.abs(values) < tiny, np.copysign(0.0, values), values)


def _finfo(name: str):
    return ml_dtypes.finfo(DTYPES[name])


def round_fraction(value: Fraction, fmt: Format, subnormals: Subnormals = "keep", negative: bool = False) -> float:
    """An exact value rounded once, to nearest even. `negative`: the sign of an exact zero."""
    if value == 0:
        return -0.0 if negative else 0.0
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if Fraction(2) ** exponent > size:
        exponent -= 1
    quantum = Fraction(2) ** (max(exponent, fmt.emin) - fmt.mantissa_bits)
    rounded = round(size / quantum) * quantum  # Python rounds halves of a Fraction to even
    if rounded > Fraction(fmt.max_finite):
        result = math.inf if fmt.has_inf else math.nan
    elif subnormals == "flush" and rounded < Fraction(fmt.min_normal):
        result = 0.0
    else:
        result = float(rounded)
    return -result if value < 0 and not math.isnan(result) else result


def special_values(fmt: Format) -> Values:
    """Zeros, ends of the ranges and their neighbours, small integers, infinities, NaN; both signs."""
    sizes = [0.0, fmt.min_subnormal, 3 * fmt.min_subnormal, fmt.min_normal - fmt.min_subnormal, fmt.min_normal]
    sizes += [fmt.min_normal + fmt.min_subnormal, 0.5, 1.0, 1.0 + 2.0**-fmt.mantissa_bits, 1.5, 2.0, 3.0]
    sizes += [fmt.max_finite / 2, fmt.max_finite, math.inf if fmt.has_inf else fmt.max_finite]
    return np.array([sign * size for size in sizes for sign in (1.0, -1.0)] + [math.nan])


def operand_pairs(name: str, count: int, seed: int) -> tuple[Values, Values]:
    """At least `count` operand pairs of a format (a multiple of 4), in equal parts:

    patterns drawn evenly (far exponents, subnormals, specials); near exponents (cancellation, ties of sums); few
    significant bits (ties of products and quotients); exponents that meet at the ends of the range for a product or
    a quotient; and all pairs of special values.
    """
    fmt = FORMATS[name]
    rng = np.random.default_rng(seed)
    part = count // 4
    m, e = fmt.mantissa_bits, fmt.exponent_bits
    fields = 1 << e

    def build(field: NDArray, mantissa: NDArray) -> NDArray[np.uint64]:
        sign = rng.integers(0, 2, field.size)
        return (sign << (e + m) | np.clip(field, 0, fields - 1) << m | mantissa).astype(np.uint64)

    def mantissas(low_zeros: int = 0) -> NDArray:
        return rng.integers(0, 1 << m, part) >> low_zeros << low_zeros

    left = [rng.integers(0, 1 << fmt.width_bits, part, dtype=np.uint64)]
    right = [rng.integers(0, 1 << fmt.width_bits, part, dtype=np.uint64)]

    field = rng.integers(0, fields, part)
    left.append(build(field, mantissas()))
    right.append(build(field + rng.integers(-m - 3, m + 4, part), mantissas()))

    field = rng.integers(0, fields, part)
    left.append(build(field, mantissas(m // 2)))
    right.append(build(field + rng.integers(-m - 3, m + 4, part), mantissas(m // 2)))

    field = rng.integers(0, fields, part)
    near = rng.integers(-m - 2, 3, part)
    end = np.where(rng.integers(0, 2, part) == 1, fmt.emax, fmt.emin) + near  # exponent wanted of the result
    quotient = rng.integers(0, 2, part) == 1
    partner = np.where(quotient, field - end, end - field + 2 * fmt.bias)  # fields, not exponents
    left.append(build(field, mantissas()))
    short = rng.integers(0, 2, part) == 1  # quotients have ties only where they are subnormal
    right.append(build(partner, np.where(short, 0, mantissas())))

    special = special_values(fmt)
    first, second = (side.reshape(-1) for side in np.meshgrid(special, special))
    return (
        np.concatenate([values_of(np.concatenate(left), name), first]),
        np.concatenate([values_of(np.concatenate(right), name), second]),
    )
