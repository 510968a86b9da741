"""What a worker does: fault numbers in, the bytes of a shard out.

`Work` is the plain data that travels to a worker once; `ShardMaker` is what it becomes there, with the golden run
made once and kept. Whoever started the campaign writes the bytes, so workers need no access to its disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from accel_sim.analysis.summary import Summary
from accel_sim.campaign.engines import Engine
from accel_sim.campaign.manifest import Identity
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.store import shard_metadata

if TYPE_CHECKING:
    from accel_sim.assembly import Assembly


class ShardData(NamedTuple):
    """A finished shard: the bytes of its Parquet file, and the summary of its records."""

    data: bytes
    summary: Summary


@dataclass(frozen=True)
class Work:
    """A campaign as its workers need it."""

    assembly: Assembly
    engine: Engine
    sampling: Sampling
    identity: Identity

    def maker(self) -> ShardMaker:
        """Ready to make shards."""
        return ShardMaker(self)


class ShardMaker:
    """Makes shards; builds its injector when first asked for one."""

    def __init__(self, work: Work) -> None:
        from accel_sim.campaign.schema import labels_of

        self.work = work
        self.labels = labels_of(work.assembly)
        self.exposure = exposure(work.assembly)
        self._injector = work.engine.injector(work.assembly, work.sampling)

    def shard(self, first: int, count: int) -> ShardData:
        """The shard of faults first … first + count − 1."""
        from accel_sim.analysis.summary import summarise
        from accel_sim.campaign.schema import to_parquet

        batch = self._injector.records(first, count)
        summary = summarise(batch, self.labels["component"], self.labels["outcome"], self.exposure)
        metadata = shard_metadata(self.work.identity, self.work.engine.name, first, count, summary)
        return ShardData(to_parquet(batch, self.labels, metadata), summary)


def exposure(assembly: Assembly) -> dict[str, int]:
    """Bit·cycles of each component in the universe of a campaign."""
    universe = assembly.universe
    totals: dict[str, int] = {}
    for register in universe.registers:
        bits = register.bits * universe.cycles * universe.heads
        totals[register.component] = totals.get(register.component, 0) + bits
    return totals
