"""A fused dot is the exact sum rounded once; tree and serial dots are their plain statements."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from accel_sim.numerics import (
    FORMATS,
    Format,
    add,
    dot_fused,
    dot_serial,
    dot_tree,
    fused_digits,
    fused_sum,
    mul,
    product_format,
    quiet,
)

from .reference import (
    ALL,
    SUBNORMALS,
    UP_TO_FP32,
    Values,
    assert_same_bits,
    cast_once,
    operand_pairs,
    round_fraction,
)

RESULTS = [(operand, result) for operand in UP_TO_FP32 for result in ("fp64", "fp32", "bf16")]
RESULTS += [("fp32", "fp8_e4m3"), ("fp16", "fp8_e5m2"), ("bf16", "fp16")]


def digits() -> np.ndarray:
    return np.full(fused_digits(), 12345, dtype=np.int64)  # scratch need not be clean


def vectors(name: str, count: int, seed: int) -> list[tuple[Values, Values]]:
    """Finite operand vectors: far exponents, ordinary ones, full cancellation, and one hair on top of it."""
    rng = np.random.default_rng(seed)
    fmt = FORMATS[name]
    a, b = operand_pairs(name, 4 * count, seed)
    finite = np.isfinite(a) & np.isfinite(b)
    a, b = a[finite], b[finite]
    found = []
    for turn in range(count):
        n = int(rng.integers(1, 12))
        pick = rng.integers(0, a.size, n)
        q, k = a[pick], b[pick]
        if turn % 4 == 1:
            q, k = (cast_once(rng.standard_normal(n), name) for _ in range(2))
        elif turn % 4 == 2:
            q, k = np.concatenate([q, q]), np.concatenate([k, -k])
        elif turn % 4 == 3:
            q = np.concatenate([q, q, [fmt.min_subnormal]])
            k = np.concatenate([k, -k, [rng.choice([1.0, -1.0, fmt.min_subnormal])]])
        order = rng.permutation(q.size)
        found.append((q[order], k[order]))
    return found


def exact_dot(q: Values, k: Values) -> tuple[Fraction, bool]:
    """The exact sum, and whether a zero sum is -0 (every product is)."""
    pairs = list(zip(q.tolist(), k.tolist(), strict=True))
    negative = all((math.copysign(1, x) < 0) != (math.copysign(1, y) < 0) for x, y in pairs)
    return sum((Fraction(x) * Fraction(y) for x, y in pairs), Fraction(0)), negative


@pytest.mark.parametrize(("operand", "result"), RESULTS)
def test_fused_dot_is_the_exact_sum_rounded_once(operand: str, result: str) -> None:
    fmt = FORMATS[result]
    scratch = digits()
    cases = vectors(operand, 400, seed=53)
    got = [dot_fused(q, k, scratch, fmt.rounding(), 0.0) for q, k in cases]
    want = []
    for q, k in cases:
        exact, negative = exact_dot(q, k)
        want.append(round_fraction(exact, fmt, negative=negative))
    assert_same_bits(np.array(got), np.array(want), np.arange(len(want), dtype=np.float64))
    products = [q * k for q, k in cases]
    again = [fused_sum(p, p.size, scratch, fmt.rounding(), 0.0) for p in products]
    assert_same_bits(np.array(again), np.array(want))


@pytest.mark.parametrize("result", ["fp64", *UP_TO_FP32])
def test_fused_ties_and_their_neighbours(result: str) -> None:
    """A sum on a tie of the result, then a hair to either side, however far below the hair lies."""
    fmt = FORMATS[result]
    scratch = digits()
    half = 2.0 ** -fmt.precision
    for odd in (1.0, 1.0 + 2 * half, 1.5, 2.0 - 2 * half):
        for hair in (0.0, *(2.0**-e for e in range(60, 299, 7)), *(-(2.0**-e) for e in range(60, 299, 7))):
            for sign in (1.0, -1.0):
                products = sign * np.array([odd, hair, half])
                exact = sum(map(Fraction, products.tolist()))
                want = round_fraction(exact, fmt)
                assert fused_sum(products, 3, scratch, fmt.rounding(), 0.0) == want, (odd, hair, sign)


def test_fused_holds_the_largest_and_the_smallest_products_of_fp32() -> None:
    fmt, r = FORMATS["fp32"], FORMATS["fp64"].rounding()
    scratch = digits()
    big, small = fmt.max_finite, fmt.min_subnormal
    q = np.array([big, small, -big] * 3000)
    k = np.array([big, small, big] * 3000)
    assert dot_fused(q, k, scratch, r, 0.0) == 3000 * small * small
    n = 100_000
    sums = dot_fused(np.full(n, big), np.full(n, -big), scratch, r, 0.0)
    assert sums == float(-n * Fraction(big) ** 2)
    assert dot_fused(np.full(n, big), np.full(n, big), scratch, fmt.rounding(), 0.0) == math.inf


@pytest.mark.parametrize("name", UP_TO_FP32)
def test_fused_specials_follow_ieee(name: str) -> None:
    r = FORMATS[name].rounding()
    inf = math.inf
    overflow = inf if FORMATS[name].has_inf else math.nan
    cases = [
        ([inf, 1.0], [1.0, 1.0], overflow), ([-inf, inf], [1.0, -2.0], -overflow), ([inf, -inf], [1.0, 1.0], math.nan),
        ([inf, 1.0], [0.0, 1.0], math.nan), ([math.nan, 1.0], [0.0, 1.0], math.nan),
        ([math.nan, inf], [1.0, 1.0], math.nan), ([0.0, -0.0], [1.0, 1.0], 0.0), ([-0.0, 0.0], [1.0, -1.0], -0.0),
        ([1.0, -1.0], [1.0, 1.0], 0.0), ([], [], 0.0),
    ]  # fmt: skip
    for q, k, want in cases:
        got = dot_fused(np.array(q, dtype=float), np.array(k, dtype=float), digits(), r, 0.0)
        assert_same_bits(np.array([got]), np.array([math.nan if math.isnan(want) else want]), note=f"{q} . {k}")


def test_fused_reads_subnormal_operands_as_its_machine_does() -> None:
    r = FORMATS["fp32"].rounding("flush")
    tiny = FORMATS["bf16"].min_normal
    q, k = np.array([tiny / 2, -tiny / 2, 1.0]), np.array([2.0**100, 2.0**100, 2.0**-20])
    assert dot_fused(q, k, digits(), r, tiny) == 2.0**-20
    assert dot_fused(q[:1], k[:1], digits(), r, 0.0) == tiny / 2 * 2.0**100
    assert dot_fused(q[:1], k[:1], digits(), r, tiny) == 0.0
    assert fused_sum(np.array([tiny / 2, 1.0]), 2, digits(), FORMATS["fp64"].rounding(), tiny) == 1.0


def hand_serial(q: list[float], k: list[float], fmt: Format, subnormals: str) -> float:
    r = fmt.rounding(subnormals)
    total = None
    for x, y in zip(q, k, strict=True):
        product = mul(x, y, r)
        total = product if total is None else add(total, product, r)
    return 0.0 if total is None else total


def hand_tree(q: list[float], k: list[float], fmt: Format, subnormals: str) -> float:
    r = fmt.rounding(subnormals)
    level = [mul(x, y, r) for x, y in zip(q, k, strict=True)]
    while len(level) > 1:
        half = (len(level) + 1) // 2
        level = [add(level[i], level[i + half], r) if i + half < len(level) else level[i] for i in range(half)]
    return level[0] if level else 0.0


@pytest.mark.parametrize("subnormals", SUBNORMALS)
@pytest.mark.parametrize("name", ALL)
def test_tree_and_serial_are_their_plain_statements(name: str, subnormals: str) -> None:
    fmt = FORMATS[name]
    r = fmt.rounding(subnormals)
    rng = np.random.default_rng(59)
    cases = vectors(name, 60, seed=61)
    cases += [tuple(cast_once(rng.standard_normal(n), name) for _ in range(2)) for n in (0, 1, 2, 63, 64, 65, 128)]
    for q, k in cases:
        plain = ([quiet(x, r) for x in q.tolist()], [quiet(x, r) for x in k.tolist()], fmt, subnormals)
        scratch = np.full(q.size + 3, np.nan)
        tree, serial = dot_tree(q, k, scratch, r, r.flush_below), dot_serial(q, k, r, r.flush_below)
        assert_same_bits(np.array([tree]), np.array([hand_tree(*plain)]), note=f"tree of {q.size}")
        assert_same_bits(np.array([serial]), np.array([hand_serial(*plain)]), note=f"serial of {q.size}")


def test_serial_fp32_is_numpys_own_float32_loop() -> None:
    rng = np.random.default_rng(67)
    q, k = (rng.standard_normal(200).astype(np.float32) for _ in range(2))
    total = q[0] * k[0]
    for x, y in zip(q[1:], k[1:], strict=True):
        total = np.float32(total + np.float32(x * y))
    assert dot_serial(q.astype(float), k.astype(float), FORMATS["fp32"].rounding(), 0.0) == float(total)


def test_the_three_orders_are_different_machines() -> None:
    rng = np.random.default_rng(71)
    fmt = FORMATS["bf16"]
    q, k = (cast_once(rng.standard_normal(64), "bf16") for _ in range(2))
    r = fmt.rounding()
    assert len({dot_tree(q, k, np.empty(64), r, 0.0), dot_serial(q, k, r, 0.0), dot_fused(q, k, digits(), r, 0.0)}) > 1
    exact, _ = exact_dot(q, k)
    assert dot_fused(q, k, digits(), product_format(fmt).rounding(), 0.0) == round_fraction(exact, product_format(fmt))
