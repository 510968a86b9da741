"""`accel-sim validate` for people: what was held against what, and whether it agrees."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.report.definitions import lookup
from accel_sim.report.run_text import reference_name, show_title
from accel_sim.report.text import Line, count, facts, grid, heading, number, print_grid

if TYPE_CHECKING:
    from rich.console import Console


def show_validation(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a validation."""
    show_title(console, document)
    verdict = "everything agrees" if document["agree"] else "there are differences"
    console.print(heading("Bit for bit", verdict))
    rows = [
        (c["what"], c["beside"], count(c["compared"]), c["unit"], count(c["mismatches"])) for c in document["checks"]
    ]
    print_grid(console, grid(("what", "beside", "compared", "", "differ"), rows, left=2))
    for check in document["checks"]:
        if check["first"]:
            console.print(f"first difference, {check['what']}: {check['first']}", soft_wrap=True)
    console.print()
    console.print(heading(f"Beside {reference_name(document)} in float64",
                          "a distance, not a check: the formats of the config round"))
    lines = []
    for key in ("max_abs_error", "rel_l2_error"):
        told = lookup(f"distance.{key}")
        lines.append(Line(told.label, number(document["distance"][key]), told.unit))
    console.print(facts(lines))


def show_scalesim(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a comparison with SCALE-Sim."""
    verdict = "everything agrees" if document["agree"] else "there are differences"
    console.print(heading("Cycles of M × K by K × N on R × C", verdict))
    rows = [
        (f"{p['m']} × {p['n']} × {p['k']}", f"{p['rows']} × {p['cols']}", p["flow"], count(p["measured"]),
         p["measured_by"], count(p["formula"]), count(p["scale_sim"]),
         count(p["recorded"]) if p["recorded"] is not None else "")
        for p in document["products"]
    ]
    headers = ("M × N × K", "array", "flow", "measured", "by", "formula", "SCALE-Sim", "as it printed")
    print_grid(console, grid(headers, rows, left=3))
    console.print("SCALE-Sim prints the index of the last cycle, one less than their number. In the last column, what "
                  "scalesim 3.0.0 printed when it was run.", style="dim")
