"""What is wrong in a file is told with its line, its key, and what would be allowed."""

from __future__ import annotations

import copy
import pickle
import textwrap

import pytest

from accel_sim.config import ConfigError, config_from_dict, load_config

ARCH = "architecture:\n  kind: lanes\n"
UNIT = "checker:\n  units:\n    - kind: fused_output\n"

# text or bytes of the file, line, key, fragments of the message
CASES = {
    "empty": ("", 1, None, ["empty"]),
    "only a comment": ("# nothing\n", 1, None, ["empty"]),
    "a list": ("- a\n", 1, None, ["top level must be a mapping", "got a list"]),
    "a scalar": ("hello\n", 1, None, ["top level must be a mapping"]),
    "binary": (b"name: x\n\x89PNG\xff", 2, None, ["not UTF-8"]),
    "latin-1": (b"name: caf\xe9\n", 1, None, ["not UTF-8"]),
    "a NUL": (b"name: x\nab\x00c\n", 2, None, ["U+0000"]),
    "UTF-16": ("name: x\n".encode("utf-16"), 1, None, ["not UTF-8"]),
    "a tab as indentation": ("memory:\n\tecc: none\n", 2, None, ["tab", "spaces"]),
    "an open bracket": ("name: [1, 2\nmemory: x\n", 2, None, ["not valid YAML"]),
    "an open quote": ('name: x\ndescription: "abc\n\n', 2, None, ["not valid YAML"]),
    "two colons": ("name: a: b\n", 1, None, ["not valid YAML"]),
    "a bad escape": ('name: "\\UFFFFFFFF"\n', 1, None, ["not valid YAML"]),
    "a surrogate": ('name: "\\ud800"\n', 1, None, []),
    "two documents": ("name: a\n---\nname: b\n", 2, None, ["second YAML document"]),
    "a duplicate key": ("name: a\nname: b\n", 2, "name", ["duplicate key", "line 1"]),
    "a duplicate key inside": (
        "memory:\n  ecc: none\n  ecc: none\n",
        3,
        "memory.ecc",
        ["duplicate", "line 2"],
    ),
    "a number as key": ("1: x\n", 1, None, ["keys must be text"]),
    "null as key": ("~: x\n", 1, None, ["keys must be text"]),
    "a boolean as key": ("true: x\n", 1, None, ["keys must be text"]),
    "a list as key": ("[a]: x\n", 1, None, ["keys must be text"]),
    "a mapping as key": ("? {a: b}\n: c\n", 1, None, ["keys must be text"]),
    "an alias as key": ("name: &n x\n*n : y\n", 2, None, ["keys must be text"]),
    "a tag": ("name: !!python/name:os.system x\n", 1, "name", ["tags are not supported"]),
    "a merge key": ("memory: &m {ecc: none}\nfaults:\n  <<: *m\n", 3, "faults", ["merge keys", "extends"]),
    "an unknown alias": ("name: *b\n", 1, "name", ['alias "*b"']),
    "an alias of itself": ("name: &a [*a]\n", 1, "name.0", ['alias "*a"']),
    "deep brackets": ("name: " + "[" * 200_000, 1, None, ["deeper than 32"]),
    "deep aliases": (
        "a0: &a0 []\n" + "".join(f"a{i}: &a{i} [*a{i - 1}]\n" for i in range(1, 40)),
        32,
        "a31.0",
        ["nest deeper than 32"],
    ),
    "an alias bomb": (
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)),
        5,
        "a4.7",
        ["more than 20000 values"],
    ),
    "a large file": ("# " + "x" * 300_000, None, None, ["larger than 256 KiB"]),
    "a huge integer": (f"faults:\n  seed: {'9' * 5000}\n", 2, "faults.seed", ["2^63 - 1"]),
    "a huge hex integer": ("faults:\n  seed: 0xffffffffffffffff\n", 2, "faults.seed", ["2^63 - 1"]),
    "a float too large": (ARCH + "  clock_mhz: 1e999\n", 3, "architecture.clock_mhz", ["finite", ".inf"]),
    "not a number": (ARCH + "  clock_mhz: .nan\n", 3, "architecture.clock_mhz", ["finite", ".nan"]),
    "zero head_dim": (
        ARCH + "  head_dim: 0\n",
        3,
        "architecture.head_dim",
        ["must be at least 1 (got 0)", "an integer from 1 to 1024"],
    ),
    "too many lanes": (
        ARCH + "  lanes: 2000\n",
        3,
        "architecture.lanes",
        ["must be at most 1024 (got 2000)"],
    ),
    "zero clock": (ARCH + "  clock_mhz: 0\n", 3, "architecture.clock_mhz", ["must be above 0 (got 0)"]),
    "a number in quotes": (
        ARCH + '  lanes: "64"\n',
        3,
        "architecture.lanes",
        ["must be an integer", 'the text "64"', "without quotes"],
    ),
    "a leading zero": (
        ARCH + "  lanes: 010\n",
        3,
        "architecture.lanes",
        ["must be an integer", "leading zeros"],
    ),
    "an underscore": (
        ARCH + "  lanes: 1_0\n",
        3,
        "architecture.lanes",
        ["must be an integer", "underscores"],
    ),
    "a boolean as integer": (ARCH + "  lanes: true\n", 3, "architecture.lanes", ["integer", "got true"]),
    "a boolean as number": (
        ARCH + "  clock_mhz: true\n",
        3,
        "architecture.clock_mhz",
        ["number", "got true"],
    ),
    "a float as integer": (ARCH + "  lanes: 16.0\n", 3, "architecture.lanes", ["integer", "got 16.0"]),
    "an integer as boolean": (
        "memory:\n  kv_resident: 1\n",
        2,
        "memory.kv_resident",
        ["true or false", "got 1"],
    ),
    "yes": (
        "memory:\n  kv_resident: yes\n",
        2,
        "memory.kv_resident",
        ["true or false", "yes, no, on and off"],
    ),
    "a number as text": ("name: 12\n", 1, "name", ["must be text (got 12)", "quotes"]),
    "null for a section": ("memory:\n", 1, "memory", ["must be a mapping (got null)"]),
    "a list for a section": ("memory: [a]\n", 1, "memory", ["must be a mapping (got a list of 1)"]),
    "an unknown key": ("nmae: x\n", 1, "nmae", ["unknown key", 'did you mean "name"?', "architecture"]),
    "an unknown key inside": (
        ARCH + "  head-dim: 3\n",
        3,
        "architecture.head-dim",
        ['did you mean "head_dim"?'],
    ),
    "on as key": ("on: 1\n", 1, "on", ["unknown key"]),
    "a long name": ("name: " + "x" * 300 + "\n", 1, "name", ["at most 200 characters"]),
    "no kind": ("architecture:\n  lanes: 3\n", 1, "architecture", ['needs a "kind"', "lanes"]),
    "a wrong kind": (
        "recovery:\n  kind: reexcute\n",
        2,
        "recovery.kind",
        ["none or reexecute", "did you mean"],
    ),
    "a number as kind": ("recovery:\n  kind: 3\n", 2, "recovery.kind", ["none or reexecute (got 3)"]),
    "a list as kind": ("recovery:\n  kind: [none]\n", 2, "recovery.kind", ["none or reexecute"]),
    "a wrong bare name": ("recovery: nothing\n", 1, "recovery.kind", ["none or reexecute"]),
    "a wrong choice": (ARCH + "  dot: trea\n", 3, "architecture.dot", ["tree, serial or fused", '"tree"?']),
    "a wrong format": (
        ARCH + "  formats:\n    state: float32\n",
        4,
        "architecture.formats.state",
        ["fp32", "bf16"],
    ),
    "not a power of two": (
        "memory:\n  off_chip:\n    burst_bytes: 48\n",
        3,
        "memory.off_chip.burst_bytes",
        ["a power of two from 1 to 65536 (got 48)"],
    ),
    "pieces": (
        ARCH + "  exp:\n    kind: pwl\n    pieces: 128\n",
        5,
        "architecture.exp.pieces",
        ["at most 64", "a power of two from 2 to 64"],
    ),
    "a wrong bandwidth": (
        "memory:\n  off_chip:\n    bandwidth_bytes_per_cycle: unlimted\n",
        3,
        "memory.off_chip.bandwidth_bytes_per_cycle",
        ["unlimited, or a number above 0", '"unlimited"?'],
    ),
    "a negative bandwidth": (
        "memory:\n  off_chip:\n    bandwidth_bytes_per_cycle: -1\n",
        3,
        "memory.off_chip.bandwidth_bytes_per_cycle",
        ["unlimited, or a number above 0"],
    ),
    "units as text": ("checker:\n  units: fused_output\n", 2, "checker.units", ["must be a list"]),
    "an unknown unit": (
        "checker:\n  units:\n    - fused_outputs\n",
        3,
        "checker.units.0.kind",
        ['"fused_output"?'],
    ),
    "a unit that is a number": (
        "checker:\n  units:\n    - fused_output\n    - 3\n",
        4,
        "checker.units.1",
        ["got 3"],
    ),
    "two fused_output units": (
        "checker:\n  units:\n    - fused_output\n    - fused_output\n",
        4,
        "checker.units.1",
        ["at most one fused_output"],
    ),
    "a threshold without value": (
        UNIT + "      threshold: {kind: absolute}\n",
        4,
        "checker.units.0.threshold.value",
        ["is required", "a number above 0"],
    ),
    "a threshold of zero": (
        UNIT + "      threshold:\n        kind: relative\n        value: 0\n",
        6,
        "checker.units.0.threshold.value",
        ["above 0"],
    ),
    "another kind's key": (
        UNIT + "      threshold:\n        kind: bound\n        multiple: 2\n",
        6,
        "checker.units.0.threshold.multiple",
        ["unknown key", "kind, slack"],
    ),
    "score unshared, max shared": (
        UNIT + "      shares:\n        score: false\n",
        5,
        "checker.units.0.shares.score",
        ["so max", "must be false too"],
    ),
    "score and max unshared, exp shared": (
        UNIT + "      shares:\n        score: false\n        max: false\n",
        6,
        "checker.units.0.shares.max",
        ["so exp", "must be false too"],
    ),
    "max unshared, exp shared": (
        UNIT + "      shares: {max: false, exp: true, sum: false}\n",
        4,
        "checker.units.0.shares.exp",
        ["so exp", "must be false too"],
    ),
    "a tile shorter than the lanes": (
        ARCH + "  key_tile: 8\n" + UNIT + "      granularity: key_tile\n",
        7,
        "checker.units.0.granularity",
        ["key_tile >= architecture.lanes (got 8 < 16)"],
    ),
    "fp64 then fp32": (
        ARCH + "  formats:\n    operand: bf16\n    score: fp64\n    exp: fp32\n",
        6,
        "architecture.formats.exp",
        ["score is fp64, so exp must be fp64 too"],
    ),
    "fp64 then a default": (
        ARCH + "  formats:\n    state: fp64\n",
        4,
        "architecture.formats.state",
        ["state is fp64, so checker must be fp64 too"],
    ),
    "a checker less precise": (
        ARCH + "  formats:\n    checker: bf16\n",
        4,
        "architecture.formats.checker",
        ["at least the precision and exponent range of state"],
    ),
    "a checker of less range": (
        ARCH + "  formats: {score: fp16, exp: fp16, state: fp16, checker: fp16}\n",
        3,
        "architecture.formats.checker",
        ["range of operand", "operand is bf16"],
    ),
    "an output more precise": (
        ARCH + "  formats:\n    state: bf16\n    output: fp16\n",
        5,
        "architecture.formats.output",
        ["no more precise than state"],
    ),
    "pwl exp of fp64": (
        ARCH + "  exp: pwl\n  formats: {exp: fp64, state: fp64, checker: fp64}\n",
        3,
        "architecture.exp",
        ["pwl", "up to fp32", "exp is fp64"],
    ),
    "reciprocal of fp64": (
        ARCH + "  divide: {kind: reciprocal_pwl}\n  formats: {state: fp64, checker: fp64}\n",
        3,
        "architecture.divide.kind",
        ["reciprocal_pwl", "state is fp64"],
    ),
    "fused fp64": (
        ARCH + "  dot: fused\n  formats: {operand: fp64, score: fp64, exp: fp64, state: fp64, "
        "checker: fp64}\n",
        3,
        "architecture.dot",
        ["operands up to fp32"],
    ),
    "too many multipliers": (
        ARCH + "  lanes: 1024\n  head_dim: 512\n",
        4,
        "architecture.head_dim",
        ["at most 262144 (got 512 x 1024)"],
    ),
    "a negative layer": (
        "workload:\n  kind: captured\n  layer: -1\n",
        3,
        "workload.layer",
        ["all, or an integer from 0"],
    ),
    "an empty path": ('workload:\n  kind: file\n  path: ""\n', 3, "workload.path", ["must not be empty"]),
    "a NUL in a path": ('workload:\n  kind: file\n  path: "a\\0b"\n', 3, "workload.path", ["NUL"]),
    "no path": ("workload:\n  kind: file\n", 1, "workload.path", ["is required"]),
    "more keys than counters": (
        "workload:\n  kind: gaussian\n  keys: 5000\n",
        3,
        "workload.keys",
        ["architecture.max_keys (got 5000 > 4096)"],
    ),
    "more queries than counters": (
        ARCH + "  max_queries: 100\n",
        3,
        "architecture.max_queries",
        ["got 256 > 100"],
    ),
    "causal with too few keys": (
        "workload:\n  kind: gaussian\n  keys: 10\n  mask: {causal: true}\n",
        3,
        "workload.keys",
        ["queries <= keys (got 256 queries, 10 keys)"],
    ),
    "more valid keys than keys": (
        "workload:\n  kind: gaussian\n  mask:\n    valid_keys: 257\n",
        4,
        "workload.mask.valid_keys",
        ["at most keys (got 257 > 256)"],
    ),
    "zero valid keys": (
        "workload:\n  kind: gaussian\n  mask:\n    valid_keys: 0\n",
        4,
        "workload.mask.valid_keys",
        ["an integer from 1 to 1048576, or null"],
    ),
    "more outliers than dimensions": (
        "workload:\n  kind: outliers\n  channels: 65\n",
        3,
        "workload.channels",
        ["got 65 > 64"],
    ),
    "no targets": ("faults:\n  targets: []\n", 2, "faults.targets", ["must not be empty"]),
    "a wrong target": (
        "faults:\n  targets: [ram]\n",
        2,
        "faults.targets.0",
        ["registers or sram", '"sram"?'],
    ),
    "a target twice": (
        "faults:\n  targets: [sram, sram]\n",
        2,
        "faults.targets",
        ["once", '"sram" is repeated'],
    ),
    "no components": ("faults:\n  components: []\n", 2, "faults.components", ["must not be empty"]),
    "a component without a name": (
        'faults:\n  components:\n    - a\n    - ""\n',
        4,
        "faults.components.1",
        ["must not be empty"],
    ),
    "a burst of one": ("faults:\n  burst_bits: 1\n", 2, "faults.burst_bits", ["at least 2 (got 1)"]),
    "a stored format too wide": (
        "faults:\n  register_format:\n    state: fp64\n",
        3,
        "faults.register_format.state",
        ["got fp64 for state, which computes in fp32"],
    ),
    "a stored format of more range": (
        ARCH + "  formats: {operand: fp16}\nfaults:\n  register_format: {operand: bf16}\n",
        5,
        "faults.register_format.operand",
        ["bf16 for operand"],
    ),
    "an unknown role": (
        "faults:\n  register_format: {stat: bf16}\n",
        2,
        "faults.register_format.stat",
        ['"state"?'],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_error_names_file_line_key_and_what_is_allowed(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, line, key, fragments = CASES[case]
    (tmp_path / "bad.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load_config("bad.yaml")
    error = caught.value
    assert (error.file, error.line, error.key) == ("bad.yaml", line, key)
    first = str(error).split("\n")[0]
    place = "bad.yaml" if line is None else f"bad.yaml:{line}"
    assert first.startswith(f"{place}: {key}: " if key else f"{place}: ")
    for fragment in fragments:
        assert fragment in str(error)


def test_the_message_has_the_documented_form(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(ARCH + "  head_dim: 0\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert str(caught.value) == (
        f"{file}:3: architecture.head_dim: must be at least 1 (got 0); allowed: an integer from 1 to 1024"
    )


def test_several_problems_make_one_message_in_the_order_of_lines(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("technology: 3\nmemory:\n  ecc: none\n  kv_buffers: 9\nworkload: gausian\nnmae: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert [problem.mark.line for problem in caught.value.problems] == [1, 4, 5, 6]
    message = str(caught.value)
    assert message.split("\n")[0].endswith("(and 3 more problems)")
    assert all(f"{file}:{line}: " in message for line in (1, 4, 5, 6))


def test_a_message_lists_no_more_problems_than_one_can_read(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("".join(f"key{i}: 3\n" for i in range(5000)))
    with pytest.raises(ConfigError, match="and 4999 more problems") as caught:
        load_config(file)
    assert len(str(caught.value).splitlines()) <= 12


def test_a_value_from_a_mapping_has_a_key_and_no_file():
    with pytest.raises(ConfigError) as caught:
        config_from_dict({"architecture": {"kind": "lanes", "clock_mhz": 10**400}})
    assert (caught.value.file, caught.value.line) == (None, None)
    assert str(caught.value).startswith("architecture.clock_mhz: must be")


@pytest.mark.parametrize(
    "data",
    [
        {1: 2},
        {"name": object()},
        {"name": "\ud800"},
        {"architecture": {"kind": "lanes", "lanes": 10**5000}},
        {"workload": {"kind": float("nan")}},
        {"workload": {"kind": {}}},
    ],
)
def test_junk_from_a_mapping_is_an_error_of_the_config(data):
    with pytest.raises(ConfigError) as caught:
        config_from_dict(data)
    str(caught.value).encode("utf-8")


def test_later_stages_can_point_at_the_line_of_a_key(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text(
        textwrap.dedent("""\
            workload:
              kind: captured
              mask:
                causal: true
            """)
    )
    config = load_config(file)
    stated = ConfigError.at(config, "workload.mask.causal", "no")
    assert (stated.file, stated.line, stated.key) == (str(file), 4, "workload.mask.causal")
    assert (
        str(ConfigError.at(config, "workload.path", "is missing")) == f"{file}:1: workload.path: is missing"
    )
    assert ConfigError.at(config, "architecture.head_dim", "no").file == str(file)
    assert str(ConfigError.at(config_from_dict({}), "workload.path", "no")) == "workload.path: no"


def test_an_error_survives_a_process_boundary(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("nmae: 3\nfaluts: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    for twin in (pickle.loads(pickle.dumps(caught.value)), copy.deepcopy(caught.value)):
        assert str(twin) == str(caught.value)
        assert (twin.file, twin.line, twin.key) == (caught.value.file, 1, "nmae")
