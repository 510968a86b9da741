"""Where shards are made: in this process, or in one process per core.

A backend takes ranges of faults and hands back their shards when asked. It is a context manager; leaving it lets go
of what is still under way.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Protocol

from accel_sim.campaign.work import ShardData, ShardMaker, Work

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess
    from typing import Self

IN_HAND = 2
"""Shards that a worker process is given at a time: the one that it makes, and the next, so that it never waits."""


class WorkerError(Exception):
    """Workers were lost; the text is one clear message. What has been written stays."""


class Backend(Protocol):
    """Makes shards."""

    @property
    def window(self) -> int:
        """How many shards to ask for in advance, so that no worker waits."""
        ...

    def submit(self, first: int, count: int) -> Any:
        """Ask for the shard of faults first … first + count − 1; gives a ticket for it."""
        ...

    def result(self, ticket: Any) -> ShardData:
        """Wait for a shard. Raises WorkerError if a worker was lost, and whatever making the shard raised."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...


class SerialBackend:
    """Makes each shard in this process, as it is waited for."""

    window = 1

    def __init__(self, work: Work) -> None:
        self._work = work
        self._maker: ShardMaker | None = None

    def submit(self, first: int, count: int) -> tuple[int, int]:
        """The ticket is the range itself."""
        return first, count

    def result(self, ticket: tuple[int, int]) -> ShardData:
        """Make the shard."""
        if self._maker is None:
            self._maker = self._work.maker()
        return self._maker.shard(*ticket)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._maker = None


@dataclass(eq=False)
class _Hand:
    """A worker process, our end of its pipe, and the tickets it has."""

    process: SpawnProcess
    pipe: Connection
    tickets: set[int] = field(default_factory=set)


class ProcessBackend:
    """Makes shards in `workers` fresh processes, which end with this one, however it ends.

    Each has a pipe of its own, so that one which is killed in the middle of an answer is noticed at once and blocks
    nobody. Processes are spawned, not forked: a fork would copy the locks of Numba's and Arrow's threads. Scripts
    that start a campaign therefore need the usual `if __name__ == "__main__":`.
    """

    def __init__(self, work: Work, workers: int) -> None:
        self.workers = workers
        self.window = (IN_HAND + 1) * workers
        self._work = pickle.dumps(work)
        self._hands: list[_Hand] = []
        self._asked = 0
        self._queue: deque[tuple[int, int, int]] = deque()
        self._answers: dict[int, ShardData | Exception] = {}

    def __enter__(self) -> Self:
        context = multiprocessing.get_context("spawn")
        for _ in range(self.workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, self._work), daemon=True)
            with _interrupts_held_back():
                process.start()
                self._hands.append(_Hand(process, ours))
                theirs.close()
        return self

    def __exit__(self, *exception: object) -> None:
        for hand in self._hands:
            if hand.tickets:  # nobody waits for them
                hand.process.kill()
            hand.pipe.close()
        for hand in self._hands:
            hand.process.join(5)
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join()
            hand.process.close()

    def submit(self, first: int, count: int) -> int:
        """Ask for a shard of the next free process."""
        self._asked += 1
        self._queue.append((self._asked, first, count))
        self._hand_out()
        return self._asked

    def result(self, ticket: int) -> ShardData:
        """Wait for a shard."""
        while ticket not in self._answers:
            pipes = {hand.pipe: hand for hand in self._hands}
            for pipe in wait(list(pipes)):
                self._take(pipes[pipe])  # type: ignore[index]
            self._hand_out()
        answer = self._answers.pop(ticket)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _take(self, hand: _Hand) -> None:
        try:
            ticket, answer = hand.pipe.recv()
        except (EOFError, OSError):
            raise _lost(hand.process) from None
        hand.tickets.discard(ticket)
        self._answers[ticket] = answer

    def _hand_out(self) -> None:
        while self._queue:
            hand = min(self._hands, key=lambda hand: len(hand.tickets))
            if len(hand.tickets) >= IN_HAND:
                return
            try:
                hand.pipe.send(self._queue[0])
            except OSError:
                raise _lost(hand.process) from None
            hand.tickets.add(self._queue.popleft()[0])


def _lost(process: SpawnProcess) -> WorkerError:
    process.join(5)
    code = process.exitcode
    if code is not None and code < 0:
        how = f"was killed by {signal.Signals(-code).name}" + (" (out of memory?)" if -code == 9 else "")
    else:
        how = f"ended with exit code {code}"
    return WorkerError(f"a worker process {how}; run the same command again to go on, or with fewer workers")


def usable_cores() -> int:
    """Cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Processes started meanwhile never see Ctrl-C, which is ours to handle; ours comes a little later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Multiprocessing's own helper, begun with the first process, would let them through again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- in the worker process --------------------------------------------------------------------------------


def _serve(pipe: Connection, pickled: bytes) -> None:
    """Make shards until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    maker: ShardMaker | None = None
    while True:
        try:
            ticket, first, count = pipe.recv()
        except (EOFError, OSError):
            return
        answer: ShardData | Exception
        try:
            if maker is None:
                work: Work = pickle.loads(pickled)
                maker = work.maker()
            answer = maker.shard(first, count)
        except Exception as error:
            answer = _portable(error)
        try:
            pipe.send((ticket, answer))
        except OSError:
            return


def _leave_with_parent() -> None:
    """A worker in the middle of a long shard goes as well when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _portable(error: Exception) -> Exception:
    """The error as it can travel, with the place where it was raised."""
    error.add_note("".join(traceback.format_exception(error)).rstrip())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
