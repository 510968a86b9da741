"""Fill in the generated parts of the documentation.

A page marks a generated part with two comments of its own line::

    <!-- generated: NAME -->
    <!-- end -->

and this script writes between them what the code says. `BLOCKS` lists the names. Run it after a change of a config
field, a record column or a register; a test keeps pages and code together::

    python docs/build.py            # rewrite the pages that differ
    python docs/build.py --check    # only say which would, exit 1 if any
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parent
PAGES = [DOCS.parent / "README.md", *sorted(DOCS.rglob("*.md"))]
BLOCK = re.compile(r"(?m)^<!-- generated: (?P<name>.+) -->\n(?P<body>(?s:.*?))^<!-- end -->$")


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def config_reference() -> str:
    """Every section and key of a config."""
    from accel_sim.config import reference_markdown

    return reference_markdown()


def shipped_configs() -> str:
    """The configs that come with the package."""
    from accel_sim import config

    rows = ((f"`{name}`", config.load_config(name).description) for name in config.shipped_configs())
    return table(["config", "what it is"], rows)


def record_columns() -> str:
    """The columns of a campaign's records."""
    from accel_sim.campaign.columns import COLUMNS

    rows = []
    for column in COLUMNS:
        names = [f"`{label}`" for label in column.labels or () if label not in column.about]
        about = f"{column.about}: {', '.join(names)}" if names else column.about
        kind = column.dtype if column.labels is None else "text"
        rows.append((f"`{column.name}`", kind, column.role, column.unit or "–", about))
    return table(["column", "type", "role", "unit", "definition"], rows)


def documents() -> str:
    """The keys of the JSON documents, which are also the lines of the printed tables."""
    from accel_sim.report.definitions import output_columns_markdown

    return output_columns_markdown()


def formats() -> str:
    """The number formats."""
    from accel_sim.numerics import FORMATS

    def row(name: str) -> tuple[object, ...]:
        f = FORMATS[name]
        return (name, f.width_bits, f"{f.exponent_bits} + {f.mantissa_bits}", f"{f.max_finite:.6g}",
                f"{f.min_normal:.6g}", f"{f.min_subnormal:.6g}", "yes" if f.has_inf else "no")  # fmt: skip

    head = ["format", "bits", "exponent + fraction", "largest", "smallest normal", "smallest", "infinity"]
    return table(head, map(row, FORMATS))


def pwl_errors() -> str:
    """Errors of the piecewise linear units."""
    from accel_sim.numerics.exp import EXP_PWL_ERROR
    from accel_sim.numerics.reciprocal import RECIPROCAL_ERROR

    rows = ((n, f"{EXP_PWL_ERROR[n]:.3e}", f"{RECIPROCAL_ERROR[n]:.3e}") for n in EXP_PWL_ERROR)
    return table(["pieces", "exponential", "reciprocal"], rows)


def lanes_registers() -> str:
    """Every register array that a lanes machine can have, in symbols."""
    from accel_sim.machines.tables import register_rows

    rows = (
        (f"`{r.name}`", r.when or "–", r.shape, r.format, r.stage or "–", r.role, r.component, r.about)
        for r in register_rows()
    )
    return table(["register", "if", "shape", "format", "stage", "role", "component", "holds"], rows)


def lanes_timeline(config: str, n_queries: str, n_keys: str) -> str:
    """Every cycle of a small head on the machine of a shipped config."""
    from accel_sim.config import load_config
    from accel_sim.machines.lanes import LanesMachine
    from accel_sim.machines.tables import timeline

    return f"```text\n{timeline(LanesMachine(load_config(config)), int(n_queries), int(n_keys))}```\n"


def validation() -> str:
    """What the last full run of experiments/validation.py compared."""
    path = DOCS / "validation.json"
    if not path.exists():
        return "(Not run yet.)\n"
    results = json.loads(path.read_text(encoding="utf-8"))
    totals: dict[str, dict[str, int]] = {}
    for found in results.values():
        for name, counts in found["parts"].items():
            kind = next((kind for kind in VALIDATED if name.startswith(kind)), name)
            total = totals.setdefault(kind, {})
            for what, n in counts.items():
                total[what] = total.get(what, 0) + n
    rows = []
    for kind, title in VALIDATED.items():
        counts = totals.get(kind, {})
        cases = ", ".join(f"{n:,} {what}" for what, n in counts.items() if what != "mismatches")
        rows.append((title, cases or "not run", f"{counts['mismatches']:,}" if counts else "–"))
    about = "\n\n".join(f"Group `{group}`: {run_with(found)}" for group, found in results.items())
    return f"{about}\n\n{table(('comparison', 'cases', 'mismatches'), rows)}"


def run_with(found: dict[str, str]) -> str:
    """What a group of comparisons was run on, in a sentence."""
    names = {"python": "Python", "numpy": "NumPy", "numba": "Numba", "verilator": "Verilator"}
    tools = [f"{name} {found[tool]}" for tool, name in names.items() if tool in found]
    tools += [found["compiler"]] if "compiler" in found else []
    return f"digest of the sources {found['sources']}; {', '.join(tools)}."


VALIDATED = {
    "unit, long": "`rtl`: arithmetic units of a bf16 and fp32 machine, long",
    "unit": "`rtl`: arithmetic units, every format and mix",
    "machine": "`rtl`: random machines, registers in every cycle, and under faults",
    "tiny": "`rtl`: every point of a tiny head",
    "flip-flops": "`rtl`: flip-flops of the netlist, by register name",
    "engines": "`replay` and golden engine, random lanes machines",
    "gemm": "`replay`, every point of tiny gemm machines (os, ws, is)",
    "fused": "`replay`, every point of a tiny fused machine",
}
"""Comparisons by the beginning of their parts' names."""


def percent(value: float, low: float, high: float) -> str:
    """A share with its interval, in percent."""
    if value != value:
        return "–"
    digits = max(1, len(f"{100 * value:.3g}".partition(".")[2]))
    return f"{100 * value:.{digits}f} ({100 * low:.{digits}f}–{100 * high:.{digits}f})"


def checkers(config: str) -> str:
    """One machine's rows of the last run of experiments/checkers.py."""
    path = DOCS / "checkers.json"
    found = json.loads(path.read_text(encoding="utf-8"))["rows"].values() if path.exists() else ()
    rows = []
    for row in found:
        if row["config"] != config:
            continue
        costs = [percent(row[what]["value"], row[what]["low"], row[what]["high"]) for what in ("area", "energy")]
        rates = [row["rates"][name] for name in ("detected", "silent", "false_alarm", "coverage")]
        latency = row["latency_cycles"]
        delays = ["–" if latency[p] is None else f"{latency[p]:,} ({latency[f'{p}_low']:,}–{latency[f'{p}_high']:,})"
                  for p in ("p50", "p99")]
        rows.append((row["checkers"], *costs, f"{100 * row['cycles_overhead']:.2f}",
                     *(percent(r["estimate"], r["low"], r["high"]) for r in rates), *delays))
    head = ["check units", "area %", "energy %", "cycles %", "detected %", "silent %", "false alarms %", "coverage %",
            "latency p50", "p99"]
    return table(head, rows) if rows else "(Not run yet.)\n"


BLOCKS: dict[str, Callable[..., str]] = {
    "config-reference": config_reference,
    "shipped-configs": shipped_configs,
    "record-columns": record_columns,
    "documents": documents,
    "formats": formats,
    "pwl-errors": pwl_errors,
    "lanes-registers": lanes_registers,
    "lanes-timeline": lanes_timeline,
    "validation": validation,
    "checkers": checkers,
}
"""Generators by name. What follows the name in a page is passed to the generator, word by word."""


def filled(page: str) -> str:
    """The text of a page with every generated part as the code would write it now.

    Raises ValueError for a block that no generator knows.
    """

    def write(block: re.Match[str]) -> str:
        name, *arguments = block["name"].split()
        if name not in BLOCKS:
            raise ValueError(f"no generator named {name!r}; there are {', '.join(BLOCKS)}")
        return f"<!-- generated: {block['name']} -->\n{BLOCKS[name](*arguments).strip()}\n<!-- end -->"

    page = BLOCK.sub(write, page)
    if "generated by accel_sim.cost.document" in page:  # the cost tables come with the technology table's own markers
        from accel_sim.cost.document import updated
        from accel_sim.cost.table import load_technology

        page = updated(page, load_technology("28nm"))
    return page


def main() -> int:
    """Rewrite the pages, or with --check say which differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 if a page differs")
    check = parser.parse_args().check
    different = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        new = filled(text)
        if new != text:
            different += 1
            print(f"{page.relative_to(DOCS.parent)}: {'differs from the code' if check else 'rewritten'}")
            if not check:
                page.write_text(new, encoding="utf-8")
    return 1 if check and different else 0


if __name__ == "__main__":
    sys.exit(main())
