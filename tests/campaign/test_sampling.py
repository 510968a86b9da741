"""Drawing faults: a pure function of the seed and the fault's number, with the shares that it claims."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.strata import BY, FIELDS, field_of_bit, phase_of_cycle, strata
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import KINDS
from accel_sim.machines.lanes import PHASES

CUTS = [("component",), ("field",), ("phase",), ("component", "field", "phase"), ("register",), ("register", "phase")]
PLANS = [
    Sampling(),
    Sampling("exhaustive"),
    *(Sampling("stratified", by, allocation) for by in CUTS for allocation in ("proportional", "equal")),
]


def names(plan: Sampling) -> str:
    return plan.label


@pytest.fixture(scope="module")
def stalled(tiny) -> Assembly:
    """A machine that waits for its memory, strikes in several ways, and runs two heads."""
    return assemble(tiny.changed({
        "memory.off_chip.bandwidth_bytes_per_cycle": 4,
        "memory.off_chip.latency_cycles": 7,
        "workload.heads": 2,
        "faults.kinds": ["flip", "burst", "stuck1"],
    }), measure=False)


@pytest.mark.parametrize("plan", PLANS, ids=names)
def test_a_fault_depends_on_its_number_and_the_seed_alone(plan, stalled):
    sampler = plan.sampler(stalled)
    whole = sampler.draw(0, 300)
    for first, count in ((0, 1), (7, 100), (299, 1), (150, 150)):
        part = plan.sampler(stalled).draw(first, count)
        for mine, theirs in zip(part, whole, strict=True):
            assert np.array_equal(mine, theirs[first:first + count])
    assert whole.point.dtype == whole.kind.dtype == np.int64


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan.kind != "exhaustive"], ids=names)
def test_another_seed_draws_other_faults(plan, tiny):
    one, other = (plan.sampler(assemble(tiny.changed({"faults.seed": seed}), measure=False)) for seed in (0, 1))
    assert not np.array_equal(one.draw(0, 50).point, other.draw(0, 50).point)


@pytest.mark.parametrize("by", CUTS, ids="-".join)
def test_strata_hold_every_point_once(by, stalled):
    universe = stalled.universe
    seen = np.concatenate([s.points(np.arange(s.size), universe) for s in strata(stalled, by)])
    assert len(seen) == universe.size
    assert np.array_equal(np.sort(seen), np.arange(universe.size))


def test_strata_are_what_they_are_called(stalled):
    universe, phases = stalled.universe, phase_of_cycle(stalled)
    for stratum in strata(stalled, BY):
        named = dict(stratum.name)
        points = universe.points(stratum.points(np.arange(0, stratum.size, 7), universe))
        for number, bit, cycle in zip(points.register, points.bit, points.cycle, strict=True):
            register = universe.registers[number]
            assert named == {"component": register.component, "register": register.name,
                             "field": field_of_bit(register)[bit], "phase": PHASES[phases[cycle]]}


def test_fields_are_those_of_the_stored_format(tiny):
    machine = assemble(tiny.changed({"faults.register_format": {"state": "bf16"}}), measure=False).machine
    assert field_of_bit(machine.inventory["m"]) == ("mantissa",) * 7 + ("exponent",) * 8 + ("sign",)
    assert set(field_of_bit(machine.inventory["key"])) == {"int"}
    assert {field for register in machine.inventory for field in field_of_bit(register)} == set(FIELDS) - {"check"}


def test_fields_of_a_word_are_those_of_its_elements_and_its_check_bits(tiny):
    word = assemble(tiny.changed({"memory.ecc": "secded"}), measure=False).memories["k_sram"]
    bf16 = ("mantissa",) * 7 + ("exponent",) * 8 + ("sign",)
    assert field_of_bit(word) == bf16 * 4 + ("check",) * 8


@pytest.mark.parametrize("which", ["assembly", "stalled"])
def test_phases_are_what_the_sequencer_says(which, request):
    whole = request.getfixturevalue(which)
    engine = SteppedEngine(whole.machine, whole.job(whole.workload.heads[0]))
    slot = whole.machine.inventory.slot("phase")
    seen: dict[int, int] = {}
    engine.run(watch=lambda cycle, state: seen.update({cycle: int(state[slot])}))
    phases = phase_of_cycle(whole)
    assert len(phases) == whole.universe.cycles == whole.system.cycles
    held = 0
    assert (whole.system.stall_cycles > 0) == (which == "stalled")
    for cycle in reversed(range(len(phases))):
        # In a cycle that is held, the register stays as the next moving cycle will find it.
        held += cycle not in seen
        seen.setdefault(cycle, seen.get(cycle + 1, -1))
    assert held == whole.system.stall_cycles
    assert [seen[cycle] for cycle in range(len(phases))] == phases.tolist()


def test_uniform_draws_are_uniform_over_exposure(assembly):
    draw = Sampling().sampler(assembly).draw(0, 40_000)
    assert np.all(draw.weight == 1.0)
    counts = np.bincount(draw.point * 20 // assembly.universe.size, minlength=20)
    assert np.sum((counts - 2000) ** 2 / 2000) < 50  # chi-square with 19 degrees of freedom: 1 in 10,000


@pytest.mark.parametrize("by", [("component",), ("component", "field", "phase")], ids="-".join)
@pytest.mark.parametrize("n", [50, 1000, 20_000])
def test_proportional_strata_have_their_share_at_any_time(by, n, assembly):
    sampler = Sampling("stratified", by).sampler(assembly)
    counts = np.bincount(sampler.stratum(0, n), minlength=len(sampler.strata))
    shares = np.array([s.size for s in sampler.strata]) / assembly.universe.size
    assert np.max(np.abs(counts - n * shares)) < 3
    assert np.all(sampler.draw(0, n).weight == 1.0)


def test_equal_strata_take_turns_and_their_weights_make_up_for_it(assembly):
    sampler = Sampling("stratified", ("component", "phase"), "equal").sampler(assembly)
    h = len(sampler.strata)
    draw = sampler.draw(0, 20 * h)
    of = sampler.stratum(0, 20 * h)
    assert Counter(of.tolist()) == dict.fromkeys(range(h), 20)
    for number, stratum in enumerate(sampler.strata):
        inside = stratum.points(np.arange(stratum.size), assembly.universe)
        assert np.all(np.isin(draw.point[of == number], inside))
        assert draw.weight[of == number] == pytest.approx(stratum.size / assembly.universe.size * h)
    assert draw.weight.mean() == pytest.approx(1.0)


def test_exhaustive_is_every_point_with_every_kind_once(stalled):
    sampler = Sampling("exhaustive").sampler(stalled)
    assert sampler.limit == 3 * stalled.universe.size
    draw = sampler.draw(0, 3000)
    assert np.array_equal(draw.point, np.repeat(np.arange(1000), 3))
    assert [KINDS[kind] for kind in draw.kind[:3]] == ["flip", "burst", "stuck1"]
    last = sampler.draw(sampler.limit - 1, 1)
    assert (last.point[0], KINDS[last.kind[0]]) == (stalled.universe.size - 1, "stuck1")
    with pytest.raises(IndexError):
        sampler.draw(sampler.limit - 1, 2)


def test_kinds_are_those_of_the_config(stalled):
    kinds = Sampling().sampler(stalled).draw(0, 3000).kind
    counts = Counter(KINDS[kind] for kind in kinds)
    assert set(counts) == {"flip", "burst", "stuck1"}
    assert min(counts.values()) > 900


@pytest.mark.parametrize("plan", PLANS, ids=names)
def test_a_plan_survives_being_written_down(plan):
    assert Sampling.described(plan.describe()) == plan


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"kind": "lucky"}, "'lucky' is not one of uniform"),
        ({"kind": "stratified"}, "needs something to stratify by"),
        ({"kind": "uniform", "by": ("field",)}, "only it takes that"),
        ({"kind": "stratified", "by": ("field",), "allocation": "fair"}, "'fair' is not one of proportional"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        Sampling(**wrong)


def test_a_cut_that_does_not_exist_is_refused(assembly):
    with pytest.raises(ValueError, match="'colour'; it must be one of: component, register, field, phase"):
        Sampling("stratified", ("colour",)).sampler(assembly)
