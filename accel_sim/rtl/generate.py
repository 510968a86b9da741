"""From a config to a directory of SystemVerilog: the sources of the lanes machine and the package `lanes_cfg`, which
holds every size, format, option and table of this one design.

`package_text` writes the package; `design_files` lists a design's sources in the order in which tools read them;
`write_design` puts all of it, with a README of commands, into a directory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from accel_sim.config.errors import printable
from accel_sim.machines.lanes import PHASES, LanesMachine, bits_for, tree_sizes
from accel_sim.numerics.exp import exp_pwl_table
from accel_sim.numerics.formats import Format, product_format
from accel_sim.numerics.reciprocal import reciprocal_table
from accel_sim.rtl.limits import check_expressible
from accel_sim.rtl.units import format_code, table_literal
from accel_sim.rtl.verilate import SOURCES

TOP = "lanes"
"""The top module."""

PACKAGE_FILE = "lanes_cfg.sv"

ROLES = ("operand", "score", "exp", "state", "output", "checker")
_DOTS = ("tree", "serial", "fused")
_GRANULARITIES = ("head", "query_block", "key_tile")


def package_text(machine: LanesMachine) -> str:
    """The package `lanes_cfg` of a machine. Raises ConfigError for one that the RTL cannot express."""
    check_expressible(machine.config)
    lines = [
        f"// The design of one config, {_name(machine)}; everything that the sources read of it.",
        "// One package serves all designs, and no design reads every line of it.",
        "/* verilator lint_off UNUSEDPARAM */",
        "package lanes_cfg;",
        *(f"  {line}".rstrip() for line in _constants(machine)),
        "endpackage",
        "/* verilator lint_on UNUSEDPARAM */",
    ]
    return "\n".join(lines) + "\n"


def _name(machine: LanesMachine) -> str:
    """The config's name, on one line whatever it is."""
    return printable(machine.config.name or "a lanes machine")


def _constants(machine: LanesMachine) -> Iterator[str]:
    d, key_bits = machine.head_dim, machine.key_bits
    tile_bits = machine.key_tile.bit_length() - 1
    row_bits = bits_for(machine.lanes)
    sizes = tree_sizes(d)
    sums = {"tree": sum(sizes), "serial": d, "fused": machine.levels}[machine.dot]

    def integer(name: str, value: int, about: str) -> str:
        return f"localparam int {name} = {value};  // {about}"

    def flag(name: str, value: bool, about: str) -> str:
        return f"localparam bit {name} = 1'b{int(value)};  // {about}"

    yield "// Sizes."
    yield integer("LANES", machine.lanes, "P")
    yield integer("HEAD_DIM", d, "d")
    yield integer("KEY_TILE", machine.key_tile, "rows of a K/V bank")
    yield integer("LEVELS", machine.levels, "L: levels of an adder tree over d values")
    yield integer("DEPTH", machine.depth, "D: latency of the dot product behind its products")
    yield integer("STAGES", machine.stages, "of the streaming pipeline")
    yield integer("ROW_W", row_bits, "bits of a lane's index")
    yield integer("KEY_W", key_bits, "bits of a key's index")
    yield integer("QUERY_W", machine.query_bits, "bits of a query's index")
    yield integer("KV_ROW_W", max(1, min(tile_bits, key_bits)), "bits of a row's index in a K/V bank")
    yield f"localparam logic [KV_ROW_W-1:0] KV_ROW_MASK = {{KV_ROW_W{{1'b{int(tile_bits > 0)}}}}};"
    yield f"localparam logic [ROW_W-1:0] LAST_LANE = {row_bits}'d{machine.lanes - 1};"
    yield ""
    yield "// Registers of an adder tree over d values: in all, on level 0; where a level starts; the level of each."
    yield integer("TREE", sum(sizes), "W")
    yield integer("HALF", sizes[0], "on level 0")
    levels = [level for level, size in enumerate(sizes) for _ in range(size)]
    yield _vector("TREE_AT", 32, [sum(sizes[:level]) for level in range(len(sizes))])
    yield _vector("TREE_LEVEL", 32, levels)
    yield ""
    yield "// Values of `phase`."
    for value, phase in enumerate(PHASES):
        yield f"localparam logic [2:0] IN_{phase.upper()} = 3'd{value};"
    yield ""
    yield "// Options."
    for value, name in enumerate(("TREE_SUM", "SERIAL", "FUSED")):
        yield integer(name, value, "a value of DOT")
    yield integer("DOT", _DOTS.index(machine.dot), "how q.k adds up")
    yield integer("SUMS", sums, "registers between the products and the score")
    yield flag("FLUSH", machine.subnormals == "flush", "subnormals read and result as zeros")
    yield flag("RECIPROCAL", machine.reciprocal, "1/l in a stage of its own")
    yield flag("CHECK", machine.check is not None, "there is a check unit")
    for signal in ("score", "max", "exp", "sum"):
        yield flag(f"OWN_{signal.upper()}", machine.owns(signal), f"the check unit computes its own {signal}")
    for value, name in enumerate(("HEAD", "QUERY_BLOCK", "KEY_TILES")):
        yield integer(name, value, "a value of GRANULARITY")
    granularity = machine.check.granularity if machine.check else "head"
    yield integer("GRANULARITY", _GRANULARITIES.index(granularity), "when residuals are compared")
    yield flag("SCANS", machine.scans, "also inside a block, at the end of a key tile")
    relative = machine.check is not None and machine.check.threshold.kind == "relative"
    yield flag("RELATIVE", relative, "the threshold is a share of the larger sum")
    yield ""
    yield "// Number formats: code (exponent bits * 512 + fraction bits * 2 + finite only) and width."
    for role in ROLES:
        yield from _format(role.upper(), machine.formats[role])
    product = product_format(machine.formats["operand"]) if machine.dot == "fused" else machine.formats["score"]
    yield from _format("PROD", product)
    yield ""
    yield "// Lines of the piecewise linear units, 64 bits a piece: value at its start below, slope above."
    exp_pieces = machine.exp.pieces if machine.exp.kind == "pwl" else 2
    recip_pieces = machine.divide.pieces if machine.divide.kind == "reciprocal_pwl" else 2
    yield integer("EXP_PIECES", exp_pieces, "of 2^u")
    yield _table("EXP_TABLE", exp_pieces, table_literal(exp_pwl_table(exp_pieces)))
    yield integer("RECIP_PIECES", recip_pieces, "of 1/(1 + u)")
    yield _table("RECIP_TABLE", recip_pieces, table_literal(reciprocal_table(recip_pieces)))


def _format(name: str, fmt: Format) -> Iterator[str]:
    yield f"localparam int {name} = {format_code(fmt)};  // {fmt.name}"
    yield f"localparam int {name}_W = {fmt.width_bits};"


def _table(name: str, pieces: int, literal: str) -> str:
    return f"localparam logic [{64 * pieces - 1}:0] {name} = {literal};"


def _vector(name: str, width: int, values: Sequence[int]) -> str:
    """Values side by side in one vector, the first one lowest."""
    rows = ",\n    ".join(f"{width}'h{value:x}" for value in reversed(values))
    return f"localparam logic [{width * len(values) - 1}:0] {name} = {{\n    {rows}\n  }};"


def design_files(package: Path) -> list[Path]:
    """The sources of a design, packages first: `package` is its lanes_cfg.sv."""
    packages = [SOURCES / "fp_pkg.sv", package]
    modules = sorted(path for path in SOURCES.glob("*.sv") if path.name.startswith(("fp_", "lanes")))
    return [*packages, *(path for path in modules if path.name != "fp_pkg.sv")]


def write_design(machine: LanesMachine, directory: Path) -> list[Path]:
    """Write the whole design into `directory` (made if missing); returns its files, sources in reading order first.

    Raises ConfigError for a machine that the RTL cannot express, OSError where it cannot write.
    """
    text = package_text(machine)
    directory.mkdir(parents=True, exist_ok=True)
    package = directory / PACKAGE_FILE
    package.write_text(text)
    files = []
    for source in design_files(package):
        target = directory / source.name
        if source != package:
            shutil.copyfile(source, target)
        files.append(target)
    order = directory / "files.f"
    order.write_text("".join(f"{path.name}\n" for path in files))
    readme = directory / "README.md"
    readme.write_text(_readme(machine))
    return [*files, order, readme]


def _readme(machine: LanesMachine) -> str:
    inventory = machine.inventory
    registers = "\n".join(f"| `{r.name}` | {r.size} | {r.width_bits} | {r.bits} |" for r in inventory)
    return f"""# {_name(machine)} in SystemVerilog

The top module is `{TOP}`; everything that distinguishes this design is in `{PACKAGE_FILE}`. `files.f` lists the
sources in reading order. Run these here:

```sh
verilator --lint-only -Wall --replication-limit 1000000 --top {TOP} -f files.f
yosys -p "read_verilog -sv $(tr '\\n' ' ' < files.f); hierarchy -check -top {TOP}; proc; opt_clean; stat -width"
```

The design has {inventory.bits} flip-flops, and no other:

| register | elements | bits each | bits |
| --- | --- | --- | --- |
{registers}
"""
