"""The tables of docs/cost.md, made from the technology table and the shipped configs.

`python -m accel_sim.cost.document docs/cost.md` writes them into the page, between the markers that are there.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path

from accel_sim.cost.bill import area, energy
from accel_sim.cost.prices import operator_parts
from accel_sim.cost.report import CostReport
from accel_sim.cost.table import MARKS, Technology, load_technology
from accel_sim.machines.lanes import LanesMachine

CONFIGS = ("paper-d64", "paper-d128", "bf16-d64", "lanes-d64", "minilm", "tiny")
"""Shipped configs whose overhead the page gives."""

_SHARES = "checker.units.0.shares."
VARIANTS: dict[str, Mapping[str, object]] = {
    "as shipped: d = 64, 16 lanes, fp32 checker": {},
    "bf16 checker": {"architecture.formats.checker": "bf16"},
    "d = 128": {"architecture.head_dim": 128},
    "d = 128, bf16 checker": {"architecture.head_dim": 128, "architecture.formats.checker": "bf16"},
    "d = 256": {"architecture.head_dim": 256},
    "32 lanes": {"architecture.lanes": 32},
    "compared after every key tile": {"checker.units.0.granularity": "key_tile"},
    "own sum": {f"{_SHARES}sum": False},
    "own sum and exp": {f"{_SHARES}{s}": False for s in ("exp", "sum")},
    "own sum, exp and max": {f"{_SHARES}{s}": False for s in ("max", "exp", "sum")},
    "nothing shared": {f"{_SHARES}{s}": False for s in ("score", "max", "exp", "sum")},
}
"""What the overhead depends on: changes to `bf16-d64`."""

MULTIPLIERS = (
    "bf16*bf16->bf16", "bf16*bf16->fp32", "bf16*fp32->fp32", "fp16*fp16->fp16", "fp32*fp32->fp32",
    "bf16*fp64->fp64", "fp64*fp64->fp64", "fp8_e4m3*fp8_e4m3->fp8_e4m3",
)


def technology_rows(technology: Technology) -> str:
    """Every entry of a technology table, with range, mark and source."""
    rows = ["| entry | value | range | factor of | mark | source |", "|---|---|---|---|---|---|"]
    for key, entry in technology.entries.items():
        value, low, high = (technology.number(key, end) for end in ("value", "low", "high"))
        of = f"{entry.value:g} × `{entry.of}` ({entry.low:g} to {entry.high:g})" if entry.of else ""
        rows.append(f"| `{key}` | {value:.3g} | {low:.2g} to {high:.2g} | {of} | {entry.mark} | {entry.source} |")
    return "\n".join(rows)


def multiplier_rows(technology: Technology) -> str:
    """Some multipliers, as the rule for them makes them."""
    rows = ["| multiplier | area, µm² | energy, pJ |", "|---|---|---|"]
    for fmt in MULTIPLIERS:
        parts = operator_parts(technology, "fp_mul", fmt)
        costs = (
            sum(n * technology.number(f"{row}.{quantity}") for row, n in parts)
            for quantity in ("area_um2", "energy_pj")
        )
        rows.append(f"| `{fmt}` | " + " | ".join(f"{cost:.3g}" for cost in costs) + " |")
    return "\n".join(rows)


def mark_rows() -> str:
    """What the marks mean."""
    return "\n".join(["| mark | meaning |", "|---|---|", *(f"| `{m}` | {text} |" for m, text in MARKS.items())])


def config_rows(technology: Technology) -> str:
    """Area, energy and overhead of the shipped configs."""
    from accel_sim.config import load_config
    from accel_sim.workloads import load_workload

    rows = [
        "| config | core area, mm² | check unit | core area, % | with SRAM, % | core energy, % | with SRAM, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in CONFIGS:
        config = load_config(name)
        machine, work = LanesMachine(config), load_workload(config)
        a = area(machine, technology)
        e = energy(machine, technology, machine.timing(work.n_queries, work.n_keys))
        core = a.estimate(item for item in a.items if item.component != "sram")
        check = a.by_component["checker.fused_output"]
        cells = [f"`{name}`", f"{core.value / 1e6:.3g}", f"{check.value / 1e6:.2g}"]
        cells += [_percent(report, scope) for report in (a, e) for scope in ("core", "with_sram")]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def variant_rows(technology: Technology) -> str:
    """What the overhead depends on, at 256 queries and keys."""
    from accel_sim.config import load_config

    rows = ["| design | core area, % | core energy, % |", "|---|---|---|"]
    for name, changes in VARIANTS.items():
        machine = LanesMachine(load_config("bf16-d64", changes))
        reports = area(machine, technology), energy(machine, technology, machine.timing(256, 256))
        rows.append(f"| {name} | " + " | ".join(_percent(report, "core") for report in reports) + " |")
    return "\n".join(rows)


def breakdown_rows(technology: Technology) -> str:
    """Where the area and the energy of `bf16-d64` are, by component."""
    from accel_sim.config import load_config

    machine = LanesMachine(load_config("bf16-d64"))
    a, e = area(machine, technology), energy(machine, technology, machine.timing(256, 256))
    rows = ["| component | area, mm² | range | energy, µJ | range |", "|---|---|---|---|---|"]
    for component in e.by_component:
        cells = [f"`{component}`"]
        for report in (a, e):
            estimate = report.by_component.get(component)
            cells += ["", ""] if estimate is None else [
                f"{estimate.value / 1e6:.2g}", f"{estimate.low / 1e6:.2g} to {estimate.high / 1e6:.2g}",
            ]
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def updated(page: str, technology: Technology) -> str:
    """The page with every generated table made anew. Raises ValueError if a marker is missing."""
    tables = {
        "marks": mark_rows(), "technology": technology_rows(technology), "multipliers": multiplier_rows(technology),
        "configs": config_rows(technology), "variants": variant_rows(technology),
        "breakdown": breakdown_rows(technology),
    }
    for name, table in tables.items():
        begin, end = f"<!-- {name}: generated by accel_sim.cost.document -->", f"<!-- {name}: end -->"
        pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
        parts = pattern.split(page)
        if len(parts) != 2:
            raise ValueError(f"the page has {len(parts) - 1} places for the table {name}, needs 1")
        page = f"{parts[0]}{begin}\n\n{table}\n\n{end}{parts[1]}"
    return page


def _percent(report: CostReport, scope: str) -> str:
    over = report.overhead(scope)
    return f"{100 * over.value:.1f} ({100 * over.low:.1f} to {100 * over.high:.1f})"


def main() -> None:
    """Update the page named on the command line."""
    path = Path(sys.argv[1])
    path.write_text(updated(path.read_text(encoding="utf-8"), load_technology("28nm")), encoding="utf-8")


if __name__ == "__main__":
    main()
