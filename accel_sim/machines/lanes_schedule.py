"""The schedule of the `lanes` machine: which (query, key, dim) a register holds in which cycle.

`occupant(machine, timing, register, index, cycle)` answers for one element and one stall-free cycle of the
fault-free run; None means that the element is dead: nothing will read it before it is written again, so
that a fault there is masked. docs/machines/lanes.md draws the same as a pipeline diagram.
"""

from __future__ import annotations

from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import LanesMachine, Timing, tree_sizes
from accel_sim.machines.lanes_observers import COMPONENTS, observer_occupant
from accel_sim.machines.machine import Occupant

CONFIGURATION = ("scale", "last_query", "last_key", "threshold", "scan_threshold", "small_threshold", "frequent",
                 "enable")
"""Registers that are loaded before the run and read through all of it."""

SEQUENCER = ("phase", "row", "query", "key", "kv_bank")
"""Registers of the controller itself: always live."""


def pipeline_stage(machine: LanesMachine, name: str, index: tuple[int, ...]) -> int | None:
    """Stage of the streaming pipeline at which a register element is live, or None if it is not part of it.

    An element of stage i holds key j from the start of cycle fetch(j) + 1 + i, for one cycle.
    """
    depth, levels = machine.depth, machine.levels
    name = name.removeprefix("chk_") if name not in ("chk_pr",) else name
    fixed = {
        "k": 0, "v": 0, "score": 2 + depth, "allow": 3 + depth, "ds": 3 + depth, "da": 3 + depth,
        "p": 4 + depth, "a": 4 + depth, "pv": 5 + depth, "p_acc": 5 + depth, "a_acc": 5 + depth,
        "chk_pr": 5 + depth,
    }
    if name in fixed:
        return fixed[name]
    at = index[-1] if index else 0
    if name in ("valid", "key_tag", "tile_last"):
        return at
    if name == "v_delay":
        return 1 + index[0]
    if name == "k_skew":
        return _skew_stage(machine.head_dim, at)
    if name == "prod":
        return 1 + at if machine.dot == "serial" else 1
    if name in ("chain", "dot"):
        return 2 + at
    if name == "tree":
        return 2 + tree_level_of(machine.head_dim, at)
    if name == "r_tree":
        return 1 + tree_level_of(machine.head_dim, at)
    if name == "r_delay":
        return 1 + levels + at
    if name == "softmax_masked":
        return 3 + depth + at
    return None


def tree_level_of(n: int, element: int) -> int:
    """Level (0 is the first) of an element of a flattened adder tree over n values."""
    for level, size in enumerate(tree_sizes(n)):
        if element < size:
            return level
        element -= size
    raise IndexError(element)


def _skew_stage(d: int, element: int) -> int:
    """Delay stage (1 …) of an element of k_skew; stage u holds dims u … d − 1."""
    stage = 1
    while element >= d - stage:
        element -= d - stage
        stage += 1
    return stage


def skew_dim(d: int, element: int) -> int:
    """Dim of k that an element of k_skew holds."""
    stage = 1
    while element >= d - stage:
        element -= d - stage
        stage += 1
    return stage + element


def occupant(machine: LanesMachine, timing: Timing, register: Register, index: tuple[int, ...],
             cycle: int) -> Occupant | None:
    """What the element holds at the start of stall-free cycle `cycle`, or None if it is dead."""
    name = register.name
    if register.component in COMPONENTS and name != "softmax_masked":
        return observer_occupant(machine, timing, register, index, cycle)
    if name in CONFIGURATION:
        return Occupant("configuration: " + register.about.removeprefix("configuration: "))
    if name in SEQUENCER:
        return Occupant(register.about)
    stage = pipeline_stage(machine, name, index)
    if stage is not None:
        return _in_pipeline(machine, timing, register, index, cycle, stage)
    if name in ("q", "bound", "first", "active", "seen", "chk_seen", "m", "chk_m", "l", "chk_l", "o", "c"):
        return _in_lane(machine, timing, register, index, cycle)
    return _in_drain(machine, timing, register, index, cycle)


def _in_pipeline(machine: LanesMachine, timing: Timing, register: Register, index: tuple[int, ...], cycle: int,
                 stage: int) -> Occupant | None:
    offset = cycle - 1 - stage - timing.lanes
    block, key = divmod(offset, timing.period)
    if register.name in ("valid", "tile_last"):
        # A tag is live even when it is zero: setting it makes the stage act on stale data.
        holds = offset >= 0 and block < timing.blocks and key < timing.n_keys
        return Occupant(register.about, key=key if holds else None)
    if offset < 0 or block >= timing.blocks or key >= timing.n_keys:
        return None
    lane = index[0] if register.shape[:1] == (machine.lanes,) and register.name not in SHARED_BY_LANES else None
    query = None if lane is None else block * machine.lanes + lane
    if query is not None and query >= timing.n_queries:
        return None
    return Occupant(register.about, query, key, _dim(machine, register, index))


SHARED_BY_LANES = (
    "k", "v", "v_delay", "k_skew", "valid", "key_tag", "tile_last", "r_tree", "r_delay", "norm_o", "recip_o", "out",
    "out_tree", "pred_delay", "rowsum_keys", "rowsum_prod", "rowsum_tree", "rowsum_delay", "rowsum_valid",
    "rowsum_last",
)  # fmt: skip
"""Register arrays whose first axis is not the lane, even where it happens to be as long."""


def _dim(machine: LanesMachine, register: Register, index: tuple[int, ...]) -> int | None:
    name = register.name.removeprefix("chk_")
    if name in ("k", "v"):
        return index[0]
    if name in ("v_delay", "prod", "pv", "q", "o"):
        return index[1]
    if name == "k_skew":
        return skew_dim(machine.head_dim, index[0])
    if name in ("norm_o", "recip_o", "out"):
        return index[0]
    return None


def _in_lane(machine: LanesMachine, timing: Timing, register: Register, index: tuple[int, ...],
             cycle: int) -> Occupant | None:
    """Registers that a lane keeps for its query, from its load to its last use."""
    lane = index[0]
    # Loaded in swap `block`, visible one cycle later.
    block = (cycle - 1 - lane) // timing.period
    if cycle - 1 - lane < 0 and register.name == "active":
        return Occupant(register.about)  # the first swap's drain reads it before the load
    if cycle - 1 - lane < 0 or block >= timing.blocks:
        return None
    query = block * machine.lanes + lane
    if query >= timing.n_queries:
        # An idle lane delivers nothing; only its `active` flag could make it.
        return Occupant(register.about) if register.name == "active" else None
    start = timing.stream_start(block)
    last_fetch = start + timing.n_keys - 1
    name = register.name.removeprefix("chk_")
    depth = machine.depth
    read_again = {"q": machine.rowsum is not None, "m": machine.watches("max")}  # by a unit that looks
    if name not in ("q", "bound", "first", "seen", "m") or read_again.get(register.name, False):
        last_use = timing.swap_start(block + 1) + lane  # the drain
    elif name == "q":
        last_use = last_fetch + 1 + (index[1] if machine.dot == "serial" else 0)
    else:
        last_use = last_fetch + 3 + depth
    if cycle > last_use:
        return None
    key = None
    if name in ("m", "seen"):
        key = min(cycle - start - 4 - depth, timing.n_keys - 1)
    elif name in ("l", "o", "c"):
        key = min(cycle - start - 7 - depth, timing.n_keys - 1)
    if key is not None and key < 0:
        key = None  # before the first key: still as it was loaded
    return Occupant(register.about, query, key, _dim(machine, register, index))


def _in_drain(machine: LanesMachine, timing: Timing, register: Register, index: tuple[int, ...],
              cycle: int) -> Occupant | None:
    """Registers behind the lanes. Tags and sums are taken as live all the time; the row registers hold the
    row that was read so many cycles before."""
    normalise = timing.normalise
    behind = {
        "norm_o": 1, "norm_l": 1, "norm_c": 1, "norm_chk_l": 1, "norm_addr": 1,
        "recip": 2, "recip_o": 2, "recip_c": 2, "chk_recip": 2, "recip_addr": 2,
        "out": 1 + normalise, "out_addr": 1 + normalise, "pred_term": 1 + normalise,
    }
    name = register.name
    if name in ("residual", "limit") and not machine.scans:
        return Occupant(register.about) if _judged(machine, timing, cycle) else None
    if name == "out_tree":
        lag = 2 + normalise + tree_level_of(machine.head_dim, index[0])
    elif name == "pred_delay":
        lag = 2 + normalise + index[0]
    elif name in behind:
        lag = behind[name]
    else:
        return Occupant(register.about)
    swap, lane = divmod(cycle - lag, timing.period)
    query = (swap - 1) * machine.lanes + lane
    if 1 <= swap <= timing.blocks and lane < machine.lanes and query < timing.n_queries:
        return Occupant(register.about, query, None, _dim(machine, register, index))
    if machine.scans and name in ("norm_o", "norm_c", "out_tree", "pred_delay"):
        return Occupant(f"{register.about}; perhaps of a scanned lane")
    return None


def _judged(machine: LanesMachine, timing: Timing, cycle: int) -> bool:
    """True in the cycle in which a residual is compared with its limit."""
    assert machine.check is not None
    first = timing.residual_cycle(timing.swap_start(1) + machine.lanes - 1)
    swap, off = divmod(cycle - first, timing.period)
    if machine.check.granularity == "head":
        return off == 0 and swap == timing.blocks - 1
    return off == 0 and 0 <= swap < timing.blocks
