"""What units on the output buffer cost: registers, arithmetic, cycles, and an alarm."""

from __future__ import annotations

from accel_sim.api import simulate
from accel_sim.assembly import assemble
from accel_sim.campaign.strata import phase_of_cycle, phases_of
from accel_sim.config import config_from_dict, to_dict
from accel_sim.cost import area, load_technology
from output_units.draw import FUSED, RANGE, assembled, config_with


def test_every_register_of_a_unit_has_its_writes():
    machine = assembled(FUSED, RANGE).machine
    activity = machine.activity(machine.timing(5, 6))
    assert set(activity.register_writes) == {r.name for r in machine.inventory}
    writes = {name.removeprefix("invariants_"): n for name, n in activity.register_writes.items()
              if name.startswith("invariants_")}
    assert writes == {"query": 8, "row": 15, "residual": 5, "limit": 5, "threshold": 0, "alarm": 5, "vmin": 18, "vmax": 18}
    plain = machine.bare.activity(machine.bare.timing(5, 6))
    assert activity.sram_elements["o"] == plain.sram_elements["o"] + 15
    assert activity.cycles == plain.cycles + 8


def test_its_area_is_its_own_component():
    machine, technology = assembled(FUSED, RANGE).machine, load_technology("28nm")
    by = area(machine, technology).by_component
    assert by["checker.invariants"].value > 0
    plain = area(machine.bare, technology).by_component
    assert {name: e.value for name, e in plain.items() if name != "sram"} == {
        name: e.value for name, e in by.items() if name not in ("sram", "checker.invariants")}


def test_a_run_reports_the_unit_and_what_its_alarm_costs():
    run = simulate(config_with(FUSED, RANGE))
    document = run.to_dict()
    assert document["time"]["total_cycles"] == document["time"]["formula_cycles"] == run.assembly.timing.head_cycles
    unit = document["check_units"][1]
    assert (unit["unit"], unit["comparisons"], unit["clean_alarms"], unit["alarm_delay_cycles"]) == ("invariants", 5, 0, 2)
    assert unit["unseen_heads"] == 50 and unit["unseen_alarms"] == 0
    # Its alarm comes when the head is over: all of it runs again.
    assert run.recovery.unit == "head" and run.recovery.mean_cycles == run.system.total_cycles
    assert run.recovery.mean_bytes == run.system.bytes_moved


def test_the_readback_is_a_phase_of_its_own_for_strata():
    slow = {"off_chip": {"bandwidth_bytes_per_cycle": 8, "latency_cycles": 5}}
    for architecture in ({}, {"kind": "fused", "head_dim": 4}):
        config = config_with(FUSED, RANGE, memory=slow)
        if architecture:
            config = config_from_dict({**to_dict(config), "architecture": architecture})
        assembly = assemble(config, measure=False)
        assert assembly.system.stall_cycles > 0
        phases, names = phase_of_cycle(assembly), phases_of(assembly)
        assert len(phases) == assembly.system.cycles
        assert names[-1] == "readback" and (phases == len(names) - 1).sum() == 8
        assert (phases[-8:] == len(names) - 1).all()
