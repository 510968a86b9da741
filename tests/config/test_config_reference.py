"""The generated schema and reference: complete, and true to what the loader accepts."""

from __future__ import annotations

import json

import pytest
import yaml

from accel_sim.config import reference_markdown, schema, shipped_configs
from accel_sim.config.explain import Slot
from accel_sim.config.reference import _sections
from accel_sim.config.root import Config

SECTIONS = {section for *_, section in _sections(Slot(Config), "")}


@pytest.mark.parametrize("section", sorted(SECTIONS, key=lambda section: section.__name__))
def test_every_section_and_every_field_is_described(section):
    assert section.__doc__
    for name, info in section.model_fields.items():
        assert info.description, name
        assert info.description.endswith("."), name


def test_the_reference_has_a_row_for_every_key():
    text = reference_markdown()
    for title in (
        "Top level",
        "`architecture`, kind `lanes`",
        "`checker.units[].threshold`, kind `bound`",
        "`faults.register_format`",
        "`workload.mask`",
        "`architecture.formats`",
        "`architecture.formats` of kind `fused`",
    ):
        assert text.count(f"### {title}\n") == 1
    for section in SECTIONS:
        for name in section.model_fields:
            assert f"\n| `{name}` | " in text
    assert "| `lanes` | `16` | an integer from 1 to 1024 |" in text
    assert "| `output` | same as `state` |" in text
    assert "| `value` | required | a number above 0 |" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert all(row.count("|") - row.count("\\|") == 5 for row in rows)


def test_the_schema_is_json_of_the_current_draft_with_titles_defaults_and_descriptions():
    found = json.loads(json.dumps(schema()))
    assert found["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert found["title"] == "accel-sim config"
    assert found["additionalProperties"] is False
    assert set(found["properties"]) == {"extends", *Config.model_fields}
    lanes = found["$defs"]["LanesArchitecture"]["properties"]
    assert (lanes["lanes"]["default"], lanes["lanes"]["minimum"], lanes["lanes"]["maximum"]) == (16, 1, 1024)
    assert lanes["lanes"]["description"]
    assert lanes["key_tile"]["enum"][-1] == 65536


def test_the_schema_accepts_the_shipped_configs_and_refuses_what_the_loader_refuses():
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    for name, path in shipped_configs().items():
        # PyYAML alone reads 1e-6, without a point, as text.
        text = path.read_text().replace("1e-6", "1.0e-6").replace("1e-3", "1.0e-3")
        assert not list(validator.iter_errors(yaml.safe_load(text))), name
    for bad in (
        {"nmae": 1},
        {"architecture": {"kind": "lanes", "lanes": 0}},
        {"architecture": {"kind": "lanes", "lanes": "16"}},
        {"architecture": "gpu"},
        {"memory": {"off_chip": {"burst_bytes": 48}}},
        {"checker": {"units": ["fused_outputs"]}},
        {"faults": {"targets": []}},
        {"extends": 3},
    ):
        assert list(validator.iter_errors(bad)), bad
