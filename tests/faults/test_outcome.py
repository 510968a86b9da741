"""Outcome classes and severities, against plain statements of what they mean."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np
import pytest

from accel_sim.faults.outcome import OUTCOMES, Severity, outcome_code, severity, ulp_distance
from accel_sim.numerics.formats import FORMATS

MOST = 2**63 - 1


def test_the_four_outcomes():
    assert OUTCOMES[outcome_code(differs=False, alarm=False)] == "masked"
    assert OUTCOMES[outcome_code(differs=True, alarm=False)] == "silent"
    assert OUTCOMES[outcome_code(differs=False, alarm=True)] == "false_alarm"
    assert OUTCOMES[outcome_code(differs=True, alarm=True)] == "detected"


def values_in_order(name: str) -> np.ndarray:
    """All values of a small format from the most negative to the largest, then NaN; one zero. From ml_dtypes."""
    dtype = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16, "fp8_e4m3": ml_dtypes.float8_e4m3fn,
             "fp8_e5m2": ml_dtypes.float8_e5m2}[name]  # fmt: skip
    bits = np.arange(2 ** (8 * np.dtype(dtype).itemsize), dtype=f"u{np.dtype(dtype).itemsize}")
    with np.errstate(invalid="ignore"):
        values = bits.view(dtype).astype(np.float64)
    return np.append(np.unique(values[~np.isnan(values)]), math.nan)


@pytest.mark.parametrize("name", ["fp8_e4m3", "fp8_e5m2", "fp16", "bf16"])
def test_ulp_distance_counts_the_values_in_between_and_nan_follows_infinity(name):
    """In fp8_e4m3, which has no infinity, NaN follows 448."""
    ordered = values_in_order(name)
    codec = FORMATS[name].codec
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, len(ordered), (3000, 2))
    pairs[:100, 0] = len(ordered) - 1
    for i, j in pairs:
        assert ulp_distance(ordered[i], ordered[j], codec) == abs(i - j), (ordered[i], ordered[j])
    assert ulp_distance(0.0, -0.0, codec) == 0


@pytest.mark.parametrize(("name", "a", "b", "distance"), [
    ("fp32", 1.0, 1.0 + 2.0**-23, 1),
    ("fp32", -(2.0**-149), 2.0**-149, 2),
    ("fp32", FORMATS["fp32"].max_finite, math.inf, 1),
    ("fp32", math.inf, math.nan, 1),
    ("fp64", 1.0, np.nextafter(1.0, 2.0), 1),
    ("fp64", np.nextafter(1.0, 0.0), 1.0, 1),
    ("fp64", -5e-324, 5e-324, 2),
    ("fp64", -1.0, 1.0, 2 * 1023 << 52),
    ("fp64", -2.0, 2.0, MOST),  # 2^63, one more than there is room for
    ("fp64", -1e300, math.nan, MOST),
    ("fp64", 1e300, math.inf, (2047 << 52) - int(np.float64(1e300).view(np.int64))),
])  # fmt: skip
def test_ulp_distance_of_wide_formats_is_exact_and_does_not_overflow(name, a, b, distance):
    codec = FORMATS[name].codec
    assert ulp_distance(a, b, codec) == ulp_distance(b, a, codec) == distance


def plain_severity(golden: np.ndarray, faulty: np.ndarray, name: str) -> Severity:
    """The docstring of `Severity`, in NumPy."""
    differs = golden.view(np.int64) != faulty.view(np.int64)
    lost = np.isfinite(golden) & ~np.isfinite(faulty)
    both = differs & np.isfinite(golden) & np.isfinite(faulty)
    delta = np.where(both, faulty - golden, 0.0)
    norm = np.sqrt(np.sum(golden[np.isfinite(golden)] ** 2))
    codec = FORMATS[name].codec
    ulps = [ulp_distance(a, b, codec) for a, b in zip(golden[differs], faulty[differs], strict=True)]
    rel = np.sqrt(np.sum(delta**2)) / norm if norm else (math.inf if delta.any() else 0.0)
    rows = int(differs.any(axis=1).sum())
    if lost.any():
        return Severity(math.inf, math.inf, max(ulps), int(lost.sum()), rows)
    return Severity(float(rel), float(np.abs(delta).max()), max(ulps, default=0), 0, rows)


@pytest.mark.parametrize("name", FORMATS)
def test_severity_is_what_its_definition_says(name):
    fmt = FORMATS[name]
    rng = np.random.default_rng(list(FORMATS).index(name))
    specials = [math.nan, -math.inf, 0.0, -0.0, max(1e-150, fmt.min_subnormal)] + ([math.inf] if fmt.has_inf else [])
    for _ in range(300):
        shape = tuple(rng.integers(1, 5, 2))
        bits = rng.integers(0, 2**fmt.width_bits, shape, dtype=np.uint64)
        golden = np.where(rng.random(shape) < 0.9, rng.standard_normal(shape), rng.choice(specials, shape))
        golden = fmt.decode(fmt.encode(golden.astype(np.float32).astype(float))) if name != "fp64" else golden
        with np.errstate(all="ignore"):
            other = fmt.decode(bits)
            extreme = (np.abs(other) > 1e150) | (np.abs(other) < 1e-150)  # squares over- and underflow in fp64
            other = np.where(extreme, rng.standard_normal(shape), other) if name == "fp64" else other
            other = np.where(rng.random(shape) < 0.1, rng.choice(specials[:2], shape), other)
        faulty = np.where(rng.random(shape) < 0.3, other, golden)
        if not fmt.has_inf:
            golden, faulty = (np.where(np.isinf(x), math.nan, x) for x in (golden, faulty))
        with np.errstate(all="ignore"):
            want = plain_severity(golden, faulty, name)
        got = severity(golden, faulty, fmt.codec)
        assert got[2:] == want[2:]
        assert got.rel_l2 == pytest.approx(want.rel_l2, rel=1e-12)
        assert got.max_abs == want.max_abs


def test_severity_of_nothing_is_nothing():
    x = np.array([[1.0, math.nan], [0.0, -0.0]])
    assert severity(x, x.copy(), FORMATS["fp32"].codec) == (0.0, 0.0, 0, 0, 0)
    assert severity(x, np.array([[1.0, math.nan], [-0.0, -0.0]]), FORMATS["fp32"].codec) == (0.0, 0.0, 0, 0, 1)


def test_a_wrong_row_of_a_zero_output_is_infinitely_wrong():
    got = severity(np.zeros((2, 2)), np.array([[0.0, 0.5], [0.0, 0.0]]), FORMATS["fp32"].codec)
    assert (got.rel_l2, got.max_abs, got.rows) == (math.inf, 0.5, 1)
