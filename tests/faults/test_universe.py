"""The universe is a bijection whose size is known without listing it; draws depend on seed and number only."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.config import load_config
from accel_sim.faults.universe import Point, Universe, scale_to
from accel_sim.machines.lanes import LanesMachine


def test_every_index_of_a_small_universe_is_one_point_and_back():
    universe = Universe.of(LanesMachine(load_config("tiny")).inventory, cycles=3, heads=2)
    points = universe.points(np.arange(universe.size))
    back = [universe.index(Point(*(int(x) for x in point))) for point in zip(*points, strict=True)]
    assert back == list(range(universe.size))
    assert universe.size == 2 * 3 * LanesMachine(load_config("tiny")).inventory.bits


def test_fault_i_depends_on_seed_and_i_only():
    universe = Universe.of(LanesMachine(load_config("paper-d64")).inventory, cycles=4570)
    whole = universe.draw(7, 0, 1000)
    assert np.array_equal(whole[200:300], universe.draw(7, 200, 100))
    assert not np.array_equal(whole, universe.draw(8, 0, 1000))


def test_draws_fall_on_registers_by_their_bits():
    universe = Universe.of(LanesMachine(load_config("tiny")).inventory, cycles=56)
    count = 200_000
    register = universe.points(universe.draw(1, 0, count)).register
    expected = count * np.diff(universe.first_bit) / universe.bits
    got = np.bincount(register, minlength=len(expected))
    # Pearson's statistic of a fixed seed: its mean is the degrees of freedom, six deviations above is far away.
    freedom = len(expected) - 1
    assert np.sum((got - expected) ** 2 / expected) < freedom + 6 * np.sqrt(2 * freedom)


def test_scaling_random_words_is_exact():
    rng = np.random.default_rng(0)
    raw = np.concatenate([rng.integers(0, 2**64, 1000, dtype=np.uint64), np.array([0, 2**64 - 1], dtype=np.uint64)])
    for size in (1, 3, 795_472_480, 2**40 + 12345, 2**62 - 1):
        assert scale_to(raw, size).tolist() == [int(x) * size >> 64 for x in raw.tolist()]


def test_a_large_universe_is_a_bijection_too():
    """Random points of the paper's machine over 72 heads, 10^10 and more of them, there and back."""
    universe = Universe.of(LanesMachine(load_config("paper-d64")).inventory, cycles=4570, heads=72)
    assert universe.size > 2**32
    rng = np.random.default_rng(3)
    index = np.concatenate([rng.integers(0, universe.size, 2000), [0, universe.size - 1]])
    points = universe.points(index)
    assert [universe.index(Point(*(int(x) for x in p))) for p in zip(*points, strict=True)] == index.tolist()
    for name, most in (("head", 72), ("cycle", 4570), ("register", len(universe.registers))):
        assert getattr(points, name).min() >= 0 and getattr(points, name).max() < most
    sizes = np.array([r.size for r in universe.registers])
    widths = np.array([r.width_bits for r in universe.registers])
    assert (points.element < sizes[points.register]).all() and (points.bit < widths[points.register]).all()


def test_there_is_nothing_outside_the_universe():
    universe = Universe.of(LanesMachine(load_config("tiny")).inventory, cycles=3)
    for index in (-1, universe.size):
        with pytest.raises(IndexError, match=f"0 to {universe.size - 1}"):
            universe.points(np.array([index]))
    for outside in (Point(1, 0, 0, 0, 0), Point(0, 3, 0, 0, 0), Point(0, 0, 0, 1, 0), Point(0, 0, 0, 0, 3)):
        with pytest.raises(IndexError):
            universe.index(outside)


def test_a_universe_of_some_components_has_their_bits_and_no_others():
    inventory = LanesMachine(load_config("tiny")).inventory
    softmax = Universe.of(inventory, 10, components=["softmax"])
    assert {r.component for r in softmax.registers} == {"softmax"}
    assert softmax.bits == inventory.bits_by("component")["softmax"]
    every = sum(Universe.of(inventory, 10, components=[name]).size for name in inventory.bits_by("component"))
    assert every == Universe.of(inventory, 10).size
    with pytest.raises(ValueError, match=r"no component 'softmaxx'; this machine has: control, "):
        Universe.of(inventory, 10, components=["softmaxx"])


def test_draws_are_uniform_over_cycles_and_over_the_bits_of_a_register():
    universe = Universe.of(LanesMachine(load_config("tiny")).inventory, cycles=56, heads=3)
    count = 300_000
    points = universe.points(universe.draw(2, 0, count))
    score = next(i for i, r in enumerate(universe.registers) if r.name == "v_delay")
    bits = points.bit[points.register == score]
    for got in (np.bincount(points.head * 56 + points.cycle), np.bincount(bits)):
        expected = got.sum() / len(got)
        freedom = len(got) - 1
        assert np.sum((got - expected) ** 2 / expected) < freedom + 6 * np.sqrt(2 * freedom)
