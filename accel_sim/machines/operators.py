"""Operators and activity: what a machine computes with, and how often in one fault-free head.

The inventory says which flip-flops a machine has. This is the other half of its cost: the arithmetic units
between them, and how often each unit and each register is used. Formats are those in which the hardware would
be built (see `Machine.stored_formats`).

- `Operator`: a group of identical units.
- `Activity`: the operators, register writes and SRAM accesses of one head, without memory stalls.
- `product_of`, `sum_of`, `widest`: how formats of operations are written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from accel_sim.numerics.formats import Format

UNITS: dict[str, str] = {
    "fp_mul": "floating multiplier; format a*b->r, both operands and the result",
    "fp_add": "floating adder or subtractor; format r, or a+b->r when both operands are narrower",
    "fused_sum": "one more term of a multi-operand adder with one rounding; format of the factors of its terms",
    "fp_max": "larger of two floating numbers, NaN if either is",
    "fp_cmp": "comparison of magnitudes, NaN and infinities raise it",
    "exp": "exponential, correctly rounded",
    "exp_pwl": "exponential, base two and straight lines with 24 fraction bits",
    "div": "floating divider, correctly rounded",
    "reciprocal_pwl": "reciprocal by straight lines with 24 fraction bits",
    "int_add": "integer adder, subtractor or counter; format uintN or intN",
    "int_mul": "integer multiplier; format intN*intN, of its operands",
    "int_cmp": "integer comparison; format uintN or intN",
    "mux": "two-to-one selection of one word; format of the word",
    "xor": "exclusive or of two bits; format uint1",
    "gate": "and, or, of two bits; format uint1",
    "vote": "majority of three bits; format uint1",
}
"""Kinds of unit, and how their formats are written. Where nothing else is said, the format is the widest of
operands and result."""


@dataclass(frozen=True)
class Operator:
    """A group of identical arithmetic units.

    name: unique in its machine. unit: one of `UNITS`. format: see there. component: as in the inventory.
    instances: how many of them the hardware has. uses: operations that they perform in one fault-free head.
    """

    name: str
    unit: str
    format: str
    component: str
    instances: int
    uses: int

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise ValueError(f"operator {self.name}: unit {self.unit!r} is not one of {', '.join(UNITS)}")
        if self.instances < 0 or self.uses < 0:
            raise ValueError(f"operator {self.name}: {self.instances} instances, {self.uses} uses")


@dataclass(frozen=True)
class Activity:
    """What a machine does in one fault-free head.

    cycles: clock cycles in which it is not held by the memory. operators: groups without a unit are left
    out. register_writes: elements of each register array that are clocked (times `Register.width_bits` gives
    bits). sram_elements: elements that the machine reads from its Q, K and V memories and writes to its O
    memory, by tensor. sram_formats: the format in which each is stored.
    """

    cycles: int
    operators: tuple[Operator, ...]
    register_writes: Mapping[str, int]
    sram_elements: Mapping[str, int]
    sram_formats: Mapping[str, Format]

    def __post_init__(self) -> None:
        names = [operator.name for operator in self.operators]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"operators named twice: {', '.join(sorted(twice))}")

    def operator(self, name: str) -> Operator:
        """The operator group called `name`; KeyError if the machine has none."""
        for operator in self.operators:
            if operator.name == name:
                return operator
        raise KeyError(name)


def widest(*formats: Format) -> Format:
    """The widest of some formats; of two as wide, the one with more precision."""
    return max(formats, key=lambda fmt: (fmt.width_bits, fmt.precision))


def product_of(a: Format, b: Format, result: Format) -> str:
    """A multiplication's format, the operand with fewer significant bits first: `bf16*fp32->fp32`."""
    narrow, wide = sorted((a, b), key=lambda fmt: (fmt.precision, fmt.width_bits, fmt.name))
    return f"{narrow.name}*{wide.name}->{result.name}"


def sum_of(a: Format, b: Format, result: Format) -> str:
    """An addition's format: `fp32`, or `bf16+bf16->fp32` when both operands are narrower than the result."""
    narrow, wide = sorted((a, b), key=lambda fmt: (fmt.precision, fmt.width_bits, fmt.name))
    if wide.precision < result.precision:
        return f"{narrow.name}+{wide.name}->{result.name}"
    return widest(a, b, result).name
