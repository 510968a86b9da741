"""The stepped engine, the golden engine and the plain equations give the same bits."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest

from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.lanes_step import first_level
from accel_sim.engines.result import RunResult
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import FORMATS
from engines.draw import (
    ROLES,
    SHARES,
    Case,
    gaussian_case,
    machine_with,
    random_case,
    random_formats,
    random_job,
    random_machine,
    random_mask,
    rounded,
    with_threshold,
)
from engines.reference import Values, attention


def assert_agree(case: Case, note: object) -> RunResult:
    stepped, golden = case.engine.run(), run_golden(case.machine, case.job)
    assert not stepped.hang, note
    assert stepped.same_as(golden), (note, case.machine.config)
    return golden


@pytest.mark.parametrize("seed", range(10))
def test_engines_agree_on_any_machine_and_any_head(seed):
    rng = np.random.default_rng(seed)
    for n in range(60):
        assert_agree(random_case(rng), n)


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("name", FORMATS)
def test_engines_agree_for_every_format_in_every_role(role, name):
    rng = np.random.default_rng([ROLES.index(role), list(FORMATS).index(name)])
    for _ in range(3):
        machine = drawn_with_format(rng, role, name)
        assert machine.formats[role].name == name
        assert_agree(Case(machine, random_job(machine, rng)), machine.formats)


def drawn_with_format(rng: np.random.Generator, role: str, name: str) -> LanesMachine:
    """Any machine with a check unit in which the role has the format."""
    while True:
        try:
            return random_machine(rng, 1, check=True, formats=random_formats(rng, **{role: name}))
        except AssertionError:  # the other formats that were drawn do not go with it
            continue


# Every option of the machine, and what the memory, the mask and the shape do to it.
OPTIONS: dict[str, dict[str, Any]] = {
    "dot": {name: name for name in ("tree", "serial", "fused")},
    "exp": {"exp-exact": "exact", "exp-pwl": {"kind": "pwl", "pieces": 8}},
    "divide": {"divide-exact": "exact", "reciprocal": {"kind": "reciprocal_pwl", "pieces": 16}},
    "subnormals": {name: name for name in ("keep", "flush")},
    "shares": {"own-" + ("-".join(shares) or "nothing"): shares for shares in SHARES},
    "granularity": {name: name for name in ("head", "query_block", "key_tile")},
    "threshold": {kind: {"kind": kind, "value": 1e-6} for kind in ("absolute", "relative")},
    "formats": {
        "fp32-state": {"operand": "bf16"},
        **{f"all-{name}": dict.fromkeys(ROLES, name) for name in FORMATS},
        "mixed": dict(operand="fp8_e5m2", score="bf16", exp="fp16", state="fp32", output="fp8_e4m3", checker="fp64"),
        "narrow-state": dict(operand="bf16", score="fp32", exp="fp32", state="bf16", output="bf16", checker="fp32"),
    },
    "mask": {name: name for name in ("no-mask", "causal", "padding")},
    "stalls": {"stalled": True, "flowing": False},
    "shape": {"even": (8, 16), "ragged": (7, 18), "one-key": (5, 1), "one-query": (1, 9)},
}


def impossible(a: tuple[str, str], b: tuple[str, str]) -> bool:
    """The piecewise linear units take formats up to fp32, and so does the fused dot product."""
    pairs = {("exp", "exp-pwl"), ("divide", "reciprocal"), ("dot", "fused")}
    return ("formats", "all-fp64") in (a, b) and bool(pairs & {a, b})


def pairwise_cover() -> list[dict[str, str]]:
    """Few combinations of options in which every possible pair of values occurs (greedy)."""
    wanted = {
        frozenset([(k1, a), (k2, b)])
        for k1, k2 in combinations(OPTIONS, 2)
        for a, b in product(OPTIONS[k1], OPTIONS[k2])
        if not impossible((k1, a), (k2, b))
    }
    rows = []
    while wanted:
        row = dict(min(wanted, key=lambda pair: sorted(pair)))
        for key in OPTIONS:
            if key not in row:
                allowed = [v for v in OPTIONS[key] if not any(impossible((key, v), item) for item in row.items())]
                row[key] = max(allowed, key=lambda v: sum(
                    frozenset([(key, v), item]) in wanted for item in row.items()))  # fmt: skip
        wanted -= {frozenset(pair) for pair in combinations(row.items(), 2)}
        rows.append({key: row[key] for key in OPTIONS})
    return rows


@pytest.mark.parametrize("row", pairwise_cover(), ids=lambda row: ",".join(row.values()))
def test_engines_agree_on_every_pair_of_options(row):
    given = {key: OPTIONS[key][value] for key, value in row.items()}
    queries, keys = given.pop("shape")
    mask, stalls = given.pop("mask"), given.pop("stalls")
    machine = machine_with(lanes=4, head_dim=6, key_tile=4, **given)
    bound = {
        "no-mask": None,
        "causal": np.minimum(keys - 1, np.arange(queries) + max(0, keys - queries)),
        "padding": np.full(queries, max(0, keys - 3)),
    }[mask]
    case = gaussian_case(machine, queries, keys, seed=1, threshold=1e-6, bound=bound)
    if stalls:
        rng = np.random.default_rng(2)
        held = [rng.integers(0, 4, x.size) for x in (case.job.kv_stall, case.job.swap_stall)]
        case = Case(machine, case.job.with_stalls(kv=held[0], swap=held[1]))
    result = assert_agree(case, row)
    assert np.isfinite(result.output).all() or "fp8" in row["formats"]


def assert_as_reference(case: Case, note: object) -> None:
    golden, values = run_golden(case.machine, case.job), attention(case.machine, case.job)
    assert golden.output.tobytes() == outputs(values, case).tobytes(), (note, case.machine.config)
    compared = [(c.residual, c.limit, c.predicted, c.actual, c.scanned) for c in golden.comparisons]
    assert np.array(compared, dtype=float).tobytes() == np.array(values.comparisons, dtype=float).tobytes(), note


def outputs(values: Values, case: Case) -> np.ndarray:
    queries, _, d = case.job.shape
    return np.array([[values.out[i, t] for t in range(d)] for i in range(queries)])


def test_engines_compute_the_equations_with_one_rounding_for_each_operation():
    rng = np.random.default_rng(3)
    for n in range(400):
        machine = random_machine(rng, head_dim=int(rng.integers(1, 7)))
        assert_as_reference(Case(machine, random_job(machine, rng, queries=5, keys=12)), n)


def test_engines_agree_where_values_vanish_overflow_and_become_nan():
    """Exponents over the whole range, zeros of both signs: subnormals, infinities and NaN in every register."""
    rng = np.random.default_rng(4)
    finite = 0
    for n in range(300):
        machine = random_machine(rng, head_dim=int(rng.integers(1, 5)))
        operand = machine.formats["operand"]
        queries, keys = int(rng.integers(1, 5)), int(rng.integers(1, 9))
        tensors = []
        for rows in (queries, keys, keys):
            shape = (rows, machine.head_dim)
            x = rng.standard_normal(shape) * 10.0 ** rng.uniform(-45, 30 if operand.emax > 100 else 4, shape)
            x = np.where(rng.random(shape) < 0.05, np.copysign(0.0, x), x)
            tensors.append(rounded(x, operand))
        job = make_job(machine, *tensors, random_mask(rng, queries, keys))
        case = Case(machine, with_threshold(machine, job, 1e-3, 1e-3))
        golden = assert_agree(case, n)
        assert_as_reference(case, n)
        finite += bool(np.isfinite(golden.output).all())
    assert 30 < finite < 270  # the draw reaches both


def test_first_level_of_a_checker_tree_rounds_once_even_when_its_inputs_reach_below_its_own_format():
    """Halfway between two fp16 subnormals, and a bf16 crumb that tips it: a binary64 sum would lose the crumb."""
    out = np.zeros(1)
    step = 2.0**-24
    first_level(out, np.array([2.5 * step, 2.0**-100]), 2, FORMATS["fp16"].rounding(), FORMATS["bf16"].rounding())
    assert out[0] == 3 * step
    first_level(out, np.array([2.5 * step, -(2.0**-100)]), 2, FORMATS["fp16"].rounding(), FORMATS["bf16"].rounding())
    assert out[0] == 2 * step


def test_a_clean_run_alarms_in_the_same_cycle_in_both_engines_when_memory_holds_the_machine():
    """A limit of zero: every comparison that is not exact raises the alarm, at every granularity."""
    rng = np.random.default_rng(6)
    alarms = 0
    for _ in range(40):
        case = random_case(rng, stalls=True, check=True, threshold={"kind": "absolute", "value": 1e-30})
        result = assert_agree(Case(case.machine, case.job.with_threshold(0.0, 0.0)), case.machine.config)
        alarms += result.alarm_cycle is not None
        if result.alarm_cycle is not None:
            first = next(c for c in result.comparisons if c.alarm)
            assert result.alarm_cycle > first.cycle
    assert alarms > 20


def test_unset_thresholds_cannot_pass_silently():
    machine = machine_with()
    job = gaussian_case(machine, 4, 9).job.with_threshold(float("nan"), float("nan"))
    assert run_golden(machine, job).alarm_cycle is not None
    assert Case(machine, job).engine.run().alarm_cycle is not None


@pytest.mark.parametrize(("lanes", "head_dim", "queries", "keys"), [(1, 1, 1, 1), (1, 3, 4, 1), (5, 2, 1, 7)])
def test_the_smallest_machines_work(lanes, head_dim, queries, keys):
    for dot, granularity in product(("tree", "serial", "fused"), ("head", "query_block", "key_tile")):
        machine = machine_with(lanes, head_dim, key_tile=8, dot=dot, granularity=granularity)
        result = assert_agree(gaussian_case(machine, queries, keys), (dot, granularity))
        assert result.alarm_cycle is None


def test_operands_that_do_not_fit_are_refused():
    machine = machine_with(head_dim=5)
    good = np.zeros((3, 5))
    for q, k, v in [
        (np.zeros((3, 4)), good, good), (good, np.zeros((3, 6)), good), (good, good, np.zeros((2, 5))),
        (np.zeros((0, 5)), good, good), (good, np.zeros((0, 5)), np.zeros((0, 5))),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match="head_dim"):
            make_job(machine, q, k, v)
