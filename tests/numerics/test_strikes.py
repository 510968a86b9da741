"""A struck bit is the bit of the stored pattern, whatever the arithmetic's width."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.numerics import FORMATS, flip_bits, force_bits, uint_format

from .drivers import flipped, forced
from .reference import ALL, NARROW, assert_same_bits, every_pattern, native, special_values, values_of

# (arithmetic, stored): the stored exponent range and mantissa lie inside the arithmetic's.
NARROWER = [
    ("fp32", "bf16"), ("fp32", "fp16"), ("fp32", "fp8_e4m3"), ("fp32", "fp8_e5m2"), ("fp64", "fp32"), ("fp64", "bf16"),
    ("fp64", "fp16"), ("fp16", "fp8_e5m2"), ("fp16", "fp8_e4m3"),
]  # fmt: skip


def patterns(name: str, count: int = 20_000) -> np.ndarray:
    if name in NARROW:
        return every_pattern(FORMATS[name])
    width = FORMATS[name].width_bits
    random = np.random.default_rng(109).integers(0, 1 << 64, count, dtype=np.uint64) >> np.uint64(64 - width)
    special = FORMATS[name].encode(special_values(FORMATS[name]))
    return np.concatenate([random, special])


def filled(mask: int, like: np.ndarray) -> np.ndarray:
    return np.full(like.size, mask, dtype=np.uint64)


@pytest.mark.parametrize("name", ALL)
def test_a_flip_in_the_format_itself_inverts_the_pattern(name: str) -> None:
    fmt = FORMATS[name]
    bits = patterns(name)
    x = fmt.decode(bits)
    top = fmt.width_bits - 1
    for mask in [*(1 << bit for bit in range(fmt.width_bits)), 0b11, 0b111 << (top - 2), 1 << top | 1]:
        struck = flipped(x, fmt.codec, fmt.codec, filled(mask, x))
        assert np.array_equal(fmt.encode(struck), bits ^ np.uint64(mask)), mask
        assert_same_bits(flipped(struck, fmt.codec, fmt.codec, filled(mask, x)), x)


def test_control_registers_flip_as_integers() -> None:
    codec = uint_format(12).codec
    assert flip_bits(5.0, codec, codec, np.uint64(0b1001)) == 12.0
    assert flip_bits(0.0, codec, codec, np.uint64(1 << 11)) == 2048.0
    assert force_bits(5.0, codec, codec, np.uint64(0b110), np.uint64(0b010)) == 3.0


@pytest.mark.parametrize("bit", range(16))
def test_bf16_bits_of_an_fp32_value_are_the_upper_half_of_its_pattern(bit: int) -> None:
    """Every kind of fp32 value: subnormal, infinite, NaN; and back again."""
    wide, stored = FORMATS["fp32"], FORMATS["bf16"]
    bits = patterns("fp32", 100_000)
    x = wide.decode(bits)
    struck = flipped(x, wide.codec, stored.codec, filled(1 << bit, x))
    assert np.array_equal(wide.encode(struck), bits ^ np.uint64(1 << (bit + 16)))
    assert_same_bits(flipped(struck, wide.codec, stored.codec, filled(1 << bit, x)), x)


@pytest.mark.parametrize(("arith", "stored"), NARROWER)
def test_a_value_the_register_can_hold_is_struck_as_in_that_register(arith: str, stored: str) -> None:
    wide, narrow = FORMATS[arith], FORMATS[stored]
    bits = patterns(stored)
    x = values_of(bits, stored)
    number = ~np.isnan(x)  # a NaN here is the canonical one, not its pattern
    x, bits = x[number], bits[number]
    for bit in range(narrow.width_bits):
        mask = np.uint64(1 << bit)
        struck = flipped(x, wide.codec, narrow.codec, filled(1 << bit, x))
        want = values_of(bits ^ mask, stored)
        assert np.array_equal(struck, want, equal_nan=True), bit
        zeros = want == 0
        assert np.array_equal(np.signbit(struck[zeros]), np.signbit(want[zeros])), bit


@pytest.mark.parametrize(("arith", "stored"), NARROWER)
def test_bits_below_the_register_ride_along(arith: str, stored: str) -> None:
    """A normal value of the stored range: each stored bit moves it as its place says, and a second strike undoes it."""
    wide, narrow = FORMATS[arith], FORMATS[stored]
    rng = np.random.default_rng(113)
    exponent = rng.integers(narrow.emin, narrow.emax, 5000)  # below emax: in fn the top code is partly NaN
    fraction = rng.integers(0, 1 << wide.mantissa_bits, 5000) / 2.0**wide.mantissa_bits
    x = np.ldexp(1 + fraction, exponent) * rng.choice([-1.0, 1.0], 5000)
    assert (wide.decode(wide.encode(x)) == x).all()
    m = narrow.mantissa_bits
    for bit in range(m):
        struck = flipped(x, wide.codec, narrow.codec, filled(1 << bit, x))
        assert (np.abs(struck - x) == np.ldexp(1.0, exponent - m + bit)).all()
    for bit in range(m, m + narrow.exponent_bits):
        struck = flipped(x, wide.codec, narrow.codec, filled(1 << bit, x))
        field = (exponent + narrow.bias) ^ (1 << (bit - m))
        usual = (field > 0) & (field < (1 << narrow.exponent_bits) - 1)
        moved = field - (exponent + narrow.bias)
        assert (struck[usual] == np.ldexp(x[usual], moved[usual])).all()
        subnormal = field == 0
        assert (np.abs(struck[subnormal]) == np.ldexp(fraction[subnormal], narrow.emin)).all()
        if narrow.has_inf:
            top = field == (1 << narrow.exponent_bits) - 1
            assert (np.isinf(struck[top]) == (fraction[top] == 0)).all()
            assert (np.isnan(struck[top]) == (fraction[top] != 0)).all()
            assert_same_bits(flipped(struck, wide.codec, narrow.codec, filled(1 << bit, x)), x)
    sign = flipped(x, wide.codec, narrow.codec, filled(1 << (narrow.width_bits - 1), x))
    assert_same_bits(sign, -x)


def test_values_outside_the_stored_range() -> None:
    """As `flip_bits` documents them, for fp32 arithmetic in an fp16 register."""
    wide, narrow = FORMATS["fp32"].codec, FORMATS["fp16"].codec

    def flip(x: float, bit: int) -> float:
        return flip_bits(x, wide, narrow, np.uint64(1 << bit))

    big = 2.0**20 * (1 + 2.0**-23)  # field 30 of 31, and 2^5 put back afterwards
    assert flip(big, 15) == -big
    assert flip(big, 9) == big + 2.0**19
    assert flip(big, 14) == big * 2.0**-16
    assert np.isnan(flip(big, 10))
    assert np.isinf(flip(2.0**20, 10))
    small = 2.0**-30  # below every fp16 value: field and stored fraction are zero
    assert flip(small, 15) == -small
    assert flip(small, 0) == 2.0**-24 + small
    assert flip(small, 10) == 2.0**-14 + small
    assert flip(2.0**-40 * (1 + 2.0**-23), 10) == 2.0**-14  # what is beyond fp32's mantissa is cut off
    assert flip(0.0, 10) == 2.0**-14
    assert flip(np.inf, 10) == 2.0**15
    assert flip(np.nan, 14) == 1.5


def test_values_outside_e4m3() -> None:
    wide, narrow = FORMATS["fp32"].codec, FORMATS["fp8_e4m3"].codec

    def flip(x: float, bit: int) -> float:
        return flip_bits(x, wide, narrow, np.uint64(1 << bit))

    assert flip(384.0 + 2.0, 0) == 416.0 + 2.0  # the top exponent field holds numbers
    assert np.isnan(flip(416.0 + 2.0, 1))  # 1.101 becomes 1.111, the one NaN
    assert flip(np.nan, 0) == 448.0
    assert np.isnan(flip(448.0, 0))
    assert flip(2.0**12, 2) == 2.0**12 * 1.5  # above the range: the excess power of two is put back


@pytest.mark.parametrize("name", ALL)
def test_stuck_bits_have_their_value_and_nothing_else_changes(name: str) -> None:
    fmt = FORMATS[name]
    bits = patterns(name)
    x = fmt.decode(bits)
    for bit in range(fmt.width_bits):
        mask = np.uint64(1 << bit)
        zero = forced(x, fmt.codec, fmt.codec, filled(1 << bit, x), filled(0, x))
        one = forced(x, fmt.codec, fmt.codec, filled(1 << bit, x), filled((1 << fmt.width_bits) - 1, x))
        assert np.array_equal(fmt.encode(zero), bits & ~mask)
        assert np.array_equal(fmt.encode(one), bits | mask)


@pytest.mark.parametrize(("arith", "stored"), NARROWER)
def test_a_narrow_stuck_bit_is_a_flip_or_nothing(arith: str, stored: str) -> None:
    wide, narrow = FORMATS[arith], FORMATS[stored]
    x = wide.decode(patterns(arith, 5000))
    for bit in range(narrow.width_bits):
        masks = filled(1 << bit, x)
        flip = flipped(x, wide.codec, narrow.codec, masks).view(np.int64)
        zero = forced(x, wide.codec, narrow.codec, masks, filled(0, x)).view(np.int64)
        one = forced(x, wide.codec, narrow.codec, masks, masks).view(np.int64)
        same = x.view(np.int64)
        assert (((zero == same) & (one == flip)) | ((one == same) & (zero == flip))).all()


@pytest.mark.parametrize(("arith", "stored"), NARROWER)
def test_a_struck_value_still_belongs_to_the_arithmetic_format(arith: str, stored: str) -> None:
    wide, narrow = FORMATS[arith], FORMATS[stored]
    x = wide.decode(patterns(arith, 20_000))
    for bit in range(narrow.width_bits):
        struck = flipped(x, wide.codec, narrow.codec, filled(1 << bit, x))
        assert_same_bits(wide.decode(wide.encode(struck)), struck, x)


def test_the_authority_reads_the_same_patterns() -> None:
    bits = every_pattern(FORMATS["bf16"])
    assert np.array_equal(native(bits, "bf16").view(np.uint16).astype(np.uint64), bits)
