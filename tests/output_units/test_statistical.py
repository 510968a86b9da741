"""A statistical threshold on the output buffer: a large deviation raises the alarm, or frequent small ones."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.faults.fault import Fault
from accel_sim.kinds import run_golden, stepped_engine
from output_units.draw import FUSED, assembled, assert_same_records, points_of

LARGE, SMALL, FREQUENT = 8.0, 0.5, 2


def statistical(**more):
    """Invariants with a statistical threshold whose limits are set by hand below."""
    spec = {"kind": "statistical", "frequent": FREQUENT, "samples": 2, **more}
    return {"kind": "invariants", "threshold": spec}


@pytest.fixture(scope="module")
def engine():
    assembly = assembled(statistical(), queries=5)
    job = assembly.job(assembly.workload.heads[0])
    limits = {"invariants": LARGE, "invariants.small": SMALL, "invariants.frequent": float(FREQUENT)}
    return stepped_engine(assembly.machine, job.with_limits(limits))


def row_of(engine, query, outside):
    """Stuck bits that put one element of a row at about that far outside its range: by an exponent, so powers of 2."""
    row_at = engine.bare.golden().cycles + query + 1
    exponent = int(np.log2(outside)) + 127
    kinds = {bit: "stuck1" if exponent >> (bit - 23) & 1 else "stuck0" for bit in range(23, 31)}
    return [Fault(row_at, "invariants_row", (0,), bit, kind) for bit, kind in kinds.items()]


def alarm_of(engine, query):
    """Cycle in which an alarm that a query raises can be read."""
    return engine.bare.golden().cycles + query + 3


def test_one_small_deviation_passes_and_the_second_does_not(engine):
    one = engine.run(row_of(engine, 1, 4.0))
    assert SMALL < one.comparisons[1].residual < LARGE
    assert one.alarm_cycle is None
    two = engine.run([*row_of(engine, 1, 4.0), *row_of(engine, 3, 4.0)])
    assert two.alarm_cycle == alarm_of(engine, 3)
    assert two.told == (max(c.residual for c in two.comparisons), LARGE)


def test_a_large_deviation_raises_the_alarm_at_once(engine):
    assert engine.run(row_of(engine, 1, 2.0**20)).alarm_cycle == alarm_of(engine, 1)


def test_what_is_not_finite_is_large(engine):
    stuck = [Fault(engine.bare.golden().cycles + 3, "invariants_row", (0,), bit, "stuck1") for bit in range(23, 31)]
    assert engine.run(stuck).alarm_cycle == alarm_of(engine, 2)


def test_its_own_registers_can_be_struck(engine):
    end = engine.bare.golden().cycles
    small = row_of(engine, 1, 4.0)
    counted = Fault(end, "invariants_deviations", (), 0)  # one that has not been
    assert engine.run([*small, counted]).alarm_cycle == alarm_of(engine, 1)
    assert engine.run([counted]).alarm_cycle is None  # it is the next deviation that is frequent
    fewer = [Fault(end, "invariants_frequent", (), 0), Fault(end, "invariants_frequent", (), 1)]  # 2 becomes 1
    assert engine.run([*small, *fewer]).alarm_cycle == alarm_of(engine, 1)
    two = [*small, *row_of(engine, 3, 4.0)]
    assert engine.run(two).alarm_cycle == alarm_of(engine, 3)
    higher = Fault(end, "invariants_small_threshold", (), 30)  # the top of the exponent: nothing deviates
    assert engine.run([*two, higher]).alarm_cycle is None


def test_the_count_stops_at_its_largest(engine):
    many = [fault for query in range(5) for fault in row_of(engine, query, 4.0)]
    held = [Fault(0, "invariants_alarm", (), 0, "stuck0", duration=10_000)]
    seen = []
    slot = engine.machine.inventory.slot("invariants_deviations", ())
    engine.run([*many, *held], watch=lambda cycle, state: seen.append(int(state[slot])))
    assert max(seen) == 3 and seen == sorted(seen)  # two bits: 0, 1, 2, 3, 3


@pytest.mark.parametrize("units", [[statistical()], [FUSED, statistical(multiple=1e-3, large=1e3, frequent=3)]],
                         ids=["alone", "beside another"])
def test_replay_gives_the_same_records(units):
    assembly = assembled(*units, faults={"kinds": ["flip", "burst", "stuck0", "stuck1"], "stuck_cycles": 3})
    rng = np.random.default_rng(5)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 3000), rng.integers(0, 4, 3000))
    assert (records["outcome"] & 1).any()
    index = rng.choice(points_of(assembly, ["checker.invariants"]), 1500)
    assert_same_records(assembly, index, rng.integers(0, 4, 1500))


def test_a_count_of_one_is_an_ordinary_threshold():
    """With `frequent: 1` the small limit is the limit, whatever the large one is."""
    counting = assembled(statistical(multiple=4.0, frequent=1))
    plain = assembled({"kind": "invariants", "threshold": {"kind": "calibrated", "multiple": 4.0, "samples": 2}})
    jobs = [assembly.job(assembly.workload.heads[0]) for assembly in (counting, plain)]
    assert jobs[0].policy("invariants") == (jobs[1].limit("invariants"), 1)
    engines = [stepped_engine(assembly.machine, job) for assembly, job in zip((counting, plain), jobs, strict=True)]
    rng, alarms = np.random.default_rng(7), 0
    for cycle in rng.integers(0, engines[0].bare.golden().cycles, 150).tolist():
        fault = Fault(cycle, "o", (cycle % 2, cycle % 3), 30)
        raised = [engine.inject(fault).result.alarm_cycle for engine in engines]
        assert raised[0] == raised[1]
        alarms += raised[0] is not None
    assert alarms > 10


def test_clean_heads_are_judged_by_the_same_policy():
    assembly = assembled(statistical(multiple=2.0, large=10.0))
    threshold = assembly.limits["invariants"]
    assert threshold.frequent == FREQUENT and threshold.limit == pytest.approx(10.0 * threshold.small_limit)
    job = assembly.job(assembly.workload.heads[0])
    assert job.policy("invariants") == (threshold.small_limit, FREQUENT)
    assert run_golden(assembly.machine, job).same_as(stepped_engine(assembly.machine, job).golden())
