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
    """Registers of the vector unit, (W,) each; scale (1,). Those that a machine has not are there and unused."""

    bound: Any
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
    scale: Any


class Sums(NamedTuple):
    """Registers behind the lanes, in which the fused check compares, (1,) each."""

    pred: Any
    act: Any
    residual: Any
    limit: Any
    threshold: Any
    enable: Any
    alarm: Any


class Memory(NamedTuple):
    """What the vector unit reads and writes: s (Nq, N), p (Nq, N), l (Nq,), u (Nq, d + f), o (Nq, d) float64; bound
    (Nq,) int64, how many keys each query may attend to."""

    s: Any
    p: Any
    l: Any  # noqa: E741
    u: Any
    o: Any
    bound: Any


class Sizes(NamedTuple):
    """lanes: W. n_queries, n_keys: of the head. head_dim: d. words: columns of the fused check, 0 without. per_block:
    whether it compares once a block. relative: whether its threshold is a fraction. blocks: ⌈Nq/W⌉."""

    lanes: int
    n_queries: int
    n_keys: int
    head_dim: int
    words: int
    per_block: bool
    relative: bool
    blocks: int


class Log(NamedTuple):
    """Comparisons: table (most, LOG_COLUMNS) float64, count (1,) int64; first (1,) int64: cycle in which the alarm was
    first set (−1: not yet)."""

    table: Any
    count: Any
    first: Any


LOG_COLUMNS = 6
"""Columns of `Log.table`: cycle in which the residual stands, residual, limit, predicted, actual, unit (index into
`UNITS`)."""

UNITS = ("gemm", "fused_output")


def make_log(most: int) -> Log:
    """An empty log with room for `most` comparisons."""
    return Log(np.zeros((max(1, most), LOG_COLUMNS)), np.zeros(1, np.int64), np.full(1, -1, np.int64))
