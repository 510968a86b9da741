"""When the `gemm` machine reads and writes the words of its SRAM: docs/machines/gemm.md (Memory)."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.machines.gemm_layout import Product
from accel_sim.machines.gemm_timing import GemmTiming, Phase
from accel_sim.machines.program import Tile
from accel_sim.words.plan import LATER, Element, Pass, Spell, WordPlan

ENCODE, FOLD, PARTIAL, MAX, EXP, DIVIDE = range(6)
"""What goes through a tile: an encoder, a fold, a fold that adds to partial sums, the two passes of the softmax, the
divide pass. The `start` of ENCODE and PARTIAL is that of their phase; the `step` of PARTIAL is the fold along k."""

RESULTS = {"qk": "s", "pv": "u"}


class GemmWords(WordPlan):
    """Tiles lie in their slots row by row. Partial sums of a product stand in the slots of its result."""

    timing: GemmTiming

    def __init__(self, machine: Any, timing: GemmTiming) -> None:
        super().__init__(machine, timing)
        # Of each step: its phase, and which part of it it is.
        self.phases: list[tuple[Phase, int]] = []
        for phase in timing.program:
            self.phases += [(phase, i) for i in range(self._steps(phase))]
        if len(self.phases) != len(timing.steps):
            raise AssertionError(f"{len(self.phases)} steps are not {len(timing.steps)}")
        self.numbers = np.array([phase.number for phase, _ in self.phases], np.int64)
        self.indices = np.array([i for _, i in self.phases], np.int64)

    def _steps(self, phase: Phase) -> int:
        """Steps of a phase: see `machines.gemm_timing`, and `gemm_plain`."""
        if phase.name in self.timing.products or phase.name in ("softmax", "divide"):
            return phase.parts
        if phase.name.endswith("_drain") or not self.machine.plain:
            return 1
        product = self.timing.products["qk"]
        return product.q_groups if phase.name.endswith("_rows") else product.p_groups

    # -- where

    def origin(self, tile: Tile) -> Element:
        """Blocks of whole rows; of a plain product as the folds cut it."""
        if not self.machine.plain:
            return tile.index[0] * self.machine.lanes, 0
        product = self.timing.products["qk"]
        cuts = {"p": product.p_group, "q": product.cols, "k": product.rows if product.streams_p else product.k}
        own, other = ("q", "p") if product.turned else ("p", "q")
        first, second = {"q": (own, "k"), "k": (other, "k"), "o": (own, other)}[tile.tensor]
        return tile.index[0] * cuts[first], tile.index[1] * cuts[second]

    def product_of(self, tensor: str) -> Product:
        """The product that a tensor is an operand or the result of."""
        found: Product = self.timing.products["pv" if tensor in "pvu" and not self.machine.plain else "qk"]
        return found

    def in_product(self, tensor: str, row: Any, col: Any) -> tuple[bool, Any, Any]:
        """(whether it is an operand along p, k, its place along p or q) of elements of an operand."""
        turned = self.product_of(tensor).turned
        if tensor == "v":
            return turned, row, col
        return (tensor == "k") == turned, col, row

    def in_result(self, tensor: str, row: Any, col: Any) -> tuple[Any, Any]:
        """(p, q) of elements of a result."""
        return (col, row) if self.product_of(tensor).turned else (row, col)

    def is_result(self, tensor: str) -> bool:
        """Whether a tensor is what a product delivers."""
        return tensor in "su" or (tensor == "o" and self.machine.plain)

    # -- when

    def passes(self, spell: Spell) -> list[Pass]:
        """Folds along k that add to the tile, then each step that reads it."""
        tensor = spell.tile.tensor
        found = []
        if self.is_result(tensor):
            product = self.product_of(tensor)
            start = self.timing.by_name[product.name].start
            found = [Pass(PARTIAL, start, fold) for fold in range(1, self.folds_along_k(tensor))]
        for step, start, reads, _ in spell.uses:
            phase = self.phases[step][0]
            if not reads or phase.name.endswith("_drain"):
                continue
            if phase.name == "softmax":
                found += [Pass(MAX, start, step), Pass(EXP, start, step)]
            elif phase.name == "divide":
                found.append(Pass(DIVIDE, start, step))
            elif phase.name not in self.timing.products:
                found.append(Pass(ENCODE, phase.start, step))
            elif not self.is_result(tensor):
                found.append(Pass(FOLD, start, step))
        return found

    def folds_along_k(self, tensor: str) -> int:
        """Folds that add to each sum of a result."""
        product = self.product_of(tensor)
        return product.folding.row_folds if product.streams_p else 1

    def read_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """See docs/machines/gemm.md."""
        found = np.full(len(row), LATER, np.int64)
        lead = 2 if self.machine.reciprocal else 1
        for one, offset in ((MAX, 1), (EXP, self.timing.n_keys + 3), (DIVIDE, lead)):
            found = np.where(way == one, start + offset + col, found)
        if tensor in "su" or tensor == "o":
            at = np.flatnonzero(way == PARTIAL)
            if at.size:
                found[at] = self._partial(tensor, step[at], row[at], col[at])
            return found
        for phase in self.timing.program:
            here = self.numbers[step] == phase.number
            at = np.flatnonzero(here & (way == FOLD))
            if at.size:
                found[at] = self._fold(tensor, self.indices[step[at]], start[at], row[at], col[at])
            at = np.flatnonzero(here & (way == ENCODE))
            if at.size:
                found[at] = self._encode(tensor, phase, row[at], col[at])
        return found

    def _fold(self, tensor: str, fold: Any, start: Any, row: Any, col: Any) -> Any:
        """When folds take elements of an operand."""
        product = self.product_of(tensor)
        folding = product.folding
        along_p, k, line = self.in_product(tensor, row, col)
        q_group, row_fold = np.divmod(fold, folding.row_folds)
        if along_p:
            here = k // folding.rows == row_fold if product.streams_p else line // product.rows == row_fold
            cycle = start + (folding.fill + line if product.streams_p else k)
        else:
            here = line // product.cols == q_group
            if product.streams_p:
                here = here & (k // folding.rows == row_fold)
            cycle = start + (folding.rows - 1 - k % folding.rows if product.streams_p else k)
        return np.where(here, cycle, LATER)

    def _encode(self, tensor: str, phase: Phase, row: Any, col: Any) -> Any:
        """When an encoder takes elements."""
        lanes = self.machine.lanes
        if phase.name == "encode_v":
            return phase.start + row // lanes * phase.steps + col
        product = self.timing.products[phase.name.split("_")[1]]
        _, k, line = self.in_product(tensor, row, col)
        group = product.cols if phase.name.endswith("_rows") else product.p_group
        part = line // group * -(-product.k // lanes) + k // lanes
        return phase.start + part * phase.steps + line % group

    def _partial(self, tensor: str, fold: Any, row: Any, col: Any) -> Any:
        """When fold number `fold` along k takes the sums of the one before."""
        product = self.product_of(tensor)
        folding, start = product.folding, self.timing.by_name[product.name].start
        p, q = self.in_result(tensor, row, col)
        number = q // product.cols * folding.row_folds + fold
        return start + number * folding.fold_cycles + folding.fill + p

    def writes(self, spell: Spell) -> list[Pass]:
        """Each fold that delivers sums of the tile, or the pass of the vector unit."""
        tensor = spell.tile.tensor
        if spell.loaded:
            return []
        if self.is_result(tensor):
            return [Pass(PARTIAL, 0, fold) for fold in range(self.folds_along_k(tensor))]
        return [Pass(EXP if tensor == "p" else DIVIDE, start, step) for step, start, _, writes in spell.uses if writes]

    def write_cycles(self, tensor: str, way: Any, step: Any, start: Any, row: Any, col: Any) -> Any:
        """See docs/machines/gemm.md."""
        if not self.is_result(tensor):
            lead = 2 if self.machine.reciprocal else 1
            return start + col + (self.timing.n_keys + 8 if tensor == "p" else lead + 2)
        product = self.product_of(tensor)
        folding, begin = product.folding, self.timing.by_name[product.name].start
        p, q = self.in_result(tensor, row, col)
        if product.streams_p:
            fold, line = q // product.cols * folding.row_folds + step, p
        else:
            fold, line = q // product.cols * folding.row_folds + p // product.rows, p % product.rows
        return begin + fold * folding.fold_cycles + product.first_delivery + line + q % product.cols
