"""`accel-sim rtl` for people: the design in SystemVerilog, and what it is in cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.report.run_text import line, show_title
from accel_sim.report.text import (
    Line,
    count,
    facts,
    grid,
    heading,
    labelled,
    number,
    percent,
    percent_span,
    print_grid,
    span,
)

if TYPE_CHECKING:
    from rich.console import Console


def show_rtl(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of `accel-sim rtl`."""
    show_title(console, document)
    console.print(facts(_design(document)))
    found = document["synthesis"]
    if found is None:
        return
    console.print()
    console.print(heading("Synthesis", f"{found['tool']}, cells of {found['library']}; no wires, no SRAM"))
    console.print(facts(_synthesis(found)))
    if found["flip_flop_differences"]:
        console.print(labelled(("differs", words) for words in found["flip_flop_differences"]))
    console.print()
    console.print(heading("Area by component", f"beside the estimate from technology table {found['technology']}"))
    print_grid(console, grid(("component", "bits", "µm²", "share", "estimate", "range", "µm² / estimate"),
                             _components(document), total=True))
    console.print()
    console.print(heading("Area by module", "all instances, without the modules inside them"))
    print_grid(console, grid(("module", "instances", "flip-flops", "of them µm²", "µm²", "share"), _modules(found),
                             total=True))


def _design(document: Mapping[str, Any]) -> Iterator[Line]:
    design = document["design"]
    yield line("design.top", design["top"], f"{len(document['files'])} files; --out DIR writes them")
    yield line("design.lanes", count(design["lanes"]))
    yield line("design.head_dim", count(design["head_dim"]))
    yield line("design.registers_bits", count(design["registers_bits"]), f"in {design['registers']} register arrays")


def _synthesis(found: Mapping[str, Any]) -> Iterator[Line]:
    yield line("synthesis.area_um2", number(found["area_um2"], 4),
               f"{found['unique_modules']} modules synthesised, in {found['seconds']:.0f} s")
    same = "exactly the inventory's, module by module" if found["flip_flops_as_inventory"] else "NOT the inventory's:"
    yield line("synthesis.flip_flops_bits", count(found["flip_flops_bits"]), same)
    overhead = found["overhead"]
    if overhead is not None:
        yield line("synthesis.unprotected_area_um2", number(found["unprotected_area_um2"], 4))
        model = overhead["model"]
        yield line("synthesis.overhead.synthesised", percent(overhead["synthesised"]),
                   f"by modules {percent(overhead['by_modules'])}; cost model {percent(model['value'])} "
                   f"(95% interval {percent_span(model['low'], model['high'])})")


def _components(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    found, bits = document["synthesis"], document["design"]["registers_bits_by_component"]
    for name, part in found["components"].items():
        yield _row(name, bits.get(name, 0), part["area_um2"], found["area_um2"], part["model_um2"])
    yield _row("total", sum(bits.values()), found["area_um2"], found["area_um2"], found["model_um2"])


def _row(name: str, bits: int, area: float, whole: float, model: Mapping[str, float]) -> tuple[str, ...]:
    ratio = number(area / model["value"]) if model["value"] else "–"
    return (name, count(bits), number(area), percent(area / whole), number(model["value"]),
            span(model["low"], model["high"], 2), ratio)


def _modules(found: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    whole = found["area_um2"]
    for m in (m for m in found["modules"] if m["area_um2"]):
        yield (m["name"], count(m["instances"]), count(m["flip_flops_bits"]), number(m["flip_flops_um2"]),
               number(m["area_um2"]), percent(m["area_um2"] / whole))
    yield ("total", "", count(found["flip_flops_bits"]), number(sum(m["flip_flops_um2"] for m in found["modules"])),
           number(whole), percent(1.0))
