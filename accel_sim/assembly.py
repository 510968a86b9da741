"""Everything that a config stands for, put together once: machine, workload, thresholds, memory stalls, jobs.

Commands and campaigns start here; `assemble(config)` does the work, `Assembly.job(head)` gives an engine what
it needs for one head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accel_sim.checkers.threshold import Threshold, limits_of, thresholds
from accel_sim.engines.job import Job, make_job
from accel_sim.faults.universe import Universe
from accel_sim.kinds import make_machine, memories_of, simulate_system
from accel_sim.machines.machine import HeadTiming, Machine
from accel_sim.machines.memories import Memories
from accel_sim.system import SystemRun
from accel_sim.system.program_groups import GroupedRun, in_groups
from accel_sim.workloads import HeadId, Workload, load_workload

if TYPE_CHECKING:
    from accel_sim.config import Config


@dataclass(frozen=True)
class Assembly:
    """A config's machine with its workload on its memory. limits: of each check unit, by its kind."""

    config: Config
    machine: Machine
    workload: Workload
    system: SystemRun
    limits: Mapping[str, Threshold]

    @property
    def timing(self) -> HeadTiming:
        """The stall-free timing of one head."""
        timing: HeadTiming = self.machine.timing(self.workload.n_queries, self.workload.n_keys)
        return timing

    def job(self, head: HeadId) -> Job:
        """One head, ready for any engine: rounded operands, thresholds loaded, memory stalls in place."""
        job = make_job(self.machine, *self.workload.tensors(head), self.workload.bounds(),
                       self.workload.firsts())
        return job.with_stalls(**self.system.held).with_limits(limits_of(self.limits))

    @cached_property
    def grouped(self) -> GroupedRun:
        """The time and traffic of all heads, where some may find their group's keys and values on chip."""
        memory, w = self.config.memory, self.workload

        def simulate(kv_present: bool, _: int) -> SystemRun:
            if not kv_present:
                return self.system
            run: SystemRun = simulate_system(self.machine, memory, w.n_queries, w.n_keys, kv_present=True)
            return run

        return in_groups(simulate, len(w.heads), w.kv_heads, memory.kv_resident)

    @cached_property
    def universe(self) -> Universe:
        """The faults that a campaign on this config draws from. Raises ConfigError for an unknown component."""
        from accel_sim.config import ConfigError

        targets = self.config.faults.targets
        if "sram" in targets and not any(True for _ in self.memories):
            raise ConfigError.at(self.config, "faults.targets",
                                 f"the SRAM words of a {self.machine.kind} machine cannot be struck: use registers")
        if "sram" in targets and self.memories.spills:
            raise ConfigError.at(self.config, *self.memories.told_of_spills)
        storage = [*(self.machine.inventory if "registers" in targets else ()),
                   *(self.memories if "sram" in targets else ())]
        try:
            return Universe.of(storage, self.system.cycles, len(self.workload.heads), self.config.faults.components)
        except ValueError as error:
            message = f"{error} (faults.targets: [{', '.join(targets)}])"
            raise ConfigError.at(self.config, "faults.components", message) from None

    @cached_property
    def memories(self) -> Memories:
        """The SRAM around the machine."""
        return memories_of(self.machine, self.timing)

    @property
    def components(self) -> tuple[str, ...]:
        """Every component that a record may name: those of the registers, and of the memories where they are struck."""
        known = tuple(self.machine.inventory.bits_by("component"))
        return known + tuple(m.component for m in self.memories) if "sram" in self.config.faults.targets else known


def assemble(config: Config, measure: bool = True) -> Assembly:
    """Put a config together.

    `measure=False` leaves out the clean false-alarm rate of the thresholds. Raises ConfigError for an input
    that does not fit.
    """
    machine = make_machine(config)
    workload = load_workload(config)
    system: SystemRun = simulate_system(machine, config.memory, workload.n_queries, workload.n_keys)
    return Assembly(config, machine, workload, system, thresholds(machine, workload, measure))
