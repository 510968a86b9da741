"""The `architecture` section: the accelerator's datapath and its numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.number_formats import FormatName, covers, mantissa_bits
from accel_sim.config.sections import Clash, Kinds, PowerOfTwo, Section

ROLES = ("operand", "score", "exp", "state", "output", "checker")
"""The roles of values, in the order in which they are computed from one another."""

MAX_MULTIPLIERS = 262_144


class ExactExp(Section):
    """Exponential without approximation: correctly rounded to the exp format (faithful for fp64)."""

    kind: Literal["exact"] = Field(default="exact", description="Selects the exact exponential.")


class PwlExp(Section):
    """Base-2 exponential, piecewise linear, in integer arithmetic with tabulated coefficients."""

    kind: Literal["pwl"] = Field(default="pwl", description="Selects the piecewise linear exponential.")
    pieces: Annotated[int, PowerOfTwo(2, 64)] = Field(
        default=8, description="Number of linear pieces of 2^u over 0 <= u < 1: more pieces, less error."
    )


class ExactDivide(Section):
    """Division without approximation: correctly rounded to the result's format."""

    kind: Literal["exact"] = Field(default="exact", description="Selects exact division.")


class ReciprocalPwlDivide(Section):
    """Division as a piecewise linear reciprocal followed by one multiplication for each element."""

    kind: Literal["reciprocal_pwl"] = Field(
        default="reciprocal_pwl", description="Selects multiplication by a piecewise linear reciprocal."
    )
    pieces: Annotated[int, PowerOfTwo(2, 64)] = Field(
        default=16, description="Number of linear pieces of 1/x over 1 <= x < 2: more pieces, less error."
    )


Exp: TypeAlias = Annotated[ExactExp | PwlExp, Kinds(ExactExp, PwlExp)]
Divide: TypeAlias = Annotated[ExactDivide | ReciprocalPwlDivide, Kinds(ExactDivide, ReciprocalPwlDivide)]


def _state_format(fields: dict[str, Any]) -> FormatName:
    name: FormatName = fields.get("state", "fp32")
    return name


class Formats(Section):
    """Number format of every role. Each operation computes exactly and rounds once into its role's format.

    Two rules keep that single rounding true: once a role is fp64, every role computed from it is fp64 as
    well, and the output is no more precise than the state. The checker must be able to hold what it watches:
    at least the precision and the exponent range of the state and of the operands.
    """

    operand: FormatName = Field(default="bf16", description="Format of the elements of Q, K and V.")
    score: FormatName = Field(
        default="fp32", description="Format of products, adder tree and scores s = q.k."
    )
    exp: FormatName = Field(
        default="fp32", description="Format of the exponentials p = exp(s-m') and a = exp(m-m')."
    )
    state: FormatName = Field(
        default="fp32", description="Format of the state: maximum m, sum l, accumulators o."
    )
    output: FormatName = Field(
        default_factory=_state_format,
        description="Format of the normalised output o / l. Same as `state` when omitted.",
    )
    checker: FormatName = Field(
        default="fp32", description="Format of the checksums, predictions and residuals."
    )

    def clashes(self) -> Iterator[Clash]:
        wide = next((role for role in ROLES if getattr(self, role) == "fp64"), None)
        if wide is not None:
            for role in ROLES[ROLES.index(wide) + 1 :]:
                name = getattr(self, role)
                if name != "fp64":
                    message = (
                        f"{wide} is fp64, so {role} must be fp64 too (got {name}): fp64 cannot round down"
                    )
                    yield Clash((role, wide), message)
                    return
        for role in ("state", "operand"):
            name = getattr(self, role)
            if not covers(self.checker, name):
                message = (
                    f"checker must have at least the precision and exponent range of {role} "
                    f"(checker is {self.checker}, {role} is {name})"
                )
                yield Clash(("checker", role), message)
                break
        if mantissa_bits(self.output) > mantissa_bits(self.state):
            message = (
                f"output must be no more precise than state (output is {self.output}, state is {self.state})"
            )
            yield Clash(("output", "state"), message)


class LanesArchitecture(Section):
    """FlashAttention-2 in parallel query lanes: each holds its q; one key and value a cycle reach all lanes.

    Impossible together: a piecewise linear unit beside fp64 in the values it reads or gives, a fused dot
    product of fp64 operands, and more than 262144 multipliers (`head_dim` x `lanes`) for the scores.
    """

    kind: Literal["lanes"] = Field(
        default="lanes", description="Selects the machine of parallel query lanes."
    )
    lanes: int = Field(
        default=16, ge=1, le=1024, description="Query lanes P: queries processed side by side."
    )
    head_dim: int = Field(
        default=64, ge=1, le=1024, description="Head dimension d: elements of a query or key."
    )
    clock_mhz: float = Field(
        default=500.0, gt=0, le=100_000, description="Clock frequency, in MHz: cycles to time."
    )
    dot: Literal["tree", "serial", "fused"] = Field(
        default="tree",
        description="How q.k adds up: `tree` (each add of a balanced tree rounds), `serial` (a chain, each "
        "add rounds) or `fused` (one rounding at the end).",
    )
    exp: Exp = Field(default=ExactExp(), description="The exponential unit.")
    divide: Divide = Field(default=ExactDivide(), description="The unit that normalises o by l.")
    formats: Formats = Field(default=Formats(), description="Number format of every role.")
    subnormals: Literal["keep", "flush"] = Field(
        default="keep",
        description="Subnormal numbers: `keep` them, or `flush` them to zero as operands and as results.",
    )
    key_tile: Annotated[int, PowerOfTwo(1, 65_536)] = Field(
        default=64,
        description="Keys that one K/V SRAM bank holds; the banks are filled and streamed tile by tile.",
    )
    max_keys: int = Field(
        default=4096,
        ge=1,
        le=1_048_576,
        description="Most keys of a head; sets the width of the key counters.",
    )
    max_queries: int = Field(
        default=4096,
        ge=1,
        le=1_048_576,
        description="Most queries of a head; sets the width of their counters.",
    )

    def clashes(self) -> Iterator[Clash]:
        formats = self.formats
        for unit, name, roles in (
            ("exp", self.exp.kind, ("score", "exp")),
            ("divide", self.divide.kind, ("state", "output")),
        ):
            wide = [role for role in roles if getattr(formats, role) == "fp64"]
            if name != "exact" and wide:
                message = f"{name} needs the formats of {' and '.join(roles)} up to fp32 ({wide[0]} is fp64)"
                yield Clash((f"{unit}.kind", unit, f"formats.{wide[0]}"), message)
        if self.dot == "fused" and formats.operand == "fp64":
            yield Clash(("dot", "formats.operand"), "fused needs operands up to fp32 (operand is fp64)")
        multipliers = self.head_dim * self.lanes
        if multipliers > MAX_MULTIPLIERS:
            message = (
                f"head_dim x lanes must be at most {MAX_MULTIPLIERS} (got {self.head_dim} x {self.lanes})"
            )
            yield Clash(("head_dim", "lanes"), message)

    def refuses(self, unit: Any) -> Iterator[Clash]:
        """What this machine cannot have of a check unit; keys of the unit begin with `unit.`, others at the root."""
        if unit.kind == "gemm":
            yield Clash(("unit.kind",), "a lanes machine has no products of matrices to check: use fused_output")
        if unit.kind != "fused_output":
            return
        if unit.granularity == "key_tile" and self.key_tile < self.lanes:
            message = (
                f"granularity key_tile needs architecture.key_tile >= architecture.lanes "
                f"(got {self.key_tile} < {self.lanes})"
            )
            yield Clash(("unit.granularity", "architecture.key_tile", "architecture.lanes"), message)
        if unit.columns > 1:
            yield Clash(("unit.columns",), "a lanes machine keeps row sums in the checker format: columns must be 1")


Architecture: TypeAlias = Annotated[LanesArchitecture, Kinds(LanesArchitecture)]
