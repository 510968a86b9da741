"""How a comparison is judged, whichever check unit made it."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.numerics.arithmetic import maximum, mul
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import quiet


@kernel
def over(residual: Any, limit: Any) -> Any:
    """The alarm predicate: true unless the residual is finite and within the limit."""
    magnitude = abs(residual)
    return not (magnitude <= limit and magnitude < np.inf)


@kernel
def allowed_by(threshold: Any, pred: Any, act: Any, relative: Any, r: Any) -> Any:
    """What a comparison allows, in the checker format r: its threshold, or that share of the larger sum."""
    threshold = quiet(threshold, r)
    if relative:
        return mul(threshold, maximum(abs(quiet(pred, r)), abs(quiet(act, r))), r)
    return threshold


@kernel
def judge(R: Any, due: Any, enable: Any, residual: Any, limit: Any, alarm: Any, small: Any, frequent: Any,
          deviations: Any, most: Any) -> None:
    """A unit's comparator, and its counter of deviations, which stops at `most` (0: it has none). R: the flat state;
    the others but `most`: slots of registers in it."""
    if R[due] == 0.0 or R[enable] == 0.0:
        return
    if over(R[residual], R[limit]):
        R[alarm] = 1.0
    if most > 0.0 and over(R[residual], R[small]):
        count = min(R[deviations] + 1.0, most)
        R[deviations] = count
        if count >= R[frequent]:
            R[alarm] = 1.0
