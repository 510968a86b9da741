"""Verdicts of many faults at a time are those of reading all comparisons of each, one after the other."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.result import Comparison, RunResult, first_alarm
from accel_sim.engines.verdicts import NONE, Changes, Comparisons, in_order
from accel_sim.output_units.verdict import Verdicts, merged, verdicts

VALUES = np.array([0.0, -0.0, 0.5, -0.5, 1.0, 2.0, np.nan, np.inf])


ALONE = [(np.nan, 0)]


def read(residual, limit, policies=ALONE):
    """What a reader of the comparisons in order finds: first alarm, and the telling comparison."""
    comparisons = tuple(Comparison(i, float(r), float(x), np.nan, np.nan, False, "unit")
                        for i, (r, x) in enumerate(zip(residual, limit, strict=True)))
    units = [comparisons[u::len(policies)] for u in range(len(policies))]
    raised = [first_alarm(found, policy) for found, policy in zip(units, policies, strict=True)]
    first = min((c.cycle for c in raised if c is not None), default=NONE)
    return first, *RunResult(np.zeros((1, 1)), comparisons, None, 0).told


def same(a, b):
    return np.array_equal(np.asarray(a, dtype=float).view(np.int64)[~np.isnan(a)],
                          np.asarray(b, dtype=float).view(np.int64)[~np.isnan(a)]) and np.array_equal(np.isnan(a), np.isnan(b))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("alarmed", [False, True])
@pytest.mark.parametrize("policies", [ALONE, [(0.2, 2)], [(0.6, 1), (np.nan, 0), (0.2, 3)]],
                         ids=["each by itself", "two small ones", "three units"])
def test_verdicts_are_those_of_reading_everything(seed, alarmed, policies):
    rng = np.random.default_rng([seed, alarmed])
    for _ in range(40):
        n, faults = len(policies) * int(rng.integers(1, 7)), int(rng.integers(1, 9))
        residual, limit = rng.choice(VALUES[:4], n), np.full(n, 0.1 if alarmed else 1.0)
        parts, expected = [], []
        for fault in range(faults):
            r, x = residual.copy(), limit.copy()
            at = rng.permutation(n)[:rng.integers(0, n + 1)]
            r[at], x[at] = rng.choice(VALUES, len(at)), rng.choice([0.1, 1.0, 3.0], len(at))
            parts.append(Changes(np.full(len(at), fault), at, r[at], x[at]))
            expected.append(read(r, x, policies))
        found = verdicts(Comparisons(residual, limit, np.arange(n) % len(policies), policies), faults, in_order(parts))
        assert found.alarm.tolist() == [alarm for alarm, *_ in expected]
        assert same(found.residual, np.array([r for _, r, _ in expected]))
        assert same(found.limit, np.array([x for *_, x in expected]))


@pytest.mark.parametrize("seed", range(4))
def test_two_runs_of_comparisons_are_told_as_one(seed):
    rng = np.random.default_rng(seed)
    for _ in range(300):
        first, second = int(rng.integers(0, 3)), int(rng.integers(1, 4))
        residual, limit = rng.choice(VALUES, first + second), rng.choice([0.1, 1.0], first + second)
        whole = read(residual, limit)
        before, own = read(residual[:first], limit[:first]), read(residual[first:], limit[first:])
        told = merged(
            Verdicts(*(np.array([x]) for x in own)), np.array([NONE if own[0] == NONE else 100 + own[0]]),
            Verdicts(*(np.array([x]) for x in before)), first > 0)
        expected = NONE if whole[0] == NONE else whole[0] if whole[0] < first else 100 + whole[0] - first
        assert told.alarm[0] == expected
        assert same(told.residual, np.array([whole[1]])) and same(told.limit, np.array([whole[2]]))
