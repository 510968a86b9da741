"""pydantic's findings as messages for the person who wrote the file: key, line, what is allowed.

`allowed` puts a field's type and bounds in words; the config reference uses the same words.
"""

from __future__ import annotations

from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from accel_sim.config.errors import Mark, Problem, any_of, did_you_mean, printable, shown
from accel_sim.config.sections import Kinds, PowerOfTwo, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pydantic import ValidationError

    from accel_sim.config.tree import Node


class Slot(NamedTuple):
    """What may stand at a key: an annotation and its constraints."""

    annotation: Any
    metadata: tuple[Any, ...] = ()

    @property
    def kinds(self) -> Kinds | None:
        return next((item for item in self.metadata if isinstance(item, Kinds)), None)

    @property
    def section(self) -> type[Section] | None:
        """The model of a mapping, also when the field may be null."""
        for member in members(self.annotation):
            if isinstance(member, type) and issubclass(member, Section):
                return member
        return None

    @property
    def items(self) -> Slot | None:
        """What the items of a list are."""
        for member in members(self.annotation):
            inner = slot_of(member)
            if get_origin(inner.annotation) is tuple:
                return slot_of(get_args(inner.annotation)[0])
        return None


def members(annotation: Any) -> tuple[Any, ...]:
    """The members of a union, or the annotation itself."""
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def slot_of(annotation: Any) -> Slot:
    """An annotation with its `Annotated` metadata split off."""
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        slot = slot_of(inner)
        return Slot(slot.annotation, (*slot.metadata, *_flat(metadata)))
    return Slot(annotation)


def field_slot(section: type[Section], name: str) -> Slot:
    """What may stand at a field of a section."""
    info = section.model_fields[name]
    slot = slot_of(info.annotation)
    return Slot(slot.annotation, (*slot.metadata, *_flat(info.metadata)))


def _flat(metadata: Iterable[Any]) -> Iterator[Any]:
    for item in metadata:
        yield from getattr(item, "metadata", None) or (item,)


def allowed(slot: Slot) -> str:
    """What may stand at a slot, in words: `an integer from 1 to 1024`, `one of a, b or c`."""
    annotation, metadata = slot.annotation, slot.metadata
    if slot.kinds is not None:
        return f"a mapping with kind {any_of(list(slot.kinds.by_name))}"
    power = next((item for item in metadata if isinstance(item, PowerOfTwo)), None)
    if power is not None:
        return f"a power of two from {power.low} to {power.high}"
    if get_origin(annotation) in (Union, UnionType):
        words = [allowed(Slot(*slot_of(member))) for member in members(annotation)]
        return ", or ".join(sorted(words, key=lambda word: word == "null"))
    if get_origin(annotation) is Literal:
        return any_of([str(name) for name in get_args(annotation)])
    if get_origin(annotation) is tuple:
        return f"a list; each item {allowed(slot_of(get_args(annotation)[0]))}"
    if annotation in (int, float):
        return ("an integer" if annotation is int else "a number") + _bounds(metadata)
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return "a mapping"
    return {bool: "true or false", str: "text", NoneType: "null"}.get(annotation, "a value")


def _bounds(metadata: Iterable[Any]) -> str:
    found = {
        name: getattr(item, name) for item in metadata for name in ("ge", "gt", "le") if hasattr(item, name)
    }
    low = f" above {number(found['gt'])}" if "gt" in found else ""
    if "ge" in found and "le" in found:
        return f" from {number(found['ge'])} to {number(found['le'])}"
    if "ge" in found:
        low = f" of at least {number(found['ge'])}"
    high = f"at most {number(found['le'])}" if "le" in found else ""
    return low + (f" and {high}" if low and high else f" of {high}" if high else "")


def number(value: float) -> str:
    """A bound, without trailing zeros."""
    if isinstance(value, int):
        return "2^63 - 1" if value == 2**63 - 1 else str(value)
    return f"{value:g}".replace("e+0", "e").replace("e+", "e")


def problems_of(error: ValidationError, tree: Node, root: type[Section]) -> list[Problem]:
    """The findings of one validation as problems, in the order of the files' lines."""
    by_key: dict[tuple[str, ...], list[tuple[dict[str, Any], Slot | None, type[Section] | None]]] = {}
    for finding in _findings(error):
        path, slot, parent = _walk(finding["loc"], root)
        by_key.setdefault(path, []).append((finding, slot, parent))
    problems: list[Problem] = []
    for path, findings in by_key.items():
        finding, slot, parent = findings[0]
        if finding["type"] == "clash":
            problems += [_clash(tree, path, clash) for clash in finding["ctx"]["clashes"]]
        elif len(findings) > 1:  # every member of a union has its own complaint
            problems.append(_problem(tree, path, _wrong(slot, finding["input"])))
        else:
            path, message = _message(finding, path, slot, parent)
            problems.append(_problem(tree, path, message))
    return sorted(problems, key=lambda problem: _order(problem.mark, tree.mark))


def _findings(error: ValidationError) -> Iterator[dict[str, Any]]:
    for finding in error.errors(include_url=False):
        # A list whose items are wrong also counts as too short, and a default that was not made as wrong.
        echo = finding["type"] == "too_short" and finding["input"]
        if not echo and finding["type"] != "default_factory_not_called":
            yield {**finding}


def _walk(
    location: tuple[int | str, ...], root: type[Section]
) -> tuple[tuple[str, ...], Slot | None, type[Section] | None]:
    """A pydantic location as a path of keys, what may stand there, and the section it belongs to."""
    path: list[str] = []
    slot: Slot | None = Slot(root)
    parent: type[Section] | None = None
    for part in location:
        if slot is None:
            break
        kind = slot.kinds.section(part) if slot.kinds is not None and isinstance(part, str) else None
        if kind is not None:
            slot = Slot(kind)
            continue
        section, items = slot.section, slot.items
        if section is not None and slot.kinds is None:
            path.append(str(part))
            parent = section
            slot = field_slot(section, str(part)) if part in section.model_fields else None
        elif isinstance(part, int) and items is not None:
            path.append(str(part))
            slot = items
        else:  # the label of a union's member
            break
    return tuple(path), slot, parent


def _message(
    finding: dict[str, Any], path: tuple[str, ...], slot: Slot | None, parent: type[Section] | None
) -> tuple[tuple[str, ...], str]:
    kind, value, context = finding["type"], finding["input"], finding.get("ctx", {})
    if kind == "extra_forbidden" and parent is not None:
        names = list(parent.model_fields)
        return path, f"unknown key{did_you_mean(path[-1], names)} (allowed here: {', '.join(names)})"
    if kind == "missing":
        return path, f"is required ({allowed(slot) if slot else 'a value'})"
    if kind == "installed":
        return (*path, "kind"), context["text"]
    if kind == "union_tag_not_found" and slot is not None and slot.kinds is not None:
        return path, f'needs a "kind": {_any_kind(slot.kinds)}'
    if kind == "union_tag_invalid" and slot is not None and slot.kinds is not None:
        got = value.get("kind") if isinstance(value, dict) else value
        hint = did_you_mean(got, [*slot.kinds.by_name, *slot.kinds.installed]) if isinstance(got, str) else ""
        return (*path, "kind"), f"must be {_any_kind(slot.kinds)} (got {shown(got)}){hint}"
    bound = {
        "greater_than_equal": ("at least", "ge"),
        "greater_than": ("above", "gt"),
        "less_than_equal": ("at most", "le"),
    }.get(kind)
    if bound is not None and slot is not None:
        limit = number(context[bound[1]])
        return path, f"must be {bound[0]} {limit} (got {shown(value)}); allowed: {allowed(slot)}"
    if kind == "finite_number":
        return (
            path,
            f"must be a finite number (got {shown(value)}); allowed: {allowed(slot) if slot else 'a number'}",
        )
    if kind in ("too_short", "string_too_short"):
        return path, "must not be empty"
    if kind == "string_pattern_mismatch":
        return path, f"must be text without a NUL character (got {shown(value)})"
    if kind in ("too_long", "string_too_long"):
        what = "items" if kind == "too_long" else "characters"
        return path, f"must have at most {context['max_length']} {what}"
    return path, _wrong(slot, value)


def _any_kind(kinds: Kinds) -> str:
    """Built-in kinds, and those that other packages have installed."""
    installed = f", or an installed one: {any_of(kinds.installed)}" if kinds.installed else ""
    return any_of(list(kinds.by_name)) + installed


def _wrong(slot: Slot | None, value: object) -> str:
    message = f"must be {allowed(slot) if slot else 'something else'} (got {shown(value)})"
    if slot is not None and slot.annotation is str and isinstance(value, (bool, int, float)):
        message += "; put it in quotes"
    if slot is not None and isinstance(value, str):
        if value.replace("_", "").isdecimal() and {int, float} & {*members(slot.annotation)}:
            message += "; numbers stand without quotes, underscores and leading zeros"
        message += did_you_mean(value, _choices(slot))
        if value.lower() in ("yes", "no", "on", "off") and bool in members(slot.annotation):
            message += "; yes, no, on and off are text"
    return message


def _choices(slot: Slot) -> list[str]:
    if slot.kinds is not None:
        return list(slot.kinds.by_name)
    literals = [member for member in members(slot.annotation) if get_origin(member) is Literal]
    return [name for literal in literals for name in get_args(literal) if isinstance(name, str)]


def _clash(tree: Node, path: tuple[str, ...], clash: Any) -> Problem:
    keys = [(*path, *key.split(".")) for key in clash.keys]
    stated = [key for key in keys if tree.mark_of(key)[1] == len(key)]
    here = [key for key in stated if tree.mark_of(key)[0].file == tree.mark.file]  # rather than in a base
    return _problem(tree, (here or stated or keys)[0], clash.message)


def _problem(tree: Node, path: tuple[str, ...], message: str) -> Problem:
    key = ".".join(printable(part, 60) for part in path)
    return Problem(message, key, tree.mark_of(path)[0])


def _order(mark: Mark, main: Mark) -> tuple[bool, str, int]:
    return mark.file != main.file, mark.file or "", mark.line or 0
