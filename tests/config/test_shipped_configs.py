"""The configs that come with accel-sim: they load, and they are what their comments say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from accel_sim.config import (
    AbsoluteThreshold,
    CalibratedThreshold,
    CapturedWorkload,
    ConfigError,
    FusedOutputUnit,
    PwlExp,
    ReciprocalPwlDivide,
    load_config,
    paths,
    resolve_config,
    shipped_configs,
    shipped_configs_dir,
)

NAMES = list(shipped_configs())


def test_the_expected_configs_are_shipped():
    assert set(NAMES) >= {"paper-d64", "paper-d128", "lanes-d64", "bf16-d64", "minilm", "tiny"}


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_config_loads_and_bears_its_own_name(name):
    config = load_config(name)
    assert config.name == name
    assert config.description
    assert config.checker.units


@pytest.mark.parametrize(("name", "head_dim"), [("paper-d64", 64), ("paper-d128", 128)])
def test_the_paper_configs_flip_bf16_bits_over_fp64_arithmetic(name, head_dim):
    config = load_config(name)
    arch = config.architecture
    assert (arch.lanes, arch.head_dim) == (16, head_dim)
    assert arch.formats.model_dump() == {
        "operand": "bf16",
        "score": "fp64",
        "exp": "fp64",
        "state": "fp64",
        "output": "fp64",
        "checker": "fp64",
    }
    assert config.faults.register_format.model_dump() == {
        "operand": "bf16",
        "score": "bf16",
        "exp": "bf16",
        "state": "bf16",
        "output": "bf16",
        "checker": None,
    }
    (unit,) = config.checker.units
    assert isinstance(unit, FusedOutputUnit)
    assert (unit.granularity, unit.threshold) == ("head", AbsoluteThreshold(value=1e-6))
    assert (config.workload.queries, config.workload.keys) == (256, 256)


def test_the_bf16_config_is_bf16_up_to_the_checker():
    arch = load_config("bf16-d64").architecture
    assert set(arch.formats.model_dump(exclude={"checker"}).values()) == {"bf16"}
    assert arch.formats.checker == "fp32"
    assert (arch.exp, arch.divide) == (PwlExp(pieces=8), ReciprocalPwlDivide(pieces=16))


def test_the_minilm_config_reads_the_shipped_tensors_through_a_finite_memory():
    config = load_config("minilm")
    assert isinstance(config.workload, CapturedWorkload)
    assert config.workload_path() == shipped_configs_dir() / "workloads" / "minilm-l6-v2.npz"
    assert config.memory.off_chip.bandwidth_bytes_per_cycle == 64.0
    assert config.memory.off_chip.latency_cycles == 100
    assert isinstance(config.checker.units[0].threshold, CalibratedThreshold)


def test_the_tiny_config_leaves_its_last_block_and_tile_partly_empty():
    config = load_config("tiny")
    assert config.workload.queries % config.architecture.lanes
    assert config.workload.keys % config.architecture.key_tile


@pytest.mark.parametrize("spelling", ["tiny", "tiny.yaml"])
def test_a_shipped_config_is_found_by_name_from_anywhere(spelling, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_config(spelling) == shipped_configs_dir() / "tiny.yaml"
    assert load_config(spelling).name == "tiny"


def test_a_file_at_hand_is_preferred_to_the_shipped_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text("name: mine\n")
    assert load_config("tiny.yaml").name == "mine"
    assert load_config("tiny").name == "tiny"


def test_an_installed_package_has_its_own_copy(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "accel_sim" / "config" / "paths.py"))
    with pytest.raises(ConfigError, match="no shipped configs"):
        shipped_configs_dir()
    (tmp_path / "configs").mkdir()
    assert shipped_configs_dir() == tmp_path / "configs"
    packaged = tmp_path / "accel_sim" / "_data" / "configs"
    packaged.mkdir(parents=True)
    (packaged / "only.yaml").write_text("name: only\n")
    assert list(shipped_configs()) == ["only"]
    assert load_config("only").name == "only"


def test_a_folder_does_not_hide_a_shipped_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    os.mkdir("tiny")
    assert load_config("tiny").name == "tiny"


@pytest.mark.parametrize(
    ("name", "fragments"),
    [
        ("tyny", ["tyny: no such file", 'did you mean "tiny"?']),
        ("quite different", ["no such file", "paper-d64"]),
        ("", ["must not be empty"]),
        ("a\0b", ["a\\x00b"]),
        ("x" * 5000, ["file name too long"]),
        ("/", ["cannot be read"]),
        ("\udcff\ud800", ["no such file"]),
    ],
)
def test_a_name_that_means_nothing_says_so_on_one_line(name, fragments):
    with pytest.raises(ConfigError) as caught:
        load_config(name)
    message = str(caught.value)
    assert "\n" not in message
    message.encode("utf-8")
    for fragment in fragments:
        assert fragment in message
