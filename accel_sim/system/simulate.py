"""`simulate_system`: one head on a machine, with its memory around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from accel_sim.system.run import CAUSES, SystemRun
from accel_sim.system.work import work_of

if TYPE_CHECKING:
    from accel_sim.config import Memory
    from accel_sim.machines.lanes import LanesMachine


def simulate_system(
    machine: LanesMachine,
    memory: Memory,
    n_queries: int,
    n_keys: int,
    *,
    heads: int = 1,
    reexecute: Sequence[int] = (),
    alarm_tile: int | None = None,
    timeline: bool = True,
    kv_present: bool = False,
) -> SystemRun:
    """Simulate one head of `n_queries` x `n_keys`; `heads` of them are this one, multiplied
    (`SystemRun.totals`).

    reexecute: units of work whose comparison raises the alarm and which therefore run again, once each:
    query blocks, or, for a checker of granularity `head`, only 0, the head. alarm_tile: for granularity
    `key_tile`, the tile whose scan raises those alarms; None for the comparison at the end of the block.
    timeline: keep spans. kv_present: the head's keys and values are in SRAM from the start, left there by another head
    of its group; needs `kv_resident`.

    With `kv_resident` every tile of the head has a bank of its own, and `kv_buffers` limits nothing. A block
    is never abandoned: the machine finishes it, and those whose queries are already on their way, before a
    block that alarmed runs again; after the last swap it starts anew.

    Raises ValueError if a count, unit or tile is out of range, if nothing in the machine could raise the
    alarm, or if the memory is so slow that 2^62 cycles are not enough.
    """
    from accel_sim.system.controller import run_head

    if heads < 1:
        raise ValueError(f"heads must be at least 1 (got {heads})")
    if kv_present and not memory.kv_resident:
        raise ValueError("keys and values can only be found in SRAM where kv_resident keeps them")
    work = work_of(machine, n_queries, n_keys)
    _check_alarms(machine, work.blocks, reexecute, alarm_tile, n_keys)
    head = run_head(machine, memory, work, tuple(reexecute), alarm_tile, timeline, kv_present)
    run = SystemRun(
        n_queries=n_queries,
        n_keys=n_keys,
        lanes=machine.lanes,
        heads=heads,
        cycles=head.end_cycle,
        compute_cycles=head.machine_cycle,
        stalls={cause: head.stalls[cause] for cause in CAUSES},
        drain_cycles=max(0, head.last_write_cycle - head.end_cycle),
        traffic=head.dma.traffic(),
        off_chip_busy_cycles=head.dma.channel.cycles(head.dma.channel.busy_ticks),
        bandwidth_limited=memory.off_chip.bandwidth_bytes_per_cycle != "unlimited",
        sram_peak_bytes={**head.sram.peak, "all": head.sram.peak_all},
        order=tuple(head.order),
        kv_stall=np.array(head.kv_stall, dtype=np.int64),
        swap_stall=np.array(head.swap_stall, dtype=np.int64),
        reexecutions=tuple(head.reexecutions()),
        timeline=tuple(head.timeline or ()),
    )
    if run.cycles != run.compute_cycles + run.stall_cycles:
        raise AssertionError(f"{run.cycles} cycles are not {run.compute_cycles} + {dict(run.stalls)}")
    head_cycles = machine.timing(n_queries, n_keys).head_cycles
    if not reexecute and run.compute_cycles != head_cycles:
        raise AssertionError(f"the model ran {run.compute_cycles} machine cycles, not {head_cycles}")
    return run


def _check_alarms(
    machine: LanesMachine, blocks: int, reexecute: Sequence[int], alarm_tile: int | None, n_keys: int
) -> None:
    """Refuse alarms that this machine cannot raise."""
    if alarm_tile is not None:
        last_key = (alarm_tile + 1) * machine.key_tile - 1
        if not machine.scans:
            raise ValueError("alarm_tile needs a checker of granularity key_tile")
        if alarm_tile < 0 or n_keys - 1 - last_key < machine.lanes:
            raise ValueError(f"key tile {alarm_tile} is not scanned: {machine.lanes} keys must follow it")
    if not reexecute:
        return
    if machine.unit_of_work is None:
        raise ValueError("nothing raises an alarm: the config has no checker")
    units = 1 if machine.unit_of_work == "head" else blocks
    if len(set(reexecute)) != len(reexecute):
        raise ValueError(f"each unit of work can be re-executed once (got {list(reexecute)})")
    for unit in reexecute:
        if not 0 <= unit < units:
            units_of = f"granularity {machine.unit_of_work} has units 0 to {units - 1}"
            raise ValueError(f"{units_of} to re-execute (got {unit})")
