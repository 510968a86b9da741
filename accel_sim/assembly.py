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
        """The faults that a campaign on this config draws from."""
        from accel_sim.config import ConfigError

        if "sram" in self.config.faults.targets:
            message = "campaigns do not strike SRAM yet; allowed: [registers]"
            raise ConfigError.at(self.config, "faults.targets", message)
        try:
            return Universe.of(self.machine.inventory, self.system.cycles, len(self.workload.heads),
                               self.config.faults.components)
        except ValueError as error:
            raise ConfigError.at(self.config, "faults.components", str(error)) from None


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
