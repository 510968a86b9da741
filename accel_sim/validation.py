"""Holding a config's design against everything that can contradict it: formula, other engines, float64, RTL.

`validate` runs one head of the workload and compares, bit for bit: its cycles with the closed formula, the golden
engine with the stepped one, the replay engine's records with the stepped engine's, and on request the RTL, built with
Verilator, with both. The distance from float64 (attention, or the plain product) is measured beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from accel_sim.assembly import Assembly, assemble
from accel_sim.report.accuracy import Distance, distance, reference

if TYPE_CHECKING:
    from accel_sim.campaign.columns import Batch
    from accel_sim.config import Config
    from accel_sim.engines.result import RunResult
    from accel_sim.rtl.cosim import CoSimReport

FAULTS = 200
"""Faults that are compared unless the caller says otherwise."""


@dataclass(frozen=True)
class Check:
    """One comparison.

    what is held against what `beside`; `compared` of the unit `unit` were; `mismatches` differ, the first of them
    described by `first`.
    """

    what: str
    beside: str
    compared: int
    unit: str
    mismatches: int
    first: str | None = None


@dataclass(frozen=True)
class Validation:
    """The checks of one config, and the distance of its output from float64."""

    config: Config
    checks: tuple[Check, ...]
    distance: Distance

    @property
    def agree(self) -> bool:
        """No check found a difference."""
        return all(check.mismatches == 0 for check in self.checks)


def validate(config: Config, faults: int = FAULTS, rtl: bool = False, progress: Callable[[str], None] | None = None,
             ) -> Validation:
    """Compare a config's engines with each other and, with `rtl`, with its RTL, on the first head of its workload.

    faults: how many, drawn as in a campaign on this config, are compared. progress: told what begins.
    Raises ConfigError for a config that cannot be used (with `rtl`: that the RTL cannot express), `ToolMissing` and
    `BuildFailed` of `rtl.verilate` where there is no Verilator, no C++ compiler, or one of them refuses.
    """
    from accel_sim.kinds import run_golden, stepped_engine

    say = progress or (lambda what: None)
    if rtl:
        from accel_sim.rtl.limits import check_expressible

        check_expressible(config)
    assembly = assemble(config, measure=False)
    job = assembly.job(assembly.workload.heads[0])
    engine = stepped_engine(assembly.machine, job)
    say("stepped and golden engine, fault-free")
    stepped, golden = engine.golden(), run_golden(assembly.machine, job)
    checks = [_cycles(assembly, stepped), _clean(stepped, golden)]
    if faults:
        say(f"{faults} faults, stepped and replay engine")
        checks.append(_records(assembly, faults))
    if rtl:
        say("Verilator builds the RTL")
        checks += _rtl(config, assembly, faults)
    return Validation(config, tuple(checks), distance(stepped.output, reference(assembly.machine, job)))


def _cycles(assembly: Assembly, run: RunResult) -> Check:
    """The length of the stepped run against the closed formula and the system's stalls."""
    system = assembly.system
    expected = assembly.timing.head_cycles + system.stall_cycles
    same = run.cycles == expected == system.cycles
    first = None if same else f"formula and stalls {expected}, stepped engine {run.cycles}, system {system.cycles}"
    return Check("cycles of a head", "closed formula, and stalls", 1, "runs", int(not same), first)


def _clean(stepped: RunResult, golden: RunResult) -> Check:
    """Outputs, comparisons, alarm and length of the fault-free run."""
    from accel_sim.rtl.cosim import result_mismatch

    wrong = result_mismatch(stepped, golden)
    values = stepped.output.size + 6 * len(stepped.comparisons) + 3
    first = str(wrong) if wrong else None
    return Check("golden engine", "stepped engine", values, "values", int(wrong is not None), first)


def _records(assembly: Assembly, faults: int) -> Check:
    """The records of a campaign by both engines, column by column."""
    from accel_sim.campaign.injector import SteppedInjector
    from accel_sim.campaign.replay import ReplayInjector

    stepped, replayed = (make(assembly).records(0, faults) for make in (SteppedInjector, ReplayInjector))
    wrong = np.zeros(faults, dtype=bool)
    first = None
    for name, column in stepped.items():
        differs = _differs(column, replayed[name])
        if differs.any() and first is None:
            i = int(np.flatnonzero(differs)[0])
            both = f"stepped engine {column[i]}, replay {replayed[name][i]}"
            first = f"fault {i}, {name}: {both}, {_where(assembly, stepped, i)}"
        wrong |= differs
    return Check("replay engine", "stepped engine", faults, "faults", int(wrong.sum()), first)


def _differs(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two columns differ in any bit; every NaN is the same."""
    if a.dtype.kind != "f":
        return np.asarray(a != b)
    bits = a.view(np.int64 if a.itemsize == 8 else np.int32), b.view(np.int64 if b.itemsize == 8 else np.int32)
    return np.asarray((bits[0] != bits[1]) & ~(np.isnan(a) & np.isnan(b)))


def _where(assembly: Assembly, batch: Batch, i: int) -> str:
    register = assembly.universe.registers[int(batch["register"][i])].name
    return f"{register} element {int(batch['element'][i])}, bit {int(batch['bit'][i])}, cycle {int(batch['cycle'][i])}"


def _rtl(config: Config, assembly: Assembly, faults: int) -> list[Check]:
    """Registers of the RTL in every cycle of the clean run, and its faults."""
    from accel_sim.machines.lanes import LanesMachine
    from accel_sim.rtl.cosim import CoSimulation, random_flips
    from accel_sim.rtl.model import RtlModel

    machine = assembly.machine
    assert isinstance(machine, LanesMachine)  # the only kind that `check_expressible` lets through
    with RtlModel(machine, optimise=False) as model:
        simulation = CoSimulation(machine, assembly.job(assembly.workload.heads[0]), model)
        clean = simulation.clean()
        checks = [_of("RTL, every register in every cycle", "stepped and golden engine", clean, clean.bits, "bits")]
        if faults:
            flips = random_flips(machine, simulation.stepped.golden().cycles, faults, config.faults.seed)
            struck = simulation.records(flips)
            checks.append(_of("RTL under faults", "stepped engine", struck, struck.faults, "faults"))
    return checks


def _of(what: str, beside: str, report: CoSimReport, compared: int, unit: str) -> Check:
    return Check(what, beside, compared, unit, report.mismatches, str(report.first) if report.first else None)
