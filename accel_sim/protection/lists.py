"""Lists of faults on a machine with protected registers: what of a list the machine sees, and when an alarm follows.

Strikes of one element in one cycle act together; those of another cycle find the element as the last one left it: a
code or a vote has put right what it could, and what raised an alarm has raised it for good. So only what strikes an
element and its spares in one and the same cycle has to be taken together. `ListRun` refuses the few lists for which
that is not the whole truth.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.machines.inventory import Register
from accel_sim.protection.codes import SPARES, Seen, seen
from accel_sim.protection.found import Enough, Found, bites
from accel_sim.protection.guard import Guard
from accel_sim.protection.protect import Place, Protection, passes_stuck_bits

Watch = Callable[[int, np.ndarray], None]

NEVER = 1 << 62


@dataclass(frozen=True)
class Strike:
    """What may raise the alarm of a guard: wrong bits in `cycle`, or a stuck bit."""

    guard: Guard
    cycle: int
    stuck: Fault | None = None

    @property
    def end(self) -> int:
        """First cycle in which it no longer acts."""
        return self.cycle + 1 if self.stuck is None else self.stuck.end


@dataclass
class ListRun:
    """A list of faults, taken apart. found: of the engine that is to run it. bare: what the machine sees. strikes: what
    may raise an alarm. flags: faults in alarm flags, by kind of unit."""

    found: Found
    bare: list[Fault] = field(default_factory=list)
    strikes: list[Strike] = field(default_factory=list)
    flags: defaultdict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))

    @property
    def engine(self) -> Any:
        """The machine's own stepped engine."""
        return self.found.engine

    @property
    def protection(self) -> Protection:
        """That of the machine."""
        return self.found.protection

    def take(self, faults: Sequence[tuple[Fault, Place | None]]) -> None:
        """Add faults, with what their arrays are to the protection. ValueError for what cannot be told."""
        struck: defaultdict[tuple[str, tuple[int, ...]], list[tuple[Fault, int]]] = defaultdict(list)
        if len(faults) > 1 and self.found.held and any(place is not None for _, place in faults):
            raise ValueError("several faults, one of them in a protected element, in a run in which the memory holds "
                             "the machine: run them without stalls, or one by one")
        for fault, place in faults:
            if place is None:
                self.bare.append(fault)
            elif place.copy is None:
                self.flags[place.guard.kind].append(fault)
            else:
                register, index, copy = self.protection.element(fault.register, fault.index)
                struck[register.name, index].append((fault, copy))
        for (name, index), there in struck.items():
            guard = self.protection.places[name].guard
            self._check_element(name, index, [fault for fault, _ in there])
            if there[0][0].kind.startswith("stuck"):
                self._take_stuck(guard, *there[0])
            else:
                self._take_flips(guard, self.protection.machine[name], index, there)

    def _take_stuck(self, guard: Guard, fault: Fault, copy: int) -> None:
        if passes_stuck_bits(guard.kind):
            self.strikes.append(Strike(guard, fault.cycle, fault))
            if not copy:
                self.bare.append(fault)

    def _take_flips(self, guard: Guard, register: Register, index: tuple[int, ...],
                    there: list[tuple[Fault, int]]) -> None:
        for cycle in sorted({fault.cycle for fault, _ in there}):
            come = together(guard, register, [(f, copy) for f, copy in there if f.cycle == cycle])
            if come.mask:
                self.bare.append(as_fault(cycle, register, index, come.mask))
            if come.alarm:
                self.strikes.append(Strike(guard, cycle))

    def _check_element(self, name: str, index: tuple[int, ...], there: list[Fault]) -> None:
        where = f"{name}{list(index)}" if index else name
        if len(there) > 1 and any(fault.kind.startswith("stuck") for fault in there):
            raise ValueError(f"{where}: a stuck bit together with another fault in the same protected element")

    # -- the run ----------------------------------------------------------------------------------------

    def run(self, watch: Watch | None) -> tuple[RunResult, int | None]:
        """The machine's run, and the first cycle in which an alarm of the protection can be read."""
        result: RunResult = self.engine.run(self.bare) if watch is None else self.engine.run(self.bare, watch)
        ended = self._ended_by_strike(result)
        began = result.cycles + ended
        raised: dict[str, int] = {}
        for strike in self.strikes:
            move = self._move(strike)
            if move is None and ended and strike.cycle <= result.cycles < strike.end:
                raise ValueError(f"cycle {result.cycles}, in which another fault ends the run, begins with a stuck bit")
            # A strike that ends the run while the machine is held ends its being held.
            if move is not None and strike.cycle < began:
                kind = strike.guard.kind
                raised[kind] = min(raised.get(kind, NEVER), min(move, result.cycles) + 1)
        alarm = min((self._flag(guard, raised.get(guard.kind, NEVER), began) for guard in self.protection.guards),
                    default=NEVER)
        return result, alarm if alarm < NEVER else None

    def _ended_by_strike(self, result: RunResult) -> bool:
        """Whether a strike at the start of cycle `result.cycles` has ended the run (so that cycle had begun)."""
        end = result.cycles
        if result.hang or not any(fault.cycle <= end < fault.end for fault in self.bare):
            return False
        before = [replace(fault, duration=min(fault.duration, end - fault.cycle)) for fault in self.bare
                  if fault.cycle < end]
        return bool(self.engine.run(before).cycles > end)

    def _move(self, strike: Strike) -> int | None:
        """The cycle in which the machine moves and the alarm is raised; None for a stuck bit that changes nothing."""
        if strike.stuck is None:
            return int(self.found.moves[strike.cycle]) if strike.cycle < len(self.found.moves) else strike.cycle
        alone = not self.bare or self.bare == [strike.stuck]
        return self.found.first_bite(strike.stuck) if alone else self._first_bite(strike.stuck)

    def _first_bite(self, fault: Fault) -> int | None:
        """First cycle in which a stuck bit is not what the run under all other faults has there. Without stalls."""
        register, index, _ = self.protection.element(fault.register, fault.index)
        slot = self.protection.machine.slot(register.name, index)
        found: list[int] = []

        def watch(cycle: int, state: np.ndarray) -> None:
            if fault.cycle <= cycle < fault.end and bites(self.protection, fault, float(state[slot])):
                found.append(cycle)
            if found or cycle >= fault.end:
                raise Enough

        with contextlib.suppress(Enough):
            self.engine.run([other for other in self.bare if other is not fault], watch)
        return found[0] if found else None

    def _flag(self, guard: Guard, checked: int, began: int) -> int:
        """First cycle in which a guard's flag reads 1, if its check makes it read 1 in cycle `checked`; or NEVER.
        began: cycles that have begun."""
        acting, name = self.flags[guard.kind], f"{guard.kind}_error"
        if any(fault.cycle <= checked < fault.end and fault.kind != "stuck1" for fault in acting):
            raise ValueError(f"{name} is struck in cycle {checked}, in which its alarm would first be read")
        if len({fault.cycle for fault in acting}) < len(acting):
            raise ValueError(f"{name} is struck twice in one cycle")
        struck = min((f.cycle for f in acting if f.kind != "stuck0" and f.cycle < began), default=NEVER)
        if any(fault.kind == "stuck0" and fault.cycle <= struck < fault.end for fault in acting):
            raise ValueError(f"{name} is stuck at 0 in cycle {struck}, in which it is struck again")
        return min(checked, struck)


@dataclass(frozen=True)
class WrongBits(Fault):
    """Bits of one element, not all adjacent, that are inverted at once: no fault, but what a decoder makes of one. Bits
    `bit` … `bit` + `bits` − 1 hold all those of `pattern`."""

    pattern: int = 0

    @property
    def mask(self) -> int:
        """The stored bits it touches."""
        return self.pattern


def as_fault(cycle: int, register: Register, index: tuple[int, ...], mask: int) -> Fault:
    """Inverted bits of one element (at least one of them) as a fault for the machine's engine."""
    bit = (mask & -mask).bit_length() - 1
    bits = mask.bit_length() - bit
    if mask == ((1 << bits) - 1) << bit:
        return Fault(cycle, register.name, index, bit, "flip" if bits == 1 else "burst", bits)
    return WrongBits(cycle, register.name, index, bit, "burst", bits, 1, mask)


def together(guard: Guard, register: Register, there: Sequence[tuple[Fault, int]]) -> Seen:
    """What several strikes of one element and its spares in the same cycle come to; (fault, copy struck) of each."""
    wrong = [0] * (1 + SPARES[guard.kind])
    for fault, copy in there:
        wrong[copy] ^= fault.mask
    return seen(guard.kind, register.width_bits, wrong[0], tuple(wrong[1:]))
