"""What the unit of the softmax's invariants sees of a query, without the registers: fault-free, and under a change.

`Watched` is the fault-free part of it. A query's own maximum and its largest violation go through its tiles key by key,
so that a change is followed from the key at which it happens to the read-out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.fused.column import one_step
from accel_sim.fused.invariants import violation
from accel_sim.fused.waves import struck_value
from accel_sim.machines.fused import WATCH_MAX, WATCH_SCORE, WATCH_SUM
from accel_sim.machines.fused_edits import COPY, KEY, LIMIT, LOWER, NEW, PARTIAL, QUERY, WORST
from accel_sim.numerics.arithmetic import maximum
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


class Watched(NamedTuple):
    """The fault-free run as the unit sees it. what: see `FusedMachine.watch`. table (Nq, 6 + 2 T), of T key tiles: see
    below; empty without the unit. (One array, as every call pays for each.)"""

    what: int
    table: NDArray[np.float64]


BEYOND, AT_END, RESIDUAL, TOLD, SCORES, KEYS, TILES = range(7)
"""Columns of the table: score of a key that does not exist, in the last tile; the largest violation at the read-out,
but for the sum; the residual, with it; number of the comparison; the bound of scores and the number of keys, of the
head; then two for each tile:"""

HERE, SO_FAR = range(2)
"""the largest violation in it, and in all up to it."""


def watched(watch: int, limit: float, n_queries: int, n_keys: int, tiles: int) -> Watched:
    """Room for a head."""
    table = np.zeros((n_queries if watch else 0, TILES + 2 * tiles))
    table[:, SCORES], table[:, KEYS] = limit, n_keys
    return Watched(watch, table)


@inner
def is_bits(a: Any, b: Any) -> Any:
    """Whether two values have the same bits."""
    return np.float64(a).view(np.int64) == np.float64(b).view(np.int64)


@inner
def struck_and_noted(before: Any, k: Any, w: Any) -> Any:
    """A value struck, with before and after noted."""
    after = struck_value(before, k)
    w.value[0], w.value[1] = before, after
    return after


@inner
def key_watched(excess: Any, copy: Any, new: Any, score: Any, masked: Any, limit: Any, what: Any, f: Any) -> Any:
    """(excess, copy, new) after one more key."""
    score = quiet(score, f.sum)
    if what & WATCH_SCORE:
        excess = maximum(quiet(excess, f.checker), violation(abs(score), quiet(limit, f.checker), f.checker))
    if not masked:
        if what & WATCH_MAX:
            fallen = violation(quiet(copy, f.sum), quiet(new, f.sum), f.checker)
            excess = maximum(quiet(excess, f.checker), fallen)
        new = maximum(quiet(new, f.sum), score)
        copy = new
    return excess, copy, new


@inner
def watched_tile(query: Any, tile: Any, excess: Any, copy: Any, new: Any, s: Any, beyond: Any, x: Any, n: Any,
                 f: Any) -> Any:
    """(excess, copy, new) of the invariants' unit after a tile with scores s; beyond: that of a key that does not
    exist."""
    y = x.watched
    for j in range(n):
        key = tile * n + j
        masked = key >= x.allowed[query] or key < x.first[query]
        score = s[j] if j < s.shape[0] else beyond
        excess, copy, new = key_watched(excess, copy, new, score, masked, y.table[query, SCORES], y.what, f)
    return excess, copy, new


@inner
def excess_before(query: Any, tile: Any, x: Any) -> Any:
    """The largest violation of a query before a tile."""
    return x.watched.table[query, TILES + 2 * (tile - 1) + SO_FAR] if tile > 0 else 0.0


@inner
def read_again(excess: Any, copy: Any, new: Any, what: Any, f: Any) -> Any:
    """The largest violation of a query at its read-out, but for the sum."""
    excess = maximum(quiet(excess, f.checker), 0.0)
    if what & WATCH_MAX:
        excess = maximum(excess, violation(quiet(copy, f.sum), quiet(new, f.sum), f.checker))
    return excess


@inner
def with_sum(excess: Any, l: Any, sees: Any, keys: Any, what: Any, f: Any) -> Any:  # noqa: E741
    """The residual: with how far the sum of weights l lies outside 1 … keys, for a query that may see a key."""
    if not (what & WATCH_SUM and sees):
        return excess
    total = quiet(l, f.sum)
    return maximum(maximum(excess, violation(1.0, total, f.checker)), violation(total, keys, f.checker))


@inner
def watch_query(i: Any, x: Any, n: Any, f: Any) -> None:
    """Fill what the fault-free query i is to the unit; its scores, maxima and sums are there."""
    y = x.watched
    n_keys, tiles = x.s.shape[1], x.delta.shape[1]
    if y.what & WATCH_SCORE and n_keys < tiles * n:
        for r in range(n - 1, -1, -1):
            y.table[i, BEYOND] = one_step(x.q[i, r], 0.0, y.table[i, BEYOND], f)
    so_far, new = 0.0, -np.inf
    for tile in range(tiles):
        s = x.s[i, tile * n:min(n_keys, tile * n + n)]
        worst, _, new = watched_tile(i, tile, 0.0, new, new, s, y.table[i, BEYOND], x, n, f)
        so_far = maximum(so_far, worst)
        y.table[i, TILES + 2 * tile + HERE] = worst
        y.table[i, TILES + 2 * tile + SO_FAR] = so_far
    y.table[i, AT_END] = read_again(so_far, new, new, y.what, f)
    y.table[i, RESIDUAL] = with_sum(y.table[i, AT_END], x.l[i, tiles - 1], x.allowed[i] > 0,
                                    y.table[i, KEYS], y.what, f)


@inner
def score_passing(query: Any, key: Any, kind: Any, row: Any, changed: Any, k: Any, x: Any, n: Any, f: Any,
                  w: Any) -> Any:
    """The score of any key of a tile, masked or not there, under an edit of its chain."""
    total = 0.0
    for r in range(n - 1, -1, -1):
        element = x.k_t[r, key] if key < x.s.shape[1] else 0.0
        held = x.q[query, r]
        if r == row and kind == KEY:
            element = changed
        if r == row and kind == QUERY:
            held = changed
        total = one_step(held, element, total, f)
        if kind == PARTIAL and r == row:
            total = struck_and_noted(total, k, w)
    return total


@inner
def is_seen_by(kind: Any) -> Any:
    """Whether the unit may see an edit itself, and not only by the sum of the weights."""
    return kind in (KEY, QUERY, PARTIAL, NEW, LIMIT, LOWER, COPY, WORST)


@inner
def tile_watched(query: Any, tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any, f: Any,
                 w: Any) -> Any:
    """(excess so far, copy, new) after a query's tile under an edit that `is_seen_by` the unit; for COPY and WORST the
    values before and after the strike are noted."""
    y = x.watched
    first = tile * n
    new = x.new_max[query, tile - 1] if tile > 0 else -np.inf
    copy = new
    excess = excess_before(query, tile, x)
    for j in range(n + 1):
        if j == min(at, n):
            if kind == NEW:
                new = struck_and_noted(new, k, w)
            elif kind == COPY:
                copy = struck_and_noted(copy, k, w)
            elif kind == WORST:
                excess = struck_and_noted(excess, k, w)
        if j == n:
            break
        key = first + j
        stop = changed if kind == LIMIT and j >= at else x.allowed[query]
        start = changed if kind == LOWER and j >= at else x.first[query]
        masked = key >= stop or key < start
        score = x.s[query, key] if key < x.s.shape[1] else y.table[query, BEYOND]
        reached = (kind == QUERY and j >= at) or (kind in (KEY, PARTIAL) and j == at)
        if reached and (y.what & WATCH_SCORE or not masked):
            score = score_passing(query, key, kind, row, changed, k, x, n, f, w)
        excess, copy, new = key_watched(excess, copy, new, score, masked, y.table[query, SCORES], y.what, f)
    return excess, copy, new


@inner
def rest_watched(query: Any, tile: Any, excess: Any, copy: Any, new: Any, x: Any, n: Any, f: Any) -> Any:
    """The excess at the read-out, of a query that comes to tile `tile` with these."""
    y = x.watched
    tiles = x.delta.shape[1]
    for at in range(tile, tiles):
        golden = x.new_max[query, at - 1] if at > 0 else -np.inf
        if is_bits(copy, golden) and is_bits(new, golden):
            excess = maximum(quiet(excess, f.checker), y.table[query, TILES + 2 * at + HERE])
            copy = new = x.new_max[query, at]
            continue
        s = x.s[query, at * n:min(x.s.shape[1], at * n + n)]
        excess, copy, new = watched_tile(query, at, excess, copy, new, s, y.table[query, BEYOND], x, n, f)
    return read_again(excess, copy, new, y.what, f)
