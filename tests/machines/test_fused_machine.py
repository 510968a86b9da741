"""The fused machine as a description: registers, schedule, occupants, activity, config."""

from __future__ import annotations

import numpy as np
import pytest
from fused.draw import fault_arguments, head, machine
from pydantic import ValidationError

from accel_sim.config.checker import FusedOutputUnit
from accel_sim.config.fused import FusedArchitecture, FusedFormats
from accel_sim.faults.fault import Fault
from accel_sim.fused.replay import FusedReplay
from accel_sim.fused.stepped import SteppedFused
from accel_sim.machines.fused import (
    EXP2,
    FLOW_DU,
    FLOW_LR,
    FLOW_UD,
    LOAD_LI,
    LOAD_UI,
    MAC,
    UPDATE,
)
from accel_sim.machines.fused_sequence import fill_program, phases


@pytest.mark.parametrize("columns", [0, 1, 3])
def test_the_inventory_is_the_state(columns: int) -> None:
    m = machine(5, columns)
    by_name = {r.name: r for r in m.inventory}
    assert by_name["s"].shape == by_name["up"].shape == by_name["down"].shape == (5, 5)
    assert by_name["right"].shape == by_name["ctrl"].shape == (5, 4)
    assert by_name["in_skew"].size == by_name["out_skew"].size == 10
    assert by_name["s"].width_bits == by_name["right"].width_bits == 16
    assert by_name["up"].width_bits == by_name["down"].width_bits == by_name["o"].width_bits == 32
    assert ("c" in by_name) == (columns > 0)
    if columns:
        assert by_name["c"].shape == (columns, 5)
        own = [r for r in m.inventory if r.component == "checker.fused_output"]
        assert len(own) == 16
        assert {r.name for r in own} == {r.name for r in m.inventory} - {r.name for r in machine(5, 0).inventory}


def test_bits_of_a_pe() -> None:
    """bf16 operands, fp32 sums: s, right, up, down, done and nine control bits."""
    m = machine(8, 0)
    pe = sum(m.inventory[name].bits for name in ("s", "right", "up", "down", "done", "ctrl"))
    assert pe == 64 * (16 + 32 + 32 + 1) + 56 * (16 + 9)


@pytest.mark.parametrize("size, columns", [(4, 1), (7, 2)])
def test_register_writes_follow_from_the_control_words(size: int, columns: int) -> None:
    m = machine(size, columns, exp_pieces=4)
    side, down, up, commands = (np.zeros(m.durations.tile + 1, np.int64) for _ in range(4))
    fill_program(side, down, up, commands, phases(m))
    written = dict.fromkeys(("s", "right", "down", "up", "done"), 0)
    multiplied = pieces = 0
    for wave in range(m.durations.tile + 1):
        for row in range(size):
            word = int(side[wave])
            word |= int(down[wave - row]) if wave >= row else 0
            word |= int(up[wave - (size - 1 - row)]) if wave >= size - 1 - row else 0
            written["s"] += bool(word & (LOAD_LI | LOAD_UI | UPDATE))
            written["right"] += bool(word & (LOAD_LI | FLOW_LR))
            written["down"] += bool(word & FLOW_UD or (word & MAC and word & 2))
            written["up"] += bool(word & FLOW_DU or (word & MAC and not word & 2))
            written["done"] += bool(word)
            multiplied += bool(word & (MAC | UPDATE | EXP2))
            pieces += bool(word & EXP2)
    written["s"] += size  # each PE takes one of its pieces
    timing = m.timing(2 * size, 3 * size)
    activity = m.activity(timing)
    tiles = 6
    for name, rows in written.items():
        columns_of = size - 1 if name == "right" else size
        assert activity.register_writes[name] == tiles * rows * columns_of, name
    used = sum(activity.operator(name).uses for name in ("pe_multiply", "check_pe_multiply"))
    assert used == tiles * multiplied * size
    assert activity.operator("pe_piece").uses == tiles * pieces * size
    assert activity.cycles == timing.head_cycles
    assert set(activity.register_writes) == {r.name for r in m.inventory}


def test_steps_fetch_queries_and_keys_and_write_outputs() -> None:
    m = machine(4)
    timing = m.timing(6, 9)
    assert sum(step.cycles for step in timing.steps) == timing.head_cycles
    first = [step.phase for step in timing.steps[:3]]
    assert first == ["load_stationary", "attention_score", "attention_value"]
    writes = [tile for step in timing.steps for tile in step.writes]
    assert [(tile.index, tile.rows) for tile in writes] == [((0,), 4), ((1,), 2)]
    assert [step.reads[0].rows for step in timing.steps if step.phase == "attention_score"] == [4, 4, 1] * 2
    for step, start in zip(timing.steps, timing.starts, strict=False):
        if step.name == "load stationary, queries 1, keys 2":
            assert start == timing.tile_start(1, 2)


def test_describe_is_plain() -> None:
    facts = machine(8, 2).describe()
    assert next(iter(facts)) == "size"
    assert (facts["tile_cycles"], facts["checksum_columns"]) == (5 * 8 + 11 + 2, 2)


@pytest.mark.parametrize("columns", [0, 1])
def test_dead_registers_are_dead(columns: int) -> None:
    """Where there is no occupant, no flip of any bit changes anything; where there is one, some flip often does."""
    m = machine(4, columns)
    job = head(m, 5, 6, 1, limit=1e-3)
    engine = SteppedFused(m, job)
    timing = engine.timing
    golden = engine.golden()
    rng = np.random.default_rng(2)
    live = changed = dead = 0
    for register in m.inventory:
        for _ in range(30):
            index = tuple(int(rng.integers(n)) for n in register.shape)
            cycle = int(rng.integers(timing.head_cycles))
            held = m.occupant(timing, register, index, cycle)
            bit = register.width_bits - 1 - int(rng.integers(min(3, register.width_bits)))
            same = engine.inject(Fault(cycle, register.name, index, bit)).result.same_as(golden)
            if held is None:
                dead += 1
                assert same, (register.name, index, cycle)
            else:
                live += 1
                changed += not same
    assert dead > 100 and changed > 0.2 * live


def test_values_are_noted_where_there_is_an_occupant() -> None:
    m = machine(4, 2)
    job = head(m, 6, 7, 4)
    replay = FusedReplay(m, job)
    rng = np.random.default_rng(5)
    faults = []
    for register in m.inventory:
        for _ in range(40):
            index = tuple(int(rng.integers(n)) for n in register.shape)
            faults.append(Fault(int(rng.integers(replay.timing.head_cycles)), register.name, index))
    out = replay.outcomes(*fault_arguments(m, faults))
    for i, fault in enumerate(faults):
        held = m.occupant(replay.timing, m.inventory[fault.register], fault.index, fault.cycle)
        if out.status[i] != 2:
            assert (held is None) == np.isnan(out.old_value[i]), fault


def test_occupants_name_query_key_and_dimension() -> None:
    m = machine(4, 0)
    timing, n = m.timing(4, 4), 4
    up = m.occupant(timing, m.inventory["up"], (2, 3), m.durations.load + n + 1 + 1 - 2 + 3)
    assert up is not None and (up.query, up.key, up.dim) == (3, 1, 2)
    s = m.occupant(timing, m.inventory["s"], (1, 2), m.durations.load + 1 + 2)
    assert s is not None and (s.query, s.key, s.dim) == (2, None, 1)


# ---- config


def test_impossible_together() -> None:
    with pytest.raises(ValidationError, match="sum must have at least"):
        FusedFormats(operand="fp16", sum="bf16")
    with pytest.raises(ValidationError, match="checker must have at least"):
        FusedFormats(operand="bf16", sum="fp32", checker="bf16")
    with pytest.raises(ValidationError, match="exp_pieces must fit"):
        FusedArchitecture(exp_pieces=32, formats=FusedFormats(operand="fp16", sum="fp16", checker="fp32"))
    with pytest.raises(ValidationError, match="power of two"):
        FusedArchitecture(exp_pieces=12)
    for size in (3, 129):
        with pytest.raises(ValidationError, match="head_dim"):
            FusedArchitecture(head_dim=size)


def test_units_that_it_cannot_have() -> None:
    arch = FusedArchitecture()
    clashes = list(arch.refuses(FusedOutputUnit(granularity="key_tile")))
    assert [clash.keys for clash in clashes] == [("unit.granularity",)]
    assert "query_block" in clashes[0].message
    unshared = FusedOutputUnit(shares={"score": True, "max": True, "exp": True, "sum": False})
    assert [clash.keys for clash in arch.refuses(unshared)] == [("unit.shares",)]
    assert not list(arch.refuses(FusedOutputUnit()))
