"""The system around a machine: off-chip memory, DMA, SRAM banks, controller, recovery.

`simulate_system` runs one head on a machine behind a memory and gives a `SystemRun`: cycles, stalls by cause,
bytes, utilisation, a timeline, and the stall arrays that put the engines on the same clock.
`recovery_cost` says what the re-execution of the unit of work that raised an alarm costs.

The model is a SimPy one, at the grain of tiles and of DMA requests; SimPy is imported when it first runs.
"""

from __future__ import annotations

from accel_sim.system.recovery import RecoveryCost, UnitRecovery, recovery_cost
from accel_sim.system.run import CAUSES, Reexecution, Span, SystemRun, SystemTotals, Traffic
from accel_sim.system.simulate import simulate_system
from accel_sim.system.work import TENSORS, Work, work_of

__all__ = [
    "CAUSES",
    "TENSORS",
    "RecoveryCost",
    "Reexecution",
    "Span",
    "SystemRun",
    "SystemTotals",
    "Traffic",
    "UnitRecovery",
    "Work",
    "recovery_cost",
    "simulate_system",
    "work_of",
]
