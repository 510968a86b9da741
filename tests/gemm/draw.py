"""Random gemm machines, heads and faults for the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from accel_sim.config.gemm import GemmArchitecture
from accel_sim.engines.job import Job
from accel_sim.faults.fault import Fault
from accel_sim.machines.gemm import GemmMachine
from accel_sim.numerics.arithmetic import div, mul_vs

FORMATS = (
    {}, {"operand": "fp16", "score": "fp16", "exp": "fp16", "state": "fp16", "checker": "fp32"},
    {"operand": "bf16", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16"},
    {"operand": "fp8_e4m3", "output": "bf16"}, {"operand": "fp8_e5m2"}, {"operand": "fp32"},
    {"operand": "bf16", "score": "fp64", "exp": "fp64", "state": "fp64", "output": "fp64", "checker": "fp64"},
    {"operand": "fp64", "score": "fp64", "exp": "fp64", "state": "fp64", "output": "fp64", "checker": "fp64"},
)  # fmt: skip
"""Sets of formats, over all that the machine has."""


def machine_with(units: tuple[Any, ...] = (), **options: Any) -> GemmMachine:
    """A machine with these options of its architecture."""
    sizes = {"rows": 3, "cols": 4, "head_dim": 5, "vector_lanes": 3, "max_keys": 64, "max_queries": 64}
    architecture = GemmArchitecture.model_validate({**sizes, **options})
    config: Any = SimpleNamespace(architecture=architecture, checker=SimpleNamespace(units=units),
                                  faults=SimpleNamespace(register_format=None))
    return GemmMachine(config)


def gemm_unit(products: tuple[str, ...] = ("qk", "pv"), sides: str = "rows", correct: bool = False, columns: int = 2,
              threshold: str = "absolute") -> Any:
    """A Huang-Abraham unit."""
    return SimpleNamespace(kind="gemm", products=products, sides=sides, correct=correct, columns=columns,
                           threshold=SimpleNamespace(kind=threshold))


def fused_unit(granularity: str = "head", threshold: str = "absolute", columns: int = 2) -> Any:
    """A fused output check."""
    return SimpleNamespace(kind="fused_output", granularity=granularity, columns=columns,
                           threshold=SimpleNamespace(kind=threshold))


def operands(rng: np.random.Generator, shape: tuple[int, int], machine: GemmMachine, spread: float = 1.0) -> np.ndarray:
    """Random values of the operand format."""
    values = rng.normal(size=shape) * spread
    rounded = np.empty(values.size)
    mul_vs(rounded, values.reshape(-1), 1.0, machine.formats["operand"].rounding(machine.subnormals), 0.0)
    return rounded.reshape(shape)


def job_for(machine: GemmMachine, n_queries: int, n_keys: int, rng: np.random.Generator, limits: dict[str, float]
            | None = None, causal: bool = False) -> Job:
    """A head of random operands."""
    d = machine.head_dim
    bound = np.full(n_queries, n_keys - 1)
    if causal:
        bound = np.minimum(bound, np.arange(n_queries) + max(0, n_keys - n_queries))
    scale = float(div(1.0, float(np.sqrt(np.float64(d))), machine.formats["score"].rounding(machine.subnormals)))
    q, k, v = (operands(rng, (n, d), machine) for n in (n_queries, n_keys, n_keys))
    return Job(q=q, k=k, v=v, bound=bound.astype(np.int64), first=np.zeros(len(bound), np.int64), scale=scale, limits=limits or {})


def random_case(seed: int, units: bool = True) -> tuple[GemmMachine, Job]:
    """A machine over every option it has, and a head for it."""
    rng = np.random.default_rng(seed)

    def one(*choices: Any) -> Any:
        return choices[rng.integers(len(choices))]

    formats = one(*FORMATS)
    exact = formats.get("score") == "fp64"
    found: list[Any] = []
    if units and rng.random() < 0.8:
        sides = one("rows", "columns", "both")
        products = one(("qk",), ("pv",), ("qk", "pv"))
        found.append(gemm_unit(products, sides, sides == "both" and rng.random() < 0.6, int(rng.integers(1, 4)),
                               one("absolute", "relative")))
    if units and rng.random() < 0.6:
        found.append(fused_unit(one("head", "query_block"), one("absolute", "relative"), int(rng.integers(1, 4))))
    machine = machine_with(
        tuple(found), rows=int(rng.integers(1, 6)), cols=int(rng.integers(1, 6)), dataflow=one("os", "ws", "is"),
        head_dim=int(rng.integers(1, 7)), vector_lanes=int(rng.integers(1, 5)), formats=formats,
        subnormals=one("keep", "flush"), exp="exact" if exact or rng.random() < 0.5 else "pwl",
        divide="exact" if exact or rng.random() < 0.5 else "reciprocal_pwl",
    )
    limits = {"gemm": float(10.0 ** rng.uniform(-3, 0.5)), "fused_output": float(10.0 ** rng.uniform(-3, 0.5))}
    if rng.random() < 0.1:
        limits = {}
    return machine, job_for(machine, int(rng.integers(1, 9)), int(rng.integers(1, 9)), rng, limits, rng.random() < 0.4)


def random_fault(rng: np.random.Generator, machine: GemmMachine, cycles: int, long: bool = True) -> Fault:
    """A fault of any kind, in any register, any bit, any cycle."""
    registers = list(machine.inventory)
    register = registers[rng.integers(len(registers))]
    index = tuple(int(rng.integers(n)) for n in register.shape)
    width = register.width_bits
    kind = ("flip", "burst", "stuck0", "stuck1")[rng.integers(4)]
    bits = int(rng.integers(1, width + 1)) if kind == "burst" else 1
    duration = int(rng.integers(1, 30 if long else 2)) if kind.startswith("stuck") else 1
    return Fault(int(rng.integers(cycles)), register.name, index, int(rng.integers(width - bits + 1)), kind, bits,
                 duration)
