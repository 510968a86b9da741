"""The reciprocal unit of the normaliser: 1/x by straight lines, in integers, rounded once."""

from __future__ import annotations

import numpy as np

from accel_sim.numerics.exp import FRACTION_BITS, SLOPE_BITS, Table, check_pieces, chord_table, scale_by_power
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import bits_of, from_bits, round_to

RECIPROCAL_ERROR = {2: 4.167e-2, 4: 1.251e-2, 8: 3.473e-3, 16: 9.196e-4, 32: 2.368e-4, 64: 6.019e-5}
"""Largest relative error of `reciprocal_pwl` before its rounding, by number of pieces, over all 2^24 values of u.
Upwards: the line is never below the reciprocal by more than 6e-8."""

_FRACTION = np.int64((1 << 52) - 1)
_SIGN = np.int64(-(2**63))


@kernel
def reciprocal_pwl(x: float, table: Table, r: Rounding) -> float:
    """1/x in r: `table` from `reciprocal_table`, pieces = table.shape[1].

    The unit, all integers:

    1. |x| = 2^e * (1 + u), u cut to 24 fraction bits (all of it for x up to fp32).
    2. piece = the top log2(pieces) bits of u, du = the others.
    3. mantissa = table[0, piece] * 2^16 + table[1, piece] * du, an integer with 40 fraction bits in (1/2, 1].
    4. sign(x) * 2^-e * mantissa, rounded once into r.

    Powers of two are exact. A zero gives r's infinity (NaN in fp8_e4m3) of its sign, an infinity a zero of its sign,
    NaN gives NaN.
    """
    if x == 0.0 or not abs(x) < np.inf:
        return round_to(1.0 / x, r)
    extra = np.int64(0)
    if abs(x) < 2.0**-1022:  # a binary64 subnormal: give it a leading one
        x *= 2.0**54
        extra = np.int64(54)
    bits = bits_of(x)
    exponent = ((bits >> np.int64(52)) & np.int64(2047)) - np.int64(1023) - extra
    u = (bits & _FRACTION) >> np.int64(52 - FRACTION_BITS)
    piece = (u * np.int64(table.shape[1])) >> np.int64(FRACTION_BITS)
    mantissa = (table[0, piece] << np.int64(SLOPE_BITS)) + table[1, piece] * (u - table[2, piece])
    size = scale_by_power(np.float64(mantissa), -exponent - np.int64(FRACTION_BITS + SLOPE_BITS))
    return round_to(from_bits(bits_of(size) | (bits & _SIGN)), r)


def reciprocal_table(pieces: int) -> Table:
    """The constants of `reciprocal_pwl`: chords of 1/(1+u) over [0, 1), int64 (3, pieces), as in `chord_table`.

    Raises ValueError unless pieces is a power of two from 2 to 64.
    """
    check_pieces(pieces)
    # round(2^24 / (1 + i/pieces)), halves up: integers only
    points = [((pieces << (FRACTION_BITS + 1)) + pieces + i) // (2 * (pieces + i)) for i in range(pieces + 1)]
    return chord_table(points)
