"""When the phases of a head run on the `gemm` machine, and its steps for the memory system.

| phase | parts | steps of a part |
|---|---|---|
| `encode_v` | ⌈N/W⌉ | d + 1 + 2f |
| `encode_qk_rows`, `encode_pv_rows` | column groups · ⌈K/W⌉ | C + 1 + 2s |
| `encode_qk_columns`, `encode_pv_columns` | row groups · ⌈K/W⌉ | R (`os`) or all p, + 1 + 2s |
| `qk`, `pv` | folds | cycles of a fold |
| `qk_drain`, `pv_drain` | 1 | 3 |
| `softmax` | ⌈Nq/W⌉ | 2N + 8; softmax invariants: 2N + 9 + W |
| `divide` | ⌈Nq/W⌉ | d + 3, one more with reciprocals; fused check: d + f + W + 5 |

A plain product has `qk`, its encoders and its drain only; `gemm_plain` has its steps for the memory system.

Phases never overlap, parts and steps follow each other without a gap: a phase takes parts · steps cycles.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from accel_sim.machines.gemm_layout import Product
from accel_sim.machines.gemm_plain import plain_steps
from accel_sim.machines.program import ProgramTiming, Step, Tile

if TYPE_CHECKING:
    from accel_sim.machines.gemm import GemmMachine

DRAIN = 3
"""Cycles behind a checked product: until the last comparison has raised its alarm and a correction is written."""


class Phase(NamedTuple):
    """One phase of a head. number: what `phase` holds. start: first machine cycle."""

    name: str
    number: int
    start: int
    parts: int
    steps: int

    @property
    def cycles(self) -> int:
        """How long it takes."""
        return self.parts * self.steps

    @property
    def end(self) -> int:
        """First cycle after it."""
        return self.start + self.cycles


@dataclass(frozen=True)
class GemmTiming(ProgramTiming):
    """One head: program (its phases in order), products, and `steps` for the memory system."""

    program: tuple[Phase, ...] = ()
    products: dict[str, Product] = field(default_factory=dict)

    @cached_property
    def by_name(self) -> dict[str, Phase]:
        """The phases by name."""
        return {phase.name: phase for phase in self.program}

    def at(self, cycle: int) -> Phase | None:
        """The phase that runs in a cycle; None outside the head."""
        return next((phase for phase in self.program if phase.start <= cycle < phase.end), None)

    def spans(self) -> Iterator[tuple[str, int, int, int]]:
        """(phase, its number, first cycle, cycles) in order, without gaps."""
        for phase in self.program:
            yield phase.name, 0, phase.start, phase.cycles

    def phase_name(self, phase: str, number: int) -> str:
        """One of them in words."""
        return phase.replace("_", " ")


def encode_steps(group: int, words: int) -> int:
    """Cycles of a part of an encoder: sum `group` elements, then take `words` words off the sum."""
    return group + 1 + 2 * words


def softmax_steps(machine: GemmMachine, n_keys: int) -> int:
    """Cycles of a block of the softmax; with the unit that watches it, the lanes are judged one after the other
    behind."""
    return 2 * n_keys + 8 + (0 if machine.softmax is None else machine.lanes + 1)


def divide_steps(machine: GemmMachine) -> int:
    """Cycles of a block of the divide pass."""
    lead = 2 if machine.reciprocal else 1
    if machine.fused is None:
        return lead + machine.head_dim + 2
    return lead + machine.head_dim + machine.fused_words + 2 + machine.lanes + 2


def _shape(machine: GemmMachine, name: str, products: dict[str, Product], n_queries: int,
           n_keys: int) -> tuple[int, int]:
    """(parts, steps) of a phase."""
    blocks = -(-n_queries // machine.lanes)
    if name == "softmax":
        return blocks, softmax_steps(machine, n_keys)
    if name == "divide":
        return blocks, divide_steps(machine)
    if name == "encode_v":
        return -(-n_keys // machine.lanes), encode_steps(machine.head_dim, machine.fused_words)
    if name in products:
        return products[name].folding.folds, products[name].folding.fold_cycles
    if name.endswith("_drain"):
        return 1, DRAIN
    _, which, side = name.split("_")
    product = products[which]
    groups, size = (product.q_groups, product.cols) if side == "rows" else (product.p_groups, product.p_group)
    return groups * -(-product.k // machine.lanes), encode_steps(size, machine.encoder_check(name).words)


def gemm_program(machine: GemmMachine, n_queries: int, n_keys: int) -> tuple[tuple[Phase, ...], dict[str, Product]]:
    """(phases, products by name) of a head of n_queries × n_keys."""
    products = {name: machine.product(name, n_queries, n_keys) for name in machine.product_names}
    program, start = [], 0
    for number, name in enumerate(machine.phases):
        parts, steps = _shape(machine, name, products, n_queries, n_keys)
        program.append(Phase(name, number, start, parts, steps))
        start += parts * steps
    return tuple(program), products


def gemm_timing(machine: GemmMachine, n_queries: int, n_keys: int) -> GemmTiming:
    """Everything about the time of a head of n_queries × n_keys."""
    program, products = gemm_program(machine, n_queries, n_keys)
    if machine.plain:
        steps = plain_steps(machine, program, products["qk"])
    else:
        steps = tuple(step for phase in program for step in _steps(machine, phase, products, n_queries, n_keys))
    return GemmTiming(n_queries, n_keys, steps, program, products)


# ---- tiles

def _blocks(total: int, size: int, count: int) -> list[tuple[int, int]]:
    """(index, elements) of `count` pieces of `size`, the last ones ragged; none that are empty."""
    return [(i, min(size, total - i * size)) for i in range(count) if total > i * size]


class _Tiles:
    """Tiles of the tensors of a head: rows in blocks of the vector unit's lanes, or as folds cut them."""

    def __init__(self, machine: GemmMachine, n_queries: int, n_keys: int) -> None:
        self.d, self.lanes = machine.head_dim, machine.lanes
        self.sizes = {**dict.fromkeys("qospu", n_queries), "k": n_keys, "v": n_keys}
        self.widths = {**dict.fromkeys("qkvo", self.d), "s": n_keys, "p": n_keys, "u": self.d + machine.fused_words}
        self.roles = {"s": "score", "p": "operand", "u": "state", "o": "output"}

    def rows(self, tensor: str, first: int, last: int) -> tuple[Tile, ...]:
        """The tiles that hold rows first … last − 1 of a tensor, whole rows in blocks of the lanes."""
        role, width, size = self.roles.get(tensor, "operand"), self.widths[tensor], self.sizes[tensor]
        last = min(last, size)
        return tuple(Tile(tensor, (b,), min(self.lanes, size - b * self.lanes), width, role)
                     for b in range(first // self.lanes, -(-last // self.lanes)))


def _steps(machine: GemmMachine, phase: Phase, products: dict[str, Product], n_queries: int,
           n_keys: int) -> Iterator[Step]:
    """The steps of a phase: folds, blocks, or the phase as a whole. Scores, probabilities and undivided outputs stay on
    chip; a tile is a block of whole rows of its tensor."""
    tiles = _Tiles(machine, n_queries, n_keys)
    name = phase.name
    if name in products:
        yield from _fold_steps(phase, products[name], tiles)
    elif name in ("softmax", "divide"):
        source, result = ("s", "p") if name == "softmax" else ("u", "o")
        for part in range(phase.parts):
            rows = (part * machine.lanes, (part + 1) * machine.lanes)
            yield Step(f"{name} {part}", name, phase.steps, tiles.rows(source, *rows), tiles.rows(result, *rows))
    elif name.endswith("_drain"):
        yield Step(name.replace("_", " "), name, phase.cycles)
    else:
        tensors = {"encode_v": "v"}
        tensor = tensors.get(name) or encoded(name, machine.flow)
        yield Step(name.replace("_", " "), name, phase.cycles, tiles.rows(tensor, 0, tiles.sizes[tensor]))


def encoded(name: str, flow: str) -> str:
    """The tensor that a phase of an encoder for the array reads."""
    _, product, side = name.split("_")
    left, right = ("q", "k") if product == "qk" else ("p", "v")
    along_columns = side == "rows"
    return (left if along_columns else right) if flow == "is" else (right if along_columns else left)


def _fold_steps(phase: Phase, product: Product, tiles: _Tiles) -> Iterator[Step]:
    """Folds: they read blocks of both operands; a block of the result is complete with the last fold that adds to
    it."""
    folding = product.folding
    left, right, result = ("q", "k", "s") if product.name == "qk" else ("p", "v", "u")
    done = _completed(product, tiles, result)
    for fold in folding:
        q_group, row = divmod(fold.number, folding.row_folds)
        p, k = (0, product.p_size), (0, product.k)
        q = (q_group * product.cols, (q_group + 1) * product.cols)
        if product.streams_p:
            k = (row * product.rows, (row + 1) * product.rows)
        else:
            p = (row * product.rows, (row + 1) * product.rows)
        m, n = (q, p) if product.turned else (p, q)
        reads = tiles.rows(left, *m) + tiles.rows(right, *(n if product.name == "qk" else k))
        yield Step(f"{phase.name} fold {fold.number}", phase.name, folding.fold_cycles, reads, done[fold.number])


def _completed(product: Product, tiles: _Tiles, tensor: str) -> dict[int, tuple[Tile, ...]]:
    """The blocks of the result that each fold completes."""
    folding, found = product.folding, {}
    blocks = tiles.rows(tensor, 0, product.m)
    for fold in range(folding.folds):
        found[fold] = tuple(tile for tile in blocks if fold == _last_fold(product, tile, tiles.lanes))
    return found


def _last_fold(product: Product, tile: Tile, lanes: int) -> int:
    """The fold that adds last to a block of rows of the result."""
    folding = product.folding
    last_row = tile.index[0] * lanes + tile.rows - 1
    if product.turned:
        return product.completing_fold(0, last_row // product.cols)
    p_group = 0 if product.streams_p else last_row // product.rows
    return product.completing_fold(p_group, folding.col_folds - 1)
