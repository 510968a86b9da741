"""Masks with a lower end: a first key beside the last one, on the lanes machine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.campaign.sampling import Sampling
from accel_sim.config import ConfigError, load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.report.accuracy import reference
from accel_sim.rtl.limits import check_expressible
from engines.draw import (
    Case,
    gaussian_case,
    machine_with,
    random_case,
    random_job,
    random_machine,
    random_window,
    trace,
)
from engines.reference import attention
from engines.test_replay import assert_same_records


def windowed(case: Case, first: np.ndarray, bound: np.ndarray) -> Case:
    return replace(case, job=replace(case.job, first=np.asarray(first), bound=np.asarray(bound)))


def test_engines_and_equations_agree_on_any_machine_and_any_window():
    rng = np.random.default_rng(0)
    narrow = 0
    for _ in range(40):
        machine = random_machine(rng, sliding_window=True, head_dim=int(rng.integers(1, 7)))
        case = Case(machine, random_job(machine, rng, queries=7, keys=14))
        bound, first = random_window(rng, case.job.bound, blind=0.1)
        case = windowed(case, first, bound)
        narrow += bool(case.job.first.any())
        stepped, golden = case.engine.run(), run_golden(machine, case.job)
        assert stepped.same_as(golden), machine.config
        values = attention(machine, case.job)
        want = np.array([[values.out[i, t] for t in range(machine.head_dim)] for i in range(len(case.job.q))])
        assert want.tobytes() == golden.output.tobytes(), machine.config
        told = [(c.residual, c.limit, c.predicted, c.actual, float(c.scanned)) for c in golden.comparisons]
        assert np.array(told).tobytes() == np.array(values.comparisons, dtype=float).tobytes()
    assert narrow > 15


@pytest.mark.parametrize("own", [{}, {"score": False, "max": False, "exp": False, "sum": False}])
def test_a_row_is_that_of_the_keys_in_its_window_alone(own):
    """Whole tiles of keys before a window leave no trace, in the output or in the checksum."""
    options = {"shares": own, "granularity": "query_block", "sliding_window": True, "formats": "fp32"}
    machine = machine_with(lanes=3, key_tile=4, **options)
    case = gaussian_case(machine, 5, 23, seed=3, scale=3.0)
    first, bound = np.array([0, 9, 13, 22, 4]), np.array([22, 20, 13, 22, 4])
    result = run_golden(machine, windowed(case, first, bound).job)
    assert result.alarm_cycle is None
    for i in range(5):
        keys = slice(first[i], bound[i] + 1)
        alone = run_golden(machine, make_job(machine, case.job.q[i:i + 1], case.job.k[keys], case.job.v[keys]))
        assert np.array_equal(alone.output[0], result.output[i])


def test_a_machine_for_windows_does_the_same_without_one():
    """Same outputs, comparisons and cycles; one register array and one comparison of indices more."""
    rng = np.random.default_rng(1)
    for _ in range(20):
        case = random_case(rng, sliding_window=False)
        config = case.machine.config.changed({"architecture.sliding_window": True})
        machine = type(case.machine)(config)
        assert run_golden(machine, case.job).same_as(run_golden(case.machine, case.job))
        names = [r.name for r in case.machine.inventory]
        assert [r.name for r in machine.inventory if r.name != "first"] == names
        first, bound = machine.inventory["first"], machine.inventory["bound"]
        assert (first.shape, first.width_bits, first.role) == (bound.shape, bound.width_bits, bound.role)


def test_a_query_that_sees_no_key_has_a_row_of_nan_and_raises_the_alarm():
    machine = machine_with(sliding_window=True, granularity="query_block")
    case = windowed(gaussian_case(machine, 4, 9), [0, 5, 0, 0], [8, -1, -1, 8])
    run = trace(case)
    assert np.isnan(run.result.output).all(axis=1).tolist() == [False, True, True, False]
    assert run.result.alarm_cycle is not None and run.result.same_as(run_golden(machine, case.job))
    # What its lane holds are indices as any other: a first key behind the last one.
    assert [run.column(name, lane)[10] for name, lane in (("first", 1), ("bound", 1), ("first", 2), ("bound", 2))] == [
        5.0, 0.0, 1.0, 0.0]  # fmt: skip


def test_a_first_key_that_is_struck_adds_keys_or_takes_them_away():
    """Bit 2 of a window that begins at key 4: the query meets keys 0 … 8; of one that begins at 1: keys 5 … 8."""
    machine = machine_with(lanes=2, key_tile=16, sliding_window=True, max_keys=16, formats="fp32")
    case = windowed(gaussian_case(machine, 2, 9), [4, 1], [8, 8])
    engine = case.engine
    for lane, bit, now in ((0, 2, 0), (1, 2, 5)):
        struck = engine.inject(Fault(machine.lanes, "first", (lane,), bit)).result
        first = case.job.first.copy()
        first[lane] = now
        other = run_golden(machine, windowed(case, first, case.job.bound).job)
        assert struck.output.tobytes() == other.output.tobytes()
        # The checksum is of the same weights: it cannot see this.
        assert struck.alarm_cycle is None and not np.array_equal(struck.output, engine.golden().output)


SMALL = {
    "architecture.head_dim": 1, "architecture.key_tile": 2, "architecture.max_keys": 8, "architecture.max_queries": 4,
    "architecture.sliding_window": True,
    "architecture.formats": dict.fromkeys(("operand", "score", "exp", "state", "output", "checker"), "fp8_e5m2"),
    "checker.units.0.granularity": "query_block", "checker.units.0.threshold": {"kind": "absolute", "value": 0.25}, "workload.queries": 3, "workload.keys": 6,
    "workload.mask": {"causal": True, "window": 2},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "own"), [("flip", False), ("burst", True)])
def test_records_are_those_of_the_stepped_engine_at_every_point_of_a_small_universe(kind, own):
    shares = {"checker.units.0.shares": dict.fromkeys(("score", "max", "exp", "sum"), False)} if own else {}
    config = load_config("tiny").changed({**SMALL, **shares, "faults.kinds": [kind]})
    assembly = assemble(config, measure=False)
    stepped = assert_same_records(assembly, assembly.universe.size, Sampling("exhaustive").sampler(assembly))
    mine = stepped["register"] == [r.name for r in assembly.universe.registers].index("first")
    assert len(np.unique(stepped["outcome"][mine])) >= 2


def test_the_distance_from_attention_is_measured_under_the_window():
    machine = machine_with(sliding_window=True, formats="fp64")
    case = windowed(gaussian_case(machine, 6, 12), [0, 3, 4, 9, 0, 2], [4, 7, 4, 11, -1, 3])
    out, want = run_golden(machine, case.job).output, reference(machine, case.job)
    assert np.array_equal(np.isnan(out), np.isnan(want)) and np.isnan(want[4]).all()
    assert np.nanmax(np.abs(out - want)) < 1e-13


def test_what_has_no_first_key_refuses_a_window():
    case = windowed(gaussian_case(machine_with(), 3, 9), [0, 1, 2], [8, 8, 8])
    with pytest.raises(ValueError, match="the machine's mask has no first key"):
        run_golden(case.machine, case.job)
    with pytest.raises(ValueError, match="the machine's mask has no first key"):
        SteppedEngine(case.machine, case.job).run()
    with pytest.raises(ConfigError, match=r"architecture\.sliding_window"):
        check_expressible(load_config("tiny").changed({"architecture.sliding_window": True}))
