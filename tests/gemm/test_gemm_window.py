"""Sliding windows on the gemm machine: a lower end of the mask, a register of each vector lane."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.job import Job
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine
from gemm.compare import differences
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with
from gemm.draw_plain import plain_machine

SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}


def windowed(n_queries: int, n_keys: int, window: int, units: tuple = (), **options) -> tuple[GemmMachine, Job]:
    machine = machine_with(units, sliding_window=True, **options)
    limits = {"gemm": 0.05, "fused_output": 0.05}
    return machine, job_for(machine, n_queries, n_keys, np.random.default_rng(4), limits, True, window)


def attention(job: Job) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, Σ p|v| of each) in binary64, over the keys from first to bound."""
    keys = np.arange(job.k.shape[0])
    scores = job.q @ job.k.T / np.sqrt(job.q.shape[1])
    scores = np.where((keys <= job.bound[:, None]) & (keys >= job.first[:, None]), scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ job.v, weights @ np.abs(job.v)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_outputs_are_attention_over_the_window(flow: str) -> None:
    """The last queries see none of the first folds' keys at all: whole tiles of leading masked keys."""
    machine, job = windowed(30, 40, 5, (fused_unit(),), rows=8, cols=8, head_dim=16, vector_lanes=4, dataflow=flow,
                            formats={"operand": "fp32"})
    exact, size = attention(job)
    assert job.first.max() > 4 * 8 and (job.bound - job.first + 1).max() == 5
    assert (np.abs(golden(machine, job).output - exact) <= 80 * 2.0**-24 * size).all()


def test_keys_before_the_window_have_no_part_in_the_output() -> None:
    machine, job = windowed(6, 9, 3)
    before = golden(machine, job).output
    job.k[:3], job.v[:3] = np.inf, 2.0  # their scores are infinite or NaN
    after = golden(machine, job).output
    assert np.array_equal(before[-1], after[-1]) and job.first[-1] >= 3 and not np.array_equal(before[0], after[0])
    assert SteppedGemm(machine, job).run().same_as(golden(machine, job))


def test_a_query_whose_window_is_empty_gives_zero_over_zero() -> None:
    machine, job = windowed(3, 4, 2)
    job.first[1], job.bound[1] = 3, 2
    found = golden(machine, job)
    assert np.isnan(found.output[1]).all() and np.isfinite(found.output[[0, 2]]).all()
    assert SteppedGemm(machine, job).run().same_as(found)


def test_without_a_window_the_register_changes_nothing_but_itself() -> None:
    with_it, without = machine_with((gemm_unit(),), sliding_window=True), machine_with((gemm_unit(),))
    job = job_for(with_it, 5, 7, np.random.default_rng(0), {"gemm": 0.05}, causal=True)
    assert golden(with_it, job).same_as(golden(without, job))
    assert {r.name for r in with_it.inventory} - {r.name for r in without.inventory} == {"first"}
    register = with_it.inventory["first"]
    assert (register.format, register.shape, register.component) == (
        with_it.inventory["bound"].format, with_it.inventory["bound"].shape, "vector")
    assert "first" not in plain_machine(4, sliding_window=True).inventory


def test_a_window_needs_a_machine_that_has_it() -> None:
    _, job = windowed(5, 7, 2)
    for engine in (golden, SteppedGemm):
        with pytest.raises(ValueError, match="sliding_window"):
            engine(machine_with(), job)


def test_a_struck_window_is_one_query_s_fault() -> None:
    machine, job = windowed(8, 12, 4, vector_lanes=4)
    engine = SteppedGemm(machine, job)
    clean, start = engine.golden(), engine.timing.by_name["softmax"].start
    result = engine.run([Fault(start + 1, "first", (3,), bit=2)])  # 0 becomes 4: query 3 sees keys 4 … 7 alone
    assert job.first[3] != job.first[3] ^ 4
    assert np.flatnonzero((result.output != clean.output).any(1)).tolist() == [3]


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_every_bit_of_the_lanes_registers(flow: str) -> None:
    machine, job = windowed(3, 4, 2, (gemm_unit(("pv",), "columns", columns=1), fused_unit(columns=1)), rows=2, cols=2,
                            head_dim=2, vector_lanes=2, dataflow=flow, formats=SMALL, max_keys=4, max_queries=4)
    softmax = machine.timing(3, 4).by_name["softmax"]
    faults = [Fault(cycle, name, (lane,), bit) for name in ("first", "bound", "seen", "m", "allow", "scaled", "l")
              for lane in range(2) for bit in range(machine.inventory[name].width_bits)
              for cycle in range(softmax.start + (bit % 3 if name not in ("first", "bound") else 0), softmax.end,
                                 1 if name in ("first", "bound") else 3)]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back == 0
