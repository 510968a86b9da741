"""What the kernels of the gemm machine's units are given: registers, memories, sizes, roundings.

Registers are float64 arrays of one element each hardware register, values of the register's format. All sizes in the
symbols of docs/machines/gemm.md.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.machines.gemm import GemmMachine
from accel_sim.numerics.exp import exp_pwl_table
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.reciprocal import reciprocal_table


class Rules(NamedTuple):
    """How each role rounds, and the units of the vector unit: exp and reciprocal tables, and which are in use."""

    operand: Rounding
    score: Rounding
    exp: Rounding
    state: Rounding
    output: Rounding
    checker: Rounding
    exp_table: Any
    recip_table: Any
    exp_pwl: bool
    reciprocal: bool


def rules_of(machine: GemmMachine) -> Rules:
    """The rules of a machine."""
    formats = {"exp": machine.formats["score"], **machine.formats}  # for kernels of a plain product, which has none
    rounding = {role: fmt.rounding(machine.subnormals) for role, fmt in formats.items()}
    empty = np.zeros((3, 2), np.int64)
    pwl = machine.exp.kind == "pwl"
    return Rules(
        **rounding,
        exp_table=exp_pwl_table(machine.exp.pieces) if pwl else empty,
        recip_table=reciprocal_table(machine.divide.pieces) if machine.reciprocal else empty,
        exp_pwl=pwl, reciprocal=machine.reciprocal,
    )


class Lanes(NamedTuple):
    """Registers of the vector unit, (W,) each, and what the softmax invariants add to its lanes; those of
    `LANE_SCALARS` (1,). Those that a machine has not are there and unused; `first` is zero then."""

    bound: Any
    first: Any
    seen: Any
    allow: Any
    x_in: Any
    scaled: Any
    m: Any
    ds: Any
    p: Any
    l: Any  # noqa: E741
    p_out: Any
    recip: Any
    out: Any
    fused_c: Any
    fused_sum: Any
    fused_term: Any
    softmax_excess: Any
    softmax_m: Any
    softmax_bound: Any
    scale: Any


LANE_SCALARS = ("softmax_bound", "scale")
"""Configuration that all lanes read: the last fields of `Lanes`."""


class Sums(NamedTuple):
    """Registers behind the lanes, in which the fused check compares, (1,) each."""

    pred: Any
    act: Any
    residual: Any
    limit: Any


class Watch(NamedTuple):
    """Registers behind the lanes, in which the softmax invariants are judged, (1,) each."""

    residual: Any
    limit: Any


class Judge(NamedTuple):
    """What a check unit judges with, (1,) each: its registers, and what they saturate at. Of small to deviations only a
    statistical threshold has registers.

    ceiling: the largest count that fits `deviations`; 0 for any other threshold.
    """

    threshold: Any
    enable: Any
    alarm: Any
    small_threshold: Any
    frequent: Any
    deviations: Any
    ceiling: Any


class Memory(NamedTuple):
    """What the vector unit reads and writes: s (Nq, N), p (Nq, N), l (Nq,), u (Nq, d + f), o (Nq, d) float64; bound
    (Nq,) int64, how many keys each query may attend to, first (Nq,) int64, the first of them."""

    s: Any
    p: Any
    l: Any  # noqa: E741
    u: Any
    o: Any
    bound: Any
    first: Any


class Sizes(NamedTuple):
    """lanes: W. n_queries, n_keys: of the head. head_dim: d. words: columns of the fused check, 0 without. per_block:
    whether it compares once a block. relative: whether its threshold is a fraction. blocks: ⌈Nq/W⌉. watched: which
    invariants of the softmax, bits of `invariants_step`."""

    lanes: int
    n_queries: int
    n_keys: int
    head_dim: int
    words: int
    per_block: bool
    relative: bool
    blocks: int
    watched: int


class Log(NamedTuple):
    """Comparisons: table (most, LOG_COLUMNS) float64, count (1,) int64; first (1,) int64: cycle in which the alarm was
    first set (−1: not yet). judged (room, LOG_COLUMNS), judgements (1,): what has been judged, and when; the same
    lines without the sums, unless a fault has come between. Most have no room for those."""

    table: Any
    count: Any
    first: Any
    judged: Any
    judgements: Any


LOG_COLUMNS = 6
"""Columns of `Log.table`: cycle in which the residual stands, residual, limit, predicted, actual, unit (index into
`UNITS`)."""

UNITS = ("gemm", "fused_output", "score_rowsum", "softmax_invariants")


def make_log(most: int, judgements: int = 0) -> Log:
    """An empty log with room for `most` comparisons, and for so many judgements."""
    return Log(np.zeros((max(1, most), LOG_COLUMNS)), np.zeros(1, np.int64), np.full(1, -1, np.int64),
               np.zeros((judgements, LOG_COLUMNS)), np.zeros(1, np.int64))
