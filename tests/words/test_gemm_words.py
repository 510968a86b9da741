"""Faults in SRAM words of the gemm machine: operands, scores, weights, sums between folds, outputs; plain products."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.config import ConfigError, load_config
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.kinds import run_golden, simulate_system, srams_of, stepped_engine
from accel_sim.numerics.rounding import flip_bits
from accel_sim.words.plan import place
from words.compare import ALL_KINDS, ECC, Every, as_changed, assembled, same_records

FLOWS = ("ws", "os", "is")
SIGN = 15
"""Sign bit of a bf16 operand."""

QUIET = {"checker.units": [
    {"kind": "gemm", "sides": "both", "columns": 2, "threshold": {"kind": "absolute", "value": 0.5}},
    {"kind": "fused_output", "granularity": "query_block", "threshold": {"kind": "absolute", "value": 0.5}}]}
"""Checks of a small head that say nothing about a fault-free run."""

PLAIN = {
    "workload": {"kind": "gemm", "m": 5, "n": 6, "k": 7}, "architecture.max_keys": 64, "architecture.max_queries": 64,
    "checker.units": [{"kind": "gemm", "products": ["qk"], "columns": 2,
                       "threshold": {"kind": "absolute", "value": 0.5}}],
}  # fmt: skip


def small(flow: str, *changes: dict[str, object]) -> Assembly:
    return assembled("tiny-gemm", {"architecture.dataflow": flow}, *(changes or (QUIET,)))


def engine_of(assembly: Assembly):
    return stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))


@pytest.mark.parametrize("ecc", ECC)
@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("changes", [QUIET, PLAIN], ids=["attention", "plain"])
def test_what_is_struck_is_what_is_priced_and_what_the_system_fills(flow, ecc, changes):
    assembly = small(flow, changes, {"memory.ecc": ecc})
    w, machine = assembly.workload, assembly.machine
    capacity = simulate_system(machine, assembly.config.memory, w.n_queries, w.n_keys).sram_bytes
    priced = {sram.tensor: sram for sram in srams_of(machine, assembly.timing)}
    assert {m.tensor for m in assembly.memories} == set(capacity) == set("qko" if changes is PLAIN else "qkvspuo")
    for memory in assembly.memories:
        assert memory.data_bits == 8 * capacity[memory.tensor]
        assert memory.bits == priced[memory.tensor].bits == memory.size * memory.width_bits
    assert assembly.universe.bits == sum(m.bits for m in assembly.memories)


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("ecc", ECC)
def test_every_bit_of_every_word_in_every_cycle(flow, ecc):
    changes = {"ws": PLAIN, "os": QUIET, "is": QUIET}[flow]
    assembly = small(flow, changes, {"memory.ecc": ecc, "workload.m" if changes is PLAIN else "workload.queries": 3})
    step = next(n for n in range(assembly.universe.size // 500, 10**9) if np.gcd(n, assembly.universe.bits) == 1)
    records = same_records(assembly, assembly.universe.size // step, Every(step))
    differs, memory_alarm = records["outcome"] % 2 == 1, records["alarm_by"] == 2
    if ecc == "none":
        assert set(records["register"][differs]) == set(range(3 if changes is PLAIN else 7))
    elif ecc == "parity":
        assert records["alarm"][differs].all() and memory_alarm.any()
    else:
        assert not differs.any() and not records["alarm"].any()


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("changes", [
    QUIET, PLAIN, {"architecture.cols": 3, "architecture.vector_lanes": 3, "workload.queries": 7,
                   "checker.units": [{"kind": "score_rowsum", "threshold": {"kind": "absolute", "value": 0.5}}]}],
    ids=["attention", "plain", "row sums of scores"])  # fmt: skip
def test_an_operand_struck_before_its_first_read_is_another_operand(flow, changes):
    """And so the cycles are right in which it is read: a wrong word shows in no other."""
    assembly = small(flow, changes, {"memory.kv_resident": True, "memory.q_buffers": 8})
    engine, machine = engine_of(assembly), assembly.machine
    job, plan = engine.job, engine.engine.given.words
    codec = machine.formats["operand"].codec
    checked = 0
    for memory in (m for m in assembly.memories if m.tensor in "qkv"):
        for slot, spells in enumerate(plan.spells[memory.tensor]):
            for spell in spells:
                again = sum(other.tile.name == spell.tile.name for some in plan.spells[memory.tensor] for other in some)
                for word in range(0, memory.shape[1], 2):
                    i = (slot + word) % memory.word_elements
                    where = place(plan, spell.tile, plan.elements(memory, word)[i])
                    if where is None or again > 1:
                        continue
                    operands = getattr(job, memory.tensor).copy()
                    operands[where] = flip_bits(operands[where], codec, codec, np.uint64(1 << SIGN))
                    want = run_golden(machine, replace(job, **{memory.tensor: operands}))
                    bit, reads = 16 * i + SIGN, plan.reads_of(spell, where)
                    first = Fault(min(reads), memory.name, (slot, word), bit)
                    assert engine.inject(first).result.same_as(replace(want, cycles=engine.golden().cycles))
                    assert engine.live(first) and not engine.live(replace(first, cycle=_last(plan, memory, word, spell) + 1))
                    late = engine.inject(replace(first, cycle=max(reads) + 1)).result
                    assert late.same_as(engine.golden())
                    checked += 1
    assert checked > 8


def _last(plan, memory, word, spell) -> int:
    """The last read of any element of a word."""
    found = [place(plan, spell.tile, element) for element in plan.elements(memory, word)]
    return max(cycle for where in found if where is not None for cycle in plan.reads_of(spell, where))


def test_checksums_are_formed_of_what_the_encoder_reads():
    """A key that is wrong before the encoder takes it is wrong on both sides; behind it, the check sees it."""
    assembly = small("ws", {"checker.units": [{"kind": "gemm", "products": ["qk"], "columns": 3,
                                               "threshold": {"kind": "absolute", "value": 1e-3}}]})
    engine = engine_of(assembly)
    golden, phase = engine.golden(), assembly.timing.by_name["encode_qk_rows"]
    before = engine.inject(Fault(0, "k_sram", (0, 0), SIGN)).result
    behind = engine.inject(Fault(phase.end, "k_sram", (0, 0), SIGN)).result
    assert np.array_equal(before.output, behind.output) and not np.array_equal(before.output, golden.output)
    assert before.alarm_cycle is None and behind.alarm_cycle is not None


def test_a_sum_between_folds_goes_on_from_what_is_read_back():
    assembly = small("ws", PLAIN)
    engine, job = engine_of(assembly), assembly.job(assembly.workload.heads[0])
    plan, product = engine.engine.given.words, assembly.timing.products["qk"]
    slot, spell = next((s, x) for s, spells in enumerate(plan.spells["o"]) for x in spells if x.tile.index == (0, 0))
    row, col, rows = 2, 1, product.rows
    memory = assembly.memories["o_sram"]
    flat = row * memory.tile[1] + col
    word, i = divmod(flat, memory.word_elements)
    reads, writes = plan.reads_of(spell, (row, col)), plan.writes_of(spell, (row, col))
    assert len(writes) == product.folding.row_folds == 3 and len(reads) == 2
    for fold in (1, 2):
        total = np.float32(0.0)
        for k in range(product.k):
            total = -total if k == fold * rows else total
            total = np.float32(total + np.float32(job.q[row, k] * job.k[col, k]))
        result = engine.inject(Fault(reads[fold - 1], "o_sram", (slot, word), 32 * i + 31)).result
        want = engine.golden().output.copy()
        want[row, col] = total
        assert np.array_equal(result.output, want)
        assert engine.inject(Fault(reads[fold - 1] + 1, "o_sram", (slot, word), 32 * i + 31)).result.same_as(
            engine.golden())
    struck = engine.inject(Fault(writes[-1] + 9, "o_sram", (slot, word), 32 * i + 31)).result
    assert struck.output[row, col] == -engine.golden().output[row, col] and struck.alarm_cycle is None


def test_a_score_is_read_twice():
    """Wrong for the weights alone, it is no maximum: the weight of a key far above it is larger than 1."""
    assembly = small("os", {"checker.units": []})
    engine, plan = engine_of(assembly), engine_of(assembly).engine.given.words
    golden = engine.engine._kept.head.memory
    query, key = 0, int(np.argmin(golden.s[0]))
    spell = plan.spells["s"][0][0]
    maximum, weight = plan.reads_of(spell, (query, key))
    memory = assembly.memories["s_sram"]
    word, i = divmod(query * memory.tile[1] + key, memory.word_elements)
    bit = 32 * i + 30 if abs(golden.s[query, key]) < 2 else 32 * i + 31  # a huge score, or one of the other sign
    both, one, none = (engine.inject(Fault(cycle, "s_sram", (0, word), bit)).result.output
                       for cycle in (maximum, maximum + 1, weight + 1))
    assert np.array_equal(none, engine.golden().output)
    assert not np.array_equal(one[query], none[query], equal_nan=True)
    assert not np.array_equal(both[query], one[query], equal_nan=True)
    for output in (both, one):
        assert np.array_equal(np.delete(output, query, 0), np.delete(none, query, 0))


UNITS = [
    [], [{"kind": "gemm", "sides": "both", "correct": True, "columns": 3, "threshold": {"kind": "absolute", "value": 0.5}}],
    [{"kind": "gemm", "sides": "rows", "threshold": {"kind": "absolute", "value": 0.5}},
     {"kind": "fused_output", "columns": 2, "threshold": {"kind": "absolute", "value": 0.5}}],
    [{"kind": "score_rowsum", "threshold": {"kind": "absolute", "value": 0.5}},
     {"kind": "softmax_invariants", "which": ["sum", "max", "score", "mask"],
      "threshold": {"kind": "absolute", "value": 0.5}}],
    [{"kind": "invariants", "threshold": {"kind": "absolute", "value": 0.5}}],
]  # fmt: skip


@pytest.mark.parametrize("seed", range(3))
def test_records_are_those_of_the_stepped_engine_on_any_machine(seed):
    """Every dataflow, format, protection, kind and number of buffers, behind memories that stall."""
    rng = np.random.default_rng(seed)
    outcomes, by = np.zeros(4, dtype=np.int64), np.zeros(3, dtype=np.int64)
    for units in UNITS:
        queries, keys = int(rng.integers(1, 12)), int(rng.integers(1, 16))
        reciprocal = {"architecture.divide": {"kind": "reciprocal_pwl", "pieces": 8}} if rng.random() < 0.3 else {}
        records = same_records(assembled("tiny-gemm", {
            "architecture.rows": int(rng.integers(2, 6)), "architecture.cols": int(rng.integers(2, 6)),
            "architecture.dataflow": str(rng.choice(FLOWS)), "architecture.head_dim": int(rng.integers(1, 8)),
            "architecture.vector_lanes": int(rng.integers(1, 5)), "checker.units": units, **reciprocal,
            "architecture.formats": {"operand": str(rng.choice(["bf16", "fp16", "fp32"]))},
            "architecture.max_keys": 64, "architecture.max_queries": 64, "workload.queries": queries,
            "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
            "workload.mask.causal": bool(queries <= keys and rng.random() < 0.4),
            "faults.targets": ["sram"] if rng.random() < 0.7 else ["registers", "sram"], "faults.kinds": list(KINDS),
            "faults.stuck_cycles": int(rng.integers(1, 60)), "faults.burst_bits": int(rng.integers(2, 6)),
            "memory.ecc": str(rng.choice(ECC)), "memory.kv_resident": bool(rng.random() < 0.3),
            "memory.off_chip.bandwidth_bytes_per_cycle": float(rng.choice([1, 8, 1000])),
            **{f"memory.{name}_buffers": int(rng.integers(1, 4)) for name in ("q", "kv", "o")},
        }), 120)  # fmt: skip
        outcomes += np.bincount(records["outcome"], minlength=4)
        by += np.bincount(records["alarm_by"], minlength=3)
    assert outcomes[:2].all() and by.any()


@pytest.mark.parametrize("flow", FLOWS)
def test_records_of_plain_products_are_those_of_the_stepped_engine(flow):
    integers = {"operand": "int8", **dict.fromkeys(("score", "state", "output", "checker"), "int32")}
    for changes in (ALL_KINDS, {"architecture.formats": integers, "checker.units.0.sides": "both"},
                    {"memory.ecc": "parity", **ALL_KINDS}):
        records = same_records(small(flow, PLAIN, changes), 150)
        assert len(np.unique(records["outcome"])) >= 2


def test_words_cannot_follow_a_tile_off_the_chip():
    config = load_config("tiny-gemm", {"faults.targets": ["sram"], "memory.sram_kib.s": 0.15,
                                       "architecture.dataflow": "os", "workload.queries": 8})
    assembly = assemble(config, measure=False)
    with pytest.raises(ConfigError, match=r"memory.sram_kib.s: with so little SRAM, tiles of s spill"):
        assembly.universe  # noqa: B018
    with pytest.raises(ConfigError, match="spill"):
        engine_of(assembly).inject(Fault(0, "k_sram", (0, 0), 0))
    registers = as_changed(config, {"faults.targets": ["registers"]})
    assert registers is not None and registers.universe.size
