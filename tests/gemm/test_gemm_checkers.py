"""What the check units of the gemm machine see, what they cannot see, and what they put right."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.job import Job
from accel_sim.faults.fault import Fault
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with

LIMITS = {"gemm": 0.1, "fused_output": 0.05}
QUERIES, KEYS = 8, 12


def engine_with(units: tuple, flow: str = "ws", **options) -> SteppedGemm:
    machine = machine_with(units, rows=4, cols=4, head_dim=8, vector_lanes=4, dataflow=flow, **options)
    return SteppedGemm(machine, job_for(machine, QUERIES, KEYS, np.random.default_rng(11), LIMITS))


def struck_sum(engine: SteppedGemm, product: str) -> Fault:
    """A high bit of a sum of a product, in its last fold, on its way through the array."""
    phase, folding = engine.timing.by_name[product], engine.timing.products[product].folding
    fold = phase.start + (folding.folds - 1) * folding.fold_cycles
    name = "s" if engine.machine.flow == "os" else "y"
    return Fault(fold + folding.fill + 5, name, (0, 1), bit=30)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
@pytest.mark.parametrize("sides", ["rows", "columns", "both"])
@pytest.mark.parametrize("struck", ["qk", "pv"])
def test_each_product_is_watched_by_its_own_check(flow: str, sides: str, struck: str) -> None:
    for watched in (("qk",), ("pv",), ("qk", "pv")):
        engine = engine_with((gemm_unit(watched, sides),), flow)
        clean = engine.golden()
        assert clean.alarm_cycle is None and clean.comparisons
        fault = struck_sum(engine, struck)
        result = engine.run([fault])
        assert not np.array_equal(result.output, clean.output)
        assert (result.alarm_cycle is not None) == (struck in watched), watched
        if struck in watched:
            assert fault.cycle < result.alarm_cycle <= engine.timing.by_name[f"{struck}_drain"].end


@pytest.mark.parametrize("words", [1, 2, 3])
def test_more_words_make_a_finer_check(words: int) -> None:
    engine = engine_with((gemm_unit(columns=words), fused_unit(columns=words)))
    comparisons = engine.golden().comparisons
    largest = {unit: max(abs(c.residual) for c in comparisons if c.unit == unit) for unit in ("gemm", "fused_output")}
    # A word of bf16 holds 8 bits of a checksum of magnitude up to about 16; what it leaves is multiplied and summed.
    assert all(size < 2.0 * 2.0**(-8 * min(words, 2)) * 8 for size in largest.values())
    assert all(size > 2.0**-12 for size in largest.values()) == (words == 1)


def test_comparisons_are_as_many_as_lines_and_groups() -> None:
    for flow in ("os", "ws", "is"):
        engine = engine_with((gemm_unit(sides="both"), fused_unit("query_block")), flow)
        products = engine.timing.products.values()
        expected = sum(p.p_size * p.q_groups + p.q_size * p.p_groups for p in products) + 2
        cycles = [c.cycle for c in engine.golden().comparisons]
        assert len(cycles) == expected == engine.given.comparisons and cycles == sorted(cycles)


@pytest.mark.parametrize("register, phase, step", [
    ("p", "softmax", KEYS + 3 + 6), ("scaled", "softmax", KEYS + 3 + 4), ("x_in", "softmax", KEYS + 3 + 3),
    ("p_out", "softmax", KEYS + 3 + 8),
])
def test_softmax_is_the_blind_spot_of_both_units(register: str, phase: str, step: int) -> None:
    engine = engine_with((gemm_unit(sides="both"), fused_unit()))
    fault = Fault(engine.timing.by_name[phase].start + step, register, (1,), bit=8 if register == "p_out" else 25)
    result = engine.run([fault])
    assert engine.live(fault) and not np.array_equal(result.output, engine.golden().output)
    assert result.alarm_cycle is None


def test_the_divisor_is_shared_with_the_prediction() -> None:
    engine = engine_with((fused_unit(),))
    result = engine.run([Fault(engine.timing.by_name["divide"].start + 2, "l", (1,), bit=22)])
    assert not np.array_equal(result.output, engine.golden().output) and result.alarm_cycle is None


@pytest.mark.parametrize("unit, seen", [("gemm", False), ("fused_output", True)])
def test_only_the_fused_check_sees_the_divided_outputs(unit: str, seen: bool) -> None:
    engine = engine_with((gemm_unit(),) if unit == "gemm" else (fused_unit(),))
    result = engine.run([Fault(engine.timing.by_name["divide"].start + 5, "out", (1,), bit=30)])
    assert not np.array_equal(result.output, engine.golden().output)
    assert (result.alarm_cycle is not None) == seen


def test_a_not_a_number_raises_the_alarm_however_wide_the_limit() -> None:
    machine = machine_with((gemm_unit(),), rows=4, cols=4, head_dim=8, vector_lanes=4, dataflow="ws")
    job = job_for(machine, QUERIES, KEYS, np.random.default_rng(11), {"gemm": float("inf")})
    job.q[2, 3] = np.inf
    engine = SteppedGemm(machine, job)
    assert engine.golden().alarm_cycle is not None


def test_an_unset_threshold_alarms() -> None:
    machine = machine_with((gemm_unit(("pv",)),))
    engine = SteppedGemm(machine, job_for(machine, 3, 4, np.random.default_rng(0)))
    first = engine.golden().comparisons[0]
    assert engine.golden().alarm_cycle == first.cycle + 1 and engine.run().alarm_cycle == first.cycle + 1




@pytest.mark.parametrize("flow", ["os", "ws", "is"])
@pytest.mark.parametrize("product", ["qk", "pv"])
def test_a_single_wrong_element_is_located_and_put_right(flow: str, product: str) -> None:
    """The struck bit multiplies a sum by 2^128 or divides it by that; a residual cannot give back what a huge one has
    swallowed, so the element that was made small shows it."""
    engine = engine_with((gemm_unit(("qk", "pv"), "both", True, 3),), flow)
    plain = engine_with((gemm_unit(("qk", "pv"), "both", False, 3),), flow)
    clean = engine.golden().output
    phase, folding = engine.timing.by_name[product], engine.timing.products[product].folding
    last = phase.start + (folding.folds - 1) * folding.fold_cycles + folding.fill
    name = "s" if flow == "os" else "y"
    helped = 0
    for step in range(3, folding.fold_cycles - folding.fill):
        fault = Fault(last + step, name, (1, 1), bit=27)
        wrong, right = plain.run([fault]), engine.run([fault])
        error, left = (np.abs(r.output - clean).max() for r in (wrong, right))
        if wrong.alarm_cycle is None or not error > 0.02:
            continue
        assert right.alarm_cycle == wrong.alarm_cycle
        if left < 0.02 * error:
            helped += 1
    assert helped >= 2


def test_the_fault_free_output_is_the_same_with_and_without_units() -> None:
    for flow in ("os", "ws", "is"):
        bare = engine_with((), flow).golden().output
        for units in ((gemm_unit(),), (gemm_unit(sides="both", correct=True), fused_unit())):
            assert np.array_equal(engine_with(units, flow).golden().output, bare)


def test_a_fault_in_a_unit_is_a_false_alarm_at_worst() -> None:
    engine = engine_with((gemm_unit(), fused_unit()))
    at, clean, false = engine.timing.by_name, engine.golden(), 0
    for register, phase, step in (("gemm_acc", "encode_qk_rows", 3), ("fused_acc", "encode_v", 3), ("row_act", "pv", 60),
                                  ("fused_c", "divide", 3), ("fused_sum", "divide", 6), ("gemm_alarm", "softmax", 9)):
        shape = engine.machine.inventory[register].shape
        bit = 0 if register == "gemm_alarm" else 30
        for lane in range(shape[0] if shape else 1):
            result = engine.run([Fault(at[phase].start + step, register, (lane,) if shape else (), bit)])
            assert np.array_equal(result.output, clean.output), register
            false += result.alarm_cycle is not None
    assert false >= 6


def test_thresholds_may_be_fractions() -> None:
    def run(limit: float) -> tuple[GemmMachine, Job, SteppedGemm]:
        machine = machine_with((gemm_unit(threshold="relative"), fused_unit(threshold="relative")))
        job = job_for(machine, 4, 6, np.random.default_rng(1), {"gemm": limit, "fused_output": limit})
        return machine, job, SteppedGemm(machine, job)

    golden = run(0.5)[2].golden()
    for c in golden.comparisons:
        assert c.limit == np.float32(0.5) * max(abs(c.predicted), abs(c.actual))
    assert run(1e-12)[2].golden().alarm_cycle is not None
