"""A format's numbers and bit patterns are those of the authority, and every pattern survives the round trip."""

from __future__ import annotations

import dataclasses
import math

import ml_dtypes
import numpy as np
import pytest

from accel_sim.numerics import FORMATS, Format, decode_value, encode_value, product_format, uint_format

from .reference import ALL, DTYPES, NARROW, UP_TO_FP32, every_pattern, native, special_values, values_of


def patterns(name: str) -> np.ndarray:
    """Every pattern of a narrow format; for the wide ones random patterns and both ends of every field."""
    fmt = FORMATS[name]
    if name in NARROW:
        return every_pattern(fmt)
    rng = np.random.default_rng(11)
    edges = np.arange(1 << (1 + fmt.exponent_bits), dtype=np.uint64) << np.uint64(fmt.mantissa_bits)
    ones = np.uint64((1 << fmt.mantissa_bits) - 1)
    random = rng.integers(0, 1 << 64, 300_000, dtype=np.uint64) >> np.uint64(64 - fmt.width_bits)
    return np.concatenate([edges, edges + np.uint64(1), edges + ones, random])


@pytest.mark.parametrize("name", ALL)
def test_limits_are_those_of_the_authority(name: str) -> None:
    fmt, dtype = FORMATS[name], DTYPES[name]
    info = ml_dtypes.finfo(dtype)
    assert fmt.width_bits == 8 * dtype.itemsize == info.bits
    assert (fmt.mantissa_bits, fmt.precision) == (info.nmant, info.nmant + 1)
    assert fmt.max_finite == float(info.max)
    assert fmt.min_normal == float(info.smallest_normal)
    assert fmt.min_subnormal == float(info.smallest_subnormal)
    assert (fmt.emin, fmt.emax) == (int(info.minexp), int(math.log2(float(info.max))) if name != "fp64" else 1023)
    with np.errstate(all="ignore"):
        assert fmt.has_inf == bool(np.isinf(np.array([np.inf]).astype(dtype).astype(np.float64))[0])


@pytest.mark.parametrize("name", ALL)
def test_decode_gives_the_authoritys_value(name: str) -> None:
    bits = patterns(name)
    got, want = FORMATS[name].decode(bits), values_of(bits, name)
    assert np.array_equal(np.isnan(got), np.isnan(want))
    finite = ~np.isnan(want)
    assert np.array_equal(got[finite].view(np.int64), want[finite].view(np.int64))


@pytest.mark.parametrize("name", ALL)
def test_every_pattern_survives_decode_and_encode(name: str) -> None:
    bits = patterns(name)  # NaNs of either sign, quiet or signalling, with their payloads
    assert np.array_equal(FORMATS[name].encode(FORMATS[name].decode(bits)), bits)


@pytest.mark.parametrize("name", UP_TO_FP32)
def test_exact_products_survive_encode_and_decode(name: str) -> None:
    wide = product_format(FORMATS[name])
    rng = np.random.default_rng(5)
    a, b = (values_of(rng.choice(patterns(name), 50_000), name) for _ in range(2))
    special = special_values(FORMATS[name])
    with np.errstate(invalid="ignore"):
        products = np.concatenate([a * b, np.multiply.outer(special, special).reshape(-1)])
    products = products[~np.isnan(products)]
    assert np.array_equal(wide.decode(wide.encode(products)).view(np.int64), products.view(np.int64))


@pytest.mark.parametrize("name", UP_TO_FP32)
def test_no_narrower_format_holds_the_products(name: str) -> None:
    fmt = FORMATS[name]
    wide = product_format(fmt)
    assert wide.precision == 2 * fmt.precision
    least = Format("less", wide.exponent_bits - 1, wide.mantissa_bits)
    assert least.max_finite < fmt.max_finite**2 or least.min_subnormal > fmt.min_subnormal**2


def test_canonical_nan_has_the_formats_canonical_pattern() -> None:
    canonical = {
        name: int(FORMATS[name].encode(np.array([np.nan]))[0]) for name in ALL
    }
    assert canonical == {
        "fp64": 0x7FF8000000000000, "fp32": 0x7FC00000, "fp16": 0x7E00, "bf16": 0x7FC0, "fp8_e4m3": 0x7F,
        "fp8_e5m2": 0x7E,
    }  # fmt: skip


def test_a_nan_whose_payload_does_not_fit_stays_a_nan() -> None:
    low_payload = np.array([0x7FF0000000000001], dtype=np.uint64).view(np.float64)
    for name in ALL:
        bits = FORMATS[name].encode(low_payload)
        assert np.isnan(values_of(bits, name))[0], name


@pytest.mark.parametrize("width", [1, 5, 16, 32, 53])
def test_control_registers_hold_unsigned_integers(width: int) -> None:
    fmt = uint_format(width)
    top = (1 << width) - 1
    values = np.array([0, 1, top // 2, top], dtype=np.float64)
    assert fmt.width_bits == width
    assert fmt.encode(values).tolist() == [0, 1, top // 2, top]
    assert np.array_equal(fmt.decode(fmt.encode(values)), values)


def test_scalar_codecs_agree_with_the_array_ones() -> None:
    for name in ALL:
        codec = FORMATS[name].codec
        for value in (0.0, -0.0, 1.5, -2.0, FORMATS[name].min_subnormal, FORMATS[name].max_finite):
            bits = encode_value(value, codec)
            assert bits == FORMATS[name].encode(np.array([value]))[0] == native_bits(value, name)
            assert decode_value(np.uint64(bits), codec) == value


def native_bits(value: float, name: str) -> int:
    dtype = DTYPES[name]
    return int(np.array([value]).astype(dtype).view(f"u{dtype.itemsize}")[0])


def test_arrays_keep_their_shape() -> None:
    values = np.arange(6, dtype=np.float64).reshape(2, 3)[:, ::2]
    bits = FORMATS["bf16"].encode(values)
    assert bits.shape == values.shape
    assert bits.dtype == np.uint64
    assert np.array_equal(FORMATS["bf16"].decode(bits), values)
    assert np.array_equal(native(bits.reshape(-1), "bf16").astype(np.float64), values.reshape(-1))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Format("odd", 1, 3), "odd: needs 2..10 exponent bits"),
        (lambda: Format("odd", 11, 20), "odd: needs 2..10 exponent bits"),
        (lambda: Format("odd", 5, 2, "int"), "kind 'int'"),  # type: ignore[arg-type]
        (lambda: uint_format(54), "1 to 53 bits"),
        (lambda: uint_format(8).rounding(), "control register"),
        (lambda: FORMATS["bf16"].rounding("maybe"), "subnormals 'maybe'"),  # type: ignore[arg-type]
        (lambda: product_format(FORMATS["fp64"]), "more than fp64"),
        (lambda: product_format(uint_format(8)), "control register"),
    ],
)
def test_nonsense_is_refused_with_the_reason(make, says: str) -> None:
    with pytest.raises(ValueError, match=says.replace("(", r"\(")):
        make()


def test_formats_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        FORMATS["bf16"].mantissa_bits = 8  # type: ignore[misc]
