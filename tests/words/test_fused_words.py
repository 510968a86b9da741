"""Faults in SRAM words of the fused machine: what a struck tile comes to, and what its code makes of it."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly
from accel_sim.engines.job import make_job
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.faults.universe import Point
from accel_sim.kinds import run_golden, simulate_system, srams_of, stepped_engine
from accel_sim.machines.fused import FEED_K, FEED_Q, FEED_V
from accel_sim.numerics.rounding import flip_bits
from words.compare import ALL_KINDS, ECC, Every, assembled, same_records

N = 4
"""Rows and columns of the array of tiny-fused."""


def engine_of(assembly: Assembly):
    return stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))


def changed_run(assembly: Assembly, tensor: str, row: int, col: int, bit: int) -> np.ndarray:
    """Fault-free outputs of the head with one bit of one operand inverted."""
    job, codec = assembly.job(assembly.workload.heads[0]), assembly.machine.formats["operand"].codec
    operands = {"q": job.q.copy(), "k": job.k.copy(), "v": job.v.copy()}
    operands[tensor][row, col] = flip_bits(operands[tensor][row, col], codec, codec, np.uint64(1 << bit))
    return run_golden(assembly.machine, make_job(assembly.machine, **operands)).output


@pytest.mark.parametrize("ecc", ECC)
@pytest.mark.parametrize("changes", [{}, {"memory.kv_resident": True, "memory.o_buffers": 3},
                                     {"workload.queries": 3, "workload.keys": 3}])
def test_what_is_struck_is_what_is_priced_and_what_the_system_fills(ecc, changes):
    assembly = assembled("tiny-fused", changes, {"memory.ecc": ecc})
    w, machine = assembly.workload, assembly.machine
    capacity = simulate_system(machine, assembly.config.memory, w.n_queries, w.n_keys).sram_bytes
    priced = {sram.tensor: sram for sram in srams_of(machine, assembly.timing)}
    assert [m.tensor for m in assembly.memories] == list("qkvo")
    for memory in assembly.memories:
        assert memory.data_bits == 8 * capacity[memory.tensor]
        assert memory.bits == priced[memory.tensor].bits == memory.size * memory.width_bits
        if memory.data_bits % (64 * memory.shape[0]) == 0:
            assert memory.word_bits == 64 and memory.check_bits == {"none": 0, "parity": 1, "secded": 8}[ecc]
    universe = assembly.universe
    assert universe.size == sum(m.bits for m in assembly.memories) * assembly.system.cycles
    some = np.arange(0, universe.size, 1 + universe.size // 999)
    points = universe.points(some)
    assert [universe.index(Point(*(int(field[i]) for field in points))) for i in range(len(some))] == some.tolist()


@pytest.mark.parametrize("ecc", ECC)
def test_every_bit_of_every_word_in_every_cycle(ecc):
    """Parity sees every strike that is read, SECDED corrects every one."""
    assembly = assembled("tiny-fused", {
        "memory.ecc": ecc, "architecture.formats": {"operand": "fp8_e5m2", "sum": "fp16"}, "workload.queries": 3,
        "workload.keys": 3, "memory.q_buffers": 1, "memory.kv_buffers": 1, "memory.o_buffers": 1})  # fmt: skip
    step = 17  # prime to the bits of a cycle, so that every bit is struck, and in every cycle
    assert np.gcd(step, assembly.universe.bits) == 1
    records = same_records(assembly, assembly.universe.size // step, Every(step))
    differs, memory_alarm = records["outcome"] % 2 == 1, records["alarm_by"] == 2
    if ecc == "none":
        assert set(records["register"][differs]) == {0, 1, 2, 3} and not memory_alarm.any()
    elif ecc == "parity":
        assert memory_alarm[differs].all() and memory_alarm.sum() > differs.sum() > 0
    else:
        assert not differs.any() and not records["alarm"].any()


UNITS = [
    [], [{"kind": "fused_output", "columns": 3, "granularity": "head", "threshold": {"kind": "relative", "value": 1e-3}}],
    [{"kind": "fused_output", "granularity": "query_block", "threshold": {"kind": "absolute", "value": 0.1}},
     {"kind": "softmax_invariants", "which": ["sum", "max", "score"], "threshold": {"kind": "absolute", "value": 0.1}}],
    [{"kind": "fused_output", "threshold": {"kind": "absolute", "value": 0.1}},
     {"kind": "invariants", "threshold": {"kind": "absolute", "value": 0.1}}],
    [{"kind": "fused_output", "threshold": {"kind": "absolute", "value": 0.1}}, {"kind": "parity", "parts": ["machine"]}],
    [{"kind": "score_rowsum", "threshold": {"kind": "absolute", "value": 1e-3}}],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_records_are_those_of_the_stepped_engine_on_any_machine(seed):
    """Every format, protection, kind and number of buffers, behind memories that stall; registers among them."""
    rng = np.random.default_rng(seed)
    alarms, by = np.zeros(3, dtype=np.int64), np.zeros(4, dtype=np.int64)
    for units in UNITS:
        size = int(rng.integers(4, 9))
        queries, keys = int(rng.integers(1, 3 * size)), int(rng.integers(1, 4 * size))
        bandwidth = float(rng.choice([1, 8, 1000]))
        records = same_records(assembled("tiny-fused", {
            "architecture.head_dim": size, "architecture.max_keys": 64, "architecture.max_queries": 64,
            "architecture.formats": {"operand": str(rng.choice(["bf16", "fp16", "fp32", "fp8_e5m2"]))},
            "architecture.subnormals": str(rng.choice(["keep", "flush"])), "checker.units": units,
            "workload.queries": queries, "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
            "workload.mask.causal": bool(queries <= keys and rng.random() < 0.5),
            "faults.targets": ["sram"] if rng.random() < 0.7 else ["registers", "sram"],
            "faults.kinds": list(KINDS), "faults.stuck_cycles": int(rng.integers(1, 60)),
            "faults.burst_bits": int(rng.integers(2, 6)), "memory.ecc": str(rng.choice(ECC)),
            "memory.kv_resident": bool(rng.random() < 0.3), "memory.off_chip.bandwidth_bytes_per_cycle": bandwidth,
            **{f"memory.{name}_buffers": int(rng.integers(1, 4)) for name in ("q", "kv", "o")},
        }), 150)  # fmt: skip
        alarms += np.bincount(records["alarm_by"], minlength=3)
        by += np.bincount(records["outcome"], minlength=4)
    assert alarms[2] and by[0] and by[1]


def test_beside_a_unit_that_replay_does_not_know_wrong_words_are_flips_in_registers_or_run(monkeypatch):
    """A word that is read once goes into `feed`, whatever looks at what comes of it; others are left to be run."""
    monkeypatch.setattr("accel_sim.fused.replay_words.KNOWN", {"fused_output"})
    for sizes in ({"workload.keys": 14}, {"memory.kv_resident": True}):
        assembly = assembled("tiny-fused", ALL_KINDS, sizes, {
            "checker.units": UNITS[2], "workload.queries": 7, "architecture.max_keys": 64, "memory.ecc": "parity"})
        records = same_records(assembly, 300)
        assert len(np.unique(records["outcome"])) >= 2


def test_words_stored_more_narrowly_than_they_are_computed_with():
    stored = {"operand": "bf16", "output": "fp16"}
    assembly = assembled("tiny-fused", ALL_KINDS, {"architecture.formats": {"operand": "fp32"}, "memory.ecc": "parity",
                                                   "faults.register_format": stored})
    assert assembly.memories["k_sram"].word_elements == 4
    same_records(assembly, 500)


# ---- when words are read and written


def test_reads_are_those_of_the_scratchpad_port():
    """Elements that are all different show in `feed`, and queries in `rowsum_query`, which of them was read in the cycle
    before."""
    assembly = assembled("tiny-fused", {"workload.queries": 7, "workload.keys": 10, "architecture.max_keys": 64,
                                        "checker.units": ["score_rowsum"]})
    machine, given = assembly.machine, assembly.job(assembly.workload.heads[0])
    fresh = np.arange(1.0, 1.0 + given.q.size + 2 * given.k.size)
    q, k, v = np.split(fresh, [given.q.size, given.q.size + given.k.size])
    tensors = {"q": q.reshape(given.q.shape), "k": k.reshape(given.k.shape), "v": v.reshape(given.v.shape)}
    engine = stepped_engine(machine, make_job(machine, **tensors))
    seen: dict[float, list[int]] = {}
    outs: dict[tuple[int, int], int] = {}
    at = machine.inventory.offsets

    def watch(cycle, state):
        if state[at["feed_sel"]] in (FEED_Q, FEED_K, FEED_V):
            for value in state[at["feed"]:at["feed"] + N]:
                seen.setdefault(float(value), []).append(cycle - 1)
        if state[at["rowsum_valid"]]:
            for value in state[at["rowsum_query"]:at["rowsum_query"] + N]:
                seen.setdefault(float(value), []).append(cycle - 1)
        if state[at["out_valid"]] and state[at["out_dim"]] < N:
            outs[int(state[at["out_tile"]]), int(state[at["out_dim"]])] = cycle

    engine.engine.run(watch=watch)
    words = engine.engine.words
    counted = 0
    for tensor, values in tensors.items():
        found: dict[float, list[int]] = {}
        for spells in words.spells[tensor]:
            for spell in spells:
                for row in range(spell.tile.rows):
                    for col in range(N):
                        value = float(values[spell.tile.index[0] * N + row, col])
                        where = (spell.tile.index[0] * N + row, col)
                        found.setdefault(value, []).extend(words.reads_of(spell, where))
        for value in values.reshape(-1).tolist():
            assert sorted(found[value]) == seen[value]
            counted += len(seen[value])
    assert counted == sum(len(cycles) for value, cycles in seen.items() if value)
    for spells in words.spells["o"]:
        for spell in spells:
            for dim in range(N):
                block = spell.tile.index[0]
                assert words.writes_of(spell, (block * N, dim)) == [outs[block, dim]]


def test_a_slot_has_its_tile_as_long_as_the_plan_lets_it():
    """Of three key tiles in two slots the first two are there from reset, the third when the first has been used."""
    assembly = assembled("tiny-fused", {"workload.queries": 3, "workload.keys": 12, "architecture.max_keys": 64})
    words, timing = engine_of(assembly).engine.words, assembly.timing
    first, second = words.spells["k"]
    assert [(s.tile.index, s.begin) for s in first + second] == [
        ((0,), 0), ((2,), timing.tile_start(0, 1) - timing.durations.value), ((1,), 0)]
    (out,), (never,) = words.spells["o"][0], words.spells["o"][1:] or ((),)
    assert out.leaves == timing.head_cycles and not never


# ---- what a wrong word does


def test_a_struck_query_is_another_query_from_the_next_key_tile_on():
    assembly = assembled("tiny-fused", {"workload.keys": 8})
    engine, timing = engine_of(assembly), assembly.timing
    golden, other = engine.golden().output, changed_run(assembly, "q", 2, 1, 15)
    for cycle in (0, N - 1 - 2):  # query 2 is read in cycle 1 of LoadStationary
        result = engine.inject(Fault(cycle, "q_sram", (0, 2), 16 + 15)).result
        assert np.array_equal(result.output, other) and not np.array_equal(other[2], golden[2])
    second = engine.inject(Fault(2, "q_sram", (0, 2), 16 + 15)).result
    assert not np.array_equal(second.output, other) and not np.array_equal(second.output, golden)
    last = timing.tile_start(0, 1) + N - 1 - 2
    assert engine.inject(Fault(last + 1, "q_sram", (0, 2), 16 + 15)).result.same_as(engine.golden())
    assert not engine.live(Fault(last + 1, "q_sram", (0, 2), 31)) and engine.live(Fault(last, "q_sram", (0, 2), 31))


@pytest.mark.parametrize("tensor", ["k", "v"])
def test_a_resident_key_is_another_key_for_all_later_blocks(tensor):
    assembly = assembled("tiny-fused", {"workload.queries": 8, "memory.kv_resident": True})
    engine, timing = engine_of(assembly), assembly.timing
    golden, other = engine.golden().output, changed_run(assembly, tensor, 1, 2, 15)
    word, bit = (1, 2 * 16 + 15) if tensor == "k" else (2, 16 + 15)  # v lies dimension by dimension
    for cycle, blocks in ((0, 2), (timing.block, 1), (2 * timing.block - 1, 0)):
        output = engine.inject(Fault(cycle, f"{tensor}_sram", (0, word), bit)).result.output
        kept = 8 - blocks * N
        assert np.array_equal(output[kept:], other[kept:]) and np.array_equal(output[:kept], golden[:kept])
    assert not np.array_equal(golden[N:], other[N:]) and not np.array_equal(golden[:N], other[:N])


def test_a_struck_output_is_delivered_and_no_check_unit_sees_it():
    assembly = assembled("tiny-fused")
    engine, timing = engine_of(assembly), assembly.timing
    golden = engine.golden()
    cycle = timing.norm_start(0) + 3  # dimension 1 is stored in the cycle before
    result = engine.inject(Fault(cycle, "o_sram", (0, 3), 32 + 31)).result
    assert result.output[3, 1] == -golden.output[3, 1] and result.alarm_cycle is None
    result.output[3, 1] = golden.output[3, 1]
    assert np.array_equal(result.output, golden.output)
    assert engine.inject(Fault(cycle - 1, "o_sram", (0, 3), 32 + 31)).result.same_as(golden)


def test_a_code_corrects_or_alarms_in_the_cycle_after_the_read():
    for ecc, bits, alarmed, wrong in (
            ("parity", 1, True, True), ("parity", 2, False, True), ("secded", 1, False, False),
            ("secded", 2, True, True), ("none", 1, False, True)):  # fmt: skip
        assembly = assembled("tiny-fused", {"memory.ecc": ecc})
        engine, timing = engine_of(assembly), assembly.timing
        for register, index, read in (("k_sram", (0, 1), timing.durations.load + 1), ("o_sram", (0, 0), None)):
            cycle = 0 if read else timing.head_cycles - 30
            result = engine.inject(Fault(cycle, register, index, 13, "burst" if bits > 1 else "flip", bits)).result
            readable = timing.head_cycles if read is None else read + 1
            assert result.memory_alarm_cycle == (readable if alarmed else None), (ecc, register)
            assert np.array_equal(result.output, engine.golden().output) != wrong


def test_several_faults_in_a_word_meet_its_code_together():
    assembly = assembled("tiny-fused", {"memory.ecc": "secded"})
    engine = engine_of(assembly)
    one, other = Fault(0, "k_sram", (0, 1), 3), Fault(2, "k_sram", (0, 1), 40)
    assert engine.run([one]).same_as(engine.golden()) and engine.run([other]).same_as(engine.golden())
    both = engine.run([one, other])
    assert both.memory_alarm_cycle is not None and not np.array_equal(both.output, engine.golden().output)
    assert engine.run([one, Fault(1, "k_sram", (0, 1), 3)]).same_as(engine.golden())
    register = Fault(40, "s", (1, 1), 14)
    mixed, alone = engine.run([one, other, register]), engine.run([register])
    assert mixed.memory_alarm_cycle == both.memory_alarm_cycle and not np.array_equal(mixed.output, alone.output)
