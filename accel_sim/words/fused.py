"""When the `fused` machine reads and writes the words of its SRAM: docs/machines/fused.md (Memory)."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.machines.fused_timing import PHASES, WAIT
from accel_sim.machines.program import Tile
from accel_sim.words.plan import Element, Pass, Spell, WordPlan

AGAIN = 1
"""`Pass.way` of a query's second reading."""


class FusedWords(WordPlan):
    """A cycle reads a query, a key or a dimension of the values; a cycle writes a dimension of the outputs. So v and o
    lie in their slots dimension by dimension."""

    turned = frozenset("vo")

    def origin(self, tile: Tile) -> Element:
        """Tiles are blocks of whole rows."""
        return tile.index[0] * self.machine.size, 0

    def passes(self, spell: Spell) -> list[Pass]:
        """Every instruction goes through its tile once; so does the unit of the scores' row sums, in the wait for the
        accumulators."""
        phases = [step.phase for step in self.timing.steps]
        return [Pass(AGAIN if phases[step] == PHASES[WAIT] else 0, start, step)
                for step, start, reads, _ in spell.uses if reads]

    def read_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """Queries come last to first, but for the second time; keys and dimensions in their order."""
        n = self.machine.size
        if tensor == "q":
            return start + np.where(np.asarray(way) == AGAIN, row % n, n - 1 - row % n)
        return start + (row % n if tensor == "k" else col)

    def writes(self, spell: Spell) -> list[Pass]:
        """LseNorm writes its tile once."""
        return [Pass(0, start, step) for step, start, _, writes in spell.uses if writes]

    def write_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """A dimension is stored in the cycle after that in which it is formed."""
        return start + col + 1
