"""A machine with protected registers, as everything above the engines sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accel_sim.config.protection import RegisterProtection, ReplicatingUnit
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.machines.machine import Machine, Occupant
from accel_sim.machines.operators import Activity
from accel_sim.protection.codes import ALARMS
from accel_sim.protection.cost import protected_activity
from accel_sim.protection.guard import Guard
from accel_sim.protection.protect import Protection, protect
from accel_sim.protection.replay import ProtectedReplay
from accel_sim.protection.stepped import ProtectedStepped

if TYPE_CHECKING:
    from accel_sim.config import Config

SPARE = {"parity": "parity bit", "secded": "check bits", "dmr": "second copy", "tmr": "further copy"}


class ProtectedMachine:
    """A `Machine` with protection units.

    What protection changes is defined here (registers, operators, what a register holds); all else is that of `bare`,
    the machine without it, whose engines take `bare` and no other. Raises what `protect` raises.
    """

    def __init__(self, bare: Machine, units: Sequence[RegisterProtection], config: Config | None = None) -> None:
        self.bare = bare
        names = None
        if any(isinstance(unit, ReplicatingUnit) and unit.operators for unit in units):
            names = [operator.name for operator in bare.activity(bare.timing(1, 1)).operators]
        self.protection: Protection = protect(bare.inventory, units, names, config)

    def __getattr__(self, name: str) -> Any:
        if name == "bare":  # not yet there, as when a copy is being made
            raise AttributeError(name)
        return getattr(self.bare, name)

    @cached_property
    def inventory(self) -> Inventory:
        """The machine's registers, then those of the protection units."""
        return self.protection.inventory

    def activity(self, timing: Any) -> Activity:
        """Operators, register writes and SRAM accesses of one fault-free head, protection included."""
        return protected_activity(self.protection, self.bare.activity(timing))

    def occupant(self, timing: Any, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """What an element holds; None where a fault in it can change nothing, not even raise an alarm: nothing that is
        checked is ever dead."""
        place = self.protection.places.get(register.name)
        if place is None:
            return self.bare.occupant(timing, register, index, cycle)
        if place.guarded is None:
            return Occupant(f"alarm of {place.guard.kind}")
        guarded, at, copy = self.protection.element(register.name, index)
        held = self.bare.occupant(timing, guarded, at, cycle)
        if copy and held is not None:
            return Occupant(f"{SPARE[place.guard.kind]} of {held.what}", held.query, held.key, held.dim)
        if held is None and place.guard.kind in ALARMS:
            return Occupant("nothing that is read, but checked")
        return held

    def describe(self) -> dict[str, Any]:
        """Facts of the design, and what protects which registers."""
        return self.bare.describe() | {guard.kind: described(guard) for guard in self.protection.guards}

    # -- its engines ----------------------------------------------------------------------------------------

    def stepped(self, bare: Any) -> ProtectedStepped:
        """The stepped engine behind the protection. bare: that of the machine without it."""
        return ProtectedStepped(bare, self.protection)

    def replay(self, bare: Any, stepped: Callable[[], Any]) -> ProtectedReplay:
        """The replay engine behind the protection. bare: that of the machine without it; stepped: makes the stepped
        one for the same job."""
        return ProtectedReplay(bare, self.protection, stepped)


def described(guard: Guard) -> str:
    """`12 register arrays, 3,902 bits and 130 more`."""
    bits, added = (sum(register.bits for register in some) for some in (guard.guarded, guard.added))
    arrays = len(guard.guarded)
    return f"{arrays} register array{'s' if arrays > 1 else ''}, {bits:,} bits and {added:,} more"
