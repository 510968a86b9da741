"""One fault, from strike to alarm: what was struck, what it reached, whether anything noticed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel_sim.analysis.attention import Row, observe
from accel_sim.assembly import Assembly
from accel_sim.engines.golden import Clock
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import OUTCOMES, Severity, outcome_code, severity
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes_schedule import Occupant, occupant
from accel_sim.numerics.rounding import encode_value
from accel_sim.workloads import HeadId


@dataclass(frozen=True)
class AttentionRow:
    """One query's attention before and after the fault. Weights are shares of the output; (n,) float64."""

    query: int
    keys: np.ndarray
    golden_weights: np.ndarray
    faulty_keys: np.ndarray
    faulty_weights: np.ndarray


@dataclass(frozen=True)
class Explanation:
    """Everything there is to say about one fault.

    occupant: what the schedule says the element held; None if it was dead. phase: what the machine was doing.
    stalled: the pipeline was being held, so that the flip waited in its register. machine_cycle: the
    stall-free cycle of that moment. old_bits, new_bits: stored pattern before and after. score_changes,
    weight_changes: (query, key) entries that differ in any bit. queries: output rows that differ.
    rows: attention before and after, of the queries that changed most (at most three).
    """

    fault: Fault
    head: HeadId
    register: Register
    occupant: Occupant | None
    phase: str
    stalled: bool
    machine_cycle: int
    old_value: float
    new_value: float
    old_bits: int
    new_bits: int
    golden: RunResult
    faulty: RunResult
    outcome: str
    severity: Severity
    latency_cycles: int | None
    queries: tuple[int, ...]
    score_changes: int
    weight_changes: int
    rows: tuple[AttentionRow, ...]


def explain(assembly: Assembly, head: HeadId, fault: Fault) -> Explanation:
    """Inject one fault into one head and follow it.

    Raises ValueError with a clear message for a fault that this machine and run cannot have.
    """
    engine = SteppedEngine(assembly.machine, assembly.job(head))
    fault.check(assembly.machine.inventory)
    golden = engine.golden()
    if fault.cycle >= golden.cycles:
        raise ValueError(f"the head ends after cycle {golden.cycles - 1}; cycle {fault.cycle} is never reached")
    injection = engine.inject(fault)
    faulty, rows_after = observe(engine, [fault])
    if not faulty.same_as(injection.result):
        raise AssertionError("two ways of running one fault differ; please report this")
    _, rows_before = observe(engine)
    machine, timing = assembly.machine, engine.timing
    register = machine.inventory[fault.register]
    machine_cycle, stalled = Clock(machine, engine.job, timing).machine_cycle(fault.cycle)
    differs = np.any(golden.output.view(np.int64) != faulty.output.view(np.int64), axis=1)
    harm = severity(golden.output, faulty.output, machine.formats["output"].codec)
    alarm = faulty.alarm_cycle
    changed = _ranked(rows_before, rows_after)
    codec = register.stored.codec
    return Explanation(
        fault=fault,
        head=head,
        register=register,
        occupant=occupant(machine, timing, register, fault.index, machine_cycle),
        phase=_phase(timing, machine_cycle),
        stalled=stalled,
        machine_cycle=machine_cycle,
        old_value=injection.old_value,
        new_value=injection.new_value,
        old_bits=int(encode_value(injection.old_value, codec)) if register.stored == register.format else -1,
        new_bits=int(encode_value(injection.new_value, codec)) if register.stored == register.format else -1,
        golden=golden,
        faulty=faulty,
        outcome=OUTCOMES[outcome_code(harm.rows > 0, alarm is not None)],
        severity=harm,
        latency_cycles=None if alarm is None else alarm - fault.cycle,
        queries=tuple(int(q) for q in np.flatnonzero(differs)),
        score_changes=sum(_entries(a.scores, b.scores) for a, b in changed.values()),
        weight_changes=sum(_entries(a.weights, b.weights) for a, b in changed.values()),
        rows=tuple(
            AttentionRow(q, np.array(a.keys), a.weights, np.array(b.keys), b.weights)
            for q, (a, b) in list(changed.items())[:3]
        ),
    )


def _phase(timing: object, cycle: int) -> str:
    for phase, block, first, cycles in timing.spans():  # type: ignore[attr-defined]
        if first <= cycle < first + cycles:
            return f"{phase}, block {block}" if phase in ("stream", "flush") else phase
    return "done"


def _entries(a: object, b: object) -> int:
    """How many entries of two sequences differ in any bit; entries that only one has count too."""
    x, y = (np.asarray(v, dtype=np.float64).view(np.int64) for v in (a, b))
    n = min(len(x), len(y))
    return int(np.sum(x[:n] != y[:n])) + abs(len(x) - len(y))


def _ranked(before: dict[int, Row], after: dict[int, Row]) -> dict[int, tuple[Row, Row]]:
    """Queries whose row differs in any bit, the largest change of weights first."""
    size: dict[int, float] = {}
    for q in before.keys() & after.keys():
        a, b = before[q], after[q]
        if _entries(a.scores, b.scores) + _entries(a.weights, b.weights) + (a.keys != b.keys):
            n = min(len(a.weights), len(b.weights))
            delta = np.abs(a.weights[:n] - b.weights[:n])
            size[q] = float(np.where(np.isfinite(delta), delta, np.inf).sum())
    return {q: (before[q], after[q]) for q in sorted(size, key=lambda q: (-size[q], q))}
