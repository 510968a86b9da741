"""The protected replay engine gives the outcomes of the protected stepped engine, at every point of a small universe."""

from __future__ import annotations

import numpy as np
import pytest
from engines.draw import Case, random_case

from accel_sim.config.protection import RegisterProtection
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.faults.outcome import severity
from accel_sim.faults.universe import Universe
from accel_sim.protection.stepped import ProtectedInjection, ProtectedStepped
from protection.draw import MIXED, UNITS, everywhere, replay_of, stepped_of, tiny_case

DESIGNS: dict[str, tuple[RegisterProtection, ...]] = {kind: everywhere(kind) for kind in UNITS} | {"mixed": MIXED}
FIELDS = ("differs", "alarm_cycle", "residual", "limit", "max_ulp", "nonfinite", "rows", "old_value", "new_value")


def expected(engine: ProtectedStepped, injection: ProtectedInjection) -> list[float]:
    """The fields that the stepped engine gives."""
    result, nan = injection.result, float("nan")
    harm = severity(engine.golden().output, result.output, engine.machine.formats["output"].codec)
    live = engine.live(injection.fault)
    return [
        harm.rows > 0, -1 if result.alarm_cycle is None else result.alarm_cycle, *result.told, harm.max_ulp,
        harm.nonfinite, harm.rows, injection.old_value if live else nan, injection.new_value if live else nan,
    ]


def assert_same_outcomes(case: Case, units: tuple[RegisterProtection, ...], kind: str, index: np.ndarray | None = None,
                         every: int = 1, duration: int = 1, bits: int = 3, stepped: bool = True) -> tuple[int, int]:
    """Replay points of the universe (None: all), and step every so many of them. Returns how many outcomes had an alarm
    and how many faults were left to be run."""
    engine, replay = stepped_of(case, units), replay_of(case, units, stepped)
    inventory, golden = engine.protection.inventory, engine.golden()
    universe = Universe.of(inventory, golden.cycles)
    index = np.arange(universe.size) if index is None else index
    points = universe.points(index)
    offsets, widths = (np.array(list(x), dtype=np.int64) for x in (
        (inventory.offsets[r.name] for r in inventory), (r.width_bits for r in inventory)))
    codecs = [np.array([getattr(r, which).codec for r in inventory], dtype=np.int64)[points.register]
              for which in ("format", "stored")]
    struck = np.minimum(bits, widths[points.register] - points.bit) if kind == "burst" else np.ones(len(index), np.int64)
    masks = ((np.uint64(1) << struck.astype(np.uint64)) - np.uint64(1)) << points.bit.astype(np.uint64)
    ops = np.full(len(index), max(0, KINDS.index(kind) - 1))
    duration = duration if kind.startswith("stuck") else 1
    last = np.minimum(points.cycle + duration - 1, golden.cycles - 1)
    out = replay.outcomes(offsets[points.register] + points.element, points.cycle, last, ops, masks, *codecs)
    left = np.flatnonzero(out.status == FALL_BACK)
    checked = np.union1d(np.arange(0, len(index), every), left[::max(1, len(left) // 300)])
    for i in checked:
        register = inventory.registers[points.register[i]]
        at = tuple(int(n) for n in np.unravel_index(int(points.element[i]), register.shape)) if register.shape else ()
        fault = Fault(int(points.cycle[i]), register.name, at, int(points.bit[i]), kind,
                      int(struck[i]) if kind == "burst" else 1, duration)
        injection = engine.inject(fault)
        if out.status[i] == FALL_BACK:
            again = replay.inject(fault, engine)
            assert again.result.same_as(injection.result), fault
            assert (again.unit, again.protection_alarm_cycle, again.corrected) == (
                injection.unit, injection.protection_alarm_cycle, injection.corrected), fault
        else:
            got = [float(getattr(out, field)[i]) for field in FIELDS]
            assert np.array_equal(got, np.array(expected(engine, injection), dtype=float), equal_nan=True), (fault, got)
    return int((out.alarm_cycle >= 0).sum()), len(left)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("design", DESIGNS)
def test_outcomes_are_those_of_the_stepped_engine_at_every_point(design, kind):
    """Every bit of every register in every cycle, spares and flags included; of bursts every fifth is stepped, of stuck
    bits every thirteenth."""
    case = tiny_case(2, 2, lanes=1, head_dim=1, max_keys=2, max_queries=2)
    alarms, left = assert_same_outcomes(case, DESIGNS[design], kind, every={"flip": 1, "burst": 5}.get(kind, 13))
    bare, _ = assert_same_outcomes(case, (), kind, every=1000)
    assert alarms < bare if design == "tmr" else alarms > bare or kind != "burst"
    control = sum(r.bits for r in case.machine.inventory if r.role == "control") * case.engine.golden().cycles
    assert left <= 2 * control


@pytest.mark.parametrize("design", DESIGNS)
def test_bits_that_are_stuck_for_long_and_engines_that_do_not_look_at_them(design):
    case = tiny_case(2, 2, lanes=1, head_dim=1, max_keys=2, max_queries=2)
    for kind in ("stuck0", "stuck1"):
        assert_same_outcomes(case, DESIGNS[design], kind, every=90, duration=6)
        _, left = assert_same_outcomes(case, DESIGNS[design], kind, every=90, stepped=False)
        assert (left > 5000) == (design in ("parity", "dmr", "mixed"))


@pytest.mark.parametrize("design", DESIGNS)
def test_outcomes_are_those_of_the_stepped_engine_on_any_machine(design):
    """Every option of the machine, stored formats of their own and memories that stall included."""
    rng = np.random.default_rng(4)
    for n in range(8):
        case = random_case(rng, check=True, dot="tree") if n else random_case(rng, stalls=True, check=True, dot="tree")
        units = DESIGNS[design]
        size = Universe.of(stepped_of(case, units).protection.inventory, case.engine.golden().cycles).size
        for kind in KINDS:
            assert_same_outcomes(case, units, kind, rng.integers(size, size=60), duration=int(rng.integers(1, 9)))


def test_a_stuck_fault_of_several_bits_is_no_fault():
    case = tiny_case()
    replay = replay_of(case, everywhere("dmr"))
    one = np.zeros(1, dtype=np.int64)
    codec = np.zeros((1, 4), dtype=np.int64)
    slot = one + case.machine.inventory.slot("q", (0, 0))
    with pytest.raises(ValueError, match="one bit"):
        replay.outcomes(slot, one, one, one + 1, np.array([3], dtype=np.uint64), codec, codec)


def test_what_protection_keeps_from_the_machine_costs_no_replay():
    """A fault in a voted register is not handed to the machine's engine at all, control registers included."""
    case = tiny_case()
    replay = replay_of(case, everywhere("tmr"))
    replay.bare.outcomes = None  # would fail if it were called
    inventory = replay.protection.inventory
    slots = np.array([inventory.slot(name, index) for name, index in (("phase", ()), ("m", (1,)), ("tmr_m", (1, 0)))])
    codec = np.zeros((3, 4), dtype=np.int64)
    cycles = np.array([3, 9, 12])
    out = replay.outcomes(slots, cycles, cycles, 0 * cycles, np.ones(3, dtype=np.uint64), codec, codec)
    assert not out.differs.any() and (out.alarm_cycle == -1).all() and not out.status.any()
