"""The softmax invariants in the vector unit of the gemm machine: what they see, and that they disturb nothing."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config.errors import ConfigError
from accel_sim.config.load import config_from_dict
from accel_sim.engines.job import Job
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine
from gemm.compare import differences
from gemm.draw import fused_unit, job_for, machine_with, random_fault, softmax_unit

SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}
QUERIES, KEYS, LANES = 7, 12, 4
EVERY = ("sum", "max", "mask", "score")
AGAIN = KEYS + 3  # step of a block in which the second pass reads its first score


def watched(which: tuple[str, ...] = EVERY, **options) -> tuple[GemmMachine, Job]:
    machine = machine_with((softmax_unit(which),) if which else (), rows=4, cols=4, head_dim=8, vector_lanes=LANES,
                           dataflow="ws", **options)
    return machine, job_for(machine, QUERIES, KEYS, np.random.default_rng(11), {"softmax_invariants": 2.0**-10}, True)


def test_a_block_takes_as_many_cycles_more_as_lanes_are_judged_one_after_the_other() -> None:
    (machine, job), (bare, _) = watched(), watched(())
    blocks = -(-QUERIES // LANES)
    have, want = (m.timing(QUERIES, KEYS) for m in (machine, bare))
    assert have.head_cycles == want.head_cycles + blocks * (LANES + 1)
    result, start = golden(machine, job), have.by_name["softmax"].start
    steps = 2 * KEYS + 9 + LANES
    assert [c.cycle for c in result.comparisons] == [
        start + query // LANES * steps + 2 * KEYS + 9 + query % LANES for query in range(QUERIES)]
    assert {c.unit for c in result.comparisons} == {"softmax_invariants"} and result.alarm_cycle is None
    assert np.array_equal(result.output, golden(bare, job).output) and result.same_as(SteppedGemm(machine, job).run())
    assert not any("softmax" in r.name for r in bare.inventory) and bare.formula != machine.formula


@pytest.mark.parametrize("formats", [{}, SMALL, {"operand": "fp16", "score": "fp16", "exp": "fp16", "state": "fp16"}])
def test_clean_heads_violate_nothing_but_by_rounding(formats: dict) -> None:
    machine, job = watched(formats=formats)
    unit = 2.0**-8 if formats is SMALL else 2.0**-11
    excess = [c.residual for c in golden(machine, job).comparisons]
    assert min(excess) >= 0 and max(excess) <= KEYS * unit


FAULTS = {  # register, step of a block, bit, and the one invariant that sees it
    "mask": ("allow", AGAIN + 3 + KEYS - 2, 0),  # the last key but one, which query 1 may not see, is let through
    "max": ("m", AGAIN + 3, 31),  # its sign, in the second pass: the maximum falls below what it was written with
    "sum": ("l", AGAIN + 4 + KEYS, 25),  # the complete sum, on its way to SRAM
    "score": ("scaled", AGAIN + 3, 29),  # a score of the order of 2^64, read in the second pass
}


@pytest.mark.parametrize("which", EVERY)
def test_each_invariant_sees_what_the_others_do_not_ask_for(which: str) -> None:
    register, step, bit = FAULTS[which]
    machine, job = watched((which,))
    job = Job(job.q, np.abs(job.k), job.v, job.bound, job.first, job.scale, job.limits)
    job.q[1] = np.abs(job.q[1]) + 1.0  # query 1 has positive scores, so that m has a sign to lose
    engine = SteppedGemm(machine, job)
    phase = engine.timing.by_name["softmax"]
    fault = Fault(phase.start + step, register, (1,), bit)
    result = engine.run([fault])
    assert engine.golden().alarm_cycle is None and engine.live(fault)
    # Lane 1 is judged in the second step behind the block, and its alarm reads 1 in the next.
    assert result.alarm_cycle == phase.start + 2 * KEYS + 9 + 1 + 1
    bare = SteppedGemm(machine_with((fused_unit(),), rows=4, cols=4, head_dim=8, vector_lanes=LANES, dataflow="ws"),
                       job.with_limits({"fused_output": 0.1}))
    start = bare.timing.by_name["softmax"].start
    unseen = bare.run([Fault(start + step, register, (1,), bit)])
    assert unseen.alarm_cycle is None or not np.isfinite(unseen.output).all()  # shared by both sides of that check
    others = tuple(name for name in EVERY if name != which)
    if which in ("mask", "max"):  # a wrong score, or sum, shows in more than one of them
        small = SteppedGemm(machine_with((softmax_unit(tuple(o for o in others if o != "sum")),), rows=4, cols=4,
                                         head_dim=8, vector_lanes=LANES, dataflow="ws"), job)
        assert small.run([fault]).alarm_cycle is None


def test_a_score_that_is_not_finite_raises_the_alarm() -> None:
    for value in (np.inf, -np.inf, np.nan):
        machine, job = watched(("max", "score"))
        job.q[2, 0] = value
        result = golden(machine, job)
        assert result.alarm_cycle is not None and result.same_as(SteppedGemm(machine, job).run())
        assert [c.alarm for c in result.comparisons] == [query == 2 for query in range(QUERIES)]


def test_a_query_without_a_key_is_not_judged_by_its_sum() -> None:
    machine, job = watched(("sum",))
    job.bound[3] = -1
    assert golden(machine, job).comparisons[3].residual == 0.0 and golden(machine, job).alarm_cycle is None
    engine = SteppedGemm(machine, job)
    fault = Fault(engine.timing.by_name["softmax"].start + 2 * KEYS + 7, "l", (2,), 29)  # that of query 2 is
    assert engine.run([fault]).alarm_cycle is not None
    nothing = Fault(fault.cycle, "l", (3,), 29)
    assert engine.run([nothing]).alarm_cycle is None


def test_the_bound_of_scores_holds_and_is_near() -> None:
    machine, job = watched(("score",))
    value = SteppedGemm(machine, job).given.score_bound
    norms = np.linalg.norm(job.q, axis=1).max() * np.linalg.norm(job.k, axis=1).max() / np.sqrt(8)
    assert norms < value < norms * (1 + 2.0**-6 + 2.0**-20) and value == np.float32(value)
    loaded = SteppedGemm(machine, job).inject(Fault(0, "softmax_bound", (), 0)).old_value
    assert loaded == value


@pytest.mark.parametrize("flow, window", [("os", 0), ("ws", 2), ("is", 0)])
def test_every_bit_of_its_registers_and_of_the_lanes(flow: str, window: int) -> None:
    machine = machine_with((softmax_unit(), fused_unit(columns=1)), rows=2, cols=2, head_dim=2, vector_lanes=2,
                           dataflow=flow, formats=SMALL, max_keys=4, max_queries=4, sliding_window=bool(window))
    job = job_for(machine, 3, 3, np.random.default_rng(1), {"softmax_invariants": 0.25, "fused_output": 0.5}, True,
                  window)
    cycles = machine.timing(3, 3).head_cycles
    own = [r for r in machine.inventory if r.component in ("vector", "checker.softmax_invariants")]
    faults = [Fault(cycle, r.name, index, bit) for r in own for index in np.ndindex(r.shape)
              for bit in range(r.width_bits) for cycle in range((bit + 3 * sum(index)) % 11, cycles, 11)]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back < len(faults) // 15  # scale and softmax_bound, which every lane reads


@pytest.mark.parametrize("which", [("score",), ("max", "mask"), ("sum",), EVERY])
@pytest.mark.parametrize("flow", ["os", "is"])
def test_faults_in_the_scores_reach_it(flow: str, which: tuple[str, ...]) -> None:
    machine = machine_with((softmax_unit(which),), rows=3, cols=4, dataflow=flow, subnormals="keep")
    job = job_for(machine, 6, 9, np.random.default_rng(2), {"softmax_invariants": 2.0**-12}, True)
    product, rng = machine.timing(6, 9).by_name["qk"], np.random.default_rng(5)
    faults = []
    while len(faults) < 150:
        fault = random_fault(rng, machine, product.end, long=False)
        if fault.cycle >= product.start and fault.register in machine.array.inventory:
            faults.append(fault)
    found, _ = differences(machine, job, faults)
    assert not found, found[:5]


def test_what_is_dead_can_change_nothing() -> None:
    machine = machine_with((softmax_unit(),), rows=2, cols=2, head_dim=2, vector_lanes=2, max_keys=4, max_queries=4,
                           sliding_window=True)
    engine = SteppedGemm(machine, job_for(machine, 3, 3, np.random.default_rng(1), {"softmax_invariants": 0.01}, True, 2))
    golden_run, dead, alive = engine.golden(), 0, 0
    phase = engine.timing.by_name["softmax"]
    for register in (r for r in machine.inventory if r.component in ("vector", "checker.softmax_invariants")):
        for index in np.ndindex(register.shape):
            for cycle in range(phase.start, phase.end):
                fault = Fault(cycle, register.name, index, 0, "burst", register.width_bits)
                if engine.live(fault):
                    alive += 1
                    continue
                dead += 1
                assert engine.inject(fault).result.same_as(golden_run), fault
    assert dead > 400 and alive > 400


@pytest.mark.parametrize("kind", ["relative", "bound"])
def test_a_threshold_that_means_nothing_is_refused(kind: str) -> None:
    unit = {"kind": "softmax_invariants", "threshold": {"kind": kind, **({"value": 0.1} if kind == "relative" else {})}}
    with pytest.raises(ConfigError, match="absolute, calibrated or statistical"):
        config_from_dict({"architecture": {"kind": "gemm"}, "workload": {"kind": "gaussian"},
                          "checker": {"units": [unit]}})
