"""An adder tree that stands in registers, moved on by a cycle."""

from __future__ import annotations

from accel_sim.numerics.arithmetic import tree_level
from accel_sim.numerics.jit import kernel


@kernel
def tree_shift(tree, valid, n, levels, first, r):
    """Advance an adder tree's levels 2..: level i reads level i − 1 where valid[first + i − 1] is set.

    Visits the root first. `tree` holds the levels one after another.
    """
    for level in range(levels - 1, 0, -1):
        if valid[first + level] == 0.0:
            continue
        size = n
        start = 0
        for _ in range(level):
            size = (size + 1) // 2
            start += size
        tree_level(tree[start:start + (size + 1) // 2], tree[start - size:start], size, r, r.flush_below)
