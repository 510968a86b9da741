"""The program on the clock: a machine that goes from step to step, and the transfers that go on meanwhile."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING

import simpy

from accel_sim.machines.program import OFF_CHIP, ProgramTiming, TileName
from accel_sim.system.program_channel import UrgentDma
from accel_sim.system.program_plan import NEVER, Plan, Request, Stay
from accel_sim.system.program_run import PROGRAM_CAUSES
from accel_sim.system.run import Span, Traffic

if TYPE_CHECKING:
    from accel_sim.config import Memory

NO_BANKS: frozenset[tuple[str, int]] = frozenset()


class ProgramClock:
    """One head's program, from the first request to the last store."""

    def __init__(self, timing: ProgramTiming, memory: Memory, plan: Plan, keep_timeline: bool) -> None:
        self.env = simpy.Environment()
        self.timing, self.plan = timing, plan
        self.timeline: list[Span] | None = [] if keep_timeline else None
        self.dma = UrgentDma(self.env, memory.off_chip, self._done, self.timeline)
        self.stalls = dict.fromkeys(PROGRAM_CAUSES, 0)
        self.step_stall: list[int] = []
        self.starts: list[int] = []
        self.end_cycle = 0
        self.last_store = 0
        self._one_port = memory.ports == 1
        steps = len(timing.steps)
        self._by_release: list[list[Request]] = [[] for _ in range(steps + 1)]
        self._by_need: list[list[Request]] = [[] for _ in range(steps)]
        for request in plan.requests:
            self._by_release[request.release + 1].append(request)
            if request.need != NEVER:
                self._by_need[request.need].append(request)
        self._missing = [len(requests) for requests in self._by_need]
        self._unfinished = len(plan.requests)
        self._awaited: tuple[int, simpy.Event] | None = None
        self._all_done = self.env.event()

    def run(self) -> None:
        """Run to the end. Raises RuntimeError if something that was asked for never came."""
        self.env.run(until=self.env.process(self._machine()))
        if self._unfinished:
            self.env.run(until=self._all_done)

    def _machine(self) -> Generator[simpy.Event, None, None]:
        self.dma.request(self._by_release[0])
        for number, step in enumerate(self.timing.steps):
            ready = int(self.env.now)
            if self._missing[number]:
                event = self.env.event()
                self._awaited = number, event
                yield event
                self._awaited = None
            start = int(self.env.now)
            self._held(number, ready, start)
            self.starts.append(start)
            if self._one_port:
                self.dma.block(self.plan.banks[number])
            yield self.env.timeout(step.cycles)
            self._span(step.name, start, step.cycles)
            if self._one_port:
                self.dma.block(NO_BANKS)
            self.dma.request(self._by_release[number + 1])
        self.end_cycle = int(self.env.now)

    def _done(self, request: Request) -> None:
        """Its data is usable from this cycle on."""
        # The store is more urgent, and its bank is free whenever a refill of the same tile may have been asked for.
        assert request.after < 0 or request.after in self.dma.usable, "fetched again before it was stored"
        self._unfinished -= 1
        if not request.load:
            self.last_store = int(self.env.now)
        if request.need != NEVER:
            self._missing[request.need] -= 1
            if self._awaited is not None and self._awaited[0] == request.need and not self._missing[request.need]:
                self._awaited[1].succeed()
        if not self._unfinished:
            self._all_done.succeed()

    def _held(self, number: int, ready: int, start: int) -> None:
        """The machine was held from `ready` to `start` before a step: say why."""
        self.step_stall.append(start - ready)
        if start == ready:
            return
        loads = [request for request in self._by_need[number] if request.load]
        last = max(loads, key=lambda request: self.dma.usable[request.order], default=None)
        there = ready if last is None else max(ready, self.dma.usable[last.order])
        causes = {"store": start - there}
        if last is not None and there > ready:
            over = self.dma.passed_over.get(last.order, 0) // self.dma.channel.ticks_per_cycle
            causes["bank_conflict"] = min(there - ready, over)
            just_now = last.release >= 0 and last.release == number - 1
            causes["double_buffer" if just_now else "off_chip"] = there - ready - causes["bank_conflict"]
        at = ready
        for cause in ("bank_conflict", "double_buffer", "off_chip", "store"):
            if causes.get(cause):
                self.stalls[cause] += causes[cause]
                self._span(f"hold: {cause}", at, causes[cause])
                at += causes[cause]

    def _span(self, name: str, start: int, cycles: int) -> None:
        if self.timeline is not None:
            self.timeline.append(Span("machine", name, start, cycles))

    # -- what has happened ----------------------------------------------------------------------------------

    def traffic(self) -> dict[str, Traffic]:
        """What has been moved, by tensor."""
        counted: dict[str, list[int]] = {}
        about: dict[str, tuple[str, str]] = {}
        for request in self.plan.requests:
            tensor = request.tile.tensor
            name = tensor if request.kind in ("load", "store") else f"{tensor} {request.kind}"
            about[name] = tensor, "read" if request.load else "write"
            requests, bursts, payload = counted.get(name, [0, 0, 0])
            bursts += self.dma.channel.bursts(request.n_bytes)
            counted[name] = [requests + 1, bursts, payload + request.n_bytes]
        size = self.dma.channel.burst_bytes
        present = [tensor for tensor in OFF_CHIP if tensor in self.plan.slots and tensor not in counted]
        for tensor in present:
            about[tensor], counted[tensor] = (tensor, "write" if tensor == "o" else "read"), [0, 0, 0]
        return {
            name: Traffic(*about[name], requests, bursts, bursts * size, payload)
            for name, (requests, bursts, payload) in sorted(counted.items())
        }

    def peaks(self, tile_bytes: Mapping[TileName, int]) -> dict[str, int]:
        """Most bytes of SRAM taken at any time, by tensor and in all."""
        changes: dict[str, list[tuple[int, int]]] = {}
        for tensor, stays in self.plan.stays.items():
            changes[tensor] = []
            emptied: dict[int, int] = {}
            for stay in stays:
                taken, given = max(self._taken(stay), emptied.get(stay.slot, 0)), self._given(stay)
                emptied[stay.slot] = given
                n_bytes = tile_bytes[stay.tile.name]
                changes[tensor] += [(taken, n_bytes), (given, -n_bytes)]
        return {**{tensor: _most(found) for tensor, found in changes.items()},
                "all": _most([change for found in changes.values() for change in found])}

    def _end(self, step: int) -> int:
        return self.starts[step] + self.timing.steps[step].cycles if step >= 0 else 0

    def _taken(self, stay: Stay) -> int:
        if stay.load >= 0:
            return self._end(self.plan.requests[stay.load].release)
        return self.starts[stay.first]

    def _given(self, stay: Stay) -> int:
        stored = self.dma.usable[stay.store] if stay.store >= 0 else 0
        return max(self._end(stay.last), stored)


def _most(changes: list[tuple[int, int]]) -> int:
    """The largest sum that (time, change) come to; what is given at a time is free for what is taken then."""
    taken = most = 0
    for _, change in sorted(changes):
        taken += change
        most = max(most, taken)
    return most
