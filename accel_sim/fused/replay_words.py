"""Faults in SRAM words of the `fused` machine, replayed: what the wrong elements do that `accel_sim.words.told` finds.

A wrong element of Q, K or V makes the queries that take it others, from the tile or block on in which they first do
(`words_kernel`); one of O is delivered as it is. With a check unit of which that kernel does not know, a wrong element
that is taken once is a flip in `feed`, where it stands in the cycle after the read, and others are run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accel_sim.engines.replay.types import FALL_BACK, Outcomes
from accel_sim.fused.words_kernel import (
    KEYS,
    QUERIES,
    VALUES,
    WordRoom,
    WrongElements,
    replay_words,
)
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.fused import AGAIN, FusedWords
from accel_sim.words.told import Told, WordFaults, WordOutcomes, WordTables, leave

if TYPE_CHECKING:
    from accel_sim.fused.replay import FusedReplay

WHICH = {"q": QUERIES, "k": KEYS, "v": VALUES}

KNOWN = {"fused_output", "softmax_invariants"}
"""Check units of which `words_kernel` knows all that they see."""


class Parts(NamedTuple):
    """Of a replay engine, as its kernels take them. untouched (n): outcomes of n faults that change nothing."""

    x: Any
    constants: Any
    rules: Any
    codec: Any
    compare: Any
    scratch: Any
    untouched: Callable[[int], Outcomes]


class ReplayWords:
    """The words around one replay engine's head."""

    def __init__(self, engine: FusedReplay, parts: Parts) -> None:
        self.engine, self.parts = engine, parts
        self.plan = FusedWords(engine.machine, engine.timing)
        self._tables: dict[str, WordTables] = {}
        n, width = engine.machine.size, engine.machine.size + engine.machine.columns
        blocks = engine.timing.query_tiles
        self._room = WordRoom(np.zeros((n, width)), np.zeros(n), np.zeros((blocks, width)), np.zeros(blocks, np.uint8))
        self._known = {unit.kind for unit in engine.machine.units} <= KNOWN

    def outcomes(self, memory: SlotMemory, faults: WordFaults) -> WordOutcomes:
        """What faults in one memory do; cycles are the machine's."""
        job = self.engine.job
        values = {"q": job.q, "k": job.k, "v": job.v, "o": self.engine.golden.output}[memory.tensor]
        if memory.tensor not in self._tables:
            self._tables[memory.tensor] = WordTables(self.plan, memory)
        tables = self._tables[memory.tensor]
        told = tables.tell(values, faults)
        out = self.parts.untouched(len(faults.slot))
        if memory.tensor == "o":
            leave(told, self.engine.golden.output, self.parts.codec, out)
        elif self._known:
            self._again(tables, told, out)
        else:
            out = self._fed(tables, told, out)
        out.old_value[:], out.new_value[:] = told.old_value, told.new_value
        out.status[told.run] = FALL_BACK
        return WordOutcomes(out, told.alarm_cycle)

    def _again(self, tables: WordTables, told: Told, out: Outcomes) -> None:
        """Elements that the array takes wrong."""
        at = np.flatnonzero(told.taken.any(axis=(1, 2)) & ~told.run)
        taken, here = told.taken[at], told.taken[at].any(axis=2)
        fault, e = np.nonzero(here)
        unit = self._unit(tables)[told.spell[at]]
        since = unit[fault, taken[fault, e].argmax(axis=1)]
        until = np.where(taken.any(axis=1), unit, -1).max(axis=1)
        wrong = WrongElements(np.cumsum(here.sum(axis=1)), until, told.row[at][fault, e], told.col[at][fault, e],
                              told.value[at][fault, e], since)
        p, machine = self.parts, self.engine.machine
        replay_words(WHICH[tables.memory.tensor], at, wrong, machine.columns > 0, p.x, machine.size, p.constants,
                     p.rules, p.codec, p.compare, self._room, p.scratch, out)

    def _unit(self, tables: WordTables) -> np.ndarray:
        """(spells, passes): the block (k, v) or key tile (q) of each pass."""
        # Three instructions a key tile, and three at the end of a block.
        block, within = np.divmod(tables.reads.step, 3 * self.engine.timing.key_tiles + 3)
        found: np.ndarray = within // 3 if tables.memory.tensor == "q" else block
        return found

    def _fed(self, tables: WordTables, told: Told, out: Outcomes) -> Outcomes:
        """One element that is taken once, as a flip in the register that it is read into."""
        memory = tables.memory
        count = told.taken.sum(axis=(1, 2))
        e = np.argmax(told.taken.any(axis=2), axis=1)
        once = (count == 1) & ~told.run
        at = np.flatnonzero(once)
        line = told.row[at, e[at]] % self.engine.machine.size if memory.tensor == "v" else told.col[at, e[at]]
        inventory = self.engine.machine.inventory
        slots = inventory.offsets["feed"] + line
        if memory.tensor == "q" and "rowsum_query" in inventory:
            way = tables.reads.way[told.spell[at], told.taken[at, e[at]].argmax(axis=1)]
            slots = np.where(way == AGAIN, inventory.offsets["rowsum_query"] + line, slots)
        n, cycles = len(at), told.cycle[at, e[at]][told.taken[at, e[at]]] + 1
        arith, stored = (np.tile(np.array(fmt.codec, np.int64), (n, 1)) for fmt in (memory.format, memory.stored))
        found = self.engine.outcomes(slots, cycles, cycles, np.zeros(n, np.int64), told.mask[at, e[at]], arith, stored)
        for ours, theirs in zip(out, found, strict=True):
            ours[at] = theirs
        out.status[(count > 0) & ~once] = FALL_BACK
        return out
