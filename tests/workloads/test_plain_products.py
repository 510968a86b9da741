"""Workloads of plain products: their matrices, and what a config may not say of them."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.checkers.threshold import clean_heads
from accel_sim.config import ConfigError, load_config
from accel_sim.workloads import HeadId, load_workload

PRODUCT = {"workload": {"kind": "gemm", "m": 5, "n": 6, "k": 7, "products": 3}}
INTEGERS = {"architecture.formats": {"operand": "int8", "score": "int32", "state": "int32", "checker": "int32"}}


def test_a_product_is_a_head_without_values() -> None:
    workload = load_workload(load_config("mlp-up", PRODUCT))
    assert workload.plain and workload.heads == (HeadId(0, 0), HeadId(0, 1), HeadId(0, 2))
    assert (workload.n_queries, workload.n_keys, workload.head_dim) == (5, 6, 7)
    assert workload.macs == 5 * 6 * 7 and workload.kv_heads == 3
    shapes = [tensor.shape for tensor in workload.tensors(workload.heads[1])]
    assert shapes == [(5, 7), (6, 7), (6, 0)]
    assert dict(workload.facts())["shape"] == "5 × 7 by 7 × 6"


def test_every_product_has_operands_of_its_own_and_calibration_others_still() -> None:
    workload = load_workload(load_config("mlp-up", PRODUCT))
    seen = [workload.tensors(head) for head in workload.heads] + list(clean_heads(workload, 0, 0, 3))
    assert len({tensors.q.tobytes() for tensors in seen}) == len({tensors.k.tobytes() for tensors in seen}) == 6
    assert all(np.array_equal(a, b) for a, b in zip(workload.tensors(HeadId(0, 2)), seen[2], strict=True))


def test_integers_are_rounded_and_end_at_their_range() -> None:
    config = load_config("mlp-up", {**PRODUCT, **INTEGERS, "workload.scale": 100.0, "workload.m": 60})
    workload = load_workload(config)
    a = workload.tensors(workload.heads[0]).q
    exact = workload.source.values(workload.heads[0])[0]
    assert (a.min(), a.max()) == (-128, 127)
    assert np.array_equal(a, np.clip(np.rint(exact), -128, 127))


@pytest.mark.parametrize("changes, message", [
    ({"architecture": {"kind": "lanes"}, "checker.units": []}, "plain products are for a gemm machine"),
    ({"checker.units": ["fused_output"]}, "fused_output watches the output of attention"),
    ({"checker.units": [{"kind": "gemm", "products": ["pv"]}]}, "there is no pv"),
    ({"workload.m": 5000}, "workload.m must be at most architecture.max_queries"),
    ({"workload.n": 5000}, "workload.n must be at most architecture.max_keys"),
    ({"workload.k": 0}, "workload.k"),
    ({**INTEGERS, "workload": "gaussian"}, "int8 operands are for plain products"),
    ({**INTEGERS, "architecture.formats.state": "fp32"}, "int8 operands go with int32"),
    ({"architecture.formats.checker": "int32"}, "int8 operands go with int32"),
    ({**INTEGERS, "architecture.subnormals": "flush"}, "no subnormals"),
    ({**INTEGERS, "checker.units.0.columns": 1}, "raise columns"),
    ({**INTEGERS, "checker.units.0.sides": "both", "workload.m": 257}, "raise columns"),
    ({**INTEGERS, "checker.units.0.threshold": {"kind": "relative", "value": 0.1}}, "holds no fraction"),
])
def test_what_cannot_be_is_refused(changes: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("mlp-up", changes)
