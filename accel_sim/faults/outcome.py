"""What a fault did: the outcome classes, and how severe a wrong output is.

|                  | alarm         | no alarm |
|------------------|---------------|----------|
| output differs   | `detected`    | `silent` |
| output identical | `false_alarm` | `masked` |

"Differs" is bit for bit, against the fault-free run of the same hardware, on the output as computed before
any recovery. `severity` measures the difference, so that any tolerance can be applied to the records later.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import encode_value

OUTCOMES = ("masked", "silent", "false_alarm", "detected")


def outcome_code(differs: bool, alarm: bool) -> int:
    """Index into OUTCOMES."""
    return (2 if alarm else 0) + (1 if differs else 0)


_MOST = np.int64(2**63 - 1)


class Severity(NamedTuple):
    """How far a faulty output is from the fault-free one.

    rel_l2: ‖O' − O‖₂ / ‖O‖₂ over the head; max_abs: largest |O' − O|; both are inf if an element that was
    finite no longer is. max_ulp: largest distance in representable values of the output format (a NaN counts
    as the value past infinity; at most 2^63 − 1). nonfinite: elements that are newly NaN or infinite. rows:
    output rows that differ in any bit.
    """

    rel_l2: float
    max_abs: float
    max_ulp: int
    nonfinite: int
    rows: int


@kernel
def rank(x, codec):
    """Position of a value among all values of its format, negative ones below zero; −0 and +0 share 0."""
    if codec.kind == 3:
        return np.int64(x)
    bits = np.int64(encode_value(x, codec))
    sign_at = np.int64(codec.exponent_bits + codec.mantissa_bits)
    magnitude = bits & ((np.int64(1) << sign_at) - np.int64(1))
    if x != x and codec.kind == 0:
        # Past infinity, whatever the payload. (fp8_e4m3 has its one NaN there already, past 448.)
        top = ((np.int64(1) << np.int64(codec.exponent_bits)) - np.int64(1)) << np.int64(codec.mantissa_bits)
        magnitude = top + np.int64(1)
    return -magnitude if (bits >> sign_at) & np.int64(1) else magnitude


@kernel
def rank_32(x):
    """`rank` in fp32, by the CPU's own conversion."""
    bits = np.int64(np.float32(x).view(np.int32))
    magnitude = bits & np.int64(0x7FFFFFFF)
    if x != x:
        magnitude = np.int64(0x7F800001)
        bits = np.float64(x).view(np.int64)
    return -magnitude if bits < 0 else magnitude


@inner
def is_fp32(codec):
    """Whether a format is binary32."""
    return codec.kind == 0 and codec.exponent_bits == 8 and codec.mantissa_bits == 23


@kernel
def ulp_distance(a, b, codec):
    """How many steps of the format lie between two values; 2^63 − 1 if there are more (fp64 of both signs)."""
    if is_fp32(codec):
        low, high = rank_32(a), rank_32(b)
    else:
        low, high = rank(a, codec), rank(b, codec)
    if low > high:
        low, high = high, low
    if low < 0 and high > _MOST + low:
        return _MOST
    return high - low


@inner
def distances_32(a, b):
    """Two rows of binary32 values, without branches so that the loop vectorises: (whether any elements differ, whether
    all are finite, the largest ULP distance if so)."""
    differ, carries, furthest = np.int64(0), np.int64(0), np.int64(0)
    for t in range(a.shape[0]):
        x, y = np.int64(np.float32(a[t]).view(np.int32)), np.int64(np.float32(b[t]).view(np.int32))
        p, q = x & np.int64(0x7FFFFFFF), y & np.int64(0x7FFFFFFF)
        steps = (-p if x < 0 else p) - (-q if y < 0 else q)
        differ |= x ^ y
        carries |= (p + np.int64(0x00800000)) | (q + np.int64(0x00800000))  # past infinity's bits, one into bit 31
        furthest = max(furthest, steps, -steps)
    return differ != 0, carries < np.int64(0x80000000), furthest


@kernel
def compare_rows(golden, faulty, codec, square):
    """Add up what differs between two (rows, d) outputs, row by row and element by element.

    `square` is where the sum of squares starts: rows may come in several calls. Returns (sum of squared finite
    differences, max |difference|, max ULP distance, newly non-finite elements, rows that differ).
    """
    largest = 0.0
    ulp = np.int64(0)
    nonfinite = 0
    rows = 0
    fp32 = is_fp32(codec)
    for i in range(golden.shape[0]):
        if fp32:
            differs, finite, steps = distances_32(golden[i], faulty[i])
            if finite:
                for t in range(golden.shape[1] if differs else 0):
                    delta = faulty[i, t] - golden[i, t]
                    square += delta * delta
                    largest = max(largest, abs(delta))
                ulp = max(ulp, steps)
                rows += 1 if differs else 0
                continue
        differs = False
        for t in range(golden.shape[1]):
            changed, delta, steps, lost = compare_values(golden[i, t], faulty[i, t], codec)
            differs = differs or changed
            square += delta * delta
            largest = max(largest, abs(delta))
            ulp = max(ulp, steps)
            nonfinite += lost
        if differs:
            rows += 1
    return square, largest, ulp, nonfinite, rows


@inner
def add_rows(n, golden, faulty, codec, out):
    """Add what differs between two (rows, d) outputs to outcome n of the arrays in `out`."""
    square, largest, ulp, nonfinite, rows = compare_rows(golden, faulty, codec, out.square[n])
    out.square[n] = square
    out.max_abs[n] = max(out.max_abs[n], largest)
    out.max_ulp[n] = max(out.max_ulp[n], ulp)
    out.nonfinite[n] += nonfinite
    out.rows[n] += rows


@kernel
def compare_values(golden, faulty, codec):
    """One element of two outputs: (differs, difference where both are finite, ULP distance, newly non-finite: 0 or
    1)."""
    if np.float64(golden).view(np.int64) == np.float64(faulty).view(np.int64):
        return False, 0.0, np.int64(0), 0
    ulp = ulp_distance(golden, faulty, codec)
    if not abs(golden) < np.inf:
        return True, 0.0, ulp, 0
    if not abs(faulty) < np.inf:
        return True, 0.0, ulp, 1
    return True, faulty - golden, ulp, 0


@kernel
def sum_of_squares(x):
    """Σ x² over the finite elements of a (rows, d) array, in order."""
    total = 0.0
    for i in range(x.shape[0]):
        for t in range(x.shape[1]):
            if abs(x[i, t]) < np.inf:
                total += x[i, t] * x[i, t]
    return total


def severity(golden: np.ndarray, faulty: np.ndarray, codec: Codec) -> Severity:
    """`Severity` of a faulty (Nq, d) output; `codec` is the output format's."""
    square, largest, ulp, nonfinite, rows = compare_rows(golden, faulty, codec, 0.0)
    rel = relative_l2(square, nonfinite, sum_of_squares(golden))
    return Severity(float(rel), float("inf") if nonfinite else float(largest), int(ulp), int(nonfinite), int(rows))


def relative_l2(square: Any, nonfinite: Any, golden_square: float) -> np.ndarray:
    """‖O' − O‖₂ / ‖O‖₂ from the sums of `compare_rows`, scalars or arrays, and Σ O²; inf where an element became
    non-finite, or where an output of zeros changed."""
    norm = np.sqrt(golden_square)
    with np.errstate(all="ignore"):
        rel = np.sqrt(square) / norm if norm > 0.0 else np.where(np.asarray(square) > 0.0, np.inf, 0.0)
    return np.where(np.asarray(nonfinite) > 0, np.inf, rel)
