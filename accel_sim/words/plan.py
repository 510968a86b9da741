"""What stands in the slots of a program's SRAM, cycle by cycle of the machine.

The plan of `accel_sim.system.program_plan` says which tile has which slot from which step to which. From it follow the
`Spell`s of each slot: a tile is there from the end of the step behind which its load may be asked for (or from its
write), and until its slot is needed: loads come as early and stores leave as late as the plan lets them, whatever the
off-chip memory does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from accel_sim.machines.memories import NEVER as LATER
from accel_sim.machines.memories import Memories
from accel_sim.machines.program import ProgramTiming, Tile
from accel_sim.system.program import bytes_of_tiles
from accel_sim.system.program_memories import SlotMemory, program_memories
from accel_sim.system.program_plan import NEVER, Plan, Stay, plan_program

Element = tuple[int, int]
"""Row and column of an element, in its tile or in its tensor."""


class Pass(NamedTuple):
    """One time through a tile. way: what does it, a number of the machine's. start, step: first machine cycle and
    number of the step."""

    way: int
    start: int
    step: int


@dataclass
class Spell:
    """A tile's time in a slot, in machine cycles.

    begin: first cycle in which it can stand there: all of it, if it was loaded from off the chip; else, as far as it
    has been written by then. leaves: the cycle in which it is read to be stored, after the faults of that cycle (the
    head's cycles: when the run is over), −1 if it never is. ends: first cycle of the step that takes its slot. uses:
    (number of the step, its first cycle, reads it, writes it), in order.
    """

    tile: Tile
    slot: int
    begin: int
    loaded: bool
    leaves: int
    ends: int
    uses: list[tuple[int, int, bool, bool]] = field(default_factory=list)


class WordPlan(ABC):
    """The memories of one head of a machine, and what is in them. Machines derive from it: where a tile's elements
    lie, and when the datapath reads and writes them."""

    turned: frozenset[str] = frozenset()
    """Tensors whose tiles lie in their slot column by column."""

    def __init__(self, machine: Any, timing: ProgramTiming) -> None:
        self.machine, self.timing = machine, timing
        self.memories: Memories = program_memories(machine, timing)

    # -- where

    @abstractmethod
    def origin(self, tile: Tile) -> Element:
        """The tile's first row and column in its tensor."""

    def elements(self, memory: SlotMemory, word: int) -> list[Element]:
        """Row and column in the tile of each element of word number `word` of a slot. A tile that is smaller than the
        largest may not have them: zeros stand there."""
        rows, cols = memory.tile
        flat = range(word * memory.word_elements, (word + 1) * memory.word_elements)
        if memory.tensor in self.turned:
            return [(i % rows, i // rows) for i in flat]
        return [divmod(i, cols) for i in flat]

    # -- when

    @abstractmethod
    def passes(self, spell: Spell) -> list[Pass]:
        """Every time that the datapath goes through the tile while it is in its slot, in such an order that an element
        is not read in one before it is in the next."""

    @abstractmethod
    def read_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """Machine cycles in which passes read elements of a tensor, `LATER` where they do not: int64 arrays that go
        with each other; row, col: in the tensor."""

    @abstractmethod
    def writes(self, spell: Spell) -> list[Pass]:
        """Likewise every time that it writes the tile."""

    @abstractmethod
    def write_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """Likewise the cycles in which it writes elements."""

    def reads_of(self, spell: Spell, where: Element) -> list[int]:
        """All cycles, ascending, in which the datapath reads an element (of the tensor) while it is in its slot."""
        return _cycles(self.read_cycles, spell, self.passes(spell), where)

    def writes_of(self, spell: Spell, where: Element) -> list[int]:
        """The same of its writes."""
        return _cycles(self.write_cycles, spell, self.writes(spell), where)

    @cached_property
    def _plan(self) -> Plan:
        tile_bytes = bytes_of_tiles(self.timing, self.machine.stored_formats)
        slots = {memory.tensor: memory.shape[0] for memory in self.memories}
        return plan_program(self.timing.steps, slots, tile_bytes, self.machine.config.memory.sram_banks)

    @cached_property
    def spells(self) -> dict[str, list[list[Spell]]]:
        """By tensor and slot, in order."""
        timing, plan = self.timing, self._plan
        found: dict[str, list[list[Spell]]] = {m.tensor: [[] for _ in range(m.shape[0])] for m in self.memories}
        here: dict[tuple[str, tuple[int, ...]], list[tuple[Stay, Spell]]] = {}
        for tensor, stays in plan.stays.items():
            for stay in stays:
                before = found[tensor][stay.slot]
                spell = self._spell(stay, before[-1] if before else None)
                before.append(spell)
                here.setdefault(stay.tile.name, []).append((stay, spell))
        for number, (step, start) in enumerate(zip(timing.steps, timing.starts, strict=False)):
            for tile in dict.fromkeys((*step.reads, *step.writes)):
                spell = next(s for stay, s in here[tile.name] if stay.first <= number <= stay.last)
                spell.uses.append((number, start, tile in step.reads, tile in step.writes))
        return found

    def _spell(self, stay: Stay, before: Spell | None) -> Spell:
        timing, requests = self.timing, self._plan.requests
        loaded = stay.load >= 0
        ends = timing.head_cycles if stay.until == NEVER else timing.starts[stay.until]
        begin = timing.starts[requests[stay.load].release + 1] if loaded else 0 if before is None else before.ends
        return Spell(stay.tile, stay.slot, begin, loaded, ends if stay.store >= 0 else -1, ends)


def place(plan: WordPlan, tile: Tile, element: Element) -> Element | None:
    """Row and column in the tensor of an element of a tile; None if the tile has no such element."""
    if element[0] >= tile.rows or element[1] >= tile.cols:
        return None
    row, col = plan.origin(tile)
    return row + element[0], col + element[1]


def value_at(values: np.ndarray, where: Element | None) -> float:
    """An element of a tensor; zero where there is none."""
    return 0.0 if where is None else float(values[where])


def _cycles(of: Callable[..., Any], spell: Spell, passes: list[Pass], where: Element) -> list[int]:
    if not passes:
        return []
    way, start, step = (np.array(field, np.int64) for field in zip(*passes, strict=True))
    row, col = (np.full(len(passes), at, np.int64) for at in where)
    found = of(spell.tile.tensor, way, step, start, row, col)
    return [int(cycle) for cycle in found if cycle < LATER]


__all__ = ["LATER", "Element", "Pass", "Spell", "WordPlan", "place", "value_at"]
