"""What the replay kernels are given and what they leave: faults, places, times, room to work in, outcomes.

Two bundles are not here: `replay.store.Store`, the golden values, and what every engine uses (`Geometry`, `Roundings`,
`Data` of `lanes_step`). In kernels they go by one name each: k a Strike, e a `replay.rerun.Event`, wh, cw, st, g, f,
data, and w the scratch.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.numerics.formats import Codec

MASKED, CHANGED, FALL_BACK = (np.int64(status) for status in range(3))
"""What came of a fault: nothing; rows, terms or comparisons that stand changed in the scratch; not known here. The
larger of MASKED and CHANGED is what came of two."""

ROW, DROPPED, COLUMN, TERMS = (np.uint8(mark) for mark in range(1, 5))
"""Marks of a changed lane: a whole row was computed again; the row is never delivered; one element of the row (dim
w.column[0]) was; only its terms were."""

# As NumPy scalars these are plain values to the compiler; Python ones would make it compile a version of every
# function for each constant.
ZERO, YES = np.int64(0), np.bool_(True)


class Faults(NamedTuple):
    """Many faults, each field one array: slot of the machine's state, first and last clock cycle and op (0 inverts the
    bits of the mask, 1 clears them, 2 sets them), all (n,) int64; mask (n,) uint64; arith and stored (n, 4) int64, the
    `Codec` fields of the register's two formats."""

    slot: np.ndarray
    cycle: np.ndarray
    last_cycle: np.ndarray
    op: np.ndarray
    mask: np.ndarray
    arith: np.ndarray
    stored: np.ndarray


class Strike(NamedTuple):
    """What happens to a struck value: op, mask and formats of one of the `Faults`."""

    op: int
    mask: int
    arith: Codec
    stored: Codec


class Where(NamedTuple):
    """Per slot of the machine's state: register code, whether it is the check unit's own copy, pipeline stage and lane
    (−1 for none), position (dim, tree element) and tree level."""

    code: np.ndarray
    own: np.ndarray
    stage: np.ndarray
    lane: np.ndarray
    at: np.ndarray
    level: np.ndarray


class Clockwork(NamedTuple):
    """When things happen, in stall-free machine cycles, and what comparisons there are.

    machine_cycle (cycles,): stall-free cycle that each clock cycle executes or waits for. alarm_cycle
    (comparisons,): clock cycle in which the alarm of a comparison is visible. block_comparison (blocks,) and
    scan_comparison (blocks, tiles): index of a comparison, −1 for none. cycle, residual, limit (comparisons,):
    golden. prefix (Nq + 1, 2): pred and act before each query is added (reset at each block, unless compared
    once a head). golden_alarm: alarm cycle of the fault-free run, −1 for none. small_threshold, frequent: of a
    statistical threshold, what makes a comparison deviate and how many of those raise the alarm; frequent 0 for others.
    """

    period: int
    normalise: int
    machine_cycle: np.ndarray
    cycle: np.ndarray
    prefix: np.ndarray
    alarm_cycle: np.ndarray
    block_comparison: np.ndarray
    scan_comparison: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    threshold: float
    scan_threshold: float
    golden_alarm: int
    small_threshold: float
    frequent: int


class Scratch(NamedTuple):
    """Room to work in, and what a fault leaves behind for the comparisons. T is the store's element type.

    Weights and corrections of one query: P, A (N,) T, and where the check unit has its own, PC, AC (N,) T; S, E, spare
    (N,) float64: its scores, and room for their exponentials. o, q, xa, xb (d,) T and v (d,) float64: vectors; buf
    (d, KEYS_AT_ONCE) T: products of many keys; tree (W,) float64: an adder tree.

    By lane: changed (P,) uint8, one of the marks; rows (P, d), terms (P, 2) and scans (P, tiles, 2) float64, valid as
    far as the mark says; column (1,) int64, the dim of a COLUMN. residual and limit (comparisons,) float64: golden
    but for what a fault changes. value (2,) float64: the struck value before and after.

    All lanes of a block: PT, AT (N, P) T, the weights and corrections of block `turned` (1,) int64; columns (P,) T and
    checksums (P,) float32.
    """

    P: np.ndarray
    A: np.ndarray
    PC: np.ndarray
    AC: np.ndarray
    S: np.ndarray
    E: np.ndarray
    spare: np.ndarray
    o: np.ndarray
    q: np.ndarray
    xa: np.ndarray
    xb: np.ndarray
    v: np.ndarray
    buf: np.ndarray
    tree: np.ndarray
    changed: np.ndarray
    rows: np.ndarray
    terms: np.ndarray
    scans: np.ndarray
    column: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    value: np.ndarray
    PT: np.ndarray
    AT: np.ndarray
    turned: np.ndarray
    columns: np.ndarray
    checksums: np.ndarray


class Outcomes(NamedTuple):
    """What `replay_all` writes, one entry per fault: see accel_sim.campaign.columns. status: MASKED, CHANGED
    or FALL_BACK (whose other entries are not valid)."""

    status: np.ndarray
    differs: np.ndarray
    alarm_cycle: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    square: np.ndarray
    max_abs: np.ndarray
    max_ulp: np.ndarray
    nonfinite: np.ndarray
    rows: np.ndarray
    old_value: np.ndarray
    new_value: np.ndarray


class RowSink(NamedTuple):
    """Where the rows go that faults change, for whoever reads them again. fault, query (room,) int64: number of the
    fault and query of each row; row (room, d) float64; filled (1,) int64: how many there are. No room: rows are
    not kept."""

    fault: np.ndarray
    query: np.ndarray
    row: np.ndarray
    filled: np.ndarray


def row_sink(room: int, head_dim: int) -> RowSink:
    """An empty sink with room for so many rows."""
    return RowSink(np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros((room, head_dim)),
                   np.zeros(1, np.int64))


class ComparisonSink(NamedTuple):
    """Where comparisons go that faults change. fault, number (room,) int64: numbers of the fault and of the comparison;
    residual, limit (room,) float64: what they are now; filled (1,) int64: how many there are. No room: they are not
    kept."""

    fault: np.ndarray
    number: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    filled: np.ndarray


def comparison_sink(room: int) -> ComparisonSink:
    """An empty sink with room for so many comparisons."""
    return ComparisonSink(np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(room), np.zeros(room),
                          np.zeros(1, np.int64))
