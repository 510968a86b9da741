"""What an engine returns, whichever engine it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from accel_sim.engines.verdicts import exceeds

Policy: TypeAlias = tuple[float, int]
"""Of a statistical threshold: the small limit, and how many residuals over it raise the alarm; (NaN, 0) for others."""


@dataclass(frozen=True)
class Comparison:
    """One comparison of the check unit.

    cycle: machine cycle in which the residual first stands in its register. scanned: taken inside a block,
    at a key-tile boundary, on undivided sums. unit: kind of the check unit. alarm: whether it raised the alarm by
    itself (checker enabled); under a statistical threshold several together may, see `first_alarm`.
    """

    cycle: int
    residual: float
    limit: float
    predicted: float
    actual: float
    scanned: bool
    unit: str = "fused_output"

    @property
    def alarm(self) -> bool:
        """True unless |residual| is finite and within the limit."""
        return self.exceeds(self.limit)

    def exceeds(self, limit: float) -> bool:
        """True unless |residual| is finite and within that limit."""
        return not (abs(self.residual) <= limit and abs(self.residual) < float("inf"))


def first_alarm(comparisons: Iterable[Comparison], policy: Policy) -> Comparison | None:
    """The comparison that raises the alarm of a check unit, of all its comparisons in order; None without an alarm.

    policy: as `Job.policy` gives it. The first over its limit raises the alarm, and so does the one that is the last
    of so many over the small limit (if any number of them is frequent).
    """
    comparisons = list(comparisons)
    small, frequent = policy
    over, residual = _over(comparisons)
    at = over[:1].tolist()
    if frequent > 0:
        at += np.flatnonzero(exceeds(residual, small))[frequent - 1:frequent].tolist()
    return comparisons[min(at)] if at else None


def _over(comparisons: Sequence[Comparison]) -> tuple[np.ndarray, np.ndarray]:
    """(which of some comparisons are over their limits, all their residuals)."""
    residual = np.array([c.residual for c in comparisons], dtype=np.float64)
    limit = np.array([c.limit for c in comparisons], dtype=np.float64)
    return np.flatnonzero(exceeds(residual, limit)), residual


@dataclass(frozen=True)
class RunResult:
    """One head, run to its end.

    output: (Nq, d) float64 values of the output format, as delivered, before any recovery. comparisons: in
    order. alarm_cycle: first cycle in which the alarm register reads 1, or None. cycles: length of the run.
    hang: the machine had not finished when the watchdog stopped it. memory_alarm_cycle: first cycle in which the
    alarm of the SRAM's decoders reads 1, or None.
    """

    output: np.ndarray
    comparisons: tuple[Comparison, ...]
    alarm_cycle: int | None
    cycles: int
    hang: bool = False
    memory_alarm_cycle: int | None = None

    @property
    def raised(self) -> tuple[str, int | None]:
        """(who, cycle): which alarm could be read first, `checker` or `memory` (the checker's if both could), and
        when; (`none`, None) without an alarm."""
        if self.alarm_cycle is not None and (
                self.memory_alarm_cycle is None or self.alarm_cycle <= self.memory_alarm_cycle):
            return "checker", self.alarm_cycle
        return ("none" if self.memory_alarm_cycle is None else "memory"), self.memory_alarm_cycle

    def telling(self, unit: str | None = None) -> Comparison | None:
        """The comparison that says most, of one check unit or of all: the first over its limit, else the one with the
        largest |residual| (also where many small ones raised the alarm); None where nothing was compared."""
        mine = [c for c in self.comparisons if unit in (None, c.unit)]
        if not mine:
            return None
        over, residual = _over(mine)
        return mine[int(over[0]) if over.size else int(np.abs(residual).argmax())]

    @property
    def told(self) -> tuple[float, float]:
        """(residual, limit) of the telling comparison, NaN where nothing was compared: what records keep."""
        best = self.telling()
        return (float("nan"), float("nan")) if best is None else (best.residual, best.limit)

    def same_as(self, other: RunResult) -> bool:
        """Bit for bit the same run: outputs, residuals, limits, alarm cycle, length."""
        def bits(x: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(x, dtype=np.float64).view(np.int64)

        def table(r: RunResult) -> np.ndarray:
            rows = [(c.cycle, c.residual, c.limit, c.predicted, c.actual, c.scanned) for c in r.comparisons]
            return np.array(rows, dtype=np.float64).reshape(-1, 6)

        return bool(
            self.output.shape == other.output.shape
            and np.array_equal(bits(self.output), bits(other.output))
            and np.array_equal(bits(table(self)), bits(table(other)))
            and [c.unit for c in self.comparisons] == [c.unit for c in other.comparisons]
            and (self.alarm_cycle, self.cycles, self.hang, self.memory_alarm_cycle)
            == (other.alarm_cycle, other.cycles, other.hang, other.memory_alarm_cycle)
        )


def comparisons_from(table: np.ndarray, count: int, kinds: Sequence[str] = ("fused_output",)) -> tuple[Comparison, ...]:
    """`Comparison` objects from the kernels' table (columns as in `engines.lanes_log`), in order of cycle and, within
    one, of the units. kinds: those of the machine's check units in their order."""
    rows = table[:count]
    if len(kinds) > 1:
        rows = rows[np.lexsort((rows[:, 6], rows[:, 0]))]
    return tuple(
        Comparison(int(row[0]), float(row[1]), float(row[2]), float(row[3]), float(row[4]), bool(row[5]),
                   kinds[int(row[6])])
        for row in rows
    )
