"""Designs for the tests of area and energy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from accel_sim.config import config_from_dict
from accel_sim.machines.lanes import LanesMachine

UNIT = {"kind": "fused_output", "granularity": "head", "threshold": {"kind": "absolute", "value": 1.0}}
NOTHING_SHARED = dict.fromkeys(("score", "max", "exp", "sum"), False)


def build_machine(unit: dict[str, Any] | None = UNIT, faults: dict[str, Any] | None = None,
                  memory: dict[str, Any] | None = None, **architecture: Any) -> LanesMachine:
    """A machine of 4 lanes, d = 8, tiles of 8 keys and the default formats, unless `architecture` says else.
    `unit`: changes to the check unit, or None for none."""
    units = [] if unit is None else [{**UNIT, **unit}]
    sizes = {"kind": "lanes", "lanes": 4, "head_dim": 8, "key_tile": 8, **architecture}
    return LanesMachine(config_from_dict({
        "architecture": sizes, "checker": {"units": units}, "faults": faults or {}, "memory": memory or {},
        "workload": {"kind": "gaussian", "queries": 1, "keys": 1},
    }))


@pytest.fixture
def machine() -> Callable[..., LanesMachine]:
    """The builder of machines."""
    return build_machine
