"""Areas of the arithmetic units, one by one, in the cells of a library: what a technology table is made from.

    python -m accel_sim.rtl.unit_areas LIBERTY [LIBERTY ...]

prints a line for each row of a table: unit, format and square micrometres. Subnormals are kept.
`unit_area` does one of them, `flip_flop_area` one bit of a register with an enable and a synchronous reset, as almost
every register of the machine has, and one that is written in every cycle.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from accel_sim.rtl.liberty import Library, read_library
from accel_sim.rtl.units import Unit, unit_sources
from accel_sim.rtl.yosys import synthesise

_NARROW = ("fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2")


def table_units() -> Iterator[tuple[str, str, Unit]]:
    """(unit of a technology table, format as it is written there, unit of the RTL)."""
    for name in _NARROW:
        yield "fp_add", name, Unit("fp_add", name)
    for name in _NARROW[1:]:
        yield "fp_add", f"{name}+{name}->fp32", Unit("fp_add", name, y="fp32")
    for a, b, y in (
        *((name, name, name) for name in _NARROW), *((name, name, "fp32") for name in _NARROW[1:]),
        ("bf16", "fp32", "fp32"), ("fp16", "fp32", "fp32"),
    ):  # fmt: skip
        yield "fp_mul", f"{a}*{b}->{y}", Unit("fp_mul", a, b, y)
    for name in _NARROW[1:]:
        yield "fp_mul", f"{name}*{name}->exact", Unit("fp_mul", name, y="product")
    for name in _NARROW:
        yield "fp_max", name, Unit("fp_max", name)
        yield "fp_cmp", name, Unit("fp_abs_le", name)
        yield "exp_pwl", name, Unit("fp_exp_pwl", name, pieces=8)
        yield "div", name, Unit("fp_div", name)
        yield "reciprocal_pwl", name, Unit("fp_recip_pwl", name, pieces=16)


def unit_area(unit: Unit, library: Library) -> float:
    """Cell area of one arithmetic unit, um2. Raises what `yosys.synthesise` raises."""
    return _area(unit.wrapper("top"), library)


def flip_flop_area(library: Library, enable: bool) -> float:
    """Cell area of one bit of a register with a synchronous reset, um2, its multiplexer included; enable: it also
    holds what it has. Measured on 32 bits."""
    condition = "else if (en)" if enable else "else"
    text = f"""module top (input logic clk, rst, en, input logic [31:0] d, output logic [31:0] q);
  always_ff @(posedge clk) if (rst) q <= '0; {condition} q <= d;
endmodule
"""
    return _area(text, library) / 32


def _area(text: str, library: Library) -> float:
    with tempfile.TemporaryDirectory(prefix="accel-sim-unit-") as name:
        folder = Path(name)
        for source in unit_sources():
            shutil.copy(source, folder)
        (folder / "top.sv").write_text(text, encoding="utf-8")
        sources = [*(source.name for source in unit_sources()), "top.sv"]
        return synthesise(folder, sources, "top", library).area_um2(library)


def main(arguments: Sequence[str]) -> int:
    """Print the areas of every unit in the library of some Liberty files."""
    if not arguments:
        print("usage: python -m accel_sim.rtl.unit_areas LIBERTY [LIBERTY ...]", file=sys.stderr)
        return 2
    library = read_library([Path(name) for name in arguments])
    print(f"# {library.name}: cell area, um2")
    for enable in (True, False):
        area = flip_flop_area(library, enable)
        print(f"flip_flop  {'with enable' if enable else 'without'}  {area:.4f}", flush=True)
    for name, fmt, unit in table_units():
        print(f"{name}  {fmt}  {unit_area(unit, library):.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
