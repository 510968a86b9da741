"""What a system simulation returns, and what each number means.

* `SystemRun`: one head, simulated;
* `SystemTotals`: identical heads, multiplied;
* `Traffic`, `Reexecution`, `Span`: its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

CAUSES = ("q_load", "kv_load", "o_store")
"""Why the machine waits: for a block of queries, for a tile of keys and values, for a free output bank. A
cycle in which both the queries and the output bank are missing counts as `q_load`."""

DIRECTION = {"q": "read", "k": "read", "v": "read", "o": "write"}
"""Direction of each tensor on the off-chip channel."""


class Span(NamedTuple):
    """Something that a resource did: `resource` is `machine`, `checker` or `off-chip`; `start` and
    `duration` in cycles (whole ones, but for transfers, which may begin and end inside a cycle)."""

    resource: str
    name: str
    start: float
    duration: float


@dataclass(frozen=True)
class Traffic:
    """What one tensor moved over the off-chip channel.

    bytes_moved: whole bursts, as the channel carries them. payload_bytes: the elements themselves.
    """

    tensor: str
    direction: str
    requests: int
    bursts: int
    bytes_moved: int
    payload_bytes: int


@dataclass(frozen=True)
class Reexecution:
    """A unit of work that raised an alarm and ran again.

    alarm_cycle: first cycle in which the alarm is visible. corrected_cycle: first cycle in which all
    outputs of the second execution are in memory.
    """

    unit: int
    alarm_cycle: int
    corrected_cycle: int


@dataclass(frozen=True)
class SystemTotals:
    """`heads` identical heads, one after another: one was simulated, and every number here is `heads` times
    its.

    Nothing overlaps between heads (each starts with empty banks and ends when its last output is in memory),
    so `total_cycles` is an upper bound for a controller that prefetches across heads.
    """

    heads: int
    cycles: int
    compute_cycles: int
    stalls: Mapping[str, int]
    drain_cycles: int
    total_cycles: int
    bytes_moved: Mapping[str, int]

    @property
    def note(self) -> str:
        """How these numbers were made, for a report."""
        return f"1 head simulated, x{self.heads}"


@dataclass(frozen=True)
class HeadFigures:
    """What follows from the counts of one simulated head, on whatever machine: the base of what simulations return."""

    heads: int
    cycles: int
    compute_cycles: int
    stalls: Mapping[str, int]
    drain_cycles: int
    traffic: Mapping[str, Traffic]
    off_chip_busy_cycles: float
    bandwidth_limited: bool

    @property
    def stall_cycles(self) -> int:
        """Cycles that the machine was held, whatever the cause."""
        return sum(self.stalls.values())

    @property
    def total_cycles(self) -> int:
        """Cycles until the last byte is stored: cycles + drain_cycles."""
        return self.cycles + self.drain_cycles

    @property
    def bandwidth_utilisation(self) -> float | None:
        """Part of total_cycles in which the off-chip channel was transferring; None if it takes no time."""
        return self.off_chip_busy_cycles / self.total_cycles if self.bandwidth_limited else None

    @property
    def bytes_moved(self) -> dict[str, int]:
        """Bytes over the off-chip channel by tensor, in whole bursts, spills and refills included."""
        moved: dict[str, int] = {}
        for traffic in self.traffic.values():
            moved[traffic.tensor] = moved.get(traffic.tensor, 0) + traffic.bytes_moved
        return moved

    def bytes_in(self, direction: str) -> int:
        """Bytes over the off-chip channel in one direction, `read` or `write`."""
        if direction not in ("read", "write"):
            raise ValueError(f"direction must be read or write (got {direction!r})")
        return sum(t.bytes_moved for t in self.traffic.values() if t.direction == direction)

    def times(self, heads: int) -> SystemTotals:
        """`heads` heads of this shape: this one, multiplied."""
        if heads < 1:
            raise ValueError(f"heads must be at least 1 (got {heads})")
        return SystemTotals(
            heads=heads,
            cycles=heads * self.cycles,
            compute_cycles=heads * self.compute_cycles,
            stalls={cause: heads * held for cause, held in self.stalls.items()},
            drain_cycles=heads * self.drain_cycles,
            total_cycles=heads * self.total_cycles,
            bytes_moved={tensor: heads * moved for tensor, moved in self.bytes_moved.items()},
        )

    @property
    def totals(self) -> SystemTotals:
        """All the heads that were asked for."""
        return self.times(self.heads)


@dataclass(frozen=True, eq=False)
class SystemRun(HeadFigures):
    """One head on one machine behind one memory. All times in cycles, from the cycle of the first request.

    cycles: the machine's, busy or held, until its last row is delivered and, with a checker, judged; always
    compute_cycles plus all stalls. compute_cycles: those in which the machine was not held; without
    re-execution, `Timing.head_cycles`. stalls: cycles held, by cause (`CAUSES`). drain_cycles: from the end
    of `cycles` until the last byte of O is in memory; 0 if it is there before. traffic: by tensor.
    off_chip_busy_cycles: time that the channel was transferring (0 if its bandwidth is unlimited).
    sram_peak_bytes: most bytes taken at any time, by tensor and for `all` together; a bank is taken from
    the request that fills it (O: from the swap that drains into it) until it is free again.

    order: query blocks in the order in which they ran. kv_stall (len(order) · tiles,) and swap_stall
    (swaps,) int64: cycles held before each key tile and before each swap. Without re-execution these are
    (blocks · tiles,) and (blocks + 1,), as `Job.with_stalls` takes them. timeline: in order of their ends;
    empty if not asked for.
    """

    n_queries: int
    n_keys: int
    lanes: int
    sram_peak_bytes: Mapping[str, int]
    order: tuple[int, ...]
    kv_stall: np.ndarray
    swap_stall: np.ndarray
    reexecutions: tuple[Reexecution, ...]
    timeline: tuple[Span, ...]

    @property
    def held(self) -> dict[str, np.ndarray]:
        """Cycles held at each point at which the machine can be, as `Job.with_stalls` takes them."""
        return {"kv": self.kv_stall, "swap": self.swap_stall}

    def held_by_span(self, timing: Any) -> Iterator[int]:
        """Cycles held in or before each of `Timing.spans`."""
        in_stream = np.asarray(self.kv_stall, dtype=np.int64).reshape(timing.blocks, -1).sum(axis=1)
        for phase, block, _, _ in timing.spans():
            held = {"swap": self.swap_stall, "stream": in_stream}.get(phase)
            yield int(held[block]) if held is not None else 0
