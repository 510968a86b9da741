"""The fault universe: every stored bit of every register or SRAM word in every cycle, of every head that is run.

`Universe` is a bijection between 0 … size − 1 and (head, cycle, register, element, bit), known without
listing it; a register may be a memory, whose elements are words. `Universe.draw` turns fault numbers into points,
uniformly: the probability of a register is its exposure, bits × cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from accel_sim.machines.inventory import Register
from accel_sim.machines.memories import Memory


class Point(NamedTuple):
    """One point of the universe; `element` counts along the flattened register array."""

    head: int
    cycle: int
    register: int
    element: int
    bit: int


class Points(NamedTuple):
    """Many points, each field an int64 array. `register` indexes `Universe.registers`."""

    head: np.ndarray
    cycle: np.ndarray
    register: np.ndarray
    element: np.ndarray
    bit: np.ndarray


@dataclass(frozen=True)
class Universe:
    """Every bit of `registers` in each of `cycles` cycles of `heads` heads.

    index = (head · cycles + cycle) · bits + bit position, where bit positions run through the registers in
    inventory order, element by element, least significant bit first.
    """

    registers: tuple[Register | Memory, ...]
    cycles: int
    heads: int = 1

    @classmethod
    def of(cls, storage: Iterable[Register | Memory], cycles: int, heads: int = 1,
           components: Sequence[str] | None = None) -> Universe:
        """The universe of some storage (an inventory of registers, memories, or both), or of some of its components.

        Raises ValueError if nothing belongs to a named component.
        """
        storage = tuple(storage)
        known = list(dict.fromkeys(r.component for r in storage))
        unknown = [c for c in components or () if c not in known]
        if unknown:
            raise ValueError(f"no component {unknown[0]!r}; this machine has: {', '.join(known)}")
        chosen = tuple(r for r in storage if components is None or r.component in components)
        return cls(chosen, cycles, heads)

    @cached_property
    def first_bit(self) -> np.ndarray:
        """(registers + 1,) int64: position of each register's first bit, and the total."""
        return np.concatenate([[0], np.cumsum([r.bits for r in self.registers])]).astype(np.int64)

    @property
    def bits(self) -> int:
        """Bits exposed in each cycle."""
        return int(self.first_bit[-1])

    @property
    def size(self) -> int:
        """Number of points."""
        return self.bits * self.cycles * self.heads

    def points(self, index: np.ndarray) -> Points:
        """The points of some universe indices (int64 array). Raises IndexError outside 0 … size − 1."""
        index = np.asarray(index, dtype=np.int64)
        if index.size and not (0 <= int(index.min()) and int(index.max()) < self.size):
            raise IndexError(f"universe indices run from 0 to {self.size - 1}")
        when, position = np.divmod(index, self.bits)
        head, cycle = np.divmod(when, self.cycles)
        register = np.searchsorted(self.first_bit, position, side="right") - 1
        widths = np.array([r.width_bits for r in self.registers], dtype=np.int64)
        element, bit = np.divmod(position - self.first_bit[register], widths[register])
        return Points(head, cycle, register.astype(np.int64), element, bit)

    def index(self, point: Point) -> int:
        """The index of a point: the inverse of `points`."""
        register = self.registers[point.register]
        if not (0 <= point.head < self.heads and 0 <= point.cycle < self.cycles
                and 0 <= point.element < register.size and 0 <= point.bit < register.width_bits):
            raise IndexError(f"{point} is outside the universe")
        position = int(self.first_bit[point.register]) + point.element * register.width_bits + point.bit
        return (point.head * self.cycles + point.cycle) * self.bits + position

    def draw(self, seed: int, first: int, count: int) -> np.ndarray:
        """Universe indices of faults `first` … `first + count − 1`, uniform with replacement.

        Fault i depends on (seed, i) only: it is the i-th block of the counter-based generator Philox4x64
        (Salmon et al., SC 2011) keyed by the seed. Scaling 64 random bits to the universe makes two indices
        differ in probability by less than size / 2^64.
        """
        blocks = np.random.Philox(key=seed, counter=[first, 0, 0, 0]).random_raw(4 * count).reshape(-1, 4)
        return scale_to(blocks[:, 0], self.size)


def scale_to(raw: np.ndarray, size: int) -> np.ndarray:
    """floor(raw · size / 2^64) for uint64 `raw`, exactly."""
    low_mask = np.uint64(0xFFFFFFFF)
    shift = np.uint64(32)
    raw = raw.astype(np.uint64)
    a_high, a_low = raw >> shift, raw & low_mask
    b_high, b_low = np.uint64(size >> 32), np.uint64(size & 0xFFFFFFFF)
    middle = a_high * b_low + ((a_low * b_low) >> shift)
    # No overflow: each product is below 2^64 − 2^33 + 1, and what is added below 2^32.
    other = a_low * b_high + (middle & low_mask)
    scaled: np.ndarray = a_high * b_high + (middle >> shift) + (other >> shift)
    return scaled.astype(np.int64)
