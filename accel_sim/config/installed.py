"""Kinds of section that come from packages of others, by entry point.

A package that registers a name in the group of a `Kinds` adds a kind to it: what the entry point names has an attribute
`section`, the model of its keys. Entry points are read when a config names a kind that is not built in, and the
package is imported when it names theirs.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, get_args

from accel_sim.config.sections import Section

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

CHECK_UNITS = "accel_sim.check_units"
"""The group of check units on the output buffer (docs/output-units.md)."""


class BadPackage(Exception):
    """What is wrong with what a package has installed, in one sentence."""


@cache
def installed_names(group: str) -> tuple[str, ...]:
    """Names in a group, in alphabetical order."""
    from importlib.metadata import entry_points  # slow to import

    return tuple(sorted({point.name for point in entry_points(group=group)}))


@cache
def installed(group: str, name: str) -> Any:
    """What the entry point `name` of a group stands for: an object whose `section` is a `Section` of kind `name`.

    Raises BadPackage if there is no such thing, more than one, or one that cannot be imported.
    """
    point = _only(group, name)
    what = f"{point.value}{_package(point)}, installed as {name}"
    try:
        found = point.load()
    except Exception as error:  # whatever their package does wrong
        reason = " ".join(str(error).split())
        raise BadPackage(f"{what}, cannot be imported: {type(error).__name__}: {reason}") from error
    section = getattr(found, "section", None)
    if not (isinstance(section, type) and issubclass(section, Section)):
        raise BadPackage(f"{what}, is no check unit: it has no attribute section that is a Section")
    for owner, kind in (("the kind", getattr(found, "kind", None)), ("its section's kind", _kind_of(section))):
        if kind != name:
            raise BadPackage(f"{what}, must have that name itself: {owner} is {kind!r}")
    if "threshold" not in section.model_fields:
        raise BadPackage(f"{what}, must have a threshold among the keys of its section")
    return found


def installed_section(group: str, name: str) -> type[Section] | None:
    """The section of an installed kind, or None if nobody has installed it. Raises BadPackage."""
    if name not in installed_names(group):
        return None
    section: type[Section] = installed(group, name).section
    return section


def _only(group: str, name: str) -> EntryPoint:
    """The one entry point of that name. Python lists a package twice that stands twice on its path."""
    from importlib.metadata import entry_points

    points = list({point.value: point for point in entry_points(group=group, name=name)}.values())
    if not points:
        raise BadPackage(f"nothing is installed as {name}")
    if len(points) > 1:
        owners = " and ".join(f"{point.value}{_package(point)}" for point in points)
        raise BadPackage(f"{name} is installed more than once: {owners}")
    return points[0]


def _package(point: EntryPoint) -> str:
    return f" (package {point.dist.name} {point.dist.version})" if point.dist is not None else ""


def _kind_of(section: type[Section]) -> object:
    field = section.model_fields.get("kind")
    literals = get_args(field.annotation) if field is not None else ()
    return literals[0] if literals else None
