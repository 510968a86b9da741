"""`simulate_program`: the program of one head on a machine, with its memory around it.

The machine waits before a step until its tiles are in SRAM and the slots of its outputs are empty; inside a step
nothing holds it. What is moved when is planned in advance (`accel_sim.system.program_plan`), the channel serves the
most urgent first (`accel_sim.system.program_channel`), and SimPy runs the two against each other
(`accel_sim.system.program_clock`), at the grain of steps and tiles.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from accel_sim.config.errors import ConfigError
from accel_sim.machines.program import ProgramTiming, TileName
from accel_sim.system.program_plan import demands_of, plan_program, slots_for_a_step, slots_for_life
from accel_sim.system.program_run import PROGRAM_CAUSES, ProgramRun

if TYPE_CHECKING:
    from accel_sim.config import Config, Memory
    from accel_sim.numerics.formats import Format

KIB = 1024


def simulate_program(
    timing: ProgramTiming,
    memory: Memory,
    formats: Mapping[str, Format],
    *,
    heads: int = 1,
    resident: tuple[str, ...] = (),
    timeline: bool = True,
    config: Config | None = None,
) -> ProgramRun:
    """Simulate the program of one head; `heads` of them are this one, multiplied (`ProgramRun.totals`).

    formats: of each role that tiles have. resident: tensors that are in SRAM from the start and need no load (`k` and
    `v` of a head whose group's keys and values the head before it has left there, with `kv_resident`). timeline: keep
    spans. config: where `memory` comes from, so that an error can name file and line.

    Raises ConfigError if a tensor's SRAM is too small for what one of the steps needs; ValueError if a count is out of
    range or if the memory is so slow that 2^62 cycles are not enough.
    """
    from accel_sim.system.program_clock import ProgramClock

    if heads < 1:
        raise ValueError(f"heads must be at least 1 (got {heads})")
    tile_bytes = bytes_of_tiles(timing, formats)
    slots = sram_slots(timing, memory, tile_bytes, config, resident)
    plan = plan_program(timing.steps, slots, tile_bytes, memory.sram_banks, frozenset(resident))
    head = ProgramClock(timing, memory, plan, timeline)
    head.run()
    largest = largest_tiles(tile_bytes)
    run = ProgramRun(
        n_queries=timing.n_queries,
        n_keys=timing.n_keys,
        heads=heads,
        cycles=head.end_cycle,
        compute_cycles=timing.head_cycles,
        stalls={cause: head.stalls[cause] for cause in PROGRAM_CAUSES},
        drain_cycles=max(0, head.last_store - head.end_cycle),
        traffic=head.traffic(),
        off_chip_busy_cycles=head.dma.channel.cycles(head.dma.busy_ticks),
        bandwidth_limited=memory.off_chip.bandwidth_bytes_per_cycle != "unlimited",
        sram_bytes={tensor: count * largest[tensor] for tensor, count in slots.items()},
        sram_peak_bytes=head.peaks(tile_bytes),
        step_stall=np.array(head.step_stall, dtype=np.int64),
        timeline=tuple(head.timeline or ()),
    )
    if run.cycles != run.compute_cycles + run.stall_cycles:
        raise AssertionError(f"{run.cycles} cycles are not {run.compute_cycles} + {dict(run.stalls)}")
    return run


def bytes_of_tiles(timing: ProgramTiming, formats: Mapping[str, Format]) -> dict[TileName, int]:
    """Bytes of every tile of a program."""
    return {tile.name: tile.n_bytes(formats)
            for step in timing.steps for tile in (*step.reads, *step.writes)}


def largest_tiles(tile_bytes: Mapping[TileName, int]) -> dict[str, int]:
    """Bytes of each tensor's largest tile: of one slot of its SRAM."""
    largest: dict[str, int] = {}
    for (tensor, _), n_bytes in tile_bytes.items():
        largest[tensor] = max(largest.get(tensor, 0), n_bytes)
    return largest


def sram_slots(timing: ProgramTiming, memory: Memory, tile_bytes: Mapping[TileName, int],
               config: Config | None = None, resident: tuple[str, ...] = ()) -> dict[str, int]:
    """Slots of each tensor's SRAM, each as large as its largest tile.

    Where `memory.sram_kib` gives a capacity, as many as it holds. Else `q_buffers`, `kv_buffers` and `o_buffers` times
    as many as a step uses at once (two: double buffering); with `kv_resident` all tiles of k and v; and for whatever
    stays on chip as many as are ever wanted together, so that nothing spills.
    Raises ConfigError if a capacity is too small.
    """
    largest = largest_tiles(tile_bytes)
    buffers = {"q": memory.q_buffers, "k": memory.kv_buffers, "v": memory.kv_buffers, "o": memory.o_buffers}
    slots = {}
    for tensor, demands in demands_of(timing.steps).items():
        together = slots_for_a_step(demands)
        whole = sum(name[0] == tensor for name in tile_bytes)
        least, why = together, "one of its steps uses at once"
        if tensor in resident:
            least, why = whole, f"{tensor} has in all, which are to be there from the start"
        if tensor in ("k", "v") and memory.kv_resident:
            least, why = whole, f"{tensor} has in all, which kv_resident keeps"
        kib = getattr(memory.sram_kib, tensor, None)
        if kib is not None:
            slots[tensor] = int(kib * KIB) // largest[tensor]
            if slots[tensor] < least:
                raise _too_small(config, tensor, kib, least, largest[tensor], why)
        elif tensor in buffers:
            slots[tensor] = max(least, buffers[tensor] * together)
        else:
            slots[tensor] = max(least, slots_for_life(demands))
    return slots


def _too_small(config: Config | None, tensor: str, kib: float, least: int, n_bytes: int, why: str) -> ConfigError:
    tiles = f"{least} tile{'s' if least > 1 else ''} of {n_bytes} bytes"
    message = f"{kib:g} KiB is too small: this program needs {least * n_bytes / KIB:g} KiB, the {tiles} that {why}"
    key = f"memory.sram_kib.{tensor}"
    return ConfigError(f"{key}: {message}") if config is None else ConfigError.at(config, key, message)
