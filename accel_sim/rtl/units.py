"""One arithmetic unit of the RTL at a time, from NumPy: raw bit patterns in, raw bit patterns out.

`Unit` names a unit and its formats; a `UnitBench` is many of them in one verilated model. Each unit stands behind
registers with an event of their own, so that driving one leaves the others still, and one model builds in the time that
its units take together.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from accel_sim.numerics.formats import FORMATS, Format, product_format
from accel_sim.rtl.verilate import SOURCES, build

Bits = NDArray[np.uint64]

BINARY = ("fp_mul", "fp_add", "fp_sub", "fp_div", "fp_max", "fp_abs_le")
UNARY = ("fp_cvt", "fp_exp_pwl", "fp_recip_pwl")
DOT = "fp_dot_exact"
MODULES = (*BINARY, *UNARY, DOT)
"""The units, by module name."""


def format_code(fmt: Format) -> int:
    """The integer that names a floating format to the RTL (`fp_pkg`). ValueError for a control register."""
    if fmt.kind == "uint":
        raise ValueError(f"format {fmt.name} is a control register, not a floating format")
    return fmt.exponent_bits * 512 + fmt.mantissa_bits * 2 + (fmt.kind == "fn")


def unit_sources() -> list[Path]:
    """The SystemVerilog files of all units, the package first."""
    package = SOURCES / "fp_pkg.sv"
    return [package, *sorted(file for file in SOURCES.glob("fp_*.sv") if file != package)]


def table_literal(table: NDArray[np.int64]) -> str:
    """The TABLE parameter of `fp_exp_pwl` and `fp_recip_pwl`, from `exp_pwl_table` or `reciprocal_table`.

    Row i takes 64 bits: the value at the piece's start below, the slope's size above (the unit knows its sign).
    """
    pieces = table.shape[1]
    rows = (abs(int(table[1, i])) << 32 | int(table[0, i]) for i in range(pieces))
    return f"{64 * pieces}'h{sum(row << (64 * i) for i, row in enumerate(rows)):x}"


@dataclass(frozen=True)
class Unit:
    """A unit of the RTL with its formats, by name: operands a and b (empty: like a), result y (empty: like a).

    flush: subnormals read and returned as zeros. pieces: of a table unit. terms: products of the exact dot product,
    whose `a` is the *operands'* format; the unit takes their exact products.
    """

    module: str
    a: str
    b: str = ""
    y: str = ""
    flush: bool = False
    pieces: int = 0
    terms: int = 0

    def __post_init__(self) -> None:
        if self.module not in MODULES:
            raise ValueError(f"unit {self.module!r} is not one of {', '.join(MODULES)}")

    @property
    def format_a(self) -> Format:
        """Format of operand a; of the product registers for the dot product."""
        return product_format(FORMATS[self.a]) if self.module == DOT else FORMATS[self.a]

    @property
    def format_b(self) -> Format:
        """Format of operand b."""
        return FORMATS[self.b or self.a]

    @property
    def format_y(self) -> Format:
        """Format of the result; "product" is the register that holds the exact products of format a."""
        return product_format(FORMATS[self.a]) if self.y == "product" else FORMATS[self.y or self.a]

    @property
    def lanes(self) -> int:
        """64-bit words of operand a: the terms of a dot product, else one."""
        return self.terms if self.module == DOT else 1

    def wrapper(self, name: str) -> str:
        """A module `name` that is this unit with its parameters: Yosys 0.66 cannot always set those of a top module."""
        widths = {
            "a": self.format_a.width_bits * self.lanes,
            "b": self.format_b.width_bits if self.module in BINARY else 0,
            "y": 1 if self.module == "fp_abs_le" else self.format_y.width_bits,
        }
        ports = {port: width for port, width in widths.items() if width}
        ways = {"a": "input", "b": "input", "y": "output"}
        declared = ", ".join(f"{ways[port]} logic [{width - 1}:0] {port}" for port, width in ports.items())
        settings = ", ".join(f".{parameter}({value})" for parameter, value in self.parameters().items())
        wires = ", ".join(f".{port}({port})" for port in ports)
        return f"module {name} ({declared});\n  {self.module} #({settings}) unit ({wires});\nendmodule\n"

    def parameters(self) -> dict[str, str]:
        """The module's parameters, as SystemVerilog text."""
        chosen = {"FA": str(format_code(self.format_a))}
        if self.module in BINARY and self.module != "fp_abs_le":
            chosen["FB"] = str(format_code(self.format_b))
        if self.module != "fp_abs_le":
            chosen["FY"] = str(format_code(self.format_y))
            chosen["FLUSH"] = f"1'b{int(self.flush)}"
        if self.module == DOT:
            chosen["N"] = str(self.terms)
        if self.module in ("fp_exp_pwl", "fp_recip_pwl"):
            from accel_sim.numerics import exp_pwl_table, reciprocal_table

            table = exp_pwl_table(self.pieces) if self.module == "fp_exp_pwl" else reciprocal_table(self.pieces)
            chosen |= {"PIECES": str(self.pieces), "TABLE": table_literal(table)}
        return chosen


def _module_text(units: Sequence[Unit], netlist: Path | None) -> str:
    """The top module: for unit i ports go_i (any change takes the operands), a_i, b_i, and y_i."""
    ports, body = [], []
    for i, unit in enumerate(units):
        width_a, width_b = unit.format_a.width_bits, unit.format_b.width_bits
        binary = unit.module in BINARY
        width_y = 1 if unit.module == "fp_abs_le" else unit.format_y.width_bits
        ports += [f"input logic go_{i}", f"input logic [{64 * unit.lanes - 1}:0] a_{i}", f"input logic [63:0] b_{i}",
                  f"output logic [63:0] y_{i}"]  # fmt: skip
        operand = ", ".join(f"ra_{i}[{64 * t} +: {width_a}]" for t in reversed(range(unit.lanes)))
        settings = ", ".join(f".{name}({value})" for name, value in unit.parameters().items())
        second = f".b(rb_{i}[{width_b - 1}:0]), " if binary else ""
        module = f"{unit.module} #({settings})" if netlist is None else f"net_{i}"
        body += [
            f"  logic [{64 * unit.lanes - 1}:0] ra_{i}; logic [63:0] rb_{i}; logic [{width_y - 1}:0] ry_{i};",
            f"  always @(go_{i}) begin ra_{i} <= a_{i}; rb_{i} <= b_{i}; end",
            f"  {module} unit_{i} (.a({{{operand}}}), {second}.y(ry_{i}));",
            f"  assign y_{i} = 64'(ry_{i});",
        ]
    return "\n".join(["module unit_bench (", "  " + ",\n  ".join(ports), ");", *body, "endmodule", ""])


_HARNESS = """\
#include "Vunit_bench.h"
#include "verilated.h"
#include <cstdint>
double sc_time_stamp() { return 0; }
static inline void put(QData& port, const uint64_t* from) { port = *from; }
template <std::size_t N> static inline void put(VlWide<N>& port, const uint64_t* from) {
  for (std::size_t i = 0; i < N; ++i) port[i] = static_cast<uint32_t>(from[i / 2] >> (32 * (i % 2)));
}
extern "C" void* bench_open() { return new Vunit_bench; }
extern "C" void bench_close(void* bench) { delete static_cast<Vunit_bench*>(bench); }
extern "C" void bench_run(void* bench, int unit, int64_t n, const uint64_t* a, const uint64_t* b, uint64_t* y) {
  Vunit_bench& m = *static_cast<Vunit_bench*>(bench);
  switch (unit) {
CASES  }
}
"""


def _harness_text(units: Sequence[Unit]) -> str:
    cases = []
    for i, unit in enumerate(units):
        cases.append(
            f"  case {i}: for (int64_t k = 0; k < n; ++k) {{ put(m.a_{i}, a + {unit.lanes} * k); m.b_{i} = b[k]; "
            f"m.go_{i} = !m.go_{i}; m.eval(); y[k] = m.y_{i}; }} break;\n"
        )
    return _HARNESS.replace("CASES", "".join(cases))


class UnitBench:
    """Many units in one verilated model. Raises ToolMissing or BuildFailed as `verilate.build` does.

    units: what to build. netlist: a Verilog file of modules net_0, net_1, ... to use in place of this package's
    sources, net_i having been synthesised from units[i]. cache_dir: where built models are kept,
    `verilate.default_cache()` by default.
    """

    def __init__(
        self, units: Sequence[Unit], netlist: Path | None = None, cache_dir: Path | None = None
    ) -> None:
        self.units = tuple(units)
        self._library: ctypes.CDLL = self._load(netlist, cache_dir)

    def _load(self, netlist: Path | None, cache_dir: Path | None) -> ctypes.CDLL:
        sources = unit_sources() if netlist is None else [netlist]
        with tempfile.TemporaryDirectory() as folder:
            top = Path(folder) / "unit_bench.sv"
            top.write_text(_module_text(self.units, netlist), encoding="utf-8")
            path = build([*sources, top], "unit_bench", _harness_text(self.units), cache_dir=cache_dir)
        library = ctypes.CDLL(str(path))
        library.bench_open.restype = ctypes.c_void_p
        library.bench_close.argtypes = [ctypes.c_void_p]
        words = np.ctypeslib.ndpointer(np.uint64, flags="C_CONTIGUOUS")
        library.bench_run.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, words, words, words]
        library.bench_run.restype = None
        return library

    @cached_property
    def _model(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self._library.bench_open())

    def run(self, unit: Unit, a: Bits, b: Bits | None = None) -> Bits:
        """The unit's result for each element: uint64 patterns of shape (n,), in the low bits.

        a: uint64 patterns, (n,), or (n, terms) of products for the dot product. b: (n,), for a binary unit.
        Raises ValueError for other shapes, KeyError for a unit that is not on the bench.
        """
        if unit not in self.units:
            raise KeyError(f"no such unit on this bench: {unit}")
        wanted = (len(a), unit.terms) if unit.module == DOT else (len(a),)
        second = np.zeros(len(a), dtype=np.uint64) if b is None else b
        if a.shape != wanted or second.shape != (len(a),) or (b is None) == (unit.module in BINARY):
            raise ValueError(f"{unit.module}: operands of shape {a.shape} and {None if b is None else b.shape}")
        first = np.ascontiguousarray(a, dtype=np.uint64)
        result = np.empty(len(a), dtype=np.uint64)
        at = self.units.index(unit)
        self._library.bench_run(self._model, at, len(a), first, np.ascontiguousarray(second, np.uint64), result)
        return result

    def close(self) -> None:
        """Free the model."""
        if "_model" in self.__dict__:
            self._library.bench_close(self._model)
            del self.__dict__["_model"]
