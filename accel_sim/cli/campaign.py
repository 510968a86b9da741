"""`accel-sim campaign`."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_sim.cli.errors import Interrupted, UsageError
from accel_sim.cli.inputs import config_of
from accel_sim.cli.output import Output, emit, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from accel_sim.campaign.runner import CampaignResult
    from accel_sim.config import Config


def campaign(options: Namespace) -> None:
    """Inject many faults and report what became of them."""
    from accel_sim.report.campaign_text import show_campaign
    from accel_sim.report.documents import campaign_document
    from accel_sim.report.plain import dumps

    config = config_of(options)
    if options.seed is not None:
        config = config.changed({"faults.seed": options.seed})
    folder = folder_of(options)
    result = _run(config, options)
    document = campaign_document(config, result)
    name = config.name or "unnamed config"
    files: dict[str, Callable[[], bytes]] = {
        "campaign.json": lambda: dumps(document).encode("ascii"),
        "outcomes.png": lambda: outcomes_figure(document, f"Outcomes by component, {name}"),
    }
    if document["latency_bins"]:
        files["latency.png"] = lambda: latency_figure(result, f"Detection latency, {name}")
    if folder is not None and result.computed == 0:
        # Nothing was added: figures that show these very numbers already are left as they are.
        figures = [name for name in files if name.endswith(".png")]
        if _shown(folder.path, document) and all((folder.path / name).exists() for name in figures):
            for name in figures:
                del files[name]
    output = Output(document, lambda console: show_campaign(console, document, result.how_to_open()), files)
    emit(output, options, folder)


def _run(config: Config, options: Namespace) -> CampaignResult:
    """The campaign, with what can go wrong sorted into the user's mistakes and the rest."""
    from accel_sim.campaign.runner import CampaignInterrupted, run_campaign
    from accel_sim.campaign.store import ForeignRunError
    from accel_sim.config import ConfigError

    try:
        return run_campaign(
            config, options.out, n=options.n, exhaustive=options.exhaustive, until_width=options.until_width,
            until_detected_above=options.until_detected_above, stratify=options.stratify,
            allocation=options.allocation, workers=options.workers, engine=options.engine, scheduler=options.scheduler,
        )
    except CampaignInterrupted as stop:
        raise Interrupted(str(stop)) from None
    except ConfigError:
        raise
    except (ValueError, ForeignRunError) as error:
        raise UsageError(str(error)) from error


def _shown(path: Path, document: Mapping[str, Any]) -> bool:
    """Whether the figures in a directory were drawn of a document with the same results."""
    from accel_sim.report.plain import dumps

    try:
        before = json.loads((path / "campaign.json").read_bytes())
    except (OSError, ValueError):
        return False
    drawn = ("components", "latency_bins", "latency_cycles")
    now = json.loads(dumps(document))
    return isinstance(before, dict) and all(before.get(part) == now.get(part) for part in drawn)


def outcomes_figure(document: Mapping[str, Any], title: str) -> bytes:
    """Outcomes by component with their intervals."""
    from accel_sim.report.figure_style import OUTCOME_COLOURS
    from accel_sim.report.figures import Share, outcomes_by_component

    parts = {name: part for name, part in document["components"].items() if part["faults"]}
    rates = {
        name: {
            outcome: Share(*(part["rates"][outcome][end] for end in ("estimate", "low", "high")))
            for outcome in OUTCOME_COLOURS
        }
        for name, part in parts.items()
    }
    return outcomes_by_component(rates, {name: part["faults"] for name, part in parts.items()}, title)


def latency_figure(result: CampaignResult, title: str) -> bytes:
    """The distribution of the detection latency."""
    import numpy as np

    from accel_sim.report.documents import detection_latencies
    from accel_sim.report.figures import latency_histogram

    delays = detection_latencies(result.summary)
    cycles = np.array([cycles for cycles, _, _ in delays], dtype=np.int64)
    counts = np.array([weight * faults for _, weight, faults in delays])
    return latency_histogram(cycles, counts, result.summary.latency_percentiles(), title)
