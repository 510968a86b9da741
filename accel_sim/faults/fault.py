"""One fault: which bit of which register or SRAM word, when, and what happens to it.

Kinds (docs/concepts.md):
  flip    single-event upset: the stored bit is inverted at the start of the cycle, and stays so until the
          register is next written
  burst   the same for `bits` adjacent bits, from `bit` upwards
  stuck0, stuck1   the stored bit is forced at the start of every cycle of [cycle, cycle + duration)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from accel_sim.machines.inventory import Inventory

if TYPE_CHECKING:
    from accel_sim.machines.memories import Memories

KINDS = ("flip", "burst", "stuck0", "stuck1")


@dataclass(frozen=True)
class Fault:
    """A transient fault in one element of one register array, or in one word of a memory.

    `register` is a register array or a memory (`k_sram`). `index` addresses the element (empty for a scalar
    register; bank, row and word of a memory), `bit` counts from the least significant stored bit (in a memory on
    through the check bits), `cycle` is the machine cycle at whose start the fault acts.
    """

    cycle: int
    register: str
    index: tuple[int, ...] = ()
    bit: int = 0
    kind: str = "flip"
    bits: int = 1
    duration: int = 1

    def check(self, inventory: Inventory, memories: Memories | None = None) -> None:
        """Raise ValueError with a clear message if the machine has no such bit or the kind is unknown."""
        if self.kind not in KINDS:
            raise ValueError(f"fault kind {self.kind!r} is not one of {', '.join(KINDS)}")
        if self.register not in inventory and (memories is None or self.register not in memories):
            import difflib

            names = [r.name for r in inventory] + [m.name for m in memories or ()]
            close = difflib.get_close_matches(self.register, names, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            raise ValueError(f"no register {self.register!r}{hint} It is one of: {', '.join(names)}")
        try:
            if self.register in inventory:
                width = inventory[self.register].width_bits
                inventory.slot(self.register, self.index)
            else:
                assert memories is not None
                width = memories[self.register].width_bits
                memories[self.register].address(self.index)
        except IndexError as error:
            raise ValueError(str(error)) from None
        top = self.bit + (self.bits if self.kind == "burst" else 1)
        if not (0 <= self.bit and top <= width):
            raise ValueError(
                f"{self.register} has bits 0 to {width - 1}, "
                f"bit {self.bit}{f' and {self.bits - 1} above it' if self.kind == 'burst' else ''} does not fit"
            )
        if self.cycle < 0 or self.duration < 1 or self.bits < 1:
            raise ValueError("a fault needs cycle ≥ 0, duration ≥ 1 and bits ≥ 1")

    @property
    def end(self) -> int:
        """First cycle in which the fault no longer acts on its own."""
        return self.cycle + (self.duration if self.kind.startswith("stuck") else 1)

    @property
    def mask(self) -> int:
        """The stored bits it touches."""
        return ((1 << self.bits) - 1 if self.kind == "burst" else 1) << self.bit


class FaultArrays(NamedTuple):
    """A fault list as the kernels take it, in order of cycle. All arrays have one entry per fault.

    cycle, end, slot: int64. mask: uint64. kind: int64, 0 inverts, 1 forces to 0, 2 forces to 1.
    arith, stored: (n, 4) int64, the fields of the two `Codec`s.
    """

    cycle: np.ndarray
    end: np.ndarray
    slot: np.ndarray
    mask: np.ndarray
    kind: np.ndarray
    arith: np.ndarray
    stored: np.ndarray


def fault_arrays(faults: Sequence[Fault], inventory: Inventory) -> FaultArrays:
    """Check every fault against the inventory and lay the list out for the kernels.

    Raises ValueError for a fault that the machine cannot have.
    """
    for fault in faults:
        fault.check(inventory)
    ordered = sorted(faults, key=lambda fault: fault.cycle)
    registers = [inventory[fault.register] for fault in ordered]
    return FaultArrays(
        cycle=np.array([fault.cycle for fault in ordered], dtype=np.int64),
        end=np.array([fault.end for fault in ordered], dtype=np.int64),
        slot=np.array([inventory.slot(fault.register, fault.index) for fault in ordered], dtype=np.int64),
        mask=np.array([fault.mask for fault in ordered], dtype=np.uint64),
        kind=np.array([{"stuck0": 1, "stuck1": 2}.get(fault.kind, 0) for fault in ordered], dtype=np.int64),
        arith=np.array([r.format.codec for r in registers], dtype=np.int64).reshape(-1, 4),
        stored=np.array([r.stored.codec for r in registers], dtype=np.int64).reshape(-1, 4),
    )
