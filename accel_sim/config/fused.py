"""The `fused` architecture: one N × N systolic array that runs all of FlashAttention (arXiv 2507.11331)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, TypeAlias

from pydantic import Field

from accel_sim.config.number_formats import FormatName, covers, exponent_bits
from accel_sim.config.sections import Clash, PowerOfTwo, Section

OperandName: TypeAlias = Literal["fp32", "fp16", "bf16", "fp8_e5m2"]
SumName: TypeAlias = Literal["fp32", "fp16", "bf16"]


class FusedFormats(Section):
    """Number formats of the array. Each operation computes exactly and rounds once.

    Scores are put back into the array as operands, and so are the probabilities: `operand` is their format too.
    It must have an infinity, for a masked key's score is minus infinity.
    """

    operand: OperandName = Field(
        default="bf16", description="Format of the elements of Q, K and V, and of scores and weights put back."
    )
    sum: SumName = Field(
        default="fp32", description="Format of sums: scores, maximum, row sums, accumulators, outputs."
    )
    checker: FormatName = Field(
        default="fp32", description="Format of the checksums, predictions and residuals."
    )

    @property
    def score(self) -> SumName:
        """Scores add up in the format of sums."""
        return self.sum

    @property
    def exp(self) -> OperandName:
        """Weights are operands of the second product."""
        return self.operand

    @property
    def state(self) -> SumName:
        """Maximum, row sums and accumulators are sums."""
        return self.sum

    @property
    def output(self) -> SumName:
        """Outputs leave as the accumulators hold them."""
        return self.sum

    def clashes(self) -> Iterator[Clash]:
        if not covers(self.sum, self.operand):
            message = (
                f"sum must have at least the precision and exponent range of operand (sum is {self.sum}, "
                f"operand is {self.operand})"
            )
            yield Clash(("sum", "operand"), message)
        elif not covers(self.checker, self.sum):
            message = (
                f"checker must have at least the precision and exponent range of sum (checker is {self.checker}, "
                f"sum is {self.sum})"
            )
            yield Clash(("checker", "sum"), message)


class FusedArchitecture(Section):
    """One systolic array that runs scores, softmax and output of FlashAttention in place (the FSA machine).

    The array has `head_dim` rows and as many columns; a tile has `head_dim` queries or keys.
    """

    added: ClassVar[frozenset[str]] = frozenset({"sliding_window"})

    kind: Literal["fused"] = Field(
        default="fused", description="Selects the systolic array that runs FlashAttention inside."
    )
    head_dim: int = Field(
        default=64, ge=4, le=128, description="Head dimension d, and rows and columns N of the array."
    )
    clock_mhz: float = Field(
        default=1500.0, gt=0, le=100_000, description="Clock frequency, in MHz: cycles to time."
    )
    exp_pieces: Annotated[int, PowerOfTwo(2, 64)] = Field(
        default=8, description="Linear pieces of 2^x over -1 < x <= 0; each takes a cycle of every tile."
    )
    reciprocal_cycles: int = Field(
        default=14, ge=1, le=256, description="Cycles of the accumulator's divider, which forms 1/l once a query tile."
    )
    formats: FusedFormats = Field(default=FusedFormats(), description="Number format of every role.")
    subnormals: Literal["keep", "flush"] = Field(
        default="keep",
        description="Subnormal numbers: `keep` them, or `flush` them to zero as operands and as results.",
    )
    sliding_window: bool = Field(
        default=False,
        description="Whether the mask has a lower end too: a register with the first key of each column's query. "
        "`workload.mask.window` needs it.",
    )
    max_keys: int = Field(
        default=4096, ge=1, le=1_048_576, description="Most keys of a head; sets the width of the key counters."
    )
    max_queries: int = Field(
        default=4096, ge=1, le=1_048_576, description="Most queries of a head; sets the width of their counters."
    )

    def clashes(self) -> Iterator[Clash]:
        room = exponent_bits(self.formats.sum) - 1
        if self.exp_pieces > 1 << room:
            message = (
                f"exp_pieces must fit the exponent field of sum: at most {1 << room} for {self.formats.sum} "
                f"(got {self.exp_pieces})"
            )
            yield Clash(("exp_pieces", "formats.sum"), message)

    def refuses(self, unit: Any) -> Iterator[Clash]:
        """What this machine cannot have of a check unit; keys of the unit begin with `unit.`."""
        if unit.kind == "gemm":
            yield Clash(("unit.kind",), "a fused machine has no products of their own to check: use fused_output")
        if unit.kind == "score_rowsum" and unit.columns > 1:
            message = "a fused machine keeps the sum of the keys in the checker format: columns must be 1"
            yield Clash(("unit.columns",), message)
        if unit.kind == "softmax_invariants" and "mask" in unit.which:
            message = "weights never leave the PEs of a fused machine, so which may be sum, max and score, not mask"
            yield Clash(("unit.which",), message)
        if unit.kind != "fused_output":
            return
        if unit.granularity == "key_tile":
            message = "a fused machine compares after a query_block or a head: accumulators are not divided before"
            yield Clash(("unit.granularity",), message)
        if not all((unit.shares.score, unit.shares.max, unit.shares.exp, unit.shares.sum)):
            message = "a fused machine's checksum is a column of the same stream: it shares score, max, exp and sum"
            yield Clash(("unit.shares",), message)
