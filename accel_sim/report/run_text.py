"""`accel-sim run` for people: what was simulated, how long it takes, how exact it is, what the check unit is worth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.report.definitions import lookup
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
    quantity,
    scaled,
    span,
)

if TYPE_CHECKING:
    from rich.console import Console

CAUSES = {
    "q_load": "queries not there", "kv_load": "keys or values not there", "o_store": "no free output bank",
    "off_chip": "data on their way", "double_buffer": "no free slot to load into", "bank_conflict": "bank in use",
    "store": "outputs not stored yet",
}


def show_run(console: Console, document: Mapping[str, Any]) -> None:
    """Print the document of a run."""
    show_title(console, document)
    console.print(labelled(_design(document)))
    for title, note, lines in (
        ("Time", _heads_note(document), _time(document)),
        ("Memory", "one head", _memory(document)),
        ("Accuracy", f"against {reference_name(document)} in float64 on the same operands", _accuracy(document)),
        *((f"Check unit {unit['unit']}", "fault-free run", _check(document, unit)) for unit in document["check_units"]),
        ("Recovery", "one alarm", _recovery(document)),
    ):
        listed = list(lines)
        if listed:
            console.print()
            console.print(heading(title, note))
            console.print(facts(listed))
    _show_cost(console, document)


def show_title(console: Console, document: Mapping[str, Any]) -> None:
    """Which config this is."""
    config = document["config"]
    console.print(heading(config["name"] or "(unnamed config)", config["description"]))
    console.print(f"config {config['hash'][:12]} · accel-sim {document['version']}", style="dim")
    console.print()


def line(key: str, value: str, note: str = "", unit: str | None = None) -> Line:
    """A line whose label and unit are those of the definition."""
    definition = lookup(key)
    return Line(definition.label, value, definition.unit if unit is None else unit, note)


def scaled_line(key: str, value: float, unit: str, note: str = "") -> Line:
    """A line whose unit is scaled to suit the number."""
    figure, _, shown = quantity(value, unit).rpartition(" ")
    return Line(lookup(key).label, figure, shown, note)


def _design(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    design, workload = document["design"], document["workload"]
    dot = f"{design['dot']} dot product, " if "dot" in design else ""
    units = f"exp {design['exp']}, division {design['divide']}, " if "exp" in design else ""
    yield "design", (f"{design['kind']}: {design['size']} at {design['clock_mhz']:g} MHz, {dot}{units}subnormals "
                     f"{'kept' if design['subnormals'] == 'keep' else 'flushed'}")
    stored = design["stored_formats"]
    yield "formats", _formats(design["formats"]) + (
        f"; registers built, priced and struck as: {_formats(stored)}" if stored else "")
    bits, check_bits = design["registers_bits"], design["check_unit_bits"]
    yield "flip-flops", f"{count(bits)} bits" + (
        f", {count(check_bits)} of them ({percent(check_bits / bits)}) in check units" if check_bits else "")
    for unit in design["units"]:
        yield "check unit", _unit(unit)
    if not design["units"]:
        yield "check unit", "none: the design is unprotected"
    yield "workload", _workload(workload)
    for label, text in workload["facts"].items():
        if label != "file":
            yield "", f"{label}: {text}"


def _workload(workload: Mapping[str, Any]) -> str:
    """What is computed, in words."""
    heads, macs = workload["heads"], quantity_of_macs(workload["macs"])
    m, n, k = (count(workload[key]) for key in ("queries", "keys", "head_dim"))
    if workload["kind"] == "gemm":
        return (f"{workload['name']}: {count(heads)} product{'s' if heads > 1 else ''} of {m} × {k} by {k} × {n}; "
                f"{macs} each")
    return (f"{workload['name']}: {count(heads)} head{'s' if heads > 1 else ''} of {m} queries × {n} keys, "
            f"head dim {workload['head_dim']}; mask {workload['mask']}; {macs} a head")


def reference_name(document: Mapping[str, Any]) -> str:
    """What the outputs are compared with: attention, or a plain product."""
    return "the product" if document["config"]["values"]["workload"]["kind"] == "gemm" else "attention"


def _unit(unit: Mapping[str, Any]) -> str:
    """A check unit in words."""
    said = [unit["kind"]]
    if "granularity" in unit:
        said.append(f"compares once a {unit['granularity'].replace('_', ' ')}")
    if unit["kind"] == "softmax_invariants":
        said.append(f"watches {', '.join(unit['which'])}")
    text = ", ".join(said)
    if "shares" in unit:
        own = [signal for signal, shared in unit["shares"].items() if not shared]
        shared = [signal for signal, shared in unit["shares"].items() if shared]
        text += f"; shares {', '.join(shared) or 'nothing'} with the datapath"
        text += f", computes {', '.join(own)} itself" if own else ""
    return text


def _formats(formats: Mapping[str, str]) -> str:
    """Roles grouped by format: operand bf16; score, exp, state fp32."""
    groups: dict[str, list[str]] = {}
    for role, name in formats.items():
        groups.setdefault(name, []).append(role)
    return "; ".join(f"{', '.join(roles)} {name}" for name, roles in groups.items())


def quantity_of_macs(macs: int) -> str:
    """Multiply-accumulates in words."""
    for size, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if macs >= size:
            return f"{number(macs / size)} {name} multiply-accumulates"
    return f"{macs} multiply-accumulates"


def _heads_note(document: Mapping[str, Any]) -> str:
    heads = document["time"]["all_heads"]["heads"]
    return "one head" if heads == 1 else f"one head, as every one of the {count(heads)}"


def _time(document: Mapping[str, Any]) -> Iterator[Line]:
    time = document["time"]
    clock = document["design"]["clock_mhz"]
    yield line("time.total_cycles", count(time["total_cycles"]),
               f"{quantity(time['total_us'], 'us')} at {clock:g} MHz; until the last output is in memory")
    yield line("time.formula_cycles", count(time["formula_cycles"]), f"  {time['formula']}, no stalls")
    yield line("time.stall_cycles", count(time["stall_cycles"]),
               "  " + ("; ".join(f"{CAUSES[cause]} {count(held)}" for cause, held in time["stalls"].items() if held)
                       or "the memory never makes the machine wait"))
    yield line("time.drain_cycles", count(time["drain_cycles"]), "  after the machine's last cycle")
    yield line("time.utilisation", percent(time["utilisation"]), time["useful"], "")
    yield line("time.macs_per_cycle", number(time["macs_per_cycle"]), "over the total")
    everything = time["all_heads"]
    if everything["heads"] > 1:
        yield line("time.all_heads.total_cycles", count(everything["total_cycles"]),
                   f"{quantity(everything['total_us'], 'us')}; {everything['note']}")


def _memory(document: Mapping[str, Any]) -> Iterator[Line]:
    memory = document["memory"]
    moved = ", ".join(f"{tensor} {quantity(n, 'B')}" for tensor, n in memory["bytes_moved"].items())
    yield scaled_line("memory.total_bytes", memory["total_bytes"], "B",
                      f"{moved}; payload {percent(memory['payload_bytes'] / memory['total_bytes'])}")
    busy = memory["bandwidth_utilisation"]
    yield line("memory.bandwidth_utilisation", percent(busy),
               "of the total time" if busy is not None else "bandwidth is unlimited", "")
    peak = memory["sram_peak_bytes"]
    yield scaled_line("memory.sram_peak_bytes.*", peak["all"], "B",
                      ", ".join(f"{tensor} {quantity(n, 'B')}" for tensor, n in peak.items() if tensor != "all"))


def _accuracy(document: Mapping[str, Any]) -> Iterator[Line]:
    accuracy = document["accuracy"]
    several = " of any head" if len(document["heads"]) > 1 else ""
    yield line("accuracy.max_abs_error", number(accuracy["max_abs_error"]), f"max |O − R|{several}")
    yield line("accuracy.rel_l2_error", number(accuracy["rel_l2_error"]), f"‖O − R‖₂ / ‖R‖₂{several}")


def _check(document: Mapping[str, Any], check: Mapping[str, Any]) -> Iterator[Line]:
    relative = check["threshold_kind"] == "relative"
    several = len(document["heads"]) > 1
    yield line("check_units[].threshold", number(check["threshold"]), check["threshold_origin"],
               "" if relative else None)
    if check["scan_threshold"] is not None:
        yield line("check_units[].scan_threshold", number(check["scan_threshold"]), "for comparisons inside a block",
                   "" if relative else None)
    if check["frequent"] is not None:
        yield line("check_units[].small_threshold", number(check["small_threshold"]), check["small_origin"])
    comparisons = check["comparisons"]
    yield line("check_units[].residual", number(check["residual"]),
               f"of {count(comparisons)} comparison{'s' if comparisons > 1 else ''} a head"
               + (f", over {len(document['heads'])} heads" if several else ""))
    yield line("check_units[].margin", f"{number(check['margin'])} ×", "smallest limit / |residual|")
    yield line("check_units[].clean_alarms", count(check["clean_alarms"]), f"of {len(document['heads'])} fault-free",
               "heads")
    rate = check["false_alarm_rate"]
    if rate["estimate"] is not None:
        yield line("check_units[].false_alarm_rate.estimate", percent(rate["estimate"]),
                   f"95% interval {percent_span(rate['low'], rate['high'])}: {check['unseen_alarms']} of "
                   f"{check['unseen_heads']} clean heads that no calibration saw", "")
    if check["alarm_delay_cycles"] is not None:
        yield line("check_units[].alarm_delay_cycles", count(check["alarm_delay_cycles"]),
                   "from the last output row to its alarm")
    yield line("check_units[].longest_wait_cycles", count(check["longest_wait_cycles"]), "between comparisons, at most")


def _recovery(document: Mapping[str, Any]) -> Iterator[Line]:
    recovery = document["recovery"]
    if recovery is None:
        return
    extra = recovery["mean_cycles"] / document["time"]["total_cycles"]
    yield line("recovery.mean_cycles", number(recovery["mean_cycles"], 4), f"+ {percent(extra)}: {recovery['note']}")
    if recovery["worst_cycles"] != recovery["mean_cycles"]:
        yield line("recovery.worst_cycles", count(recovery["worst_cycles"]), "for the worst unit")
    yield line("recovery.correction_cycles", count(recovery["correction_cycles"]),
               "from the alarm until the right outputs are in memory")
    yield scaled_line("recovery.mean_bytes", recovery["mean_bytes"], "B", "over the off-chip channel")
    energy = recovery["energy_pj"]
    if energy is not None:
        yield scaled_line("recovery.energy_pj.value", energy["value"], "pJ",
                          f"+ {percent(energy['value'] / document['energy']['total_pj']['value'])} of a head's")


def _show_cost(console: Console, document: Mapping[str, Any]) -> None:
    area, energy = document["area"], document["energy"]
    areas, energies = area["by_component_um2"], energy["by_component_pj"]
    area_unit, area_size = scaled(area["total_um2"]["value"], "um2")
    energy_unit, energy_size = scaled(energy["total_pj"]["value"], "pJ")

    def cells(estimate: Mapping[str, float] | None, total: float, size: float) -> tuple[str, str, str]:
        if estimate is None:
            return "", "", ""
        return (number(estimate["value"] / size), span(estimate["low"] / size, estimate["high"] / size, 2),
                percent(estimate["value"] / total, 2))

    def row(name: str, a: Mapping[str, float] | None, e: Mapping[str, float] | None) -> tuple[str, ...]:
        return (name, *cells(a, area["total_um2"]["value"], area_size),
                *cells(e, energy["total_pj"]["value"], energy_size))

    rows = [row(name, areas.get(name), energies.get(name)) for name in {**areas, **energies}]
    rows.append(row("total", area["total_um2"], energy["total_pj"]))
    console.print()
    note = f"technology {area['technology']}; energy of one head, leakage included"
    console.print(heading("Area and energy", note))
    headers = ("component", f"area {area_unit}", "low–high", "share", f"energy {energy_unit}", "low–high", "share")
    print_grid(console, grid(headers, rows, total=True))
    listed = list(_overheads(document))
    if listed:
        console.print()
        console.print(heading("Check unit overhead", "over the design without it, with 95% intervals"))
        console.print(facts(listed))


SCOPES = {"core": "over the datapath alone", "with_sram": "with SRAM", "system": "with SRAM and off-chip memory"}


def _overheads(document: Mapping[str, Any]) -> Iterator[Line]:
    published = document["published"]
    for what, said in (("area", "area_overhead"), ("energy", "energy_overhead_below")):
        for scope, overhead in (document[what]["overhead"] or {}).items():
            note = f"{percent_span(overhead['low'], overhead['high'])}, {SCOPES[scope]}"
            label = lookup(f"{what}.overhead.*.value").label if scope == "core" else ""
            yield Line(label, percent(overhead["value"]), "", note)
        if published is not None:
            bound = "< " if what == "energy" else ""
            note = f"{published['source']}; for context only"
            yield Line("  published", bound + percent(published[said], 2), "", note)
