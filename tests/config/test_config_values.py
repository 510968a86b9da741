"""How YAML's spellings become values, and how a loaded config behaves."""

from __future__ import annotations

import pickle

import pydantic
import pytest

from accel_sim.config import (
    CalibratedThreshold,
    Checker,
    Config,
    ConfigError,
    FusedOutputUnit,
    LanesArchitecture,
    OutliersWorkload,
    PwlExp,
    config_from_dict,
    load_config,
    to_dict,
)


@pytest.fixture
def load(tmp_path):
    def load_text(text: str) -> Config:
        file = tmp_path / "x.yaml"
        file.write_bytes(text.encode())
        return load_config(file)

    return load_text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-6", 1e-6),
        ("1E+3", 1000.0),
        ("12", 12.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("+2.5e1", 25.0),
        ("0x10", 16.0),
    ],
)
def test_numbers_are_read_as_in_yaml_1_2(load, text, value):
    clock = load(f"architecture: {{kind: lanes, clock_mhz: {text}}}").architecture.clock_mhz
    assert clock == value
    assert type(clock) is float


@pytest.mark.parametrize(
    "text", ["on", "Off", "yes", "NO", "12:30:45", "2024-01-01", "010", "1_000", "0o17", "0b11"]
)
def test_what_yaml_1_1_would_convert_stays_text(load, text):
    assert load(f"name: {text}").name == text


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("TRUE", True)])
def test_only_true_and_false_are_booleans(load, text, value):
    assert load(f"memory: {{kv_resident: {text}}}").memory.kv_resident is value


def test_quotes_blocks_and_a_byte_order_mark_are_yaml_as_usual(load):
    config = load("\ufeffname: '12'\r\ndescription: >\r\n  two\r\n  lines\r\n")
    assert (config.name, config.description) == ("12", "two lines\n")


def test_anchors_and_aliases_work(load):
    formats = "{operand: bf16, score: fp32, exp: fp32, state: fp32, checker: fp32}"
    config = load(
        f"architecture: {{kind: lanes, formats: {formats}}}\nfaults: {{seed: &s 7}}\n"
        "workload: {kind: gaussian, seed: *s}"
    )
    assert config.workload.seed == 7


def test_an_empty_mapping_is_a_complete_config(load):
    assert load("{}") == Config() == config_from_dict({})


def test_a_bare_name_is_short_for_its_kind(load):
    short = load(
        "architecture: {kind: lanes, exp: pwl}\nrecovery: none\nworkload: outliers\n"
        "checker: {units: [fused_output]}"
    )
    assert short.architecture.exp == PwlExp()
    assert short.recovery.kind == "none"
    assert short.workload == OutliersWorkload()
    assert short.checker.units == (FusedOutputUnit(threshold=CalibratedThreshold(multiple=4.0, samples=20)),)


@pytest.mark.parametrize(
    ("formats", "output"), [("{state: bf16}", "bf16"), ("{}", "fp32"), ("{output: fp16}", "fp16")]
)
def test_the_output_has_the_state_s_format_unless_stated(load, formats, output):
    assert load(f"architecture: {{kind: lanes, formats: {formats}}}").architecture.formats.output == output


@pytest.mark.parametrize("layer", ["all", "3"])
def test_layers_are_numbered_or_all(load, layer):
    assert str(load(f"workload: {{kind: captured, layer: {layer}}}").workload.layer) == layer


def test_a_config_is_frozen_hashable_and_survives_a_process_boundary():
    config = load_config("tiny")
    with pytest.raises(pydantic.ValidationError):
        config.name = "x"
    with pytest.raises(pydantic.ValidationError):
        config.architecture.lanes = 3
    twin = pickle.loads(pickle.dumps(config))
    assert twin == config
    assert hash(twin) == hash(config)
    assert twin.mark("architecture.lanes") == config.mark("architecture.lanes")
    assert config != load_config("lanes-d64")
    assert config != 3


def test_where_a_value_was_written_is_no_part_of_what_it_is(load):
    assert load("name: a\nfaults: {seed: 3}") == load("\n\nfaults: {seed: 3}\nname: a")


def test_plain_data_of_a_config_gives_the_config_back():
    config = load_config("bf16-d64")
    assert config_from_dict(to_dict(config)) == config


def test_models_can_be_made_in_python():
    config = Config(architecture=LanesArchitecture(lanes=2), checker=Checker(units=[FusedOutputUnit()]))
    assert config.architecture.lanes == 2
    assert config.changed({"architecture.exp": PwlExp(pieces=16)}).architecture.exp.pieces == 16


def test_changes_lay_values_over_dotted_keys():
    config = load_config("tiny")
    changed = config.changed(
        {
            "architecture.head_dim": 8,
            "checker.units.0.granularity": "query_block",
            "checker.units.0.threshold": {"kind": "bound"},
            "memory.off_chip.latency_cycles": 9,
        }
    )
    assert changed.architecture.head_dim == 8
    assert changed.architecture.lanes == config.architecture.lanes
    assert changed.checker.units[0].granularity == "query_block"
    assert changed.checker.units[0].threshold.kind == "bound"
    assert changed.memory.off_chip.latency_cycles == 9
    assert config == load_config("tiny")
    assert changed == load_config("tiny", {"architecture.head_dim": 8}).changed(
        {
            "checker.units.0": {"granularity": "query_block", "threshold": "bound"},
            "memory": {"off_chip": {"latency_cycles": 9}},
        }
    )


def test_changes_may_count_on_a_default_kind():
    config = config_from_dict({}).changed({"architecture.exp.kind": "pwl", "workload.keys": 9})
    assert (config.architecture.exp, config.workload.keys) == (PwlExp(), 9)
    assert config.changed({"architecture": {"lanes": 4}}).architecture.exp == PwlExp()
    unit = config.changed({"checker.units": ["fused_output"]}).changed(
        {"checker.units.0.threshold.multiple": 6}
    )
    assert unit.checker.units[0].threshold == CalibratedThreshold(multiple=6)


def test_the_order_of_changes_does_not_matter():
    changes = {
        "workload.keys": 9,
        "workload.channels": 2,
        "workload.kind": "outliers",
        "workload": "captured",
    }
    config = load_config("tiny")
    expected = OutliersWorkload(keys=9, channels=2, queries=16)
    for order in (changes, dict(reversed(changes.items()))):
        assert config.changed({**order, "workload.queries": 16}).workload == expected


@pytest.mark.parametrize(
    "shares",
    [
        {"exp": False},
        {"exp": False, "sum": False},
        {"sum": False},
        {"max": False, "exp": False},
        {"score": False, "max": False, "exp": False},
    ],
)
def test_what_may_be_unshared(shares):
    unit = {"kind": "fused_output", "shares": shares}
    (loaded,) = config_from_dict({"checker": {"units": [unit]}}).checker.units
    assert {name: value for name, value in loaded.shares if not value} == shares


def test_changes_are_checked_like_a_file():
    config = load_config("tiny")
    with pytest.raises(ConfigError, match=r"^architecture\.lanes: must be at least 1"):
        config.changed({"architecture.lanes": 0})
    with pytest.raises(ConfigError, match=r'checker\.units\.3: there is no item "3" in a list of 1'):
        config.changed({"checker.units.3": "fused_output"})
    with pytest.raises(ConfigError, match="unknown key"):
        config.changed({"architecture.lane": 3})
    with pytest.raises(ConfigError, match=r"tiny\.yaml:\d+: workload\.keys: .*got 6 > 5"):
        config.changed({"architecture.max_keys": 5})


def test_lists_that_are_sets_have_one_order(load):
    config = load("faults: {targets: [sram, registers], kinds: [stuck1, flip], components: [b, a]}")
    assert config.faults.targets == ("registers", "sram")
    assert config.faults.kinds == ("flip", "stuck1")
    assert config.faults.components == ("a", "b")
