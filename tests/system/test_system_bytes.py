"""What crosses the off-chip channel, and what stands in SRAM meanwhile."""

from __future__ import annotations

import random

import pytest

from accel_sim.system import simulate_system, work_of


def up(n_bytes: int, burst: int) -> int:
    return -(-n_bytes // burst) * burst


def test_every_block_reads_all_keys_and_values_and_its_own_queries(design):
    # d = 4; bf16 operands, 8 bytes a row; fp32 outputs, 16 bytes a row. 10 queries: 3 blocks.
    machine, memory = design()
    run = simulate_system(machine, memory, 10, 20)
    assert run.bytes_moved == {"q": 10 * 8, "k": 3 * 20 * 8, "v": 3 * 20 * 8, "o": 10 * 16}
    assert run.bytes_in("read") == 10 * 8 + 2 * 3 * 20 * 8 and run.bytes_in("write") == 10 * 16
    assert {t: m.direction for t, m in run.traffic.items()} == {
        "q": "read", "k": "read", "v": "read", "o": "write"}
    assert run.traffic["k"].requests == 3 * 3


def test_resident_keys_and_values_are_read_once(design):
    machine, memory = design(kv_resident=True)
    run = simulate_system(machine, memory, 10, 20)
    assert run.bytes_moved == {"q": 10 * 8, "k": 20 * 8, "v": 20 * 8, "o": 10 * 16}
    assert run.sram_peak_bytes["k"] == 20 * 8


def test_residence_saves_time_when_bandwidth_is_short(design):
    machine, away = design(bandwidth=2)
    _, stays = design(bandwidth=2, kv_resident=True)
    assert simulate_system(machine, stays, 32, 64).cycles < simulate_system(machine, away, 32, 64).cycles / 2


def test_transfers_are_whole_bursts(random_design):
    for seed in range(60):
        (machine, memory), nq, n = random_design(random.Random(seed))
        run, work = simulate_system(machine, memory, nq, n), work_of(machine, nq, n)
        burst = memory.off_chip.burst_bytes
        times = 1 if memory.kv_resident else work.blocks
        q = sum(up(work.q_bytes(b), burst) for b in range(work.blocks))
        k = times * sum(up(work.kv_bytes(t), burst) for t in range(work.tiles))
        o = sum(up(work.o_bytes(b), burst) for b in range(work.blocks))
        assert run.bytes_moved == {"q": q, "k": k, "v": k, "o": o}, seed
        operand, output = (machine.formats[r].width_bits // 8 for r in ("operand", "output"))
        d = machine.head_dim
        payload = {"q": nq * d * operand, "k": times * n * d * operand, "v": times * n * d * operand,
                   "o": nq * d * output}
        assert {t: m.payload_bytes for t, m in run.traffic.items()} == payload, seed


def test_banks_hold_no_more_than_there_is_room_for(random_design):
    for seed in range(60):
        (machine, memory), nq, n = random_design(random.Random(seed))
        run = simulate_system(machine, memory, nq, n)
        room = work_of(machine, nq, n).sram_capacity_bytes(memory)
        for tensor, capacity in room.items():
            assert 0 < run.sram_peak_bytes[tensor] <= capacity, (seed, tensor)
        peaks = [run.sram_peak_bytes[t] for t in room]
        assert max(peaks) <= run.sram_peak_bytes["all"] <= sum(peaks), seed


def test_long_runs_fill_every_load_bank(design):
    machine, memory = design(q_buffers=3, kv_buffers=2)
    run = simulate_system(machine, memory, 40, 64)
    room = work_of(machine, 40, 64).sram_capacity_bytes(memory)
    assert {t: run.sram_peak_bytes[t] for t in "qkv"} == {t: room[t] for t in "qkv"}


def test_only_two_directions_exist(design):
    run = simulate_system(*design(), 4, 4)
    with pytest.raises(ValueError, match="read or write"):
        run.bytes_in("sideways")
