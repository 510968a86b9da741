"""Where every tile of a program stands in SRAM, and what has to be moved for it: decided before the first cycle.

A program is known in advance, so nothing has to be guessed: `plan_program` goes through the steps once and gives each
tile a slot for as long as it stays. The SRAM of a tensor is a number of **slots**, each as large as the tensor's
largest tile. Demands are met in the order of the steps, in each SRAM by itself:

- A tile that is not there takes an empty slot, else that of the tile that is needed last (or never) again. In tensors
  that come from off the chip, the tiles that were in demand just before are spared as long as any other can go: while
  they are used the next ones are loaded, and evicting them would undo the double buffering.
- A load may be asked for as soon as its slot, and the slots of all demands before it in that SRAM, are in use no more.
- A tile that has been written is stored from the end of the step that writes it last: for good if its tensor is one of
  `OFF_CHIP`; any other tile, and one that is written again later, only if it has to make room although it is still
  to be read (a **spill**).

A step waits for its loads, and for the stores that empty the slots it writes to. Since the victim is always the lowest
in an order that does not depend on the number of slots, more slots always hold what fewer would have held (Mattson's
stack property): they take away requests and bring the rest forward, and never the reverse.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import NamedTuple

from accel_sim.machines.program import OFF_CHIP, Step, Tile, TileName

NEVER = 1 << 62
"""Number of the step that comes never."""


class Request(NamedTuple):
    """One transfer between SRAM and the memory off the chip.

    need: the step that waits for it (NEVER: none does). load: whether it is a read. order: a number that tells it
    from all others, in the order of the plan. release: the step at whose end it is asked for (−1: at the start). kind:
    `load`, `store`, or, for a tile that had to make room, `spill` and `refill`. after: order of the store whose data a
    refill brings back, else −1. Requests sort by urgency: the step that needs it, and for one step stores first, for a
    load may go where they come from.
    """

    need: int
    load: bool
    order: int
    release: int
    kind: str
    tile: Tile
    n_bytes: int
    bank: tuple[str, int]
    after: int


@dataclass(slots=True)
class Stay:
    """A tile's stay in a slot: from the step that brought it to the one whose demand ended it.

    number: of the stay, among those of its tensor. first, last: steps that use it first and last, so far. next,
    read_next: the step that uses it next, and whether that one reads it. written: the last step that wrote it, or −1.
    load, store: orders of the requests that bring it and that take it away, or −1. until: step of the demand that took
    its slot (NEVER: it stays to the end).
    """

    tile: Tile
    slot: int
    number: int
    first: int
    last: int
    next: int = NEVER
    read_next: bool = False
    written: int = -1
    load: int = -1
    store: int = -1
    until: int = NEVER


@dataclass
class Plan:
    """What `plan_program` decided. slots: of each tensor's SRAM. stays: of each tensor, in the order in which they
    begin. requests: every transfer, in no order that matters. banks: for each step, the banks that it uses."""

    slots: dict[str, int]
    stays: dict[str, list[Stay]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    banks: list[frozenset[tuple[str, int]]] = field(default_factory=list)


class Demand(NamedTuple):
    """One step's use of one tensor's tiles: those that it reads, and those that it writes."""

    step: int
    reads: tuple[Tile, ...]
    writes: tuple[Tile, ...]

    @property
    def tiles(self) -> tuple[Tile, ...]:
        """All of them once, what is read first."""
        return tuple(dict.fromkeys((*self.reads, *self.writes)))


def demands_of(steps: Sequence[Step]) -> dict[str, list[Demand]]:
    """What the steps want of each tensor's SRAM, in order."""
    found: dict[str, list[Demand]] = {}
    for number, step in enumerate(steps):
        for tensor in dict.fromkeys(tile.tensor for tile in (*step.reads, *step.writes)):
            reads, writes = (tuple(t for t in part if t.tensor == tensor) for part in (step.reads, step.writes))
            found.setdefault(tensor, []).append(Demand(number, reads, writes))
    return found


def slots_for_a_step(demands: Sequence[Demand]) -> int:
    """Most tiles of a tensor that one step uses: fewer slots cannot do."""
    return max(len(demand.tiles) for demand in demands)


def slots_for_life(demands: Sequence[Demand]) -> int:
    """Most tiles of a tensor that are wanted at any time, from their first use to their last: nothing ever goes."""
    first: dict[TileName, int] = {}
    last: dict[TileName, int] = {}
    for demand in demands:
        for tile in demand.tiles:
            first.setdefault(tile.name, demand.step)
            last[tile.name] = demand.step
    changes = sorted([(step, 1) for step in first.values()] + [(step + 1, -1) for step in last.values()])
    alive = most = 0
    for _, change in changes:
        alive += change
        most = max(most, alive)
    return most


def plan_program(steps: Sequence[Step], slots: Mapping[str, int], tile_bytes: Mapping[TileName, int],
                 banks: int = 2, resident: frozenset[str] = frozenset()) -> Plan:
    """Plan the SRAM of every tensor.

    slots: for each tensor, at least `slots_for_a_step`. tile_bytes: bytes of each tile. banks: of each SRAM, over which
    its slots are dealt out in turn. resident: tensors whose tiles are all in SRAM before the first step.
    """
    plan = Plan(dict(slots))
    used: list[set[tuple[str, int]]] = [set() for _ in steps]
    for tensor, demands in demands_of(steps).items():
        sram = _Sram(plan, tensor, demands, slots[tensor], tile_bytes, banks, tensor in resident)
        plan.stays[tensor] = sram.stays
        for step, bank in sram.run():
            used[step].add((tensor, bank))
    plan.banks = [frozenset(banks_used) for banks_used in used]
    return plan


class _Sram:
    """One tensor's SRAM, as its demands are met one after another."""

    def __init__(self, plan: Plan, tensor: str, demands: Sequence[Demand], slots: int,
                 tile_bytes: Mapping[TileName, int], banks: int, resident: bool) -> None:
        self.plan, self.tensor, self.demands = plan, tensor, demands
        self.tile_bytes, self.banks, self.resident = tile_bytes, banks, resident
        self.off_chip = tensor in OFF_CHIP
        self.stays: list[Stay] = []
        self._here: dict[TileName, Stay] = {}
        self._empty = list(range(slots - 1, -1, -1))
        # Who goes first: the latest next use, then the earliest last one. Entries are renewed at every use.
        self._line: list[tuple[int, int, tuple[int, ...], int]] = []
        # The store that took a tile's latest version off the chip.
        self._outside: dict[TileName, int] = {}
        self._last_write = {tile.name: demand.step for demand in demands for tile in demand.writes}
        # What is still to come of each tile: (step, whether it reads the tile), the next one last.
        self._uses: dict[TileName, list[tuple[int, bool]]] = {}
        for demand in reversed(demands):
            for tile in demand.tiles:
                self._uses.setdefault(tile.name, []).append((demand.step, tile in demand.reads))
        # No demand is met before those ahead of it: the latest step that any of them waits for.
        self._release = -1
        self._before = -1

    def run(self) -> Iterator[tuple[int, int]]:
        """Meet every demand; gives (step, bank) of each use."""
        for demand in self.demands:
            held = {tile.name for tile in demand.tiles}
            for tile in demand.tiles:
                stay = self._here.get(tile.name)
                if stay is None:
                    stay = self._bring(tile, demand, held)
                stay.last = demand.step
                uses = self._uses[tile.name]
                uses.pop()
                stay.next, stay.read_next = uses[-1] if uses else (NEVER, False)
                heappush(self._line, (-stay.next, stay.last, tile.index, stay.number))
                yield demand.step, stay.slot % self.banks
            for tile in demand.writes:
                self._here[tile.name].written = demand.step
            self._before = demand.step
        for stay in self._here.values():
            if self.off_chip and stay.written >= 0:
                self._store(stay, NEVER, "store")

    def _bring(self, tile: Tile, demand: Demand, held: set[TileName]) -> Stay:
        step = demand.step
        slot = self._empty.pop() if self._empty else self._evict(step, held)
        stay = Stay(tile, slot, len(self.stays), step, step)
        if tile in demand.reads and not self.resident:
            stored = self._outside.get(tile.name, -1)
            stay.load = self._request(stay, step, True, self._release, "load" if stored < 0 else "refill", stored)
        self.stays.append(stay)
        self._here[tile.name] = stay
        return stay

    def _evict(self, step: int, held: set[TileName]) -> int:
        """Make room for a demand of `step`, whose tiles are `held`; the slot."""
        victim = self._victim(step, held)
        del self._here[victim.tile.name]
        victim.until = step
        self._release = max(self._release, victim.last)
        final = self.off_chip and victim.written == self._last_write.get(victim.tile.name)
        if final or (victim.written >= 0 and victim.read_next):
            self._store(victim, step, "store" if final else "spill")
            self._outside[victim.tile.name] = victim.store
        return victim.slot

    def _victim(self, step: int, held: set[TileName]) -> Stay:
        """Who goes: the first in line that `step` does not use, nor, if that can be, the tensor's demand before it."""
        passed: list[tuple[int, int, tuple[int, ...], int]] = []
        victim = spared = None
        while victim is None and self._line:
            entry = heappop(self._line)
            stay = self.stays[entry[3]]
            if self._here.get(stay.tile.name) is not stay or entry[:2] != (-stay.next, stay.last):
                continue  # gone, or used again since it was put there
            if stay.tile.name in held:
                passed.append(entry)
            elif self.off_chip and stay.last == self._before:
                passed.append(entry)
                spared = spared or stay
            else:
                victim = stay
        for entry in passed:
            heappush(self._line, entry)
        victim = victim or spared
        assert victim is not None, "a step needs more slots than there are"
        return victim

    def _store(self, stay: Stay, need: int, kind: str) -> None:
        stay.store = self._request(stay, need, False, stay.written, kind, -1)

    def _request(self, stay: Stay, need: int, load: bool, release: int, kind: str, after: int) -> int:
        order = len(self.plan.requests)
        bank = (self.tensor, stay.slot % self.banks)
        n_bytes = self.tile_bytes[stay.tile.name]
        self.plan.requests.append(Request(need, load, order, release, kind, stay.tile, n_bytes, bank, after))
        return order
