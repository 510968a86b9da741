"""Engines of machines that work through a program of steps, put on the clock.

Such an engine knows no memory: it runs machine cycles. The memory can hold the machine between two steps only
(`Job.stalls["step"]`), so a fault of the clock is a fault of a machine cycle, and what happens in a machine cycle falls
on the clock: `ClockedStepped` and `ClockedReplay` translate both ways, and are to their callers what the engines of any
other machine are. A struck register that is being held keeps the fault until the machine moves on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.engines.clock import Clock
from accel_sim.engines.job import Job
from accel_sim.engines.replay.types import Outcomes, RowSink
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault


def step_clock(timing: Any, job: Job) -> Clock:
    """The clock of a program under a job's stalls."""
    return Clock(zip(timing.starts[:-1], job.stalls["step"].tolist(), strict=True))


def on_clock(result: RunResult, clock: Clock, fault: Fault | None = None, golden: RunResult | None = None) -> RunResult:
    """A run in machine cycles as the clock sees it. fault: what struck, its cycle that of the clock; golden: the
    fault-free run in machine cycles."""
    alarm = result.alarm_cycle
    if alarm is not None:
        raised = clock.visible(alarm)
        # An alarm that is read in the machine cycle of the strike and was not up before was set by the strike.
        set_by_strike = fault is not None and golden is not None and alarm != golden.alarm_cycle
        if set_by_strike and fault is not None and alarm == clock.machine_cycle(fault.cycle)[0]:
            raised = max(raised, fault.cycle)
        alarm = raised
    return replace(
        result,
        comparisons=tuple(replace(c, cycle=clock.visible(c.cycle)) for c in result.comparisons),
        alarm_cycle=alarm,
        cycles=result.cycles + clock.stalls,
    )


def in_machine_cycles(fault: Fault, clock: Clock) -> Fault:
    """A fault of the clock as the machine meets it."""
    first = clock.machine_cycle(fault.cycle)[0]
    last = clock.machine_cycle(fault.end - 1)[0]
    return replace(fault, cycle=first, duration=last - first + 1 if fault.kind.startswith("stuck") else fault.duration)


class ClockedStepped:
    """A stepped engine on the clock. engine: made for the same machine and job; its cycles are machine cycles."""

    def __init__(self, engine: Any, machine: Any, job: Job) -> None:
        self.engine, self.machine, self.job = engine, machine, job
        self.timing = engine.timing
        self.memories = machine.memories
        self.clock = step_clock(self.timing, job)

    def golden(self) -> RunResult:
        """The fault-free run."""
        return on_clock(self.engine.golden(), self.clock)

    def run(self, faults: Sequence[Fault] = (), watch: Callable[[int, np.ndarray], None] | None = None) -> RunResult:
        """Run under faults. watch(machine cycle, state): see the engine."""
        moved = [in_machine_cycles(fault, self.clock) for fault in faults]
        result = self.engine.run(moved) if watch is None else self.engine.run(moved, watch)
        return on_clock(result, self.clock, faults[0] if len(faults) == 1 else None, self.engine.golden())

    def inject(self, fault: Fault) -> Injection:
        """Run under one fault, no longer than it takes."""
        done: Injection = self.engine.inject(in_machine_cycles(fault, self.clock))
        return replace(done, fault=fault, result=on_clock(done.result, self.clock, fault, self.engine.golden()))

    def live(self, fault: Fault) -> bool:
        """Whether the struck element is read again before it is written."""
        register = self.machine.inventory[fault.register]
        cycle = self.clock.machine_cycle(fault.cycle)[0]
        return self.machine.occupant(self.timing, register, fault.index, cycle) is not None


class ClockedReplay:
    """A replay engine on the clock, with what campaigns ask of one. gives_rows: the engine's."""

    def __init__(self, engine: Any, machine: Any, job: Job) -> None:
        self.engine, self.machine, self.job = engine, machine, job
        n_queries, n_keys, _ = job.shape
        self.timing = machine.timing(n_queries, n_keys)
        self.clock = step_clock(self.timing, job)
        self.golden = on_clock(engine.golden, self.clock)
        self.golden_square: float = engine.golden_square
        self.gives_rows: bool = engine.gives_rows

    @cached_property
    def machine_cycles(self) -> np.ndarray:
        """(cycles,) int64: the machine cycle of every clock cycle, the next one where the machine is held."""
        return self.clock.machine_cycles(self.golden.cycles)

    @cached_property
    def _visible(self) -> np.ndarray:
        """(machine cycles + 1,): first clock cycle in which what stands at the start of each can be read."""
        cycles = np.arange(self.golden.cycles - self.clock.stalls + 1)
        return np.array([self.clock.visible(int(c)) for c in cycles], dtype=np.int64)

    def outcomes(self, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray, ops: np.ndarray,
                 masks: np.ndarray, arith: np.ndarray, stored: np.ndarray,
                 changed: Callable[[RowSink], None] | None = None) -> Outcomes:
        """As `accel_sim.engines.replay.engine.ReplayEngine.outcomes`."""
        first, last = self.machine_cycles[cycles], self.machine_cycles[last_cycles]
        out: Outcomes = self.engine.outcomes(slots, first, last, ops, masks, arith, stored, changed)
        alarm = out.alarm_cycle
        raised = self._visible[np.clip(alarm, 0, len(self._visible) - 1)]
        before = self.engine.golden.alarm_cycle
        by_strike = (alarm == first) & (alarm != (-1 if before is None else before))
        raised = np.where(by_strike, np.maximum(raised, cycles), raised)
        return out._replace(alarm_cycle=np.where(alarm < 0, alarm, raised))

    def inject(self, fault: Fault, stepped: ClockedStepped) -> Injection:
        """One fault that `outcomes` has left to the stepped engine."""
        return stepped.inject(fault)
