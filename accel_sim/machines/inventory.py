"""The inventory: every register array of a machine, by hardware name.

It is the single source for fault sites, area, energy action counts, waveforms and the register tables of
the docs. The whole state of a machine is one flat float64 array; an inventory says which slice of it a
register array owns, and how many bits each element has in hardware.

Classes: `Register` (one array of registers), `Inventory` (all of them, with their layout).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

from accel_sim.numerics.formats import Format

ROLES = ("operand", "score", "state", "output", "checker", "control", "pipeline")
"""What a register holds, in the words every machine shares."""


@dataclass(frozen=True)
class Register:
    """One array of identical registers.

    `format` is what its values are rounded to by the arithmetic; `stored` is the format whose bits a fault
    can strike, and whose width is the register's width. They differ only in campaigns that set
    `faults.register_format`.
    """

    name: str
    shape: tuple[int, ...]
    format: Format
    role: str
    component: str
    about: str
    stored: Format = field(default=None)  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"register {self.name}: role {self.role!r} is not one of {', '.join(ROLES)}")
        if self.stored is None:
            object.__setattr__(self, "stored", self.format)

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def width_bits(self) -> int:
        """Bits of one element as stored in hardware."""
        return self.stored.width_bits

    @property
    def bits(self) -> int:
        """Flip-flop bits of the whole array."""
        return self.size * self.width_bits


@dataclass(frozen=True)
class Inventory:
    """All register arrays of one machine, in layout order."""

    registers: tuple[Register, ...]

    def __post_init__(self) -> None:
        names = [r.name for r in self.registers]
        twice = {n for n in names if names.count(n) > 1}
        if twice:
            raise ValueError(f"registers named twice: {', '.join(sorted(twice))}")

    def __iter__(self) -> Iterator[Register]:
        return iter(self.registers)

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Register:
        """The register array called `name`; KeyError if the machine has none."""
        return self._by_name[name]

    @cached_property
    def _by_name(self) -> dict[str, Register]:
        return {r.name: r for r in self.registers}

    @cached_property
    def offsets(self) -> dict[str, int]:
        """First slot of each register array in the flat machine state."""
        offsets, at = {}, 0
        for register in self.registers:
            offsets[register.name] = at
            at += register.size
        return offsets

    @cached_property
    def slots(self) -> int:
        """Length of the flat machine state."""
        return sum(r.size for r in self.registers)

    @cached_property
    def bits(self) -> int:
        """Flip-flop bits of the whole machine."""
        return sum(r.bits for r in self.registers)

    def bits_by(self, attribute: str) -> dict[str, int]:
        """Flip-flop bits grouped by `component` or `role`, in order of first appearance."""
        totals: dict[str, int] = {}
        for register in self.registers:
            key = getattr(register, attribute)
            totals[key] = totals.get(key, 0) + register.bits
        return totals

    def slot(self, name: str, index: tuple[int, ...] = ()) -> int:
        """Slot of one element; `index` must fit the register's shape (IndexError otherwise)."""
        register = self[name]
        if len(index) != len(register.shape) or any(
            not 0 <= i < n for i, n in zip(index, register.shape, strict=True)
        ):
            raise IndexError(f"{name} has shape {register.shape}, index {tuple(index)} does not fit")
        flat = 0
        for i, n in zip(index, register.shape, strict=True):
            flat = flat * n + i
        return self.offsets[name] + flat

    def locate(self, slot: int) -> tuple[Register, tuple[int, ...]]:
        """The register and index that own a slot: the inverse of `slot`."""
        for register in self.registers:
            start = self.offsets[register.name]
            if start <= slot < start + register.size:
                flat, index = slot - start, []
                for n in reversed(register.shape):
                    flat, i = divmod(flat, n)
                    index.append(i)
                return register, tuple(reversed(index))
        raise IndexError(f"slot {slot} is outside the machine's {self.slots} slots")
