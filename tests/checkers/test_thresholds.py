"""Thresholds: a bound is never below a clean residual, and calibrated limits do not cry wolf on unseen heads."""

from __future__ import annotations

import math

import numpy as np
from engines.draw import random_job, random_machine

from accel_sim.assembly import assemble
from accel_sim.checkers import rounding_bound
from accel_sim.config import load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.result import Comparison


def test_the_bound_covers_every_clean_residual():
    rng = np.random.default_rng(5)
    judged = 0
    for _ in range(60):
        machine = random_machine(rng, check=True)
        job = random_job(machine, rng, stalls=False)
        assert machine.check is not None
        rows = len(job.q) if machine.check.granularity == "head" else min(machine.lanes, len(job.q))
        bound = rounding_bound(machine, job.v, rows)
        for comparison in run_golden(machine, job).comparisons:
            if not comparison.scanned and math.isfinite(comparison.residual):
                judged += 1
                assert abs(comparison.residual) <= bound, machine.config
    assert judged > 60


def test_no_clean_head_of_the_shipped_workload_raises_an_alarm():
    """All 72 heads; those that calibrated the limit are 20 of them."""
    config = load_config("minilm").changed({"workload.layer": "all", "workload.head": "all"})
    limits = assemble(load_config("minilm"), measure=False).limits
    every = assemble(config.changed({"checker.units.0.threshold": {"kind": "absolute", "value": 1.0}}), measure=False)
    assert limits is not None
    for head in every.workload.heads:
        job = every.job(head).with_threshold(limits.limit, limits.scan_limit)
        assert run_golden(every.machine, job).alarm_cycle is None, head


def test_the_false_alarm_rate_is_of_heads_that_the_calibration_never_saw():
    limits = assemble(load_config("minilm")).limits
    assert limits is not None
    assert (limits.calibration_heads, limits.unseen_heads, limits.unseen_alarms) == (20, 50, 0)


def test_a_residual_that_is_not_finite_alarms():
    for residual, limit in ((math.nan, 1.0), (math.inf, math.inf), (-math.inf, math.inf), (0.0, math.nan), (2.0, 1.0)):
        assert Comparison(0, residual, limit, 0.0, 0.0, False).alarm
    assert not Comparison(0, 1.0, 1.0, 0.0, 0.0, False).alarm
