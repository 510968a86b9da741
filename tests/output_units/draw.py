"""Small heads with units on the output buffer, and the records of faults in them by both engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.injector import SteppedInjector
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import Draw
from accel_sim.config import Config, config_from_dict

FUSED = {"kind": "fused_output", "threshold": {"kind": "absolute", "value": 1e-3}}
RANGE = {"kind": "invariants"}


def config_with(*units: Any, lanes: int = 2, head_dim: int = 3, queries: int = 5, keys: int = 6, formats: str = "",
                **more: Any) -> Config:
    """A lanes machine of that size on a gaussian head. formats: one name for every role, or the default ones."""
    architecture: dict[str, Any] = {"kind": "lanes", "lanes": lanes, "head_dim": head_dim, "key_tile": 4, "max_keys": 16,
                                    "max_queries": 16}
    if formats:
        roles = ("operand", "score", "exp", "state", "output", "checker")
        architecture["formats"] = dict.fromkeys(roles, formats)
    workload = {"kind": "gaussian", "queries": queries, "keys": keys, **more.pop("workload", {})}
    return config_from_dict({"architecture": {**architecture, **more.pop("architecture", {})},
                             "checker": {"units": list(units)}, "workload": workload, **more})


ARRAYS: dict[str, dict[str, Any]] = {
    **{flow: {"kind": "gemm", "rows": 3, "cols": 2, "dataflow": flow, "head_dim": 4, "vector_lanes": 2}
       for flow in ("os", "ws", "is")},
    "fused": {"kind": "fused", "head_dim": 4, "exp_pieces": 4, "reciprocal_cycles": 3},
}
"""Small machines with arrays of PEs."""


def array_with(name: str, *units: Any, queries: int = 5, keys: int = 6, **more: Any) -> Assembly:
    """One of `ARRAYS` with check units, on a gaussian head."""
    workload = {"kind": "gaussian", "queries": queries, "keys": keys}
    architecture = {**ARRAYS[name], "max_keys": 16, "max_queries": 16}
    return assemble(config_from_dict({"architecture": architecture, "checker": {"units": list(units)},
                                      "workload": workload, **more}), measure=False)


class Points:
    """Strikes the points that it is told to, in turn. kinds: into `accel_sim.faults.fault.KINDS`."""

    limit: ClassVar[int | None] = None

    def __init__(self, index: np.ndarray, kinds: np.ndarray | None = None) -> None:
        self.index = np.asarray(index, dtype=np.int64)
        self.kinds = np.zeros(len(self.index), dtype=np.int64) if kinds is None else kinds

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1."""
        here = slice(first, first + count)
        return Draw(self.index[here], self.kinds[here], np.ones(len(self.index[here])))


def assert_same_records(assembly: Assembly, index: np.ndarray, kinds: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """The stepped and the replay injector give these points the same records, bit for bit; returns them."""
    n = len(index)
    stepped = SteppedInjector(assembly, Points(index, kinds)).records(0, n)
    replayed = ReplayInjector(assembly, Points(index, kinds)).records(0, n)
    for name, column in stepped.items():
        a, b = column, replayed[name]
        same = (a == b) | (np.isnan(a) & np.isnan(b)) if a.dtype.kind == "f" else a == b
        if not same.all():
            i = int(np.flatnonzero(~same)[0])
            register = assembly.universe.registers[int(stepped["register"][i])].name
            raise AssertionError(f"{name}: stepped {a[i]}, replay {b[i]}; {register}[{stepped['element'][i]}] bit "
                                 f"{stepped['bit'][i]} cycle {stepped['cycle'][i]} kind {stepped['kind'][i]}")
    return stepped


def points_of(assembly: Assembly, components: Sequence[str] | None = None, from_cycle: int = 0) -> np.ndarray:
    """Index of every point of the universe in some components (None: all), from a cycle on."""
    universe = assembly.universe
    index = np.arange(universe.size, dtype=np.int64)
    points = universe.points(index)
    chosen = points.cycle >= from_cycle
    if components is not None:
        of = np.array([r.component in components for r in universe.registers])
        chosen &= of[points.register]
    return index[chosen]


def assembled(*units: Any, **options: Any) -> Assembly:
    """An assembled `config_with`."""
    return assemble(config_with(*units, **options), measure=False)
