"""The registers of an array by hardware name: their values, their bit patterns, and what a fault does to one.

`Registers` owns the kernel's `State` and knows where each register of the inventory stands in it at the moment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import native_type
from accel_sim.arrays.step import CYCLE, ENV_SIZE, FIRST, LAST, LAST_WRITE, PX, VALID, State
from accel_sim.faults.fault import Fault
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.formats import Format

_CONTROL = {"valid": VALID, "first": FIRST, "last": LAST}
_SPARE = 256  # cycles between two rewinds of x: a copy of all its registers is then nothing


def widen(values: NDArray[Any]) -> NDArray[np.float64]:
    """float32 as float64, bit for bit: a conversion would make a signalling NaN quiet."""
    wide = values.astype(np.float64)
    odd = np.isnan(values)
    if odd.any():
        bits = values[odd].view(np.uint32).astype(np.uint64)
        sign, fraction = bits >> np.uint64(31), bits & np.uint64(0x7FFFFF)
        wide[odd] = (sign << np.uint64(63) | np.uint64(0x7FF << 52) | fraction << np.uint64(29)).view(np.float64)
    return wide


def narrow(values: NDArray[np.float64]) -> NDArray[np.float32]:
    """float64 values that float32 can hold as float32, bit for bit: the inverse of `widen`."""
    with np.errstate(invalid="ignore"):
        small = values.astype(np.float32)
    odd = np.isnan(values)
    if odd.any():
        bits = values[odd].view(np.uint64)
        sign, fraction = bits >> np.uint64(63), (bits >> np.uint64(29)) & np.uint64(0x7FFFFF)
        small[odd] = (sign << np.uint64(31) | np.uint64(0xFF << 23) | fraction).astype(np.uint32).view(np.float32)
    return small


def patterns(values: NDArray[Any], fmt: Format) -> NDArray[np.uint64]:
    """Bit patterns in `fmt` of values of a native type, same shape."""
    with np.errstate(invalid="ignore"):
        return fmt.encode(widen(values) if values.dtype == np.float32 else values)


def values_of(bits: NDArray[np.uint64], fmt: Format, kind: type[np.generic]) -> NDArray[Any]:
    """Values of the native type `kind` of bit patterns in `fmt`: the inverse of `patterns`."""
    wide = fmt.decode(bits)
    return narrow(wide) if kind is np.float32 else wide.astype(kind)


def struck(bits: int, fault: Fault) -> int:
    """A stored pattern after one strike of `fault`."""
    if fault.kind == "stuck0":
        return bits & ~fault.mask
    if fault.kind == "stuck1":
        return bits | fault.mask
    return bits ^ fault.mask


class Registers:
    """The state of one array at the start of a cycle, at reset at first: all zero, but the rows' `load` set."""

    def __init__(self, machine: SystolicArray) -> None:
        rows, cols, kind = machine.rows, machine.cols, native_type(machine)
        line = rows + cols - 2
        width = max(2 * line, line + _SPARE) + 1
        self.machine = machine
        self.state = State(
            x=np.zeros((rows, width), kind), x_bits=np.zeros((rows, width), np.int32),
            y=np.zeros((rows + cols, cols), kind), y_bits=np.zeros((rows + cols, cols), np.int32),
            s=np.zeros((rows, cols), kind), load=np.full(rows, int(machine.dataflow.loads), np.int32),
            env=np.zeros(ENV_SIZE, np.int64), bus=np.full(cols, -1, np.int64),
        )
        self.state.env[PX] = width - line
        self.state.env[LAST_WRITE] = -1
        x_line = [(r, j) for r in range(rows) for j in range(1, r + 1)]
        y_line = [(c, j) for c in range(cols) for j in range(1, c + 1)]
        self._x_line = np.array(x_line, dtype=np.int64).reshape(-1, 2).T
        self._y_line = np.array(y_line, dtype=np.int64).reshape(-1, 2).T

    @property
    def cycle(self) -> int:
        """The cycle that is about to begin."""
        return int(self.state.env[CYCLE])

    def _places(self, name: str) -> tuple[NDArray[Any], tuple[NDArray[Any], ...], int]:
        """Where the array of registers `name` stands: (array of the state, its indices, control bit or 0)."""
        state, machine, px = self.state, self.machine, int(self.state.env[PX])
        if name == "s":
            return state.s, tuple(np.indices(state.s.shape)), 0
        if name == "load":
            return state.load, (np.arange(machine.rows),), VALID
        line, _, rest = name.partition("_")
        skewed = rest.startswith("skew")
        control = rest.removeprefix("skew").removeprefix("_")
        bit = _CONTROL[control] if control else 0
        if line == "x":
            array = state.x_bits if bit else state.x
            if skewed:
                row, stage = self._x_line
                return array, (row, px + stage - 1), bit
            row, col = np.indices((machine.rows, machine.cols - 1))
            return array, (row, px + row + col), bit
        array = state.y_bits if bit else state.y
        lines = state.y.shape[0]
        if skewed:
            col, stage = self._y_line
            return array, ((self.cycle - stage + col) % lines, col), bit
        row, col = np.indices((machine.rows - 1, machine.cols))
        return array, ((self.cycle - row - 1) % lines, col), bit

    def values(self, name: str) -> NDArray[Any]:
        """What the registers `name` hold, in their shape: the native type, or 0 and 1 for a control bit."""
        array, at, bit = self._places(name)
        held: NDArray[Any] = array[at]
        return (held & bit != 0).astype(np.int64) if bit else held

    def patterns(self) -> NDArray[np.uint64]:
        """(slots,) uint64: the stored bits of every register, in the order of the inventory."""
        parts = []
        for register in self.machine.inventory:
            held = self.values(register.name)
            bits = held.astype(np.uint64) if register.role == "control" else patterns(held, register.format)
            parts.append(bits.reshape(-1))
        return np.concatenate(parts)

    def strike(self, fault: Fault) -> None:
        """Let `fault`, which has been checked, act on its register now."""
        register = self.machine.inventory[fault.register]
        array, at, bit = self._places(fault.register)
        place = tuple(int(axis[fault.index]) for axis in at)
        if bit:
            on = struck(int(bool(array[place] & bit)), fault)
            array[place] = (int(array[place]) & ~bit) | (bit if on else 0)
            return
        one = np.array([array[place]])
        bits = struck(int(patterns(one, register.format)[0]), fault)
        array[place] = values_of(np.array([bits], np.uint64), register.format, array.dtype.type)[0]
