"""Random fused machines, heads and faults."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from accel_sim.config.checker import (
    AbsoluteThreshold,
    FusedOutputUnit,
    RelativeThreshold,
    ScoreRowsumUnit,
    SoftmaxInvariantsUnit,
    StatisticalThreshold,
)
from accel_sim.config.faults import Faults
from accel_sim.config.fused import FusedArchitecture, FusedFormats
from accel_sim.config.memory import Memory
from accel_sim.engines.job import Job
from accel_sim.engines.replay.types import FALL_BACK, Outcomes
from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import relative_l2, severity
from accel_sim.machines.counting import frequent_of
from accel_sim.machines.fused import FusedMachine
from accel_sim.numerics.arithmetic import mul_vs


@dataclass(frozen=True)
class Head(Job):
    """A job whose limits are changed one by one. The machine has a scale of its own."""

    scale: float = 0.0

    def with_limit(self, value: float, unit: str = "fused_output") -> Head:
        return replace(self, limits={**self.limits, unit: value})

    def with_policy(self, small: float, frequent: int, unit: str = "fused_output") -> Head:
        return replace(self, limits={**self.limits, f"{unit}.small": small, f"{unit}.frequent": float(frequent)})


def machine(size: int, columns: int = 1, granularity: str = "head", relative: bool = False, frequent: int = 0,
            watch: tuple[str, ...] = (), watch_frequent: int = 0, rowsum: Any = None,
            **architecture: Any) -> FusedMachine:
    """A machine; columns 0 is without the output's check unit, watch () without the softmax's. frequent,
    watch_frequent: of statistical thresholds, 0 for others. rowsum: threshold of the row sums of the scores."""
    units: list[Any] = []
    if columns:
        threshold: Any = RelativeThreshold(value=1.0) if relative else AbsoluteThreshold(value=1.0)
        if frequent:
            threshold = StatisticalThreshold(frequent=frequent)
        units.append(FusedOutputUnit(granularity=granularity, columns=columns, threshold=threshold))
    if watch:
        own: Any = StatisticalThreshold(frequent=watch_frequent) if watch_frequent else AbsoluteThreshold(value=1.0)
        units.append(SoftmaxInvariantsUnit(which=watch, threshold=own))
    if rowsum is not None:
        units.insert(0, ScoreRowsumUnit(threshold=rowsum))
    config = SimpleNamespace(architecture=FusedArchitecture(head_dim=size, **architecture),
                             checker=SimpleNamespace(units=tuple(units)), faults=Faults(), memory=Memory())
    return FusedMachine(config)


def rounded(values: np.ndarray, m: FusedMachine) -> np.ndarray:
    flat = np.ascontiguousarray(values, dtype=np.float64).reshape(-1)
    out = np.empty_like(flat)
    mul_vs(out, flat, 1.0, m.formats["operand"].rounding(), 0.0)
    return out.reshape(values.shape)


def head(m: FusedMachine, n_queries: int, n_keys: int, seed: int = 0, causal: bool = False, limit: float = 1.0,
         window: int = 0) -> Head:
    rng = np.random.default_rng(seed)
    q, k, v = (rounded(rng.standard_normal((rows, m.size)), m) for rows in (n_queries, n_keys, n_keys))
    bound = np.minimum(np.arange(n_queries) if causal else n_keys - 1, n_keys - 1) + np.zeros(n_queries, dtype=np.int64)
    first = np.maximum(0, bound - window + 1) if window else np.zeros(n_queries)
    made = Head(q, k, v, bound.astype(np.int64), first.astype(np.int64)).with_limit(limit)
    for unit in m.units:
        made = made.with_limit(limit, unit.kind)
    return made


SUMS = {"fp32": ["fp32"], "fp16": ["fp16", "fp32"], "bf16": ["bf16", "fp32"], "fp8_e5m2": ["fp16", "bf16", "fp32"]}


def random_machine(rng: np.random.Generator, most: int = 9) -> FusedMachine:
    operand = str(rng.choice(list(SUMS)))
    total = str(rng.choice(SUMS[operand]))
    checker = "fp64" if rng.random() < 0.25 else "fp32"
    return machine(
        int(rng.integers(4, most + 1)), int(rng.integers(0, 4)), str(rng.choice(["head", "query_block"])),
        bool(rng.random() < 0.25), formats=FusedFormats(operand=operand, sum=total, checker=checker),
        exp_pieces=int(rng.choice([2, 4, 8, 16])), subnormals=str(rng.choice(["keep", "flush"])),
        reciprocal_cycles=int(rng.integers(1, 10)),
    )


SOFTMAX = ("sum", "max", "score")


def random_watched_machine(rng: np.random.Generator, most: int = 9) -> FusedMachine:
    """The same with windows, statistical thresholds and the units that only look, each as often as not."""
    drawn = random_machine(rng, most)
    a, check = drawn.config.architecture, drawn.check
    watch = tuple(name for name in SOFTMAX if rng.random() < 0.5)
    return machine(
        drawn.size, drawn.columns, check.granularity if check else "head",
        frequent=int(rng.choice([0, 0, 1, 2])), watch=watch, watch_frequent=int(rng.choice([0, 0, 1, 3])),
        formats=a.formats, exp_pieces=a.exp_pieces, subnormals=a.subnormals, reciprocal_cycles=a.reciprocal_cycles,
        sliding_window=bool(rng.random() < 0.5), rowsum=random_threshold(rng) if rng.random() < 0.5 else None,
    )


def random_threshold(rng: np.random.Generator) -> Any:
    if rng.random() < 0.3:
        return StatisticalThreshold(frequent=int(rng.integers(1, 4)))
    return RelativeThreshold(value=1.0) if rng.random() < 0.5 else AbsoluteThreshold(value=1.0)


def with_random_limits(m: FusedMachine, job: Head, rng: np.random.Generator) -> Head:
    """Limits of all units, some small enough for a fault-free run to deviate."""
    for unit in m.units:
        limit = float(rng.choice([1e-6, 1e-2, 0.5, 1e9]))
        job = job.with_limit(limit, unit.kind)
        if frequent_of(unit):
            job = job.with_policy(limit * float(rng.choice([1e-6, 0.1])), unit.threshold.frequent, unit.kind)
    return job


def random_head(m: FusedMachine, rng: np.random.Generator) -> Head:
    """Ragged, masked, sometimes with values out of the ordinary."""
    n_queries, n_keys = int(rng.integers(1, 3 * m.size)), int(rng.integers(1, 4 * m.size))
    made = head(m, n_queries, n_keys, int(rng.integers(1 << 30)), limit=float(rng.choice([1e-6, 1e-2, 0.5, 1e9])))
    if rng.random() < 0.5:
        made.bound[:] = rng.integers(-1, n_keys, n_queries)
    if m.window and rng.random() < 0.8:
        made.first[:] = rng.integers(0, np.maximum(made.bound, 0) + 1)
    if rng.random() < 0.3:
        made.k[:] = rounded(made.k * 30, m)
    if rng.random() < 0.2:
        made.v[int(rng.integers(n_keys)), 0] = np.inf
    if rng.random() < 0.2:
        made.k[int(rng.integers(n_keys)), 0] = -np.inf
    if rng.random() < 0.1:
        made.q[int(rng.integers(n_queries)), 0] = np.nan
    return made


def random_fault(m: FusedMachine, cycles: int, rng: np.random.Generator, register: str | None = None) -> Fault:
    name = register or str(rng.choice([r.name for r in m.inventory]))
    r = m.inventory[name]
    bit, kind = int(rng.integers(r.width_bits)), str(rng.choice(["flip", "flip", "burst", "stuck0", "stuck1"]))
    bits = min(2, r.width_bits - bit) if kind == "burst" else 1
    index = tuple(int(rng.integers(n)) for n in r.shape)
    return Fault(int(rng.integers(cycles)), name, index, bit, kind, bits)


def fault_arguments(m: FusedMachine, faults: list[Fault]) -> tuple[np.ndarray, ...]:
    """The arguments of `outcomes`."""
    registers = [m.inventory[f.register] for f in faults]
    return (
        np.array([m.inventory.slot(f.register, f.index) for f in faults], np.int64),
        np.array([f.cycle for f in faults], np.int64), np.array([f.end - 1 for f in faults], np.int64),
        np.array([{"stuck0": 1, "stuck1": 2}.get(f.kind, 0) for f in faults], np.int64),
        np.array([f.mask for f in faults], np.uint64),
        np.array([r.format.codec for r in registers], np.int64),
        np.array([r.stored.codec for r in registers], np.int64),
    )


def as_told(m: FusedMachine, golden: RunResult, result: RunResult) -> tuple[Any, ...]:
    """What a record says of a run."""
    harm = severity(golden.output, result.output, m.formats["output"].codec)
    bits = np.array([harm.rel_l2, harm.max_abs, *result.told]).view(np.int64).tolist()
    return harm.rows, harm.max_ulp, harm.nonfinite, -1 if result.alarm_cycle is None else result.alarm_cycle, bits


def as_replayed(out: Outcomes, i: int, golden_square: float) -> tuple[Any, ...]:
    """The same of a replayed fault."""
    lost = int(out.nonfinite[i])
    values = [float(relative_l2(out.square[i], lost, golden_square)), np.inf if lost else out.max_abs[i],
              out.residual[i], out.limit[i]]
    return (int(out.rows[i]), int(out.max_ulp[i]), lost, int(out.alarm_cycle[i]),
            np.array(values, dtype=np.float64).view(np.int64).tolist())


def falls_back(out: Outcomes, i: int) -> bool:
    return bool(out.status[i] == FALL_BACK)
