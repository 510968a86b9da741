"""The hash of a config: equal for equal designs however they are written, different for all else."""

from __future__ import annotations

import pytest

from accel_sim.config import config_from_dict, config_hash, load_config

TEXTS = [
    "{}",
    "name: x\ndescription: y\n",
    "architecture: {kind: lanes}\nworkload: {kind: gaussian}\n",
    "workload: gaussian\nmemory: {off_chip: {latency_cycles: 0}, kv_resident: false}\narchitecture: lanes\n",
    "architecture: {clock_mhz: 500, kind: lanes, formats: {output: fp32}}\n",
    "architecture: {clock_mhz: 5e2, kind: lanes, exp: exact}\nchecker: {units: []}\n",
]


@pytest.mark.parametrize("text", TEXTS)
def test_order_spelling_defaults_and_names_do_not_change_the_hash(text, tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(text)
    assert config_hash(load_config(file)) == config_hash(config_from_dict({}))


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture.lanes": 8},
        {"architecture.subnormals": "flush"},
        {"architecture.clock_mhz": 501},
        {"architecture.formats.output": "bf16"},
        {"memory.kv_resident": True},
        {"checker.units": ["fused_output"]},
        {"recovery": "none"},
        {"workload.seed": 1},
        {"workload": "outliers"},
        {"faults.seed": 1},
        {"technology.name": "7nm"},
    ],
)
def test_whatever_changes_results_changes_the_hash(changes):
    config = config_from_dict({"workload": "gaussian"})
    assert config_hash(config.changed(changes)) != config_hash(config)


def test_a_set_hashes_alike_in_any_order():
    one, other = ({"faults": {"targets": names}} for names in (["sram", "registers"], ["registers", "sram"]))
    assert config_hash(config_from_dict(one)) == config_hash(config_from_dict(other))


def test_a_workload_file_counts_by_its_content(tmp_path):
    def hash_of(folder: str, name: str, content: bytes | None) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        if content is not None:
            (tmp_path / folder / name).write_bytes(content)
        file = tmp_path / folder / "x.yaml"
        file.write_text(f"workload: {{kind: file, path: {name}}}\n")
        return config_hash(load_config(file))

    assert hash_of("a", "q.npy", b"1") == hash_of("b", "other.npy", b"1")
    assert hash_of("a", "q.npy", b"1") != hash_of("a", "q.npy", b"2")
    assert hash_of("c", "none.npy", None) == hash_of("d", "none.npy", None)
    assert hash_of("c", "none.npy", None) != hash_of("c", "nothing.npy", None)


def test_the_hash_is_the_same_on_every_machine():
    # A change of this value means that runs of earlier versions can no longer be resumed.
    assert (
        config_hash(load_config("tiny")) == "5921f792ee3db5f665e9f6398a6cc18e4eeef8631f0df7db4a92b98ae96a11ea"
    )
