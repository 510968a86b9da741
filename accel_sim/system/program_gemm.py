"""A plain matrix product as a program: the folds of `accel_sim.machines.folds`, and the tiles that each needs."""

from __future__ import annotations

from accel_sim.machines.folds import INDICES, Fold, Folding
from accel_sim.machines.program import ProgramTiming, Step, Tile

TENSORS = {"a": "q", "b": "k", "sum": "o"}
"""Which memory holds each matrix: A that of the queries, B that of the keys, the sums that of the outputs."""


def gemm_program(folding: Folding, *, operand: str = "operand", result: str = "state") -> ProgramTiming:
    """The program of an M × K by K × N product: a step for every fold, in the folds' order.

    operand, result: roles of the elements of A and B, and of the sums. A fold reads the tile that stays and the one
    that moves through, each whole; its sums move through or stay. Where they move (`ws`, `is`), every fold but the
    first of a block of columns reads the partial sums of the fold before and writes them back in place: they stay in
    SRAM, and only complete ones leave it. `Folding.traffic` counts what crosses the edge of the array.

    `n_queries` and `n_keys` of the timing are M and N.
    """
    flow = folding.dataflow
    steps = []
    for fold in folding:
        reads, writes = [], []
        for matrix in dict.fromkeys((flow.stays, flow.right, flow.down)):
            tile = _tile(folding, fold, matrix, result if matrix == "sum" else operand)
            if matrix != "sum":
                reads.append(tile)
                continue
            writes.append(tile)
            if flow.loads and fold.number % folding.row_folds:
                reads.append(tile)
        name = f"fold {fold.number}: {flow.row} {fold.row_base}, {flow.col} {fold.col_base}"
        steps.append(Step(name, "fold", folding.fold_cycles, tuple(reads), tuple(writes)))
    return ProgramTiming(folding.m, folding.n, tuple(steps))


def _tile(folding: Folding, fold: Fold, matrix: str, role: str) -> Tile:
    """The part of a matrix that a fold works on: of its rows' and columns' index what the array holds, all of the one
    that is streamed. Its index counts folds along the two that the matrix has."""
    flow = folding.dataflow
    places = {flow.row: (fold.row_base // folding.rows, fold.n_rows),
              flow.col: (fold.col_base // folding.cols, fold.n_cols),
              flow.stream: (0, folding.stream_size)}
    (row, rows), (col, cols) = (places[index] for index in INDICES[matrix])
    return Tile(TENSORS[matrix], (row, col), rows, cols, role)
