"""Protected machines, small enough to be struck everywhere."""

from __future__ import annotations

from engines.draw import ROLES, Case, gaussian_case, machine_with

from accel_sim.config.protection import DmrUnit, ParityUnit, RegisterProtection, SecdedUnit, TmrUnit
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.protection.protect import Protection, protect
from accel_sim.protection.replay import ProtectedReplay
from accel_sim.protection.stepped import ProtectedStepped

UNITS: dict[str, type[RegisterProtection]] = {
    "parity": ParityUnit, "secded": SecdedUnit, "dmr": DmrUnit, "tmr": TmrUnit,
}

MIXED: tuple[RegisterProtection, ...] = (
    ParityUnit(parts=("l", "component:control")), SecdedUnit(parts=("o", "m", "component:operand")),
    DmrUnit(parts=("prod", "p", "checker.fused_output")), TmrUnit(parts=("pv", "component:normalise")),
)
"""All kinds at once; the scores are left bare."""


def everywhere(kind: str) -> tuple[RegisterProtection, ...]:
    """One unit on every register of a lanes machine with its check unit."""
    return (UNITS[kind](parts=("machine", "checker.fused_output")),)


def tiny_case(queries: int = 3, keys: int = 3, **options: object) -> Case:
    """One or two lanes of 8-bit registers."""
    formats = dict.fromkeys(ROLES, "fp8_e5m2") | {"checker": "bf16"}
    settings = {"lanes": 2, "head_dim": 2, "key_tile": 2, "max_keys": 4, "max_queries": 4, "formats": formats}
    return gaussian_case(machine_with(**(settings | options)), queries, keys, threshold=1.0)


def protection_of(case: Case, units: tuple[RegisterProtection, ...]) -> Protection:
    """The protection of a case's machine."""
    return protect(case.machine.inventory, units)


def stepped_of(case: Case, units: tuple[RegisterProtection, ...]) -> ProtectedStepped:
    """Its stepped engine."""
    return ProtectedStepped(case.engine, protection_of(case, units))


def replay_of(case: Case, units: tuple[RegisterProtection, ...], stepped: bool = True) -> ProtectedReplay:
    """Its replay engine."""
    return ProtectedReplay(ReplayEngine(case.machine, case.job), protection_of(case, units), (lambda: case.engine) if stepped else None)


def kinds_of(protection: Protection) -> dict[str, str]:
    """Kind of protection of each guarded register array."""
    return {register.name: guard.kind for guard in protection.guards for register in guard.guarded}
