"""What one head moves: bytes of query blocks, key tiles and output blocks, and of the SRAM that holds them.

`Work` holds the sizes; `work_of` reads them off a machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accel_sim.config import Memory
    from accel_sim.machines.lanes import LanesMachine

TENSORS = ("q", "k", "v", "o")
"""Everything that crosses the off-chip channel: q, k and v are read, o is written."""


@dataclass(frozen=True)
class Work:
    """One head of `n_queries` x `n_keys`, cut into query blocks of `lanes` rows and key tiles of `key_tile`.

    The last block and the last tile may be smaller: only rows that exist are moved.
    """

    n_queries: int
    n_keys: int
    lanes: int
    key_tile: int
    operand_row_bytes: int
    output_row_bytes: int

    def __post_init__(self) -> None:
        for name in ("n_queries", "n_keys"):
            count = getattr(self, name)
            if count < 1:
                raise ValueError(f"{name} must be at least 1 (got {count})")

    @property
    def blocks(self) -> int:
        """Query blocks: ⌈Nq / P⌉."""
        return -(-self.n_queries // self.lanes)

    @property
    def tiles(self) -> int:
        """Key tiles: ⌈N / key_tile⌉."""
        return -(-self.n_keys // self.key_tile)

    def queries_in(self, block: int) -> int:
        """Queries of a block."""
        return min(self.lanes, self.n_queries - block * self.lanes)

    def keys_in(self, tile: int) -> int:
        """Keys of a tile: also the cycles that it streams."""
        return min(self.key_tile, self.n_keys - tile * self.key_tile)

    def q_bytes(self, block: int) -> int:
        """Bytes of the block's queries."""
        return self.queries_in(block) * self.operand_row_bytes

    def kv_bytes(self, tile: int) -> int:
        """Bytes of the tile's keys; its values are as many again."""
        return self.keys_in(tile) * self.operand_row_bytes

    def o_bytes(self, block: int) -> int:
        """Bytes of the block's outputs."""
        return self.queries_in(block) * self.output_row_bytes

    def sram_capacity_bytes(self, memory: Memory) -> dict[str, int]:
        """Bytes of SRAM that each tensor's banks hold: one full block or tile a bank.

        With `kv_resident` the K and V SRAM have a bank for every tile of the head, and `kv_buffers` limits
        nothing.
        """
        q_bank, o_bank = self.lanes * self.operand_row_bytes, self.lanes * self.output_row_bytes
        kv_banks = self.tiles if memory.kv_resident else memory.kv_buffers
        kv = kv_banks * self.key_tile * self.operand_row_bytes
        return {"q": memory.q_buffers * q_bank, "k": kv, "v": kv, "o": memory.o_buffers * o_bank}


def work_of(machine: LanesMachine, n_queries: int, n_keys: int) -> Work:
    """The work of one head on `machine`: operand format for q, k and v, output format for o.

    Raises ValueError if a count is not positive.
    """
    return Work(
        n_queries=n_queries,
        n_keys=n_keys,
        lanes=machine.lanes,
        key_tile=machine.key_tile,
        operand_row_bytes=machine.head_dim * (machine.formats["operand"].width_bits // 8),
        output_row_bytes=machine.head_dim * (machine.formats["output"].width_bits // 8),
    )
