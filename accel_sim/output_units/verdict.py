"""What many faults do to the comparisons of one head, when each changes a few of them.

All comparisons of a head stand in one row, in the order in which they are made: number q · U + u is that of query q by
unit u of U. A fault is known by the comparisons that it changes; the others are the fault-free ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from accel_sim.engines.result import Policy
from accel_sim.output_units.judge import over, raising

NONE = -1
"""No comparison raises the alarm."""


class Changes(NamedTuple):
    """Changed comparisons: number of the fault and of the comparison (int64), and the new residual and limit. In order
    of fault and, within one, of comparison."""

    fault: np.ndarray
    number: np.ndarray
    residual: np.ndarray
    limit: np.ndarray


def in_order(changes: Sequence[Changes]) -> Changes:
    """Some changes as one, in order."""
    if not changes:
        none = np.zeros(0, dtype=np.int64)
        return Changes(none, none, np.zeros(0), np.zeros(0))
    fault, number, residual, limit = (np.concatenate(x) for x in zip(*changes, strict=True))
    order = np.lexsort((number, fault))
    return Changes(fault[order], number[order], residual[order], limit[order])


class Verdicts(NamedTuple):
    """By fault: number of the first comparison that raises the alarm (NONE), and residual and limit of the telling one:
    the first over its limit, or else the one with the largest |residual|."""

    alarm: np.ndarray
    residual: np.ndarray
    limit: np.ndarray


def verdict(residual: np.ndarray, limit: np.ndarray, policies: Sequence[Policy]) -> tuple[int, float, float]:
    """(alarm, residual, limit) of one row of comparisons. policies: of each unit."""
    up = np.flatnonzero(over(residual, limit))
    at = int(up[0]) if up.size else int(np.argmax(np.abs(residual)))
    alarm = at if up.size else NONE
    if counting(policies):
        units = len(policies)
        raised = [raising(residual[u::units], limit[u::units], policy) for u, policy in enumerate(policies)]
        alarm = min((q * units + u for u, q in enumerate(raised) if q is not None), default=NONE)
    return alarm, float(residual[at]), float(limit[at])


def counting(policies: Sequence[Policy]) -> bool:
    """Whether any unit counts deviations, so that an alarm may rest on many comparisons."""
    return any(frequent for _, frequent in policies)


def verdicts(residual: np.ndarray, limit: np.ndarray, policies: Sequence[Policy], faults: int,
             changes: Changes) -> Verdicts:
    """The verdicts of `faults` faults. residual, limit: fault-free, one entry each comparison."""
    alarm, r, allowed = verdict(residual, limit, policies)
    found = Verdicts(np.full(faults, alarm), np.full(faults, r), np.full(faults, allowed))
    if not len(changes.fault):
        return found
    first = np.flatnonzero(np.diff(changes.fault, prepend=changes.fault[0] - 1))
    size = np.diff(first, append=len(changes.fault))
    whose = changes.fault[first]
    telling = alarm if alarm != NONE else int(np.argmax(np.abs(residual)))
    up = over(changes.residual, changes.limit)
    far = len(residual)
    earliest = np.minimum.reduceat(np.where(up, changes.number, far), first)
    # The fault-free verdict has to be found again only where a fault changes the comparison that it rests on.
    again = np.logical_or.reduceat(changes.number == telling, first) | counting(policies)
    for group in np.flatnonzero(again):
        one = slice(first[group], first[group] + size[group])
        mine = residual.copy(), limit.copy()
        mine[0][changes.number[one]], mine[1][changes.number[one]] = changes.residual[one], changes.limit[one]
        found.alarm[whose[group]], found.residual[whose[group]], found.limit[whose[group]] = verdict(*mine, policies)
    _first_alarms(found, ~again & (earliest < (far if alarm == NONE else alarm)), whose, first, earliest, changes, up)
    if alarm == NONE:
        quiet = ~again & (earliest == far)
        _largest(found, quiet, whose, first, size, changes, (telling, abs(r)))
    return found


def _first_alarms(found: Verdicts, groups: np.ndarray, whose: np.ndarray, first: np.ndarray, earliest: np.ndarray,
                  changes: Changes, up: np.ndarray) -> None:
    """Faults whose first alarm is one of the changed comparisons."""
    at = np.flatnonzero(up)
    # The first entry of each group that is up is its earliest: entries are in order.
    chosen = at[np.searchsorted(at, first[groups])]
    found.alarm[whose[groups]] = earliest[groups]
    found.residual[whose[groups]] = changes.residual[chosen]
    found.limit[whose[groups]] = changes.limit[chosen]


def _largest(found: Verdicts, groups: np.ndarray, whose: np.ndarray, first: np.ndarray, size: np.ndarray,
             changes: Changes, golden: tuple[int, float]) -> None:
    """Faults without an alarm whose largest |residual| is a changed one: of equal ones the first."""
    entry = np.abs(changes.residual)
    most = np.maximum.reduceat(np.where(np.isfinite(entry), entry, 0.0), first)
    places = np.arange(len(entry))
    is_most = entry == np.repeat(most, size)
    place = np.minimum.reduceat(np.where(is_most, places, len(entry)), first)
    number, largest = golden
    at = changes.number[np.minimum(place, len(entry) - 1)]
    wins = groups & ((most > largest) | ((most == largest) & (at < number)))
    found.residual[whose[wins]] = changes.residual[place[wins]]
    found.limit[whose[wins]] = changes.limit[place[wins]]


def merged(own: Verdicts, raised: np.ndarray, before: Verdicts, compared: bool) -> Verdicts:
    """Verdicts of all comparisons of a head, from those of the ones that come first and of these.

    own: of these; raised: their alarm cycles, −1 for none. before: of those that come first, where `alarm` is an alarm
    cycle, as in what is returned; compared: whether there are any.
    """
    far = np.iinfo(np.int64).max
    cycle = np.minimum(*(np.where(x < 0, far, x) for x in (raised, before.alarm)))
    larger = ~(np.abs(own.residual) <= np.abs(before.residual))
    take = (~over(before.residual, before.limit) & (over(own.residual, own.limit) | larger) if compared
            else np.bool_(True))
    return Verdicts(np.where(cycle == far, NONE, cycle), np.where(take, own.residual, before.residual),
                    np.where(take, own.limit, before.limit))
