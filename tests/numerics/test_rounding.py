"""`round_to` is one rounding to nearest even; NaN is canonical; flush makes zeros of the right sign."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from accel_sim.numerics import FORMATS, product_format

from .drivers import each_quiet, rounded
from .reference import (
    ALL,
    NARROW,
    SUBNORMALS,
    UP_TO_FP32,
    assert_same_bits,
    cast_once,
    every_pattern,
    flushed,
    round_fraction,
    special_values,
    values_of,
)


def wide_values(name: str) -> np.ndarray:
    """What may have to be rounded: all narrow patterns, random fp32 and fp64 patterns, and the format's own range."""
    rng = np.random.default_rng(7)
    fmt = FORMATS[name]
    narrow = [values_of(every_pattern(FORMATS[other]), other) for other in NARROW]
    single = values_of(rng.integers(0, 1 << 32, 500_000, dtype=np.uint64), "fp32")
    double = values_of(rng.integers(0, 1 << 64, 200_000, dtype=np.uint64), "fp64")
    exponents = rng.integers(fmt.emin - fmt.mantissa_bits - 3, fmt.emax + 3, 500_000)
    with np.errstate(over="ignore"):
        inside = np.ldexp(rng.uniform(-2.0, 2.0, exponents.size), exponents)
    return np.concatenate([*narrow, single, double, inside, special_values(fmt)])


def around_ties(name: str) -> np.ndarray:
    """Halfway between neighbours of the format, exactly and one binary64 step to either side."""
    fmt = FORMATS[name]
    if name in NARROW:
        bits = every_pattern(fmt)
    else:
        bits = np.random.default_rng(3).integers(0, 1 << fmt.width_bits, 200_000, dtype=np.uint64)
    sizes = np.abs(values_of(bits, name))
    ends = np.abs(special_values(fmt))  # also just below the smallest normal, where flushing must come after rounding
    sizes = np.concatenate([sizes, ends])
    sizes = sizes[sizes <= fmt.max_finite]
    _, exponents = np.frexp(sizes)
    quantum = np.ldexp(1.0, np.maximum(exponents - 1, fmt.emin) - fmt.mantissa_bits)
    ties = sizes + quantum / 2
    beside = [np.nextafter(ties, 0.0), ties, np.nextafter(ties, np.inf), sizes + quantum]
    return np.concatenate([*beside, *(-one for one in beside)])


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("name", ALL)
def test_rounds_as_the_authority_casts(name: str, subnormals: str) -> None:
    x = wide_values(name)
    assert_same_bits(rounded(x, FORMATS[name].rounding(subnormals)), cast_once(x, name, subnormals), x)


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("name", UP_TO_FP32)
def test_ties_go_to_even_and_their_neighbours_do_not(name: str, subnormals: str) -> None:
    x = around_ties(name)
    assert_same_bits(rounded(x, FORMATS[name].rounding(subnormals)), cast_once(x, name, subnormals), x)


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("name", UP_TO_FP32)
def test_rounds_as_exact_fractions_do(name: str, subnormals: str) -> None:
    fmt = FORMATS[name]
    rng = np.random.default_rng(13)
    x = np.concatenate([rng.choice(around_ties(name), 1500), rng.choice(wide_values(name), 1500)])
    x = x[np.isfinite(x)]
    want = np.array([round_fraction(Fraction(v), fmt, subnormals, bool(np.signbit(v))) for v in x])
    assert_same_bits(rounded(x, fmt.rounding(subnormals)), want, x)


@pytest.mark.parametrize("name", ALL)
def test_a_value_of_the_format_is_its_own_rounding(name: str) -> None:
    fmt = FORMATS[name]
    bits = every_pattern(fmt) if name in NARROW else np.arange(0, 1 << 32, 9973, dtype=np.uint64)
    x = values_of(bits, name)
    assert_same_bits(rounded(x, fmt.rounding()), x, x)


@pytest.mark.parametrize("name", UP_TO_FP32)
def test_exact_products_are_not_rounded_by_the_product_format(name: str) -> None:
    fmt = FORMATS[name]
    bits = np.random.default_rng(17).integers(0, 1 << fmt.width_bits, (2, 200_000), dtype=np.uint64)
    a, b = values_of(bits[0], name), values_of(bits[1], name)
    exact = np.where(np.isfinite(a) & np.isfinite(b), a, 1.0) * np.where(np.isfinite(b), b, 1.0)
    exact = exact[~np.isnan(exact)]
    assert_same_bits(rounded(exact, product_format(fmt).rounding()), exact, exact)


@pytest.mark.parametrize("name", UP_TO_FP32)
def test_product_formats_round_like_exact_fractions(name: str) -> None:
    wide = product_format(FORMATS[name])
    rng = np.random.default_rng(19)
    exponents = rng.integers(wide.emin - wide.mantissa_bits - 2, wide.emax + 2, 2000)
    x = np.ldexp(rng.uniform(-2.0, 2.0, exponents.size), exponents)
    want = np.array([round_fraction(Fraction(v), wide, negative=bool(np.signbit(v))) for v in x])
    assert_same_bits(rounded(x, wide.rounding()), want, x)


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("name", ALL)
def test_every_nan_becomes_the_canonical_one(name: str, subnormals: str) -> None:
    nans = np.array(
        [0x7FF8000000000000, 0xFFF8000000000000, 0x7FF0000000000001, 0xFFF123456789ABCD, 0x7FFFFFFFFFFFFFFF],
        dtype=np.uint64,
    ).view(np.float64)
    got = rounded(nans, FORMATS[name].rounding(subnormals)).view(np.uint64)
    assert (got == 0x7FF8000000000000).all()


@pytest.mark.parametrize("name", ALL)
def test_quiet_reads_subnormal_operands_as_zeros_only_where_flushing(name: str) -> None:
    fmt = FORMATS[name]
    x = values_of(every_pattern(fmt), name) if name in NARROW else special_values(fmt)
    out = np.empty_like(x)
    each_quiet(out, x, fmt.rounding("keep"))
    assert_same_bits(out, x)
    each_quiet(out, x, fmt.rounding("flush"))
    assert_same_bits(out, flushed(x, name))


def test_e4m3_keeps_the_tie_above_its_largest_value_and_loses_what_is_beyond() -> None:
    x = np.array([448.0, 464.0, np.nextafter(464.0, 500.0), 480.0, np.inf, -464.0, -465.0])
    got = rounded(x, FORMATS["fp8_e4m3"].rounding())
    assert got[[0, 1, 5]].tolist() == [448.0, 448.0, -448.0]
    assert np.isnan(got[[2, 3, 4, 6]]).all()
