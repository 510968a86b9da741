"""The schedule against the stepped engine: what a register holds, and what a fault in it can change."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.arrays.registers import Registers, values_of
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.faults.fault import Fault
from accel_sim.machines.folds import DATAFLOWS
from accel_sim.machines.inventory import Register
from accel_sim.machines.systolic import SystolicArray
from accel_sim.machines.systolic_schedule import Held, Schedule

from .draw import matrix

FLOWS = list(DATAFLOWS)
SHAPES = [((3, 2), (4, 3, 5)), ((2, 3), (5, 4, 3)), ((1, 3), (2, 5, 2)), ((3, 1), (4, 2, 4)), ((1, 1), (2, 2, 2)),
          ((4, 4), (2, 3, 1)), ((2, 2), (1, 1, 5))]
"""Arrays, and (m, n, k) of products on them, ragged and too small ones among them."""


def odd_product(flow: str, shape: tuple[int, int], sizes: tuple[int, int, int]) -> tuple[SteppedArray, Schedule]:
    """A product of odd int8 elements. Sums are exact modulo 2^32 and an odd factor never is a divisor of zero there:
    every flip of a data bit that is read changes every sum that it reaches."""
    rng = np.random.default_rng(7)
    m, n, k = sizes
    machine = SystolicArray(*shape, flow, "int8", "int32")
    a, b = (2 * rng.integers(-64, 64, s) + 1 for s in ((m, k), (k, n)))
    engine = SteppedArray(machine, a, b)
    return engine, Schedule(machine, engine.folding)


def value_of(held: Held, a: np.ndarray, b: np.ndarray) -> float:
    """The element, by its indices."""
    if held.matrix == "a":
        assert held.n is None
        return a[held.m, held.k]
    if held.matrix == "b":
        assert held.m is None
        return b[held.k, held.n]
    total = np.float32(0)
    for k in range(held.k or 0):
        total = np.float32(total + np.float32(a[held.m, k] * b[k, held.n]))
    return total


@pytest.mark.parametrize("shape, sizes", SHAPES)
@pytest.mark.parametrize("flow", FLOWS)
def test_registers_hold_what_the_schedule_says(flow: str, shape: tuple[int, int], sizes: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(21)
    m, n, k = sizes
    machine = SystolicArray(*shape, flow)
    engine = SteppedArray(machine, matrix(rng, (m, k), "bf16"), matrix(rng, (k, n), "bf16"))
    schedule = Schedule(machine, engine.folding)
    elements = 0

    def watch(cycle: int, registers: Registers) -> None:
        nonlocal elements
        for register in machine.inventory:
            values = registers.values(register.name)
            for index in np.ndindex(register.shape):
                if register.role == "control":
                    assert values[index] == schedule.control(register.name, index, cycle), (register.name, index, cycle)
                    continue
                held = schedule.held(register.name, index, cycle)
                if held is not None:
                    elements += 1
                    assert values[index] == value_of(held, engine.a, engine.b), (register.name, index, cycle, held)

    engine.run(watch=watch)
    assert elements > 0 or engine.folding.macs == m * n  # one product an output and one PE: nothing is ever held


def every_fault(machine: SystolicArray, cycles: int, register: Register) -> list[Fault]:
    return [Fault(cycle, register.name, index, bit) for cycle in range(cycles) for index in np.ndindex(register.shape)
            for bit in range(register.width_bits)]


@pytest.mark.parametrize("shape, sizes", SHAPES[:3])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_flip_changes_exactly_the_outputs_in_its_reach(flow: str, shape: tuple[int, int],
                                                         sizes: tuple[int, int, int]) -> None:
    engine, schedule = odd_product(flow, shape, sizes)
    clean = engine.run().output
    reaching: dict[str, int] = {}
    for register in engine.machine.inventory:
        bits = {0, register.width_bits - 1}
        for fault in every_fault(engine.machine, engine.folding.cycles, register):
            if fault.bit not in bits:
                continue
            changed = engine.run([fault]).output != clean
            reach = schedule.reach(fault.register, fault.index, fault.cycle)
            held = schedule.held(fault.register, fault.index, fault.cycle)
            if register.role == "control":
                assert not (changed & ~reach).any(), fault
                reaching[register.name] = reaching.get(register.name, 0) + int(changed.any())
            else:
                assert np.array_equal(changed, reach), fault
                assert reach.any() == (held is not None), fault
                reaching[register.name] = reaching.get(register.name, 0) + int(reach.any())
    assert set(reaching) == {register.name for register in engine.machine.inventory}
    assert all(reaching.values()), reaching  # every class of registers was caught at something


@pytest.mark.parametrize("flow", FLOWS)
def test_without_subnormals_too_nothing_outside_the_reach_changes(flow: str) -> None:
    rng = np.random.default_rng(22)
    machine = SystolicArray(3, 3, flow, "fp8_e5m2", "fp16", "flush")
    engine = SteppedArray(machine, matrix(rng, (5, 4), "fp8_e5m2", wild=True), matrix(rng, (4, 5), "fp8_e5m2", wild=True))
    schedule = Schedule(machine, engine.folding)
    clean = engine.run().output
    registers = list(machine.inventory)
    for _ in range(400):
        register = registers[rng.integers(len(registers))]
        index = tuple(int(rng.integers(n)) for n in register.shape)
        fault = Fault(int(rng.integers(engine.folding.cycles)), register.name, index, int(rng.integers(register.width_bits)))
        changed = engine.run([fault]).output.view(np.int64) != clean.view(np.int64)
        assert not (changed & ~schedule.reach(fault.register, fault.index, fault.cycle)).any(), fault


def test_a_flip_stays_until_the_register_is_written() -> None:
    engine, schedule = odd_product("ws", (2, 2), (6, 2, 2))
    clean = engine.run().output
    stays = Fault(cycle=4, register="s", index=(0, 0), bit=3)
    moves = Fault(cycle=4, register="x", index=(0, 0), bit=3)
    assert np.argwhere(engine.run([stays]).output != clean).tolist() == [[m, 0] for m in range(2, 6)]
    assert np.argwhere(engine.run([moves]).output != clean).tolist() == [[1, 1]]
    assert str(schedule.held("s", (0, 0), 4)) == "b[0, 0]" and str(schedule.held("x", (0, 0), 4)) == "a[1, 0]"
    assert str(schedule.held("y", (0, 1), 4)) == "sum[0, 1] of 1 products"


def test_the_same_flip_twice_in_a_cycle_is_no_fault() -> None:
    for flow in FLOWS:
        engine, _ = odd_product(flow, (2, 2), (3, 3, 3))
        fault = Fault(cycle=5, register="s", index=(1, 0), bit=2)
        assert np.array_equal(engine.run([fault, fault]).output, engine.run().output)


def test_a_stuck_bit_is_forced_in_every_cycle_of_its_interval() -> None:
    a, b = np.ones((1, 8)), np.ones((8, 1))
    engine = SteppedArray(SystolicArray(1, 1, "os", "int8", "int32"), a, b)
    # cycles 2 … 4 start with the sums 2, 3, 4 with bit 0 forced to 1: 3 → 4 → 5, 5 → 6, then 6 + 3
    held: list[int] = []
    run = engine.run([Fault(2, "s", (0, 0), 0, "stuck1", duration=3)], lambda _, r: held.append(int(r.values("s")[0, 0])))
    assert held == [0, 1, 3, 5, 7, 8, 9, 10] and run.output[0, 0] == 11


@pytest.mark.parametrize("name, bits", [("bf16", 0x7F81), ("fp16", 0x7C01), ("fp8_e5m2", 0x7D)])
def test_a_signalling_nan_moves_on_bit_for_bit(name: str, bits: int) -> None:
    machine = SystolicArray(1, 4, "os", name)
    engine = SteppedArray(machine, np.zeros((1, 3)), np.zeros((3, 4)))
    width = machine.operand_format.width_bits
    faults = [Fault(1, "x", (0, 0), bit) for bit in range(width) if bits >> bit & 1]
    seen: list[int] = []

    def watch(cycle: int, registers: Registers) -> None:
        from accel_sim.arrays.registers import patterns

        if 1 <= cycle <= 3:
            seen.append(int(patterns(registers.values("x"), machine.operand_format)[0, cycle - 1]))

    output = engine.run(faults, watch).output
    assert seen == [bits] * 3
    assert output.view(np.uint32).tolist() == [[0, 0x7FC00000, 0x7FC00000, 0x7FC00000]]  # an operation makes it canonical
    assert np.isnan(values_of(np.array([bits], np.uint64), machine.operand_format, np.float32)).all()
