"""A vector kernel is its scalar kernel on every element, bit for bit, at every length; a tree is its levels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from accel_sim.numerics import (
    FORMATS,
    Rounding,
    add,
    add_vv,
    div,
    div_vs,
    mul,
    mul_vs,
    mul_vv,
    quiet,
    scale_add,
    tree_level,
    tree_sum,
)
from accel_sim.numerics.arithmetic import fold

from .reference import ALL, SUBNORMALS, Values, assert_same_bits, cast_once, operand_pairs, special_values

LENGTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 100)
every_format = pytest.mark.parametrize(("name", "subnormals"), [(n, s) for n in ALL for s in SUBNORMALS])


def operands(name: str) -> Iterator[tuple[Values, Values, float]]:
    """Two vectors of the format and a scalar, at each length, with troublesome values and specials among them."""
    fmt = FORMATS[name]
    a, b = operand_pairs(name, 4000, seed=41)
    rng = np.random.default_rng(43)
    scalars = [1.0, 0.5, 3.0, -0.0, np.nan, fmt.min_subnormal, fmt.max_finite, 1.0 - 2.0**-fmt.precision]
    integers = rng.integers(-(1 << fmt.precision), 1 << fmt.precision, 4000).astype(np.float64)
    for turn, length in enumerate(LENGTHS * 3):
        pick = rng.integers(0, a.size, length)
        left, right = a[pick], b[pick]
        if turn % 3:  # no specials to drown everything: around one, and where subnormals meet the smallest normals
            unit = 2.0**-fmt.mantissa_bits if turn % 3 == 1 else fmt.min_subnormal
            left, right = rng.choice(integers, length) * unit, rng.choice(integers, length) * unit
        yield left, right, scalars[turn % len(scalars)]


def filled(values: list[float]) -> Values:
    return np.array(values, dtype=np.float64)


@every_format
def test_vector_kernels_equal_scalar_kernels(name: str, subnormals: str) -> None:
    r = FORMATS[name].rounding(subnormals)
    tiny = r.flush_below
    for a, b, raw in operands(name):
        s = quiet(raw, r)
        qa, qb = [quiet(x, r) for x in a.tolist()], [quiet(x, r) for x in b.tolist()]
        cases = [
            (mul_vs, (a, s, r, tiny), [mul(x, s, r) for x in qa]),
            (div_vs, (a, s, r, tiny), [div(x, s, r) for x in qa]),
            (mul_vv, (a, b, r, tiny, tiny), [mul(x, y, r) for x, y in zip(qa, qb, strict=True)]),
            (add_vv, (a, b, r, tiny, tiny), [add(x, y, r) for x, y in zip(qa, qb, strict=True)]),
            (scale_add, (s, b, r, tiny, tiny), [add(mul(x, s, r), y, r) for x, y in zip(qa, qb, strict=True)]),
        ]
        for kernel, arguments, want in cases:
            memory = np.full(a.size + 2, -7.0)
            out = memory[1:-1]
            out[:] = a if kernel is scale_add else np.nan
            kernel(out, *arguments)
            assert_same_bits(out, filled(want), a, note=f"{kernel.__name__}, length {a.size}")
            assert memory[0] == memory[-1] == -7.0, f"{kernel.__name__} wrote outside"


@every_format
def test_an_output_may_be_the_input_itself(name: str, subnormals: str) -> None:
    r = FORMATS[name].rounding(subnormals)
    tiny = r.flush_below
    for a, b, s in operands(name):
        apart, same = np.empty_like(a), a.copy()
        mul_vs(apart, a, s, r, tiny)
        mul_vs(same, same, s, r, tiny)
        assert_same_bits(same, apart)
        same = b.copy()
        add_vv(apart, a, b, r, tiny, tiny)
        add_vv(same, a, same, r, tiny, tiny)
        assert_same_bits(same, apart)


@pytest.mark.parametrize("kernel", [mul_vs, div_vs])
def test_flush_thresholds_belong_to_the_operand_not_the_result(kernel) -> None:
    r = FORMATS["fp32"].rounding("flush")
    a = np.array([2.0**-127, -(2.0**-127), 2.0**-126, 1.0])
    out = np.empty_like(a)
    kernel(out, a, 1.0, r, 0.0)
    assert_same_bits(out, np.array([0.0, -0.0, 2.0**-126, 1.0]))
    kernel(out, a, 2.0**-10 if kernel is div_vs else 2.0**10, r, 0.0)
    assert_same_bits(out, a * 1024)
    kernel(out, a, 2.0**-10 if kernel is div_vs else 2.0**10, r, 2.0**-126)
    assert_same_bits(out, np.array([0.0, -0.0, 2.0**-116, 1024.0]))


@pytest.mark.parametrize("name", ["fp32", "fp16", "bf16"])
def test_division_is_no_multiplication_by_a_reciprocal(name: str) -> None:
    """Quotients halfway between subnormals tell the two apart."""
    fmt = FORMATS[name]
    a = np.arange(1.0, 257.0) * fmt.min_subnormal
    out = np.empty_like(a)
    for s in np.arange(3.0, 257.0):
        div_vs(out, a, s, fmt.rounding(), 0.0)
        assert_same_bits(out, cast_once(a / s, name), a, note=f"by {s}")


def level_by_hand(x: list[float], r: Rounding) -> list[float]:
    """One tree level as the machine pages state it: element i with element i + ceil(n/2), the odd one passes."""
    half = (len(x) + 1) // 2
    sums = [add(quiet(x[i], r), quiet(x[i + half], r), r) for i in range(len(x) - half)]
    return sums + x[len(x) - half : half]


@every_format
def test_tree_levels_and_whole_tree(name: str, subnormals: str) -> None:
    r = FORMATS[name].rounding(subnormals)
    for x, _, _ in operands(name):
        if x.size == 0:
            continue
        level = x.tolist()
        out = np.full(x.size + 1, -7.0)
        tree_level(out, x, x.size, r, r.flush_below)
        level = level_by_hand(level, r)
        assert_same_bits(out[: len(level)], filled(level), note=f"level of {x.size}")
        assert (out[len(level) :] == -7.0).all()
        while len(level) > 1:
            level = level_by_hand(level, r)
        want = filled(level)
        assert_same_bits(filled([tree_sum(out, x, x.size, r, r.flush_below)]), want, note=f"tree of {x.size}")
        same = x.copy()
        assert_same_bits(filled([tree_sum(same, same, x.size, r, r.flush_below)]), want, note="scratch is x")
        same = x.copy()
        assert_same_bits(filled([fold(same, x.size, r)]), want, note="fold")


def test_an_odd_element_passes_untouched() -> None:
    """A register move is no operation: neither flush nor a NaN payload changes on the way."""
    r = FORMATS["bf16"].rounding("flush")
    payload = FORMATS["bf16"].decode(np.array([0xFF81], dtype=np.uint16))[0]
    for passing in (payload, FORMATS["bf16"].min_subnormal):
        x, out = np.array([1.0, passing, 2.0]), np.zeros(2)
        tree_level(out, x, 3, r, r.flush_below)
        assert_same_bits(out, np.array([3.0, passing]))


def test_empty_and_single_trees() -> None:
    r = FORMATS["bf16"].rounding()
    assert tree_sum(np.zeros(1), np.zeros(0), 0, r, 0.0) == 0.0
    assert tree_sum(np.zeros(1), np.array([-0.0]), 1, r, 0.0).hex() == "-0x0.0p+0"


def test_specials_are_where_the_kernels_meet_them() -> None:
    """The operands above do hold NaN, infinities, zeros of both signs and subnormals."""
    for name in ALL:
        values = np.concatenate([a for a, _, _ in operands(name)])
        assert np.isnan(values).any()
        assert (values == 0).any()
        assert ((values != 0) & (np.abs(values) < FORMATS[name].min_normal)).any()
        assert np.isinf(values).any() == np.isinf(special_values(FORMATS[name])).any()
