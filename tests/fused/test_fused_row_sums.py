"""The row sums of the scores on a fused machine: three engines that are one, and what the unit can see."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config.checker import AbsoluteThreshold, ScoreRowsumUnit, StatisticalThreshold
from accel_sim.config.fused import FusedArchitecture, FusedFormats
from accel_sim.engines.result import RunResult
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
from fused.test_fused_units import lives

UNIT = "score_rowsum"
LOOKED_AT = ("up", "feed", "right", "in_skew", "s", "cmp_cmd", "ctrl_up")


def random_summing_machine(rng: np.random.Generator, most: int) -> FusedMachine:
    m = random_watched_machine(rng, most)
    while m.rowsum is None:
        m = random_watched_machine(rng, most)
    return m


@pytest.mark.parametrize("seed", range(12))
def test_replay_is_stepped(seed: int) -> None:
    """Of the unit's registers, and those that it looks at, more than their share."""
    rng = np.random.default_rng(7000 + seed)
    m = random_summing_machine(rng, 7)
    job = with_random_limits(m, random_head(m, rng), rng)
    assert golden_run(m, job).same_as(SteppedFused(m, job).golden())
    cycles = m.timing(job.q.shape[0], job.k.shape[0]).head_cycles
    names = [r.name for r in m.inventory if r.name not in (*SEQUENCER, "softmax_bound")]
    close = [n for n in names if n.startswith("rowsum_") or n in LOOKED_AT]
    faults = [random_fault(m, cycles, rng, str(rng.choice(close if i % 4 else names))) for i in range(300)]
    wrong, _ = compare(m, job, faults)
    assert not wrong, wrong[:5]


def everything() -> tuple[FusedMachine, Head]:
    """A small machine with all units, whose comparisons come in one cycle, on a head that deviates a little."""
    m = machine(5, 1, "query_block", watch=SOFTMAX, rowsum=StatisticalThreshold(frequent=3), reciprocal_cycles=1)
    job = head(m, 7, 12, seed=3, causal=True, limit=1e-3)
    return m, job.with_policy(1e-7, 3, UNIT)


def test_every_register_of_the_unit() -> None:
    """Every element in a share of the cycles; of its bits, each in its turn."""
    m, job = everything()
    cycles = m.timing(7, 12).head_cycles
    own = [r for r in m.inventory if r.component == "checker.score_rowsum"]
    assert len(own) == 16
    faults = [Fault(cycle, register.name, tuple(index), (cycle * 5 + number) % register.width_bits)
              for register in own for number, index in enumerate(np.ndindex(*register.shape))
              for cycle in range(number % 7, cycles, 7)]
    wrong, back = compare(m, job, faults)
    assert not wrong, wrong[:5]
    assert back == 0


def test_dead_registers_are_dead() -> None:
    """Where there is no occupant, no flip changes anything; where there is one, some flip often does."""
    m, job = everything()
    looked_at = (*LOOKED_AT, "rowsum_sum", "rowsum_keys")
    dead, live, changed = lives(m, job, lambda name: 12 if name in looked_at else 2, 4)
    assert dead > 30 and live > 30 and changed > 0.2 * live


def only(run: RunResult) -> list[tuple[float, float]]:
    return [(c.predicted, c.actual) for c in run.comparisons if c.unit == UNIT]


@pytest.mark.parametrize("columns", [0, 2])
def test_sums_are_those_of_the_scores_and_cost_no_cycle(columns: int) -> None:
    """fp32 additions of n terms of magnitude up to t are off by n · 2⁻²⁴ · Σ t at most, twice."""
    plain = machine(8, columns)
    m = machine(8, columns, rowsum=AbsoluteThreshold(value=1.0))
    job = head(m, 19, 21, seed=5, causal=True)
    run = SteppedFused(m, job).golden()
    scores = job.q @ job.k.T
    room = 2 * (21 + 8) * 2.0**-24 * (np.abs(job.q) @ np.abs(job.k).T).sum(1)
    for (predicted, actual), total, most in zip(only(run), scores.sum(1), room, strict=True):
        assert abs(predicted - total) <= most and abs(actual - total) <= most
    without = SteppedFused(plain, job).golden()
    assert run.cycles == without.cycles and np.array_equal(run.output, without.output)


def test_what_it_sees_and_what_it_does_not() -> None:
    """A partial score and a key on its way; not the key that both sides take alike, nor anything behind the score."""
    m = machine(6, 0, rowsum=AbsoluteThreshold(value=1e-3))
    job = head(m, 6, 6, seed=1).with_limit(1e-3, UNIT)
    engine = SteppedFused(m, job)
    assert engine.golden().alarm_cycle is None
    d = m.durations
    a = d.load + 6 + 1  # the first key's score is at column 0's compare unit
    for register, index, cycle, bit, sees in (
        ("up", (0, 2), a + 2, 29, True), ("right", (3, 2), d.load + 6 - 3 + 3, 13, True),
        ("feed", (2,), d.load + 2, 13, False), ("s", (1, 1), d.load + d.score, 13, False),
    ):
        found = engine.inject(Fault(cycle, register, index, bit)).result
        assert not np.array_equal(found.output, engine.golden().output), register
        assert (found.alarm_cycle is not None) == sees, register


def test_a_masked_key_and_one_that_does_not_exist_are_added_up_too() -> None:
    m = machine(4, 0, rowsum=AbsoluteThreshold(value=0.5))
    job = head(m, 1, 5, seed=2)  # of the second tile three keys are missing
    job.bound[:] = 1
    engine = SteppedFused(m, job)
    d = m.durations
    for key in range(8):
        at = (key // 4) * d.tile + d.load + 4 + 1 + key % 4
        found = engine.inject(Fault(at, "up", (0, 0), 30)).result
        assert found.alarm_cycle == engine.timing.row_sum_cycle(0) + 1, key
        assert np.array_equal(found.output, engine.golden().output) == (key > 1)


def test_activity_and_what_is_refused() -> None:
    m, job = everything()
    activity = m.activity(m.timing(7, 12))
    assert set(activity.register_writes) == {r.name for r in m.inventory}
    assert activity.operator("rowsum_compare").uses == 7
    plain = machine(5, 1).activity(machine(5, 1).timing(7, 12))
    assert activity.sram_elements["q"] - plain.sram_elements["q"] == 7 * 5
    waits = [step for step in m.timing(7, 12).steps if step.phase == "wait"]
    assert [[(tile.tensor, tile.index) for tile in step.reads] for step in waits] == [[("q", (0,))], [("q", (1,))]]
    held: dict[str, np.ndarray] = {}
    writes = {"rowsum_query": 0, "rowsum_prod": 0, "rowsum_tree": 0, "rowsum_delay": 0, "rowsum_residual": 0,
              "rowsum_keys": 0, "rowsum_sum": 0}

    def count(cycle: int, state: np.ndarray) -> None:
        for name in writes:
            at = m.inventory.offsets[name]
            now = state[at:at + m.inventory[name].size].copy()
            writes[name] += int((now != held.get(name, now)).sum())
            held[name] = now

    SteppedFused(m, job).run(watch=count)
    assert all(0 < writes[name] <= activity.register_writes[name] for name in writes)
    arch = FusedArchitecture()
    clash = next(iter(arch.refuses(ScoreRowsumUnit(columns=2))))
    assert clash.keys == ("unit.columns",) and "checker format" in clash.message
    assert not list(arch.refuses(ScoreRowsumUnit(threshold=StatisticalThreshold())))


def test_wide_sums_of_narrow_operands() -> None:
    """With an fp64 checker the prediction is the sum but for the rounding of scores: the residual is what they lost."""
    formats = FusedFormats(operand="bf16", sum="bf16", checker="fp64")
    m = machine(6, 0, rowsum=AbsoluteThreshold(value=1.0), formats=formats)
    job = head(m, 6, 6, seed=8)
    exact = (job.q @ job.k.T).sum(1)
    for (predicted, actual), total in zip(only(golden_run(m, job)), exact, strict=True):
        assert abs(predicted - total) < 1e-12 * np.abs(exact).max() and 0 < abs(actual - total) < 0.5
