"""The engines that a campaign can inject with, by name.

They all give the same records, bit for bit, so an engine is a matter of speed alone. `make_injector` makes one;
an engine is added by a line in `ENGINES`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

from accel_sim.campaign.sampling import Sampling

if TYPE_CHECKING:
    from accel_sim.assembly import Assembly
    from accel_sim.campaign.injector import Injector


@dataclass(frozen=True)
class Engine:
    """How to make an injector.

    factory: `module:name` of what takes (assembly, sampler); it is imported only by those who inject.
    shard_records: records to a shard: large enough that its file costs little beside them, small enough that
    little is lost with it.
    """

    name: str
    factory: str
    shard_records: int

    def injector(self, assembly: Assembly, sampling: Sampling) -> Injector:
        """An injector on an assembled config. Raises ValueError for a sampling that does not fit it."""
        module, name = self.factory.split(":")
        injector: Injector = getattr(import_module(module), name)(assembly, sampling.sampler(assembly))
        return injector


ENGINES: dict[str, Engine] = {
    "replay": Engine("replay", "accel_sim.campaign.replay:ReplayInjector", 65536),
    "stepped": Engine("stepped", "accel_sim.campaign.injector:SteppedInjector", 256),
}
"""Every engine by name."""

PREFERRED = ("replay", "stepped")
"""What `auto` stands for: the first of these that there is."""


def find_engine(name: str = "auto") -> Engine:
    """The engine of that name. Raises ValueError for one that does not exist."""
    if name == "auto":
        name = next(known for known in PREFERRED if known in ENGINES)
    if name not in ENGINES:
        raise ValueError(f"no engine {name!r}; it is one of: auto, {', '.join(ENGINES)}")
    return ENGINES[name]


def make_injector(assembly: Assembly, engine: str = "auto", sampling: Sampling | None = None) -> Injector:
    """An injector on an assembled config, drawing uniformly unless told otherwise. Raises ValueError."""
    return find_engine(engine).injector(assembly, sampling or Sampling())
