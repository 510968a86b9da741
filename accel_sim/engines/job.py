"""What an engine is asked to run: one head's operands on one machine, with its thresholds and stalls."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.arithmetic import div


@dataclass(frozen=True)
class Job:
    """One attention head, ready for any engine.

    q (Nq, d), k and v (N, d): float64 values of the operand format. bound (Nq,) int64: last key that each
    query may attend to. scale: 1/√d in the score format. threshold, scan_threshold: checker format (NaN
    compares as an alarm, so an unset threshold cannot pass silently). kv_stall (blocks · tiles,) and
    swap_stall (blocks + 1,) int64: cycles the pipeline is held before a key tile and before a swap.
    """

    q: np.ndarray
    k: np.ndarray
    v: np.ndarray
    bound: np.ndarray
    scale: float
    threshold: float = float("nan")
    scan_threshold: float = float("nan")
    kv_stall: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    swap_stall: np.ndarray = field(default_factory=lambda: np.zeros(1, dtype=np.int64))

    @property
    def shape(self) -> tuple[int, int, int]:
        """(Nq, N, d)."""
        return self.q.shape[0], self.k.shape[0], self.q.shape[1]

    def with_threshold(self, threshold: float, scan_threshold: float) -> Job:
        """The same job under other thresholds."""
        return replace(self, threshold=threshold, scan_threshold=scan_threshold)

    def with_stalls(self, kv_stall: np.ndarray, swap_stall: np.ndarray) -> Job:
        """The same job on a memory that makes the machine wait."""
        return replace(self, kv_stall=kv_stall, swap_stall=swap_stall)


def make_job(machine: LanesMachine, q: np.ndarray, k: np.ndarray, v: np.ndarray,
             bound: np.ndarray | None = None) -> Job:
    """A job on operands that are already values of the machine's operand format, without stalls.

    Raises ValueError if the shapes do not fit one another or the machine.
    """
    n_queries, d = q.shape
    n_keys = k.shape[0]
    if d != machine.head_dim or k.shape != (n_keys, d) or v.shape != (n_keys, d) or not n_queries or not n_keys:
        raise ValueError(f"q {q.shape}, k {k.shape}, v {v.shape} do not fit head_dim {machine.head_dim}")
    if bound is None:
        bound = np.full(n_queries, n_keys - 1, dtype=np.int64)
    score = machine.formats["score"].rounding(machine.subnormals)
    blocks, tiles = -(-n_queries // machine.lanes), -(-n_keys // machine.key_tile)
    return Job(
        q=np.ascontiguousarray(q, dtype=np.float64),
        k=np.ascontiguousarray(k, dtype=np.float64),
        v=np.ascontiguousarray(v, dtype=np.float64),
        bound=np.ascontiguousarray(bound, dtype=np.int64),
        scale=float(div(1.0, float(np.sqrt(np.float64(d))), score)),
        kv_stall=np.zeros(blocks * tiles, dtype=np.int64),
        swap_stall=np.zeros(blocks + 1, dtype=np.int64),
    )
