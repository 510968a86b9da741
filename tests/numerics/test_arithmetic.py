"""Every operator equals the exact result rounded once: all fp8 pairs, ten million others for each operator."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from accel_sim.numerics import FORMATS, add, div, mul, sub

from .drivers import BINARY, binary
from .reference import (
    DTYPES,
    SUBNORMALS,
    Values,
    assert_same_bits,
    cast_once,
    every_pattern,
    flushed,
    operand_pairs,
    round_fraction,
    special_values,
    values_of,
    widened,
)

PAIRS = {"fp64": 200_000, "fp32": 4_000_000, "fp16": 3_000_000, "bf16": 3_000_000, "fp8_e4m3": 0, "fp8_e5m2": 0}


@cache
def pairs(name: str) -> tuple[Values, Values]:
    if PAIRS[name]:
        return operand_pairs(name, PAIRS[name], seed=sum(name.encode()))
    values = values_of(every_pattern(FORMATS[name]), name)
    first, second = np.meshgrid(values, values)
    return first.reshape(-1), second.reshape(-1)


def wide_maximum(a: Values, b: Values) -> Values:
    both_zero = (a == 0) & (b == 0)
    zero = np.where(np.signbit(a) & np.signbit(b), -0.0, 0.0)
    return np.where(both_zero, zero, np.maximum(a, b))


# Binary64 is wide enough for operands of one format: a product is exact, and a sum or quotient rounded to 53 bits
# rounds again to p bits as if once, since 53 >= 2p + 2 for p <= 24.
WIDE: dict[str, Callable[[Values, Values], Values]] = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "maximum": wide_maximum,
}  # fmt: skip


def authority(operation: str, a: Values, b: Values, name: str, subnormals: str) -> Values:
    if subnormals == "flush":
        a, b = flushed(a, name), flushed(b, name)
    with np.errstate(all="ignore"):
        if name in ("fp32", "fp64") and operation != "maximum":  # the CPU's own operation in the format itself
            dtype = DTYPES[name]
            result = widened(WIDE[operation](a.astype(dtype), b.astype(dtype)))
            return flushed(result, name) if subnormals == "flush" else result
        return cast_once(WIDE[operation](a, b), name, subnormals)


@pytest.mark.parametrize("operation", BINARY)
@pytest.mark.parametrize("name", PAIRS)
def test_operator_is_exact_then_rounded_once(name: str, operation: str) -> None:
    a, b = pairs(name)
    got = binary(operation, a, b, FORMATS[name].rounding("keep"))
    assert_same_bits(got, authority(operation, a, b, name, "keep"), a, b, note=f"{operation} {name}")
    a, b = (a, b) if a.size < 100_000 else (a[::4].copy(), b[::4].copy())
    got = binary(operation, a, b, FORMATS[name].rounding("flush"))
    assert_same_bits(got, authority(operation, a, b, name, "flush"), a, b, note=f"{operation} {name} flush")


@pytest.mark.parametrize("operation", ["add", "sub", "mul", "div"])
def test_half_precision_agrees_with_numpys_own_operators(operation: str) -> None:
    a, b = (side[::20].copy() for side in pairs("fp16"))
    with np.errstate(all="ignore"):
        want = widened(WIDE[operation](a.astype(np.float16), b.astype(np.float16)))
    assert_same_bits(binary(operation, a, b, FORMATS["fp16"].rounding()), want, a, b)


def test_the_operands_seek_out_trouble() -> None:
    """The random pairs do contain the cases they are there for; otherwise the test above says little."""
    for name in ("fp32", "fp16", "bf16"):
        fmt = FORMATS[name]
        a, b = pairs(name)
        with np.errstate(all="ignore"):
            for operation in ("add", "mul", "div"):
                wide = WIDE[operation](a, b)
                result = np.abs(authority(operation, a, b, name, "keep"))
                scale = np.ldexp(1.0, fmt.mantissa_bits + 1 - np.maximum(np.frexp(wide)[1] - 1, fmt.emin))
                halves = np.abs(wide) * scale  # in half quanta: odd integers are ties
                ties = (halves % 2 == 1) & (result > 0) & (result < np.inf)
                assert ties.sum() > 1000, (name, operation)
                assert ((result > 0) & (result < fmt.min_normal)).sum() > 1000, (name, operation)
                assert (np.isinf(result) & np.isfinite(a) & np.isfinite(b) & (b != 0)).sum() > 100, (name, operation)
        with np.errstate(all="ignore"):
            assert ((np.abs(a + b) < np.abs(a) / 64) & (a + b != 0)).sum() > 500, name


MIXED = [
    ("fp32", "fp32", "bf16"),  # an fp32 maximum subtracted into a bf16 score
    ("fp32", "bf16", "bf16"),  # an fp32 probability onto a bf16 state
    ("bf16", "fp32", "fp32"),
    ("fp32", "fp32", "fp8_e4m3"),
    ("fp32", "fp16", "fp8_e5m2"),
    ("fp16", "bf16", "fp16"),
    ("fp8_e4m3", "fp8_e5m2", "fp16"),
]


def adversarial(first: str, second: str, result: str, count: int) -> tuple[Values, Values]:
    """Operands whose sum, product or quotient lies on, or a hair beside, a tie of the result format."""
    rng = np.random.default_rng(29)
    target = FORMATS[result]
    bits = rng.integers(0, 1 << target.width_bits, count, dtype=np.uint64)
    value = np.nan_to_num(values_of(bits, result), nan=1.0, posinf=2.0, neginf=-2.0)
    _, exponent = np.frexp(value)
    tie = value + np.ldexp(0.5, np.maximum(exponent - 1, target.emin) - target.mantissa_bits)
    a = cast_once(tie, first)
    hair = values_of(rng.integers(0, 1 << FORMATS[second].width_bits, count, dtype=np.uint64), second)
    half = count // 2
    b = np.concatenate([hair[:half], cast_once(np.exp2(rng.integers(-3, 3, count - half)), second)])
    quotient = slice(half, None, 2)  # a close to tie * b
    b[quotient] = cast_once(rng.uniform(1.0, 2.0, b[quotient].size), second)
    a[quotient] = cast_once(tie[quotient] * b[quotient], first)
    a, b = a[np.isfinite(a) & np.isfinite(b)], b[np.isfinite(a) & np.isfinite(b)]
    return a, b


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize(("first", "second", "result"), MIXED)
def test_mixed_formats_round_once_from_the_exact_result(first: str, second: str, result: str, subnormals: str) -> None:
    fmt = FORMATS[result]
    r = fmt.rounding(subnormals)
    a, b = adversarial(first, second, result, 1200)
    for x, y in zip(a.tolist(), b.tolist(), strict=True):
        p, q = Fraction(x), Fraction(y)
        negative_sum = np.signbit(x) and np.signbit(y)
        negative_difference = np.signbit(x) and not np.signbit(y)
        opposite = np.signbit(x) != np.signbit(y)
        cases = [
            ("add", add(x, y, r), p + q, negative_sum),
            ("sub", sub(x, y, r), p - q, negative_difference),
            ("mul", mul(x, y, r), p * q, opposite),
        ]
        if y != 0:
            cases.append(("div", div(x, y, r), p / q, opposite))
        for operation, got, exact, negative in cases:
            want = round_fraction(exact, fmt, subnormals, bool(negative))
            same = np.float64(got).view(np.int64) == np.float64(want).view(np.int64)
            assert same, (operation, x.hex(), y.hex(), float(got).hex(), want.hex())


def test_mixed_operands_do_meet_double_rounding() -> None:
    """Without rounding to odd the mixed sums would be wrong: the plain binary64 route fails on these operands."""
    a, b = adversarial("fp32", "fp32", "bf16", 1200)
    fmt = FORMATS["bf16"]
    naive = cast_once(a + b, "bf16")
    exact = np.array([round_fraction(Fraction(x) + Fraction(y), fmt) for x, y in zip(a, b, strict=True)])
    assert (naive != exact).sum() > 50


def test_maximum_takes_nan_and_positive_zero() -> None:
    special = special_values(FORMATS["fp32"])
    a, b = (side.reshape(-1) for side in np.meshgrid(special, special))
    got = binary("maximum", a, b, FORMATS["fp32"].rounding())
    assert_same_bits(got, wide_maximum(a, b), a, b)
    assert_same_bits(got, binary("maximum", b, a, FORMATS["fp32"].rounding()), a, b)
