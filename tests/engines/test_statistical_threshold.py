"""Statistical thresholds of the fused output check: one large deviation, or so many small ones."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.campaign.sampling import Sampling
from accel_sim.config import ConfigError, load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.result import Comparison, first_alarm
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.machines.lanes import LanesMachine
from accel_sim.rtl.limits import check_expressible
from engines.draw import ROLES, Case, gaussian_case, machine_with, random_job, random_machine, trace
from engines.test_replay import assert_same_records

MIXED = dict.fromkeys(ROLES, "bf16") | {"checker": "fp32"}
"""Every comparison of these leaves a residual."""

NONE = 1e30
"""A limit that no residual of these tests exceeds."""


def counting(frequent: int = 3, granularity: str = "query_block", **options) -> LanesMachine:
    return machine_with(granularity=granularity, threshold={"kind": "statistical", "frequent": frequent}, **options)


def limited(machine: LanesMachine, small: float, large: float, queries: int = 14, keys: int = 9, seed: int = 0) -> Case:
    job = gaussian_case(machine, queries, keys, seed).job
    limits = {"fused_output": large, "fused_output.small": small,
              "fused_output.frequent": machine.check.threshold.frequent}  # fmt: skip
    return Case(machine, job.with_limits(limits))


def alarmed(sizes: list[float], small: float, frequent: int, large: float = 10.0) -> int | None:
    found = first_alarm([Comparison(n, x, large, 0, 0, False) for n, x in enumerate(sizes)], (small, frequent))
    return None if found is None else found.cycle


def test_the_alarm_is_for_a_large_deviation_or_for_frequent_ones():
    nan = float("nan")
    assert alarmed([1, 2, 3, 4], 5, 2) is None
    assert alarmed([1, 6, 3, -6], 5, 2) == 3
    assert alarmed([1, 6, 11, 6], 5, 2) == 2
    assert alarmed([6, 6, 6], 5, 1) == 0
    assert alarmed([6, 6, 6], 5, 4) is None
    assert alarmed([1, nan], 5, 4) == 1
    assert alarmed([6, 6, 6, 11], nan, 0) == 3


def test_engines_agree_on_any_machine_that_counts():
    rng = np.random.default_rng(0)
    frequently = 0
    for _ in range(120):
        granularity = str(rng.choice(["head", "query_block"]))
        threshold = {"kind": "statistical", "frequent": int(rng.integers(1, 5))}
        machine = random_machine(rng, check=True, granularity=granularity, threshold=threshold)
        case = Case(machine, random_job(machine, rng))
        if rng.random() < 0.5:  # nothing finite is large, and every bit deviates
            limits = {"fused_output": machine.formats["checker"].max_finite, "fused_output.small": 0.0}
            case = Case(machine, case.job.with_limits({**case.job.limits, **limits}))
        stepped, golden = case.engine.run(), run_golden(machine, case.job)
        assert stepped.same_as(golden), machine.config
        large = next((c.cycle for c in golden.comparisons if c.alarm), None)
        if golden.alarm_cycle is not None and (large is None or large > golden.alarm_cycle):
            frequently += 1
    assert frequently > 5


def test_the_count_goes_up_with_every_deviation_and_stays_at_all_ones():
    """Every comparison of this head exceeds a limit of 0; three are frequent, and two bits hold no more."""
    case = limited(counting(frequent=3, formats=MIXED), small=0.0, large=NONE)
    run = trace(case)
    residuals = [c.residual for c in run.result.comparisons]
    assert len(residuals) == 5 and all(residuals)
    count = run.column("deviations")
    for n, comparison in enumerate(run.result.comparisons):
        # Judged in the cycle in which the residual stands in its register; the count shows it one cycle later, not sooner.
        assert count[comparison.cycle] == min(n, 3)
        assert (count[comparison.cycle + 1:comparison.cycle + 2] == min(n + 1, 3)).all()  # the last is the run's last
    assert run.result.alarm_cycle == run.result.comparisons[2].cycle + 1


def test_limits_that_are_not_set_raise_the_alarm():
    machine = counting(frequent=4)
    for limits in ({}, {"fused_output": NONE}):
        case = Case(machine, gaussian_case(machine, 9, 9).job.with_limits(limits))
        golden = run_golden(machine, case.job)
        assert golden.alarm_cycle == golden.comparisons[0].cycle + 1
        assert case.engine.run().same_as(golden)


@pytest.mark.parametrize(("register", "bit", "raised"), [
    ("deviations", 1, 0),  # two more than there were
    ("deviations", 0, 1),
    ("frequent", 1, 0),  # 1 instead of 3
    ("frequent", 0, 1),  # 2
    ("frequent", 2, None),  # 7 of only five comparisons
    ("enable", 0, None),
])  # fmt: skip
def test_a_fault_in_the_counting_moves_the_alarm(register, bit, raised):
    """At the start of a head whose third comparison would raise it. frequent is 3, in three bits of a wider machine."""
    machine = counting(frequent=4, formats=MIXED)
    case = limited(machine, small=0.0, large=NONE)
    case = Case(machine, case.job.with_limits({**case.job.limits, "fused_output.frequent": 3}))
    engine = case.engine
    golden = engine.golden()
    assert golden.alarm_cycle == golden.comparisons[2].cycle + 1
    struck = engine.inject(Fault(1, register, (), bit)).result
    assert struck.alarm_cycle == (None if raised is None else golden.comparisons[raised].cycle + 1)
    assert struck.comparisons == golden.comparisons


def test_the_telling_comparison_is_the_largest_where_small_ones_raised_the_alarm():
    case = limited(counting(frequent=2, formats=MIXED), small=0.0, large=NONE)
    golden = run_golden(case.machine, case.job)
    assert golden.alarm_cycle == golden.comparisons[1].cycle + 1
    assert abs(golden.told[0]) == max(abs(c.residual) for c in golden.comparisons)
    out = ReplayEngine(case.machine, case.job).outcomes(*no_fault(case.machine))
    assert (out.alarm_cycle[0], out.residual[0], out.limit[0]) == (golden.alarm_cycle, *golden.told)


def no_fault(machine: LanesMachine) -> tuple[np.ndarray, ...]:
    """A strike on `q` before anything is loaded, as `ReplayEngine.outcomes` takes it."""
    register = machine.inventory["q"]
    one = np.ones(1, np.int64)
    codecs = (np.array([fmt.codec], dtype=np.int64) for fmt in (register.format, register.stored))
    return (machine.inventory.offsets["q"] * one, 0 * one, 0 * one, 0 * one, np.ones(1, np.uint64), *codecs)


SMALL = {
    "architecture.head_dim": 1, "architecture.key_tile": 2, "architecture.max_keys": 4, "architecture.max_queries": 8,
    "architecture.formats": dict.fromkeys(("operand", "score", "exp", "state", "output"), "fp8_e5m2") | {"checker": "bf16"},
    "checker.units.0.granularity": "query_block", "workload.queries": 7, "workload.keys": 2, "workload.seed": 2,
}  # fmt: skip


@pytest.mark.parametrize(("kind", "telling"), [
    ("flip", ("small_threshold", "frequent", "deviations", "residual")), ("stuck0", ("small_threshold", "frequent")),
])  # fmt: skip
def test_records_are_those_of_the_stepped_engine_at_every_point_of_the_check_unit(kind, telling):
    """Two clean comparisons deviate: a struck one may be the one too many, or one too few to alarm."""
    threshold = {"kind": "statistical", "multiple": 1.0, "samples": 1, "large": 64.0, "frequent": 3}
    config = load_config("tiny").changed({**SMALL, "checker.units.0.threshold": threshold, "faults.kinds": [kind],
                                          "faults.components": ["checker.fused_output"]})
    assembly = assemble(config, measure=False)
    golden = run_golden(assembly.machine, assembly.job(assembly.workload.heads[0]))
    small, frequent = assembly.job(assembly.workload.heads[0]).policy("fused_output")
    deviations = sum(c.exceeds(small) for c in golden.comparisons)
    assert 0 < deviations < frequent and golden.alarm_cycle is None
    stepped = assert_same_records(assembly, assembly.universe.size, Sampling("exhaustive").sampler(assembly))
    names = [r.name for r in assembly.universe.registers]
    for name in telling:
        assert stepped["alarm"][stepped["register"] == names.index(name)].any(), name


@pytest.mark.parametrize("granularity", ["head", "query_block"])
def test_records_are_those_of_the_stepped_engine_whatever_the_limits_are(granularity):
    rng = np.random.default_rng(5)
    for _ in range(6):
        threshold = {
            "kind": "statistical", "samples": 1, "multiple": float(10 ** rng.uniform(-2, 0)),
            "large": float(10 ** rng.uniform(0, 6)), "frequent": int(rng.integers(1, 6)),
        }  # fmt: skip
        machine = random_machine(rng, check=True, granularity=granularity, threshold=threshold)
        config = machine.config.changed({
            "workload.queries": int(rng.integers(1, 24)), "workload.keys": int(rng.integers(1, 12)),
            "faults.kinds": list(KINDS), "faults.components": ["checker.fused_output"],
            "memory.off_chip.bandwidth_bytes_per_cycle": float(rng.choice([4.0, 1000.0])),
        })  # fmt: skip
        assert_same_records(assemble(config, measure=False), 400)


def test_scans_and_the_rtl_refuse_a_statistical_threshold():
    with pytest.raises(ConfigError, match="not with granularity key_tile"):
        load_config("tiny").changed(
            {"checker.units": [{"kind": "fused_output", "granularity": "key_tile", "threshold": "statistical"}]})
    config = load_config("tiny").changed({"checker.units": [{"kind": "fused_output", "threshold": "statistical"}]})
    with pytest.raises(ConfigError, match=r"units\.0\.threshold\.kind.*the RTL counts no deviations"):
        check_expressible(config)
