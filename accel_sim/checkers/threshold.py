"""Where the check units' limits come from: given, relative, calibrated on clean runs, or bounded.

`thresholds(machine, workload)` gives, for each unit, the values that its threshold registers are loaded with, and what
is known about them: the calibration set, and the clean false-alarm rate on inputs that the calibration never saw.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel_sim.config.checker import OutputUnitSection
from accel_sim.config.errors import ConfigError
from accel_sim.engines.job import make_job
from accel_sim.engines.result import first_alarm
from accel_sim.kinds import bare, part_of, run_golden
from accel_sim.machines.machine import Machine
from accel_sim.numerics.formats import Format
from accel_sim.numerics.rounding import round_to
from accel_sim.workloads import HeadId, Tensors, Workload, rounded

UNSEEN_HEADS = 50
"""Clean heads, outside the calibration set, on which the false-alarm rate of a threshold is measured."""


@dataclass(frozen=True)
class Threshold:
    """The limits of one check unit.

    unit: its kind. limit, scan_limit: values of its threshold registers, in the checker format (scan_limit: for
    comparisons inside a query block, NaN where there are none); for kind `relative` they are fractions.
    small_limit, frequent: of a statistical threshold, what makes a comparison a deviation, and how many of those raise
    the alarm (NaN and 0 for others). largest_clean: largest |residual| of the calibration set. calibration_heads,
    unseen_heads: how many clean heads were used to set the limit and to test it; unseen_alarms: in how many of the
    latter this unit raised an alarm.
    """

    unit: str
    kind: str
    limit: float
    scan_limit: float
    largest_clean: float | None = None
    calibration_heads: int = 0
    unseen_heads: int = 0
    unseen_alarms: int = 0
    small_limit: float = float("nan")
    frequent: int = 0


def thresholds(machine: Machine, workload: Workload, measure: bool = True) -> dict[str, Threshold]:
    """The limits of the machine's check units for this workload, by kind of unit.

    `measure=False` skips the clean false-alarm rates. Raises ConfigError for a threshold that this machine cannot have.
    """
    found = {unit.kind: _threshold(machine, unit, workload) for unit in machine.units}
    if not measure:
        return found
    return {unit.kind: _measured(machine, unit, workload, found) for unit in machine.units}


def limits_of(found: Mapping[str, Threshold]) -> dict[str, float]:
    """Thresholds as a job takes them."""
    loaded: dict[str, float] = {}
    for t in found.values():
        loaded |= {t.unit: t.limit, f"{t.unit}.scan": t.scan_limit}
        if t.frequent:
            loaded |= {f"{t.unit}.small": t.small_limit, f"{t.unit}.frequent": float(t.frequent)}
    return loaded


def _threshold(machine: Machine, unit: Any, workload: Workload) -> Threshold:
    """The limits of one unit, not yet tried on unseen heads."""
    spec, seen = unit.threshold, 0
    largest: float | None = None
    small, frequent = float("nan"), 0
    if spec.kind == "absolute":
        # A scan sums rows that are not yet divided by l, which is at most the number of keys.
        limit, scan = spec.value, spec.value * workload.n_keys
    elif spec.kind == "relative":
        limit = scan = spec.value
    elif spec.kind == "bound":
        bounds = None if isinstance(unit, OutputUnitSection) else part_of(machine.kind, "bounds")
        if bounds is None:
            index = [u.kind for u in machine.config.checker.units].index(unit.kind)
            raise ConfigError.at(machine.config, f"checker.units.{index}.threshold.kind",
                                 f"no rounding bound is known for {unit.kind} on a {machine.kind} machine: "
                                 f"use absolute, relative or calibrated")
        limit, scan = (spec.slack * bound for bound in bounds(bare(machine), workload, unit))
    else:
        seen = spec.samples
        largest, largest_scan = clean_residuals(machine, workload, clean_heads(workload, spec.seed, 0, seen), unit.kind)
        limit, scan = spec.multiple * largest, spec.multiple * largest_scan
        if spec.kind == "statistical":
            small, frequent, limit, scan = limit, spec.frequent, spec.large * limit, float("nan")
    limit, scan, small = (_held(value, machine.formats["checker"]) for value in (limit, scan, small))
    return Threshold(unit.kind, spec.kind, limit, scan, largest, seen, small_limit=small, frequent=frequent)


def _measured(machine: Machine, unit: Any, workload: Workload, found: Mapping[str, Threshold]) -> Threshold:
    """One unit's limits with its clean false alarms, on heads that its calibration has not seen."""
    own = found[unit.kind]
    seed = getattr(unit.threshold, "seed", 0)
    limits = limits_of(found)
    alarms = total = 0
    for tensors in clean_heads(workload, seed, own.calibration_heads, UNSEEN_HEADS):
        job = make_job(machine, *tensors, workload.bounds(), workload.firsts()).with_limits(limits)
        mine = (c for c in run_golden(machine, job).comparisons if c.unit == unit.kind)
        alarms += first_alarm(mine, job.policy(unit.kind)) is not None
        total += 1
    return replace(own, unseen_heads=total, unseen_alarms=alarms)


def _held(limit: float, checker: Format) -> float:
    """A limit as its register holds it. One beyond the format is the largest value, which no finite residual
    exceeds (fp8_e4m3 has no infinity, and a NaN would raise the alarm every time)."""
    return float(round_to(min(limit, checker.max_finite), checker.rounding()))


def clean_residuals(machine: Machine, workload: Workload, heads: Iterable[Tensors],
                    unit: str = "fused_output") -> tuple[float, float]:
    """Largest clean |residual| of a check unit over some heads: at the ends of units of comparison, and in scans."""
    largest = {False: 0.0, True: 0.0}
    for tensors in heads:
        job = make_job(machine, *tensors, workload.bounds(), workload.firsts())
        for comparison in run_golden(machine, job).comparisons:
            size = abs(comparison.residual)
            if np.isfinite(size) and comparison.unit == unit:
                largest[comparison.scanned] = max(largest[comparison.scanned], size)
    return largest[False], largest[True]


def clean_heads(workload: Workload, seed: int, skip: int, count: int) -> Iterator[Tensors]:
    """Heads like the workload's own, in an order fixed by the seed: `count` of them after the first `skip`.

    A generator makes fresh heads that no workload contains. A file with several heads gives those that are
    not being run, then (when asked for more than it has, or when it has only one) heads whose queries and
    whose keys with their values are drawn again, with replacement, from a stored head.
    """
    generated = workload.kind in ("gaussian", "outliers", "gemm")
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
            values = workload.source.values(HeadId(workload.heads[-1].layer + 1 + seed % 1000, i))
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
