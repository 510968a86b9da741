"""Where the check unit's limits come from: given, relative, calibrated on clean runs, or bounded.

`thresholds(machine, workload)` gives the values that the `threshold` and `scan_threshold` registers are
loaded with, with what is known about them: the calibration set, and the clean false-alarm rate on inputs
that the calibration never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from accel_sim.checkers.bound import rounding_bound, weight_excess
from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import Format
from accel_sim.numerics.rounding import round_to
from accel_sim.workloads import HeadId, Tensors, Workload, rounded

UNSEEN_HEADS = 50
"""Clean heads, outside the calibration set, on which the false-alarm rate of a threshold is measured."""


@dataclass(frozen=True)
class Thresholds:
    """The limits of a check unit.

    limit, scan_limit: values of the two threshold registers, in the checker format; for kind `relative` they
    are fractions. largest_clean: largest |residual| of the calibration set (calibrated only).
    calibration_heads, unseen_heads: how many clean heads were used to set the limit and to test it;
    unseen_alarms: how many of the latter raised an alarm.
    """

    kind: str
    limit: float
    scan_limit: float
    largest_clean: float | None = None
    calibration_heads: int = 0
    unseen_heads: int = 0
    unseen_alarms: int = 0


def thresholds(machine: LanesMachine, workload: Workload, measure: bool = True) -> Thresholds:
    """The limits of the machine's check unit for this workload.

    `measure=False` skips the clean false-alarm rate. Raises ValueError for a machine without a check unit.
    """
    unit = machine.check
    if unit is None:
        raise ValueError("an unprotected machine has no thresholds")
    spec = unit.threshold
    seen = 0
    largest: float | None = None
    if spec.kind == "absolute":
        # A scan sums rows that are not yet divided by l, which is at most the number of keys.
        limit, scan = spec.value, spec.value * workload.n_keys
    elif spec.kind == "relative":
        limit = scan = spec.value
    elif spec.kind == "bound":
        limit, scan = _bounds(machine, workload)
        limit, scan = spec.slack * limit, spec.slack * scan
    else:
        seen = spec.samples
        largest, largest_scan = clean_residuals(machine, workload, clean_heads(workload, spec.seed, 0, seen))
        limit, scan = spec.multiple * largest, spec.multiple * largest_scan
    limit, scan = (_held(value, machine.formats["checker"]) for value in (limit, scan))
    if not measure:
        return Thresholds(spec.kind, limit, scan, largest, seen)
    seed = spec.seed if spec.kind == "calibrated" else 0
    alarms = total = 0
    for tensors in clean_heads(workload, seed, seen, UNSEEN_HEADS):
        job = make_job(machine, *tensors, workload.bounds()).with_threshold(limit, scan)
        alarms += run_golden(machine, job).alarm_cycle is not None
        total += 1
    return Thresholds(spec.kind, limit, scan, largest, seen, total, alarms)


def _held(limit: float, checker: Format) -> float:
    """A limit as its register holds it. One beyond the format is the largest value, which no finite residual
    exceeds (fp8_e4m3 has no infinity, and a NaN would raise the alarm every time)."""
    return float(round_to(min(limit, checker.max_finite), checker.rounding()))


def clean_residuals(machine: LanesMachine, workload: Workload,
                    heads: Iterable[Tensors]) -> tuple[float, float]:
    """Largest clean |residual| over some heads: at the ends of units of comparison, and in scans."""
    largest = {False: 0.0, True: 0.0}
    for tensors in heads:
        job = make_job(machine, *tensors, workload.bounds())
        for comparison in run_golden(machine, job).comparisons:
            size = abs(comparison.residual)
            if np.isfinite(size):
                largest[comparison.scanned] = max(largest[comparison.scanned], size)
    return largest[False], largest[True]


def clean_heads(workload: Workload, seed: int, skip: int, count: int) -> Iterator[Tensors]:
    """Heads like the workload's own, in an order fixed by the seed: `count` of them after the first `skip`.

    A generator makes fresh heads that no workload contains. A file with several heads gives those that are
    not being run, then (when asked for more than it has, or when it has only one) heads whose queries and
    whose keys with their values are drawn again, with replacement, from a stored head.
    """
    generated = workload.kind in ("gaussian", "outliers")
    pool: list[HeadId] = []
    if not generated:
        source: Any = workload.source  # `Stored`, which knows how many heads it has
        run = set(workload.heads)
        every = [HeadId(layer, head) for layer in range(source.layers) for head in range(source.heads)]
        others = [head for head in every if head not in run]
        order = np.random.Generator(np.random.Philox(key=seed)).permutation(len(others))
        pool = [others[i] for i in order]
    for i in range(skip, skip + count):
        if generated:
            values = workload.source.values(HeadId(1 + seed % 1000, i))
        elif i < len(pool):
            values = workload.source.values(pool[i])
        else:
            values = _redrawn(workload, seed, i)
        yield Tensors(*(rounded(x, workload.operand) for x in values))


def _redrawn(workload: Workload, seed: int, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.Generator(np.random.Philox(key=seed, counter=[i, 0, 0, 1]))
    q, k, v = workload.source.values(workload.heads[i % len(workload.heads)])
    queries = draw.integers(0, len(q), len(q))
    keys = draw.integers(0, len(k), len(k))
    return q[queries], k[keys], v[keys]


def _bounds(machine: LanesMachine, workload: Workload) -> tuple[float, float]:
    """Largest bound over the workload's heads, for a unit of comparison and for a scan."""
    assert machine.check is not None
    rows = workload.n_queries if machine.check.granularity == "head" else min(machine.lanes, workload.n_queries)
    limit = scan = 0.0
    for head in workload.heads:
        q, k, v = workload.tensors(head)
        excess = weight_excess(machine, q, k)
        bound = rounding_bound(machine, v, rows, excess)
        limit = max(limit, bound)
        # Undivided rows are larger by at most l ≤ N.
        scan = max(scan, bound * workload.n_keys * excess)
    return limit, scan
