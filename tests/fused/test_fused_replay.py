"""Replay is the stepped engine, bit for bit, for every register."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.faults.fault import Fault
from accel_sim.faults.universe import Universe
from accel_sim.fused.replay import FusedReplay
from accel_sim.fused.stepped import SteppedFused
from accel_sim.machines.fused import FusedMachine
from fused.draw import (
    Head,
    as_replayed,
    as_told,
    falls_back,
    fault_arguments,
    head,
    machine,
    random_fault,
    random_head,
    random_machine,
)

SEQUENCER = {"phase", "timer", "key_tile", "query_tile", "last_key_tile", "last_query_tile", "acc_step", "acc_first",
             "feed_sel", "feed_arg", "skew_mode"}
"""Registers whose faults replay leaves to the stepped engine."""


def compare(m: FusedMachine, job: Head, faults: list[Fault]) -> tuple[list[str], int]:
    """(what is wrong, how many faults fell back though they are not in the sequencer)."""
    stepped, replay = SteppedFused(m, job), FusedReplay(m, job)
    assert replay.golden.same_as(stepped.golden())
    out = replay.outcomes(*fault_arguments(m, faults))
    wrong, back = [], 0
    for i, fault in enumerate(faults):
        if falls_back(out, i):
            back += fault.register not in SEQUENCER
            continue
        assert fault.register not in SEQUENCER
        injection = stepped.inject(fault)
        told, replayed = as_told(m, replay.golden, injection.result), as_replayed(out, i, replay.golden_square)
        if told != replayed or out.differs[i] != (told[0] > 0):
            wrong.append(f"{fault}: stepped {told}, replayed {replayed}")
        if not np.isnan(out.old_value[i]) and (out.old_value[i], out.new_value[i]) != (
                injection.old_value, injection.new_value) and not np.isnan(injection.new_value):
            wrong.append(f"{fault}: {injection.old_value} -> {injection.new_value}, "
                         f"replayed {out.old_value[i]} -> {out.new_value[i]}")
    return wrong, back


@pytest.mark.parametrize("seed", range(36))
def test_random_machines(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = random_machine(rng)
    job = random_head(m, rng)
    cycles = m.timing(job.q.shape[0], job.k.shape[0]).head_cycles
    names = [r.name for r in m.inventory if r.name not in SEQUENCER]
    faults = [random_fault(m, cycles, rng, str(rng.choice(names))) for _ in range(500)]
    wrong, _ = compare(m, job, faults)
    assert not wrong, wrong[:5]


@pytest.mark.parametrize("columns, part", [(0, 13), (1, 11), (2, 17)])
def test_every_register(columns: int, part: int) -> None:
    """Every element of every register in a share of the cycles of a 4 × 4 array; of its bits, each in its turn."""
    m = machine(4, columns)
    job = head(m, 5, 6, seed=columns, causal=True, limit=0.02)
    cycles = m.timing(5, 6).head_cycles
    faults = []
    for register in m.inventory:
        if register.name in SEQUENCER:
            continue
        for number, index in enumerate(np.ndindex(*register.shape)):
            for cycle in range(number % part, cycles, part):
                faults.append(Fault(cycle, register.name, tuple(index), (cycle * 7 + number) % register.width_bits))
    wrong, back = compare(m, job, faults)
    assert not wrong, wrong[:5]
    assert back < len(faults) // 400


def test_uniform_faults_on_a_larger_array() -> None:
    m = machine(16)
    job = head(m, 40, 70, seed=3, limit=0.05)
    universe = Universe.of(m.inventory, m.timing(40, 70).head_cycles)
    points = universe.points(universe.draw(1, 0, 1500))
    faults = []
    for register, element, bit, cycle in zip(points.register, points.element, points.bit, points.cycle, strict=True):
        array = universe.registers[int(register)]
        index = tuple(int(i) for i in np.unravel_index(int(element), array.shape)) if array.shape else ()
        faults.append(Fault(int(cycle), array.name, index, int(bit)))
    faults = [fault for fault in faults if fault.register not in SEQUENCER]
    wrong, back = compare(m, job, faults)
    assert not wrong, wrong[:5]
    assert back == 0


def test_it_does_not_matter_how_faults_are_dealt_out() -> None:
    m = machine(6, 1, "query_block")
    job = head(m, 14, 13, seed=8, limit=0.02)
    rng = np.random.default_rng(4)
    faults = [random_fault(m, m.timing(14, 13).head_cycles, rng) for _ in range(400)]
    replay = FusedReplay(m, job)
    whole = replay.outcomes(*fault_arguments(m, faults))
    for first, last in ((200, 400), (0, 50), (50, 200)):
        part = replay.outcomes(*fault_arguments(m, faults[first:last]))
        for name, values in part._asdict().items():
            np.testing.assert_array_equal(values, getattr(whole, name)[first:last], name)
