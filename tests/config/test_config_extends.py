"""`extends`: base configs under a config, and the files that a config names."""

from __future__ import annotations

import pytest

from accel_sim.config import ConfigError, load_config, shipped_configs_dir


@pytest.fixture
def write(tmp_path):
    def write_files(**texts: str):
        for name, text in texts.items():
            file = tmp_path / f"{name.replace('__', '/')}.yaml"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
        return tmp_path / "top.yaml"

    return write_files


def test_mappings_merge_and_scalars_and_lists_replace(write):
    top = write(
        base="architecture: {kind: lanes, lanes: 8, formats: {score: bf16}}\nfaults: {kinds: [burst]}\n",
        top="extends: base.yaml\narchitecture: {lanes: 4, formats: {exp: bf16}}\nfaults: {kinds: [stuck0]}\n",
    )
    config = load_config(top)
    assert config.architecture.lanes == 4
    assert (config.architecture.formats.score, config.architecture.formats.exp) == ("bf16", "bf16")
    assert config.faults.kinds == ("stuck0",)


def test_a_mapping_of_another_kind_replaces_and_of_the_same_kind_merges(write):
    base = (
        "workload: {kind: gaussian, queries: 7, keys: 9}\n"
        "architecture: {kind: lanes, exp: {kind: pwl, pieces: 32}}\n"
    )
    other = load_config(write(base=base, top="extends: base.yaml\nworkload: {kind: outliers, keys: 5}\n"))
    assert (other.workload.queries, other.workload.keys) == (256, 5)
    same = load_config(write(base=base, top="extends: base.yaml\nworkload: {kind: gaussian, keys: 5}\n"))
    assert (same.workload.queries, same.workload.keys) == (7, 5)
    bare = load_config(write(base=base, top="extends: base.yaml\narchitecture: {exp: pwl}\n"))
    assert bare.architecture.exp.pieces == 32
    exact = load_config(write(base=base, top="extends: base.yaml\narchitecture: {exp: exact}\n"))
    assert exact.architecture.exp.kind == "exact"


def test_a_bare_name_in_the_base_can_be_given_parameters(write):
    top = write(base="workload: gaussian\n", top="extends: base.yaml\nworkload: {keys: 5}\n")
    assert (load_config(top).workload.kind, load_config(top).workload.keys) == ("gaussian", 5)


def test_later_bases_win_and_the_file_wins_over_all(write):
    top = write(
        a="name: a\nmemory: {q_buffers: 3, o_buffers: 3, kv_buffers: 3}\n",
        b="name: b\nmemory: {q_buffers: 4, o_buffers: 4}\n",
        top="extends: [a.yaml, b.yaml]\nmemory: {q_buffers: 5}\n",
    )
    config = load_config(top)
    assert config.name == "b"
    assert (config.memory.q_buffers, config.memory.o_buffers, config.memory.kv_buffers) == (5, 4, 3)


def test_bases_of_bases_count_from_the_file_that_names_them(write):
    top = write(
        sub__base="extends: deep.yaml\nmemory: {q_buffers: 3}\n",
        sub__deep="memory: {q_buffers: 4, o_buffers: 4}\n",
        deep="memory: {o_buffers: 8}\n",
        top="extends: sub/base.yaml\n",
    )
    assert load_config(top).memory.o_buffers == 4


def test_the_same_base_may_be_used_twice(write):
    top = write(
        a="name: a\n", b="extends: a.yaml\n", c="extends: a.yaml\n", top="extends: [b.yaml, c.yaml]\n"
    )
    assert load_config(top).name == "a"


@pytest.mark.parametrize("name", ["tiny", "tiny.yaml"])
def test_a_shipped_config_can_be_a_base(write, name):
    config = load_config(write(top=f"extends: {name}\nname: mine\n"))
    assert (config.name, config.architecture.lanes) == ("mine", 2)


def test_errors_point_at_the_file_and_line_where_the_value_stands(write):
    top = write(
        base="name: x\nmemory:\n  ecc: none\n  q_buffers: 9\n", top="extends: base.yaml\nmemory:\n  ecc: no\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_config(top)
    own, base = caught.value.problems
    assert (own.mark.file, own.mark.line, own.key) == (str(top), 3, "memory.ecc")
    assert (base.mark.file, base.mark.line, base.key) == (
        str(top.with_name("base.yaml")),
        4,
        "memory.q_buffers",
    )


def test_a_clash_points_at_the_file_at_hand_rather_than_at_its_base(write):
    top = write(
        base="workload: {kind: gaussian, keys: 300}\n",
        top="extends: base.yaml\narchitecture:\n  kind: lanes\n  max_keys: 290\n",
    )
    with pytest.raises(ConfigError, match=r"top\.yaml:4: architecture\.max_keys: .*got 300 > 290"):
        load_config(top)


@pytest.mark.parametrize(
    ("files", "where", "fragment"),
    [
        ({"top": "name: x\nextends: top.yaml\n"}, "top.yaml:2: extends", "leads back"),
        ({"top": "extends: a.yaml\n", "a": "\nextends: top.yaml\n"}, "a.yaml:2: extends", "leads back"),
        ({"top": "extends: none.yaml\n"}, "top.yaml:1: extends", 'no such config "none.yaml"'),
        ({"top": 'extends: "a\\0b"\n'}, "top.yaml:1: extends", "no such config"),
        ({"top": "extends: 3\n"}, "top.yaml:1: extends", "must be the path of a config"),
        ({"top": "extends:\n"}, "top.yaml:1: extends", "got null"),
        ({"top": "extends:\n  - a.yaml\n  - {}\n", "a": "{}"}, "top.yaml:3: extends", "got a mapping"),
        ({"top": "extends: .\n"}, "top.yaml:1: extends", 'no such config "."'),
        ({"top": "extends: a.yaml\n", "a": "name: [\n"}, "a.yaml:", "not valid YAML"),
        ({"top": "extends: a.yaml\n", "a": "3\n"}, "a.yaml:1", "top level must be a mapping"),
    ],
)
def test_a_base_that_cannot_be_used_says_where_it_is_named(write, files, where, fragment):
    top = write(**files)
    with pytest.raises(ConfigError) as caught:
        load_config(top)
    assert f"{top.parent}/{where}" in str(caught.value)
    assert fragment in str(caught.value)


def test_a_web_of_bases_ends(write):
    files = {f"f{i}": f"extends: [f{i + 1}.yaml, f{i + 1}.yaml]\n" for i in range(30)}
    with pytest.raises(ConfigError, match="more than 32 files"):
        load_config(write(top="extends: f0.yaml\n", f30="{}", **files))


def test_a_data_file_counts_from_the_config_that_states_it(write, tmp_path, monkeypatch):
    top = write(sub__base="workload: {kind: file, path: q.npz}\n", top="extends: sub/base.yaml\n")
    (tmp_path / "sub" / "q.npz").write_bytes(b"")
    assert load_config(top).workload_path() == tmp_path / "sub" / "q.npz"
    monkeypatch.chdir(tmp_path)
    config = load_config("top.yaml")
    monkeypatch.chdir("/")
    assert config.workload_path() == tmp_path / "sub" / "q.npz"


def test_a_data_file_that_is_not_there_is_looked_for_among_the_shipped_ones(write, tmp_path):
    stated = load_config(write(top="workload: {kind: captured, path: workloads/minilm-l6-v2.npz}\n"))
    shipped = shipped_configs_dir() / "workloads" / "minilm-l6-v2.npz"
    assert stated.workload_path() == shipped
    assert load_config(write(top="workload: captured\n")).workload_path() == shipped
    missing = load_config(write(top="workload: {kind: file, path: none.npz}\n"))
    assert missing.workload_path() == tmp_path / "none.npz"
    assert load_config("tiny").workload_path() is None
