"""Engines with protection, against the protection as clocked hardware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from engines.draw import Case

from accel_sim.config.protection import ParityUnit, RegisterProtection, SecdedUnit, TmrUnit
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.machines.inventory import Inventory
from accel_sim.numerics.formats import uint_format
from accel_sim.protection.stepped import ProtectedStepped
from protection.draw import MIXED, UNITS, everywhere, kinds_of, protection_of, stepped_of, tiny_case
from protection.reference import clocked

DESIGNS: dict[str, tuple[RegisterProtection, ...]] = {kind: everywhere(kind) for kind in UNITS} | {"mixed": MIXED}


def drawn_fault(inventory: Inventory, cycles: int, rng: np.random.Generator, kinds: tuple[str, ...] = KINDS) -> Fault:
    """Any fault in any register of an inventory."""
    register = inventory.registers[int(rng.integers(len(inventory.registers)))]
    index = tuple(int(rng.integers(n)) for n in register.shape)
    kind, bit = str(rng.choice(kinds)), int(rng.integers(register.width_bits))
    bits = min(int(rng.integers(2, 6)), register.width_bits - bit) if kind == "burst" else 1
    duration = int(rng.integers(1, 9)) if kind.startswith("stuck") else 1
    return Fault(int(rng.integers(cycles)), register.name, index, bit, kind, bits, duration)


@pytest.mark.parametrize("alarming", [False, True], ids=["quiet", "alarming"])
@pytest.mark.parametrize("design", DESIGNS)
def test_one_fault_does_what_the_hardware_does(design, alarming):
    """inject, run and the clocked hardware; on a head that alarms by itself, too."""
    rng = np.random.default_rng(1)
    seen = set()
    for n, options in enumerate(({}, {"dot": "serial", "granularity": "query_block"}, {"granularity": "key_tile"})):
        case = tiny_case(5, 5, key_tile=2, max_keys=8, max_queries=8, **options)
        if alarming:
            case = Case(case.machine, case.job.with_threshold(0.0, 0.0))
        engine = stepped_of(case, DESIGNS[design])
        golden, kinds = engine.golden(), kinds_of(engine.protection)
        assert (golden.alarm_cycle is not None) == alarming or n
        for _ in range(120):
            fault = drawn_fault(engine.protection.inventory, golden.cycles, rng)
            injection, run = engine.inject(fault), engine.run([fault])
            assert injection.result.same_as(run), fault
            assert run.same_as(clocked(case, kinds, [fault])), fault
            seen.add((fault.kind, injection.unit, injection.corrected))
    assert {kind for kind, _, _ in seen} == set(KINDS)
    assert (design == "tmr") == all(unit is None for _, unit, _ in seen)
    assert (design in ("secded", "tmr", "mixed")) == any(corrected for _, _, corrected in seen)


@pytest.mark.parametrize("design", DESIGNS)
def test_one_fault_on_a_machine_that_its_memory_holds(design):
    """An alarm follows in the first cycle after one in which the machine has moved. (The hardware as the tests clock it
    strikes when the machine moves, which in the phase and in the machine's own alarm is not the same.)"""
    rng = np.random.default_rng(2)
    waited = 0
    case = tiny_case(5, 5, max_keys=8, max_queries=8)
    stalls = {name: rng.integers(0, 5, cycles.size) for name, cycles in case.job.stalls.items()}
    case = Case(case.machine, case.job.with_stalls(**stalls))
    engine = stepped_of(case, DESIGNS[design])
    for _ in range(250):
        fault = drawn_fault(engine.protection.inventory, engine.golden().cycles, rng)
        injection, run = engine.inject(fault), engine.run([fault])
        assert injection.result.same_as(run), fault
        if fault.register in ("phase", "alarm"):
            continue
        assert run.same_as(clocked(case, kinds_of(engine.protection), [fault])), fault
        if injection.protection_alarm_cycle is not None:
            waited += injection.protection_alarm_cycle > fault.cycle + 1
    assert waited > 5 or design == "tmr"


@pytest.mark.parametrize("design", DESIGNS)
def test_a_list_of_faults_does_what_the_hardware_does(design):
    """Strikes that meet in one element and its spares, in the same cycle and in others."""
    rng = np.random.default_rng(3)
    case = tiny_case(4, 4)
    engine = stepped_of(case, DESIGNS[design])
    inventory, kinds = engine.protection.inventory, kinds_of(engine.protection)
    told = refused = 0
    for _ in range(300):
        first = drawn_fault(inventory, engine.golden().cycles, rng)
        faults = [first, *(companion(engine, first, rng) for _ in range(int(rng.integers(1, 4))))]
        faults += [drawn_fault(inventory, engine.golden().cycles, rng)]
        try:
            run = engine.run(faults)
        except ValueError as error:
            assert "stuck" in str(error) or "struck" in str(error)
            refused += 1
            continue
        told += 1
        assert run.same_as(clocked(case, kinds, faults)), faults
    assert told > 100 and refused > 10


def companion(engine: ProtectedStepped, fault: Fault, rng: np.random.Generator) -> Fault:
    """Another fault in the same element, or in one of its spares, soon after or in the same cycle."""
    names = [fault.register]
    place = engine.protection.places.get(fault.register)
    if place is not None and place.guarded is not None:
        spare = f"{place.guard.kind}_{place.guarded.name}"
        names = [place.guarded.name, spare, spare]
    register = engine.protection.inventory[str(rng.choice(names))]
    index = fault.index[-len(register.shape):] if register.shape else ()
    index = (int(rng.integers(register.shape[0])), *index)[-len(register.shape):] if register.shape else ()
    bit = min(fault.bit, register.width_bits - 1) if rng.random() < 0.5 else int(rng.integers(register.width_bits))
    cycle = fault.cycle + int(rng.integers(3)) * int(rng.random() < 0.4)
    return replace(fault, cycle=cycle, register=register.name, index=index, bit=bit, kind="flip", bits=1, duration=1)


def test_registers_that_are_stored_narrower_than_they_compute():
    """The protection guards the bits that the register has."""
    stored = {"score": "bf16", "state": "bf16", "output": "fp8_e5m2", "checker": "fp16", "exp": "bf16"}
    case = tiny_case(4, 4, formats="fp32", faults={"register_format": stored})
    rng = np.random.default_rng(6)
    for units in DESIGNS.values():
        engine = stepped_of(case, units)
        kinds = kinds_of(engine.protection)
        for _ in range(80):
            fault = drawn_fault(engine.protection.inventory, engine.golden().cycles, rng)
            injection, run = engine.inject(fault), engine.run([fault])
            assert injection.result.same_as(run) and run.same_as(clocked(case, kinds, [fault])), fault


# -- single statements ------------------------------------------------------------------------------------------------

CASE = tiny_case(5, 5, max_keys=8, max_queries=8)
TIMING = CASE.engine.timing


def test_a_flip_that_ends_the_run_is_seen_one_cycle_later():
    engine = stepped_of(CASE, everywhere("parity"))
    cycle = TIMING.stream_start(1)
    injection = engine.inject(Fault(cycle, "phase", (), 2))
    assert injection.result.cycles == cycle and injection.result.alarm_cycle == cycle + 1
    assert injection.unit == "parity"


def test_the_last_cycle_of_a_run_still_has_its_alarm():
    last = TIMING.head_cycles - 1
    for kind in ("parity", "dmr"):
        assert stepped_of(CASE, everywhere(kind)).inject(Fault(last, "q", (0, 0))).result.alarm_cycle == last + 1
    assert stepped_of(CASE, everywhere("dmr")).run([Fault(last + 1, "q", (0, 0))]).alarm_cycle is None


def test_a_struck_alarm_flag_is_read_in_that_very_cycle():
    for kind in ("parity", "secded", "dmr"):
        engine = stepped_of(CASE, everywhere(kind))
        assert engine.inject(Fault(7, f"{kind}_error")).result.alarm_cycle == 7
        assert engine.inject(Fault(7, f"{kind}_error", kind="stuck1", duration=4)).result.alarm_cycle == 7
        assert engine.inject(Fault(7, f"{kind}_error", kind="stuck0", duration=4)).result.alarm_cycle is None
        assert "tmr_error" not in protection_of(CASE, everywhere("tmr")).inventory


def test_a_dead_register_is_checked_all_the_same():
    """Nothing reads q in the tail: unprotected it is masked, with parity it is a false alarm, with a code neither."""
    fault = Fault(TIMING.head_cycles - 2, "q", (1, 1), 3)
    golden = CASE.engine.golden()
    assert CASE.engine.inject(fault).result.same_as(golden)
    assert stepped_of(CASE, everywhere("parity")).inject(fault).result.alarm_cycle == fault.cycle + 1
    for kind in ("secded", "tmr"):
        injection = stepped_of(CASE, everywhere(kind)).inject(fault)
        assert injection.result.same_as(golden) and injection.corrected


def test_a_stuck_bit_that_already_has_its_value_raises_nothing_until_it_has_another():
    engine = stepped_of(CASE, everywhere("parity"))
    column: dict[int, float] = {}
    slot = CASE.machine.inventory.slot("key", ())
    CASE.engine.run((), lambda cycle, state: column.__setitem__(cycle, float(state[slot])))
    start = TIMING.stream_start(0)
    assert [column[start + n] for n in range(4)] == [0, 1, 2, 3]
    fault = Fault(start, "key", (), 1, "stuck0", duration=2)
    assert engine.inject(fault).result.same_as(CASE.engine.golden())
    assert engine.inject(replace(fault, duration=3)).result.alarm_cycle == start + 2 + 1
    spare = Fault(start, "parity_key", (), 0, "stuck0", duration=1)  # of 0, 1, 2, 3: 0, 1, 1, 0
    assert engine.inject(spare).result.alarm_cycle is None
    assert engine.inject(replace(spare, duration=2)).result.alarm_cycle == start + 1 + 1


def test_a_run_that_hangs_has_its_alarm():
    units = (ParityUnit(),)
    for case in (CASE, tiny_case(4, 4)):
        engine = stepped_of(case, units)
        hangs = [f for f in (Fault(cycle, "row", (), 0, kind, duration=10**6) for cycle in range(engine.golden().cycles)
                             for kind in ("stuck0", "stuck1")) if engine.inject(f).result.hang]
        for fault in hangs:
            injection = engine.inject(fault)
            alarm = injection.protection_alarm_cycle
            assert injection.unit == "parity" and alarm is not None and fault.cycle < alarm <= case.engine.timing.head_cycles
        assert hangs


def test_what_the_watch_sees_is_what_the_logic_reads():
    engine = stepped_of(CASE, (SecdedUnit(parts=("m",)), TmrUnit(parts=("l",))))
    clean: list[bytes] = []
    CASE.engine.run((), lambda _, state: clean.append(state.tobytes()))
    seen: list[bytes] = []
    engine.run([Fault(20, "m", (0,), 6), Fault(21, "l", (1,), 5), Fault(22, "tmr_l", (1, 0), 2)],
               lambda _, state: seen.append(state.tobytes()))
    assert seen == clean


def test_a_miscorrection_reaches_the_machine():
    """Three adjacent wrong bits that the decoder takes for a fourth: the machine sees all four."""
    case = tiny_case(5, 5, max_keys=8, max_queries=8, formats="fp32")
    engine = stepped_of(case, (SecdedUnit(parts=("o",)),))
    cycle = case.engine.timing.accumulate_cycle(0, 3) + 1
    many = 0
    for bit in range(30):
        fault = Fault(cycle, "o", (0, 0), bit, "burst", 3)
        come = engine.protection.seen("o", (0, 0), fault.mask)
        injection = engine.inject(fault)
        assert injection.result.same_as(clocked(case, {"o": "secded"}, [fault]))
        register = case.machine.inventory["o"]
        before, after = (int(register.format.encode(np.array([x]))[0]) for x in (injection.old_value,
                                                                                injection.new_value))
        assert before ^ after == come.mask
        many += come.mask.bit_count() == 4
    assert many > 5


def test_lists_that_cannot_be_told_are_refused():
    engine = stepped_of(CASE, MIXED)
    stuck, flip = Fault(9, "l", (0,), 0, "stuck1"), Fault(30, "parity_l", (0,), 0)
    with pytest.raises(ValueError, match=r"l\[0\]: a stuck bit"):
        engine.run([stuck, flip])
    with pytest.raises(ValueError, match="parity_error is struck in cycle 10"):
        engine.run([Fault(9, "l", (0,), 0), Fault(10, "parity_error")])
    with pytest.raises(ValueError, match="twice"):
        engine.run([Fault(10, "parity_error"), Fault(10, "parity_error")])
    held = Case(CASE.machine, CASE.job.with_stalls(**{name: cycles + 1 for name, cycles in CASE.job.stalls.items()}))
    with pytest.raises(ValueError, match="without stalls"):
        stepped_of(held, MIXED).run([Fault(9, "l", (0,), 0), Fault(10, "score", (0,), 0)])
    bare = [Fault(9, "score", (0,), 0), Fault(10, "score", (0,), 0)]
    assert stepped_of(held, MIXED).run(bare).same_as(held.engine.run(bare))
    with pytest.raises(ValueError, match="did you mean 'parity_l'"):
        engine.inject(Fault(9, "parity_ll"))
    with pytest.raises(ValueError, match="bits 0 to 0"):
        engine.inject(Fault(9, "parity_l", (0,), 1))


def test_faults_in_memories_pass_by():
    engine, bare = stepped_of(CASE, everywhere("parity")), CASE.engine
    for bit in range(0, 16, 5):
        fault = Fault(12, "k_sram", (0, 1, 0), bit)
        assert engine.inject(fault).result.same_as(bare.inject(fault).result)
        assert engine.run([fault]).same_as(bare.run([fault]))


def test_added_registers_stand_behind_those_of_the_machine():
    protection = protection_of(CASE, MIXED)
    machine = CASE.machine.inventory
    assert protection.inventory.registers[:len(machine.registers)] == machine.registers
    assert all(protection.inventory.offsets[name] == at for name, at in machine.offsets.items())
    assert protection.inventory["tmr_pv"].shape == (2, 2, 2) and protection.inventory["parity_l"].shape == (2,)
    assert protection.inventory["secded_o"].format == uint_format(5)
    assert {r.component for r in protection.registers} == {f"checker.{kind}" for kind in UNITS}
    assert {r.role for r in protection.registers} == {"checker"}
