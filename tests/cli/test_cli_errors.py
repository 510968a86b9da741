"""Bad input gives one clear message and exit code 2; anything else one line and 1; never a traceback."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import accel_sim.cli.commands
from accel_sim.cli import main

INJECT = ("inject", "tiny", "--register", "o", "--index", "0,0", "--bit", "3", "--cycle", "9")

BAD_ARGUMENTS = {
    "no command": ((), "COMMAND"),
    "unknown command": (("rum", "tiny"), "rum"),
    "unknown option": (("run", "tiny", "--jsn"), "--jsn"),
    "shortened option": (("run", "tiny", "--js"), "--js"),
    "no config": (("run",), "CONFIG"),
    "two configs": (("run", "tiny", "minilm"), "minilm"),
    "no such config": (("run", "tny"), 'did you mean "tiny"?'),
    "no such file": (("run", "there/is/none.yaml"), "none.yaml"),
    "a folder": (("run", "."), "cannot be read"),
    "an empty name": (("run", ""), "must not be empty"),
    "a name with a NUL": (("run", "a\0b"), "no such file"),
    "a very long name": (("run", "x" * 5000), "x"),
    "--set without a value": (("run", "tiny", "--set", "architecture.lanes"), "KEY=VALUE"),
    "--set without a key": (("run", "tiny", "--set", "=3"), "KEY=VALUE"),
    "--set of an unknown key": (("run", "tiny", "--set", "architecture.lane=3"), 'did you mean "lanes"?'),
    "--set of a wrong type": (("run", "tiny", "--set", "architecture.lanes=many"), "architecture.lanes"),
    "--set out of range": (("run", "tiny", "--set", "architecture.lanes=0"), "at least 1"),
    "--set of broken YAML": (("run", "tiny", "--set", "checker.units=[{"), "checker.units"),
    "--set of two documents": (("run", "tiny", "--set", "name=a\n---\nb: c"), "name"),
    "--set of two keys": (("run", "tiny", "--set", "name=a\nvalue2: c"), "no single YAML value"),
    "--set past the end of a list": (("run", "tiny", "--set", "checker.units.7.granularity=head"), "list of 1"),
    "impossible together": (("run", "tiny", "--set", "workload.keys=17"), "max_keys"),
    "no such technology": (("run", "tiny", "--set", "technology.name=3nm"), "technology.name"),
    "--out is a file": (("run", "tiny", "--out", __file__), "--out"),
    "--out below a file": (("run", "tiny", "--out", f"{__file__}/x"), "--out"),
    "--out is empty": (("run", "tiny", "--out", ""), "--out"),
    "--out with a NUL": (("run", "tiny", "--out", "a\0b"), "--out"),
    "inject without a fault": (("inject", "tiny"), "--register, --bit, --cycle"),
    "no such register": ((*INJECT, "--register", "oo"), "did you mean 'o'?"),
    "no such element": ((*INJECT, "--index", "0,4"), "(2, 4)"),
    "a negative element": ((*INJECT, "--index=-1,0"), "(2, 4)"),
    "an index of too few": ((*INJECT, "--index", "0"), "(2, 4)"),
    "an index of words": ((*INJECT, "--index", "a,b"), "integers"),
    "no such bit": ((*INJECT, "--bit", "32"), "bits 0 to 31"),
    "a negative bit": ((*INJECT, "--bit", "-1"), "bits 0 to 31"),
    "a bit that is no number": ((*INJECT, "--bit", "x"), "--bit"),
    "a cycle before the start": ((*INJECT, "--cycle", "-1"), "cycle"),
    "a cycle after the end": ((*INJECT, "--cycle", "56"), "55"),
    "a huge cycle": ((*INJECT, "--cycle", "9" * 30), "55"),
    "an unknown kind": ((*INJECT, "--kind", "flop"), "flop"),
    "a burst beyond the register": ((*INJECT, "--kind", "burst", "--bit", "31"), "does not fit"),
    "a burst of nothing": ((*INJECT, "--kind", "burst", "--bits", "0"), "bits"),
    "bits of a flip": ((*INJECT, "--bits", "3"), "burst"),
    "a duration of a flip": ((*INJECT, "--duration", "3"), "stuck"),
    "stuck for no time": ((*INJECT, "--kind", "stuck0", "--duration", "0"), "duration"),
    "no such head": ((*INJECT, "--head", "1"), "no head 1"),
    "no such layer": ((*INJECT, "--layer", "1", "--head", "0"), "no layer 1 head 0"),
    "no faults": (("campaign", "tiny", "-n", "0"), "at least one fault"),
    "half a fault": (("campaign", "tiny", "-n", "0.5"), "-n"),
    "no workers": (("campaign", "tiny", "-n", "5", "--workers", "0"), "worker"),
    "a negative seed": (("campaign", "tiny", "-n", "5", "--seed", "-1"), "faults.seed"),
    "a width above one": (("campaign", "tiny", "--until-width", "2"), "width"),
    "a width that is no number": (("campaign", "tiny", "--until-width", "nan"), "width"),
    "a target of one": (("campaign", "tiny", "--until-detected-above", "1"), "detected_above"),
    "an unknown engine": (("campaign", "tiny", "-n", "5", "--engine", "warp"), "warp"),
    "an unknown stratum": (("campaign", "tiny", "-n", "5", "--stratify", "colour"), "colour"),
    "strata of everything": (("campaign", "tiny", "--exhaustive", "--stratify", "field"), "stratified"),
    "no such component": (("campaign", "tiny", "-n", "5", "--set", "faults.components=[cpu]"), "faults.components"),
    "schema of something": (("schema", "tiny"), "tiny"),
}  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), BAD_ARGUMENTS.values(), ids=BAD_ARGUMENTS)
def test_bad_input_gives_one_message(run, tmp_path, arguments, words):
    done = run(*arguments)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("accel-sim: error: ")
    assert words in done.err
    assert "Traceback" not in done.err
    assert list(tmp_path.iterdir()) == []


BAD_FILES = {
    "no mapping": b"- a\n- b\n",
    "no text": b"\xff\xfe\x00",
    "broken YAML": b"architecture: {lanes: 2\n",
    "a tab": b"architecture:\n\tlanes: 2\n",
    "an unknown section": b"name: x\n\narchitektur: {lanes: 2}\n",
    "a wrong type": b"architecture: {kind: lanes, lanes: two}\n",
    "nothing is a kind": b"workload: {kind: poems}\n",
    "extends itself": b"extends: bad.yaml\n",
    "extends nothing": b"extends: none.yaml\n",
    "a number that is none": b"architecture: {kind: lanes, clock_mhz: .nan}\n",
    "a checker that is too narrow": b"architecture: {kind: lanes, formats: {checker: bf16, state: fp32}}\n",
    "a missing workload": b"workload: {kind: file, path: none.npz}\n",
    "a workload of another size": b"workload: {kind: file, path: small.npz}\n",
    "a workload of NaN": b"architecture: {kind: lanes, head_dim: 3}\nworkload: {kind: file, path: nan.npz}\n",
    "a workload that is none": b"workload: {kind: file, path: bad.yaml}\n",
    "no such layer": b"extends: minilm.yaml\nworkload: {kind: captured, layer: 6}\n",
    "overflows the format": b"architecture: {kind: lanes, formats: {operand: fp8_e4m3}}\n"
                            b"workload: {kind: gaussian, scale: 1e5}\n",
}


@pytest.mark.parametrize("data", BAD_FILES.values(), ids=BAD_FILES)
@pytest.mark.parametrize("command", ["run", "campaign"])
def test_bad_files_give_file_line_and_key(run, tmp_path, command, data):
    (tmp_path / "bad.yaml").write_bytes(data)
    small = np.ones((2, 3), dtype=np.float32)
    np.savez(tmp_path / "small.npz", q=small, k=small, v=small)
    np.savez(tmp_path / "nan.npz", q=small, k=small * np.nan, v=small)
    done = run(command, "bad.yaml", *(["-n", "3", "--workers", "1"] if command == "campaign" else []))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("accel-sim: error: bad.yaml")
    assert "Traceback" not in done.err
    assert not (tmp_path / "runs").exists()


def test_line_and_key_stand_in_the_message(run, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n\narchitecture:\n  kind: lanes\n  lanes: many\n")
    start = "accel-sim: error: mine.yaml:5: architecture.lanes: must be an integer"
    assert run("run", "mine.yaml").err.startswith(start)


def test_records_of_two_campaigns_are_never_mixed(run, tmp_path):
    assert run("campaign", "tiny", "-n", "5", "--workers", "1", "--out", "c").code == 0
    done = run("campaign", "tiny", "-n", "5", "--workers", "1", "--out", "c", "--seed", "3")
    assert done.code == 2
    assert "seed" in done.err


# -- everything else ------------------------------------------------------------------------------------------


def explode(error: BaseException):
    def run_command(_: object) -> None:
        raise error

    return run_command


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("boom\nand more"), MemoryError(), AssertionError(),
                                   OSError(5, "I/O error"), RecursionError()], ids=repr)  # fmt: skip
def test_what_nobody_expected_is_one_line_and_a_hint(run, monkeypatch, error):
    monkeypatch.setattr(accel_sim.cli.commands, "run_command", explode(error))
    done = run("run", "tiny")
    assert (done.code, done.out) == (1, "")
    assert done.err.count("\n") == 1
    assert "--debug" in done.err
    assert "Traceback" not in done.err


def test_debug_shows_the_traceback(run, monkeypatch):
    monkeypatch.setattr(accel_sim.cli.commands, "run_command", explode(KeyError("x")))
    done = run("run", "tiny", "--debug")
    assert done.code == 1
    assert "Traceback" in done.err
    monkeypatch.undo()
    refused = run("run", "tny", "--debug")
    assert refused.code == 2
    assert "Traceback" in refused.err


def test_ctrl_c_is_130(run, monkeypatch):
    monkeypatch.setattr(accel_sim.cli.commands, "run_command", explode(KeyboardInterrupt()))
    assert run("run", "tiny")[::2] == (130, "accel-sim: interrupted\n")


def test_an_interrupted_campaign_says_how_to_go_on(run, monkeypatch):
    from accel_sim.campaign import runner

    def stopped(*_: object, **__: object) -> None:
        raise runner.CampaignInterrupted(Path("c"), 64)

    monkeypatch.setattr(runner, "run_campaign", stopped)
    done = run("campaign", "tiny", "-n", "100")
    assert done.code == 130
    assert "64 records in c" in done.err
    assert "same command again" in done.err


def test_messages_survive_a_terminal_that_knows_no_unicode(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stderr", stream)
    assert main(["run", "schön"]) == 2
    stream.seek(0)
    assert "sch\\xf6n" in stream.read()


def test_tables_survive_a_pipe_that_knows_no_unicode(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    assert main(["run", "tiny"]) == 0
    stream.seek(0)
    text = stream.read()
    assert "?" not in text
    assert "um2" in text or "mm2" in text


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def child(*arguments: str, cwd: Path) -> Iterator[subprocess.Popen[str]]:
    """`accel-sim` in a process of its own, which does not outlive the test."""
    command = [sys.executable, "-m", "accel_sim", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, **pipes, text=True, cwd=cwd, env=ENVIRONMENT)
    with process:
        try:
            yield process
        finally:
            process.kill()


def test_a_reader_that_leaves_early_is_no_error(tmp_path):
    with child("schema", cwd=tmp_path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() == 0


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_during_a_campaign_keeps_the_records(run, tmp_path):
    assert run("campaign", "tiny", "-n", "5", "--workers", "1").code == 0  # compiles what the child will load
    with child("campaign", "tiny", "-n", "1000000", "--workers", "1", "--out", "c", cwd=tmp_path) as process:
        shards = tmp_path / "c" / "shards"
        deadline = time.monotonic() + 100
        while not (shards.is_dir() and len(list(shards.glob("part-*.parquet"))) >= 2):
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130
    assert "run the same command again" in err
    assert "Traceback" not in err
    again = run("campaign", "tiny", "-n", "64", "--workers", "1", "--out", "c", "--json")
    assert again.document["campaign"]["computed"] == 0


def test_validate_refuses_what_it_cannot_compare(run):
    done = run("validate", "tiny", "--faults", "-1")
    assert done.code == 2
    assert "--faults -1: must be 0 or more" in done.err
    done = run("validate", "tiny", "--rtl")
    assert done.code == 2
    assert "architecture.exp.kind" in done.err
