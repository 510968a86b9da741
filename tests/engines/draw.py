"""Random machines and heads for the tests of the engines, and short ways to ask for particular ones.

Everything is a function of a seed. `random_case` draws over every option that the machine has; `machine_with` and
`case_with` build one on purpose.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from accel_sim.config import config_from_dict
from accel_sim.engines.job import Job, make_job
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import FORMATS, Format
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import round_to

ROLES = ("operand", "score", "exp", "state", "output", "checker")
SHARES = (
    {}, {"sum": False}, {"exp": False}, {"exp": False, "sum": False},
    {"max": False, "exp": False}, {"max": False, "exp": False, "sum": False},
    {"score": False, "max": False, "exp": False}, {"score": False, "max": False, "exp": False, "sum": False},
)  # fmt: skip
"""Every allowed set of signals that a check unit computes for itself."""

Rng = np.random.Generator


@dataclass(frozen=True)
class Case:
    """A machine with a head to run on it."""

    machine: LanesMachine
    job: Job

    @property
    def engine(self) -> SteppedEngine:
        """A fresh stepped engine."""
        return SteppedEngine(self.machine, self.job)

    def without_stalls(self) -> Case:
        """The same on a memory that never makes the machine wait."""
        return replace(self, job=self.job.with_stalls(kv=0 * self.job.kv_stall, swap=0 * self.job.swap_stall))


@dataclass(frozen=True)
class Trace:
    """A stepped run and the whole machine in each of its cycles.

    cycles: clock cycles in which the machine moved. states: (moves, slots), at the start of each.
    """

    machine: LanesMachine
    cycles: list[int]
    states: np.ndarray
    result: RunResult

    def column(self, name: str, *index: int) -> np.ndarray:
        """One register element over the run."""
        return self.states[:, self.machine.inventory.slot(name, index)]

    def array(self, name: str) -> np.ndarray:
        """A whole register array over the run: (moves, *shape)."""
        register, first = self.machine.inventory[name], self.machine.inventory.offsets[name]
        return self.states[:, first:first + register.size].reshape(-1, *register.shape)


def trace(case: Case, faults: Sequence[Fault] = ()) -> Trace:
    """Run a case and keep everything."""
    cycles: list[int] = []
    states: list[np.ndarray] = []

    def watch(cycle: int, state: np.ndarray) -> None:
        cycles.append(cycle)
        states.append(state.copy())

    result = case.engine.run(faults, watch)
    return Trace(case.machine, cycles, np.array(states), result)


@kernel
def _round_all(x, r):
    for i in range(x.size):
        x[i] = round_to(x[i], r)


def rounded(x: np.ndarray, fmt: Format, subnormals: str = "keep") -> np.ndarray:
    """A copy of x, every element rounded to the format (values beyond it to its largest)."""
    copy = np.ascontiguousarray(np.clip(x, -fmt.max_finite, fmt.max_finite), dtype=np.float64).copy()
    _round_all(copy.reshape(-1), fmt.rounding(subnormals))
    return copy


def machine_with(
    lanes: int = 3,
    head_dim: int = 5,
    key_tile: int = 4,
    dot: str = "tree",
    exp: dict[str, Any] | str = "exact",
    divide: dict[str, Any] | str = "exact",
    formats: dict[str, str] | str | None = None,
    subnormals: str = "keep",
    check: bool = True,
    shares: dict[str, bool] | None = None,
    granularity: str = "head",
    threshold: dict[str, Any] | None = None,
    faults: dict[str, Any] | None = None,
    max_keys: int = 64,
    max_queries: int = 64,
    sliding_window: bool = False,
) -> LanesMachine:
    """A machine by its options; `formats` may be one name for every role. ValueError if they do not go together."""
    if isinstance(formats, str):
        formats = dict.fromkeys(ROLES, formats)
    unit = {
        "kind": "fused_output", "shares": shares or {}, "granularity": granularity,
        "threshold": threshold or {"kind": "absolute", "value": 1e-3},
    }  # fmt: skip
    config = config_from_dict({
        "architecture": {
            "kind": "lanes", "lanes": lanes, "head_dim": head_dim, "key_tile": key_tile, "dot": dot, "exp": exp,
            "divide": divide, "formats": formats or {}, "subnormals": subnormals, "max_keys": max_keys,
            "max_queries": max_queries, "sliding_window": sliding_window,
        },
        "checker": {"units": [unit] if check else []},
        "faults": faults or {},
        "workload": {"kind": "gaussian", "queries": 1, "keys": 1},
    })  # fmt: skip
    return LanesMachine(config)


def gaussian_case(
    machine: LanesMachine, queries: int, keys: int, seed: int = 0, scale: float = 1.0, threshold: float = 1e-3,
    bound: np.ndarray | None = None,
) -> Case:  # fmt: skip
    """Normal Q, K and V, rounded to the operand format; both thresholds set (the scan's N times as large)."""
    rng = np.random.default_rng(seed)
    operand = machine.formats["operand"]
    shapes = [(rows, machine.head_dim) for rows in (queries, keys, keys)]
    tensors = [rounded(scale * rng.standard_normal(shape), operand) for shape in shapes]
    return Case(machine, with_threshold(machine, make_job(machine, *tensors, bound), threshold, threshold * keys))


def with_threshold(machine: LanesMachine, job: Job, limit: float, scan_limit: float) -> Job:
    """The job with limits that the checker format can hold."""
    small = limit / 16  # of a statistical threshold
    given = np.array([limit, scan_limit, small])
    limit, scan_limit, small = (float(x) for x in rounded(given, machine.formats["checker"]))
    limits = {"fused_output": limit, "fused_output.scan": scan_limit}
    if machine.statistical:
        limits |= {"fused_output.small": small, "fused_output.frequent": machine.check.threshold.frequent}
    return job.with_limits(limits)


def apart(rng: Rng) -> Rng:
    """A generator of its own, from which to draw what is not to change what else `rng` gives."""
    return np.random.default_rng(copy.deepcopy(rng).integers(1 << 62))


def random_machine(rng: Rng, attempts: int = 10_000, plain: bool = False, **fixed: Any) -> LanesMachine:
    """Any machine of up to 5 lanes and 11 dimensions; `fixed` options are as given. plain: one without a sliding window
    or a statistical threshold."""
    for _ in range(attempts):
        other = apart(rng)
        options: dict[str, Any] = {
            "lanes": int(rng.integers(1, 6)),
            "head_dim": int(rng.integers(1, 12)),
            "key_tile": int(2 ** rng.integers(0, 5)),
            "dot": str(rng.choice(["tree", "serial", "fused"])),
            "exp": _unit(rng, "pwl"),
            "divide": _unit(rng, "reciprocal_pwl"),
            "formats": random_formats(rng),
            "subnormals": str(rng.choice(["keep", "flush"])),
            "check": bool(rng.random() < 0.85),
            "shares": SHARES[int(rng.integers(len(SHARES)))],
            "granularity": str(rng.choice(["head", "query_block", "key_tile"])),
            "threshold": {"kind": str(rng.choice(["absolute", "relative"])), "value": 1e-3},
        }
        if not plain:
            options["sliding_window"] = bool(other.random() < 0.3)
            if other.random() < 0.3 and (options | fixed)["granularity"] != "key_tile":
                options["threshold"] = {"kind": "statistical", "frequent": int(other.integers(1, 6))}
        try:
            return machine_with(**(options | fixed))
        except ValueError:  # these options do not go together
            continue
    raise AssertionError("no machine has these options")


def observed_machine(rng: Rng, **fixed: Any) -> LanesMachine:
    """Any machine with score_rowsum, softmax_invariants or both among its check units."""
    machine = random_machine(rng, **fixed)
    units = [unit.model_dump() for unit in machine.config.checker.units]
    which = int(rng.integers(1, 4))
    if which & 1:
        units.append({"kind": "score_rowsum", "threshold": _threshold(rng, "absolute", "relative", "statistical")})
    if which & 2:
        names = [name for name in ("sum", "max", "mask", "score") if rng.random() < 0.7]
        units.append({"kind": "softmax_invariants", "which": names or ["max"],
                      "threshold": _threshold(rng, "absolute", "statistical")})  # fmt: skip
    order = [units[i] for i in rng.permutation(len(units))]
    return LanesMachine(machine.config.changed({"checker.units": order}))


def _threshold(rng: Rng, *kinds: str) -> dict[str, Any]:
    kind = str(rng.choice(kinds))
    if kind == "statistical":
        return {"kind": kind, "frequent": int(rng.integers(1, 5))}
    return {"kind": kind, "value": float(10 ** rng.uniform(-6, 0))}


def with_limits(machine: LanesMachine, job: Job, rng: Rng) -> Job:
    """The job with limits of every check unit that some clean heads exceed and others do not."""
    limits: dict[str, float] = {}
    for unit in machine.units:
        drawn = np.sort(10 ** rng.uniform(-8, 0.5, 2))
        small, large = (float(x) for x in rounded(drawn, machine.formats["checker"]))
        limits |= {unit.kind: large, f"{unit.kind}.scan": large}
        if unit.threshold.kind == "statistical":
            limits |= {f"{unit.kind}.small": small, f"{unit.kind}.frequent": float(unit.threshold.frequent)}
    return job.with_limits(limits)


def random_formats(rng: Rng, **fixed: str) -> dict[str, str]:
    """A format for every role, `fixed` ones as given; what is computed from fp64 is fp64."""
    names: dict[str, str] = {}
    for role in ROLES:
        wide = "fp64" in names.values()
        names[role] = fixed.get(role) or ("fp64" if wide else str(rng.choice(list(FORMATS))))
    return names


def _unit(rng: Rng, kind: str) -> dict[str, Any]:
    return {"kind": "exact"} if rng.random() < 0.5 else {"kind": kind, "pieces": int(2 ** rng.integers(1, 7))}


def random_job(machine: LanesMachine, rng: Rng, stalls: bool | None = None, queries: int = 13, keys: int = 39) -> Job:
    """Any head of up to so many queries and keys: sizes, spread, masks, thresholds and stalls are drawn."""
    queries, keys = int(rng.integers(1, queries + 1)), int(rng.integers(1, keys + 1))
    operand = machine.formats["operand"]
    tensors = [
        rounded(rng.standard_normal((rows, machine.head_dim)) * 10 ** rng.uniform(-2, 1), operand)
        for rows in (queries, keys, keys)
    ]
    bound = random_mask(rng, queries, keys)
    job = make_job(machine, *tensors, *random_window(apart(rng), bound) if machine.sliding_window else (bound,))
    job = with_threshold(machine, job, 10 ** rng.uniform(-8, 0), 10 ** rng.uniform(-8, 0))
    if rng.random() < 0.5 if stalls is None else stalls:
        held = rng.random(job.kv_stall.size) < 0.5
        job = job.with_stalls(kv=rng.integers(0, 4, held.size) * held, swap=rng.integers(0, 5, job.swap_stall.size))
    return job


def random_mask(rng: Rng, queries: int, keys: int) -> np.ndarray:
    """(queries,) last allowed keys: causal, padding, ragged, or (half of the time) no mask."""
    masks: list[Callable[[], np.ndarray]] = [
        lambda: np.minimum(keys - 1, np.arange(queries) + max(0, keys - queries)),
        lambda: np.full(queries, rng.integers(0, keys)),
        lambda: rng.integers(0, keys, queries),
    ]
    kind = int(rng.integers(2 * len(masks)))
    return masks[kind]() if kind < len(masks) else np.full(queries, keys - 1)


def random_window(rng: Rng, bound: np.ndarray, blind: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """(bound, first), both (queries,): a window of one width, any first keys, or none. blind: share of the queries that
    see no key, and give a row of NaN."""
    kind = int(rng.integers(3))
    width = rng.integers(1, 11, 1 if kind else len(bound))
    first = np.zeros_like(bound) if kind == 2 else np.maximum(0, bound + 1 - width)
    return np.where(rng.random(len(bound)) < blind, -1, bound), first


def random_case(rng: Rng, stalls: bool | None = None, **fixed: Any) -> Case:
    """Any machine with any head."""
    machine = random_machine(rng, **fixed)
    return Case(machine, random_job(machine, rng, stalls))


def random_fault(case: Case, cycles: int, rng: Rng) -> Fault:
    """Any fault of any kind in any register and cycle."""
    registers = case.machine.inventory.registers
    register = registers[int(rng.integers(len(registers)))]
    index = tuple(int(rng.integers(n)) for n in register.shape)
    kind = str(rng.choice(KINDS))
    bit = int(rng.integers(register.width_bits))
    bits = min(int(rng.integers(2, 5)), register.width_bits - bit) if kind == "burst" else 1
    duration = int(rng.integers(1, 30)) if kind.startswith("stuck") else 1
    return Fault(int(rng.integers(cycles)), register.name, index, bit, kind, bits, duration)
