"""Machine cycles and clock cycles: where the cycles of a stall-free run fall once the memory makes the machine wait."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np


class Clock:
    """Places machine cycles on the clock. points: (machine cycle, cycles held just before it), in any order; at least
    one."""

    def __init__(self, points: Iterable[tuple[int, int]]) -> None:
        ordered = sorted(points)
        self._at = np.array([cycle for cycle, _ in ordered], dtype=np.int64)
        self._stalls = np.cumsum([stall for _, stall in ordered], dtype=np.int64)

    def wall(self, cycle: int) -> int:
        """Clock cycle in which the machine executes its stall-free cycle `cycle`."""
        passed = int(np.searchsorted(self._at, cycle, side="right"))
        return cycle + (int(self._stalls[passed - 1]) if passed else 0)

    def visible(self, cycle: int) -> int:
        """First clock cycle in which a value written before the stall-free cycle `cycle` can be read."""
        return self.wall(cycle - 1) + 1

    def all_visible(self, cycles: np.ndarray) -> np.ndarray:
        """`visible` of many cycles, int64."""
        passed = np.searchsorted(self._at, cycles - 1, side="right")
        found: np.ndarray = cycles + np.concatenate([[0], self._stalls])[passed]
        return found

    def after(self, clock_cycle: int) -> int:
        """First clock cycle in which a register can be read that is computed from one first readable in
        `clock_cycle`: the next, or later if the machine is held in between."""
        held = np.concatenate([self._at + self._stalls - np.diff(self._stalls, prepend=0), [0]])
        for start, stall in zip(held, np.diff(self._stalls, prepend=0), strict=False):
            if start <= clock_cycle < start + stall:
                clock_cycle = int(start + stall)
        return clock_cycle + 1

    def machine_cycle(self, clock_cycle: int) -> tuple[int, bool]:
        """(stall-free cycle, held) at a clock cycle: the cycle that the machine executes then, or, if it is being
        held, the one that it will execute next."""
        low, high = 0, clock_cycle
        while low < high:  # wall is strictly increasing
            middle = (low + high) // 2
            if self.wall(middle) < clock_cycle:
                low = middle + 1
            else:
                high = middle
        return low, self.wall(low) != clock_cycle

    def machine_cycles(self, cycles: int) -> np.ndarray:
        """(cycles,) int64: `machine_cycle` of every clock cycle of a run."""
        active = cycles - self.stalls
        stall_free = np.arange(active, dtype=np.int64)
        passed = np.searchsorted(self._at, stall_free, side="right")
        walls = stall_free + np.concatenate([[0], self._stalls])[passed]
        return np.searchsorted(walls, np.arange(cycles, dtype=np.int64), side="left").astype(np.int64)

    @property
    def stalls(self) -> int:
        """All stall cycles of the head."""
        return int(self._stalls[-1])
