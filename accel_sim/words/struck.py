"""Struck words, followed one by one: what each of their reads delivers. For the stepped engines.

`follow` goes through a word's time in a slot, fault by fault and read by read. `StruckWords` has a run's: as edits of
the memories that the machine reads (from a cycle on an element reads as another value), and of the outputs that leave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import numpy as np

from accel_sim.engines.sram import element_mask, split_masks
from accel_sim.faults.fault import Fault
from accel_sim.numerics.check_bits import PROTECTIONS
from accel_sim.numerics.ecc import decode_word, encode_word, stored_pattern
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.rounding import flip_bits
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.plan import LATER, Element, Spell, WordPlan, place, value_at

NAN = float("nan")


class Read(NamedTuple):
    """One read of a word. cycle: of the machine. elements: which of the word's are taken. delivered: their wrong bits,
    as they come from the decoder. alarm: it raises the memory alarm. wrong: anything stands wrong in the word."""

    cycle: int
    elements: tuple[int, ...]
    delivered: int
    alarm: bool
    wrong: bool


class Edit(NamedTuple):
    """From a machine cycle on an element of a tensor reads as another value."""

    cycle: int
    tensor: str
    where: Element
    value: float


@dataclass
class Word:
    """One word of a memory, and its codes."""

    plan: WordPlan
    memory: SlotMemory
    slot: int
    number: int

    def __post_init__(self) -> None:
        m = self.memory
        self.elements = self.plan.elements(m, self.number)
        self.arith, self.stored = Codec(*m.format.codec), Codec(*m.stored.codec)
        self.protection = PROTECTIONS.index(m.protection)
        self.spells = self.plan.spells[m.tensor][self.slot]

    def places(self, spell: Spell) -> list[Element | None]:
        """Where its elements are in the tensor."""
        return [place(self.plan, spell.tile, element) for element in self.elements]

    def writes(self, spell: Spell) -> list[int]:
        """Cycles, ascending, in which the datapath writes an element of it."""
        return sorted({cycle for where in self.places(spell) if where is not None
                       for cycle in self.plan.writes_of(spell, where)})

    def fresh(self, spell: Spell, cycle: int) -> int:
        """First cycle in which what stands in it at the start of `cycle` could be struck: it is written whole with each
        of its elements. `LATER` if nothing stands there."""
        if spell.loaded:
            return spell.begin
        written = [at for at in self.writes(spell) if at < cycle]
        return max(spell.begin, written[-1] + 1) if written else int(LATER)

    def reads(self, spell: Spell) -> dict[int, tuple[int, ...]]:
        """By cycle, in order: the elements that are taken."""
        found: dict[int, list[int]] = {}
        for i, where in enumerate(self.places(spell)):
            if where is None:
                continue
            for cycle in self.plan.reads_of(spell, where):
                found.setdefault(cycle, []).append(i)
            if spell.leaves >= 0:
                found.setdefault(spell.leaves, []).append(i)
        return {cycle: tuple(found[cycle]) for cycle in sorted(found)}

    def pattern(self, spell: Spell, values: np.ndarray) -> int:
        """Its data as written."""
        width, bits = self.memory.stored.width_bits, 0
        for i, where in enumerate(self.places(spell)):
            bits |= int(stored_pattern(value_at(values, where), self.arith, self.stored)) << (i * width)
        return bits

    def check(self, data: int) -> int:
        """Its check bits."""
        return int(encode_word(np.uint64(data), self.memory.hamming_bits, self.protection))

    def value(self, before: float, i: int, delivered: int) -> float:
        """A value in element i with the wrong bits of a word."""
        mask = element_mask(np.uint64(delivered), i, self.memory.stored.width_bits)
        return float(flip_bits(before, self.arith, self.stored, mask))


def masks_of(fault: Fault, memory: SlotMemory) -> tuple[int, int]:
    """The (data, check) bits of a word that a fault touches."""
    bits = fault.bits if fault.kind == "burst" else 1
    data, check = split_masks(np.array([fault.bit]), np.array([bits]), memory.word_bits)
    return int(data[0]), int(check[0])


def struck(pattern: int, mask: int, kind: str) -> int:
    """Stored bits under a fault."""
    if kind == "stuck0":
        return pattern & ~mask
    return pattern | mask if kind == "stuck1" else pattern ^ mask


def acts(word: Word, fault: Fault, stands: int) -> bool:
    """Whether a fault acts on what stands in a word from cycle `stands` on: not once the run is over."""
    return max(fault.cycle, stands) < min(fault.end, word.plan.timing.head_cycles)


def states(word: Word, stands: int, faults: Sequence[Fault], written: int) -> Iterator[tuple[int, int, int]]:
    """(cycle, data, check) of a word from each cycle on in which a fault changes it. Faults of one cycle act in the
    list's order; a stuck bit is forced in every cycle of its interval."""
    data, check = written, word.check(written)
    begins = {max(f.cycle, stands) for f in faults if acts(word, f, stands)}
    again = {cycle + 1 for cycle in begins}  # a stuck bit that a later flip has moved
    for cycle in sorted(begins | again):
        for fault in faults:
            if fault.cycle <= cycle < fault.end:
                data_mask, check_mask = masks_of(fault, word.memory)
                data, check = struck(data, data_mask, fault.kind), struck(check, check_mask, fault.kind)
        yield cycle, data, check


def struck_reads(word: Word, spell: Spell, faults: Sequence[Fault]) -> Iterator[tuple[int, tuple[int, ...], int]]:
    """(cycle, elements, first cycle in which what is read could be struck) of every read that comes after a fault in
    what it reads."""
    first = min((f.cycle for f in faults), default=0)
    for cycle, elements in word.reads(spell).items():
        if cycle < first:
            continue
        fresh = word.fresh(spell, cycle)
        if any(acts(word, f, fresh) and max(f.cycle, fresh) <= cycle for f in faults):
            yield cycle, elements, fresh


def read_word(word: Word, spell: Spell, faults: Sequence[Fault], values: np.ndarray, cycle: int,
              elements: tuple[int, ...], fresh: int) -> Read:
    """One of these reads. values: the tensor as it has been written by then."""
    written = word.pattern(spell, values)
    data, check = written, word.check(written)
    for at, data_now, check_now in states(word, fresh, faults, written):
        if at <= cycle:
            data, check = data_now, check_now
    m = word.memory
    delivered, alarm = decode_word(np.uint64(data), np.uint64(check), m.word_bits, m.hamming_bits, word.protection)
    wrong = (data, check) != (written, word.check(written))
    return Read(cycle, elements, int(delivered) ^ written, bool(alarm), wrong)


def follow(word: Word, spell: Spell, faults: Sequence[Fault], values: np.ndarray) -> Iterator[Read]:
    """Every read of a word in a spell that comes after a fault in it. values: the tensor as it is written."""
    for cycle, elements, fresh in struck_reads(word, spell, faults):
        yield read_word(word, spell, faults, values, cycle, elements, fresh)


class StruckWords:
    """The words that faults strike in one run. faults: all in `plan.memories`, in machine cycles. values: the tensors
    that are in memory before the run. alarm: first machine cycle in which the memory alarm reads 1, as far as it is
    known."""

    def __init__(self, plan: WordPlan, faults: Sequence[Fault], values: Mapping[str, np.ndarray]) -> None:
        self.plan, self.values = plan, values
        self.alarm: int | None = None
        by_word: dict[tuple[str, tuple[int, ...]], list[Fault]] = {}
        for fault in (fault for fault in faults if fault.cycle < plan.timing.head_cycles):
            by_word.setdefault((fault.register, fault.index), []).append(fault)
        self._words = [(word_of(plan, name, index), some) for (name, index), some in by_word.items()]
        edits: list[Edit] = []
        for word, some in self._words:
            if word.memory.tensor in values:
                edits += self._edits(word, some, values[word.memory.tensor])
        self._edits_left = sorted(edits, key=lambda edit: edit.cycle)

    @classmethod
    def none(cls) -> StruckWords:
        """No word is struck."""
        return cls(cast("WordPlan", None), (), {})

    def _edits(self, word: Word, faults: Sequence[Fault], values: np.ndarray) -> Iterator[Edit]:
        """What becomes of the elements of a word of the tensor `values`; notes its alarms."""
        for spell in word.spells:
            places = word.places(spell)
            now = {i: value_at(values, where) for i, where in enumerate(places)}
            last: dict[int, int] = {}
            for read in follow(word, spell, faults, values):
                self._note(read)
                for i in read.elements:
                    where = places[i]
                    assert where is not None
                    value, last[i] = word.value(value_at(values, where), i, read.delivered), read.cycle
                    if _bits(value) != _bits(now[i]):
                        now[i] = value
                        yield Edit(read.cycle, word.memory.tensor, where, value)
            for i, cycle in last.items():
                where = places[i]
                if where is not None and _bits(now[i]) != _bits(values[where]):
                    yield Edit(cycle + 1, word.memory.tensor, where, float(values[where]))

    def _note(self, read: Read) -> None:
        if read.alarm:
            at = readable(self.plan, read.cycle)
            self.alarm = at if self.alarm is None else min(self.alarm, at)

    # -- while the machine runs

    @property
    def quiet(self) -> bool:
        """Nothing that the machine reads is another."""
        return not self._edits_left

    def next(self, cycle: int) -> int:
        """The first cycle after `cycle` in which an element changes; `LATER` if none does."""
        return next((edit.cycle for edit in self._edits_left if edit.cycle > cycle), int(LATER))

    def settled(self, cycle: int) -> bool:
        """As cycle `cycle` begins, what the machine is still to read is what it would be without faults."""
        return not self._edits_left or self._edits_left[-1].cycle <= cycle

    def apply(self, tensors: Mapping[str, np.ndarray], cycle: int) -> None:
        """Bring tensors (which are changed) to what reads of `cycle` deliver; cycles must come in order."""
        for edit in self._edits_left:
            if edit.cycle > cycle:
                break
            tensors[edit.tensor][edit.where] = edit.value

    # -- when it is over

    def leave(self, tensor: str, output: np.ndarray) -> None:
        """The words of a tensor that have left for off-chip memory: `output` becomes what has come out."""
        for word, faults in self._words:
            if word.memory.tensor != tensor:
                continue
            written = output.copy()
            for spell in word.spells:
                places = word.places(spell)
                for read in follow(word, spell, faults, written):
                    self._note(read)
                    for i in read.elements:
                        output[places[i]] = word.value(value_at(written, places[i]), i, read.delivered)


def readable(plan: WordPlan, cycle: int) -> int:
    """First machine cycle in which an alarm can be read that a read in `cycle` raises: the next, or as the run ends."""
    return min(cycle + 1, plan.timing.head_cycles)


def word_of(plan: WordPlan, name: str, index: tuple[int, ...]) -> Word:
    """The word of an address (slot, word)."""
    memory = plan.memories[name]
    assert isinstance(memory, SlotMemory)
    return Word(plan, memory, *index)


def holding(word: Word, cycle: int) -> tuple[Spell | None, list[int]]:
    """What stands in a word at the start of a machine cycle, and the cycles in which it is still to be read."""
    found, left = None, []
    for spell in word.spells:
        if word.fresh(spell, cycle) > cycle:
            continue
        found = spell
        left = [at for at in word.reads(spell) if at >= cycle and word.fresh(spell, at) <= cycle]
        if left:
            break
    return found, left


def live(plan: WordPlan, fault: Fault) -> bool:
    """Whether a word is read again before it is written, from a fault's cycle on."""
    return bool(holding(word_of(plan, fault.register, fault.index), fault.cycle)[1])


def struck_value(plan: WordPlan, fault: Fault, values: np.ndarray) -> tuple[float, float]:
    """The value of the element that a fault's lowest bit is in, as it stands in the word, before and after; NaN for a
    check bit and where nothing stands. values: the tensor as it is written."""
    word = word_of(plan, fault.register, fault.index)
    spell, _ = holding(word, fault.cycle)
    if fault.bit >= word.memory.word_bits or spell is None:
        return NAN, NAN
    i = fault.bit // word.memory.stored.width_bits
    before = value_at(values, word.places(spell)[i])
    written = word.pattern(spell, values)
    return before, word.value(before, i, struck(written, masks_of(fault, word.memory)[0], fault.kind) ^ written)


def _bits(x: float) -> int:
    return int(np.float64(x).view(np.int64))
