"""Programs of steps behind a memory: what is moved, when a step begins, and why it had to wait."""

from __future__ import annotations

import math
import random
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from accel_sim.config import ConfigError, Memory, load_config
from accel_sim.machines.program import OFF_CHIP, ProgramTiming, Step, Tile
from accel_sim.numerics.formats import FORMATS
from accel_sim.system.program import bytes_of_tiles, largest_tiles, simulate_program, sram_slots
from accel_sim.system.program_clock import ProgramClock
from accel_sim.system.program_plan import NEVER, demands_of, plan_program, slots_for_a_step, slots_for_life
from accel_sim.system.program_run import PROGRAM_CAUSES

FMT = {"operand": FORMATS["bf16"], "score": FORMATS["fp32"], "output": FORMATS["fp32"]}


def memory_of(bandwidth="unlimited", latency=0, burst=1, **keys):
    off_chip = {"bandwidth_bytes_per_cycle": bandwidth, "latency_cycles": latency, "burst_bytes": burst}
    return Memory.model_validate({"off_chip": off_chip, **keys})


def k(index, rows=4):
    """A tile of 2 · rows bytes that comes from off the chip."""
    return Tile("k", (index,), rows, 1, "operand")


def o(index):
    """A tile of 8 bytes that goes off the chip."""
    return Tile("o", (index,), 2, 1, "output")


def program(*steps):
    return ProgramTiming(1, 1, tuple(Step(f"step {i}", "p", *step) for i, step in enumerate(steps)))


def draw_program(rng):
    """Any program: steps of any length that read and write tiles of any size, some in place, some again and again."""
    sizes, scores, outputs, steps = {}, [], [], []

    def tile(tensor, index, role):
        return sizes.setdefault((tensor, index), Tile(tensor, (index,), rng.randint(1, 6), rng.randint(1, 6), role))

    for number in range(rng.randint(1, 25)):
        reads, writes = [], []
        for tensor in "qkv":
            if rng.random() < 0.6:
                reads += [tile(tensor, rng.randint(0, 7), "operand") for _ in range(rng.choice([1, 1, 1, 2]))]
        for written, tensor, role, reread in ((scores, "s", "score", 0.5), (outputs, "o", "output", 0.3)):
            if written and rng.random() < reread:
                reads.append(rng.choice(written))
            if rng.random() < 0.5:
                writes.append(tile(tensor, rng.randint(0, 7), role))
                written.append(writes[-1])
        steps.append(Step(f"step {number}", "p", rng.randint(1, 30), tuple(dict.fromkeys(reads)), tuple(writes)))
    return ProgramTiming(1, 1, tuple(steps))


def capacities(timing, rng):
    """Capacities that grow, from the least that the program can do with, one tensor at a time."""
    largest = largest_tiles(bytes_of_tiles(timing, FMT))
    slots = {tensor: slots_for_a_step(demands) for tensor, demands in demands_of(timing.steps).items()}
    while True:
        yield {tensor: count * largest[tensor] / 1024 for tensor, count in slots.items()}
        if slots:
            slots[rng.choice(sorted(slots))] += rng.choice([1, 1, 2])


def draw_channel(rng):
    return {"bandwidth": rng.choice([0.3, 1, 2.7, 8, 64, "unlimited"]), "latency": rng.choice([0, 0, 3, 20, 100]),
            "burst": rng.choice([1, 8, 64])}


# -- a program ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps, message", [
    ((), "at least one step"),
    (((0,),), "takes 0 cycles"),
    (((1, (k(0, rows=0),)),), "0 x 1 elements"),
    (((1, (k(0),)), (1, (k(0, rows=5),))), "before"),
    (((1, (Tile("s", (0,), 1, 1, "score"),)),), "nothing has written"),
])
def test_a_program_that_cannot_run_is_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        program(*steps)


def test_a_program_knows_its_cycles():
    timing = program((3,), (4,), (5,))
    assert timing.head_cycles == 12 and timing.starts == (0, 3, 7, 12) and timing.phases == {"p": 12}
    assert list(timing.spans()) == [("p", 0, 0, 3), ("p", 1, 3, 4), ("p", 2, 7, 5)]
    assert timing.phase_name("p", 2) == "step 2"


# -- when steps begin ---------------------------------------------------------------------------------------


def test_an_ideal_memory_never_holds_a_step():
    for seed in range(300):
        rng = random.Random(seed)
        timing = draw_program(rng)
        for kib in (None, next(capacities(timing, rng))):
            run = simulate_program(timing, memory_of(sram_kib=kib or {}), FMT)
            assert run.cycles == run.compute_cycles == timing.head_cycles, seed
            assert run.stalls == dict.fromkeys(PROGRAM_CAUSES, 0) and run.drain_cycles == 0, seed
            assert run.step_stall.tolist() == [0] * len(timing.steps), seed


def starts_by_recurrence(timing, memory, plan):
    """When steps begin, without events: whatever has to be moved before a step has been moved when the channel has had
    the time for all of it that may begin after any given cycle."""
    off = memory.off_chip
    per_byte = 0 if off.bandwidth_bytes_per_cycle == "unlimited" else 1 / Fraction(off.bandwidth_bytes_per_cycle)
    ends = {-1: 0}
    stalls, now = [], 0

    def moved(needed):
        begin = {r.order: ends[r.release] + off.latency_cycles for r in needed}
        work = {r.order: -(-r.n_bytes // off.burst_bytes) * off.burst_bytes * per_byte for r in needed}
        return max((math.ceil(t + sum(work[i] for i in begin if begin[i] >= t)) for t in begin.values()), default=0)

    for number, step in enumerate(timing.steps):
        waits = any(r.need == number for r in plan.requests)
        start = max(now, moved([r for r in plan.requests if r.need <= number])) if waits else now
        stalls.append(start - now)
        ends[number] = now = start + step.cycles
    return stalls, now, moved(plan.requests)


def test_the_model_meets_the_recurrence_on_any_program():
    for seed in range(300):
        rng = random.Random(seed)
        timing = draw_program(rng)
        kib = capacities(timing, rng)
        for _ in range(rng.randint(0, 4)):
            next(kib)
        memory = memory_of(**draw_channel(rng), sram_kib=next(kib))
        tile_bytes = bytes_of_tiles(timing, FMT)
        plan = plan_program(timing.steps, sram_slots(timing, memory, tile_bytes), tile_bytes)
        stalls, end, last = starts_by_recurrence(timing, memory, plan)
        run = simulate_program(timing, memory, FMT)
        assert run.step_stall.tolist() == stalls, seed
        assert (run.cycles, run.total_cycles) == (end, max(end, last)), seed


def test_a_faster_memory_never_makes_a_run_slower():
    for seed in range(150):
        rng = random.Random(seed)
        timing, bandwidth, latency = draw_program(rng), rng.choice([0.3, 1, 2.7]), rng.choice([0, 40, 64])
        keys = {"sram_kib": next(capacities(timing, rng)), "ports": rng.choice([1, 2]), "sram_banks": rng.randint(1, 3)}
        memories = [(bandwidth * f, latency) for f in (1, 1.5, 4, 100)] + [(bandwidth * 100, latency >> h)
                                                                           for h in range(1, 7)]
        times = [simulate_program(timing, memory_of(bw, lat, **keys), FMT).total_cycles for bw, lat in memories]
        assert times == sorted(times, reverse=True), seed


def test_more_sram_never_makes_a_run_slower_or_moves_more():
    for seed in range(200):
        rng = random.Random(seed)
        timing, channel = draw_program(rng), draw_channel(rng)
        runs = [simulate_program(timing, memory_of(**channel, sram_kib=kib), FMT)
                for kib, _ in zip(capacities(timing, random.Random(seed)), range(7), strict=False)]
        for small, large in pairwise(runs):
            assert large.cycles <= small.cycles and large.total_cycles <= small.total_cycles, seed
            assert all(moved <= small.bytes_moved[tensor] for tensor, moved in large.bytes_moved.items()), seed


def test_no_run_beats_the_channel():
    for seed in range(100):
        rng = random.Random(seed)
        timing, channel = draw_program(rng), {**draw_channel(rng), "bandwidth": rng.choice([0.3, 2.7, 64])}
        run = simulate_program(timing, memory_of(**channel), FMT)
        moved = sum(run.bytes_moved.values())
        assert run.total_cycles >= moved / channel["bandwidth"] * (1 - 1e-12), seed
        assert run.off_chip_busy_cycles == pytest.approx(moved / channel["bandwidth"], rel=1e-12), seed
        assert run.bandwidth_utilisation == run.off_chip_busy_cycles / run.total_cycles <= 1, seed
        assert moved == run.bytes_in("read") + run.bytes_in("write"), seed
        transfers = sorted(span for span in run.timeline if span.resource == "off-chip")
        assert sum(span.duration for span in transfers) == pytest.approx(run.off_chip_busy_cycles, rel=1e-9)


# -- why they wait --------------------------------------------------------------------------------------------


def stalls_of(timing, memory):
    run = simulate_program(timing, memory, FMT)
    assert sum(run.stalls.values()) == run.step_stall.sum() == run.cycles - timing.head_cycles
    return {cause: held for cause, held in run.stalls.items() if held}


def test_a_load_that_was_asked_for_in_time_but_takes_long_is_an_off_chip_stall():
    # 8 bytes at 1 a cycle; while tile 0 is used for 5 cycles, 5 bytes of tile 1 arrive.
    timing = program((5, (k(0),)), (5, (k(1),)))
    assert stalls_of(timing, memory_of(1)) == {"off_chip": 8 + 3}
    assert stalls_of(timing, memory_of(latency=7)) == {"off_chip": 7}


def test_one_slot_cannot_load_while_it_is_used():
    timing = program((5, (k(0),)), (5, (k(1),)), (5, (k(2),)))
    assert stalls_of(timing, memory_of(1, kv_buffers=1)) == {"off_chip": 8, "double_buffer": 16}
    assert stalls_of(timing, memory_of(1, kv_buffers=2)) == {"off_chip": 8 + 3 + 3}
    assert stalls_of(timing, memory_of(1, sram_kib={"k": 8 / 1024})) == {"off_chip": 8, "double_buffer": 16}
    # Three slots: all is on its way from the start, and 5 of the 8 cycles of tiles 1 and 2 pass unseen.
    assert stalls_of(timing, memory_of(1, kv_buffers=3)) == {"off_chip": 8 + 3 + 3}


def test_two_slots_buffer_twice_even_where_the_same_tiles_come_again():
    # Keeping tile 0 for its next turn would save loads, but the others would be loaded into the slot in use. Steps that
    # use no key in between change nothing.
    for between in ((), ((1, ()),)):
        steps = [step for turn in range(3) for tile in range(4) for step in ((8, (k(tile),)), *between)]
        timing = program(*steps)
        run = simulate_program(timing, memory_of(1, kv_buffers=2), FMT)
        assert run.stalls == {"off_chip": 8, "double_buffer": 0, "bank_conflict": 0, "store": 0}
        assert run.traffic["k"].requests == 12


def test_more_slots_let_the_loads_run_ahead():
    timing = program((1, (k(0),)), (40, ()), (1, (k(1),)), (1, (k(2),)), (1, (k(3),)))
    assert stalls_of(timing, memory_of(1, kv_buffers=2)) == {"off_chip": 8 + 7}
    assert stalls_of(timing, memory_of(1, kv_buffers=3)) == {"off_chip": 8}


def test_outputs_wait_until_a_slot_has_been_stored():
    timing = program((5, (), (o(0),)), (5, (), (o(1),)), (5, (), (o(2),)))
    one, two = (memory_of(1, o_buffers=buffers) for buffers in (1, 2))
    assert stalls_of(timing, one) == {"store": 16}
    assert stalls_of(timing, two) == {"store": 3}
    run = simulate_program(timing, two, FMT)
    # Stored one after another without a gap, from the end of the first step on.
    assert run.total_cycles == 5 + 3 * 8 and run.drain_cycles == run.total_cycles - run.cycles
    assert run.step_stall.tolist() == [0, 0, 3]


def test_the_most_urgent_transfer_goes_first():
    # The store of 8 bytes is under way when the load that the next step waits for is asked for, and lets it pass.
    timing = program((2, (k(0),), (o(0),)), (2, (k(1),)))
    run = simulate_program(timing, memory_of(1, kv_buffers=1), FMT)
    moved = [(span.name, span.start, span.duration) for span in run.timeline if span.resource == "off-chip"]
    assert moved == [("read k[0]", 0, 8), ("read k[1]", 10, 8), ("write o[0]", 18, 8)]
    assert run.stalls == {"off_chip": 8, "double_buffer": 8, "bank_conflict": 0, "store": 0}
    assert run.drain_cycles == 26 - 20


def test_a_bank_with_one_port_is_not_filled_while_it_is_used():
    timing = program((8, (k(0),)), (8, (k(1),)), (8, (k(2),)))
    for banks, ports, expected in ((2, 1, 0), (1, 2, 0), (1, 1, 16)):
        memory = memory_of(1, kv_buffers=2, sram_banks=banks, ports=ports)
        assert stalls_of(timing, memory).get("bank_conflict", 0) == expected
        assert simulate_program(timing, memory, FMT).stalls["double_buffer"] == 0


# -- what is moved --------------------------------------------------------------------------------------------


def test_what_is_needed_soonest_stays():
    # Slots for 3: tile 0 is in every other step and is loaded once, the others once each time they come.
    steps = [(4, (k(0), k(1 + i % 4))) for i in range(16)]
    run = simulate_program(program(*steps), memory_of(sram_kib={"k": 3 * 8 / 1024}), FMT)
    assert run.traffic["k"].requests == 1 + 16
    # With one slot more, one of the four stays too, or nearly: fewer loads, and with five slots only the first of each.
    four, five = (simulate_program(program(*steps), memory_of(sram_kib={"k": n * 8 / 1024}), FMT).traffic["k"].requests
                  for n in (4, 5))
    assert 5 == five < four < 17


def test_a_partial_output_that_makes_room_is_stored_and_fetched_again():
    timing = program((9, (), (o(0),)), (9, (), (o(1),)), (9, (o(0),), (o(0),)), (9, (o(1),), (o(1),)))
    room = simulate_program(timing, memory_of(o_buffers=2), FMT)
    assert room.spilled_bytes == 0 and room.bytes_moved == {"o": 16} and set(room.traffic) == {"o"}
    tight = simulate_program(timing, memory_of(1, o_buffers=1), FMT)
    assert {name: (t.requests, t.direction) for name, t in tight.traffic.items()} == {
        "o": (2, "write"), "o spill": (2, "write"), "o refill": (2, "read")}
    assert tight.spilled_bytes == 32 and tight.bytes_moved == {"o": 48}
    assert (tight.bytes_in("write"), tight.bytes_in("read")) == (32, 16)


def test_what_lives_on_chip_never_leaves_it_unless_it_must():
    s = [Tile("s", (i,), 2, 1, "score") for i in range(3)]
    timing = program(*[(1, (), (tile,)) for tile in s], *[(1, (tile,), ()) for tile in s])
    free = simulate_program(timing, memory_of(1), FMT)
    assert free.bytes_moved == {} and free.sram_bytes == {"s": 24} and free.stall_cycles == 0
    tight = simulate_program(timing, memory_of(1, sram_kib={"s": 16 / 1024}), FMT)
    assert tight.bytes_moved == {"s": 16} and tight.spilled_bytes == 16


def test_what_is_resident_is_not_loaded():
    timing = program((5, (k(0),)), (5, (k(1),)), (5, (k(0),)))
    first = simulate_program(timing, memory_of(1, kv_resident=True), FMT)
    assert first.bytes_moved == {"k": 16} and first.sram_bytes == {"k": 16}
    after = simulate_program(timing, memory_of(1, kv_resident=True), FMT, resident=("k",))
    assert after.bytes_moved == {"k": 0} and after.stall_cycles == 0
    assert after.sram_peak_bytes == {"k": 16, "all": 16}


@pytest.mark.parametrize("keys, message", [
    ({"sram_kib": {"k": 15 / 1024}}, "memory.sram_kib.k: 0.0146484 KiB is too small: this program needs 0.015625 KiB, "
                                     "the 2 tiles of 8 bytes that one of its steps uses at once"),
    ({"sram_kib": {"k": 16 / 1024}, "kv_resident": True}, "the 3 tiles of 8 bytes that k has in all, which kv_resident "
                                                          "keeps"),
])
def test_too_little_sram_is_an_error_that_says_how_much_is_needed(keys, message):
    timing = program((5, (k(0), k(1))), (5, (k(2),)))
    with pytest.raises(ConfigError) as error:
        simulate_program(timing, memory_of(**keys), FMT)
    assert message in str(error.value)


def test_the_error_names_the_file_and_line(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("workload: gaussian\nmemory:\n  ecc: none\n")
    memory = memory_of(sram_kib={"k": 0.001})
    with pytest.raises(ConfigError) as error:
        simulate_program(program((1, (k(0),))), memory, FMT, config=load_config(file))
    assert (error.value.line, error.value.key) == (2, "memory.sram_kib.k")


@pytest.mark.parametrize("key", ["sram_kib:\n    q: 1", "ports: 1", "sram_banks: 4"])
def test_lanes_refuse_what_they_would_ignore(key, tmp_path):
    file = tmp_path / "lanes.yaml"
    file.write_text(f"memory:\n  {key}\n")
    with pytest.raises(ConfigError, match="is for array machines") as error:
        load_config(file)
    assert error.value.line == 2


# -- the plan ---------------------------------------------------------------------------------------------------


def test_every_tile_is_where_its_step_needs_it_and_no_slot_holds_two():
    for seed in range(200):
        rng = random.Random(seed)
        timing = draw_program(rng)
        demands = demands_of(timing.steps)
        slots = {tensor: slots_for_a_step(d) + rng.randint(0, 2) for tensor, d in demands.items()}
        plan = plan_program(timing.steps, slots, bytes_of_tiles(timing, FMT), banks=rng.randint(1, 3))
        requests = plan.requests
        for tensor, stays in plan.stays.items():
            for one, other in pairwise(sorted(stays, key=lambda stay: (stay.slot, stay.first))):
                assert one.slot != other.slot or one.last < other.first == one.until, seed
            assert all(0 <= stay.slot < slots[tensor] for stay in stays)
            for stay in stays:
                if stay.load >= 0:
                    load = requests[stay.load]
                    assert load.need == stay.first and load.release < stay.first
                    before = [s for s in stays if s.slot == stay.slot and s.until == stay.first]
                    assert all(s.last <= load.release for s in before), seed
                if stay.store >= 0:
                    store = requests[stay.store]
                    assert (store.need, store.release) == (stay.until, stay.written)
            releases = [requests[stay.load].release for stay in stays if stay.load >= 0]
            assert releases == sorted(releases), seed  # asked for in the order in which they are needed
        for number, step in enumerate(timing.steps):
            for tile in (*step.reads, *step.writes):
                here = [s for s in plan.stays[tile.tensor] if s.tile == tile and s.first <= number <= s.last]
                assert len(here) == 1, seed
                if tile in step.reads and here[0].first == number and here[0].load >= 0:
                    kind = requests[here[0].load].kind
                    written = [n for n, s in enumerate(timing.steps[:number]) if tile in s.writes]
                    assert kind == ("refill" if written else "load"), seed
                    if written:
                        spill = requests[requests[here[0].load].after]
                        assert spill.tile == tile and spill.release == written[-1], seed
        finals = {r.tile.name for r in requests if r.kind == "store"}
        assert finals == {t.name for s in timing.steps for t in s.writes if t.tensor in OFF_CHIP}, seed
        assert sum(r.kind == "store" for r in requests) == len(finals), seed


def test_nothing_is_loaded_over_what_is_not_stored_yet_nor_fetched_before_it_is_stored():
    refills = 0
    for seed in range(400):
        rng = random.Random(seed)
        timing = draw_program(rng)
        tile_bytes = bytes_of_tiles(timing, FMT)
        kib = capacities(timing, rng)
        for _ in range(rng.randint(0, 3)):
            next(kib)
        memory = memory_of(**draw_channel(rng), sram_kib=next(kib), ports=rng.choice([1, 2]))
        plan = plan_program(timing.steps, sram_slots(timing, memory, tile_bytes), tile_bytes, banks=rng.randint(1, 3))
        clock = ProgramClock(timing, memory, plan, keep_timeline=False)
        clock.run()
        usable = clock.dma.usable
        for stays in plan.stays.values():
            for stay in stays:
                before = [s for s in stays if s.slot == stay.slot and s.until == stay.first and s.store >= 0]
                if stay.load >= 0:
                    request = plan.requests[stay.load]
                    assert all(usable[s.store] <= usable[stay.load] for s in before), seed
                    refills += request.kind == "refill"
                    assert request.after < 0 or usable[request.after] <= usable[stay.load], seed
                assert all(usable[s.store] <= clock.starts[stay.first] for s in before), seed
    assert refills > 20


def test_a_spill_goes_before_the_refill_that_takes_its_slot():
    timing = program((9, (), (o(0),)), (9, (), (o(1),)), (1, (o(0),), (o(0),)), (1, (o(1),), (o(1),)))
    run = simulate_program(timing, memory_of(0.5, o_buffers=1), FMT)
    moved = [(span.name, span.start, span.duration) for span in run.timeline if span.resource == "off-chip"]
    assert [name for name, _, _ in moved] == [
        "spill o[0]", "spill o[1]", "refill o[0]", "write o[0]", "refill o[1]", "write o[1]"]
    assert all(a[1] + a[2] <= b[1] for a, b in pairwise(moved))


def test_the_order_of_eviction_moves_least_where_nothing_is_loaded_ahead():
    # Scores are never asked for ahead of their step, so eviction by next use alone is optimal: fewest refills.
    def fewest(uses, slots):
        states = {frozenset(): 0}
        for tile in uses:
            nxt: dict = {}
            for held, cost in states.items():
                for kept in [held] if tile in held else ([held] if len(held) < slots else [held - {x} for x in held]):
                    new = kept | {tile}
                    nxt[new] = min(nxt.get(new, NEVER), cost + (tile not in held))
            states = nxt
        return min(states.values())

    for seed in range(60):
        rng = random.Random(seed)
        tiles = [Tile("s", (i,), 1, 1, "score") for i in range(5)]
        order = [rng.randrange(5) for _ in range(14)]
        steps = [(1, (), (tile,)) for tile in tiles] + [(1, (tiles[i],)) for i in order]
        timing = program(*steps)
        for slots in (1, 2, 3, 4):
            run = simulate_program(timing, memory_of(sram_kib={"s": slots * 4 / 1024}), FMT)
            refills = run.traffic["s refill"].requests if "s refill" in run.traffic else 0
            assert refills == fewest([*range(5), *order], slots) - 5, seed


def test_what_is_as_large_as_life_never_spills():
    for seed in range(100):
        timing = draw_program(random.Random(seed))
        run = simulate_program(timing, memory_of(o_buffers=8), FMT)
        assert not any(name.startswith("s ") for name in run.traffic), seed
        life = {tensor: slots_for_life(demands) for tensor, demands in demands_of(timing.steps).items()}
        largest = largest_tiles(bytes_of_tiles(timing, FMT))
        assert run.sram_bytes.get("s", 0) == life.get("s", 0) * largest.get("s", 0), seed


def test_sram_is_never_taken_beyond_its_capacity_and_all_of_it_counts():
    for seed in range(100):
        rng = random.Random(seed)
        timing = draw_program(rng)
        run = simulate_program(timing, memory_of(**draw_channel(rng), sram_kib=next(capacities(timing, rng))), FMT)
        for tensor, n_bytes in run.sram_bytes.items():
            assert 0 < run.sram_peak_bytes[tensor] <= n_bytes, seed
        peaks = {tensor: peak for tensor, peak in run.sram_peak_bytes.items() if tensor != "all"}
        assert max(peaks.values(), default=0) <= run.sram_peak_bytes["all"] <= sum(peaks.values()), seed


# -- the figures ------------------------------------------------------------------------------------------------


def test_heads_are_multiplied_and_the_timeline_is_whole():
    timing = program((5, (k(0),), (o(0),)), (5, (k(1),), (o(1),)))
    run = simulate_program(timing, memory_of(2, 3), FMT, heads=3)
    totals = run.totals
    assert totals.note == "1 head simulated, x3"
    assert (totals.cycles, totals.total_cycles) == (3 * run.cycles, 3 * run.total_cycles)
    assert totals.stalls == {cause: 3 * held for cause, held in run.stalls.items()}
    assert totals.bytes_moved == {"k": 48, "o": 48}
    machine = [span for span in run.timeline if span.resource == "machine"]
    assert sum(span.duration for span in machine) == run.cycles
    assert all(a.start + a.duration == b.start for a, b in pairwise(machine))
    assert list(run.held_by_span(timing)) == run.step_stall.tolist() and set(run.held) == {"step"}
    assert np.array_equal(simulate_program(timing, memory_of(2, 3), FMT, timeline=False).step_stall, run.step_stall)
    with pytest.raises(ValueError, match="heads"):
        run.times(0)


def test_a_memory_too_slow_to_count_is_refused():
    with pytest.raises(ValueError, match="too slow"):
        simulate_program(program((1, (k(0),))), memory_of(1e-300), FMT)
