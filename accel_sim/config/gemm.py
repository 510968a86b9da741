"""The `architecture` section of the plain systolic array with a vector unit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.arithmetic import Divide, ExactDivide, ExactExp, Exp, floating_clashes
from accel_sim.config.number_formats import FormatName
from accel_sim.config.sections import Clash, Section

SumName: TypeAlias = FormatName | Literal["int32"]


def _state_format(fields: dict[str, Any]) -> SumName:
    name: SumName = fields.get("state", "fp32")
    return name


class GemmFormats(Section):
    """Number format of every role. Each operation computes exactly and rounds once into its role's format.

    Floating formats go together as on a lanes machine. With `workload.kind: gemm` operands may be int8; score, state,
    output and checker are int32 then, and wrap around.
    """

    operand: FormatName | Literal["int8"] = Field(
        default="bf16", description="Format of the elements of Q, K and V, or of A and B."
    )
    score: SumName = Field(default="fp32", description="Format of products and of their sums.")
    exp: FormatName = Field(default="fp32", description="Format of the exponentials e^(s-m).")
    state: SumName = Field(default="fp32", description="Format of the sums, too; of maximum m and sum l.")
    output: SumName = Field(
        default_factory=_state_format,
        description="Format of the normalised output o / l. Same as `state` when omitted.",
    )
    checker: SumName = Field(default="fp32", description="Format of the checksums, predictions and residuals.")

    @property
    def integers(self) -> bool:
        """Whether operands and sums are integers."""
        return self.operand == "int8"

    def clashes(self) -> Iterator[Clash]:
        sums = ("score", "state", "output", "checker")
        whole = {role: getattr(self, role) == "int32" for role in sums}
        if not self.integers and not any(whole.values()):
            yield from floating_clashes(self)
        elif not (self.integers and all(whole.values())):
            odd = next((role for role in sums if not whole[role]), "operand") if self.integers else "operand"
            message = (f"int8 operands go with int32 for {', '.join(sums)}, and with nothing else "
                       f"({odd} is {getattr(self, odd)})")
            yield Clash((odd, "operand", *sums), message)


class GemmArchitecture(Section):
    """One R x C systolic array for both products of attention, and a vector unit for softmax between them.

    The products run one after the other, their results go through SRAM. With `workload.kind: gemm` it is the array
    alone, and forms plain products. Impossible together: a piecewise linear
    unit beside fp64 in the values it reads or gives, and formats of the scores and of the state that differ: the
    array has one format for its sums.
    """

    added: ClassVar[frozenset[str]] = frozenset({"sliding_window"})

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
    formats: GemmFormats = Field(default=GemmFormats(), description="Number format of every role.")
    subnormals: Literal["keep", "flush"] = Field(
        default="keep",
        description="Subnormal numbers: `keep` them, or `flush` them to zero as operands and as results.",
    )
    sliding_window: bool = Field(
        default=False,
        description="Whether the mask has a lower end too: a register with the first key of each vector lane's query. "
        "`workload.mask.window` needs it.",
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
        if formats.integers and self.subnormals == "flush":
            yield Clash(("subnormals", "formats.operand"), "integers have no subnormals to flush (operand is int8)")
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
