"""What recovery costs: the unit of work that raised an alarm is run again, inside the model.

`recovery_cost` simulates the head without an alarm and then once for each unit that alarms, and compares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from accel_sim.system.simulate import simulate_system
from accel_sim.system.work import work_of

if TYPE_CHECKING:
    from accel_sim.config import Memory
    from accel_sim.machines.lanes import LanesMachine

EVERY_BLOCK_UP_TO = 8
"""Heads of so many blocks have each of them simulated; of longer ones, both ends and the middle."""


@dataclass(frozen=True)
class UnitRecovery:
    """The alarm of one unit of work, and what it costs.

    stands_for: how many units of the head, itself included, are taken to cost the same. extra_cycles: of
    `SystemRun.total_cycles`. extra_bytes: over the off-chip channel, by tensor. alarm_cycle: clock cycle of
    the alarm. correction_cycles: from the alarm until the corrected outputs are in memory.
    """

    unit: int
    stands_for: int
    extra_cycles: int
    extra_bytes: Mapping[str, int]
    alarm_cycle: int
    correction_cycles: int


@dataclass(frozen=True)
class RecoveryCost:
    """The cost of one alarm in a head.

    unit: what runs again, `head` or `query_block`; queries: how many those are. of_units: how many the head has.
    clean_cycles: `total_cycles` without an alarm. units: those that were simulated, one alarm in each run.
    """

    unit: str
    queries: int
    of_units: int
    clean_cycles: int
    units: tuple[UnitRecovery, ...]

    @property
    def worst_cycles(self) -> int:
        """Most extra cycles of any simulated unit."""
        return max(u.extra_cycles for u in self.units)

    @property
    def mean_cycles(self) -> float:
        """Extra cycles of an alarm, averaged over the simulated units, each weighted by `stands_for`."""
        return self._mean([u.extra_cycles for u in self.units])

    @property
    def worst_bytes(self) -> int:
        """Most extra bytes of any simulated unit, all tensors together."""
        return max(sum(u.extra_bytes.values()) for u in self.units)

    @property
    def mean_bytes(self) -> dict[str, float]:
        """Extra bytes of an alarm by tensor, averaged like `mean_cycles`."""
        return {t: self._mean([u.extra_bytes[t] for u in self.units]) for t in self.units[0].extra_bytes}

    @property
    def worst_correction_cycles(self) -> int:
        """Most cycles from an alarm until the corrected outputs are in memory."""
        return max(u.correction_cycles for u in self.units)

    @property
    def note(self) -> str:
        """How these numbers were made, for a report."""
        if self.unit == "head":
            return "the whole head runs again"
        if self.of_units == len(self.units):
            return f"each of the {self.of_units} query blocks simulated"
        chosen = ", ".join(
            f"{u.unit} (standing for {u.stands_for})" if u.stands_for > 1 else str(u.unit) for u in self.units
        )
        return f"query blocks {chosen} simulated, of {self.of_units}"

    def _mean(self, values: Sequence[int]) -> float:
        weights = [u.stands_for for u in self.units]
        return sum(w * x for w, x in zip(weights, values, strict=True)) / sum(weights)


def recovery_cost(
    machine: LanesMachine,
    memory: Memory,
    n_queries: int,
    n_keys: int,
    *,
    units: Sequence[int] | None = None,
    alarm_tile: int | None = None,
) -> RecoveryCost:
    """What it costs to re-execute the unit of work that raised an alarm: the head for granularity `head`,
    else the query block.

    The machine finishes the block that it is in, and those whose queries are already on their way; then the
    block runs again. `units` chooses the blocks to simulate, each standing for itself; None takes all of a
    head of up to 8 blocks, and of a longer one the first two, the middle one (standing for all between) and
    the last two. alarm_tile: as for `simulate_system`.

    Raises ValueError as `simulate_system` does.
    """
    if machine.unit_of_work is None:
        raise ValueError("nothing raises an alarm: the config has no checker")
    whole_head = machine.unit_of_work == "head"
    blocks = 1 if whole_head else work_of(machine, n_queries, n_keys).blocks
    if units is not None and not units:
        raise ValueError("units must name at least one unit of work")
    chosen = _sample(blocks) if units is None else [(unit, 1) for unit in units]
    clean = simulate_system(machine, memory, n_queries, n_keys, timeline=False)
    costs = []
    for unit, stands_for in chosen:
        run = simulate_system(
            machine, memory, n_queries, n_keys, reexecute=(unit,), alarm_tile=alarm_tile, timeline=False
        )
        (again,) = run.reexecutions
        costs.append(
            UnitRecovery(
                unit=unit,
                stands_for=stands_for,
                extra_cycles=run.total_cycles - clean.total_cycles,
                extra_bytes={t: run.bytes_moved[t] - clean.bytes_moved[t] for t in clean.bytes_moved},
                alarm_cycle=again.alarm_cycle,
                correction_cycles=again.corrected_cycle - again.alarm_cycle,
            )
        )
    queries = n_queries if whole_head else min(machine.lanes, n_queries)
    return RecoveryCost("head" if whole_head else "query_block", queries, blocks, clean.total_cycles, tuple(costs))


def _sample(blocks: int) -> list[tuple[int, int]]:
    """Blocks to simulate, and how many each stands for."""
    if blocks <= EVERY_BLOCK_UP_TO:
        return [(block, 1) for block in range(blocks)]
    return [(0, 1), (1, 1), (blocks // 2, blocks - 4), (blocks - 2, 1), (blocks - 1, 1)]
