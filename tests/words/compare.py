"""The two injectors on SRAM words, held against each other."""

from __future__ import annotations

import numpy as np

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.columns import Batch
from accel_sim.campaign.injector import SteppedInjector
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import Draw
from accel_sim.config import Config, ConfigError, load_config
from accel_sim.faults.fault import KINDS

ECC = ("none", "parity", "secded")
ALL_KINDS = {"faults.kinds": list(KINDS), "faults.stuck_cycles": 9, "faults.burst_bits": 3}


class Every:
    """Every step-th point of a universe, in order, each a flip."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.limit = None

    def draw(self, first: int, count: int) -> Draw:
        points = np.arange(first, first + count, dtype=np.int64) * self.step
        return Draw(points, np.zeros(count, np.int64), np.ones(count))


def same_records(assembly: Assembly, count: int, sampler: Every | None = None) -> Batch:
    """The records of some faults by both engines, which must be the same in every bit."""
    stepped, replayed = (make(assembly, sampler).records(0, count) for make in (SteppedInjector, ReplayInjector))
    for name, column in stepped.items():
        a, b = (x.view(f"i{x.itemsize}") if x.dtype.kind == "f" else x for x in (column, replayed[name]))
        wrong = np.flatnonzero((a != b) & ~((column != column) & (replayed[name] != replayed[name])))
        assert not wrong.size, (name, wrong[:5], [told(assembly, stepped, int(i)) for i in wrong[:2]])
    return stepped


def told(assembly: Assembly, records: Batch, i: int) -> str:
    register = assembly.universe.registers[int(records["register"][i])].name
    return f"{register} {records['element'][i]} bit {records['bit'][i]} cycle {records['cycle'][i]} " \
           f"kind {records['kind'][i]}"


def assembled(name: str, *changes: dict[str, object]) -> Assembly:
    merged = {"faults.targets": ["sram"]}
    for more in changes:
        merged |= more
    return assemble(load_config(name, merged), measure=False)


def as_changed(config: Config, changes: dict[str, object]) -> Assembly | None:
    """The config with changes; None if that cannot be."""
    try:
        return assemble(config.changed(changes), measure=False)
    except ConfigError:
        return None
