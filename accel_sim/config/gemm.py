"""The `architecture` section of the plain systolic array with a vector unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import Field

from accel_sim.config.arithmetic import Divide, ExactDivide, ExactExp, Exp, Formats
from accel_sim.config.sections import Clash, Section


class GemmArchitecture(Section):
    """One R x C systolic array for both products of attention, and a vector unit for softmax between them.

    The products run one after the other, their results go through SRAM. Impossible together: a piecewise linear
    unit beside fp64 in the values it reads or gives, and formats of the scores and of the state that differ: the
    array has one format for its sums.
    """

    kind: Literal["gemm"] = Field(
        default="gemm", description="Selects the systolic array with a vector unit for softmax."
    )
    rows: int = Field(default=32, ge=1, le=1024, description="Rows R of processing elements.")
    cols: int = Field(default=32, ge=1, le=1024, description="Columns C of processing elements.")
    dataflow: Literal["os", "ws", "is"] = Field(
        default="ws", description="What stays in the elements: sums (`os`), weights (`ws`) or inputs (`is`)."
    )
    head_dim: int = Field(
        default=64, ge=1, le=1024, description="Head dimension d: elements of a query or key."
    )
    vector_lanes: int = Field(
        default=32, ge=1, le=1024, description="Lanes W of the vector unit: queries that it works on side by side."
    )
    clock_mhz: float = Field(
        default=500.0, gt=0, le=100_000, description="Clock frequency, in MHz: cycles to time."
    )
    exp: Exp = Field(default=ExactExp(), description="The exponential unit.")
    divide: Divide = Field(default=ExactDivide(), description="The unit that normalises o by l.")
    formats: Formats = Field(default=Formats(), description="Number format of every role.")
    subnormals: Literal["keep", "flush"] = Field(
        default="keep",
        description="Subnormal numbers: `keep` them, or `flush` them to zero as operands and as results.",
    )
    max_keys: int = Field(
        default=4096, ge=1, le=1_048_576, description="Most keys of a head; sets the width of counters."
    )
    max_queries: int = Field(
        default=4096, ge=1, le=1_048_576, description="Most queries of a head; sets the width of counters."
    )

    def refuses(self, unit: Any) -> Iterator[Clash]:
        """What this machine cannot have of a check unit; keys of the unit begin with `unit.`."""
        if unit.kind != "fused_output":
            return
        if unit.granularity == "key_tile":
            message = "a gemm machine compares after a query_block or a head: outputs come with the second product"
            yield Clash(("unit.granularity",), message)
        if not all((unit.shares.score, unit.shares.max, unit.shares.exp, unit.shares.sum)):
            message = "a gemm machine's fused check watches the second product alone: it shares score, max, exp and sum"
            yield Clash(("unit.shares",), message)

    def clashes(self) -> Iterator[Clash]:
        formats = self.formats
        if formats.score != formats.state:
            message = (
                f"the array has one format for its sums, so score and state must be the same "
                f"(score is {formats.score}, state is {formats.state})"
            )
            yield Clash(("formats.score", "formats.state"), message)
        for unit, name, roles in (
            ("exp", self.exp.kind, ("score", "exp")),
            ("divide", self.divide.kind, ("state", "output")),
        ):
            wide = [role for role in roles if getattr(formats, role) == "fp64"]
            if name != "exact" and wide:
                message = f"{name} needs the formats of {' and '.join(roles)} up to fp32 ({wide[0]} is fp64)"
                yield Clash((f"{unit}.kind", unit, f"formats.{wide[0]}"), message)
