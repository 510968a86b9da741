"""Which configs the RTL can express: `check_expressible` refuses the others at the key that is to blame."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accel_sim.config import Config


def check_expressible(config: Config) -> None:
    """Raise ConfigError, at its key, for what a simulation can compute and this hardware cannot."""
    from accel_sim.config import ConfigError

    a = config.architecture
    if a.kind != "lanes":
        raise ConfigError.at(config, "architecture.kind", f"there is no RTL of {a.kind}; allowed: lanes")
    if a.sliding_window:
        raise ConfigError.at(config, "architecture.sliding_window",
                             "the RTL's masks have no first key; allowed: false")
    for role in ("operand", "score", "exp", "state", "output", "checker"):
        if (getattr(a.formats, role) or a.formats.state) == "fp64":
            raise ConfigError.at(config, f"architecture.formats.{role}",
                                 "the RTL has no fp64 units; allowed: fp32, fp16, bf16, fp8_e4m3, fp8_e5m2")
    for index, unit in enumerate(config.checker.units):
        if unit.kind != "fused_output":
            raise ConfigError.at(config, f"checker.units.{index}.kind",
                                 f"there is no RTL of {unit.kind}; allowed: fused_output")
        if unit.threshold.kind == "statistical":
            raise ConfigError.at(config, f"checker.units.{index}.threshold.kind",
                                 "the RTL counts no deviations; allowed: absolute, relative, calibrated, bound")
    if a.exp.kind == "exact":
        raise ConfigError.at(config, "architecture.exp.kind",
                             "the exact exponential is a model of any good unit, not a circuit; allowed in RTL: pwl")
    stored = config.faults.register_format
    for role in ("operand", "score", "exp", "state", "output", "checker"):
        name = getattr(stored, role, None) if stored else None
        if name and name != (getattr(a.formats, role) or a.formats.state):
            message = f"a register of the RTL has the bits of its arithmetic ({name} is stored); allowed: leave it out"
            raise ConfigError.at(config, f"faults.register_format.{role}", message)
