"""What `accel-sim rtl` found, as plain data: the design, and its synthesis beside inventory and cost model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from accel_sim.report.documents import head_of_document

if TYPE_CHECKING:
    from accel_sim.config import Config
    from accel_sim.cost import AreaReport, Estimate, Technology
    from accel_sim.machines.lanes import LanesMachine
    from accel_sim.rtl.synth import Synthesis


def rtl_document(machine: LanesMachine, files: Sequence[str], synthesis: Synthesis | None,
                 without: Synthesis | None) -> dict[str, Any]:
    """The document of `accel-sim rtl`.

    files: names of the design's files. synthesis: of the design; without: of the same without its check unit, None
    for an unprotected design. Raises ConfigError if the technology table has no price for something in the design.
    """
    from accel_sim.rtl.generate import TOP

    inventory = machine.inventory
    return {
        **head_of_document("rtl", machine.config),
        "design": {
            "top": TOP,
            "lanes": machine.lanes,
            "head_dim": machine.head_dim,
            "registers": len(inventory.registers),
            "registers_bits": inventory.bits,
            "registers_bits_by_component": inventory.bits_by("component"),
        },
        "files": list(files),
        "synthesis": _synthesis(machine, synthesis, without) if synthesis is not None else None,
    }


def technology_for(library: str, config: Config) -> Technology:
    """The shipped technology table whose name stands in a library's; else the one that the config names.

    Raises ConfigError for a table that cannot be used.
    """
    from accel_sim.cost import load_technology, shipped_technologies

    for name in shipped_technologies():
        if name.lower() in library.lower():
            return load_technology(name)
    return load_technology(config.technology.name)


def _synthesis(machine: LanesMachine, found: Synthesis, without: Synthesis | None) -> dict[str, Any]:
    from accel_sim.cost import area

    technology = technology_for(found.library.name, machine.config)
    bill = area(machine, technology)
    return {
        "tool": found.netlist.version,
        "seconds": found.seconds + (without.seconds if without else 0.0),
        "unique_modules": found.unique_modules,
        "library": found.library.name,
        "library_files": [file.path.name for file in found.library.files],
        "technology": technology.name,
        "area_um2": found.area_um2,
        "unprotected_area_um2": without.area_um2 if without else None,
        "model_um2": _estimate(bill, None),
        "flip_flops_bits": found.flip_flop_bits,
        "flip_flops_as_inventory": not found.differences,
        "flip_flop_differences": list(found.differences),
        "components": {
            name: {"area_um2": area_um2, "model_um2": _estimate(bill, name)}
            for name, area_um2 in found.by_component.items()
        },
        "overhead": {
            "synthesised": found.area_um2 / without.area_um2 - 1.0,
            "by_modules": found.check_share,
            "model": _model_overhead(bill),
        } if without else None,
        "modules": [
            {
                "name": module.module,
                "instances": module.instances,
                "area_um2": module.area_um2,
                "flip_flops_um2": module.flip_flops_um2,
                "flip_flops_bits": module.flip_flop_bits,
                "inventory_bits": module.inventory_bits,
            }
            for module in found.modules
        ],
    }


def _estimate(bill: AreaReport, component: str | None) -> dict[str, float]:
    """The cost model's area of a component, or of everything that has RTL: all but the SRAM."""
    items = [item for item in bill.items if item.component != "sram" and component in (None, item.component)]
    estimate: Estimate = bill.estimate(items)
    return estimate.as_dict()


def _model_overhead(bill: AreaReport) -> dict[str, float]:
    overhead = bill.overhead("core")
    return {"value": overhead.value, "low": overhead.low, "high": overhead.high}
