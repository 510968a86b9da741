"""Random gemm machines, heads and faults for the tests."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

from accel_sim.config.gemm import GemmArchitecture
from accel_sim.config.memory import Memory
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
                                  faults=SimpleNamespace(register_format=None), memory=Memory())
    return GemmMachine(config)


def threshold_of(kind: str, frequent: int = 2) -> Any:
    """What a unit says about its threshold; of a statistical one, how many deviations are frequent."""
    return SimpleNamespace(kind=kind, frequent=frequent)


def gemm_unit(products: tuple[str, ...] = ("qk", "pv"), sides: str = "rows", correct: bool = False, columns: int = 2,
              threshold: str = "absolute", frequent: int = 2) -> Any:
    """A Huang-Abraham unit."""
    return SimpleNamespace(kind="gemm", products=products, sides=sides, correct=correct, columns=columns,
                           threshold=threshold_of(threshold, frequent))


def fused_unit(granularity: str = "head", threshold: str = "absolute", columns: int = 2, frequent: int = 2) -> Any:
    """A fused output check."""
    return SimpleNamespace(kind="fused_output", granularity=granularity, columns=columns,
                           threshold=threshold_of(threshold, frequent))


def rowsum_unit(columns: int = 2, threshold: str = "absolute", frequent: int = 2) -> Any:
    """The row sums of the scores."""
    return SimpleNamespace(kind="score_rowsum", columns=columns, threshold=threshold_of(threshold, frequent))


def softmax_unit(which: tuple[str, ...] = ("sum", "max", "mask", "score"), threshold: str = "absolute",
                 frequent: int = 2) -> Any:
    """The invariants of the softmax."""
    return SimpleNamespace(kind="softmax_invariants", which=which, threshold=threshold_of(threshold, frequent))


def operands(rng: np.random.Generator, shape: tuple[int, int], machine: GemmMachine, spread: float = 1.0) -> np.ndarray:
    """Random values of the operand format."""
    values = rng.normal(size=shape) * spread
    rounded = np.empty(values.size)
    mul_vs(rounded, values.reshape(-1), 1.0, machine.formats["operand"].rounding(machine.subnormals), 0.0)
    return rounded.reshape(shape)


def job_for(machine: GemmMachine, n_queries: int, n_keys: int, rng: np.random.Generator, limits: dict[str, float]
            | None = None, causal: bool = False, window: int = 0) -> Job:
    """A head of random operands. window: keys that a query may see, up to its own; 0 for all of them."""
    d = machine.head_dim
    bound = np.full(n_queries, n_keys - 1)
    if causal:
        bound = np.minimum(bound, np.arange(n_queries) + max(0, n_keys - n_queries))
    first = np.maximum(0, bound - window + 1) if window else np.zeros(n_queries)
    scale = float(div(1.0, float(np.sqrt(np.float64(d))), machine.formats["score"].rounding(machine.subnormals)))
    q, k, v = (operands(rng, (n, d), machine) for n in (n_queries, n_keys, n_keys))
    return Job(q=q, k=k, v=v, bound=bound.astype(np.int64), first=first.astype(np.int64), scale=scale,
               limits=limits or {})


def with_policies(units: list[Any], limits: dict[str, float], rng: np.random.Generator) -> None:
    """Make some thresholds statistical, and give them their limits."""
    for unit in units:
        if rng.random() < 0.5 and not getattr(unit, "correct", False):
            unit.threshold = threshold_of("statistical", int(rng.integers(1, 5)))
            limits |= {f"{unit.kind}.small": float(np.float32(limits[unit.kind] * 10.0 ** rng.uniform(-2, 0))),
                       f"{unit.kind}.frequent": float(unit.threshold.frequent)}


def watch_more(units: list[Any], flow: str, limits: dict[str, float], rng: np.random.Generator) -> None:
    """Some of the units that watch scores and softmax, where nothing forms the same sums already."""
    gemm = next((unit for unit in units if unit.kind == "gemm"), None)
    sides = ("columns", "both") if flow == "is" else ("rows", "both")
    if rng.random() < 0.5 and not (gemm is not None and "qk" in gemm.products and gemm.sides in sides):
        units.insert(int(rng.integers(len(units) + 1)), rowsum_unit(int(rng.integers(1, 4)),
                                                                    ("absolute", "relative")[rng.integers(2)]))
    if rng.random() < 0.6:
        every = ("sum", "max", "mask", "score")
        units.append(softmax_unit(tuple(name for name in every if rng.random() < 0.6) or every))
    limits["score_rowsum"] = float(10.0 ** rng.uniform(-3, 0.5))
    limits["softmax_invariants"] = float(10.0 ** rng.uniform(-9, 0))


def random_case(seed: int, units: bool = True) -> tuple[GemmMachine, Job]:
    """A machine over every option it has, and a head for it."""
    rng, more = np.random.default_rng(seed), np.random.default_rng([seed, 1])

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
    options: dict[str, Any] = {
        "rows": int(rng.integers(1, 6)), "cols": int(rng.integers(1, 6)), "dataflow": one("os", "ws", "is"),
        "head_dim": int(rng.integers(1, 7)), "vector_lanes": int(rng.integers(1, 5)), "formats": formats,
        "subnormals": one("keep", "flush"), "exp": "exact" if exact or rng.random() < 0.5 else "pwl",
        "divide": "exact" if exact or rng.random() < 0.5 else "reciprocal_pwl",
    }
    limits = {"gemm": float(10.0 ** rng.uniform(-3, 0.5)), "fused_output": float(10.0 ** rng.uniform(-3, 0.5))}
    watch_more(found, options["dataflow"], limits, more) if units else None
    with_policies(found, limits, more)
    window = int(more.integers(1, 5)) if more.random() < 0.4 else 0
    if rng.random() < 0.1:
        limits = {}
    machine = machine_with(tuple(found), sliding_window=bool(window) or more.random() < 0.2, **options)
    n_queries, n_keys = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    return machine, job_for(machine, n_queries, n_keys, rng, limits, rng.random() < 0.4 or window > 0, window)


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
