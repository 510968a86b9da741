"""The protection units of `checker.units`: register arrays with check bits or copies beside them.

They are checked beside the arithmetic, not in it, and go with any machine. `accel_sim.protection` is what they do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.sections import Clash, Many, Section

PartName: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]

MACHINE = "machine"
"""The part that stands for every register array of the machine outside its check units, control included."""


class ProtectionUnit(Section):
    """What every protection unit says: which registers it protects."""

    parts: Annotated[Many[PartName], Field(min_length=1, max_length=1000)] = Field(
        default=(MACHINE,),
        description="What is protected: names of register arrays or of components, `role:control` for a role. "
        "`machine` is every register outside the check units, control included. Where a register and a "
        "component have the same name, `register:score` or `component:score` says which. No register may have two "
        "protections.",
    )

    def clashes(self) -> Iterator[Clash]:
        yield from self._repeated("parts", self.parts)

    def _repeated(self, key: str, names: tuple[str, ...]) -> Iterator[Clash]:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            yield Clash((key,), f'each item may be named once ("{twice[0]}" is repeated)')


class ReplicatingUnit(ProtectionUnit):
    """A protection unit that keeps whole copies, and may have the logic between them again too."""

    operators: Annotated[Many[PartName], Field(max_length=1000)] = Field(
        default=(),
        description="Operators that are built again for each copy, by the names that the cost report lists. They "
        "cost area and energy; faults strike registers only.",
    )

    def clashes(self) -> Iterator[Clash]:
        yield from super().clashes()
        yield from self._repeated("operators", self.operators)


class ParityUnit(ProtectionUnit):
    """One parity bit an element: an odd number of wrong bits raises the alarm."""

    kind: Literal["parity"] = Field(default="parity", description="Selects parity bits.")


class SecdedUnit(ProtectionUnit):
    """An extended Hamming code on each element: one wrong bit is corrected, two raise the alarm."""

    kind: Literal["secded"] = Field(default="secded", description="Selects the extended Hamming code.")


class DmrUnit(ReplicatingUnit):
    """A second copy of each element: any difference between the two raises the alarm."""

    kind: Literal["dmr"] = Field(default="dmr", description="Selects dual modular redundancy.")


class TmrUnit(ReplicatingUnit):
    """Two more copies of each element and a majority vote: one wrong copy is outvoted, without an alarm."""

    kind: Literal["tmr"] = Field(default="tmr", description="Selects triple modular redundancy.")


RegisterProtection: TypeAlias = ParityUnit | SecdedUnit | DmrUnit | TmrUnit
PROTECTION_UNITS = (ParityUnit, SecdedUnit, DmrUnit, TmrUnit)
"""Every protection unit, for the union of check units and to tell them apart."""
