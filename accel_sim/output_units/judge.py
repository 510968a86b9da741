"""All rows of a head at once, without faults in the units themselves: their comparisons and their alarm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from accel_sim.engines.result import Comparison, Policy, RunResult
from accel_sim.engines.verdicts import exceeds
from accel_sim.output_units.job import LoadedUnit

READ, COMPARE, JUDGE = range(3)
"""Cycles from a row's reading to each of its steps; what a step makes stands in its register one cycle later."""

ROW_TO_ALARM = JUDGE + 1 - COMPARE
"""Cycles from a row's standing in its register until its alarm can be read."""

DRAIN = 3
"""Cycles that reading a head back takes beside one for each row."""


def residual_cycle(end: int, query: int) -> int:
    """First cycle in which the residual of a query stands in its register; end: cycles of the run that was read."""
    return end + query + COMPARE + 1


def alarm_cycle(end: int, query: int) -> int:
    """First cycle in which its alarm can be read."""
    return end + query + JUDGE + 1


def tables(units: Sequence[LoadedUnit], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(residual, limit), both (Nq, units): every comparison of a head."""
    queries = np.arange(len(rows), dtype=np.int64)
    found = [unit.compare(rows, queries) for unit in units]
    return np.stack([r for r, _ in found], axis=1), np.stack([limit for _, limit in found], axis=1)


def raising(residual: np.ndarray, limit: np.ndarray, policy: Policy) -> int | None:
    """Number of the comparison that raises a unit's alarm, of all its comparisons of a head, in order; None for none.
    As `accel_sim.engines.result.first_alarm`, for arrays."""
    small, frequent = policy
    up = exceeds(residual, limit)
    if frequent:
        up |= np.cumsum(exceeds(residual, small)) >= frequent
    return int(np.argmax(up)) if up.any() else None


def judged(units: Sequence[LoadedUnit], run: RunResult) -> RunResult:
    """A run of the machine with its rows read back and judged. One that hangs is never read."""
    if run.hang:
        return run
    residual, limit = tables(units, run.output)
    queries = [raising(residual[:, n], limit[:, n], unit.policy) for n, unit in enumerate(units)]
    raised = [alarm_cycle(run.cycles, query) for query in queries if query is not None]
    raised += [] if run.alarm_cycle is None else [run.alarm_cycle]
    return replace(
        run,
        comparisons=(*run.comparisons, *(
            comparison(run.cycles, query, unit.kind, residual[query, n], limit[query, n])
            for query in range(len(residual)) for n, unit in enumerate(units))),
        alarm_cycle=min(raised, default=None),
        cycles=run.cycles + len(run.output) + DRAIN,
    )


def comparison(end: int, query: int, kind: str, residual: float, limit: float) -> Comparison:
    """One comparison of a unit: it has no two sums, so predicted and actual are NaN."""
    nan = float("nan")
    return Comparison(residual_cycle(end, query), float(residual), float(limit), nan, nan, False, kind)
