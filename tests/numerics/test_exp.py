"""`exp_exact` is correctly rounded; `exp_pwl` is the integer unit that its docstring states.

The authority for the exponential is mpmath, and for large sets the C library's long double: where an interval of
2^-60 around its value rounds to one result, that result is right; else mpmath decides.
"""

from __future__ import annotations

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest

from accel_sim.numerics import FORMATS, exp_exact, exp_pwl, exp_pwl_table, product_format
from accel_sim.numerics.exp import EXP_PWL_ERROR, _exp_slow, exp_exact_row

from .drivers import each_exp, each_exp_pwl
from .reference import (
    ALL,
    NARROW,
    SUBNORMALS,
    UP_TO_FP32,
    Values,
    assert_same_bits,
    cast_once,
    every_pattern,
    round_fraction,
    values_of,
)

PIECES = tuple(EXP_PWL_ERROR)
LONG_DOUBLE_IS_WIDER = np.finfo(np.longdouble).nmant >= 63

# The fp32 arguments whose exponentials lie closest to halfway between two fp32 values (within 6e-8 of a unit in the
# last place), found by a search over all of them.
HARDEST_FP32 = (
    "c16912cd bbf0edf1 c2b2e798 377eff81 bae0e25c b3000000 39c6be5b 38e69cc1 383a3ef1 3d1a274e "
    "40315b33 4001b249 39e5bb1d 36fdffc1 4288942b 367bffe1 35f7fff1 356ffff9 337fffff 33800000 "
    "343fffff 34dffffd bc2a461a 3fe67199 c0781533 38ad9e29 bbb70ee8 41cbf87b c13d6631 4034d02b "
    "3c971aaa 3a7bcd08 3caffe2e bcb8f40f 3c608a0e bfbfa14b 40dd70cb 3b18f346 b7f4c0ea b7c9c09f "
    "3f5bc24c bf81eadf b2ffffff 3b8c972e bf76fd92 ba7242a6 4178966e 38643e69 4283070f bdb393eb "
    "337ffffe c2b27dd9 c159fa1e c0382e72 c2b43fb7 3dfb09d6 3d7010de bee0e6cd b6b50020 b616000b "
    "b5d4000b b3000001 b3c00001 b4200001 "
)


def odd_float64(value: mpmath.mpf) -> float:
    """An mpmath value rounded to odd in binary64, so that one more rounding is as if from the value itself."""
    near = float(value)
    if mpmath.mpf(near) == value or math.isinf(near):
        return near
    below = near if mpmath.mpf(near) < value else math.nextafter(near, -math.inf)
    return below if np.float64(below).view(np.int64) & 1 else math.nextafter(below, math.inf)


def by_mpmath(x: Values, name: str, subnormals: str) -> Values:
    with mpmath.workprec(130):
        wide = [odd_float64(mpmath.exp(mpmath.mpf(v))) for v in x.tolist()]
    return cast_once(np.array(wide), name, subnormals)


def long_to_odd(y: np.ndarray) -> Values:
    """Positive long doubles to binary64, rounded to odd."""
    near = y.astype(np.float64)
    bits = near.view(np.int64).copy()
    bits[near.astype(np.longdouble) > y] -= 1
    bits[near.astype(np.longdouble) != y] |= 1
    return bits.view(np.float64)


def authority(x: Values, name: str, subnormals: str) -> Values:
    """e^x, for finite or special x, rounded once into the format."""
    want = np.empty_like(x)
    plain = np.isfinite(x) & (x > -740.0) & (x < 700.0)
    with np.errstate(all="ignore"):
        want[~plain] = cast_once(np.where(x < 0, 0.0, x * np.inf)[~plain], name, subnormals)
    inner = x[plain]
    settled = np.zeros(inner.size, dtype=bool)
    result = np.empty_like(inner)
    if LONG_DOUBLE_IS_WIDER:
        y = np.exp(inner.astype(np.longdouble))
        hair = y * np.longdouble(2) ** -60
        low, high = (cast_once(long_to_odd(side), name, subnormals) for side in (y - hair, y + hair))
        settled = low.view(np.int64) == high.view(np.int64)
        result[settled] = low[settled]
    if (~settled).any():
        result[~settled] = by_mpmath(inner[~settled], name, subnormals)
    want[plain] = result
    return want


def exact(x: Values, name: str, subnormals: str = "keep") -> Values:
    out = np.empty_like(x)
    each_exp(out, x, FORMATS[name].rounding(subnormals))
    return out


@pytest.mark.parametrize("argument", NARROW)
def test_every_narrow_argument_against_mpmath(argument: str) -> None:
    """Into its own format and, where that settles more bits, into fp32."""
    x = values_of(every_pattern(FORMATS[argument]), argument)
    plain = np.isfinite(x) & (np.abs(x) < 740.0)
    with mpmath.workprec(130):
        wide = np.array([odd_float64(mpmath.exp(mpmath.mpf(v))) for v in x[plain].tolist()])
    for result in {argument, "fp32"}:
        want = authority(x, result, "keep")
        want[plain] = cast_once(wide, result)
        assert_same_bits(exact(x, result), want, x, note=f"{argument} to {result}")


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("result", UP_TO_FP32)
@pytest.mark.parametrize("argument", NARROW)
def test_every_narrow_argument_into_every_format(argument: str, result: str, subnormals: str) -> None:
    x = values_of(every_pattern(FORMATS[argument]), argument)
    if not LONG_DOUBLE_IS_WIDER:
        x = x[::50].copy()
    assert_same_bits(exact(x, result, subnormals), authority(x, result, subnormals), x)


def fp32_arguments() -> Values:
    """A million: any pattern, the range where the result is finite, near zero, and around the ends."""
    rng = np.random.default_rng(73)
    parts = [
        values_of(rng.integers(0, 1 << 32, 250_000, dtype=np.uint64), "fp32"),
        rng.uniform(-104.0, 89.0, 350_000),
        rng.uniform(-1.0, 1.0, 200_000) * np.exp2(rng.uniform(-30, 0, 200_000)),
        rng.uniform(-104.5, -87.0, 150_000),
        rng.uniform(88.7, 88.8, 50_000),
    ]
    return np.concatenate(parts).astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("subnormals", SUBNORMALS)
def test_a_million_fp32_arguments(subnormals: str) -> None:
    x = fp32_arguments()
    if not LONG_DOUBLE_IS_WIDER:
        x = x[::500].copy()
    assert_same_bits(exact(x, "fp32", subnormals), authority(x, "fp32", subnormals), x)


def test_long_double_authority_agrees_with_mpmath() -> None:
    x = np.random.default_rng(79).choice(fp32_arguments(), 5000)
    x = x[np.isfinite(x) & (np.abs(x) < 700)]
    assert_same_bits(authority(x, "fp32", "keep"), by_mpmath(x, "fp32", "keep"), x)


def hardest() -> Values:
    bits = np.array([int(word, 16) for word in HARDEST_FP32.split()], dtype=np.uint32)
    return bits.view(np.float32).astype(np.float64)


def test_hardest_fp32_arguments() -> None:
    x = hardest()
    assert_same_bits(exact(x, "fp32"), by_mpmath(x, "fp32", "keep"), x)


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("result", sorted(set(FORMATS) - {"fp64"}))
def test_a_row_at_once_is_the_same_as_one_by_one(result: str, subnormals: str) -> None:
    rng = np.random.default_rng(5)
    edges = [np.nan, np.inf, -np.inf, 0.0, -0.0, 710.0, np.nextafter(710.0, 0), -746.0, -745.2, 88.72, -103.9, 1e-300]
    x = np.concatenate([edges, hardest(), rng.uniform(-800, 800, 200_000), -rng.exponential(3, 200_000)])
    x = np.concatenate([x, x.astype(np.float32).astype(np.float64)])
    row, spare = np.full_like(x, 7.0), np.empty_like(x)
    exp_exact_row(row, x, 3, x.size, spare, FORMATS[result].rounding(subnormals))
    one_by_one = exact(x, result, subnormals)
    assert np.array_equal(row[3:].view(np.int64), one_by_one[3:].view(np.int64))
    assert np.all(row[:3] == 7.0)


def test_slow_path_is_good_to_a_hundred_bits() -> None:
    rng = np.random.default_rng(83)
    x = np.concatenate([rng.uniform(-104, 89, 400), rng.uniform(-740, 700, 200), rng.uniform(-1, 1, 200)])
    with mpmath.workprec(250):
        for v in x.tolist():
            k = float(round(v / math.log(2)))
            high, low = _exp_slow(v, k)
            want = mpmath.exp(mpmath.mpf(v)) / mpmath.mpf(2) ** int(k)
            error = abs((mpmath.mpf(high) + mpmath.mpf(low)) / want - 1)
            assert error < mpmath.mpf(2) ** -97, v


def test_48_bit_results_are_correctly_rounded_too() -> None:
    """At the width of fp32 products nearly every result takes the slow path."""
    wide = product_format(FORMATS["fp32"])
    x = np.random.default_rng(89).uniform(-100, 88, 300).astype(np.float32).astype(np.float64)
    with mpmath.workprec(250):
        for v in x.tolist():
            man, power = mpmath.frexp(mpmath.exp(mpmath.mpf(v)))
            exact_value = Fraction(int(mpmath.ldexp(man, 240)), 1 << 240) * Fraction(2) ** int(power)
            assert exp_exact(v, wide.rounding()) == round_fraction(exact_value, wide)


def test_fp64_is_faithful() -> None:
    """Neighbours of the result enclose e^x, on a hundred thousand arguments, subnormal results included."""
    rng = np.random.default_rng(97)
    x = np.concatenate(
        [
            rng.uniform(-745.1, 709.78, 60_000),
            rng.uniform(-2, 2, 20_000),
            rng.uniform(-745.2, -700, 10_000),
            rng.uniform(-1, 1, 10_000) * np.exp2(rng.uniform(-70, 0, 10_000)),
        ]
    )
    y = exact(x, "fp64")
    below, above = np.nextafter(y, -np.inf), np.nextafter(y, np.inf)
    if LONG_DOUBLE_IS_WIDER:
        want = np.exp(x.astype(np.longdouble))
        assert ((below < want) & (want < above)).all()
        normal = y >= 2.0**-1022
        ulp = np.spacing(y[normal])
        assert (np.abs(y[normal].astype(np.longdouble) - want[normal]) / ulp).max() < 0.75
    with mpmath.workprec(130):
        for i in range(0, x.size, 50):
            assert below[i] < mpmath.exp(mpmath.mpf(x[i])) < above[i], x[i]


@pytest.mark.parametrize("name", ALL)
def test_ends_and_specials(name: str) -> None:
    fmt = FORMATS[name]
    top = math.inf if fmt.has_inf else math.nan
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 800.0, -800.0, 1e308, -1e308, 709.9, -745.2])
    want = np.array([1.0, 1.0, top, 0.0, np.nan, top, 0.0, top, 0.0, top, 0.0])
    assert_same_bits(exact(x, name), want, x)
    out = np.empty_like(x)
    each_exp_pwl(out, x, exp_pwl_table(8), fmt.rounding())
    assert_same_bits(out, want, x)


def pwl_by_hand(x: float, table: list[list[int]]) -> Fraction:
    """The unit's integers, before its rounding, in Python's."""
    y = round(Fraction(x) * 193635251 / (1 << 27) * (1 << 24))  # halves to even
    k, u = y >> 24, y & 0xFFFFFF
    pieces = len(table[0])
    width = (1 << 24) // pieces
    piece, rest = divmod(u, width)
    mantissa = (table[0][piece] << 16) + table[1][piece] * rest
    return Fraction(mantissa, 1 << 40) * Fraction(2) ** k


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("pieces", PIECES)
def test_pwl_is_its_integer_statement(pieces: int, subnormals: str) -> None:
    rng = np.random.default_rng(pieces)
    table = exp_pwl_table(pieces)
    rows = table.tolist()
    x = np.concatenate(
        [
            rng.uniform(-110, 92, 700),
            rng.normal(0, 1, 700) * np.exp2(rng.uniform(-40, 0, 700)),
            np.array([1.0, -1.0, 3.0]) * 2.0**-24,
            np.arange(-105.0, 90.0),
        ]
    )
    x = x.astype(np.float32).astype(np.float64)
    hand = [pwl_by_hand(v, rows) for v in x.tolist()]
    for result in ("fp32", "fp16", "bf16", "fp8_e5m2", "fp8_e4m3"):
        out = np.empty_like(x)
        each_exp_pwl(out, x, table, FORMATS[result].rounding(subnormals))
        want = np.array([round_fraction(value, FORMATS[result], subnormals) for value in hand])
        assert_same_bits(out, want, x, note=f"{result}, {pieces} pieces")


@pytest.mark.parametrize("argument", ["fp16", "bf16", "fp8_e4m3", "fp8_e5m2"])
def test_pwl_over_every_narrow_argument(argument: str) -> None:
    fmt, table = FORMATS[argument], exp_pwl_table(8)
    rows = table.tolist()
    x = values_of(every_pattern(fmt), argument)
    out = np.empty_like(x)
    each_exp_pwl(out, x, table, fmt.rounding())
    inside = np.isfinite(x) & (np.abs(x) < 120)
    want = [round_fraction(pwl_by_hand(v, rows), fmt) for v in x[inside].tolist()]
    assert_same_bits(out[inside], np.array(want), x[inside])
    with np.errstate(all="ignore"):
        beyond = cast_once(np.where(x < 0, 0.0, x * np.inf), argument)
    assert_same_bits(out[~inside], beyond[~inside], x[~inside])


@pytest.mark.parametrize("pieces", PIECES)
def test_pwl_never_falls_and_gives_probabilities(pieces: int) -> None:
    x = np.sort(np.concatenate([fp32_arguments()[250_000:450_000], np.linspace(-1, 1, 100_001)]))
    out = np.empty_like(x)
    each_exp_pwl(out, x, exp_pwl_table(pieces), FORMATS["fp32"].rounding())
    assert (out[1:] >= out[:-1]).all()
    assert (out[x <= 0] <= 1.0).all()
    assert exp_pwl(0.0, exp_pwl_table(pieces), FORMATS["fp32"].rounding()) == 1.0


@pytest.mark.parametrize("pieces", PIECES)
def test_pwl_error_is_the_published_one(pieces: int) -> None:
    """The lines against 2^u where their error peaks, and the whole unit against e^x."""
    u = np.arange(0, 1 << 24, 97, dtype=np.int64)
    table = exp_pwl_table(pieces)
    piece = u * pieces >> 24
    lines = ((table[0, piece] << 16) + table[1, piece] * (u - table[2, piece])) / 2.0**40
    error = np.abs(lines / np.exp2(u / 2.0**24) - 1).max()
    assert 0.998 * EXP_PWL_ERROR[pieces] < error <= EXP_PWL_ERROR[pieces]
    x = np.random.default_rng(101).uniform(-87, 88, 200_000).astype(np.float32).astype(np.float64)
    out = np.empty_like(x)
    each_exp_pwl(out, x, table, FORMATS["fp64"].rounding())
    assert (np.abs(out / np.exp(x) - 1) <= EXP_PWL_ERROR[pieces] + 2.1e-8 + 2.2e-9 * np.abs(x)).all()


@pytest.mark.parametrize("pieces", [0, 1, 3, 128, 8.5])
def test_odd_piece_counts_are_refused(pieces: int) -> None:
    with pytest.raises(ValueError, match="power of two from 2 to 64"):
        exp_pwl_table(pieces)
