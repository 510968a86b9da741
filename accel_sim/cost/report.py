"""What area and energy are reported as: items that are sums of table entries, and estimates made of them.

- `Item`: one line of the bill: a register array, an operator group, an SRAM.
- `Estimate`: a value with its range.
- `Overhead`: the check units over the rest, with an interval.
- `CostReport`: the bill, added up by component and category; `AreaReport` and `EnergyReport` are two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.cost.draws import F64, SAMPLES, draws
from accel_sim.cost.table import Technology

CATEGORIES = ("operators", "registers", "sram", "off_chip", "leakage")

SCOPES: dict[str, tuple[str, ...]] = {
    "core": ("sram", "off_chip"),
    "with_sram": ("off_chip",),
    "system": (),
}
"""What an overhead is taken over, by the components that are left out: the accelerator core alone (datapath and
check units: what papers on check units usually report), with its SRAM, or with off-chip memory as well."""


@dataclass(frozen=True)
class Item:
    """One line of a bill.

    count: how many units, bits, operations or bytes. parts: what they cost, as ((table entry, how many), ...).
    """

    component: str
    category: str
    name: str
    count: float
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Estimate:
    """A value and its range: low and high are reached if every entry of the table errs the same way."""

    value: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Overhead:
    """Cost of the check units over the cost of everything else in the scope, as a fraction.

    value: at the table's values. median, low, high: over samples of the table, low and high the ends of the
    95 % interval. Both sides of the ratio see the same sample.
    """

    value: float
    median: float
    low: float
    high: float

    def as_dict(self) -> dict[str, float]:
        """Plain data."""
        return {"value": self.value, "median": self.median, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        return f"{100 * self.value:.2f} % (95 %: {100 * self.low:.2f} to {100 * self.high:.2f} %)"


@dataclass(frozen=True, eq=False)
class CostReport:
    """A bill in one unit (`um2` or `pj`)."""

    technology: Technology
    items: tuple[Item, ...]

    unit = ""

    @cached_property
    def total(self) -> Estimate:
        """Everything together."""
        return self.estimate(self.items)

    @cached_property
    def by_component(self) -> dict[str, Estimate]:
        """Totals by component, in order of first appearance."""
        return self._by(lambda item: item.component)

    @cached_property
    def by_category(self) -> dict[str, Estimate]:
        """Totals by category, in the order of `CATEGORIES`."""
        found = self._by(lambda item: item.category)
        return {category: found[category] for category in CATEGORIES if category in found}

    @cached_property
    def table(self) -> dict[str, dict[str, Estimate]]:
        """Totals by component and category."""
        return {
            component: {
                category: self.estimate(
                    i for i in self.items if i.component == component and i.category == category
                )
                for category in CATEGORIES
                if any(i.component == component and i.category == category for i in self.items)
            }
            for component in self.by_component
        }

    def estimate(self, items: Iterable[Item]) -> Estimate:
        """The sum of some items."""
        value = low = high = 0.0
        for item in items:
            for key, count in item.parts:
                value += count * self.technology.number(key)
                low += count * self.technology.number(key, "low")
                high += count * self.technology.number(key, "high")
        return Estimate(value, low, high)

    def overhead(self, scope: str = "core", unit: str | None = None) -> Overhead:
        """The check units, or the one component `unit`, over everything in the scope but the check units.

        `scope` is one of `SCOPES`. Zero for an unprotected design.
        """
        if scope not in SCOPES:
            raise ValueError(f"scope {scope!r} is not one of {', '.join(SCOPES)}")
        rest = [i for i in self.items if not _checks(i) and i.component not in SCOPES[scope]]
        check = [i for i in self.items if _checks(i) and unit in (None, i.component)]
        value = self.estimate(check).value / self.estimate(rest).value
        ratios = self._samples(check) / self._samples(rest)
        low, median, high = (float(x) for x in np.quantile(ratios, (0.025, 0.5, 0.975)))
        return Overhead(value, median, low, high)

    def beside(self, other: CostReport, scope: str = "core") -> Overhead:
        """What this bill costs more than another of the same technology, over the other, as an overhead: everything in
        the scope that one design has and another has not, whatever component it is counted under."""
        mine, theirs = ([i for i in report.items if i.component not in SCOPES[scope]] for report in (self, other))
        value = self.estimate(mine).value / other.estimate(theirs).value - 1.0
        ratios = self._samples(mine) / other._samples(theirs) - 1.0
        low, median, high = (float(x) for x in np.quantile(ratios, (0.025, 0.5, 0.975)))
        return Overhead(value, median, low, high)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {
            "unit": self.unit,
            "technology": self.technology.name,
            "total": self.total.as_dict(),
            "by_component": _plain(self.by_component),
            "by_category": _plain(self.by_category),
            "table": {component: _plain(row) for component, row in self.table.items()},
            "overhead": {scope: self.overhead(scope).as_dict() for scope in SCOPES},
        }

    def _by(self, group: Callable[[Item], str]) -> dict[str, Estimate]:
        names = dict.fromkeys(group(item) for item in self.items)
        return {name: self.estimate(i for i in self.items if group(i) == name) for name in names}

    def _samples(self, items: Iterable[Item]) -> F64:
        counts: dict[str, float] = {}
        for item in items:
            for key, count in item.parts:
                counts[key] = counts.get(key, 0.0) + count
        total: F64 = np.zeros(SAMPLES)
        for key, count in counts.items():
            total = total + count * draws(self.technology, key)
        return total


@dataclass(frozen=True, eq=False)
class AreaReport(CostReport):
    """Area of a machine and its SRAM, in um2 of cells: before placement, without wires and clock tree."""

    unit = "um2"


@dataclass(frozen=True, eq=False)
class EnergyReport(CostReport):
    """Energy of one head, in pJ, and the time it took: `cycles` clock cycles of `clock_mhz`."""

    cycles: int
    clock_mhz: float

    unit = "pj"

    @property
    def seconds(self) -> float:
        """Time of the head."""
        return self.cycles / (self.clock_mhz * 1e6)

    @cached_property
    def power_mw(self) -> Estimate:
        """Mean power over the head, in mW."""
        e, scale = self.total, 1e-9 / self.seconds
        return Estimate(e.value * scale, e.low * scale, e.high * scale)

    def as_dict(self) -> dict[str, Any]:
        """Plain data, for JSON."""
        return {**super().as_dict(), "cycles": self.cycles, "clock_mhz": self.clock_mhz,
                "power_mw": self.power_mw.as_dict()}


def _checks(item: Item) -> bool:
    return item.component.startswith("checker.")


def _plain(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: estimate.as_dict() for name, estimate in estimates.items()}
