"""Every run takes the cycles of the closed formula plus its stalls, and things happen when the timing says."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.golden import clock_of, run_golden
from accel_sim.machines.lanes import PHASES
from engines.draw import Case, gaussian_case, machine_with, random_case, trace


def test_a_head_takes_the_closed_formula():
    """P + ⌈Nq/P⌉ (N + 6 + depth + P) + tail, and the tail is the normaliser, the store and the check."""
    rng = np.random.default_rng(0)
    for _ in range(60):
        case = random_case(rng, stalls=False)
        m = case.machine
        queries, keys, d = case.job.shape
        levels = max(1, int(np.ceil(np.log2(d))))
        depth = d if m.dot == "serial" else levels
        tail = (2 if m.reciprocal else 1) + 1 + (levels + 2 if m.check else 0)
        formula = m.lanes + -(-queries // m.lanes) * (keys + 6 + depth + m.lanes) + tail
        assert formula == m.timing(queries, keys).head_cycles
        assert formula == case.engine.run().cycles == run_golden(m, case.job).cycles


def test_the_shipped_machines_take_the_cycles_that_one_computes_by_hand():
    """16 lanes, d = 64: 256 queries are 16 blocks of 256 + 12 + 16; fp32 check in 6 + 2 cycles more."""
    machine = machine_with(lanes=16, head_dim=64, max_keys=256, max_queries=256)
    assert machine.timing(256, 256).head_cycles == 16 + 16 * (256 + 12 + 16) + (1 + 1 + 6 + 2)


def test_stalls_add_to_the_formula_and_change_nothing_else():
    rng = np.random.default_rng(1)
    for _ in range(60):
        case = random_case(rng, stalls=True)
        held, flowing = case.engine.run(), case.without_stalls().engine.run()
        stalls = int(case.job.kv_stall.sum() + case.job.swap_stall.sum())
        assert held.cycles == flowing.cycles + stalls
        assert held.output.tobytes() == flowing.output.tobytes()
        assert [c.residual for c in held.comparisons] == pytest.approx(
            [c.residual for c in flowing.comparisons], abs=0, nan_ok=True)


def test_phases_tile_the_run_exactly():
    rng = np.random.default_rng(2)
    for _ in range(40):
        case = random_case(rng, stalls=False)
        timing = case.machine.timing(*case.job.shape[:2])
        from_spans: list[int] = []
        for phase, _block, first, cycles in timing.spans():
            assert first == len(from_spans)
            from_spans += [PHASES.index(phase)] * cycles
        assert from_spans == trace(case).column("phase").tolist()
        assert len(from_spans) == timing.head_cycles


def test_what_the_timing_promises_happens_in_that_cycle():
    """Fetch, accumulation, delivery, residual and alarm, read off the registers of random machines."""
    rng = np.random.default_rng(3)
    for _ in range(25):
        case = random_case(rng, stalls=False, check=True, threshold={"kind": "absolute", "value": 1e-30})
        m, timing = case.machine, case.machine.timing(*case.job.shape[:2])
        case = Case(m, case.job.with_threshold(float("nan"), float("nan")))  # every comparison alarms
        run = trace(case)
        cycle = np.array(run.cycles)
        queries, keys, _ = case.job.shape
        every = [(b, j) for b in range(timing.blocks) for j in range(keys)]
        fetched = run.column("valid", 0) == 1
        assert cycle[fetched].tolist() == [timing.stream_start(b) + j + 1 for b, j in every]
        assert run.column("key_tag", 0)[fetched].tolist() == [j for _, j in every]
        accumulating = run.column("valid", 5 + m.depth) == 1
        assert cycle[accumulating].tolist() == [timing.accumulate_cycle(b, j) for b, j in every]
        delivered = run.column("out_valid") == 1
        assert cycle[delivered].tolist() == [timing.out_cycle(i) for i in range(queries)]
        assert run.column("out_addr")[delivered].tolist() == list(range(queries))
        judged = cycle[run.column("judge") == 1].tolist()
        assert judged == [c.cycle for c in run.result.comparisons]
        last_row = timing.swap_start(timing.blocks) + m.lanes - 1
        assert timing.residual_cycle(last_row) == judged[-1] == run.result.cycles - 1
        assert timing.alarm_cycle(last_row) == run.result.cycles
        assert run.result.alarm_cycle == judged[0] + 1
        assert np.array_equal(run.column("alarm") == 1, cycle > judged[0])


def test_a_head_ends_with_the_cycle_in_which_its_last_comparison_is_judged():
    for divide in ("exact", "reciprocal_pwl"):
        case = gaussian_case(machine_with(divide=divide), 7, 9, threshold=0.0)
        result = case.engine.run()
        assert result.comparisons[-1].cycle == result.cycles - 1
        assert result.alarm_cycle == result.cycles  # visible when the run is over


def test_without_a_checker_a_head_ends_with_its_last_row():
    case = gaussian_case(machine_with(check=False), 7, 9)
    timing = case.machine.timing(7, 9)
    result = case.engine.run()
    assert result.cycles == timing.out_cycle(6 + 2) + 1  # lane 2 of the last block is empty, its turn is not skipped
    assert (result.comparisons, result.alarm_cycle) == ((), None)


@pytest.mark.parametrize("granularity", ["head", "query_block", "key_tile"])
def test_comparisons_come_as_often_as_the_granularity_says(granularity):
    """7 queries on 3 lanes are 3 blocks; of 12 keys in tiles of 4, the scan at the end of the third tile would
    collide with the drain, and the one at the second leaves 4 keys ≥ 3 lanes: two scans a block."""
    case = gaussian_case(machine_with(granularity=granularity), 7, 12)
    scanned = [c.scanned for c in case.engine.run().comparisons]
    assert scanned == {
        "head": [False], "query_block": [False] * 3, "key_tile": [True, True, False] * 3,
    }[granularity]  # fmt: skip


def test_a_scan_is_skipped_when_fewer_keys_than_lanes_remain():
    for keys, scans in [(10, 1), (11, 2), (12, 2), (15, 3), (4, 0), (6, 0), (7, 1)]:
        case = gaussian_case(machine_with(granularity="key_tile"), 3, keys)
        assert sum(c.scanned for c in case.engine.run().comparisons) == scans, keys


def test_the_clock_places_every_machine_cycle_and_finds_it_again():
    rng = np.random.default_rng(4)
    for _ in range(40):
        case = random_case(rng, stalls=True)
        timing = case.machine.timing(*case.job.shape[:2])
        clock = clock_of(case.machine, case.job, timing)
        walls = [clock.wall(cycle) for cycle in range(timing.head_cycles)]
        run = trace(case)
        total = run.result.cycles
        assert walls == run.cycles
        assert total == timing.head_cycles + clock.stalls
        executed = iter(range(timing.head_cycles))
        coming = next(executed)
        for now in range(total):
            assert clock.machine_cycle(now) == (coming, walls[coming] != now)
            if walls[coming] == now:
                coming = next(executed, -1)
