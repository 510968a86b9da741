"""Technology tables: what they must hold, what is wrong with a bad one, and what their prices mean."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest

from accel_sim.config import ConfigError
from accel_sim.cost import MARKS, Technology, load_technology, shipped_technologies
from accel_sim.cost.prices import operator_parts, sram_parts

ENTRY = '{value: 2, low: 1, high: 4, mark: read, source: "a book"}'
TABLE = f"""\
name: toy
node_nm: 100
description: a toy
operators:
  fp_add:
    fp32:
      area_um2: {ENTRY}
      energy_pj: {ENTRY}
    bf16:
      area_um2: {{of: fp_add.fp32, value: 0.5, low: 0.5, high: 1, mark: measured, source: here}}
      energy_pj: {ENTRY}
flip_flop: {{area_um2: {ENTRY}, energy_pj: {ENTRY}}}
sram:
  - capacity_kib: 1
    area_um2_per_bit: {ENTRY}
    read_pj_per_byte: {ENTRY}
    write_pj_per_byte: {ENTRY}
off_chip: {{energy_pj_per_bit: {ENTRY}}}
leakage: {{logic_nw_per_um2: {ENTRY}, sram_nw_per_bit: {ENTRY}}}
"""


@pytest.fixture
def load(tmp_path: Path) -> Callable[[str], Technology]:
    """A table from its text."""

    def from_text(text: str) -> Technology:
        file = tmp_path / "toy.yaml"
        file.write_text(text)
        return load_technology(file)

    return from_text


@pytest.fixture(scope="module")
def table() -> Technology:
    return load_technology("28nm")


def cost(technology: Technology, unit: str, fmt: str, quantity: str = "area_um2") -> float:
    return sum(n * technology.number(f"{row}.{quantity}") for row, n in operator_parts(technology, unit, fmt))


# -- reading --------------------------------------------------------------------------------------------------


def test_every_shipped_number_has_a_source_a_mark_and_a_range() -> None:
    for name in shipped_technologies():
        technology = load_technology(name)
        assert technology.name == name
        for key, entry in technology.entries.items():
            assert 0 < entry.low <= entry.value <= entry.high < math.inf, key
            assert entry.mark in MARKS and len(entry.source) > 10, key
            low, value, high = (technology.number(key, end) for end in ("low", "value", "high"))
            assert low < value < high, f"{key} claims to be exact"


def test_a_factor_multiplies_the_entry_it_is_of(load: Callable[[str], Technology]) -> None:
    toy = load(TABLE)
    assert toy.number("fp_add.bf16.area_um2") == 1.0
    assert toy.number("fp_add.bf16.area_um2", "high") == 4.0
    assert toy.number("fp_add.bf16.energy_pj") == 2.0


BAD = {
    "no number": ("value: 2, low: 1, high: 4", "value: two, low: 1, high: 4",
                  '7: operators.fp_add.fp32.area_um2.value: must be a finite number above 0 (got the text "two")'),
    "zero": ("value: 2, low: 1", "value: 2, low: 0",
             "7: operators.fp_add.fp32.area_um2.low: must be a finite number above 0 (got 0)"),
    "infinite": ("high: 4", "high: .inf", "7: operators.fp_add.fp32.area_um2.high: must be a finite number"),
    "range": ("value: 2, low: 1", "value: 2, low: 3",
              "7: operators.fp_add.fp32.area_um2: needs low <= value <= high (got 3, 2, 4)"),
    "mark": ("mark: read", "mark: gospel", "7: operators.fp_add.fp32.area_um2.mark: must be read, second-hand"),
    "source": ('source: "a book"', 'source: ""', "7: operators.fp_add.fp32.area_um2.source: must be text"),
    "no source": (', source: "a book"', "", "7: operators.fp_add.fp32.area_um2: needs source"),
    "extra": ("value: 2", "valeu: 1, value: 2",
              '7: operators.fp_add.fp32.area_um2.valeu: unknown key; did you mean "value"?'),
    "unit": ("  fp_add:", "  fp_ad:", '5: operators.fp_ad: unknown unit; did you mean "fp_add"?'),
    "section": ("flip_flop:", "flipflop:", '12: flipflop: unknown key; did you mean "flip_flop"?'),
    "missing quantity": ("    bf16:\n      area_um2", "    bf16:\n      arae_um2",
                         "10: operators.fp_add.bf16.arae_um2"),
    "of nothing": ("of: fp_add.fp32", "of: fp_add.fp23", "10: operators.fp_add.bf16.area_um2.of: there is no entry"),
    "of itself": ("of: fp_add.fp32", "of: fp_add.bf16", "10: operators.fp_add.bf16.area_um2.of: leads back to itself"),
    "sram": ("  - capacity_kib: 1\n", "  - capacity_kib: -1\n", "14: sram.0.capacity_kib: must be a finite number"),
    "duplicate": ("node_nm: 100", "node_nm: 100\nnode_nm: 90", "3: node_nm: duplicate key"),
    "not a mapping": ("  fp_add:\n", "  fp_max: 3\n  fp_add:\n", "5: operators.fp_max: must be a mapping (got 3)"),
    "empty": (TABLE, "", "1: holds no configuration"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_with_its_line_and_key(load: Callable[[str], Technology], case: str) -> None:
    old, new, message = BAD[case]
    assert old in TABLE
    with pytest.raises(ConfigError) as caught:
        load(TABLE.replace(old, new, 1))
    assert f"toy.yaml:{message}" in str(caught.value)


def test_a_table_that_is_not_there() -> None:
    with pytest.raises(ConfigError, match=r"28nn: no such technology table.*28nm"):
        load_technology("28nn")


# -- prices ---------------------------------------------------------------------------------------------------


def test_what_the_table_cannot_price_is_an_error_that_names_it(load: Callable[[str], Technology]) -> None:
    toy = load(TABLE)
    with pytest.raises(ConfigError, match=r'no price for exp of format "fp32"; it needs operators.exp.fp32'):
        operator_parts(toy, "exp", "fp32")
    with pytest.raises(ConfigError, match=r"operators.significand_mul.bit and operators.fp_mul_finish.bit"):
        operator_parts(toy, "fp_mul", "bf16*bf16->fp32")
    with pytest.raises(ConfigError, match=r'fp_add of format "fp64"'):
        operator_parts(toy, "fp_add", "fp64")
    with pytest.raises(ConfigError, match=r'fp_mul of format "int8\*int8->int8"'):
        operator_parts(load_technology("28nm"), "fp_mul", "int8*int8->int8")


def test_what_is_listed_goes_before_any_rule(load: Callable[[str], Technology]) -> None:
    listed = TABLE.replace("flip_flop:", f"""\
  fp_mul: {{"bf16*bf16->bf16": {{area_um2: {ENTRY}, energy_pj: {ENTRY}}}}}
flip_flop:""")
    assert operator_parts(load(listed), "fp_mul", "bf16*bf16->bf16") == (("fp_mul.bf16*bf16->bf16", 1.0),)


def test_a_narrow_sum_without_a_row_costs_what_its_result_costs(table: Technology) -> None:
    assert operator_parts(table, "fp_add", "fp8_e4m3+bf16->fp32") == (("fp_add.fp32", 1.0),)
    assert cost(table, "fp_add", "bf16+bf16->fp32") < cost(table, "fp_add", "fp32")


SYNTHESISED = {  # ASAP7 cells, um2, least area of array and Booth
    "fp8_e5m2*fp8_e5m2->fp8_e5m2": 7.46, "fp8_e4m3*fp8_e4m3->fp8_e4m3": 10.76, "bf16*bf16->bf16": 35.87,
    "fp16*fp16->fp16": 54.84, "fp32*fp32->fp32": 226.4, "bf16*bf16->fp32": 34.92, "fp16*fp16->fp32": 58.39,
    "fp8_e4m3*fp8_e4m3->fp32": 9.56, "bf16*fp32->fp32": 95.76, "bf16*fp64->fp64": 206.7,
}


@pytest.mark.parametrize("fmt", SYNTHESISED)
def test_the_multiplier_rule_meets_synthesis(table: Technology, fmt: str) -> None:
    ratio = cost(table, "fp_mul", fmt) / cost(table, "fp_add", "fp32")
    assert ratio == pytest.approx(SYNTHESISED[fmt] / 96.6, rel=0.25)


def test_anchors_of_the_literature(table: Technology) -> None:
    """Horowitz, 45 nm, scaled by 0.513 (energy) and 0.377 (area, his areas from memory only)."""
    horowitz = {("fp_add", "fp32"): (0.9, 4184), ("fp_add", "fp16"): (0.4, 1360),
                ("fp_mul", "fp32*fp32->fp32"): (3.7, 7700), ("fp_mul", "fp16*fp16->fp16"): (1.1, 1640)}
    for (unit, fmt), (energy, area) in horowitz.items():
        assert cost(table, unit, fmt, "energy_pj") == pytest.approx(energy * 0.513, rel=0.3)
        assert cost(table, unit, fmt) == pytest.approx(area * 0.377, rel=0.5)
    assert table.number("flip_flop.area_um2") == pytest.approx(5.98 * 0.476, rel=0.05)
    assert cost(table, "int_add", "uint32", "energy_pj") == pytest.approx(0.1 * 0.513, rel=0.05)


def test_wider_formats_cost_more(table: Technology) -> None:
    formats = ("fp8_e4m3", "bf16", "fp16", "fp32", "fp64")
    for unit in ("fp_add", "fp_max", "div", "exp"):
        areas = [cost(table, unit, fmt) for fmt in formats]
        assert areas == sorted(areas), unit
    products = [cost(table, "fp_mul", f"{fmt}*{fmt}->{fmt}") for fmt in formats]
    assert products == sorted(products)


def test_sram_lies_between_the_capacities_around_it(table: Technology) -> None:
    def read(kib: float) -> float:
        return sum(n * table.number(f"{row}.read_pj_per_byte") for row, n in sram_parts(table, kib * 1024))

    assert read(16) == table.number("sram_16KiB.read_pj_per_byte")
    assert read(32) == pytest.approx((read(16) + read(64)) / 2)  # half-way in the logarithm
    assert read(0.1) == read(1) and read(10_000) == read(1024)
