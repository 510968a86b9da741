"""From the `parts` of a protection unit to the register arrays that they name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from accel_sim.config.errors import ConfigError, Problem, did_you_mean
from accel_sim.config.protection import MACHINE, RegisterProtection, ReplicatingUnit
from accel_sim.machines.inventory import ROLES, Inventory, Register

if TYPE_CHECKING:
    from accel_sim.config import Config

CHECK_UNITS = "checker."
"""What the components of check units begin with."""


def resolve(inventory: Inventory, units: Sequence[RegisterProtection],
            config: Config | None = None) -> tuple[tuple[Register, ...], ...]:
    """The register arrays that each unit protects, in the inventory's order.

    config: the one that states the units, for the place in messages. Raises ConfigError for a part that the machine
    does not have, for an ambiguous one, and where two units protect the same register.
    """
    owner: dict[str, RegisterProtection] = {}
    found = []
    for unit in units:
        chosen: set[str] = set()
        for part in unit.parts:
            names = _named(inventory, part)
            if isinstance(names, str):
                raise problem(unit, "parts", names, config)
            chosen.update(names)
        for register in inventory:
            other = owner.get(register.name)
            if register.name in chosen and other is not None:
                raise problem(unit, "parts", f"{unit.kind} and {other.kind} both protect register "
                              f"{register.name}; a register has one protection at most", config)
        owner |= dict.fromkeys(chosen, unit)
        found.append(tuple(register for register in inventory if register.name in chosen))
    return tuple(found)


def check_operators(units: Sequence[RegisterProtection], names: Sequence[str], config: Config | None = None) -> None:
    """Raise ConfigError if a unit has an operator built again that is not among `names`, those of the machine."""
    for unit in units:
        for name in unit.operators if isinstance(unit, ReplicatingUnit) else ():
            if name not in names:
                message = f'no operator "{name}"{did_you_mean(name, names)} (this machine has: {", ".join(names)})'
                raise problem(unit, "operators", message, config)


def problem(unit: RegisterProtection, key: str, message: str, config: Config | None) -> ConfigError:
    """An error about a key of a unit."""
    if config is None:
        return ConfigError(Problem(message, f"{unit.kind}.{key}"))
    at = next((i for i, known in enumerate(config.checker.units) if str(known.kind) == unit.kind), 0)
    return ConfigError.at(config, f"checker.units.{at}.{key}", message)


def _named(inventory: Inventory, part: str) -> list[str] | str:
    """Names of the register arrays of one part, or what is wrong with it."""
    sort, _, name = part.rpartition(":")
    registers = [r.name for r in inventory]
    by_component = {component: [r.name for r in inventory if r.component == component]
                    for component in inventory.bits_by("component")}
    if sort == "" and name == MACHINE:
        return [r.name for r in inventory if not r.component.startswith(CHECK_UNITS)]
    if sort == "role":
        of_role = [r.name for r in inventory if r.role == name]
        return of_role or f'no register of role "{name}"{did_you_mean(name, ROLES)} (roles: {", ".join(ROLES)})'
    if sort not in ("", "register", "component"):
        return f'"{part}": what stands before the colon is register, component or role'
    is_register = sort != "component" and name in inventory
    is_component = sort != "register" and name in by_component
    if is_register and is_component and by_component[name] != [name]:
        return f'"{name}" is a register and a component: write register:{name} or component:{name}'
    if is_register:
        return [name]
    if is_component:
        return by_component[name]
    lists = {"component": list(by_component), "register": registers}
    known = lists.get(sort, [*registers, *by_component, MACHINE])
    there = "; ".join(f"{kind}s: {', '.join(names)}" for kind, names in lists.items() if sort in ("", kind))
    return f'no {sort or "register or component"} "{name}"{did_you_mean(name, known)} ({there})'
