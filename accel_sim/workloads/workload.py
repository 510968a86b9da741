"""What attention is computed on: the tensors of some heads, and which keys each query may see.

A workload of kind ``gemm`` has plain products in their place, A (M × K) times B (K × N): q is A, k is B transposed, v
is empty, so n_queries is M, n_keys is N and head_dim is K.

- `Workload`: the frozen description; gives the tensors of one head at a time, rounded to the operand format.
- `HeadId`: which head, by layer and head number.
- `Tensors`: q, k and v of one head.
- `Mask`: causal and padding mask, as one last allowed key for each query.
- `TensorSource`: where a workload takes its numbers from; files and generators implement it.

Heads of one workload all have one shape, so the time and the cost of one are those of every other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from accel_sim.numerics.formats import Format

F64 = NDArray[np.float64]


class HeadId(NamedTuple):
    """A head's place in its model. `layer` is 0 where a workload has no layers."""

    layer: int
    head: int

    def __str__(self) -> str:
        return f"layer {self.layer} head {self.head}"


class Tensors(NamedTuple):
    """One head's operands: q (n_queries, head_dim), k and v (n_keys, head_dim), float64 and C-contiguous.

    Every value is representable in the operand format. q is not divided by sqrt(head_dim): the hardware
    scales.
    """

    q: F64
    k: F64
    v: F64


@dataclass(frozen=True)
class Mask:
    """Which keys a query may see: always a row of them, from a first to a last one.

    Attributes:
        causal: query i sees no key after i + n_keys - n_queries, so the last query sees every key (the
            queries are the last ones of the sequence, as in decoding with a key-value cache).
        valid_keys: keys from this index on are padding; None for no padding.
        window: with `causal`, a query sees only the last `window` keys up to its own position; None for all.
    """

    causal: bool = False
    valid_keys: int | None = None
    window: int | None = None

    def bounds(self, n_queries: int, n_keys: int) -> NDArray[np.int64]:
        """Index of the last key each query may see, of shape (n_queries,); negative where it may see none."""
        last = n_keys if self.valid_keys is None else min(self.valid_keys, n_keys)
        bounds = np.full(n_queries, last - 1, dtype=np.int64)
        if self.causal:
            bounds = np.minimum(bounds, self._positions(n_queries, n_keys))
        # A window may lie in the padding altogether.
        return np.where(self.firsts(n_queries, n_keys) <= bounds, bounds, np.minimum(bounds, -1))

    def firsts(self, n_queries: int, n_keys: int) -> NDArray[np.int64]:
        """Index of the first key each query may see, if it may see any, of shape (n_queries,); 0 without a window."""
        if self.window is None:
            return np.zeros(n_queries, dtype=np.int64)
        return np.maximum(self._positions(n_queries, n_keys) - (self.window - 1), 0)

    @staticmethod
    def _positions(n_queries: int, n_keys: int) -> NDArray[np.int64]:
        """Each query's own place among the keys: queries are the last of the sequence."""
        return np.arange(n_queries, dtype=np.int64) + (n_keys - n_queries)

    def __str__(self) -> str:
        parts = ["causal"] if self.causal else []
        parts += [] if self.window is None else [f"window of {self.window} keys"]
        parts += [] if self.valid_keys is None else [f"{self.valid_keys} valid keys"]
        return ", ".join(parts) or "none"


class TensorSource(Protocol):
    """Gives the numbers of a head before they are rounded. Implementations are frozen, and can be pickled."""

    @property
    def largest(self) -> float:
        """No element of any head is larger in magnitude than this."""
        ...

    def values(self, head: HeadId) -> tuple[F64, F64, F64]:
        """q, k and v of that head as finite float64."""
        ...

    def kv_head(self, head: HeadId) -> HeadId:
        """Where that head has its keys and values from: heads of which this is the same share them."""
        ...


@dataclass(frozen=True)
class Workload:
    """Attention heads of one shape.

    Attributes:
        name: short name for reports.
        kind: ``captured``, ``gaussian``, ``outliers``, ``file`` or ``gemm``.
        heads: the heads to run, in order.
        n_queries: queries in a head.
        n_keys: keys in a head.
        head_dim: elements in a query, key and value.
        mask: which keys a query may see; the same for every head.
        operand: format that the tensors are rounded to.
        source: where the numbers come from.
        details: what a report says of the source, as (label, text) pairs.
    """

    name: str
    kind: str
    heads: tuple[HeadId, ...]
    n_queries: int
    n_keys: int
    head_dim: int
    mask: Mask
    operand: Format
    source: TensorSource
    details: tuple[tuple[str, str], ...] = ()

    def tensors(self, head: HeadId) -> Tensors:
        """The operands of one head, each value rounded once, to nearest even, to the operand format.

        Subnormal results are kept: whether they count as zero is the hardware's choice when it reads them.

        Raises:
            KeyError: the workload has no such head.
        """
        if head not in self.heads:
            raise KeyError(f"{head} is not in workload {self.name}")
        return Tensors(*(rounded(values, self.operand) for values in self.source.values(head)))

    def bounds(self, n: int | None = None) -> NDArray[np.int64]:
        """Index of the last key that each of the first n queries may see (all queries if n is not given).

        Raises:
            ValueError: n is not from 0 to n_queries.
        """
        return self.mask.bounds(self.n_queries, self.n_keys)[: self._checked(n)]

    def firsts(self, n: int | None = None) -> NDArray[np.int64]:
        """Index of the first key that each of the first n queries may see: 0 unless the mask has a window.

        Raises:
            ValueError: n is not from 0 to n_queries.
        """
        return self.mask.firsts(self.n_queries, self.n_keys)[: self._checked(n)]

    def _checked(self, n: int | None) -> int:
        n = self.n_queries if n is None else n
        if not 0 <= n <= self.n_queries:
            raise ValueError(f"n = {n}: the workload has {self.n_queries} queries")
        return n

    @property
    def kv_heads(self) -> int:
        """How many different keys and values the heads have: fewer than heads where groups of them share."""
        return len({self.source.kv_head(head) for head in self.heads})

    @property
    def score_count(self) -> int:
        """Unmasked (query, key) pairs of one head."""
        last, first = self.bounds(), self.firsts()
        return int(np.sum(np.where(last >= first, last - first + 1, 0)))

    @property
    def plain(self) -> bool:
        """Whether its heads are plain products."""
        return self.kind == "gemm"

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one head: of both products of attention over its unmasked pairs, or of the one."""
        return (1 if self.plain else 2) * self.score_count * self.head_dim

    def facts(self) -> tuple[tuple[str, str], ...]:
        """What a report says of the workload, as (label, text) pairs."""
        first, last = self.heads[0], self.heads[-1]
        span = str(first) if len(self.heads) == 1 else f"{len(self.heads)}, from {first} to {last}"
        if self.plain:
            return (
                ("workload", self.name),
                ("heads", f"{span}: one for each product"),
                ("shape", f"{self.n_queries} × {self.head_dim} by {self.head_dim} × {self.n_keys}"),
                ("operand format", self.operand.name),
                *self.details,
            )
        kv_heads = self.kv_heads
        if kv_heads < len(self.heads):
            span += f"; they share {kv_heads} keys and values"
        return (
            ("workload", self.name if self.name == self.kind else f"{self.name} ({self.kind})"),
            ("heads", span),
            ("shape", f"{self.n_queries} queries, {self.n_keys} keys, head dim {self.head_dim}"),
            ("mask", f"{self.mask}; {self.score_count} of {self.n_queries * self.n_keys} scores a head"),
            ("operand format", self.operand.name),
            *self.details,
        )

    def describe(self) -> str:
        """`facts` as aligned lines."""
        facts = self.facts()
        width = max(len(label) for label, _ in facts)
        return "\n".join(f"{label:<{width}}  {text}" for label, text in facts)


def rounded(values: F64, fmt: Format) -> F64:
    """Each value rounded once, to nearest even, to a format; subnormals are kept, and what lies beyond the range of an
    integer format becomes its end. Any shape, C-contiguous."""
    from accel_sim.machines.integers import SignedFormat

    if isinstance(fmt, SignedFormat):
        return np.clip(np.rint(np.ascontiguousarray(values, dtype=np.float64)), fmt.lowest, fmt.highest) + 0.0
    from accel_sim.numerics.arithmetic import mul_vs

    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    result = np.empty_like(flat)
    mul_vs(result, flat, 1.0, fmt.rounding(), 0.0)  # times one is exact: nothing but the rounding remains
    return result.reshape(values.shape)
