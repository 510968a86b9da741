"""Thresholds: a bound is never below a clean residual, and calibrated limits do not cry wolf on unseen heads."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from engines.draw import (
    ROLES,
    gaussian_case,
    machine_with,
    random_case,
    random_job,
    random_machine,
    rounded,
)

from accel_sim.assembly import assemble
from accel_sim.checkers import clean_residuals, rounding_bound, thresholds, weight_excess
from accel_sim.config import load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import Job, make_job
from accel_sim.engines.result import Comparison
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import FORMATS


def shares_of_the_bound(machine: LanesMachine, job: Job) -> list[float]:
    """Every finite clean residual of a head over the bound on it; a scan's bound is N weights larger."""
    assert machine.check is not None
    n_queries, n_keys, _ = job.shape
    rows = n_queries if machine.check.granularity == "head" else min(machine.lanes, n_queries)
    excess = weight_excess(machine, job.q, job.k)
    bound = rounding_bound(machine, job.v, rows, excess)
    return [
        abs(c.residual) / (bound * n_keys * excess if c.scanned else bound)
        for c in run_golden(machine, job).comparisons if math.isfinite(c.residual)
    ]  # fmt: skip


@pytest.mark.parametrize("scans", [False, True])
def test_the_bound_covers_every_clean_residual(scans):
    """Any formats, units and sizes; the largest one seen is not far below, so the bound is not idle either."""
    rng = np.random.default_rng(5)
    seen = []
    for _ in range(300):
        machine = random_machine(rng, check=True, granularity="key_tile" if scans else "head")
        seen += shares_of_the_bound(machine, random_job(machine, rng, stalls=False))
    assert len(seen) > 250
    assert 1e-3 < max(seen) <= 1.0


def test_the_bound_holds_where_a_narrow_state_rounds_huge_scores():
    """Then the maximum is off by more than 1, and weights reach beyond 1 or vanish: `weight_excess`."""
    rng = np.random.default_rng(6)
    matters = 0
    for _ in range(300):
        machine = random_machine(rng, check=True)
        operand = machine.formats["operand"]
        queries, keys = int(rng.integers(1, 10)), int(rng.integers(1, 30))
        size, spread = 10 ** rng.uniform(-5, 2), 10 ** rng.uniform(-1, 2.5)
        tensors = [
            rounded(scale * rng.standard_normal((rows, machine.head_dim)), operand)
            for rows, scale in ((queries, spread), (keys, spread), (keys, size))
        ]
        job = make_job(machine, *tensors)
        assert max(shares_of_the_bound(machine, job), default=0.0) <= 1.0, machine.config
        matters += weight_excess(machine, job.q, job.k) > 1e3
    assert matters > 10


def test_a_head_whose_maximum_is_exact_has_no_excess():
    machine = machine_with(formats="bf16")
    job = gaussian_case(machine, 4, 9).job
    assert weight_excess(machine, job.q, job.k) == 1.0


def test_without_excess_a_real_head_breaks_a_bound_that_forgets_it():
    """One key, score 20008.5 in fp32, maximum 20016 in fp16: a weight of e^−7.5. Its products with the values
    underflow to nothing in the state, while the checksum keeps them, and both are divided by that weight."""
    formats = dict(zip(ROLES, ("fp32", "fp32", "fp32", "fp16", "fp16", "fp32"), strict=True))
    machine = machine_with(1, 4, formats=formats)
    q = np.full((1, 4), 100.0)
    k = np.full((1, 4), 20008.5 * 2 / 400)  # q · k / 2 = 20008.5, half way and a bit to 20016
    v = rounded(np.full((1, 4), 4.9e-5), FORMATS["fp32"])
    job = make_job(machine, q, k, v)
    residual = abs(run_golden(machine, job).comparisons[-1].residual)
    excess = weight_excess(machine, q, k)
    assert excess > 1000
    assert residual > rounding_bound(machine, v, 1)
    assert residual <= rounding_bound(machine, v, 1, excess)


def assembled(threshold: dict[str, Any], name: str = "lanes-d64", **changes: object) -> Any:
    config = load_config(name, {"checker.units.0.threshold": threshold, **changes})
    return assemble(config, measure=False)


def test_a_bound_threshold_raises_no_alarm_and_covers_every_head_of_the_workload():
    a = assembled({"kind": "bound"}, "minilm", **{"workload.layer": "all", "workload.head": "all"})
    for head in a.workload.heads[::6]:
        job = a.job(head)
        assert run_golden(a.machine, job).alarm_cycle is None
        assert rounding_bound(a.machine, job.v, a.workload.n_queries) <= a.limits["fused_output"].limit * (1 + 1e-6)
    twice = assembled({"kind": "bound", "slack": 2.0}, "minilm", **{"workload.layer": "all", "workload.head": "all"})
    assert twice.limits["fused_output"].limit == pytest.approx(2 * a.limits["fused_output"].limit, rel=1e-6)


def test_no_clean_head_of_the_shipped_workload_raises_an_alarm():
    """All 72 heads; those that calibrated the limit are 20 of them."""
    limits = assemble(load_config("minilm"), measure=False).limits["fused_output"]
    every = assembled({"kind": "absolute", "value": 1.0}, "minilm", **{"workload.layer": "all", "workload.head": "all"})
    assert limits is not None
    assert len(every.workload.heads) == 72
    for head in every.workload.heads:
        job = every.job(head).with_threshold(limits.limit, limits.scan_limit)
        assert run_golden(every.machine, job).alarm_cycle is None, head


@pytest.mark.parametrize("granularity", ["head", "query_block", "key_tile"])
def test_the_false_alarm_rate_is_of_heads_that_the_calibration_never_saw(granularity):
    limits = assemble(load_config("minilm", {"checker.units.0.granularity": granularity})).limits["fused_output"]
    assert limits is not None
    assert (limits.calibration_heads, limits.unseen_heads, limits.unseen_alarms) == (20, 50, 0)


def test_a_careless_calibration_is_found_out_on_unseen_heads():
    """One head, no margin: about half of the others are worse. The measured rate says so."""
    changes = {"checker.units.0.threshold": {"kind": "calibrated", "multiple": 1.0, "samples": 1},
               "workload.queries": 32, "workload.keys": 32}  # fmt: skip
    limits = assemble(load_config("lanes-d64", changes)).limits["fused_output"]
    assert limits is not None
    assert 5 <= limits.unseen_alarms <= 45


def test_a_calibrated_limit_is_a_multiple_of_the_largest_clean_residual():
    from accel_sim.checkers.threshold import clean_heads

    changes: dict[str, object] = {"workload.queries": 32, "workload.keys": 32}
    limits = {m: assembled({"kind": "calibrated", "multiple": m, "samples": 5, "seed": 3}, **changes) for m in (1.0, 4.0)}
    a = limits[1.0]
    largest = clean_residuals(a.machine, a.workload, clean_heads(a.workload, 3, 0, 5))[0]
    assert a.limits["fused_output"].limit == a.limits["fused_output"].largest_clean == largest > 0
    assert limits[4.0].limits["fused_output"].limit == 4 * largest
    other = assembled({"kind": "calibrated", "multiple": 1.0, "samples": 5, "seed": 4}, **changes)
    assert other.limits["fused_output"].limit != largest


def test_a_scan_is_allowed_as_much_more_as_its_rows_are_larger():
    """Undivided rows: up to N times as large."""
    changes: dict[str, object] = {"checker.units.0.granularity": "key_tile", "workload.keys": 128}
    limits = assembled({"kind": "absolute", "value": 0.25}, **changes).limits["fused_output"]
    assert (limits.limit, limits.scan_limit) == (0.25, 32.0)


def test_a_relative_limit_is_a_fraction_of_the_larger_sum():
    for n in range(20):
        case = random_case(np.random.default_rng(n), check=True, threshold={"kind": "relative", "value": 1.0},
                           formats="fp32", subnormals="keep")  # fmt: skip
        for c in run_golden(case.machine, case.job.with_threshold(0.125, 0.25)).comparisons:
            fraction = 0.25 if c.scanned else 0.125
            assert c.limit == fraction * max(abs(c.predicted), abs(c.actual))
            assert c.alarm == (not abs(c.predicted - c.actual) <= c.limit)


def test_a_limit_beyond_the_checkers_format_is_its_largest_value():
    """In fp8_e4m3 it would be NaN, and every comparison an alarm."""
    config = load_config("tiny", {
        "architecture.formats": dict.fromkeys(ROLES, "fp8_e4m3"),
        "checker.units.0.threshold": {"kind": "absolute", "value": 1e6},
    })  # fmt: skip
    a = assemble(config)
    assert a.limits is not None
    assert a.limits["fused_output"].limit == 448.0 and a.limits["fused_output"].unseen_alarms == 0
    assert run_golden(a.machine, a.job(a.workload.heads[0])).alarm_cycle is None


def test_an_unprotected_machine_has_no_thresholds():
    a = assemble(load_config("tiny", {"checker.units": []}))
    assert a.limits == {} == thresholds(a.machine, a.workload)


def test_a_residual_that_is_not_finite_alarms():
    for residual, limit in ((math.nan, 1.0), (math.inf, math.inf), (-math.inf, math.inf), (0.0, math.nan), (2.0, 1.0)):
        assert Comparison(0, residual, limit, 0.0, 0.0, False).alarm
    assert not Comparison(0, 1.0, 1.0, 0.0, 0.0, False).alarm


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_the_hardware_alarms_on_a_residual_that_is_not_finite(kind):
    """Two huge values in one row: their sum overflows, and the alarm rises under any limit."""
    machine = machine_with(threshold={"kind": kind, "value": 1.0})
    case = gaussian_case(machine, 4, 8, threshold=1e30)
    assert case.engine.run().alarm_cycle is None
    v = case.job.v.copy()
    v[3, 1] = v[3, 2] = 2.0**127
    job = make_job(machine, case.job.q, case.job.k, v).with_threshold(1e30, 1e30)
    result = run_golden(machine, job)
    assert np.isfinite(result.output).all()
    assert not math.isfinite(result.comparisons[-1].residual)
    assert result.alarm_cycle is not None
