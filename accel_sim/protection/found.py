"""What stuck bits find in the fault-free run.

A stuck bit in a protected element changes nothing, and raises nothing, until a cycle in which another value stands
there: its first bite. Up to then the run is fault-free, so that the values of one fault-free run decide, for many
faults at a time.
"""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.faults.fault import Fault
from accel_sim.machines.inventory import Register
from accel_sim.numerics.check_bits import SECDED, hamming_bits
from accel_sim.numerics.ecc import encode_word, stored_pattern
from accel_sim.protection.moves import next_moves
from accel_sim.protection.protect import STUCK0, STUCK1, Protection

NEVER = -1


class Enough(Exception):
    """Ends a watched run of which no more is needed."""


class Found:
    """The fault-free run of one engine, as stuck bits meet it. engine: the machine's own stepped one."""

    def __init__(self, engine: Any, protection: Protection) -> None:
        self.engine = engine
        self.protection = protection

    @cached_property
    def moves(self) -> np.ndarray:
        """For each clock cycle the next in which the machine moves."""
        return next_moves(self.engine)

    @cached_property
    def held(self) -> bool:
        """Whether the memory ever holds the machine."""
        return bool(np.any(self.moves != np.arange(len(self.moves))))

    def first_bite(self, fault: Fault) -> int | None:
        """`first_bites` of one fault, or None."""
        if fault.cycle >= len(self.moves):
            return None
        slot = self.protection.inventory.slot(fault.register, fault.index)
        op = STUCK1 if fault.kind == "stuck1" else STUCK0
        slots, cycles, last, ops = np.array([[slot], [fault.cycle], [fault.end - 1], [op]], dtype=np.int64)
        found = int(self.first_bites(slots, cycles, last, ops, np.array([fault.mask], dtype=np.uint64))[0])
        return None if found == NEVER else found

    def first_bites(self, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray, ops: np.ndarray,
                    masks: np.ndarray) -> np.ndarray:
        """(n,) int64: first clock cycle in which the machine moves and a stuck bit is not what the fault-free run has
        there; NEVER if it always is.

        slots: of guarded elements or spares, in the protection's inventory; cycles, last_cycles: clock cycles in which
        the bit is forced, from before the end of the run; ops STUCK0 or STUCK1; masks: uint64.
        """
        moves, last = np.unique(self.moves), np.minimum(last_cycles, len(self.moves) - 1)
        race = _Race(self.protection, slots, masks, np.where(ops == STUCK1, masks, np.uint64(0)),
                     np.searchsorted(moves, self.moves[cycles]), np.searchsorted(moves, self.moves[last]))
        with contextlib.suppress(Enough):
            self.engine.run((), race.watch)
        return np.where(race.found == NEVER, NEVER, moves[race.found])


class _Race:
    """Some stuck bits along a watched run. first, last: numbers of the moves in which they are looked at."""

    def __init__(self, protection: Protection, slots: np.ndarray, masks: np.ndarray, wanted: np.ndarray,
                 first: np.ndarray, last: np.ndarray) -> None:
        self.protection = protection
        arrays = self.protection.inventory.registers
        numbers = np.repeat(np.arange(len(arrays)), [register.size for register in arrays])
        self.register = numbers[slots]
        self.data = self.protection.data_slots[slots]
        self.masks, self.wanted, self.last = masks, wanted, last
        self.order = np.argsort(first, kind="stable")
        self.first = first[self.order]
        self.begun = 0
        self.move = -1
        self.active = np.empty(0, dtype=np.int64)
        self.before = np.zeros(len(slots), dtype=np.int64)  # bits of the value that did not bite last
        self.new = np.ones(len(slots), dtype=bool)
        self.found = np.full(len(slots), NEVER, dtype=np.int64)

    def watch(self, cycle: int, state: np.ndarray) -> None:
        """Look at the state in one move. Which cycle that is depends on what the engine counts; moves are moves."""
        self.move += 1
        begun = int(np.searchsorted(self.first, self.move, side="right"))
        if begun > self.begun:
            self.active = np.concatenate([self.active, self.order[self.begun:begun]])
            self.begun = begun
        if self.active.size:
            values = state[self.data[self.active]]
            bits = values.view(np.int64)
            fresh = self.new[self.active] | (bits != self.before[self.active])
            self.before[self.active] = bits
            self.new[self.active] = False
            self._look(self.active[fresh], values[fresh])
            self.active = self.active[(self.found[self.active] == NEVER) & (self.last[self.active] > self.move)]
        if not self.active.size and self.begun == len(self.order):
            raise Enough

    def _look(self, at: np.ndarray, values: np.ndarray) -> None:
        for number in np.unique(self.register[at]):
            here = self.register[at] == number
            chosen = at[here]
            bits = cell_bits(self.protection, self.protection.inventory.registers[number].name, values[here])
            self.found[chosen[(bits & self.masks[chosen]) != self.wanted[chosen]]] = self.move


def cell_bits(protection: Protection, name: str, values: np.ndarray) -> np.ndarray:
    """(n,) uint64: what stands in the cells of the array called `name`, guarded or spares, where the guarded elements
    have these values."""
    place = protection.places[name]
    assert place.guarded is not None
    bits = _stored(place.guarded, values)
    if place.copy and place.guard.kind in ("parity", "secded"):
        width = place.guarded.width_bits
        hamming = hamming_bits(width)
        spare = [int(x).bit_count() & 1 if place.guard.kind == "parity" else int(encode_word(x, hamming, SECDED))
                 for x in bits]
        return np.array(spare, dtype=np.uint64)
    return bits


def _stored(register: Register, values: np.ndarray) -> np.ndarray:
    if register.format == register.stored:
        return register.format.encode(values)
    arith, stored = register.format.codec, register.stored.codec
    return np.array([stored_pattern(float(x), arith, stored) for x in values], dtype=np.uint64)


def bites(protection: Protection, fault: Fault, value: float) -> bool:
    """Whether a stuck bit changes anything where the guarded element holds `value`."""
    bits = int(cell_bits(protection, fault.register, np.array([value]))[0])
    return bits & fault.mask != (fault.mask if fault.kind == "stuck1" else 0)
