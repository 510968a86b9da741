"""Stand-ins for engines: real draws, made-up outcomes, at no cost.

`Quick` makes every value a function of the fault's point, with the values among them that a store might spoil:
NaNs with payloads, infinities, negative zeros, subnormals. `Slow` is the same with a pause. `Broken` fails.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from accel_sim.assembly import Assembly
from accel_sim.campaign import engines
from accel_sim.campaign.columns import Batch
from accel_sim.campaign.injector import drawn_batch
from accel_sim.campaign.sampling import Sampler

SHARD = 100

AWKWARD = np.array(
    [0x7FF8000000000000, 0x7FF8000000000001, 0xFFF8000000000000, 0x7FF0000000000000, 0x8000000000000000, 1],
    dtype=np.uint64,
).view(np.float64)


class Quick:
    def __init__(self, assembly: Assembly, sampler: Sampler) -> None:
        self.assembly = assembly
        self.sampler = sampler

    def records(self, first: int, count: int) -> Batch:
        batch, points, _ = drawn_batch(self.assembly, self.sampler, first, count)
        noise = batch["point"] * 2654435761 % 1000
        batch["old_value"][:] = AWKWARD[batch["point"] % len(AWKWARD)]
        batch["new_value"][:] = noise / 7
        # Control registers hang the machine, sign bits are always caught.
        batch["hang"][:] = (points.bit == 0) & (noise < 100)
        batch["alarm"][:] = noise < 300
        batch["outcome"][:] = 2 * batch["alarm"] + (noise % 2)
        batch["latency_cycles"][:] = np.where(batch["alarm"], noise % 50, -1)
        batch["alarm_cycle"][:] = np.where(batch["alarm"], batch["cycle"] + noise % 50, -1)
        return batch


class Slow(Quick):
    def records(self, first: int, count: int) -> Batch:
        time.sleep(0.02)
        return super().records(first, count)


class Broken(Quick):
    def records(self, first: int, count: int) -> Batch:
        if first >= 300:
            raise RuntimeError("the engine has a fault of its own")
        return super().records(first, count)


class Dying(Quick):
    """Takes its process with it."""

    def records(self, first: int, count: int) -> Batch:
        if first >= 300:
            os._exit(9)
        return super().records(first, count)


class Killed(Quick):
    """Is killed, as by a kernel that is out of memory."""

    def records(self, first: int, count: int) -> Batch:
        if first >= 300:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().records(first, count)


def stand_in(kind: type[Quick], shard_records: int = SHARD) -> engines.Engine:
    return engines.Engine(kind.__name__.lower(), f"{__name__}:{kind.__name__}", shard_records)


@contextlib.contextmanager
def installed(*kinds: type[Quick]) -> Iterator[None]:
    """The stand-ins as engines by their names, in lower case."""
    before = dict(engines.ENGINES)
    engines.ENGINES.update({engine.name: engine for engine in map(stand_in, kinds)})
    try:
        yield
    finally:
        engines.ENGINES.clear()
        engines.ENGINES.update(before)


def sorted_bytes(path: Path) -> dict[str, list[bytes]]:
    """Every column of a run's records, in order of fault, value for value as bytes or text."""
    from accel_sim.campaign.store import RunDirectory

    table = RunDirectory.open(path).table().sort_by("fault")
    columns = {}
    for name in table.column_names:
        values = table.column(name).combine_chunks()
        if hasattr(values, "dictionary"):
            columns[name] = [text.encode() for text in values.to_pylist()]
        else:
            columns[name] = [values.to_numpy(zero_copy_only=False).tobytes()]
    return columns
