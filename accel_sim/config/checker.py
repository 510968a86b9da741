"""The `checker` section: the check units that watch the datapath. Their alarm is the OR of all units."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, ClassVar, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field

from accel_sim.config.installed import CHECK_UNITS
from accel_sim.config.protection import PROTECTION_UNITS, RegisterProtection
from accel_sim.config.sections import SEED_MAX, Clash, Kinds, Many, Section


class AbsoluteThreshold(Section):
    """Alarm when the residual |predicted - actual| exceeds a fixed value."""

    kind: Literal["absolute"] = Field(default="absolute", description="Selects a fixed threshold.")
    value: float = Field(gt=0, description="The threshold, in the unit of the outputs.")


class RelativeThreshold(Section):
    """Alarm when the residual exceeds a fraction of the larger of |predicted| and |actual|."""

    kind: Literal["relative"] = Field(default="relative", description="Selects a relative threshold.")
    value: float = Field(gt=0, description="The fraction (1e-3 is 0.1 %).")


class CalibratedThreshold(Section):
    """Alarm above a multiple of the largest residual of fault-free runs on a calibration set."""

    kind: Literal["calibrated"] = Field(
        default="calibrated", description="Selects a threshold measured on clean runs."
    )
    multiple: float = Field(
        default=4.0, gt=0, le=1e12, description="Threshold over the largest clean residual."
    )
    samples: int = Field(default=20, ge=1, le=1_000_000, description="Heads in the calibration set.")
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="Seed of the calibration set.")


class BoundThreshold(Section):
    """Alarm above a bound on the rounding error, derived from the formats and the sizes."""

    kind: Literal["bound"] = Field(default="bound", description="Selects the derived rounding bound.")
    slack: float = Field(default=1.0, gt=0, le=1e12, description="Threshold over the bound.")


class StatisticalThreshold(Section):
    """Alarm on a large deviation, or on frequent ones; a few small ones pass (as ReaLM does, arXiv 2503.24053).

    A comparison deviates when its residual exceeds the small limit. The alarm is for the first that exceeds the large
    limit, and for the one that makes the deviations of a head frequent.
    """

    kind: Literal["statistical"] = Field(
        default="statistical", description="Selects a small limit measured on clean runs, a large one, and a count."
    )
    multiple: float = Field(
        default=2.0, gt=0, le=1e12, description="Small limit over the largest clean residual; what exceeds it deviates."
    )
    large: float = Field(
        default=64.0, ge=1, le=1e12, description="Large limit over the small one; what exceeds it raises the alarm."
    )
    frequent: int = Field(
        default=4, ge=1, le=65_535, description="Deviations in one head that raise the alarm, however small they are."
    )
    samples: int = Field(default=20, ge=1, le=1_000_000, description="Heads in the calibration set.")
    seed: int = Field(default=0, ge=0, le=SEED_MAX, description="Seed of the calibration set.")


Product: TypeAlias = Literal["qk", "pv"]
ChecksumColumns: TypeAlias = Annotated[int, Field(ge=1, le=3)]


def _in_order(products: tuple[Product, ...]) -> tuple[Product, ...]:
    """A set: written in any order, it means the same design and must hash alike."""
    return tuple(name for name in get_args(Product) if name in products)


Threshold: TypeAlias = Annotated[
    AbsoluteThreshold | RelativeThreshold | CalibratedThreshold | BoundThreshold | StatisticalThreshold,
    Kinds(AbsoluteThreshold, RelativeThreshold, CalibratedThreshold, BoundThreshold, StatisticalThreshold),
]


class Shares(Section):
    """Which signals the unit takes from the datapath.

    A fault in a shared signal reaches both sides of the check, and passes it unseen. What is not shared, the
    unit computes itself, at its own area. Its own score needs its own maximum, and its own maximum its own
    exponentials; the sum is free either way.
    """

    score: bool = Field(default=True, description="Take the scores s from the datapath.")
    max: bool = Field(default=True, description="Take the running maximum m from the datapath.")
    exp: bool = Field(default=True, description="Take the exponentials p and a from the datapath.")
    sum: bool = Field(default=True, description="Take the running sum l from the datapath.")

    def clashes(self) -> Iterator[Clash]:
        for signal, later in pairwise(("score", "max", "exp")):
            if not getattr(self, signal) and getattr(self, later):
                message = f"{signal} is not shared, so {later}, which is computed from it, must be false too"
                yield Clash((later, signal), message)
                return


class FusedOutputUnit(Section):
    """The fused output checksum (Flash-ABFT): the sum of the outputs against one more, predicted column."""

    added: ClassVar[frozenset[str]] = frozenset({"columns"})

    kind: Literal["fused_output"] = Field(
        default="fused_output", description="Selects the fused output checksum."
    )
    shares: Shares = Field(default=Shares(), description="Signals taken from the datapath.")
    granularity: Literal["key_tile", "query_block", "head"] = Field(
        default="head",
        description="When residuals are compared: after every tile of keys, every block of queries, or once "
        "a head. `key_tile` needs `architecture.key_tile` to be at least `architecture.lanes`.",
    )
    columns: ChecksumColumns = Field(
        default=1,
        description="On an array machine: columns of PEs or of the stream, in the operand format, that carry the row "
        "sums of V. One holds them rounded; a second and a third the remainders, as low and lower parts.",
    )
    threshold: Threshold = Field(default=CalibratedThreshold(), description="What residual raises the alarm.")


class GemmUnit(Section):
    """Classic checksums of matrix products (Huang and Abraham, 1984) on the products of a `gemm` machine.

    Correcting an element needs both sides: a row and a column that disagree by as much cross at it.
    """

    kind: Literal["gemm"] = Field(default="gemm", description="Selects the checksums of matrix products.")
    products: Annotated[Many[Product], Field(min_length=1), AfterValidator(_in_order)] = Field(
        default=("qk", "pv"), description="Products that are checked: the scores `qk`, the outputs `pv`."
    )
    sides: Literal["rows", "columns", "both"] = Field(
        default="rows",
        description="Which sums of a product are compared: of each of its `rows` (a checksum column), of each of its "
        "`columns` (a checksum row), or `both`, which locates a single wrong element.",
    )
    correct: bool = Field(
        default=False, description="Whether a located element is corrected in the output buffer; needs `both` sides."
    )
    columns: ChecksumColumns = Field(
        default=1,
        description="Operands, in the operand format, that carry each checksum into the array. One holds it rounded; a "
        "second and a third the remainders, as low and lower parts.",
    )
    threshold: Threshold = Field(default=CalibratedThreshold(), description="What residual raises the alarm.")

    def clashes(self) -> Iterator[Clash]:
        if self.correct and self.sides != "both":
            yield Clash(("correct", "sides"), f"correcting needs sides: both (got {self.sides})")
        if self.correct and self.threshold.kind == "statistical":
            message = "correcting goes by single comparisons: it needs another threshold than a statistical one"
            yield Clash(("correct", "threshold.kind", "threshold"), message)


class ScoreRowsumUnit(Section):
    """The row sums of the scores: the sum over all keys of a query's scores, masked ones too, against q times the sum
    of the keys. One comparison a query.
    """

    kind: Literal["score_rowsum"] = Field(
        default="score_rowsum", description="Selects the row sums of the scores."
    )
    columns: ChecksumColumns = Field(
        default=1,
        description="On a gemm machine: operands, in the operand format, that carry the sum of the keys into the "
        "array. One holds it rounded; a second and a third the remainders, as low and lower parts.",
    )
    threshold: Threshold = Field(default=CalibratedThreshold(), description="What residual raises the alarm.")


SoftmaxInvariant: TypeAlias = Literal["sum", "max", "mask", "score"]


def _invariants_in_order(which: tuple[SoftmaxInvariant, ...]) -> tuple[SoftmaxInvariant, ...]:
    return tuple(name for name in get_args(SoftmaxInvariant) if name in which)


class SoftmaxInvariantsUnit(Section):
    """What is true inside every softmax, whatever Q and K are, watched while it runs. One comparison a query, of how
    far its worst violation goes.
    """

    kind: Literal["softmax_invariants"] = Field(
        default="softmax_invariants", description="Selects the invariants of the softmax."
    )
    which: Annotated[Many[SoftmaxInvariant], Field(min_length=1), AfterValidator(_invariants_in_order)] = Field(
        default=("sum", "max", "mask"),
        description="Invariants that are watched. `sum`: 1 <= l <= N. `max`: the running maximum m never falls. "
        "`mask`: the weight of a masked key is 0. `score`: |s| is at most the largest |q| times the largest |k| of the "
        "head, over the root of d.",
    )
    threshold: Threshold = Field(
        default=AbsoluteThreshold(value=0.0078125),
        description="How far a violation may go: rounding can cause a little of one.",
    )

    def clashes(self) -> Iterator[Clash]:
        if self.threshold.kind in ("relative", "bound"):
            message = (f"a violation is measured against nothing, so its threshold is absolute, calibrated or "
                       f"statistical (got {self.threshold.kind})")
            yield Clash(("threshold.kind",), message)


class OutputUnitSection(Section):
    """What all check units on the output buffer state: each has a `kind` of its own (docs/output-units.md)."""

    kind: str
    threshold: Threshold = Field(default=CalibratedThreshold(), description="What residual raises the alarm.")


Invariant: TypeAlias = Literal["range"]


class InvariantsUnit(OutputUnitSection):
    """What is true of every attention output, whatever Q, K and V are, checked on the finished rows."""

    kind: Literal["invariants"] = Field(default="invariants", description="Selects the invariants of the outputs.")
    which: Annotated[Many[Invariant], Field(min_length=1)] = Field(
        default=("range",),
        description="Invariants that are checked. `range`: an output is an average of values, so each element lies "
        "between the smallest and the largest value of its column.",
    )
    threshold: Threshold = Field(
        default=AbsoluteThreshold(value=0.0078125),
        description="How far outside an element may lie: rounding can put it there by a little.",
    )

    def clashes(self) -> Iterator[Clash]:
        if len(set(self.which)) < len(self.which):
            yield Clash(("which",), "each invariant is named once")


# Sections of other packages' units are allowed too, but unknown here: each is a subclass of OutputUnitSection.
Unit: TypeAlias = Annotated[
    FusedOutputUnit | GemmUnit | ScoreRowsumUnit | SoftmaxInvariantsUnit | InvariantsUnit | RegisterProtection,
    Kinds(FusedOutputUnit, GemmUnit, ScoreRowsumUnit, SoftmaxInvariantsUnit, InvariantsUnit, *PROTECTION_UNITS,
          group=CHECK_UNITS),
]


class Checker(Section):
    """The check units of the design."""

    units: Many[Unit] = Field(
        default=(),
        max_length=16,
        description="Check units; a bare name such as `fused_output` takes every default. An empty list "
        "leaves the design unprotected. At most one unit of each kind.",
    )

    def clashes(self) -> Iterator[Clash]:
        for kind, count in Counter(unit.kind for unit in self.units).items():
            if count > 1:
                second = [i for i, unit in enumerate(self.units) if unit.kind == kind][1]
                yield Clash((f"units.{second}",), f"at most one {kind} unit is allowed (got {count})")
