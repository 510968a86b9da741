"""Faults in SRAM words at replay speed: what each comes to, for all of them at once.

`WordTables` knows what stands in the slots of one memory. `tell` finds for each fault the tile in its word, the reads
that come after it and what they deliver: which elements are wrong in which passes through the tile. What that does to
the run is each machine's own (`accel_sim.fused.replay_words`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.replay.types import Outcomes
from accel_sim.engines.sram import split_masks
from accel_sim.numerics.check_bits import PROTECTIONS
from accel_sim.numerics.formats import Codec
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.kernel import deliver_all
from accel_sim.words.plan import LATER, Spell, WordPlan

Ints = NDArray[np.int64]

CHUNK = 1 << 14
"""Faults that are told at once."""

OUTSIDE = -2


class WordFaults(NamedTuple):
    """Faults in one memory, each field one array: slot, word, bit (the lowest struck), first and last cycle and op (0
    inverts, 1 and 2 force to 0 and 1) int64; data and check masks uint64."""

    slot: Ints
    word: Ints
    bit: Ints
    cycle: Ints
    last_cycle: Ints
    op: Ints
    data_mask: NDArray[np.uint64]
    check_mask: NDArray[np.uint64]


class WordOutcomes(NamedTuple):
    """What they do. outcomes: but for the memory alarm; FALL_BACK where it has to be run. alarm_cycle: first cycle in
    which the memory alarm can be read, −1 for none."""

    outcomes: Outcomes
    alarm_cycle: Ints


class Delivered(NamedTuple):
    """What reads of struck words deliver. mask, value (n, e): wrong bits of each element, and what they make of it;
    old_value, new_value: of the struck element, as it stands; NaN for a check bit."""

    mask: NDArray[np.uint64]
    value: NDArray[np.float64]
    alarm: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    old_value: NDArray[np.float64]
    new_value: NDArray[np.float64]


class Told(NamedTuple):
    """What faults come to, n of them in words of e elements. row, col (n, e): where each element is in the tensor, −1
    for none. wrong (n, e): it is delivered wrong. value (n, e): what is delivered then. since (n, e): the first pass
    that takes it so; passes (n,): of the tile, in its slot. spell (n,): number of the tile's time in its slot, in
    `WordTables.spells`. leaves (n,): the tile is stored with the wrong bits. read (n,): cycle in which the word is read
    next, `LATER` if it is not. alarm_cycle (n,): −1 for none. run (n,): none of this is known. old_value, new_value: of
    the struck element, NaN where the word is dead. cycle (n, e): in which that first pass reads it."""

    row: Ints
    col: Ints
    wrong: NDArray[np.bool_]
    value: NDArray[np.float64]
    mask: NDArray[np.uint64]
    since: Ints
    passes: Ints
    spell: Ints
    leaves: NDArray[np.bool_]
    read: Ints
    alarm_cycle: Ints
    run: NDArray[np.bool_]
    old_value: NDArray[np.float64]
    new_value: NDArray[np.float64]
    cycle: Ints


def word_faults(memory: SlotMemory, element: Ints, bit: Ints, bits: Ints, cycle: Ints, last_cycle: Ints,
                op: Ints) -> WordFaults:
    """Faults in words number `element` of the flattened memory that touch bits bit … bit + bits − 1."""
    slot, word = np.divmod(element, memory.shape[1])
    return WordFaults(slot, word, bit, cycle, last_cycle, op, *split_masks(bit, bits, memory.word_bits))


class WordTables:
    """One memory of a head."""

    def __init__(self, plan: WordPlan, memory: SlotMemory) -> None:
        self.plan, self.memory = plan, memory
        by_slot = plan.spells[memory.tensor]
        self.spells: list[Spell] = [spell for spells in by_slot for spell in spells]
        self.first = np.concatenate([[0], np.cumsum([len(spells) for spells in by_slot])]).astype(np.int64)
        self.begin = np.array([spell.begin for spell in self.spells], np.int64)
        self.leaves = np.array([spell.leaves for spell in self.spells], np.int64)
        self.tile = np.array([(s.tile.rows, s.tile.cols) for s in self.spells], np.int64).reshape(-1, 2)
        self.origin = np.array([plan.origin(s.tile) for s in self.spells], np.int64).reshape(-1, 2)
        self.written = np.array([-1 if s.loaded else plan.written_from(s) for s in self.spells], np.int64)
        passes = [plan.passes_of(spell) for spell in self.spells]
        self.passes = np.array([len(p) for p in passes], np.int64)
        most = max(1, int(self.passes.max(initial=0)))
        self.start, self.way, self.step = (np.full((len(passes), most), fill, np.int64) for fill in (LATER, 0, -1))
        for i, some in enumerate(passes):
            for u, (way, start, step) in enumerate(some):
                self.start[i, u], self.way[i, u], self.step[i, u] = start, way, step
        cut = np.arange(memory.shape[1] * memory.word_elements).reshape(-1, memory.word_elements)
        rows, cols = memory.tile
        turned = memory.tensor in plan.turned
        self.row: Ints = cut % rows if turned else cut // cols
        self.col: Ints = cut // rows if turned else cut % cols
        ways = sorted(set(self.way[self.step >= 0].tolist()))
        self.offset = {way: plan.read_offset(memory.tensor, way, self.row, self.col) for way in ways}

    def _stands(self, spell: Ints, word: Ints) -> Ints:
        """First cycles in which words of spells (−1: none) can be struck."""
        row, col = self.row[word], self.col[word]
        there = (row < self.tile[spell, :1]) & (col < self.tile[spell, 1:])
        found = np.broadcast_to(self.begin[spell][:, None], there.shape)
        if (self.written >= 0).any():
            offset = self.plan.write_offset(self.memory.tensor, row, col)
            found = np.where(self.written[spell, None] >= 0, self.written[spell, None] + offset + 1, found)
        latest = np.where(there, found, -1).max(axis=1)
        stands: Ints = np.where((spell >= 0) & there.any(axis=1), latest, LATER)
        return stands

    def _held(self, slot: Ints, word: Ints, cycle: Ints) -> Ints:
        """Number of the spell that stands in words at the start of cycles, −1 for none."""
        spell = np.full(len(slot), -1, np.int64)
        for s in np.unique(slot):
            at = np.flatnonzero(slot == s)
            first, end = self.first[s], self.first[s + 1]
            spell[at] = first + np.searchsorted(self.begin[first:end], cycle[at], side="right") - 1
            spell[at[spell[at] < first]] = -1
        # As a tile is about to be written, the one before it leaves.
        early = (spell >= 0) & (self._stands(spell, word) > cycle)
        before = np.where(early & (spell > self.first[slot]), spell - 1, np.where(early, -1, spell))
        gone = (before >= 0) & (self._stands(before, word) > cycle)
        return np.where(gone, -1, before)

    def _reads(self, spell: Ints, word: Ints) -> tuple[Ints, NDArray[np.bool_]]:
        """((n, e, passes) cycle of each read, `LATER` where there is none; (n, e) elements that exist)."""
        row, col = self.row[word], self.col[word]
        there = (spell >= 0)[:, None] & (row < self.tile[spell, :1]) & (col < self.tile[spell, 1:])
        cycles = np.full((*there.shape, self.start.shape[1]), LATER, np.int64)
        for u in range(self.start.shape[1]):
            for way, offset in self.offset.items():
                here = there & ((self.way[spell, u] == way) & (self.step[spell, u] >= 0))[:, None]
                cycles[:, :, u] = np.where(here, self.start[spell, u][:, None] + offset[word], cycles[:, :, u])
        return cycles, there

    def tell(self, values: np.ndarray, faults: WordFaults) -> Told:
        """What faults come to. values: the memory's tensor, fault-free, (rows, columns) float64."""
        n = len(faults.slot)
        parts = [self._tell(values, WordFaults._make(field[at:at + CHUNK] for field in faults))
                 for at in range(0, max(n, 1), CHUNK)]
        return Told._make(np.concatenate(field) for field in zip(*parts, strict=True))

    def _tell(self, values: np.ndarray, faults: WordFaults) -> Told:
        m, n, e = self.memory, len(faults.slot), self.memory.word_elements
        spell = self._held(faults.slot, faults.word, faults.cycle)
        later = self._held(faults.slot, faults.word, faults.last_cycle)
        run = later != spell  # it lasts until another tile is there
        cycles, there = self._reads(spell, faults.word)
        after = cycles >= faults.cycle[:, None, None]
        since = (~after).sum(axis=2)  # reads of an element are in order, and what is none comes last
        first = np.where(after, cycles, LATER).min(axis=2)
        leaves = (spell >= 0) & (self.leaves[spell] >= faults.cycle) & there.any(axis=1)
        read = np.minimum(first.min(axis=1), np.where(leaves, self.leaves[spell], LATER))
        live = read < LATER
        row, col = (np.where(there, self.origin[spell, axis, None] + part[faults.word], -1)
                    for axis, part in enumerate((self.row, self.col)))
        out = Delivered(np.zeros((n, e), np.uint64), np.zeros((n, e)), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
                        np.full(n, np.nan), np.full(n, np.nan))
        taken = np.where(live[:, None], col, OUTSIDE)
        deliver_all(np.ascontiguousarray(values), row, taken, faults, m.stored.width_bits, m.hamming_bits,
                    PROTECTIONS.index(m.protection), Codec(*m.format.codec), Codec(*m.stored.codec), out)
        wrong = (out.mask != 0) & there
        alarm = np.where(out.alarm & live, np.minimum(read + 1, self.plan.timing.head_cycles), -1)
        # A fault that goes on after its tile has been read for the last time meets the next one.
        return Told(row, col, wrong, out.value, out.mask, since, np.where(spell >= 0, self.passes[spell], 0), spell,
                    leaves, read, alarm, run, out.old_value, out.new_value, first)
