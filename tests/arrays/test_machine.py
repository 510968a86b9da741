"""What the array is made of, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.arrays.golden import golden
from accel_sim.arrays.operands import load_matrix
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.config.errors import ConfigError
from accel_sim.faults.fault import Fault
from accel_sim.machines.folds import DATAFLOWS, INDICES
from accel_sim.machines.integers import INTEGERS, signed_format
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.arithmetic import add
from accel_sim.numerics.rounding import decode_value, encode_value, flip_bits, round_to


def test_the_three_dataflows_are_three_ways_to_place_one_product() -> None:
    assert {name: (f.stays, f.right, f.down) for name, f in DATAFLOWS.items()} == {
        "os": ("sum", "a", "b"), "ws": ("b", "a", "sum"), "is": ("a", "b", "sum")}
    for flow in DATAFLOWS.values():
        assert {flow.row, flow.col, flow.stream} == {"m", "n", "k"}
        assert {flow.stays, flow.right, flow.down} == set(INDICES)


@pytest.mark.parametrize("rows, cols", [(4, 3), (1, 5), (5, 1), (1, 1), (32, 32)])
def test_register_bits_by_hand(rows: int, cols: int) -> None:
    x, y, skew_x, skew_y = rows * (cols - 1), (rows - 1) * cols, rows * (rows - 1) // 2, cols * (cols - 1) // 2
    os, ws = (SystolicArray(rows, cols, flow).inventory for flow in ("os", "ws"))
    # os: bf16 and three control bits to the right, bf16 and one down, fp32 stays
    assert os.bits == (x + skew_x) * (16 + 3) + (y + skew_y) * (16 + 1) + rows * cols * 32
    # ws: bf16 and one control bit to the right, fp32 and one down, bf16 stays, and a load bit a row
    assert ws.bits == (x + skew_x) * (16 + 1) + (y + skew_y) * (32 + 1) + rows * cols * 16 + rows
    assert SystolicArray(rows, cols, "is").inventory.bits == ws.bits
    assert all(register.size for register in os)


def test_integer_formats_are_twos_complement() -> None:
    int8 = INTEGERS["int8"]
    bits = np.arange(256, dtype=np.uint64)
    assert np.array_equal(int8.decode(bits), bits.astype(np.uint8).view(np.int8).astype(float))
    assert np.array_equal(int8.encode(int8.decode(bits)), bits)
    assert (int8.lowest, int8.highest, int8.width_bits) == (-128, 127, 8)
    int32 = signed_format(32)
    values = np.array([-(2**31), -1, 0, 2**31 - 1])
    assert int32.encode(values).tolist() == [2**31, 2**32 - 1, 0, 2**31 - 1]
    assert int32.decode(int32.encode(values)).tolist() == values.tolist()
    for fmt, patterns in ((int8, range(256)), (int32, (0, 1, 2**31 - 1, 2**31, 2**32 - 1))):
        for pattern in patterns:  # the kernels' own way
            value = decode_value(np.uint64(pattern), fmt.codec)
            assert value == fmt.decode(np.array([pattern], np.uint64))[0]
            assert encode_value(value, fmt.codec) == pattern
            assert flip_bits(value, fmt.codec, fmt.codec, np.uint64(1)) == value + (1 if pattern % 2 == 0 else -1)


def test_integers_wrap_around() -> None:
    for x, wrapped in ((127, 127), (128, -128), (-129, 127), (255, -1), (256, 0), (-2**40 - 3, -3), (2**40 + 5, 5)):
        assert round_to(float(x), INTEGERS["int8"].rounding()) == wrapped
    assert add(2.0**31 - 1, 1.0, INTEGERS["int32"].rounding()) == -(2.0**31)


@pytest.mark.parametrize("change, message", [
    ({"rows": 0}, "rows must be"), ({"cols": "4"}, "cols must be"), ({"flow": "sw"}, "dataflow must be os, ws or is"),
    ({"operand": "int4"}, "operand must be fp64"), ({"sum": "int8"}, "sum must be"),
    ({"operand": "int8"}, "int8 operands go with int32 sums"), ({"sum": "int32"}, "int8 operands go with int32"),
    ({"operand": "fp64"}, "fp64 operands need fp64 sums"), ({"subnormals": "drop"}, "subnormals must be keep or flush"),
    ({"operand": "int8", "sum": "int32", "subnormals": "flush"}, "integers have none"),
])
def test_what_is_no_array_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SystolicArray(**{"rows": 2, "cols": 2, **change})  # type: ignore[arg-type]


@pytest.mark.parametrize("a, b, message", [
    (np.ones((2, 3)), np.ones((2, 3)), "A has 3 columns and B 2 rows"), (np.ones(3), np.ones((3, 1)), "A must be a matrix"),
    (np.ones((2, 2)), np.array([["x"]]), "B must be a matrix of numbers"), (np.ones((0, 2)), np.ones((2, 2)), "A must be"),
    (np.ones((1, 1), complex), np.ones((1, 1)), "A must be real"),
])
def test_matrices_that_do_not_fit_are_refused(a: np.ndarray, b: np.ndarray, message: str) -> None:
    machine = SystolicArray(2, 2)
    for call in (lambda: SteppedArray(machine, a, b), lambda: golden(machine, a, b)):
        with pytest.raises(ConfigError, match=message):
            call()


@pytest.mark.parametrize("value", [128, -129, 0.5, float("nan"), float("inf")])
def test_int8_takes_int8_only(value: float) -> None:
    machine = SystolicArray(2, 2, "os", "int8", "int32")
    with pytest.raises(ConfigError, match="A must hold integers from -128 to 127, not"):
        load_matrix(np.array([[1.0, value]]), machine, "A")


def test_operands_are_rounded_once_on_their_way_in() -> None:
    x = 1 + 2.0 ** -8 + 2.0 ** -30  # above the tie between two bf16 numbers; through fp32 it would be on it
    assert load_matrix(np.array([[x]]), SystolicArray(1, 1), "A")[0, 0] == 1 + 2.0 ** -7


@pytest.mark.parametrize("fault, message", [
    (Fault(0, "z"), "no register 'z'"), (Fault(0, "x", (0, 3)), "does not fit"), (Fault(0, "x", (0, 0), 16), "bits 0 to 15"),
    (Fault(0, "load", (0,)), "no register 'load'"), (Fault(0, "s", (0, 0), 30, "burst", 3), "does not fit"),
])
def test_faults_that_the_array_cannot_have_are_refused(fault: Fault, message: str) -> None:
    engine = SteppedArray(SystolicArray(4, 4, "os"), np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ConfigError, match=message):
        engine.run([fault])


def test_an_array_beyond_all_memory_is_refused() -> None:
    machine = SystolicArray(100_000, 100_000, "ws")
    assert machine.folding(1, 1, 1).cycles == 1 + 3 * 100_000 - 2  # its time is a formula
    with pytest.raises(ConfigError, match="at most 134217728 can be stepped"):
        SteppedArray(machine, np.ones((1, 1)), np.ones((1, 1)))


def test_a_fault_after_the_run_does_nothing() -> None:
    engine = SteppedArray(SystolicArray(2, 2, "ws"), np.ones((2, 2)), np.ones((2, 2)))
    run = engine.run([Fault(engine.folding.cycles, "s", (0, 0), 3)])
    assert np.array_equal(run.output, engine.run().output)
