"""The manifest of a run directory: which campaign its records belong to, and what made them.

`Identity` is all that decides what the records are; `Manifest` adds the facts that an audit wants. Which shards
there are is not written here: the files themselves say that.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from accel_sim.campaign.sampling import Sampling

if TYPE_CHECKING:
    from accel_sim.config import Config

FORMAT = 1
"""Version of the layout and of the meaning of records; directories of another version are not written to."""

PACKAGES = ("numpy", "numba", "pyarrow", "scipy", "simpy", "pydantic")
"""Packages whose versions are recorded beside our own."""


@dataclass(frozen=True)
class Identity:
    """A campaign: two records with equal identities and fault numbers are equal.

    sampling: as `Sampling.describe` gives it. universe: points of the fault universe. shard_records: faults to
    a shard; it decides where stopping rules look.
    """

    config_hash: str
    seed: int
    sampling: dict[str, Any]
    universe: int
    shard_records: int
    format: int = FORMAT

    def to_json(self) -> str:
        """One line of JSON, the same for equal identities."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    def difference(self, other: Identity) -> str | None:
        """The first thing in which `other` is another campaign, in words, or None."""
        words = {
            "format": "format of the store", "seed": "seed", "sampling": "sampling", "config_hash": "config",
            "universe": "size of the universe", "shard_records": "shard size",
        }
        for name, word in words.items():
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                if name == "config_hash":
                    mine, theirs = mine[:12], theirs[:12]
                return f"its {word} is {mine}, not {theirs}"
        return None


@dataclass(frozen=True)
class Manifest:
    """What stands in `manifest.json`.

    components: bit·cycles of each component in the universe. config: every setting, defaults spelled out.
    created: UTC, ISO 8601. command: as the shell would take it.
    """

    identity: Identity
    engine: str
    name: str
    components: dict[str, int]
    config: dict[str, Any]
    versions: dict[str, str]
    host: dict[str, Any]
    command: str
    created: str

    @property
    def sampling(self) -> Sampling:
        """How the faults are drawn."""
        return Sampling.described(self.identity.sampling)

    @property
    def limit(self) -> int | None:
        """Faults of an exhaustive campaign: every point with every kind; None for a campaign without end."""
        return self.identity.universe * len(self.config["faults"]["kinds"]) if self.exhaustive else None

    @property
    def exhaustive(self) -> bool:
        """Whether the campaign goes through the whole universe."""
        return self.sampling.kind == "exhaustive"

    def to_json(self) -> str:
        """Indented JSON."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Raises ValueError for anything but a manifest."""
        try:
            data = json.loads(text)
            if data["identity"]["format"] != FORMAT:
                raise ValueError(f"its format is {data['identity']['format']}, this version reads {FORMAT}")
            known = {field.name for field in fields(cls)}
            values = {name: value for name, value in data.items() if name in known}
            values["identity"] = Identity(**data["identity"])
            manifest = cls(**values)
            manifest.sampling  # noqa: B018 - it must be one that exists
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from None
        return manifest


def make_manifest(config: Config, identity: Identity, engine: str, components: dict[str, int]) -> Manifest:
    """The manifest of a campaign that begins here and now."""
    from accel_sim.config import to_dict

    return Manifest(
        identity=identity,
        engine=engine,
        name=config.name,
        components=components,
        config=to_dict(config),
        versions=versions(),
        host=host_facts(),
        command=shlex.join(sys.argv),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def changed_setting(stored: Mapping[str, Any], config: Config) -> str | None:
    """The first setting in which a config differs from a stored one, in words; names aside."""
    from accel_sim.config import to_dict

    def flat(value: Any, key: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for name, part in value.items():
                yield from flat(part, f"{key}.{name}" if key else name)
        elif isinstance(value, list) and any(isinstance(part, dict) for part in value):
            for number, part in enumerate(value):
                yield from flat(part, f"{key}.{number}")
        else:
            yield key, value

    old, new = dict(flat(stored, "")), dict(flat(to_dict(config), ""))
    for key in dict.fromkeys((*new, *old)):
        if old.get(key) != new.get(key) and key not in ("name", "description"):
            shown = [json.dumps(side[key]) if key in side else "absent" for side in (old, new)]
            return f"its {key} is {shown[0]}, not {shown[1]}"
    return None


def version() -> str:
    """Version of this package."""
    import accel_sim

    return accel_sim.__version__


def versions() -> dict[str, str]:
    """Versions of this package, of Python, and of `PACKAGES`."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    found = {"accel-sim": version(), "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = installed(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return found


def host_facts() -> dict[str, Any]:
    """What a reader needs to judge the speed: cores, processor, operating system."""
    return {"cores": os.cpu_count(), "cpu": _cpu_model(), "os": platform.platform()}


def _cpu_model() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            for line in lines:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
