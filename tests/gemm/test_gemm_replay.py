"""Replay gives what the stepped engine gives, bit for bit: everywhere on a tiny machine, at random on others."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.faults.fault import Fault
from accel_sim.gemm.replay import ReplayGemm
from gemm.compare import arguments, differences
from gemm.draw import (
    fused_unit,
    gemm_unit,
    job_for,
    machine_with,
    random_case,
    random_fault,
    softmax_unit,
)

SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_every_bit_of_every_register(flow: str) -> None:
    machine = machine_with((gemm_unit(columns=1), fused_unit(columns=1)), rows=2, cols=2, head_dim=2, vector_lanes=2,
                           dataflow=flow, formats=SMALL, max_keys=4, max_queries=4)
    job = job_for(machine, 3, 3, np.random.default_rng(1), {"gemm": 0.5, "fused_output": 0.5})
    cycles = machine.timing(3, 3).head_cycles
    faults = [Fault(cycle, register.name, index, bit) for register in machine.inventory
              for index in np.ndindex(register.shape) for bit in range(register.width_bits)
              for cycle in range((bit + 3 * sum(index)) % 61, cycles, 61)]  # every cycle for a share of the bits
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back < len(faults) // 6


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_a_machine_of_ordinary_size(flow: str) -> None:
    machine = machine_with((gemm_unit(), fused_unit("query_block")), rows=8, cols=8, head_dim=16, vector_lanes=8,
                           dataflow=flow)
    job = job_for(machine, 40, 48, np.random.default_rng(2), {"gemm": 0.01, "fused_output": 0.01}, causal=True)
    rng, cycles = np.random.default_rng(3), machine.timing(40, 48).head_cycles
    found, back = differences(machine, job, [random_fault(rng, machine, cycles, long=False) for _ in range(300)])
    assert not found, found[:5]
    assert back < 120


def test_outcomes_do_not_depend_on_what_was_replayed_before() -> None:
    machine, job = random_case(7)
    rng, cycles = np.random.default_rng(8), machine.timing(*job.shape[:2]).head_cycles
    faults = [random_fault(rng, machine, cycles, long=False) for _ in range(400)]
    together, alone = ReplayGemm(machine, job), ReplayGemm(machine, job)
    batch = together.outcomes(*arguments(machine, faults, cycles))
    for i in rng.permutation(len(faults))[:150]:
        one = alone.outcomes(*arguments(machine, [faults[i]], cycles))
        for name, values in zip(batch._fields, batch, strict=True):
            assert np.array_equal(values[i:i + 1], getattr(one, name), equal_nan=True), (faults[i], name)


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_faults_in_the_gemm_unit_alone(flow: str) -> None:
    """Its registers are few beside the array's: at random they would hardly be struck."""
    machine = machine_with((gemm_unit(sides="both", correct=True), fused_unit()), rows=4, cols=3, dataflow=flow)
    job = job_for(machine, 7, 8, np.random.default_rng(1), {"gemm": 0.1, "fused_output": 0.1})
    rng, program = np.random.default_rng(2), machine.timing(7, 8).by_name
    own = [r for r in machine.inventory if r.component == "checker.gemm"]
    phases = [phase for name, phase in program.items() if name not in ("softmax", "divide", "encode_v")]
    faults = []
    for _ in range(900):
        register, phase = own[rng.integers(len(own))], phases[rng.integers(len(phases))]
        index = tuple(int(rng.integers(n)) for n in register.shape)
        faults.append(Fault(int(rng.integers(phase.start, phase.end)), register.name, index,
                            int(rng.integers(register.width_bits)), ("flip", "stuck0", "stuck1")[rng.integers(3)]))
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert 0 < back < 200


@pytest.mark.parametrize("flow", ["os", "ws", "is"])
def test_the_scale_and_the_encoder_of_the_fused_check_are_never_handed_back(flow: str) -> None:
    """Each is followed by the units behind it alone: the softmax from the struck cycle on, or one key's words."""
    machine = machine_with((gemm_unit(sides="both", correct=True), fused_unit()), rows=4, cols=3, dataflow=flow)
    job = job_for(machine, 7, 8, np.random.default_rng(1), {"gemm": 0.1, "fused_output": 0.1}, causal=True)
    rng, program = np.random.default_rng(2), machine.timing(7, 8).by_name
    faults = [Fault(int(cycle), "scale", (), int(rng.integers(machine.inventory["scale"].width_bits)), kind)
              for cycle in range(0, program["softmax"].end, 2) for kind in ("flip", "stuck1")]
    for name in ("fused_in", "fused_acc", "fused_word"):
        register = machine.inventory[name]
        faults += [Fault(int(rng.integers(program["encode_v"].end)), name, (int(rng.integers(register.size)),),
                         int(rng.integers(register.width_bits))) for _ in range(150)]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back == 0


@pytest.mark.parametrize("flow", ["os", "is"])
def test_what_a_watched_softmax_is_configured_with_is_never_handed_back(flow: str) -> None:
    machine = machine_with((fused_unit(), softmax_unit()), rows=4, cols=3, dataflow=flow)
    job = job_for(machine, 7, 8, np.random.default_rng(1), {"fused_output": 0.1, "softmax_invariants": 0.01}, causal=True)
    rng, end = np.random.default_rng(2), machine.timing(7, 8).by_name["softmax"].end
    faults = [Fault(cycle, name, (), int(rng.integers(machine.inventory[name].width_bits)))
              for cycle in range(end) for name in ("scale", "softmax_bound")]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back == 0
