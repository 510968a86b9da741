"""Which rows of a technology table a piece of hardware costs, and how much of each.

`Parts` is a sum of table rows: ((row, how many), ...). A row is an entry's key without its last part.

- `operator_parts`: one operation, or one instance, of an operator.
- `sram_parts`: one bit or byte of an SRAM, between the two capacities of the table around its own.

Where a table does not list an operator's format, three rules make it from what it does list (docs/cost.md has
what they are held against):

- `fp_mul` a*b->r: the product of the precisions of a and b in rows `significand_mul.bit`, and as many
  `fp_mul_finish.bit` (exponents, normalisation, rounding) as the result has bits, the exact product's if they
  are fewer.
- `fp_add` a+b->r, operands narrower than the result: as `fp_add` r.
- a unit with a row `bit`: as many of it as the format has bits.

What none of them covers is an error that names it.
"""

from __future__ import annotations

import math
import re

from accel_sim.config.errors import ConfigError, Mark, Problem
from accel_sim.cost.check import sram_row
from accel_sim.cost.table import Technology
from accel_sim.machines.operators import Operator
from accel_sim.numerics.formats import FORMATS, Format

Parts = tuple[tuple[str, float], ...]

_INTEGER = re.compile(r"u?int([1-9][0-9]*)")
_INT_PRODUCT = re.compile(r"int([1-9][0-9]*)\*int([1-9][0-9]*)")
_PRODUCT = re.compile(r"(\w+)\*(\w+)->(\w+)")
_SUM = re.compile(r"\w+\+\w+->(\w+)")


def operator_parts(technology: Technology, unit: str, fmt: str) -> Parts:
    """The table rows of one operator of a unit and format (see `accel_sim.machines.operators.UNITS`).

    Raises ConfigError if the table can give no price, and says which rows would.
    """
    listed = f"{unit}.{fmt}"
    if technology.has(listed):
        return ((listed, 1.0),)
    wanted = [listed]
    if unit == "fp_mul" and (match := _PRODUCT.fullmatch(fmt)):
        parts = _product(*match.groups())
        wanted += [row for row, _ in parts]
        if parts and all(technology.has(row) for row, _ in parts):
            return parts
    if unit == "int_mul" and (match := _INT_PRODUCT.fullmatch(fmt)):
        wanted.append("significand_mul.bit")
        if technology.has("significand_mul.bit"):
            return (("significand_mul.bit", float(int(match[1]) * int(match[2]))),)
    if unit == "fp_add" and (match := _SUM.fullmatch(fmt)):
        row = f"fp_add.{match[1]}"
        wanted.append(row)
        if technology.has(row):
            return ((row, 1.0),)
    width = _width(fmt)
    if width is not None:
        row = f"{unit}.bit"
        if technology.has(row):
            return ((row, float(width)),)
    raise _missing(technology, unit, fmt, wanted)


def parts_of(technology: Technology, operator: Operator, count: float) -> Parts:
    """The table rows of `count` instances or uses of an operator."""
    return tuple((row, n * count) for row, n in operator_parts(technology, operator.unit, operator.format))


def sram_parts(technology: Technology, capacity_bytes: float) -> Parts:
    """The table rows of one unit (bit or byte) of an SRAM of that capacity.

    Between two capacities of the table: linear in the logarithm of the capacity. Beyond its ends: its ends.
    """
    sizes = technology.sram_kib
    kib = capacity_bytes / 1024.0
    if kib <= sizes[0] or kib >= sizes[-1]:
        return ((sram_row(sizes[0] if kib <= sizes[0] else sizes[-1]), 1.0),)
    above = next(i for i, size in enumerate(sizes) if size > kib)
    low, high = sizes[above - 1], sizes[above]
    share = math.log(kib / low) / math.log(high / low)
    return ((sram_row(low), 1.0 - share), (sram_row(high), share))


def _product(a: str, b: str, result: str) -> Parts:
    """A multiplier from its array and its finish; nothing if a name is no floating format."""
    fa, fb = FORMATS.get(a), FORMATS.get(b)
    if fa is None or fb is None or (result != "exact" and result not in FORMATS):
        return ()
    width = _exact_width(fa, fb)
    if result != "exact":
        width = min(width, FORMATS[result].width_bits)
    return (("significand_mul.bit", float(fa.precision * fb.precision)), ("fp_mul_finish.bit", float(width)))


def _exact_width(a: Format, b: Format) -> int:
    """Bits of the exact product of two formats: sign, one exponent bit more than theirs, both significands."""
    return a.precision + b.precision + max(a.exponent_bits, b.exponent_bits) + 1


def _width(fmt: str) -> int | None:
    if fmt in FORMATS:
        return FORMATS[fmt].width_bits
    match = _INTEGER.fullmatch(fmt)
    return int(match[1]) if match else None


def _missing(technology: Technology, unit: str, fmt: str, wanted: list[str]) -> ConfigError:
    rows = [row.partition(".") for row in wanted]
    stated = " or ".join(
        [f"operators.{rows[0][0]}.{rows[0][2]}", " and ".join(f"operators.{u}.{f}" for u, _, f in rows[1:])]
    ) if len(rows) > 1 else f"operators.{rows[0][0]}.{rows[0][2]}"
    message = f'technology table {technology.name} has no price for {unit} of format "{fmt}"; it needs {stated}'
    return ConfigError(Problem(message, f"operators.{unit}", Mark(technology.file)))
