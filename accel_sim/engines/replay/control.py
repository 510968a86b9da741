"""Faults in the configuration and in the counters that outlive a query block.

Such a fault changes no value on its way through the datapath; it changes which rows are loaded, how many keys
they meet, where they are delivered, or what every score is multiplied by. From there on each block runs as
always, so the run is told block by block: rows of the golden run where a row is as it was, rows computed again
where it met other keys or another scale.

`replay_control` answers with a whole `RunResult`, or None for a case it does not know (a memory that stalls, scans
inside a block, a relative threshold, a strike in the middle of a swap); the stepped engine then runs the fault.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from accel_sim.engines.lanes_build import policy_of
from accel_sim.engines.lanes_golden import add_terms
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.result import Comparison, RunResult, first_alarm
from accel_sim.faults.fault import Fault
from accel_sim.numerics.arithmetic import sub
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet

KNOWN = ("scale", "last_key", "last_query", "query")


@dataclass
class Told:
    """A run being told: what has been delivered and compared by `cycle`, the start of the next swap."""

    output: np.ndarray
    comparisons: list[Comparison] = field(default_factory=list)
    pred: float = 0.0
    act: float = 0.0


class Teller:
    """Tells one run from the fault on. Cycles are stall-free, which is the clock."""

    def __init__(self, engine: ReplayEngine, watchdog: int) -> None:
        self.engine = engine
        self.watchdog = watchdog
        self.machine, self.timing = engine.machine, engine.timing
        self.rc = engine.roundings.checker
        self.told = Told(np.zeros_like(engine.golden.output))

    def deliver(self, swap: int, rows: list[tuple[int, int, np.ndarray, np.ndarray]], closes: bool,
                ends: bool) -> None:
        """Swap rows out, in a swap that starts at cycle `swap`: (lane, address, row, terms) of each live lane.
        closes: the last lane's tag marks the end of a block; ends: no block follows."""
        t, told = self.timing, self.told
        for lane, address, row, terms in rows:
            if swap + lane + 1 + t.normalise < self.watchdog and address < t.n_queries:
                told.output[address] = row
            told.pred, told.act = add_terms(terms.reshape(1, 2), 0, 1, told.pred, told.act, self.rc)
        check = self.machine.check
        if check is None or not closes or (check.granularity == "head" and not ends):
            return
        cycle = t.residual_cycle(swap + t.lanes - 1)
        if cycle <= self.watchdog:
            limit = float(quiet(self.engine.job.threshold, self.rc))
            residual = float(sub(told.pred, told.act, self.rc))
            told.comparisons.append(Comparison(cycle, residual, limit, told.pred, told.act, False))
        told.pred = told.act = 0.0

    def result(self, cycles: int) -> RunResult:
        """The run, ended."""
        hang = cycles > self.watchdog
        end = min(cycles, self.watchdog)
        raised = first_alarm(self.told.comparisons, policy_of(self.machine.check, self.engine.job))
        alarm = None if raised is None or raised.cycle + 1 >= end + (not hang) else raised.cycle + 1
        return RunResult(self.told.output, tuple(self.told.comparisons), alarm, end, hang)


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
    golden_value = {
        "scale": job.scale, "last_key": float(timing.n_keys - 1), "last_query": float(timing.n_queries - 1),
        "query": float(min(swap_before + 1, timing.blocks + 1) * timing.lanes),
    }[fault.register]
    if in_swap and fault.register in ("query", "last_query"):
        return None
    value = struck_register(engine, fault, golden_value)
    told: RunResult | None
    if fault.register == "scale":
        told = _with_scale(engine, watchdog, cycle, value)
    elif fault.register == "last_key":
        told = _with_last_key(engine, watchdog, cycle, swap_before, int(value))
    elif fault.register == "last_query":
        told = _with_counters(engine, watchdog, swap_before, (swap_before + 1) * timing.lanes, int(value))
    else:
        told = _with_counters(engine, watchdog, swap_before, int(value), timing.n_queries - 1)
    return None if told is None else (told, golden_value, value)


def _golden_rows(engine: ReplayEngine, block: int) -> list[tuple[int, int, np.ndarray, np.ndarray]]:
    """(lane, address, row, terms) of a block as it was."""
    t, store = engine.timing, engine.store
    first = block * t.lanes
    return [(i - first, i, store.o[i], store.terms[i]) for i in range(first, min(first + t.lanes, t.n_queries))]


def _with_scale(engine: ReplayEngine, watchdog: int, cycle: int, scale: float) -> RunResult:
    t = engine.timing
    teller = Teller(engine, watchdog)
    for block in range(t.blocks):
        first, last = block * t.lanes, min((block + 1) * t.lanes, t.n_queries)
        # The score stage of key j reads the scale in cycle fetch(j) + 2 + depth.
        from_key = min(max(0, cycle - t.stream_start(block) - 2 - t.depth), t.n_keys)
        rows = _golden_rows(engine, block)
        if from_key < t.n_keys:
            again, terms = engine.rows_again(first, last, from_key, t.n_keys, scale)
            rows = [(lane, i, again[lane], terms[lane]) for lane, i, _, _ in rows]
        teller.deliver(t.swap_start(block + 1), rows, True, block == t.blocks - 1)
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
        rows = _golden_rows(engine, block)
        if keys < t.n_keys:
            again, terms = engine.rows_again(rows[0][1], rows[-1][1] + 1, t.n_keys, keys, engine.job.scale)
            rows = [(lane, i, again[lane], terms[lane]) for lane, i, _, _ in rows]
        swap = start + keys + t.flush
        teller.deliver(swap, rows, True, block == t.blocks - 1)
    return teller.result(swap + t.lanes + t.tail)


def _negative_zero(engine: ReplayEngine) -> bool:
    store = engine.store
    return any(bool(np.any(np.signbit(x) & (x == 0.0))) for x in (store.o, store.terms))


def _with_counters(engine: ReplayEngine, watchdog: int, block_now: int, query: int,
                   last_query: int) -> RunResult | None:
    """The rest of the run when, in the next swap, the query counter stands at `query` and the last query is
    `last_query`; the block in flight is as it was."""
    t = engine.timing
    mask = (1 << engine.machine.query_bits) - 1
    teller = Teller(engine, watchdog)
    for block in range(block_now):
        teller.deliver(t.swap_start(block + 1), _golden_rows(engine, block), True, False)
    rows = _golden_rows(engine, block_now)
    swap = t.swap_start(block_now + 1)
    started = block_now + 1
    while True:
        ends = query > last_query
        rows = [(lane, (query + lane - t.lanes) & mask, row, terms) for lane, _, row, terms in rows]
        teller.deliver(swap, rows, query >= t.lanes, ends)
        if ends or swap > watchdog:
            break
        if query + t.lanes > mask:
            return None  # the counter is about to wrap
        rows = [
            (lane, 0, engine.store.o[query + lane], engine.store.terms[query + lane])
            for lane in range(t.lanes) if query + lane <= last_query and query + lane < t.n_queries
        ]
        if rows and started >= t.blocks:
            return None  # more blocks than the DMA engine has brought keys for: they meet what is left in the banks
        started += 1
        query += t.lanes
        swap += t.period
    return teller.result(swap + t.lanes + t.tail)
