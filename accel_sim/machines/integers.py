"""Signed integer registers, in two's complement: int8 operands and int32 sums of an array.

`SignedFormat` is a `Format` of `mantissa_bits` bits whose patterns read as signed integers; `INTEGERS` has the two
that arrays use. Products and sums are exact modulo 2^32: an int32 sum that leaves its range wraps around, as the
adder of a machine without saturation does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import FORMATS, Codec, Format, Rounding, Subnormals


@dataclass(frozen=True)
class SignedFormat(Format):
    """A two's complement integer of `mantissa_bits` bits (2 to 53), sign included. Build with `signed_format`."""

    @property
    def lowest(self) -> int:
        """Smallest value."""
        return -(1 << (self.mantissa_bits - 1))

    @property
    def highest(self) -> int:
        """Largest value."""
        return (1 << (self.mantissa_bits - 1)) - 1

    @property
    def max_finite(self) -> float:
        """Largest value."""
        return float(self.highest)

    @property
    def precision(self) -> int:
        """Bits of a magnitude."""
        return self.mantissa_bits - 1

    @property
    def codec(self) -> Codec:
        """The bit layout, for the kernels."""
        return Codec(0, self.mantissa_bits, 0, 3)

    def rounding(self, subnormals: Subnormals = "keep") -> Rounding:
        """The rule that brings a whole binary64 value into this format: it wraps around. There are no subnormals."""
        return Rounding(3, float(1 << self.mantissa_bits), 0.0, self.max_finite, 0.0, 0.0)

    def encode(self, values: NDArray[Any]) -> NDArray[np.uint64]:
        """Bit patterns of integer `values` (any dtype), same shape; bits beyond the width are cut off."""
        mask = np.int64((1 << self.mantissa_bits) - 1)
        return (np.asarray(values).astype(np.int64) & mask).astype(np.uint64)

    def decode(self, bits: NDArray[Any]) -> NDArray[np.float64]:
        """Values of the bit patterns `bits` (low bits used), same shape."""
        spare = np.int64(64 - self.mantissa_bits)
        return ((np.asarray(bits).astype(np.uint64).view(np.int64) << spare) >> spare).astype(np.float64)


def signed_format(width_bits: int) -> SignedFormat:
    """The two's complement format of `width_bits` bits (2 to 53)."""
    return SignedFormat(f"int{width_bits}", 0, width_bits, "uint")


INTEGERS: dict[str, SignedFormat] = {fmt.name: fmt for fmt in (signed_format(8), signed_format(32))}
"""The integer formats of arrays, by name."""


def format_named(name: str) -> Format:
    """A floating or an integer format. KeyError if there is none of that name."""
    return INTEGERS[name] if name in INTEGERS else FORMATS[name]
