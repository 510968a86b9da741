"""Plain products as programs: the folds' cycles, and what they move."""

from __future__ import annotations

import random
import time

import pytest

from accel_sim.config import Memory
from accel_sim.machines.folds import DATAFLOWS, Folding, closed_formula
from accel_sim.numerics.formats import FORMATS
from accel_sim.system.program import simulate_program
from accel_sim.system.program_gemm import TENSORS, gemm_program

FMT = {"operand": FORMATS["bf16"], "state": FORMATS["fp32"]}


def memory_of(bandwidth="unlimited", latency=0, **keys):
    off_chip = {"bandwidth_bytes_per_cycle": bandwidth, "latency_cycles": latency, "burst_bytes": 1}
    return Memory.model_validate({"off_chip": off_chip, **keys})


def draw_folding(rng):
    m, n, k = (rng.randint(1, 20) for _ in range(3))
    return Folding(m, n, k, rng.randint(1, 6), rng.randint(1, 6), rng.choice(sorted(DATAFLOWS)))


def test_with_an_ideal_memory_a_product_takes_the_closed_formula():
    for seed in range(200):
        folding = draw_folding(random.Random(seed))
        run = simulate_program(gemm_program(folding), memory_of(), FMT)
        assert run.cycles == run.total_cycles == closed_formula(folding), seed


def elements_of(folding):
    """For each fold, the elements of A, B and the sum that `Folding.place` sends through it, one by one."""
    found = [{"a": set(), "b": set(), "sum": set()} for _ in range(folding.folds)]
    for m in range(folding.m):
        for n in range(folding.n):
            for k in range(folding.k):
                fold = found[folding.place(m, n, k)[0]]
                fold["a"].add((m, k))
                fold["b"].add((k, n))
                fold["sum"].add((m, n))
    return found


def test_tiles_cover_what_every_fold_works_on_and_nothing_else():
    for seed in range(60):
        folding = draw_folding(random.Random(seed))
        seen: dict = {}
        begun = set()
        for step, elements in zip(gemm_program(folding).steps, elements_of(folding), strict=True):
            assert {t.tensor for t in step.reads} >= {"q", "k"} and [t.tensor for t in step.writes] == ["o"]
            for tile in {*step.reads, *step.writes}:
                matrix = next(name for name, tensor in TENSORS.items() if tensor == tile.tensor)
                assert tile.elements == len(elements[matrix]), seed
                # One index, one set of elements, in every fold that names it.
                assert seen.setdefault(tile.name, elements[matrix]) == elements[matrix], seed
            read_back = any(t.tensor == "o" for t in step.reads)
            assert read_back == (step.writes[0].name in begun), seed
            begun.add(step.writes[0].name)


def test_with_all_on_chip_every_element_crosses_the_channel_once():
    for seed in range(100):
        folding = draw_folding(random.Random(seed))
        run = simulate_program(gemm_program(folding), memory_of(sram_kib={"q": 1024, "k": 1024}, o_buffers=8), FMT)
        m, n, k = folding.m, folding.n, folding.k
        assert run.bytes_moved == {"q": 2 * m * k, "k": 2 * k * n, "o": 4 * m * n}, seed
        assert run.spilled_bytes == 0


def test_partial_sums_stay_on_chip_even_with_one_slot():
    for flow in ("ws", "is"):
        folding = Folding(8, 12, 10, 4, 3, flow)
        run = simulate_program(gemm_program(folding), memory_of(1, 5, o_buffers=1), FMT)
        assert run.spilled_bytes == 0 and run.bytes_moved["o"] == 4 * 8 * 12
        # Beside that, the array reads and writes them: once for every fold but the first of a column block.
        assert folding.traffic.sum_writes - folding.traffic.sum_reads == 8 * 12


def test_an_operand_is_fetched_again_for_every_fold_that_finds_it_gone():
    # os, 4 x 4 folds; B's tile serves a whole column of folds, A's four tiles pass by for each of them.
    folding = Folding(16, 16, 8, 4, 4, "os")
    tile = 4 * 8 * 2
    small = simulate_program(gemm_program(folding), memory_of(), FMT)
    assert small.bytes_moved == {"q": 16 * tile, "k": 4 * tile, "o": 4 * 256}
    large = simulate_program(gemm_program(folding), memory_of(sram_kib={"q": 4 * tile / 1024}), FMT)
    assert large.bytes_moved == {"q": 4 * tile, "k": 4 * tile, "o": 4 * 256}


@pytest.mark.parametrize("flow", sorted(DATAFLOWS))
def test_a_large_product_takes_no_time(flow):
    timing = gemm_program(Folding(1024, 1024, 64, 32, 32, flow))
    simulate_program(timing, memory_of(), FMT)
    started = time.process_time()
    run = simulate_program(timing, memory_of(16, 100), FMT)
    assert time.process_time() - started < 0.5
    assert run.stall_cycles > 0
