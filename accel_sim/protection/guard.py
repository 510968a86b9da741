"""The hardware of a protection unit: the register arrays that it guards, and those that it adds.

Beside a guarded array stands an array of its spares (`codes.SPARES`), under the unit's kind and the array's name:
`parity_l`, `secded_o`, `dmr_m`, `tmr_m`. A unit with an alarm has one more bit, its sticky flag: `parity_error`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accel_sim.config.protection import RegisterProtection, ReplicatingUnit
from accel_sim.machines.inventory import Register
from accel_sim.numerics.formats import uint_format
from accel_sim.protection.codes import ALARMS, SPARES, spare_bits

HOLDS = {
    "parity": "parity bit of each element of {}: the number of ones is even",
    "secded": "check bits of each element of {}",
    "dmr": "second copy of {}",
    "tmr": "second and third copy of {}",
}


@dataclass(frozen=True)
class Guard:
    """One protection unit on one machine: its section of the config, and the register arrays that it protects."""

    unit: RegisterProtection
    guarded: tuple[Register, ...]

    @property
    def kind(self) -> str:
        """`parity`, `secded`, `dmr` or `tmr`."""
        return self.unit.kind

    @property
    def component(self) -> str:
        """Component of everything that the unit adds: `checker.parity`."""
        return f"checker.{self.kind}"

    @property
    def operators(self) -> tuple[str, ...]:
        """Operators of the machine that are built again for each copy."""
        return self.unit.operators if isinstance(self.unit, ReplicatingUnit) else ()

    @cached_property
    def spares(self) -> tuple[Register, ...]:
        """The spares of each guarded array, in the same order. Two copies are one array with one axis more, first."""
        return tuple(self._spare(register) for register in self.guarded)

    @cached_property
    def flag(self) -> Register | None:
        """The sticky alarm, if the unit has one."""
        if self.kind not in ALARMS:
            return None
        return Register(f"{self.kind}_error", (), uint_format(1), "checker", self.component, "sticky alarm")

    @property
    def added(self) -> tuple[Register, ...]:
        """Every register array that the unit adds."""
        return self.spares if self.flag is None else (*self.spares, self.flag)

    def _spare(self, register: Register) -> Register:
        name, holds = f"{self.kind}_{register.name}", HOLDS[self.kind].format(register.name)
        shape = register.shape if SPARES[self.kind] == 1 else (SPARES[self.kind], *register.shape)
        if self.kind in ("dmr", "tmr"):
            return Register(name, shape, register.format, "checker", self.component, holds, register.stored)
        width = spare_bits(self.kind, register.width_bits)
        return Register(name, shape, uint_format(width), "checker", self.component, holds)
