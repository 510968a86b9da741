"""The stepped engine against an array written out register by register, and against serial sums."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.arrays.golden import golden
from accel_sim.arrays.operands import native_type
from accel_sim.arrays.registers import Registers, patterns, values_of
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.faults.fault import Fault
from accel_sim.machines.folds import DATAFLOWS
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.formats import FORMATS

from .draw import fault, matrix
from .reference import Reference, serial_product

FLOWS = list(DATAFLOWS)
PAIRS = [("bf16", "fp32"), ("fp32", "fp32"), ("fp16", "fp32"), ("fp8_e4m3", "fp32"), ("fp8_e5m2", "fp16"),
         ("fp8_e4m3", "bf16"), ("bf16", "fp64"), ("fp64", "fp64"), ("int8", "int32")]


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal type, shape and bits."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def small(rng: np.random.Generator, flow: str, operand: str, total: str, wild: bool,
          subnormals: str = "keep") -> tuple[SteppedArray, Reference]:
    """A random small product on a random small array."""
    rows, cols = (int(n) for n in rng.integers(1, 5, 2))
    m, n, k = (int(n) for n in rng.integers(1, 8, 3))
    machine = SystolicArray(rows, cols, flow, operand, total, subnormals)
    a, b = matrix(rng, (m, k), operand, wild), matrix(rng, (k, n), operand, wild)
    return SteppedArray(machine, a, b), Reference(machine, a, b)


def agree(engine: SteppedArray, reference: Reference, faults: list[Fault]) -> None:
    """Every register in every cycle and every output, bit for bit."""
    expected = iter(reference.run(faults))

    def watch(cycle: int, registers: Registers) -> None:
        want, have = next(expected), registers.patterns()
        wrong = np.flatnonzero(have != np.array(want, np.uint64))
        assert not wrong.size, (engine.machine, faults, cycle, engine.machine.inventory.locate(int(wrong[0])))

    run = engine.run(faults, watch)
    assert next(expected, None) is None  # the reference has run as many cycles
    assert run.cycles == reference.cycles
    output = patterns(run.output, engine.machine.sum_format)
    assert np.array_equal(output, reference.output), (engine.machine, faults)
    assert same_bits(engine.run(faults).output, run.output)  # unwatched, in as few calls as possible


@pytest.mark.parametrize("operand, total", PAIRS)
@pytest.mark.parametrize("flow", FLOWS)
def test_every_register_in_every_cycle_equals_the_reference(flow: str, operand: str, total: str) -> None:
    rng = np.random.default_rng(11)
    for trial in range(4):
        engine, reference = small(rng, flow, operand, total, wild=trial % 2 == 1)
        agree(engine, reference, [])


@pytest.mark.parametrize("operand, total", PAIRS)
@pytest.mark.parametrize("flow", FLOWS)
def test_faults_of_every_kind_do_what_they_do_in_the_reference(flow: str, operand: str, total: str) -> None:
    rng = np.random.default_rng(12)
    for trial in range(8):
        engine, reference = small(rng, flow, operand, total, wild=trial % 4 == 3)
        agree(engine, reference, [fault(rng, engine.machine, reference.cycles) for _ in range(1 + trial % 3)])


@pytest.mark.parametrize("operand, total", [("bf16", "fp32"), ("fp16", "fp16"), ("fp8_e5m2", "bf16")])
@pytest.mark.parametrize("flow", FLOWS)
def test_a_machine_without_subnormals(flow: str, operand: str, total: str) -> None:
    rng = np.random.default_rng(13)
    for _ in range(6):
        engine, reference = small(rng, flow, operand, total, wild=True, subnormals="flush")
        agree(engine, reference, [fault(rng, engine.machine, reference.cycles)])


@pytest.mark.parametrize("operand, total", PAIRS)
@pytest.mark.parametrize("wild", [False, True])
def test_golden_equals_stepped_and_no_dataflow_changes_a_bit(operand: str, total: str, wild: bool) -> None:
    rng = np.random.default_rng(14)
    a, b = matrix(rng, (23, 41), operand, wild), matrix(rng, (41, 19), operand, wild)
    machines = [SystolicArray(8, 5, flow, operand, total) for flow in FLOWS]
    value = golden(machines[0], a, b)
    for machine in machines:
        assert same_bits(SteppedArray(machine, a, b).run().output, value)
        assert same_bits(golden(machine, a, b), value)


@pytest.mark.parametrize("operand", ["bf16", "fp16", "fp8_e4m3", "fp32"])
def test_fp32_sums_are_numpys_float32_operations_one_by_one(operand: str) -> None:
    rng = np.random.default_rng(15)
    a, b = matrix(rng, (70, 600), operand), matrix(rng, (600, 530), operand)
    assert same_bits(golden(SystolicArray(16, 16, "os", operand), a, b), serial_product(a, b))


def test_two_sums_on_one_bus() -> None:
    """Row 1 leaves early, in the cycle in which row 0 is complete, and later forgets to: the bus was row 0's."""
    machine = SystolicArray(2, 1, "os", "int8", "int32")
    a, b = np.array([[1, 2, 3], [4, 5, 6]]), np.ones((3, 1))
    early, forgotten = Fault(2, "x_skew_last", (0,)), Fault(3, "x_skew_last", (0,))

    def output(*faults: Fault) -> list[int]:
        engine, reference = SteppedArray(machine, a, b), Reference(machine, a, b)
        agree(engine, reference, list(faults))
        return engine.run(faults).output[:, 0].tolist()

    assert output() == [6, 15] and output(early) == [6, 15] and output(forgotten) == [6, 0]
    assert output(early, forgotten) == [6, 0]
    earlier = Fault(1, "x_skew_last", (0,))
    assert output(earlier, forgotten) == [6, 4]  # the bus is free, and takes the sum so far


def test_products_in_fp32_are_rounded_before_they_are_added() -> None:
    # 1 + 2^-12 squared is 1 + 2^-11 + 2^-24: its last bit is a tie and goes. A fused multiply-add would keep it.
    x = 1 + 2.0 ** -12
    a, b = np.array([[1.0, x]]), np.array([[-1.0], [x]])
    for flow in FLOWS:
        value = SteppedArray(SystolicArray(2, 2, flow, "fp32"), a, b).run().output[0, 0]
        assert value == 2.0 ** -11
        assert np.float32(x * x - 1.0) == 2.0 ** -11 + 2.0 ** -24


def test_int32_sums_wrap_around() -> None:
    k = 2**17 + 5
    a, b = np.full((1, k), -128.0), np.full((k, 1), -128.0)  # k · 2^14 = 2^31 + 5 · 2^14
    value = golden(SystolicArray(1, 1, "os", "int8", "int32"), a, b)
    assert value.dtype == np.int32 and value[0, 0] == -(2**31) + 5 * 2**14
    machine = SystolicArray(64, 2, "ws", "int8", "int32")
    assert SteppedArray(machine, a, b).run().output[0, 0] == value[0, 0]
    exact = np.random.default_rng(3).integers(-128, 128, (9, 300))
    other = np.random.default_rng(4).integers(-128, 128, (300, 7))
    assert np.array_equal(golden(machine, exact, other), (exact @ other).astype(np.int32))


@pytest.mark.parametrize("flow, m, n, k", [("os", 3, 4, 2000), ("ws", 2000, 4, 3), ("is", 4, 2000, 3)])
def test_long_streams_pass_many_rewinds_of_the_window(flow: str, m: int, n: int, k: int) -> None:
    rng = np.random.default_rng(16)
    machine = SystolicArray(3, 4, flow)
    engine = SteppedArray(machine, matrix(rng, (m, k), "bf16"), matrix(rng, (k, n), "bf16"))
    assert engine.folding.folds == 1 and engine.folding.stream_size == 2000
    assert same_bits(engine.run().output, golden(machine, engine.a, engine.b))


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16", "fp8_e4m3", "fp8_e5m2"])
def test_patterns_and_values_are_inverse_on_signalling_nans_too(name: str) -> None:
    fmt = FORMATS[name]
    bits = np.arange(2 ** min(16, fmt.width_bits), dtype=np.uint64)
    if name == "fp32":
        bits = np.concatenate([bits << np.uint64(16) | np.uint64(1), bits | np.uint64(0x7F800000)])
    for kind in (np.float32, np.float64):
        assert np.array_equal(patterns(values_of(bits, fmt, kind), fmt), bits)


def test_values_stand_in_the_type_that_rounds_by_itself() -> None:
    def kind(operand: str, total: str, subnormals: str = "keep") -> type:
        return native_type(SystolicArray(1, 1, "os", operand, total, subnormals))

    assert kind("bf16", "fp32") is np.float32
    assert kind("bf16", "fp32", "flush") is np.float64
    assert kind("int8", "int32") is np.int32
    assert kind("fp8_e4m3", "bf16") is np.float64
