"""`accel-sim campaign` for people: outcomes by component, rates with intervals, how long detection takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.report.definitions import lookup
from accel_sim.report.run_text import show_title
from accel_sim.report.text import Line, count, facts, grid, heading, labelled, number, percent, print_grid

if TYPE_CHECKING:
    from rich.console import Console

SHOWN = {
    "coverage": "coverage", "precision": "precision", "detected": "detected", "silent": "silent",
    "false_alarm": "false alarm", "masked": "masked", "hang": "hang",
}
"""Rates that are printed, and as what."""

BAR = 40
"""Characters of the longest bar."""

REASONS = {
    "width": "the interval is narrow enough",
    "above": "the coverage is above the target",
    "not above": "the coverage is not above the target",
}


def show_campaign(console: Console, document: Mapping[str, Any], how_to_open: str) -> None:
    """Print the document of a campaign."""
    show_title(console, document)
    console.print(labelled(_campaign(document)))
    console.print()
    note = "% of the faults in it (95% interval); coverage: detected, of wrong outputs"
    console.print(heading("Outcomes by component", note))
    headers = ("component", "faults", "detected", "silent", "false alarm", "masked", "coverage")
    print_grid(console, grid(headers, _components(document), total=True))
    console.print()
    console.print(heading("Rates", "all faults, with 95% intervals"))
    console.print(facts(_rates(document)))
    console.print()
    console.print(heading("Detection latency", "cycles from the fault to its alarm, of the detected"))
    console.print(facts(_latency(document)))
    if document["latency_bins"]:
        console.print()
        print_grid(console, _histogram(document))
    console.print()
    console.print(how_to_open, style="dim", soft_wrap=True)


def _campaign(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    campaign = document["campaign"]
    sampling = campaign["sampling"]
    drawn = sampling["kind"] + (f" by {', '.join(sampling['by'])}" if sampling.get("by") else "")
    yield "faults", (f"{count(campaign['faults'])}, {drawn}, of a universe of {count(campaign['universe'])} "
                     f"bit·cycles; seed {campaign['seed']}")
    rate = campaign["computed"] / campaign["seconds"] if campaign["seconds"] > 0 else 0.0
    yield "engine", campaign["engine"] + (
        f"; {count(campaign['computed'])} injected in {number(campaign['seconds'])} s, {number(rate)} a second"
        if campaign["computed"] else "; nothing injected: every record was there already")
    stopped = campaign["stopped"]
    if stopped is not None:
        yield "stopped", (f"{REASONS[stopped['reason']]}: {percent(stopped['estimate'])}, always-valid interval "
                          f"{percent(stopped['low'])} to {percent(stopped['high'])}")
    elif not campaign["complete"]:
        yield "stopped", "at the most faults allowed; the stopping rule was not met"


def _interval(rate: Mapping[str, Any]) -> str:
    """12.3 (10–15), in percent; a dash if nothing was tried."""
    if not rate["among"]:
        return "–"
    return f"{_points(rate['estimate'])} ({_end(rate['low'])}–{_end(rate['high'])})"


def _end(share: float) -> str:
    """An end of an interval in percent: two figures, and no more than two decimals."""
    points = 100 * share
    return f"{points:.{0 if points >= 9.95 else 1 if points >= 0.995 else 2}f}"


def _points(share: float) -> str:
    """A share in percent: one decimal, two below one percent."""
    return f"{100 * share:.{2 if 0 < share < 0.00995 else 1}f}"


def _components(document: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    parts = {name: (part["faults"], part["rates"]) for name, part in document["components"].items()}
    parts["all"] = (document["campaign"]["faults"], document["rates"])
    for name, (faults, rates) in parts.items():
        masked = rates["masked"]
        yield (name, count(faults), *(_interval(rates[share]) for share in ("detected", "silent", "false_alarm")),
               _points(masked["estimate"]) if masked["among"] else "–", _interval(rates["coverage"]))


def _rates(document: Mapping[str, Any]) -> Iterator[Line]:
    for name, label in SHOWN.items():
        rate = document["rates"][name]
        if name == "hang" and not rate["hits"]:
            continue
        value = percent(rate["estimate"]) if rate["among"] else "–"
        note = f"{percent(rate['low'])} to {percent(rate['high'])}: {rate['about']} ({count(rate['hits'])} of " \
               f"{count(rate['among'])})"
        yield Line(label, value, "", note if rate["among"] else f"no fault to count: {rate['about']}")


def _latency(document: Mapping[str, Any]) -> Iterator[Line]:
    found = document["latency_cycles"]
    for name in ("p50", "p90", "p99"):
        definition, cycles, low = lookup(f"latency_cycles.{name}"), found[name], found[f"{name}_low"]
        note = f"95% interval {count(low)}–{count(found[f'{name}_high'])}" if low is not None else ""
        yield Line(definition.label, count(cycles), definition.unit if cycles is not None else "", note)


def _histogram(document: Mapping[str, Any]) -> Any:
    bins = document["latency_bins"]
    top = max(b["share"] for b in bins)
    rows = [
        (f"{count(b['first_cycles'])}–{count(b['last_cycles'])}", count(b["faults"]), percent(b["share"], 2),
         "█" * round(BAR * b["share"] / top))
        for b in bins
    ]
    table = grid(("cycles", "faults", "share", ""), rows, left=0)
    table.columns[-1].justify = "left"
    return table
