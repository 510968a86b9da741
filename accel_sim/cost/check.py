"""From the YAML of a technology table to a `Technology`, with every fault of the file named by line and key."""

from __future__ import annotations

import math

from accel_sim.config.errors import ConfigError, Mark, Problem, any_of, did_you_mean, printable, shown
from accel_sim.config.tree import Node
from accel_sim.cost.table import MARKS, QUANTITIES, Entry, Technology
from accel_sim.machines.operators import UNITS

PARTS = ("significand_mul", "fp_mul_finish")
"""Rows that are no unit by themselves: what `accel_sim.cost.prices` makes multipliers of."""

SRAM_FIELDS = ("area_um2_per_bit", "read_pj_per_byte", "write_pj_per_byte")
OFF_CHIP_FIELDS = ("energy_pj_per_bit",)
LEAKAGE_FIELDS = ("logic_nw_per_um2", "sram_nw_per_bit")

_TOP = ("name", "node_nm", "description", "operators", "flip_flop", "sram", "off_chip", "leakage")
_ENTRY = ("value", "low", "high", "mark", "source", "of")


class _Checker:
    """Collects entries and problems while it walks the tree."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.entries: dict[str, Entry] = {}
        self.references: dict[str, tuple[str, Mark, str]] = {}  # entry: what it is a factor of, where, key

    def problem(self, message: str, key: str, mark: Mark) -> None:
        self.problems.append(Problem(message, key, mark))

    def mapping(self, node: Node, key: str) -> dict[str, Node]:
        """The items of a mapping; none, and a problem, if it is something else."""
        if isinstance(node.value, dict):
            return node.value
        self.problem(f"must be a mapping (got {shown(node.plain())})", key, node.mark)
        return {}

    def fields(self, node: Node, key: str, wanted: tuple[str, ...], optional: tuple[str, ...] = ()
               ) -> dict[str, Node]:
        """The items of a mapping with a fixed set of keys."""
        items = self.mapping(node, key)
        for name in items:
            if name not in wanted + optional:
                hint = did_you_mean(name, wanted + optional)
                message = f"unknown key{hint} (allowed here: {', '.join(wanted + optional)})"
                self.problem(message, _joined(key, name), node.key_marks[name])
        if isinstance(node.value, dict):
            missing = [name for name in wanted if name not in items]
            if missing:
                self.problem(f"needs {', '.join(missing)}", key, node.mark)
        return items

    def number(self, node: Node, key: str) -> float | None:
        """A positive, finite number."""
        value = node.value
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value < math.inf:
            return float(value)
        self.problem(f"must be a finite number above 0 (got {shown(node.plain())})", key, node.mark)
        return None

    def text(self, node: Node, key: str) -> str:
        if isinstance(node.value, str) and node.value.strip():
            return " ".join(node.value.split())
        self.problem(f"must be text (got {shown(node.plain())})", key, node.mark)
        return ""

    def entry(self, node: Node, key: str, name: str) -> None:
        """One number with its range and provenance; `name` is its key among the entries."""
        before = len(self.problems)
        items = self.fields(node, key, _ENTRY[:-1], _ENTRY[-1:])
        if len(self.problems) > before:
            return
        numbers = [self.number(items[end], f"{key}.{end}") for end in ("value", "low", "high")]
        source = self.text(items["source"], f"{key}.source")
        mark = items["mark"].value
        if mark not in MARKS:
            message = f"must be {any_of(list(MARKS))} (got {shown(items['mark'].plain())})"
            self.problem(message, f"{key}.mark", items["mark"].mark)
        of: str | None = None
        if "of" in items:
            row = self.text(items["of"], f"{key}.of")
            of = f"{row}.{name.rsplit('.', 1)[1]}"
            self.references[name] = (of, items["of"].mark, f"{key}.of")
        if len(self.problems) > before:
            return
        value, low, high = (float(n) for n in numbers if n is not None)
        if not low <= value <= high:
            self.problem(f"needs low <= value <= high (got {low:g}, {value:g}, {high:g})", key, node.mark)
            return
        self.entries[name] = Entry(value, low, high, source, str(mark), of)

    def group(self, node: Node, key: str, fields: tuple[str, ...], prefix: str) -> None:
        """A mapping from each of `fields` to an entry."""
        for name, item in self.fields(node, key, fields).items():
            if name in fields:
                self.entry(item, f"{key}.{name}", f"{prefix}.{name}")

    def operators(self, node: Node) -> None:
        known = (*UNITS, *PARTS)
        for unit, formats in self.mapping(node, "operators").items():
            key = f"operators.{printable(unit, 40)}"
            if unit not in known:
                message = f"unknown unit{did_you_mean(unit, known)} (allowed: {', '.join(known)})"
                self.problem(message, key, node.key_marks[unit])
                continue
            for name, item in self.mapping(formats, key).items():
                if "." in name or not name.strip():
                    self.problem("is no format", f"{key}.{printable(name, 40)}", formats.key_marks[name])
                    continue
                self.group(item, f"{key}.{printable(name, 40)}", QUANTITIES, f"{unit}.{name}")

    def sram(self, node: Node) -> tuple[float, ...]:
        """SRAM by capacity: a list, smallest first."""
        if not isinstance(node.value, list) or not node.value:
            self.problem("must be a list of capacities, smallest first", "sram", node.mark)
            return ()
        sizes: list[float] = []
        for i, item in enumerate(node.value):
            key = f"sram.{i}"
            items = self.fields(item, key, ("capacity_kib", *SRAM_FIELDS))
            if "capacity_kib" not in items:
                continue
            size = self.number(items["capacity_kib"], f"{key}.capacity_kib")
            if size is None:
                continue
            if sizes and size <= sizes[-1]:
                message = f"must rise from one item to the next (got {size:g} after {sizes[-1]:g})"
                self.problem(message, f"{key}.capacity_kib", items["capacity_kib"].mark)
                continue
            sizes.append(size)
            for name in SRAM_FIELDS:
                if name in items:
                    self.entry(items[name], f"{key}.{name}", f"{sram_row(size)}.{name}")
        return tuple(sizes)

    def resolve(self) -> None:
        """Every factor must lead, by way of others, to a number that stands for itself."""
        for of, mark, key in self.references.values():
            if of not in self.entries:
                self.problem(f"there is no entry {printable(of, 80)}", key, mark)
        for name, (_, mark, key) in self.references.items():
            seen, at = {name}, self.references[name][0]
            while at in self.references and at not in seen:
                seen.add(at)
                at = self.references[at][0]
            if at in seen:
                self.problem("leads back to itself", key, mark)


def technology_from(root: Node, file: str) -> Technology:
    """The table that a YAML tree holds. Raises ConfigError, naming each fault by line and key."""
    check = _Checker(file)
    items = check.fields(root, "", _TOP)
    name = check.text(items["name"], "name") if "name" in items else ""
    node_nm = check.number(items["node_nm"], "node_nm") if "node_nm" in items else None
    about = check.text(items["description"], "description") if "description" in items else ""
    sizes: tuple[float, ...] = ()
    if "operators" in items:
        check.operators(items["operators"])
    if "flip_flop" in items:
        check.group(items["flip_flop"], "flip_flop", QUANTITIES, "flip_flop")
    if "sram" in items:
        sizes = check.sram(items["sram"])
    for section, fields in (("off_chip", OFF_CHIP_FIELDS), ("leakage", LEAKAGE_FIELDS)):
        if section in items:
            check.group(items[section], section, fields, section)
    if not check.problems:
        check.resolve()
    if check.problems:
        raise ConfigError(sorted(check.problems, key=lambda problem: problem.mark.line or 0))
    assert node_nm is not None
    return Technology(name, node_nm, about, check.entries, sizes, file)


def sram_row(capacity_kib: float) -> str:
    """The key of an SRAM of that capacity, as entries of a table have it."""
    return f"sram_{capacity_kib:g}KiB"


def _joined(key: str, name: str) -> str:
    return f"{key}.{printable(name, 40)}" if key else printable(name, 40)
