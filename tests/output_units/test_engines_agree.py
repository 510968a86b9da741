"""Replay gives the records of the stepped engine, bit for bit, with units on the output buffer."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.engines.replay import rows as rows_module
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.kinds import bare, run_golden, stepped_engine
from accel_sim.validation import validate
from output_units.draw import FUSED, RANGE, assembled, assert_same_records, config_with, points_of

STRICT = {"kind": "invariants", "threshold": {"kind": "absolute", "value": 1e-30}}
CALIBRATED = {"kind": "invariants", "threshold": {"kind": "calibrated", "samples": 3}}
KINDS = ["flip", "burst", "stuck0", "stuck1"]


def test_every_fault_in_the_units_registers():
    assembly = assembled(RANGE, FUSED, head_dim=2, queries=3, keys=3, formats="bf16")
    index = points_of(assembly, ["checker.invariants"])
    assert len(index) == assembly.system.cycles * (5 + 1 + 3 * 16 + 3 * 2 * 16)
    records = assert_same_records(assembly, index)
    assert set(records["outcome"]) == {0, 2}  # masked, or a false alarm: it never touches an output
    assert not records["out_rows"].any()


def test_every_fault_once_the_machine_has_ended():
    assembly = assembled(FUSED, RANGE, head_dim=2, queries=3, keys=3, formats="bf16")
    end = assembly.machine.bare.timing(3, 3).head_cycles
    records = assert_same_records(assembly, points_of(assembly, from_cycle=end))
    assert not records["out_rows"].any()


@pytest.mark.parametrize("units", [[RANGE], [FUSED, RANGE], [STRICT, FUSED], [CALIBRATED]],
                         ids=["alone", "beside the machine's", "always alarmed", "calibrated"])
@pytest.mark.parametrize("cycles", [1, 5])
def test_faults_of_all_kinds_anywhere(units, cycles):
    assembly = assembled(*units, faults={"kinds": KINDS, "burst_bits": 3, "stuck_cycles": cycles})
    rng = np.random.default_rng(cycles)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 1500), rng.integers(0, 4, 1500))
    assert (records["outcome"] & 1).any()
    checkers = [name for name in assembly.components if name.startswith("checker.")]
    index = rng.choice(points_of(assembly, checkers), 1500)
    assert_same_records(assembly, index, rng.integers(0, 4, 1500))


@pytest.mark.parametrize("seed", range(6))
def test_other_machines_and_memories_that_make_them_wait(seed):
    rng = np.random.default_rng(seed)
    options = {
        "lanes": int(rng.integers(1, 5)), "head_dim": int(rng.integers(1, 6)), "queries": int(rng.integers(1, 8)),
        "keys": int(rng.integers(1, 10)), "formats": str(rng.choice(["", "fp16", "fp8_e4m3", "fp64"])),
        "architecture": {"subnormals": str(rng.choice(["keep", "flush"])), "dot": str(rng.choice(["tree", "serial"]))},
        "memory": {"off_chip": {"bandwidth_bytes_per_cycle": 8, "latency_cycles": 5}},
        "faults": {"kinds": KINDS, "stuck_cycles": 4},
    }
    config = config_with(FUSED, RANGE, **options)
    assembly = assemble(config, measure=False)
    job = assembly.job(assembly.workload.heads[0])
    stepped = stepped_engine(assembly.machine, job).golden()
    assert stepped.same_as(run_golden(assembly.machine, job))
    assert stepped.cycles == assembly.system.cycles == assembly.timing.head_cycles + assembly.system.stall_cycles
    assert assembly.system.stall_cycles > 0
    assert_same_records(assembly, rng.integers(0, assembly.universe.size, 500), rng.integers(0, 4, 500))
    index = rng.choice(points_of(assembly, ["checker.invariants", "checker.fused_output"]), 500)
    assert_same_records(assembly, index, rng.integers(0, 4, 500))


@pytest.mark.parametrize("more", [[], ["parity"]], ids=["bare", "protected"])
def test_faults_in_sram(more):
    assembly = assembled(FUSED, RANGE, *more, faults={"targets": ["sram"], "kinds": KINDS}, memory={"ecc": "none"})
    rng = np.random.default_rng(1)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 3000), rng.integers(0, 4, 3000))
    assert (records["outcome"] == 3).any()
    last = bare(assembly.machine).timing(5, 6).head_cycles
    late = records["cycle"] >= last
    assert late.any() and not records["outcome"][late].any() and np.isnan(records["old_value"][late]).all()


def test_rows_that_do_not_fit_the_sink_at_once(monkeypatch):
    assembly = assembled(RANGE)
    rng = np.random.default_rng(2)
    index = rng.integers(0, assembly.universe.size, 2000)
    whole = assert_same_records(assembly, index)
    monkeypatch.setattr(rows_module, "SINK_ELEMENTS", 1)  # room for the rows of a single fault
    again = assert_same_records(assembly, index)
    assert all(np.array_equal(whole[name], again[name], equal_nan=whole[name].dtype.kind == "f") for name in whole)


def test_a_machine_whose_replay_keeps_no_rows(monkeypatch):
    monkeypatch.setattr(ReplayEngine, "gives_rows", False)
    assembly = assembled(RANGE, FUSED, faults={"kinds": KINDS, "stuck_cycles": 3})
    rng = np.random.default_rng(3)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 1500), rng.integers(0, 4, 1500))
    assert (records["outcome"] & 1).any()


def test_validate_holds_it_all_together():
    found = validate(config_with(FUSED, RANGE), faults=300)
    assert found.agree and {check.beside for check in found.checks} >= {"closed formula, and stalls", "stepped engine"}
