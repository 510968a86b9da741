"""The run directory: where a campaign's records live.

    RUN/manifest.json              which campaign this is, and what made it
    RUN/shards/part-000000.parquet records of faults 0 … S − 1, part-000001 the next S, …
    RUN/lock                       while somebody writes

A shard is written under a temporary name in the same folder, flushed to the disk and renamed, so that a file with
a shard's name is always whole. Its footer names its campaign and carries the summary of its records. A file
that is not whole all the same, or belongs to another campaign, is never read past and never overwritten: it is
reported.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from accel_sim.analysis.summary import Summary, merged, summarise
from accel_sim.campaign.lock import LOCK_NAME, Locked, describe, locked
from accel_sim.campaign.manifest import Identity, Manifest, changed_setting

if TYPE_CHECKING:
    import pyarrow as pa

    from accel_sim.campaign.sampling import Sampling
    from accel_sim.config import Config

MANIFEST_NAME = "manifest.json"
SHARDS_NAME = "shards"
SHARD_SUFFIX = ".parquet"

IDENTITY_KEY = "accel_sim.campaign"
RANGE_KEY = "accel_sim.faults"
ENGINE_KEY = "accel_sim.engine"
SUMMARY_KEY = "accel_sim.summary"


class StoreError(Exception):
    """The store cannot be read or written; the text is one clear message. Nothing has been lost."""


class ForeignRunError(StoreError):
    """The directory belongs to something else than what was asked for."""


@dataclass(frozen=True)
class Shard:
    """A shard on the disk, as its footer describes it: `count` records from fault `first` on."""

    number: int
    path: Path
    first: int
    count: int
    summary_json: bytes

    @cached_property
    def summary(self) -> Summary:
        """The summary of its records."""
        return Summary.from_json(self.summary_json)


def shard_metadata(identity: Identity, engine: str, first: int, count: int, summary: Summary) -> dict[str, str]:
    """What a shard's footer says."""
    return {
        IDENTITY_KEY: identity.to_json(),
        RANGE_KEY: json.dumps([first, count]),
        ENGINE_KEY: engine,
        SUMMARY_KEY: summary.to_json(),
    }


@dataclass(frozen=True)
class RunDirectory:
    """A run directory that has a manifest. Reading it takes no lock and writes nothing."""

    path: Path
    manifest: Manifest

    # -- opening ---------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunDirectory:
        """The run in a directory. Raises StoreError if there is none."""
        folder = Path(path)
        file = folder / MANIFEST_NAME
        try:
            text = file.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise StoreError(f"{folder} holds no campaign: it has no {MANIFEST_NAME}") from None
        except OSError as error:
            raise StoreError(f"{file} cannot be read: {_reason(error)}") from None
        try:
            return cls(folder, Manifest.from_json(text))
        except ValueError as error:
            raise StoreError(f"{file} is damaged ({error}); move {folder} away and start again") from None

    @classmethod
    def find(cls, path: Path, config: Config, sampling: Sampling) -> RunDirectory | None:
        """The run of this very campaign, or None if the directory is absent or empty.

        Raises ForeignRunError for a directory that belongs to something else, StoreError for one that cannot be
        read.
        """
        from accel_sim.config import config_hash

        try:
            names = os.listdir(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{path} cannot be read: {_reason(error)}") from None
        if MANIFEST_NAME not in names:
            # What is there before a manifest: a writer was killed as it began.
            others = [name for name in names if name not in (SHARDS_NAME, LOCK_NAME) and not name.startswith(".")]
            if others or _shard_files(path):
                raise ForeignRunError(
                    f"{path} is not empty and holds no campaign (it has no {MANIFEST_NAME}); give another directory")
            return None
        run = cls.open(path)
        asked = replace(run.identity, seed=config.faults.seed, config_hash=config_hash(config),
                        sampling=sampling.describe())
        difference = changed_setting(run.manifest.config, config) if run.identity != asked else None
        difference = difference or run.identity.difference(asked)
        if difference is not None:
            raise ForeignRunError(
                f"{path} holds another campaign ({difference}); records are never mixed, give another directory")
        return run

    @classmethod
    def create(cls, path: Path, manifest: Manifest) -> RunDirectory:
        """Begin a run in a directory (see `writing`). Raises StoreError if it cannot be written."""
        _write(path / MANIFEST_NAME, manifest.to_json().encode(), "nothing has been recorded yet")
        return cls(path, manifest)

    # -- reading ---------------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        """Which campaign this is."""
        return self.manifest.identity

    @property
    def shards_path(self) -> Path:
        """The folder of the shards; Parquet readers take it as one table."""
        return self.path / SHARDS_NAME

    def shard_path(self, number: int) -> Path:
        """Where shard `number` stands."""
        return self.shards_path / f"part-{number:06d}{SHARD_SUFFIX}"

    def shard(self, number: int) -> Shard | None:
        """Shard `number`, its footer checked, or None if there is none.

        Raises StoreError for a file that is damaged, ForeignRunError for one of another campaign.
        """
        path = self.shard_path(number)
        footer = _footer(path)
        if footer is None:
            return None
        rows, metadata = footer
        try:
            identity = Identity(**json.loads(metadata[IDENTITY_KEY.encode()]))
            first, count = json.loads(metadata[RANGE_KEY.encode()])
            summary = metadata[SUMMARY_KEY.encode()]
        except (KeyError, TypeError, ValueError):
            raise ForeignRunError(f"{path} is no shard of a campaign; move it away and run again") from None
        difference = self.identity.difference(identity)
        if difference is not None:
            raise ForeignRunError(f"{path} belongs to another campaign (not {difference}); move it away and run again")
        size = self.identity.shard_records
        if first != number * size or not 0 < count <= size or rows != count:
            raise StoreError(
                f"{path} does not hold what its name says ({rows} records from fault {first} on); "
                f"delete it and run again to compute it anew")
        return Shard(number, path, first, count, summary)

    def shards(self) -> Iterator[Shard]:
        """Every shard that is there, in order of fault. Raises as `shard` does."""
        for number in sorted(_shard_files(self.path)):
            shard = self.shard(number)
            if shard is not None:
                yield shard

    @property
    def records(self) -> int:
        """Records on the disk. Raises as `shard` does."""
        return sum(shard.count for shard in self.shards())

    def summary(self) -> Summary:
        """The summary of all records on the disk. Raises as `shard` does."""
        return merged(shard.summary for shard in self.shards())

    def summary_of(self, shard: Shard, count: int) -> Summary:
        """The summary of a shard's first `count` records. Raises StoreError if they cannot be read."""
        if count == shard.count:
            return shard.summary
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # Read as one file: as a data set, the folder's name could pass for a column.
            table = pq.ParquetFile(shard.path).read(
                ["component", "outcome", "hang", "weight", "alarm", "latency_cycles"]).slice(0, count)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(shard.path, error) from None
        batch, names = {}, {}
        for name in table.column_names:
            values = table.column(name).combine_chunks()
            if name in ("component", "outcome"):
                names[name] = values.dictionary.to_pylist()
                values = values.indices
            batch[name] = values.to_numpy(zero_copy_only=False)
        return summarise(batch, names["component"], names["outcome"], self.manifest.components)

    def table(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All records on the disk in order of fault, or some of their columns. Raises as `shard` does."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for shard in self.shards():
            try:
                parts.append(pq.ParquetFile(shard.path).read(columns))
            except (OSError, pa.ArrowException) as error:
                raise _damaged(shard.path, error) from None
        if not parts:
            raise StoreError(f"{self.path} holds no records yet")
        return pa.concat_tables([part.replace_schema_metadata(None) for part in parts]).unify_dictionaries()

    def how_to_open(self) -> str:
        """Where the records are and how to open them, as lines of text."""
        folder = str(self.shards_path)
        files = f"{folder}{os.sep}*{SHARD_SUFFIX}"
        quoted = files.replace("'", "''")
        return "\n".join((
            f"records  {files}",
            f"pandas   pandas.read_parquet({folder!r})",
            f"DuckDB   SELECT component, outcome, count(*) FROM '{quoted}' GROUP BY ALL",
        ))

    # -- writing ---------------------------------------------------------------------------------------

    def write_shard(self, number: int, data: bytes) -> None:
        """Put a shard's file in its place, whole or not at all. Raises StoreError if that fails."""
        kept = f"the records of faults 0 to {number * self.identity.shard_records - 1} are safe" if number else \
            "nothing had been recorded yet"
        _write(self.shard_path(number), data, f"{kept}; run the same command again to go on")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make a directory ready to be written, for this process alone; sweeps out what a killed writer left half done.

    Raises StoreError if it cannot be written or another process writes it.
    """
    with contextlib.ExitStack() as held:
        try:
            (path / SHARDS_NAME).mkdir(parents=True, exist_ok=True)
            held.enter_context(locked(path))
        except Locked as error:
            raise StoreError(
                f"{path} is being written by {describe(error.holder)}; wait for it, or give another directory"
            ) from None
        except OSError as error:
            raise StoreError(f"{path} cannot be written: {_reason(error)}") from None
        for leftover in (*path.glob(".*.tmp"), *(path / SHARDS_NAME).glob(".*.tmp")):
            with contextlib.suppress(OSError):
                leftover.unlink()
        yield


def _shard_files(path: Path) -> list[int]:
    """Numbers of the files that have a shard's name."""
    try:
        names = os.listdir(path / SHARDS_NAME)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreError(f"{path / SHARDS_NAME} cannot be read: {_reason(error)}") from None
    stems = [name.removeprefix("part-").removesuffix(SHARD_SUFFIX) for name in names
             if name.startswith("part-") and name.endswith(SHARD_SUFFIX)]
    return [int(stem) for stem in stems if stem.isdigit()]


def _footer(path: Path) -> tuple[int, dict[bytes, bytes]] | None:
    """Rows and metadata of a Parquet file; None if there is none. Raises StoreError for a damaged one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open(path, "rb") as file:
            metadata = pq.read_metadata(file)
            return metadata.num_rows, metadata.metadata or {}
    except FileNotFoundError:
        return None
    except (OSError, pa.ArrowException) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> StoreError:
    reason = _reason(error) if isinstance(error, OSError) and error.errno else "it is cut short or no Parquet file"
    return StoreError(f"{path} cannot be read ({reason}); delete it and run again to compute it anew. "
                      f"All other shards are kept")


def _write(path: Path, data: bytes, kept: str) -> None:
    """A file whole or not at all, on the disk before it has its name."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)
    except OSError as error:
        raise StoreError(f"{path} cannot be written: {_reason(error)}; {kept}") from None


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power failure, where the platform can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _reason(error: OSError) -> str:
    """`No space left on device`, without the path that the message names already."""
    return (error.strerror or str(error)).lower()
