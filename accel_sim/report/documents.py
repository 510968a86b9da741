"""Results as plain data: what --json prints and --out keeps. `report.definitions` defines every key."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import accel_sim
from accel_sim.config import Config, config_hash, load_config, to_dict
from accel_sim.config.checker import OutputUnitSection

if TYPE_CHECKING:
    from accel_sim.analysis.explain import Explanation
    from accel_sim.analysis.summary import Rate, Summary
    from accel_sim.api import HeadRun, Simulation
    from accel_sim.campaign.runner import CampaignResult
    from accel_sim.cost import CostReport, Estimate
    from accel_sim.engines.result import Comparison, RunResult
    from accel_sim.machines.inventory import Register
    from accel_sim.machines.machine import Machine
    from accel_sim.machines.memories import Memory
    from accel_sim.validation import Validation
    from accel_sim.validation_scalesim import ScaleSimRow


def run_document(run: Simulation) -> dict[str, Any]:
    """The document of `accel-sim run`."""
    return {
        **head_of_document("run", run.config),
        "design": _design(run),
        "workload": _workload(run),
        "time": _time(run),
        "memory": _memory(run),
        "accuracy": {
            "max_abs_error": max(head.distance.max_abs for head in run.heads),
            "rel_l2_error": max(head.distance.rel_l2 for head in run.heads),
        },
        "check_units": [_check(run, unit) for unit in run.machine.units],
        "recovery": _recovery(run),
        "area": _area(run),
        "energy": _energy(run),
        "published": published(run.config),
        "heads": [_head(head) for head in run.heads],
    }


def inject_document(config: Config, story: Explanation) -> dict[str, Any]:
    """The document of `accel-sim inject`."""
    fault, register, holds, harm = story.fault, story.register, story.occupant, story.severity
    told, clean, word = story.faulty.telling(), story.golden.telling(), story.word
    by, alarm_cycle = story.faulty.raised
    return {
        **head_of_document("inject", config),
        "fault": {
            "register": fault.register,
            "index": fault.index,
            "bit": fault.bit,
            "kind": fault.kind,
            "bits": fault.bits,
            "duration_cycles": fault.duration,
            "cycle": fault.cycle,
            "layer": story.head.layer,
            "head": story.head.head,
        },
        "where": {
            "component": register.component,
            "role": register.role,
            "about": register.about,
            "shape": register.shape,
            "width_bits": register.width_bits,
            "format": register.format.name,
            "stored_format": register.stored.name,
            "holds": holds.what if holds else None,
            "query": holds.query if holds else None,
            "key": holds.key if holds else None,
            "dim": holds.dim if holds else None,
        },
        "when": {
            "phase": story.phase,
            "stalled": story.stalled,
            "machine_cycle": story.machine_cycle,
            "run_cycles": story.golden.cycles,
        },
        "value": {
            "before": story.old_value,
            "after": story.new_value,
            "before_bits": _pattern(story.old_bits, register.stored.width_bits),
            "after_bits": _pattern(story.new_bits, register.stored.width_bits),
        },
        "word": {
            "protection": word.memory.protection,
            "elements": word.memory.word_elements,
            "data_bits": word.memory.word_bits,
            "check_bits": word.memory.check_bits,
            "read_cycle": word.read_cycle,
            "decoder": word.decoder,
            "alarm_cycle": word.alarm_cycle,
        } if word else None,
        "reach": {"scores": story.score_changes, "weights": story.weight_changes, "rows": story.queries},
        "attention": [
            {
                "query": row.query,
                "keys": row.keys,
                "before": row.golden_weights,
                "after_keys": row.faulty_keys,
                "after": row.faulty_weights,
            }
            for row in story.rows
        ],
        "comparison": {
            "residual": told.residual if told else None,
            "limit": told.limit if told else None,
            "predicted": told.predicted if told else None,
            "actual": told.actual if told else None,
            "clean_residual": clean.residual,
        } if clean else None,
        "alarm": {
            "by": by,
            "cycle": alarm_cycle,
            "latency_cycles": story.latency_cycles,
        } if clean or (word and word.memory.check_bits) else None,
        "outcome": {
            "class": story.outcome,
            "rel_l2": harm.rel_l2,
            "max_abs": harm.max_abs,
            "max_ulp": harm.max_ulp,
            "nonfinite": harm.nonfinite,
            "rows": harm.rows,
            "cycles": story.faulty.cycles,
            "hang": story.faulty.hang,
        },
    }


def registers_document(config: Config, storage: Iterable[Register | Memory]) -> dict[str, Any]:
    """The document of `accel-sim inject --list`: registers and memories."""
    return {
        **head_of_document("inject", config),
        "registers": [
            {
                "name": register.name,
                "shape": register.shape,
                "width_bits": register.width_bits,
                "bits": register.bits,
                "format": register.stored.name,
                "role": register.role,
                "component": register.component,
                "about": register.about,
            }
            for register in storage
        ],
    }


def campaign_document(config: Config, result: CampaignResult) -> dict[str, Any]:
    """The document of `accel-sim campaign`."""
    manifest, summary = result.manifest, result.summary
    stopped = result.verdict
    exposed = sum(summary.exposure.values())
    everything = result.population is not None
    return {
        **head_of_document("campaign", config),
        "campaign": {
            "path": str(result.path),
            "faults": result.n,
            "computed": result.computed,
            "seconds": result.seconds,
            "seed": manifest.identity.seed,
            "engine": manifest.engine,
            "sampling": manifest.sampling.describe(),
            "universe": manifest.identity.universe,
            "complete": result.complete,
            "stopped": {
                "reason": stopped.reason,
                "estimate": stopped.interval.estimate,
                "low": stopped.interval.low,
                "high": stopped.interval.high,
            } if stopped else None,
        },
        "rates": {name: _rate(rate) for name, rate in result.rates().items()},
        "components": {
            name: {
                "faults": part.n,
                "exposure": summary.exposure[name] / exposed if summary.exposure.get(name) else 0.0,
                "rates": {share: _rate(rate) for share, rate in part.rates(population=whole).items()},
            }
            for name in sorted(summary.components, key=datapath_rank)
            for part in (summary.of(name),)
            for whole in (part.n if everything else None,)
        },
        "latency_cycles": summary.latency_percentiles(),
        "latency_bins": latency_bins(summary),
    }


def _rate(rate: Rate) -> dict[str, Any]:
    interval = rate.interval
    return {
        "estimate": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "hits": rate.hits,
        "among": rate.among,
        "method": interval.method,
        "about": rate.about,
    }


def detection_latencies(summary: Summary) -> list[tuple[int, float, int]]:
    """(cycles, weight, faults) of the detected faults."""
    return [(cycles, group.weight, faults) for group, counts in summary.latencies.items()
            if group.outcome == "detected" for cycles, faults in counts.items()]


LATENCY_BINS = 12


def latency_bins(summary: Summary) -> list[dict[str, Any]]:
    """The detection latencies in at most `LATENCY_BINS` bins of equal width."""
    delays = detection_latencies(summary)
    if not delays:
        return []
    low, high = min(d[0] for d in delays), max(d[0] for d in delays)
    width = -(-(high - low + 1) // LATENCY_BINS)
    faults: dict[int, int] = {}
    shares: dict[int, float] = {}
    for cycles, weight, count in delays:
        place = (cycles - low) // width
        faults[place] = faults.get(place, 0) + count
        shares[place] = shares.get(place, 0.0) + weight * count
    total = math.fsum(shares.values())
    return [
        {
            "first_cycles": low + place * width,
            "last_cycles": min(low + (place + 1) * width - 1, high),
            "share": shares.get(place, 0.0) / total,
            "faults": faults.get(place, 0),
        }
        for place in range((high - low) // width + 1)
    ]


def configs_document(configs: Iterable[tuple[str, Path, str]]) -> dict[str, Any]:
    """The document of `accel-sim configs`: (name, path, description) of each."""
    listed = [{"name": name, "path": str(path), "description": about} for name, path, about in configs]
    return {"command": "configs", "version": accel_sim.__version__, "configs": listed}


def _pattern(bits: int, width: int) -> str | None:
    """A bit pattern in hexadecimal; None for −1, none."""
    return None if bits < 0 else f"0x{bits:0{-(-width // 4)}x}"


def validation_document(found: Validation) -> dict[str, Any]:
    """The document of `accel-sim validate`."""
    return {
        **head_of_document("validate", found.config),
        "agree": found.agree,
        "checks": [vars(check) for check in found.checks],
        "distance": {"max_abs_error": found.distance.max_abs, "rel_l2_error": found.distance.rel_l2},
    }


def scalesim_document(rows: Iterable[ScaleSimRow]) -> dict[str, Any]:
    """The document of `accel-sim validate --scalesim`."""
    listed = list(rows)
    return {
        "command": "validate",
        "version": accel_sim.__version__,
        "agree": all(row.agrees for row in listed),
        "products": [vars(row) for row in listed],
    }


def head_of_document(command: str, config: Config) -> dict[str, Any]:
    """What every document about a config begins with."""
    return {
        "command": command,
        "version": accel_sim.__version__,
        "config": {
            "name": config.name,
            "description": config.description,
            "hash": config_hash(config),
            "values": to_dict(config),
        },
    }


def comparisons_of(result: RunResult, unit: str | None) -> list[Comparison]:
    """The comparisons of one check unit, or of all."""
    return [c for c in result.comparisons if unit in (None, c.unit)]


def longest_wait(comparisons: Iterable[Comparison]) -> int | None:
    """Cycles between the alarms that two successive comparisons could raise, or from the start to the first."""
    cycles = [0, *(comparison.cycle + 1 for comparison in comparisons)]
    return max((b - a for a, b in pairwise(cycles)), default=None)


def margin(run: Simulation, unit: str) -> float:
    """Smallest limit / |residual| of every comparison of a unit in every head; infinite if all residuals are 0."""
    found = float("inf")
    for head in run.heads:
        for c in comparisons_of(head.golden, unit):
            if c.residual != 0.0:
                found = min(found, c.limit / abs(c.residual)) if abs(c.residual) < float("inf") else 0.0
    return found


def check_unit_bits(machine: Machine) -> int:
    """Flip-flop bits of the check units."""
    by_component = machine.inventory.bits_by("component")
    return sum(bits for name, bits in by_component.items() if name.startswith("checker."))


def _design(run: Simulation) -> dict[str, Any]:
    machine, architecture = run.machine, run.config.architecture
    return {
        "kind": machine.kind,
        **machine.describe(),
        "head_dim": machine.head_dim,
        "clock_mhz": architecture.clock_mhz,
        "subnormals": machine.subnormals,
        "formats": {role: fmt.name for role, fmt in machine.formats.items()},
        "stored_formats": _stored_formats(machine),
        "registers_bits": machine.inventory.bits,
        "check_unit_bits": check_unit_bits(machine),
        "units": [unit.model_dump(exclude={"threshold"}) for unit in run.config.checker.units],
    }


def _stored_formats(machine: Machine) -> dict[str, str]:
    """Format of the registers of each role, where a campaign strikes narrower ones than the arithmetic's."""
    stated = machine.config.faults.register_format
    named = stated.model_dump() if stated else {}
    return {role: name for role, name in named.items() if name is not None and name != machine.formats[role].name}


def _workload(run: Simulation) -> dict[str, Any]:
    workload = run.workload
    return {
        "name": workload.name,
        "kind": workload.kind,
        "heads": len(workload.heads),
        "queries": workload.n_queries,
        "keys": workload.n_keys,
        "head_dim": workload.head_dim,
        "mask": str(workload.mask),
        "scores": workload.score_count,
        "macs": workload.macs,
        "facts": dict(workload.details),
    }


def microseconds(run: Simulation, cycles: float) -> float:
    """Cycles at the design's clock."""
    return float(cycles / run.config.architecture.clock_mhz)


def _time(run: Simulation) -> dict[str, Any]:
    system, totals = run.system, run.totals
    return {
        "total_cycles": system.total_cycles,
        "total_us": microseconds(run, system.total_cycles),
        "machine_cycles": system.cycles,
        "formula_cycles": run.assembly.timing.head_cycles,
        "formula": run.machine.formula,
        "useful": run.machine.useful,
        "stall_cycles": system.stall_cycles,
        "stalls": dict(system.stalls),
        "drain_cycles": system.drain_cycles,
        "utilisation": run.utilisation,
        "macs_per_cycle": run.workload.macs / system.total_cycles,
        "all_heads": {
            "heads": totals.heads,
            "total_cycles": totals.total_cycles,
            "total_us": microseconds(run, totals.total_cycles),
            "note": totals.note,
        },
    }


def _memory(run: Simulation) -> dict[str, Any]:
    system = run.system
    return {
        "bytes_moved": system.bytes_moved,
        "total_bytes": sum(system.bytes_moved.values()),
        "payload_bytes": sum(moved.payload_bytes for moved in system.traffic.values()),
        "bandwidth_utilisation": system.bandwidth_utilisation,
        "sram_peak_bytes": dict(system.sram_peak_bytes),
    }


def _check(run: Simulation, unit: Any) -> dict[str, Any]:
    from accel_sim.analysis.statistics import jeffreys
    from accel_sim.engines.result import first_alarm

    limits = run.limits[unit.kind]
    told = [head.golden.telling(unit.kind) for head in run.heads]
    worst = max((c for c in told if c is not None), key=lambda c: _size(c.residual), default=None)
    rate = jeffreys(limits.unseen_alarms, limits.unseen_heads) if limits.unseen_heads else None
    of_head = comparisons_of(run.heads[0].golden, unit.kind)
    policy = limits.small_limit, limits.frequent
    return {
        "unit": unit.kind,
        "threshold_kind": limits.kind,
        "threshold": limits.limit,
        "scan_threshold": limits.scan_limit if any(c.scanned for c in of_head) else None,
        "small_threshold": limits.small_limit if limits.frequent else None,
        "frequent": limits.frequent or None,
        "threshold_origin": threshold_origin(run, unit),
        "small_origin": small_origin(run, unit),
        "largest_clean_residual": limits.largest_clean,
        "calibration_heads": limits.calibration_heads,
        "residual": _size(worst.residual) if worst else None,
        "limit": worst.limit if worst else None,
        "margin": margin(run, unit.kind),
        "comparisons": len(of_head),
        "clean_alarms": sum(first_alarm(comparisons_of(head.golden, unit.kind), policy) is not None
                            for head in run.heads),
        "unseen_heads": limits.unseen_heads,
        "unseen_alarms": limits.unseen_alarms,
        "false_alarm_rate": {
            "estimate": rate.estimate if rate else None,
            "low": rate.low if rate else None,
            "high": rate.high if rate else None,
        },
        "alarm_delay_cycles": _alarm_delay(run, unit),
        "longest_wait_cycles": longest_wait(of_head),
    }


def _alarm_delay(run: Simulation, unit: Any) -> int | None:
    """Cycles from the last row of a unit of work standing in the register that the check unit takes it from."""
    if isinstance(unit, OutputUnitSection):
        from accel_sim.output_units.judge import ROW_TO_ALARM

        return ROW_TO_ALARM
    timing: Any = run.assembly.timing
    if unit.kind != "fused_output" and hasattr(run.machine, "watch_depth"):
        # A unit that looks at lanes takes its query from the lane, not from the output register.
        return int(run.machine.watch_depth(unit.kind) - timing.normalise)
    delay: int | None = getattr(timing, "alarm_delay_cycles", None)
    return delay


def _size(residual: float) -> float:
    """|residual|, a NaN counting as the largest there is."""
    return abs(residual) if residual == residual else float("inf")


def threshold_origin(run: Simulation, unit: Any) -> str:
    """How a check unit's threshold came about, in words."""
    spec, limits = unit.threshold, run.limits[unit.kind]
    if spec.kind == "absolute":
        return f"{spec.value:g}, as the config states, rounded to {run.machine.formats['checker'].name}"
    if spec.kind == "relative" and isinstance(unit, OutputUnitSection):
        return f"{spec.value:g} of the magnitude that the unit gives for a row, as the config states"
    if spec.kind == "relative":
        return f"{spec.value:g} of the larger of |predicted| and |actual|, as the config states"
    if spec.kind == "bound":
        return f"{spec.slack:g} × a bound on the rounding error, from the formats and sizes"
    if spec.kind == "statistical":
        return f"{spec.large:g} × the small limit: one that exceeds it raises the alarm at once"
    return _multiple(spec, limits)


def small_origin(run: Simulation, unit: Any) -> str | None:
    """How the small limit of a statistical threshold came about, in words; None for other thresholds."""
    if unit.threshold.kind != "statistical":
        return None
    return f"{_multiple(unit.threshold, run.limits[unit.kind])}; in one head {unit.threshold.frequent} raise the alarm"


def _multiple(spec: Any, limits: Any) -> str:
    return (f"{spec.multiple:g} × {limits.largest_clean:.3g}, the largest residual of {limits.calibration_heads} "
            f"clean calibration heads")


def _recovery(run: Simulation) -> dict[str, Any] | None:
    cost = run.recovery
    if cost is None:
        return None
    return {
        "unit": cost.unit,
        "mean_cycles": cost.mean_cycles,
        "worst_cycles": cost.worst_cycles,
        "correction_cycles": cost.worst_correction_cycles,
        "mean_bytes": sum(cost.mean_bytes.values()),
        "energy_pj": run.recovery_energy.total.as_dict() if run.recovery_energy else None,
        "note": cost.note,
    }


def _area(run: Simulation) -> dict[str, Any]:
    return {
        "technology": run.area.technology.name,
        "total_um2": run.area.total.as_dict(),
        "by_component_um2": _in_order(run.area.by_component),
        "by_category_um2": {name: e.as_dict() for name, e in run.area.by_category.items()},
        "overhead": _overheads(run.area, ("core", "with_sram")),
    }


def _energy(run: Simulation) -> dict[str, Any]:
    return {
        "technology": run.energy.technology.name,
        "total_pj": run.energy.total.as_dict(),
        "all_heads_pj": run.all_heads_pj,
        "power_mw": run.energy.power_mw.as_dict(),
        "by_component_pj": _in_order(run.energy.by_component),
        "by_category_pj": {name: e.as_dict() for name, e in run.energy.by_category.items()},
        "overhead": _overheads(run.energy, ("core", "with_sram", "system")),
    }


DATAPATH = ("operand", "score", "softmax", "output", "normalise", "control")
AROUND = ("sram", "off_chip")


def datapath_rank(component: str) -> tuple[int, int]:
    """Where a component stands in tables: in the order of the datapath, then check units, then memory."""
    if component in DATAPATH:
        return 0, DATAPATH.index(component)
    return (2, AROUND.index(component)) if component in AROUND else (1, 0)


def _in_order(estimates: Mapping[str, Estimate]) -> dict[str, dict[str, float]]:
    return {name: estimates[name].as_dict() for name in sorted(estimates, key=datapath_rank)}


def _overheads(report: CostReport, scopes: tuple[str, ...]) -> dict[str, Any] | None:
    if not any(item.component.startswith("checker.") for item in report.items):
        return None
    found = {scope: report.overhead(scope) for scope in scopes}
    return {scope: {"value": o.value, "low": o.low, "high": o.high} for scope, o in found.items()}


PAPER_CONFIGS = ("paper-d64", "paper-d128")


def published(config: Config) -> dict[str, Any] | None:
    """What the abstract of arXiv 2507.16676 states, if the config is a shipped one that stands for its accelerator."""
    if config.name not in PAPER_CONFIGS or config_hash(config) != config_hash(load_config(config.name)):
        return None
    return {"source": "arXiv 2507.16676, abstract", "area_overhead": 0.053, "energy_overhead_below": 0.019}


def _head(head: HeadRun) -> dict[str, Any]:
    told = head.golden.telling()
    return {
        "layer": head.head.layer,
        "head": head.head.head,
        "max_abs_error": head.distance.max_abs,
        "rel_l2_error": head.distance.rel_l2,
        "residual": told.residual if told else None,
        "limit": told.limit if told else None,
        "predicted": told.predicted if told else None,
        "actual": told.actual if told else None,
        "alarm_cycle": head.golden.alarm_cycle,
    }
