"""Area and energy: inventory and activity of a machine, times a technology table.

    technology = load_technology("28nm")
    area(machine, technology).overhead()
    energy(machine, technology, machine.timing(n_queries, n_keys)).total

docs/cost.md says what is counted, and how far to trust it.
"""

from __future__ import annotations

from accel_sim.cost.bill import area, energy
from accel_sim.cost.report import (
    CATEGORIES,
    SCOPES,
    AreaReport,
    CostReport,
    EnergyReport,
    Estimate,
    Item,
    Overhead,
)
from accel_sim.cost.table import MARKS, Entry, Technology, load_technology, shipped_technologies

__all__ = [
    "CATEGORIES",
    "MARKS",
    "SCOPES",
    "AreaReport",
    "CostReport",
    "EnergyReport",
    "Entry",
    "Estimate",
    "Item",
    "Overhead",
    "Technology",
    "area",
    "energy",
    "load_technology",
    "shipped_technologies",
]
