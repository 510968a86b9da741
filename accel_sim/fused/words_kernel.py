"""What wrong elements of Q, K and V make of a head: the queries that take them again, by the golden kernels."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.replay.types import CHANGED, MASKED
from accel_sim.fused.again import ALL_DIMENSIONS, golden_weights
from accel_sim.fused.behind import conclude_comparisons, measure, new_roots
from accel_sim.fused.column import (
    accumulate_row,
    checksum_columns,
    correction,
    difference,
    negative,
    normalise,
    one_step,
    products,
    reciprocal,
    row_maximum,
    scores,
    sum_of_weights,
    weights,
)
from accel_sim.fused.golden import compared, sum_block
from accel_sim.fused.reach import after_tile, golden_end, note_residual, note_row, same
from accel_sim.fused.watched import BEYOND, excess_before, read_again, rest_watched, watched_tile
from accel_sim.machines.fused import WATCH_SCORE
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.jit import inner, kernel


class WrongElements(NamedTuple):
    """Wrong elements of one tensor: fault i has numbers end[i − 1] … end[i] − 1 of row, col (in the tensor) and value.
    since: the first block (k, v) or key tile (q) that takes it so; until (faults,): the last."""

    end: Any
    until: Any
    row: Any
    col: Any
    value: Any
    since: Any


class WordRoom(NamedTuple):
    """Room. tile (N, N + C): a tile of the values; key (N,). roots (B, N + C), marked (B,) uint8: those of the changed
    blocks."""

    tile: Any
    key: Any
    roots: Any
    marked: Any


@inner
def is_first(e: Any, low: Any, row: Any) -> Any:
    """Whether no wrong element before number e is in its row."""
    found = True
    for other in range(low, e):
        found = found and row[other] != row[e]
    return found


@inner
def end_block(i: Any, block: Any, checked: Any, x: Any, n: Any, f: Any, codec: Any, room: Any, w: Any,
              out: Any) -> None:
    """Note what the changed rows of a block are to outcome i, and make the scratch golden again."""
    measure(i, block, x, n, codec, w, out)
    if checked:
        new_roots(block, x, n, f, w)
        move(room.roots[block], w.roots)
        room.marked[block] = 1
    for c in range(n):
        w.changed[c] = 0
    w.only[0] = -1


@inner
def end_fault(i: Any, x: Any, n: Any, f: Any, cmp: Any, room: Any, w: Any, out: Any) -> None:
    """The comparisons that the changed blocks enter, as outcome i."""
    blocks = x.root.shape[0]
    pred = act = 0.0
    any_marked = False
    for block in range(blocks):
        marked = room.marked[block] != 0
        any_marked = any_marked or marked
        if not cmp.head:
            if not marked:
                continue
            pred = act = 0.0
        pred, act = sum_block(room.roots[block] if marked else x.root[block], n, pred, act, f)
        if marked and not cmp.head:
            index = cmp.at_block[block]
            w.residual[index], w.limit[index], _, _ = compared(pred, act, cmp.threshold, cmp.relative, f)
        room.marked[block] = 0
    if any_marked and cmp.head:
        index = cmp.at_block[blocks - 1]
        w.residual[index], w.limit[index], _, _ = compared(pred, act, cmp.threshold, cmp.relative, f)
    conclude_comparisons(i, cmp, w, out)


@inner
def query_again(query: Any, low: Any, high: Any, wrong: Any, x: Any, n: Any, t: Any, f: Any, w: Any) -> Any:
    """A query with its own wrong elements, from the first key tile that takes one of them."""
    begin = x.delta.shape[1]
    for e in range(low, high):
        if wrong.row[e] == query:
            begin = min(begin, wrong.since[e])
    new = x.new_max[query, begin - 1] if begin > 0 else -np.inf
    old = new
    what, copy, worst = x.watched.what, new, 0.0
    if what != 0:
        worst = excess_before(query, begin, x)
    before = max(0, begin - 1)
    l = x.l[query, before]  # noqa: E741
    move(w.o, x.o[query, before])
    for at in range(begin, x.delta.shape[1]):
        move(w.q, x.q[query])
        for e in range(low, high):
            if wrong.row[e] == query and wrong.since[e] <= at:
                w.q[wrong.col[e]] = wrong.value[e]
        first, last = at * n, min(x.s.shape[1], at * n + n)
        scores(w.all_scores, w.q, x.k_t, first, last, f)
        s, p = w.all_scores[first:last], w.p[:last - first]
        start, allowed = x.first[query] - first, x.allowed[query] - first
        if what != 0:
            beyond = 0.0
            for r in range(n - 1, -1, -1):
                beyond = one_step(w.q[r], 0.0, beyond, f)
            worst, copy, _ = watched_tile(query, at, worst, copy, new, s, beyond, x, n, f)
        new = row_maximum(new, s, start, allowed, f)
        weights(p, s, negative(new, f), start, allowed, t, f)
        a = correction(difference(old, new, f), t, f)
        old = new
        w.l[0], w.row[0] = l, sum_of_weights(p, f)
        accumulate_row(w.l, a, w.row[:1], at == 0, f)
        l = w.l[0]  # noqa: E741
        products(w.arrive, p, x.v[first:last], f)
        accumulate_row(w.o, a, w.arrive, at == 0, f)
    column = query % n
    normalise(w.rows[column], w.o, reciprocal(l, f), f)
    status = note_row(query, column, x, w)
    if what != 0:
        w.value[2] = l
        worst = read_again(worst, copy, new, what, f)
        status = max(status, note_residual(query, worst, x.allowed[query] > 0, x, f, w))
    return status


@inner
def with_keys(query: Any, tile: Any, block: Any, low: Any, high: Any, wrong: Any, x: Any, n: Any, t: Any, f: Any,
              room: Any, w: Any) -> Any:
    """A query that meets wrong keys in a tile."""
    first, last = tile * n, min(x.s.shape[1], tile * n + n)
    s, p = w.s[:last - first], w.p[:last - first]
    move(s, x.s[query, first:last])
    what = x.watched.what
    different = False
    passing = False
    for e in range(low, high):
        key = wrong.row[e]
        seen = x.first[query] <= key < x.allowed[query]
        if not (seen or what & WATCH_SCORE) or not is_first(e, low, wrong.row):
            continue
        for r in range(n):
            room.key[r] = x.k_t[r, key]
        for other in range(low, high):
            if wrong.row[other] == key and wrong.since[other] <= block:
                room.key[wrong.col[other]] = wrong.value[other]
        total = 0.0
        for r in range(n - 1, -1, -1):
            total = one_step(x.q[query, r], room.key[r], total, f)
        changed = not same(total, x.s[query, key])
        different = different or (seen and changed)
        passing = passing or changed
        s[key - first] = total
    if not different and not passing:
        return MASKED
    status = MASKED
    before = x.new_max[query, tile - 1] if tile > 0 else -np.inf
    golden_end(query, x, w)
    if what != 0:
        worst, copy, last_new = watched_tile(query, tile, excess_before(query, tile, x), before, before, s,
                                             x.watched.table[query, BEYOND], x, n, f)
        room.key[0] = rest_watched(query, tile + 1, worst, copy, last_new, x, n, f)
    if different:
        start, allowed = x.first[query] - first, x.allowed[query] - first
        new = row_maximum(before, s, start, allowed, f)
        weights(p, s, negative(new, f), start, allowed, t, f)
        products(w.scores, p, x.v[first:last], f)
        status = after_tile(query, query % n, tile, difference(before, new, f), sum_of_weights(p, f), ALL_DIMENSIONS,
                            new, new, x, n, t, f, w)
    if what != 0:
        status = max(status, note_residual(query, room.key[0], x.allowed[query] > 0, x, f, w))
    return status


@inner
def wrong_values(tile: Any, block: Any, low: Any, high: Any, wrong: Any, x: Any, n: Any, f: Any, room: Any) -> None:
    """A tile's values with the wrong elements that a block takes, in the room, and their checksums."""
    first, last = tile * n, min(x.s.shape[1], tile * n + n)
    for j in range(first, last):
        move(room.tile[j - first], x.v[j])
    for e in range(low, high):
        if wrong.since[e] <= block:
            room.tile[wrong.row[e] - first, wrong.col[e]] = wrong.value[e]
    if x.v.shape[1] == n:
        return
    for e in range(low, high):
        if is_first(e, low, wrong.row):
            j = wrong.row[e] - first
            checksum_columns(room.tile[j:j + 1], x.v.shape[1] - n, f)


@inner
def with_values(query: Any, tile: Any, low: Any, high: Any, wrong: Any, x: Any, n: Any, t: Any, f: Any, room: Any,
                w: Any) -> Any:
    """A query that meets the values in the room in a tile."""
    keys = min(n, x.s.shape[1] - tile * n)
    golden_weights(query, tile, x, n, w)
    move(w.scores, x.value[query, tile])
    width = w.scores.shape[0]
    for c in range(width):
        touched = c >= n
        for e in range(low, high):
            touched = touched or wrong.col[e] == c
        if not touched:
            continue
        total = 0.0
        for j in range(keys - 1, -1, -1):
            total = one_step(w.p[j], room.tile[j, c], total, f)
        w.scores[c] = total
    new = x.new_max[query, tile]
    return after_tile(query, query % n, tile, x.delta[query, tile], x.total[query, tile], ALL_DIMENSIONS, new, new, x,
                      n, t, f, w)


QUERIES, KEYS, VALUES = range(3)


@kernel
def replay_words(which: int, order: Any, wrong: Any, checked: bool, x: Any, n: int, t: Any, f: Any, codec: Any,
                 cmp: Any, room: Any, w: Any, out: Any) -> None:
    """Outcomes `order` of wrong elements of the tensor `which`."""
    for j in range(order.shape[0]):
        i = order[j]
        low, high = (wrong.end[j - 1] if j > 0 else 0), wrong.end[j]
        touched = MASKED
        if which == QUERIES:
            block = wrong.row[low] // n
            for e in range(low, high):
                if is_first(e, low, wrong.row):
                    touched = max(touched, query_again(wrong.row[e], low, high, wrong, x, n, t, f, w))
            if touched == CHANGED:
                end_block(i, block, checked, x, n, f, codec, room, w, out)
        else:
            tile = wrong.row[low] // n
            begin = wrong.since[low]
            for e in range(low, high):
                begin = min(begin, wrong.since[e])
            for block in range(begin, wrong.until[j] + 1):
                status = MASKED
                if which == VALUES:
                    wrong_values(tile, block, low, high, wrong, x, n, f, room)
                for query in range(block * n, min(block * n + n, x.out.shape[0])):
                    if which == VALUES:
                        status = max(status, with_values(query, tile, low, high, wrong, x, n, t, f, room, w))
                    else:
                        status = max(status, with_keys(query, tile, block, low, high, wrong, x, n, t, f, room, w))
                if status == CHANGED:
                    touched = status
                    end_block(i, block, checked, x, n, f, codec, room, w, out)
        out.status[i] = touched
        if touched == CHANGED and (checked or x.watched.what != 0):
            end_fault(i, x, n, f, cmp, room, w, out)
