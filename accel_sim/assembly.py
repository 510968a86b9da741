"""Everything that a config stands for, put together once: machine, workload, thresholds, memory stalls, jobs.

Commands and campaigns start here; `assemble(config)` does the work, `Assembly.job(head)` gives an engine what
it needs for one head.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accel_sim.checkers.threshold import Thresholds, thresholds
from accel_sim.engines.job import Job, make_job
from accel_sim.faults.universe import Universe
from accel_sim.machines.lanes import LanesMachine, Timing
from accel_sim.machines.memories import Memories, memories
from accel_sim.system import SystemRun, simulate_system
from accel_sim.workloads import HeadId, Workload, load_workload

if TYPE_CHECKING:
    from accel_sim.config import Config


@dataclass(frozen=True)
class Assembly:
    """A config's machine with its workload on its memory. `limits` is None for an unprotected design."""

    config: Config
    machine: LanesMachine
    workload: Workload
    system: SystemRun
    limits: Thresholds | None

    @property
    def timing(self) -> Timing:
        """The stall-free timing of one head."""
        return self.machine.timing(self.workload.n_queries, self.workload.n_keys)

    def job(self, head: HeadId) -> Job:
        """One head, ready for any engine: rounded operands, thresholds loaded, memory stalls in place."""
        job = make_job(self.machine, *self.workload.tensors(head), self.workload.bounds())
        job = job.with_stalls(self.system.kv_stall, self.system.swap_stall)
        if self.limits is not None:
            job = job.with_threshold(self.limits.limit, self.limits.scan_limit)
        return job

    @cached_property
    def universe(self) -> Universe:
        """The faults that a campaign on this config draws from. Raises ConfigError for an unknown component."""
        from accel_sim.config import ConfigError

        targets = self.config.faults.targets
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
        return memories(self.machine)

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
    machine = LanesMachine(config)
    workload = load_workload(config)
    system = simulate_system(machine, config.memory, workload.n_queries, workload.n_keys)
    limits = thresholds(machine, workload, measure) if machine.check else None
    return Assembly(config, machine, workload, system, limits)
