"""Struck words of memories that are written while the machine runs: each read, as it happens.

`Events` lists the reads of struck words. In the cycle of each, what stands in the memory is struck, decoded and given
to the machine; a cycle later the memory is what it was, unless the machine is about to write there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from accel_sim.arrays.registers import narrow
from accel_sim.faults.fault import Fault
from accel_sim.words.plan import LATER, Element, Spell, WordPlan, value_at
from accel_sim.words.struck import Word, read_word, readable, struck_reads, word_of

Locate = Callable[[str, Element], tuple[Any, tuple[int, ...], bool]]
"""Where a unit of the machine takes an element of a tensor from now: array, index, whether it is written there anew."""


class Event(NamedTuple):
    """One read of a struck word: see `struck.struck_reads`."""

    cycle: int
    word: Word
    spell: Spell
    faults: Sequence[Fault]
    elements: tuple[int, ...]
    fresh: int


class Events:
    """Those of a run. faults: all in `plan.memories`, in machine cycles. alarm: first machine cycle in which the memory
    alarm reads 1, as far as it is known."""

    def __init__(self, plan: WordPlan, faults: Sequence[Fault]) -> None:
        self.plan = plan
        self.alarm: int | None = None
        by_word: dict[tuple[str, tuple[int, ...]], list[Fault]] = {}
        for fault in (fault for fault in faults if fault.cycle < plan.timing.head_cycles):
            by_word.setdefault((fault.register, fault.index), []).append(fault)
        found = [Event(cycle, word, spell, some, elements, fresh)
                 for (name, index), some in by_word.items() for word in (word_of(plan, name, index),)
                 for spell in word.spells for cycle, elements, fresh in struck_reads(word, spell, some)]
        found.sort(key=lambda event: event.cycle)
        self.left = [event for event in found if event.cycle != event.spell.leaves]
        self._leaving = [event for event in found if event.cycle == event.spell.leaves]
        self._restore: list[tuple[Any, tuple[int, ...], Any]] = []

    @property
    def first(self) -> int:
        """The first cycle in which the machine reads a struck word; `LATER` if it never does."""
        return self.left[0].cycle if self.left else int(LATER)

    def next(self, cycle: int) -> int:
        """The first cycle after `cycle` in which there is something to do."""
        if self._restore:
            return cycle + 1
        return next((event.cycle for event in self.left if event.cycle > cycle), int(LATER))

    def settled(self, cycle: int) -> bool:
        """Whether no struck word is read in `cycle` or later."""
        return not self.left or self.left[-1].cycle < cycle

    def restore(self) -> None:
        """Put back what the reads of the cycle before have not found."""
        for array, index, value in reversed(self._restore):
            array[index] = value
        self._restore.clear()

    def apply(self, cycle: int, values: Callable[[str], np.ndarray], locate: Locate) -> None:
        """Let the reads of `cycle` deliver what they do. values: a tensor as it stands in memory, float64."""
        self.restore()
        for event in self.left:
            if event.cycle > cycle:
                break
            if event.cycle == cycle:
                self._read(event, values(event.word.memory.tensor), locate)

    def _read(self, event: Event, values: np.ndarray, locate: Locate) -> None:
        word, spell = event.word, event.spell
        read = read_word(word, spell, event.faults, values, event.cycle, event.elements, event.fresh)
        self._note(read.alarm, read.cycle)
        places = word.places(spell)
        for i in read.elements if read.delivered else ():
            where = places[i]
            assert where is not None
            array, index, anew = locate(word.memory.tensor, where)
            if not anew:
                self._restore.append((array, index, array[index]))
            value = np.array([word.value(value_at(values, where), i, read.delivered)])
            array[index] = narrow(value)[0] if array.dtype == np.float32 else value[0]

    def leave(self, output: np.ndarray) -> None:
        """The outputs have left for off-chip memory: `output` becomes what has come out."""
        written = output.copy()
        for event in self._leaving:
            word, places = event.word, event.word.places(event.spell)
            read = read_word(word, event.spell, event.faults, written, event.cycle, event.elements, event.fresh)
            self._note(read.alarm, read.cycle)
            for i in read.elements:
                output[places[i]] = word.value(value_at(written, places[i]), i, read.delivered)

    def _note(self, alarm: bool, cycle: int) -> None:
        if alarm:
            at = readable(self.plan, cycle)
            self.alarm = at if self.alarm is None else min(self.alarm, at)
