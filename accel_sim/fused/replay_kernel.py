"""The kernels of `accel_sim.fused.replay`: a tile made ready, and its faults replayed."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.engines.replay.rows import is_full
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED
from accel_sim.fused.behind import conclude, conclude_element, rear_cycle, replay_behind
from accel_sim.fused.reach import (
    replay_accumulator,
    replay_arrival,
    replay_columns,
    replay_edit,
    replay_left,
    strike_of,
    struck,
)
from accel_sim.fused.step import ALARM_CYCLE, COMPARED
from accel_sim.fused.summed import replay_key_in_feed, replay_key_sum
from accel_sim.fused.waves import Strike, run_waves
from accel_sim.machines.fused import (
    DIRECT,
    FEED_CHECK,
    FEED_K,
    FEED_ONE,
    FEED_Q,
    FEED_SCALE,
    FEED_SLOPE,
    FEED_V,
    UPWARD,
)
from accel_sim.machines.fused_edits import DEAD, WAVES, edit_of_register
from accel_sim.machines.fused_fate import (
    AFTER,
    ARRIVE,
    BEHIND,
    COLUMNS,
    EDGE,
    KEY_IN_FEED,
    KEYS,
    NOTHING,
    OUT_ROW,
    PORTS,
    RUN,
    START,
)
from accel_sim.machines.fused_places import FEED, IN_SKEW
from accel_sim.numerics.arithmetic import add, move, sub
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet, round_to


@inner
def entering_again(feed: Any, e: Any, sel: Any, wave: Any, tile: Any, g: Any, around: Any, x: Any) -> Any:
    """What enters the delay lines as element e in a cycle of the fault-free run."""
    if sel == FEED_ONE:
        return 1.0
    if sel == FEED_SCALE:
        return around.operand_scale
    timer = wave - 1 - g.load
    if sel == FEED_SLOPE:
        return around.in_array[0, timer - 2 * g.size - 3]
    if sel == FEED_CHECK:
        key = tile * g.size + e
        return x.v[key, timer - g.score] if key < g.n_keys else 0.0
    return feed[e]


@inner
def read_again(feed: Any, sel: Any, wave: Any, block: Any, tile: Any, g: Any, around: Any) -> None:
    """What the scratchpad's read has left in `feed` at the start of a cycle of the fault-free run."""
    n = g.size
    if sel == FEED_Q:
        row = block * n + n - wave
        for e in range(n):
            feed[e] = around.q[row, e] if row < g.n_queries else 0.0
    elif sel == FEED_K:
        row = tile * n + wave - 1 - g.load
        for e in range(n):
            feed[e] = around.k[row, e] if row < g.n_keys else 0.0
    elif sel == FEED_V:
        t = wave - 1 - g.load - g.score
        for e in range(n):
            row = tile * n + e
            feed[e] = around.v[row, t] if row < g.n_keys else 0.0


@inner
def fill_ports(ports: Any, history: Any, feed: Any, sel: Any, mode: Any, block: Any, tile: Any, g: Any, around: Any,
               x: Any) -> None:
    """What the rows see at the left in the waves of a tile. history (N + L + 1, N): what entered each line, by cycle,
    from N cycles before the tile on; feed (N,): kept up to date."""
    n = g.size
    waves = sel.shape[0] - 1
    if tile == 0:  # the cycles before have brought in nothing new
        for j in range(n + 1):
            for i in range(n):
                history[j, i] = feed[n - 1 - i]
    else:
        for j in range(n + 1):
            for i in range(n):
                history[j, i] = history[waves + j, i]
    for wave in range(1, waves + 1):
        read_again(feed, sel[wave], wave, block, tile, g, around)
        for i in range(n):
            history[n + wave, i] = entering_again(feed, n - 1 - i, sel[wave], wave, tile, g, around, x)
        for i in range(n):
            if mode[wave] == DIRECT:
                ports[wave, n - 1 - i] = history[n + wave, i]
            elif mode[wave] == UPWARD:
                ports[wave, n - 1 - i] = history[n + wave - i, i]
            else:
                ports[wave, i] = history[n + wave - i, i]


@kernel
def ready_tile(number: int, wave_state: Any, snapshots: Any, spacing: int, ports: Any, history: Any,
               feed: Any, sel: Any, mode: Any, at: Any, program: Any, none: Any, x: Any, clock: Any, g: Any, f: Any,
               around: Any, room: Any, arrived: Any) -> None:
    """The fault-free tile `number`, which must follow the one made ready before: ports, snapshots, end state."""
    block, tile = number // clock.tiles, number % clock.tiles
    n = g.size
    fill_ports(ports, history, feed, sel, mode, block, tile, g, around, x)
    for c in range(n):
        wave_state[at.excess + c] = 0.0
        if tile == 0:
            wave_state[at.row_sum + c] = 0.0
    begin = 1
    index = 0
    while begin <= program.waves:
        end = min(begin + spacing, program.waves + 1)
        move(snapshots[index], wave_state)
        run_waves(wave_state, at, program, begin, end, 0, n, snapshots[0], ports, tile, block, none, g, f, around,
                  room, arrived)
        begin = end
        index += 1
    if tile == clock.tiles - 1:
        for c in range(n):
            wave_state[at.new_max + c] = -np.inf
            wave_state[at.old_max + c] = -np.inf
            wave_state[at.own_max + c] = -np.inf


@kernel
def fill_rear(rear: Any, s: Any, g: Any, f: Any, around: Any, clock: Any, x: Any) -> None:
    """The fault-free registers behind the array as they begin to move in each block."""
    rear.env[COMPARED] = 0
    rear.env[ALARM_CYCLE] = -1
    for block in range(clock.blocks):
        begins = rear.at + block * clock.block
        for j in range(rear.slots.shape[0]):
            rear.start[block, j] = rear.state[rear.slots[j]]
        for cycle in range(begins, min(begins + rear.window, clock.cycles)):
            rear_cycle(rear, s, g, f, around, cycle, clock, x)


@inner
def changed_ports(i: Any, tile: Any, kind: Any, wave: Any, row: Any, k: Any, ports: Any, edits: Any, clock: Any, g: Any,
                  f: Any, x: Any, w: Any) -> Any:
    """Write what a strike at the left edge makes of the ports; returns how many elements. edits (…, 3): wave, row and
    old value of each."""
    n, waves = g.size, ports.shape[0] - 1
    value_at = clock.load + clock.score
    key = (tile % clock.tiles) * n + n - 1 - row
    live = key < g.n_keys
    count = 0
    dim = wave - value_at - 1
    here = x.v[key, dim] if live and kind == FEED else 0.0
    if kind == FEED:
        here = struck(here, k, w)
        edits[0, 0], edits[0, 1], edits[0, 2] = wave + row, row, ports[wave + row, row]
        ports[wave + row, row] = here
        count = 1
    if g.columns == 0:
        return count
    rest = 0.0
    first = 0
    for t in range(n):
        if kind != FEED and t == dim:
            rest = struck(rest, k, w)
        value = x.v[key, t] if live else 0.0
        if kind == FEED and t == dim:
            value = here
        value = quiet(value, f.operand)
        rest = round_to(value, f.checker) if t == 0 else add(quiet(rest, f.checker), value, f.checker)
    for column in range(g.columns):
        if kind != FEED and n + column == dim:
            rest = struck(rest, k, w)
            first = column
        value = quiet(rest, f.checker)
        sent = round_to(value, f.operand)
        rest = sub(value, sent, f.checker)
        if kind != FEED and column < first:
            continue
        leaves = value_at + 1 + n + column + row
        if leaves <= waves:
            edits[count, 0], edits[count, 1], edits[count, 2] = leaves, row, ports[leaves, row]
            ports[leaves, row] = sent
            count += 1
    return count


@inner
def restore_ports(ports: Any, edits: Any, count: Any) -> None:
    """Undo `changed_ports`."""
    for j in range(count):
        ports[int(edits[j, 0]), int(edits[j, 1])] = edits[j, 2]


@inner
def replay_strike(i: Any, tile: Any, e: Any, k: Any, places: Any, slot: Any, ports: Any, snapshots: Any, spacing: Any,
                  at: Any, program: Any, x: Any, clock: Any, g: Any, t: Any, f: Any, around: Any, room: Any,
                  arrived: Any, w: Any) -> Any:
    """A strike on a register of the columns: by its edit, if it is one, else in wave time."""
    n = g.size
    if k.kind == EDGE:
        return replay_left(tile, k.row, e.first[i], k.wave, k, x, clock, g, t, f, w)
    if k.kind == START:
        code, row, col = places.code[slot], places.row[slot], places.col[slot]
        kind, row, at_key, column = edit_of_register(code, row, col, k.wave, g)
        if kind == DEAD:
            return MASKED
        if kind != WAVES:
            return replay_edit(tile, column, kind, row, at_key, 0.0, k, x, clock, n, t, f, w)
    return replay_columns(tile, e.first[i], e.last[i], k, ports, snapshots, spacing, at, program, x, clock, g, t, f,
                          around, room, arrived, w)


@kernel
def replay_tile(order: Any, faults: Any, e: Any, places: Any, snapshots: Any, spacing: int, ports: Any, edits: Any,
                at: Any,
                program: Any, x: Any, clock: Any, s: Any, g: Any, t: Any, f: Any, codec: Any, around: Any, room: Any,
                arrived: Any, cmp: Any, rear: Any, w: Any, out: Any) -> Any:
    """Replay the faults `order`, all of the tile that has been made ready, into the outcomes `out`. Returns how many of
    them: the sink might not have had room for the rows of the next."""
    n, checked = g.size, g.columns > 0
    for j in range(order.shape[0]):
        if is_full(x.out.shape[0], w.sink):
            return j
        i = order[j]
        how, tile = e.how[i], e.tile[i]
        block = tile // clock.tiles
        k = strike_of(i, faults, e)
        w.value[0] = w.value[1] = np.nan
        status = MASKED
        if how == RUN:
            status = FALL_BACK
        elif how == COLUMNS:
            status = replay_strike(i, tile, e, k, places, faults.slot[i], ports, snapshots, spacing, at, program, x,
                                   clock, g, t, f, around, room, arrived, w)
        elif how == PORTS and e.kind[i] == IN_SKEW:
            status = replay_left(tile, e.row[i], 0, e.wave[i], k, x, clock, g, t, f, w)
        elif how == PORTS and e.kind[i] == KEY_IN_FEED:
            key = e.wave[i] - clock.load - n + e.row[i]
            status = replay_key_in_feed(tile, e.row[i], key, k, x, clock, n, f, w)
            status = max(status, replay_left(tile, e.row[i], 0, e.wave[i], k, x, clock, g, t, f, w))
        elif how == KEYS:
            status = replay_key_sum(tile, e.row[i], e.wave[i], e.first[i], k, x, clock, n, f, w)
        elif how == PORTS:
            count = changed_ports(i, tile, e.kind[i], e.wave[i], e.row[i], k, ports, edits, clock, g, f, x, w)
            if count > 0:
                # Until the last of the changed elements has come in, the columns may look as they were.
                quiet_strike = Strike(np.int64(NOTHING), np.int64(edits[0, 0]), np.int64(edits[count - 1, 0]), k.place,
                                      k.op, k.mask, k.arith, k.stored)
                status = replay_columns(tile, e.first[i], e.last[i], quiet_strike, ports, snapshots, spacing, at,
                                        program, x, clock, g, t, f, around, room, arrived, w)
                restore_ports(ports, edits, count)
        elif how == ARRIVE:
            status = replay_arrival(tile, e.wave[i], e.first[i], k, x, clock, n, t, f, w)
        elif how == AFTER:
            status = replay_accumulator(tile, e.kind[i], e.wave[i], e.row[i], e.first[i], k, x, clock, n, t, f, w)
        elif how == OUT_ROW:
            status = conclude_element(i, block, e.first[i], e.wave[i], k, checked, x, n, f, codec, cmp, w, out)
        elif how == BEHIND:
            status = replay_behind(i, e.wave[i], faults.slot[i], k, s, g, f, around, clock, x, codec, cmp, rear, w, out)
        if status == CHANGED and (how in (COLUMNS, PORTS, ARRIVE, AFTER, KEYS)):
            conclude(i, block, checked, x, n, f, codec, cmp, w, out)
        out.status[i] = status
        out.old_value[i], out.new_value[i] = w.value[0], w.value[1]
    return order.shape[0]
