"""Faults in SRAM words: what a struck row comes to, in the words of attention, and what its code makes of it."""

from __future__ import annotations

import numpy as np
import pytest
from engines.draw import Case, machine_with, random_job, random_machine

from accel_sim.assembly import assemble
from accel_sim.config import ConfigError, load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.faults.universe import Point, Universe
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.memories import memories
from accel_sim.numerics.rounding import flip_bits

LANES, D, TILE, NQ, N = 2, 4, 4, 5, 10


def case_with(ecc: str = "none", **memory: object) -> Case:
    base = machine_with(lanes=LANES, head_dim=D, key_tile=TILE, formats={"operand": "bf16", "state": "fp32"})
    machine = LanesMachine(base.config.changed({"memory.ecc": ecc, **{f"memory.{k}": v for k, v in memory.items()}}))
    rng = np.random.default_rng(5)
    bf16 = machine.formats["operand"]
    tensors = [bf16.decode(bf16.encode(np.round(rng.standard_normal((rows, D)) * 16) / 16)) for rows in (NQ, N, N)]
    return Case(machine, make_job(machine, *tensors).with_threshold(1e-3, 1e-2))


def with_row(case: Case, tensor: str, row: int, dim: int, bit: int) -> np.ndarray:
    """Fault-free outputs of a head in which one operand has one bit inverted."""
    job, bf16 = case.job, case.machine.formats["operand"].codec
    operands = {"q": job.q.copy(), "k": job.k.copy(), "v": job.v.copy()}
    operands[tensor][row, dim] = flip_bits(operands[tensor][row, dim], bf16, bf16, np.uint64(1 << bit))
    return run_golden(case.machine, make_job(case.machine, **operands)).output


@pytest.mark.parametrize("tensor", ["k", "v"])
def test_a_struck_key_is_another_key_for_one_block_of_queries(tensor):
    """Key 6 is row 2 of tile 1. In block 1 that is tile 4 of the head (three a block), in bank 0, from tile 2 on."""
    case = case_with()
    engine, timing = case.engine, case.engine.timing
    golden, other = engine.golden().output, with_row(case, tensor, 6, 1, 14)
    assert not np.array_equal(golden, other)
    first, read = timing.stream_start(1), timing.stream_start(1) + 6
    for cycle in (first, read - 3, read):
        result = engine.inject(Fault(cycle, f"{tensor}_sram", (0, 2, 0), 16 + 14)).result
        assert np.array_equal(result.output[2:4], other[2:4]) and not np.array_equal(result.output[2:4], golden[2:4])
        assert np.array_equal(np.delete(result.output, [2, 3], 0), np.delete(golden, [2, 3], 0))
    after = engine.inject(Fault(read + 1, f"{tensor}_sram", (0, 2, 0), 16 + 14)).result
    assert after.same_as(engine.golden())


def test_a_resident_key_is_another_key_for_all_later_blocks():
    case = case_with(kv_resident=True)
    engine, timing = case.engine, case.engine.timing
    golden, other = engine.golden().output, with_row(case, "k", 6, 1, 14)
    result = engine.inject(Fault(timing.stream_start(0) + 7, "k_sram", (1, 2, 0), 16 + 14)).result
    assert np.array_equal(result.output, np.concatenate([golden[:2], other[2:]]))


def test_a_struck_query_is_another_query():
    """Query 3 is row 1 of block 1, in bank 1, from reset until swap 1 loads it."""
    case = case_with()
    engine, timing = case.engine, case.engine.timing
    golden, other = engine.golden().output, with_row(case, "q", 3, 2, 13)
    for cycle in (0, timing.swap_start(1) + 1):
        result = engine.inject(Fault(cycle, "q_sram", (1, 1, 0), 32 + 13)).result
        assert np.array_equal(result.output[3], other[3]) and not np.array_equal(other[3], golden[3])
        assert np.array_equal(np.delete(result.output, 3, 0), np.delete(golden, 3, 0))
    assert engine.inject(Fault(timing.swap_start(1) + 2, "q_sram", (1, 1, 0), 45)).result.same_as(engine.golden())


def test_a_struck_output_leaves_as_it_stands_and_the_check_does_not_see_it():
    """Query 1 is row 1 of bank 0; query 5 would replace it, but there are five queries, so it leaves at the end."""
    case = case_with()
    engine, timing = case.engine, case.engine.timing
    golden = engine.golden()
    stored = timing.out_cycle(1)
    for cycle in (stored + 1, golden.cycles - 1):
        result = engine.inject(Fault(cycle, "o_sram", (0, 1, 1), 31)).result
        assert result.output[1, 2] == -golden.output[1, 2] != 0
        assert result.alarm_cycle is None and np.sum(result.output != golden.output) == 1
    assert engine.inject(Fault(stored, "o_sram", (0, 1, 1), 31)).result.same_as(golden)
    # Query 0 leaves as query 4 is stored over it.
    replaced = timing.out_cycle(4)
    for cycle, row in ((replaced, 0), (replaced + 1, 4)):
        result = engine.inject(Fault(cycle, "o_sram", (0, 0, 0), 31)).result
        assert result.output[row, 0] == -golden.output[row, 0]
        assert np.flatnonzero((result.output != golden.output).any(axis=1)).tolist() == [row]


def test_codes_alarm_in_the_cycle_of_the_read():
    read = case_with().engine.timing.stream_start(0) + 2
    for ecc, bits, alarmed, wrong in (
        ("none", 1, False, True), ("parity", 1, True, True), ("parity", 2, False, True),
        ("secded", 1, False, False), ("secded", 2, True, True),
    ):  # fmt: skip
        engine = case_with(ecc).engine
        kind = "burst" if bits > 1 else "flip"
        result = engine.inject(Fault(1, "k_sram", (0, 2, 0), 13, kind, bits)).result
        assert result.memory_alarm_cycle == (read + 1 if alarmed else None)
        assert np.array_equal(result.output, engine.golden().output) != wrong
        assert result.raised == (("memory", read + 1) if alarmed else ("none", None))


@pytest.mark.parametrize("ecc", ["parity", "secded"])
def test_check_bits_are_struck_too(ecc):
    engine = case_with(ecc).engine
    width = engine.memories["k_sram"].width_bits
    for bit in range(64, width):
        result = engine.inject(Fault(1, "k_sram", (0, 2, 0), bit)).result
        assert np.array_equal(result.output, engine.golden().output)
        assert (result.memory_alarm_cycle is not None) == (ecc == "parity")


def test_a_stuck_bit_outlasts_a_rewrite():
    """Held through a whole head, bit 31 of an output word is forced in the row that stands there first and in the row
    that replaces it."""
    case = case_with()
    engine, golden = case.engine, case.engine.golden()
    result = engine.inject(Fault(0, "o_sram", (0, 0, 0), 31, "stuck1", duration=golden.cycles)).result
    want = golden.output.copy()
    want[[0, 4], 0] = -np.abs(want[[0, 4], 0])
    assert np.array_equal(result.output, want)


@pytest.mark.parametrize("seed", range(2))
def test_an_injection_is_the_run_from_the_start(seed):
    rng = np.random.default_rng(seed)
    raised = set()
    for _ in range(10):
        case = random_sram_case(rng)
        engine = case.engine
        cycles = engine.golden().cycles
        for _ in range(12):
            fault = random_sram_fault(engine, cycles, rng)
            result = engine.inject(fault).result
            assert result.same_as(engine.run([fault])), (fault, case.machine.config)
            raised.add(result.raised[0])
    assert "memory" in raised


def test_several_words_and_registers_at_once():
    """A register and two words of one row: what they do together is what each does where the others do nothing."""
    case = case_with()
    engine, timing = case.engine, case.engine.timing
    fetch = timing.stream_start(0) + 2
    faults = [Fault(1, "k_sram", (0, 2, 0), 13), Fault(fetch, "k_sram", (0, 2, 0), 13)]
    assert engine.run(faults).same_as(engine.golden())  # the second puts back what the first inverted
    same = [Fault(1, "k_sram", (0, 2, 0), 13), Fault(fetch + 1, "k", (0,), 13)]
    assert engine.run(same).same_as(engine.golden())


def random_sram_case(rng: np.random.Generator) -> Case:
    config = random_machine(rng).config.changed({
        "memory.ecc": str(rng.choice(["none", "parity", "secded"])),
        "memory.kv_resident": bool(rng.random() < 0.2),
        **{f"memory.{name}_buffers": int(rng.integers(1, 4)) for name in ("q", "kv", "o")},
    })  # fmt: skip
    machine = LanesMachine(config)
    return Case(machine, random_job(machine, rng))


def random_sram_fault(engine: SteppedEngine, cycles: int, rng: np.random.Generator) -> Fault:
    memory = engine.memories.memories[int(rng.integers(4))]
    index = tuple(int(rng.integers(min(n, 12))) for n in memory.shape)
    kind, bit = str(rng.choice(KINDS)), int(rng.integers(memory.width_bits))
    bits = min(int(rng.integers(2, 5)), memory.width_bits - bit) if kind == "burst" else 1
    duration = int(rng.integers(1, 60)) if kind.startswith("stuck") else 1
    return Fault(int(rng.integers(cycles)), memory.name, index, bit, kind, bits, duration)


# -- the universe ---------------------------------------------------------------------------------------------------

SRAM = {"faults.targets": ["sram"], "memory.ecc": "secded"}
BOTH = {"faults.targets": ["registers", "sram"], "memory.ecc": "parity"}


@pytest.mark.parametrize("changes", [SRAM, BOTH], ids=["sram", "both"])
def test_every_index_is_one_point_and_back(changes):
    assembly = assemble(load_config("tiny", changes), measure=False)
    universe = assembly.universe
    small = Universe(universe.registers, cycles=3, heads=2)
    points = small.points(np.arange(small.size))
    back = [small.index(Point(*(int(x) for x in point))) for point in zip(*points, strict=True)]
    assert back == list(range(small.size))
    bits = sum(m.bits for m in memories(assembly.machine))
    assert universe.bits == bits + (assembly.machine.inventory.bits if "registers" in changes["faults.targets"] else 0)
    assert [r.name for r in universe.registers][-4:] == ["q_sram", "k_sram", "v_sram", "o_sram"]


def test_registers_alone_are_the_default_and_have_the_universe_they_had():
    assembly = assemble(load_config("tiny"), measure=False)
    assert assembly.universe.registers == assembly.machine.inventory.registers
    assert not any(component.startswith("sram") for component in assembly.components)
    both = assemble(load_config("tiny", BOTH), measure=False)
    assert both.universe.registers[:-4] == assembly.universe.registers


def test_components_of_the_sram_can_be_chosen():
    assembly = assemble(load_config("tiny", {**BOTH, "faults.components": ["sram.k", "score"]}), measure=False)
    assert {r.component for r in assembly.universe.registers} == {"sram.k", "score"}
    for targets, component in ((["sram"], "score"), (["registers"], "sram.k")):
        changed = load_config("tiny", {"faults.targets": targets, "faults.components": [component]})
        with pytest.raises(ConfigError, match=rf"no component '{component}'.*faults.targets: \[{targets[0]}\]"):
            _ = assemble(changed, measure=False).universe


@pytest.mark.parametrize(("fault", "message"), [
    (Fault(0, "k_srm", (0, 0, 0)), r"no register 'k_srm'; did you mean 'k_sram'\?"),
    (Fault(0, "k_sram", (2, 0, 0)), r"k_sram has shape \(2, 4, 1\) \(banks, rows, words\)"),
    (Fault(0, "k_sram", (0,)), r"index \(0,\) does not fit"),
    (Fault(0, "k_sram", (0, 0, 0), 65), "k_sram has bits 0 to 64"),
    (Fault(0, "k_sram", (0, 0, 0), 64, "burst", 2), "k_sram has bits 0 to 64"),
])  # fmt: skip
def test_words_that_are_not_there_are_refused(fault, message):
    with pytest.raises(ValueError, match=message):
        case_with("parity").engine.inject(fault)
