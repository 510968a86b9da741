"""What many faults make of the comparisons of units on the output buffer, each changing a few of them.

All comparisons of a head stand in one row, in the order in which they are made: number q · U + u is that of query q by
unit u of U.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.verdicts import NONE, Changes, Comparisons, exceeds


class Verdicts(NamedTuple):
    """By fault: number of the first comparison that raises the alarm (NONE), and residual and limit of the telling one:
    the first over its limit, or else the one with the largest |residual|."""

    alarm: np.ndarray
    residual: np.ndarray
    limit: np.ndarray


def verdicts(comparisons: Comparisons, faults: int, changes: Changes) -> Verdicts:
    """The verdicts of `faults` faults."""
    far = len(comparisons.residual)
    raised = [comparisons.alarms(unit, faults, changes) for unit in range(len(comparisons.policies))]
    first = np.min([np.where(number == NONE, far, number) for number in raised], axis=0)
    return Verdicts(np.where(first == far, NONE, first), *comparisons.told(faults, changes))


def merged(own: Verdicts, raised: np.ndarray, before: Verdicts, compared: bool) -> Verdicts:
    """Verdicts of all comparisons of a head, from those of the ones that come first and of these.

    own: of these; raised: their alarm cycles, −1 for none. before: of those that come first, where `alarm` is an alarm
    cycle, as in what is returned; compared: whether there are any.
    """
    far = np.iinfo(np.int64).max
    cycle = np.minimum(*(np.where(x < 0, far, x) for x in (raised, before.alarm)))
    larger = ~(np.abs(own.residual) <= np.abs(before.residual))
    take = (~exceeds(before.residual, before.limit) & (exceeds(own.residual, own.limit) | larger) if compared
            else np.bool_(True))
    return Verdicts(np.where(cycle == far, NONE, cycle), np.where(take, own.residual, before.residual),
                    np.where(take, own.limit, before.limit))
