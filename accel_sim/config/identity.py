"""What a config is, apart from how it was written: plain data, and a hash of all that changes results."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from accel_sim.config.root import Config
from accel_sim.config.sections import Section

NAMES_ONLY = frozenset({"name", "description"})
"""Keys that change no result."""


def to_dict(config: Config) -> dict[str, Any]:
    """The config as plain data with every default spelled out, for JSON, YAML and `config_from_dict`."""
    return config.model_dump(mode="json")


def config_hash(config: Config) -> str:
    """SHA-256 (hex) of the canonical JSON of everything in the config that changes results.

    A file that the workload reads counts by its content, not by its name, so that the same campaign has the
    same hash on every machine and another tensor has another; a file that cannot be read counts by its name.
    """
    data = {key: value for key, value in _as_published(config).items() if key not in NAMES_ONLY}
    path = config.workload_path()
    if path is not None:
        try:
            with open(path, "rb") as stream:
                data["workload"]["path"] = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        except (OSError, ValueError):
            pass
    text = json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _as_published(section: Section) -> dict[str, Any]:
    """`to_dict` without the keys that a section was given later (`Section.added`), where they have their defaults."""
    data: dict[str, Any] = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if name in section.added and value == field.get_default(call_default_factory=True):
            del data[name]
        elif isinstance(value, Section):
            data[name] = _as_published(value)
        elif isinstance(value, tuple):
            data[name] = [_as_published(item) if isinstance(item, Section) else stated
                          for item, stated in zip(value, data[name], strict=True)]
    return data
