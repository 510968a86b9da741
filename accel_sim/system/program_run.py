"""What the simulation of a program returns, and what each number means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from accel_sim.machines.program import ProgramTiming
from accel_sim.system.run import HeadFigures, Span

PROGRAM_CAUSES = ("off_chip", "double_buffer", "bank_conflict", "store")
"""Why a step waits. `off_chip`: for data on its way that was asked for while the machine still had work, or at the very
start. `double_buffer`: for data that could not be asked for before the machine came to a stand, because its slot was in
use until then. `bank_conflict`: for data that was passed over because the machine had the only port of its bank.
`store`: for the store that empties a slot for its outputs, when all that it reads is there."""


@dataclass(frozen=True, eq=False)
class ProgramRun(HeadFigures):
    """One head's program on one machine behind one memory. All times in cycles, from the cycle of the first request.

    cycles: the machine's, busy or held, until its last step ends; always compute_cycles plus all stalls.
    compute_cycles: machine cycles of the program. stalls: cycles held, by cause (`PROGRAM_CAUSES`). drain_cycles: from
    the end of `cycles` until the last byte is stored; 0 if it is before. traffic: what each tensor moved, by tensor;
    tiles that had to make room although still needed, under `TENSOR spill` and `TENSOR refill`. off_chip_busy_cycles:
    time that the channel was transferring (0 if its bandwidth is unlimited). sram_bytes: capacity of each SRAM, by
    tensor. sram_peak_bytes: most bytes taken at any time, by tensor and for `all`; a tile counts from its request (if
    it is not loaded, from the step that writes it) until it is needed no more and, where it must be, stored.
    step_stall: (steps,) int64, cycles held before each step. timeline: in order of their ends; empty if not asked for.
    """

    n_queries: int
    n_keys: int
    sram_bytes: Mapping[str, int]
    sram_peak_bytes: Mapping[str, int]
    step_stall: np.ndarray
    timeline: tuple[Span, ...]

    @property
    def held(self) -> dict[str, np.ndarray]:
        """Cycles held at each point at which the machine can be: before its steps."""
        return {"step": self.step_stall}

    def held_by_span(self, timing: ProgramTiming) -> Iterator[int]:
        """Cycles held before each of `ProgramTiming.spans`; none in what follows the program's last step."""
        if len(timing.steps) != len(self.step_stall):
            raise ValueError(f"{len(timing.steps)} steps, but {len(self.step_stall)} were simulated")
        behind = sum(1 for _ in timing.spans()) - len(self.step_stall)
        return (int(held) for held in (*self.step_stall, *[0] * behind))

    @property
    def spilled_bytes(self) -> int:
        """Bytes that crossed the channel only because SRAM was too small for what was still needed: written, and
        fetched again."""
        return sum(t.bytes_moved for name, t in self.traffic.items() if name != t.tensor)
