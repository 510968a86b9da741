"""Technology tables: what one unit of hardware costs, with its source, as data.

A table is a YAML file (docs/cost.md describes it; `technology/28nm.yaml` is the shipped one). Every number
stands in it as an entry of value, low, high, source and mark. A unit's cost is often known much better in
proportion to another's than in absolute terms, so an entry may be a factor `of` another one.

- `Entry`: one number of a table.
- `Technology`: a table.
- `load_technology(name_or_path)`: a shipped table by name, or any file.
- `MARKS`: how well a number is known.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accel_sim.config.errors import ConfigError, Mark, Problem, did_you_mean

MARKS: dict[str, str] = {
    "read": "read in the source named",
    "second-hand": "read in a source that quotes the one named",
    "memory": "from memory, not confirmed",
    "measured": "measured for this table: synthesis, or a run of a memory compiler",
    "scaled": "a number read or measured elsewhere, times the factor that the source states",
    "assumed": "no source: a judgement, with a wide range",
}
"""How well a number of a table is known."""

QUANTITIES = ("area_um2", "energy_pj")
"""What an operator or a flip-flop bit costs: square micrometres, and picojoules an operation or clocking."""

SHIPPED = Path(__file__).resolve().parent / "technology"


@dataclass(frozen=True)
class Entry:
    """One number of a technology table.

    value, low, high: best estimate and the range in which the truth is taken to lie; if `of` names another
    entry, factors on it. source, mark: where it comes from, and how well it is known (one of `MARKS`).
    """

    value: float
    low: float
    high: float
    source: str
    mark: str
    of: str | None = None


@dataclass(frozen=True, eq=False)
class Technology:
    """A technology table.

    entries: by key, `fp_add.fp32.area_um2` or `flip_flop.energy_pj`; units are in the last part. sram_kib:
    the capacities that the table has SRAM of, ascending, in KiB. file: where it was read, for messages.
    """

    name: str
    node_nm: float
    description: str
    entries: Mapping[str, Entry]
    sram_kib: tuple[float, ...]
    file: str

    def has(self, row: str) -> bool:
        """Whether the table prices a unit and format, such as `fp_add.fp32`."""
        return f"{row}.{QUANTITIES[0]}" in self.entries

    def chain(self, key: str) -> tuple[str, ...]:
        """The entries whose product is the number at `key`: itself, the one it is a factor of, and so on."""
        keys, of = [key], self.entries[key].of
        while of is not None:
            keys.append(of)
            of = self.entries[of].of
        return tuple(keys)

    def number(self, key: str, end: str = "value") -> float:
        """The absolute number at `key`: its value, or with `end` of "low" or "high" the end of its range."""
        product = 1.0
        for link in self.chain(key):
            product *= float(getattr(self.entries[link], end))
        return product


def shipped_technologies() -> tuple[str, ...]:
    """Names of the tables that come with accel-sim."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_technology(name_or_path: str | os.PathLike[str]) -> Technology:
    """The technology table in a file, or the shipped one of that name.

    Raises ConfigError with file, line, key and what is allowed, whatever the file holds.
    """
    from accel_sim.config.yaml_reader import MAX_BYTES, read_yaml
    from accel_sim.cost.check import technology_from

    text = os.fsdecode(os.fspath(name_or_path))
    file = SHIPPED / f"{text}.yaml" if text in shipped_technologies() else Path(text)
    try:
        with open(file, "rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            names = shipped_technologies()
            hint = did_you_mean(text, names) or f" (shipped: {', '.join(names)})"
            message = f"no such technology table{hint}"
        else:
            message = f"cannot be read: {(getattr(error, 'strerror', None) or str(error)).lower()}"
        raise ConfigError(Problem(message, "", Mark(text))) from None
    name = file.name if file.parent == SHIPPED else text
    return technology_from(read_yaml(data, name), name)
