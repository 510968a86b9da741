"""Folds: how a product of matrices of any size is cut to the size of an array, and how many cycles that takes.

A (M × K) times B (K × N) is M·N·K multiply-accumulates, one for each (m, n, k). A `Dataflow` gives one of the three
indices to the rows of the array, one to its columns, and streams the third. Everything else follows: of the three
matrices, the one without the streamed index **stays** in the PEs, the one without the columns' index **moves right**,
the one without the rows' index **moves down**.

| dataflow | rows | columns | stream | stays | moves right | moves down |
|---|---|---|---|---|---|---|
| `os` | m | n | k | sum | a | b |
| `ws` | k | n | m | b | a | sum |
| `is` | k | m | n | a | b | sum |

**A cycle** is one clock of the array. In cycle 0 of a fold the memories at the edges deliver its first elements; an
element reaches PE (r, c) after r + c skew and PE registers, so the PE meets stream element t in cycle
fill + t + r + c; a sum that is complete is written to the output memory in the cycle that forms it. fill is R where
an operand has to be loaded first (one row a cycle), 0 where the sum stays. The last PE meets the last element in cycle
fill + T + R + C − 3, so a fold takes **fill + T + R + C − 2** cycles, which is for T streamed elements

    os  K + R + C − 2        ws  M + 2R + C − 2        is  N + 2R + C − 2

however ragged the fold is, and the next one starts in the cycle after that (nothing overlaps).

**SCALE-Sim** has the same folds but prints the index of the last cycle instead of their number: one less, once in
the total, not per fold. (Measured with scalesim 3.0.0 and with the head of version 2: 63 runs without an exception.
The formulas were read from its source.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from accel_sim.config.errors import ConfigError, any_of, did_you_mean, shown

INDICES = {"a": ("m", "k"), "b": ("k", "n"), "sum": ("m", "n")}
"""The matrices of a product, and the indices of each, rows first."""


@dataclass(frozen=True)
class Dataflow:
    """Which of m, n and k runs along the rows of the array, along its columns, and through it in time."""

    name: str
    row: str
    col: str
    stream: str

    def _matrix_of(self, *indices: str) -> str:
        return next(name for name, both in INDICES.items() if set(both) == set(indices))

    @property
    def stays(self) -> str:
        """What stands still in the PEs: `a`, `b` or `sum`."""
        return self._matrix_of(self.row, self.col)

    @property
    def right(self) -> str:
        """What moves in from the left: `a` or `b`."""
        return self._matrix_of(self.row, self.stream)

    @property
    def down(self) -> str:
        """What moves in from the top: `a`, `b` or `sum`."""
        return self._matrix_of(self.stream, self.col)

    @property
    def loads(self) -> bool:
        """Whether an operand stays, and has to be loaded before the stream."""
        return self.stays != "sum"


DATAFLOWS = {flow.name: flow for flow in (
    Dataflow("os", row="m", col="n", stream="k"),
    Dataflow("ws", row="k", col="n", stream="m"),
    Dataflow("is", row="k", col="m", stream="n"),
)}
"""Output, weight and input stationary, by name. (B is the weights, A the inputs.)"""


def dataflow(name: object) -> Dataflow:
    """The dataflow called `name`; ConfigError if there is none."""
    if not isinstance(name, str) or name not in DATAFLOWS:
        hint = did_you_mean(name, list(DATAFLOWS)) if isinstance(name, str) else ""
        raise ConfigError(f"dataflow must be {any_of(list(DATAFLOWS))}, not {shown(name)}{hint}")
    return DATAFLOWS[name]


def check_size(name: str, value: object) -> None:
    """ConfigError unless `value` is an integer of at least 1 (at most 2^31)."""
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 2**31:
        raise ConfigError(f"{name} must be an integer from 1 to 2^31, not {shown(value)}")


class Fold(NamedTuple):
    """One fold: its number, the cycle it starts in, and the part of the product that its rows and columns hold.

    row_base, col_base: first index along the rows and columns; n_rows, n_cols: how many of them there are, at most
    the size of the array, less in a ragged fold.
    """

    number: int
    start: int
    row_base: int
    n_rows: int
    col_base: int
    n_cols: int


class Traffic(NamedTuple):
    """Elements that cross the edge of the array in a whole product: operands read, partial sums read back, and sums
    written, the partial ones of a moving sum included. Idle ports read nothing."""

    a_reads: int
    b_reads: int
    sum_reads: int
    sum_writes: int


@dataclass(frozen=True)
class Folding:
    """The folds of an M × K by K × N product on an R × C array. All counts exact, all times in cycles.

    Folds run through the rows' index first, then through the columns': partial sums of one block of columns are
    complete before the next block begins. ConfigError for sizes below 1 or a dataflow that is none.
    """

    m: int
    n: int
    k: int
    rows: int
    cols: int
    flow: str

    def __post_init__(self) -> None:
        dataflow(self.flow)
        for name in ("m", "n", "k", "rows", "cols"):
            check_size(name, getattr(self, name))

    @property
    def dataflow(self) -> Dataflow:
        """Who runs along what."""
        return DATAFLOWS[self.flow]

    def size(self, index: str) -> int:
        """How many values `m`, `n` or `k` takes."""
        return int(getattr(self, index))

    @property
    def row_size(self) -> int:
        """Values of the index that runs along the rows."""
        return self.size(self.dataflow.row)

    @property
    def col_size(self) -> int:
        """Values of the index that runs along the columns."""
        return self.size(self.dataflow.col)

    @property
    def stream_size(self) -> int:
        """T: elements streamed through every PE in a fold."""
        return self.size(self.dataflow.stream)

    @property
    def row_folds(self) -> int:
        """Folds along the rows, the last one possibly ragged."""
        return -(-self.row_size // self.rows)

    @property
    def col_folds(self) -> int:
        """Folds along the columns, the last one possibly ragged."""
        return -(-self.col_size // self.cols)

    @property
    def folds(self) -> int:
        """All folds."""
        return self.row_folds * self.col_folds

    @property
    def fill(self) -> int:
        """Cycles in which the operand that stays is loaded: R, or 0 where the sum stays."""
        return self.rows if self.dataflow.loads else 0

    @property
    def fold_cycles(self) -> int:
        """Cycles of one fold: load, stream and drain."""
        return self.fill + self.stream_size + self.rows + self.cols - 2

    @property
    def cycles(self) -> int:
        """Cycles of the product: from the first element delivered to the last sum written."""
        return self.folds * self.fold_cycles

    @property
    def scale_sim_cycles(self) -> int:
        """What SCALE-Sim prints as "Total Cycles": the index of the last cycle, one less than their number."""
        return self.cycles - 1

    @property
    def macs(self) -> int:
        """Multiply-accumulates: M · N · K."""
        return self.m * self.n * self.k

    @property
    def utilisation(self) -> float:
        """Share of PE-cycles in which a PE multiplies: M·N·K / (cycles · R · C). (SCALE-Sim's "Overall Util %" divides
        by one cycle less.)"""
        return self.macs / (self.cycles * self.rows * self.cols)

    @property
    def traffic(self) -> Traffic:
        """What the memories at the edges deliver and take. (SCALE-Sim counts R + C more writes a fold for `os`.)"""
        flow, rows, cols, stream = self.dataflow, self.row_size, self.col_size, self.stream_size
        reads = {flow.right: rows * stream * self.col_folds, flow.stays: rows * cols,
                 flow.down: stream * cols * self.row_folds}
        if flow.loads:
            return Traffic(reads["a"], reads["b"], stream * cols * (self.row_folds - 1), stream * cols * self.row_folds)
        return Traffic(reads["a"], reads["b"], 0, rows * cols)

    def phase(self, cycle: int) -> str:
        """What a fold does in a cycle of the run: `load` (fill cycles: the operand that stays), `stream` (T cycles:
        elements enter; in the first R + C − 2 of them the array fills up), `drain` (R + C − 2 cycles: the last
        elements move on to the last PE)."""
        step = cycle % self.fold_cycles
        if step < self.fill:
            return "load"
        return "stream" if step < self.fill + self.stream_size else "drain"

    def fold(self, number: int) -> Fold:
        """Fold `number`; IndexError if there is none."""
        if not 0 <= number < self.folds:
            raise IndexError(f"folds run from 0 to {self.folds - 1}, not {number}")
        col, row = divmod(number, self.row_folds)
        row_base, col_base = row * self.rows, col * self.cols
        return Fold(number, number * self.fold_cycles, row_base, min(self.rows, self.row_size - row_base),
                    col_base, min(self.cols, self.col_size - col_base))

    def __iter__(self) -> Iterator[Fold]:
        return (self.fold(number) for number in range(self.folds))

    def place(self, m: int, n: int, k: int) -> tuple[int, int, int, int]:
        """Where and when (m, n, k) is multiplied: (fold, row, column, cycle)."""
        at = {"m": m, "n": n, "k": k}
        for index, value in at.items():
            if not 0 <= value < self.size(index):
                raise IndexError(f"{index} runs from 0 to {self.size(index) - 1}, not {value}")
        flow = self.dataflow
        row_fold, row = divmod(at[flow.row], self.rows)
        col_fold, col = divmod(at[flow.col], self.cols)
        number = col_fold * self.row_folds + row_fold
        return number, row, col, number * self.fold_cycles + self.fill + at[flow.stream] + row + col


class CycleCheck(NamedTuple):
    """The cycles of a product beside the two accounts of them."""

    measured: int
    formula: int
    scale_sim: int

    @property
    def deviation(self) -> int:
        """Measured minus formula, in cycles: 0, or something is wrong."""
        return self.measured - self.formula


def closed_formula(folding: Folding) -> int:
    """Cycles by the published formula of each dataflow, written out one by one: what `Folding.cycles` must equal."""
    m, n, k, rows, cols = folding.m, folding.n, folding.k, folding.rows, folding.cols

    def parts(size: int, of: int) -> int:
        return -(-size // of)

    if folding.flow == "os":
        return parts(m, rows) * parts(n, cols) * (k + rows + cols - 2)
    if folding.flow == "ws":
        return parts(k, rows) * parts(n, cols) * (m + 2 * rows + cols - 2)
    return parts(k, rows) * parts(m, cols) * (n + 2 * rows + cols - 2)


def check_cycles(folding: Folding, measured: int) -> CycleCheck:
    """`measured` cycles beside the closed formula and beside what SCALE-Sim prints for the same product."""
    formula = closed_formula(folding)
    return CycleCheck(measured, formula, formula - 1)
