"""Deviates are normal, out to the tails, and the same bits everywhere."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from accel_sim.workloads import normal


def test_raw_words_are_the_published_philox_function() -> None:
    # Known-answer vectors of Philox4x64-10 (Salmon et al., Random123, kat_vectors); NumPy's first block is
    # counter 1, so the published counters are reached by starting one below.
    def block(counter: list[int], key: list[int]) -> list[int]:
        start = np.array(counter, dtype=np.uint64)
        return [
            int(word)
            for word in np.random.Philox(counter=start, key=np.array(key, dtype=np.uint64)).random_raw(4)
        ]

    ones = 2**64 - 1
    assert block([ones] * 4, [0, 0]) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]
    assert [int(word) for word in normal.raw((1, 2), 4)] == block([0] * 4, [1, 2])


def test_inverse_is_the_inverse_of_the_normal_distribution() -> None:
    mpmath = pytest.importorskip("mpmath", reason="mpmath is the independent reference for Phi")
    rng = np.random.default_rng(0)
    p = np.concatenate(
        [rng.random(100), 2.0 ** -rng.uniform(1, 53, 100), 1.0 - 2.0 ** -rng.uniform(1, 53, 100)]
    )
    x = normal.inverse_normal(p)
    with mpmath.workdps(40):
        for p_i, x_i in zip(map(mpmath.mpf, p), map(mpmath.mpf, x), strict=True):
            # One Newton step from x is the error of x.
            upper = x_i > 0
            tail = mpmath.erfc(abs(x_i) / mpmath.sqrt(2)) / 2
            error = (tail - (1 - p_i if upper else p_i)) / mpmath.npdf(x_i)
            assert abs(error) <= 1e-15 * max(abs(x_i), 1e-3)


def test_inverse_is_odd_and_reaches_the_stated_largest() -> None:
    p = normal.uniform(np.array([0, 1 << 12, 1 << 40, 1 << 60], dtype=np.uint64))
    x = normal.inverse_normal(p)
    assert np.array_equal(normal.inverse_normal(1.0 - p), -x)
    assert -normal.LARGEST < x[0] < -8.2
    assert np.all(np.diff(x) > 0)


def test_uniform_stays_inside_the_unit_interval() -> None:
    ends = normal.uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert ends.tolist() == [2.0**-53, 1.0 - 2.0**-53]


def test_moments_and_tail_are_those_of_the_normal_distribution() -> None:
    n = 200_000
    x = normal.standard_normal((7, 0), n)
    assert abs(x.mean()) < 4 / n**0.5
    assert abs((x**2).mean() - 1) < 4 * (2 / n) ** 0.5
    assert abs((x**4).mean() - 3) < 4 * (96 / n) ** 0.5
    # P(|x| > 4) = 6.334e-5: 12.7 of them expected. A sum of twelve uniforms has about 3.
    assert 4 <= np.count_nonzero(np.abs(x) > 4) <= 26


def test_a_longer_stream_begins_with_the_shorter() -> None:
    assert np.array_equal(normal.standard_normal((3, 9), 1000)[:10], normal.standard_normal((3, 9), 10))


def test_bits_are_pinned() -> None:
    x = normal.standard_normal((2026, 1), 100_000)
    assert [value.hex() for value in x[:3].tolist()] == [
        "0x1.145c4029fd1e1p-1",
        "-0x1.4ee931200f8b5p+1",
        "0x1.50244f9b58b32p-1",
    ]
    assert hashlib.sha256(x.astype("<f8").tobytes()).hexdigest() == (
        "0b65bebb2a32eaeb4d2c6bb1f2deb0112acd26bea190dbb87aedd413517d6b1f"
    )
