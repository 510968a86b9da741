"""Designs for the tests of the system model, and what is known of them without it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

from accel_sim.config import Memory, config_from_dict
from accel_sim.machines.lanes import LanesMachine


class Design(NamedTuple):
    """A machine and the memory around it."""

    machine: LanesMachine
    memory: Memory


def build_design(
    bandwidth: float | str = "unlimited",
    latency: int = 0,
    burst: int = 1,
    check: str | None = None,
    formats: dict[str, str] | None = None,
    architecture: dict[str, Any] | None = None,
    **memory: Any,
) -> Design:
    """A machine of 4 lanes, d = 4, tiles of 8 keys, bf16 in and fp32 out, unless `architecture` says else."""
    units = [] if check is None else [
        {"kind": "fused_output", "granularity": check, "threshold": {"kind": "absolute", "value": 1.0}}
    ]
    config = config_from_dict({
        "architecture": {"kind": "lanes", "lanes": 4, "head_dim": 4, "key_tile": 8, "formats": formats or {},
                         **(architecture or {})},
        "memory": {
            "off_chip": {"bandwidth_bytes_per_cycle": bandwidth, "latency_cycles": latency,
                         "burst_bytes": burst},
            **memory,
        },
        "checker": {"units": units},
        "workload": {"kind": "gaussian", "queries": 1, "keys": 1},
    })
    return Design(LanesMachine(config), config.memory)


@pytest.fixture
def design() -> Callable[..., Design]:
    """The builder of designs."""
    return build_design


@pytest.fixture
def random_design() -> Callable[[Any], tuple[Design, int, int]]:
    """From a `random.Random`, a design of any kind with a head to run on it."""

    def draw(rng: Any, **fixed: Any) -> tuple[Design, int, int]:
        lanes = rng.choice([1, 2, 3, 4, 7, 16])
        key_tile = rng.choice([1, 2, 4, 8, 16])
        checks = [None, "head", "query_block"] + (["key_tile"] if key_tile >= lanes else [])
        options: dict[str, Any] = {
            "bandwidth": rng.choice(["unlimited", 0.1, 0.75, 1, 3, 7.3, 16, 64, 1e9]),
            "latency": rng.choice([0, 0, 1, 5, 40, 300]),
            "burst": rng.choice([1, 8, 64]),
            "check": rng.choice(checks),
            "q_buffers": rng.choice([1, 2, 3, 8]),
            "kv_buffers": rng.choice([1, 2, 3, 8]),
            "o_buffers": rng.choice([1, 2, 3]),
            "kv_resident": rng.random() < 0.25,
            "formats": {"operand": rng.choice(["bf16", "fp8_e4m3", "fp32"])},
            "architecture": {
                "lanes": lanes, "key_tile": key_tile, "head_dim": rng.choice([1, 2, 5, 8]),
                "dot": rng.choice(["tree", "serial"]),
                "divide": {"kind": rng.choice(["exact", "reciprocal_pwl"])},
            },
        } | fixed
        return build_design(**options), rng.randint(1, 6 * lanes), rng.randint(1, 60)

    return draw
