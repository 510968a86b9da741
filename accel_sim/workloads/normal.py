"""Normal deviates that are the same bits on every machine.

A deviate is the inverse normal distribution function at a uniform number, and a uniform number is one raw
64-bit word of a Philox counter generator. So deviate i of a stream depends on the key and on i alone: streams
need no state, a longer stream begins with the shorter one, and heads can be made in any order by any number
of workers.

Platform independence holds because only integer operations, `frexp` and the IEEE 754 basic operations + - * /
sqrt on float64 are used, each of them a NumPy call of its own, hence rounded on its own and never contracted
into a fused multiply-add. No libm function is called: numpy's ``standard_normal`` calls exp and log1p in its
rare cases, and its stream may change between NumPy releases, while ``random_raw`` is the published
Philox4x64-10 function.

The inverse is Wichura's algorithm AS 241, PPND16 (Applied Statistics 37, 1988, 477-484), with relative error
about 1e-16 in exact arithmetic; evaluated here it stays within 1e-15. Its tails need a logarithm, which
`_log` supplies. Deviates reach out to +-8.2, where the 52 bits of the uniform number end, so tails are true
to the distribution far beyond any sample that a simulation draws.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]

LARGEST = 8.21
"""No deviate is larger in magnitude than this: the inverse at 2^-53 is -8.2095."""

# AS 241, PPND16: numerator and denominator, constant term first, of the three ranges.
_CENTRE = (
    (3.3871328727963665, 133.14166789178438, 1971.5909503065513, 13731.69376550946,
     45921.95393154987, 67265.7709270087, 33430.57558358813, 2509.0809287301227),
    (1.0, 42.31333070160091, 687.1870074920579, 5394.196021424751,
     21213.794301586597, 39307.89580009271, 28729.085735721943, 5226.495278852854),
)  # fmt: skip
_TAIL = (
    (1.4234371107496835, 4.630337846156546, 5.769497221460691, 3.6478483247632045,
     1.2704582524523684, 0.2417807251774506, 0.022723844989269184, 0.0007745450142783414),
    (1.0, 2.053191626637759, 1.6763848301838038, 0.6897673349851,
     0.14810397642748008, 0.015198666563616457, 0.0005475938084995345, 1.0507500716444169e-09),
)  # fmt: skip
_FAR_TAIL = (
    (6.657904643501103, 5.463784911164114, 1.7848265399172913, 0.29656057182850487,
     0.026532189526576124, 0.0012426609473880784, 2.7115555687434876e-05, 2.0103343992922881e-07),
    (1.0, 0.599832206555888, 0.1369298809227358, 0.014875361290850615,
     0.0007868691311456133, 1.8463183175100548e-05, 1.421511758316446e-07, 2.0442631033899397e-15),
)  # fmt: skip

_LN2 = float.fromhex("0x1.62e42fefa39efp-1")
_SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")


def raw(key: tuple[int, int], n: int) -> NDArray[np.uint64]:
    """The first n 64-bit words of the Philox4x64-10 stream with that 128-bit key, counting from counter 1.

    Args:
        key: two unsigned 64-bit words.
        n: how many words.
    """
    return np.asarray(np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(n), dtype=np.uint64)


def uniform(words: NDArray[np.uint64]) -> F64:
    """One number strictly between 0 and 1 from each word: its top 52 bits and a half, over 2^52. Exact."""
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def standard_normal(key: tuple[int, int], n: int) -> F64:
    """The first n standard normal deviates of the stream with that key, as float64 of shape (n,)."""
    return inverse_normal(uniform(raw(key, n)))


def inverse_normal(p: F64) -> F64:
    """The x with Phi(x) = p, for p strictly between 0 and 1."""
    q = p - 0.5
    x = q * _ratio(_CENTRE, 0.180625 - q * q)
    outside = np.nonzero(np.abs(q) > 0.425)[0]
    if outside.size:
        tail = np.where(q[outside] < 0.0, p[outside], 1.0 - p[outside])
        r = np.sqrt(-_log(tail))
        magnitude = np.where(r <= 5.0, _ratio(_TAIL, r - 1.6), _ratio(_FAR_TAIL, r - 5.0))
        x[outside] = np.copysign(magnitude, q[outside])
    return x


def _ratio(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: F64) -> F64:
    numerator, denominator = coefficients
    return _polynomial(numerator, x) / _polynomial(denominator, x)


def _polynomial(coefficients: tuple[float, ...], x: F64) -> F64:
    value = np.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value = value * x
        value = value + coefficient
    return value


def _log(x: F64) -> F64:
    """Natural logarithm of positive normal numbers below 1, relative error under 1e-15.

    x = 2^e m with m from sqrt(1/2) to sqrt(2), and log m = 2 atanh(s) with s = (m - 1) / (m + 1), |s| <
    0.172: twelve terms of the odd series leave less than 1e-18.
    """
    m, e = np.frexp(x)
    low = m < _SQRT_HALF
    m = np.where(low, m + m, m)
    exponent = e.astype(np.float64) - low
    s = (m - 1.0) / (m + 1.0)
    series = _polynomial(tuple(1.0 / (2 * i + 1) for i in range(12)), s * s)
    return exponent * _LN2 + 2.0 * s * series
