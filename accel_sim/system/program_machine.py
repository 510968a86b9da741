"""The memory of machines that work through a program, as everything else asks for it: time, an alarm's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel_sim.system.program import simulate_program
from accel_sim.system.program_groups import shared_tensors
from accel_sim.system.program_run import ProgramRun
from accel_sim.system.recovery import RecoveryCost, UnitRecovery

if TYPE_CHECKING:
    from accel_sim.config import Memory
    from accel_sim.machines.program_machine import ProgramMachine


def simulate_machine(machine: ProgramMachine, memory: Memory, n_queries: int, n_keys: int,
                     kv_present: bool = False) -> ProgramRun:
    """One head of `n_queries` × `n_keys` behind the memory; kv_present: another head has left its keys and values in
    SRAM. Raises ConfigError for SRAM that is too small."""
    timing = machine.timing(n_queries, n_keys)
    resident = shared_tensors(timing) if kv_present else ()
    return simulate_program(timing, memory, machine.formats, resident=resident, config=machine.config)


def rerun_cost(machine: ProgramMachine, memory: Memory, n_queries: int, n_keys: int) -> RecoveryCost:
    """What an alarm costs: the whole head runs again, after it has ended, whatever the alarm was about."""
    run = simulate_program(machine.timing(n_queries, n_keys), memory, machine.formats, timeline=False,
                           config=machine.config)
    again = UnitRecovery(unit=0, stands_for=1, extra_cycles=run.total_cycles, extra_bytes=run.bytes_moved,
                         alarm_cycle=run.cycles, correction_cycles=run.total_cycles)
    return RecoveryCost("head", n_queries, 1, run.total_cycles, (again,))
