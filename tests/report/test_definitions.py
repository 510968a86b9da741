"""The table of definitions: no key twice, no cell empty, and Markdown that docs/output-columns.md can hold."""

from __future__ import annotations

import pytest

from accel_sim.report.definitions import SECTIONS, definition_of, lookup, output_columns_markdown

EVERY = [definition for section in SECTIONS for definition in section.definitions]


def test_keys_are_unique():
    keys = [d.key for d in EVERY]
    assert sorted(set(keys)) == sorted(keys)


def test_everything_has_a_label_and_a_definition():
    assert [d.key for d in EVERY if not d.label or not d.about] == []
    assert not [d.key for d in EVERY if d.about.endswith(".") or d.about[0].isspace()]


@pytest.mark.parametrize(("suffix", "unit"), [
    ("_cycles", "cycles"), ("_um2.value", "µm²"), ("_pj.value", "pJ"), ("_us", "µs"), ("_bytes", "bytes"),
    ("_bits", "bits"), ("_mhz", "MHz"),
])  # fmt: skip
def test_units_in_names_are_the_units(suffix, unit):
    named = [d for d in EVERY if d.key.endswith(suffix) and not d.about.startswith("stored pattern")]
    assert named
    assert {d.unit for d in named} == {unit}


def test_paths_match_names_items_and_whole_subtrees():
    assert definition_of(("heads", 3, "residual"), "run") == lookup("heads[].residual")
    assert definition_of(("time", "stalls", "kv_load"), "run") == lookup("time.stalls.*")
    assert definition_of(("config", "values", "checker", "units", 0, "kind"), "run") == lookup("config.values.**")
    assert definition_of(("reach", "rows", 0), "inject") == lookup("reach.rows[]")
    assert definition_of(("heads", 3, "residual"), "inject") is None
    assert definition_of(("time", "stalls"), "run") is None
    assert definition_of(("time", "stalls", "kv_load", "x"), "run") is None


def test_the_markdown_has_a_row_for_every_key():
    text = output_columns_markdown()
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) == len(EVERY)
    assert all(line.replace("\\|", "").count("|") == 5 for line in rows)
    assert text.count("### ") == len(SECTIONS)
