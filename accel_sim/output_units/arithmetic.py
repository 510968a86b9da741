"""The arithmetic of check units: every operation computes exactly and rounds once into the checker format.

`Checker` has the operators of `accel_sim.numerics` for whole arrays; what they give is the same on any CPU, which is
not true of NumPy's own sums, products of matrices and exponentials.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from accel_sim.numerics.arithmetic import add_vv, mul_vs, mul_vv
from accel_sim.numerics.formats import Format, Rounding, Subnormals


class Checker:
    """Operators whose results are values of the checker format.

    All take float64 arrays (or scalars) that go together as NumPy has them and hold values of formats no wider than the
    checker's: rows, held registers, or results of other operators. None changes its operands. format: the checker
    format; subnormals: as in the architecture.
    """

    def __init__(self, fmt: Format, subnormals: Subnormals = "keep") -> None:
        self.format = fmt
        self.rounding = fmt.rounding(subnormals)

    def add(self, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        """a + b."""
        x, y = _together(a, b)
        out = np.empty_like(x)
        add_vv(out.reshape(-1), x.reshape(-1), y.reshape(-1), self.rounding, 0.0, 0.0)
        return out

    def sub(self, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        """a − b."""
        return self.add(a, _negated(b))

    def mul(self, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        """a · b."""
        x, y = _together(a, b)
        out = np.empty_like(x)
        mul_vv(out.reshape(-1), x.reshape(-1), y.reshape(-1), self.rounding, 0.0, 0.0)
        return out

    def row_sums(self, rows: np.ndarray) -> np.ndarray:
        """(n,) sum of each row of an (n, d) array by an adder tree: at each level element i is added to element
        i + ⌈d/2⌉, and the middle one of an odd level passes through."""
        x = np.ascontiguousarray(rows, dtype=np.float64)
        while x.shape[1] > 1:
            half = (x.shape[1] + 1) // 2
            sums = self.add(x[:, :x.shape[1] - half], x[:, half:])
            x = np.concatenate([sums, x[:, x.shape[1] - half:half]], axis=1)
        return self.round(x[:, 0])

    def round(self, x: np.ndarray) -> np.ndarray:
        """x, rounded: for values that are wider than the checker format."""
        return rounded(x, self.rounding)

    @staticmethod
    def maximum(a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        """The larger of each two; NaN if either is, +0 of two zeros unless both are −0. Exact."""
        x, y = (np.asarray(z, dtype=np.float64) for z in (a, b))
        out = np.asarray(np.maximum(x, y))  # NumPy's own: which zero and which NaN it takes depends on the CPU
        np.add(x, y, out=out, where=(x == 0.0) & (y == 0.0))
        return _one_nan(out)

    @classmethod
    def minimum(cls, a: np.ndarray | float, b: np.ndarray | float) -> np.ndarray:
        """The smaller of each two; NaN if either is, −0 of two zeros unless both are +0. Exact."""
        return _negated(cls.maximum(_negated(a), _negated(b)))

    @classmethod
    def largest(cls, x: np.ndarray, axis: int) -> np.ndarray:
        """The largest along an axis (at least one element long), by `maximum`."""
        return _reduced(cls.maximum, x, axis)

    @classmethod
    def smallest(cls, x: np.ndarray, axis: int) -> np.ndarray:
        """The smallest along an axis (at least one element long), by `minimum`."""
        return _reduced(cls.minimum, x, axis)


def rounded(x: np.ndarray, rounding: Rounding) -> np.ndarray:
    """A copy of x, every element rounded; NaN becomes the canonical one."""
    flat = np.ascontiguousarray(x, dtype=np.float64)
    out = np.empty_like(flat)
    mul_vs(out.reshape(-1), flat.reshape(-1), 1.0, rounding, 0.0)
    return out


def as_read(x: np.ndarray, rounding: Rounding) -> np.ndarray:
    """What operators read from registers with these values: NaN is canonical, flushed subnormals are zeros."""
    out = np.array(x, dtype=np.float64)
    if rounding.flush_below > 0.0:
        small = np.abs(out) < rounding.flush_below
        out[small] = np.copysign(0.0, out[small])
    return _one_nan(out)


def _together(a: np.ndarray | float, b: np.ndarray | float) -> tuple[np.ndarray, np.ndarray]:
    x, y = (np.asarray(z, dtype=np.float64) for z in (a, b))
    shape = np.broadcast_shapes(x.shape, y.shape)
    return _whole(x, shape), _whole(y, shape)


def _whole(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x in that shape, as kernels take arrays: contiguous and, since they are compiled for those, not read-only."""
    if x.shape == shape and x.flags.c_contiguous and x.flags.writeable:
        return x
    return np.array(np.broadcast_to(x, shape), order="C")


def _negated(x: np.ndarray | float) -> np.ndarray:
    """−x, which keeps the one NaN that there is."""
    return _one_nan(np.asarray(np.negative(np.asarray(x, dtype=np.float64))))


def _one_nan(x: np.ndarray) -> np.ndarray:
    """x with every NaN made the canonical one, in place."""
    x[np.isnan(x)] = np.nan
    return x


def _reduced(larger: Callable[[np.ndarray, np.ndarray], np.ndarray], x: np.ndarray, axis: int) -> np.ndarray:
    """A reduction by halves; which of two is taken does not depend on the order."""
    rest = np.moveaxis(np.asarray(x, dtype=np.float64), axis, 0)
    while len(rest) > 1:
        half = (len(rest) + 1) // 2
        rest = np.concatenate([larger(rest[:len(rest) - half], rest[half:]), rest[len(rest) - half:half]])
    return np.array(rest[0])
