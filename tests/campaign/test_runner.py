"""Campaigns: the same records and the same counts, however they were come by."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from accel_sim.analysis.statistics import anytime_sequence
from accel_sim.analysis.summary import summarise
from accel_sim.campaign.engines import find_engine, make_injector
from accel_sim.campaign.processes import WorkerError
from accel_sim.campaign.progress import state
from accel_sim.campaign.runner import CampaignInterrupted, run_campaign
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.schema import labels_of, to_batch
from accel_sim.campaign.stopping import StopRule
from accel_sim.campaign.store import RunDirectory, StoreError
from accel_sim.campaign.work import exposure
from accel_sim.config import ConfigError, config_hash
from accel_sim.faults.outcome import OUTCOMES
from campaign.doubles import SHARD, sorted_bytes

pytestmark = pytest.mark.usefixtures("stand_ins")

TESTS = Path(__file__).parents[1]


def quick(config, out, **options):
    return run_campaign(config, out, **{"engine": "quick", "workers": 1, **options})


# -- what is recorded -----------------------------------------------------------------------------------------


def test_the_records_are_the_injectors(tiny, assembly, tmp_path):
    result = run_campaign(tiny, tmp_path, n=300, workers=1, engine="stepped")
    labels = labels_of(assembly)
    expected = make_injector(assembly, "stepped").records(0, 300)
    found = to_batch(RunDirectory.open(tmp_path).table(), labels)
    for name, values in expected.items():
        assert found[name].tobytes() == values.tobytes(), name
    assert result.summary == summarise(expected, labels["component"], OUTCOMES, exposure(assembly))
    assert (result.n, result.computed, result.complete, result.verdict) == (300, 300, True, None)


def test_exposure_is_bits_times_cycles(assembly):
    assert sum(exposure(assembly).values()) == assembly.universe.size
    bits = assembly.machine.inventory.bits_by("component")
    assert exposure(assembly) == {name: n * assembly.universe.cycles for name, n in bits.items()}


def test_every_point_of_a_small_universe(tiny, tmp_path):
    config = tiny.changed({"faults.components": ["normalise"], "workload.queries": 1, "workload.keys": 1})
    result = quick(config, tmp_path, exhaustive=True)
    points = RunDirectory.open(tmp_path).table(["point"]).column(0).to_pylist()
    assert points == list(range(result.manifest.identity.universe))
    assert result.population == result.n == len(points)
    assert all(rate.interval.width == 0 for rate in result.rates().values() if rate.among)
    assert quick(config, tmp_path, exhaustive=True).computed == 0


def test_a_part_of_the_universe_claims_no_certainty(tiny, tmp_path):
    result = quick(tiny, tmp_path, exhaustive=True, n=250)
    assert (result.n, result.population, result.complete) == (250, None, True)
    assert result.rates()["masked"].interval.width > 0


def test_stratified_records_carry_their_weights_into_the_rates(tiny, tmp_path):
    strata = {"stratify": ("component", "phase"), "allocation": "equal"}
    small = tiny.changed({"faults.components": ["control", "normalise", "softmax"], "workload.queries": 2})
    whole = quick(small, tmp_path / "all", exhaustive=True)
    part = quick(small, tmp_path / "part", n=6000, **strata)
    weights = RunDirectory.open(part.path).table(["weight"]).column(0).to_numpy()
    assert len(set(weights)) > 5
    assert weights.mean() == pytest.approx(1.0, abs=0.01)
    for name, rate in whole.rates().items():
        assert rate.interval.estimate in part.rates(0.999)[name].interval, name
    assert part.manifest.sampling == Sampling("stratified", ("component", "phase"), "equal")


def test_by_default_records_go_under_runs(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digest = config_hash(tiny)[:8]
    assert quick(tiny, None, n=10).path == Path("runs") / f"tiny-{digest}-s0"
    seeded = config_hash(tiny.changed({"faults.seed": 7}))[:8]
    assert quick(tiny, None, n=10, seed=7).path == Path("runs") / f"tiny-{seeded}-s7"
    name = f"tiny-{digest}-s0-stratified-phase-proportional"
    assert quick(tiny, None, n=10, stratify=("phase",)).path == Path("runs") / name
    assert quick(tiny.changed({"name": "../a b"}), None, n=10).path == Path("runs") / f"a-b-{digest}-s0"


# -- going on -------------------------------------------------------------------------------------------------


def test_again_does_nothing(tiny, tmp_path):
    first = quick(tiny, tmp_path, n=950)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")}
    second = quick(tiny, tmp_path, n=950)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in tmp_path.rglob("*")} == before
    assert (second.summary, second.n, second.computed) == (first.summary, first.n, 0)


def test_a_finished_campaign_loads_no_engine(tiny, tmp_path):
    quick(tiny, tmp_path, n=950)
    program = (
        "import sys, time; began = time.perf_counter()\n"
        "from accel_sim.config import load_config\n"
        "from accel_sim.campaign.runner import run_campaign\n"
        f"result = run_campaign(load_config('tiny'), {str(tmp_path)!r}, n=950)\n"
        "result.rates()\n"
        "assert result.computed == 0\n"
        "print(*(m for m in ('numba', 'simpy', 'matplotlib', 'rich', 'scipy.stats', 'accel_sim.assembly')"
        " if m in sys.modules))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("steps", [(30, 100, 101, 450, 950), (950, 40, 250), (99, 950)])
def test_growing_in_steps_is_growing_at_once(steps, tiny, tmp_path):
    for n in steps:
        result = quick(tiny, tmp_path / "steps", n=n)
        assert result.n == result.summary.n == n
        assert result.summary == quick(tiny, tmp_path / f"once-{n}", n=n).summary
    assert sorted_bytes(tmp_path / "steps") == sorted_bytes(tmp_path / "once-950")


def test_a_lost_shard_is_made_again_and_no_other(tiny, tmp_path):
    whole = quick(tiny, tmp_path, n=950)
    before = sorted_bytes(tmp_path)
    for number in (0, 5, 9):
        RunDirectory.open(tmp_path).shard_path(number).unlink()
    repaired = quick(tiny, tmp_path, n=950)
    assert (repaired.computed, repaired.summary) == (250, whole.summary)
    assert sorted_bytes(tmp_path) == before


def test_a_run_keeps_its_shard_size_and_its_engine(tiny, tmp_path):
    run_campaign(tiny, tmp_path / "a", n=256, engine="stepped", workers=1)
    other = run_campaign(tiny, tmp_path / "a", n=300, engine="quick", workers=1)
    assert (other.manifest.identity.shard_records, other.manifest.engine) == (256, "stepped")
    quick(tiny, tmp_path / "b", n=100)
    assert run_campaign(tiny, tmp_path / "b", n=200, workers=1).manifest.engine == "quick"
    assert sorted_bytes(tmp_path / "b") == sorted_bytes(quick(tiny, tmp_path / "c", n=200).path)


@pytest.mark.parametrize("engine", ["quick", "stepped"])
def test_two_workers_record_what_one_does(engine, tiny, tmp_path):
    # Different numbers of shards are under way; the files are equal, not only the records.
    n = 1500
    runs = [run_campaign(tiny, tmp_path / str(w), n=n, engine=engine, workers=w) for w in (1, 2)]
    assert runs[0].summary == runs[1].summary
    one, two = (RunDirectory.open(run.path) for run in runs)
    for number in range(len(list(one.shards()))):
        assert one.shard_path(number).read_bytes() == two.shard_path(number).read_bytes()
    assert sorted_bytes(one.path) == sorted_bytes(two.path)


# -- stopping -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [{"until_width": 0.2}, {"until_width": 0.1, "until_rate": "silent"}, {"until_detected_above": 0.2},
     {"until_detected_above": 0.45}, {"until_width": 0.3, "until_detected_above": 0.02}],
    ids=str,
)
def test_a_rule_stops_at_the_first_shard_at_which_it_holds(options, tiny, assembly, tmp_path):
    rule = StopRule(options.get("until_width"), options.get("until_detected_above"),
                    options.get("until_rate", "coverage"))
    result = quick(tiny, tmp_path / "a", **options)
    labels = labels_of(assembly)
    records = make_injector(assembly, "quick").records(0, result.n)

    def verdict(n):
        part = {name: values[:n] for name, values in records.items()}
        return rule.verdict(summarise(part, labels["component"], OUTCOMES))

    assert result.n % SHARD == 0
    assert result.verdict == verdict(result.n)
    assert not any(verdict(n) for n in range(SHARD, result.n, SHARD))
    assert RunDirectory.open(result.path).records == result.n  # what was computed beyond is dropped
    # The same again; in steps; and beside records that are there already.
    assert quick(tiny, tmp_path / "a", **options).computed == 0
    quick(tiny, tmp_path / "b", n=result.n // 2 + 7)
    quick(tiny, tmp_path / "c", n=result.n + 1000)
    for folder in ("a", "b", "c"):
        other = quick(tiny, tmp_path / folder, **options)
        assert (other.n, other.summary, other.verdict) == (result.n, result.summary, result.verdict)


def test_two_workers_stop_where_one_does(tiny, tmp_path):
    one, two = (run_campaign(tiny, tmp_path / str(w), until_width=0.15, engine="slow", workers=w) for w in (1, 2))
    assert (one.n, one.summary, one.verdict) == (two.n, two.summary, two.verdict)
    assert sorted_bytes(one.path) == sorted_bytes(two.path)


def test_a_verdict_holds_what_it_says(tiny, tmp_path):
    above = quick(tiny, tmp_path / "a", until_detected_above=0.2).verdict
    assert above.reason == "above"
    assert above.interval.low > 0.2
    below = quick(tiny, tmp_path / "b", until_detected_above=0.45).verdict
    assert below.reason == "not above"
    assert below.interval.high < 0.45
    narrow = quick(tiny, tmp_path / "c", until_width=0.1)
    assert narrow.verdict.reason == "width"
    assert narrow.verdict.interval == anytime_sequence(*narrow.summary.trials("coverage"))
    assert narrow.verdict.interval.width <= 0.1
    # The interval that is reported is the narrower, fixed-n one.
    assert narrow.rates()["coverage"].interval.width < narrow.verdict.interval.width


def test_a_rule_that_is_not_met_ends_with_n_and_says_so(tiny, tmp_path):
    result = quick(tiny, tmp_path, n=450, until_width=0.001)
    assert (result.n, result.complete, result.verdict) == (450, False, None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, r"at least one fault \(got 0\)"),
        ({"n": 10, "workers": 0}, r"at least one worker \(got 0\)"),
        ({"until_width": 0.0}, r"width must lie between 0 and 1 \(got 0\.0\)"),
        ({"until_detected_above": 1.5}, r"detected_above must lie between 0 and 1 \(got 1\.5\)"),
        ({"until_width": 0.1, "until_rate": "luck"}, "no rate 'luck'"),
        ({"exhaustive": True, "stratify": ("field",)}, "cannot be stratified"),
        ({"exhaustive": True, "until_width": 0.1}, "need uniform sampling"),
        ({"stratify": ("field",), "until_width": 0.1}, "need uniform sampling"),
        ({"stratify": ("colour",), "n": 5}, "by 'colour'"),
        ({"engine": "steam"}, "no engine 'steam'; it is one of: auto, "),
    ],
)
def test_options_that_cannot_be_are_refused_before_anything_is_written(options, message, tiny, tmp_path):
    with pytest.raises(ValueError, match=message):
        quick(tiny, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_config_that_does_not_fit_is_its_own_error(tiny, tmp_path):
    with pytest.raises(ConfigError, match=r"faults\.components.*no component"):
        quick(tiny.changed({"faults.components": ["turbo"]}), tmp_path / "run", n=10)
    assert not (tmp_path / "run").exists()


# -- being killed ---------------------------------------------------------------------------------------------

PROGRAM = """
import sys
from accel_sim.campaign.runner import CampaignInterrupted, run_campaign
from accel_sim.config import load_config
from campaign.doubles import Quick, Slow, installed

if __name__ == "__main__":
    out, engine, n, workers = sys.argv[1:]
    with installed(Quick, Slow):
        try:
            run_campaign(load_config("tiny"), out, n=int(n), engine=engine, workers=int(workers))
        except CampaignInterrupted as stopped:
            sys.exit(str(stopped))
"""


def start(folder: Path, engine: str, n: int, workers: int) -> subprocess.Popen[str]:
    program = folder.parent / "program.py"
    program.write_text(PROGRAM)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)])}
    command = [sys.executable, str(program), str(folder), engine, str(n), str(workers)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)


def wait_for_shards(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 120
    while sum(1 for _ in folder.glob("shards/part-*.parquet")) < count:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def processes_of(session: int) -> list[int]:
    """Processes of a session, children whose parent is dead included; those that are only waiting to be reaped not."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def wait_until_gone(session: int) -> None:
    deadline = time.monotonic() + 20
    while processes_of(session):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def kill_and_go_on(tiny, tmp_path, engine: str, n: int, kills: int, seed: int) -> None:
    dice = random.Random(seed)
    folder = tmp_path / "killed"
    have = 0
    for _ in range(kills):
        workers = dice.choice((1, 2))
        victim = start(folder, engine, n, workers)
        try:
            wait_for_shards(folder, min(have + dice.randint(1, 4), -(-n // find_engine(engine).shard_records) - 1))
            time.sleep(dice.random() * 0.1)
        finally:
            victim.send_signal(signal.SIGKILL)
            victim.communicate()
        wait_until_gone(victim.pid)  # the workers go with it
        kept = RunDirectory.open(folder)
        numbers = [shard.number for shard in kept.shards()]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= have  # nothing that was written is lost
        have = len(numbers)
        assert kept.summary().n == kept.records
    resumed = run_campaign(tiny, folder, n=n, engine=engine, workers=1)
    whole = run_campaign(tiny, tmp_path / "whole", n=n, engine=engine, workers=1)
    assert resumed.computed == n - have * resumed.manifest.identity.shard_records
    assert resumed.summary == whole.summary
    assert sorted_bytes(folder) == sorted_bytes(whole.path)


def test_killed_and_resumed_is_as_never_killed(tiny, tmp_path):
    kill_and_go_on(tiny, tmp_path, "slow", 6000, kills=4, seed=1)


def test_killed_with_the_real_machine_and_resumed_is_as_never_killed(tiny, tmp_path):
    kill_and_go_on(tiny, tmp_path, "stepped", 6000, kills=1, seed=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_twenty_random_moments_and_resumed_is_as_never_killed(seed, tiny, tmp_path):
    kill_and_go_on(tiny, tmp_path, "stepped", 10_000, kills=5, seed=100 + seed)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_is_a_clean_end_that_says_how_to_go_on(workers, tmp_path):
    victim = start(tmp_path / "run", "slow", 100_000, workers)
    try:
        wait_for_shards(tmp_path / "run", 3)
        os.killpg(victim.pid, signal.SIGINT)  # as a terminal does: to us and to our workers
        _, said = victim.communicate(timeout=60)
    finally:
        victim.kill()
    records = RunDirectory.open(tmp_path / "run").records
    assert said.strip() == (f"stopped with {records:,} records in {tmp_path / 'run'}; "
                            "run the same command again to go on")
    assert records >= 3 * SHARD
    wait_until_gone(victim.pid)
    assert not [path for path in (tmp_path / "run").rglob("*") if path.name.startswith(".") or path.name == "lock"]


def test_an_interrupt_in_this_process_is_an_exception(tiny, tmp_path):
    def impatient(done, total):
        if done >= 300:
            raise KeyboardInterrupt

    with pytest.raises(CampaignInterrupted) as stopped:
        quick(tiny, tmp_path, n=1000, progress=impatient)
    assert (stopped.value.n, stopped.value.path) == (300, tmp_path)
    assert quick(tiny, tmp_path, n=1000).computed == 700


@pytest.mark.parametrize("workers", [1, 2])
def test_an_engine_that_fails_is_heard_and_what_was_done_is_kept(workers, tiny, tmp_path):
    with pytest.raises(RuntimeError, match="a fault of its own"):
        run_campaign(tiny, tmp_path, n=1000, engine="broken", workers=workers)
    assert RunDirectory.open(tmp_path).records == 300
    assert quick(tiny, tmp_path, n=1000).computed == 700


@pytest.mark.parametrize(
    ("engine", "how"),
    [("dying", "ended with exit code 9;"), ("killed", r"was killed by SIGKILL \(out of memory\?\);")],
)
def test_a_worker_that_is_lost_is_one_message(engine, how, tiny, tmp_path):
    with pytest.raises(WorkerError, match=f"a worker process {how} run the same command again") as error:
        run_campaign(tiny, tmp_path, n=1000, engine=engine, workers=2)
    assert "\n" not in str(error.value)
    assert RunDirectory.open(tmp_path).records in (0, 100, 200, 300)
    assert quick(tiny, tmp_path, n=1000).n == 1000


# -- being told -----------------------------------------------------------------------------------------------


def test_progress_counts_records_and_knows_the_end(tiny, tmp_path, capfd):
    told = []
    quick(tiny, tmp_path, n=250)
    quick(tiny, tmp_path, n=450, progress=lambda done, total: told.append((done, total)))
    assert told == [(200, 450), (300, 450), (400, 450), (450, 450)]
    quick(tiny, tmp_path / "open", until_width=0.3, progress=lambda done, total: told.append((done, total)))
    assert told[-1][1] is None
    quick(tiny, tmp_path / "quiet", n=150)
    assert capfd.readouterr() == ("", "")  # no terminal, no bar


def test_a_bar_is_drawn_where_it_is_wished_for(tiny, tmp_path, capfd):
    quick(tiny, tmp_path, n=450, progress=True)
    captured = capfd.readouterr()
    assert captured.out == ""


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ((0, None, 0, 0.0), "0"),
        ((500, 2000, 0, 1.0), "500 of 2,000"),
        ((500, 2000, 500, 10.0), "500 of 2,000 · 50/s · 0:30 left"),
        ((1500, None, 500, 1.0), "1,500 · 500/s"),
        ((1000, 1_000_000, 1000, 10.0), "1,000 of 1,000,000 · 100/s · 2:46:30 left"),
        ((10, 20, 10, 100.0), "10 of 20 · 0.1/s · 1:40 left"),
    ],
)
def test_progress_in_words(told, text):
    assert state(*told) == text


def test_store_errors_are_no_value_errors():
    # A command's exit code tells them apart: 2 for bad input, 1 for a disk that fails.
    assert not issubclass(StoreError, ValueError)
    assert np.all([issubclass(kind, Exception) for kind in (StoreError, WorkerError, CampaignInterrupted)])
