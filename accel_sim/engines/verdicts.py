"""What many faults make of the comparisons of one head, when each changes a few of them.

All comparisons of a head stand in one row, in the order in which they are made (`RunResult.comparisons`). A fault is
known by the comparisons that it changes; the others are the fault-free ones. `Comparisons.told` says what records keep of
each fault, `Comparisons.alarms` which comparison of a check unit raises the alarm: the same as `RunResult.telling` and
`engines.result.first_alarm`, for all faults at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

NONE = -1
"""No comparison."""


class Changes(NamedTuple):
    """Changed comparisons: number of the fault and of the comparison (int64), and the new residual and limit (float64). In
    order of fault and, within one, of comparison."""

    fault: np.ndarray
    number: np.ndarray
    residual: np.ndarray
    limit: np.ndarray

    def only(self, chosen: np.ndarray) -> Changes:
        """Some of them."""
        return Changes(*(x[chosen] for x in self))


def in_order(changes: Sequence[Changes]) -> Changes:
    """Some changes as one, in order."""
    if not changes:
        none = np.zeros(0, dtype=np.int64)
        return Changes(none, none, np.zeros(0), np.zeros(0))
    fault, number, residual, limit = (np.concatenate(x) for x in zip(*changes, strict=True))
    order = np.lexsort((number, fault))
    return Changes(fault[order], number[order], residual[order], limit[order])


def exceeds(residual: np.ndarray, limit: np.ndarray | float) -> np.ndarray:
    """Where a residual is not finite or not within its limit."""
    size = np.abs(residual)
    found: np.ndarray = np.logical_not((size <= limit) & (size < np.inf))
    return found


class _Groups:
    """Changes by fault. whose: the faults; first: place of the first change of each; keys: each change as one number."""

    def __init__(self, changes: Changes, far: int) -> None:
        self.changes, self.far = changes, far
        self.first = np.flatnonzero(np.diff(changes.fault, prepend=NONE))
        self.whose = changes.fault[self.first]
        self.size = np.diff(self.first, append=len(changes.fault))
        self.keys = changes.fault * far + changes.number

    def earliest(self, chosen: np.ndarray) -> np.ndarray:
        """By fault: number of the first changed comparison among the chosen (by change), or `far`."""
        found: np.ndarray = np.minimum.reduceat(np.where(chosen, self.changes.number, self.far), self.first)
        return found

    def kept(self, candidates: np.ndarray) -> np.ndarray:
        """By fault: the first of these comparisons that it does not change, or `far`."""
        found = np.full(len(self.whose), self.far)
        waiting = np.arange(len(self.whose))
        for candidate in candidates:
            if not waiting.size:
                break
            key = self.whose[waiting] * self.far + candidate
            at = np.minimum(np.searchsorted(self.keys, key), len(self.keys) - 1)
            changed = self.keys[at] == key
            found[waiting[~changed]] = candidate
            waiting = waiting[changed]
        return found

    def place(self, groups: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Places of changed comparisons of some faults."""
        return np.searchsorted(self.keys, self.whose[groups] * self.far + number)


class Comparisons:
    """The fault-free comparisons of a head. residual, limit (n,) float64; unit (n,) int64: whose each is; policies: of
    each unit, as `Job.policy` gives it."""

    def __init__(self, residual: np.ndarray, limit: np.ndarray, unit: np.ndarray,
                 policies: Sequence[tuple[float, int]]) -> None:
        self.residual, self.limit, self.unit, self.policies = residual, limit, unit, policies

    @cached_property
    def _over(self) -> np.ndarray:
        return np.flatnonzero(exceeds(self.residual, self.limit))

    @cached_property
    def _by_size(self) -> np.ndarray:
        return np.argsort(-np.abs(self.residual), kind="stable")

    def told(self, faults: int, changes: Changes) -> tuple[np.ndarray, np.ndarray]:
        """(residual, limit), both (faults,): of the telling comparison of each fault."""
        at = int(self._over[0]) if self._over.size else int(self._by_size[0])
        residual, limit = np.full(faults, self.residual[at]), np.full(faults, self.limit[at])
        if not len(changes.fault):
            return residual, limit
        far = len(self.residual)
        groups = _Groups(changes, far)
        ours, theirs = groups.earliest(exceeds(changes.residual, changes.limit)), groups.kept(self._over)
        changed, number = ours < theirs, np.minimum(ours, theirs)
        quiet = np.flatnonzero(number == far)
        if quiet.size:
            changed[quiet], number[quiet] = self._largest(groups, quiet)
        which = np.flatnonzero(changed)
        place = groups.place(which, number[which])
        whose = groups.whose
        residual[whose[which]], limit[whose[which]] = changes.residual[place], changes.limit[place]
        which = np.flatnonzero(~changed)
        residual[whose[which]], limit[whose[which]] = self.residual[number[which]], self.limit[number[which]]
        return residual, limit

    def _largest(self, groups: _Groups, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(whether it is a changed one, its number) of the largest comparison of some faults, none of which is over."""
        far, size = groups.far, np.abs(groups.changes.residual)
        most = np.maximum.reduceat(np.where(size < np.inf, size, 0.0), groups.first)
        ours = groups.earliest(size == np.repeat(most, groups.size))[chosen]
        theirs = groups.kept(self._by_size)[chosen]
        largest = np.where(theirs < far, np.abs(self.residual)[np.minimum(theirs, far - 1)], -1.0)
        wins = (most[chosen] > largest) | ((most[chosen] == largest) & (ours < theirs))
        return wins, np.where(wins, ours, theirs)

    def alarms(self, unit: int, faults: int, changes: Changes) -> np.ndarray:
        """(faults,) int64: number of the comparison with which a unit raises the alarm under each fault, or NONE."""
        far = len(self.residual)
        mine = self.unit == unit
        small, frequent = self.policies[unit]
        over = exceeds(self.residual, self.limit) & mine
        deviates = exceeds(self.residual, small) & mine if frequent else np.zeros(far, bool)
        found = np.full(faults, _first(over, deviates, frequent))
        changes = changes.only(mine[changes.number])
        if not len(changes.fault):
            return found
        groups = _Groups(changes, far)
        up = exceeds(changes.residual, changes.limit)
        first = np.minimum(groups.earliest(up), groups.kept(np.flatnonzero(over)))
        if frequent:
            often = exceeds(changes.residual, small)
            if deviates.any():
                counted = self._counted(groups, deviates, often, frequent)
            else:
                count = np.cumsum(often)
                count -= np.repeat(count[groups.first] - often[groups.first], groups.size)
                counted = groups.earliest(often & (count == frequent))
            first = np.minimum(first, counted)
        found[groups.whose] = np.where(first == far, NONE, first)
        return found

    @staticmethod
    def _counted(groups: _Groups, deviates: np.ndarray, often: np.ndarray, frequent: int) -> np.ndarray:
        """By fault: number of the comparison that makes deviations frequent, or `far`; some deviate without a fault."""
        found = np.full(len(groups.whose), groups.far)
        for group, (first, size) in enumerate(zip(groups.first, groups.size, strict=True)):
            row = deviates.copy()
            row[groups.changes.number[first:first + size]] = often[first:first + size]
            at = np.flatnonzero(row)
            if len(at) >= frequent:
                found[group] = at[frequent - 1]
        return found


def _first(over: np.ndarray, deviates: np.ndarray, frequent: int) -> int:
    """Number of the comparison that raises the alarm in the fault-free run, or NONE."""
    at = np.flatnonzero(over)[:1].tolist()
    if frequent:
        at += np.flatnonzero(deviates)[frequent - 1:frequent].tolist()
    return min(at, default=NONE)
