"""The protection of a machine's registers: what stands between a fault and the machine.

`protect(inventory, units)` gives a `Protection`. It knows every bit that a fault can strike, those that the units add
included (`Protection.inventory`), and says of a strike what the machine comes to see of it (`Protection.strikes`, for
many faults at once): nothing, the same fault, or other wrong bits, in the same register or in the one that the struck
spare belongs to; and whether the protection raises its alarm.

- `Place`: what a register array is to the protection.
- `Strikes`: what many strikes come to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accel_sim.config.protection import RegisterProtection
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.protection.codes import DETECTS_ONLY, SPARES, Seen, seen
from accel_sim.protection.guard import Guard
from accel_sim.protection.parts import check_operators, resolve

if TYPE_CHECKING:
    from accel_sim.config import Config

FLIP, STUCK0, STUCK1 = range(3)
"""What a strike does with the bits of its mask: invert, clear, set."""


@dataclass(frozen=True)
class Place:
    """What a register array is to the protection. copy: 0 for the guarded array, 1 and up for its spares, None for
    the alarm flag. guarded: the array whose elements are protected there; None for the flag. Two copies share an array,
    so there `copy` is that of its first half."""

    guard: Guard
    copy: int | None
    guarded: Register | None


class Strikes(NamedTuple):
    """What strikes come to, one entry each.

    slot (int64) and mask (uint64): where and which wrong bits the machine sees, mask 0 for none; the op is the
    strike's. guard: number of the guard of what is struck, −1 for a bare register. raised: its alarm is raised.
    at_once: the alarm can be read in the cycle of the strike (its flag is struck), not in the next. corrected:
    something was corrected or outvoted. by_value: a stuck bit that changes something only where it finds another
    value: `raised` and `corrected` are those of that case.
    """

    slot: np.ndarray
    mask: np.ndarray
    guard: np.ndarray
    raised: np.ndarray
    at_once: np.ndarray
    corrected: np.ndarray
    by_value: np.ndarray


@dataclass(frozen=True)
class Protection:
    """The protection units of one machine. machine: the machine's own inventory."""

    machine: Inventory
    guards: tuple[Guard, ...]

    @cached_property
    def registers(self) -> tuple[Register, ...]:
        """Every register array that the units add."""
        return tuple(register for guard in self.guards for register in guard.added)

    @cached_property
    def inventory(self) -> Inventory:
        """All that a fault can strike: the machine's arrays, in the slots that they have there, then the added ones."""
        return Inventory((*self.machine.registers, *self.registers))

    @cached_property
    def places(self) -> dict[str, Place]:
        """What each array is to the protection, by name; arrays without protection are left out."""
        found = {}
        for guard in self.guards:
            for register, spare in zip(guard.guarded, guard.spares, strict=True):
                found[register.name] = Place(guard, 0, register)
                found[spare.name] = Place(guard, 1, register)
            if guard.flag is not None:
                found[guard.flag.name] = Place(guard, None, None)
        return found

    def element(self, register: str, index: tuple[int, ...]) -> tuple[Register, tuple[int, ...], int]:
        """(guarded array, index there, copy) of an element of a guarded array or of spares. KeyError for another."""
        place = self.places[register]
        if place.guarded is None or place.copy is None:
            raise KeyError(register)
        if place.copy and SPARES[place.guard.kind] > 1:
            return place.guarded, index[1:], 1 + index[0]
        return place.guarded, index, place.copy

    def seen(self, register: str, index: tuple[int, ...], mask: int) -> Seen:
        """What inverting the bits `mask` of one element of a guarded array or of spares comes to; the mask that is
        seen is one of the guarded element."""
        guarded, _, copy = self.element(register, index)
        return self._seen(self.places[register].guard.kind, guarded.width_bits, copy, mask)

    def strikes(self, slots: np.ndarray, ops: np.ndarray, masks: np.ndarray) -> Strikes:
        """What many strikes come to, each by itself.

        slots: (n,) int64, of `inventory`; ops: (n,) int64, FLIP, STUCK0 or STUCK1; masks: (n,) uint64, stored bits of
        one element.
        """
        slots, masks = np.asarray(slots, dtype=np.int64), np.asarray(masks, dtype=np.uint64)
        group = self._tables.group[slots]
        flag, ops = group == _FLAG, np.asarray(ops)
        result = Strikes(
            slot=self._tables.data[slots], mask=masks.copy(), guard=self._tables.guard[slots],
            raised=flag & (ops != STUCK0), at_once=flag, corrected=np.zeros(len(slots), dtype=bool),
            by_value=(ops != FLIP) & (group >= 0),
        )
        result.mask[flag] = 0
        for number in np.unique(group[group >= 0]):
            kind, width, copy = self._tables.groups[number]
            inside = np.flatnonzero(group == number)
            found, which = np.unique(masks[inside], return_inverse=True)
            outcomes = [self._seen(kind, width, copy, int(mask)) for mask in found]
            result.mask[inside] = np.array([one.mask for one in outcomes], dtype=np.uint64)[which]
            result.corrected[inside] = np.array([one.corrected for one in outcomes])[which]
            result.raised[inside] = np.array([one.alarm for one in outcomes])[which]
        return result

    @property
    def data_slots(self) -> np.ndarray:
        """(slots of `inventory`,) int64: slot of the guarded element that each slot is, or is a spare of; its own for
        others."""
        return self._tables.data

    @staticmethod
    def _seen(kind: str, width: int, copy: int, mask: int) -> Seen:
        spares = tuple(mask if n + 1 == copy else 0 for n in range(SPARES[kind]))
        return seen(kind, width, 0 if copy else mask, spares)

    @cached_property
    def _tables(self) -> _Tables:
        inventory = self.inventory
        data = np.arange(inventory.slots, dtype=np.int64)
        group = np.full(inventory.slots, _BARE, dtype=np.int64)
        owner = np.full(inventory.slots, -1, dtype=np.int64)
        groups: list[tuple[str, int, int]] = []
        for number, guard in enumerate(self.guards):
            for register, spare in zip(guard.guarded, guard.spares, strict=True):
                first = inventory.offsets[register.name]
                for copy in range(1 + SPARES[guard.kind]):
                    key = (guard.kind, register.width_bits, copy)
                    if key not in groups:
                        groups.append(key)
                    start = first if copy == 0 else inventory.offsets[spare.name] + (copy - 1) * register.size
                    place = slice(start, start + register.size)
                    group[place], owner[place] = groups.index(key), number
                    data[place] = np.arange(first, first + register.size)
            if guard.flag is not None:
                slot = inventory.offsets[guard.flag.name]
                group[slot], owner[slot] = _FLAG, number
        return _Tables(data, group, owner, groups)


_BARE, _FLAG = -1, -2


class _Tables(NamedTuple):
    """Per slot: that of the guarded element (its own for a bare one), number in `groups` (kind, width, copy), _BARE or
    _FLAG, and number of the guard."""

    data: np.ndarray
    group: np.ndarray
    guard: np.ndarray
    groups: list[tuple[str, int, int]]


def protect(inventory: Inventory, units: Sequence[RegisterProtection], operators: Sequence[str] | None = None,
            config: Config | None = None) -> Protection:
    """The protection that some units give the registers of a machine.

    operators: names of the machine's operators, against which those of the units are checked (None: later, when they
    are counted). config: the one that states the units, for the place in messages. Raises ConfigError for parts or
    operators that the machine does not have, for ambiguous ones, and where two units protect the same register.
    """
    found = resolve(inventory, units, config)
    if operators is not None:
        check_operators(units, operators, config)
    return Protection(inventory, tuple(Guard(unit, guarded) for unit, guarded in zip(units, found, strict=True)))


def passes_stuck_bits(kind: str) -> bool:
    """Whether the logic reads a stuck bit as it is; where not, it is corrected or outvoted in every cycle."""
    return kind in DETECTS_ONLY
