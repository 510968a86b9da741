"""Injecting from a checkpoint gives what running from cycle 0 gives, whatever is struck, and says what it did."""

from __future__ import annotations

import numpy as np
import pytest
from engines.draw import Case, gaussian_case, machine_with, random_case, random_fault, trace

from accel_sim.engines.golden import run_golden
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault


@pytest.mark.parametrize("seed", range(6))
def test_an_injection_is_the_run_from_the_start(seed):
    rng = np.random.default_rng(seed)
    for _ in range(25):
        case = random_case(rng)
        engine = case.engine
        golden = engine.golden()
        assert golden.same_as(engine.run())
        for _ in range(20):
            fault = random_fault(case, golden.cycles, rng)
            assert engine.inject(fault).result.same_as(engine.run([fault])), (fault, case.machine.config)


def test_an_injection_that_is_told_the_row_sums_is_the_same_injection():
    """`terms` lets a run stop where only pred and act differ; what comes after is added up, not run."""
    rng = np.random.default_rng(10)
    for _ in range(40):
        case = random_case(rng, check=True)
        engine, terms = case.engine, ReplayEngine(case.machine, case.job).terms
        for _ in range(12):
            fault = random_fault(case, engine.golden().cycles, rng)
            assert engine.inject(fault, terms).result.same_as(engine.run([fault])), (fault, case.machine.config)


def test_the_same_fault_twice_is_the_same_injection():
    """Nothing of one injection stays in the engine for the next."""
    rng = np.random.default_rng(11)
    case = random_case(rng, check=True)
    engine = case.engine
    faults = [random_fault(case, engine.golden().cycles, rng) for _ in range(30)]
    first = [engine.inject(fault).result for fault in faults]
    assert all(engine.inject(fault).result.same_as(result) for fault, result in zip(faults[::-1], first[::-1], strict=True))
    assert engine.golden().same_as(case.engine.run())


def test_an_injection_reports_the_value_it_found_and_the_value_it_left():
    rng = np.random.default_rng(12)
    for _ in range(15):
        case = random_case(rng, stalls=False)
        clean = trace(case)
        for _ in range(10):
            fault = random_fault(case, len(clean.cycles), rng)
            injection = case.engine.inject(fault)
            found = clean.column(fault.register, *fault.index)[fault.cycle]
            left = trace(case, [fault])
            if len(left.cycles) > fault.cycle:  # not a phase that ended the run
                now = left.column(fault.register, *fault.index)[fault.cycle]
                assert np.array([injection.old_value, injection.new_value]).tobytes() == np.array([found, now]).tobytes()


# -- where a faulty run meets the fault-free one again --------------------------------------------------------------

CASE = gaussian_case(machine_with(lanes=3, head_dim=5, granularity="query_block"), 9, 9)
TIMING = CASE.engine.timing


def agree(case: Case, fault: Fault) -> bool:
    """Whether inject and run agree; and that the fault changed something."""
    engine = case.engine
    result = engine.inject(fault).result
    assert not result.same_as(engine.golden()), fault
    return result.same_as(engine.run([fault]))


def test_faults_in_a_drain_reach_the_rows_that_are_being_drained():
    for register, index in (("norm_o", (2,)), ("out", (2,)), ("norm_l", ()), ("pred_term", ()), ("out_tree", (1,))):
        lag = {"norm_o": 1, "norm_l": 1, "out": 2, "pred_term": 2, "out_tree": 3}[register]
        for lane in range(3):
            cycle = TIMING.swap_start(1) + lane + lag
            assert agree(CASE, Fault(cycle, register, index, 30)), register
            rows = CASE.engine.inject(Fault(cycle, register, index, 30)).result.output != CASE.engine.golden().output
            touched = np.flatnonzero(rows.any(axis=1)).tolist()
            assert touched == ([] if register in ("pred_term", "out_tree") else [lane])


def test_faults_after_the_last_checkpoint_run_to_the_end():
    start = TIMING.swap_start(TIMING.blocks)
    for cycle in range(start, TIMING.head_cycles):
        for register, index, bit in (("alarm", (), 0), ("phase", (), 2)):
            assert agree(CASE, Fault(cycle, register, index, bit)), (register, cycle)
    assert agree(CASE, Fault(start + 1, "o", (1, 3), 30))
    assert agree(CASE, Fault(TIMING.head_cycles - 1, "residual", (), 30)) is True


def test_a_fault_in_the_very_first_and_the_very_last_cycle():
    engine = CASE.engine
    for cycle in (0, TIMING.head_cycles - 1):
        fault = Fault(cycle, "alarm")
        assert engine.inject(fault).result.alarm_cycle == cycle == engine.run([fault]).alarm_cycle


def test_an_alarm_before_the_runs_meet_again_is_kept_and_one_after_is_found():
    """Every comparison of the clean run alarms; a fault that is masked in block 1 must not move the alarm."""
    for granularity in ("head", "query_block", "key_tile"):
        case = gaussian_case(machine_with(granularity=granularity), 9, 13)
        case = Case(case.machine, case.job.with_threshold(float("nan"), float("nan")))
        engine = case.engine
        golden = engine.golden()
        assert golden.alarm_cycle is not None
        for cycle in range(0, golden.cycles, 3):
            fault = Fault(cycle, "score", (1,), 0)
            assert engine.inject(fault).result.same_as(engine.run([fault])), (granularity, cycle)


def test_a_struck_row_that_is_delivered_to_a_later_block_is_overwritten_there():
    fault = Fault(TIMING.out_cycle(0), "out_addr", (), 2)  # row 0 lands in row 4, delivered a block later
    result = CASE.engine.inject(fault).result
    golden = CASE.engine.golden()
    assert result.output[4].tolist() == golden.output[4].tolist() and not result.output[0].any()
    assert result.same_as(CASE.engine.run([fault]))


def test_the_golden_result_is_the_one_of_the_golden_engine():
    engine = SteppedEngine(CASE.machine, CASE.job)
    assert engine.golden().same_as(run_golden(CASE.machine, CASE.job))


def test_an_alarm_that_is_raised_in_the_cycle_before_the_runs_meet_again_is_read_then():
    """Every comparison alarms; a judge that is held back until a swap lets the alarm come as late as that."""
    rng = np.random.default_rng(17)
    late = 0
    for granularity in ("key_tile", "query_block"):
        for _ in range(6):
            machine = machine_with(lanes=2, head_dim=4, key_tile=8, granularity=granularity)
            case = gaussian_case(machine, queries=5, keys=int(rng.integers(17, 30)))
            case = Case(machine, case.job.with_threshold(0.0, 0.0))
            engine = case.engine
            golden = engine.golden()
            assert golden.alarm_cycle is not None
            for cycle in range(golden.alarm_cycle - 3, golden.alarm_cycle + 1):
                for duration in range(1, 25):
                    fault = Fault(cycle, "judge", (), 0, "stuck0", duration=duration)
                    run = engine.run([fault])
                    assert engine.inject(fault).result.same_as(run), fault
                    late += run.alarm_cycle is not None and run.alarm_cycle > golden.alarm_cycle
    assert late > 50
