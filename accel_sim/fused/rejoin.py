"""When a run under a fault is the fault-free one again, and which of its parts only repeat: what need not be clocked.

At a query tile's start the accumulators are dead (the first key tile begins from zero), an alarm that was raised says
no more, and sums that the check unit carries on to the end of the head are of no consequence but for its last
comparison. `Rejoin` compares the rest with a checkpoint. `skip_repeats` leaves out tiles of keys or queries that do not
exist and change nothing: a struck counter can make thousands of them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.result import Comparison
from accel_sim.fused.arithmetic import rules
from accel_sim.fused.build import slots
from accel_sim.fused.golden import Values, compared, golden_values, sum_rows
from accel_sim.fused.step import ALARM_CYCLE, COMPARED, CYCLE
from accel_sim.machines.counting import frequent_of
from accel_sim.machines.fused import FusedMachine

State = NDArray[np.float64]
Env = NDArray[np.int64]

_DEAD = ("l", "o", "c", "scale")
ALARMS = ("alarm", "softmax_alarm", "rowsum_alarm")
"""The registers of the units' alarms."""


class Rejoin:
    """What of the state counts as a query tile begins, for one machine and job."""

    def __init__(self, machine: FusedMachine, job: Any) -> None:
        self.machine, self.job = machine, job
        check = machine.check
        counted = any(frequent_of(unit) for unit in machine.units)
        self.carries = check is not None and check.granularity == "head" and not counted
        ignored = (*_DEAD, *ALARMS, *(("pred", "act") if self.carries else ()))
        self._kept = np.ones(machine.inventory.slots, dtype=np.bool_)
        for name in ignored:
            self._kept[self._span(name)] = False

    def _span(self, name: str) -> slice:
        inventory = self.machine.inventory
        if name not in inventory:
            return slice(0, 0)
        return slice(inventory.offsets[name], inventory.offsets[name] + inventory[name].size)

    def is_golden(self, state: State, golden: State) -> bool:
        """Whether all that follows is what follows from `golden`, but for sums that are carried on."""
        if not np.array_equal(state[self._kept].view(np.int64), golden[self._kept].view(np.int64)):
            return False
        # An alarm that only the fault-free run has raised would still be missed.
        return all((state[self._span(name)] >= golden[self._span(name)]).all() for name in ALARMS)

    def last_comparison(self, state: State, golden: State, tile: int, last: Comparison) -> Comparison | None:
        """The output check's comparison at the end of the head, from the sums in `state` as query tile `tile` begins,
        and fault-free rows from there on; None if the sums are those of `golden`. last: the fault-free one."""
        if not self.carries:
            return None
        at = [self.machine.inventory.offsets[name] for name in ("pred", "act")]
        if np.array_equal(state[at].view(np.int64), golden[at].view(np.int64)):
            return None
        machine, x, f = self.machine, self._values, rules(self.machine)
        assert machine.check is not None
        rows = machine.size + machine.columns
        pred, act = float(state[at[0]]), float(state[at[1]])
        for block in range(tile - 1, len(x.root)):  # of the tile before, the last rows are still in the tree
            first = rows - machine.levels if block < tile else 0
            pred, act = sum_rows(x.root[block], first, machine.size, pred, act, f)
        limit = self.job.limit("fused_output")
        residual, limit, p, a = compared(pred, act, limit, machine.check.threshold.kind == "relative", f)
        return replace(last, residual=float(residual), limit=float(limit), predicted=float(p), actual=float(a))

    @cached_property
    def _values(self) -> Values:
        return golden_values(self.machine, self.job)


def skip_repeats(machine: FusedMachine, job: Any, state: State, env: Env, before: tuple[State, Env],
                 watchdog: int) -> None:
    """Go on to the last of the tiles that do not exist, if the one between `before` and now has changed nothing.

    Both are states in which a tile begins, with their `env`.
    """
    s, n = slots(machine), machine.size
    old, when = before
    changed = np.flatnonzero(state.view(np.int64) != old.view(np.int64))
    if env[COMPARED] != when[COMPARED] or env[ALARM_CYCLE] != when[ALARM_CYCLE]:
        return
    if changed.tolist() == [s.key_tile]:
        reached = (1 << machine.bound_bits) // n - 1  # beyond it, the number of a key would begin from 0 again
        exists, last = -(-job.k.shape[0] // n), min(int(state[s.last_key_tile]), reached)
    elif changed.tolist() == [s.query_tile, s.out_tile]:
        exists, last = -(-job.q.shape[0] // n), int(state[s.last_query_tile])
    else:
        return
    if (old[changed] < exists).any() or (state[changed] != old[changed] + 1).any():
        return
    length = int(env[CYCLE] - when[CYCLE])
    count = min(last - int(state[changed[0]]), (watchdog - int(env[CYCLE])) // length)
    if count > 0:
        state[changed] += count
        env[CYCLE] += count * length
