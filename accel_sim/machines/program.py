"""A machine's work as a program of steps: what it computes when, which tiles it needs for it, which it leaves.

A machine whose work on one head falls into steps, one after the other (a fold of a product, a pass of the vector unit,
an instruction of an array), publishes them as a **program**. It is all that the memory system has to know of the
machine: a step begins once every tile that it reads is in SRAM, and may hand over its outputs once it is done.

- `Tile`: a rectangle of one tensor, the unit in which memory is moved.
- `Step`: an uninterrupted stretch of machine cycles.
- `ProgramTiming`: the steps of one head, in order.

All cycles are machine cycles: they do not pass while the machine waits for its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from accel_sim.numerics.formats import Format

OFF_CHIP = ("q", "k", "v", "o")
"""Tensors whose home is the memory off the chip. Every other tensor (scores, probabilities) lives and dies on it."""

TileName: TypeAlias = tuple[str, tuple[int, ...]]
"""Tensor and index of a tile."""


@dataclass(frozen=True, slots=True)
class Tile:
    """A rectangle of a tensor of one head: what is fetched, kept and written back as one.

    tensor: `q`, `k`, `v`, `o`, or the name of one that stays on chip. index: the tile's place in its tensor, in tiles,
    as the machine counts them; with the tensor it names the tile, so equal names must have equal sizes. rows, cols: its
    size in elements (ragged tiles: what exists). role: the role in the machine's formats that its elements have
    (`operand`, `score`, `output`, ...).
    """

    tensor: str
    index: tuple[int, ...]
    rows: int
    cols: int
    role: str

    @property
    def name(self) -> TileName:
        """What tells the tile from all others: its tensor and its index."""
        return self.tensor, self.index

    @property
    def elements(self) -> int:
        """Elements of the tile."""
        return self.rows * self.cols

    def n_bytes(self, formats: Mapping[str, Format]) -> int:
        """Bytes of the tile when its elements have the format of its role, packed, rounded up to whole bytes.

        Raises KeyError if the machine has no such role.
        """
        return -(-self.elements * formats[self.role].width_bits // 8)


class Step(NamedTuple):
    """An uninterrupted stretch of the machine's work: the memory can hold the machine before it, never inside it.

    name: what people read on a timeline. phase: what steps of the same kind have in common. cycles: machine cycles,
    at least 1. reads: tiles that are in SRAM when it begins and stay until it ends. writes: tiles complete when it
    ends. A tile in both is worked on in place (a partial sum); what nothing has written before, and is no tensor of
    `OFF_CHIP`, cannot be read.
    """

    name: str
    phase: str
    cycles: int
    reads: tuple[Tile, ...] = ()
    writes: tuple[Tile, ...] = ()


@dataclass(frozen=True)
class ProgramTiming:
    """One head's program: steps in order, back to back when the memory never waits.

    n_queries, n_keys: the shape of the head (for a plain product M × K by K × N: M and N).
    Machines may derive from it. Raises ValueError if a step takes no cycle, if a tile comes in two sizes, or if a step
    reads what is nowhere.
    """

    n_queries: int
    n_keys: int
    steps: tuple[Step, ...]

    def __post_init__(self) -> None:
        check_program(self.steps)

    @cached_property
    def head_cycles(self) -> int:
        """Machine cycles of the head."""
        return sum(step.cycles for step in self.steps)

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """Machine cycle in which each step begins; one more than steps: the last is the head's cycles."""
        at = [0]
        for step in self.steps:
            at.append(at[-1] + step.cycles)
        return tuple(at)

    def spans(self) -> Iterator[tuple[str, int, int, int]]:
        """(phase, number of the step, first machine cycle, cycles) of every step, in order, without gaps."""
        return ((step.phase, number, start, step.cycles)
                for number, (step, start) in enumerate(zip(self.steps, self.starts, strict=False)))

    def phase_name(self, phase: str, number: int) -> str:
        """A step in words."""
        return self.steps[number].name

    @cached_property
    def phases(self) -> dict[str, int]:
        """Machine cycles of each phase, in the order in which they first come."""
        cycles: dict[str, int] = {}
        for step in self.steps:
            cycles[step.phase] = cycles.get(step.phase, 0) + step.cycles
        return cycles


def check_program(steps: Iterable[Step]) -> None:
    """Raise ValueError unless every step takes a cycle and reads only what is somewhere, in one size a tile."""
    sizes: dict[TileName, tuple[int, int, str]] = {}
    written: set[TileName] = set()
    empty = True
    for step in steps:
        empty = False
        if step.cycles < 1:
            raise ValueError(f"step {step.name!r} takes {step.cycles} cycles")
        for tile in (*step.reads, *step.writes):
            size = (tile.rows, tile.cols, tile.role)
            if tile.rows < 1 or tile.cols < 1:
                raise ValueError(f"step {step.name!r}: tile {_called(tile)} has {tile.rows} x {tile.cols} elements")
            known = sizes.setdefault(tile.name, size)
            if known != size:
                raise ValueError(f"step {step.name!r}: tile {_called(tile)} has size {size}, before {known}")
        for tile in step.reads:
            if tile.tensor not in OFF_CHIP and tile.name not in written:
                raise ValueError(f"step {step.name!r} reads tile {_called(tile)}, which nothing has written")
        written.update(tile.name for tile in step.writes)
    if empty:
        raise ValueError("a program has at least one step")


def _called(tile: Tile) -> str:
    return f"{tile.tensor}{list(tile.index)}"
