"""What each kind of fault does to the register that it strikes, and for how long."""

from __future__ import annotations

import numpy as np
import pytest
from engines.draw import Case, Trace, gaussian_case, machine_with, random_case, random_fault, trace

from accel_sim.engines.golden import clock_of
from accel_sim.faults.fault import Fault, fault_arrays
from accel_sim.machines.inventory import Register

CASE = gaussian_case(machine_with(lanes=3, head_dim=5, max_keys=16, max_queries=16), 7, 9)


def patterns(run: Trace, register: Register, index: tuple[int, ...]) -> np.ndarray:
    """The stored bits of one element in every cycle."""
    return register.stored.encode(run.column(register.name, *index))


def struck(fault: Fault, case: Case = CASE) -> tuple[np.ndarray, np.ndarray]:
    """Bits of the struck element, cycle by cycle: fault-free and under the fault."""
    register = case.machine.inventory[fault.register]
    return patterns(trace(case), register, fault.index), patterns(trace(case, [fault]), register, fault.index)


def test_a_flip_stays_until_the_register_is_next_written():
    """A stationary query element: struck in cycle 6, written again when its lane is loaded in the second swap."""
    clean, faulty = struck(Fault(6, "q", (2, 4), 13))
    changed = np.flatnonzero(clean ^ faulty)
    reload = CASE.engine.timing.swap_start(1) + 2
    assert changed.tolist() == list(range(6, reload + 1))
    assert set((clean ^ faulty)[changed]) == {np.uint64(1 << 13)}


def test_a_flip_in_the_streaming_pipeline_lasts_one_cycle():
    depth = CASE.machine.depth
    full = CASE.engine.timing.stream_start(0) + 3 + depth + 2  # the score register is written every cycle
    clean, faulty = struck(Fault(full, "score", (1,), 22))
    assert np.flatnonzero(clean ^ faulty).tolist() == [full]


def test_a_flip_in_an_idle_register_waits_until_the_pipeline_runs_again():
    """The score register keeps the last key's score through flush and swap, then is written again."""
    timing, depth = CASE.engine.timing, CASE.machine.depth
    idle = timing.swap_start(1)
    clean, faulty = struck(Fault(idle, "score", (1,), 22))
    assert np.flatnonzero(clean ^ faulty).tolist() == list(range(idle, timing.stream_start(1) + 3 + depth))
    assert CASE.engine.inject(Fault(idle, "score", (1,), 22)).result.same_as(CASE.engine.golden())


def test_a_burst_inverts_adjacent_bits():
    clean, faulty = struck(Fault(6, "q", (2, 4), 3, "burst", bits=4))
    assert set(clean[6:16] ^ faulty[6:16]) == {np.uint64(0b1111 << 3)}


@pytest.mark.parametrize(("kind", "forced"), [("stuck0", 0), ("stuck1", 1)])
def test_a_stuck_bit_is_forced_at_the_start_of_every_cycle_of_its_interval(kind, forced):
    """The score register gets a new value in every cycle of the interval; in each, that bit has the forced value."""
    fault = Fault(12, "score", (0,), 20, kind, duration=5)
    clean, faulty = struck(fault)
    bit = np.uint64(1 << 20)
    inside = slice(12, 17)
    assert ((faulty[inside] & bit) == bit * np.uint64(forced)).all()
    assert (faulty[inside] | bit == clean[inside] | bit).all()
    assert len(set((clean[inside] & bit).tolist())) == 2  # it really would have varied
    assert np.array_equal(clean[:12], faulty[:12])
    assert np.array_equal(clean[17:], faulty[17:])  # written in the last cycle of the interval


def test_what_a_stuck_bit_leaves_behind_stays_until_the_next_write():
    clean, faulty = struck(Fault(5, "q", (2, 4), 14, "stuck1", duration=2))
    assert not clean[5] >> 14 & 1
    assert set(np.flatnonzero(clean ^ faulty)) == set(range(5, CASE.engine.timing.swap_start(1) + 3))


def test_a_bit_stuck_at_the_value_it_has_is_no_fault():
    rng = np.random.default_rng(0)
    golden = CASE.engine.golden()
    run = trace(CASE)
    for _ in range(100):
        fault = random_fault(CASE, golden.cycles, rng)
        register = CASE.machine.inventory[fault.register]
        has = int(patterns(run, register, fault.index)[fault.cycle] >> fault.bit & 1)
        same = Fault(fault.cycle, fault.register, fault.index, fault.bit, f"stuck{has}")
        assert CASE.engine.inject(same).result.same_as(golden), same


def test_two_flips_of_one_bit_undo_each_other():
    """In one cycle they are nothing; apart, the register is wrong in between."""
    golden = CASE.engine.golden()
    twice = [Fault(6, "q", (2, 4), 13), Fault(6, "q", (2, 4), 13)]
    assert CASE.engine.run(twice).same_as(golden)
    clean, faulty = struck(Fault(6, "q", (2, 4), 13))
    undone = patterns(trace(CASE, [Fault(6, "q", (2, 4), 13), Fault(9, "q", (2, 4), 13)]),
                      CASE.machine.inventory["q"], (2, 4))  # fmt: skip
    assert np.flatnonzero(clean ^ undone).tolist() == [6, 7, 8]
    assert np.flatnonzero(clean ^ faulty).size > 3


def test_faults_in_different_queries_add_up_and_their_order_in_the_list_does_not_matter():
    first, second = Fault(20, "o", (0, 1), 29), Fault(38, "o", (2, 3), 28)
    golden = CASE.engine.golden().output
    one, two = (CASE.engine.run([fault]).output for fault in (first, second))
    both = CASE.engine.run([first, second])
    assert both.same_as(CASE.engine.run([second, first]))
    rows_one = np.flatnonzero((one != golden).any(axis=1))
    rows_two = np.flatnonzero((two != golden).any(axis=1))
    assert rows_one.tolist() == [0] and rows_two.tolist() == [5]
    assert both.output[0].tolist() == one[0].tolist() and both.output[5].tolist() == two[5].tolist()
    assert np.flatnonzero((both.output != golden).any(axis=1)).tolist() == [0, 5]


def test_a_fault_after_the_end_never_acts():
    golden = CASE.engine.golden()
    assert CASE.engine.run([Fault(golden.cycles, "alarm")]).same_as(golden)


def test_registers_stored_narrower_than_they_compute_lose_only_the_bits_they_have():
    """`register_format: bf16` over fp32 arithmetic: bit 0 of the register is bit 16 of the value."""
    machine = machine_with(faults={"register_format": {"score": "bf16"}})
    case = gaussian_case(machine, 4, 8)
    assert machine.inventory["score"].width_bits == 16
    injection = case.engine.inject(Fault(15, "score", (1,), 0))
    plain = gaussian_case(machine_with(), 4, 8).engine.inject(Fault(15, "score", (1,), 16))
    assert (injection.old_value, injection.new_value) == (plain.old_value, plain.new_value)
    assert injection.result.same_as(plain.result)
    with pytest.raises(ValueError, match="bits 0 to 15"):
        case.engine.inject(Fault(15, "score", (1,), 16))


@pytest.mark.parametrize(("fault", "says"), [
    (Fault(0, "scores"), "no register 'scores'; did you mean 'score'"),
    (Fault(0, "nonsense"), "It is one of: phase, row"),
    (Fault(0, "score", (3,)), r"score has shape \(3,\), index \(3,\) does not fit"),
    (Fault(0, "score"), "shape"),
    (Fault(0, "score", (-1,)), "shape"),
    (Fault(0, "o", (0,)), "shape"),
    (Fault(0, "score", (0,), 32), "bits 0 to 31, bit 32 does not fit"),
    (Fault(0, "score", (0,), -1), "bits 0 to 31"),
    (Fault(0, "score", (0,), 30, "burst", bits=3), "bit 30 and 2 above it does not fit"),
    (Fault(0, "score", (0,), 0, "bounce"), "'bounce' is not one of flip, burst, stuck0, stuck1"),
    (Fault(-1, "score", (0,)), "cycle ≥ 0"),
    (Fault(0, "score", (0,), 0, "stuck0", duration=0), "duration ≥ 1"),
    (Fault(0, "score", (0,), 0, "burst", bits=0), "bits ≥ 1"),
])  # fmt: skip
def test_a_fault_that_the_machine_cannot_have_is_refused_with_what_is_allowed(fault, says):
    with pytest.raises(ValueError, match=says):
        fault_arrays([fault], CASE.machine.inventory)


# -- a pipeline that is being held ---------------------------------------------------------------------------------


def test_a_flip_in_a_held_pipeline_acts_when_it_moves():
    """Same outputs, same alarm cycle as a flip in the cycle in which the machine moves again: only the waiting
    time is added to the latency."""
    rng = np.random.default_rng(1)
    held = alarms = 0
    for _ in range(120):
        case = random_case(rng, stalls=True, check=True)
        engine = case.engine
        golden = engine.golden()
        clock = clock_of(case.machine, case.job, engine.timing)
        for _ in range(12):
            fault = random_fault(case, golden.cycles, rng)
            cycle, stalled = clock.machine_cycle(fault.cycle)
            # The alarm can be read in a held cycle too, and a phase that reads "done" ends the run at once.
            if not stalled or fault.register == "alarm" or (fault.register, fault.bit) == ("phase", 2):
                continue
            flip = Fault(fault.cycle, fault.register, fault.index, fault.bit)
            moving = Fault(clock.wall(cycle), fault.register, fault.index, fault.bit)
            early, late = engine.inject(flip), engine.inject(moving)
            assert early.result.same_as(late.result), (flip, moving, case.machine.config)
            assert (early.old_value, early.new_value) == (late.old_value, late.new_value) or np.isnan(early.new_value)
            held += 1
            if early.result.alarm_cycle is not None and early.result.alarm_cycle != golden.alarm_cycle:
                alarms += 1
                latency = [f.result.alarm_cycle - f.fault.cycle for f in (early, late)]
                assert latency[0] - latency[1] == moving.cycle - flip.cycle > 0
    assert held > 200 and alarms > 3


def test_a_struck_alarm_is_seen_even_while_the_pipeline_is_held():
    case = gaussian_case(machine_with(), 4, 8)
    held = Case(case.machine, case.job.with_stalls(kv=case.job.kv_stall + 7, swap=case.job.swap_stall))
    assert clock_of(held.machine, held.job, held.engine.timing).machine_cycle(5) == (3, True)
    assert held.engine.inject(Fault(5, "alarm")).result.alarm_cycle == 5
