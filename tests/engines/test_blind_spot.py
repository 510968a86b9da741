"""What a checksum sees, and what it cannot: sharing a signal with the datapath hides every fault in it."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.config import load_config
from accel_sim.engines.stepped import Injection, SteppedEngine
from accel_sim.faults.fault import Fault

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


def strike(a: Assembly, register: str, index: tuple[int, ...], bit: int, key: int = 9) -> Injection:
    """Flip a bit of a lane's register while it holds key `key` of the second block."""
    from accel_sim.machines.lanes_schedule import pipeline_stage

    engine = SteppedEngine(a.machine, a.job(a.workload.heads[0]))
    stage = pipeline_stage(a.machine, register, index)
    depth = a.machine.depth
    after_fetch = 1 + stage if stage is not None else {"m": 4 + depth, "l": 7 + depth, "o": 7 + depth, "c": 7 + depth}[
        register]  # fmt: skip
    return engine.inject(Fault(engine.timing.stream_start(1) + key + after_fetch, register, index, bit))


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


@pytest.mark.parametrize("shares", [{}, NOTHING])
@pytest.mark.parametrize(("register", "index"), [("o", (1, 3)), ("pv", (1, 3))])
def test_a_fault_behind_the_weights_is_always_caught(register, index, shares):
    a = design(shares, 0)
    injection = strike(a, register, index, 29)
    assert worst(injection, a) > ROUNDING or not np.isfinite(injection.result.output).all()
    assert injection.result.alarm_cycle is not None


@pytest.mark.parametrize("shares", [{}, NOTHING])
def test_a_fault_in_the_checksum_is_a_false_alarm(shares):
    a = design(shares, 0)
    injection = strike(a, "c", (1,), 29)
    assert worst(injection, a) == 0.0
    assert injection.result.alarm_cycle is not None


def test_values_with_equal_row_sums_blind_the_checksum_to_any_weights():
    """Σ O = n · c whatever the weights are, so that even a check unit with its own scores sees nothing."""
    from accel_sim.engines.job import make_job

    a = design(NOTHING, 0)
    q, k, v = a.workload.tensors(a.workload.heads[0])
    v = np.round(v * 4) / 4
    v[:, 0] += 2.0 - v.sum(axis=1)  # quarters: every sum is exact
    job = make_job(a.machine, q, k, v).with_threshold(a.limits.limit, a.limits.scan_limit)
    engine = SteppedEngine(a.machine, job)
    cycle = engine.timing.stream_start(1) + 9 + 3 + a.machine.depth
    result = engine.inject(Fault(cycle, "score", (1,), SIGN)).result
    assert np.max(np.abs(result.output - engine.golden().output)) > 100 * ROUNDING
    assert result.alarm_cycle is None
