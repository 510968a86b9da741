"""The kinds of machine, and where the parts of each are found: the only place that lists them.

A kind is an `architecture.kind`. Whoever needs a part of a machine that is not in `accel_sim.machines.machine.Machine`
(an engine, its memory model) asks here, so that nothing else has to tell kinds apart; parts are imported when first
asked for. A new kind of machine is an entry of `KINDS` and its section in `accel_sim.config.architecture`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from accel_sim.config import Config, Memory
    from accel_sim.engines.job import Job
    from accel_sim.engines.result import RunResult
    from accel_sim.machines.machine import Machine, Sram
    from accel_sim.output_units.machine import OutputMachine
    from accel_sim.system import RecoveryCost


@dataclass(frozen=True)
class Kind:
    """Where the parts of a kind of machine are: `module:name` of each.

    machine (config): a `Machine`. golden (machine, job): the fault-free `RunResult`. stepped, replay (machine, job):
    its engines. system (machine, memory, n_queries, n_keys): its time and traffic with memory around it; recovery (the
    same): what an alarm costs. srams (machine, timing): the `Sram` around it for heads of that timing.

    Some kinds have no more: bounds (machine, workload, unit): (limit, scan limit) of a threshold of kind `bound`. story
    (engine, faults): the attention that a run really computed, for explanations. weights (machine, job): the attention
    weights of a fault-free head, for a figure.
    """

    machine: str
    golden: str
    stepped: str
    replay: str
    system: str
    recovery: str
    srams: str
    bounds: str | None = None
    story: str | None = None
    weights: str | None = None


PROGRAM = {
    "system": "accel_sim.system.program_machine:simulate_machine",
    "recovery": "accel_sim.system.program_machine:rerun_cost",
    "srams": "accel_sim.system.program_machine:program_srams",
}
"""What is around every machine whose work is a program of steps."""

KINDS: dict[str, Kind] = {
    "lanes": Kind(
        machine="accel_sim.machines.lanes:LanesMachine",
        golden="accel_sim.engines.golden:run_golden",
        stepped="accel_sim.engines.stepped:SteppedEngine",
        replay="accel_sim.engines.replay.engine:ReplayEngine",
        system="accel_sim.system.simulate:simulate_system",
        recovery="accel_sim.system.recovery:recovery_cost",
        srams="accel_sim.machines.memories:lanes_srams",
        bounds="accel_sim.checkers.bound:lanes_bounds",
        story="accel_sim.analysis.attention:observe",
        weights="accel_sim.report.attention_map:attention_weights",
    ),
    "gemm": Kind(
        machine="accel_sim.machines.gemm:GemmMachine",
        golden="accel_sim.gemm.golden:golden",
        stepped="accel_sim.gemm.stepped:SteppedGemm",
        replay="accel_sim.gemm.replay:ReplayGemm",
        bounds="accel_sim.checkers.bound_arrays:gemm_bounds",
        **PROGRAM,
    ),
    "fused": Kind(
        machine="accel_sim.machines.fused:FusedMachine",
        golden="accel_sim.fused.golden:golden_run",
        stepped="accel_sim.fused.stepped:SteppedFused",
        replay="accel_sim.fused.replay:FusedReplay",
        bounds="accel_sim.checkers.bound_arrays:fused_bounds",
        **PROGRAM,
    ),
}


def part_of(kind: str, part: str) -> Any:
    """A part of a kind of machine, or None if that kind has none."""
    place = getattr(KINDS[kind], part)
    if place is None:
        return None
    module, name = place.split(":")
    return getattr(import_module(module), name)


def make_machine(config: Config) -> Machine:
    """The machine that a config describes, with the check units that read its output buffer back, and with what
    protects its registers. Raises ConfigError for one that cannot be."""
    from accel_sim.config.protection import PROTECTION_UNITS

    machine: Any = part_of(config.architecture.kind, "machine")(config)
    if config.checker.units:
        from accel_sim.output_units.machine import with_output_units

        machine = with_output_units(machine)
    protections = [unit for unit in config.checker.units if isinstance(unit, PROTECTION_UNITS)]
    if protections:
        from accel_sim.protection.machine import ProtectedMachine

        machine = ProtectedMachine(machine, protections, config)
    return cast("Machine", machine)


def bare(machine: Any) -> Any:
    """A machine, or an engine, without what is wrapped around it: what its own parts know."""
    while (around := _wrapper(machine)) is not None:
        machine = around.bare
    return machine


def _wrapper(machine: Any) -> Any:
    """The machine itself if it is wrapped around another, its `bare`; else None."""
    return machine if hasattr(machine, "bare") else None


def _reader(machine: Any) -> OutputMachine | None:
    """What reads the output buffer back, of all that is wrapped around a machine."""
    while (around := _wrapper(machine)) is not None:
        if getattr(type(around), "reads_back", False):
            return cast("OutputMachine", around)
        machine = around.bare
    return None


def simulate_system(machine: Machine, memory: Memory, n_queries: int, n_keys: int, **options: Any) -> Any:
    """Time and traffic of one head with its memory around it: a `SystemRun` or a `ProgramRun`."""
    run = part_of(machine.kind, "system")(bare(machine), memory, n_queries, n_keys, **options)
    reader = _reader(machine)
    return run if reader is None else reader.in_system(run)


def recovery_cost(machine: Machine, memory: Memory, n_queries: int, n_keys: int) -> RecoveryCost:
    """What an alarm costs."""
    reader = _reader(machine)
    if reader is not None:
        return reader.recovery(simulate_system(machine, memory, n_queries, n_keys))
    cost: RecoveryCost = part_of(machine.kind, "recovery")(bare(machine), memory, n_queries, n_keys)
    return cost


def srams_of(machine: Machine, timing: Any) -> tuple[Sram, ...]:
    """The SRAM around a machine, as large as heads of that timing need it."""
    found: tuple[Sram, ...] = part_of(machine.kind, "srams")(bare(machine), timing)
    return found


def run_golden(machine: Machine, job: Job) -> RunResult:
    """The fault-free run of a job, without the stepped engine."""
    result: RunResult = part_of(machine.kind, "golden")(bare(machine), job)
    if "step" in job.stalls:
        from accel_sim.engines.clocked import on_clock, step_clock

        n_queries, n_keys, _ = job.shape
        result = on_clock(result, step_clock(machine.timing(n_queries, n_keys), job))
    reader = _reader(machine)
    return result if reader is None else reader.judged(job, result)


def stepped_engine(machine: Machine, job: Job) -> Any:
    """The stepped engine of a machine on a job: the definition of the hardware."""
    if (around := _wrapper(machine)) is not None:
        return around.stepped(stepped_engine(around.bare, job))
    engine = part_of(machine.kind, "stepped")(machine, job)
    if "step" not in job.stalls:
        return engine
    from accel_sim.engines.clocked import ClockedStepped

    return ClockedStepped(engine, machine, job)


def replay_engine(machine: Machine, job: Job) -> Any:
    """The replay engine of a machine on a job: the same bits, sooner."""
    if (around := _wrapper(machine)) is not None:
        return around.replay(replay_engine(around.bare, job), lambda: stepped_engine(around.bare, job))
    engine = part_of(machine.kind, "replay")(machine, job)
    if "step" not in job.stalls:
        return engine
    from accel_sim.engines.clocked import ClockedReplay

    return ClockedReplay(engine, machine, job)
