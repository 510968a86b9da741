"""Random products and faults for the tests of arrays."""

from __future__ import annotations

import numpy as np

from accel_sim.faults.fault import Fault
from accel_sim.machines.integers import INTEGERS
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.formats import FORMATS


def matrix(rng: np.random.Generator, shape: tuple[int, int], operand: str, wild: bool = False) -> np.ndarray:
    """Random operands: of ordinary size, or (wild) any bit pattern of the format, NaN and infinity included."""
    if operand in INTEGERS:
        return rng.integers(-128, 128, shape).astype(np.float64)
    fmt = FORMATS[operand]
    if wild:
        bits = rng.integers(0, 2 ** min(fmt.width_bits, 63), shape, dtype=np.uint64)
        values = fmt.decode(bits)
        return np.where(np.isnan(values), np.nan, values)  # operands come in with the canonical NaN
    from accel_sim.arrays.operands import load_matrix

    return load_matrix(rng.normal(size=shape), SystolicArray(1, 1, "os", operand, "fp64"), "A").astype(np.float64)


def fault(rng: np.random.Generator, machine: SystolicArray, cycles: int) -> Fault:
    """A fault of any kind, in any register, any bit, any cycle."""
    registers = list(machine.inventory)
    register = registers[rng.integers(len(registers))]
    index = tuple(int(rng.integers(n)) for n in register.shape)
    width = register.width_bits
    kind = ("flip", "burst", "stuck0", "stuck1")[rng.integers(4)]
    bits = int(rng.integers(1, width + 1)) if kind == "burst" else 1
    return Fault(cycle=int(rng.integers(cycles)), register=register.name, index=index,
                 bit=int(rng.integers(width - bits + 1)), kind=kind, bits=bits,
                 duration=int(rng.integers(1, 9)) if kind.startswith("stuck") else 1)
