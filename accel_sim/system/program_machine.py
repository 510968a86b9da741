"""The memory of machines that work through a program, as everything else asks for it: time, SRAM, an alarm's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel_sim.machines.machine import Sram
from accel_sim.machines.program import ProgramTiming
from accel_sim.numerics.check_bits import WORD_BITS, check_bits
from accel_sim.system.program import bytes_of_tiles, largest_tiles, simulate_program, sram_slots
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


def program_srams(machine: ProgramMachine, timing: ProgramTiming) -> tuple[Sram, ...]:
    """The SRAM around a machine: slots as `sram_slots` has them, with check bits (`memory.ecc`) on 64-bit words."""
    memory, formats = machine.config.memory, machine.stored_formats
    tile_bytes = bytes_of_tiles(timing, formats)
    largest = largest_tiles(tile_bytes)
    roles = {tile.tensor: tile.role for step in timing.steps for tile in (*step.reads, *step.writes)}
    overhead = 1.0 + check_bits(memory.ecc, WORD_BITS) / WORD_BITS
    found = []
    for tensor, slots in sram_slots(timing, memory, tile_bytes, machine.config).items():
        n_bytes = slots * largest[tensor] * overhead
        banks = min(slots, memory.sram_banks)
        found.append(Sram(tensor, 8 * n_bytes, n_bytes / banks, overhead, roles[tensor]))
    return tuple(found)


def rerun_cost(machine: ProgramMachine, memory: Memory, n_queries: int, n_keys: int) -> RecoveryCost:
    """What an alarm costs: the whole head runs again, after it has ended, whatever the alarm was about."""
    run = simulate_program(machine.timing(n_queries, n_keys), memory, machine.formats, timeline=False,
                           config=machine.config)
    again = UnitRecovery(unit=0, stands_for=1, extra_cycles=run.total_cycles, extra_bytes=run.bytes_moved,
                         alarm_cycle=run.cycles, correction_cycles=run.total_cycles)
    return RecoveryCost("head", n_queries, 1, run.total_cycles, (again,))
