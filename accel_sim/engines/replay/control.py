"""Faults in the configuration and in the counters that outlive a query block, in the flags of lanes, and in tags.

Such a fault changes no value on its way through the datapath; it changes which rows are loaded or delivered, how many
keys they meet, where they are delivered, or what every score is multiplied by. From there on each block runs as
always, so the run is told block by block: rows of the golden run where a row is as it was, rows computed again
where it met other keys or another scale; and likewise what the units that only look see of each.

`replay_control` answers with a whole `RunResult`, or None for a case it does not know (a memory that stalls, scans
inside a block, a relative threshold, an alarm without a fault, the last swap); the stepped engine then runs the fault.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.replay.beyond import block_beyond
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.replay.tags import TAGS, golden_tag, with_tag
from accel_sim.engines.replay.teller import Drained, Teller
from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet

KNOWN = ("scale", "last_key", "last_query", "query", "active", *TAGS)


def struck_register(engine: ReplayEngine, fault: Fault, value: float) -> float:
    """Value of a struck scalar register."""
    register = engine.machine.inventory[fault.register]
    arith, stored = register.format.codec, register.stored.codec
    mask = np.uint64(fault.mask)
    if fault.kind in ("flip", "burst"):
        return float(flip_bits(value, arith, stored, mask))
    return float(force_bits(value, arith, stored, mask, mask if fault.kind == "stuck1" else np.uint64(0)))


def replay_control(engine: ReplayEngine, fault: Fault, watchdog: int) -> tuple[RunResult, float, float] | None:
    """(result, old value, new value) of a fault in one of the `KNOWN` registers, or None."""
    machine, timing, job = engine.machine, engine.timing, engine.job
    check = machine.check
    if (
        fault.register not in KNOWN or fault.end - fault.cycle != 1 or machine.scans
        or engine.golden.alarm_cycle is not None or (check is not None and check.threshold.kind == "relative")
        or job.kv_stall.any() or job.swap_stall.any()
    ):
        return None
    cycle = fault.cycle
    since = cycle % timing.period  # 0 … P − 1: in a swap
    swap_before = cycle // timing.period
    in_swap = since < timing.lanes
    if cycle >= timing.swap_start(timing.blocks):
        return None  # the last swap and the tail: short, and run
    swap_now, lane_now = (swap_before, since) if in_swap else (swap_before + 1, 0)
    golden_value = {
        "scale": job.scale, "last_key": float(timing.n_keys - 1), "last_query": float(timing.n_queries - 1),
        "query": float(swap_now * timing.lanes + lane_now), "active": 1.0,
    }.get(fault.register)
    if golden_value is None:
        golden_value = golden_tag(engine, fault)
    value = struck_register(engine, fault, golden_value)
    told: RunResult | None
    if fault.register == "scale":
        told = _with_scale(engine, watchdog, cycle, value)
    elif fault.register == "last_key":
        told = _with_last_key(engine, watchdog, cycle, swap_before, int(value))
    elif fault.register == "active":
        told = _with_active(engine, watchdog, cycle, fault.index[0], value != 0.0)
    elif fault.register == "last_query":
        told = _with_counters(engine, watchdog, swap_now, lane_now, swap_now * timing.lanes, int(value))
    elif fault.register == "query":
        told = _with_counters(engine, watchdog, swap_now, lane_now, int(value) - lane_now, timing.n_queries - 1)
    else:
        told = with_tag(engine, watchdog, fault, value != golden_value)
    return None if told is None else (told, golden_value, value)


def _with_scale(engine: ReplayEngine, watchdog: int, cycle: int, value: float) -> RunResult:
    t = engine.timing
    teller = Teller(engine, watchdog)
    scale = float(quiet(value, engine.roundings.score))
    for block in range(t.blocks):
        # The score stage of key j reads the scale in cycle fetch(j) + 2 + depth.
        from_key = min(max(0, cycle - t.stream_start(block) - 2 - t.depth), t.n_keys)
        drained, swap = teller.golden(block), t.swap_start(block + 1)
        if from_key < t.n_keys:
            row, terms = engine.rows_again(*_ends(drained), from_key, t.n_keys, scale)
            drained = drained._replace(row=row, terms=terms)
        # A predicted sum of scores is scaled so many cycles after its lane is read.
        late = drained.lane + swap + 1 + engine.machine.levels >= cycle
        drained = _seen_again(engine, drained, block, late, from_key, t.n_keys, scale, t.n_keys - 1)
        teller.deliver(swap, drained, True, block == t.blocks - 1)
    return teller.result(t.head_cycles)


def _with_last_key(engine: ReplayEngine, watchdog: int, cycle: int, block_now: int,
                   last_key: int) -> RunResult | None:
    t = engine.timing
    if last_key >= t.n_keys and _negative_zero(engine):
        return None  # a masked key adds +0, which would turn a −0 around
    teller = Teller(engine, watchdog)
    swap = 0
    for block in range(t.blocks):
        start = swap + t.lanes
        keys = t.n_keys
        if block > block_now or (block == block_now and cycle < start + t.n_keys):
            # The stream ends with the first key that is not below last_key once the fault has struck.
            at_fault = max(0, cycle - start) if block == block_now else 0
            keys = max(at_fault, last_key) + 1
        drained = teller.golden(block)
        if keys < t.n_keys:
            row, terms = engine.rows_again(*_ends(drained), t.n_keys, keys, engine.job.scale)
            drained = drained._replace(row=row, terms=terms)
        swap = start + keys + t.flush
        # A sum of weights is held against last_key as its lane is read.
        drained = _seen_again(engine, drained, block, swap + drained.lane >= cycle, 0, keys, engine.job.scale,
                              last_key)
        teller.deliver(swap, drained, True, block == t.blocks - 1)
    return teller.result(swap + t.lanes + t.tail)


def _ends(drained: Drained) -> tuple[int, int]:
    """First and last query (and one) of a block."""
    return int(drained.address[0]), int(drained.address[-1]) + 1


def _seen_again(engine: ReplayEngine, drained: Drained, block: int, late: np.ndarray, from_key: int, keys: int,
                scale: float, last_key: int) -> Drained:
    """A block with other comparisons by the units that only look in the lanes that are `late` (bool, one a lane)
    enough to be struck; see `ObserverReplay.block_again`."""
    if engine.observers is None or not late.any():
        return drained
    again = engine.observers.block_again(block, from_key, keys, scale, last_key)
    seen = [new if struck else old for old, new, struck in zip(drained.seen, again, late.tolist(), strict=True)]
    return drained._replace(seen=seen)


def _with_active(engine: ReplayEngine, watchdog: int, cycle: int, lane: int, active: bool) -> RunResult | None:
    """A lane between the load of a query and its drain is idle unless `active`."""
    t = engine.timing
    block_now = (cycle - 1 - lane) // t.period
    if block_now < 0 or block_now * t.lanes + lane >= t.n_queries:
        return None  # a row without a query may be delivered
    teller = Teller(engine, watchdog)
    for block in range(t.blocks):
        drained = teller.golden(block)
        if block == block_now and not active:
            drained = drained.only(drained.lane != lane)
        teller.deliver(t.swap_start(block + 1), drained, True, block == t.blocks - 1)
    return teller.result(t.head_cycles)


def _negative_zero(engine: ReplayEngine) -> bool:
    store = engine.store
    return any(bool(np.any(np.signbit(x) & (x == 0.0))) for x in (store.o, store.terms))


def _with_counters(engine: ReplayEngine, watchdog: int, swap_now: int, lane_now: int, first: int,
                   last_query: int) -> RunResult | None:
    """The rest of the run when, from lane `lane_now` of swap `swap_now` on, lanes 0, 1, … are loaded with queries
    `first`, `first` + 1, … up to `last_query`."""
    t = engine.timing
    mask = (1 << engine.machine.query_bits) - 1
    teller = Teller(engine, watchdog)
    for block in range(swap_now - 1):
        teller.deliver(t.swap_start(block + 1), teller.golden(block), True, False)
    drained = teller.golden(swap_now - 1) if swap_now else teller.queries(np.arange(0))
    swap, started = t.swap_start(swap_now), swap_now
    lanes = np.arange(t.lanes)
    before = lanes < lane_now
    loaded = np.where(before, swap_now * t.lanes, first) + lanes
    allowed = np.where(before, t.n_queries - 1, last_query)
    while True:
        if not 0 <= first <= mask:
            return None  # the counter wraps in this swap
        ends = first > last_query
        drained = drained._replace(address=(loaded[drained.lane] - t.lanes) & mask)
        teller.deliver(swap, drained, first >= t.lanes, ends)
        if ends or swap > watchdog:
            break
        if first + t.lanes > mask:
            return None  # or is about to
        live = (loaded <= allowed) & (loaded < t.n_queries)
        drained = teller.queries(loaded[live], lanes[live])
        if live.any() and started >= t.blocks:
            drained = block_beyond(engine, started, drained)
        started += 1
        first += t.lanes
        swap += t.period
        loaded, allowed = first + lanes, np.full(t.lanes, last_query)
    return teller.result(swap + t.lanes + t.tail)
