"""Faults in counters, configuration, lane flags and tags: the run is told block by block, record for record as it
would have been run."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.injector import fault_at
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import Draw
from accel_sim.config import load_config
from accel_sim.engines.replay.control import KNOWN, replay_control
from accel_sim.faults.fault import KINDS
from engines.draw import observed_machine
from engines.test_replay import assert_same_records

UNITS = ["fused_output", "score_rowsum", "softmax_invariants"]
ABSOLUTE = {"kind": "absolute", "value": 2.0}
STATISTICAL = {"kind": "statistical", "samples": 2, "multiple": 2.0, "large": 8.0, "frequent": 3}
SMALL = {
    "architecture.head_dim": 2, "architecture.key_tile": 2, "architecture.max_keys": 8, "architecture.max_queries": 8,
    "workload.queries": 5, "workload.keys": 5,
    "architecture.formats": dict.fromkeys(("operand", "score", "exp", "state", "output"), "fp8_e5m2")
    | {"checker": "bf16"},
}  # fmt: skip
CASES = {
    "compared once": {"checker.units": [{"kind": kind, "threshold": ABSOLUTE} for kind in UNITS]},
    "compared after each block, small deviations counted": {
        "checker.units": [
            {"kind": "softmax_invariants", "which": ["sum", "max", "score"], "threshold": STATISTICAL},
            {"kind": "fused_output", "granularity": "query_block", "threshold": ABSOLUTE},
            {"kind": "score_rowsum", "threshold": STATISTICAL},
        ],
        "architecture.divide": {"kind": "reciprocal_pwl", "pieces": 4}, "architecture.subnormals": "flush",
    },
    "the output check alone": {"checker.units": [{"kind": "fused_output", "threshold": ABSOLUTE}]},
}  # fmt: skip


class PointsOf:
    """Draws what is in some registers: `count` points at random, or all, in order; flips only, or every kind."""

    limit = None

    def __init__(self, assembly: Assembly, registers: tuple[str, ...], rng: np.random.Generator, count: int = 0,
                 kinds: int = 1) -> None:
        universe = assembly.universe
        every = rng.integers(universe.size, size=200 * count) if count else np.arange(universe.size)
        chosen = np.array([register.name in registers for register in universe.registers])
        points = every[chosen[universe.points(every).register]]
        self.points = points[:count] if count else points
        self.kinds = rng.integers(kinds, size=len(self.points))

    def draw(self, first: int, count: int) -> Draw:
        """Faults first … first + count − 1."""
        points = self.points[first:first + count]
        return Draw(points, self.kinds[first:first + count], np.ones(len(points)))


def told_share(assembly: Assembly, sampler: PointsOf) -> float:
    """Share of some faults that need no run."""
    injector = ReplayInjector(assembly)
    engine, watchdog = injector.engine(0), injector.stepped(0).watchdog_cycles
    points = assembly.universe.points(sampler.points)
    faults = [fault_at(assembly, points, sampler.kinds, i) for i in range(len(sampler.points))]
    return float(np.mean([replay_control(engine, fault, watchdog) is not None for fault in faults]))


@pytest.mark.parametrize("case", CASES)
def test_records_are_those_of_the_stepped_engine_at_every_point_of_these_registers(case):
    assembly = assemble(load_config("tiny").changed(SMALL | CASES[case]), measure=False)
    sampler = PointsOf(assembly, KNOWN, np.random.default_rng(0))
    stepped = assert_same_records(assembly, len(sampler.points), sampler)
    assert len(np.unique(stepped["outcome"])) == 4
    assert told_share(assembly, sampler) > 0.5


def test_records_are_those_of_the_stepped_engine_on_any_machine():
    """A memory that is never late, and limits that clean heads keep."""
    rng = np.random.default_rng(4)
    shares = []
    while len(shares) < 12:
        machine = observed_machine(rng, plain=True)
        queries, keys = int(rng.integers(1, 18)), int(rng.integers(1, 30))
        unit = {f"checker.units.{n}.threshold": {"kind": "absolute", "value": float(10 ** rng.uniform(0, 3))}
                for n in range(len(machine.units))}  # fmt: skip
        assembly = assemble(machine.config.changed({
            **unit, "workload.queries": queries, "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
            "workload.mask.causal": bool(queries <= keys and rng.random() < 0.5), "faults.kinds": list(KINDS),
            "faults.stuck_cycles": 1, "memory.off_chip.bandwidth_bytes_per_cycle": "unlimited",
            "memory.off_chip.latency_cycles": 0,
        }), measure=False)  # fmt: skip
        sampler = PointsOf(assembly, KNOWN, rng, 150, len(KINDS))
        assert_same_records(assembly, len(sampler.points), sampler)
        shares.append(told_share(assembly, sampler))
    assert np.mean(shares) > 0.3
