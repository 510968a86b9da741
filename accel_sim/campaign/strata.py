"""Strata: the fault universe cut along component, register, bit field and phase.

A stratum is a set of bits × a set of cycles, in every head, so its size is known and its points can be
numbered without listing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accel_sim.assembly import Assembly
from accel_sim.faults.universe import Universe
from accel_sim.machines.inventory import Register
from accel_sim.machines.memories import Memory

BY = ("component", "register", "field", "phase")
"""What a universe can be cut along."""

FIELDS = ("sign", "exponent", "mantissa", "int", "check")
"""Fields of a stored bit pattern; a control register's bits are all `int`, the check bits of a memory `check`."""


@dataclass(frozen=True, eq=False)
class Stratum:
    """Points of one kind. positions: bit positions within a cycle's bits; cycles: of a head; both int64,
    ascending. name: (what, value) pairs, such as (("field", "sign"), ("phase", "stream"))."""

    name: tuple[tuple[str, str], ...]
    positions: np.ndarray
    cycles: np.ndarray
    heads: int

    @property
    def size(self) -> int:
        """Number of points."""
        return len(self.positions) * len(self.cycles) * self.heads

    def points(self, index: np.ndarray, universe: Universe) -> np.ndarray:
        """Universe indices of the stratum's points number `index` (int64, 0 … size − 1)."""
        when, position = np.divmod(index, len(self.positions))
        head, cycle = np.divmod(when, len(self.cycles))
        moment = head * universe.cycles + self.cycles[cycle]
        return np.asarray(moment * universe.bits + self.positions[position])


def strata(assembly: Assembly, by: Sequence[str]) -> tuple[Stratum, ...]:
    """The universe of a campaign, cut along some of `BY`. Every point is in exactly one stratum, none is empty.

    Raises ValueError for a word that is not in `BY`.
    """
    for word in by:
        if word not in BY:
            raise ValueError(f"faults cannot be stratified by {word!r}; it must be one of: {', '.join(BY)}")
    universe = assembly.universe
    bits = _bits_by(universe, [word for word in BY if word in by and word != "phase"])
    phases = phase_of_cycle(assembly) if "phase" in by else None
    times: dict[tuple[tuple[str, str], ...], np.ndarray] = {}
    if phases is None:
        times[()] = np.arange(universe.cycles, dtype=np.int64)
    else:
        for number, phase in enumerate(phases_of(assembly)):
            times[(("phase", phase),)] = np.flatnonzero(phases == number).astype(np.int64)
    return tuple(
        Stratum((*what, *when), positions, cycles, universe.heads)
        for what, positions in bits.items()
        for when, cycles in times.items()
        if len(positions) and len(cycles)
    )


def _bits_by(universe: Universe, by: Sequence[str]) -> dict[tuple[tuple[str, str], ...], np.ndarray]:
    """Bit positions of a cycle, grouped, in order of first appearance."""
    groups: dict[tuple[tuple[str, str], ...], list[np.ndarray]] = {}
    for number, register in enumerate(universe.registers):
        positions = np.arange(universe.first_bit[number], universe.first_bit[number + 1], dtype=np.int64)
        fields = field_of_bit(register)
        wanted = dict.fromkeys(fields) if "field" in by else {"": None}
        for name in wanted:
            value = {"component": register.component, "register": register.name, "field": name}
            chosen = [f == name or not name for f in fields]
            group = positions.reshape(-1, register.width_bits)[:, chosen].reshape(-1)
            groups.setdefault(tuple((word, value[word]) for word in by), []).append(group)
    return {name: np.concatenate(parts) for name, parts in groups.items()}


def field_of_bit(register: Register | Memory) -> tuple[str, ...]:
    """The field (`FIELDS`) of each stored bit of a register's elements or a memory's words, least significant first."""
    stored = register.stored
    if stored.kind == "uint":
        return ("int",) * stored.width_bits
    element = ("mantissa",) * stored.mantissa_bits + ("exponent",) * stored.exponent_bits + ("sign",)
    if isinstance(register, Memory):
        return element * register.word_elements + ("check",) * register.check_bits
    return element


def phases_of(assembly: Assembly) -> tuple[str, ...]:
    """The phases of a head, in the order in which they first come."""
    return tuple(dict.fromkeys(phase for phase, *_ in assembly.timing.spans()))


def phase_of_cycle(assembly: Assembly) -> np.ndarray:
    """(cycles,) int64: the phase of each cycle of the fault-free run, as an index into `phases_of`. Cycles held by the
    memory count for the phase that waits."""
    names = phases_of(assembly)
    phases, lengths = [], []
    held = assembly.system.held_by_span(assembly.timing)
    for (phase, _, _, cycles), waited in zip(assembly.timing.spans(), held, strict=True):
        phases.append(names.index(phase))
        lengths.append(cycles + waited)
    return np.repeat(np.array(phases, dtype=np.int64), lengths)
