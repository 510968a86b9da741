"""What a set of records adds up to: a frozen table of counts that merges with `+`.

A `Summary` of a campaign is the sum of its shards' summaries, whichever worker made them and however often the
campaign was resumed. It holds integers only, so the sum does not depend on the order.

Records drawn by stratified sampling carry a weight. Records of one weight were drawn at one rate, so each
weight is a stratum of its own in every estimate; with uniform sampling there is one weight.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from accel_sim.analysis.statistics import (
    CONFIDENCE,
    Interval,
    finite_jeffreys,
    jeffreys,
    quantile_ranks,
    stratified_estimate,
)

PERCENTILES = (50, 90, 99)
"""Percentiles of the detection latency that reports show."""

CHANGED = ("detected", "silent")
"""Outcomes whose output differs from the fault-free one."""


class Cell(NamedTuple):
    """What records must share to be counted together."""

    component: str
    outcome: str
    hang: bool
    weight: float


class Alarms(NamedTuple):
    """What alarms must share for their latencies to be counted together."""

    outcome: str
    weight: float


@dataclass(frozen=True)
class Share:
    """A rate's definition: records with one of the outcomes `hits`, among those with one of `among` (empty:
    among all records)."""

    hits: tuple[str, ...]
    among: tuple[str, ...]
    about: str


SHARES = {
    "detected": Share(("detected",), (), "output wrong and the alarm raised, of all faults"),
    "silent": Share(("silent",), (), "output wrong and no alarm, of all faults"),
    "false_alarm": Share(("false_alarm",), (), "output right and the alarm raised, of all faults"),
    "masked": Share(("masked",), (), "output right and no alarm, of all faults"),
    "coverage": Share(("detected",), CHANGED, "alarm raised, of the faults that made the output wrong"),
    "silent_share": Share(("silent",), CHANGED, "no alarm, of the faults that made the output wrong"),
    "precision": Share(("detected",), ("detected", "false_alarm"), "output wrong, of the alarms raised"),
    "hang": Share((), (), "the machine did not finish, of all faults"),
}
"""Every rate that a summary gives, by name."""


@dataclass(frozen=True)
class Rate:
    """A rate with its counts: `hits` of `among` records, weighted into `interval`."""

    name: str
    about: str
    hits: int
    among: int
    interval: Interval


@dataclass(frozen=True)
class Summary:
    """Counts of records, additive.

    cells: records by component, outcome, hang and weight. latencies: of the alarms, by outcome and weight, how
    many there were at each latency in cycles. exposure: stored bits × cycles of each component in the universe
    that was sampled; summaries add up only if they agree on it. `Summary()` adds nothing.
    """

    cells: Mapping[Cell, int] = field(default_factory=dict)
    latencies: Mapping[Alarms, Mapping[int, int]] = field(default_factory=dict)
    exposure: Mapping[str, int] = field(default_factory=dict)

    def __add__(self, other: Summary) -> Summary:
        """Both together. Raises ValueError for summaries of different universes."""
        return merged((self, other))

    # -- counts ----------------------------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Records counted."""
        return sum(self.cells.values())

    @property
    def components(self) -> tuple[str, ...]:
        """Components of the universe and of the records, in order of exposure table, then of name."""
        return (*self.exposure, *sorted({c.component for c in self.cells} - set(self.exposure)))

    @property
    def hangs(self) -> int:
        """Records whose machine did not finish."""
        return sum(count for cell, count in self.cells.items() if cell.hang)

    def count(self, outcome: str, component: str | None = None) -> int:
        """Records with this outcome, of one component or of all."""
        return sum(count for cell, count in self.cells.items()
                   if cell.outcome == outcome and component in (None, cell.component))

    def of(self, component: str) -> Summary:
        """The records of one component alone (without latencies, which are not kept by component)."""
        cells = {cell: count for cell, count in self.cells.items() if cell.component == component}
        exposure = {name: bits for name, bits in self.exposure.items() if name == component}
        return Summary(cells, {}, exposure)

    # -- rates -----------------------------------------------------------------------------------------

    def trials(self, share: str) -> tuple[int, int]:
        """(hits, among) of one of `SHARES`, unweighted."""
        strata = self._strata(share)
        return sum(k for k, _ in strata.values()), sum(n for _, n in strata.values())

    def rate(self, share: str, confidence: float = CONFIDENCE, population: int | None = None) -> Rate:
        """One of `SHARES` with its interval: Jeffreys, or stratified when the records have several weights.

        population: size of the universe if every record is another point of it (an exhaustive campaign): the
        interval of a rate over all faults then covers what is left only.
        """
        strata = self._strata(share)
        hits, among = sum(k for k, _ in strata.values()), sum(n for _, n in strata.values())
        if len(strata) > 1:
            counts, weights = list(strata.values()), [w * n for w, (_, n) in strata.items()]
            interval = stratified_estimate(counts, weights, confidence)
        elif population is not None and population == self.n:
            # Everything was tried: conditional rates are exact as well.
            interval = finite_jeffreys(hits, among, among, confidence)
        elif population is not None and not SHARES[share].among:
            interval = finite_jeffreys(hits, among, population, confidence)
        else:
            interval = jeffreys(hits, among, confidence)
        return Rate(share, SHARES[share].about, hits, among, interval)

    def rates(self, confidence: float = CONFIDENCE, population: int | None = None) -> dict[str, Rate]:
        """Every one of `SHARES`; see `rate`."""
        return {share: self.rate(share, confidence, population) for share in SHARES}

    def _strata(self, share: str) -> dict[float, tuple[int, int]]:
        """(hits, among) of a share, by weight."""
        wanted = SHARES[share]
        strata: dict[float, tuple[int, int]] = {}
        for cell, count in sorted(self.cells.items()):
            if not wanted.among or cell.outcome in wanted.among:
                hit = cell.hang if share == "hang" else cell.outcome in wanted.hits
                k, n = strata.get(cell.weight, (0, 0))
                strata[cell.weight] = (k + hit * count, n + count)
        return strata

    # -- latency ---------------------------------------------------------------------------------------

    def latency_percentile(self, percent: float, outcome: str = "detected") -> int | None:
        """Detection latency in cycles that at least `percent` % of the records with this outcome do not
        exceed; None if there is none. Exact: nearest rank over all of them, by weight."""
        alarms = sorted((cycles, group.weight * count) for group, counts in self.latencies.items()
                        if group.outcome == outcome for cycles, count in counts.items())
        need, have = percent / 100 * math.fsum(weight for _, weight in alarms), 0.0
        for cycles, weight in alarms:
            have += weight
            if have >= need * (1 - 1e-12):
                return cycles
        return None

    def latency_percentiles(self, outcome: str = "detected") -> dict[str, int | None]:
        """        {"p50": …, "p50_low": …, "p50_high": …, "p90": …, …}, in cycles: each with its 95 % interval."""
        found: dict[str, int | None] = {}
        for p in PERCENTILES:
            low, high = self.latency_interval(p, outcome)
            found |= {f"p{p}": self.latency_percentile(p, outcome), f"p{p}_low": low, f"p{p}_high": high}
        return found

    def latency_interval(self, percent: float, outcome: str = "detected",
                         confidence: float = CONFIDENCE) -> tuple[int | None, int | None]:
        """The interval of `latency_percentile` (`statistics.quantile_ranks`); None, None where there are no such
        records, or records of different weights."""
        counts: dict[int, int] = {}
        groups = [(group, of) for group, of in self.latencies.items() if group.outcome == outcome and of]
        for _, of in groups:
            for cycles, count in of.items():
                counts[cycles] = counts.get(cycles, 0) + count
        n = sum(counts.values())
        if n == 0 or len({group.weight for group, _ in groups}) > 1:
            return None, None
        low, high = quantile_ranks(n, percent / 100, confidence)
        ordered = sorted(counts)
        ends = np.cumsum([counts[cycles] for cycles in ordered])
        at = np.searchsorted(ends, (low, high))
        return ordered[int(at[0])], ordered[int(at[1])]

    # -- as text ---------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """Compact JSON from which `from_json` makes an equal summary. Equal summaries give equal text."""
        data = {
            "cells": [[*cell, count] for cell, count in sorted(self.cells.items())],
            "latencies": [[*group, *map(list, zip(*sorted(counts.items()), strict=True))]
                          for group, counts in sorted(self.latencies.items())],
            "exposure": dict(self.exposure),
        }
        return json.dumps(data, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Summary:
        """The summary that `to_json` wrote. Raises ValueError for anything else."""
        try:
            data = json.loads(text)
            return cls(
                {Cell(c, o, bool(h), float(w)): int(count) for c, o, h, w, count in data["cells"]},
                {Alarms(o, float(w)): dict(zip(cycles, counts, strict=True))
                 for o, w, cycles, counts in data["latencies"]},
                {str(name): int(bits) for name, bits in data["exposure"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a summary: {error}") from None


class Total:
    """Adds up many summaries, in place."""

    def __init__(self) -> None:
        self._cells: dict[Cell, int] = {}
        self._latencies: dict[Alarms, dict[int, int]] = {}
        self._exposure: dict[str, int] = {}

    def add(self, summary: Summary) -> None:
        """One more. Raises ValueError for one of another universe."""
        if self._exposure and summary.exposure and self._exposure != dict(summary.exposure):
            raise ValueError("summaries of different fault universes do not add up")
        self._exposure = self._exposure or dict(summary.exposure)
        for cell, count in summary.cells.items():
            self._cells[cell] = self._cells.get(cell, 0) + count
        for group, counts in summary.latencies.items():
            mine = self._latencies.setdefault(group, {})
            for cycles, count in counts.items():
                mine[cycles] = mine.get(cycles, 0) + count

    @property
    def summary(self) -> Summary:
        """The sum so far: a view, which later additions change."""
        return Summary(self._cells, self._latencies, self._exposure)


def merged(summaries: Iterable[Summary]) -> Summary:
    """The sum of some summaries. Raises ValueError if they are of different universes."""
    total = Total()
    for summary in summaries:
        total.add(summary)
    return total.summary


def summarise(batch: Mapping[str, np.ndarray], components: Sequence[str], outcomes: Sequence[str],
              exposure: Mapping[str, int] | None = None) -> Summary:
    """Count records.

    batch: columns `component`, `outcome` (codes into the names given), `hang`, `weight`, `alarm` and
    `latency_cycles`, of one length.
    """
    weights, weight = np.unique(np.asarray(batch["weight"], dtype=np.float64), return_inverse=True)
    outcome = np.asarray(batch["outcome"], dtype=np.int64)
    shape = (len(components), len(outcomes), 2, len(weights))
    cells = {
        Cell(components[c], outcomes[o], bool(h), float(weights[w])): count
        for (c, o, h, w), count in _counted((batch["component"], outcome, batch["hang"], weight), shape)
    }
    alarm = np.flatnonzero(batch["alarm"])
    delay = np.asarray(batch["latency_cycles"], dtype=np.int64)[alarm]
    latencies = {}
    for group in np.unique(outcome[alarm] * len(weights) + weight[alarm]):
        o, w = divmod(int(group), len(weights))
        cycles, counts = np.unique(delay[(outcome[alarm] == o) & (weight[alarm] == w)], return_counts=True)
        latencies[Alarms(outcomes[o], float(weights[w]))] = dict(zip(cycles.tolist(), counts.tolist(), strict=True))
    return Summary(cells, latencies, dict(exposure or {}))


def _counted(codes: Sequence[np.ndarray], shape: tuple[int, ...]) -> Iterator[tuple[tuple[int, ...], int]]:
    """Each combination of codes that occurs, with how often."""
    if not len(codes[0]):
        return
    keys, counts = np.unique(np.ravel_multi_index([np.asarray(c, dtype=np.int64) for c in codes], shape),
                             return_counts=True)
    for key, count in zip(np.transpose(np.unravel_index(keys, shape)), counts, strict=True):
        yield tuple(int(part) for part in key), int(count)
