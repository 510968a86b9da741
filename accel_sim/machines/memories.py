"""The SRAM around a lanes machine, as the second inventory beside its registers: banks, rows, words, check bits.

* `Memory`: the banks of one tensor, as an array of words, each with its check bits: what a fault in SRAM strikes;
* `memories(machine)`: all four, and the only place that says how large they are (area and energy count them here);
* `Residence`, `residence`, `word_at`: what a word holds in a cycle of the fault-free run, and when it is read.

docs/machines/lanes.md (Memory) is the text of the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from accel_sim.machines.lanes import LanesMachine, Timing
from accel_sim.machines.machine import Sram
from accel_sim.numerics.check_bits import WORD_BITS, check_bits, hamming_bits
from accel_sim.numerics.formats import Format

TENSORS = ("q", "k", "v", "o")

ABOUT = {
    "q": "rows of queries, from their arrival until they are loaded into lanes",
    "k": "tiles of keys, from their arrival until they have been streamed",
    "v": "tiles of values, from their arrival until they have been streamed",
    "o": "rows of outputs, from their store until they leave for off-chip memory",
}

NEVER = np.int64(2**62)
"""Later than any cycle."""


@dataclass(frozen=True)
class Memory:
    """The banks of one tensor: an array (banks, rows, words) of code words.

    A row has d elements of `format` (what the arithmetic has) as `stored` ones, cut into words of `word_elements`
    elements: as many as fit into 64 bits and divide the row. `protection` as in `memory.ecc`.

    Bits of a word: element after element from the least significant bit up, then the check bits.
    """

    tensor: str
    shape: tuple[int, ...]
    format: Format
    stored: Format
    word_elements: int
    protection: str

    role = "memory"

    @property
    def name(self) -> str:
        """`k_sram`."""
        return f"{self.tensor}_sram"

    @property
    def component(self) -> str:
        """`sram.k`."""
        return f"sram.{self.tensor}"

    @property
    def about(self) -> str:
        """What it holds."""
        return ABOUT[self.tensor]

    @property
    def size(self) -> int:
        """Number of words."""
        return math.prod(self.shape)

    @property
    def word_bits(self) -> int:
        """Data bits of a word."""
        return self.word_elements * self.stored.width_bits

    @property
    def check_bits(self) -> int:
        """Check bits of a word."""
        return check_bits(self.protection, self.word_bits)

    @property
    def hamming_bits(self) -> int:
        """Those of the Hamming code; 0 without one."""
        return hamming_bits(self.word_bits) if self.protection == "secded" else 0

    @property
    def width_bits(self) -> int:
        """Bits of a word, check bits included."""
        return self.word_bits + self.check_bits

    @property
    def data_bits(self) -> int:
        """Bits of all banks without check bits."""
        return self.size * self.word_bits

    @property
    def bits(self) -> int:
        """Bits of all banks."""
        return self.size * self.width_bits

    @property
    def bank_bytes(self) -> float:
        """Bytes of one bank, check bits included."""
        return self.bits / self.shape[0] / 8

    def address(self, index: tuple[int, ...]) -> int:
        """Number of a word, counted along the flattened array; IndexError if `index` does not fit."""
        if len(index) != 3 or any(not 0 <= i < n for i, n in zip(index, self.shape, strict=True)):
            raise IndexError(f"{self.name} has shape {self.shape} (banks, rows, words), "
                             f"index {tuple(index)} does not fit")
        return (index[0] * self.shape[1] + index[1]) * self.shape[2] + index[2]


@dataclass(frozen=True)
class Memories:
    """All memories of one machine. `resident`: K and V have a bank for every tile and keep them all head long. spills:
    tensors that leave the chip in between, whose words are not followed."""

    memories: tuple[Memory, ...]
    resident: bool
    spills: tuple[str, ...] = ()

    @property
    def told_of_spills(self) -> tuple[str, str]:
        """(key, message) of what there is to say about them."""
        tensor = self.spills[0]
        return f"memory.sram_kib.{tensor}", (f"with so little SRAM, tiles of {tensor} spill off the chip, where faults "
                                             "in SRAM words cannot follow them: leave it null, or strike registers")

    def __iter__(self) -> Iterator[Memory]:
        return iter(self.memories)

    def __contains__(self, name: str) -> bool:
        return any(memory.name == name for memory in self.memories)

    def __getitem__(self, name: str) -> Memory:
        """The memory called `name` (`k_sram`); KeyError if there is none."""
        for memory in self.memories:
            if memory.name == name:
                return memory
        raise KeyError(name)

    def of(self, tensor: str) -> Memory:
        """The memory of a tensor."""
        return self[f"{tensor}_sram"]


def memories(machine: LanesMachine) -> Memories:
    """The SRAM around a machine: `q_buffers` banks of P rows, `kv_buffers` of a tile each for K and V (a bank for
    every tile of the longest head with `kv_resident`), `o_buffers` of P rows; in the formats that the hardware stores.
    """
    memory, d = machine.config.memory, machine.head_dim
    formats = machine.stored_formats
    tiles = -(-machine.config.architecture.max_keys // machine.key_tile)
    kv = (tiles if memory.kv_resident else memory.kv_buffers, machine.key_tile)
    banks = {"q": (memory.q_buffers, machine.lanes), "k": kv, "v": kv, "o": (memory.o_buffers, machine.lanes)}

    def of(tensor: str) -> Memory:
        role = "output" if tensor == "o" else "operand"
        elements = word_elements(d, formats[role].width_bits)
        shape = (*banks[tensor], d // elements)
        return Memory(tensor, shape, machine.formats[role], formats[role], elements, memory.ecc)

    return Memories(tuple(of(tensor) for tensor in TENSORS), memory.kv_resident)


def lanes_memories(machine: LanesMachine, timing: Timing) -> Memories:
    """The same, whatever the machine is used for."""
    return memories(machine)


def lanes_srams(machine: LanesMachine, timing: Timing) -> tuple[Sram, ...]:
    """The SRAM around a machine, to be priced, whatever it is used for. With `memory.kv_resident`, K and V for the
    longest head that it can run."""
    return tuple(Sram(m.tensor, m.bits, m.bank_bytes, m.width_bits / m.word_bits,
                      "output" if m.tensor == "o" else "operand") for m in memories(machine))


def word_elements(d: int, width_bits: int) -> int:
    """Elements of a word: the most that fit into 64 bits and divide a row of d."""
    return max(n for n in range(1, d + 1) if d % n == 0 and n * width_bits <= WORD_BITS)


class Residence(NamedTuple):
    """What words hold at the start of some stall-free cycles, each field an int64 array of one length.

    row: the key (k, v) or query (q, o) in the word's row, −1 for none. tile: which tile counted over the head (k, v)
    or block (q, o) that is, −1 for none. read: stall-free cycle in which it is read next, after the faults of that
    cycle have acted; `NEVER` if it is not, and for O at the end of the run: the cycle count of the head.
    """

    row: np.ndarray
    tile: np.ndarray
    read: np.ndarray


def residence(machine: LanesMachine, timing: Timing, tensor: str, banks: int, bank: np.ndarray, row: np.ndarray,
              cycle: np.ndarray, resident: bool = False) -> Residence:
    """The residences of words (bank, row) of one tensor at the start of the stall-free cycles `cycle`, in the
    fault-free run; int64 arrays of one length."""
    if tensor in "kv":
        return _of_tiles(machine, timing, banks, bank, row, cycle, resident)
    if tensor == "q":
        return _of_queries(timing, banks, bank, row, cycle)
    return _of_outputs(timing, banks, bank, row, cycle)


def word_at(machine: LanesMachine, timing: Timing, all_memories: Memories, name: str, index: tuple[int, ...],
            cycle: int) -> tuple[int, int]:
    """(row, read) of one word at the start of a stall-free cycle, as `Residence` has them."""
    memory = all_memories[name]
    bank, row, at = (np.array([n], dtype=np.int64) for n in (*index[:2], cycle))
    found = residence(machine, timing, memory.tensor, memory.shape[0], bank, row, at, all_memories.resident)
    return int(found.row[0]), int(found.read[0])


def _held(counter: np.ndarray, total: int, banks: int, bank: np.ndarray) -> np.ndarray:
    """Tile (or block) in each bank when the counter reads `counter`: counter … counter + banks − 1 are there, and what
    is past the last one leaves the one before it in place; −1 in a bank that was never filled."""
    held = counter + (bank - counter) % banks
    late = np.maximum(0, held - total + banks) // banks
    held = held - late * banks
    return np.where(held >= 0, held, -1)


def _of_tiles(machine: LanesMachine, timing: Timing, banks: int, bank: np.ndarray, row: np.ndarray,
              cycle: np.ndarray, resident: bool) -> Residence:
    rows = machine.key_tile
    tiles = -(-timing.n_keys // rows)
    since = cycle - timing.lanes  # since the first block began to stream
    block = np.clip(since // timing.period, 0, timing.blocks - 1)
    streamed = np.clip(since - block * timing.period, 0, timing.n_keys)
    if resident:
        # Read in every block: next in this one if its turn has not passed, else in the one after.
        key = bank * rows + row
        there = (bank < tiles) & (key < timing.n_keys)
        block = block + (cycle > timing.lanes + block * timing.period + key)
        tile = np.where(bank < tiles, bank, -1)
    else:
        tile = _held(block * tiles + streamed // rows, timing.blocks * tiles, banks, bank)
        block, at = np.divmod(tile, tiles)
        key = at * rows + row
        there = (tile >= 0) & (key < timing.n_keys)
    read = timing.lanes + block * timing.period + key
    live = there & (read >= cycle) & (block < timing.blocks)
    return Residence(np.where(there, key, -1), tile, np.where(live, read, NEVER))


def _of_queries(timing: Timing, banks: int, bank: np.ndarray, row: np.ndarray, cycle: np.ndarray) -> Residence:
    begun = np.clip((cycle - timing.lanes) // timing.period + 1, 0, timing.blocks)
    block = _held(begun, timing.blocks, banks, bank)
    query = block * timing.lanes + row
    there = (block >= 0) & (query < timing.n_queries)
    read = block * timing.period + row
    return Residence(np.where(there, query, -1), block, np.where(there & (read >= cycle), read, NEVER))


def _of_outputs(timing: Timing, banks: int, bank: np.ndarray, row: np.ndarray, cycle: np.ndarray) -> Residence:
    # Block b's row stands in its word from the cycle after its store.
    first = timing.out_cycle(0) + row
    stored = (cycle - 1 - first) // timing.period  # the last block whose row is stored, if it has one
    last = np.minimum(stored, (timing.n_queries - 1 - row) // timing.lanes)
    block = last - (last - bank) % banks
    there = (block >= 0) & (last >= 0)
    query = block * timing.lanes + row
    after = query + banks * timing.lanes
    leaves = np.where(after < timing.n_queries, first + (block + banks) * timing.period, timing.head_cycles)
    return Residence(np.where(there, query, -1), np.where(there, block, -1), np.where(there, leaves, NEVER))
