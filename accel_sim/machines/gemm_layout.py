"""Where the elements of a product stand on the array of the `gemm` machine, with checksum lines between them.

A product is out[p, q] = Σ_k P[k, p] · Q[k, q]; q runs along the columns of the array, p along its rows (`os`) or
through it in time (`ws`, `is`). For `os` and `ws` p is the row of the product and q its column, for `is` the other way
round.

An array with checksum columns has s of them behind every C columns of data; with checksum rows, `os` has s of them
below every R rows of data, and `ws` and `is` stream s more elements at the end. Groups that are not full are filled up
with zeros, so that the checksum lines stand where the hardware has them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from accel_sim.machines.folds import Folding, dataflow


@dataclass(frozen=True)
class Product:
    """One product of the head on the array.

    m, n, k: its size, columns of the fused check included. rows, cols: data rows and columns of the array. row_sums,
    col_sums: words of a checksum: checksum columns of the array, and its checksum rows or streamed elements (0: none).
    checked: whether this product is checked; the checksum columns (and rows, for `os`) carry zeros where it is not.
    streamed: words of the checksums that are streamed behind p (`ws`, `is`), 0 where this product has none.
    """

    name: str
    m: int
    n: int
    k: int
    flow: str
    rows: int
    cols: int
    row_sums: int
    col_sums: int
    checked: bool
    streamed: int

    @property
    def turned(self) -> bool:
        """Whether p runs along the columns of the product (`is`)."""
        return self.flow == "is"

    @property
    def p_size(self) -> int:
        """Values of p."""
        return self.n if self.turned else self.m

    @property
    def q_size(self) -> int:
        """Values of q."""
        return self.m if self.turned else self.n

    @property
    def streams_p(self) -> bool:
        """Whether p runs in time (`ws`, `is`)."""
        return dataflow(self.flow).loads

    @property
    def p_group(self) -> int:
        """Data values of p that share a checksum."""
        return self.p_size if self.streams_p else self.rows

    @property
    def p_groups(self) -> int:
        """Groups of p."""
        return -(-self.p_size // self.p_group)

    @property
    def q_groups(self) -> int:
        """Groups of q: folds along the columns."""
        return -(-self.q_size // self.cols)

    @property
    def p_extra(self) -> int:
        """Checksum lines behind each group of p."""
        return self.streamed if self.streams_p else self.col_sums

    @property
    def p_total(self) -> int:
        """Lines of p on the array, checksums and filling included."""
        if self.streams_p:
            return self.p_size + self.p_extra
        return self.p_groups * (self.rows + self.p_extra) if self.p_extra else self.p_size

    @property
    def q_total(self) -> int:
        """Columns of q on the array, checksums and filling included."""
        return self.q_groups * (self.cols + self.row_sums) if self.row_sums else self.q_size

    @cached_property
    def p_places(self) -> NDArray[np.int64]:
        """(p_size,): line on the array of each p."""
        p = np.arange(self.p_size)
        return p + p // self.p_group * self.p_extra

    @cached_property
    def q_places(self) -> NDArray[np.int64]:
        """(q_size,): column of each q."""
        q = np.arange(self.q_size)
        return q + q // self.cols * self.row_sums

    def p_check(self, group: int, word: int) -> int:
        """Line of a word of the checksum of a group of p."""
        return group * (self.p_group + self.p_extra) + self.p_group + word

    def q_check(self, group: int, word: int) -> int:
        """Column of a word of the checksum of a group of q."""
        return group * (self.cols + self.row_sums) + self.cols + word

    @cached_property
    def folding(self) -> Folding:
        """The folds of what is on the array."""
        m, n = (self.q_total, self.p_total) if self.turned else (self.p_total, self.q_total)
        rows = self.rows if self.streams_p else self.rows + self.col_sums
        return Folding(m, n, self.k, rows, self.cols + self.row_sums, self.flow)

    @property
    def first_delivery(self) -> int:
        """Cycle of a fold in which the sum of its first line in column 0 is delivered."""
        if self.streams_p:
            return self.folding.fill + self.folding.rows - 1
        return self.k - 1

    def completing_fold(self, p_group: int, q_group: int) -> int:
        """Number of the fold that completes the sums of a group."""
        folds = self.folding.row_folds
        return q_group * folds + (folds - 1 if self.streams_p else p_group)
