"""A real Dask cluster on loopback: the same records, also when a worker dies on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from accel_sim.campaign.processes import WorkerError
from accel_sim.campaign.runner import run_campaign
from accel_sim.campaign.store import RunDirectory
from campaign.doubles import SHARD, sorted_bytes

distributed = pytest.importorskip("distributed")

TESTS = Path(__file__).parents[1]

# Threads and sockets of the client are its own business, and it is not always tidy about them.
pytestmark = [
    pytest.mark.usefixtures("stand_ins"),
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning", "ignore::FutureWarning",
                               "ignore::pytest.PytestUnraisableExceptionWarning"),
]


@contextlib.contextmanager
def cluster(folder: Path, workers: int) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and some single-threaded workers in processes of their own; its address, and the processes, the
    scheduler first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    started: list[subprocess.Popen[bytes]] = []

    def begin(module: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *arguments]
        with open(folder / f"log-{len(started)}", "wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder)
        started.append(process)
        return process

    file = folder / "scheduler.json"
    try:
        begin("dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(file))
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        address = json.loads(file.read_text())["address"]
        for _ in range(workers):
            begin("dask_worker", address, "--host", "127.0.0.1", "--nthreads", "1", "--no-nanny", "--no-dashboard",
                  "--local-directory", str(folder))
        yield address, started
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def wait_until(holds, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("cluster"), 2) as (address, _):
        yield address


def test_a_cluster_records_what_this_machine_does(two, tiny, tmp_path):
    here = run_campaign(tiny, tmp_path / "here", n=1000, engine="stepped", workers=1)
    there = run_campaign(tiny, tmp_path / "there", n=1000, engine="stepped", scheduler=two)
    assert there.summary == here.summary
    assert sorted_bytes(there.path) == sorted_bytes(here.path)
    one, other = RunDirectory.open(here.path), RunDirectory.open(there.path)
    assert all(one.shard_path(k).read_bytes() == other.shard_path(k).read_bytes() for k in range(4))
    assert run_campaign(tiny, tmp_path / "there", n=1000, scheduler="tcp://127.0.0.1:1").computed == 0


def test_a_cluster_stops_where_this_machine_does(two, tiny, tmp_path):
    here = run_campaign(tiny, tmp_path / "here", until_width=0.15, engine="quick", workers=1)
    there = run_campaign(tiny, tmp_path / "there", until_width=0.15, engine="quick", scheduler=two)
    assert (there.n, there.verdict, there.summary) == (here.n, here.verdict, here.summary)
    assert RunDirectory.open(there.path).records == there.n


def test_an_engine_that_fails_on_a_cluster_is_heard(two, tiny, tmp_path):
    with pytest.raises(RuntimeError, match="a fault of its own"):
        run_campaign(tiny, tmp_path, n=1000, engine="broken", scheduler=two)
    assert RunDirectory.open(tmp_path).records == 300


def test_a_worker_that_is_killed_half_way_is_made_up_for(tiny, tmp_path):
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder, 2) as (address, (_, *hands)):
        def kill_one(done: int, total: int | None) -> None:
            if done >= 10 * SHARD and hands[0].poll() is None:
                with distributed.Client(address, set_as_default=False) as client:
                    assert len(client.nthreads()) == 2  # both had work
                hands[0].send_signal(signal.SIGKILL)
                hands[0].wait()

        there = run_campaign(tiny, tmp_path / "there", n=6000, engine="slow", scheduler=address, progress=kill_one)
        assert hands[0].poll() == -signal.SIGKILL
        assert hands[1].poll() is None
    here = run_campaign(tiny, tmp_path / "here", n=6000, engine="slow", workers=1)
    assert there.summary == here.summary
    assert sorted_bytes(there.path) == sorted_bytes(here.path)


def test_a_scheduler_that_is_killed_is_one_message_and_the_campaign_goes_on_here(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("accel_sim.campaign.dask.CONNECT_SECONDS", 5)
    folder = tmp_path / "cluster"
    folder.mkdir()
    with cluster(folder, 1) as (address, processes):
        def kill_all(done: int, total: int | None) -> None:
            if done >= 5 * SHARD:
                for process in processes:
                    process.kill()

        with pytest.raises(WorkerError, match="is lost .*run the same command again to go on") as error:
            run_campaign(tiny, tmp_path / "run", n=6000, engine="slow", scheduler=address, progress=kill_all)
    assert "\n" not in str(error.value)
    kept = RunDirectory.open(tmp_path / "run").records
    assert 5 * SHARD <= kept < 6000
    assert run_campaign(tiny, tmp_path / "run", n=6000, engine="quick", workers=1).computed == 6000 - kept


def test_nobody_at_the_address_is_one_message(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("accel_sim.campaign.dask.CONNECT_SECONDS", 1)
    with pytest.raises(WorkerError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 ") as error:
        run_campaign(tiny, tmp_path, n=100, engine="quick", scheduler="tcp://127.0.0.1:9")
    assert "\n" not in str(error.value)
    assert run_campaign(tiny, tmp_path, n=100, engine="quick", workers=1).computed == 100
