"""The `faults` section: which bits are struck, and how."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Literal, TypeAlias, TypeVar, get_args

from pydantic import AfterValidator, Field

from accel_sim.config.number_formats import FormatName
from accel_sim.config.sections import SEED_MAX, Clash, Many, Section

Target: TypeAlias = Literal["registers", "sram"]
FaultKind: TypeAlias = Literal["flip", "burst", "stuck0", "stuck1"]
ComponentName: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]

_Name = TypeVar("_Name", bound=str)


def _in_order(names: tuple[_Name, ...]) -> tuple[_Name, ...]:
    """These lists are sets: written in any order, they mean the same campaign and must hash alike."""
    ranks = {name: rank for rank, name in enumerate((*get_args(Target), *get_args(FaultKind)))}
    return tuple(sorted(names, key=lambda name: (ranks.get(name, 0), name)))


class RegisterFormats(Section):
    """Formats that registers are taken to be stored in when they are struck; null keeps the arithmetic's."""

    operand: FormatName | None = Field(default=None, description="Stored format of operand registers.")
    score: FormatName | None = Field(default=None, description="Stored format of score registers.")
    exp: FormatName | None = Field(default=None, description="Stored format of exponential registers.")
    state: FormatName | None = Field(default=None, description="Stored format of state registers.")
    output: FormatName | None = Field(default=None, description="Stored format of output registers.")
    checker: FormatName | None = Field(default=None, description="Stored format of checker registers.")


class Faults(Section):
    """The fault universe of a campaign, and how faults are drawn from it."""

    seed: int = Field(
        default=0, ge=0, le=SEED_MAX, description="Seed of the campaign; fault i depends on (seed, i) only."
    )
    targets: Annotated[Many[Target], AfterValidator(_in_order)] = Field(
        default=("registers",),
        min_length=1,
        description="Storage that is struck: `registers` (every flip-flop, control included), `sram` words.",
    )
    components: (
        Annotated[Many[ComponentName], Field(min_length=1, max_length=1000), AfterValidator(_in_order)] | None
    ) = Field(
        default=None,
        description="Names of the components that are struck, as the inventory lists them; null means all.",
    )
    kinds: Annotated[Many[FaultKind], AfterValidator(_in_order)] = Field(
        default=("flip",),
        min_length=1,
        description="Kinds of fault: `flip` (one bit inverted), `burst` (adjacent bits inverted), `stuck0` "
        "and `stuck1` (one bit held for a while).",
    )
    burst_bits: int = Field(default=2, ge=2, le=16, description="Adjacent bits that a `burst` inverts.")
    stuck_cycles: int = Field(
        default=1, ge=1, le=1_000_000_000, description="Cycles for which a stuck bit is held."
    )
    register_format: RegisterFormats | None = Field(
        default=None,
        description="Stored formats by role, to strike only the bits that a narrower register would have "
        "while the arithmetic stays wide. Each must be no wider than that role's arithmetic format. Null "
        "keeps the arithmetic's.",
    )

    def clashes(self) -> Iterator[Clash]:
        for key in ("targets", "components", "kinds"):
            twice = [name for name, count in Counter(getattr(self, key) or ()).items() if count > 1]
            if twice:
                yield Clash((key,), f'each item may be named once ("{twice[0]}" is repeated)')
