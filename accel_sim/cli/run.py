"""`accel-sim run`."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from accel_sim.cli.inputs import config_of
from accel_sim.cli.output import Output, emit, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from accel_sim.api import Simulation


def run(options: Namespace) -> None:
    """Simulate a design and report it."""
    from accel_sim.api import simulate
    from accel_sim.kinds import part_of
    from accel_sim.report.plain import dumps
    from accel_sim.report.run_text import show_run

    config = config_of(options)
    folder = folder_of(options)
    simulation = simulate(config)
    document = simulation.to_dict()
    files: dict[str, Callable[[], bytes]] = {
        "run.json": lambda: dumps(document).encode("ascii"),
        "area.png": lambda: cost_figure(document, "area", "um2"),
        "energy.png": lambda: cost_figure(document, "energy", "pJ"),
    }
    if part_of(simulation.machine.kind, "weights") is not None:
        files["attention.png"] = lambda: attention_figure(simulation)
    if simulation.limits:
        files["latency.png"] = lambda: latency_figure(simulation)
    emit(Output(document, lambda console: show_run(console, document), files), options, folder)


def cost_figure(document: Mapping[str, Any], what: str, unit: str) -> bytes:
    """Area (`um2`) or energy (`pJ`) by component."""
    from accel_sim.report.figures import Bar, cost_bars

    components = document[what][f"by_component_{unit.lower()}"]
    bars = [Bar(name, e["value"], e["low"], e["high"], name.startswith("checker.")) for name, e in components.items()]
    axis = "area" if what == "area" else "energy of one head"
    return cost_bars(bars, unit, f"{axis.capitalize()} by component, {document['config']['name']}", axis)


def attention_figure(simulation: Simulation) -> bytes:
    """The attention map of the first head, as the machine computes it."""
    from accel_sim.kinds import bare, part_of
    from accel_sim.report.figures import attention_map

    head, machine = simulation.workload.heads[0], bare(simulation.machine)
    weights = part_of(machine.kind, "weights")(machine, simulation.assembly.job(head))
    return attention_map(weights, f"Attention of {head}, {simulation.config.name}")


def latency_figure(simulation: Simulation) -> bytes:
    """How long a fault of the first head waits at least for its alarm."""
    from accel_sim.report.figures import least_latency

    golden = simulation.heads[0].golden
    alarms = [comparison.cycle + 1 for comparison in golden.comparisons]
    return least_latency(alarms, golden.cycles, f"Least detection latency, {simulation.config.name}")
