"""A check unit of one's own: the sum of each output row lies within the row sums of V.

An output is an average of the rows of V, so the sum over its elements is the same average of their row sums
r_j = Σ_t v_jt. It cannot be larger than the largest of them, nor smaller than the smallest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from pydantic import Field

from accel_sim.output_units import Held, Operator, OutputUnit, UnitSection


class ColumnSumSection(UnitSection):
    """The keys of the unit in a config; it has a `threshold` as every unit has."""

    kind: Literal["column_sum"] = Field(default="column_sum", description="Selects the check of row sums.")
    signed: bool = Field(default=True, description="Keep both ends of the range, not only the larger magnitude.")


class ColumnSum(OutputUnit):
    """How far outside [min r_j, max r_j] the sum of a row lies; 0 inside."""

    kind = "column_sum"
    section = ColumnSumSection
    has_scale = True

    def registers(self) -> tuple[Held, ...]:
        return (Held("low", (), "checker", "smallest row sum of V", loads="key"),
                Held("high", (), "checker", "largest row sum of V", loads="key"))

    def load(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, bound: np.ndarray) -> Mapping[str, np.ndarray]:
        check, sums = self.checker, self.checker.row_sums(v)
        low, high = check.smallest(sums, axis=0), check.largest(sums, axis=0)
        if not self.settings.signed:
            high = check.maximum(np.abs(low), np.abs(high))
            low = -high
        return {"low": low, "high": high}

    def compare(self, rows: np.ndarray, queries: np.ndarray,
                held: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        check, sums = self.checker, self.checker.row_sums(rows)
        outside = check.maximum(check.sub(held["low"], sums), check.sub(sums, held["high"]))
        scale = check.maximum(np.abs(held["low"]), np.abs(held["high"]))
        return check.maximum(outside, 0.0), np.broadcast_to(scale, sums.shape)

    def operators(self, n_queries: int, n_keys: int) -> tuple[Operator, ...]:
        fmt, adders = self.machine.stored_formats["checker"].name, self.machine.head_dim - 1
        return (
            Operator("column_sum_tree", "fp_add", fmt, self.component, adders, adders * (n_queries + n_keys)),
            Operator("column_sum_range", "fp_max", fmt, self.component, 4, 2 * n_keys + 2 * n_queries),
            Operator("column_sum_outside", "fp_add", fmt, self.component, 2, 2 * n_queries),
        )
