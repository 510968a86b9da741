"""How long a head takes on a machine whose memory is not ideal."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from accel_sim.system import CAUSES, simulate_system, work_of


def test_an_ideal_memory_never_holds_the_machine(random_design):
    for seed in range(200):
        (machine, memory), nq, n = random_design(random.Random(seed), bandwidth="unlimited", latency=0)
        run = simulate_system(machine, memory, nq, n)
        assert run.cycles == machine.timing(nq, n).head_cycles == run.compute_cycles, seed
        assert run.stalls == dict.fromkeys(CAUSES, 0) and run.drain_cycles == 0, seed
        assert not run.kv_stall.any() and not run.swap_stall.any(), seed


def schedule_by_recurrence(machine, memory, nq, n):
    """The same system as a recurrence over the machine's own schedule, with exact fractions and no events."""
    timing, work, off = machine.timing(nq, n), work_of(machine, nq, n), memory.off_chip
    bandwidth = off.bandwidth_bytes_per_cycle
    tiles, blocks, lanes = work.tiles, work.blocks, machine.lanes
    per_byte = 0 if bandwidth == "unlimited" else 1 / Fraction(bandwidth)
    free, arrived = Fraction(0), {}

    def move(now, what, n_bytes):
        nonlocal free
        bursts = -(-n_bytes // off.burst_bytes)
        free = max(now + off.latency_cycles, free) + bursts * off.burst_bytes * per_byte
        arrived[what] = math.ceil(free)

    def load(now, what):
        kind, i = what
        if kind == "q":
            move(now, what, work.q_bytes(i))
        else:
            move(now, ("k", i), work.kv_bytes(i % tiles))
            move(now, what, work.kv_bytes(i % tiles))

    kv_banks = tiles if memory.kv_resident else memory.kv_buffers
    loads = tiles if memory.kv_resident else blocks * tiles
    # (machine cycle, rank, what): write-backs, then loads into banks just emptied, then holds.
    points = []
    for s in range(blocks + 1):
        swap = timing.swap_start(s)
        points.append((swap, 2, ("swap", s)))
        if s:
            points.append((timing.out_cycle(s * lanes - 1) + 1, 0, ("o", s - 1)))
        if s + memory.q_buffers < blocks:
            points.append((swap + lanes, 1, ("q", s + memory.q_buffers)))
    for b in range(blocks):
        for t in range(tiles):
            first = timing.stream_start(b) + t * machine.key_tile
            points.append((first, 2, ("tile", b * tiles + t)))
            if b * tiles + t + kv_banks < loads:
                points.append((first + work.keys_in(t), 1, ("v", b * tiles + t + kv_banks)))
    needed = [(i * tiles, ("q", i)) for i in range(min(memory.q_buffers, blocks))]
    needed += [(i, ("v", i)) for i in range(min(kv_banks, loads))]
    for _, what in sorted(needed):  # at the same place, q sorts before v
        load(0, what)
    late = 0
    kv_stall, swap_stall = np.zeros(blocks * tiles, dtype=int), np.zeros(blocks + 1, dtype=int)
    for cycle, _, (kind, i) in sorted(points):
        if kind == "swap":
            ready = max(arrived.get(("q", i), 0), arrived.get(("o", i - 1 - memory.o_buffers), 0))
            swap_stall[i] = max(0, ready - cycle - late)
            late += swap_stall[i]
        elif kind == "tile":
            ready = arrived["v", i % tiles if memory.kv_resident else i]
            kv_stall[i] = max(0, ready - cycle - late)
            late += kv_stall[i]
        elif kind == "o":
            move(cycle + int(late), ("o", i), work.o_bytes(i))
        else:
            load(cycle + int(late), (kind, i))
    return timing.head_cycles + late, arrived["o", blocks - 1], kv_stall, swap_stall


def test_the_model_meets_the_recurrence_on_any_design(random_design):
    for seed in range(200):
        (machine, memory), nq, n = random_design(random.Random(1000 + seed))
        run = simulate_system(machine, memory, nq, n)
        cycles, last_write, kv_stall, swap_stall = schedule_by_recurrence(machine, memory, nq, n)
        assert run.kv_stall.tolist() == kv_stall.tolist(), seed
        assert run.swap_stall.tolist() == swap_stall.tolist(), seed
        assert run.cycles == cycles and run.total_cycles == max(cycles, last_write), seed


def test_cycles_are_work_plus_stalls_and_every_stall_has_a_cause(random_design):
    for seed in range(60):
        (machine, memory), nq, n = random_design(random.Random(2000 + seed))
        run = simulate_system(machine, memory, nq, n)
        assert set(run.stalls) == set(CAUSES) and min(run.stalls.values()) >= 0, seed
        assert run.cycles == machine.timing(nq, n).head_cycles + sum(run.stalls.values()), seed
        assert run.kv_stall.sum() == run.stalls["kv_load"], seed
        assert run.swap_stall.sum() == run.stalls["q_load"] + run.stalls["o_store"], seed
        assert run.kv_stall.shape == (machine.timing(nq, n).blocks * -(-n // machine.key_tile),), seed
        assert run.swap_stall.shape == (machine.timing(nq, n).blocks + 1,), seed


def test_no_run_beats_the_channel_and_a_slow_channel_is_all_that_matters(design):
    for bandwidth, at_most in ((8, 1.2), (1, 1.02), (0.01, 1.0002)):
        machine, memory = design(bandwidth=bandwidth)
        run = simulate_system(machine, memory, 64, 256)
        fastest = sum(run.bytes_moved.values()) / bandwidth
        assert fastest <= run.total_cycles <= at_most * fastest
        assert run.off_chip_busy_cycles == pytest.approx(fastest, rel=1e-12)
        assert run.bandwidth_utilisation == run.off_chip_busy_cycles / run.total_cycles


def test_a_fraction_of_a_byte_a_cycle_is_not_lost(design):
    # 3 bytes a cycle: no burst of 64 takes whole cycles, yet the transfers are packed without gaps.
    machine, memory = design(bandwidth=3, burst=64)
    run = simulate_system(machine, memory, 64, 256)
    transfers = [s for s in run.timeline if s.resource == "off-chip"]
    gaps = [b.start - (a.start + a.duration) for a, b in pairwise(transfers)]
    assert sum(g for g in gaps[:-8] if g > 1e-6) == 0
    assert min(gaps) >= -1e-6


def test_more_bandwidth_or_less_latency_never_hurts(random_design):
    for seed in range(40):
        bandwidth, latency = random.Random(seed).choice([0.3, 1, 2.7, 9]), 64
        memories = [(bandwidth * 2**doubling, latency) for doubling in range(6)]
        memories += [(bandwidth * 32, latency >> halving) for halving in range(1, 7)]
        times = []
        for fast, near in memories:
            design, *shape = random_design(random.Random(seed), bandwidth=fast, latency=near)
            times.append(simulate_system(*design, *shape, timeline=False).total_cycles)
        assert times == sorted(times, reverse=True), seed


def test_latency_that_the_banks_cover_only_delays_the_start(design):
    # While a bank of 8 keys is refilled, the other's 8 keys are streamed: 8 cycles pass unseen, no more.
    machine, ideal = design()
    head = simulate_system(machine, ideal, 16, 32)
    for latency in (1, 5, 8):
        machine, memory = design(latency=latency)
        run = simulate_system(machine, memory, 16, 32)
        assert run.stalls == {"q_load": latency, "kv_load": 0, "o_store": 0}
        assert run.cycles == head.cycles + latency and run.drain_cycles == latency
    machine, memory = design(latency=9)
    assert simulate_system(machine, memory, 16, 32).stalls["kv_load"] > 0


def test_latency_passes_during_other_transfers(design):
    # Everything asked for at once costs its latency once: with K and V resident, all loads of the first block
    # are in the queue from the start.
    machine, memory = design(bandwidth=4, latency=1000, kv_resident=True)
    run = simulate_system(machine, memory, 4, 64)
    reads = [s for s in run.timeline if s.name.startswith("read")]
    assert reads[0].start == 1000
    assert max(s.start + s.duration for s in reads) == 1000 + run.bytes_in("read") / 4


def test_one_bank_cannot_stream_and_load_at_once(design):
    # A tile of 8 keys is 128 bytes of K and V, 8 cycles at 16 bytes a cycle, as long as it streams.
    # Two banks: loads hide behind the streaming. One bank: each tile waits for its own load.
    machine, two = design(bandwidth=16)
    _, one = design(bandwidth=16, kv_buffers=1)
    double, single = (simulate_system(machine, m, 16, 64) for m in (two, one))
    assert single.cycles > double.cycles
    assert np.all(single.kv_stall.reshape(4, 8)[:, 1:] >= 8)
    assert double.kv_stall.reshape(4, 8)[1:, 1:].sum() < single.kv_stall.reshape(4, 8)[1:, 1:].sum() / 4


def test_a_single_output_bank_makes_the_next_block_wait(design):
    # K and V stay on chip, so that the write-back of 64 bytes is what the channel is busy with.
    for banks, waits in ((1, True), (4, False)):
        machine, memory = design(bandwidth=0.5, o_buffers=banks, kv_resident=True)
        run = simulate_system(machine, memory, 16, 8)
        assert (run.stalls["o_store"] > 0) == waits


def test_the_write_back_after_the_machine_has_finished_is_the_drain(design):
    machine, memory = design(bandwidth=1)
    run = simulate_system(machine, memory, 4, 8)
    (write,) = (s for s in run.timeline if s.name.startswith("write o"))
    assert write.duration == 4 * 4 * 4
    assert write.start + write.duration == run.total_cycles == run.cycles + run.drain_cycles
    assert write.start == run.cycles  # without a checker, the last row is the last thing the machine does


def test_a_checker_judges_while_the_output_is_written_back(design):
    machine, memory = design(bandwidth=64, check="head")
    run = simulate_system(machine, memory, 4, 8)
    assert run.drain_cycles == 0
    (compare,) = (s for s in run.timeline if s.resource == "checker")
    assert compare.start + compare.duration == run.cycles


def test_utilisation_counts_useful_pairs_over_lane_cycles(design):
    machine, memory = design()
    run = simulate_system(machine, memory, 5, 100)  # two blocks, the second with one query of four
    assert machine.utilisation(machine.timing(5, 100), run.cycles) == 5 * 100 / (4 * run.cycles)
    assert run.bandwidth_utilisation is None  # a channel that takes no time is not used to any degree


def test_the_machine_does_one_thing_at_a_time(random_design):
    for seed in range(40):
        (machine, memory), nq, n = random_design(random.Random(3000 + seed))
        run = simulate_system(machine, memory, nq, n)
        for resource, end in (("machine", run.cycles), ("off-chip", run.total_cycles)):
            spans = [s for s in run.timeline if s.resource == resource]
            for a, b in pairwise(spans):
                assert a.start + a.duration <= b.start + 1e-6, (seed, a, b)
            assert spans[-1].start + spans[-1].duration <= end + 1e-6, seed
        assert sum(s.duration for s in run.timeline if s.resource == "machine") == run.cycles, seed


def test_the_same_run_twice_is_the_same_run(random_design):
    for seed in range(10):
        (machine, memory), nq, n = random_design(random.Random(seed))
        a, b = (simulate_system(machine, memory, nq, n) for _ in range(2))
        for name in ("cycles", "stalls", "drain_cycles", "traffic", "timeline", "order", "sram_peak_bytes"):
            assert getattr(a, name) == getattr(b, name), name
        assert a.kv_stall.tolist() == b.kv_stall.tolist() and a.swap_stall.tolist() == b.swap_stall.tolist()
        quiet = simulate_system(machine, memory, nq, n, timeline=False)
        assert quiet.timeline == () and quiet.total_cycles == a.total_cycles


def test_identical_heads_are_multiplied_and_say_so(design):
    machine, memory = design(bandwidth=2)
    one = simulate_system(machine, memory, 10, 20)
    all_heads = simulate_system(machine, memory, 10, 20, heads=72).totals
    assert all_heads.note == "1 head simulated, x72"
    assert all_heads.total_cycles == 72 * one.total_cycles
    assert all_heads.bytes_moved == {t: 72 * b for t, b in one.bytes_moved.items()}
    assert all_heads.cycles == all_heads.compute_cycles + sum(all_heads.stalls.values())


@pytest.mark.parametrize("lost", ["q", "v", "o"])
def test_a_transfer_that_gets_lost_is_an_error_and_no_result(design, monkeypatch, lost):
    from accel_sim.system.memory import Dma

    request = Dma.request

    def dropping(dma, tensor, *rest):
        if tensor != lost:
            request(dma, tensor, *rest)

    monkeypatch.setattr(Dma, "request", dropping)
    with pytest.raises(RuntimeError):
        simulate_system(*design(), 4, 8)


@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (-1, 4)])
def test_an_empty_head_is_refused(design, shape):
    with pytest.raises(ValueError, match="must be at least 1"):
        simulate_system(*design(), *shape)


def test_a_memory_too_slow_to_count_cycles_is_refused(design):
    with pytest.raises(ValueError, match="too slow"):
        simulate_system(*design(bandwidth=1e-300), 4, 4)
    with pytest.raises(ValueError, match="heads"):
        simulate_system(*design(), 4, 4, heads=0)
