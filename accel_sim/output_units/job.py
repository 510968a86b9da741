"""Check units loaded for one head: what they compare a row with, and what that allows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from accel_sim.config import ConfigError, Problem
from accel_sim.engines.job import Job
from accel_sim.engines.result import Policy
from accel_sim.numerics.arithmetic import mul
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.rounding import quiet
from accel_sim.output_units.arithmetic import as_read, rounded
from accel_sim.output_units.unit import OutputUnit


@dataclass(frozen=True)
class LoadedUnit:
    """One unit on one head. threshold, policy: values of its registers (policy: `Job.policy`). held: values of those
    that it keeps by name, as loaded. row: how rows are read."""

    unit: OutputUnit
    threshold: float
    policy: Policy
    held: Mapping[str, np.ndarray]
    row: Rounding
    formats: Mapping[str, Rounding]

    @property
    def kind(self) -> str:
        """The unit's."""
        return self.unit.kind

    @property
    def relative(self) -> bool:
        """Whether the limit is a share of the scale."""
        return bool(self.unit.settings.threshold.kind == "relative")

    def compare(self, rows: np.ndarray, queries: np.ndarray, held: Mapping[str, np.ndarray] | None = None,
                threshold: float | None = None) -> tuple[np.ndarray, np.ndarray]:
        """(residual, limit) of some rows, (n,) float64 each, under these values of the registers (None: as loaded).

        Raises ConfigError for a unit that gives anything but values of the checker format.
        """
        rc, n = self.unit.checker.rounding, len(rows)
        values = self.held if held is None else held
        read = {name: as_read(values[name], self.formats[name]) for name in values}
        residual, scale = self.unit.compare(as_read(rows, self.row), queries, read)
        residual = _checked(self.unit, "residual", residual, n)
        limit = quiet(self.threshold if threshold is None else threshold, rc)
        if not self.relative:
            return residual, np.full(n, limit)
        if scale is None:
            raise _wrong(self.unit, "gives no scale, although it is said to have one")
        scales = np.abs(_checked(self.unit, "scale", scale, n))
        return residual, np.array([mul(limit, x, rc) for x in scales])


def load_units(units: tuple[OutputUnit, ...], job: Job) -> tuple[LoadedUnit, ...]:
    """The units as they stand at the start of a head. Raises ConfigError for a unit that loads what it cannot hold."""
    return tuple(_loaded(unit, job) for unit in units)


def _loaded(unit: OutputUnit, job: Job) -> LoadedUnit:
    machine = unit.machine
    roundings = {held.name: machine.formats[held.role].rounding(machine.subnormals) for held in unit.registers()}
    operand = machine.formats["operand"].rounding(machine.subnormals)
    q, k, v = (as_read(x, operand) for x in (job.q, job.k, job.v))
    given = unit.load(q, k, v, job.bound.copy())
    if set(given) != set(roundings):
        raise _wrong(unit, f"loads {', '.join(sorted(given)) or 'nothing'}; "
                           f"its registers are {', '.join(sorted(roundings)) or 'none'}")
    values = {}
    for held in unit.registers():
        value = np.array(given[held.name], dtype=np.float64)
        if value.shape != held.shape:
            raise _wrong(unit, f"loads {held.name} with shape {value.shape}; it has {held.shape}")
        if not _same(rounded(value, roundings[held.name]), value):
            raise _wrong(unit, f"loads {held.name} with values that are none of {machine.formats[held.role].name}")
        values[held.name] = value
    row = machine.formats["output"].rounding(machine.subnormals)
    return LoadedUnit(unit, job.limit(unit.kind), job.policy(unit.kind), values, row, roundings)


def _checked(unit: OutputUnit, what: str, value: np.ndarray, n: int) -> np.ndarray:
    found = np.asarray(value, dtype=np.float64)
    if found.shape != (n,):
        raise _wrong(unit, f"gives a {what} of shape {found.shape} for {n} rows")
    if not _same(rounded(found, unit.checker.rounding), found):
        raise _wrong(unit, f"gives a {what} that is no value of {unit.checker.format.name}: round it with the "
                           f"operators of its checker")
    return np.where(np.isnan(found), np.nan, found)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all((a == b) | (np.isnan(a) & np.isnan(b))))


def _wrong(unit: OutputUnit, message: str) -> ConfigError:
    return ConfigError(Problem(f"the check unit {unit.kind} {message}", "checker.units"))
