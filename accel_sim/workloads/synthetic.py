"""Made-up tensors: normal deviates, plain or with a few outlier channels.

A head's numbers depend on (seed, layer, head) alone: not on how many heads there are, in which order they are
made, or on the machine (see `accel_sim.workloads.normal`). With the same head dimension, a longer head begins
with the rows of a shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accel_sim.workloads import normal
from accel_sim.workloads.workload import HeadId

F64 = NDArray[np.float64]

# Second key word of a stream: domain, layer, head, purpose. The domain keeps workload streams apart from
# those of any other use of the same seed.
_DOMAIN = 0x574C
_Q, _K, _V, _CHANNELS = range(4)


def stream_key(seed: int, head: HeadId, purpose: int) -> tuple[int, int]:
    """Philox key of a stream: the seed, and (domain, layer, head, purpose) in 16, 20, 20 and 8 bits."""
    return seed, _DOMAIN << 48 | head.layer << 28 | head.head << 8 | purpose


def normal_matrix(seed: int, head: HeadId, purpose: int, rows: int, columns: int) -> F64:
    """Standard normal deviates of shape (rows, columns), filled row by row from one stream."""
    return normal.standard_normal(stream_key(seed, head, purpose), rows * columns).reshape(rows, columns)


@dataclass(frozen=True)
class Gaussian:
    """Independent normal elements of mean 0 and standard deviation `scale`; scores have scale squared.

    group: neighbouring heads of a layer that share their keys and values; these are the first ones' of so many heads
    without sharing.
    """

    n_queries: int
    n_keys: int
    head_dim: int
    scale: float
    seed: int
    group: int = 1

    @property
    def largest(self) -> float:
        """A bound on the magnitude of every element."""
        return normal.LARGEST * self.scale

    def values(self, head: HeadId) -> tuple[F64, F64, F64]:
        shared = self.kv_head(head)
        q, k, v = (
            normal_matrix(self.seed, owner, purpose, n, self.head_dim) * self.scale
            for purpose, owner, n in ((_Q, head, self.n_queries), (_K, shared, self.n_keys), (_V, shared, self.n_keys))
        )
        return q, k, v

    def kv_head(self, head: HeadId) -> HeadId:
        """Number of its group, in its layer."""
        return HeadId(head.layer, head.head // self.group)


@dataclass(frozen=True)
class PlainProduct:
    """A (M × K) and B (K × N), independent normal elements of mean 0 and standard deviation `scale`: q is A, k is B
    transposed, and v is empty."""

    m: int
    n: int
    k: int
    scale: float
    seed: int

    @property
    def largest(self) -> float:
        """A bound on the magnitude of every element."""
        return normal.LARGEST * self.scale

    def values(self, head: HeadId) -> tuple[F64, F64, F64]:
        a, b = (normal_matrix(self.seed, head, purpose, rows, self.k) * self.scale
                for purpose, rows in ((_Q, self.m), (_K, self.n)))
        return a, b, np.zeros((self.n, 0))

    def kv_head(self, head: HeadId) -> HeadId:
        """Every product has a B of its own."""
        return head


@dataclass(frozen=True)
class Outliers:
    """A `Gaussian` whose q and k carry a few channels that are `factor` times as large, the same in every
    token and in all heads of a group.

    Trained language models have such channels: a few dimensions of a head's keys and queries are many times
    larger than the rest, at every position. They are drawn for each head from its own stream; v has none.
    """

    base: Gaussian
    channels: int
    factor: float

    @property
    def largest(self) -> float:
        """A bound on the magnitude of every element."""
        return self.base.largest * max(1.0, self.factor)

    def outlier_channels(self, head: HeadId) -> NDArray[np.intp]:
        """This head's outlier channels, ascending: those with the smallest words in a stream of their own."""
        words = normal.raw(stream_key(self.base.seed, self.kv_head(head), _CHANNELS), self.base.head_dim)
        return np.sort(np.argsort(words, kind="stable")[: self.channels])

    def values(self, head: HeadId) -> tuple[F64, F64, F64]:
        q, k, v = self.base.values(head)
        chosen = self.outlier_channels(head)
        q[:, chosen] *= self.factor
        k[:, chosen] *= self.factor
        return q, k, v

    def kv_head(self, head: HeadId) -> HeadId:
        """As of the base."""
        return self.base.kv_head(head)
