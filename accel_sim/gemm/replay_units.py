"""Kernels that find what faults leave behind in one unit: values in the array, a lane's block, the edge of a product.

Where a unit works on little (one lane, one block; the few lines that are in a pipeline) its own stepped kernel is run
on just that, with the strike in its cycle.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.arrays.replay_kernel import (
    ADD_ZERO,
    ALONG_Q,
    LOAD,
    MISLOAD,
    NOTHING,
    REPLACE,
    RESUME,
    STRUCK,
    edit_of,
    struck_bit,
)
from accel_sim.arrays.step import FIRST, LAST, multiply_add
from accel_sim.gemm.vector_step import divide_cycle, softmax_cycle
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import flip_bits, force_bits


@inner
def struck(value: Any, op: Any, mask: Any, codec: Any) -> Any:
    """A register's value after one strike. mask uint64."""
    if op == 0:
        return flip_bits(value, codec, codec, mask)
    return force_bits(value, codec, codec, mask, mask if op == 2 else np.uint64(0))


@inner
def reaches(e: Any, g: Any, flush: Any) -> Any:
    """Whether an edit can change an output at all."""
    if e.kind == NOTHING:
        return False
    if e.kind == ADD_ZERO:
        return flush
    if e.kind == MISLOAD:
        columns = min(g.cols, g.col_size - (e.fold // g.row_folds) * g.cols)
        return e.fixed - g.fill - e.first % g.rows - (columns - 1) < g.stream
    return True


@inner
def control_value(e: Any, line: Any, control: Any, cycle: Any, g: Any) -> Any:
    """What a control bit holds, given the edit that a flip of it is."""
    if line == LOAD:
        return 1 if cycle % g.period < g.rows else 0
    if control == FIRST:
        return 1 if e.kind == RESUME else 0
    if control == LAST:
        return 1
    return 0 if e.kind == ADD_ZERO else 1


@kernel
def array_values(strikes: Any, places: Any, v: Any, g: Any, rule: Any, operand: Any, total: Any, flush: bool, live: Any,
                 old: Any, new: Any) -> None:
    """What strikes in the array find and leave: live (n,) bool, old and new (n,) float64, NaN where nothing reads
    it."""
    for i in range(strikes.cycle.shape[0]):
        cycle, slot, op = strikes.cycle[i], strikes.slot[i], strikes.op[i]
        mask = np.uint64(strikes.mask[i])
        e = edit_of(cycle, slot, np.int64(0), places, g)
        live[i] = reaches(e, g, flush)
        old[i], new[i] = np.nan, np.nan
        if not live[i]:
            continue
        line, control = places.line[slot], places.control[slot]
        if control != 0 or line == LOAD:
            now = control_value(e, line, control, cycle, g)
            old[i], new[i] = now, struck_bit(now, op)
        elif e.kind == STRUCK:
            held = v.constants[0]
            for k in range(e.first):
                held = multiply_add(held, v.p[k, e.low], v.q[k, e.fixed], v.constants[1], rule)
            old[i] = held
            new[i] = struck(np.float64(held), op, mask, total)
        elif e.kind == REPLACE:
            old[i] = v.p[e.first, e.fixed] if e.axis == ALONG_Q else v.q[e.first, e.fixed]
            new[i] = struck(old[i], op, mask, operand)


@inner
def struck_block(softmax: Any, code: Any, step: Any, steps: Any, op: Any, mask: Any, codec: Any, one: Any, row: Any,
                 f: Any) -> Any:
    """One lane through one block, struck at the start of `step`: (value found, value left). one: `OneLane`; row: a
    `Memory` of its query alone."""
    for field in range(one.registers.shape[0]):
        one.registers[field, 0] = 0.0
    old, new = 0.0, 0.0
    for at in range(steps):
        if at == step:
            old = one.registers[code, 0]
            new = struck(old, op, mask, codec)
            one.registers[code, 0] = new
        if softmax:
            softmax_cycle(0, 0, at, one.lanes, row, one.g, f)
        else:
            divide_cycle(0, 0, at, one.lanes, row, one.g, f)
    return old, new
