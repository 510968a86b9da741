"""An adder tree that stands in registers: moved on by a cycle, or formed at once."""

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


@kernel
def tree_root(tree, size, r):
    """Form all levels of a tree behind the first, whose `size` sums begin `tree`; returns the root."""
    start = size
    while size > 1:
        h = (size + 1) // 2
        tree_level(tree[start:start + h], tree[start - size:start], size, r, r.flush_below)
        start += h
        size = h
    return tree[start - 1]
