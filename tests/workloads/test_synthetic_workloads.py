"""Made-up heads are a pure function of (seed, head); outliers are where and as large as they should be."""

from __future__ import annotations

import numpy as np

from accel_sim.workloads.synthetic import Gaussian, Outliers
from accel_sim.workloads.workload import HeadId

HEAD = HeadId(0, 3)


def test_a_head_depends_on_seed_and_head_only() -> None:
    source = Gaussian(n_queries=5, n_keys=7, head_dim=8, scale=1.0, seed=11)
    first = source.values(HEAD)
    source.values(HeadId(0, 0))
    for a, b in zip(first, Gaussian(5, 7, 8, 1.0, 11).values(HEAD), strict=True):
        assert np.array_equal(a, b)
    for other in (
        Gaussian(5, 7, 8, 1.0, 12).values(HEAD),
        source.values(HeadId(0, 2)),
        source.values(HeadId(3, 0)),
    ):
        for a, b in zip(first, other, strict=True):
            assert not np.any(a == b)


def test_q_k_and_v_are_different_numbers() -> None:
    q, k, v = Gaussian(6, 6, 8, 1.0, 0).values(HEAD)
    assert not np.any(q == k)
    assert not np.any(k == v)


def test_a_longer_head_begins_with_the_shorter() -> None:
    short, long = Gaussian(5, 7, 8, 1.0, 1).values(HEAD), Gaussian(50, 70, 8, 1.0, 1).values(HEAD)
    for a, b in zip(short, long, strict=True):
        assert np.array_equal(a, b[: len(a)])


def test_scale_is_the_standard_deviation() -> None:
    q, k, v = Gaussian(500, 500, 32, 0.25, 5).values(HEAD)
    for tensor in (q, k, v):
        assert abs(tensor.std() / 0.25 - 1) < 0.03
    scores = q @ k.T / np.sqrt(32)
    assert abs(scores.std() / 0.25**2 - 1) < 0.1


def test_outliers_scale_the_same_few_channels_of_q_and_k_in_every_token() -> None:
    base = Gaussian(20, 30, 16, 1.0, 9)
    source = Outliers(base, channels=3, factor=16.0)
    chosen = source.outlier_channels(HEAD)
    assert len(set(chosen.tolist())) == 3
    for plain, loud in zip(base.values(HEAD)[:2], source.values(HEAD)[:2], strict=True):
        expected = plain.copy()
        expected[:, chosen] *= 16.0
        assert np.array_equal(loud, expected)
    assert np.array_equal(base.values(HEAD)[2], source.values(HEAD)[2])


def test_outlier_channels_vary_from_head_to_head() -> None:
    source = Outliers(Gaussian(1, 1, 64, 1.0, 0), channels=2, factor=8.0)
    sets = {tuple(source.outlier_channels(HeadId(0, head)).tolist()) for head in range(20)}
    assert len(sets) > 15


def test_no_channel_and_every_channel_are_the_limits() -> None:
    base = Gaussian(4, 4, 8, 1.0, 0)
    assert np.array_equal(Outliers(base, 0, 50.0).values(HEAD)[0], base.values(HEAD)[0])
    assert np.array_equal(Outliers(base, 8, 2.0).values(HEAD)[0], 2.0 * base.values(HEAD)[0])


def test_no_element_is_larger_than_stated() -> None:
    loud = Outliers(Gaussian(300, 300, 16, 0.5, 2), channels=2, factor=10.0)
    assert max(float(np.max(np.abs(t))) for t in loud.values(HEAD)) <= loud.largest
    quiet = Outliers(Gaussian(300, 300, 16, 0.5, 2), channels=2, factor=0.1)
    assert max(float(np.max(np.abs(t))) for t in quiet.values(HEAD)) <= quiet.largest
