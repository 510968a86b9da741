"""Statistical thresholds on the gemm machine: one large deviation raises the alarm, or so many small ones."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config.errors import ConfigError
from accel_sim.config.load import config_from_dict
from accel_sim.engines.job import Job
from accel_sim.engines.result import RunResult, first_alarm
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import PREFIXES, GemmMachine
from gemm.compare import differences
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with, random_case, rowsum_unit, softmax_unit
from gemm.draw_plain import INTEGERS, plain_job, plain_machine

SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}
OWN = ("small_threshold", "frequent", "deviations")


def by_rule(job: Job, result: RunResult) -> int | None:
    """The alarm's cycle as the comparisons of each unit have it."""
    found = [first_alarm((c for c in result.comparisons if c.unit == unit), job.policy(unit)) for unit in PREFIXES]
    cycles = [comparison.cycle + 1 for comparison in found if comparison is not None]
    return min(cycles, default=None)


def counting(frequent: int, sides: str = "both", **limits: float) -> tuple[GemmMachine, Job]:
    """A machine whose clean residuals, of one rounded word, deviate now and then."""
    machine = machine_with((gemm_unit(sides=sides, columns=1, threshold="statistical", frequent=frequent),))
    policy = {"gemm": 1e3, "gemm.small": 0.004, "gemm.frequent": float(frequent), **limits}
    return machine, job_for(machine, 7, 9, np.random.default_rng(3), policy)


def test_a_few_small_deviations_pass_and_frequent_ones_do_not() -> None:
    residuals = [c for c in golden(*counting(1)).comparisons if abs(c.residual) > 0.004]
    assert 5 < len(residuals) < len(golden(*counting(1)).comparisons)
    for frequent in (1, 3, len(residuals), len(residuals) + 1):
        machine, job = counting(frequent)
        result = SteppedGemm(machine, job).run()
        expected = residuals[frequent - 1].cycle + 1 if frequent <= len(residuals) else None
        assert result.alarm_cycle == golden(machine, job).alarm_cycle == expected
        assert not any(c.alarm for c in result.comparisons)


def test_one_large_deviation_is_enough() -> None:
    machine, job = counting(60_000, gemm=0.01)
    large = next(c for c in golden(machine, job).comparisons if c.alarm)
    assert golden(machine, job).alarm_cycle == SteppedGemm(machine, job).run().alarm_cycle == large.cycle + 1


@pytest.mark.parametrize("seed", range(600, 640))
def test_the_alarm_is_that_of_the_rule(seed: int) -> None:
    machine, job = random_case(seed)
    result = golden(machine, job)
    assert result.alarm_cycle == by_rule(job, result)


def test_the_count_saturates() -> None:
    machine, job = counting(2, **{"gemm.small": 0.0})
    engine, seen = SteppedGemm(machine, job), []
    slot = machine.inventory.slot("gemm_deviations")
    engine.run(watch=lambda cycle, state: seen.append(state[slot]))
    assert machine.inventory["gemm_deviations"].width_bits == 2 and max(seen) == seen[-1] == 3.0
    assert set(seen) == {0.0, 1.0, 2.0, 3.0} and (np.diff(seen) >= 0).all()


def test_a_unit_that_is_off_counts_nothing() -> None:
    machine, job = counting(1)
    clean, off = SteppedGemm(machine, job), Fault(0, "gemm_enable", (), 0)
    assert clean.golden().alarm_cycle is not None and clean.run([off]).alarm_cycle is None


def test_only_a_statistical_threshold_has_its_registers() -> None:
    units = (gemm_unit(), fused_unit(), softmax_unit())
    plain = machine_with(units).inventory
    assert not [r.name for r in plain if r.name.endswith(OWN)]
    for unit in units:
        unit.threshold.kind, unit.threshold.frequent = "statistical", 9
    own = [r for r in machine_with(units).inventory if r.name not in plain]
    assert {r.name for r in own} == {f"{PREFIXES[unit.kind]}_{name}" for unit in units for name in OWN}
    assert {r.width_bits for r in own if not r.name.endswith("threshold")} == {4}
    assert {r.component for r in own} == {f"checker.{unit.kind}" for unit in units}
    assert all(r.role == "checker" for r in own)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_every_bit_of_what_judges(flow: str) -> None:
    units = (fused_unit("query_block", "statistical", 1, 30), softmax_unit(threshold="statistical", frequent=30),
             gemm_unit(("pv",), "both", columns=1, threshold="statistical", frequent=30),
             rowsum_unit(1, "statistical", 30))
    machine = machine_with(units, rows=2, cols=2, head_dim=2, vector_lanes=2, dataflow=flow, formats=SMALL, max_keys=4,
                           max_queries=4)
    limits = {u.kind: 4.0 for u in units} | {f"{u.kind}.small": 0.02 for u in units}
    job = job_for(machine, 3, 3, np.random.default_rng(1), limits)
    clean = golden(machine, job)
    counts = {u.kind: sum(c.exceeds(0.02) for c in clean.comparisons if c.unit == u.kind) for u in units}
    job = job.with_limits(limits | {f"{kind}.frequent": count + 2.0 for kind, count in counts.items()})
    clean = golden(machine, job)
    assert clean.alarm_cycle is None and 0 < counts["gemm"] < 14 and counts["score_rowsum"] > 0
    judges = ("threshold", "enable", "alarm", "residual", "limit", "valid", *OWN)
    faults = [Fault(cycle, r.name, index, bit) for r in machine.inventory if r.name.endswith(judges)
              and r.component.startswith("checker") for index in np.ndindex(r.shape) for bit in range(r.width_bits)
              for cycle in range((bit + sum(index)) % 29, clean.cycles, 29)]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back < len(faults) // 50  # the tag of a column that is judged, and a fault that has the run raise no alarm


@pytest.mark.parametrize("formats", [INTEGERS, {}], ids=["integers", "floats"])
def test_faults_in_the_array_of_a_plain_product(formats: dict) -> None:
    unit = gemm_unit(("qk",), "both", columns=2, threshold="statistical", frequent=3)
    machine = plain_machine(5, (unit,), formats=formats)
    whole = bool(formats)
    job = plain_job(machine, 6, 7, np.random.default_rng(2), 2.0**18 if whole else 8.0,
                    {"gemm.small": 3.0 if whole else 0.05, "gemm.frequent": 3.0})
    rng, cycles = np.random.default_rng(3), machine.timing(6, 7).head_cycles
    arrays = [r for r in machine.inventory if r.name in machine.array.inventory]
    faults = []
    for _ in range(400):
        register = arrays[rng.integers(len(arrays))]
        faults.append(Fault(int(rng.integers(cycles)), register.name, tuple(int(rng.integers(n)) for n in register.shape),
                            int(rng.integers(register.width_bits))))
    found, _ = differences(machine, job, faults)
    assert not found, found[:5]
    engine = SteppedGemm(machine, job)
    alarms = [engine.inject(fault).result for fault in faults[:150]]
    large = [any(c.alarm for c in r.comparisons) for r in alarms if r.alarm_cycle is not None]
    assert any(large) and not all(large)  # some by one large residual, some by several small ones


def test_correction_goes_with_another_threshold() -> None:
    unit = {"kind": "gemm", "sides": "both", "correct": True, "threshold": "statistical"}
    with pytest.raises(ConfigError, match="correcting goes by single comparisons"):
        config_from_dict({"architecture": {"kind": "gemm"}, "workload": {"kind": "gaussian"},
                          "checker": {"units": [unit]}})
