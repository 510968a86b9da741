"""The YAML's JSON schema, and the config reference as Markdown, both generated from the models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from accel_sim.config.explain import Slot, allowed, field_slot
from accel_sim.config.root import Config
from accel_sim.config.sections import Section

_EXTENDS = (
    "Path of a base config, or a list of paths, relative to this file; a shipped config may be named. "
    "Mappings merge, lists and scalars replace, and a mapping of another kind replaces the base's mapping; "
    "later bases win over earlier ones, and this file over all."
)


def schema() -> dict[str, Any]:
    """The JSON schema (draft 2020-12) of a config file.

    A file that extends another may leave out what its base states, so the schema requires no key; the loader
    does.
    """
    found: dict[str, Any] = Config.model_json_schema(mode="validation")
    for section in (found, *found.get("$defs", {}).values()):
        section.pop("required", None)
    path = {"type": "string", "minLength": 1}
    extends = {"anyOf": [path, {"type": "array", "items": path}], "title": "Extends", "description": _EXTENDS}
    found["properties"] = {"extends": extends, **found["properties"]}
    found["title"] = "accel-sim config"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


def reference_markdown() -> str:
    """The config reference: one table for each section, in the order of the file."""
    parts = [
        f"- `extends`: {_EXTENDS}",
        "- Wherever a mapping has a `kind`, its bare name is short for `{kind: name}`. A mapping that leaves "
        "its `kind` out takes it from the base config.",
        "- Values are never converted: only `true` and `false` are booleans (`yes`, `no`, `on` and `off` are "
        "text), a number in quotes is text, `1e-6` is a number, and numbers have neither leading zeros nor "
        "underscores.",
        "- A file named in a config lies beside the config that states it, or is one of the shipped ones.",
    ]
    for title, section in _titled(_sections(Slot(Config), "")).items():
        rows = ["| key | default | allowed | meaning |", "|---|---|---|---|"]
        rows += [
            _row(section, name) for name in sorted(section.model_fields, key=lambda name: name != "kind")
        ]
        parts += [f"### {title}", " ".join((section.__doc__ or "").split()), "\n".join(rows)]
    return "\n\n".join(parts) + "\n"


def _titled(found: Iterator[tuple[str, str, type[Section]]]) -> dict[str, type[Section]]:
    """Sections by heading, each once; where kinds have different sections under one key, later ones name their kind."""
    titled: dict[str, type[Section]] = {}
    for title, of, section in found:
        if titled.setdefault(title, section) is not section:
            titled[f"{title} of kind `{of}`"] = section
    return titled


def _sections(slot: Slot, key: str, of: str = "") -> Iterator[tuple[str, str, type[Section]]]:
    """Every section at and below a slot, with its heading and the kind of the section that it is part of; one that
    several kinds have comes up with each."""
    if slot.items is not None:
        yield from _sections(slot.items, f"{key}[]", of)
        return
    kinds = slot.kinds.by_name if slot.kinds is not None else {"": slot.section}
    for kind, section in kinds.items():
        if section is None:
            continue
        title = f"`{key}`" if key else "Top level"
        yield f"{title}, kind `{kind}`" if kind else title, of, section
        for name in section.model_fields:
            yield from _sections(field_slot(section, name), f"{key}.{name}" if key else name, kind or of)


def _row(section: type[Section], name: str) -> str:
    allows = allowed(field_slot(section, name))
    description = section.model_fields[name].description or ""
    return f"| `{name}` | {_default(section, name)} | {_cell(allows)} | {_cell(description)} |"


def _default(section: type[Section], name: str) -> str:
    info = section.model_fields[name]
    if info.is_required() or name == "kind":
        return "required"
    if info.default_factory is not None:
        return "same as `state`"
    value = info.default
    if isinstance(value, Section):
        return f"kind `{kind}`" if (kind := getattr(value, "kind", None)) else "see below"
    if isinstance(value, tuple):
        return f"`[{', '.join(value)}]`"
    if value == "":
        return "empty"
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
