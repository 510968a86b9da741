"""What a checksum sees, and what it cannot: sharing a signal with the datapath hides every fault in it."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.checkers import limits_of
from accel_sim.config import load_config
from accel_sim.engines.job import make_job
from accel_sim.engines.stepped import Injection, SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes_schedule import pipeline_stage

ROUNDING = 1e-5
"""fp32 sums of a few hundred terms of size one leave residuals of about 1e-6; faults here move outputs by 0.01."""

NOTHING = {"score": False, "max": False, "exp": False, "sum": False}


def design(shares: dict[str, bool], seed: int) -> Assembly:
    """Four lanes, eight dims, sixteen queries and keys, fp32 arithmetic, threshold at rounding level."""
    config = load_config("tiny").changed({
        "architecture.lanes": 4, "architecture.head_dim": 8, "workload.queries": 16, "workload.keys": 16,
        "workload.seed": seed,
        "checker.units": [{"kind": "fused_output", "threshold": {"kind": "absolute", "value": ROUNDING},
                           "shares": shares}],
    })  # fmt: skip
    return assemble(config, measure=False)


BEHIND = {"norm_o": 1, "norm_c": 1, "out": 2, "pred_term": 2, "pred": 2, "act": 2}
"""Cycles from the read of a lane until its row stands in a register (or, for the sums, is about to)."""


def strike(a: Assembly, register: str, index: tuple[int, ...], bit: int, key: int = 9) -> Injection:
    """Flip a bit of a lane's register while it holds key `key` of the second block, or of a register behind the
    lanes as the block's second row passes."""
    engine = SteppedEngine(a.machine, a.job(a.workload.heads[0]))
    depth = a.machine.depth
    if register in BEHIND:
        cycle = engine.timing.swap_start(2) + 1 + BEHIND[register]
    else:
        stage = pipeline_stage(a.machine, register, index)
        in_lane = {"m": 4 + depth, "l": 7 + depth, "o": 7 + depth, "c": 7 + depth}
        cycle = engine.timing.stream_start(1) + key + (in_lane[register] if stage is None else 1 + stage)
    return engine.inject(Fault(cycle, register, index, bit))


def worst(injection: Injection, a: Assembly) -> float:
    engine = SteppedEngine(a.machine, a.job(a.workload.heads[0]))
    with np.errstate(invalid="ignore"):
        return float(np.nanmax(np.abs(injection.result.output - engine.golden().output)))


SIGN, EXPONENT = 31, 24

FAULTS = [("score", (1,), SIGN), ("l", (1,), EXPONENT), ("p", (1,), EXPONENT), ("m", (1,), SIGN)]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("register", "index", "bit"), FAULTS)
def test_a_fault_in_a_shared_signal_is_invisible_and_caught_when_it_is_not_shared(register, index, bit, seed):
    shared, own = design({}, seed), design(NOTHING, seed)
    blind, seen = strike(shared, register, index, bit), strike(own, register, index, bit)
    harm = worst(blind, shared)
    assert harm > 100 * ROUNDING, "the fault must matter"
    assert worst(seen, own) == harm, "the datapath is the same in both designs"
    assert blind.result.alarm_cycle is None
    assert abs(blind.result.comparisons[-1].residual) < ROUNDING
    assert seen.result.alarm_cycle is not None
    assert abs(seen.result.comparisons[-1].residual) > 10 * ROUNDING


OWN = {
    "sum": {"sum": False},
    "exp": {"exp": False},
    "max": {"max": False, "exp": False},
    "score": {"score": False, "max": False, "exp": False},
}
"""The least that a unit computes for itself when it computes this signal."""


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize(("register", "index", "bit"), FAULTS)
def test_a_unit_sees_faults_in_exactly_the_signals_that_it_computes_itself(register, index, bit, own):
    """A unit with its own maximum still takes the scores; one with its own sum alone sees l and nothing else."""
    signal = {"score": "score", "m": "max", "p": "exp", "l": "sum"}[register]
    a = design(OWN[own], 1)
    injection = strike(a, register, index, bit)
    assert worst(injection, a) > 100 * ROUNDING
    assert (injection.result.alarm_cycle is not None) == (OWN[own].get(signal) is False)


@pytest.mark.parametrize("seed", range(4))
def test_the_residual_of_a_shared_fault_is_the_rounding_of_a_clean_run(seed):
    """Not merely below the threshold: no larger than the residuals of fault-free heads of the same kind."""
    clean = [abs(SteppedEngine((a := design({}, s)).machine, a.job(a.workload.heads[0])).golden().comparisons[-1].residual)
             for s in range(8)]  # fmt: skip
    for register, index, bit in FAULTS:
        residual = strike(design({}, seed), register, index, bit).result.comparisons[-1].residual
        assert abs(residual) < 4 * max(clean), register


@pytest.mark.parametrize("shares", [{}, NOTHING], ids=["shared", "own"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("register", "index"), [("o", (1, 3)), ("pv", (1, 3)), ("norm_o", (3,)), ("out", (3,))])
def test_a_fault_behind_the_weights_is_always_caught(register, index, seed, shares):
    a = design(shares, seed)
    injection = strike(a, register, index, 29)
    assert worst(injection, a) > ROUNDING or not np.isfinite(injection.result.output).all()
    assert injection.result.alarm_cycle is not None


@pytest.mark.parametrize("shares", [{}, NOTHING], ids=["shared", "own"])
@pytest.mark.parametrize("register", ["c", "chk_pr", "norm_c", "pred_term", "pred", "act"])
def test_a_fault_in_the_checksum_itself_is_a_false_alarm(register, shares):
    a = design(shares, 0)
    injection = strike(a, register, (1,) if register in ("c", "chk_pr") else (), 29)
    assert worst(injection, a) == 0.0
    assert injection.result.alarm_cycle is not None


@pytest.mark.parametrize("seed", range(3))
def test_an_accumulator_fault_leaves_a_residual_of_its_own_size_and_the_opposite_sign(seed):
    """Δresidual = −Σ_t ΔO_t: what the output gains, the prediction lacks."""
    a = design({}, seed)
    injection = strike(a, "o", (1, 3), 22, key=12)
    golden = SteppedEngine(a.machine, a.job(a.workload.heads[0])).golden()
    gained = float(np.sum(injection.result.output - golden.output))
    assert abs(gained) > 100 * ROUNDING
    shift = injection.result.comparisons[-1].residual - golden.comparisons[-1].residual
    assert abs(shift + gained) < ROUNDING


@pytest.mark.parametrize("seed", range(3))
def test_a_fault_in_the_sum_scales_the_row_and_its_checksum_alike(seed):
    """O' = O · l/l': the row keeps its direction, so both sides of the check keep their ratio."""
    a = design({}, seed)
    injection = strike(a, "l", (1,), 22, key=15)  # after the last key, before the drain
    golden = SteppedEngine(a.machine, a.job(a.workload.heads[0])).golden()
    row = 4 + 1
    ratio = injection.result.output[row] / golden.output[row]
    assert abs(ratio[0] - 1.0) > 0.05
    assert np.allclose(ratio, ratio[0], rtol=1e-6)
    assert np.array_equal(np.delete(injection.result.output, row, 0), np.delete(golden.output, row, 0))
    assert injection.result.alarm_cycle is None


def test_values_with_equal_row_sums_blind_the_checksum_to_any_weights():
    """Σ O = n · c whatever the weights are, so that even a check unit with its own scores sees nothing."""
    a = design(NOTHING, 0)
    q, k, v = a.workload.tensors(a.workload.heads[0])
    v = np.round(v * 4) / 4
    v[:, 0] += 2.0 - v.sum(axis=1)  # quarters: every sum is exact
    job = make_job(a.machine, q, k, v).with_limits(limits_of(a.limits))
    engine = SteppedEngine(a.machine, job)
    cycle = engine.timing.stream_start(1) + 9 + 3 + a.machine.depth
    result = engine.inject(Fault(cycle, "score", (1,), SIGN)).result
    assert np.max(np.abs(result.output - engine.golden().output)) > 100 * ROUNDING
    assert result.alarm_cycle is None
