"""The universe is a bijection whose size is known without listing it; draws depend on seed and number only."""

from __future__ import annotations

import numpy as np

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
