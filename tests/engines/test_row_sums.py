"""The sum of a row with one element replaced is the sum of the changed row."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.engines.lanes_build import geometry
from accel_sim.engines.lanes_golden import row_sum, row_sum_with
from accel_sim.machines.lanes import tree_sizes
from accel_sim.numerics.formats import FORMATS
from engines.draw import machine_with


@pytest.mark.parametrize("subnormals", ["keep", "flush"])
@pytest.mark.parametrize(("source", "checker"), [("fp32", "fp32"), ("bf16", "fp32"), ("fp64", "fp32"), ("fp32", "bf16"),
                                                 ("fp16", "fp64"), ("fp8_e4m3", "bf16")])  # fmt: skip
def test_one_element_replaced(source: str, checker: str, subnormals: str) -> None:
    rng = np.random.default_rng(3)
    rx, r = FORMATS[source].rounding(subnormals), FORMATS[checker].rounding(subnormals)
    moved = 0
    for d in range(1, 21):
        g = geometry(machine_with(head_dim=d), 1, 1)
        patterns = rng.integers(0, 1 << FORMATS[source].width_bits, d + 1, dtype=np.uint64)
        values = FORMATS[source].decode(patterns)
        row, value = np.where(np.isnan(values[:d]), 0.5, values[:d]), float(values[d])
        small = rng.random(d) < 0.3
        row[small] = FORMATS[source].decode(rng.integers(0, 3, d, dtype=np.uint64))[small]  # subnormals
        tree, other = np.zeros(sum(tree_sizes(d))), np.zeros(sum(tree_sizes(d)))
        before = row_sum(row, tree, g, r, rx)
        for t in range(d):
            changed = row.copy()
            changed[t] = value
            want = row_sum(changed, other, g, r, rx)
            got = row_sum_with(row, tree, t, value, g, r, rx)
            assert np.float64(got).view(np.int64) == np.float64(want).view(np.int64), (d, t)
            moved += want != before
    assert moved > 20
