"""The stepped engine of a machine with units on its output buffer: the machine's own, and then the readback."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.engines.clock import Clock
from accel_sim.engines.job import Job
from accel_sim.engines.result import RunResult, first_alarm
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault
from accel_sim.output_units.machine import OutputMachine
from accel_sim.output_units.readback import Readback, Seen, read_back


class OutputStepped:
    """bare: the machine's own stepped engine, on the clock, for the same job. Faults in the machine's registers and
    memories are its business while its run lasts; afterwards only those in its alarms act on anything."""

    def __init__(self, bare: Any, machine: OutputMachine, job: Job) -> None:
        self.bare, self.machine, self.job = bare, machine, job
        n_queries, n_keys, _ = job.shape
        self.timing = machine.timing(n_queries, n_keys)
        self.memories = bare.memories
        self.clock: Clock = bare.clock
        self.units = machine.load(job)

    @cached_property
    def _golden(self) -> RunResult:
        return self._seen(self.bare.golden(), ()).result

    def golden(self) -> RunResult:
        """The fault-free run."""
        return self._golden

    def run(self, faults: Sequence[Fault] = (), watch: Callable[[int, np.ndarray], None] | None = None) -> RunResult:
        """Run under faults. watch(cycle, state): as the machine's own engine has it, with the state of the units behind
        that of the machine, and on through the readback, in which the machine stands as in its last cycle."""
        for fault in faults:
            fault.check(self.machine.inventory, self.memories)
        own = [fault for fault in faults if self._in_machine(fault)]
        run = self.bare.run(own)
        if watch is None:
            return self._seen(run, faults).result
        return self._watched(run, own, faults, watch)

    def inject(self, fault: Fault) -> Injection:
        """Run under one fault, the machine itself no longer than it takes."""
        fault.check(self.machine.inventory, self.memories)
        golden: RunResult = self.bare.golden()
        if not self._in_machine(fault) or fault.cycle >= golden.cycles:
            seen = self._seen(golden, [fault])
            return Injection(fault, seen.before, seen.after, seen.result)
        injection: Injection = self.bare.inject(fault)
        seen = self._seen(injection.result, [fault])
        return Injection(fault, injection.old_value, injection.new_value, seen.result)

    def live(self, fault: Fault) -> bool:
        """Whether the struck element is read again before it is written."""
        if self._in_machine(fault) and fault.cycle < self.bare.golden().cycles:
            return bool(self.bare.live(fault))
        if fault.register in self.memories:
            return False
        cycle = self.clock.machine_cycle(fault.cycle)[0]
        register = self.machine.inventory[fault.register]
        return self.machine.occupant(self.timing, register, fault.index, cycle) is not None

    def _watched(self, run: RunResult, own: Sequence[Fault], faults: Sequence[Fault],
                 watch: Callable[[int, np.ndarray], None]) -> RunResult:
        """The same once more, watched. run: of the machine, which is known by now."""
        state = np.zeros(self.machine.inventory.slots)
        machine_slots, last = self.machine.bare.inventory.slots, -1
        units = Readback(run, self.units, self.machine.inventory, faults, flags(self.machine, self.job, run))

        def in_machine(cycle: int, machine_state: np.ndarray) -> None:
            nonlocal last
            units.pass_through(cycle)
            last = cycle
            state[:machine_slots], state[machine_slots:] = machine_state[:machine_slots], units.registers()
            watch(cycle, state)

        def in_readback(cycle: int) -> None:
            state[machine_slots:] = units.registers()
            watch(last + 1 + cycle - run.cycles, state)

        self.bare.run(own, in_machine)
        return units.finish(in_readback).result

    def _in_machine(self, fault: Fault) -> bool:
        return fault.register in self.memories or self.machine.unit_of(fault.register) is None

    def _seen(self, run: RunResult, faults: Sequence[Fault]) -> Seen:
        return read_back(run, self.units, self.machine.inventory, faults, flags(self.machine, self.job, run))


def flags(machine: OutputMachine, job: Job, run: RunResult) -> Mapping[str, bool]:
    """The machine's own alarm registers as its run ends: up where a comparison of theirs has raised the alarm."""
    if run.alarm_cycle is None:
        return dict.fromkeys((r.name for r in machine.flags), False)
    if len(machine.flags) == 1:
        return {machine.flags[0].name: True}
    mine = {unit.kind: [c for c in run.comparisons if c.unit == unit.kind] for unit in machine.bare.units}
    raised = {f"checker.{kind}" for kind, found in mine.items() if first_alarm(found, job.policy(kind))}
    return {r.name: r.component in raised for r in machine.flags}
