"""The `lanes` architecture: FlashAttention-2 in parallel query lanes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from accel_sim.config.arithmetic import Divide, ExactDivide, ExactExp, Exp, Formats
from accel_sim.config.sections import Clash, PowerOfTwo, Section

MAX_MULTIPLIERS = 262_144


class LanesArchitecture(Section):
    """FlashAttention-2 in parallel query lanes: each holds its q; one key and value a cycle reach all lanes.

    Impossible together: a piecewise linear unit beside fp64 in the values it reads or gives, a fused dot
    product of fp64 operands, and more than 262144 multipliers (`head_dim` x `lanes`) for the scores.
    """

    added: ClassVar[frozenset[str]] = frozenset({"sliding_window"})

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
    sliding_window: bool = Field(
        default=False,
        description="Whether the mask has a lower end too: a register with the first key of each lane's query. "
        "`workload.mask.window` needs it.",
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
        if unit.kind == "score_rowsum" and unit.columns > 1:
            message = "a lanes machine keeps the sum of the keys in the checker format: columns must be 1"
            yield Clash(("unit.columns",), message)
        if unit.kind != "fused_output":
            return
        if unit.threshold.kind == "statistical" and unit.granularity == "key_tile":
            message = "a statistical threshold counts comparisons of one kind: not with granularity key_tile"
            yield Clash(("unit.threshold.kind", "unit.granularity"), message)
        if unit.granularity == "key_tile" and self.key_tile < self.lanes:
            message = (
                f"granularity key_tile needs architecture.key_tile >= architecture.lanes "
                f"(got {self.key_tile} < {self.lanes})"
            )
            yield Clash(("unit.granularity", "architecture.key_tile", "architecture.lanes"), message)
        if unit.columns > 1:
            yield Clash(("unit.columns",), "a lanes machine keeps row sums in the checker format: columns must be 1")
