"""Check units on the output buffer: they read the finished rows of a head back and judge them, one a cycle.

The public interface for a unit of your own is `OutputUnit`, with `Held` for the registers that it keeps, `UnitSection`
for its keys in a config, and the arithmetic of `Checker`, which rounds as the hardware does. docs/output-units.md is
the normative text, with a worked example.

- `unit`, `arithmetic`: that interface; `registry`: built-in and installed units; `invariants`: the built-in one;
- `machine`: a machine with such units around it, and its timing; `system`: the cycles that they add;
- `job`: a unit loaded for one head; `readback`: its registers, cycle by cycle, the definition of the hardware;
- `judge`, `verdict`: the same for many rows and many faults at a time;
- `stepped`, `replay`: engines with such units around them.
"""

from __future__ import annotations

from accel_sim.config import ConfigError
from accel_sim.config.checker import OutputUnitSection as UnitSection
from accel_sim.machines.operators import Operator
from accel_sim.output_units.arithmetic import Checker
from accel_sim.output_units.unit import Held, OutputUnit

__all__ = ["Checker", "ConfigError", "Held", "Operator", "OutputUnit", "UnitSection"]
