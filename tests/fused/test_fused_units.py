"""Windows, statistical thresholds and the softmax's invariants: the three engines are one, and mean what they say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from accel_sim.config.checker import (
    RelativeThreshold,
    SoftmaxInvariantsUnit,
    StatisticalThreshold,
)
from accel_sim.config.errors import ConfigError
from accel_sim.config.fused import FusedArchitecture, FusedFormats
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.faults.fault import Fault
from accel_sim.fused.golden import golden_run
from accel_sim.fused.stepped import SteppedFused
from accel_sim.machines.fused import FusedMachine
from fused.draw import (
    SOFTMAX,
    Head,
    head,
    machine,
    random_fault,
    random_head,
    random_watched_machine,
    with_random_limits,
)
from fused.test_fused_replay import SEQUENCER, compare

NEW = {"first", "small_threshold", "frequent", "deviations"}
NOT_REPLAYED = {*SEQUENCER, "softmax_bound"}


@pytest.mark.parametrize("seed", range(40))
def test_golden_is_stepped(seed: int) -> None:
    rng = np.random.default_rng(3000 + seed)
    m = random_watched_machine(rng, 12)
    job = with_random_limits(m, random_head(m, rng), rng)
    assert golden_run(m, job).same_as(SteppedFused(m, job).golden())


@pytest.mark.parametrize("seed", range(16))
def test_replay_is_stepped(seed: int) -> None:
    """Of the registers that are new, and those that the new ones look at, more than their share."""
    rng = np.random.default_rng(seed)
    m = random_watched_machine(rng, 7)
    job = with_random_limits(m, random_head(m, rng), rng)
    cycles = m.timing(job.q.shape[0], job.k.shape[0]).head_cycles
    names = [r.name for r in m.inventory if r.name not in NOT_REPLAYED]
    close = [n for n in names if n in NEW or n.startswith("softmax_") or n in ("bound", "cmp_arg", "new_max", "l", "up")]
    faults = [random_fault(m, cycles, rng, str(rng.choice(close if i % 2 else names))) for i in range(300)]
    wrong, _ = compare(m, job, faults)
    assert not wrong, wrong[:5]


def everything() -> tuple[FusedMachine, Head]:
    """A small machine with all of it, on a head that deviates a little."""
    m = machine(4, 1, "query_block", frequent=2, watch=SOFTMAX, watch_frequent=3, sliding_window=True)
    job = head(m, 6, 10, seed=3, causal=True, limit=0.05, window=3)
    job.bound[:] = [2, 5, -1, 9, 8, 7]
    job.first[:] = [0, 4, 0, 8, 1, 6]
    return m, job.with_policy(1e-3, 2).with_policy(1e-3, 3, "softmax_invariants")


def test_every_new_register() -> None:
    """Every element of every new register, and of those that the unit looks at, in a share of the cycles; of its bits,
    each in its turn."""
    m, job = everything()
    cycles = m.timing(6, 10).head_cycles
    faults = []
    looked_at = [r for r in m.inventory if r.component == "checker.softmax_invariants" or r.name in (
        *NEW, "bound", "cmp_arg", "new_max", "old_max", "l", "scale", "threshold")]
    assert len(looked_at) == 13 + 10
    for register in looked_at:
        if register.name in NOT_REPLAYED:
            continue
        for number, index in enumerate(np.ndindex(*register.shape)):
            for cycle in range(number % 11, cycles, 11):
                faults.append(Fault(cycle, register.name, tuple(index), (cycle * 7 + number) % register.width_bits))
    wrong, back = compare(m, job, faults)
    assert not wrong, wrong[:5]
    assert back == 0


def test_dead_registers_are_dead_with_all_units() -> None:
    """Where there is no occupant, no flip changes anything; where there is one, some flip often does."""
    m, job = everything()
    dead, live, changed = lives(m, job, lambda name: 25 if name in (*NEW, "bound", "new_max", "l", "up") else 5, 2)
    assert dead > 40 and changed > 0.2 * live


def lives(m: FusedMachine, job: Head, times: Callable[[str], int], seed: int) -> tuple[int, int, int]:
    """How many random flips, so many `times` in each register, are in dead ones, in live ones, and change anything;
    those in dead ones must not."""
    engine = SteppedFused(m, job)
    golden, rng = engine.golden(), np.random.default_rng(seed)
    live = changed = dead = 0
    for register in m.inventory:
        for _ in range(times(register.name)):
            index = tuple(int(rng.integers(n)) for n in register.shape)
            cycle = int(rng.integers(engine.timing.head_cycles))
            held = m.occupant(engine.timing, register, index, cycle)
            bit = register.width_bits - 1 - int(rng.integers(min(3, register.width_bits)))
            same = engine.inject(Fault(cycle, register.name, index, bit)).result.same_as(golden)
            dead += held is None
            live += held is not None
            changed += held is not None and not same
            assert same or held is not None, (register.name, index, cycle)
    return dead, live, changed


# ---- windows


def attention(job: Head) -> np.ndarray:
    s = job.q @ job.k.T / np.sqrt(job.q.shape[1])
    keys = np.arange(job.k.shape[0])
    s = np.where((keys <= job.bound[:, None]) & (keys >= job.first[:, None]), s, -np.inf)
    p = np.exp(s - s.max(1, keepdims=True))
    return p @ job.v / p.sum(1, keepdims=True)


def test_a_window_is_that_of_attention() -> None:
    """With fp32 operands and 64 pieces the error is that of the chords, 1.5e-5; most queries begin tiles later."""
    m = machine(16, 0, formats=FusedFormats(operand="fp32"), exp_pieces=64, sliding_window=True)
    job = head(m, 90, 90, 5, causal=True, window=11)
    assert (job.first >= 2 * 16).sum() > 40
    error = np.abs(golden_run(m, job).output - attention(job)).max() / np.abs(job.v).max()
    assert 1e-7 < error < 3e-5


@pytest.mark.parametrize("tiles", [1, 2])
def test_tiles_before_the_window_leave_the_softmax_untouched(tiles: int) -> None:
    """A query whose first key is tiles later has the bits of a head that begins there."""
    m = machine(5, 2, watch=SOFTMAX, sliding_window=True)
    job = head(m, 6, 18, seed=2, limit=1e9)
    job.first[:] = 5 * tiles + np.arange(6) % 4
    before = 5 * tiles
    shorter = replace(job, k=job.k[before:], v=job.v[before:], bound=job.bound - before, first=job.first - before)
    long, short = SteppedFused(m, job).golden(), golden_run(m, shorter)
    assert np.isfinite(long.output).all()
    np.testing.assert_array_equal(long.output.view(np.int64), short.output.view(np.int64))


def test_a_window_that_is_not_used_changes_no_bit_and_no_cycle() -> None:
    plain, windowed = machine(6, 1), machine(6, 1, sliding_window=True)
    job = head(plain, 9, 14, seed=1, causal=True)
    assert golden_run(plain, job).same_as(SteppedFused(windowed, job).golden())


def test_a_window_needs_the_register() -> None:
    m = machine(4, 0)
    job = head(m, 3, 9, window=2, causal=False)
    with pytest.raises(ConfigError, match="sliding_window is false"):
        golden_run(m, job)


# ---- statistical thresholds


def only(run: RunResult, unit: str) -> list[Comparison]:
    return [c for c in run.comparisons if c.unit == unit]


@pytest.mark.parametrize("frequent", [1, 2, 4])
def test_the_alarm_is_for_the_deviation_that_makes_them_frequent(frequent: int) -> None:
    m = machine(4, 1, "query_block", frequent=frequent)
    job = head(m, 20, 6, seed=1, limit=1e9).with_policy(0.0, frequent)
    run = SteppedFused(m, job).golden()
    assert len(run.comparisons) == 5 and not any(c.alarm for c in run.comparisons)
    assert all(c.residual != 0.0 for c in run.comparisons)
    assert run.alarm_cycle == run.comparisons[frequent - 1].cycle + 1
    within = job.with_policy(1.0, frequent)
    assert SteppedFused(m, within).golden().alarm_cycle is None


def test_a_large_residual_raises_the_alarm_at_once() -> None:
    m = machine(4, 1, "query_block", frequent=4)
    job = head(m, 20, 6, seed=1, limit=1e-9).with_policy(0.0, 4)
    run = SteppedFused(m, job).golden()
    assert run.alarm_cycle == run.comparisons[0].cycle + 1


def test_deviations_stay_at_all_ones() -> None:
    """Ten deviations in a counter of two bits, of which three are frequent: without the alarm, nothing wraps."""
    m = machine(4, 1, "query_block", frequent=3)
    assert m.inventory["deviations"].width_bits == m.inventory["frequent"].width_bits == 2
    job = head(m, 40, 6, seed=1, limit=1e9).with_policy(0.0, 3)
    at = m.inventory.slot("deviations")
    held: list[float] = []
    SteppedFused(m, job).run(watch=lambda cycle, state: held.append(float(state[at])))
    assert sorted(set(held)) == [0, 1, 2, 3] and held == sorted(held)


# ---- the softmax's invariants


def watched() -> tuple[FusedMachine, Head, SteppedFused]:
    m = machine(4, 0, watch=SOFTMAX, formats=FusedFormats(operand="fp32"))
    job = head(m, 6, 10, seed=4, causal=True, limit=0.02)
    return m, job, SteppedFused(m, job)


def test_a_clean_softmax_keeps_its_invariants_and_its_cycles() -> None:
    _, job, engine = watched()
    run = engine.golden()
    assert run.alarm_cycle is None and [c.unit for c in run.comparisons] == ["softmax_invariants"] * 6
    assert run.cycles == machine(4, 0).timing(6, 10).head_cycles
    start = [engine.timing.norm_start(tile) for tile in (0, 1)]
    assert [c.cycle for c in run.comparisons] == [start[q // 4] + q % 4 + 1 for q in range(6)]
    bare = golden_run(machine(4, 0, formats=FusedFormats(operand="fp32")), job)
    np.testing.assert_array_equal(run.output.view(np.int64), bare.output.view(np.int64))


def strike(engine: SteppedFused, fault: Fault) -> list[int]:
    """Queries whose comparison raises the alarm under a fault; the alarm is read in the cycle after the first."""
    run = engine.inject(fault).result
    queries = [query for query, c in enumerate(run.comparisons) if c.alarm]
    assert run.alarm_cycle == (run.comparisons[queries[0]].cycle + 1 if queries else None)
    return queries


def test_a_maximum_that_falls_is_noticed() -> None:
    m, _, engine = watched()
    tile = engine.timing.tile_start(0, 1)  # column 2, between the tile's first two keys
    assert strike(engine, Fault(tile + m.durations.load + 4 + 2 + 2, "new_max", (2,), 31)) == [2]
    assert strike(engine, Fault(engine.timing.norm_start(0) + 2, "new_max", (2,), 31)) == [2]  # as it is read out
    assert strike(engine, Fault(engine.timing.norm_start(0) + 3, "new_max", (2,), 31)) == []


def test_a_sum_out_of_range_is_noticed_though_the_division_has_begun() -> None:
    """Bit 29 makes 2⁻⁶⁴ of a sum between 1 and 2; it is struck after it has been taken for the division."""
    _, _, engine = watched()
    fault = Fault(engine.timing.norm_start(0) + 1, "l", (1,), 29)
    run = engine.inject(fault).result
    np.testing.assert_array_equal(run.output, engine.golden().output)
    assert strike(engine, fault) == [1]
    assert run.comparisons[1].residual == 1.0


def test_a_score_out_of_range_is_noticed_of_masked_keys_too() -> None:
    """Query 0 sees key 0 only; key 2's score is struck on its way up."""
    m, _, engine = watched()
    d = m.durations
    fault = Fault(d.load + 4 + 1 + 2 - 1, "up", (1, 0), 30)
    run = engine.inject(fault).result
    np.testing.assert_array_equal(run.output, engine.golden().output)
    assert strike(engine, fault) == [0]


def test_a_query_that_sees_no_key_is_not_judged_by_its_sum() -> None:
    m, job, _ = watched()
    job.bound[1] = -1
    run = SteppedFused(m, job).golden()
    assert np.isnan(run.output[1]).all() and run.alarm_cycle is None
    assert run.same_as(golden_run(m, job))


def test_the_bound_of_scores_is_that_of_cauchy_and_schwarz() -> None:
    m, job, engine = watched()
    at = m.inventory.slot("softmax_bound")
    held: set[float] = set()
    engine.run(watch=lambda cycle, state: held.add(float(state[at])))
    norm = np.sqrt((job.q**2).sum(1)).max() * np.sqrt((job.k**2).sum(1)).max()
    assert held == {float(np.float32(norm * (1 + 2**-6)))}
    assert np.abs(job.q @ job.k.T).max() <= norm


def test_comparisons_are_in_order_of_cycle() -> None:
    m, job = everything()
    run = SteppedFused(m, job).golden()
    cycles = [c.cycle for c in run.comparisons]
    assert cycles == sorted(cycles) and len(only(run, "softmax_invariants")) == 6 and len(only(run, "fused_output")) == 2


# ---- what they are made of


def test_registers_are_added_and_none_is_changed_without_them() -> None:
    plain, windowed = machine(5, 1), machine(5, 1, sliding_window=True)
    assert {r.name for r in windowed.inventory} - {r.name for r in plain.inventory} == {"first"}
    assert windowed.inventory["first"].bits == windowed.inventory["bound"].bits
    assert windowed.inventory["cmp_arg"].width_bits == 2 * plain.inventory["cmp_arg"].width_bits
    counted = machine(5, 1, frequent=4)
    added = {r.name: r.width_bits for r in counted.inventory if r.name not in plain.inventory}
    assert added == {"small_threshold": 32, "frequent": 3, "deviations": 3}
    for which, own in (("sum", {"keys"}), ("max", {"m", "excess"}), ("score", {"excess", "bound"})):
        unit = machine(5, 1, watch=(which,))
        found = {r.name for r in unit.inventory if r.component == "checker.softmax_invariants"}
        always = {"residual", "judge", "threshold", "enable", "alarm"}
        assert found == {f"softmax_{name}" for name in own | always}


def test_activity_knows_every_register_and_component() -> None:
    m, job = everything()
    activity = m.activity(m.timing(6, 10))
    assert set(activity.register_writes) == {r.name for r in m.inventory}
    writes: dict[str, int] = {}
    held: dict[str, np.ndarray] = {}

    def count(cycle: int, state: np.ndarray) -> None:
        for name in ("softmax_m", "softmax_excess", "first", "softmax_residual"):
            at = m.inventory.offsets[name]
            now = state[at:at + m.inventory[name].size].copy()
            writes[name] = writes.get(name, 0) + int((now != held.get(name, now)).sum())
            held[name] = now

    SteppedFused(m, job).run(watch=count)
    assert all(0 < writes[name] <= activity.register_writes[name] for name in ("softmax_m", "first"))
    assert {op.component for op in activity.operators} >= {"checker.softmax_invariants", "checker.fused_output"}
    assert activity.operator("softmax_compare").uses == 6


def test_what_is_refused() -> None:
    arch = FusedArchitecture()
    clash = next(iter(arch.refuses(SoftmaxInvariantsUnit())))
    assert clash.keys == ("unit.which",) and "sum, max and score" in clash.message
    with pytest.raises(ValidationError, match="measured against nothing"):
        SoftmaxInvariantsUnit(which=("sum",), threshold=RelativeThreshold(value=0.1))
    assert not list(arch.refuses(SoftmaxInvariantsUnit(which=SOFTMAX, threshold=StatisticalThreshold())))
    with pytest.raises(ValidationError):
        SoftmaxInvariantsUnit(which=())
