"""What every machine says of itself, whatever its kind: the one interface between hardware and everything above it.

Engines, the memory system, campaigns, cost and reports know a machine by this; what they need beyond it they find in
`accel_sim.kinds` under the machine's kind.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from accel_sim.machines.inventory import Inventory, Register
from accel_sim.numerics.formats import FORMATS, Format, Subnormals

if TYPE_CHECKING:
    from accel_sim.config import Config
    from accel_sim.machines.operators import Activity


@dataclass(frozen=True)
class Occupant:
    """What an element holds: the query, key and dim it belongs to (None where that has no meaning), and what
    it is, in words."""

    what: str
    query: int | None = None
    key: int | None = None
    dim: int | None = None

    def __str__(self) -> str:
        where = [f"{name} {value}" for name, value in
                 (("query", self.query), ("key", self.key), ("dim", self.dim)) if value is not None]
        return f"{self.what} ({', '.join(where)})" if where else self.what


@dataclass(frozen=True)
class Sram:
    """The SRAM of one tensor: its bits over all banks and the bytes of one bank, check bits included, and the stored
    bits for each bit of data. role: that of its elements."""

    tensor: str
    bits: float
    bank_bytes: float
    overhead: float
    role: str


class HeadTiming(Protocol):
    """When things happen in the fault-free, stall-free run of one head; all in cycles."""

    @property
    def n_queries(self) -> int:
        """Queries of the head."""
        ...

    @property
    def n_keys(self) -> int:
        """Keys of the head."""
        ...

    @property
    def head_cycles(self) -> int:
        """Cycles of the whole head, by the closed formula."""
        ...

    def spans(self) -> Iterator[tuple[str, int, int, int]]:
        """(phase, its number, first cycle, cycles) in order, without gaps."""
        ...

    def phase_name(self, phase: str, number: int) -> str:
        """One of them in words."""
        ...


class Machine(ABC):
    """One accelerator, as its config describes it.

    kind: `architecture.kind`. formats: by role. formula, useful: the closed formulas of the head's cycles and of
    utilisation, as reports print them.
    """

    kind: str
    formula: str
    useful: str
    config: Config
    formats: dict[str, Format]
    subnormals: Subnormals
    head_dim: int
    plain: bool = False
    """Whether a head is a plain product Q·Kᵀ, and not attention: v is empty, and the output is (Nq, N)."""

    @property
    @abstractmethod
    def inventory(self) -> Inventory:
        """Every register array."""

    @property
    @abstractmethod
    def units(self) -> tuple[Any, ...]:
        """The sections of `checker.units` that this machine has built in, in the config's order."""

    @abstractmethod
    def timing(self, n_queries: int, n_keys: int) -> Any:
        """Closed-form timing of one head: a `HeadTiming`."""

    @abstractmethod
    def stall_points(self, n_queries: int, n_keys: int) -> dict[str, int]:
        """How many points there are, by kind, at which the memory may hold the machine."""

    @abstractmethod
    def occupant(self, timing: Any, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """What one element of a register holds in a stall-free cycle; None where a fault in it can change nothing."""

    @abstractmethod
    def activity(self, timing: Any) -> Activity:
        """Operators, register writes and SRAM accesses of one fault-free head."""

    @abstractmethod
    def utilisation(self, timing: Any, cycles: int) -> float:
        """Useful multiply-accumulates over those that the machine had time for in so many cycles; see `useful`. Masked
        pairs count as useful, work done again does not."""

    @abstractmethod
    def streamed_bytes(self, timing: Any) -> dict[str, int]:
        """Off-chip bytes of one head by tensor, whole elements in the formats in which the hardware stores: what a
        system model that counts bursts and banks comes to at least."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Facts of the design for reports, plain values by name: its size first."""

    def unit(self, kind: str) -> Any:
        """The check unit of that kind, or None."""
        return next((unit for unit in self.units if unit.kind == kind), None)

    @property
    def stored_formats(self) -> dict[str, Format]:
        """The format of each role in the hardware that a config stands for.

        A campaign may compute in wider formats than its registers hold (`faults.register_format`); the hardware
        that it imitates then has the registers' formats, and its operators are taken to have them too.
        """
        overrides = self.config.faults.register_format
        stored = {role: getattr(overrides, role, None) for role in self.formats}
        return {role: FORMATS[name] if (name := stored[role]) else fmt for role, fmt in self.formats.items()}
