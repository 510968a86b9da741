"""Which registers a protection unit protects, and what is wrong with a unit that cannot be."""

from __future__ import annotations

import pytest
from engines.draw import machine_with
from pydantic import ValidationError

from accel_sim.config import ConfigError
from accel_sim.config.protection import DmrUnit, ParityUnit, RegisterProtection, SecdedUnit, TmrUnit
from accel_sim.machines.inventory import ROLES
from accel_sim.protection.machine import ProtectedMachine
from accel_sim.protection.protect import protect

MACHINE = machine_with()
INVENTORY = MACHINE.inventory


def guarded(*parts: str) -> list[str]:
    """Names of the register arrays that these parts name."""
    return [register.name for register in protect(INVENTORY, [ParityUnit(parts=parts)]).guards[0].guarded]


def refused(*units: RegisterProtection) -> str:
    """What is said of units that cannot be."""
    with pytest.raises(ConfigError) as error:
        ProtectedMachine(MACHINE, units)
    return str(error.value)


def test_a_bare_name_protects_every_register_outside_the_check_units():
    names = [register.name for register in protect(INVENTORY, [ParityUnit()]).guards[0].guarded]
    assert names == [r.name for r in INVENTORY if r.component != "checker.fused_output"]
    assert {"phase", "q", "score", "o", "out"} <= set(names) and not {"c", "alarm", "threshold"} & set(names)


def test_parts_are_registers_components_and_roles():
    assert guarded("l", "m") == ["m", "l"]  # in the inventory's order
    for role in ROLES:
        assert guarded(f"role:{role}") == [r.name for r in INVENTORY if r.role == role]
    for component in INVENTORY.bits_by("component"):
        expected = [r.name for r in INVENTORY if r.component == component]
        assert guarded(f"component:{component}") == expected
        if component not in INVENTORY:
            assert guarded(component) == expected
    assert guarded("register:score") == ["score"]
    assert guarded("l", "softmax") == guarded("softmax")  # named twice over is protected once


def test_unknown_parts_are_named_with_what_there_is():
    assert 'parity.parts: no register or component "softmx"; did you mean "softmax"?' in refused(ParityUnit(parts=("softmx",)))
    text = refused(SecdedUnit(parts=("register:ooo",)))
    assert 'no register "ooo"' in text and "norm_o" in text and "softmax" not in text
    assert 'no role' not in refused(SecdedUnit(parts=("role:contrl",))) and "control" in refused(SecdedUnit(parts=("role:contrl",)))
    assert "register, component or role" in refused(TmrUnit(parts=("bank:l",)))
    assert 'no component "l"' in refused(TmrUnit(parts=("component:l",)))


def test_a_name_that_a_register_and_a_component_have_must_say_which():
    assert '"score" is a register and a component: write register:score or component:score' in refused(
        DmrUnit(parts=("score",)))


def test_two_units_protect_no_register_together():
    text = refused(ParityUnit(parts=("softmax",)), SecdedUnit(parts=("o", "l")))
    assert text.startswith("secded.parts: secded and parity both protect register l")
    ProtectedMachine(MACHINE, (ParityUnit(parts=("m",)), SecdedUnit(parts=("o", "l"))))


def test_operators_that_are_built_again_are_the_machines():
    text = refused(DmrUnit(parts=("o",), operators=("o_ad",)))
    assert text.startswith('dmr.operators: no operator "o_ad"; did you mean "o_add"?') and "p_times_v" in text


def test_a_unit_names_its_parts_once_and_at_least_one():
    for section in (ParityUnit, SecdedUnit, DmrUnit, TmrUnit):
        with pytest.raises(ValidationError, match="named once"):
            section(parts=("l", "l"))
        with pytest.raises(ValidationError):
            section(parts=())
    with pytest.raises(ValidationError, match="named once"):
        DmrUnit(operators=("o_add", "o_add"))
    with pytest.raises(ValidationError):
        ParityUnit(operators=("o_add",))  # type: ignore[call-arg]


def test_a_machine_says_what_is_protected_and_what_its_registers_hold():
    machine = ProtectedMachine(MACHINE, (ParityUnit(parts=("l",)), TmrUnit(parts=("m",)), DmrUnit(parts=("o",))))
    assert machine.describe()["parity"] == "1 register array, 96 bits and 4 more"
    assert machine.describe()["tmr"] == "1 register array, 96 bits and 192 more"
    assert machine.lanes == MACHINE.lanes and machine.kind == "lanes" and machine.bare is MACHINE
    timing = machine.timing(5, 9)
    live, dead = timing.stream_start(0) + 12, timing.head_cycles - 1

    def held(name: str, index: tuple[int, ...], cycle: int) -> str | None:
        found = machine.occupant(timing, machine.inventory[name], index, cycle)
        return None if found is None else str(found)

    bare = str(MACHINE.occupant(timing, MACHINE.inventory["l"], (1,), live))
    assert held("l", (1,), live) == bare and "query 1" in bare
    assert held("parity_l", (1,), live) == f"parity bit of {bare}"
    assert held("tmr_m", (1, 2), live) == "further copy of " + str(held("m", (2,), live))
    assert held("l", (1,), dead) == held("parity_l", (1,), dead) == "nothing that is read, but checked"
    assert held("m", (1,), dead) is None and held("tmr_m", (0, 1), dead) is None
    assert held("dmr_error", (), dead) == "alarm of dmr"
    assert held("ds", (0,), dead) is None
