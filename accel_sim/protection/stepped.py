"""The stepped engine of a machine with protected registers.

`ProtectedStepped` hands the machine's own engine the faults that the machine comes to see, and sets the alarm of the
protection beside that of the machine. `inject` takes one fault, `run` any list for which that is the whole truth.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault
from accel_sim.protection.found import Found
from accel_sim.protection.guard import Guard
from accel_sim.protection.lists import ListRun, Watch, as_fault
from accel_sim.protection.protect import Place, Protection, passes_stuck_bits

_NAN = float("nan")


@dataclass(frozen=True)
class ProtectedInjection(Injection):
    """A fault and the run under it, on a machine with protected registers.

    result: its alarm is the earlier of the machine's and the protection's. old_value, new_value: what the struck
    element was and what the logic then read from it; NaN where the logic read nothing wrong, and for spares and alarm
    flags. unit: kind of the protection unit that raised its alarm, or None; protection_alarm_cycle: first cycle in
    which that can be read. corrected: wrong bits were corrected (rightly or not) or outvoted.
    """

    unit: str | None = None
    protection_alarm_cycle: int | None = None
    corrected: bool = False


class ProtectedStepped:
    """A stepped engine behind the protection of its registers; what is not here (job, timing, clock) is the bare one's.

    bare: the machine's own; protection: of the same machine.
    """

    def __init__(self, bare: Any, protection: Protection) -> None:
        self.bare = bare
        self.protection = protection
        self._found = Found(bare, protection)

    def __getattr__(self, name: str) -> Any:
        if name == "bare":  # not yet there, as when a copy is being made
            raise AttributeError(name)
        return getattr(self.bare, name)

    @property
    def memories(self) -> Any:
        """The machine's memories, if its faults may strike them; they are no part of the protection."""
        return getattr(self.bare, "memories", ())

    def golden(self) -> RunResult:
        """The fault-free run: the machine's, since no protection alarms without a fault."""
        result: RunResult = self.bare.golden()
        return result

    def live(self, fault: Fault) -> bool:
        """Whether the machine reads the struck element again before it is written; spares and flags are read in every
        cycle."""
        if fault.register in self.protection.places and fault.register not in self.machine.inventory:
            return True
        return bool(self.bare.live(fault))

    def run(self, faults: Sequence[Fault] = (), watch: Watch | None = None) -> RunResult:
        """Run from cycle 0 under a list of faults. `watch` as in the machine's engine: it sees what the logic reads.

        Raises ValueError for a fault that the machine cannot have, and for a list whose outcome this layer cannot
        tell: a stuck bit together with another fault in the same protected element; an alarm flag struck in the very
        cycle in which its alarm would first be read; with stalls, any list of several.
        """
        apart = ListRun(self._found)
        apart.take([(fault, self._place(fault)) for fault in faults])
        return _with_alarm(*apart.run(watch))

    def inject(self, fault: Fault, run: Callable[[Fault], Injection] | None = None,
               first_bite: Callable[[Fault], int | None] | None = None) -> ProtectedInjection:
        """Run under one fault. run: what injects the fault that the machine sees into the bare machine; None for its
        stepped engine. first_bite: `Found.first_bite`, if somebody knows it already. Raises ValueError for a fault
        that the machine cannot have."""
        run = run or self.bare.inject
        place = self._place(fault)
        if place is None:
            return _beside(run(fault), fault)
        if fault.cycle >= self.golden().cycles:
            return self._unseen(fault)  # the run is over
        if place.copy is None:
            raised = fault.kind != "stuck0"
            return self._unseen(fault, place.guard if raised else None, fault.cycle if raised else None)
        if fault.kind.startswith("stuck"):
            return self._stuck(fault, place, run, (first_bite or self.first_bite)(fault))
        come = self.protection.seen(fault.register, fault.index, fault.mask)
        guard = place.guard if come.alarm else None
        move = int(self._found.moves[fault.cycle])
        if come.mask == 0:
            return self._unseen(fault, guard, move + 1 if guard else None, come.corrected)
        register, index, _ = self.protection.element(fault.register, fault.index)
        bare = run(as_fault(fault.cycle, register, index, come.mask))
        if place.copy:
            bare = replace(bare, old_value=_NAN, new_value=_NAN)
        return _beside(bare, fault, guard, _readable(bare, move) if guard else None, come.corrected)

    def first_bite(self, fault: Fault) -> int | None:
        """See `Found.first_bite`."""
        return self._found.first_bite(fault)

    def _place(self, fault: Fault) -> Place | None:
        """What the struck array is to the protection; None for an array or memory without protection."""
        if fault.register not in self.memories:
            fault.check(self.protection.inventory)
        return self.protection.places.get(fault.register)

    def _unseen(self, fault: Fault, guard: Guard | None = None, alarm: int | None = None,
                corrected: bool = False) -> ProtectedInjection:
        """A fault that the machine does not see."""
        return _beside(Injection(fault, _NAN, _NAN, self.golden()), fault, guard, alarm, corrected)

    def _stuck(self, fault: Fault, place: Place, run: Callable[[Fault], Injection],
               move: int | None) -> ProtectedInjection:
        """A stuck bit in a guarded array or its spares, and its first bite."""
        if not passes_stuck_bits(place.guard.kind):
            return self._unseen(fault, corrected=move is not None)
        guard = None if move is None else place.guard
        if place.copy:
            return self._unseen(fault, guard, None if move is None else move + 1)
        bare = run(fault)
        return _beside(bare, fault, guard, None if move is None else _readable(bare, move))


def _readable(bare: Injection, move: int) -> int:
    """First cycle in which an alarm can be read that is raised in the cycle `move`. A strike that ends the run while
    the machine is held ends its being held."""
    return min(move, bare.result.cycles) + 1


def _with_alarm(result: RunResult, alarm: int | None) -> RunResult:
    """A run with one more alarm."""
    if alarm is None or (result.alarm_cycle is not None and result.alarm_cycle <= alarm):
        return result
    return replace(result, alarm_cycle=alarm)


def _beside(bare: Injection, fault: Fault, guard: Guard | None = None, alarm: int | None = None,
            corrected: bool = False) -> ProtectedInjection:
    """What the bare machine did, with what the protection did beside it."""
    return ProtectedInjection(fault, bare.old_value, bare.new_value, _with_alarm(bare.result, alarm),
                              None if guard is None else guard.kind, alarm, corrected)
