"""Where shards are made: in this process, or in one process per core.

A backend takes a range of faults and gives a future of its shard. It is a context manager; leaving it lets go of
what is still under way.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Protocol

from accel_sim.campaign.work import ShardData, ShardMaker, Work

if TYPE_CHECKING:
    from typing import Self


class WorkerError(Exception):
    """Workers were lost; the text is one clear message. What has been written stays."""


class Backend(Protocol):
    """Makes shards."""

    @property
    def window(self) -> int:
        """How many shards to have under way, so that no worker waits."""
        ...

    def submit(self, first: int, count: int) -> Future[ShardData]:
        """Begin the shard of faults first … first + count − 1."""
        ...

    def result(self, future: Future[ShardData]) -> ShardData:
        """Wait for a shard. Raises WorkerError if its worker was lost, and whatever making it raised."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class SerialBackend:
    """Makes each shard in this process, as it is waited for."""

    window = 1

    def __init__(self, work: Work) -> None:
        self._work = work
        self._maker: ShardMaker | None = None
        self._asked: dict[Future[ShardData], tuple[int, int]] = {}

    def submit(self, first: int, count: int) -> Future[ShardData]:
        """Note what is asked for."""
        future: Future[ShardData] = Future()
        self._asked[future] = (first, count)
        return future

    def result(self, future: Future[ShardData]) -> ShardData:
        """Make the shard."""
        if self._maker is None:
            self._maker = self._work.maker()
        return self._maker.shard(*self._asked.pop(future))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._asked.clear()


class ProcessBackend:
    """Makes shards in `workers` fresh processes, which end with this one, however it ends.

    The processes are spawned, not forked: a fork would copy the locks of Numba's and Arrow's threads. Scripts that
    start a campaign therefore need the usual `if __name__ == "__main__":`.
    """

    def __init__(self, work: Work, workers: int) -> None:
        self.workers = workers
        self.window = 2 * workers
        self._work = pickle.dumps(work)
        self._under_way: set[Future[ShardData]] = set()
        self._pool: ProcessPoolExecutor | None = None
        self._alive: Connection | None = None

    def __enter__(self) -> Self:
        import multiprocessing

        context = multiprocessing.get_context("spawn")
        # Nobody writes to this pipe. When its writing end closes, by our leave or by our death, workers go.
        gone, self._alive = context.Pipe(duplex=False)
        self._pool = ProcessPoolExecutor(self.workers, context, _begin, (gone, self._work))
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._pool is not None and self._alive is not None
        if self._under_way:  # nobody waits for them
            self._alive.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._alive.close()

    def submit(self, first: int, count: int) -> Future[ShardData]:
        """Begin a shard in the next free process."""
        assert self._pool is not None
        with _interrupts_ignored():
            try:
                future = self._pool.submit(_make, first, count)
            except BrokenProcessPool:
                raise WorkerError(LOST) from None
        self._under_way.add(future)
        return future

    def result(self, future: Future[ShardData]) -> ShardData:
        """Wait for a shard."""
        try:
            shard = future.result()
        except BrokenProcessPool:
            raise WorkerError(LOST) from None
        self._under_way.discard(future)
        return shard


LOST = "a worker process was killed (out of memory?); run the same command again to go on, or with fewer workers"


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes started meanwhile ignore Ctrl-C from their first instruction on: it is ours to handle."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


# -- in the worker process --------------------------------------------------------------------------------

_work: bytes = b""
_maker: ShardMaker | None = None


def _begin(gone: Connection, work: bytes) -> None:
    global _work
    _work = work
    threading.Thread(target=_leave_with, args=(gone,), daemon=True).start()


def _leave_with(gone: Connection) -> None:
    with contextlib.suppress(EOFError, OSError):
        gone.recv_bytes()
    os._exit(1)


def _make(first: int, count: int) -> ShardData:
    global _maker
    if _maker is None:
        work: Work = pickle.loads(_work)
        _maker = work.maker()
    return _maker.shard(first, count)
