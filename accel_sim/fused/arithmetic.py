"""What a PE and its neighbours compute: multiply-add with one rounding, 2^x by lines, and the tables for it.

2^x follows FSA's multiply-add unit: x = k + y with k the integer part (towards zero) and |y| < 1; the piece is the top
bits of |y|; 2^x = 2^k · (slope · y + intercept), exact inside and rounded once. The lines are chords of 2^y over
(−1, 0], so 2^0 is 1; the slopes are rounded to the format that they travel in. Where the exponential is computed in the
array, an intercept carries its piece's number in its exponent field (all but the lowest bit, which tells 1/2 from 1).
"""

from __future__ import annotations

from decimal import Decimal, localcontext
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.machines.fused import FusedMachine
from accel_sim.numerics.arithmetic import add, make_odd
from accel_sim.numerics.exp import scale_by_power
from accel_sim.numerics.formats import FORMATS, Codec, Format, Rounding
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import NAN, decode_value, encode_value, quiet, round_to

FAR = 1500.0
"""Beyond ± this, 2^x is +0 or an infinity, whatever the line."""


class Rules(NamedTuple):
    """How values round. operand, sum, checker: the formats. sum_codec: bit layout of sums. native: whether
    binary32(a · b + c), calculated in binary64, is a · b + c rounded once (see `rules`)."""

    operand: Rounding
    sum: Rounding
    checker: Rounding
    sum_codec: Codec
    native: bool


def rules(machine: FusedMachine) -> Rules:
    """The roundings of a machine.

    native: products of operands of at most 12 bits have 24, and with sums in fp32 the binary64 sum, though rounded, is
    never moved onto or off the middle between two fp32 values: where it is not exact, its smaller term is far below
    half a unit of the larger one's fp32 grid, on which both terms lie, or far from filling it.
    """
    by_role = {role: fmt.rounding(machine.subnormals) for role, fmt in machine.formats.items()}
    native = (machine.formats["state"].name == "fp32" and machine.subnormals == "keep"
              and machine.formats["operand"].precision <= 12)
    return Rules(by_role["operand"], by_role["state"], by_role["checker"], machine.formats["state"].codec, native)


def rounded_constant(value: Decimal, fmt: Format) -> float:
    """A constant of 40 digits, rounded once into `fmt`."""
    wide = float(value)
    error = float(value - Decimal(wide))
    rule = fmt.rounding("keep")
    return float(round_to(float(make_odd(wide, error)), rule))


def log2e_over_sqrt(size: int, fmt: Format) -> float:
    """log₂ e / √size in `fmt`, rounded once."""
    with localcontext() as context:
        context.prec = 40
        return rounded_constant(1 / (Decimal(2).ln() * Decimal(size).sqrt()), fmt)


def chords(pieces: int, slope: Format, intercept: Format) -> NDArray[np.float64]:
    """(2, pieces): slope and intercept of the chord of 2^y over −(i + 1)/pieces … −i/pieces, each rounded once."""
    table = np.zeros((2, pieces))
    with localcontext() as context:
        context.prec = 40
        points = [Decimal(2) ** (-Decimal(i) / pieces) for i in range(pieces + 1)]
        for i in range(pieces):
            rise = (points[i] - points[i + 1]) * pieces
            table[0, i] = rounded_constant(rise, slope)
            table[1, i] = rounded_constant(points[i] + rise * i / pieces, intercept)
    return table


def tagged(intercepts: NDArray[np.float64], fmt: Format) -> NDArray[np.float64]:
    """Intercepts as the compare units send them: the number of the piece in the exponent field's upper bits."""
    bits = fmt.encode(intercepts).astype(np.int64)
    lowest = np.int64(1) << np.int64(fmt.mantissa_bits)
    kept = bits & (2 * lowest - 1)
    pieces = np.arange(len(intercepts), dtype=np.int64) << np.int64(fmt.mantissa_bits + 1)
    return fmt.decode((kept | pieces).astype(np.uint64))


class Tables(NamedTuple):
    """Constants of the hardware. in_array (2, P): slopes as operands, intercepts tagged. in_accumulator (2, P): both in
    the sum's format. scale, scale_sum: log₂ e / √N as an operand and as a sum."""

    in_array: NDArray[np.float64]
    in_accumulator: NDArray[np.float64]
    scale: float
    scale_sum: float


def tables(machine: FusedMachine) -> Tables:
    """The constants of a machine. Intercepts are of (1/2, 1], so that one bit of exponent is enough."""
    operand, total = FORMATS[machine.formats["operand"].name], FORMATS[machine.formats["state"].name]
    array = chords(machine.pieces, operand, total)
    array[1] = tagged(array[1], total)
    return Tables(array, chords(machine.pieces, total, total), log2e_over_sqrt(machine.size, operand),
                  log2e_over_sqrt(machine.size, total))


@inner
def multiply_add(a: Any, b: Any, c: Any, r: Any, operand: Any, total: Any) -> Any:
    """a · b + c, rounded once into r. a and b are operands, c is a sum."""
    return add(quiet(a, operand) * quiet(b, operand), quiet(c, total), r)


@inner
def multiply_add_native(a: Any, b: Any, c: Any) -> Any:
    """The same where `Rules.native` holds and r is the sum's."""
    y = np.float64(np.float32(a * b + c))
    return y if y == y else NAN


@inner
def multiply_sum(a: Any, b: Any, c: Any, total: Any) -> Any:
    """a · b + c of three sums, rounded once into a sum."""
    return add(quiet(a, total) * quiet(b, total), quiet(c, total), total)


@inner
def tag_of(value: Any, codec: Any, pieces: Any) -> Any:
    """The number of the piece in a tagged intercept; any pattern is read as one."""
    bits = np.int64(encode_value(value, codec))
    return (bits >> np.int64(codec.mantissa_bits + 1)) & np.int64(pieces - 1)


@inner
def untagged(value: Any, codec: Any) -> Any:
    """The intercept itself."""
    bits = np.int64(encode_value(value, codec))
    m = np.int64(codec.mantissa_bits)
    one = np.int64(1)
    fraction = bits & ((one << m) - one)
    field = (np.int64(codec.bias) & ~one) | ((bits >> m) & one)
    sign = bits & (one << (m + np.int64(codec.exponent_bits)))
    return decode_value(np.uint64(sign | (field << m) | fraction), codec)


@inner
def piece_of(x: Any, pieces: Any) -> Any:
    """Which line 2^x lies on; 0 for an x that is no number or far away."""
    size = abs(x)
    if not size < FAR:
        return np.int64(0)
    return np.int64((size - np.floor(size)) * pieces)


@inner
def power_of_two(x: Any, slope: Any, intercept: Any, r: Any) -> Any:
    """2^x on a given line, rounded once into r."""
    if not x < FAR:
        return round_to(x * np.inf, r)
    if x < -FAR:
        return 0.0
    whole = np.trunc(x)
    product = slope * (x - whole)
    total = product + intercept
    part = total - product
    error = (product - (total - part)) + (intercept - part)
    return round_to(scale_by_power(make_odd(total, error), np.int64(whole)), r)


@inner
def power_by_table(x: Any, table: Any, r: Any) -> Any:
    """2^x with the lines of a table (2, pieces), rounded once into r."""
    piece = piece_of(x, table.shape[1])
    return power_of_two(x, table[0, piece], table[1, piece], r)
