"""After an alarm, the unit of work that raised it runs again."""

from __future__ import annotations

import random

import pytest

from accel_sim.system import recovery_cost, simulate_system

SLOW = {"bandwidth": 2.5, "latency": 9, "burst": 8}


def test_a_block_runs_again_after_those_already_on_their_way(design):
    machine, memory = design(check="query_block", q_buffers=1)
    # Block 0 is judged while block 1 streams; with one Q bank, only block 2 has been requested by then.
    assert simulate_system(machine, memory, 24, 32, reexecute=(0,)).order == (0, 1, 2, 0, 3, 4, 5)
    _, double = design(check="query_block", q_buffers=2)
    assert simulate_system(machine, double, 24, 32, reexecute=(0,)).order == (0, 1, 2, 3, 0, 4, 5)
    assert simulate_system(machine, double, 24, 32, reexecute=(4,)).order == (0, 1, 2, 3, 4, 5, 4)
    assert simulate_system(machine, double, 24, 32, reexecute=(5,)).order == (0, 1, 2, 3, 4, 5, 5)


def test_on_an_ideal_memory_a_block_costs_its_period_and_the_last_one_a_start_as_well(design):
    machine, memory = design(check="query_block")
    timing = machine.timing(24, 32)
    cost = recovery_cost(machine, memory, 24, 32)
    extra = [u.extra_cycles for u in cost.units]
    # The last block's alarm comes when the machine has gone idle: it swaps in anew, and has a tail again.
    assert extra == [timing.period] * 5 + [timing.lanes + timing.period + timing.tail]
    assert cost.worst_cycles == extra[-1]
    assert cost.mean_cycles == sum(extra) / 6
    assert cost.unit == "query_block" and cost.note == "each of the 6 query blocks simulated"


def test_a_scan_finds_the_last_block_before_the_machine_goes_idle(design):
    machine, memory = design(check="key_tile")
    timing = machine.timing(24, 32)
    early = recovery_cost(machine, memory, 24, 32, alarm_tile=0)
    assert {u.extra_cycles for u in early.units} == {timing.period}
    late = recovery_cost(machine, memory, 24, 32)
    assert late.units[-1].extra_cycles == timing.lanes + timing.period + timing.tail


def test_a_head_runs_again_as_a_whole(design):
    machine, memory = design(check="head")
    timing = machine.timing(24, 32)
    cost = recovery_cost(machine, memory, 24, 32)
    assert cost.unit == "head" and cost.worst_cycles == cost.mean_cycles == timing.head_cycles
    assert cost.clean_cycles == timing.head_cycles
    (unit,) = cost.units
    assert unit.alarm_cycle == timing.head_cycles
    # The outputs are in memory before the checker has judged them.
    assert unit.correction_cycles == timing.head_cycles - (timing.check_depth + 2)


def test_running_again_reads_and_writes_again(design):
    for options in (SLOW, {}):
        machine, memory = design(check="query_block", **options)
        # 8 bytes a row of Q, K, V and 16 of O; the last block has two rows.
        full, part = recovery_cost(machine, memory, 10, 20, units=(1, 2)).units
        assert full.extra_bytes == {"q": 4 * 8, "k": 20 * 8, "v": 20 * 8, "o": 4 * 16}
        assert part.extra_bytes == {"q": 2 * 8, "k": 20 * 8, "v": 20 * 8, "o": 2 * 16}
        machine, memory = design(check="head", **options)
        clean = simulate_system(machine, memory, 10, 20)
        assert recovery_cost(machine, memory, 10, 20).units[0].extra_bytes == clean.bytes_moved


def test_resident_keys_and_values_are_not_read_again(design):
    for check in ("query_block", "head"):
        machine, memory = design(check=check, kv_resident=True, **SLOW)
        for unit in recovery_cost(machine, memory, 10, 20).units:
            assert unit.extra_bytes["k"] == unit.extra_bytes["v"] == 0 < unit.extra_bytes["q"]


def test_slow_memory_makes_recovery_dearer(design):
    machine, ideal = design(check="query_block")
    _, slow = design(check="query_block", **SLOW)
    quick, costly = (recovery_cost(machine, m, 24, 32) for m in (ideal, slow))
    assert all(b.extra_cycles > a.extra_cycles for a, b in zip(quick.units, costly.units, strict=True))
    bytes_again = sum(costly.units[0].extra_bytes.values())
    assert costly.units[2].extra_cycles >= bytes_again / 2.5 - machine.timing(24, 32).period


def test_a_run_with_recovery_still_adds_up(random_design):
    for seed in range(60):
        rng = random.Random(seed)
        (machine, memory), nq, n = random_design(rng, check=rng.choice(["head", "query_block"]))
        timing = machine.timing(nq, n)
        whole = machine.check.granularity == "head"
        units = (0,) if whole else tuple(rng.sample(range(timing.blocks), rng.randint(1, timing.blocks)))
        clean = simulate_system(machine, memory, nq, n)
        run = simulate_system(machine, memory, nq, n, reexecute=units)
        again = list(range(timing.blocks)) if whole else list(units)
        assert sorted(run.order) == sorted([*range(timing.blocks), *again]), seed
        assert run.cycles == run.compute_cycles + sum(run.stalls.values()), seed
        starts = run.swap_stall.size - len(run.order)  # each start from idle takes one more swap
        ends = starts * (timing.lanes + timing.tail)
        assert run.compute_cycles == len(run.order) * timing.period + ends, seed
        assert run.kv_stall.size == len(run.order) * -(-n // machine.key_tile), seed
        assert {r.unit for r in run.reexecutions} == set(units), seed
        assert all(r.alarm_cycle < r.corrected_cycle <= run.total_cycles for r in run.reexecutions), seed
        assert run.total_cycles > clean.total_cycles, seed
        # Nothing that happens before the first alarm knows of it.
        first = min(r.alarm_cycle for r in run.reexecutions)
        before = [s for s in run.timeline if s.start + s.duration < first]
        assert before == [s for s in clean.timeline if s.start + s.duration < first], seed


def test_the_middle_block_of_a_long_head_stands_for_its_neighbours(design):
    for options in ({}, SLOW):
        machine, memory = design(check="query_block", **options)
        sampled = recovery_cost(machine, memory, 48, 32)
        every = recovery_cost(machine, memory, 48, 32, units=range(12))
        assert [u.unit for u in sampled.units] == [0, 1, 6, 10, 11]
        assert sampled.note == "query blocks 0, 1, 6 (standing for 8), 10, 11 simulated, of 12"
        assert sampled.worst_cycles == every.worst_cycles
        assert sampled.mean_cycles == pytest.approx(every.mean_cycles, abs=1)
        assert sampled.mean_bytes == every.mean_bytes


def test_alarms_that_nothing_raises_are_refused(design):
    bare, memory = design()
    with pytest.raises(ValueError, match="no checker"):
        recovery_cost(bare, memory, 8, 8)
    with pytest.raises(ValueError, match="no checker"):
        simulate_system(bare, memory, 8, 8, reexecute=(0,))
    head, memory = design(check="head")
    with pytest.raises(ValueError, match="units 0 to 0"):
        simulate_system(head, memory, 8, 8, reexecute=(1,))
    with pytest.raises(ValueError, match="granularity key_tile"):
        simulate_system(head, memory, 8, 20, alarm_tile=0)
    block, memory = design(check="query_block")
    with pytest.raises(ValueError, match="once"):
        simulate_system(block, memory, 8, 8, reexecute=(1, 1))
    tile, memory = design(check="key_tile")
    with pytest.raises(ValueError, match="not scanned"):
        simulate_system(tile, memory, 8, 20, reexecute=(0,), alarm_tile=2)
    with pytest.raises(ValueError, match="at least one"):
        recovery_cost(tile, memory, 8, 20, units=())
