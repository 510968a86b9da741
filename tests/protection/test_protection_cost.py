"""What protection costs, counted by hand, and against the cells that its gates are mapped to."""

from __future__ import annotations

import pytest
from engines.draw import machine_with

from accel_sim.config.protection import DmrUnit, ParityUnit, SecdedUnit, TmrUnit
from accel_sim.cost import area, energy, load_technology, shipped_technologies
from accel_sim.protection.cost import gates
from accel_sim.protection.machine import ProtectedMachine

MACHINE = machine_with(lanes=3, head_dim=5)
TIMING = MACHINE.timing(7, 9)
BARE = MACHINE.activity(TIMING)


def added(unit):
    """What a unit adds: {operator: (unit, instances, uses)}, {register: elements clocked}."""
    machine = ProtectedMachine(MACHINE, (unit,))
    activity = machine.activity(TIMING)
    assert activity.operators[:len(BARE.operators)] == BARE.operators
    assert set(activity.register_writes) == {register.name for register in machine.inventory}
    operators = {o.name: (o.unit, o.instances, o.uses) for o in activity.operators[len(BARE.operators):]}
    return operators, {name: n for name, n in activity.register_writes.items() if name not in BARE.register_writes}


def test_parity_of_one_array():
    """l: three elements of 32 bits: 31 gates that make a bit, 32 that check it."""
    writes = BARE.register_writes["l"]
    assert added(ParityUnit(parts=("l",))) == (
        {"parity_encode": ("xor", 93, 31 * writes), "parity_check": ("xor", 96, 32 * writes),
         "parity_alarm": ("gate", 3, 0)},
        {"parity_l": writes, "parity_error": BARE.cycles},
    )


def test_copies_of_two_arrays_and_of_the_adders_between_them():
    writes = {name: BARE.register_writes[name] for name in ("o", "seen")}
    adds = BARE.operator("o_add")
    operators, clocked = added(DmrUnit(parts=("o", "seen"), operators=("o_add",)))
    assert operators == {
        "dmr_compare": ("xor", 15 * 32 + 3, 32 * writes["o"] + writes["seen"]),
        "dmr_differ": ("gate", 15 * 31, 31 * writes["o"]),
        "dmr_alarm": ("gate", 18, 0),
        "dmr_o_add": ("fp_add", adds.instances, adds.uses),
    }
    assert clocked == {"dmr_o": writes["o"], "dmr_seen": writes["seen"], "dmr_error": BARE.cycles}
    operators, clocked = added(TmrUnit(parts=("o",), operators=("o_add",)))
    assert operators == {"tmr_vote": ("vote", 15 * 32, 32 * writes["o"]),
                         "tmr_o_add": ("fp_add", 2 * adds.instances, 2 * adds.uses)}
    assert clocked == {"tmr_o": 2 * writes["o"]}


def test_a_code_over_four_bits_has_the_gates_of_its_equations():
    """Data at positions 3, 5, 6 and 7: c0 = d0 d1 d3, c1 = d0 d2 d3, c2 = d1 d2 d3, and of those that two of them cover
    c3 = d0 d1 d2: eight gates to encode. To decode, one more each, the parity of all, and a gate a bit to correct."""
    assert gates("secded", 4) == {"encode": 2 + 2 + 2 + 2, "syndrome": 9 + 3 + 3, "locate": 12, "correct": 4}
    assert gates("secded", 1)["encode"] == 0  # three copies of the bit


CELLS = {
    "asap7": {8: (2.493, 5.249), 16: (5.424, 11.31), 32: (12.07, 21.78), "dmr": 5.57, "parity": 4.068 + 4.199},
    "sky130": {8: (167.7, 381.6), 16: (364.1, 794.5), 32: (828.3, 1556.5), "dmr": 385.4, "parity": 271.5 + 280.3},
}
"""um2 of encoder and decoder of words of 8, 16 and 32 bits, of the comparison of two copies of 32 bits, and of the parity
bit of 32 bits made and checked, synthesised as docs/synthesis.md says."""


@pytest.mark.parametrize("name", CELLS)
def test_the_gates_cost_what_their_cells_do(name):
    table = load_technology(name)
    price = {unit: table.number(f"{unit}.bit.area_um2") for unit in ("xor", "gate", "vote")}
    for width in (8, 16, 32):
        count = gates("secded", width)
        encoder = count["encode"] * price["xor"]
        decoder = (count["syndrome"] + count["correct"]) * price["xor"] + count["locate"] * price["gate"]
        assert [encoder, decoder] == pytest.approx(CELLS[name][width], rel=0.11)
    two = gates("dmr", 32)
    assert two["compare"] * price["xor"] + two["differ"] * price["gate"] == pytest.approx(CELLS[name]["dmr"], rel=0.12)
    one = gates("parity", 32)
    assert (one["encode"] + one["check"]) * price["xor"] == pytest.approx(CELLS[name]["parity"], rel=0.02)


@pytest.mark.parametrize("name", shipped_technologies())
def test_every_table_prices_protection_and_nothing_else_changes(name):
    table = load_technology(name)
    bare_area, bare_energy = area(MACHINE, table), energy(MACHINE, table, TIMING)
    costs = []
    for unit in (ParityUnit(), SecdedUnit(), DmrUnit(), TmrUnit()):
        machine = ProtectedMachine(MACHINE, (unit,))
        report, spent = area(machine, table), energy(machine, table, TIMING)
        component = f"checker.{unit.kind}"
        for component_of, value in bare_area.by_component.items():
            assert report.by_component[component_of].value == pytest.approx(value.value)
        assert set(report.by_component) == {*bare_area.by_component, component}
        assert spent.by_component[component].value > 0
        assert set(spent.by_component) == {*bare_energy.by_component, component}
        costs.append(report.by_component[component].value)
    parity, secded, dmr, tmr = costs
    assert parity < dmr < tmr and parity < secded
