"""The arithmetic of a datapath: number formats by role, and the units that are more than one rounding.

What machines of several kinds have in common; `accel_sim.config.architecture` puts the kinds together.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.number_formats import FormatName, covers, mantissa_bits
from accel_sim.config.sections import Clash, Kinds, PowerOfTwo, Section

ROLES = ("operand", "score", "exp", "state", "output", "checker")
"""The roles of values, in the order in which they are computed from one another."""


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
        yield from floating_clashes(self)


def floating_clashes(formats: Any) -> Iterator[Clash]:
    """The rules between formats of roles, all of them floating."""
    wide = next((role for role in ROLES if getattr(formats, role) == "fp64"), None)
    if wide is not None:
        for role in ROLES[ROLES.index(wide) + 1 :]:
            name = getattr(formats, role)
            if name != "fp64":
                message = (
                    f"{wide} is fp64, so {role} must be fp64 too (got {name}): fp64 cannot round down"
                )
                yield Clash((role, wide), message)
                return
    for role in ("state", "operand"):
        name = getattr(formats, role)
        if not covers(formats.checker, name):
            message = (
                f"checker must have at least the precision and exponent range of {role} "
                f"(checker is {formats.checker}, {role} is {name})"
            )
            yield Clash(("checker", role), message)
            break
    if mantissa_bits(formats.output) > mantissa_bits(formats.state):
        message = (
            f"output must be no more precise than state (output is {formats.output}, state is {formats.state})"
        )
        yield Clash(("output", "state"), message)


