"""The uncertainty of a technology table as a fixed set of samples of it.

Sample i of every entry together is one table that could be true. The two sides of a ratio are evaluated on the
same samples, so that what they share cancels. Each entry is drawn by itself (its logarithm from a triangle
between low, value and high); an entry that is a factor of another takes the other's draw along.

The numbers come from a counter-based generator whose key is the entry's own name: they do not depend on what
else is in the table, on the order of evaluation, or on the machine.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from accel_sim.cost.table import Technology
from accel_sim.workloads.normal import raw, uniform

F64 = NDArray[np.float64]

SAMPLES = 4096
"""Tables that are drawn. The ends of a 95 % interval then move by about a fortieth of its width between
seeds."""

_SEED = 0x0C057


@lru_cache(maxsize=1024)
def _triangle(key: str, value: float, low: float, high: float) -> F64:
    """Samples between low and high, whose logarithms have a triangular density with its peak at value."""
    word = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big")
    u = uniform(raw((_SEED, word), SAMPLES))
    a, m, b = np.log((low, value, high))
    if a == b:
        return np.full(SAMPLES, value)
    rising = a + np.sqrt(u * (b - a) * (m - a))
    falling = b - np.sqrt((1.0 - u) * (b - a) * (b - m))
    samples: F64 = np.exp(np.where(u * (b - a) < m - a, rising, falling))
    samples.setflags(write=False)
    return samples


def draws(technology: Technology, key: str) -> F64:
    """The number at `key` in each sample of the table, shape (SAMPLES,)."""
    product: F64 = np.ones(SAMPLES)
    for link in technology.chain(key):
        entry = technology.entries[link]
        product = product * _triangle(link, entry.value, entry.low, entry.high)
    return product
