"""Every machine computes attention: its outputs stay within a derived distance of softmax(QKᵀ/√d)V in float64."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config import load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.numerics.formats import FORMATS
from accel_sim.workloads import load_workload
from engines.accuracy import distance_bound, scores, softmax_attention, unit
from engines.draw import ROLES, gaussian_case, machine_with, random_case


def test_any_machine_stays_within_the_derived_distance():
    rng = np.random.default_rng(0)
    promised = total = 0
    closest = 0.0
    for n in range(400):
        case = random_case(rng)
        bound = distance_bound(case.machine, case.job)
        output = run_golden(case.machine, case.job).output
        error = np.abs(output - softmax_attention(case.job))
        known = np.isfinite(bound)
        assert np.isfinite(output[known]).all(), n
        assert np.all(error[known] <= bound[known]), (n, case.machine.config)
        promised, total = promised + int(known.sum()), total + known.size
        closest = max(closest, float(np.max(error[known] / bound[known], initial=0.0)))
    assert promised > 0.85 * total
    assert closest > 0.2  # not so generous that it says nothing


UNIFORM = {name: dict.fromkeys(ROLES, name) for name in FORMATS}
MIXED = {"bf16 operands, fp32 state": {"operand": "bf16"}}


@pytest.mark.parametrize("name", [*UNIFORM, *MIXED])
@pytest.mark.parametrize("keys", [16, 256])
def test_with_exact_units_normal_data_come_out_within_16_units_of_the_working_format(name, keys):
    """What is seen, against what must hold: half-ulp errors average out, so 6 to 12 u where thousands of u could be.

    u = 2^−p of the format that computes, for outputs of order 1.
    """
    machine = machine_with(16, 64, formats=(UNIFORM | MIXED)[name], max_keys=256, max_queries=256)
    case = gaussian_case(machine, 48, keys, seed=5)
    error = np.abs(run_golden(machine, case.job).output - softmax_attention(case.job)).max()
    assert error < 16 * unit(machine.formats["state"])
    bound = distance_bound(machine, case.job)
    assert error <= bound.max()
    if name in ("fp64", "fp32", "bf16 operands, fp32 state"):
        assert bound.max() < 5000 * unit(machine.formats["state"])


@pytest.mark.parametrize(("pieces", "most"), [(2, 3e-2), (8, 2e-3), (64, 3e-5)])
def test_piecewise_linear_units_cost_about_their_own_relative_error(pieces, most):
    units = {"exp": {"kind": "pwl", "pieces": pieces}, "divide": {"kind": "reciprocal_pwl", "pieces": 64}}
    machine = machine_with(16, 64, max_keys=64, **units)
    case = gaussian_case(machine, 48, 64, seed=6)
    error = np.abs(run_golden(machine, case.job).output - softmax_attention(case.job))
    assert error.max() < most + 7e-5  # the reciprocal's part, for outputs up to 1
    assert np.all(error <= distance_bound(machine, case.job))


@pytest.mark.parametrize("changes", [
    {}, {"exp": {"kind": "pwl", "pieces": 8}, "divide": {"kind": "reciprocal_pwl", "pieces": 16}},
    {"formats": UNIFORM["bf16"] | {"checker": "fp32"}},
], ids=["fp32", "fp32 pwl", "bf16"])  # fmt: skip
def test_the_captured_attention_of_a_real_model_stays_within_the_distance(changes):
    workload = load_workload(load_config("minilm", {"workload.layer": "all", "workload.head": "all"}))
    machine = machine_with(16, 32, key_tile=64, max_keys=4096, max_queries=4096, **changes)
    for head in workload.heads[::9]:
        job = make_job(machine, *workload.tensors(head), workload.bounds())
        error = np.abs(run_golden(machine, job).output - softmax_attention(job))
        assert np.all(error <= distance_bound(machine, job))
        if not changes:
            assert error.max() < 64 * unit(FORMATS["fp32"])


def test_a_query_attends_to_the_keys_that_its_mask_allows_and_no_other():
    """Keys beyond the bound, or before the window, may hold anything finite: the output's bits do not notice."""
    rng = np.random.default_rng(7)
    for _ in range(30):
        case = random_case(rng, stalls=False)
        job = case.job
        unseen = np.ones(len(job.k), bool)
        unseen[int(job.first.min()):int(job.bound.max()) + 1] = False
        other = job.k.copy(), job.v.copy()
        for x in other:
            x[unseen] = rng.integers(-2, 3, x[unseen].shape)
        changed = make_job(case.machine, job.q, *other, job.bound, job.first)
        assert run_golden(case.machine, changed).output.tobytes() == run_golden(case.machine, job).output.tobytes()


def test_equal_keys_give_the_mean_of_the_values_and_one_huge_score_picks_its_value():
    machine = machine_with(2, 4, formats="fp32")
    values = np.array([[1.0, 2.0, -3.0, 0.5], [3.0, 0.0, 1.0, 0.5], [8.0, 1.0, 5.0, 0.5], [4.0, 5.0, 1.0, 0.5]])
    mean = run_golden(machine, make_job(machine, np.ones((1, 4)), np.ones((4, 4)), values)).output
    assert mean.tolist() == [[4.0, 2.0, 1.0, 0.5]]
    keys = np.zeros((4, 4))
    keys[2] = 100.0
    job = make_job(machine, np.full((1, 4), 4.0), keys, values)
    assert scores(job)[0].tolist() == [0.0, 0.0, 800.0, 0.0]
    assert run_golden(machine, job).output.tolist() == [values[2].tolist()]
