"""The tree between YAML and the models: plain values that remember where they were written.

A `Node` is a scalar, a list of nodes or a mapping of nodes. The tree knows how bases and overrides are laid
over each other (`merge`), how one value is changed (`put`), and where a key was written (`Node.mark_of`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from accel_sim.config.errors import NOWHERE, Mark

Scalar: TypeAlias = "str | int | float | bool | None"


@dataclass(frozen=True, slots=True)
class Node:
    """A value and where it stands. For mappings, `key_marks` tells where each key stands."""

    value: Scalar | list[Node] | dict[str, Node]
    mark: Mark = NOWHERE
    key_marks: dict[str, Mark] = field(default_factory=dict)

    def plain(self) -> object:
        """The value with the marks taken off: dicts, lists and scalars."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value

    def without(self, key: str) -> Node:
        """This mapping less one key."""
        assert isinstance(self.value, dict)
        return Node({k: v for k, v in self.value.items() if k != key}, self.mark, self.key_marks)

    def mark_of(self, path: tuple[str, ...]) -> tuple[Mark, int]:
        """Where the value at `path` stands, and how many parts of the path are written down.

        For a path that ends in defaults, the place is that of the nearest section that is written down.
        """
        node, mark, depth = self, self.mark, 0
        for part in path:
            if isinstance(node.value, dict) and part in node.value:
                mark, node = node.key_marks.get(part, node.mark), node.value[part]
            elif isinstance(node.value, list) and (index := _index(part, node.value)) is not None:
                node = node.value[index]
                mark = node.mark
            else:
                break
            depth += 1
        return mark, depth

    def at(self, path: tuple[str, ...]) -> Node | None:
        """The node at `path`, or None when it is not written down."""
        node: Node | None = self
        for part in path:
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(part)
            elif isinstance(node.value, list):
                index = _index(part, node.value)
                node = None if index is None else node.value[index]
            else:
                return None
        return node


def from_plain(value: object, mark: Mark = NOWHERE) -> Node:
    """A tree of mappings, lists, tuples, models and scalars. Raises TypeError on non-text keys."""
    value = value.model_dump() if hasattr(value, "model_dump") else value
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"keys must be text (got {key!r})")
        items = {key: from_plain(item, mark) for key, item in value.items()}
        return Node(items, mark, dict.fromkeys(items, mark))
    if isinstance(value, (list, tuple)):
        return Node([from_plain(item, mark) for item in value], mark)
    return Node(value, mark)  # type: ignore[arg-type]


def merge(base: Node, over: Node) -> Node:
    """`over` laid on `base`: mappings merge key by key; lists and scalars replace.

    A mapping of another `kind` replaces its base whole: the parameters of one kind mean nothing to another.
    A bare name counts as the mapping {kind: name} that it is short for.
    """
    if isinstance(over.value, str) and isinstance(base.value, dict) and "kind" in base.value:
        over = _kind_named(over)
    elif isinstance(base.value, str) and isinstance(over.value, dict):
        base = _kind_named(base)
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    if "kind" in base.value and "kind" in over.value and base.value["kind"].value != over.value["kind"].value:
        return over
    merged = dict(base.value)
    for key, node in over.value.items():
        merged[key] = merge(merged[key], node) if key in merged else node
    return Node(merged, over.mark, {**base.key_marks, **over.key_marks})


def put(root: Node, path: tuple[str, ...], new: Node) -> Node:
    """`root` with `new` laid on what stands at `path`; numbers in the path index lists.

    Raises LookupError, with a message, when a list is too short for its index.
    """
    if not path:
        return merge(root, new)
    part, rest = path[0], path[1:]
    if isinstance(root.value, list):
        index = _index(part, root.value)
        if index is None:
            raise LookupError(f'there is no item "{part}" in a list of {len(root.value)}')
        items = list(root.value)
        items[index] = put(items[index], rest, new)
        return Node(items, root.mark)
    if isinstance(root.value, str):
        root = _kind_named(root)
    old = root.value.get(part) if isinstance(root.value, dict) else None
    value = new if old is None and not rest else put(old or Node(None, new.mark), rest, new)
    return replace(merge(root, Node({part: value}, new.mark, {part: new.mark})), mark=root.mark)


def _index(part: str, items: list[Node]) -> int | None:
    """The place in a list that one part of a dotted key means, or None."""
    index = int(part) if part.isdecimal() and len(part) < 10 else len(items)
    return index if index < len(items) else None


def _kind_named(name: Node) -> Node:
    return Node({"kind": name}, name.mark, {"kind": name.mark})
