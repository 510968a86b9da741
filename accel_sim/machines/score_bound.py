"""The largest score that the operands of a head allow: |q·k| ≤ |q| |k|, by Cauchy and Schwarz."""

from __future__ import annotations

import numpy as np

from accel_sim.numerics.formats import Format
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import round_to

MARGIN = 1.0 + 2.0**-6
"""What rounding, in the scores and in the bound itself, may add."""


@kernel
def largest_square(x: np.ndarray) -> float:
    """Largest |row|² of x (rows, d), summed in order, so that every CPU gives the same bits."""
    largest = 0.0
    for i in range(x.shape[0]):
        total = 0.0
        for t in range(x.shape[1]):
            total += x[i, t] * x[i, t]
        largest = max(largest, total)
    return largest


def score_bound(q: np.ndarray, k: np.ndarray, checker: Format, scaled: bool = True) -> float:
    """Bound of |s| over the queries q (Nq, d) and keys k (N, d) of a head, both float64, where s = q·k/√d (scaled) or
    q·k: in binary64, larger by the margin, then in the checker format (its largest value at most)."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt(largest_square(q)) * np.sqrt(largest_square(k))
        bound = float(norms / np.sqrt(np.float64(q.shape[1])) if scaled else norms) * MARGIN
    return float(round_to(bound if bound <= checker.max_finite else checker.max_finite, checker.rounding()))
