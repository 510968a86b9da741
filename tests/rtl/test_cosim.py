"""The RTL and the Python engines agree: every register in every cycle, what is delivered, and what faults lead to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engines.draw import SHARES, Case, gaussian_case, machine_with, random_fault, random_job

from accel_sim.config import ConfigError, config_from_dict
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import LanesMachine
from accel_sim.rtl.cosim import (
    CoSimReport,
    CoSimulation,
    encode_states,
    every_fault,
    first_mismatch,
    random_flips,
    result_mismatch,
)
from accel_sim.rtl.limits import check_expressible
from accel_sim.rtl.model import RtlModel
from accel_sim.rtl.registers import HOMES, placements
from accel_sim.validation import validate
from rtl.draw import random_rtl_machine_case, wild_job

pytestmark = pytest.mark.usefixtures("tools")

PWL = {"kind": "pwl", "pieces": 8}
TINY = {"lanes": 2, "head_dim": 4, "exp": PWL, "max_keys": 16, "max_queries": 16}

# Together they have every register of the machine, every option, and sizes that leave blocks, tiles and trees ragged.
MACHINES = {
    "tree, all own": dict(lanes=2, head_dim=3, exp=PWL, shares=SHARES[-1], granularity="key_tile",
                          divide={"kind": "reciprocal_pwl", "pieces": 4}),
    "serial, flush": dict(lanes=3, head_dim=3, exp=PWL, dot="serial", subnormals="flush", shares=SHARES[6],
                          granularity="query_block", threshold={"kind": "relative", "value": 1e-3}, formats="fp16"),
    "fused, mixed": dict(lanes=2, head_dim=2, exp=PWL, dot="fused", shares=SHARES[-1], granularity="key_tile",
                         key_tile=2, divide={"kind": "reciprocal_pwl", "pieces": 8},
                         formats=dict(operand="fp8_e4m3", score="bf16", exp="fp16", state="bf16", output="fp8_e5m2",
                                      checker="fp32")),
    "serial, one lane, unprotected": dict(lanes=1, head_dim=2, exp=PWL, dot="serial", check=False, formats="bf16"),
}  # fmt: skip


@pytest.fixture(scope="module")
def tiny() -> Case:
    return gaussian_case(machine_with(**TINY), queries=5, keys=6)


@pytest.fixture(scope="module")
def model(tiny: Case, tools) -> RtlModel:
    return RtlModel(tiny.machine, optimise=False)


def assert_agree(report: CoSimReport, note: object = "") -> None:
    assert report.agree, (note, str(report.first))


def test_the_clean_run_of_a_tiny_machine_agrees_in_every_register_and_cycle(tiny, model):
    report = CoSimulation(tiny.machine, tiny.job, model).clean()
    assert_agree(report)
    assert report.moves == tiny.machine.timing(5, 6).head_cycles
    assert report.bits == report.moves * tiny.machine.inventory.bits


def test_one_flip_of_every_register_agrees(tiny, model):
    simulation = CoSimulation(tiny.machine, tiny.job, model)
    rng = np.random.default_rng(1)
    cycles = simulation.stepped.golden().cycles
    faults = [
        replace(random_fault(tiny, cycles, rng), register=register.name, kind="flip", bits=1, duration=1,
                index=tuple(int(rng.integers(n)) for n in register.shape), bit=int(rng.integers(register.width_bits)))
        for register in tiny.machine.inventory for _ in range(4)
    ]  # fmt: skip
    assert_agree(simulation.records(faults))


@pytest.mark.parametrize("name", MACHINES)
def test_machines_agree_clean_and_under_faults(name):
    machine = machine_with(**MACHINES[name])
    rng = np.random.default_rng(len(name))
    with RtlModel(machine, optimise=False) as its_model:
        for stalls in (False, True):
            case = Case(machine, random_job(machine, rng, stalls))
            assert_agree(compare(case, its_model, rng, faults=60), name)


def test_the_machines_of_these_tests_have_every_register_there_is():
    machines = [machine_with(**options) for options in (TINY, *MACHINES.values())]
    assert {name for machine in machines for name in (r.name for r in machine.inventory)} == {
        name for home in HOMES for name in home.registers
    }


def compare(case: Case, model: RtlModel, rng: np.random.Generator, faults: int) -> CoSimReport:
    """A case fault-free, under a few faults at once (registers compared), and under `faults` single faults."""
    simulation = CoSimulation(case.machine, case.job, model)
    cycles = simulation.stepped.golden().cycles
    report = simulation.clean()
    for _ in range(2):
        report += simulation.under([random_fault(case, cycles, rng) for _ in range(3)])
    return report + simulation.records([random_fault(case, cycles, rng) for _ in range(faults)])


def compare_random_machine(seed: int, heads: int, faults: int) -> CoSimReport:
    """A random machine on `heads` heads, the last one of operands of any bit pattern."""
    report = CoSimReport()
    rng = np.random.default_rng([1, seed])
    case = random_rtl_machine_case(rng)
    with RtlModel(case.machine, optimise=False) as its_model:
        for head in range(heads):
            one = wild_job(case, rng) if head == heads - 1 else Case(case.machine, random_job(case.machine, rng))
            report += compare(one, its_model, rng, faults)
    return report


def test_a_random_machine_agrees():
    """experiments/validation.py does this two hundred times, and the next test for every point."""
    assert_agree(compare_random_machine(0, heads=3, faults=40))


def test_flips_of_a_tiny_head_agree():
    case = gaussian_case(machine_with(**TINY), queries=3, keys=4)
    with RtlModel(case.machine, optimise=False) as its_model:
        simulation = CoSimulation(case.machine, case.job, its_model)
        faults = every_fault(case.machine, simulation.stepped.golden().cycles)
        assert len(faults) == case.machine.inventory.bits * case.machine.timing(3, 4).head_cycles
        assert_agree(simulation.records(faults[::97]))


def test_a_flip_waits_in_a_register_of_a_held_machine(tiny, model):
    waits = np.full_like(tiny.job.kv_stall, 2), np.full_like(tiny.job.swap_stall, 3)
    held = Case(tiny.machine, tiny.job.with_stalls(kv=waits[0], swap=waits[1]))
    simulation = CoSimulation(held.machine, held.job, model)
    report = simulation.clean()
    assert_agree(report)
    assert report.moves < simulation.stepped.golden().cycles  # some cycles are held, and strikes in them count
    assert_agree(simulation.records([f for f in random_flips(held.machine, 9, 40, seed=2) if f.cycle < 3]))


def test_a_hang_is_a_hang_in_both(tiny, model):
    simulation = CoSimulation(tiny.machine, tiny.job, model)
    stuck = Fault(4, "valid", (0,), 0, "stuck1", duration=100_000)  # the pipeline never drains
    assert simulation.stepped.inject(stuck).result.hang
    assert_agree(simulation.records([stuck]))


def test_a_trace_in_pieces_is_the_trace(tiny, model):
    whole = model.run(tiny.job, trace=True)
    for room in (1, 7, len(whole.cycles)):
        parts = list(model.chunks(tiny.job, room=room))
        assert np.array_equal(np.concatenate([part.states for part in parts]), whole.states)
        assert np.array_equal(np.concatenate([part.cycles for part in parts]), whole.cycles)
        assert parts[-1].result.same_as(whole.result)
    assert model.run(tiny.job).result.same_as(whole.result)


def test_long_traces_are_compared_piece_by_piece(tiny, model, monkeypatch):
    monkeypatch.setattr("accel_sim.rtl.cosim.TRACE_ROWS", 16)
    simulation = CoSimulation(tiny.machine, tiny.job, model)
    report = simulation.clean()
    assert_agree(report)
    assert report.moves == tiny.machine.timing(5, 6).head_cycles
    wrong = replace(tiny.job, v=tiny.job.v * np.where(np.arange(6) == 5, 2.0, 1.0)[:, None])
    found = CoSimulation(tiny.machine, wrong, WithJob(model, tiny.job)).clean()
    assert found.mismatches == 2  # beside the stepped engine and beside the golden one
    assert (found.first.cycle, found.first.where) == (8, "v")  # the cycle after the one that fetches key 5


class WithJob:
    """The RTL of a model, which runs another job than it is asked for."""

    def __init__(self, model: RtlModel, job) -> None:
        self.model, self.job = model, job

    def chunks(self, job, faults, limit=None, room=16):
        return self.model.chunks(self.job, faults, limit, room)


def test_a_difference_is_found_and_named(tiny, model):
    run = model.run(tiny.job, trace=True)
    inventory = tiny.machine.inventory
    assert first_mismatch(inventory, run.cycles, run.states, run.cycles, run.states) is None
    wrong = run.states.copy()
    wrong[17, inventory.slot("v_delay", (2, 3))] ^= np.uint64(1 << 5)
    wrong[18, inventory.slot("phase")] ^= np.uint64(1)
    found = first_mismatch(inventory, run.cycles, run.states, run.cycles, wrong)
    assert (found.cycle, found.where, found.index) == (17, "v_delay", (2, 3))
    assert "cycle 17: v_delay[2, 3]: engine 0x" in str(found)
    assert first_mismatch(inventory, run.cycles, run.states, run.cycles[:-1], run.states[:-1]).where == "moving cycles"


def test_different_results_are_found_and_named(tiny, model):
    result = model.run(tiny.job).result
    assert result_mismatch(result, result) is None
    output = result.output.copy()
    output[3, 1] = np.nextafter(output[3, 1], np.inf)
    assert result_mismatch(result, replace(result, output=output)).index == (3, 1)
    assert result_mismatch(result, replace(result, alarm_cycle=5)).where == "alarm_cycle"
    assert result_mismatch(result, replace(result, cycles=5)).where == "cycles"
    last = replace(result.comparisons[0], residual=1.0)
    assert result_mismatch(result, replace(result, comparisons=(last,))).where == "comparison residual"


def test_hardware_that_differs_is_found(tiny, model):
    """The stepped engine of a head whose scale is off by one bit does not pass for this RTL."""
    scale = float(np.float64(np.nextafter(np.float32(tiny.job.scale), np.float32(1))))
    other = CoSimulation(tiny.machine, replace(tiny.job, scale=scale), model)
    states = []
    other.stepped.run((), lambda cycle, state: states.append(state.copy()))
    run = model.run(tiny.job, trace=True)
    found = first_mismatch(tiny.machine.inventory, run.cycles, encode_states(tiny.machine.inventory, np.array(states)),
                           run.cycles, run.states)
    assert (found.cycle, found.where) == (0, "scale")


def test_placements_cover_the_inventory_once():
    for options in MACHINES.values():
        machine = machine_with(**options)
        slots = [slot for place in placements(machine) for slot in range(place.slot, place.slot + place.count)]
        assert slots == list(range(machine.inventory.slots))
        assert sum(place.count * place.width for place in placements(machine)) == machine.inventory.bits


CONFIG = {
    "architecture": {"kind": "lanes", "lanes": 2, "head_dim": 4, "key_tile": 4, "exp": {"kind": "pwl"}, "max_keys": 16,
                     "max_queries": 16},
    "checker": {"units": [{"kind": "fused_output", "threshold": {"kind": "absolute", "value": 1e-3}}]},
    "workload": {"kind": "gaussian", "queries": 5, "keys": 6},
}  # fmt: skip


def config_with(**architecture):
    return config_from_dict(CONFIG | {"architecture": CONFIG["architecture"] | architecture})


def test_a_config_is_validated_as_a_whole():
    found = validate(config_with(), faults=50, rtl=True)
    assert found.agree, found.checks
    machine = LanesMachine(config_with())
    registers, faults = found.checks[-2:]
    assert (faults.compared, faults.unit) == (50, "faults")
    assert registers.compared == machine.timing(5, 6).head_cycles * machine.inventory.bits


@pytest.mark.parametrize("key, architecture", [
    ("architecture.exp.kind", {"exp": {"kind": "exact"}}),
    ("architecture.formats.checker", {"formats": {"checker": "fp64"}}),
])  # fmt: skip
def test_what_the_rtl_cannot_express_is_refused_at_its_key(key, architecture):
    with pytest.raises(ConfigError) as refused:
        check_expressible(config_with(**architecture))
    assert refused.value.key == key


def test_narrower_registers_are_refused_at_their_key():
    config = config_from_dict(CONFIG | {"faults": {"register_format": {"state": "bf16"}}})
    with pytest.raises(ConfigError) as refused:
        check_expressible(config)
    assert refused.value.key == "faults.register_format.state"
