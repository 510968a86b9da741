"""Changes to a config by dotted keys, as sweeps make them: `checker.units.0.granularity`."""

from __future__ import annotations

from collections.abc import Mapping

from accel_sim.config.errors import ConfigError, Problem
from accel_sim.config.explain import Slot, field_slot
from accel_sim.config.installed import BadPackage
from accel_sim.config.root import Config
from accel_sim.config.tree import Node, from_plain, put


def with_changes(tree: Node, changes: Mapping[str, object]) -> Node:
    """`tree` with values laid over dotted keys, as a file is laid over the one that it extends.

    The order of the changes does not matter: sections come before what is in them, a `kind` before its
    parameters. Raises ConfigError.
    """
    parsed = [(tuple(key.split(".")), node_of(value)) for key, value in changes.items()]
    for path, node in sorted(parsed, key=lambda change: (len(change[0]), change[0][-1] != "kind")):
        try:
            tree = put(_with_default_kinds(tree, path), path, node)
        except LookupError as error:
            raise ConfigError(Problem(str(error.args[0]), ".".join(path))) from None
    return tree


def node_of(value: object) -> Node:
    """Plain values, or models, as a tree. Raises ConfigError."""
    try:
        return from_plain(value)
    except TypeError as error:
        raise ConfigError(str(error)) from None
    except RecursionError:
        raise ConfigError("the values are nested too deep") from None


def _with_default_kinds(tree: Node, path: tuple[str, ...]) -> Node:
    """`tree` with the kind written down of every section on the path that so far has its default kind.

    A file must name the kind of a section that it states; a change may count on the kind that is there.
    """
    slot = Slot(Config)
    for depth, part in enumerate(path):
        here, section, default = path[: depth + 1], slot.section, None
        if slot.items is not None:
            slot = slot.items
        elif section is not None and part in section.model_fields:
            default = getattr(section.model_fields[part].default, "kind", None)
            slot = field_slot(section, part)
        else:
            break
        if slot.kinds is not None:
            kind = _stated_kind(tree, here)
            if kind is None and default is not None:
                kind = default
                tree = put(tree, here, from_plain({"kind": kind}))
            try:
                slot = Slot(slot.kinds.section(str(kind)))
            except BadPackage as error:
                raise ConfigError(Problem(str(error), ".".join(here))) from None
    return tree


def _stated_kind(tree: Node, path: tuple[str, ...]) -> object:
    """The kind that is written down for the section at `path`, or None."""
    node = tree.at(path)
    if node is not None and isinstance(node.value, dict) and "kind" in node.value:
        node = node.value["kind"]
    return None if node is None or not isinstance(node.value, str) else node.value
