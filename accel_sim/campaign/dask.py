"""Shards made on a Dask cluster: the same work, somebody else's processes.

The cluster's workers need this package installed and nothing else of ours: the campaign travels to every worker
once, to those that join later too, and shards come back as bytes that are written here. A shard whose worker is
lost is made again by another, as Dask does it. One thread to a worker is best; each thread has its own injector.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import distributed

from accel_sim.campaign.manifest import version
from accel_sim.campaign.processes import WorkerError
from accel_sim.campaign.work import ShardData, ShardMaker, Work

if TYPE_CHECKING:
    from typing import Self

CONNECT_SECONDS = 30
"""How long to wait for the scheduler, at the start and whenever it is lost."""

RETRIES = 2
"""How often a shard is tried again on another worker after an error that is not the worker's death."""


class DaskBackend:
    """Makes shards on the workers of the scheduler at `address`, such as `tcp://10.0.0.1:8786`."""

    def __init__(self, work: Work, address: str) -> None:
        self.address = address
        self._plugin = CampaignPlugin(uuid4().hex, pickle.dumps(work), version())
        self._client: Any = None

    @property
    def window(self) -> int:
        """Two shards for every thread of the cluster as it is now."""
        with self._reachable():
            threads: int = sum(self._client.nthreads().values())
        return max(4, 2 * threads)

    def __enter__(self) -> Self:
        try:
            client: Any = distributed.Client
            self._client = client(self.address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:
            raise WorkerError(f"no Dask scheduler answers at {self.address} ({error})") from None
        # Its name before distributed 2023.9.
        register = getattr(self._client, "register_plugin", None) or self._client.register_worker_plugin
        try:
            register(self._plugin, name=self._plugin.name)
        except Exception as error:
            self._client.close(timeout=5)
            raise WorkerError(f"the workers of {self.address} cannot take the campaign: {error}") from error
        return self

    def __exit__(self, *exception: object) -> None:
        with contextlib.suppress(Exception):  # the scheduler may be gone, and we are leaving anyway
            self._client.unregister_worker_plugin(self._plugin.name)
        self._client.close(timeout=5)

    def submit(self, first: int, count: int) -> Any:
        """Ask for a shard; the ticket is Dask's future."""
        with self._reachable():
            return self._client.submit(make_shard, self._plugin.name, first, count, pure=False, retries=RETRIES)

    def result(self, ticket: Any) -> ShardData:
        """Wait for a shard."""
        with self._reachable():
            failure = ticket.exception()
        if isinstance(failure, distributed.KilledWorker):
            raise WorkerError(f"workers die on one shard, again and again (out of memory?): {failure}")
        with self._reachable() if failure is None else contextlib.nullcontext():
            shard: ShardData = ticket.result()  # or what went wrong as the shard was made
        ticket.release()
        return shard

    @contextlib.contextmanager
    def _reachable(self) -> Iterator[None]:
        """Turns what Dask raises when nobody answers any more into a WorkerError."""
        try:
            yield
        except (CancelledError, OSError) as error:  # among the latter, timeouts and closed connections
            raise WorkerError(f"the Dask scheduler at {self.address} is lost ({type(error).__name__}); "
                              f"run the same command again to go on") from None


# -- in the worker process --------------------------------------------------------------------------------

_campaigns: dict[str, bytes] = {}
_makers: dict[tuple[str, int], ShardMaker] = {}


class CampaignPlugin(distributed.WorkerPlugin):
    """Brings a campaign to every worker of a cluster, and takes it away at the end."""

    def __init__(self, name: str, work: bytes, version: str) -> None:
        self.name = f"accel-sim-{name}"
        self.work = work
        self.version = version

    def setup(self, worker: distributed.Worker) -> None:
        """Called on each worker as it meets the campaign. Raises RuntimeError if it runs another version."""
        if self.version != version():
            raise RuntimeError(
                f"{worker.address} has accel-sim {version()}, the campaign is of {self.version}")
        _campaigns[self.name] = self.work

    def teardown(self, worker: distributed.Worker) -> None:
        """Called on each worker at the end."""
        _campaigns.pop(self.name, None)
        for key in [key for key in _makers if key[0] == self.name]:
            _makers.pop(key, None)


def make_shard(campaign: str, first: int, count: int) -> ShardData:
    """The shard of faults first … first + count − 1 of a campaign that this worker knows."""
    key = (campaign, threading.get_ident())
    if key not in _makers:
        work: Work = pickle.loads(_campaigns[campaign])
        _makers[key] = work.maker()
    return _makers[key].shard(first, count)
