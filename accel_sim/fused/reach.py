"""What a struck register makes of the queries that it reaches: their tile again, then their accumulators to the end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.replay.types import CHANGED, MASKED
from accel_sim.fused.again import (
    ALL_DIMENSIONS,
    NO_DIMENSION,
    left_value,
    struck_bound,
    tile_again,
)
from accel_sim.fused.arithmetic import multiply_sum, power_by_table
from accel_sim.fused.column import (
    accumulate_row,
    correction,
    difference,
    negative,
    normalise,
    one_step,
    products,
    reciprocal,
    row_maximum,
    sum_of_weights,
    weights,
)
from accel_sim.fused.summed import note_after_waves, note_scores
from accel_sim.fused.watched import (
    AT_END,
    HERE,
    KEYS,
    RESIDUAL,
    TILES,
    TOLD,
    excess_before,
    is_seen_by,
    rest_watched,
    tile_watched,
    with_sum,
)
from accel_sim.fused.waves import Strike, run_waves, struck_value
from accel_sim.machines.fused import WATCH_MAX, WATCH_SCORE
from accel_sim.machines.fused_edits import COPY, DEAD, LIMIT, LOWER, QUERY, SUMMED, WORST, edit_of_left
from accel_sim.machines.fused_fate import LATE_TOTAL, NOTHING, WORD_DOWN, WORD_UP
from accel_sim.machines.fused_places import FACTOR
from accel_sim.numerics.arithmetic import maximum
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


class Scratch(NamedTuple):
    """Room of one fault, all float64 but changed, summed, only and sink.

    w: a wave state. changed (N,) uint8, rows (N, N + C): the block's changed queries; only (1,) int64: the only
    dimension of them that is changed (and valid), −1: all. residual, limit (n,): golden between faults. value (3,): the
    struck value before and after; l of a query at the end. summed (N,) uint8: bit 0, 1: sums (N, 2) has another sum of
    scores, another prediction of a column. beyond (1,): score of a key that does not exist. l (1,), p,
    row, s, q (N,), tree (⌈N/2⌉,), o, arrive, roots, scores, zeros (N + C,), all_scores (N_keys,). sink: a
    `engines.replay.types.RowSink` for the rows that faults change.
    """

    w: Any
    changed: Any
    rows: Any
    p: Any
    value: Any
    o: Any
    l: Any  # noqa: E741
    arrive: Any
    row: Any
    tree: Any
    roots: Any
    residual: Any
    limit: Any
    scores: Any
    s: Any
    q: Any
    all_scores: Any
    zeros: Any
    beyond: Any
    only: Any
    summed: Any
    sums: Any
    sink: Any


@inner
def strike_of(i: Any, faults: Any, e: Any) -> Any:
    """Fault i as a wave strike."""
    a, b = faults.arith[i], faults.stored[i]
    return Strike(e.kind[i], e.wave[i], e.row[i], e.row[i], faults.op[i], faults.mask[i],
                  Codec(a[0], a[1], a[2], a[3]), Codec(b[0], b[1], b[2], b[3]))


@inner
def struck(x: Any, k: Any, w: Any) -> Any:
    """x struck, noted in w.value."""
    after = struck_value(x, k)
    w.value[0], w.value[1] = x, after
    return after


@inner
def same(a: Any, b: Any) -> Any:
    """Whether two values have the same bits."""
    return np.float64(a).view(np.int64) == np.float64(b).view(np.int64)


@inner
def same_rows(a: Any, b: Any) -> Any:
    """Whether two rows have the same bits."""
    equal = True
    for i in range(a.shape[0]):
        if not same(a[i], b[i]):
            equal = False
            break
    return equal


@inner
def to_the_end(query: Any, tile: Any, new: Any, old: Any, l: Any, o: Any, x: Any, n: Any, t: Any, f: Any,  # noqa: E741
               w: Any) -> Any:
    """Accumulate tiles `tile` … of a query from l and w.o, with the maxima as they are, and divide; returns l at the
    end.

    While the maxima are not the fault-free ones, the tiles' weights are formed again.
    """
    tiles = x.delta.shape[1]
    n_keys = x.s.shape[1]
    golden = tile == 0 or (same(new, x.new_max[query, tile - 1]) and same(old, x.new_max[query, tile - 1]))
    for at in range(tile, tiles):
        if golden:
            a = x.a[query, at]
            w.l[0] = l
            accumulate_row(w.l, a, x.total[query, at:at + 1], at == 0, f)
            l = w.l[0]  # noqa: E741
            accumulate_row(w.o, a, x.value[query, at], at == 0, f)
            continue
        first, last = at * n, min(n_keys, at * n + n)
        s, p = x.s[query, first:last], w.p[:last - first]
        start, allowed = x.first[query] - first, x.allowed[query] - first
        new = row_maximum(new, s, start, allowed, f)
        weights(p, s, negative(new, f), start, allowed, t, f)
        a = correction(difference(old, new, f), t, f)
        old = new
        w.l[0] = l
        w.row[0] = sum_of_weights(p, f)
        accumulate_row(w.l, a, w.row[:1], at == 0, f)
        l = w.l[0]  # noqa: E741
        products(w.arrive, p, x.v[first:last], f)
        accumulate_row(w.o, a, w.arrive, at == 0, f)
        golden = same(new, x.new_max[query, at])
    w.value[2] = l
    return l


@inner
def note_residual(query: Any, excess: Any, sees: Any, x: Any, f: Any, w: Any) -> Any:
    """Mark the comparison of a query's invariants as changed, if it is: the excess at the read-out, l in w.value."""
    residual = with_sum(excess, w.value[2], sees, x.watched.table[query, KEYS], x.watched.what, f)
    if same(residual, x.watched.table[query, RESIDUAL]):
        return MASKED
    w.residual[int(x.watched.table[query, TOLD])] = residual
    return CHANGED


@inner
def golden_end(query: Any, x: Any, w: Any) -> None:
    """Until something else is known, a query's sum of weights is the fault-free one."""
    w.value[2] = x.l[query, x.l.shape[1] - 1]


@inner
def note_sum(query: Any, x: Any, f: Any, w: Any) -> Any:
    """The same of a query in which at most the sum of the weights is another."""
    return note_residual(query, x.watched.table[query, AT_END], x.allowed[query] > 0, x, f, w)


@inner
def note_edit(query: Any, tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any, f: Any,
              w: Any) -> Any:
    """The same of a query whose tile is under an edit."""
    y = x.watched
    excess = y.table[query, AT_END]
    if y.what & (WATCH_MAX | WATCH_SCORE) and is_seen_by(kind):
        excess, copy, new = tile_watched(query, tile, kind, row, at, changed, k, x, n, f, w)
        excess = rest_watched(query, tile + 1, excess, copy, new, x, n, f)
    sees = x.allowed[query] > 0
    if kind == LIMIT and tile == x.delta.shape[1] - 1:
        sees = changed > 0
    return note_residual(query, excess, sees, x, f, w)


@inner
def note_row(query: Any, column: Any, x: Any, w: Any) -> Any:
    """Mark a column as changed if its divided row in w.rows is not the fault-free one."""
    if same_rows(w.rows[column], x.out[query]):
        return MASKED
    w.changed[column] = 1
    return CHANGED


@inner
def after_output(query: Any, column: Any, tile: Any, dim: Any, total: Any, x: Any, f: Any, w: Any) -> Any:
    """A query of which one accumulator, after a tile, holds another value; nothing else is different."""
    for later in range(tile + 1, x.delta.shape[1]):
        if same(total, x.o[query, later - 1, dim]):
            return MASKED
        total = multiply_sum(x.a[query, later], total, x.value[query, later, dim], f.sum)
    out = multiply_sum(x.inverse[query], total, 0.0, f.sum)
    if same(out, x.out[query, dim]):
        return MASKED
    w.rows[column, dim] = out
    w.changed[column] = 1
    w.only[0] = dim
    return CHANGED


@inner
def after_tile(query: Any, column: Any, tile: Any, delta: Any, total: Any, which: Any, new: Any, old: Any, x: Any,
               n: Any, t: Any, f: Any, w: Any) -> Any:
    """A query whose tile has left other values: delta, total, those of w.scores that `which` names (see
    `accel_sim.fused.again`), and other maxima."""
    golden_max = x.new_max[query, tile]
    same_delta = same(delta, x.delta[query, tile])
    kept = same_delta and same(new, golden_max) and same(old, golden_max) and same(total, x.total[query, tile])
    before = max(0, tile - 1)
    if kept:
        if which == NO_DIMENSION or (which == ALL_DIMENSIONS and same_rows(w.scores, x.value[query, tile])):
            return MASKED
        if which >= 0:
            held = 0.0 if tile == 0 else x.o[query, before, which]
            held = multiply_sum(x.a[query, tile], held, w.scores[which], f.sum)
            return after_output(query, column, tile, which, held, x, f, w)
    a = x.a[query, tile] if same_delta else correction(delta, t, f)
    for c in range(w.o.shape[0]):
        w.o[c] = x.o[query, before, c]
    w.l[0] = x.l[query, before]
    w.row[0] = total
    accumulate_row(w.l, a, w.row[:1], tile == 0, f)
    accumulate_row(w.o, a, w.scores, tile == 0, f)
    l = to_the_end(query, tile + 1, new, old, w.l[0], w.o, x, n, t, f, w)  # noqa: E741
    normalise(w.rows[column], w.o, reciprocal(l, f), f)
    return note_row(query, column, x, w)


@inner
def replay_edit(tile: Any, column: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, clock: Any, n: Any,
                t: Any, f: Any, w: Any) -> Any:
    """A tile's column under an edit."""
    block, tile = tile // clock.tiles, tile % clock.tiles
    query = block * n + column
    if query >= x.out.shape[0]:
        return MASKED
    golden_end(query, x, w)
    if kind == SUMMED:
        return note_scores(query, column, tile, kind, row, at, 0.0, k, x, n, f, w)
    if kind in (COPY, WORST):
        return note_edit(query, tile, kind, row, at, 0.0, k, x, n, f, w)
    if kind in (LIMIT, LOWER):
        w.beyond[0] = 0.0
        for r in range(n - 1, -1, -1):
            w.beyond[0] = one_step(x.q[query, r], 0.0, w.beyond[0], f)
        changed = struck_bound(query, kind, k, x, w)
    elif kind == QUERY:
        changed = struck(x.q[query, row], k, w)
    delta, total, new, old, which = tile_again(query, tile, kind, row, at, changed, k, x, n, t, f, w)
    status = after_tile(query, column, tile, delta, total, which, new, old, x, n, t, f, w)
    if x.watched.what != 0:
        status = max(status, note_edit(query, tile, kind, row, at, changed, k, x, n, f, w))
    if x.summed.on:
        status = max(status, note_scores(query, column, tile, kind, row, at, changed, k, x, n, f, w))
    return status


@inner
def replay_left(tile: Any, row: Any, col: Any, wave: Any, k: Any, x: Any, clock: Any, g: Any, t: Any, f: Any,
                w: Any) -> Any:
    """A strike on what enters PE (row, col) from the left in a wave: it goes on to the right."""
    n = g.size
    kind, row, at, first, last = edit_of_left(row, col, wave, g)
    if kind == DEAD:
        return MASKED
    block, key_tile = tile // clock.tiles, tile % clock.tiles
    last = min(last, x.out.shape[0] - block * n)
    if kind == QUERY:
        return replay_edit(tile, first, QUERY, row, 0, 0.0, k, x, clock, n, t, f, w)
    if first >= last:
        return MASKED
    changed = struck(left_value(kind, row, at, 0, key_tile, x, t, n), k, w)
    status = MASKED
    for column in range(first, last):
        status = max(status, replay_edit(tile, column, kind, row, at, changed, k, x, clock, n, t, f, w))
    return status


@inner
def replay_arrival(tile: Any, step: Any, column: Any, k: Any, x: Any, clock: Any, n: Any, t: Any, f: Any,
                   w: Any) -> Any:
    """A value struck on its way to an accumulator."""
    block = tile // clock.tiles
    query, tile = block * n + column, tile % clock.tiles
    if query >= x.out.shape[0]:
        return MASKED
    delta, total, which = x.delta[query, tile], x.total[query, tile], NO_DIMENSION
    row = step - clock.acc_sum - 1
    if step == clock.acc_scale:
        delta = struck(delta, k, w)
    elif row < 0:
        total = struck(total, k, w)
    else:
        which = row
        w.scores[row] = struck(x.value[query, tile, row], k, w)
    if which == NO_DIMENSION:
        for c in range(w.scores.shape[0]):
            w.scores[c] = x.value[query, tile, c]
    golden = x.new_max[query, tile]
    golden_end(query, x, w)
    status = after_tile(query, column, tile, delta, total, which, golden, golden, x, n, t, f, w)
    if x.watched.what != 0:
        status = max(status, note_sum(query, x, f, w))
    return status


@inner
def replay_accumulator(tile: Any, code: Any, step: Any, dim: Any, column: Any, k: Any, x: Any, clock: Any, n: Any,
                       t: Any, f: Any, w: Any) -> Any:
    """A strike on scale, l, o or c of a column."""
    block = tile // clock.tiles
    query, tile = block * n + column, tile % clock.tiles
    if query >= x.out.shape[0]:
        return MASKED
    golden = x.new_max[query, tile]
    if code == LATE_TOTAL:
        w.value[2] = struck(x.l[query, tile], k, w)
        return note_sum(query, x, f, w)
    if code != FACTOR and dim >= 0:
        return after_output(query, column, tile, dim, struck(x.o[query, tile, dim], k, w), x, f, w)
    for c in range(w.o.shape[0]):
        w.o[c] = x.o[query, tile, c]
    l = x.l[query, tile]  # noqa: E741
    if code == FACTOR and step > 0:
        before = max(0, tile - 1)
        a = x.a[query, tile]
        if step == clock.acc_scale + 1:
            scaled = multiply_sum(x.delta[query, tile], t.sum_scale, 0.0, f.sum)
            a = power_by_table(quiet(struck(scaled, k, w), f.sum), t.in_accumulator, f.sum)
        else:
            a = struck(a, k, w)
        if step <= clock.acc_sum:
            l = multiply_sum(a, 0.0 if tile == 0 else x.l[query, before], x.total[query, tile], f.sum)  # noqa: E741
        for c in range(max(0, step - clock.acc_sum - 1), w.o.shape[0]):
            w.o[c] = multiply_sum(a, 0.0 if tile == 0 else x.o[query, before, c], x.value[query, tile, c], f.sum)
    elif code == FACTOR:
        inverse = x.inverse[query]
        first = 0
        if step == -1:
            inverse = reciprocal(struck(l, k, w), f)
        else:
            inverse = struck(inverse, k, w)
            first = -2 - step
        for c in range(w.o.shape[0]):
            w.rows[column, c] = x.out[query, c]
        normalise(w.rows[column, first:], w.o[first:], inverse, f)
        return note_row(query, column, x, w)
    else:
        l = struck(l, k, w)  # noqa: E741
    l = to_the_end(query, tile + 1, golden, golden, l, w.o, x, n, t, f, w)  # noqa: E741
    normalise(w.rows[column], w.o, reciprocal(l, f), f)
    status = note_row(query, column, x, w)
    if x.watched.what != 0:
        status = max(status, note_sum(query, x, f, w))
    return status


@inner
def is_again(state: Any, wave_state: Any, edge: Any, first: Any, last: Any, n: Any, at: Any) -> Any:
    """Whether some columns, and what they see at their left, are what they are in a snapshot."""
    for part in range(5):
        for row in range(n):
            base = part * n * n + row * n
            for c in range(first, last):
                if not same(wave_state[base + c], state[base + c]):
                    return False
    for part in range(6):  # all but the excess and the sum of scores, of which nothing follows
        base = at.cmp_out + part * n
        for c in range(first, last):
            if not same(wave_state[base + c], state[base + c]):
                return False
    if first > 0:
        for row in range(n):
            if not same(edge[row], state[at.right + row * n + first - 1]):
                return False
    return True


@inner
def replay_columns(tile: Any, first: Any, last: Any, k: Any, ports: Any, snapshots: Any, spacing: Any, at: Any,
                   program: Any, x: Any, clock: Any, g: Any, t: Any, f: Any, around: Any, room: Any, arrived: Any,
                   w: Any) -> Any:
    """A strike, or other ports, in a tile: columns first … last − 1 in wave time, from the snapshot before it until
    they are, at a snapshot, what they are without it (strikes that go on for rows: not before they are through)."""
    n = g.size
    block = tile // clock.tiles
    key_tile = tile % clock.tiles
    stop = min(last, x.out.shape[0] - block * n)
    if first >= stop:
        return MASKED
    number = (k.wave - 1) // spacing
    begin = number * spacing + 1
    state = snapshots[number]
    for part in range(5):
        for row in range(n):
            base = part * n * n + row * n
            for c in range(first, stop):
                w.w[base + c] = state[base + c]
    for part in range(8):
        base = at.cmp_out + part * n
        for c in range(first, stop):
            w.w[base + c] = state[base + c]
    if first > 0:
        for row in range(n):
            room.edge[row] = state[at.right + row * n + first - 1]
    for c in range(first, stop):
        query = block * n + c
        arrived.delta[c] = x.delta[query, key_tile]
        arrived.total[c] = x.total[query, key_tile]
        for row in range(arrived.value.shape[0]):
            arrived.value[row, c] = x.value[query, key_tile, row]
    over = k.wave + (n if k.kind == WORD_DOWN or k.kind == WORD_UP or k.kind == NOTHING else 0)
    if k.kind == NOTHING:
        over = k.row
    if x.watched.what & (WATCH_MAX | WATCH_SCORE):
        for c in range(first, stop):
            if not same(x.watched.table[block * n + c, TILES + 2 * key_tile + HERE], 0.0):
                over = program.waves  # where something is violated anyway, all of the tile is to be seen
    gap = 1
    golden = False
    while begin <= program.waves:
        next_number = (begin - 1) // spacing + gap
        end = min(next_number * spacing + 1, program.waves + 1)
        run_waves(w.w, at, program, begin, end, first, stop, snapshots[0], ports, key_tile, block, k, g, f, around,
                  room, arrived)
        begin = end
        if begin <= program.waves and begin > over:
            if is_again(snapshots[next_number], w.w, room.edge, first, stop, n, at):
                golden = True
                break
            gap += (gap + 1) // 2
    if k.kind != NOTHING:
        w.value[0], w.value[1] = room.value[0], room.value[1]
    status = MASKED
    for c in range(first, stop):
        query = block * n + c
        for row in range(arrived.value.shape[0]):
            w.scores[row] = arrived.value[row, c]
        new, old = w.w[at.new_max + c], w.w[at.old_max + c]
        copy = w.w[at.own_max + c] if x.watched.what & WATCH_MAX else new
        if golden:
            new = old = copy = x.new_max[query, key_tile]
        golden_end(query, x, w)
        status = max(status, after_tile(query, c, key_tile, arrived.delta[c], arrived.total[c], ALL_DIMENSIONS, new,
                                        old, x, n, t, f, w))
        if x.summed.on:
            key = begin - clock.load - n - 1 if golden else n
            status = max(status, note_after_waves(query, c, key_tile, key, w.w[at.row_sum + c], x, n, f, w))
        if x.watched.what == 0:
            continue
        excess = w.w[at.excess + c]
        if key_tile > 0:
            excess = maximum(excess, excess_before(query, key_tile, x))
        excess = rest_watched(query, key_tile + 1, excess, copy, new, x, n, f)
        sees = x.allowed[query] > 0
        if key_tile == clock.tiles - 1 and not golden:
            sees = w.w[at.bound + c] != 0.0
        status = max(status, note_residual(query, excess, sees, x, f, w))
    return status
