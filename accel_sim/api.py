"""The Python API: the same things as the commands.

- `simulate(config)`: one design without faults, to a `Simulation`.
- `inject(config, register=..., bit=..., cycle=...)`: one fault, to an `Explanation`.
- `campaign(config, n=...)`: many faults, to a `CampaignResult`.

A config is a `Config`, the path of a YAML file, or the name of a shipped config.

>>> from accel_sim import load_config, simulate
>>> config = load_config("tiny", {"architecture.lanes": 4})
>>> simulate(config).system.cycles
46
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel_sim.analysis.explain import Explanation
    from accel_sim.assembly import Assembly
    from accel_sim.campaign.runner import CampaignResult
    from accel_sim.checkers.threshold import Threshold
    from accel_sim.config import Config
    from accel_sim.cost import AreaReport, EnergyReport, Technology
    from accel_sim.engines.result import RunResult
    from accel_sim.machines.machine import Machine
    from accel_sim.report.accuracy import Distance
    from accel_sim.system import RecoveryCost, SystemRun, SystemTotals
    from accel_sim.workloads import HeadId, Workload


@dataclass(frozen=True, eq=False)
class HeadRun:
    """One head of a simulation: its fault-free run, and how far its output is from attention (or the plain product) in
    float64."""

    head: HeadId
    golden: RunResult
    distance: Distance


@dataclass(frozen=True, eq=False)
class Simulation:
    """One design on one workload, without faults.

    assembly: the config with its machine, workload, memory system and thresholds. heads: every head of the
    workload. area: of the machine with its SRAM. energy: of one head, memory included; next_energy: of one that finds
    its keys and values in SRAM, None where none does. recovery: what an alarm costs, and recovery_energy: the energy of
    the work done again; None without a checker or without recovery.

    `to_dict()` gives the document that `accel-sim run --json` prints; docs/output-columns.md defines its keys.
    """

    assembly: Assembly
    heads: tuple[HeadRun, ...]
    area: AreaReport
    energy: EnergyReport
    next_energy: EnergyReport | None
    recovery: RecoveryCost | None
    recovery_energy: EnergyReport | None

    @property
    def config(self) -> Config:
        """The config."""
        return self.assembly.config

    @property
    def machine(self) -> Machine:
        """The machine: inventory, formats, timing."""
        return self.assembly.machine

    @property
    def workload(self) -> Workload:
        """The workload."""
        return self.assembly.workload

    @property
    def limits(self) -> Mapping[str, Threshold]:
        """The thresholds of each check unit, by its kind."""
        return self.assembly.limits

    @property
    def system(self) -> SystemRun:
        """Time and traffic of one head; every head has the same."""
        return self.assembly.system

    @property
    def utilisation(self) -> float:
        """Useful multiply-accumulates over those that the machine had time for, stalls included."""
        return self.machine.utilisation(self.assembly.timing, self.system.cycles)

    @property
    def totals(self) -> SystemTotals:
        """Time and traffic of all heads: those of one, multiplied, or of two where heads share keys and values."""
        return self.assembly.grouped.totals

    @property
    def all_heads_pj(self) -> float:
        """Energy of all heads, one after another."""
        grouped = self.assembly.grouped
        found = 0.0 if self.next_energy is None else self.next_energy.total.value
        return self.energy.total.value * grouped.loading + found * (grouped.heads - grouped.loading)

    def to_dict(self) -> dict[str, Any]:
        """The simulation as plain data, ready for JSON but for NaN and infinities."""
        from accel_sim.report.documents import run_document

        return run_document(self)


def simulate(config: Config | str | os.PathLike[str], *, measure: bool = True) -> Simulation:
    """Simulate one design on its workload, without faults.

    Time, traffic, area and energy come from one head (all heads of a workload have one shape); values are
    computed for every head. `measure=False` leaves out the clean false-alarm rate of the thresholds.
    Raises ConfigError for a config that cannot be used.

    >>> run = simulate("tiny")
    >>> run.system.total_cycles == run.assembly.timing.head_cycles
    True
    >>> [str(run.heads[0].head), run.heads[0].golden.output.shape]
    ['layer 0 head 0', (5, 4)]
    >>> run.heads[0].distance.max_abs < 1e-6                 # fp32 arithmetic against float64
    True
    >>> run.limits["fused_output"].limit, run.heads[0].golden.alarm_cycle
    (0.0010000000474974513, None)
    >>> run.to_dict()["time"]["utilisation"]
    0.26785714285714285
    """
    from accel_sim.assembly import assemble
    from accel_sim.cost import area, energy
    from accel_sim.kinds import recovery_cost

    loaded = _config(config)
    technology = _technology(loaded)
    assembly = assemble(loaded, measure)
    machine, system, timing = assembly.machine, assembly.system, assembly.timing
    recovery: RecoveryCost | None = None
    again = None
    if machine.units and loaded.recovery.kind == "reexecute":
        recovery = recovery_cost(machine, loaded.memory, timing.n_queries, timing.n_keys)
        again = energy(
            machine, technology, machine.timing(recovery.queries, timing.n_keys), cycles=round(recovery.mean_cycles),
            bytes_moved={tensor: round(moved) for tensor, moved in recovery.mean_bytes.items()},
        )
    found = assembly.grouped.next

    def of(run: Any) -> EnergyReport:
        return energy(machine, technology, timing, cycles=run.total_cycles, bytes_moved=run.bytes_moved)

    return Simulation(
        assembly=assembly,
        heads=tuple(_run(assembly, head) for head in assembly.workload.heads),
        area=area(machine, technology, timing),
        energy=of(system),
        next_energy=None if found is None else of(found),
        recovery=recovery,
        recovery_energy=again,
    )


def _run(assembly: Assembly, head: HeadId) -> HeadRun:
    """The values of one head."""
    from accel_sim.kinds import run_golden
    from accel_sim.report.accuracy import distance, reference

    job = assembly.job(head)
    golden = run_golden(assembly.machine, job)
    return HeadRun(head, golden, distance(golden.output, reference(assembly.machine, job)))


def _technology(config: Config) -> Technology:
    """The technology table that a config names; a missing one is the config's mistake."""
    from accel_sim.config import ConfigError
    from accel_sim.cost import load_technology

    try:
        return load_technology(config.technology.name)
    except ConfigError as error:
        if error.line is not None:  # inside the table
            raise
        raise ConfigError.at(config, "technology.name", error.problems[0].message) from None


def inject(
    config: Config | str | os.PathLike[str], *, register: str, cycle: int, bit: int = 0,
    index: Sequence[int] | None = None, kind: str = "flip", bits: int | None = None, duration: int | None = None,
    layer: int | None = None, head: int | None = None,
) -> Explanation:
    """Inject one fault and explain it, from strike to alarm.

    `register` is a register array or a memory (`k_sram`), `index` the element of the array, in a memory bank, row
    and word (None: the first). `bit` counts from the least significant stored bit, `cycle` is the clock cycle at
    whose start the fault acts. `bits` belongs to kind `burst` (default 2), `duration` to `stuck0` and `stuck1`
    (default 1). `layer` and `head` choose the head that is struck (default: the first of the workload). Raises
    ConfigError for a config, ValueError for a fault that cannot be.

    >>> story = inject("tiny", register="score", index=(1,), bit=30, cycle=9)
    >>> story.outcome, story.severity.rows
    ('silent', 1)
    """
    from accel_sim.analysis.explain import explain
    from accel_sim.assembly import assemble
    from accel_sim.faults.fault import Fault

    assembly = assemble(_config(config), measure=False)
    struck = _head(assembly, layer, head)
    if bits is not None and kind != "burst":
        raise ValueError(f"bits belongs to kind burst, not to {kind}")
    if duration is not None and not kind.startswith("stuck"):
        raise ValueError(f"duration belongs to kinds stuck0 and stuck1, not to {kind}")
    if index is None:
        storage = next((s for s in (assembly.machine.inventory, assembly.memories) if register in s), None)
        index = (0,) * len(storage[register].shape) if storage is not None else ()
    fault = Fault(
        cycle=cycle, register=register, index=tuple(index), bit=bit, kind=kind,
        bits=(2 if bits is None else bits) if kind == "burst" else 1, duration=1 if duration is None else duration,
    )
    return explain(assembly, struck, fault)


def campaign(
    config: Config | str | os.PathLike[str], n: int | None = None, *, out: str | os.PathLike[str] | None = None,
    **options: Any,
) -> CampaignResult:
    """Inject `n` faults, drawn uniformly from the universe, and keep their records in `out`.

    Fault i depends on (seed, i) only; the same call again resumes, or does nothing if all is done. The other
    options are those of `accel_sim.campaign.runner.run_campaign`: seed, exhaustive, until_width,
    until_detected_above, stratify, workers, engine, scheduler, progress.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     result = campaign("tiny", n=64, out=folder, workers=1)
    >>> result.n, result.summary.count("detected"), result.summary.count("silent")
    (64, 5, 8)
    >>> coverage = result.rates()["coverage"]
    >>> round(coverage.interval.low, 3), round(coverage.interval.high, 3)
    (0.165, 0.65)
    """
    from accel_sim.campaign.runner import run_campaign

    return run_campaign(_config(config), out, n=n, **options)


def _head(assembly: Assembly, layer: int | None, head: int | None) -> HeadId:
    """The first head of the workload that fits; ValueError if there is none."""
    for found in assembly.workload.heads:
        if layer in (None, found.layer) and head in (None, found.head):
            return found
    wanted = " ".join(f"{name} {n}" for name, n in (("layer", layer), ("head", head)) if n is not None)
    message = f"the workload has no {wanted}; it has {dict(assembly.workload.facts())['heads']}"
    if assembly.workload.kind == "captured":
        message += " (workload.layer and workload.head choose others)"
    raise ValueError(message)


def _config(config: Config | str | os.PathLike[str]) -> Config:
    from accel_sim.config import Config, load_config

    return config if isinstance(config, Config) else load_config(config)
