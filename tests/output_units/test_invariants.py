"""The built-in unit `invariants`, and the arithmetic that units are given."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.faults.fault import Fault
from accel_sim.kinds import run_golden, stepped_engine
from accel_sim.numerics.arithmetic import add, maximum, mul, sub, tree_sum
from accel_sim.numerics.formats import FORMATS
from accel_sim.output_units import Checker
from output_units.draw import RANGE, assembled, config_with

SPECIAL = [0.0, -0.0, 1.0, -1.0, np.inf, -np.inf, np.nan, 2.0**-149, -(2.0**-140), 448.0, 3e38, 1 / 3]


def bits(x):
    return np.asarray(x, dtype=np.float64).view(np.int64)


@pytest.mark.parametrize("subnormals", ["keep", "flush"])
@pytest.mark.parametrize("name", FORMATS)
def test_array_operators_are_the_machines_operators(name, subnormals):
    fmt = FORMATS[name]
    check, r = Checker(fmt, subnormals), fmt.rounding(subnormals)
    rng = np.random.default_rng(7)
    values = check.round(np.array([*SPECIAL, *rng.normal(size=40), *rng.normal(size=20) * fmt.min_normal]))
    pairs = np.array(list(itertools.product(values, values)))
    a, b = pairs[:, 0], pairs[:, 1]
    for operator, scalar in ((check.add, lambda x, y: add(x, y, r)), (check.sub, lambda x, y: sub(x, y, r)),
                             (check.mul, lambda x, y: mul(x, y, r)), (check.maximum, maximum)):
        expected = np.array([scalar(x, y) for x, y in pairs])
        found = operator(a, b)
        same = (bits(found) == bits(expected)) | (np.isnan(found) & np.isnan(expected))
        assert same.all(), (operator, pairs[~same][0], found[~same][0], expected[~same][0])
    both = ~(np.isnan(a) | np.isnan(b))
    assert np.array_equal(bits(check.minimum(a, b)[both]), bits(-check.maximum(-a, -b)[both]))
    assert np.isnan(check.minimum(a, b)[~both]).all()


@pytest.mark.parametrize("d", [1, 2, 3, 5, 8, 13])
@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_row_sums_are_the_machines_adder_tree(name, d):
    check = Checker(FORMATS[name])
    rows = check.round(np.random.default_rng(d).normal(size=(50, d)) * 100)
    found = check.row_sums(rows)
    for row, total in zip(rows, found, strict=True):
        assert bits(tree_sum(np.zeros(d), row.copy(), d, check.rounding, 0.0)) == bits(total)


def test_largest_and_smallest_do_not_depend_on_the_order():
    rng = np.random.default_rng(1)
    values = np.array([-0.0, 0.0, -0.0, -1.0, -2.0])
    for _ in range(30):
        mixed = rng.permutation(values)[:, None]
        assert bits(Checker.largest(mixed, axis=0)) == bits(0.0) and Checker.smallest(mixed, axis=0) == -2.0
        assert bits(Checker.smallest(np.abs(mixed) * np.where(np.signbit(mixed), -0.0, 0.0), axis=0)) == bits(-0.0)
    assert np.isnan(Checker.largest(np.array([1.0, np.nan, 3.0]), axis=0))


def test_the_range_is_that_of_each_column_of_v():
    assembly = assembled(RANGE, keys=9)
    job = assembly.job(assembly.workload.heads[0])
    (unit,) = assembly.machine.load(job)
    assert np.array_equal(unit.held["vmin"], job.v.min(axis=0)) and np.array_equal(unit.held["vmax"], job.v.max(axis=0))


def test_the_residual_is_how_far_the_worst_element_lies_outside():
    assembly = assembled(RANGE)
    job = assembly.job(assembly.workload.heads[0])
    (unit,) = assembly.machine.load(job)
    low, high = unit.held["vmin"], unit.held["vmax"]
    rows = np.array([(low + high) / 2,
                     high + np.array([0, 0.5, 0]), low - np.array([2.0, 0, 0.25]), [np.nan, 0, 0], [0, 0, -np.inf], high])
    residual, _ = unit.compare(rows, np.arange(6))
    assert residual[:3].tolist() == [0.0, 0.5, 2.0]
    assert np.isnan(residual[3]) and residual[4] == np.inf and residual[5] == 0.0


@pytest.mark.parametrize("formats", ["", "fp64", "fp32"])
@pytest.mark.parametrize("mask", [{}, {"causal": True}], ids=["dense", "causal"])
def test_clean_outputs_lie_within_the_default_slack(formats, mask):
    """Every output is an average of values; rounding alone never takes it further than the threshold of the default."""
    worst = 0.0
    for seed in range(12):
        config = config_with(RANGE, queries=12, keys=16, formats=formats,
                             workload={"seed": seed, "mask": mask})
        assembly = assemble(config, measure=False)
        found = run_golden(assembly.machine, assembly.job(assembly.workload.heads[0]))
        assert found.alarm_cycle is None
        worst = max(worst, *(c.residual for c in found.comparisons))
    assert worst <= 2.0**-20


def test_it_sees_what_a_shared_checksum_cannot():
    """A struck maximum reaches both sides of the fused check alike, as long as nothing overflows; but an output that
    leaves its column's range cannot be an average."""
    assembly = assembled({"kind": "fused_output", "threshold": {"kind": "absolute", "value": 1e-3}}, RANGE)
    engine = stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))
    row = engine.golden().output[0]
    end = engine.bare.golden().cycles
    # The output register, as the row leaves the machine: the fused check sums it up there, so both see this one.
    cycle = engine.timing.bare.out_cycle(0)
    found = engine.inject(Fault(cycle, "out", (1,), 30)).result
    assert abs(found.output[0, 1]) > 1e30 > abs(row[1])
    raised = {c.unit: c.alarm for c in found.comparisons if c.alarm}
    assert raised == {"invariants": True, "fused_output": True} and found.alarm_cycle <= end + 3
