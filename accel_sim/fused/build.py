"""What the kernels of the `fused` machine are given: places, sizes, memories, the state at reset."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.config.errors import ConfigError
from accel_sim.engines.result import Comparison
from accel_sim.fused.arithmetic import tables
from accel_sim.fused.invariants import OwnSlots
from accel_sim.fused.row_sums import SumSlots
from accel_sim.fused.step import COMPARISON_COLUMNS, HEAD, QUERY_BLOCK, Around, Shape, Slots, Watchers
from accel_sim.machines.counting import count_bits, frequent_of
from accel_sim.machines.fused import WATCH_SCORE, FusedMachine
from accel_sim.machines.score_bound import score_bound

AT_RESET = {"new_max": -np.inf, "old_max": -np.inf, "enable": 1.0, "softmax_m": -np.inf, "softmax_enable": 1.0,
            "rowsum_enable": 1.0}
"""Registers that are not zero at reset, but for the configuration of the head."""


def slots(machine: FusedMachine) -> Slots:
    """First slot of every register array of the machine."""
    return Slots(**{name: machine.inventory.offsets.get(name, -1) for name in Slots._fields})


def watchers(machine: FusedMachine) -> Watchers:
    """The same of the units that only look."""

    def of(kind: Any, prefix: str, unit: Any) -> Any:
        found = {name: machine.inventory.offsets.get(f"{prefix}_{name}", -1) for name in kind._fields if name != "mask"}
        return kind(**found, mask=(1 << count_bits(frequent_of(unit))) - 1)

    return Watchers(of(OwnSlots, "softmax", machine.invariants), of(SumSlots, "rowsum", machine.rowsum))


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
        bound_bits=machine.bound_bits,
        deviation_mask=(1 << count_bits(frequent_of(check))) - 1,
        watch=machine.watch,
        rowsum=machine.rowsum is not None,
        rowsum_relative=machine.rowsum is not None and machine.rowsum.threshold.kind == "relative",
    )


def allowed_keys(job: Any) -> NDArray[np.int64]:
    """(Nq,): how many keys, from the first, each query may attend to."""
    allowed: NDArray[np.int64] = np.clip(np.asarray(job.bound, dtype=np.int64) + 1, 0, job.k.shape[0])
    return allowed


def first_keys(machine: FusedMachine, job: Any) -> NDArray[np.int64]:
    """(Nq,): the first key that each query may attend to. ConfigError for a window that the machine does not have."""
    first = np.clip(np.asarray(job.first, dtype=np.int64), 0, job.k.shape[0])
    if first.any() and not machine.window:
        raise ConfigError("queries begin after the first key, and architecture.sliding_window is false")
    return first


def bound_of_scores(machine: FusedMachine, job: Any) -> float:
    """What `softmax_bound` is loaded with: compare units see scores unscaled. 0 where they are not watched."""
    if not machine.watch & WATCH_SCORE:
        return 0.0
    return score_bound(job.q, job.k, machine.formats["checker"], scaled=False)


def around(machine: FusedMachine, job: Any) -> Around:
    """Memories, tables and room for one run; the O memory starts as zeros."""
    n, constants = machine.size, tables(machine)
    blocks = -(-job.q.shape[0] // n)
    by_query = (machine.invariants is not None) + (machine.rowsum is not None)
    most = 4 * blocks + 4 + by_query * (2 * blocks * n + n)
    return Around(
        q=np.ascontiguousarray(job.q, dtype=np.float64),
        k=np.ascontiguousarray(job.k, dtype=np.float64),
        v=np.ascontiguousarray(job.v, dtype=np.float64),
        o=np.zeros((job.q.shape[0], n)),
        allowed=allowed_keys(job) | (first_keys(machine, job) << machine.bound_bits),
        in_array=constants.in_array,
        in_accumulator=constants.in_accumulator,
        operand_scale=constants.scale,
        sum_scale=constants.scale_sum,
        score_bound=bound_of_scores(machine, job),
        comparisons=np.zeros((most, COMPARISON_COLUMNS)),
        left=np.zeros(n),
        above=np.zeros(n),
        spare=np.zeros(n),
        zeros=np.zeros(n),
        words=np.zeros(n, dtype=np.int32),
    )


def in_order(machine: FusedMachine, comparisons: Iterable[Comparison]) -> tuple[Comparison, ...]:
    """Comparisons by cycle, those of one cycle in the order of the config's units."""
    units = [unit.kind for unit in machine.units]
    return tuple(sorted(comparisons, key=lambda c: (c.cycle, units.index(c.unit))))


def initial_state(machine: FusedMachine, job: Any) -> NDArray[np.float64]:
    """The flat state at cycle 0: configuration loaded, maxima at minus infinity, everything else zero."""
    inventory = machine.inventory
    state = np.zeros(inventory.slots)
    values = {
        **AT_RESET,
        "last_key_tile": -(-job.k.shape[0] // machine.size) - 1,
        "last_query_tile": -(-job.q.shape[0] // machine.size) - 1,
        "threshold": job.limit("fused_output"),
        "softmax_bound": bound_of_scores(machine, job),
        "softmax_keys": job.k.shape[0],
        "softmax_threshold": job.limit("softmax_invariants"),
        "rowsum_threshold": job.limit("score_rowsum"),
    }
    for unit, prefix in (("fused_output", ""), ("softmax_invariants", "softmax_"), ("score_rowsum", "rowsum_")):
        values[f"{prefix}small_threshold"], values[f"{prefix}frequent"] = job.policy(unit)
    for name, value in values.items():
        if name in inventory:
            at = inventory.offsets[name]
            state[at:at + inventory[name].size] = value
    return state
