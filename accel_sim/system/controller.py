"""The controller: issues query blocks and key tiles to the machine, loads ahead of it, writes back behind it.

Everything that the controller asks of the DMA engine, it asks at a point of the machine's own schedule (a
bank has been emptied, an output block is complete, an alarm is up). So the order of the requests depends on
the shape of the work and on the number of banks only, never on how fast the memory is: a faster memory
cannot make a run slower.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import simpy

from accel_sim.system.memory import Channel, Dma, Sram
from accel_sim.system.run import CAUSES, Reexecution, Span
from accel_sim.system.work import Work

if TYPE_CHECKING:
    from accel_sim.config import Memory
    from accel_sim.machines.lanes import LanesMachine


Steps: TypeAlias = Generator[simpy.Event, None, None]
"""A SimPy process, or a part of one."""


@dataclass(frozen=True)
class Execution:
    """A query block on its way through the machine: for the first time, or `again` on behalf of a unit."""

    block: int
    arrived: simpy.Event
    again: int | None


class Controller:
    """One head, from the first request to the last write.

    Two clocks: SimPy's, which counts every cycle, and `machine_cycle`, which stands still while the machine
    is held.
    """

    def __init__(self, env: simpy.Environment, machine: LanesMachine, memory: Memory, work: Work,
                 alarms: tuple[int, ...], alarm_tile: int | None, keep_timeline: bool, kv_present: bool) -> None:
        self.env = env
        self.work = work
        self.timing = machine.timing(work.n_queries, work.n_keys)
        self.timeline: list[Span] | None = [] if keep_timeline else None
        self.dma = Dma(env, Channel(memory.off_chip), self.timeline)
        self.sram = Sram()
        self.stalls = dict.fromkeys(CAUSES, 0)
        self.kv_stall: list[int] = []
        self.swap_stall: list[int] = []
        self.order: list[int] = []
        self.machine_cycle = 0
        self.end_cycle = 0
        self.last_write_cycle = 0

        self._granularity = machine.unit_of_work
        self._alarms = set(alarms)
        self._alarm_tile = alarm_tile
        self._alarm_cycle: dict[int, int] = {}
        self._corrected_cycle: dict[int, int] = {}

        # Free banks. Those of Q and K/V are taken by a request, those of O by the swap that drains into one.
        self._resident = memory.kv_resident
        self._free_q = memory.q_buffers
        self._free_kv = work.tiles if memory.kv_resident else memory.kv_buffers
        self._o_banks = simpy.Container(env, capacity=memory.o_buffers, init=memory.o_buffers)

        # Blocks still to be requested, with the unit on whose behalf each runs again; then those requested.
        self._to_load: deque[tuple[int, int | None]] = deque()
        self._q_loading: deque[Execution] = deque()
        self._planned = 0
        self._q_requested = 0
        # Tiles are counted over all executions; resident ones, which are requested once, over the head's.
        self._kv_requested = 0
        self._kv_arrived: dict[int, simpy.Event] = {}
        self._tiles_run = 0
        if kv_present:
            self._find_tiles()
        # What falls due at a machine cycle, in order; and the output blocks that are not yet in memory.
        self._due: list[tuple[int, int, Callable[[], None]]] = []
        self._due_count = 0
        self._writes = 0

    # -- what SimPy runs --------------------------------------------------------------------------------

    def run(self) -> Steps:
        """The head, and whatever an alarm at its end makes run again."""
        self._plan([(block, None) for block in range(self.work.blocks)])
        while self._q_loading:
            yield from self._until_idle()
        self.end_cycle = int(self.env.now)

    def _until_idle(self) -> Steps:
        """Swap, stream, flush, swap, ... until a swap has nothing to load; then the tail."""
        drained: Execution | None = None
        while True:
            loaded = self._q_loading.popleft() if self._q_loading else None
            yield from self._swap(drained, loaded)
            if loaded is None:
                break
            for tile in range(self.work.tiles):
                yield from self._stream(loaded, tile)
            yield from self._machine(f"flush {loaded.block}", self.timing.flush)
            drained = loaded
        yield from self._machine("tail", self.timing.tail)

    def _swap(self, drained: Execution | None, loaded: Execution | None) -> Steps:
        held = 0
        if loaded is not None:
            held += yield from self._hold(loaded.arrived, "q_load")
        if drained is not None:
            held += yield from self._hold(self._o_banks.get(1), "o_store")
            self.sram.take("o", self.work.o_bytes(drained.block))
            self._watch_rows(drained)
        self.swap_stall.append(held)
        names = [f"drain {drained.block}"] if drained else []
        names += [f"load {loaded.block}"] if loaded else []
        yield from self._machine(f"swap: {', '.join(names)}", self.timing.lanes)
        if loaded is not None:
            self.order.append(loaded.block)
            self.sram.give("q", self.work.q_bytes(loaded.block))
            self._free_q += 1
            self._load_ahead()

    def _stream(self, running: Execution, tile: int) -> Steps:
        index = tile if self._resident else self._tiles_run
        self._tiles_run += 1
        self.kv_stall.append((yield from self._hold(self._kv_arrived[index], "kv_load")))
        if tile == 0 and self._alarm_tile is not None:
            self._watch_scan(running, self._alarm_tile)
        yield from self._machine(f"block {running.block} tile {tile}", self.work.keys_in(tile))
        if not self._resident:
            del self._kv_arrived[index]
            self.sram.give("k", self.work.kv_bytes(tile))
            self.sram.give("v", self.work.kv_bytes(tile))
            self._free_kv += 1
            self._load_ahead()

    # -- the machine's clock -----------------------------------------------------------------------------

    def _hold(self, event: simpy.Event, cause: str) -> Generator[simpy.Event, None, int]:
        """Hold the whole machine until `event`; returns for how many cycles."""
        if event.triggered:
            return 0
        start = int(self.env.now)
        yield event
        held = int(self.env.now) - start
        if held:
            self.stalls[cause] += held
            self._span("machine", f"hold: {cause}", start, held)
        return held

    def _machine(self, name: str, cycles: int) -> Steps:
        """Let the machine run for `cycles`, and do what falls due on its clock meanwhile."""
        start, end = int(self.env.now), self.machine_cycle + cycles
        while self._due and self._due[0][0] <= end:
            cycle, _, act = heapq.heappop(self._due)
            if cycle > self.machine_cycle:
                yield self.env.timeout(cycle - self.machine_cycle)
                self.machine_cycle = cycle
            act()
        if end > self.machine_cycle:
            yield self.env.timeout(end - self.machine_cycle)
            self.machine_cycle = end
        self._span("machine", name, start, cycles)

    def _at(self, machine_cycle: int, act: Callable[[], None]) -> None:
        """Do something as soon as the machine has run up to `machine_cycle`."""
        heapq.heappush(self._due, (machine_cycle, self._due_count, act))
        self._due_count += 1

    def _span(self, resource: str, name: str, start: int, duration: int) -> None:
        if self.timeline is not None:
            self.timeline.append(Span(resource, name, start, duration))

    # -- loads --------------------------------------------------------------------------------------------

    def _plan(self, blocks: list[tuple[int, int | None]]) -> None:
        """Run these blocks next: after those whose queries are on their way, before all others."""
        self._to_load.extendleft(reversed(blocks))
        self._planned += len(blocks)
        self._load_ahead()

    def _load_ahead(self) -> None:
        """Request everything that has a free bank, in the order in which the machine will need it."""
        work = self.work
        tiles_wanted = work.tiles * (1 if self._resident else self._planned)
        while True:
            q = self._free_q > 0 and bool(self._to_load)
            kv = self._free_kv > 0 and self._kv_requested < tiles_wanted
            if q and not (kv and self._kv_requested < self._q_requested * work.tiles):
                self._load_queries()
            elif kv:
                self._load_tile()
            else:
                return

    def _load_queries(self) -> None:
        block, again = self._to_load.popleft()
        n_bytes = self.work.q_bytes(block)
        arrived = self.env.event()
        self._free_q -= 1
        self._q_requested += 1
        self._q_loading.append(Execution(block, arrived, again))
        self.sram.take("q", n_bytes)
        self.dma.request("q", f"read q, block {block}", n_bytes, arrived.succeed)

    def _load_tile(self) -> None:
        tile = self._kv_requested % self.work.tiles
        n_bytes = self.work.kv_bytes(tile)
        arrived = self._kv_arrived[self._kv_requested] = self.env.event()
        self._free_kv -= 1
        self._kv_requested += 1
        self.sram.take("k", n_bytes)
        self.sram.take("v", n_bytes)
        self.dma.request("k", f"read k, tile {tile}", n_bytes)
        self.dma.request("v", f"read v, tile {tile}", n_bytes, arrived.succeed)

    def _find_tiles(self) -> None:
        """All of the head's keys and values are in their banks before it begins."""
        self._free_kv = 0
        self._kv_requested = self.work.tiles
        for tile in range(self.work.tiles):
            self._kv_arrived[tile] = self.env.event().succeed()
            for tensor in ("k", "v"):
                self.sram.take(tensor, self.work.kv_bytes(tile))

    # -- rows that leave the machine -----------------------------------------------------------------------

    def _watch_rows(self, drained: Execution) -> None:
        """As a swap begins: when the block will stand in the O SRAM, and when its comparison is decided."""
        swap = self.machine_cycle
        lanes, timing = self.work.lanes, self.timing
        last_row_out = swap + timing.out_cycle(lanes - 1) - timing.swap_start(1)
        self._at(last_row_out + 1, lambda: self._write_back(drained))
        self._writes += 1
        whole_head = self._granularity == "head"
        last_block = drained.block == self.work.blocks - 1
        if self._granularity is None or (whole_head and not last_block):
            return
        last_row = swap + lanes - 1
        self._at(last_row + 1, lambda: self._compare(drained, timing.alarm_cycle(last_row)))

    def _compare(self, drained: Execution, decided: int) -> None:
        """A unit's last row is on its way to the comparison, decided in machine cycle `decided`."""
        start = int(self.env.now)
        whole_head = self._granularity == "head"

        def verdict() -> None:
            name = "compare head" if whole_head else f"compare block {drained.block}"
            self._span("checker", name, start, int(self.env.now) - start)
            if self._alarm_tile is None and drained.again is None:
                self._verdict(0 if whole_head else drained.block)

        self._at(decided, verdict)

    def _watch_scan(self, running: Execution, tile: int) -> None:
        """As a block begins to stream: when the comparison at the end of `tile` is decided."""
        if running.again is not None:
            return
        timing = self.timing
        last_key = (tile + 1) * self.work.key_tile - 1
        accumulated = self.machine_cycle + timing.accumulate_cycle(0, last_key) - timing.stream_start(0)
        last_row = accumulated + timing.lanes
        self._at(timing.alarm_cycle(last_row, scan=True), lambda: self._verdict(running.block))

    def _write_back(self, drained: Execution) -> None:
        n_bytes = self.work.o_bytes(drained.block)
        self.dma.request("o", f"write o, block {drained.block}", n_bytes, lambda: self._written(drained))

    def _written(self, drained: Execution) -> None:
        self._writes -= 1
        self._o_banks.put(1)
        self.sram.give("o", self.work.o_bytes(drained.block))
        self.last_write_cycle = int(self.env.now)
        if drained.again is not None:
            self._corrected_cycle[drained.again] = self.last_write_cycle

    # -- recovery -------------------------------------------------------------------------------------------

    def _verdict(self, unit: int) -> None:
        """The comparison of `unit` is decided; if it alarms, the unit runs again."""
        if unit not in self._alarms:
            return
        self._alarm_cycle[unit] = int(self.env.now)
        blocks = range(self.work.blocks) if self._granularity == "head" else (unit,)
        self._plan([(block, unit) for block in blocks])

    def reexecutions(self) -> Iterator[Reexecution]:
        """What ran again, in the order of the alarms."""
        for unit, alarm_cycle in self._alarm_cycle.items():
            yield Reexecution(unit, alarm_cycle, self._corrected_cycle[unit])

    def check_finished(self) -> None:
        """Raise RuntimeError if the simulation stopped with work undone."""
        undone = {
            "blocks": len(self._to_load) + len(self._q_loading),
            "writes": self._writes,
            "events of the machine": len(self._due),
            "alarms": len(self._alarms - set(self._alarm_cycle)),
        }
        if any(undone.values()):
            raise RuntimeError(f"the system model stopped in cycle {self.env.now} with work undone: {undone}")


def run_head(machine: LanesMachine, memory: Memory, work: Work, alarms: tuple[int, ...],
             alarm_tile: int | None, keep_timeline: bool, kv_present: bool = False) -> Controller:
    """Run one head to its end; the controller that holds what happened."""
    env = simpy.Environment()
    controller = Controller(env, machine, memory, work, alarms, alarm_tile, keep_timeline, kv_present)
    env.run(until=env.process(controller.run()))
    env.run()
    controller.check_finished()
    return controller
