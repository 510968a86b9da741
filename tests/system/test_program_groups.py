"""Heads that share keys and values, behind a memory that can keep them."""

from __future__ import annotations

import random

import pytest

from accel_sim.config import Memory
from accel_sim.machines.program import ProgramTiming, Step, Tile
from accel_sim.numerics.formats import FORMATS
from accel_sim.system import simulate_system
from accel_sim.system.program import simulate_program
from accel_sim.system.program_groups import GroupedRun, simulate_groups

FMT = {"operand": FORMATS["bf16"]}


def attention_like():
    """Two blocks of queries, each past two tiles of keys, then two of values, each 8 bytes."""
    def tile(tensor, index):
        return Tile(tensor, (index,), 2, 2, "operand")

    steps = [Step(f"{tensor}{t}", "p", 3, (tile("q", b), tile(tensor, t)), (tile("o", b),) if tensor == "v" else ())
             for b in range(2) for tensor in "kv" for t in range(2)]
    return ProgramTiming(4, 4, tuple(steps))


def memory_of(**keys):
    return Memory.model_validate({"off_chip": {"bandwidth_bytes_per_cycle": 1, "burst_bytes": 1}, **keys})


def test_keys_and_values_are_loaded_once_a_group_where_they_stay():
    run = simulate_groups(attention_like(), memory_of(kv_resident=True), FMT, heads=8, kv_heads=2)
    totals = run.totals
    assert totals.bytes_moved == {"q": 8 * 16, "k": 2 * 16, "v": 2 * 16, "o": 8 * 16}
    assert totals.note == "2 heads simulated: x2 that load keys and values, x6 that find them in SRAM"
    assert totals.cycles == 2 * run.first.cycles + 6 * run.next.cycles
    assert totals.total_cycles == 2 * run.first.total_cycles + 6 * run.next.total_cycles
    assert totals.cycles == totals.compute_cycles + sum(totals.stalls.values())
    assert run.next.stall_cycles < run.first.stall_cycles


def test_without_room_for_them_every_head_loads_its_own():
    run = simulate_groups(attention_like(), memory_of(kv_buffers=1), FMT, heads=8, kv_heads=2)
    alone = simulate_program(attention_like(), memory_of(kv_buffers=1), FMT, heads=8)
    assert run.next is None and run.totals.note == "1 head simulated, x8"
    assert run.totals.bytes_moved == alone.totals.bytes_moved
    assert run.totals.cycles == alone.totals.cycles and run.totals.bytes_moved["k"] == 8 * 2 * 16


def test_heads_with_keys_of_their_own_find_nothing():
    run = simulate_groups(attention_like(), memory_of(kv_resident=True), FMT, heads=4, kv_heads=4)
    assert run.next is None and run.totals.bytes_moved["k"] == 4 * 16


def test_more_keys_than_heads_are_refused():
    with pytest.raises(ValueError, match="kv_heads"):
        simulate_groups(attention_like(), memory_of(), FMT, heads=2, kv_heads=3)


def test_lanes_find_what_another_head_of_the_group_has_left(random_design):
    for seed in range(60):
        design, *shape = random_design(random.Random(seed), kv_resident=True)
        first = simulate_system(*design, *shape)
        after = simulate_system(*design, *shape, kv_present=True)
        moved = {**first.bytes_moved, "k": 0, "v": 0}
        assert after.bytes_moved == moved and after.stalls["kv_load"] == 0, seed
        assert after.total_cycles <= first.total_cycles, seed
        assert after.sram_peak_bytes["k"] == first.sram_peak_bytes["k"], seed
        totals = GroupedRun(first, after, heads=5, loading=2).totals
        assert totals.bytes_moved == {t: 2 * first.bytes_moved[t] + 3 * n for t, n in moved.items()}, seed
        if design.memory.off_chip.bandwidth_bytes_per_cycle == "unlimited" and not design.memory.off_chip.latency_cycles:
            assert after.cycles == first.cycles, seed


def test_lanes_without_resident_keys_find_nothing(design):
    with pytest.raises(ValueError, match="kv_resident"):
        simulate_system(*design(), 4, 8, kv_present=True)
