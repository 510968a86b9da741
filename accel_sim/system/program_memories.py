"""The SRAM around a machine that works through a program: slots, and their words with check bits.

`program_memories` is the only place that says how large they are; area and energy count them here (`program_srams`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from accel_sim.machines.machine import Sram
from accel_sim.machines.memories import Memories, Memory, word_elements
from accel_sim.machines.program import OFF_CHIP, ProgramTiming, Tile
from accel_sim.system.program import bytes_of_tiles, sram_slots
from accel_sim.system.program_plan import demands_of, slots_for_life

if TYPE_CHECKING:
    from accel_sim.machines.program_machine import ProgramMachine

ABOUT = {
    "q": "tiles of queries, from their load until their slot is needed",
    "k": "tiles of keys, from their load until their slot is needed",
    "v": "tiles of values, from their load until their slot is needed",
    "s": "tiles of scores, from their product until their slot is needed",
    "p": "tiles of weights as operands, from the softmax until their slot is needed",
    "u": "tiles of outputs before their division, until their slot is needed",
    "o": "tiles of outputs, from their store until they leave for off-chip memory",
}
ABOUT_PLAIN = {
    "q": "tiles of A, from their load until their slot is needed",
    "k": "tiles of B, transposed, from their load until their slot is needed",
    "o": "tiles of the product, from their store until they leave for off-chip memory",
}


@dataclass(frozen=True)
class SlotMemory(Memory):
    """The slots of one tensor: an array (slots, words) of code words.

    tile: rows and columns of the largest tile, whose elements fill a slot one after the other; words are cut across
    them as they come, whatever a row is. plain: of a plain product.
    """

    tile: tuple[int, int]
    plain: bool

    @property
    def about(self) -> str:
        """What it holds."""
        return (ABOUT_PLAIN if self.plain else ABOUT)[self.tensor]

    def address(self, index: tuple[int, ...]) -> int:
        """Number of a word, counted along the flattened array; IndexError if `index` does not fit."""
        if len(index) != 2 or any(not 0 <= i < n for i, n in zip(index, self.shape, strict=True)):
            raise IndexError(f"{self.name} has shape {self.shape} (slots, words), index {tuple(index)} does not fit")
        return index[0] * self.shape[1] + index[1]


def program_memories(machine: ProgramMachine, timing: ProgramTiming) -> Memories:
    """The SRAM around a machine for heads of a timing: slots as `sram_slots` has them, each for the largest tile of
    its tensor, in the formats that the hardware stores. ConfigError if a capacity is too small."""
    memory, stored = machine.config.memory, machine.stored_formats
    largest: dict[str, Tile] = {}
    for tile in (tile for step in timing.steps for tile in (*step.reads, *step.writes)):
        if tile.tensor not in largest or tile.elements > largest[tile.tensor].elements:
            largest[tile.tensor] = tile
    found: list[Memory] = []
    for tensor, slots in sram_slots(timing, memory, bytes_of_tiles(timing, stored), machine.config).items():
        tile = largest[tensor]
        elements = word_elements(tile.elements, stored[tile.role].width_bits)
        found.append(SlotMemory(tensor, (slots, tile.elements // elements), machine.formats[tile.role],
                                stored[tile.role], elements, memory.ecc, (tile.rows, tile.cols), machine.plain))
    demands = demands_of(timing.steps)
    spills = tuple(m.tensor for m in found
                   if m.tensor not in OFF_CHIP and m.shape[0] < slots_for_life(demands[m.tensor]))
    return Memories(tuple(found), False, spills)


def program_srams(machine: ProgramMachine, timing: ProgramTiming) -> tuple[Sram, ...]:
    """The same, to be priced; slots are dealt out over `memory.sram_banks`."""
    roles = {tile.tensor: tile.role for step in timing.steps for tile in (*step.reads, *step.writes)}
    found = []
    for m in program_memories(machine, timing):
        banks = min(m.shape[0], machine.config.memory.sram_banks)
        found.append(Sram(m.tensor, float(m.bits), m.bits / 8 / banks, m.width_bits / m.word_bits, roles[m.tensor]))
    return tuple(found)
