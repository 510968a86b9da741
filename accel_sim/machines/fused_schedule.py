"""The schedule of the `fused` machine: what a register holds in which cycle of the fault-free run.

`occupant` answers for one element and one cycle; None means that nothing will read it before it is written again, so
that a fault there is masked. It follows the value from the register to where it is used, by the same rules as replay
(`fused_fate`, `fused_edits`).
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from accel_sim.machines.fused import WATCH_SCORE, FusedMachine
from accel_sim.machines.fused_edits import (
    BEGINNING,
    COPY,
    DEAD,
    ELEMENT,
    KEY,
    LOW,
    PARTIAL,
    QUERY,
    SUMMED,
    VALUE,
    WORST,
    left_edit,
    register_edit,
)
from accel_sim.machines.fused_fate import (
    AFTER,
    ARRIVE,
    COLUMNS,
    EDGE,
    KEY_IN_FEED,
    NONE,
    OUT_ROW,
    PORTS,
    START,
    Clock,
    Event,
    Layout,
    clock,
    layout,
    resolve,
)
from accel_sim.machines.fused_places import IN_SKEW, Places, places
from accel_sim.machines.fused_sequence import Phases, fill_edge, phases
from accel_sim.machines.fused_timing import FusedTiming
from accel_sim.machines.inventory import Register
from accel_sim.machines.machine import Occupant


class _One(NamedTuple):
    """One fault, as `resolve` takes them."""

    slot: np.ndarray
    cycle: np.ndarray
    last_cycle: np.ndarray


class _Tables(NamedTuple):
    """What does not depend on the head."""

    places: Places
    phases: Phases
    layout: Layout
    mode: np.ndarray
    sel: np.ndarray


@lru_cache(maxsize=8)
def _tables(machine: FusedMachine) -> _Tables:
    sizes = phases(machine)
    sel, mode = (np.zeros(machine.durations.tile + 1, np.int64) for _ in range(2))
    fill_edge(sel, mode, sizes)
    return _Tables(places(machine), sizes, layout(machine.size), mode, sel)


@lru_cache(maxsize=8)
def _clock(machine: FusedMachine, n_queries: int, n_keys: int) -> Clock:
    return clock(machine, machine.timing(n_queries, n_keys))


def occupant(machine: FusedMachine, timing: FusedTiming, register: Register, index: tuple[int, ...],
             cycle: int) -> Occupant | None:
    """What the element holds at the start of machine cycle `cycle`, or None if it is dead. IndexError for an element
    that the register does not have."""
    t, n = _tables(machine), machine.size
    slot = machine.inventory.slot(register.name, index)
    e = Event(*(np.zeros(1, np.int64) for _ in Event._fields))
    one = np.array([cycle], np.int64)
    resolve(_One(np.array([slot], np.int64), one, one), t.places, t.mode, t.sel, t.layout,
            _clock(machine, timing.n_queries, timing.n_keys), n, machine.columns, e)
    how, first = int(e.how[0]), int(e.first[0])
    if how == NONE:
        return None
    block, tile = divmod(int(e.tile[0]), timing.key_tiles)
    live = min(n, timing.n_queries - block * n)
    if how == COLUMNS and e.kind[0] == START:
        code, row, col = (int(values[slot]) for values in (t.places.code, t.places.row, t.places.col))
        kind, row, at, first = register_edit(code, row, col, int(e.wave[0]), t.phases)
        looks_at_all = machine.watch & WATCH_SCORE or machine.rowsum is not None
        if kind == PARTIAL and tile * n + at >= timing.n_keys and not looks_at_all:
            return None  # the score of a key that does not exist: its compare unit does not look at it
        return _of_edit(register, kind, row, at, block * n + first if first < live else None, tile, n)
    if (how == COLUMNS and e.kind[0] == EDGE) or (how == PORTS and e.kind[0] in (IN_SKEW, KEY_IN_FEED)):
        kind, row, at, first, _ = left_edit(int(e.row[0]), first if how == COLUMNS else 0, int(e.wave[0]), t.phases)
        found = _of_edit(register, kind, row, at, block * n + first if first < live else None, tile, n)
        shared = found is not None and kind != QUERY
        return Occupant(found.what, None, found.key, found.dim) if found is not None and shared else found
    if how in (COLUMNS, ARRIVE, AFTER, OUT_ROW) and first >= live:
        return None
    if how in (ARRIVE, AFTER):
        return Occupant(register.about, block * n + first, tile * n)
    if how == OUT_ROW:
        return Occupant(register.about, block * n + first, None, int(e.wave[0]))
    if how == PORTS:
        return Occupant(register.about, None, tile * n + n - 1 - int(e.row[0]))
    return Occupant(register.about)


def _of_edit(register: Register, kind: int, row: int, at: int, query: int | None, tile: int,
             n: int) -> Occupant | None:
    """The occupant of a register whose change is an edit of a query's tile."""
    if kind == DEAD or query is None:
        return None
    key: int | None = tile * n + n - 1 - row
    dim: int | None = None
    if kind in (QUERY, KEY, PARTIAL, LOW):
        key, dim = (None if kind == QUERY else tile * n + at), (None if kind == LOW else row)
    elif kind in (VALUE, ELEMENT):
        dim = at
        key = key if kind == ELEMENT else None
    elif kind in (BEGINNING, COPY, WORST, SUMMED):
        key = None
    return Occupant(register.about, query, key, dim)
