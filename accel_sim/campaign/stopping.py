"""When a campaign has seen enough.

A rule looks after every shard, so it may use only what holds at every look: the anytime-valid sequence, never a
fixed-n interval. Rules stop at the first of their conditions that is met.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from accel_sim.analysis.statistics import CONFIDENCE, Interval, anytime_sequence
from accel_sim.analysis.summary import SHARES, Summary


class Verdict(NamedTuple):
    """Why a campaign stopped. reason: `width`, `above` or `not above`; interval: the sequence's, at the stop."""

    reason: str
    interval: Interval


@dataclass(frozen=True)
class StopRule:
    """Stop when a rate is known well enough.

    width: the sequence of the rate `of` is at most so wide (high − low). detected_above: the sequence of the
    coverage (alarms among the faults that made the output wrong) excludes this target, on either side. None
    means that this condition is not used.
    """

    width: float | None = None
    detected_above: float | None = None
    of: str = "coverage"
    confidence: float = CONFIDENCE

    def __post_init__(self) -> None:
        for name in ("width", "detected_above", "confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{name} must lie between 0 and 1 (got {value})")
        if self.of not in SHARES:
            raise ValueError(f"no rate {self.of!r}; it is one of: {', '.join(SHARES)}")

    def __bool__(self) -> bool:
        return self.width is not None or self.detected_above is not None

    def sequence(self, summary: Summary, share: str) -> Interval:
        """The anytime-valid interval of one of `SHARES`."""
        return anytime_sequence(*summary.trials(share), alpha=1.0 - self.confidence)

    def verdict(self, summary: Summary) -> Verdict | None:
        """Why to stop now, or None to go on."""
        if self.detected_above is not None:
            interval = self.sequence(summary, "coverage")
            if interval.low > self.detected_above:
                return Verdict("above", interval)
            if interval.high < self.detected_above:
                return Verdict("not above", interval)
        if self.width is not None:
            interval = self.sequence(summary, self.of)
            if interval.width <= self.width:
                return Verdict("width", interval)
        return None
