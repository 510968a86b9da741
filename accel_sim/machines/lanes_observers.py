"""The two check units of the `lanes` machine that only look: score_rowsum and softmax_invariants.

Both read what stands in the datapath's registers and change none of it. This file says what they add to the machine:
registers, operators, register writes, and what each register holds when. What they do in a cycle is in
`accel_sim.engines.observers.step`; docs/machines/lanes.md is the normative text.

L: levels of an adder tree over d values. A lane that is drained in cycle t has its row-sum comparison in the unit's
registers in cycle t + L + 3, and its invariants in cycle t + 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from accel_sim.machines.counting import count_bits, counting_registers, frequent_of
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import LanesMachine, Timing, tree_sizes
from accel_sim.machines.machine import Occupant
from accel_sim.machines.operators import Operator, product_of, sum_of

if TYPE_CHECKING:
    from accel_sim.machines.lanes_operators import Counts

ROWSUM, SOFTMAX = "score_rowsum", "softmax_invariants"
COMPONENTS = (f"checker.{ROWSUM}", f"checker.{SOFTMAX}")

CONFIGURATION = frozenset(
    f"{prefix}_{name}" for prefix in ("rowsum", "softmax")
    for name in ("threshold", "enable", "small_threshold", "frequent", "bound")
)
"""Registers that are loaded before the run and read through all of it."""


def _judgement(machine: LanesMachine, unit: Any, prefix: str, component: str, residual: str) -> list[Register]:
    """What every unit has behind its comparison."""

    def reg(name: str, kind: str | int, about: str) -> Register:
        return machine._register(f"{prefix}_{name}", (), kind, "checker", component, about)

    return [
        reg("residual", "checker", residual),
        reg("limit", "checker", "what the residual's magnitude may not exceed"),
        reg("judge", 1, "residual and limit are to be compared"),
        reg("threshold", "checker", "configuration: the threshold"),
        reg("enable", 1, "configuration: the unit is on"),
        reg("alarm", 1, "sticky alarm"),
        *(reg(*row) for row in counting_registers(frequent_of(unit))),
    ]


def observer_registers(machine: LanesMachine) -> list[Register]:
    """The registers of both units, as far as the machine has them."""
    p, d, levels = machine.lanes, machine.head_dim, machine.levels
    rows: list[Register] = []

    def reg(name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
        return machine._register(name, shape, kind, "checker", component, about)

    if machine.rowsum is not None:
        component = COMPONENTS[0]
        rows += [
            reg("rowsum_keys", (d,), "checker", "sum of the keys so far, shared by all lanes"),
            reg("rowsum_sum", (p,), "checker", "sum of the scores so far"),
            reg("rowsum_prod", (d,), "checker", "products of the drained query and the sum of the keys"),
            reg("rowsum_tree", (sum(tree_sizes(d)),), "checker", "their sum, level by level"),
            reg("rowsum_pred", (), "checker", "predicted sum of the scores: that sum, scaled"),
            reg("rowsum_delay", (levels + 2,), "checker", "sum of the scores, in step with its prediction"),
            reg("rowsum_valid", (levels + 2,), 1, "stage i of the prediction holds a query"),
            reg("rowsum_last", (levels + 2,), 1, "that is the last lane of its swap"),
            *_judgement(machine, machine.rowsum, "rowsum", component, "predicted minus actual sum of the scores"),
        ]
    if machine.invariants is not None:
        component = COMPONENTS[1]
        rows.append(reg("softmax_excess", (p,), "checker", "largest violation of an invariant so far"))
        if machine.watches("max"):
            rows.append(reg("softmax_m", (p,), "state", "the maximum at the allowed key before, to compare it with"))
        if machine.watches("max", "sum"):
            rows.append(reg("softmax_seen", (p,), 1, "the unit has met an allowed key of the lane's query"))
        if machine.watches("mask"):
            rows.append(reg("softmax_masked", (p, 2), 1, "the unit takes the key in that stage for masked"))
        if machine.watches("score"):
            rows.append(reg("softmax_bound", (), "checker", "configuration: the largest score that q and k allow"))
        rows += _judgement(machine, machine.invariants, "softmax", component, "how far the worst violation goes")
    return rows


def observer_operators(machine: LanesMachine, count: Counts) -> Iterator[Operator]:
    """The operator groups of both units."""
    if machine.rowsum is not None:
        yield from _rowsum_operators(machine, machine.rowsum, count)
    if machine.invariants is not None:
        yield from _softmax_operators(machine, machine.invariants, count)


def _rowsum_operators(machine: LanesMachine, unit: Any, count: Counts) -> Iterator[Operator]:
    formats, lanes, d = machine.stored_formats, machine.lanes, machine.head_dim
    operand, score, checker = (formats[role] for role in ("operand", "score", "checker"))
    component, rows = COMPONENTS[0], count.timing.n_queries
    yield Operator("rowsum_key_add", "fp_add", sum_of(operand, checker, checker), component, d, d * count.keys)
    yield Operator("rowsum_score_add", "fp_add", sum_of(score, checker, checker), component, lanes,
                   lanes * count.keys)
    yield from _lane_select("rowsum_read_q", operand.name, component, d, lanes, rows)
    yield from _lane_select("rowsum_read_sum", checker.name, component, 1, lanes, rows)
    yield Operator("rowsum_product", "fp_mul", product_of(operand, checker, checker), component, d, d * rows)
    if d > 1:
        yield Operator("rowsum_dot", "fp_add", checker.name, component, d - 1, (d - 1) * rows)
    yield Operator("rowsum_scale", "fp_mul", product_of(score, checker, checker), component, 1, rows)
    yield Operator("rowsum_residual", "fp_add", checker.name, component, 1, rows)
    if unit.threshold.kind == "relative":
        yield Operator("rowsum_larger_sum", "fp_max", checker.name, component, 1, rows)
        yield Operator("rowsum_limit", "fp_mul", product_of(checker, checker, checker), component, 1, rows)
    yield from _judge(unit, "rowsum", checker.name, component, rows)


def _softmax_operators(machine: LanesMachine, unit: Any, count: Counts) -> Iterator[Operator]:
    formats, lanes = machine.stored_formats, machine.lanes
    score, state, checker = (formats[role] for role in ("score", "state", "checker"))
    component, rows, each_key = COMPONENTS[1], count.timing.n_queries, lanes * count.keys
    watched = [name for name in ("mask", "max", "score") if machine.watches(name)]
    between = sum_of(state, state, checker)
    if machine.watches("mask", "max", "sum"):
        ends = 2 if machine.sliding_window else 1  # of the mask
        yield Operator("softmax_mask", "int_cmp", f"uint{machine.key_bits}", component, ends * lanes, ends * each_key)
    if machine.watches("max"):
        yield Operator("softmax_fall", "fp_add", between, component, lanes, each_key)
    if machine.watches("score"):
        yield Operator("softmax_beyond", "fp_add", sum_of(score, checker, checker), component, lanes, each_key)
    if watched:
        yield Operator("softmax_worst", "fp_max", checker.name, component, len(watched) * lanes,
                       len(watched) * each_key)
    yield from _lane_select("softmax_read_excess", checker.name, component, 1, lanes, rows)
    last = 1
    if machine.watches("max"):
        yield from _lane_select("softmax_read_m", state.name, component, 2, lanes, rows)
        yield Operator("softmax_last_fall", "fp_add", between, component, 1, rows)
        last += 1
    if machine.watches("max", "sum"):
        yield from _lane_select("softmax_read_seen", "uint1", component, 1, lanes, rows)
    if machine.watches("sum"):
        yield Operator("softmax_keys", "int_add", f"uint{machine.key_bits}", component, 1, rows)
        yield Operator("softmax_sum_bounds", "fp_add", between, component, 2, 2 * rows)
        last += 2
    yield Operator("softmax_residual", "fp_max", checker.name, component, last, last * rows)
    yield from _judge(unit, "softmax", checker.name, component, rows)


def _lane_select(name: str, fmt: str, component: str, words: int, lanes: int, rows: int) -> Iterator[Operator]:
    """The multiplexer that reads one lane of P; see `accel_sim.machines.lanes_operators`."""
    if lanes > 1:
        path = (lanes - 1).bit_length()
        yield Operator(name, "mux", fmt, component, words * (lanes - 1), words * path * rows)


def _judge(unit: Any, prefix: str, checker: str, component: str, rows: int) -> Iterator[Operator]:
    yield Operator(f"{prefix}_judge", "fp_cmp", checker, component, 1, rows)
    if frequent := frequent_of(unit):
        width = f"uint{count_bits(frequent)}"
        yield Operator(f"{prefix}_judge_small", "fp_cmp", checker, component, 1, rows)
        yield Operator(f"{prefix}_count_deviation", "int_add", width, component, 1, rows)
        yield Operator(f"{prefix}_judge_count", "int_cmp", width, component, 1, rows)


def observer_writes(machine: LanesMachine, count: Counts) -> dict[str, int]:
    """Elements of each of their register arrays that are clocked in one head."""
    timing, lanes, d, levels = count.timing, machine.lanes, machine.head_dim, machine.levels
    rows, keys, always = timing.n_queries, count.keys, timing.head_cycles
    loaded = keys * lanes + count.swap_rows
    # Weights are looked at two cycles after scores and maxima: the last two of a block by themselves.
    late = min(2, timing.n_keys) if machine.watches("max", "score") else timing.n_keys
    stages = timing.n_keys * machine.watches("max", "score") + late * machine.watches("mask")
    rules = dict.fromkeys(CONFIGURATION, 0)
    rules |= {f"{prefix}_{name}": rows for prefix in ("rowsum", "softmax")
              for name in ("residual", "limit", "alarm", "deviations")}
    rules |= dict.fromkeys(("rowsum_judge", "softmax_judge"), always)
    return rules | {
        "rowsum_keys": d * (keys + timing.blocks + 1), "rowsum_sum": loaded, "rowsum_prod": d * rows,
        "rowsum_tree": sum(tree_sizes(d)) * rows, "rowsum_pred": rows, "rowsum_delay": (levels + 2) * rows,
        "rowsum_valid": (levels + 2) * always, "rowsum_last": (levels + 2) * always,
        "softmax_excess": lanes * timing.blocks * stages + count.swap_rows,
        "softmax_m": loaded, "softmax_seen": loaded, "softmax_masked": 2 * lanes * keys,
    }


def observer_occupant(machine: LanesMachine, timing: Timing, register: Register, index: tuple[int, ...],
                      cycle: int) -> Occupant | None:
    """What an element of one of their registers holds; `softmax_masked` is part of the pipeline and not asked here."""
    name = register.name
    if name in CONFIGURATION:
        return Occupant("configuration: " + register.about.removeprefix("configuration: "))
    if name == "rowsum_keys":
        # Emptied as the last lane is read, in the cycle before the next block streams.
        block = (cycle - timing.lanes) // timing.period
        return Occupant(register.about, dim=index[0]) if 0 <= block < timing.blocks else None
    if name in ("rowsum_sum", "softmax_excess", "softmax_m", "softmax_seen"):
        block = (cycle - 1 - index[0]) // timing.period
        query = block * machine.lanes + index[0]
        live = cycle > index[0] and block < timing.blocks and query < timing.n_queries
        return Occupant(register.about, query) if live else None
    lag = drain_lag(machine, name, index)
    if lag is None:
        return Occupant(register.about)  # tags, alarms and counts are taken as live all the time
    swap, lane = divmod(cycle - lag, timing.period)
    query = (swap - 1) * machine.lanes + lane
    live = 1 <= swap <= timing.blocks and lane < machine.lanes and query < timing.n_queries
    return Occupant(register.about, query, None, index[0] if name == "rowsum_prod" else None) if live else None


def drain_lag(machine: LanesMachine, name: str, index: tuple[int, ...]) -> int | None:
    """Cycles from the reading of a lane until a register behind the lanes holds something of it; None for others."""
    from accel_sim.machines.lanes_schedule import tree_level_of

    if name == "rowsum_tree":
        return 2 + tree_level_of(machine.head_dim, index[0])
    if name == "rowsum_delay":
        return 1 + index[0]
    lags = {
        "rowsum_prod": 1, "rowsum_pred": machine.levels + 2, "rowsum_residual": machine.levels + 3,
        "rowsum_limit": machine.levels + 3, "softmax_residual": 1, "softmax_limit": 1,
    }
    return lags.get(name)
