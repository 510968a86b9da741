"""The readback in the memory system's account: cycles behind a head's own, while outputs are still being stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from accel_sim.output_units.machine import READBACK, OutputTiming
from accel_sim.system.recovery import RecoveryCost, UnitRecovery
from accel_sim.system.run import Span


def with_readback(run: Any, timing: OutputTiming) -> Any:
    """One head's run of the machine on its memory (`SystemRun` or `ProgramRun`), with its rows read back at the end.

    Stores of O go on while rows are read back: the drain is what is left of them afterwards.
    """
    extra = timing.readback_cycles
    span = Span("checker", READBACK, run.cycles, extra)
    return replace(run, cycles=run.cycles + extra, compute_cycles=run.compute_cycles + extra,
                   drain_cycles=max(0, run.drain_cycles - extra),
                   timeline=(*run.timeline, span) if run.timeline else ())


def head_again(run: Any) -> RecoveryCost:
    """What an alarm of a unit on the output buffer costs: it comes when the head is over, so the whole head runs again.

    run: one head, as `with_readback` gives it.
    """
    again = UnitRecovery(
        unit=0, stands_for=1, extra_cycles=run.total_cycles, extra_bytes=dict(run.bytes_moved),
        alarm_cycle=run.cycles - 1, correction_cycles=run.total_cycles + run.drain_cycles + 1,
    )
    return RecoveryCost("head", run.n_queries, 1, run.total_cycles, (again,))
