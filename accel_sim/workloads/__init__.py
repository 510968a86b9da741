"""Workloads: the tensors that attention is computed on, from captured models, generators and files.

`load_workload(config)` gives a `Workload`; `workload.tensors(head)` the rounded q, k and v of one of its
heads, and `workload.bounds()` the last key that each query may see.
"""

from __future__ import annotations

from accel_sim.workloads.load import load_workload
from accel_sim.workloads.workload import HeadId, Mask, Tensors, TensorSource, Workload, rounded

__all__ = ["HeadId", "Mask", "TensorSource", "Tensors", "Workload", "load_workload", "rounded"]
