"""Files to configs: reading, `extends`, validation, and changes to a loaded config."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from accel_sim.config.changes import node_of, with_changes
from accel_sim.config.errors import ConfigError, Mark, Problem, printable, shown
from accel_sim.config.explain import problems_of
from accel_sim.config.paths import resolve_config, shipped_config
from accel_sim.config.root import Config
from accel_sim.config.tree import Node, merge
from accel_sim.config.yaml_reader import MAX_BYTES, read_yaml

MAX_BASES = 32
"""How many files one config may be made of, counting each time that a base is used."""


def load_config(path: str | os.PathLike[str], changes: Mapping[str, object] | None = None) -> Config:
    """The config in a YAML file, or the shipped one of that name, with the files it `extends` under it.

    `changes` lays values over dotted keys, as `Config.changed` does, before anything is checked.
    Raises ConfigError, and nothing else, whatever the file holds.
    """
    file = resolve_config(path)
    return _built(with_changes(_read(file, (), [0]), changes or {}))


def config_from_dict(data: Mapping[str, object]) -> Config:
    """The config that a mapping of plain values holds (no `extends`). Raises ConfigError."""
    return _built(node_of(data))


def apply_changes(config: Config, changes: Mapping[str, object]) -> Config:
    """See `Config.changed`."""
    tree = config._tree if config._tree is not None else node_of(config)
    return _built(with_changes(tree, changes))


def _built(tree: Node) -> Config:
    try:
        config = Config.model_validate(tree.plain())
    except ValidationError as error:
        raise ConfigError(problems_of(error, tree, Config)) from None
    config._tree = tree
    return config


def _read(file: Path, above: tuple[Path, ...], used: list[int]) -> Node:
    """The merged tree of a file and its bases; `above` are the files that led here."""
    used[0] += 1
    tree = read_yaml(_bytes_of(file), str(file))
    assert isinstance(tree.value, dict)
    if "extends" not in tree.value:
        return tree
    chain = (*above, Path(os.path.realpath(file)))
    base: Node | None = None
    for name, mark in _bases(tree):
        path = _base_path(file, name, mark)
        if Path(os.path.realpath(path)) in chain:
            message = f'"{printable(name, 200)}" leads back to a file that extends it'
            raise ConfigError(Problem(message, "extends", mark))
        if used[0] >= MAX_BASES:
            raise ConfigError(Problem(f"more than {MAX_BASES} files in all", "extends", mark))
        read = _read(path, chain, used)
        base = read if base is None else merge(base, read)
    own = tree.without("extends")
    return own if base is None else merge(base, own)


def _bases(tree: Node) -> list[tuple[str, Mark]]:
    assert isinstance(tree.value, dict)
    stated, mark = tree.value["extends"], tree.key_marks["extends"]
    items = stated.value if isinstance(stated.value, list) else [stated]
    bases = []
    for item in items:
        if not isinstance(item.value, str) or not item.value:
            message = f"must be the path of a config, or a list of paths (got {shown(item.plain())})"
            raise ConfigError(Problem(message, "extends", mark if item is stated else item.mark))
        bases.append((item.value, mark if item is stated else item.mark))
    return bases


def _base_path(file: Path, name: str, mark: Mark) -> Path:
    """A base stands beside the file that names it, or is a shipped config."""
    beside = Path(os.path.normpath(file.parent / name))
    try:
        found = beside if beside.exists() and not beside.is_dir() else shipped_config(name)
    except (OSError, ValueError):  # no file can have such a name
        found = None
    if found is None:
        message = f'no such config "{printable(name, 200)}", beside this file or among the shipped ones'
        raise ConfigError(Problem(message, "extends", mark))
    return found


def _bytes_of(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError(Problem(f"cannot be read: {reason.lower()}", "", Mark(str(file)))) from None
