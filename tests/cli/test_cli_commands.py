"""Each command does its work, prints a readable table, and one JSON document when asked."""

from __future__ import annotations

import json
import os
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from accel_sim.report.definitions import SECTIONS, definition_of

PNG = b"\x89PNG\r\n\x1a\n"
FLIP = ("--register", "o", "--index", "0,2", "--bit", "30", "--cycle", "12")

SMALL_PRODUCT = ("--set", "architecture.rows=3", "--set", "architecture.cols=4", "--set", "architecture.vector_lanes=2",
                 "--set", "workload={kind: gemm, m: 5, n: 6, k: 7, products: 2}")
INTEGERS = ("--set", "architecture.formats={operand: int8, score: int32, state: int32, checker: int32}", "--set",
            "workload.scale=40.0")

COMMANDS = {
    "run": ("run", "tiny"),
    "run, one head of a model": ("run", "minilm"),
    "run, unprotected": ("run", "tiny", "--set", "checker.units=[]"),
    "run, several heads": ("run", "tiny", "--set", "workload.heads=3"),
    "run, comparing every tile": ("run", "tiny", "--set", "checker.units.0.granularity=key_tile"),
    "run, the paper's accelerator": ("run", "paper-d64", "--set", "workload.queries=16"),
    "inject": ("inject", "tiny", *FLIP),
    "inject, silent": ("inject", "tiny", "--register", "score", "--index", "1", "--bit", "30", "--cycle", "9"),
    "inject, unprotected": ("inject", "tiny", "--set", "checker.units=[]", *FLIP),
    "inject, into a counter": ("inject", "tiny", "--register", "phase", "--bit", "2", "--cycle", "9"),
    "inject, what makes a NaN": ("inject", "tiny", "--register", "p", "--bit", "30", "--cycle", "11"),
    "inject, SRAM": ("inject", "tiny", "--register", "k_sram", "--index", "0,2,0", "--bit", "14", "--cycle", "3"),
    "inject, a check bit of SRAM": ("inject", "tiny", "--set", "memory.ecc=secded", "--set", "checker.units=[]",
                                    "--register", "o_sram", "--bit", "70", "--cycle", "40"),
    "inject, list": ("inject", "tiny", "--list"),
    "campaign": ("campaign", "tiny", "-n", "40", "--workers", "1"),
    "campaign, unprotected": ("campaign", "tiny", "-n", "9", "--workers", "1", "--set", "checker.units=[]"),
    "campaign, SRAM": ("campaign", "tiny", "-n", "40", "--workers", "1", "--set", "faults.targets=[registers, sram]"),
    "campaign, stratified": ("campaign", "tiny", "-n", "30", "--workers", "1", "--stratify", "component",
                             "--allocation", "equal"),
    "validate": ("validate", "tiny", "--faults", "20"),
    "validate, unprotected": ("validate", "tiny", "--faults", "0", "--set", "checker.units=[]"),
    "run, gemm": ("run", "tiny-gemm"),
    "run, gemm, output stationary": ("run", "tiny-gemm", "--set", "architecture.dataflow=os"),
    "run, fused": ("run", "tiny-fused"),
    "run, protected": ("run", "tiny", "--set", "checker.units=[fused_output, parity]"),
    "run, protected otherwise": ("run", "tiny-fused", "--set", "checker.units=[{kind: tmr, parts: [l]}, {kind: dmr, "
                                 "parts: [new_max]}, {kind: secded, parts: [o]}]"),
    "inject, gemm": ("inject", "tiny-gemm", "--register", "s", "--index", "1,1", "--bit", "12", "--cycle", "30"),
    "inject, fused": ("inject", "tiny-fused", "--register", "l", "--index", "1", "--bit", "28", "--cycle", "60"),
    "inject, protected": ("inject", "tiny", "--set", "checker.units=[fused_output, secded]", *FLIP),
    "campaign, gemm": ("campaign", "tiny-gemm", "-n", "40", "--workers", "1"),
    "campaign, fused": ("campaign", "tiny-fused", "-n", "40", "--workers", "1"),
    "validate, gemm": ("validate", "tiny-gemm", "--faults", "20"),
    "validate, fused": ("validate", "tiny-fused", "--faults", "20"),
    "run, a plain product": ("run", "mlp-up", *SMALL_PRODUCT),
    "inject, a plain product": ("inject", "mlp-up", *SMALL_PRODUCT, "--register", "s", "--index", "1,1", "--bit", "12",
                                "--cycle", "60"),
    "campaign, a plain product": ("campaign", "mlp-up", *SMALL_PRODUCT, "-n", "40", "--workers", "1"),
    "validate, a plain product": ("validate", "mlp-up", *SMALL_PRODUCT, "--faults", "20"),
    "run, integers": ("run", "mlp-up", *SMALL_PRODUCT, *INTEGERS),
    "inject, integers": ("inject", "mlp-up", *SMALL_PRODUCT, *INTEGERS, "--register", "x", "--index", "1,1", "--bit", "7",
                         "--cycle", "70"),
    "validate, integers": ("validate", "mlp-up", *SMALL_PRODUCT, *INTEGERS, "--faults", "20"),
    "validate, scalesim, a plain product": ("validate", "mlp-up", *SMALL_PRODUCT, "--scalesim"),
    "validate, scalesim": ("validate", "--scalesim"),
    "rtl": ("rtl", "tiny-pwl"),
    "schema": ("schema",),
    "configs": ("configs",),
}  # fmt: skip


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], Any]]:
    """Every number, text and null of a document, with its path."""
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for i, item in enumerate(value) for leaf in leaves(item, (*path, i))]
    return [(path, value)]


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_json_is_one_document_and_nothing_else(run, arguments):
    done = run(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    assert isinstance(done.document, dict)
    assert done.out.isascii()


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_what_people_read_is_plain_text_through_a_pipe(run, arguments):
    done = run(*arguments)
    assert (done.code, done.err) == (0, "")
    assert "\x1b" not in done.out
    assert all(line == line.rstrip() for line in done.out.splitlines())
    if arguments[0] != "schema":
        to_copy = ("records", "pandas", "DuckDB", "wrote")  # paths and commands stay on one line
        assert max(len(line) for line in done.out.splitlines() if not line.startswith(to_copy)) <= 110


@pytest.mark.parametrize("arguments", [a for a in COMMANDS.values() if a[0] != "schema"],
                         ids=[name for name in COMMANDS if name != "schema"])  # fmt: skip
def test_every_number_of_a_document_is_defined(run, arguments):
    document = run(*arguments, "--json").document
    command = document["command"]
    undefined = {path for path, _ in leaves(document) if definition_of(path, command) is None}
    # A section that does not apply is null as a whole: its own keys are what is defined.
    sections = {d.key.partition(".")[0] for s in SECTIONS for d in s.definitions if command in s.documents}
    assert not [p for p in undefined if not (document_at(document, p) is None and p[0] in sections)]


def document_at(document: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        document = document[part]
    return document


def test_every_definition_is_of_something_that_is_printed(run):
    found = set()
    for arguments in COMMANDS.values():
        if arguments[0] == "schema":
            continue
        document = run(*arguments, "--json").document
        found |= {definition_of(path, document["command"]) for path, _ in leaves(document)}
    found |= {definition_of(path, "run") for path, _ in leaves(run("run", "paper-d64", "--json").document)}
    stopped = run("campaign", "tiny", "-n", "200", "--until-width", "0.9", "--workers", "1", "--json").document
    found |= {definition_of(path, "campaign") for path, _ in leaves(stopped)}
    missing = {d.key for s in SECTIONS for d in s.definitions} - {d.key for d in found if d is not None}
    # tests/rtl/test_synth.py runs `rtl --synth`, which needs Yosys.
    assert {key for key in missing if not key.startswith("synthesis.")} == set()


# -- run ------------------------------------------------------------------------------------------------------


def test_run_tells_time_accuracy_check_unit_and_cost(run):
    done = run("run", "tiny")
    for words in ("closed formula", "stalls", "utilisation", "moved off chip", "largest error", "threshold", "margin",
                  "clean false alarms", "alarm delay", "Recovery", "checker.fused_output", "area overhead",
                  "energy overhead", "95% interval"):  # fmt: skip
        assert words in done.out
    assert "published" not in done.out


def test_the_parts_of_the_time_add_up(run):
    time = run("run", "minilm", "--json").document["time"]
    assert time["machine_cycles"] == time["formula_cycles"] + time["stall_cycles"]
    assert time["stall_cycles"] == sum(time["stalls"].values()) > 0
    assert time["total_cycles"] == time["machine_cycles"] + time["drain_cycles"]


def test_heads_of_one_shape_are_timed_once_and_their_values_are_all_computed(run):
    document = run("run", "tiny", "--set", "workload.heads=3", "--json").document
    one = run("run", "tiny", "--json").document
    assert document["time"]["all_heads"] == {
        "heads": 3,
        "total_cycles": 3 * one["time"]["total_cycles"],
        "total_us": pytest.approx(3 * one["time"]["total_us"]),
        "note": "1 head simulated, x3",
    }
    assert len({head["predicted"] for head in document["heads"]}) == 3
    assert document["heads"][0] == one["heads"][0]


def test_heads_that_share_keys_on_chip_are_timed_as_one_that_loads_and_one_that_does_not(run):
    changes = ("--set", "workload.heads=4", "--set", "memory.off_chip={bandwidth_bytes_per_cycle: 4}")
    shared = ("--set", "workload.kv_heads=2", "--set", "memory.kv_resident=true")
    alone = run("run", "tiny", *changes, "--set", "memory.kv_resident=true", "--json").document["time"]["all_heads"]
    grouped = run("run", "tiny", *changes, *shared, "--json").document["time"]["all_heads"]
    assert grouped["note"] == "2 heads simulated: x2 that load keys and values, x2 that find them in SRAM"
    assert grouped["total_cycles"] < alone["total_cycles"]
    loading = run("run", "tiny", *changes, "--set", "workload.kv_heads=2", "--json").document["time"]["all_heads"]
    assert loading["note"] == "1 head simulated, x4"


def test_scalesim_totals_of_a_lanes_config_are_refused_and_a_config_is_asked_for(run):
    assert "architecture.kind: SCALE-Sim has no lanes machine; allowed: gemm" in run("validate", "tiny", "--scalesim").err
    assert "validate needs a CONFIG, or --scalesim" in run("validate").err
    assert "without --rtl" in run("validate", "--scalesim", "--rtl").err


def test_published_numbers_stand_beside_the_papers_config_only(run):
    assert run("run", "paper-d64", "--json").document["published"]["area_overhead"] == 0.053
    assert "arXiv 2507.16676" in run("run", "paper-d64").out
    assert run("run", "paper-d64", "--set", "workload.keys=64", "--json").document["published"] is None
    assert run("run", "lanes-d64", "--set", "workload.keys=64", "--json").document["published"] is None


def test_an_unprotected_design_has_no_check_unit_and_no_overhead(run):
    document = run("run", "tiny", "--set", "checker.units=[]", "--json").document
    assert (document["check_units"], document["recovery"], document["design"]["units"]) == ([], None, [])
    assert (document["area"]["overhead"], document["energy"]["overhead"]) == (None, None)


def test_run_writes_its_document_and_figures(run, tmp_path):
    done = run("run", "tiny", "--out", "made/here")
    folder = tmp_path / "made" / "here"
    assert {path.name for path in folder.iterdir()} == {
        "run.json", "area.png", "energy.png", "attention.png", "latency.png",
    }  # fmt: skip
    assert json.loads((folder / "run.json").read_text()) == run("run", "tiny", "--json").document
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(PNG)
        assert path.stat().st_size > 5_000
    assert "made/here/area.png" in done.out


def test_the_same_run_gives_the_same_files(run, tmp_path):
    run("run", "tiny", "--out", "a")
    run("run", "tiny", "--out", "b")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes()


# -- inject ---------------------------------------------------------------------------------------------------


def test_inject_tells_the_story_from_strike_to_alarm(run):
    done = run("inject", "tiny", *FLIP)
    for words in ("flip of bit 30 of o[0, 2] at cycle 12", "query 0", "dim 2", "exponent bit 7",
                  "1 output row (query 0)", "0 10000001 00110100001001000010110", "DETECTED", "latency"):  # fmt: skip
        assert words in done.out
    document = run("inject", "tiny", *FLIP, "--json").document
    assert document["outcome"]["class"] == "detected"
    assert document["alarm"]["latency_cycles"] == document["alarm"]["cycle"] - document["fault"]["cycle"] == 44


def test_marks_stand_under_the_struck_bits(run):
    lines = run("inject", "tiny", "--register", "v", "--index", "1", "--bit", "3", "--cycle", "9",
                "--kind", "burst", "--bits", "3").out.splitlines()  # fmt: skip
    before, after, marks = (next(line for line in lines if line.lstrip().startswith(start))
                            for start in ("before", "after", "^"))  # fmt: skip
    differ = {i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b and i > before.index("   0")}
    at = {i for i, mark in enumerate(marks) if mark == "^"}
    assert len(at) == 3
    assert at <= differ


def test_a_silent_fault_shows_the_attention_before_and_after(run, tmp_path):
    done = run("inject", "tiny", *COMMANDS["inject, silent"][2:], "--out", "story")
    assert "SILENT" in done.out
    assert "Attention of query 1" in done.out
    assert (tmp_path / "story" / "attention-row.png").read_bytes().startswith(PNG)
    row = json.loads((tmp_path / "story" / "inject.json").read_text())["attention"][0]
    assert sum(row["before"]) == pytest.approx(1.0)
    assert row["after"][2] == pytest.approx(1.0)


def test_inject_lists_the_registers(run):
    document = run("inject", "tiny", "--list", "--json").document
    registers = {r["name"]: r for r in document["registers"]}
    assert registers["o"]["shape"] == [2, 4]
    design = run("run", "tiny", "--json").document["design"]
    assert sum(r["bits"] for r in registers.values() if r["role"] != "memory") == design["registers_bits"]


def test_the_head_can_be_chosen(run):
    many = ("--set", "workload.heads=3", "--json")
    stories = [run("inject", "tiny", *FLIP, *many, "--head", head).document for head in range(3)]
    assert len({story["value"]["before"] for story in stories}) == 3


# -- campaign -------------------------------------------------------------------------------------------------


def test_a_campaign_counts_every_fault_once_and_resumes(run, tmp_path):
    first = run("campaign", "tiny", "-n", "40", "--workers", "1", "--out", "c", "--json").document
    assert first["campaign"]["computed"] == 40
    assert sum(part["faults"] for part in first["components"].values()) == 40
    outcomes = sum(first["rates"][name]["hits"] for name in ("detected", "silent", "false_alarm", "masked"))
    assert outcomes == first["rates"]["masked"]["among"] == 40
    again = run("campaign", "tiny", "-n", "40", "--workers", "1", "--out", "c", "--json").document
    assert again["campaign"]["computed"] == 0
    assert again["rates"] == first["rates"]
    assert {"campaign.json", "outcomes.png", "manifest.json", "shards"} <= {p.name for p in (tmp_path / "c").iterdir()}


def test_the_latency_bins_hold_every_detected_fault(run):
    document = run("campaign", "tiny", "-n", "150", "--workers", "1", "--out", "c", "--json").document
    assert sum(b["faults"] for b in document["latency_bins"]) == document["rates"]["detected"]["hits"] > 0
    assert sum(b["share"] for b in document["latency_bins"]) == pytest.approx(1.0)
    ends = [(b["first_cycles"], b["last_cycles"]) for b in document["latency_bins"]]
    assert all(a[1] + 1 == b[0] for a, b in pairwise(ends))
    assert ends[0][0] <= document["latency_cycles"]["p50"] <= document["latency_cycles"]["p99"] <= ends[-1][1]


def test_the_seed_option_is_the_configs_seed(run):
    option = run("campaign", "tiny", "-n", "20", "--seed", "5", "--workers", "1", "--json").document
    stated = run("campaign", "tiny", "-n", "20", "--set", "faults.seed=5", "--workers", "1", "--json").document
    assert option["rates"] == stated["rates"]
    assert option["config"]["hash"] == stated["config"]["hash"]
    assert stated["campaign"]["computed"] == 0  # the same campaign, so the same folder


def test_an_exhaustive_campaign_has_no_uncertainty(run):
    small = [f"--set={change}" for change in (
        "architecture.lanes=1", "architecture.head_dim=1", "workload.queries=1", "workload.keys=1",
        "architecture.key_tile=1", "architecture.max_keys=1", "architecture.max_queries=1",
        "faults.components=[control]",
    )]  # fmt: skip
    document = run("campaign", "tiny", "--exhaustive", "--workers", "1", "--json", *small).document
    assert document["campaign"]["faults"] == document["campaign"]["universe"]
    assert {rate["high"] - rate["low"] for rate in document["rates"].values() if rate["among"]} == {0.0}


# -- schema, configs, --set -----------------------------------------------------------------------------------


def test_schema_is_json_with_or_without_the_option(run, tmp_path):
    done = run("schema", "--out", "s")
    assert done.out == run("schema", "--json").out == (tmp_path / "s" / "accel-sim.schema.json").read_text()
    assert done.document["title"] == "accel-sim config"


def test_configs_lists_what_commands_take(run):
    for config in run("configs", "--json").document["configs"]:
        assert os.path.isfile(config["path"])
        assert config["description"]
    assert "minilm" in run("configs").out


def test_changes_reach_the_config(run):
    document = run("run", "tiny", "--set", "architecture.lanes=4", "--set", "checker.units=[]",
                   "--set", "workload={kind: gaussian, queries: 3, keys: 5}", "--json").document  # fmt: skip
    assert document["design"]["lanes"] == 4
    assert (document["workload"]["queries"], document["workload"]["keys"]) == (3, 5)
    assert document["config"]["values"]["architecture"]["lanes"] == 4


def test_a_config_file_works_like_a_shipped_name(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("extends: tiny.yaml\nname: mine\n")
    mine = run("run", "mine.yaml", "--json").document
    assert mine["config"]["hash"] == run("run", "tiny", "--json").document["config"]["hash"]


# -- files and terminals --------------------------------------------------------------------------------------


def test_files_are_never_half_written(run, tmp_path, monkeypatch):
    run("run", "tiny", "--out", "o")
    before = (tmp_path / "o" / "area.png").read_bytes()

    def torn(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", torn)
    done = run("run", "tiny", "--out", "o", "--set", "architecture.lanes=4")
    assert done.code == 1
    assert "No space left on device" in done.err
    assert (tmp_path / "o" / "area.png").read_bytes() == before
    assert not [path for path in (tmp_path / "o").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("columns", [40, 80, 110, 124, 300])
def test_no_digit_is_cut_off_on_any_terminal(run, monkeypatch, columns):
    wide = "".join(run("run", "minilm").out.split())
    monkeypatch.setenv("COLUMNS", str(columns))
    assert sorted("".join(run("run", "minilm").out.split()).replace("─", "")) == sorted(wide.replace("─", ""))


def test_a_colour_terminal_gets_the_same_words(run, monkeypatch):
    plain = run("inject", "tiny", *FLIP).out
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "110")
    coloured = run("inject", "tiny", *FLIP).out
    assert "\x1b[" in coloured
    assert [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", coloured).splitlines()] == plain.splitlines()


def test_shipped_configs_all_run(run):
    for name in sorted(path.stem for path in (Path(__file__).parents[2] / "configs").glob("*.yaml")):
        options = ["--set", "workload.queries=32"] if not name.startswith(("minilm", "mlp", "tiny")) else []
        assert run("run", name, *options, "--json").code == 0
