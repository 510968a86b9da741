"""Upsets of control registers, each with what it must lead to. Most of them no checksum can see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engines.draw import Case, gaussian_case, machine_with, trace

from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault

# One tile of keys, so that a key's SRAM row is its number; counters with a spare bit.
MACHINE = machine_with(lanes=3, head_dim=5, key_tile=16, max_keys=32, max_queries=32)
CASE = gaussian_case(MACHINE, 7, 9)
ENGINE = CASE.engine
GOLDEN = ENGINE.golden()
TIMING = ENGINE.timing
STREAM_0 = TIMING.stream_start(0)


def inject(register: str, index: tuple[int, ...] = (), bit: int = 0, cycle: int = 0, **more) -> RunResult:
    return ENGINE.inject(Fault(cycle, register, index, bit, **more)).result


def with_keys(case: Case, keys: list[int]) -> np.ndarray:
    """Fault-free outputs with the keys (and values) of these numbers, in this order."""
    job = case.job
    return run_golden(case.machine, make_job(case.machine, job.q, job.k[keys], job.v[keys])).output


def changed_rows(result: RunResult, golden: RunResult = GOLDEN) -> list[int]:
    return np.flatnonzero((result.output.view(np.int64) != golden.output.view(np.int64)).any(axis=1)).tolist()


def clean_scale(result: RunResult) -> float:
    return max(abs(c.residual) for c in result.comparisons)


def test_a_phase_that_reads_done_ends_the_run_at_once():
    """The cycle of the strike is not executed; rows not yet delivered stay as the SRAM was."""
    cycle = TIMING.stream_start(1)
    result = inject("phase", bit=2, cycle=cycle)
    assert result.cycles == cycle and not result.hang
    late = [query for query in range(7) if TIMING.out_cycle(query) >= cycle]
    assert changed_rows(result) == late == [1, 2, 3, 4, 5, 6]
    assert not result.output[late].any()
    assert result.comparisons == () and result.alarm_cycle is None


def test_watched_and_unwatched_runs_end_in_the_same_cycle():
    for fault in (Fault(0, "phase", (), 2), Fault(STREAM_0, "phase", (), 2), Fault(9, "phase", (), 2, "stuck1", 1, 5)):
        watched = ENGINE.run([fault], watch=lambda cycle, state: None)
        assert watched.same_as(ENGINE.run([fault])) and watched.same_as(ENGINE.inject(fault).result)
        assert trace(CASE, [fault]).cycles == list(range(fault.cycle))


def test_a_stream_that_turns_into_a_swap_loses_its_remaining_keys():
    """Phase 1 to 0 while key 5 is fetched: the block ends there, its rows are drained too early."""
    result = inject("phase", bit=0, cycle=STREAM_0 + 5)
    assert result.cycles < GOLDEN.cycles
    assert set(changed_rows(result)) >= {0, 1, 2}


def test_a_flush_that_turns_into_the_tail_ends_the_head():
    result = inject("phase", bit=0, cycle=STREAM_0 + 9 + 2)  # 2 becomes 3, and nothing is in flight
    assert result.cycles == STREAM_0 + 9 + 2 + 1
    assert not result.output.any()


def test_a_skipped_key_is_missing_from_the_softmax_of_the_block_and_no_checksum_sees_it():
    """Key counter 2 to 6: keys 2 to 5 are never fetched. Output and checksum agree on the wrong answer."""
    result = inject("key", bit=2, cycle=STREAM_0 + 2)
    assert result.output[:3].tobytes() == with_keys(CASE, [0, 1, 6, 7, 8])[:3].tobytes()
    assert changed_rows(result) == [0, 1, 2]
    assert result.cycles == GOLDEN.cycles - 4
    assert result.alarm_cycle is None and clean_scale(result) < 1e-5


def test_repeated_keys_weigh_double():
    """Key counter 6 to 4."""
    result = inject("key", bit=1, cycle=STREAM_0 + 6)
    assert result.output[:3].tobytes() == with_keys(CASE, [0, 1, 2, 3, 4, 5, 4, 5, 6, 7, 8])[:3].tobytes()
    assert result.cycles == GOLDEN.cycles + 2 and result.alarm_cycle is None


@pytest.mark.parametrize("stage", range(3 + MACHINE.depth))
def test_a_lost_valid_tag_loses_its_key(stage):
    """Anywhere before the maximum: key 4 vanishes for all lanes, silently."""
    result = inject("valid", (stage,), cycle=STREAM_0 + 4 + 1 + stage)
    assert result.output[:3].tobytes() == with_keys(CASE, [0, 1, 2, 3, 5, 6, 7, 8])[:3].tobytes()
    assert result.alarm_cycle is None and result.cycles == GOLDEN.cycles


def test_a_spurious_valid_tag_runs_stale_data_through_the_pipe():
    """Set in the last stage as the swap begins: the last key is accumulated once more, except in the lane that is
    loaded in that very cycle."""
    assert TIMING.accumulate_cycle(0, 8) + 1 == TIMING.swap_start(1)
    result = inject("valid", (5 + MACHINE.depth,), cycle=TIMING.swap_start(1))
    assert changed_rows(result) == [1, 2]
    corrections = trace(CASE).array("a_acc")[TIMING.swap_start(1)]
    assert corrections[1:3].tolist() == [1.0, 1.0]  # so that it is as if the key had come twice
    assert result.output[1:3].tobytes() == with_keys(CASE, [*range(9), 8])[1:3].tobytes()
    assert result.alarm_cycle is None


def test_a_key_tag_beyond_the_mask_hides_its_key_from_every_lane():
    result = inject("key_tag", (0,), bit=4, cycle=STREAM_0 + 4 + 1)
    assert result.output[:3].tobytes() == with_keys(CASE, [0, 1, 2, 3, 5, 6, 7, 8])[:3].tobytes()
    assert result.alarm_cycle is None


def test_a_key_tag_within_the_mask_does_nothing():
    assert inject("key_tag", (1,), bit=0, cycle=STREAM_0 + 4 + 2).same_as(GOLDEN)


def test_a_struck_mask_bound_cuts_one_query_off():
    """Bound 8 becomes 0 before the first key arrives: that lane attends to key 0 only."""
    result = inject("bound", (1,), bit=3, cycle=STREAM_0)
    cut = CASE.job.bound.copy()
    cut[1] = 0
    want = run_golden(MACHINE, replace(CASE.job, bound=cut))
    assert result.output.tobytes() == want.output.tobytes()
    assert result.output[1].tolist() == CASE.job.v[0].tolist()
    assert result.alarm_cycle is None


def test_an_inactive_lane_delivers_nothing():
    result = inject("active", (2,), cycle=STREAM_0 + 3)
    assert changed_rows(result) == [2] and not result.output[2].any()
    assert result.alarm_cycle is None


def test_a_lane_that_wakes_before_its_first_load_delivers_a_row_of_nothing():
    """0/0 on its way to the O SRAM and into the sums: a false alarm, and the row is later delivered again."""
    result = inject("active", (2,), cycle=0)
    assert result.alarm_cycle is not None and np.isnan(result.comparisons[-1].residual)
    assert changed_rows(result) == []


def test_the_wrong_bank_streams_the_keys_that_stand_there():
    """Two tiles of four keys, one block. From key 2 on the other bank: the next tile, then, wrapped, the first."""
    machine = machine_with(lanes=3, head_dim=5, key_tile=4)
    case = gaussian_case(machine, 3, 8)
    result = case.engine.inject(Fault(case.engine.timing.stream_start(0) + 2, "kv_bank")).result
    assert result.output.tobytes() == with_keys(case, [0, 1, 6, 7, 0, 1, 2, 3]).tobytes()
    assert result.alarm_cycle is None and result.cycles == case.engine.golden().cycles


def test_a_smaller_last_key_shortens_every_block():
    result = inject("last_key", bit=3, cycle=0)  # 8 becomes 0
    assert result.output.tobytes() == with_keys(CASE, [0]).tobytes()
    assert result.cycles == MACHINE.timing(7, 1).head_cycles


def test_a_larger_last_key_wastes_time_on_keys_that_the_mask_hides():
    """8 becomes 24. The banks hold zeros there, and no query's bound reaches so far."""
    result = inject("last_key", bit=4, cycle=0)
    assert changed_rows(result) == []
    assert result.cycles == MACHINE.timing(7, 25).head_cycles and not result.hang


def test_a_smaller_last_query_leaves_the_later_blocks_out():
    result = inject("last_query", bit=2, cycle=0)  # 6 becomes 2
    assert changed_rows(result) == [3, 4, 5, 6]
    assert result.cycles == MACHINE.timing(3, 9).head_cycles


def test_a_larger_last_query_runs_empty_blocks():
    """6 becomes 14: the Q SRAM has no such rows, so the lanes stay inactive, and time passes."""
    result = inject("last_query", bit=3, cycle=0)
    assert changed_rows(result) == []
    assert result.cycles == MACHINE.timing(15, 9).head_cycles


def test_a_struck_query_counter_delivers_rows_to_the_wrong_addresses_unseen():
    """Counter 1 becomes 3 during the first swap: lanes hold queries 0, 3, 4, and leave as rows 2, 3, 4."""
    result = inject("query", bit=1, cycle=1)
    assert result.output[2].tolist() == GOLDEN.output[0].tolist()
    assert result.output[[3, 4, 5, 6]].tobytes() == GOLDEN.output[[3, 4, 5, 6]].tobytes()
    assert not result.output[:2].any()
    assert result.alarm_cycle is None


def test_a_struck_row_counter_skips_lanes():
    """Row 0 becomes 2 in the first swap: only lane 2 is loaded, with query 0, and leaves as row −2 + 3."""
    result = inject("row", bit=1, cycle=0)
    assert result.output[0].tolist() != GOLDEN.output[0].tolist()
    assert result.cycles != GOLDEN.cycles or changed_rows(result)
    assert not result.hang


def test_a_row_address_that_is_struck_misplaces_the_row():
    result = inject("out_addr", bit=2, cycle=TIMING.out_cycle(1))  # row 1 goes to 5, which is delivered later
    assert changed_rows(result) == [1] and not result.output[1].any()
    late = inject("out_addr", bit=2, cycle=TIMING.out_cycle(5))  # row 5 overwrites row 1
    assert changed_rows(late) == [1, 5] and late.output[1].tolist() == GOLDEN.output[5].tolist()
    assert late.alarm_cycle is None
    outside = inject("out_addr", bit=4, cycle=TIMING.out_cycle(1))  # no such row in the SRAM: dropped
    assert changed_rows(outside) == [1]


@pytest.mark.parametrize("register", ["norm_valid", "out_valid"])
def test_a_row_whose_tag_is_lost_is_not_stored_and_not_summed(register):
    cycle = TIMING.out_cycle(4) - (1 if register == "norm_valid" else 0)
    result = inject(register, cycle=cycle)
    assert changed_rows(result) == [4] and not result.output[4].any()
    assert result.alarm_cycle is None


def test_a_comparison_whose_tag_is_lost_is_never_made():
    cycle = TIMING.head_cycles - 3
    assert trace(CASE).column("sum_last", MACHINE.levels - 1)[cycle] == 1
    result = inject("sum_last", (MACHINE.levels - 1,), cycle=cycle)
    assert result.comparisons == () and changed_rows(result) == []


def test_a_disabled_checker_is_silent():
    """Threshold 0 makes the clean run alarm; with the enable bit struck it does not."""
    engine = SteppedEngine(MACHINE, CASE.job.with_threshold(0.0, 0.0))
    assert engine.golden().alarm_cycle is not None
    result = engine.inject(Fault(17, "enable")).result
    assert result.alarm_cycle is None and result.comparisons == engine.golden().comparisons


def test_a_struck_alarm_is_an_alarm_at_once_and_stays():
    result = inject("alarm", cycle=33)
    assert result.alarm_cycle == 33 and changed_rows(result) == []
    assert set(trace(CASE, [Fault(33, "alarm")]).column("alarm")[33:]) == {1.0}


def test_an_alarm_that_was_raised_cannot_be_taken_back_by_an_upset():
    """The controller has seen it."""
    machine = machine_with(granularity="query_block", key_tile=16)
    engine = SteppedEngine(machine, gaussian_case(machine, 7, 9).job.with_threshold(0.0, 0.0))
    raised = engine.golden().alarm_cycle
    fault = Fault(raised + 2, "alarm")
    assert engine.inject(fault).result.alarm_cycle == raised == engine.run([fault]).alarm_cycle


# -- runs that do not end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("register", "index", "bit", "kind"), [
    ("valid", (2,), 0, "stuck1"),  # the pipeline never looks empty: the flush never ends
    ("phase", (), 0, "stuck0"),  # swap and flush for ever
    ("phase", (), 1, "stuck0"),  # swap and stream for ever: the tail reads as stream
])  # fmt: skip
def test_a_machine_that_never_finishes_is_stopped_and_marked(register, index, bit, kind):
    fault = Fault(STREAM_0 + 3, register, index, bit, kind, duration=10**9)
    result = ENGINE.inject(fault).result
    assert result.hang and result.cycles == ENGINE.watchdog_cycles
    assert result.same_as(ENGINE.run([fault])) and result.same_as(ENGINE.run([fault], watch=lambda cycle, state: None))


def test_a_machine_that_is_released_in_time_finishes():
    fault = Fault(STREAM_0 + 3, "valid", (2,), 0, "stuck1", duration=100)
    result = inject("valid", (2,), kind="stuck1", duration=100, cycle=STREAM_0 + 3)
    assert not result.hang and GOLDEN.cycles < result.cycles < GOLDEN.cycles + 110
    assert result.same_as(ENGINE.run([fault]))
