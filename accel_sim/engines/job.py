"""What an engine is asked to run: one head's operands on one machine, with its thresholds and stalls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from accel_sim.engines.result import Policy
from accel_sim.machines.machine import Machine
from accel_sim.numerics.arithmetic import div


@dataclass(frozen=True)
class Job:
    """One attention head, ready for any engine.

    q (Nq, d), k and v (N, d): float64 values of the operand format; v is empty, (N, 0), for a plain product. bound
    (Nq,) int64: last key that each query may attend to, −1 for none; first (Nq,) int64: the first one, 0 without a
    sliding window. scale: 1/√d in the score format. limits: threshold of each check unit by its kind, in the checker
    format; that of a unit's scans under `KIND.scan`; of a statistical threshold the small limit under `KIND.small` and
    the count under `KIND.frequent` (a missing limit is NaN and compares as an alarm, so that an unset one cannot pass
    silently). stalls: cycles that the memory holds the machine at each of its points of one kind, int64 arrays as long
    as `Machine.stall_points` says.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    bound: np.ndarray
    first: np.ndarray
    scale: float
    limits: Mapping[str, float] = field(default_factory=dict)
    stalls: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Nq, N, d)."""
        return self.q.shape[0], self.k.shape[0], self.q.shape[1]

    def limit(self, unit: str) -> float:
        """Threshold of a check unit, NaN if none is set."""
        return self.limits.get(unit, float("nan"))

    def policy(self, unit: str) -> Policy:
        """The policy of a check unit with a statistical threshold; (NaN, 0) of any other."""
        return self.limit(f"{unit}.small"), int(self.limits.get(f"{unit}.frequent", 0))

    @property
    def threshold(self) -> float:
        """Threshold of the fused output check."""
        return self.limit("fused_output")

    @property
    def scan_threshold(self) -> float:
        """Threshold of its comparisons inside a query block."""
        return self.limit("fused_output.scan")

    def with_limits(self, limits: Mapping[str, float]) -> Job:
        """The same job under other thresholds."""
        return replace(self, limits=dict(limits))

    def with_threshold(self, threshold: float, scan_threshold: float) -> Job:
        """The same job under other thresholds of the fused output check."""
        return self.with_limits({"fused_output": threshold, "fused_output.scan": scan_threshold})

    @property
    def kv_stall(self) -> np.ndarray:
        """(blocks · tiles,): cycles a lanes machine is held before each key tile."""
        return self.stalls["kv"]

    @property
    def swap_stall(self) -> np.ndarray:
        """(blocks + 1,): cycles a lanes machine is held before each swap."""
        return self.stalls["swap"]

    def with_stalls(self, **stalls: np.ndarray) -> Job:
        """The same job on a memory that makes the machine wait."""
        return replace(self, stalls=stalls)


def make_job(machine: Machine, q: np.ndarray, k: np.ndarray, v: np.ndarray,
             bound: np.ndarray | None = None, first: np.ndarray | None = None) -> Job:
    """A job on operands that are already values of the machine's operand format, without stalls.

    Raises ValueError if the shapes do not fit one another or the machine.
    """
    n_queries, d = q.shape
    n_keys = k.shape[0]
    of_v = (n_keys, 0 if machine.plain else d)
    if d != machine.head_dim or k.shape != (n_keys, d) or v.shape != of_v or not n_queries or not n_keys:
        raise ValueError(f"q {q.shape}, k {k.shape}, v {v.shape} do not fit head_dim {machine.head_dim}")
    if bound is None:
        bound = np.full(n_queries, n_keys - 1, dtype=np.int64)
    if first is None:
        first = np.zeros(n_queries, dtype=np.int64)
    score = machine.formats["score"].rounding(machine.subnormals)
    return Job(
        q=np.ascontiguousarray(q, dtype=np.float64),
        k=np.ascontiguousarray(k, dtype=np.float64),
        v=np.ascontiguousarray(v, dtype=np.float64),
        bound=np.ascontiguousarray(bound, dtype=np.int64),
        first=np.ascontiguousarray(first, dtype=np.int64),
        scale=float(div(1.0, float(np.sqrt(np.float64(d))), score)),
        stalls={name: np.zeros(n, dtype=np.int64) for name, n in machine.stall_points(n_queries, n_keys).items()},
    )
