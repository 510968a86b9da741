"""Faults in SRAM words at replay speed: what each comes to, for all of them at once.

`WordTables` knows what stands in the slots of one memory. `tell` finds for each fault the tile in its word, the reads
that come after it and what they deliver: which elements are wrong in which passes through the tile. What that does to
the run is each machine's own (`accel_sim.fused.replay_words`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.replay.types import Outcomes
from accel_sim.engines.sram import split_masks
from accel_sim.numerics.check_bits import PROTECTIONS
from accel_sim.numerics.formats import Codec
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.kernel import deliver_all, deliver_words
from accel_sim.words.plan import LATER, Pass, Spell, WordPlan

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
    for none. wrong (n, e): it is delivered wrong. value, mask (n, e): what is delivered then, and its wrong bits. taken
    (n, e, passes): passes of the tile, of `WordTables.reads`, that take it so; cycle (n, e, passes): when passes read
    it. spell (n,): number of the tile's time in its slot, in `WordTables.spells`. leaves (n,): the tile is stored with
    the wrong bits. renewed, read (n,): cycles in which the word is written and read next, `LATER` if it is not.
    alarm_cycle (n,): −1 for none. run (n,): none of this is known. old_value, new_value: of the struck element, NaN
    where the word is dead."""

    row: Ints
    col: Ints
    wrong: NDArray[np.bool_]
    value: NDArray[np.float64]
    mask: NDArray[np.uint64]
    taken: NDArray[np.bool_]
    cycle: Ints
    spell: Ints
    leaves: NDArray[np.bool_]
    renewed: Ints
    read: Ints
    alarm_cycle: Ints
    run: NDArray[np.bool_]
    old_value: NDArray[np.float64]
    new_value: NDArray[np.float64]


class Passes(NamedTuple):
    """(spells, passes) each: the fields of `plan.Pass`; step −1 where there is none."""

    way: Ints
    step: Ints
    start: Ints


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
        self.loaded = np.array([spell.loaded for spell in self.spells], np.bool_)
        self.reads = _table([plan.passes(spell) for spell in self.spells])
        self.writes = _table([plan.writes(spell) for spell in self.spells])
        cut = np.arange(memory.shape[1] * memory.word_elements).reshape(-1, memory.word_elements)
        rows, cols = memory.tile
        turned = memory.tensor in plan.turned
        self.row: Ints = cut % rows if turned else cut // cols
        self.col: Ints = cut // rows if turned else cut % cols

    def _held(self, slot: Ints, cycle: Ints) -> Ints:
        """Number of the spell that words of slots belong to at the start of cycles, −1 for none. A tile that is being
        written is there from the cycle after its slot is free: in that one the tile before it may leave."""
        spell = np.full(len(slot), -1, np.int64)
        for s in np.unique(slot):
            at = np.flatnonzero(slot == s)
            first, end = self.first[s], self.first[s + 1]
            begin = self.begin[first:end] + ~self.loaded[first:end]
            spell[at] = first + np.searchsorted(begin, cycle[at], side="right") - 1
            spell[at[spell[at] < first]] = -1
        return spell

    def _places(self, spell: Ints, word: Ints) -> tuple[Ints, Ints]:
        """(n, e) row and column in the tensor of each element, −1 for one that the tile does not have."""
        row, col = self.row[word], self.col[word]
        there = (spell >= 0)[:, None] & (row < self.tile[spell, :1]) & (col < self.tile[spell, 1:])
        return (np.where(there, self.origin[spell, :1] + row, -1), np.where(there, self.origin[spell, 1:] + col, -1))

    def _cycles(self, table: Passes, of: Callable[..., Any], spell: Ints, row: Ints, col: Ints) -> Ints:
        """(n, e, passes): when passes of spells meet elements, `LATER` where they do not."""
        shape = (*row.shape, table.step.shape[1])
        way, step, start = (np.broadcast_to(field[spell][:, None, :], shape) for field in table)
        rows, cols = (np.broadcast_to(field[:, :, None], shape) for field in (row, col))
        at = np.flatnonzero(((step >= 0) & (rows >= 0)).reshape(-1))
        found = np.full(math.prod(shape), LATER, np.int64)
        if at.size:
            found[at] = of(self.memory.tensor, *(field.reshape(-1)[at] for field in (way, step, start, rows, cols)))
        return found.reshape(shape)

    def tell(self, values: np.ndarray, faults: WordFaults) -> Told:
        """What faults come to. values: the memory's tensor, fault-free, (rows, columns) float64."""
        n = len(faults.slot)
        parts = [self._tell(values, WordFaults._make(field[at:at + CHUNK] for field in faults))
                 for at in range(0, max(n, 1), CHUNK)]
        return Told._make(np.concatenate(field) for field in zip(*parts, strict=True))

    def _tell(self, values: np.ndarray, faults: WordFaults) -> Told:
        m, n, e = self.memory, len(faults.slot), self.memory.word_elements
        plan, spell = self.plan, self._held(faults.slot, faults.cycle)
        row, col = self._places(spell, faults.word)
        there = row >= 0
        reads = self._cycles(self.reads, plan.read_cycles, spell, row, col)
        writes = self._cycles(self.writes, plan.write_cycles, spell, row, col).reshape(n, -1)
        now = faults.cycle[:, None]
        stands = (spell >= 0) & (self.loaded[spell] | (writes < now).any(axis=1))
        renewed = np.where(writes >= now, writes, LATER).min(axis=1, initial=LATER)
        taken = (reads >= now[:, :, None]) & (reads <= renewed[:, None, None]) & (reads < LATER) & stands[:, None, None]
        leaves = stands & (self.leaves[spell] >= faults.cycle) & (self.leaves[spell] <= renewed) & there.any(axis=1)
        first = np.where(taken, reads, LATER).min(axis=2, initial=LATER)
        read = np.minimum(first.min(axis=1), np.where(leaves, self.leaves[spell], LATER))
        live = read < LATER
        # A stuck bit that lasts until something else stands there.
        run = (faults.last_cycle > faults.cycle) & (
            (self._held(faults.slot, faults.last_cycle) != spell) | (renewed < faults.last_cycle)
            | (~stands & (writes < faults.last_cycle[:, None]).any(axis=1)))
        out = Delivered(np.zeros((n, e), np.uint64), np.zeros((n, e)), np.zeros(n, np.bool_), np.zeros(n, np.bool_),
                        np.full(n, np.nan), np.full(n, np.nan))
        where = np.where(live[:, None], col, OUTSIDE)
        deliver_all(np.ascontiguousarray(values), row, where, faults, m.stored.width_bits, m.hamming_bits,
                    PROTECTIONS.index(m.protection), Codec(*m.format.codec), Codec(*m.stored.codec), out)
        wrong = (out.mask != 0) & there
        alarm = np.where(out.alarm & live, np.minimum(read + 1, self.plan.timing.head_cycles), -1)
        taken &= wrong[:, :, None]
        return Told(row, col, wrong, out.value, out.mask, taken, reads, spell, leaves, renewed, read, alarm, run,
                    out.old_value, out.new_value)


def _table(passes: list[list[Pass]]) -> Passes:
    most = max(1, max((len(some) for some in passes), default=0))
    way, step, start = (np.full((len(passes), most), fill, np.int64) for fill in (0, -1, 0))
    for i, some in enumerate(passes):
        for u, one in enumerate(some):
            way[i, u], step[i, u], start[i, u] = one.way, one.step, one.start
    return Passes(way, step, start)


def leave(told: Told, golden: np.ndarray, codec: Any, out: Outcomes) -> None:
    """Write to `out` what outputs do that leave with wrong elements. golden (rows, columns): the fault-free ones."""
    at = np.flatnonzero(told.wrong.any(axis=1) & told.leaves & ~told.run)
    order = np.lexsort((told.col[at], told.row[at]), axis=1)
    row, col, value, wrong = (np.take_along_axis(np.asarray(part[at]), order, axis=1)
                              for part in (told.row, told.col, told.value, told.wrong))
    deliver_words(at, row, col, value, wrong, golden, codec, out)
