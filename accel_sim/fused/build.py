"""What the kernels of the `fused` machine are given: places, sizes, memories, the state at reset."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.fused.arithmetic import tables
from accel_sim.fused.step import COMPARISON_COLUMNS, HEAD, QUERY_BLOCK, Around, Shape, Slots
from accel_sim.machines.fused import FusedMachine

AT_RESET = {"new_max": -np.inf, "old_max": -np.inf, "enable": 1.0}
"""Registers that are not zero at reset, but for the configuration of the head."""


def slots(machine: FusedMachine) -> Slots:
    """First slot of every register array of the machine."""
    return Slots(**{name: machine.inventory.offsets.get(name, -1) for name in Slots._fields})


def shape(machine: FusedMachine, n_queries: int, n_keys: int) -> Shape:
    """The `Shape` of a machine that runs a head of this size."""
    d, check = machine.durations, machine.check
    return Shape(
        size=machine.size,
        pieces=machine.pieces,
        columns=machine.columns,
        levels=machine.levels,
        granularity=QUERY_BLOCK if check is not None and check.granularity == "query_block" else HEAD,
        relative=check is not None and check.threshold.kind == "relative",
        n_queries=n_queries,
        n_keys=n_keys,
        load=d.load,
        score=d.score,
        value=d.value,
        wait=d.wait,
        scale=d.scale + d.hold,
        norm=d.norm,
        tail=d.tail,
        reciprocal=d.reciprocal,
        acc_scale=d.acc_scale,
        acc_sum=d.acc_sum,
        acc_last=d.acc_last,
        timer_mask=(1 << machine.timer_bits) - 1,
        acc_mask=(1 << machine.acc_bits) - 1,
        key_tile_mask=(1 << machine.key_tile_bits) - 1,
        query_tile_mask=(1 << machine.query_tile_bits) - 1,
        bound_mask=(1 << machine.bound_bits) - 1,
    )


def allowed_keys(job: Any) -> NDArray[np.int64]:
    """(Nq,): how many keys, from the first, each query may attend to."""
    return np.clip(np.asarray(job.bound, dtype=np.int64) + 1, 0, job.k.shape[0])


def around(machine: FusedMachine, job: Any) -> Around:
    """Memories, tables and room for one run; the O memory starts as zeros."""
    n, constants = machine.size, tables(machine)
    blocks = -(-job.q.shape[0] // n)
    return Around(
        q=np.ascontiguousarray(job.q, dtype=np.float64),
        k=np.ascontiguousarray(job.k, dtype=np.float64),
        v=np.ascontiguousarray(job.v, dtype=np.float64),
        o=np.zeros((job.q.shape[0], n)),
        allowed=allowed_keys(job),
        in_array=constants.in_array,
        in_accumulator=constants.in_accumulator,
        operand_scale=constants.scale,
        sum_scale=constants.scale_sum,
        comparisons=np.zeros((4 * blocks + 4, COMPARISON_COLUMNS)),
        left=np.zeros(n),
        above=np.zeros(n),
        spare=np.zeros(n),
        zeros=np.zeros(n),
        words=np.zeros(n, dtype=np.int32),
    )


def limit_of(job: Any, unit: str) -> float:
    """The job's threshold for a check unit; NaN, which alarms always, if it has none."""
    return float(getattr(job, "limits", {}).get(unit, np.nan))


def initial_state(machine: FusedMachine, job: Any) -> NDArray[np.float64]:
    """The flat state at cycle 0: configuration loaded, maxima at minus infinity, everything else zero."""
    inventory = machine.inventory
    state = np.zeros(inventory.slots)
    values = {
        **AT_RESET,
        "last_key_tile": -(-job.k.shape[0] // machine.size) - 1,
        "last_query_tile": -(-job.q.shape[0] // machine.size) - 1,
        "threshold": limit_of(job, "fused_output"),
    }
    for name, value in values.items():
        if name in inventory:
            at = inventory.offsets[name]
            state[at:at + inventory[name].size] = value
    return state
