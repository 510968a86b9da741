"""The number formats: what a register of each format can hold.

`Format` is the description (name, field widths, kind); `FORMATS` the six floating formats of the machines;
`uint_format` a control register; `product_format` the register that holds exact products.
`Rounding` and `Codec` are the same facts as plain scalars, in one Numba type for all formats, so that a kernel
compiles once and serves every format.

Sources: IEEE 754-2019 (binary16, binary32, binary64); bfloat16 is binary32 with 7 fraction bits;
OCP 8-bit Floating Point Specification (OFP8) revision 1.0 (E4M3, E5M2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

Kind = Literal["ieee", "fn", "uint"]
Subnormals = Literal["keep", "flush"]

_DOUBLE_MANTISSA_BITS = 52


class Rounding(NamedTuple):
    """One rounding rule, as scalars that a kernel takes by value.

    kind: 0 binary64 (nothing to round), 1 binary32 (the CPU's own conversion), 2 anything narrower than binary64,
    3 a signed integer that wraps around (magic: 2^width, the others unused).
    magic: 1.5 * 2^(52 - mantissa_bits); times 2^exponent it is the constant whose addition rounds to the format.
    min_normal: smallest normal magnitude; below it the quantum stays the one of min_normal.
    max_finite: largest finite magnitude.
    overflow: what a finite value beyond max_finite becomes: inf, or NaN in a format with no infinity.
    flush_below: a magnitude below it becomes a zero of the same sign; 0.0 keeps subnormals.
    """

    kind: int
    magic: float
    min_normal: float
    max_finite: float
    overflow: float
    flush_below: float


class Codec(NamedTuple):
    """One bit layout, as scalars that a kernel takes by value. kind: 0 ieee, 1 fn, 2 uint, 3 two's complement (of
    mantissa_bits bits, sign included)."""

    exponent_bits: int
    mantissa_bits: int
    bias: int
    kind: int


@dataclass(frozen=True)
class Format:
    """A number format: sign, `exponent_bits`, `mantissa_bits` (stored fraction bits), and how its top codes read.

    kind "ieee": the exponent field of all ones is infinity or NaN. kind "fn" (OCP E4M3): no infinity, NaN only where
    exponent and mantissa are all ones. kind "uint": an unsigned integer of `mantissa_bits` bits (a control register);
    the properties of a floating format raise ValueError for it.

    Values, and the constants that round to them, must lie well inside binary64: at most 52 mantissa and 10 exponent
    bits, or fp64 itself. ValueError otherwise.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    kind: Kind = "ieee"

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"format {self.name}: kind {self.kind!r} is not one of {', '.join(get_args(Kind))}")
        if self.kind == "uint":
            if self.exponent_bits != 0 or not 1 <= self.mantissa_bits <= 53:
                raise ValueError(f"format {self.name}: an unsigned register has 1 to 53 bits and no exponent")
        elif (self.exponent_bits, self.mantissa_bits) != (11, _DOUBLE_MANTISSA_BITS) and not (
            2 <= self.exponent_bits <= 10 and 1 <= self.mantissa_bits <= _DOUBLE_MANTISSA_BITS
        ):
            raise ValueError(f"format {self.name}: needs 2..10 exponent bits and 1..52 mantissa bits, or fp64's 11, 52")

    @property
    def width_bits(self) -> int:
        """Bits of a register of this format."""
        return self.mantissa_bits if self.kind == "uint" else 1 + self.exponent_bits + self.mantissa_bits

    @property
    def precision(self) -> int:
        """Significant bits of a normal value, the hidden one included."""
        self._floating()
        return self.mantissa_bits + 1

    @property
    def bias(self) -> int:
        """Exponent field minus exponent, for normal values."""
        self._floating()
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def emin(self) -> int:
        """Exponent of the smallest normal value, 2^emin."""
        return 1 - self.bias

    @property
    def emax(self) -> int:
        """Exponent of the largest finite value."""
        top_field = (1 << self.exponent_bits) - (1 if self.kind == "fn" else 2)
        return top_field - self.bias

    @property
    def max_finite(self) -> float:
        """Largest finite value."""
        missing = 2 if self.kind == "fn" else 1  # "fn" gives its last code to NaN
        return math.ldexp((1 << self.precision) - missing, self.emax - self.mantissa_bits)

    @property
    def min_normal(self) -> float:
        """Smallest positive normal value."""
        return math.ldexp(1.0, self.emin)

    @property
    def min_subnormal(self) -> float:
        """Smallest positive value."""
        return math.ldexp(1.0, self.emin - self.mantissa_bits)

    @property
    def has_inf(self) -> bool:
        """Whether the format has infinities."""
        return self.kind == "ieee"

    def rounding(self, subnormals: Subnormals = "keep") -> Rounding:
        """The rule that rounds a binary64 value into this format.

        subnormals: "keep" (gradual underflow) or "flush" (subnormal results and operands become zeros).
        Raises ValueError for a control register or another word.
        """
        self._floating()
        if subnormals not in get_args(Subnormals):
            raise ValueError(f"subnormals {subnormals!r} is not one of {', '.join(get_args(Subnormals))}")
        shape = (self.kind, self.exponent_bits, self.mantissa_bits)
        kind = {("ieee", 11, 52): 0, ("ieee", 8, 23): 1}.get(shape, 2)
        return Rounding(
            kind=kind,
            magic=math.ldexp(1.5, _DOUBLE_MANTISSA_BITS - self.mantissa_bits),
            min_normal=self.min_normal,
            max_finite=self.max_finite,
            overflow=math.inf if self.has_inf else math.nan,
            flush_below=self.min_normal if subnormals == "flush" else 0.0,
        )

    @property
    def codec(self) -> Codec:
        """The bit layout, for the kernels."""
        kinds: dict[Kind, int] = {"ieee": 0, "fn": 1, "uint": 2}
        bias = 0 if self.kind == "uint" else self.bias
        return Codec(self.exponent_bits, self.mantissa_bits, bias, kinds[self.kind])

    def encode(self, values: NDArray[np.float64]) -> NDArray[np.uint64]:
        """Bit patterns of `values`, same shape. Values must belong to the format (round first). NaN payloads stay."""
        from accel_sim.numerics.rounding import encode_array

        source = np.ascontiguousarray(values, dtype=np.float64)
        bits = np.empty(source.size, dtype=np.uint64)
        encode_array(bits, source.reshape(-1), self.codec)
        return bits.reshape(np.shape(values))

    def decode(self, bits: NDArray[Any]) -> NDArray[np.float64]:
        """Values of the bit patterns `bits` (any integer dtype, low `width_bits` bits used), same shape."""
        from accel_sim.numerics.rounding import decode_array

        source = np.ascontiguousarray(bits).astype(np.uint64)
        values = np.empty(source.size, dtype=np.float64)
        decode_array(values, source.reshape(-1), self.codec)
        return values.reshape(np.shape(bits))

    def _floating(self) -> None:
        if self.kind == "uint":
            raise ValueError(f"format {self.name} is a control register, not a floating format")


FORMATS: dict[str, Format] = {
    fmt.name: fmt
    for fmt in (
        Format("fp64", 11, 52),
        Format("fp32", 8, 23),
        Format("fp16", 5, 10),
        Format("bf16", 8, 7),
        Format("fp8_e4m3", 4, 3, "fn"),
        Format("fp8_e5m2", 5, 2),
    )
}
"""The floating formats of the machines, by name."""


def uint_format(width_bits: int) -> Format:
    """A control register of `width_bits` bits (1 to 53): counters, bounds, selects, enables."""
    return Format(f"uint{width_bits}", 0, width_bits, "uint")


def product_format(fmt: Format) -> Format:
    """The narrowest ieee format that holds the exact product of any two finite values of `fmt`.

    Twice the precision, and as few exponent bits as reach from the square of the smallest subnormal to the square of
    the largest finite value. Raises ValueError for fp64 (its products need more than binary64) and control registers.
    """
    mantissa_bits = 2 * fmt.precision - 1
    if mantissa_bits > _DOUBLE_MANTISSA_BITS:
        raise ValueError(f"format {fmt.name}: exact products need {mantissa_bits + 1} bits, more than fp64 has")
    lowest = 2 * (fmt.emin - fmt.mantissa_bits)
    for exponent_bits in range(2, 11):
        wide = Format(f"{fmt.name}_product", exponent_bits, mantissa_bits)
        if wide.max_finite >= fmt.max_finite**2 and wide.emin - mantissa_bits <= lowest:
            return wide
    raise ValueError(f"format {fmt.name}: no format within fp64 holds its exact products")
