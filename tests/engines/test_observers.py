"""The units that only look: the engines agree with each other and with the equations."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.checkers.bound import rowsum_bound
from accel_sim.config import ConfigError, load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.result import RunResult, first_alarm
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.lanes_schedule import occupant
from accel_sim.machines.score_bound import score_bound
from accel_sim.numerics.arithmetic import add, mul, sub, tree_sum
from accel_sim.numerics.rounding import quiet, round_to
from engines.draw import (
    Case,
    machine_with,
    observed_machine,
    random_fault,
    random_job,
    random_mask,
    rounded,
    with_limits,
)
from engines.reference import attention

Rng = np.random.Generator


def assert_agree(machine: LanesMachine, job: object, note: object) -> RunResult:
    stepped, golden = Case(machine, job).engine.run(), run_golden(machine, job)
    assert not stepped.hang, note
    assert stepped.same_as(golden), (note, machine.config)
    return golden


@pytest.mark.parametrize("seed", range(4))
def test_engines_agree_on_any_machine_with_units_that_look(seed):
    rng = np.random.default_rng(seed)
    alarms = 0
    for n in range(50):
        machine = observed_machine(rng)
        golden = assert_agree(machine, with_limits(machine, random_job(machine, rng), rng), n)
        alarms += golden.alarm_cycle is not None
    assert 5 < alarms < 50  # limits are drawn so that both happen


def test_engines_agree_where_scores_overflow_and_become_nan():
    rng = np.random.default_rng(4)
    finite = 0
    for n in range(120):
        machine = observed_machine(rng, head_dim=int(rng.integers(1, 5)))
        operand = machine.formats["operand"]
        queries, keys = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        shapes = [(rows, machine.head_dim) for rows in (queries, keys, keys)]
        exponents = (-45, 30 if operand.emax > 100 else 4)
        tensors = [rounded(rng.standard_normal(shape) * 10.0 ** rng.uniform(*exponents, shape), operand)
                   for shape in shapes]  # fmt: skip
        job = make_job(machine, *tensors, random_mask(rng, queries, keys))
        golden = assert_agree(machine, with_limits(machine, job, rng), n)
        finite += all(np.isfinite(c.residual) for c in golden.comparisons)
    assert 20 < finite < 115  # the draw reaches both


def equations(machine: LanesMachine, job) -> dict[str, list[tuple[float, float]]]:
    """(residual, limit) of every query by unit, one plain operation after another."""
    values = attention(machine, job)
    rc, state = (machine.formats[role].rounding(machine.subnormals) for role in ("checker", "state"))
    operand, score = (machine.formats[role].rounding(machine.subnormals) for role in ("operand", "score"))
    n_queries, n_keys, d = job.shape
    keys = [0.0] * d
    for j in range(n_keys):
        keys = [add(keys[t], quiet(job.k[j, t], operand), rc) for t in range(d)]
    bound = score_bound(job.q, job.k, machine.formats["checker"])
    made: dict[str, list[tuple[float, float]]] = {unit.kind: [] for unit in machine.units}
    for i in range(n_queries):
        scores = [values.score[i, j] for j in range(n_keys)]
        if machine.rowsum is not None:
            total = 0.0
            for s in scores:
                total = add(total, s, rc)
            products = np.array([mul(quiet(job.q[i, t], operand), keys[t], rc) for t in range(d)])
            root = tree_sum(np.zeros(d), products, d, rc, rc.flush_below)
            pred = mul(quiet(root, rc), quiet(job.scale, score), rc)
            limit = quiet(job.limit("score_rowsum"), rc)
            if machine.rowsum.threshold.kind == "relative":
                limit = mul(limit, np.maximum(abs(pred), abs(total)), rc)
            made["score_rowsum"].append((sub(pred, total, rc), limit))
        if machine.invariants is not None:
            allowed = [j for j in range(n_keys) if job.first[i] <= j <= job.bound[i]]
            found = [0.0]
            if machine.watches("score"):
                found += [sub(abs(s), quiet(bound, rc), rc) for s in scores]
            if machine.watches("max"):
                found += [sub(values.m[i, a], values.m[i, b], rc) for a, b in zip(allowed, allowed[1:], strict=False)]
            if machine.watches("mask"):
                found += [round_to(values.p[i, j], rc) for j in range(n_keys) if j not in allowed]
            if machine.watches("sum") and allowed:
                total = quiet(values.l[i, n_keys - 1], state)
                found += [sub(1.0, total, rc), sub(total, float(n_keys), rc)]
            made["softmax_invariants"].append((float(np.max(found)), quiet(job.limit("softmax_invariants"), rc)))
    return made


def test_comparisons_are_those_of_the_equations():
    """`np.max` is NaN where any violation is, as the unit's comparators are."""
    rng = np.random.default_rng(5)
    seen = 0
    for n in range(80):
        machine = observed_machine(rng, head_dim=int(rng.integers(1, 7)))
        job = with_limits(machine, random_job(machine, rng, queries=5, keys=12), rng)
        golden = run_golden(machine, job)
        for kind, expected in equations(machine, job).items():
            if kind == "fused_output":
                continue
            got = [(c.residual, c.limit) for c in golden.comparisons if c.unit == kind]
            assert np.array_equal(np.array(got) + 0.0, np.array(expected) + 0.0, equal_nan=True), (n, kind)
            seen += len(got)
    assert seen > 200


def test_the_alarm_is_that_of_the_first_unit_that_raises_one():
    rng = np.random.default_rng(6)
    by_count = 0
    for _ in range(150):
        machine = observed_machine(rng)
        job = with_limits(machine, random_job(machine, rng, stalls=False), rng)
        golden = run_golden(machine, job)
        firsts = [first_alarm((c for c in golden.comparisons if c.unit == unit.kind), job.policy(unit.kind))
                  for unit in machine.units]  # fmt: skip
        cycles = [first.cycle + 1 for first in firsts if first is not None]
        assert golden.alarm_cycle == min(cycles, default=None)
        by_count += any(first is not None and not first.alarm for first in firsts)
        order = [(c.cycle, [u.kind for u in machine.units].index(c.unit)) for c in golden.comparisons]
        assert order == sorted(order)
    assert by_count > 3  # a few alarms were raised by small deviations that were frequent


def test_a_fault_in_a_dead_element_changes_nothing_and_a_run_rejoins_as_it_should():
    rng = np.random.default_rng(7)
    dead = 0
    for _ in range(40):
        machine = observed_machine(rng)
        case = Case(machine, with_limits(machine, random_job(machine, rng, stalls=False), rng))
        engine = case.engine
        golden = engine.golden()
        for _ in range(25):
            fault = random_fault(case, golden.cycles, rng)
            assert engine.inject(fault).result.same_as(engine.run([fault])), (fault, machine.config)
            register = machine.inventory[fault.register]
            if occupant(machine, engine.timing, register, fault.index, fault.cycle) is None:
                dead += 1
                flip = Fault(fault.cycle, fault.register, fault.index, fault.bit)
                assert engine.inject(flip).result.same_as(golden), (fault, machine.config)
    assert dead > 150


def test_clean_row_sums_stay_within_their_rounding_bound():
    rng = np.random.default_rng(9)
    compared, closest = 0, 0.0
    for _ in range(120):
        machine = observed_machine(rng)
        if machine.rowsum is None:
            continue
        job = with_limits(machine, random_job(machine, rng), rng)
        bound = rowsum_bound(machine, job.q, job.k)
        residuals = [abs(c.residual) for c in run_golden(machine, job).comparisons if c.unit == "score_rowsum"]
        if np.isfinite(residuals).all():
            assert max(residuals) <= bound, machine.config
            compared, closest = compared + len(residuals), max(closest, max(residuals) / bound)
    assert compared > 200
    assert closest > 0.02  # it is a bound, not infinity


def test_row_sums_can_be_limited_by_that_bound():
    config = load_config("tiny").changed({"checker.units": [{"kind": "score_rowsum", "threshold": {"kind": "bound"}}]})
    assembly = assemble(config)
    (limits,) = assembly.limits.values()
    assert 0 < limits.limit < 1e-3
    assert limits.unseen_alarms == 0


@pytest.mark.parametrize(("unit", "field", "says"), [
    ({"kind": "softmax_invariants", "threshold": {"kind": "relative", "value": 0.1}}, "threshold", "measured against nothing"),
    ({"kind": "softmax_invariants", "threshold": {"kind": "bound"}}, "threshold", "measured against nothing"),
    ({"kind": "score_rowsum", "columns": 2}, "columns", "must be 1"),
])  # fmt: skip
def test_what_such_a_unit_cannot_have_is_refused(unit, field, says):
    with pytest.raises(ConfigError, match=says) as refused:
        load_config("tiny").changed({"checker.units": [unit]})
    assert field in str(refused.value)


def test_a_run_lasts_until_the_slowest_unit_has_judged_its_last_row():
    for units, tail in ((["softmax_invariants"], 2), (["score_rowsum"], 5), (["fused_output", "score_rowsum"], 6)):
        base = machine_with(lanes=3, head_dim=4)  # L = 2, S = 1
        machine = LanesMachine(base.config.changed({"checker.units": units}))
        assert machine.timing(4, 5).tail == tail
        job = random_job(machine, np.random.default_rng(8), stalls=False)
        golden = assert_agree(machine, job.with_limits(dict.fromkeys(units, 1.0)), units)
        assert golden.cycles > max(c.cycle for c in golden.comparisons)
