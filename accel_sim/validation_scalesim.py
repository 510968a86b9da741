"""Cycles of plain products on systolic arrays: measured, by the closed formulas, and as SCALE-Sim prints them.

`scalesim_table` makes the table, a row for every product, array and dataflow:

- **measured**: on the stepped engine's clock, which moves every register of every PE and knows no formula for the end:
  the cycle that writes the last output, plus those that a ragged last fold leaves idle (`idle_at_the_end`). A product
  too large to be stepped in reasonable time is measured on the schedule instead, by where and when it multiplies its
  last element (`Folding.place`); `measured_by` says which.
- **formula**: `accel_sim.machines.folds.closed_formula`.
- **scale_sim**: what SCALE-Sim prints as "Total Cycles", the index of the last cycle: one less.
- **recorded**: what scalesim 3.0.0 did print when it was run on that product, where it was (`RECORDED`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from accel_sim.machines.folds import DATAFLOWS, Folding, check_cycles

SHAPES = ((64, 64, 64), (100, 70, 33), (256, 256, 64), (256, 64, 256), (1024, 1024, 64), (1024, 64, 1024))
"""Products (M, N, K) that the table has unless told otherwise: one square, one ragged on every array, and the two
products of attention, Q·Kᵀ and P·V, of 256 and of 1024 tokens with head dimension 64."""

ARRAYS = ((16, 16), (32, 32), (64, 64), (32, 16))
"""Arrays (R, C) that the table has unless told otherwise."""

ENGINE_WORK = 400_000_000
"""PE-cycles (R · C · cycles) up to which a product is stepped."""

_SQUARE = {
    (256, 256, 64, 16): (24063, 19327, 19327), (256, 256, 64, 32): (8063, 5599, 5599),
    (256, 256, 64, 64): (3039, 1783, 1783), (256, 64, 256, 16): (18303, 19327, 28159),
    (256, 64, 256, 32): (5087, 5599, 10111), (256, 64, 256, 64): (1527, 1783, 4063),
    (1024, 1024, 64, 16): (385023, 273919, 273919), (1024, 1024, 64, 64): (48639, 19423, 19423),
    (1024, 64, 1024, 32): (69503, 71551, 161791), (1024, 64, 1024, 64): (18399, 19423, 65023),
}

RECORDED = {(m, n, k, size, size, flow): cycles for (m, n, k, size), printed in _SQUARE.items()
            for flow, cycles in zip(("os", "ws", "is"), printed, strict=True)}
"""(M, N, K, R, C, dataflow): "Total Cycles" as scalesim 3.0.0 printed it."""


@dataclass(frozen=True)
class ScaleSimRow:
    """One product on one array. All times in cycles.

    m, n, k: M × K by K × N. rows, cols: of the array. flow: `os`, `ws` or `is`. measured: see the module; measured_by:
    `engine` or `schedule`. formula: the closed formula. scale_sim: what SCALE-Sim prints by it. recorded: what it did
    print, or None.
    """

    m: int
    n: int
    k: int
    rows: int
    cols: int
    flow: str
    measured: int
    measured_by: str
    formula: int
    scale_sim: int
    recorded: int | None

    @property
    def deviation(self) -> int:
        """Measured minus formula: 0, or something is wrong."""
        return self.measured - self.formula

    @property
    def agrees(self) -> bool:
        """Whether all accounts of the product agree."""
        return self.deviation == 0 and self.recorded in (None, self.scale_sim)


def scalesim_table(
    shapes: Sequence[tuple[int, int, int]] = SHAPES,
    arrays: Sequence[tuple[int, int]] = ARRAYS,
    dataflows: Iterable[str] = tuple(DATAFLOWS),
    *,
    engine_work: int = ENGINE_WORK,
    progress: Callable[[str], None] | None = None,
) -> tuple[ScaleSimRow, ...]:
    """The table of every shape (M, N, K) on every array (R, C) in every dataflow, in that order.

    engine_work: PE-cycles up to which a product is stepped. progress: told of each product before it is measured.
    Raises ConfigError for a size below 1 and for what is not a dataflow; AssertionError if the engine's product is
    wrong.
    """
    flows = tuple(dataflows)
    foldings = [Folding(*shape, *array, flow) for shape in shapes for array in arrays for flow in flows]
    rows = []
    for folding in foldings:
        m, n, k, r, c, flow = folding.m, folding.n, folding.k, folding.rows, folding.cols, folding.flow
        if progress is not None:
            progress(f"{m} x {k} by {k} x {n} on {r} x {c}, {flow}")
        stepped = r * c * folding.cycles <= engine_work
        measured = measured_on_engine(folding) if stepped else measured_on_schedule(folding)
        check = check_cycles(folding, measured)
        rows.append(ScaleSimRow(m, n, k, r, c, flow, measured, "engine" if stepped else "schedule", check.formula,
                                check.scale_sim, RECORDED.get((m, n, k, r, c, flow))))
    return tuple(rows)


def measured_on_engine(folding: Folding) -> int:
    """Cycles of a product by the stepped engine's clock.

    Raises ConfigError for an array too large to be stepped, AssertionError if the product is wrong.
    """
    import numpy as np

    from accel_sim.arrays.stepped import SteppedArray
    from accel_sim.machines.systolic import SystolicArray

    machine = SystolicArray(folding.rows, folding.cols, folding.flow, "int8", "int32")
    a, b = np.ones((folding.m, folding.k), np.int8), np.ones((folding.k, folding.n), np.int8)
    run = SteppedArray(machine, a, b).run()
    if not (run.output == folding.k).all():
        raise AssertionError(f"{folding}: the engine's product is wrong")
    return run.last_write + 1 + idle_at_the_end(folding)


def measured_on_schedule(folding: Folding) -> int:
    """Cycles of a product by the place and time of its last multiplication, until its sum has passed the array."""
    _, row, col, cycle = folding.place(folding.m - 1, folding.n - 1, folding.k - 1)
    return cycle + 1 + (folding.rows - 1 - row) + (folding.cols - 1 - col)


def idle_at_the_end(folding: Folding) -> int:
    """Cycles of the last fold after its last output was written: a fold takes as long as one that fills the array, so
    one for every column that it lacks, and, where sums stay in their row, for every row."""
    last = folding.fold(folding.folds - 1)
    rows = 0 if folding.dataflow.loads else folding.rows - last.n_rows
    return rows + folding.cols - last.n_cols
