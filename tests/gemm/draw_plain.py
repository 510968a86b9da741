"""Random plain products, and gemm machines for them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from accel_sim.config.gemm import GemmArchitecture
from accel_sim.config.memory import Memory
from accel_sim.engines.job import Job, make_job
from accel_sim.machines.gemm import GemmMachine
from gemm.draw import FORMATS, gemm_unit, operands, with_policies


def plain_machine(k: int, units: tuple[Any, ...] = (), **options: Any) -> GemmMachine:
    """A machine for products with K = k."""
    sizes = {"rows": 3, "cols": 4, "vector_lanes": 3, "max_keys": 64, "max_queries": 64}
    config: Any = SimpleNamespace(architecture=GemmArchitecture.model_validate({**sizes, **options}),
                                  checker=SimpleNamespace(units=units), faults=SimpleNamespace(register_format=None),
                                  workload=SimpleNamespace(kind="gemm", k=k), memory=Memory())
    return GemmMachine(config)


INTEGERS = {"operand": "int8", "score": "int32", "state": "int32", "checker": "int32"}
"""The formats of integer products."""


def matrix(rng: np.random.Generator, shape: tuple[int, int], machine: GemmMachine) -> np.ndarray:
    """Random values of the operand format; integers over all of their range."""
    if machine.formats["operand"].name == "int8":
        return rng.integers(-128, 128, shape).astype(np.float64)
    return operands(rng, shape, machine)


def plain_job(machine: GemmMachine, m: int, n: int, rng: np.random.Generator, limit: float = float("nan"),
              policy: dict[str, float] | None = None) -> Job:
    """A (M × K) and B (K × N) of random operands. policy: more limits, of a statistical threshold."""
    a, b = matrix(rng, (m, machine.head_dim), machine), matrix(rng, (n, machine.head_dim), machine)
    return make_job(machine, a, b, np.zeros((n, 0))).with_limits({"gemm": limit} | (policy or {}))


def random_plain(seed: int) -> tuple[GemmMachine, Job]:
    """A machine over every option that plain products have, and a product for it."""
    rng = np.random.default_rng(seed)

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    formats = one(INTEGERS, INTEGERS, *FORMATS)
    whole = formats is INTEGERS
    units: tuple[Any, ...] = ()
    if rng.random() < 0.75:
        sides = one("rows", "columns", "both")
        units = (gemm_unit(("qk", "pv"), sides, sides == "both" and rng.random() < 0.6, int(rng.integers(1, 4)),
                           "absolute" if whole else one("absolute", "relative")),)
    limits = {"gemm": 1.0}
    with_policies(list(units), limits, np.random.default_rng([seed, 1]))
    machine = plain_machine(
        int(rng.integers(1, 9)), units, rows=int(rng.integers(1, 6)), cols=int(rng.integers(1, 6)),
        dataflow=one("os", "ws", "is"), vector_lanes=int(rng.integers(1, 5)), formats=formats,
        subnormals="keep" if whole else one("keep", "flush"))
    m, n = int(rng.integers(1, 11)), int(rng.integers(1, 11))
    limit = float(rng.integers(3)) if whole else float(10.0 ** rng.uniform(-3, 0.5))
    if "gemm.small" in limits:
        limits["gemm.small"] = np.floor(limit / 2) if whole else float(np.float32(limit * limits["gemm.small"]))
    return machine, plain_job(machine, m, n, rng, limit, {k: float(x) for k, x in limits.items() if k != "gemm"})
