"""The adder trees of the check units: their levels, and one level of additions."""

from __future__ import annotations

from typing import Any

from accel_sim.numerics.arithmetic import add
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_to


@inner
def tree_size(n: Any, level: Any) -> Any:
    """Elements of a level of an adder tree over n values."""
    for _ in range(level + 1):
        n = (n + 1) // 2
    return n


@inner
def first_sums(out: Any, row: Any, live: Any, r: Any, operand: Any) -> None:
    """First level of the tree over a row in the output register: the columns from `live` on count as zeros."""
    n = row.shape[0]
    half = (n + 1) // 2
    for i in range(half):
        a = quiet(row[i], operand) if i < live else 0.0
        if i + half < n:
            b = quiet(row[i + half], operand) if i + half < live else 0.0
            out[i] = add(a, b, r)
        else:
            out[i] = round_to(a, r)


@inner
def later_sums(out: Any, x: Any, n: Any, r: Any) -> None:
    """A further level: of the n elements x, element i and i + ⌈n/2⌉."""
    half = (n + 1) // 2
    for i in range(half):
        a = quiet(x[i], r)
        if i + half < n:
            out[i] = add(a, quiet(x[i + half], r), r)
        else:
            out[i] = x[i]
