"""The replay engine of a machine with protected registers: the outcomes of `ProtectedStepped`, many at a time."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, Outcomes
from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.protection.found import NEVER, Found
from accel_sim.protection.moves import next_moves
from accel_sim.protection.protect import STUCK0, STUCK1, Protection, Strikes, passes_stuck_bits
from accel_sim.protection.stepped import ProtectedInjection, ProtectedStepped

_UNKNOWN = -2
"""A first bite that nobody has looked for."""


class ProtectedReplay:
    """A replay engine behind the protection of its registers; what is not here (job, timing) is the bare one's.

    bare: the machine's own; protection: of the same machine. Slots are those of `protection.inventory`.
    stepped: makes the machine's own stepped engine for the same job, on which stuck bits in parity bits and copies and
    what they guard are looked at; without it they are left to be run.
    """

    def __init__(self, bare: Any, protection: Protection, stepped: Callable[[], Any] | None = None) -> None:
        self.bare = bare
        self.protection = protection
        arrays = protection.inventory.registers
        sizes = [register.size for register in arrays]
        self._register = np.repeat(np.arange(len(arrays)), sizes)  # of each slot
        self._arith = np.array([r.format.codec for r in arrays], dtype=np.int64)
        self._stored = np.array([r.stored.codec for r in arrays], dtype=np.int64)
        # Of each guard; the last is for a strike without one.
        self._passes = np.array([passes_stuck_bits(g.kind) for g in protection.guards] + [True])
        self._make_stepped = stepped
        self._found: Found | None = None
        self._bites: dict[tuple[int, ...], int] = {}

    def __getattr__(self, name: str) -> Any:
        if name == "bare":  # not yet there, as when a copy is being made
            raise AttributeError(name)
        return getattr(self.bare, name)

    @property
    def golden(self) -> RunResult:
        """The fault-free run: the machine's, since no protection alarms without a fault."""
        result: RunResult = self.bare.golden
        return result

    def inject(self, fault: Fault, stepped: ProtectedStepped) -> ProtectedInjection:
        """One fault that `outcomes` has left to be run."""
        return stepped.inject(fault, lambda seen: self.bare.inject(seen, stepped.bare),
                              lambda stuck: self._first_bite(stuck, stepped))

    def outcomes(self, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray, ops: np.ndarray,
                 masks: np.ndarray, arith: np.ndarray, stored: np.ndarray) -> Outcomes:
        """Replay faults; the arguments are those of the machine's `outcomes`, with slots of `protection.inventory`.

        old_value and new_value are what the struck element was and what the logic then read from it; NaN where the
        logic read nothing wrong, and for spares and alarm flags. Raises ValueError for more than one stuck bit in a
        protected element: no fault does that.
        """
        come = self.protection.strikes(slots, ops, masks)
        if np.any(come.by_value & ((masks & (masks - np.uint64(1))) != 0)):
            raise ValueError("a stuck fault in a protected element has one bit")
        own = np.asarray(slots) >= self.protection.machine.slots  # a spare or a flag
        stuck = come.by_value & self._passes[come.guard]
        out = self._clean(len(slots))
        at = np.flatnonzero(np.where(stuck, ~own, come.mask != 0))
        if at.size:
            self._fill(out, at, own, come, cycles, last_cycles, ops, masks)
        raised = come.raised & ~stuck
        at = np.flatnonzero(stuck)
        move = self._moves[cycles]
        if at.size:
            move[at] = self._bitten(at, slots, cycles, last_cycles, ops, masks)
            raised[at] = move[at] >= 0
            out.status[at[move[at] == _UNKNOWN]] = FALL_BACK
        self._raise(out, raised, np.where(come.at_once, cycles, move + 1))
        return out

    def _fill(self, out: Outcomes, at: np.ndarray, own: np.ndarray, come: Strikes, cycles: np.ndarray,
              last_cycles: np.ndarray, ops: np.ndarray, masks: np.ndarray) -> None:
        """What the machine's own engine says of the faults `at`, as the machine sees them."""
        register = self._register[come.slot[at]]
        seen = np.where(come.by_value[at], masks[at], come.mask[at])
        bare = self.bare.outcomes(come.slot[at], cycles[at], last_cycles[at], ops[at], seen,
                                    self._arith[register], self._stored[register])
        for ours, theirs in zip(out, bare, strict=True):
            ours[at] = theirs
        hidden = at[own[at]]
        out.old_value[hidden] = out.new_value[hidden] = np.nan

    def _bitten(self, at: np.ndarray, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray,
                ops: np.ndarray, masks: np.ndarray) -> np.ndarray:
        """(len(at),) int64: first bites of the faults `at`, _UNKNOWN without a stepped engine to look at."""
        if self._make_stepped is None:
            return np.full(len(at), _UNKNOWN)
        if self._found is None:
            self._found = Found(self._make_stepped(), self.protection)
        found = self._found.first_bites(slots[at], cycles[at], last_cycles[at], ops[at], masks[at])
        keys = zip(*(x[at].tolist() for x in (slots, cycles, last_cycles, ops, masks)), strict=True)
        self._bites = dict(zip(keys, found.tolist(), strict=True))
        return found

    def _first_bite(self, fault: Fault, stepped: ProtectedStepped) -> int | None:
        """That of a fault of the last `outcomes`, at once; else as the stepped engine finds it."""
        slot = self.protection.inventory.slot(fault.register, fault.index)
        op = STUCK1 if fault.kind == "stuck1" else STUCK0
        last = min(fault.end, self.golden.cycles) - 1
        known = self._bites.get((slot, fault.cycle, last, op, fault.mask), _UNKNOWN)
        if known == _UNKNOWN:
            return stepped.first_bite(fault)
        return None if known == NEVER else known

    def _raise(self, out: Outcomes, raised: np.ndarray, cycle: np.ndarray) -> None:
        """The protection's alarms beside the machine's."""
        at = np.flatnonzero(raised & (out.status != FALL_BACK))
        first = at[(out.alarm_cycle[at] < 0) | (cycle[at] < out.alarm_cycle[at])]
        out.alarm_cycle[first] = cycle[first]
        out.status[at] = CHANGED

    def _clean(self, n: int) -> Outcomes:
        """Outcomes of n faults that change nothing."""
        golden = self.golden
        residual, limit = golden.told
        none = np.zeros(n, dtype=np.int64)
        alarm = -1 if golden.alarm_cycle is None else golden.alarm_cycle
        return Outcomes(
            status=np.full(n, MASKED), differs=np.zeros(n, dtype=np.bool_), alarm_cycle=np.full(n, alarm),
            residual=np.full(n, residual), limit=np.full(n, limit), square=np.zeros(n), max_abs=np.zeros(n),
            max_ulp=none.copy(), nonfinite=none.copy(), rows=none.copy(), old_value=np.full(n, np.nan),
            new_value=np.full(n, np.nan),
        )

    @cached_property
    def _moves(self) -> np.ndarray:
        return next_moves(self.bare)
