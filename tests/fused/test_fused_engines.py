"""The stepped engine, its cycles, and the fault-free values without the registers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from accel_sim.config.errors import ConfigError
from accel_sim.config.fused import FusedFormats
from accel_sim.faults.fault import Fault
from accel_sim.fused import stepped
from accel_sim.fused.golden import golden_run
from accel_sim.fused.rejoin import skip_repeats
from accel_sim.fused.step import CYCLE
from accel_sim.fused.stepped import SteppedFused
from accel_sim.machines.fused import FusedMachine
from fused.draw import (
    Head,
    head,
    machine,
    random_fault,
    random_head,
    random_machine,
    random_watched_machine,
    with_random_limits,
)
from fused.test_fused_replay import SEQUENCER


@pytest.mark.parametrize("seed", range(40))
def test_golden_is_stepped(seed: int) -> None:
    rng = np.random.default_rng(1000 + seed)
    m = random_machine(rng, 12)
    job = random_head(m, rng)
    assert golden_run(m, job).same_as(SteppedFused(m, job).golden())


# ---- time


def published(size: int, pieces: int, reciprocal: int, queries: int, keys: int) -> int:
    """Cycles of a head without a check unit, instruction by instruction as FSA's execution plans have them: each begins in
    the cycle after its predecessor's conflict-free cycle, the last two when the accumulators are idle as well."""
    load, score, value = size - 1, 2 * size + 3 + pieces, 2 * size - 2
    at = 0
    for _ in range(-(-queries // size)):
        for _ in range(-(-keys // size)):
            at += load + 1
            at += score + 1
            value_starts = at
            at += value + 1
        idle = value_starts + 3 * size  # the last of O has been accumulated in the cycle before
        at = idle + 1
        at += 2 + reciprocal - 1 + 1  # LseNormScale: its conflict-free cycle is its last
        at += 1  # and it leaves the accumulators in it
        at += size + 1
    return at


@pytest.mark.parametrize("size", range(4, 129))
def test_cycles_of_every_size(size: int) -> None:
    m = machine(size, 0, exp_pieces=8, reciprocal_cycles=14)
    for queries, keys in ((1, 1), (size, size), (size + 1, 3 * size - 1), (5 * size, 2 * size + 1)):
        timing = m.timing(queries, keys)
        expected = published(size, 8, 14, queries, keys)
        assert timing.head_cycles == timing.formula == expected
        assert timing.durations.tile == 5 * size + 11
        tiles, blocks = -(-keys // size), -(-queries // size)
        assert expected == blocks * (tiles * (5 * size + 11) + (size + 2) + (2 + 14) + 1 + (size + 1))


@pytest.mark.parametrize("size", [*range(4, 20), 31, 32, 33, 63, 64, 65, 127, 128])
def test_cycles_are_measured(size: int) -> None:
    """The last output is stored in the last cycle of the last LseNorm."""
    rng = np.random.default_rng(size)
    queries = int(rng.integers(1, 2 * size))
    keys = int(rng.integers(1, 2 * size))
    pieces = int(rng.choice([2, 4, 8, 16]))
    m = machine(size, 0, exp_pieces=pieces, reciprocal_cycles=int(rng.integers(1, 20)))
    engine = SteppedFused(m, head(m, queries, keys, size))
    assert engine.golden().cycles == engine.timing.head_cycles
    assert engine.last_write == engine.timing.head_cycles - 1
    assert published(size, pieces, m.durations.reciprocal, queries, keys) == engine.timing.head_cycles


def test_a_key_tile_of_a_64_array_takes_331_cycles() -> None:
    assert machine(64, 0).durations.tile == 331


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_each_checksum_column_takes_a_cycle_a_tile(columns: int) -> None:
    bare, checked = machine(6, 0), machine(6, columns, "query_block")
    assert checked.durations.tile == bare.durations.tile + columns
    assert checked.durations.norm == bare.durations.norm + columns
    engine = SteppedFused(checked, head(checked, 13, 9))
    run = engine.golden()
    assert run.cycles == engine.timing.formula
    assert [c.cycle for c in run.comparisons] == [engine.timing.residual_cycle(block) for block in range(3)]


# ---- values


def attention(job: Head) -> np.ndarray:
    s = job.q @ job.k.T / np.sqrt(job.q.shape[1])
    s = np.where(np.arange(job.k.shape[0]) <= job.bound[:, None], s, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    return p @ job.v / p.sum(1, keepdims=True)


@pytest.mark.parametrize("operand, pieces, most", [
    ("fp32", 8, 2e-3), ("fp32", 64, 3e-5), ("fp16", 8, 5e-3), ("fp16", 64, 4e-3), ("bf16", 8, 3e-2), ("fp8_e5m2", 8, 1.0),
])
def test_close_to_attention(operand: str, pieces: int, most: float) -> None:
    """Distance to binary64 attention, relative to the largest |v|. With fp32 operands it is the chords' error (9.4e-4
    with 8 pieces, 1.5e-5 with 64, on weights that are then divided by their sum, which has the same sign of error);
    otherwise the scores that are put back decide: half a unit of the operand format times |s|, in the exponent."""
    m = machine(32, 0, formats=FusedFormats(operand=operand), exp_pieces=pieces)  # type: ignore[arg-type]
    job = head(m, 70, 150, 5, causal=True)
    error = np.abs(golden_run(m, job).output - attention(job)).max() / np.abs(job.v).max()
    assert most / 100 < error < most


def test_what_does_not_exist_contributes_nothing() -> None:
    """More keys behind the bound, queries beside it: the same bits in the rows that both heads have."""
    m = machine(5, 0)
    small = head(m, 4, 7, 3)
    rng = np.random.default_rng(0)
    more = Head(np.concatenate([small.q, small.q[:3]]), np.concatenate([small.k, rng.standard_normal((6, 5)).round(2)]),
                np.concatenate([small.v, rng.standard_normal((6, 5)).round(2)]), np.full(7, 6, dtype=np.int64),
                np.zeros(7, dtype=np.int64))
    more.k[:], more.v[:] = np.float32(more.k), np.float32(more.v)
    few, many = golden_run(m, small).output, golden_run(m, more).output
    # The first five keys are in the first tile either way; the masked ones share the last.
    np.testing.assert_array_equal(few.view(np.int64), many[:4].view(np.int64))


# ---- faults


@pytest.mark.parametrize("seed", range(12))
def test_injection_from_a_checkpoint_is_the_whole_run(seed: int) -> None:
    rng = np.random.default_rng(seed)
    m = random_machine(rng, 6)
    engine = SteppedFused(m, random_head(m, rng))
    for _ in range(25):
        fault = random_fault(m, engine.timing.head_cycles, rng)
        assert engine.inject(fault).result.same_as(engine.run([fault])), fault


@pytest.mark.parametrize("seed", range(10))
def test_a_run_that_rejoins_another_is_the_whole_run(seed: int) -> None:
    """Faults of the sequencer, which reach everything, on machines that carry sums to the end of the head or do not."""
    rng = np.random.default_rng(500 + seed)
    m = random_watched_machine(rng, 6)
    engine = SteppedFused(m, with_random_limits(m, random_head(m, rng), rng))
    for _ in range(25):
        fault = random_fault(m, engine.timing.head_cycles, rng, str(rng.choice(sorted(SEQUENCER))))
        assert engine.inject(fault).result.same_as(engine.run([fault])), fault


@pytest.mark.parametrize("register", ["last_key_tile", "last_query_tile"])
def test_tiles_that_do_not_exist_are_not_clocked_one_by_one(register: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A counter that is struck can make many; the run that leaves them out is the same, up to the watchdog."""
    left_out = []

    def noted(*given: Any) -> None:
        env = given[3]
        before = int(env[CYCLE])
        skip_repeats(*given)
        left_out.append(int(env[CYCLE]) - before)

    monkeypatch.setattr(stepped, "skip_repeats", noted)
    m = machine(4, 1, max_keys=300, max_queries=300)
    engine = SteppedFused(m, head(m, 9, 40))
    for bit in range(m.inventory[register].width_bits):
        fault = Fault(engine.timing.block + 7, register, (), bit)
        found = engine.inject(fault).result
        assert found.same_as(engine.run([fault])), fault
    assert any(left_out)


def test_watching_changes_nothing_and_sees_every_cycle() -> None:
    m = machine(4)
    engine = SteppedFused(m, head(m, 5, 5))
    seen: list[int] = []
    fault = Fault(40, "s", (1, 1), 14)
    watched = engine.run([fault], watch=lambda cycle, state: seen.append(cycle))
    assert watched.same_as(engine.run([fault]))
    assert seen == list(range(engine.timing.head_cycles))


def test_a_stuck_bit_is_forced_in_every_cycle() -> None:
    m = machine(4)
    engine = SteppedFused(m, head(m, 5, 5))
    held: list[float] = []
    at = m.inventory.slot("feed_sel")
    engine.run([Fault(3, "feed_sel", (), 0, "stuck0", 1, 30)],
               watch=lambda cycle, state: held.append(state[at]) if 3 <= cycle < 33 else None)
    assert len(held) == 30 and all(int(value) % 2 == 0 for value in held)


def test_clear_errors() -> None:
    m = machine(4)
    with pytest.raises(ConfigError, match="do not fit head_dim 4"):
        SteppedFused(m, head(machine(5), 3, 3))
    with pytest.raises(ValueError, match="no register"):
        SteppedFused(m, head(m, 3, 3)).run([Fault(0, "nonsense")])


def first_difference(m: FusedMachine, job: Head, fault: Fault) -> np.ndarray:
    return np.flatnonzero((SteppedFused(m, job).inject(fault).result.output != golden_run(m, job).output).any(axis=1))


def test_a_partial_score_reaches_its_query_only() -> None:
    m = machine(4, 0)
    job = head(m, 4, 4)
    d = m.durations
    # `up` of row 2 holds key 1's score over dimensions 3 and 2 in wave N + 1 + key − row of AttentionScore, column 3.
    fault = Fault(d.load + 4 + 1 + 1 - 2 + 3, "up", (2, 3), 30)
    assert first_difference(m, job, fault).tolist() == [3]


def test_a_moving_element_reaches_the_queries_to_its_right() -> None:
    m = machine(4, 0)
    job = head(m, 4, 4)
    d = m.durations
    # Row 3 sees key 0 in wave 1 of AttentionScore; `right` of column 0 holds it in the cycle after column 0's wave.
    fault = Fault(d.load + 1 + 1, "right", (3, 0), 13)
    assert first_difference(m, job, fault).tolist() == [1, 2, 3]
