"""Bounds on the array machines: never below a clean residual, and not idle; exact for integers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from fused import draw as fused_draw
from gemm import draw as gemm_draw

from accel_sim.assembly import assemble
from accel_sim.checkers.bound_arrays import fused_bounds, gemm_bounds, product_bound, roundings
from accel_sim.config import load_config
from accel_sim.config.errors import ConfigError
from accel_sim.engines.job import Job
from accel_sim.fused.golden import golden_run
from accel_sim.gemm.golden import golden


class OneHead:
    """A workload of one job."""

    heads = (0,)

    def __init__(self, job: Job) -> None:
        self.job = job
        self.n_queries, self.n_keys = job.q.shape[0], job.k.shape[0]

    def tensors(self, head: int) -> tuple[np.ndarray, ...]:
        return self.job.q, self.job.k, self.job.v


def shares(machine: Any, job: Job, run: Any, bounds: Any) -> list[tuple[str, float]]:
    """Every finite clean residual over the bound on it, with its unit."""
    found = {u.kind: bounds(machine, OneHead(job), u)[0] for u in machine.units if u.kind != "softmax_invariants"}
    return [(c.unit, abs(c.residual) / found[c.unit]) for c in run.comparisons
            if c.unit in found and math.isfinite(c.residual)]


def finite(job: Job) -> bool:
    return bool(np.isfinite(job.q).all() and np.isfinite(job.k).all() and np.isfinite(job.v).all())


def largest(cases: list[tuple[str, float]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for unit, share in cases:
        found[unit] = max(found.get(unit, 0.0), share)
    return found


def test_the_bounds_cover_every_clean_residual_of_fused_machines() -> None:
    seen = []
    for seed in range(250):
        rng = np.random.default_rng(seed)
        machine = fused_draw.random_watched_machine(rng, 12)
        job = fused_draw.random_head(machine, rng)
        if finite(job):
            seen += shares(machine, job, golden_run(machine, job), fused_bounds)
    most = largest(seen)
    assert most.keys() == {"fused_output", "score_rowsum"} and len(seen) > 500
    assert all(1e-3 < share <= 1.0 for share in most.values()), most


def test_the_bounds_cover_every_clean_residual_of_gemm_machines() -> None:
    seen = []
    for seed in range(250):
        machine, job = gemm_draw.random_case(seed)
        if finite(job):
            seen += shares(machine, job, golden(machine, job), gemm_bounds)
    most = largest(seen)
    assert most.keys() == {"gemm", "fused_output", "score_rowsum"} and len(seen) > 2000
    assert all(1e-3 < share <= 1.0 for share in most.values()), most


def test_more_words_leave_less() -> None:
    machine = gemm_draw.machine_with((gemm_draw.gemm_unit(),), formats={"operand": "bf16"})
    a, b = np.ones((4, 8)), np.ones((8, 16))
    one, two, three = (product_bound(roundings(machine), a, b, 4, words) for words in (1, 2, 3))
    assert one > 30 * two > 30 * three
    assert one > 2.0**-8 * 8 * 4  # a bf16 word is off by up to 2⁻⁸ of its sum


@pytest.mark.parametrize("name, unit", [
    ("fused-d32", {"kind": "fused_output", "columns": 2}), ("fused-d32", {"kind": "score_rowsum"}),
    ("gemm-ws-d32", {"kind": "gemm", "columns": 2}), ("gemm-ws-d32", {"kind": "fused_output", "columns": 2}),
])
def test_a_bound_threshold_raises_no_alarm(name: str, unit: dict[str, Any]) -> None:
    threshold = {"threshold": {"kind": "bound", "slack": 2.0}}
    found = assemble(load_config(name, {"checker.units": [{**unit, **threshold}]})).limits[unit["kind"]]
    assert found.unseen_alarms == 0 and found.unseen_heads == 50
    clean = assemble(load_config(name, {"checker.units": [unit]})).limits[unit["kind"]].largest_clean
    assert clean is not None and found.limit > 2 * clean


def test_integers_leave_nothing() -> None:
    formats = {"operand": "int8", **dict.fromkeys(("score", "state", "output", "checker"), "int32")}
    unit = {"kind": "gemm", "sides": "both", "columns": 2, "threshold": {"kind": "bound"}}
    found = assemble(load_config("mlp-up", {"architecture.formats": formats, "checker.units": [unit]})).limits["gemm"]
    assert found.limit == 0.0 and found.unseen_alarms == 0


def test_units_on_the_output_buffer_have_none() -> None:
    unit = {"kind": "invariants", "threshold": {"kind": "bound"}}
    with pytest.raises(ConfigError, match="no rounding bound is known for invariants on a fused machine"):
        assemble(load_config("tiny-fused", {"checker.units": [unit]}))
