"""The DMA engine of a machine that runs a program: the most urgent transfer first.

Transfers share the one off-chip channel (`accel_sim.system.memory.Channel`: its latency, bursts and exact ticks). Of
those that have been asked for, the one that the earliest step waits for has it; it is interrupted as soon as a more
urgent one may begin, and goes on later where it stopped. (Hardware changes over between bursts; the model, anywhere.)
So no transfer ever waits for one that is needed later, and a memory that is faster cannot make a run slower.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from typing import Any

import simpy

from accel_sim.config import OffChip
from accel_sim.system.memory import LAST_CYCLE, Channel
from accel_sim.system.program_plan import Request
from accel_sim.system.run import Span


class UrgentDma:
    """Moves requests over the channel, most urgent first.

    done: called with a request in the cycle in which its data is usable. Raises ValueError out of the simulation if the
    memory is so slow that cycles can no longer be counted.
    """

    def __init__(self, env: simpy.Environment, off_chip: OffChip, done: Callable[[Request], None],
                 timeline: list[Span] | None) -> None:
        self.env = env
        self.channel = Channel(off_chip)
        self.busy_ticks = 0
        self.passed_over: dict[int, int] = {}
        self.usable: dict[int, int] = {}
        self._done = done
        self._timeline = timeline
        self._waiting: list[Request] = []
        self._left: dict[int, int] = {}
        self._blocked: frozenset[tuple[str, int]] = frozenset()
        self._tick = 0
        self._wake = 0

    def request(self, requests: Sequence[Request]) -> None:
        """Ask for transfers now: they may begin after the latency."""
        if not requests:
            return
        if not self.channel.latency:
            self._arrive(requests)
            return
        if self.env.now + self.channel.latency > LAST_CYCLE:
            raise ValueError(f"off-chip memory too slow: {_named(requests[0])} ends after 2^62 cycles")
        self._call(self.channel.latency, lambda _: self._arrive(requests))

    def block(self, banks: frozenset[tuple[str, int]]) -> None:
        """From now on the machine has the only port of these banks (and of no others)."""
        if banks != self._blocked:
            self._advance()
            self._blocked = banks
            self._schedule()

    def _arrive(self, requests: Sequence[Request]) -> None:
        self._advance()
        for request in requests:
            bytes_moved = self.channel.bursts(request.n_bytes) * self.channel.burst_bytes
            self._left[request.order] = bytes_moved * self.channel.ticks_per_byte
            insort(self._waiting, request)
        self._advance()
        self._schedule()

    def _next(self) -> int:
        """Place of the transfer that has the channel; as many as are waiting if none can be moved."""
        for place, request in enumerate(self._waiting):
            if request.bank not in self._blocked:
                return place
        return len(self._waiting)

    def _advance(self) -> None:
        """Move what there has been time to move."""
        now = int(self.env.now) * self.channel.ticks_per_cycle
        while self._waiting:
            place = self._next()
            served = self._waiting[place] if place < len(self._waiting) else None
            ticks = now - self._tick if served is None else min(now - self._tick, self._left[served.order])
            for request in self._waiting[:place]:
                self.passed_over[request.order] = self.passed_over.get(request.order, 0) + ticks
            if served is None:
                break
            self._move(served, ticks)
            if self._left[served.order]:
                break
            del self._waiting[place], self._left[served.order]
            self._finish(served)
        self._tick = now

    def _move(self, request: Request, ticks: int) -> None:
        if ticks and self._timeline is not None:
            start, length = self.channel.cycles(self._tick), self.channel.cycles(ticks)
            self._timeline.append(Span("off-chip", _named(request), start, length))
        self._tick += ticks
        self.busy_ticks += ticks
        self._left[request.order] -= ticks

    def _finish(self, request: Request) -> None:
        self.usable[request.order] = int(self.env.now)
        self._done(request)

    def _schedule(self) -> None:
        """Come back when the transfer under way has ended, unless something happens before."""
        self._wake += 1
        place = self._next()
        if place == len(self._waiting):
            return
        request = self._waiting[place]
        usable = self.channel.whole_cycle(self._tick + self._left[request.order])
        if usable > LAST_CYCLE:
            raise ValueError(f"off-chip memory too slow: {_named(request)} ends after 2^62 cycles")
        wake = self._wake

        def awake(_: object) -> None:
            if wake == self._wake:
                self._advance()
                self._schedule()

        self._call(usable - int(self.env.now), awake)

    def _call(self, cycles: int, act: Callable[[Any], None]) -> None:
        event = self.env.timeout(cycles)
        assert event.callbacks is not None
        event.callbacks.append(act)


def _named(request: Request) -> str:
    verb = {"load": "read", "store": "write"}.get(request.kind, request.kind)
    return f"{verb} {request.tile.tensor}{list(request.tile.index)}"
