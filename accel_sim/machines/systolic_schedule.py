"""The schedule of a systolic array: which element a register holds in which cycle, and what it can still reach.

`Schedule.held` answers for one register and one cycle of the fault-free run; None means that nothing stands there
that anything will read: a fault there is masked. `Schedule.reach` names the outputs that a transient fault in the
stored bits can change; it is exact for data registers (an output outside never changes; one inside does, unless the
arithmetic rounds or multiplies the difference away) and a bound for control bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.machines.folds import INDICES, Dataflow, Fold, Folding
from accel_sim.machines.systolic import SystolicArray


class Held(NamedTuple):
    """An element: of A (m, k), of B (k, n), or the sum of the first k products of output (m, n).

    matrix: `a`, `b` or `sum`. An index that the element does not have is None.
    """

    matrix: str
    m: int | None
    n: int | None
    k: int | None

    def __str__(self) -> str:
        if self.matrix == "sum":
            return f"sum[{self.m}, {self.n}] of {self.k} products"
        first, second = INDICES[self.matrix]
        return f"{self.matrix}[{getattr(self, first)}, {getattr(self, second)}]"


class _Place(NamedTuple):
    """A register of a delay line: which line it is of, and when what it holds has entered it, counted back.

    row, col: the row of an x line, the column of a y line (the other is the next PE that reads it). age: cycles since
    the element was at the port. control: which control bit, or "".
    """

    line: str
    row: int
    col: int
    age: int
    control: str


@dataclass(frozen=True)
class Schedule:
    """The fault-free run of one product on one array.

    Registers are named as in the inventory; an index outside the register's shape raises IndexError, a cycle outside
    the run holds nothing.
    """

    machine: SystolicArray
    folding: Folding

    @property
    def _flow(self) -> Dataflow:
        return self.machine.dataflow

    def held(self, register: str, index: tuple[int, ...], cycle: int) -> Held | None:
        """The element in a register at the start of `cycle`, or None. For a control bit beside an element: that
        element (the bit may be 0: see `control`). For `load`: None, it belongs to no element."""
        self.machine.inventory.slot(register, index)
        if register == "load" or not 0 <= cycle < self.folding.cycles:
            return None
        if register == "s":
            return self._staying(index, cycle)
        place = self._place(register, index)
        fold, t = self._entered(cycle - place.age)
        if not self._travels(place, fold, t):
            return None
        row, col = fold.row_base + place.row, fold.col_base + place.col
        if place.line == "x":
            return self._element(self._flow.right, row=row, stream=t)
        if self._flow.down == "sum":
            done = min(row, self.folding.k)  # what enters row r has passed rows 0 … r − 1
            return self._element("sum", col=col, stream=t)._replace(k=done)
        return self._element(self._flow.down, col=col, stream=t)

    def control(self, register: str, index: tuple[int, ...], cycle: int) -> int:
        """The value of a control bit at the start of `cycle`."""
        self.machine.inventory.slot(register, index)
        if register == "load":
            return int(cycle % self.folding.fold_cycles < self.machine.rows)
        place = self._place(register, index)
        if not place.control:
            raise KeyError(f"{register} is no control register")
        if cycle < place.age:
            return 0
        fold, t = self._entered(cycle - place.age)
        size = fold.n_rows if place.line == "x" else fold.n_cols
        own = place.row if place.line == "x" else place.col
        if own >= size or not 0 <= t < self.folding.stream_size:
            return 0
        if place.control == "first":
            return int(t == 0)
        return int(t == self.folding.stream_size - 1) if place.control == "last" else 1

    def reach(self, register: str, index: tuple[int, ...], cycle: int) -> NDArray[np.bool_]:
        """(M, N) bool: the outputs that a flip in this register at the start of `cycle` can change."""
        self.machine.inventory.slot(register, index)
        reached = np.zeros((self.folding.m, self.folding.n), dtype=bool)
        if not 0 <= cycle < self.folding.cycles:
            return reached
        fold = self.folding.fold(cycle // self.folding.fold_cycles)
        if register == "load":
            self._mark_load(reached, fold, index[0], cycle)
        elif register == "s":
            self._mark_staying(reached, fold, index, cycle)
        else:
            self._mark_line(reached, self._place(register, index), cycle)
        return reached

    # ---- delay lines

    def _place(self, register: str, index: tuple[int, ...]) -> _Place:
        line, _, rest = register.partition("_")
        control = rest.removeprefix("skew").removeprefix("_")
        if rest.startswith("skew"):
            own, stage = skew_place(index[0])
            return _Place(line, *((own, 0) if line == "x" else (0, own)), stage, control)
        row, col = index
        if line == "x":
            return _Place(line, row, col + 1, row + col + 1, control)
        return _Place(line, row + 1, col, row + col + 1, control)

    def _entered(self, cycle: int) -> tuple[Fold, int]:
        """The fold in which an element at the ports in `cycle` is, and its place in the stream (may be outside)."""
        number, step = divmod(cycle, self.folding.fold_cycles)
        return self.folding.fold(max(0, number)), step - self.folding.fill if number >= 0 else -1

    def _travels(self, place: _Place, fold: Fold, t: int) -> bool:
        """Whether an element of the fold stands at `place` and a PE ahead will read it."""
        if not 0 <= t < self.folding.stream_size or place.col >= fold.n_cols:
            return False
        return place.row < fold.n_rows or (place.line == "y" and self._flow.down == "sum")

    def _mark_line(self, reached: NDArray[np.bool_], place: _Place, cycle: int) -> None:
        fold, t = self._entered(cycle - place.age)
        if not self._travels(place, fold, t):
            # A valid bit in an idle row adds 0 · 0 to sums that pass: that changes a negative zero, which only
            # flushing can make.
            idle_row = place.line == "x" and place.control == "valid" and self._flow.down == "sum"
            if not (idle_row and self.machine.subnormals == "flush" and 0 <= t < self.folding.stream_size):
                return
        if place.control == "last" and t != self.folding.stream_size - 1:
            return  # an unfinished sum leaves early, and the finished one takes its place
        rows, cols = range(place.row, fold.n_rows), range(place.col, fold.n_cols)
        if place.line == "x":
            rows = range(place.row, place.row + 1)
        else:
            cols = range(place.col, place.col + 1)
        if self._flow.down == "sum":
            rows = range(1)
        self._mark(reached, fold, rows, cols, range(t, t + 1))

    # ---- what stays

    def _staying(self, index: tuple[int, ...], cycle: int) -> Held | None:
        row, col = index
        fold = self.folding.fold(cycle // self.folding.fold_cycles)
        step = cycle - fold.start
        if not self._flow.loads:
            seen = step - row - col
            inside = row < fold.n_rows and col < fold.n_cols and 0 < seen < self.folding.k
            if not inside:
                return None
            return self._element("sum", row=fold.row_base + row, col=fold.col_base + col)._replace(k=seen)
        final = self._final_row(row, step)
        if final is None or final >= fold.n_rows or col >= fold.n_cols:
            return None
        if step > self.folding.fill + self.folding.stream_size - 1 + final + col:
            return None
        return self._element(self._flow.stays, row=fold.row_base + final, col=fold.col_base + col)

    def _final_row(self, row: int, step: int) -> int | None:
        """The row that what stands in `row` at the start of a fold's cycle `step` is loaded into; None if it is still
        what the fold before has left."""
        if step >= self.machine.rows:
            return row
        final = row + self.machine.rows - step
        return final if row < step and final < self.machine.rows else None

    def _mark_staying(self, reached: NDArray[np.bool_], fold: Fold, index: tuple[int, ...], cycle: int) -> None:
        row, col = index
        if self._staying(index, cycle) is None:
            return
        if not self._flow.loads:
            self._mark(reached, fold, range(row, row + 1), range(col, col + 1), range(1))
            return
        final = self._final_row(row, cycle - fold.start)
        assert final is not None
        self._mark_from(reached, fold, final, col, cycle)

    def _mark_load(self, reached: NDArray[np.bool_], fold: Fold, row: int, cycle: int) -> None:
        step = cycle - fold.start
        # The row holds the wrong operand from the next cycle on.
        final = self._final_row(row, step + 1)
        if final is None or final >= fold.n_rows:
            return
        for col in range(fold.n_cols):
            self._mark_from(reached, fold, final, col, cycle + 1)

    def _mark_from(self, reached: NDArray[np.bool_], fold: Fold, row: int, col: int, cycle: int) -> None:
        """The outputs that PE (row, col) adds to from `cycle` on, in this fold."""
        first = max(0, cycle - fold.start - self.folding.fill - row - col)
        self._mark(reached, fold, range(row, row + 1), range(col, col + 1), range(first, self.folding.stream_size))

    # ---- indices

    def _element(self, matrix: str, **at: int) -> Held:
        """The element of `matrix` at indices along row, col and stream."""
        flow = self._flow
        named = {{"row": flow.row, "col": flow.col, "stream": flow.stream}[way]: value for way, value in at.items()}
        return Held(matrix, named.get("m"), named.get("n"), named.get("k"))

    def _mark(self, reached: NDArray[np.bool_], fold: Fold, rows: range, cols: range, stream: range) -> None:
        """Mark the outputs of some rows and columns of the fold and some elements of the stream."""
        flow = self._flow
        spans = {flow.row: (fold.row_base + rows.start, fold.row_base + rows.stop),
                 flow.col: (fold.col_base + cols.start, fold.col_base + cols.stop),
                 flow.stream: (stream.start, stream.stop)}
        reached[slice(*spans["m"]), slice(*spans["n"])] = True


def skew_place(element: int) -> tuple[int, int]:
    """(row or column, stage from 1) of an element of a flattened triangle of skew registers."""
    own = 1
    while element >= own:
        element -= own
        own += 1
    return own, element + 1
