"""`invariants`: what is true of every attention output, whatever Q, K and V are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from accel_sim.config.checker import InvariantsUnit, OutputUnitSection
from accel_sim.machines.operators import Operator, sum_of, widest
from accel_sim.output_units.unit import Held, OutputUnit


class Invariants(OutputUnit):
    """Each output element is an average of its column of V, so it lies between the column's smallest and largest value.

    The residual is how far outside the worst element lies, 0 inside. All keys count for the range, masked ones too: a
    mask can only make the true range smaller.
    """

    kind: ClassVar[str] = "invariants"
    section: ClassVar[type[OutputUnitSection]] = InvariantsUnit

    def registers(self) -> tuple[Held, ...]:
        """Ends of the range of each column."""
        d = (self.machine.head_dim,)
        return (
            Held("vmin", d, "operand", "smallest value of each column of V", loads="key"),
            Held("vmax", d, "operand", "largest value of each column of V", loads="key"),
        )

    def load(self, q: np.ndarray, k: np.ndarray, v: np.ndarray, bound: np.ndarray) -> Mapping[str, np.ndarray]:
        """Column by column over all keys."""
        return {"vmin": self.checker.smallest(v, axis=0), "vmax": self.checker.largest(v, axis=0)}

    def compare(self, rows: np.ndarray, queries: np.ndarray,
                held: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        """max over t of max(vmin_t − o_t, o_t − vmax_t, +0), each difference rounded once."""
        below = self.checker.sub(held["vmin"], rows)
        above = self.checker.sub(rows, held["vmax"])
        outside = self.checker.largest(self.checker.maximum(below, above), axis=1)
        return self.checker.maximum(outside, 0.0), None

    def operators(self, n_queries: int, n_keys: int) -> tuple[Operator, ...]:
        """Two comparators a column for the load; two subtractors, and as many comparators, for each row."""
        formats, d = self.machine.stored_formats, self.machine.head_dim
        operand, output, checker = (formats[role] for role in ("operand", "output", "checker"))
        difference = sum_of(operand, output, checker)
        return (
            Operator("invariants_load", "fp_max", operand.name, self.component, 2 * d, 2 * d * n_keys),
            Operator("invariants_outside", "fp_add", difference, self.component, 2 * d, 2 * d * n_queries),
            Operator("invariants_worst", "fp_max", widest(checker).name, self.component, 2 * d, 2 * d * n_queries),
        )
