"""Running a campaign: shards out, records in, in order, until it is enough.

`run_campaign` is the way in. Shards are made anywhere and at any pace, but judged and written in order of fault, so
the records on the disk are at any moment those of faults 0 … m − 1, and nothing that is reported depends on
timing, on the number of workers or on how often the campaign was resumed.
"""

from __future__ import annotations

import os
import re
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_sim.analysis.statistics import CONFIDENCE
from accel_sim.analysis.summary import Rate, Summary, Total
from accel_sim.campaign.engines import ENGINES, Engine, find_engine
from accel_sim.campaign.manifest import Identity, Manifest, make_manifest, version
from accel_sim.campaign.processes import Backend, ProcessBackend, SerialBackend, WorkerError, usable_cores
from accel_sim.campaign.progress import Report, progress_for
from accel_sim.campaign.sampling import Sampling
from accel_sim.campaign.stopping import StopRule, Verdict
from accel_sim.campaign.store import ForeignRunError, RunDirectory, Shard, writing
from accel_sim.campaign.work import Work, exposure
from accel_sim.config import config_hash

if TYPE_CHECKING:
    from accel_sim.assembly import Assembly
    from accel_sim.config import Config

DEFAULT_RECORDS = 100_000
"""Records of a campaign that says neither how many nor when to stop."""

MOST_RECORDS = 100_000_000
"""Where a stopping rule that is never met gives up, unless `n` says otherwise."""


class CampaignInterrupted(Exception):
    """Ctrl-C: the campaign stopped cleanly after `n` records in `path`; the text says how to go on."""

    def __init__(self, path: Path, n: int) -> None:
        self.path = path
        self.n = n
        super().__init__(f"stopped with {n:,} records in {path}; run the same command again to go on")


@dataclass(frozen=True)
class Piece:
    """A shard, or the beginning of one: `count` faults from `first` on."""

    number: int
    first: int
    count: int


@dataclass(frozen=True)
class CampaignResult:
    """What a campaign has found.

    summary, n: of the records that were asked for (the directory may hold more). complete: False if a stopping
    rule was never met. verdict: why it stopped, if a rule stopped it. computed: records made by this call, in
    `seconds` of wall-clock time; 0 if all of them were there already.
    """

    summary: Summary
    path: Path
    n: int
    complete: bool
    verdict: Verdict | None
    computed: int
    seconds: float
    manifest: Manifest

    @property
    def population(self) -> int | None:
        """Size of the universe if all of it was gone through, else None. A part of an exhaustive campaign is no
        random sample: intervals do not apply to it."""
        return self.n if self.n == self.manifest.limit else None

    def rates(self, confidence: float = CONFIDENCE) -> dict[str, Rate]:
        """Every rate with its interval; of width zero after an exhaustive campaign."""
        return self.summary.rates(confidence, self.population)

    def how_to_open(self) -> str:
        """Where the records are and how to open them, as lines of text."""
        return RunDirectory(self.path, self.manifest).how_to_open()


def run_campaign(config: Config, out: str | os.PathLike[str] | None = None, *, n: int | None = None,
                 exhaustive: bool = False, until_width: float | None = None,
                 until_detected_above: float | None = None, until_rate: str = "coverage",
                 stratify: tuple[str, ...] = (), allocation: str = "proportional", workers: int | None = None,
                 engine: str = "auto", scheduler: str | None = None, progress: bool | Report | None = None,
                 seed: int | None = None) -> CampaignResult:
    """Inject faults into a config and keep the records, or go on where an earlier call was stopped.

    out: the run directory; by default a name under ./runs made of the config and the seed. n: faults to inject
    (with a stopping rule: at most). exhaustive: every point of the universe, in order. until_width: stop when
    the anytime-valid interval of `until_rate` is at most so wide; until_detected_above: stop when the coverage
    is known to be above this, or known not to be. stratify, allocation: see `Sampling`. workers: processes, one
    per core by default. engine: `auto` is the fastest, or the one that the directory was begun with. scheduler:
    address of a Dask scheduler whose workers do the injecting. progress: see `progress_for`. seed: instead of
    the config's.

    The same arguments give the same result, to the last bit, whatever the workers, the engine and the number
    of attempts. If the directory holds all that is asked for, nothing is computed or written.

    Raises ValueError for options that cannot be (ConfigError for what the config is to blame for),
    ForeignRunError for a directory of another campaign, StoreError if the directory cannot be read or written,
    WorkerError if workers are lost, CampaignInterrupted after Ctrl-C.
    """
    if n is not None and n < 1:
        raise ValueError(f"a campaign needs at least one fault (got {n})")
    if workers is not None and workers < 1:
        raise ValueError(f"a campaign needs at least one worker (got {workers})")
    if exhaustive and stratify:
        raise ValueError("a campaign that strikes every point cannot be stratified")
    rule = StopRule(until_width, until_detected_above, until_rate)
    kind = "exhaustive" if exhaustive else "stratified" if stratify else "uniform"
    sampling = Sampling(kind, tuple(stratify), allocation if stratify else "proportional")
    if rule and not sampling.is_binomial:
        raise ValueError(f"stopping rules need uniform sampling, not {sampling.kind}; say how many with n")
    if seed is not None:
        config = config.changed({"faults.seed": seed})
    find_engine(engine)
    path = Path(out) if out is not None else default_path(config, sampling)
    began = time.monotonic()

    run = RunDirectory.find(path, config, sampling)
    if run is not None:
        tally = Tally(run, n, rule)
        tally.take_stored()
        if tally.finished:
            return tally.result(time.monotonic() - began)
    try:
        from accel_sim.assembly import assemble

        assembly = assemble(config, measure=False)
        sampling.sampler(assembly)  # raises for strata that this machine has not, before anything is written
        with writing(path):
            run = RunDirectory.find(path, config, sampling) or begin(path, config, assembly, sampling, engine)
            refuse_other_software(run, assembly)
            tally = Tally(run, n, rule)
            tally.take_stored()
            work = Work(assembly, engine_of(run, engine), sampling, run.identity)
            with (progress_for(progress, config.name or "campaign") as bar,
                  closing(compute(tally, work, workers, scheduler)) as counts):
                bar.update(tally.n, tally.total)
                for done in counts:
                    bar.update(done, tally.total)
        return tally.result(time.monotonic() - began)
    except KeyboardInterrupt:
        # Counted on the disk: the interrupt may have come between a shard's renaming and its counting.
        run = RunDirectory.find(path, config, sampling)
        raise CampaignInterrupted(path, run.records if run is not None else 0) from None


class Tally:
    """Counts a campaign's records in order of fault, and knows when it is enough."""

    def __init__(self, run: RunDirectory, n: int | None, rule: StopRule) -> None:
        self.run = run
        self.rule = rule
        limit = run.manifest.limit
        most = n or (MOST_RECORDS if rule else limit or DEFAULT_RECORDS)
        self.most = most if limit is None else min(most, limit)
        self.n = 0
        self.computed = 0
        self.verdict: Verdict | None = None
        self._counted = Total()

    @property
    def total(self) -> int | None:
        """Records at the end, if that is known."""
        return None if self.rule else self.most

    @property
    def finished(self) -> bool:
        """Nothing more is wanted."""
        return self.n >= self.most or self.verdict is not None

    def pieces(self) -> Iterator[Piece]:
        """What is still to be counted, shard by shard."""
        size = self.run.identity.shard_records
        for first in range(self.n, self.most, size):
            yield Piece(first // size, first, min(size, self.most - first))

    def add(self, summary: Summary, count: int) -> None:
        """Count the next piece."""
        self._counted.add(summary)
        self.n += count
        self.verdict = self.rule.verdict(self._counted.summary)

    def take_stored(self) -> None:
        """Count what is on the disk already, up to the first gap. Raises StoreError."""
        for piece in self.pieces():
            shard = stored(self.run, piece)
            if shard is None or self.finished:
                return
            self.add(self.run.summary_of(shard, piece.count), piece.count)

    def result(self, seconds: float) -> CampaignResult:
        """What has been counted."""
        return CampaignResult(
            summary=self._counted.summary, path=self.run.path, n=self.n,
            complete=self.verdict is not None or not self.rule, verdict=self.verdict,
            computed=self.computed, seconds=seconds, manifest=self.run.manifest,
        )


def compute(tally: Tally, work: Work, workers: int | None, scheduler: str | None) -> Generator[int, None, None]:
    """Make, write and count what is missing, in order; yields the number of records after each shard.

    Shards behind the one at which a rule stops the campaign may be under way by then; they are dropped.
    """
    run, pieces = tally.run, tally.pieces()
    waiting: deque[tuple[Piece, Shard | None, Any]] = deque()
    with backend_for(tally, work, workers, scheduler) as backend:
        while not tally.finished:
            room = backend.window - sum(1 for _, shard, _ in waiting if shard is None)
            for piece in islice(pieces, max(0, room)):
                shard = stored(run, piece)
                ticket = backend.submit(piece.first, piece.count) if shard is None else None
                waiting.append((piece, shard, ticket))
            piece, shard, ticket = waiting.popleft()
            if shard is None:
                made = backend.result(ticket)
                run.write_shard(piece.number, made.data)
                tally.computed += piece.count
                tally.add(made.summary, piece.count)
            else:
                tally.add(run.summary_of(shard, piece.count), piece.count)
            yield tally.n


def backend_for(tally: Tally, work: Work, workers: int | None, scheduler: str | None) -> Backend:
    """Who makes the shards. Raises WorkerError if there is no Dask."""
    if scheduler is not None:
        try:
            from accel_sim.campaign.dask import DaskBackend
        except ImportError:
            raise WorkerError("a Dask scheduler needs the package distributed: pip install 'accel-sim[dask]'") from None
        return DaskBackend(work, scheduler)
    workers = workers or usable_cores()
    missing = len(list(islice((p for p in tally.pieces() if stored(tally.run, p) is None), workers)))
    return SerialBackend(work) if missing <= 1 else ProcessBackend(work, missing)


def stored(run: RunDirectory, piece: Piece) -> Shard | None:
    """The shard on the disk that holds a piece, if it holds all of it."""
    shard = run.shard(piece.number)
    return shard if shard is not None and shard.count >= piece.count else None


def begin(path: Path, config: Config, assembly: Assembly, sampling: Sampling, engine: str) -> RunDirectory:
    """Write the manifest of a new campaign."""
    chosen = find_engine(engine)
    identity = Identity(config_hash(config), config.faults.seed, sampling.describe(), assembly.universe.size,
                        chosen.shard_records)
    return RunDirectory.create(path, make_manifest(config, identity, chosen.name, exposure(assembly)))


def engine_of(run: RunDirectory, engine: str) -> Engine:
    """`auto` goes on with the engine that the run was begun with, if there still is one of that name."""
    began_with = run.manifest.engine
    return find_engine(began_with if engine == "auto" and began_with in ENGINES else engine)


def refuse_other_software(run: RunDirectory, assembly: Assembly) -> None:
    """Raise ForeignRunError if the run was begun by another version: its records could have another meaning."""
    theirs = run.manifest.versions.get("accel-sim", "unknown")
    if theirs != version():
        raise ForeignRunError(f"{run.path} was begun by accel-sim {theirs}, this is {version()}; "
                              f"records are never mixed, give another directory")
    if run.identity.universe != assembly.universe.size:
        raise ForeignRunError(f"{run.path} has a universe of {run.identity.universe:,} points, now there are "
                              f"{assembly.universe.size:,}; records are never mixed, give another directory")


def default_path(config: Config, sampling: Sampling) -> Path:
    """runs/NAME-HASH-sSEED, with the sampling where it is not uniform."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", config.name).strip("-.")[:60] or "campaign"
    parts = [name, config_hash(config)[:8], f"s{config.faults.seed}"]
    if sampling.kind != "uniform":
        parts.append(sampling.label)
    return Path("runs") / "-".join(parts)
