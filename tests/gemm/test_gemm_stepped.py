"""The stepped engine of the gemm machine: its bits, its cycles, its faults, and attention as others compute it."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config.errors import ConfigError
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with, random_case, random_fault


@pytest.mark.parametrize("seed", range(40))
def test_golden_and_stepped_are_the_same_bits(seed: int) -> None:
    machine, job = random_case(seed)
    engine = SteppedGemm(machine, job)
    whole = engine.run()
    assert whole.same_as(golden(machine, job)) and whole.same_as(engine.golden())
    assert whole.cycles == machine.timing(*job.shape[:2]).head_cycles


@pytest.mark.parametrize("seed", range(25))
def test_an_injection_is_the_whole_run_under_that_fault(seed: int) -> None:
    machine, job = random_case(seed)
    engine, rng = SteppedGemm(machine, job), np.random.default_rng(seed)
    for _ in range(12):
        fault = random_fault(rng, machine, engine.golden().cycles + 3)
        assert engine.inject(fault).result.same_as(engine.run([fault])), fault


def attention(job) -> tuple[np.ndarray, np.ndarray]:
    """(outputs, Σ p|v| of each) in binary64."""
    n_keys = job.k.shape[0]
    scores = job.q @ job.k.T / np.sqrt(job.q.shape[1])
    scores = np.where(np.arange(n_keys) <= job.bound[:, None], scores, -np.inf)
    weights = np.exp(scores - scores.max(1, keepdims=True))
    weights /= weights.sum(1, keepdims=True)
    return weights @ job.v, weights @ np.abs(job.v)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
@pytest.mark.parametrize("operand, unit", [("fp32", 2.0**-24), ("fp16", 2.0**-11), ("bf16", 2.0**-8)])
def test_outputs_are_attention_but_for_the_rounding_of_the_weights(flow: str, operand: str, unit: float) -> None:
    machine = machine_with(rows=8, cols=8, head_dim=16, vector_lanes=4, dataflow=flow, formats={"operand": operand})
    job = job_for(machine, 20, 30, np.random.default_rng(3), causal=True)
    exact, size = attention(job)
    # Weights enter the second product as operands, each off by up to u of itself; all else is binary32.
    assert (np.abs(golden(machine, job).output - exact) <= unit * size + 64 * 2.0**-24 * size).all()


def test_masked_keys_have_no_part_in_the_output() -> None:
    machine = machine_with(dataflow="os")
    job = job_for(machine, 4, 6, np.random.default_rng(1), causal=True)
    before = golden(machine, job).output
    job.k[3:], job.v[3:] = 7.0, -3.0
    after = golden(machine, job).output
    assert np.array_equal(before[0], after[0]) and not np.array_equal(before[-1], after[-1])


def test_a_query_without_a_key_gives_zero_over_zero() -> None:
    machine = machine_with()
    job = job_for(machine, 3, 4, np.random.default_rng(2))
    job.bound[1] = -1
    assert np.isnan(golden(machine, job).output[1]).all() and np.isfinite(golden(machine, job).output[[0, 2]]).all()
    assert SteppedGemm(machine, job).run().same_as(golden(machine, job))


def test_a_unit_that_stands_still_loses_what_strikes_it() -> None:
    machine = machine_with((gemm_unit(sides="both"), fused_unit()), dataflow="ws")
    job = job_for(machine, 5, 6, np.random.default_rng(4), {"gemm": 1.0, "fused_output": 1.0})
    engine = SteppedGemm(machine, job)
    at = engine.timing.by_name
    for register, index, phase in (("s", (0, 0), "softmax"), ("x", (1, 1), "divide"), ("m", (0,), "qk"),
                                   ("gemm_acc", (0,), "qk"), ("fused_c", (0,), "softmax"), ("row_act", (0,), "softmax")):
        for cycle in (at[phase].start, at[phase].start + 5, at[phase].end - 1):
            fault = Fault(cycle, register, index, bits=8, kind="burst")
            assert not engine.live(fault) and engine.run([fault]).same_as(engine.golden()), fault


def test_struck_counters_lead_elsewhere_and_the_run_ends() -> None:
    machine = machine_with(dataflow="ws")
    job = job_for(machine, 7, 9, np.random.default_rng(5))
    engine = SteppedGemm(machine, job)
    program, clean = engine.timing.by_name, engine.golden()
    skip = engine.run([Fault(program["softmax"].start + 3, "part", bit=1)])  # blocks 0 and 1 are left out
    assert skip.cycles == clean.cycles - 2 * program["softmax"].steps and not np.array_equal(skip.output, clean.output)
    done = engine.run([Fault(program["pv"].start, "phase", bit=2)])  # 2 becomes 6: past the last phase
    assert done.cycles == program["pv"].start and not done.output.any()
    again = engine.run([Fault(program["divide"].start, "phase", bit=1)])  # 3 becomes 1: softmax once more
    assert again.cycles > clean.cycles and not again.hang
    stuck = engine.run([Fault(0, "step", bit=0, kind="stuck0", duration=10**6)])
    assert stuck.hang and stuck.cycles == engine.watchdog_cycles


def test_watch_sees_every_cycle_of_every_register() -> None:
    machine = machine_with((gemm_unit(),), dataflow="is")
    job = job_for(machine, 4, 5, np.random.default_rng(6), {"gemm": 1.0})
    engine, seen = SteppedGemm(machine, job), []
    result = engine.run(watch=lambda cycle, state: seen.append((cycle, state.copy())))
    assert [cycle for cycle, _ in seen] == list(range(result.cycles)) and result.same_as(engine.golden())
    states = np.array([state for _, state in seen])
    assert states.shape[1] == machine.inventory.slots
    phase = states[:, machine.inventory.slot("phase")]
    assert [int((phase == p.number).sum()) for p in engine.timing.program] == [p.cycles for p in engine.timing.program]
    assert states[:, machine.inventory.offsets["s"]].any()


def test_faults_that_the_machine_cannot_have_are_refused() -> None:
    machine = machine_with()
    engine = SteppedGemm(machine, job_for(machine, 2, 2, np.random.default_rng(0)))
    for fault in (Fault(0, "row_act", (0,)), Fault(0, "m", (9,)), Fault(0, "l", (0,), bit=99)):
        with pytest.raises(ConfigError):
            engine.run([fault])
