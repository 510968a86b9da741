"""The exponential units: `exp_exact`, correctly rounded, and `exp_pwl`, a table of straight lines in integers.

Neither uses the platform's libm or a fused multiply-add, so results are the same bits on every CPU.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.arithmetic import make_odd
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import Word, kernel
from accel_sim.numerics.rounding import bits_of, from_bits, round_to

Table = NDArray[np.int64]
Vector = NDArray[np.float64]

_INV_LN2 = float.fromhex("0x1.71547652b82fep+0")
# ln 2 in three parts; 40 bits each, so that k * part is exact for the |k| <= 1100 that occur.
_LN2_HIGH = float.fromhex("0x1.62e42fefa2000p-1")
_LN2_MIDDLE = float.fromhex("0x1.9ef35793c6000p-41")
_LN2_LOW = float.fromhex("0x1.673007e5ed5e8p-81")
_LN2_REST = float.fromhex("0x1.9ef35793c7673p-41")  # middle and low in one
_TO_INTEGER = 1.5 * 2.0**52  # adding and subtracting it rounds to an integer, to nearest even
_TO_INTEGER_BITS = np.int64(0x4338 << 48)
_SPLIT = 2.0**27 + 1.0

_TERMS = 23
_INVERSE_FACTORIALS = np.array([float(Fraction(1, math.factorial(n))) for n in range(_TERMS)])
_INVERSE_FACTORIALS_LOW = np.array(
    [float(Fraction(1, math.factorial(n)) - Fraction(float(Fraction(1, math.factorial(n))))) for n in range(_TERMS)]
)
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13, _C14 = (float(c) for c in _INVERSE_FACTORIALS[2:15])

FRACTION_BITS = 24
"""Fraction bits of the fixed-point argument of `exp_pwl`, and of the constant term of both tables."""
SLOPE_BITS = 16
"""Fraction bits of the slopes of both tables."""
LOG2E_BITS = 27
"""Fraction bits of the constant log2(e) of `exp_pwl`."""
LOG2E_INTEGER = 193635251
"""log2(e) * 2^27, rounded: 28 bits, so that its product with a 24-bit significand is exact in binary64."""

EXP_PWL_ERROR = {2: 1.511e-2, 4: 3.759e-3, 8: 9.387e-4, 16: 2.347e-4, 32: 5.866e-5, 64: 1.468e-5}
"""Largest relative error of the lines of `exp_pwl` to 2^u, by number of pieces, over all 2^24 values of u. Upwards; at
the ends of a piece the cut slope leaves the line lower by up to 4.4e-6 (2 pieces) .. 1.8e-7 (64)."""

_LOG2E = LOG2E_INTEGER / 2.0**LOG2E_BITS
_VALUE_BITS = FRACTION_BITS + SLOPE_BITS
_ONE_FIXED = 2.0**FRACTION_BITS
_FRACTION_MASK = np.int64((1 << FRACTION_BITS) - 1)


@kernel
def scale_by_power(y: float, k: Word) -> float:
    """y * 2^k for |k| <= 2000; when the result is a binary64 subnormal it is rounded once."""
    half = np.int64(k) >> np.int64(1)
    first = from_bits((half + np.int64(1023)) << np.int64(52))
    second = from_bits((np.int64(k) - half + np.int64(1023)) << np.int64(52))
    return y * first * second


@kernel
def _product(a: float, b: float) -> tuple[float, float]:
    """a * b as an unevaluated sum (T. J. Dekker, 1971): exact away from overflow and underflow."""
    p = a * b
    t = a * _SPLIT
    a_high = t - (t - a)
    a_low = a - a_high
    t = b * _SPLIT
    b_high = t - (t - b)
    b_low = b - b_high
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


@kernel
def _total(a: float, b: float) -> tuple[float, float]:
    """a + b as an unevaluated sum (D. E. Knuth): exact."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


@kernel
def _exp_slow(x: float, k: float) -> tuple[float, float]:
    """e^x / 2^k to about 2^-100, as an unevaluated sum: Taylor's series in pairs of doubles.

    Truncation: |r| <= 0.347, r^23 / 23! < 2^-109.
    """
    high, low = _total(x, -k * _LN2_HIGH)
    s, e = _total(high, -k * _LN2_MIDDLE)
    r_high, r_low = _total(s, (e + low) - k * _LN2_LOW)
    high = _INVERSE_FACTORIALS[_TERMS - 1]
    low = _INVERSE_FACTORIALS_LOW[_TERMS - 1]
    for n in range(_TERMS - 2, -1, -1):
        p, e = _product(high, r_high)
        e += high * r_low + low * r_high
        s, t = _total(_INVERSE_FACTORIALS[n], p)
        t += e + _INVERSE_FACTORIALS_LOW[n]
        high = s + t
        low = t - (high - s)
    return high, low


@kernel
def _reduced_exp(x: float) -> tuple[float, float]:
    """(e^x / 2^k, _TO_INTEGER + k) for -746 <= x <= 710: x = k ln 2 + t with |t| <= 0.347, and a polynomial for e^t
    that is off by less than 2^-51."""
    shifted = x * _INV_LN2 + _TO_INTEGER
    k = shifted - _TO_INTEGER
    high = x - k * _LN2_HIGH
    rest = k * _LN2_REST
    t = high - rest
    t_low = (high - t) - rest
    t2 = t * t
    t4 = t2 * t2
    t8 = t4 * t4
    low_terms = (_C2 + t * _C3) + t2 * (_C4 + t * _C5)
    middle_terms = (_C6 + t * _C7) + t2 * (_C8 + t * _C9)
    high_terms = (_C10 + t * _C11) + t2 * (_C12 + t * _C13) + t4 * _C14
    curve = t2 * ((low_terms + t4 * middle_terms) + t8 * high_terms)
    s = 1.0 + t
    y = s + ((t - (s - 1.0)) + (t_low + curve))
    return y, shifted


@kernel
def exp_exact(x: float, r: Rounding) -> float:
    """e^x in r: correctly rounded for results up to fp32 (arguments up to fp32), faithful for fp64.

    A fixed sequence of binary64 operations: x = k ln 2 + t with |t| <= 0.347, a polynomial for e^t that is off by
    less than 2^-51, and for results narrower than fp64 a rounding test: when the two ends of that uncertainty round
    differently (about once in 2^25 for fp32) the value is computed again to about 2^-100 and rounded via odd.
    e^x is never halfway between two values for x other than 0 (Lindemann), so that settles it.
    NaN to NaN, inf to inf, -inf to +0.
    """
    if not x < 710.0:
        return round_to(x * np.inf, r)  # NaN stays NaN
    if x < -746.0:
        return 0.0
    y, shifted = _reduced_exp(x)
    k = shifted - _TO_INTEGER
    power = np.int64(k)
    if r.kind == 0:
        return round_to(scale_by_power(y, power), r)
    doubt = y * 2.0**-50
    below = round_to(scale_by_power(y - doubt, power), r)
    above = round_to(scale_by_power(y + doubt, power), r)
    if below == above:
        return below
    y, error = _exp_slow(x, k)
    return round_to(scale_by_power(make_odd(y, error), power), r)


@kernel
def exp_exact_row(out: Vector, x: Vector, first: int, last: int, spare: Vector, r: Rounding) -> None:
    """out[j] = exp_exact(x[j], r) for first <= j < last, r narrower than fp64. `spare`: scratch of out's size.

    The same operations on every element, without branches, so that the loop vectorises; the few elements whose two
    ends round differently are computed one by one afterwards.
    """
    for j in range(first, last):
        # Out-of-range elements are clamped here and overwritten below.
        z = x[j]
        z = z if z < 710.0 else 710.0
        z = z if z > -746.0 else -746.0
        y, shifted = _reduced_exp(z)
        doubt = y * 2.0**-50
        # k as an integer stands in the low bits of `shifted`; a logical shift halves it once it is positive.
        power = bits_of(shifted) - _TO_INTEGER_BITS
        half = (((power + np.int64(2048)) & np.int64(0xFFFF)) >> np.int64(1)) - np.int64(1024)
        scale = from_bits((half + np.int64(1023)) << np.int64(52))
        rest_scale = from_bits((power - half + np.int64(1023)) << np.int64(52))
        out[j] = (y - doubt) * scale * rest_scale
        spare[j] = (y + doubt) * scale * rest_scale
    for j in range(first, last):
        z = x[j]
        below, above = round_to(out[j], r), round_to(spare[j], r)
        if below != above or not z < 710.0 or z < -746.0:
            below = exp_exact(z, r)
        out[j] = below


@kernel
def exp_pwl(x: float, table: Table, r: Rounding) -> float:
    """e^x in r by base two and straight lines: `table` from `exp_pwl_table`, pieces = table.shape[1].

    The unit, all integers after the first line (a hardware description repeats it as it stands):

    1. y = x * LOG2E_INTEGER / 2^27, rounded to nearest even at 2^-24. (Exact product for x of up to 24 bits; for an
       fp64 x the product is first a binary64 one.)
    2. k = floor(y), u = the 24 fraction bits; piece = the top log2(pieces) bits of u, du = the others.
    3. mantissa = table[0, piece] * 2^16 + table[1, piece] * du, an integer with 40 fraction bits in [1, 2).
    4. 2^k * mantissa, rounded once into r.

    NaN to NaN, inf to r's overflow, -inf to +0. e^0 is exactly 1, the curve never falls, and e^x <= 1 for x <= 0.
    Relative error before the last rounding: `EXP_PWL_ERROR` for the lines, and 2.1e-8 + 2.2e-9 |x| for the argument.
    """
    if not x < 1024.0:
        return round_to(x * np.inf, r)
    if x < -1024.0:
        return 0.0
    scaled = (x * _LOG2E) * _ONE_FIXED
    fixed = np.int64((scaled + _TO_INTEGER) - _TO_INTEGER)
    power = fixed >> np.int64(FRACTION_BITS)
    u = fixed & _FRACTION_MASK
    piece = (u * np.int64(table.shape[1])) >> np.int64(FRACTION_BITS)
    mantissa = (table[0, piece] << np.int64(SLOPE_BITS)) + table[1, piece] * (u - table[2, piece])
    return round_to(scale_by_power(np.float64(mantissa), power - np.int64(_VALUE_BITS)), r)


def check_pieces(pieces: int) -> None:
    """Raise ValueError unless `pieces` is a power of two from 2 to 64."""
    if pieces not in (2, 4, 8, 16, 32, 64):
        raise ValueError(f"pieces {pieces!r}: a power of two from 2 to 64 is needed")


def chord_table(points: list[int]) -> Table:
    """Lines through neighbouring `points` (fixed point, FRACTION_BITS), equally spaced over [0, 1).

    Returns int64 (3, pieces): value at the piece's start (24 fraction bits), slope (16 fraction bits, cut towards
    zero so that a piece never passes the next one's start), and the start itself (24 fraction bits).
    """
    pieces = len(points) - 1
    unit = 1 << (FRACTION_BITS - SLOPE_BITS)
    rows = np.zeros((3, pieces), dtype=np.int64)
    for i, (start, end) in enumerate(pairwise(points)):
        rise = (end - start) * pieces
        rows[:, i] = start, abs(rise) // unit * (1 if rise >= 0 else -1), (i << FRACTION_BITS) // pieces
    return rows


def exp_pwl_table(pieces: int) -> Table:
    """The constants of `exp_pwl`: chords of 2^u over [0, 1), int64 of shape (3, pieces), as in `chord_table`.

    Chords, not the closest lines: e^0 must be exactly 1, and no probability may pass 1.
    Raises ValueError unless pieces is a power of two from 2 to 64.
    """
    check_pieces(pieces)
    with localcontext() as context:
        context.prec = 40
        points = [
            int((Decimal(2) ** (Decimal(i) / pieces) * (1 << FRACTION_BITS)).to_integral_value())
            for i in range(pieces + 1)
        ]
    return chord_table(points)
