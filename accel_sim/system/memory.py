"""Off-chip memory, the DMA engine in front of it, and the SRAM behind it, as SimPy sees them.

* `Channel`: when a transfer occupies the one off-chip channel, exactly;
* `Request`, `Dma`: the in-order queue of transfers;
* `Sram`: how many bytes of SRAM are taken.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass

import simpy

from accel_sim.config import OffChip
from accel_sim.system.run import DIRECTION, Span, Traffic
from accel_sim.system.work import TENSORS

LAST_CYCLE = 1 << 62
"""No run may go on for longer: cycle counts are 64-bit integers."""


class Channel:
    """The off-chip channel: one transfer at a time, in the order of the requests.

    A transfer starts `latency_cycles` after its request, or when the transfer before it ends, whichever is
    later: the latency of one request passes during the transfer of another. This holds for reads and
    writes. Transfers follow one another without a gap, so they may begin and end inside a cycle; time is
    therefore kept in whole *ticks*, of which a cycle has as many as make every byte a whole number of them:
    nothing rounds, and no bandwidth is lost. Data is usable from the first whole cycle after the transfer's
    end.
    """

    def __init__(self, off_chip: OffChip) -> None:
        self.latency = off_chip.latency_cycles
        self.burst_bytes = off_chip.burst_bytes
        self.ticks_per_cycle, self.ticks_per_byte = 1, 0
        if off_chip.bandwidth_bytes_per_cycle != "unlimited":
            per_cycle = float(off_chip.bandwidth_bytes_per_cycle)
            self.ticks_per_cycle, self.ticks_per_byte = per_cycle.as_integer_ratio()
        self._free_tick = 0
        self.busy_ticks = 0

    def bursts(self, n_bytes: int) -> int:
        """Bursts of a transfer of `n_bytes`: rounded up."""
        return -(-n_bytes // self.burst_bytes)

    def transfer(self, requested: int, bursts: int) -> tuple[int, int]:
        """Occupy the channel for a request made in cycle `requested`; its first tick, and the tick after its
        last."""
        start = max((requested + self.latency) * self.ticks_per_cycle, self._free_tick)
        length = bursts * self.burst_bytes * self.ticks_per_byte
        self._free_tick = start + length
        self.busy_ticks += length
        return start, self._free_tick

    def cycles(self, ticks: int) -> float:
        """Ticks as cycles; a fraction only where a transfer begins or ends inside a cycle."""
        return ticks / self.ticks_per_cycle

    def whole_cycle(self, tick: int) -> int:
        """First cycle that begins at `tick` or after it."""
        return -(-tick // self.ticks_per_cycle)


@dataclass(frozen=True)
class Request:
    """One transfer asked of the DMA engine. `done` is called in the cycle in which its data is usable."""

    tensor: str
    name: str
    n_bytes: int
    requested: int
    done: Callable[[], object] | None


class Dma:
    """The DMA engine: takes requests in order and moves them over the channel, one after another.

    Raises ValueError out of the simulation if the memory is so slow that cycles can no longer be counted.
    """

    def __init__(self, env: simpy.Environment, channel: Channel, timeline: list[Span] | None) -> None:
        self.env = env
        self.channel = channel
        self.bursts = dict.fromkeys(TENSORS, 0)
        self.payload = dict.fromkeys(TENSORS, 0)
        self.requests = dict.fromkeys(TENSORS, 0)
        self._timeline = timeline
        self._queue: deque[Request] = deque()
        self._work = env.event()
        env.process(self._run())

    def request(self, tensor: str, name: str, n_bytes: int, done: Callable[[], object] | None = None) -> None:
        """Queue a transfer now."""
        self._queue.append(Request(tensor, name, n_bytes, int(self.env.now), done))
        if not self._work.triggered:
            self._work.succeed()

    def _run(self) -> Generator[simpy.Event, None, None]:
        while True:
            while self._queue:
                request = self._queue.popleft()
                bursts = self.channel.bursts(request.n_bytes)
                start, end = self.channel.transfer(request.requested, bursts)
                usable = self.channel.whole_cycle(end)
                if usable > LAST_CYCLE:
                    raise ValueError(f"off-chip memory too slow: {request.name} ends after 2^62 cycles")
                if usable > self.env.now:
                    yield self.env.timeout(usable - self.env.now)
                self._count(request, bursts, start, end)
                if request.done is not None:
                    request.done()
            self._work = self.env.event()
            yield self._work

    def _count(self, request: Request, bursts: int, start: int, end: int) -> None:
        self.requests[request.tensor] += 1
        self.bursts[request.tensor] += bursts
        self.payload[request.tensor] += request.n_bytes
        if self._timeline is not None:
            first, length = self.channel.cycles(start), self.channel.cycles(end - start)
            self._timeline.append(Span("off-chip", request.name, first, length))

    def traffic(self) -> dict[str, Traffic]:
        """What has been moved, by tensor."""
        return {
            tensor: Traffic(
                tensor, DIRECTION[tensor], self.requests[tensor], self.bursts[tensor],
                self.bursts[tensor] * self.channel.burst_bytes, self.payload[tensor],
            )
            for tensor in TENSORS
        }


class Sram:
    """Bytes of SRAM in use: by tensor, in all, and the most of each at any time."""

    def __init__(self) -> None:
        self._taken = dict.fromkeys(TENSORS, 0)
        self._all = 0
        self.peak = dict.fromkeys(TENSORS, 0)
        self.peak_all = 0

    def take(self, tensor: str, n_bytes: int) -> None:
        """A bank of `tensor` is reserved for `n_bytes`."""
        taken = self._taken[tensor] = self._taken[tensor] + n_bytes
        self._all += n_bytes
        if taken > self.peak[tensor]:
            self.peak[tensor] = taken
        if self._all > self.peak_all:
            self.peak_all = self._all

    def give(self, tensor: str, n_bytes: int) -> None:
        """That bank is free again."""
        self._taken[tensor] -= n_bytes
        self._all -= n_bytes
