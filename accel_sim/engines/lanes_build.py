"""From a `LanesMachine` and a job to the plain tuples that the Numba kernels take."""

from __future__ import annotations

from collections import namedtuple
from functools import lru_cache
from typing import Any, cast

import numpy as np

from accel_sim.engines.job import Job
from accel_sim.engines.lanes_log import COMPARISON_COLUMNS
from accel_sim.engines.lanes_step import (
    FUSED,
    HEAD,
    KEY_TILE,
    QUERY_BLOCK,
    SERIAL,
    TREE,
    Data,
    Geometry,
    Roundings,
)
from accel_sim.engines.result import Policy
from accel_sim.machines.counting import count_bits, frequent_of
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.score_bound import score_bound
from accel_sim.numerics.dot import fused_digits
from accel_sim.numerics.exp import exp_pwl_table
from accel_sim.numerics.formats import FORMATS
from accel_sim.numerics.reciprocal import reciprocal_table

_SLOT_NAMES = (
    "phase row query key last_query last_key kv_bank bound first active seen valid key_tag norm_valid norm_addr "
    "norm_last recip_valid recip_addr recip_last out_valid out_addr out_last scale q k v k_skew v_delay prod "
    "score m allow ds da p a p_acc a_acc l pv o norm_o norm_l recip recip_o out chk_prod chk_score "
    "chk_seen chk_m chk_allow chk_ds chk_da chk_p chk_a chk_p_acc chk_a_acc chk_l norm_chk_l chk_recip r_tree "
    "r_delay chk_pr c norm_c recip_c pred_term out_tree pred_delay sum_valid sum_last pred act compare "
    "residual limit judge threshold enable alarm tile_last scanning scan_row norm_scan sum_scan compare_scan "
    "scan_threshold small_threshold frequent deviations "
    "rowsum_keys rowsum_sum rowsum_prod rowsum_tree rowsum_pred rowsum_delay rowsum_valid rowsum_last rowsum_residual "
    "rowsum_limit rowsum_judge rowsum_threshold rowsum_enable rowsum_alarm rowsum_small_threshold rowsum_frequent "
    "rowsum_deviations softmax_excess softmax_m softmax_seen softmax_masked softmax_bound softmax_residual "
    "softmax_limit softmax_judge softmax_threshold softmax_enable softmax_alarm softmax_small_threshold "
    "softmax_frequent softmax_deviations"
).split()

_FIELDS = [*_SLOT_NAMES, "sums", "chk_sums", "sums_size", "k_skew_size", "out_tree_size", "rowsum_tree_size"]
Slots: Any = cast(Any, namedtuple("Slots", _FIELDS))
"""First slot of each register array in the flat state; 0 for one that the machine does not have (the
kernels never look at it then)."""


def slots(machine: LanesMachine) -> Any:
    """The `Slots` of a machine."""
    inventory = machine.inventory
    at = {name: inventory.offsets.get(name, 0) for name in _SLOT_NAMES}
    sums = {"tree": "tree", "serial": "chain", "fused": "dot"}[machine.dot]
    known = {*_SLOT_NAMES, "tree", "chain", "dot", "chk_tree", "chk_chain", "chk_dot"}
    unknown = {r.name for r in inventory} - known
    if unknown:
        raise AssertionError(f"registers that no kernel clocks: {', '.join(sorted(unknown))}")
    return Slots(
        **at,
        sums=inventory.offsets[sums],
        chk_sums=inventory.offsets.get(f"chk_{sums}", 0),
        sums_size=inventory[sums].size,
        k_skew_size=inventory["k_skew"].size if "k_skew" in inventory else 0,
        out_tree_size=inventory["out_tree"].size if "out_tree" in inventory else 0,
        rowsum_tree_size=inventory["rowsum_tree"].size if "rowsum_tree" in inventory else 0,
    )


def geometry(machine: LanesMachine, n_queries: int, n_keys: int) -> Geometry:
    """The `Geometry` of a machine running a head of this shape."""
    check = machine.check
    return Geometry(
        lanes=machine.lanes,
        head_dim=machine.head_dim,
        levels=machine.levels,
        depth=machine.depth,
        stages=machine.stages,
        key_tile=machine.key_tile,
        key_mask=(1 << machine.key_bits) - 1,
        query_mask=(1 << machine.query_bits) - 1,
        dot={"tree": TREE, "serial": SERIAL, "fused": FUSED}[machine.dot],
        exp_pwl=machine.exp.kind == "pwl",
        reciprocal=machine.reciprocal,
        window=machine.sliding_window,
        check=check is not None,
        own_score=machine.owns("score"),
        own_max=machine.owns("max"),
        own_exp=machine.owns("exp"),
        own_sum=machine.owns("sum"),
        granularity={"head": HEAD, "query_block": QUERY_BLOCK, "key_tile": KEY_TILE}[check.granularity]
        if check else HEAD,
        relative=check is not None and check.threshold.kind == "relative",
        check_most=_most(machine.check),
        n_queries=n_queries,
        n_keys=n_keys,
        tiles=-(-n_keys // machine.key_tile),
        blocks=-(-n_queries // machine.lanes),
        check_at=_number(machine, "fused_output"),
        rowsum=machine.rowsum is not None,
        rowsum_at=_number(machine, "score_rowsum"),
        rowsum_relative=machine.rowsum is not None and machine.rowsum.threshold.kind == "relative",
        rowsum_most=_most(machine.rowsum),
        softmax=machine.invariants is not None,
        softmax_at=_number(machine, "softmax_invariants"),
        softmax_most=_most(machine.invariants),
        watch_sum=machine.watches("sum"),
        watch_max=machine.watches("max"),
        watch_mask=machine.watches("mask"),
        watch_score=machine.watches("score"),
        watch_met=machine.watches("max", "sum"),
    )


def _number(machine: LanesMachine, kind: str) -> int:
    """Number of a check unit among those of the machine, 0 if it has none of that kind."""
    return next((n for n, unit in enumerate(machine.units) if unit.kind == kind), 0)


def _most(unit: Any) -> float:
    """Where a unit's counter of deviations stops; 0 if it has none."""
    return 2.0 ** count_bits(frequent_of(unit)) - 1.0


def roundings(machine: LanesMachine) -> Roundings:
    """The rounding of each format role."""
    by_role = {role: fmt.rounding(machine.subnormals) for role, fmt in machine.formats.items()}
    return Roundings(**by_role, exact=FORMATS["fp64"].rounding("keep"))


@lru_cache(maxsize=8)
def _tables(exp_pieces: int, recip_pieces: int) -> tuple[np.ndarray, np.ndarray]:
    return exp_pwl_table(exp_pieces), reciprocal_table(recip_pieces)


def tables(machine: LanesMachine) -> tuple[np.ndarray, np.ndarray]:
    """Piecewise-linear tables of the exp and reciprocal units (any table where the unit is exact)."""
    exp_pieces = machine.exp.pieces if machine.exp.kind == "pwl" else 2
    recip_pieces = machine.divide.pieces if machine.divide.kind == "reciprocal_pwl" else 2
    return _tables(exp_pieces, recip_pieces)


def mask_registers(machine: LanesMachine, job: Job) -> tuple[np.ndarray, np.ndarray]:
    """(bound, first), both (Nq,) int64: what the mask registers of a lane are loaded with for each query. With a
    sliding window, a query that sees no key has a first one behind its last one.

    Raises ValueError if the job has a window and the machine none.
    """
    if not machine.sliding_window:
        if job.first.any():
            raise ValueError("the job has a sliding window, and the machine's mask has no first key")
        return job.bound, job.first
    none = job.bound < job.first
    return np.where(none, 0, job.bound), np.where(none, np.maximum(job.first, 1), job.first)


def policy_of(job: Job, unit: Any) -> Policy:
    """`Job.policy` of a check unit, as its registers hold it. One that is not set raises the alarm: its small limit is
    NaN, and a single deviation is frequent. unit: the unit's section of the config, None for no unit."""
    if not frequent_of(unit):
        return float("nan"), 0
    small, frequent = job.policy(unit.kind)
    return small, max(frequent, 1)


def data(machine: LanesMachine, job: Job, g: Geometry) -> Data:
    """SRAM contents, tables and scratch for one run; the output array starts as zeros."""
    bound, first = mask_registers(machine, job)
    exp_table, recip_table = tables(machine)
    comparisons = 4 * (g.blocks + 1) * (g.tiles + 1)
    if machine.observed:
        comparisons += 8 * (g.blocks + 1) * g.lanes
    return Data(
        q=job.q, k=job.k, v=job.v, bound=bound, first=first,
        o=np.zeros((g.n_queries, g.head_dim)),
        exp_table=exp_table, recip_table=recip_table,
        digits=np.zeros(fused_digits(), dtype=np.int64),
        kv_stall=job.kv_stall, swap_stall=job.swap_stall,
        comparisons=np.zeros((comparisons, COMPARISON_COLUMNS)),
    )


def initial_state(machine: LanesMachine, job: Job) -> np.ndarray:
    """The flat state at cycle 0: configuration registers loaded, everything else zero."""
    inventory = machine.inventory
    state = np.zeros(inventory.slots)

    def put(name: str, value: float) -> None:
        if name in inventory:
            state[inventory.offsets[name]] = value

    put("last_query", job.q.shape[0] - 1)
    put("last_key", job.k.shape[0] - 1)
    put("scale", job.scale)
    put("threshold", job.threshold)
    put("scan_threshold", job.scan_threshold)
    put("enable", 1.0)
    for prefix, unit in (("", machine.check), ("rowsum_", machine.rowsum), ("softmax_", machine.invariants)):
        small, frequent = policy_of(job, unit)
        put(f"{prefix}small_threshold", small)
        put(f"{prefix}frequent", frequent)
        if unit is not None and prefix:
            put(f"{prefix}threshold", job.limit(unit.kind))
            put(f"{prefix}enable", 1.0)
    if machine.watches("score"):
        put("softmax_bound", score_bound(job.q, job.k, machine.formats["checker"]))
    return state
