"""The number formats that a configuration can name, as far as their compatibility goes.

`accel_sim.numerics.formats` has the formats themselves; this table spares every config the import of Numba.
"""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

FormatName: TypeAlias = Literal["fp64", "fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"]
FORMAT_NAMES: tuple[str, ...] = get_args(FormatName)

_BITS = {  # exponent, mantissa
    "fp64": (11, 52),
    "fp32": (8, 23),
    "fp16": (5, 10),
    "bf16": (8, 7),
    "fp8_e4m3": (4, 3),
    "fp8_e5m2": (5, 2),
}


def exponent_bits(name: str) -> int:
    """Width of the exponent field, in bits."""
    return _BITS[name][0]


def mantissa_bits(name: str) -> int:
    """Width of the mantissa field, in bits, without the hidden one."""
    return _BITS[name][1]


def covers(wide: str, narrow: str) -> bool:
    """Whether `wide` has at least the precision and the exponent range of `narrow`. Of integer formats, none covers
    another."""
    if wide not in _BITS or narrow not in _BITS:
        return wide == narrow
    return exponent_bits(wide) >= exponent_bits(narrow) and mantissa_bits(wide) >= mantissa_bits(narrow)
