"""What goes into an array: matrices of one format, in the type that its engine calculates in.

float32 where the CPU's own binary32 operations *are* the hardware's: sums in fp32, subnormals kept, operands of at most
24 significant bits (Numba contracts nothing). float64 likewise for fp64 sums. int32 for int8 and int32. Everything
else is float64 with every operation rounded by `accel_sim.numerics`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.config.errors import ConfigError
from accel_sim.machines.integers import INTEGERS
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.arithmetic import mul_vs
from accel_sim.numerics.formats import FORMATS, Rounding


class Rule(NamedTuple):
    """How a PE rounds where the CPU does not do it by itself.

    sum: rounding of products and sums. tiny: an operand below it reads as a zero of its sign.
    """

    sum: Rounding
    tiny: float


def native_type(machine: SystolicArray) -> type[np.generic]:
    """The NumPy type of the values in the engine's registers: float32, float64 or int32."""
    if machine.sum == "int32":
        return np.int32
    return np.float32 if machine.sum == "fp32" and machine.subnormals == "keep" else np.float64


def rule_of(machine: SystolicArray) -> Rule | None:
    """How products and sums round; None where the CPU's operations on `native_type` do it."""
    if machine.sum == "int32" or (machine.sum in ("fp32", "fp64") and machine.subnormals == "keep"):
        return None
    rounding = FORMATS[machine.sum].rounding(machine.subnormals)
    return Rule(rounding, FORMATS[machine.operand].rounding(machine.subnormals).flush_below)


def constants(machine: SystolicArray) -> NDArray[Any]:
    """(2,) of the native type: zero, and what a NaN becomes (for integers, which have none, zero)."""
    kind = native_type(machine)
    return np.array([0, 0 if kind is np.int32 else np.nan], dtype=kind)


def load_matrix(values: Any, machine: SystolicArray, name: str) -> NDArray[Any]:
    """A matrix of operands, in the native type, contiguous.

    Floating values are rounded once into the operand format, to nearest even. ConfigError unless `values` is a
    matrix of numbers with at least one element, and for int8 unless all of them are integers from −128 to 127.
    """
    array = np.asarray(values)
    if array.ndim != 2 or not array.size or not (np.issubdtype(array.dtype, np.number) or array.dtype.kind == "V"):
        raise ConfigError(f"{name} must be a matrix of numbers, not of shape {array.shape} and type {array.dtype}")
    if np.iscomplexobj(array):
        raise ConfigError(f"{name} must be real, not {array.dtype}")
    if machine.operand in INTEGERS:
        fmt = INTEGERS[machine.operand]
        wide = array.astype(np.float64)
        wrong = ~((wide >= fmt.lowest) & (wide <= fmt.highest) & (np.floor(wide) == wide))
        if wrong.any():
            raise ConfigError(f"{name} must hold integers from {fmt.lowest} to {fmt.highest}, "
                              f"not {array[wrong].flat[0]!s}")
        return np.ascontiguousarray(wide, dtype=native_type(machine))
    source = np.ascontiguousarray(array, dtype=np.float64).reshape(-1)
    rounded = np.empty_like(source)
    mul_vs(rounded, source, 1.0, FORMATS[machine.operand].rounding(), 0.0)
    return rounded.reshape(array.shape).astype(native_type(machine))
