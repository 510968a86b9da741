"""What the models of a configuration are made of.

- `Section`: the base of every model: frozen, strict, no unknown keys, and rules between its fields.
- `Kinds`: a mapping whose `kind` says which model it is.
- `PowerOfTwo`: an integer that must be one.
- `Many`: a list, kept as a tuple.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, NamedTuple, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializationInfo,
    Strict,
    ValidatorFunctionWrapHandler,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema

Item = TypeVar("Item")

Many = Annotated[tuple[Item, ...], Strict(False)]
"""A list in YAML, a tuple (hashable, frozen) in the model. Its items stay strict."""

SEED_MAX = 2**63 - 1


class Clash(NamedTuple):
    """Values that are each allowed and together impossible.

    `keys` are relative to the section, the most relevant first: the error points at the first that is written
    down in a file.
    """

    keys: tuple[str, ...]
    message: str


class Section(BaseModel):
    """Base of every model: frozen, strict about types, closed to unknown keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    added: ClassVar[frozenset[str]] = frozenset()
    """Keys that came after hashes of configs had been published: at their defaults they are no part of a hash."""

    def clashes(self) -> Iterator[Clash]:
        """The rules between fields that this section breaks; none by default."""
        return iter(())

    @model_validator(mode="after")
    def _no_clashes(self) -> Self:
        found = tuple(self.clashes())
        if found:
            text = "; ".join(clash.message for clash in found)
            raise PydanticCustomError("clash", "{text}", {"text": text, "clashes": found})
        return self


class Kinds:
    """Annotation of a field whose `kind` picks one of several sections.

    A bare name is short for {kind: name}. In place of pydantic's own discriminated union, which can have
    neither a single member nor a short form. group: entry points that add kinds of other packages
    (`accel_sim.config.installed`); the schema and the reference know the built-in ones only.
    """

    def __init__(self, *sections: type[Section], group: str | None = None) -> None:
        self.by_name: dict[str, type[Section]] = {
            get_args(section.model_fields["kind"].annotation)[0]: section for section in sections
        }
        self.group = group
        self._added: dict[str, SchemaValidator] = {}

    @property
    def installed(self) -> tuple[str, ...]:
        """Names of the kinds that other packages add; looking for them takes some milliseconds."""
        if self.group is None:
            return ()
        from accel_sim.config.installed import installed_names

        return tuple(name for name in installed_names(self.group) if name not in self.by_name)

    def forget(self) -> None:
        """Look installed kinds up again when they are next named: packages have come or gone."""
        self._added.clear()

    def section(self, kind: str) -> type[Section] | None:
        """The section of a kind, built in or installed, or None. Raises `installed.BadPackage`."""
        if kind in self.by_name or self.group is None:
            return self.by_name.get(kind)
        from accel_sim.config.installed import installed_section

        return installed_section(self.group, kind)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {name: handler.generate_schema(section) for name, section in self.by_name.items()}
        union = core_schema.tagged_union_schema(choices, discriminator="kind", strict=True)
        if self.group is None:
            return core_schema.no_info_before_validator_function(_expanded, union)
        plain = core_schema.wrap_serializer_function_ser_schema(_plain, info_arg=True)
        return core_schema.no_info_wrap_validator_function(self._validated, union, serialization=plain)

    def _validated(self, value: object, built_in: ValidatorFunctionWrapHandler) -> Any:
        value = _expanded(value)
        kind = value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)
        if not isinstance(kind, str) or kind in self.by_name:
            return built_in(value)
        from accel_sim.config.installed import BadPackage

        if kind not in self._added:
            try:
                section = self.section(kind)
            except BadPackage as error:
                raise PydanticCustomError("installed", "{text}", {"text": str(error)}) from None
            if section is None:
                return built_in(value)
            choices = {kind: section.__pydantic_core_schema__}
            self._added[kind] = SchemaValidator(core_schema.tagged_union_schema(choices, "kind", strict=True))
        return self._added[kind].validate_python(value)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        sections = handler(schema)
        members = sections.get("oneOf", [sections])
        return {"anyOf": [*members, {"enum": list(self.by_name), "description": "Short for {kind: name}."}]}


def _plain(section: Any, _built_in: Any, info: SerializationInfo) -> Any:
    """A section as plain data, whoever has written its model."""
    return section.model_dump(mode=info.mode)


def _expanded(value: object) -> object:
    return {"kind": value} if isinstance(value, str) else value


class PowerOfTwo:
    """Annotation of an integer that must be a power of two within [low, high]."""

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        bounded = core_schema.int_schema(strict=True, ge=self.low, le=self.high)
        return core_schema.no_info_after_validator_function(self._check, bounded)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        powers = [1 << bit for bit in range(self.high.bit_length()) if self.low <= 1 << bit <= self.high]
        return {"type": "integer", "enum": powers}

    @staticmethod
    def _check(value: int) -> int:
        if value & (value - 1):
            raise PydanticCustomError("power_of_two", "must be a power of two")
        return value
