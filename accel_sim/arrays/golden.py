"""The fault-free product, without the registers: the same additions in the same order, so the same bits.

Every dataflow adds the products of an output in the order of k, from zero. Here a row of outputs is formed side by
side, so that the loop over n vectorises.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import constants, load_matrix, native_type, rule_of
from accel_sim.arrays.step import multiply_add
from accel_sim.config.errors import ConfigError
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.jit import inner, kernel

_AT_ONCE = 512  # outputs of a row formed together: they and as many elements of B stay in the first cache


@inner
def add_products(out: Any, a: Any, b: Any, nan: Any, rule: Any) -> None:
    """out[j] = out[j] + a · b[j]."""
    for j in range(out.shape[0]):
        out[j] = multiply_add(out[j], a, b[j], nan, rule)


@kernel
def chains(out: Any, a: Any, b: Any, consts: Any, rule: Any) -> None:
    """out (M, N), zeros: the serial sums over k of a (M, K) times b (K, N), all of the native type."""
    for start in range(0, out.shape[1], _AT_ONCE):
        stop = min(start + _AT_ONCE, out.shape[1])
        for i in range(out.shape[0]):
            row = out[i, start:stop]
            for k in range(a.shape[1]):
                add_products(row, a[i, k], b[k, start:stop], consts[1], rule)


def golden(machine: SystolicArray, a: Any, b: Any) -> NDArray[Any]:
    """A (M × K) times B (K × N) as `machine` computes it: (M, N), native type. The same bits as `SteppedArray`.

    ConfigError if the matrices do not fit each other or the operand format.
    """
    left, right = load_matrix(a, machine, "A"), load_matrix(b, machine, "B")
    if left.shape[1] != right.shape[0]:
        raise ConfigError(f"A has {left.shape[1]} columns and B {right.shape[0]} rows: they must be as many")
    out = np.zeros((left.shape[0], right.shape[1]), native_type(machine))
    chains(out, left, right, constants(machine), rule_of(machine))
    return out
