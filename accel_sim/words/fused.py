"""When the `fused` machine reads and writes the words of its SRAM: docs/machines/fused.md (Memory)."""

from __future__ import annotations

from typing import Any

from accel_sim.machines.program import Tile
from accel_sim.words.plan import Element, WordPlan


class FusedWords(WordPlan):
    """A cycle reads a query, a key or a dimension of the values; a cycle writes a dimension of the outputs. So v and o
    lie in their slots dimension by dimension."""

    turned = frozenset("vo")

    def origin(self, tile: Tile) -> Element:
        """Tiles are blocks of whole rows."""
        return tile.index[0] * self.machine.size, 0

    def passes(self, tile: Tile, step: int) -> tuple[int, ...]:
        """Every instruction goes through its tile once."""
        return (0,)

    def read_offset(self, tensor: str, way: int, row: Any, col: Any) -> Any:
        """Queries come last to first, keys and dimensions in their order."""
        return {"q": self.machine.size - 1 - row, "k": row, "v": col}[tensor]

    def write_offset(self, tensor: str, row: Any, col: Any) -> Any:
        """A dimension is stored in the cycle after that in which it is formed."""
        return col + 1
