"""The hardware of the readback: what happens in which cycle, and what a strike in each of its registers does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.faults.fault import Fault
from accel_sim.kinds import make_machine, stepped_engine
from output_units.draw import FUSED, RANGE, assembled, assert_same_records, points_of

N = 5  # queries of the head below


@pytest.fixture(scope="module")
def engine():
    assembly = assembled(RANGE, queries=N)
    return stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))


@pytest.fixture(scope="module")
def end(engine):
    """Cycle in which the machine's own run has ended."""
    return engine.bare.golden().cycles


def test_a_head_takes_a_cycle_more_for_each_row_and_three(engine, end):
    assert engine.golden().cycles == end + N + 3
    assert engine.timing.head_cycles == end + N + 3
    spans = list(engine.timing.spans())
    assert spans[-1][0] == "readback" and spans[-1][2:] == (end, N + 3)
    assert sum(cycles for *_, cycles in spans) == end + N + 3


def test_each_row_is_compared_in_its_cycle(engine, end):
    found = engine.golden()
    assert [c.cycle for c in found.comparisons] == [end + q + 2 for q in range(N)]
    assert {c.unit for c in found.comparisons} == {"invariants"}
    assert found.alarm_cycle is None


@pytest.mark.parametrize("q", range(N))
def test_a_wrong_row_raises_the_alarm_three_cycles_after_it_is_read(engine, end, q):
    struck = engine.inject(Fault(end + q + 1, "invariants_row", (1,), 30))
    row = engine.golden().output[q]
    assert struck.old_value == row[1] and abs(struck.new_value) > 1e30
    assert struck.result.alarm_cycle == end + q + 3
    assert struck.result.comparisons[q].residual > 1e30
    assert np.array_equal(struck.result.output, engine.golden().output)  # it is a copy of the row that was struck


def test_a_row_register_is_dead_until_it_is_loaded_and_after_the_last_comparison(engine, end):
    for cycle in (0, end - 1, end, end + N + 1, end + N + 2):
        fault = Fault(cycle, "invariants_row", (0,), 30)
        assert not engine.live(fault)
        assert engine.inject(fault).result.same_as(engine.golden())


def test_a_residual_is_judged_as_it_stands_and_recorded_as_it_was_computed(engine, end):
    struck = engine.inject(Fault(end + 2 + 3, "invariants_residual", (), 30)).result
    assert struck.alarm_cycle == end + 3 + 3
    assert replace(struck, alarm_cycle=None).same_as(engine.golden())
    assert [c.residual for c in struck.comparisons] == [0.0] * N


def test_an_infinite_limit_allows_everything_but_what_is_not_finite(engine, end):
    def infinite(register, index):
        return [Fault(end + 1, register, index, bit, "stuck1") for bit in range(23, 31)]  # 2^-7 has no fraction bits

    large = Fault(end + 1, "invariants_row", (1,), 30)
    assert engine.run([large]).alarm_cycle == end + 3
    assert engine.run([large, *infinite("invariants_threshold", ())]).alarm_cycle is None
    both = [*infinite("invariants_row", (0,)), *infinite("invariants_threshold", ())]
    assert engine.run(both).alarm_cycle == end + 3


def test_what_a_unit_holds_is_live_from_the_start_until_the_last_comparison(engine, end):
    for cycle, rows in ((0, range(N)), (end + 1, range(N)), (end + 3, range(2, N)), (end + N, [N - 1]), (end + N + 1, [])):
        struck = engine.inject(Fault(cycle, "invariants_vmax", (0,), 15))  # its sign: most outputs lie above −vmax
        above = [c.residual > 0 for c in struck.result.comparisons]
        expected = [q in rows and engine.golden().output[q, 0] > struck_vmax(engine) for q in range(N)]
        assert above == expected
        assert engine.live(Fault(cycle, "invariants_vmax", (0,), 15)) == bool(rows)


def struck_vmax(engine):
    return -engine.units[0].held["vmax"][0]


def test_the_alarm_bit_itself_is_live_in_every_cycle(engine, end):
    for cycle in (0, 7, end, end + N + 2):
        assert engine.inject(Fault(cycle, "invariants_alarm", (), 0)).result.alarm_cycle == cycle


def test_a_counter_that_jumps_back_reads_rows_again(engine, end):
    # In cycle E + 4 the counter is 4; without its bit 2 it is 0, and all rows come again.
    found = engine.inject(Fault(end + 4, "invariants_query", (), 2)).result
    assert found.cycles == end + 4 + N + 3
    cycles = [c.cycle for c in found.comparisons]
    assert cycles == [end + 2, end + 3, end + 4, *(end + 4 + q + 2 for q in range(N))]


def test_a_counter_past_the_end_ends_the_run_at_once(engine, end):
    found = engine.inject(Fault(end + 3, "invariants_query", (), 4)).result
    assert found.cycles == end + 3
    assert [c.cycle for c in found.comparisons] == [end + 2, end + 3]


def test_a_counter_that_is_struck_early_skips_rows(engine, end):
    found = engine.inject(Fault(3, "invariants_query", (), 0)).result
    assert found.cycles == end + N + 2
    # The row register still holds its zeros when query 0 is compared; the queries after it are as always.
    assert len(found.comparisons) == N and found.comparisons[0].cycle == end + 1


def test_a_counter_that_cannot_move_is_a_hang(engine, end):
    for bit in range(4):
        stuck = Fault(end, "invariants_query", (), bit, "stuck0", duration=10_000)
        found = engine.inject(stuck).result
        if found.hang:
            assert found.cycles == end + 3 * (N + 3) + 1000
            break
    else:
        pytest.fail("no stuck bit holds the counter")


def test_a_system_run_counts_the_readback():
    assert assembled(FUSED, RANGE).system.cycles == assembled(FUSED).system.cycles + N + 3
    assert assembled(RANGE).system.cycles == assembled().system.cycles + N + 3


def test_a_run_that_hangs_is_never_read_back():
    assembly = assembled(FUSED, RANGE)
    engine = stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))
    found = engine.inject(Fault(1, "phase", (), 1, "stuck0", duration=100_000)).result
    if not found.hang:  # whichever bit it is that holds the sequencer
        found = engine.inject(Fault(1, "phase", (), 0, "stuck0", duration=100_000)).result
    assert found.hang
    assert not [c for c in found.comparisons if c.unit == "invariants"]


@pytest.mark.parametrize("late", [0, 3, 6])
def test_the_machines_own_alarm_can_still_be_struck_while_rows_are_read(late):
    assembly = assembled(FUSED, RANGE)
    engine = stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))
    end = engine.bare.golden().cycles
    assert engine.inject(Fault(end + late, "alarm", (), 0)).result.alarm_cycle == end + late
    # Nothing else of the machine matters any more.
    for register in ("residual", "o", "phase", "threshold", "out"):
        index = (0,) * len(assembly.machine.inventory[register].shape)
        fault = Fault(end + late, register, index, 0)
        assert not engine.live(fault) and engine.inject(fault).result.same_as(engine.golden())


def test_an_alarm_that_is_cleared_before_it_is_read_was_never_raised():
    """The machine's own check alarms in its last cycle, so that the flag is first read as the readback begins."""
    strict = {"kind": "fused_output", "threshold": {"kind": "absolute", "value": 1e-30}}
    assembly = assembled(strict, RANGE)
    engine = stepped_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))
    end = engine.bare.golden().cycles
    assert engine.golden().alarm_cycle == end  # else this head does not show what it should
    for fault in (Fault(end, "alarm", (), 0), Fault(end - 4, "alarm", (), 0, "stuck0", duration=6)):
        assert engine.inject(fault).result.alarm_cycle is None
        assert engine.run([fault]).alarm_cycle is None
    assert engine.inject(Fault(end + 1, "alarm", (), 0)).result.alarm_cycle == end


def test_a_fault_and_its_list_of_one_are_the_same(engine, end):
    rng = np.random.default_rng(5)
    inventory = engine.machine.inventory
    for _ in range(300):
        register = inventory.registers[int(rng.integers(len(inventory.registers)))]
        index = tuple(int(rng.integers(n)) for n in register.shape)
        fault = Fault(int(rng.integers(engine.golden().cycles)), register.name, index,
                      int(rng.integers(register.width_bits)))
        assert engine.run([fault]).same_as(engine.inject(fault).result), fault


def test_the_inventory_ends_with_the_units_registers(engine):
    machine = engine.machine
    plain = make_machine(machine.config.changed({"checker.units": []}))
    assert machine.inventory.registers[:len(plain.inventory.registers)] == plain.inventory.registers
    added = machine.inventory.registers[len(plain.inventory.registers):]
    assert {r.component for r in added} == {"checker.invariants"}
    widths = {r.name: (r.shape, r.width_bits) for r in added}
    assert widths == {
        "invariants_query": ((), 5), "invariants_row": ((3,), 32), "invariants_residual": ((), 32),
        "invariants_limit": ((), 32), "invariants_threshold": ((), 32), "invariants_alarm": ((), 1),
        "invariants_vmin": ((3,), 16), "invariants_vmax": ((3,), 16),
    }


def test_a_watched_run_shows_machine_and_units_in_every_cycle(engine, end):
    cycles, rows, alarms = [], [], []
    at = engine.machine.inventory.offsets

    def watch(cycle, state):
        cycles.append(cycle)
        rows.append(state[at["invariants_row"]:at["invariants_row"] + 3].copy())
        alarms.append(state[at["invariants_alarm"]])

    fault = Fault(end + 2, "invariants_row", (1,), 30)
    found = engine.run([fault], watch)
    assert found.same_as(engine.inject(fault).result)
    assert cycles == list(range(end + N + 3))
    golden = engine.golden().output
    for q in (0, 2, 3, 4):
        assert np.array_equal(rows[end + q + 1], golden[q])
    assert rows[end + 2][1] == engine.inject(fault).new_value
    assert [cycle for cycle, up in zip(cycles, alarms, strict=True) if up] == list(range(end + 4, end + N + 3))


def test_the_units_registers_can_be_protected_like_any_others():
    parity = {"kind": "parity", "parts": ["component:checker.invariants"]}
    assembly = assembled(RANGE, parity, faults={"kinds": ["flip", "stuck0", "stuck1"], "stuck_cycles": 2})
    checkers = [name for name in assembly.components if name.startswith("checker.")]
    rng = np.random.default_rng(0)
    records = assert_same_records(assembly, rng.choice(points_of(assembly, checkers), 600), rng.choice([0, 2, 3], 600))
    assert (records["outcome"] == 2).any()
    assert_same_records(assembly, rng.integers(0, assembly.universe.size, 600), rng.choice([0, 2, 3], 600))
