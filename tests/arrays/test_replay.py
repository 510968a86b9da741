"""Replayed single faults against the stepped engine: the same changed outputs, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.arrays.replay import ArrayReplay, Changes
from accel_sim.config.errors import ConfigError
from accel_sim.faults.fault import Fault
from accel_sim.faults.universe import Universe
from accel_sim.machines.folds import DATAFLOWS
from accel_sim.machines.systolic import SystolicArray
from accel_sim.machines.systolic_schedule import Schedule

from .draw import fault, matrix

FLOWS = list(DATAFLOWS)
FORMATS = [("bf16", "fp32", "keep"), ("fp32", "fp32", "keep"), ("fp8_e4m3", "fp32", "keep"), ("fp8_e5m2", "bf16", "keep"),
           ("fp16", "fp16", "flush"), ("bf16", "fp32", "flush"), ("fp64", "fp64", "keep"), ("int8", "int32", "keep")]


def engine(rng: np.random.Generator, machine: SystolicArray, m: int, n: int, k: int, wild: bool = False) -> ArrayReplay:
    return ArrayReplay(machine, matrix(rng, (m, k), machine.operand, wild), matrix(rng, (k, n), machine.operand, wild))


def expect(replay: ArrayReplay, changes: Changes, number: int, struck: Fault) -> None:
    """The records of a fault are the differences of a stepped run under it."""
    output = replay.stepped.run([struck]).output
    kind = f"int{8 * output.dtype.itemsize}"
    place, value = changes.of(number)
    differs = np.flatnonzero(output.view(kind) != replay.golden.view(kind))
    assert place.tolist() == differs.tolist(), (replay.machine, replay.folding, struck)
    assert value.view(kind).tolist() == output.reshape(-1)[place].view(kind).tolist(), (replay.machine, struck)


@pytest.mark.parametrize("rows, cols, sizes", [(2, 3, (3, 4, 3)), (3, 2, (4, 3, 5)), (1, 2, (2, 3, 2)), (2, 2, (3, 1, 1))])
@pytest.mark.parametrize("flow", FLOWS)
def test_every_point_of_a_small_universe(flow: str, rows: int, cols: int, sizes: tuple[int, int, int]) -> None:
    replay = engine(np.random.default_rng(31), SystolicArray(rows, cols, flow, "fp8_e4m3", "bf16"), *sizes)
    universe = Universe.of(replay.machine.inventory, replay.folding.cycles)
    points = universe.points(np.arange(universe.size))
    changes = replay.points(points)
    assert 0 < np.count_nonzero(changes.counts) < universe.size
    for i in range(universe.size):
        register = universe.registers[points.register[i]]
        index = tuple(int(x) for x in np.unravel_index(points.element[i], register.shape))
        expect(replay, changes, i, Fault(int(points.cycle[i]), register.name, index, int(points.bit[i])))


@pytest.mark.parametrize("operand, total, subnormals", FORMATS)
@pytest.mark.parametrize("flow", FLOWS)
def test_random_faults_of_every_kind(flow: str, operand: str, total: str, subnormals: str) -> None:
    rng = np.random.default_rng(32)
    for trial in range(12):
        rows, cols = (int(n) for n in rng.integers(1, 6, 2))
        sizes = (int(n) for n in rng.integers(1, 12, 3))
        machine = SystolicArray(rows, cols, flow, operand, total, subnormals)  # type: ignore[arg-type]
        replay = engine(rng, machine, *sizes, wild=trial % 3 == 2)
        for _ in range(25):
            struck = fault(rng, machine, replay.folding.cycles)
            expect(replay, replay.inject(struck), 0, struck)


def test_many_faults_at_once_are_the_faults_one_by_one() -> None:
    rng = np.random.default_rng(33)
    for flow in FLOWS:
        replay = engine(rng, SystolicArray(8, 8, flow), 40, 30, 20)
        universe = Universe.of(replay.machine.inventory, replay.folding.cycles)
        points = universe.points(universe.draw(7, 0, 200))
        changes = replay.points(points)
        faults = []
        for i in range(200):
            register = universe.registers[points.register[i]]
            index = tuple(int(x) for x in np.unravel_index(points.element[i], register.shape))
            faults.append(Fault(int(points.cycle[i]), register.name, index, int(points.bit[i])))
            expect(replay, changes, i, faults[-1])
        again = replay.transients(faults)
        assert again.place.tolist() == changes.place.tolist() and again.ends.tolist() == changes.ends.tolist()
        assert np.array_equal(again.value.view(np.int32), changes.value.view(np.int32))


def test_more_records_than_one_call_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(34)
    replay = engine(rng, SystolicArray(4, 4, "ws"), 30, 8, 8)
    universe = Universe.of(replay.machine.inventory, replay.folding.cycles)
    points = universe.points(universe.draw(1, 0, 500))
    whole = replay.points(points)
    monkeypatch.setattr("accel_sim.arrays.replay._RECORDS", 1)
    parts = replay.points(points)
    assert whole.place.size > 200  # more than there is room for at once now
    for one, other in ((whole.place, parts.place), (whole.ends, parts.ends), (whole.value, parts.value)):
        assert np.array_equal(one, other)


def test_a_valid_bit_in_an_idle_row_makes_a_flushed_negative_zero_positive() -> None:
    # 1.25 − 1.5 of the smallest normal number is flushed to −0; 0 · 0 in the third row, which is idle, makes it +0
    a, b = np.ones((2, 2)), np.array([[1.25, 1.25], [-1.5, -1.5]]) * 2.0**-14
    struck = Fault(6, "x_valid", (2, 0))
    for subnormals, changed in (("flush", [1]), ("keep", [])):
        replay = ArrayReplay(SystolicArray(3, 2, "ws", "fp16", "fp16", subnormals), a, b)  # type: ignore[arg-type]
        assert np.signbit(replay.golden).all() and (replay.golden[0, 0] == 0) == (subnormals == "flush")
        changes = replay.inject(struck)
        expect(replay, changes, 0, struck)
        assert changes.place.tolist() == changed and not np.signbit(changes.value).any()
        reach = Schedule(replay.machine, replay.folding).reach(struck.register, struck.index, struck.cycle)
        assert np.flatnonzero(reach).tolist() == changed


def test_what_cannot_be_replayed_is_refused() -> None:
    replay = engine(np.random.default_rng(35), SystolicArray(2, 2, "ws"), 2, 2, 2)
    with pytest.raises(ConfigError, match="no register 'k'"):
        replay.inject(Fault(0, "k"))
    with pytest.raises(ValueError, match="no transient"):
        replay.transients([Fault(0, "s", (0, 0), 0, "stuck1", duration=2)])
    assert replay.transients([]).counts.size == 0


def test_a_fault_after_the_run_changes_nothing() -> None:
    replay = engine(np.random.default_rng(36), SystolicArray(2, 2, "os"), 3, 3, 3)
    assert replay.inject(Fault(replay.folding.cycles, "s", (0, 0), 30)).counts.tolist() == [0]
