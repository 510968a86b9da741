"""Struck tags of comparisons: what a lost or an added one loses or adds. No row and no other comparison changes.

Not in the last block's swap and the tail, whose length such a tag can change.
"""

from __future__ import annotations

from accel_sim.engines.lanes_build import policy_of
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.replay.teller import Teller
from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault

JUDGES = {"judge": "fused_output", "rowsum_judge": "score_rowsum", "softmax_judge": "softmax_invariants"}
"""Tags of a residual and a limit that are to be compared, and whose they are."""

TAGS = (*JUDGES, "rowsum_valid", "rowsum_last")


def golden_tag(engine: ReplayEngine, fault: Fault) -> float:
    """What a tag of `TAGS` holds in the fault-free run where and when it is struck."""
    t = engine.timing
    if fault.register in JUDGES:
        unit = JUDGES[fault.register]
        return float(any(c.cycle == fault.cycle and c.unit == unit for c in engine.golden.comparisons))
    swap, lane = divmod(fault.cycle - 1 - fault.index[0], t.period)
    if not 1 <= swap <= t.blocks:
        return 0.0
    if fault.register == "rowsum_last":
        return float(lane == t.lanes - 1)
    return float(lane < t.lanes and (swap - 1) * t.lanes + lane < t.n_queries)


def with_tag(engine: ReplayEngine, watchdog: int, fault: Fault, changed: bool) -> RunResult | None:
    """The run under such a fault; changed: whether the tag is not what it was; None for a case that is not known."""
    t, machine = engine.timing, engine.machine
    if not changed:
        return engine.golden
    if fault.register in JUDGES:
        # What is judged once more, or no more, raises no alarm; but it counts where deviations are counted.
        unit = next(unit for unit in machine.units if unit.kind == JUDGES[fault.register])
        return None if policy_of(engine.job, unit)[1] else engine.golden
    if fault.cycle + machine.levels + 2 > t.swap_start(t.blocks) + t.lanes:
        return None
    return engine.golden if fault.register == "rowsum_last" else _with_rowsum_valid(engine, watchdog, fault)


def _with_rowsum_valid(engine: ReplayEngine, watchdog: int, fault: Fault) -> RunResult | None:
    """A stage of the prediction loses its query, or holds once more the last that has passed."""
    t, stage = engine.timing, fault.index[0]
    swap, lane = divmod(fault.cycle - 1 - stage, t.period)
    if swap < 1:
        return None  # no query has passed
    passed = (swap - 1) * t.lanes + min(lane, t.lanes - 1)
    lost = golden_tag(engine, fault) != 0.0
    last = min(passed, t.n_queries - 1)
    teller = Teller(engine, watchdog)
    for block in range(t.blocks):
        drained = teller.golden(block)
        if lost and block == last // t.lanes:
            seen = list(drained.seen)
            seen[last % t.lanes] = [c for c in seen[last % t.lanes] if c.unit != "score_rowsum"]
            drained = drained._replace(seen=seen)
        teller.deliver(t.swap_start(block + 1), drained, True, block == t.blocks - 1)
    if not lost:
        again = next(c for c in engine.seen[last] if c.unit == "score_rowsum")
        teller.compare(fault.cycle + engine.machine.levels + 2 - stage, again)
    return teller.result(t.head_cycles)
