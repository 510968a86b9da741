"""From a unit's section in a config to the unit: built in, or installed by another package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from accel_sim.config import Config, ConfigError
from accel_sim.config.checker import OutputUnitSection
from accel_sim.config.installed import CHECK_UNITS, BadPackage, installed, installed_names
from accel_sim.machines.machine import Machine
from accel_sim.output_units.unit import OutputUnit

BUILT_IN = {"invariants": "accel_sim.output_units.invariants:Invariants"}
"""Units on the output buffer that need no other package."""


def unit_class(kind: str) -> type[OutputUnit]:
    """The class of a unit. Raises BadPackage for an installed one that is none."""
    if kind in BUILT_IN:
        module, name = BUILT_IN[kind].split(":")
        found = getattr(import_module(module), name)
    else:
        found = installed(CHECK_UNITS, kind)
    if not (isinstance(found, type) and issubclass(found, OutputUnit)):
        raise BadPackage(f"{found!r}, installed as {kind}, must be a subclass of OutputUnit")
    if found.__abstractmethods__:
        raise BadPackage(f"{found!r}, installed as {kind}, has no {', '.join(sorted(found.__abstractmethods__))}")
    result: type[OutputUnit] = found
    return result


def output_units(machine: Machine) -> tuple[OutputUnit, ...]:
    """The units on the output buffer that a machine's config asks for, in its order.

    Raises ConfigError, at the unit's key, for one that cannot be made, and where an installed package claims the name
    of a built-in unit that the config uses.
    """
    config, found = machine.config, []
    for number, section in enumerate(config.checker.units):
        key = f"checker.units.{number}"
        if isinstance(section, OutputUnitSection):
            found.append(_made(machine, section, key))
        if _is_built_in(section) and section.kind in installed_names(CHECK_UNITS):
            raise ConfigError.at(config, f"{key}.kind",
                                 f"an installed package gives its own check unit the name of the built-in "
                                 f"{section.kind}: it must take another")
    return tuple(found)


def _made(machine: Machine, section: OutputUnitSection, key: str) -> OutputUnit:
    config: Config = machine.config
    try:
        cls = unit_class(section.kind)
    except BadPackage as error:
        raise ConfigError.at(config, f"{key}.kind", str(error)) from None
    if section.threshold.kind == "relative" and not cls.has_scale:
        raise ConfigError.at(config, f"{key}.threshold.kind",
                             f"{section.kind} has no magnitude to take a fraction of: use absolute, calibrated or "
                             f"statistical")
    return cls(section, machine)


def _is_built_in(section: Any) -> bool:
    return type(section).__module__.startswith("accel_sim.config.")
