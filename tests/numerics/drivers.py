"""Compiled loops that apply a scalar kernel to whole arrays, so that millions of cases take a moment."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accel_sim.numerics import arithmetic, exp, reciprocal, rounding
from accel_sim.numerics.formats import Codec, Rounding
from accel_sim.numerics.jit import kernel

from .reference import Values

_add, _sub, _mul, _div, _maximum = (
    arithmetic.add,
    arithmetic.sub,
    arithmetic.mul,
    arithmetic.div,
    arithmetic.maximum,
)
_round_to, _quiet = rounding.round_to, rounding.quiet
_flip, _force = rounding.flip_bits, rounding.force_bits
_exp_exact, _exp_pwl, _reciprocal = exp.exp_exact, exp.exp_pwl, reciprocal.reciprocal_pwl


@kernel
def each_add(out, a, b, r):
    for i in range(out.size):
        out[i] = _add(_quiet(a[i], r), _quiet(b[i], r), r)


@kernel
def each_sub(out, a, b, r):
    for i in range(out.size):
        out[i] = _sub(_quiet(a[i], r), _quiet(b[i], r), r)


@kernel
def each_mul(out, a, b, r):
    for i in range(out.size):
        out[i] = _mul(_quiet(a[i], r), _quiet(b[i], r), r)


@kernel
def each_div(out, a, b, r):
    for i in range(out.size):
        out[i] = _div(_quiet(a[i], r), _quiet(b[i], r), r)


@kernel
def each_maximum(out, a, b, r):
    for i in range(out.size):
        out[i] = _maximum(_quiet(a[i], r), _quiet(b[i], r))


@kernel
def each_round(out, x, r):
    for i in range(out.size):
        out[i] = _round_to(x[i], r)


@kernel
def each_quiet(out, x, r):
    for i in range(out.size):
        out[i] = _quiet(x[i], r)


@kernel
def each_exp(out, x, r):
    for i in range(out.size):
        out[i] = _exp_exact(x[i], r)


@kernel
def each_exp_pwl(out, x, table, r):
    for i in range(out.size):
        out[i] = _exp_pwl(x[i], table, r)


@kernel
def each_reciprocal(out, x, table, r):
    for i in range(out.size):
        out[i] = _reciprocal(x[i], table, r)


@kernel
def each_flip(out, x, arith, stored, masks):
    for i in range(out.size):
        out[i] = _flip(x[i], arith, stored, masks[i])


@kernel
def each_force(out, x, arith, stored, masks, forced):
    for i in range(out.size):
        out[i] = _force(x[i], arith, stored, masks[i], forced[i])


BINARY: dict[str, Callable] = {
    "add": each_add,
    "sub": each_sub,
    "mul": each_mul,
    "div": each_div,
    "maximum": each_maximum,
}


def binary(operation: str, a: Values, b: Values, r: Rounding) -> Values:
    """The operation on each pair, operands read as r's machine reads them."""
    out = np.empty_like(a)
    BINARY[operation](out, a, b, r)
    return out


def rounded(x: Values, r: Rounding) -> Values:
    """`round_to` of each."""
    out = np.empty_like(x)
    each_round(out, x, r)
    return out


def flipped(x: Values, arith: Codec, stored: Codec, masks: np.ndarray) -> Values:
    """`flip_bits` of each value by its own mask."""
    out = np.empty_like(x)
    each_flip(out, x, arith, stored, masks.astype(np.uint64))
    return out


def forced(x: Values, arith: Codec, stored: Codec, masks: np.ndarray, values: np.ndarray) -> Values:
    """`force_bits` of each value by its own masks."""
    out = np.empty_like(x)
    each_force(out, x, arith, stored, masks.astype(np.uint64), values.astype(np.uint64))
    return out
