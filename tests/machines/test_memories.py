"""The SRAM around a machine: as large as it is priced, and when its words are written and read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engines.draw import random_machine

from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.memories import NEVER, lanes_srams, memories, residence, word_elements
from accel_sim.system import work_of

BUFFERS = {"memory.q_buffers": 3, "memory.kv_buffers": 1, "memory.o_buffers": 2}


@pytest.mark.parametrize("ecc", ["none", "parity", "secded"])
@pytest.mark.parametrize("resident", [False, True])
def test_what_is_struck_is_what_is_priced_and_what_the_system_fills(ecc, resident):
    rng = np.random.default_rng(1)
    for _ in range(20):
        config = random_machine(rng).config.changed({**BUFFERS, "memory.ecc": ecc, "memory.kv_resident": resident})
        machine = LanesMachine(config)
        found = memories(machine)
        limits = config.architecture
        formats = {role: fmt.width_bits // 8 for role, fmt in machine.stored_formats.items()}
        work = replace(work_of(machine, limits.max_queries, limits.max_keys),
                       operand_row_bytes=machine.head_dim * formats["operand"],
                       output_row_bytes=machine.head_dim * formats["output"])
        capacity = work.sram_capacity_bytes(config.memory)
        priced = {sram.tensor: sram for sram in lanes_srams(machine, machine.timing(1, 1))}
        for memory in found:
            assert memory.data_bits == 8 * capacity[memory.tensor]
            assert memory.bits == priced[memory.tensor].bits == memory.size * memory.width_bits
            assert memory.width_bits == memory.word_bits + memory.check_bits


def test_words_are_as_wide_as_64_bits_and_the_row_allow():
    assert [word_elements(d, 16) for d in (64, 4, 6, 7, 1)] == [4, 4, 3, 1, 1]
    assert [word_elements(d, 8) for d in (64, 12, 11, 7)] == [8, 6, 1, 7]
    assert [word_elements(d, 64) for d in (64, 3)] == [1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_residence_is_what_happens_cycle_by_cycle(seed):
    """Closed forms against a walk through the cycles with one write list and one read list for each word."""
    rng = np.random.default_rng(seed)
    for _ in range(12):
        machine = random_machine(rng)
        nq, n, banks = int(rng.integers(1, 12)), int(rng.integers(1, 20)), int(rng.integers(1, 4))
        timing = machine.timing(nq, n)
        for tensor in "qkvo":
            rows = machine.key_tile if tensor in "kv" else machine.lanes
            for bank in range(banks):
                for row in range(rows):
                    want = walk(machine, timing, tensor, banks, bank, row)
                    cycles = np.arange(timing.head_cycles)
                    same = np.full_like(cycles, bank), np.full_like(cycles, row)
                    got = residence(machine, timing, tensor, banks, *same, cycles)
                    assert list(zip(got.row.tolist(), got.read.tolist(), strict=True)) == want, (tensor, bank, row)


def walk(machine, timing, tensor, banks, bank, row) -> list[tuple[int, int]]:
    """(row held, cycle of its next read) in each cycle, by walking through the head."""
    p, tiles = timing.lanes, -(-timing.n_keys // machine.key_tile)
    arrivals: list[tuple[int, int, int | None]] = []  # (first cycle it stands there, row, read cycle)
    if tensor == "o":
        for query in range(timing.n_queries):
            if query % p == row and (query // p) % banks == bank:
                arrivals.append((timing.out_cycle(query) + 1, query, None))
        stops = [first - 1 for first, _, _ in arrivals[1:]] + [timing.head_cycles]
        arrivals = [(first, q, stop) for (first, q, _), stop in zip(arrivals, stops, strict=False)]
    elif tensor == "q":
        for block in range(bank, timing.blocks, banks):
            first = 0 if block < banks else timing.stream_start(block - banks)
            query = block * p + row
            arrivals.append((first, query if query < timing.n_queries else -1, timing.swap_start(block) + row))
    else:
        done = {}  # cycle from which tile u is no longer the one in use
        for u in range(timing.blocks * tiles):
            block, j = divmod(u, tiles)
            whole = (j + 1) * machine.key_tile <= timing.n_keys
            done[u] = timing.stream_start(block) + (j + 1) * machine.key_tile if whole else timing.stream_start(block + 1)
        for u in range(bank, timing.blocks * tiles, banks):
            block, j = divmod(u, tiles)
            key = j * machine.key_tile + row
            read = timing.stream_start(block) + key
            arrivals.append((0 if u < banks else done[u - banks], key if key < timing.n_keys else -1, read))
    out = []
    for cycle in range(timing.head_cycles):
        there = [a for a in arrivals if a[0] <= cycle]
        held, read = (there[-1][1], there[-1][2]) if there else (-1, None)
        alive = held >= 0 and read is not None and read >= cycle
        out.append((held, int(read) if alive else int(NEVER)))
    return out
