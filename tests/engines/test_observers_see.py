"""What the units that only look see of a fault, and what they cannot see."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import LanesMachine
from engines.draw import gaussian_case, machine_with

QUERIES, KEYS = 6, 20
LIMITS = {"score_rowsum": 1e-4, "softmax_invariants": 1e-4}
CAUSAL = np.arange(QUERIES) + 8
EXPONENT = 30  # the top exponent bit of an fp32 value: a small one becomes huge


@pytest.fixture(scope="module")
def engine() -> SteppedEngine:
    """Three lanes, four dimensions (D = 2), causal: query i sees keys 0 … i + 8."""
    base = machine_with(3, 4)
    machine = LanesMachine(base.config.changed({"checker.units": [
        "score_rowsum", {"kind": "softmax_invariants", "which": ["sum", "max", "mask", "score"]},
    ]}))  # fmt: skip
    case = gaussian_case(machine, QUERIES, KEYS, seed=3, bound=CAUSAL)
    return SteppedEngine(machine, case.job.with_limits(LIMITS))


def struck(engine: SteppedEngine, register: str, index: tuple[int, ...], cycle: int, bit: int) -> tuple[RunResult, set]:
    """(run, units that raised the alarm) under one flip; the fault-free run raises none."""
    assert engine.golden().alarm_cycle is None
    result = engine.inject(Fault(cycle, register, index, bit)).result
    return result, {c.unit for c in result.comparisons if c.alarm}


def in_stage(engine: SteppedEngine, key: int, stage: int) -> int:
    """Cycle in which a key of block 0 is in a stage of the pipeline."""
    return engine.timing.stream_start(0) + key + 1 + stage


def changes_output(engine: SteppedEngine, result: RunResult) -> bool:
    return not np.array_equal(result.output, engine.golden().output, equal_nan=True)


def test_a_wrong_product_shows_in_the_row_sum_and_an_impossible_score_in_the_invariants(engine):
    small, units = struck(engine, "prod", (1, 2), in_stage(engine, 3, 1), 22)
    assert changes_output(engine, small)
    assert units == {"score_rowsum"}
    _, units = struck(engine, "score", (1,), in_stage(engine, 3, 2 + engine.machine.depth), EXPONENT)
    assert units == {"score_rowsum", "softmax_invariants"}


def test_a_wrong_key_reaches_both_sides_of_the_row_sum(engine):
    result, units = struck(engine, "k", (0,), in_stage(engine, 3, 0), 13)  # bf16: an exponent bit
    assert changes_output(engine, result)
    assert "score_rowsum" not in units


def test_a_query_struck_between_its_keys_does_not(engine):
    result, units = struck(engine, "q", (0, 1), in_stage(engine, 7, 0), 13)
    assert changes_output(engine, result)
    assert "score_rowsum" in units


def test_a_maximum_that_falls_is_seen_and_one_that_rises_is_not(engine):
    machine, timing = engine.machine, engine.timing
    cycle = timing.stream_start(0) + 6 + 4 + machine.depth  # after key 6
    slot = machine.inventory.slot("m", (0,))
    held = {}
    engine.run((), lambda c, state: held.__setitem__(c, float(state[slot])))
    assert held[cycle] > 0
    _, units = struck(engine, "m", (0,), cycle, 31)  # its sign
    assert units == {"softmax_invariants"}
    rises = next(bit for bit in range(23, 30) if not np.float32(held[cycle]).view(np.uint32) >> np.uint32(bit) & 1)
    result, units = struck(engine, "m", (0,), cycle, rises)  # at least twice as large
    assert changes_output(engine, result)
    assert units == set()


def test_a_weight_of_a_masked_key_is_seen_by_nothing_else(engine):
    cycle = in_stage(engine, 15, 4 + engine.machine.depth)  # masked for query 0, where p is 0
    result, units = struck(engine, "p", (0,), cycle, EXPONENT)  # of zero: it becomes 2
    assert changes_output(engine, result)
    assert units == {"softmax_invariants"}
    result, units = struck(engine, "allow", (0,), in_stage(engine, 15, 3 + engine.machine.depth), 0)
    assert changes_output(engine, result)
    assert units == {"softmax_invariants"}


def test_a_sum_of_weights_is_seen_outside_its_bounds_and_not_inside(engine):
    timing = engine.timing
    drain = timing.read_cycle(0)
    result, units = struck(engine, "l", (0,), drain, EXPONENT)
    assert changes_output(engine, result)
    assert units == {"softmax_invariants"}
    result, units = struck(engine, "l", (0,), drain, 21)
    assert changes_output(engine, result)
    assert units == set()  # possible, and wrong


def test_what_lies_behind_the_softmax_is_out_of_their_sight(engine):
    for register, index, cycle in (
        ("pv", (0, 1), in_stage(engine, 3, 5 + engine.machine.depth)), ("o", (1, 2), engine.timing.read_cycle(0)),
        ("v", (3,), in_stage(engine, 3, 0)), ("norm_o", (2,), engine.timing.read_cycle(0) + 1),
    ):  # fmt: skip
        width = engine.machine.inventory[register].width_bits
        result, units = struck(engine, register, index, cycle, width - 2)
        assert changes_output(engine, result), register
        assert units == set(), register


def test_their_own_registers_never_change_an_output(engine):
    rng = np.random.default_rng(0)
    machine, alarms = engine.machine, 0
    own = [r for r in machine.inventory if r.name.startswith(("rowsum_", "softmax_"))]
    for _ in range(300):
        register = own[int(rng.integers(len(own)))]
        index = tuple(int(rng.integers(n)) for n in register.shape)
        fault = Fault(int(rng.integers(engine.golden().cycles)), register.name, index,
                      int(rng.integers(register.width_bits)))  # fmt: skip
        result = engine.inject(fault).result
        assert not changes_output(engine, result), fault
        alarms += result.alarm_cycle is not None
    assert 10 < alarms < 250
