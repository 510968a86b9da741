"""Campaigns on SRAM: from a config to records, rates and strata that tell the memories apart."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.campaign.runner import run_campaign
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.store import RunDirectory
from accel_sim.campaign.strata import strata
from accel_sim.campaign.work import exposure
from campaign.doubles import sorted_bytes

MEMORIES = ["sram.q", "sram.k", "sram.v", "sram.o"]


@pytest.mark.parametrize("targets", [["sram"], ["registers", "sram"]], ids="-".join)
def test_records_name_their_component_and_their_alarm(tiny, tmp_path, targets):
    config = tiny.changed({"faults.targets": targets, "memory.ecc": "parity", "faults.kinds": ["flip", "burst"]})
    result = run_campaign(config, tmp_path / "replay", n=1500, workers=1, engine="replay")
    other = run_campaign(config, tmp_path / "stepped", n=1500, workers=1, engine="stepped")
    assert result.summary == other.summary
    table = RunDirectory.open(tmp_path / "replay").table()
    assert sorted_bytes(tmp_path / "replay") == sorted_bytes(tmp_path / "stepped")
    component, by, outcome, alarm, cycle, latency, when = (
        np.array(table.column(name).to_pylist())
        for name in ("component", "alarm_by", "outcome", "alarm", "alarm_cycle", "latency_cycles", "cycle")
    )
    struck = np.isin(component, MEMORIES)
    assert struck.all() == (targets == ["sram"]) and set(component[struck]) == set(MEMORIES)
    assert (alarm == (by != "none")).all() and (alarm == np.isin(outcome, ["detected", "false_alarm"])).all()
    assert (latency[alarm] == (cycle - when)[alarm]).all() and (cycle[~alarm] == -1).all()
    assert "memory" in set(by[struck]) and "memory" not in set(by[~struck])
    assert "checker" in set(by)  # of SRAM, bursts that parity passes and whose NaN the checker meets


def test_protection_is_what_it_costs_bits_for(tiny, tmp_path):
    """The same strikes on three memories: wrong outputs pass one, are seen by the next, and are corrected by the last."""
    rates = {}
    for ecc in ("none", "parity", "secded"):
        config = tiny.changed({"faults.targets": ["sram"], "memory.ecc": ecc})
        run = run_campaign(config, tmp_path / ecc, n=2000, workers=1)
        rates[ecc] = {name: run.summary.count(name) for name in ("detected", "silent", "masked", "false_alarm")}
    assert rates["none"]["silent"] > 100
    assert rates["parity"]["silent"] == 0 and rates["parity"]["detected"] > 100 and rates["parity"]["false_alarm"] > 0
    assert rates["secded"] == {"detected": 0, "silent": 0, "masked": 2000, "false_alarm": 0}


def test_strata_of_both_targets_hold_every_point_once(tiny):
    config = tiny.changed({"faults.targets": ["registers", "sram"], "memory.ecc": "secded"})
    assembly = assemble(config, measure=False)
    universe = assembly.universe
    for by in (("component",), ("field", "phase"), ("register",)):
        parts = strata(assembly, by)
        assert sum(part.size for part in parts) == universe.size
        drawn = np.concatenate([part.points(np.arange(0, part.size, 11), universe) for part in parts])
        assert len(np.unique(drawn)) == len(drawn)
    check = sum(m.size * m.check_bits for m in assembly.memories) * universe.cycles
    assert {dict(s.name)["field"]: s.size for s in strata(assembly, ("field",))}["check"] == check
    assert exposure(assembly)["sram.k"] == assembly.memories["k_sram"].bits * universe.cycles
    draw = Sampling("stratified", ("component",), "equal").sampler(assembly).draw(0, 200)
    assert len(np.unique(universe.points(draw.point).register)) > 4


def test_an_unprotected_machine_can_have_a_memory_that_alarms(tiny, tmp_path):
    config = tiny.changed({"checker.units": [], "faults.targets": ["sram"], "memory.ecc": "parity"})
    run = run_campaign(config, tmp_path, n=500, workers=1)
    assert run.summary.count("detected") > 0 == run.summary.count("silent")
