"""One fault, explained: every field agrees with the runs, the registers and the records."""

from __future__ import annotations

import numpy as np
import pytest
from engines.accuracy import probabilities, scores
from engines.draw import Case, random_fault, trace

from accel_sim.analysis.attention import observe
from accel_sim.analysis.explain import Explanation, explain
from accel_sim.assembly import Assembly, assemble
from accel_sim.config import load_config
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import severity

TINY = assemble(load_config("tiny"), measure=False)
SLOW = assemble(load_config("tiny", {"memory.off_chip": {"bandwidth_bytes_per_cycle": 4, "latency_cycles": 9},
                                     "workload.mask.causal": True}), measure=False)  # fmt: skip
HEAD = TINY.workload.heads[0]


def told(fault: Fault, assembly: Assembly = TINY) -> Explanation:
    return explain(assembly, assembly.workload.heads[0], fault)


def test_a_struck_score_is_followed_from_the_register_to_the_output():
    """Sign of the score of query 3 and key 2, while the last keys of the block are still on their way."""
    timing, depth = TINY.timing, TINY.machine.depth
    cycle = timing.stream_start(1) + 2 + 3 + depth
    e = told(Fault(cycle, "score", (1,), 31))
    assert e.occupant is not None
    assert (e.occupant.query, e.occupant.key) == (3, 2)
    assert (e.phase, e.stalled, e.machine_cycle) == ("flush, block 1", False, cycle)
    assert e.new_value == -e.old_value and e.old_bits ^ e.new_bits == 1 << 31
    job = TINY.job(HEAD)
    assert e.old_value == pytest.approx(scores(job)[3, 2], rel=1e-5)
    assert e.score_changes == 1
    assert e.queries == (3,) and e.severity.rows == 1
    assert e.outcome == "silent" and e.latency_cycles is None
    row, = e.rows
    assert row.query == 3 and row.keys.tolist() == row.faulty_keys.tolist() == [0, 1, 2, 3, 4, 5]
    s = scores(job)[3:4]
    assert np.allclose(row.golden_weights, probabilities(s, s == s)[0], rtol=1e-5)
    s[0, 2] *= -1
    assert np.allclose(row.faulty_weights, probabilities(s, s == s)[0], rtol=1e-5)
    assert e.weight_changes == 6  # one weight changed, and with the sum every share


def test_a_struck_accumulator_is_detected_and_leaves_the_attention_alone():
    cycle = TINY.timing.stream_start(0) + 9
    e = told(Fault(cycle, "o", (0, 2), 30))
    assert e.outcome == "detected" and e.queries == (0,)
    assert (e.score_changes, e.weight_changes, e.rows) == (0, 0, ())
    assert e.latency_cycles == TINY.timing.head_cycles - cycle
    assert e.faulty.alarm_cycle == TINY.timing.head_cycles


def test_a_dead_register_has_no_occupant_and_nothing_follows():
    e = told(Fault(0, "score", (0,), 30))
    assert e.occupant is None and e.outcome == "masked"
    assert e.faulty.same_as(e.golden)
    assert e.severity == (0.0, 0.0, 0, 0, 0)


def test_a_mask_bound_shows_as_missing_keys():
    cycle = TINY.timing.stream_start(0)
    e = told(Fault(cycle, "bound", (0,), 2))  # 5 becomes 1
    row = next(r for r in e.rows if r.query == 0)
    assert (row.faulty_weights[2:] == 0).all() and row.faulty_weights[:2].sum() == pytest.approx(1.0)
    assert (row.golden_weights > 0).all()


def test_a_stalled_strike_says_so():
    engine = SteppedEngine(SLOW.machine, SLOW.job(HEAD))
    held = next(c for c in range(engine.golden().cycles) if engine.clock.machine_cycle(c)[1])
    e = told(Fault(held, "q", (0, 0), 14), SLOW)
    assert e.stalled and e.machine_cycle == engine.clock.machine_cycle(held)[0]
    assert engine.clock.wall(e.machine_cycle) > held


def test_observing_a_clean_run_gives_softmax_and_the_mask():
    for assembly in (TINY, SLOW):
        job = assembly.job(HEAD)
        result, rows = observe(SteppedEngine(assembly.machine, job))
        assert sorted(rows) == list(range(5)) and not result.hang
        allowed = np.arange(6)[None, :] <= job.bound[:, None]
        want = probabilities(scores(job), allowed)
        for query, row in rows.items():
            assert row.keys == list(range(6))
            assert np.allclose(row.weights, want[query], atol=1e-6)
            assert np.allclose(row.scores, scores(job)[query], atol=1e-5)


@pytest.mark.parametrize("assembly", [TINY, SLOW], ids=["unlimited memory", "slow memory, causal"])
def test_explanations_of_random_faults_are_consistent(assembly):
    rng = np.random.default_rng(0)
    case = Case(assembly.machine, assembly.job(HEAD))
    clean = trace(case)
    engine = case.engine
    golden = engine.golden()
    at = {cycle: i for i, cycle in enumerate(clean.cycles)}
    seen = set()
    for _ in range(150):
        fault = random_fault(case, golden.cycles, rng)
        e = told(fault, assembly)
        assert e.golden.same_as(golden) and e.faulty.same_as(engine.run([fault]))
        register = e.register
        moving = engine.clock.wall(e.machine_cycle)
        found = clean.column(fault.register, *fault.index)[at[moving]]
        assert np.float64(e.old_value).tobytes() == found.tobytes()
        assert e.old_bits == int(register.format.encode(np.array([found]))[0])
        if fault.kind in ("flip", "burst"):
            assert e.old_bits ^ e.new_bits == fault.mask
        assert e.stalled == (moving != fault.cycle)
        differs = (golden.output.view(np.int64) != e.faulty.output.view(np.int64)).any(axis=1)
        assert e.queries == tuple(np.flatnonzero(differs))
        assert e.severity == severity(golden.output, e.faulty.output, assembly.machine.formats["output"].codec)
        alarm = e.faulty.alarm_cycle is not None
        assert e.outcome == {(0, 0): "masked", (1, 0): "silent", (0, 1): "false_alarm", (1, 1): "detected"}[
            bool(e.queries), alarm]  # fmt: skip
        assert e.latency_cycles == (e.faulty.alarm_cycle - fault.cycle if alarm else None)
        if e.occupant is None and fault.kind in ("flip", "burst"):
            assert e.faulty.same_as(golden), fault
        seen.add(e.outcome)
    assert len(seen) >= 3


@pytest.mark.parametrize("kind", ["flip", "stuck1", "stuck0"])
def test_control_faults_can_be_explained_even_when_the_run_is_cut_short_or_hangs(kind):
    for register in ("phase", "row", "query", "key", "last_key", "last_query"):
        for bit in range(TINY.machine.inventory[register].width_bits):
            for cycle in (0, 5, 17, 40):
                e = told(Fault(cycle, register, (), bit, kind, duration=1 if kind == "flip" else 10**6))
                assert e.faulty.cycles <= SteppedEngine(TINY.machine, TINY.job(HEAD)).watchdog_cycles


def test_a_strike_after_the_end_is_refused():
    with pytest.raises(ValueError, match="the head ends after cycle 55; cycle 56 is never reached"):
        told(Fault(56, "alarm"))
    with pytest.raises(ValueError, match="no register"):
        told(Fault(3, "alarms"))
