"""How faults are drawn: fault numbers in, points of the universe out.

* `Sampling`: the plan as plain data, what a manifest records;
* `Sampler`: what it becomes on an assembled config. `draw(first, count)` is a pure function of the seed and the
  fault numbers, so that no result depends on workers, order or restarts;
* `uniform`: every point is as likely as any other; `stratified`: the universe is cut first, and every stratum
  gets its share of the faults (`proportional`) or as many as any other (`equal`); `exhaustive`: every point once,
  in order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from accel_sim.faults.fault import KINDS
from accel_sim.faults.universe import scale_to

if TYPE_CHECKING:
    from accel_sim.assembly import Assembly
    from accel_sim.campaign.strata import Stratum

ALLOCATIONS = ("proportional", "equal")
"""How stratified faults are shared out."""

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 / golden ratio, odd: its multiples modulo 2^64 spread evenly, however many of them are taken."""


class Draw(NamedTuple):
    """Some faults, each field one array: point (int64, index in the universe), kind (int64, into `KINDS`), weight
    (float64): share of the universe over share of the faults, 1 for uniform sampling."""

    point: np.ndarray
    kind: np.ndarray
    weight: np.ndarray


class Sampler(Protocol):
    """Draws faults by number."""

    @property
    def limit(self) -> int | None:
        """How many faults there are; None for no limit."""
        ...

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1."""
        ...


@dataclass(frozen=True)
class Sampling:
    """How a campaign draws its faults. `by` and `allocation` matter to stratified sampling only."""

    kind: str = "uniform"
    by: tuple[str, ...] = ()
    allocation: str = "proportional"

    def __post_init__(self) -> None:
        if self.kind not in ("uniform", "stratified", "exhaustive"):
            raise ValueError(f"sampling {self.kind!r} is not one of uniform, stratified, exhaustive")
        if (self.kind == "stratified") != bool(self.by):
            raise ValueError("stratified sampling needs something to stratify by, and only it takes that")
        if self.allocation not in ALLOCATIONS:
            raise ValueError(f"allocation {self.allocation!r} is not one of {', '.join(ALLOCATIONS)}")

    @property
    def is_binomial(self) -> bool:
        """Every fault is drawn alike and independently: what sequential stopping rules count on."""
        return self.kind == "uniform"

    @property
    def label(self) -> str:
        """Short text for names of directories."""
        return "-".join((self.kind, *self.by, *((self.allocation,) if self.by else ())))

    def describe(self) -> dict[str, Any]:
        """As plain data."""
        if self.kind != "stratified":
            return {"kind": self.kind}
        return {"kind": self.kind, "by": list(self.by), "allocation": self.allocation}

    @classmethod
    def described(cls, data: Mapping[str, Any]) -> Sampling:
        """From what `describe` gave. Raises ValueError or KeyError for anything else."""
        return cls(data["kind"], tuple(data.get("by", ())), data.get("allocation", "proportional"))

    def sampler(self, assembly: Assembly) -> Sampler:
        """This plan on an assembled config. Raises ValueError for a stratum that the universe has not."""
        if self.kind == "exhaustive":
            return ExhaustiveSampler(assembly)
        if self.kind == "stratified":
            return StratifiedSampler(assembly, self.by, self.allocation)
        return UniformSampler(assembly)


class UniformSampler:
    """Every point of the universe with the same probability, with replacement."""

    limit = None

    def __init__(self, assembly: Assembly) -> None:
        self.universe = assembly.universe
        self.seed = assembly.config.faults.seed
        self.kinds = allowed_kinds(assembly)

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1."""
        index = self.universe.draw(self.seed, first, count)
        return Draw(index, draw_kinds(self.seed, first, count, self.kinds), np.ones(count))


class StratifiedSampler:
    """Strata take turns, evenly from the first fault on; within its stratum a fault is uniform.

    Which stratum a fault falls into depends on its number alone: with equal allocation they go round; with
    proportional allocation fault i goes where i · `GOLDEN` modulo 2^64 falls, so that after any number of faults
    every stratum has its share to within a few.
    """

    limit = None

    def __init__(self, assembly: Assembly, by: tuple[str, ...], allocation: str) -> None:
        from accel_sim.campaign.strata import strata

        self.universe = assembly.universe
        self.seed = assembly.config.faults.seed
        self.kinds = allowed_kinds(assembly)
        self.strata: tuple[Stratum, ...] = strata(assembly, by)
        self.equal = allocation == "equal"

    @cached_property
    def ends(self) -> np.ndarray:
        """(strata,) int64: points up to the end of each stratum, were they laid end to end."""
        return np.cumsum([s.size for s in self.strata], dtype=np.int64)

    def stratum(self, first: int, count: int) -> np.ndarray:
        """(count,) int64: the stratum of each fault."""
        number = np.arange(first, first + count, dtype=np.uint64)
        if self.equal:
            return (number % np.uint64(len(self.strata))).astype(np.int64)
        place = scale_to(number * np.uint64(GOLDEN), self.universe.size)
        return np.searchsorted(self.ends, place, side="right").astype(np.int64)

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1."""
        stratum = self.stratum(first, count)
        raw = random_words(self.seed, first, count)[:, 0]
        index, weight = np.empty(count, dtype=np.int64), np.ones(count)
        for number in np.unique(stratum):
            chosen, part = stratum == number, self.strata[number]
            index[chosen] = part.points(scale_to(raw[chosen], part.size), self.universe)
            if self.equal:
                weight[chosen] = part.size * len(self.strata) / self.universe.size
        return Draw(index, draw_kinds(self.seed, first, count, self.kinds), weight)


class ExhaustiveSampler:
    """Every point of the universe with every allowed kind, once: fault i is point i // kinds, kind i % kinds."""

    def __init__(self, assembly: Assembly) -> None:
        self.kinds = allowed_kinds(assembly)
        self.limit = assembly.universe.size * len(self.kinds)

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1. Raises IndexError past the last."""
        if not 0 <= first <= first + count <= self.limit:
            raise IndexError(f"faults run from 0 to {self.limit - 1}")
        index, kind = np.divmod(np.arange(first, first + count, dtype=np.int64), len(self.kinds))
        return Draw(index, np.array(self.kinds, dtype=np.int64)[kind], np.ones(count))


def allowed_kinds(assembly: Assembly) -> list[int]:
    """The campaign's kinds of fault, as indices into `KINDS`."""
    return [KINDS.index(kind) for kind in assembly.config.faults.kinds]


def draw_kinds(seed: int, first: int, count: int, allowed: list[int]) -> np.ndarray:
    """Kind of each fault: uniform over the allowed ones, a function of (seed, fault number)."""
    choice = scale_to(random_words(seed, first, count)[:, 1], len(allowed))
    return np.take(np.array(allowed, dtype=np.int64), choice)


def random_words(seed: int, first: int, count: int) -> np.ndarray:
    """(count, 4) uint64: the block of random words that belongs to each fault (see `Universe.draw`)."""
    words: np.ndarray = np.random.Philox(key=seed, counter=[first, 0, 0, 0]).random_raw(4 * count).reshape(-1, 4)
    return words
