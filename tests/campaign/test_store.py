"""The run directory: whole or not at all, one campaign, one writer, and one clear message for what goes wrong."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import platform
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from accel_sim.campaign import store
from accel_sim.campaign.lock import LOCK_NAME
from accel_sim.campaign.manifest import Manifest
from accel_sim.campaign.runner import run_campaign
from accel_sim.campaign.store import ForeignRunError, RunDirectory, StoreError, writing
from accel_sim.config import config_hash, to_dict
from campaign.doubles import SHARD, sorted_bytes

pytestmark = pytest.mark.usefixtures("stand_ins")

TESTS = Path(__file__).parents[1]


@pytest.fixture
def run(tiny, tmp_path):
    """A finished run of 950 records: nine shards, and a half."""
    result = run_campaign(tiny, tmp_path / "run", n=950, engine="quick", workers=1)
    return RunDirectory.open(result.path)


def again(tiny, run, **options):
    return run_campaign(tiny, run.path, **{"n": 950, "engine": "quick", "workers": 1, **options})


def one_line(error: pytest.ExceptionInfo[Exception]) -> str:
    text = str(error.value)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


# -- what is there --------------------------------------------------------------------------------------------


def test_the_layout(run):
    assert sorted(p.name for p in run.path.iterdir()) == ["manifest.json", "shards"]
    assert sorted(p.name for p in run.shards_path.iterdir()) == [f"part-{k:06d}.parquet" for k in range(10)]


def test_a_shard_holds_its_faults_in_order(run):
    for k in range(10):
        faults = pq.ParquetFile(run.shard_path(k)).read(["fault"]).column(0).to_pylist()
        assert faults == list(range(k * SHARD, min((k + 1) * SHARD, 950)))


def test_any_reader_takes_the_folder_as_one_table(run):
    table = pq.read_table(run.shards_path)
    assert table.num_rows == 950
    assert run.table(["fault", "outcome"]).column("fault").to_pylist() == list(range(950))
    assert str(run.shards_path) in run.how_to_open()


def test_the_manifest_tells_an_auditor_everything(run, tiny):
    data = json.loads((run.path / "manifest.json").read_text())
    assert data["identity"]["config_hash"] == config_hash(tiny)
    assert data["identity"]["seed"] == tiny.faults.seed
    assert data["identity"]["shard_records"] == SHARD
    assert data["engine"] == "quick"
    assert data["config"] == to_dict(tiny)
    assert {"python", "accel-sim", "numpy", "numba", "pyarrow"} <= set(data["versions"])
    assert data["host"]["cores"] == os.cpu_count()
    assert {"cpu", "os"} <= set(data["host"])
    assert data["command"]
    assert data["created"].endswith("+00:00")
    assert Manifest.from_json(json.dumps(data)) == run.manifest


def test_every_footer_names_its_campaign_and_sums_it_up(run):
    assert run.records == 950
    for shard in run.shards():
        assert shard.summary.n == shard.count
        assert run.summary_of(shard, shard.count) == shard.summary
        assert run.summary_of(shard, 7).n == 7
    assert run.summary().n == 950
    assert run.summary().exposure == run.manifest.components


# -- what does not belong -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "options", "difference"),
    [
        ({"faults.seed": 3}, {}, "its faults.seed is 0, not 3"),
        ({}, {"seed": 4}, "its faults.seed is 0, not 4"),
        ({"architecture.lanes": 3}, {}, "its architecture.lanes is 2, not 3"),
        ({"checker.units.0.threshold.value": 0.5}, {}, "its checker.units.0.threshold.value is 0.001, not 0.5"),
        ({}, {"exhaustive": True}, "its sampling is .*uniform.*, not .*exhaustive"),
        ({}, {"stratify": ("field",)}, "its sampling is .*uniform.*, not .*stratified"),
    ],
)
def test_another_campaign_is_refused_and_nothing_is_touched(changes, options, difference, run, tiny):
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    with pytest.raises(ForeignRunError, match=difference) as error:
        again(tiny.changed(changes), run, **options)
    assert str(run.path) in one_line(error)
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


def test_a_new_name_is_no_new_campaign(run, tiny):
    assert again(tiny.changed({"name": "other", "description": "words"}), run).computed == 0


def test_another_version_adds_nothing(run, tiny):
    file = run.path / "manifest.json"
    data = json.loads(file.read_text())
    data["versions"]["accel-sim"] = "0.0.7"
    file.write_text(json.dumps(data))
    assert again(tiny, run).computed == 0  # what is there may be read
    with pytest.raises(ForeignRunError, match=r"was begun by accel-sim 0\.0\.7"):
        again(tiny, run, n=2000)


def test_a_directory_with_something_else_in_it_is_refused(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ForeignRunError, match="not empty and holds no campaign"):
        run_campaign(tiny, tmp_path, n=10, engine="quick")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_way_is_reported(tiny, tmp_path):
    (tmp_path / "run").write_text("a file")
    with pytest.raises(StoreError, match="not a directory"):
        run_campaign(tiny, tmp_path / "run", n=10, engine="quick")


def test_a_shard_of_another_campaign_is_noticed(run, tiny, tmp_path):
    other = run_campaign(tiny, tmp_path / "other", n=950, engine="quick", workers=1, seed=9)
    shutil.copy(RunDirectory.open(other.path).shard_path(4), run.shard_path(4))
    with pytest.raises(ForeignRunError, match="part-000004.*belongs to another campaign"):
        again(tiny, run)


def test_a_parquet_file_of_somebody_else_is_noticed(run, tiny):
    pq.write_table(pq.read_table(run.shard_path(0)).replace_schema_metadata(None), run.shard_path(4))
    with pytest.raises(ForeignRunError, match="part-000004.*is no shard"):
        again(tiny, run)


def test_a_shard_in_the_wrong_place_is_noticed(run, tiny):
    shutil.copy(run.shard_path(3), run.shard_path(4))
    with pytest.raises(StoreError, match=r"part-000004.*does not hold what its name says \(100 records from fault 300"):
        again(tiny, run)


# -- what is broken -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("keep", [0, 3, 1000, -1, -9])
def test_a_truncated_shard_is_reported_and_the_rest_is_kept(keep, run, tiny):
    whole = sorted_bytes(run.path)
    path = run.shard_path(4)
    path.write_bytes(path.read_bytes()[:keep])
    others = {k: run.shard_path(k).read_bytes() for k in range(10) if k != 4}
    with pytest.raises(StoreError, match=r"part-000004.*cannot be read.*delete it and run again") as error:
        again(tiny, run)
    assert one_line(error)
    assert {k: run.shard_path(k).read_bytes() for k in others} == others
    path.unlink()
    assert again(tiny, run).computed == 100  # the advice is good
    assert sorted_bytes(run.path) == whole


def test_a_damaged_manifest_is_reported(run, tiny):
    (run.path / "manifest.json").write_text('{"identity"')
    with pytest.raises(StoreError, match=r"manifest\.json is damaged"):
        again(tiny, run)


def test_a_manifest_of_a_later_format_is_reported(run, tiny):
    file = run.path / "manifest.json"
    data = json.loads(file.read_text())
    data["identity"]["format"] = 2
    file.write_text(json.dumps(data))
    with pytest.raises(StoreError, match="its format is 2, this version reads 1"):
        again(tiny, run)


def test_no_run_is_reported(tmp_path):
    with pytest.raises(StoreError, match="holds no campaign"):
        RunDirectory.open(tmp_path / "nowhere")


# -- no room, no right ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EDQUOT])
@pytest.mark.parametrize("survives", [0, 1, 5])
def test_a_failing_disk_is_one_message_and_loses_nothing(code, survives, tiny, tmp_path, monkeypatch):
    """The error comes when data is flushed, where real file systems often report it, after `survives` files."""
    flush, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) > 2 * survives:  # a file and its folder each
            raise OSError(code, os.strerror(code))
        flush(descriptor)

    options = {"n": 950, "engine": "quick", "workers": 1}
    with monkeypatch.context() as patch, pytest.raises(StoreError) as error:
        patch.setattr(store.os, "fsync", failing)
        run_campaign(tiny, tmp_path / "run", **options)
    assert os.strerror(code).lower() in one_line(error)
    left = [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()]
    assert len(left) == survives  # the manifest and whole shards, no scraps, no lock
    if survives:
        assert RunDirectory.open(tmp_path / "run").records == SHARD * (survives - 1)
    assert run_campaign(tiny, tmp_path / "run", **options).computed == 950 - SHARD * max(0, survives - 1)


def test_a_real_limit_on_file_size_is_one_message(tiny, tmp_path):
    """No simulation: the operating system refuses the write half-way."""
    options = {"n": 5000, "engine": "stepped", "workers": 1}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, hard))
    try:
        with pytest.raises(StoreError, match=r"part-000000.*cannot be written: file too large") as error:
            run_campaign(tiny, tmp_path / "run", **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert one_line(error)
    assert [p.name for p in (tmp_path / "run").rglob("*") if p.is_file()] == ["manifest.json"]


FULL_DISK = """
import subprocess, sys
from accel_sim.campaign.runner import run_campaign
from accel_sim.campaign.store import RunDirectory, StoreError
from accel_sim.config import load_config
from campaign.doubles import Quick, installed, sorted_bytes

def remount(options):
    subprocess.run(["mount", "-o", f"remount,{options}", "disk", sys.argv[1]], check=True)

def attempt(n):
    try:
        return run_campaign(load_config("tiny"), sys.argv[1] + "/run", n=n, engine="quick", workers=1).computed
    except StoreError as error:
        return str(error)

with installed(Quick):
    print(attempt(10_000))
    kept = RunDirectory.open(sys.argv[1] + "/run").records
    print(kept)
    remount("size=100m")
    print(attempt(10_000) + kept)
    remount("ro")
    print(attempt(10_000))
    print(attempt(20_000))
"""


def test_a_disk_that_is_really_full_and_one_that_is_really_read_only(tmp_path):
    # A small disk of our own, in a mount namespace of our own; not every machine lets us have one.
    inner = f'mount -t tmpfs -o size=300k disk {tmp_path} && exec {sys.executable} -c "$0" {tmp_path}'
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    try:
        subprocess.run([*command, f"mount -t tmpfs -o size=300k disk {tmp_path}"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no mount namespaces here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    done = subprocess.run([*command, inner, FULL_DISK], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    full, kept, added, again, read_only = done.stdout.splitlines()
    assert "cannot be written: no space left on device" in full
    assert "run the same command again to go on" in full
    assert 0 < int(kept) < 10_000
    assert int(kept) % SHARD == 0
    assert int(added) == 10_000
    assert again == "0"  # a finished run needs no right to write
    assert "cannot be written: read-only file system" in read_only


# -- one writer -----------------------------------------------------------------------------------------------


def hold(path: str, ready, release) -> None:
    with writing(Path(path)):
        ready.set()
        release.wait(60)


def test_a_second_writer_is_refused_and_a_dead_one_is_no_obstacle(run, tiny):
    context = multiprocessing.get_context("spawn")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=hold, args=(str(run.path), ready, release))
    holder.start()
    try:
        assert ready.wait(60)
        assert again(tiny, run).computed == 0  # readers do not wait
        with pytest.raises(StoreError, match=f"is being written by process {holder.pid};") as error:
            again(tiny, run, n=2000)
        assert one_line(error)
    finally:
        holder.kill()
        holder.join()
    assert (run.path / LOCK_NAME).exists()  # it left its lock behind
    assert again(tiny, run, n=2000).computed == 1100  # the half shard is made whole
    assert not (run.path / LOCK_NAME).exists()


def test_the_lock_says_who_holds_it(tmp_path):
    with writing(tmp_path):
        assert json.loads((tmp_path / LOCK_NAME).read_text()) == {"pid": os.getpid(), "host": platform.node()}
        with pytest.raises(StoreError, match=f"is being written by process {os.getpid()}"), writing(tmp_path):
            pass
    assert not (tmp_path / LOCK_NAME).exists()


def test_scraps_of_a_killed_writer_are_swept_out(run, tiny):
    scrap = run.shards_path / ".part-000010.parquet.4711.tmp"
    scrap.write_bytes(b"half a shard")
    assert pq.read_table(run.shards_path).num_rows == 950  # readers never see it
    again(tiny, run, n=1100)
    assert not scrap.exists()
