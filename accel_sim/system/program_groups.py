"""Grouped-query attention: heads that share keys and values, one after another on the same machine.

With `memory.kv_resident` the first head of a group leaves the group's keys and values in SRAM, and the others find them
there: two heads are simulated, one that loads them and one that does not. Without it every head loads its own copy, and
one head stands for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accel_sim.machines.program import ProgramTiming
from accel_sim.system.program import simulate_program
from accel_sim.system.program_run import ProgramRun
from accel_sim.system.run import SystemRun, SystemTotals

if TYPE_CHECKING:
    from accel_sim.config import Config, Memory
    from accel_sim.numerics.formats import Format


@dataclass(frozen=True)
class GroupTotals(SystemTotals):
    """All heads: `loading` of them as the first of a group, the others with keys and values found in SRAM."""

    loading: int

    @property
    def note(self) -> str:
        """How these numbers were made, for a report."""
        if self.loading == self.heads:
            return super().note
        return (f"2 heads simulated: x{self.loading} that load keys and values, "
                f"x{self.heads - self.loading} that find them in SRAM")


@dataclass(frozen=True)
class GroupedRun:
    """Heads in groups, on an array machine or (with `simulate_system` and its `kv_present`) on lanes.

    first: a head that loads its keys and values. next: one that finds them; None if none does. heads, loading: how many
    heads there are, and how many of them load.
    """

    first: ProgramRun | SystemRun
    next: ProgramRun | SystemRun | None
    heads: int
    loading: int

    @property
    def totals(self) -> GroupTotals:
        """All heads, one after another."""
        one = self.first.times(self.loading)
        parts = [one] if self.next is None else [one, self.next.times(self.heads - self.loading)]
        return GroupTotals(
            heads=self.heads,
            cycles=sum(part.cycles for part in parts),
            compute_cycles=sum(part.compute_cycles for part in parts),
            stalls=_summed([part.stalls for part in parts]),
            drain_cycles=sum(part.drain_cycles for part in parts),
            total_cycles=sum(part.total_cycles for part in parts),
            bytes_moved=_summed([part.bytes_moved for part in parts]),
            loading=self.loading,
        )


def simulate_groups(
    timing: ProgramTiming,
    memory: Memory,
    formats: Mapping[str, Format],
    heads: int,
    kv_heads: int,
    *,
    timeline: bool = True,
    config: Config | None = None,
) -> GroupedRun:
    """Simulate `heads` heads of one program that share `kv_heads` different keys and values.

    Arguments and errors as of `simulate_program`; ValueError also if there are more keys and values than heads.
    """
    if not 1 <= kv_heads <= heads:
        raise ValueError(f"kv_heads must be from 1 to {heads}, the heads (got {kv_heads})")

    def simulate(kv_present: bool, alike: int) -> ProgramRun:
        resident = shared_tensors(timing) if kv_present else ()
        return simulate_program(timing, memory, formats, heads=alike, resident=resident, timeline=timeline,
                                config=config)

    return in_groups(simulate, heads, kv_heads, memory.kv_resident)


def in_groups(simulate: Callable[[bool, int], ProgramRun | SystemRun], heads: int, kv_heads: int,
              kv_resident: bool) -> GroupedRun:
    """Heads that share `kv_heads` different keys and values, by what simulates one of them: simulate(whether its keys
    and values are in SRAM already, how many heads it stands for)."""
    loading = kv_heads if kv_resident else heads
    return GroupedRun(simulate(False, loading), simulate(True, heads - loading) if loading < heads else None, heads,
                      loading)


def shared_tensors(timing: ProgramTiming) -> tuple[str, ...]:
    """What a head finds in SRAM when another of its group has left its keys and values there: those that it reads."""
    used = {tile.tensor for step in timing.steps for tile in step.reads}
    return tuple(tensor for tensor in ("k", "v") if tensor in used)


def _summed(parts: list[Mapping[str, int]]) -> dict[str, int]:
    total: dict[str, int] = {}
    for part in parts:
        for name, count in part.items():
            total[name] = total.get(name, 0) + count
    return total
