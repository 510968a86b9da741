"""Check units: what they compare with, and how their thresholds come about.

`thresholds` gives the limits that a config's check units are loaded with; `rounding_bound` the derived one. The
hardware of a unit stands in its machine's inventory (accel_sim.machines).
"""

from __future__ import annotations

from accel_sim.checkers.bound import rounding_bound, weight_excess
from accel_sim.checkers.threshold import Threshold, clean_residuals, limits_of, thresholds

__all__ = ["Threshold", "clean_residuals", "limits_of", "rounding_bound", "thresholds", "weight_excess"]
