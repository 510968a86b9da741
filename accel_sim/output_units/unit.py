"""`OutputUnit`: what a check unit on the output buffer is, whoever has written it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from accel_sim.config.checker import OutputUnitSection
from accel_sim.machines.operators import Operator
from accel_sim.output_units.arithmetic import Checker

if TYPE_CHECKING:
    from accel_sim.machines.machine import Machine


@dataclass(frozen=True)
class Held:
    """A register array that a unit keeps: loaded before the head, and not written again until it ends.

    name: `KIND_name` in the machine's inventory. shape: () for one register. role: of the number format of its
    elements, `operand`, `score`, `exp`, `state`, `output` or `checker`. about: what it holds. loads: how often it is
    clocked while the head is loaded, for its energy: once a `head`, or once for every `key` or `query` that passes.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    about: str
    loads: Literal["head", "key", "query"] = "head"


class OutputUnit(ABC):
    """A check unit that reads the finished rows of a head back from the output buffer, and judges each by itself.

    A unit says what it compares; the registers around that, their faults, their cycles and the alarm are the
    simulator's (docs/output-units.md). Subclasses set two class variables: `kind`, the name that configs use, and
    `section`, the model of the unit's keys in `checker.units`, whose `kind` is a `Literal` of that name. has_scale:
    `compare` also says how large its values are, so that a relative threshold has something to be a fraction of.

    settings: the section of the config; machine: what the unit is on (`head_dim`, `formats`, ...); checker: the
    arithmetic that results must come from.
    """

    kind: ClassVar[str]
    section: ClassVar[type[OutputUnitSection]]
    has_scale: ClassVar[bool] = False

    def __init__(self, settings: Any, machine: Machine) -> None:
        self.settings = settings
        self.machine = machine
        self.checker = Checker(machine.formats["checker"], machine.subnormals)

    def registers(self) -> tuple[Held, ...]:
        """The registers that the unit keeps; none by default."""
        return ()

    def load(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, bound: np.ndarray) -> Mapping[str, np.ndarray]:
        """What they hold, by name: float64 arrays of their shapes, values of their formats.

        q (Nq, d), k and v (N, d): float64 values of the operand format as they pass on their way into the machine,
        whatever faults strike later; subnormals are zeros where the machine flushes them. bound (Nq,) int64: last key
        that each query may attend to, −1 for none.
        """
        return {}

    @abstractmethod
    def compare(self, rows: np.ndarray, queries: np.ndarray,
                held: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """(residual, scale) of each row: what must not exceed the limit in magnitude, and for a relative threshold
        the magnitude that it is a fraction of (else None).

        rows (n, d): float64 values of the output format. queries (n,) int64: whose they are. held: values of the
        registers by name, in the shapes of `registers`; faults may have changed any of them. Both results: (n,)
        float64 values of the checker format. They depend on the row, its query and `held` and on nothing else (rows
        come one at a time or many, in any order), and on no arithmetic but exact operations and those of `checker`,
        so that they are the same on every CPU. NaN and infinities are results like others: they raise the alarm.
        """

    def operators(self, n_queries: int, n_keys: int) -> tuple[Operator, ...]:
        """The arithmetic units that `compare` and `load` stand for, and how often they are used in one head.

        Each belongs to `component`; names begin with `KIND_`. A unit without any costs its registers only.
        """
        return ()

    @property
    def component(self) -> str:
        """Component of all its parts: `checker.KIND`."""
        return f"checker.{self.kind}"
