"""What `accel_sim.numerics` says about each arithmetic unit, and operands that seek out trouble in any mix of formats."""

from __future__ import annotations

import numpy as np
from numerics.drivers import each_exp_pwl, each_reciprocal, each_round
from numpy.typing import NDArray

from accel_sim.numerics import arithmetic, dot, exp, reciprocal
from accel_sim.numerics.formats import Format
from accel_sim.numerics.jit import kernel
from accel_sim.rtl.units import BINARY, DOT, Bits, Unit, UnitBench

Values = NDArray[np.float64]

_add, _sub, _mul, _div, _maximum = (
    arithmetic.add, arithmetic.sub, arithmetic.mul, arithmetic.div, arithmetic.maximum,
)  # fmt: skip
_fused = dot.fused_sum


@kernel
def each_add(out, a, b, r):
    for i in range(out.size):
        out[i] = _add(a[i], b[i], r)


@kernel
def each_sub(out, a, b, r):
    for i in range(out.size):
        out[i] = _sub(a[i], b[i], r)


@kernel
def each_mul(out, a, b, r):
    for i in range(out.size):
        out[i] = _mul(a[i], b[i], r)


@kernel
def each_div(out, a, b, r):
    for i in range(out.size):
        out[i] = _div(a[i], b[i], r)


@kernel
def each_max(out, a, b, r):
    for i in range(out.size):
        out[i] = _maximum(a[i], b[i])


@kernel
def each_fused(out, x, digits, r, tiny):
    for i in range(out.size):
        out[i] = _fused(x[i], x.shape[1], digits, r, tiny)


_PAIRWISE = {"fp_add": each_add, "fp_sub": each_sub, "fp_mul": each_mul, "fp_div": each_div, "fp_max": each_max}


def read(bits: Bits, fmt: Format, flush: bool) -> Values:
    """The values that a unit reads: subnormals are zeros of their sign when it flushes."""
    values = fmt.decode(bits)
    return np.where(np.abs(values) < fmt.min_normal, np.copysign(0.0, values), values) if flush else values


def expected(unit: Unit, a: Bits, b: Bits | None) -> Bits:
    """The unit's results by the simulator's own scalar kernels, as patterns."""
    r = unit.format_y.rounding("flush" if unit.flush else "keep")
    if unit.module == "fp_abs_le":
        assert b is not None
        size, limit = np.abs(unit.format_a.decode(a)), unit.format_b.decode(b)
        return ((size <= limit) & (size < np.inf)).astype(np.uint64)
    out = np.empty(len(a))
    if unit.module == DOT:
        tiny = unit.format_a.rounding("flush" if unit.flush else "keep").flush_below
        each_fused(out, unit.format_a.decode(a), np.zeros(dot.fused_digits(), np.int64), r, tiny)
        return unit.format_y.encode(out)
    x = read(a, unit.format_a, unit.flush)
    if b is not None:
        _PAIRWISE[unit.module](out, x, read(b, unit.format_b, unit.flush), r)
    elif unit.module == "fp_cvt":
        each_round(out, x, r)
    elif unit.module == "fp_exp_pwl":
        each_exp_pwl(out, x, exp.exp_pwl_table(unit.pieces), r)
    else:
        each_reciprocal(out, x, reciprocal.reciprocal_table(unit.pieces), r)
    return unit.format_y.encode(out)


def specials(fmt: Format) -> Bits:
    """Zeros, the ends of the ranges and their neighbours, one, infinities and several NaNs; both signs."""
    m, e = fmt.mantissa_bits, fmt.exponent_bits
    ones, top = (1 << m) - 1, ((1 << e) - 1) << m
    sizes = [0, 1, 2, 3, ones - 1, ones, 1 << m, (1 << m) + 1, fmt.bias << m, (fmt.bias << m) + 1, (fmt.bias << m) - 1]
    sizes += [(fmt.bias + 1) << m, top - 1, top, top + 1, top | (1 << (m - 1)), top | ones]
    return np.array([size | sign << (m + e) for size in sizes for sign in (0, 1)], dtype=np.uint64)


class _Draw:
    """Random patterns, field by field."""

    def __init__(self, seed: int, count: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.count = count

    def even(self, fmt: Format) -> Bits:
        """Every pattern alike."""
        return self.rng.integers(0, 1 << fmt.width_bits, self.count, dtype=np.uint64)

    def exponents(self, fmt: Format) -> NDArray[np.int64]:
        """Any exponent of the format."""
        return self.rng.integers(0, 1 << fmt.exponent_bits, self.count) - fmt.bias

    def around(self, centre: NDArray[np.int64] | int, reach: int) -> NDArray[np.int64]:
        return centre + self.rng.integers(-reach, reach + 1, self.count)

    def with_exponents(self, fmt: Format, exponents: NDArray[np.int64], short: bool) -> Bits:
        """Random sign and fraction; with `short` only some leading fraction bits, or all of them set below those."""
        m, e = fmt.mantissa_bits, fmt.exponent_bits
        fraction = self.rng.integers(0, 1 << m, self.count)
        if short:
            low = (1 << self.rng.integers(0, m + 1, self.count)) - 1
            fraction = np.where(self.rng.integers(0, 4, self.count) == 0, fraction | low, fraction & ~low)
        field = np.clip(exponents + fmt.bias, 0, (1 << e) - 1)
        sign = self.rng.integers(0, 2, self.count)
        return (sign << (m + e) | field << m | fraction).astype(np.uint64)


def pairs(unit: Unit, count: int, seed: int) -> tuple[Bits, Bits]:
    """At least `count` operand pairs (a multiple of 8), in equal parts:

    even patterns; near exponents, with long and with short fractions (cancellation, ties of sums and products, a long
    operand just beside a tie); results around both ends of the result's range, for sums, products and quotients; one
    operand the other's own pattern but for the last bits; and all pairs of special patterns.
    """
    fa, fb, fy = unit.format_a, unit.format_b, unit.format_y
    draw = _Draw(seed, count // 8)
    reach = fa.mantissa_bits + fb.mantissa_bits + fy.mantissa_bits + 6
    first, second = [draw.even(fa)], [draw.even(fb)]
    for short in (False, True):
        at = draw.exponents(fa)
        first.append(draw.with_exponents(fa, at, short))
        second.append(draw.with_exponents(fb, draw.around(at, reach), short))
    for short in (False, True):
        at = draw.exponents(fa)
        first.append(draw.with_exponents(fa, at, short))
        second.append(draw.with_exponents(fb, draw.around(at, 2), short))
    end = draw.around(np.where(draw.rng.integers(0, 2, draw.count) == 1, fy.emax, fy.emin), fy.mantissa_bits + 3)
    short = bool(draw.rng.integers(0, 2))
    at = draw.exponents(fa)
    partner = np.where(draw.rng.integers(0, 2, draw.count) == 1, end - at, at - end)  # a product, or a quotient
    first.append(draw.with_exponents(fa, at, short))
    second.append(draw.with_exponents(fb, partner, short))
    first.append(draw.with_exponents(fa, end, True))
    second.append(draw.with_exponents(fb, draw.around(end, 3), True))
    a = draw.even(fa)
    with np.errstate(invalid="ignore"):
        twin = fb.encode(np.nan_to_num(arithmetic_cast(fa.decode(a), fb)))
    first.append(a)
    second.append(twin ^ draw.rng.integers(0, 4, draw.count, dtype=np.uint64)
                  ^ (draw.rng.integers(0, 2, draw.count, dtype=np.uint64) << np.uint64(fb.width_bits - 1)))  # fmt: skip
    left, right = (side.reshape(-1) for side in np.meshgrid(specials(fa), specials(fb)))
    return np.concatenate([*first, left]), np.concatenate([*second, right])


def arithmetic_cast(values: Values, fmt: Format) -> Values:
    """Values rounded into a format."""
    out = np.empty_like(values)
    each_round(out, values, fmt.rounding())
    return out


def singles(unit: Unit, count: int, seed: int) -> Bits:
    """Every pattern of a format of up to 16 bits; else `count` even ones, as many of moderate size, and specials."""
    fmt = unit.format_a
    if fmt.width_bits <= 16:
        return np.arange(1 << fmt.width_bits, dtype=np.uint64)
    draw = _Draw(seed, count // 3)
    moderate = draw.with_exponents(fmt, draw.around(0, 14), False)
    ends = np.where(draw.rng.integers(0, 2, draw.count) == 1, unit.format_y.emax, unit.format_y.emin)
    edge = draw.with_exponents(fmt, draw.around(ends, unit.format_y.mantissa_bits + 3), True)
    parts = [draw.even(fmt), moderate, edge, specials(fmt)]
    if unit.module == "fp_exp_pwl" and fmt.name == "fp64":
        parts.append(double_ties(draw))
    return np.concatenate(parts)


def double_ties(draw: _Draw) -> Bits:
    """fp64 arguments whose product with log2 e is at or beside a tie twice: as a binary64 number, and then at 2^-24.

    With 26 trailing zeros in the significand k * 2^26, the bits of k * LOG2E that lie below 2^-24 are its last n, and
    k can be chosen for any value of those.
    """
    parts = []
    for exponent in range(3, 10):
        n = 29 - exponent
        wanted = (1 << (n - 1)) + draw.rng.integers(-3, 4, draw.count // 100)
        k = wanted * pow(exp.LOG2E_INTEGER, -1, 1 << n) + (draw.rng.integers(0, 1 << 26, wanted.size) << n)
        sign = draw.rng.integers(0, 2, wanted.size).astype(np.uint64) << np.uint64(63)
        parts.append(sign | np.uint64((exponent + 1023) << 52) | (k % (1 << 26)).astype(np.uint64) << np.uint64(26))
    return np.concatenate(parts)


def products(unit: Unit, count: int, seed: int) -> Bits:
    """Rows of product registers: even patterns, near exponents, rows that cancel, tiny beside large, specials."""
    fmt, n = unit.format_a, unit.terms
    draw = _Draw(seed, count // 5)
    at = draw.exponents(fmt)
    rows = [np.stack([draw.even(fmt) for _ in range(n)], 1)]
    rows.append(np.stack([draw.with_exponents(fmt, draw.around(at, 4), True) for _ in range(n)], 1))
    rows.append(np.stack([draw.with_exponents(fmt, draw.around(at, 60), False) for _ in range(n)], 1))
    middle = np.stack([draw.with_exponents(fmt, draw.around(at, fmt.mantissa_bits), True) for _ in range(n)], 1)
    if n > 1:  # the first two cancel, or nearly
        wobble = draw.rng.integers(0, 2, draw.count, dtype=np.uint64)
        middle[:, 1] = middle[:, 0] ^ np.uint64(1 << (fmt.width_bits - 1)) ^ wobble
    rows.append(middle)
    chosen = specials(fmt)
    rows.append(chosen[draw.rng.integers(0, chosen.size, (draw.count, n))])
    return np.concatenate(rows)


def operands(unit: Unit, count: int, seed: int = 0) -> tuple[Bits, Bits | None]:
    """Operands for a unit: all pairs of 8-bit formats, all patterns of one narrow operand, else about `count`."""
    if unit.module == DOT:
        return products(unit, count, seed), None
    if unit.module not in BINARY:
        return singles(unit, count, seed), None
    if unit.format_a.width_bits == 8 and unit.format_b.width_bits == 8:
        a, b = np.meshgrid(np.arange(256, dtype=np.uint64), np.arange(256, dtype=np.uint64))
        return a.reshape(-1), b.reshape(-1)
    return pairs(unit, count, seed)


def check(bench: UnitBench, unit: Unit, count: int, seed: int = 0) -> int:
    """Hold the unit against the numerics on about `count` operands. Returns how many there were."""
    a, b = operands(unit, count, seed)
    got, want = bench.run(unit, a, b), expected(unit, a, b)
    wrong = np.flatnonzero(got != want)
    if wrong.size:
        i = wrong[0]
        case = [f"{int(word):#x}" for word in np.atleast_1d(a[i])] + ([] if b is None else [f"{int(b[i]):#x}"])
        raise AssertionError(f"{unit}: {wrong.size} of {got.size} differ; first at {', '.join(case)}: "
                             f"got {int(got[i]):#x}, want {int(want[i]):#x}")  # fmt: skip
    return int(got.size)
