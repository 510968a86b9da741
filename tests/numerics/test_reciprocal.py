"""`reciprocal_pwl` is the integer unit that its docstring states."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accel_sim.numerics import FORMATS, reciprocal_pwl, reciprocal_table
from accel_sim.numerics.reciprocal import RECIPROCAL_ERROR

from .drivers import each_reciprocal
from .reference import (
    ALL,
    NARROW,
    SUBNORMALS,
    UP_TO_FP32,
    Values,
    assert_same_bits,
    every_pattern,
    round_fraction,
    values_of,
)

PIECES = tuple(RECIPROCAL_ERROR)


def unit(x: Values, pieces: int, name: str, subnormals: str = "keep") -> Values:
    out = np.empty_like(x)
    each_reciprocal(out, x, reciprocal_table(pieces), FORMATS[name].rounding(subnormals))
    return out


def by_hand(x: float, table: list[list[int]]) -> Fraction:
    """The unit's integers, before its rounding, in Python's; x finite and not zero."""
    size = abs(Fraction(x))
    e = size.numerator.bit_length() - size.denominator.bit_length()
    e -= Fraction(2) ** e > size
    u = int((size / Fraction(2) ** e - 1) * (1 << 24))
    piece, rest = divmod(u, (1 << 24) // len(table[0]))
    mantissa = (table[0][piece] << 16) + table[1][piece] * rest
    return Fraction(mantissa, 1 << 40) * Fraction(2) ** -e * (1 if x > 0 else -1)


@pytest.mark.parametrize("argument", NARROW)
def test_every_narrow_argument(argument: str) -> None:
    x = values_of(every_pattern(FORMATS[argument]), argument)
    got = unit(x, 8, argument)
    plain = np.isfinite(x) & (x != 0)
    rows = reciprocal_table(8).tolist()
    want = [round_fraction(by_hand(v, rows), FORMATS[argument]) for v in x[plain].tolist()]
    assert_same_bits(got[plain], np.array(want), x[plain])


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("pieces", PIECES)
def test_the_unit_is_its_integer_statement(pieces: int, subnormals: str) -> None:
    rng = np.random.default_rng(pieces)
    bits = rng.integers(0, 1 << 32, 1500, dtype=np.uint64)
    x = np.concatenate([values_of(bits, "fp32"), rng.uniform(0.5, 4096.0, 1000).astype(np.float32)])
    x = x[np.isfinite(x) & (x != 0)]
    rows = reciprocal_table(pieces).tolist()
    hand = [by_hand(v, rows) for v in x.tolist()]
    for name in UP_TO_FP32:
        want = [round_fraction(value, FORMATS[name], subnormals) for value in hand]
        assert_same_bits(unit(x, pieces, name, subnormals), np.array(want), x, note=name)


def test_fp64_arguments_are_cut_to_24_fraction_bits() -> None:
    rng = np.random.default_rng(103)
    x = values_of(rng.integers(0, 1 << 64, 2000, dtype=np.uint64), "fp64")
    x = np.concatenate([x[np.isfinite(x)], rng.uniform(1, 2, 500) * 2.0**-1030, [5e-324, -5e-324, 1.7e308]])
    rows = reciprocal_table(16).tolist()
    want = [round_fraction(by_hand(v, rows), FORMATS["fp64"]) for v in x.tolist()]
    assert_same_bits(unit(x, 16, "fp64"), np.array(want), x)


@pytest.mark.parametrize("name", ALL)
def test_specials(name: str) -> None:
    top = np.inf if FORMATS[name].has_inf else np.nan
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan])
    want = np.array([top, -top if FORMATS[name].has_inf else np.nan, 0.0, -0.0, np.nan])
    assert_same_bits(unit(x, 8, name), want, x)


@pytest.mark.parametrize("pieces", PIECES)
def test_powers_of_two_are_exact_and_the_curve_never_rises(pieces: int) -> None:
    table, r = reciprocal_table(pieces), FORMATS["fp32"].rounding()
    assert all(reciprocal_pwl(2.0**e, table, r) == 2.0**-e for e in range(-126, 127))
    x = np.sort(np.random.default_rng(107).uniform(1, 8, 200_000).astype(np.float32).astype(np.float64))
    assert (np.diff(unit(x, pieces, "fp32")) <= 0).all()


@pytest.mark.parametrize("pieces", PIECES)
def test_error_is_the_published_one(pieces: int) -> None:
    x = 1 + np.arange(0, 1 << 24, 97) / 2.0**24
    error = np.abs(unit(x, pieces, "fp64") * x - 1).max()
    assert 0.998 * RECIPROCAL_ERROR[pieces] < error <= RECIPROCAL_ERROR[pieces]


@pytest.mark.parametrize("pieces", [0, 1, 3, 128])
def test_odd_piece_counts_are_refused(pieces: int) -> None:
    with pytest.raises(ValueError, match="power of two from 2 to 64"):
        reciprocal_table(pieces)
