"""Numbers: formats, one rounding per operation, dot products, exponential and reciprocal units.

The contract: every operation computes exactly and rounds once, to nearest even, into its result format; the same bits
on any CPU. Values are binary64 numbers that the register's format can hold.

`formats` describes, `rounding` rounds and strikes bits, `arithmetic` has the operators and vector loops, `dot` the
three dot products, `exp` and `reciprocal` the table units. The names below are the ones to use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from accel_sim.numerics.arithmetic import (
        add,
        add_vv,
        div,
        div_vs,
        maximum,
        mul,
        mul_vs,
        mul_vv,
        scale_add,
        sub,
        tree_level,
        tree_sum,
    )
    from accel_sim.numerics.dot import dot_fused, dot_serial, dot_tree, fused_digits, fused_sum
    from accel_sim.numerics.exp import exp_exact, exp_pwl, exp_pwl_table
    from accel_sim.numerics.formats import FORMATS, Codec, Format, Rounding, product_format, uint_format
    from accel_sim.numerics.jit import kernel
    from accel_sim.numerics.reciprocal import reciprocal_pwl, reciprocal_table
    from accel_sim.numerics.rounding import (
        decode_value,
        encode_value,
        flip_bits,
        force_bits,
        quiet,
        quiet_below,
        round_to,
    )

# Name -> module. Loaded at first use: a configuration needs `FORMATS`, not Numba.
_HOME = {
    name: module
    for module, names in {
        "formats": "FORMATS Codec Format Rounding product_format uint_format",
        "jit": "kernel",
        "rounding": "decode_value encode_value flip_bits force_bits quiet quiet_below round_to",
        "arithmetic": "add add_vv div div_vs maximum mul mul_vs mul_vv scale_add sub tree_level tree_sum",
        "dot": "dot_fused dot_serial dot_tree fused_digits fused_sum",
        "exp": "exp_exact exp_pwl exp_pwl_table",
        "reciprocal": "reciprocal_pwl reciprocal_table",
    }.items()
    for name in names.split()
}

__all__ = [
    "FORMATS", "Codec", "Format", "Rounding", "add", "add_vv", "decode_value", "div", "div_vs", "dot_fused",
    "dot_serial", "dot_tree", "encode_value", "exp_exact", "exp_pwl", "exp_pwl_table", "flip_bits", "force_bits",
    "fused_digits", "fused_sum", "kernel", "maximum", "mul", "mul_vs", "mul_vv", "product_format", "quiet",
    "quiet_below", "reciprocal_pwl", "reciprocal_table", "round_to", "scale_add", "sub", "tree_level", "tree_sum",
    "uint_format",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
