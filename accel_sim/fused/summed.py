"""What the unit of the scores' row sums sees of a query, without the registers: fault-free, and under a change.

`Summed` is the fault-free part of it. Sums go key by key from the change on, and stop when they are what they were.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.judgement import allowed_by
from accel_sim.engines.replay.types import CHANGED, MASKED
from accel_sim.fused.adder_tree import later_sums
from accel_sim.fused.column import one_step
from accel_sim.fused.row_sums import plus
from accel_sim.fused.watched import is_bits, score_passing, struck_and_noted
from accel_sim.machines.fused_edits import KEY, PARTIAL, QUERY, SUMMED
from accel_sim.numerics.arithmetic import mul, sub
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import NAN, quiet


class Summed(NamedTuple):
    """The fault-free run as the unit sees it, of T key tiles. on: whether there is one. threshold, relative: its limit.
    keys (T, N): sums of the keys after a tile. table (Nq, 3 + T): see below. Both are empty without it."""

    on: bool
    threshold: float
    relative: bool
    keys: NDArray[np.float64]
    table: NDArray[np.float64]


BEYOND, PRED, TOLD, SUMS = range(4)
"""Columns of the table: score of a key that does not exist, in the last tile; the predicted sum; number of the
comparison; then the sum of the scores after each tile."""


def summed(unit: Any, threshold: float, n_queries: int, tiles: int, n: int) -> Summed:
    """Room for a head. unit: its section, None without it."""
    on = unit is not None
    return Summed(on, threshold, on and unit.threshold.kind == "relative", np.zeros((tiles if on else 0, n)),
                  np.zeros((n_queries if on else 0, SUMS + tiles)))


@inner
def key_element(x: Any, key: Any, e: Any) -> Any:
    """Dimension e of a key as it stands in `feed`: 0 for one that does not exist."""
    return x.k_t[e, key] if key < x.s.shape[1] else 0.0


@inner
def sum_keys(x: Any, n: Any, f: Any) -> None:
    """Fill the sums of the keys."""
    keys = x.summed.keys
    for e in range(n):
        total = 0.0
        for tile in range(keys.shape[0]):
            total = key_sum(x, e, tile * n, tile * n + n, total, f)
            keys[tile, e] = total


@inner
def key_sum(x: Any, e: Any, first: Any, last: Any, total: Any, f: Any) -> Any:
    """A dimension's sum with keys first … last − 1."""
    for key in range(first, last):
        total = plus(total, key_element(x, key, e), f.operand, f.checker)
    return total


@inner
def key_sum_before(x: Any, e: Any, tile: Any, count: Any, n: Any, f: Any) -> Any:
    """A dimension's sum after `count` keys of a tile."""
    total = x.summed.keys[tile - 1, e] if tile > 0 else 0.0
    return key_sum(x, e, tile * n, tile * n + count, total, f)


@inner
def predicted(q: Any, keys: Any, room: Any, tree: Any, f: Any) -> Any:
    """The predicted sum of a query q (N,). keys (N,): the sums of the keys; room (N,) and tree (⌈N/2⌉,) are written."""
    n = q.shape[0]
    if f.checker.kind == 1 and f.checker.flush_below == 0.0:
        return predicted_native(q, keys, tree)
    for e in range(n):
        room[e] = mul(quiet(q[e], f.operand), quiet(keys[e], f.checker), f.checker)
    half = (n + 1) // 2
    later_sums(tree[:half], room, n, f.checker)
    while half > 1:
        n = half
        half = (n + 1) // 2
        later_sums(tree[:half], tree[:n], n, f.checker)
    return tree[0]


@inner
def predicted_native(q: Any, keys: Any, tree: Any) -> Any:
    """The same with the CPU's own binary32 operations; NaN is canonical at the root."""
    n = q.shape[0]
    half = (n + 1) // 2
    for i in range(n - half):
        tree[i] = np.float64(np.float32(q[i] * keys[i]) + np.float32(q[i + half] * keys[i + half]))
    if n % 2 == 1:
        tree[half - 1] = np.float64(np.float32(q[half - 1] * keys[half - 1]))
    while half > 1:
        n = half
        half = (n + 1) // 2
        for i in range(n - half):
            tree[i] = np.float64(np.float32(tree[i]) + np.float32(tree[i + half]))
    return tree[0] if tree[0] == tree[0] else NAN


@inner
def score_seen(query: Any, key: Any, x: Any) -> Any:
    """The fault-free score of any key of a tile, there or not."""
    return x.s[query, key] if key < x.s.shape[1] else x.summed.table[query, BEYOND]


@inner
def tile_summed(query: Any, tile: Any, first: Any, total: Any, x: Any, n: Any, f: Any) -> Any:
    """A query's sum after a tile, from its key `first` on."""
    for j in range(first, n):
        total = plus(total, score_seen(query, tile * n + j, x), f.sum, f.checker)
    return total


@inner
def sum_query(i: Any, x: Any, n: Any, room: Any, tree: Any, f: Any) -> None:
    """Fill what the fault-free query i is to the unit; its scores and the sums of the keys are there. room (N,), tree
    (⌈N/2⌉,) are written."""
    y = x.summed
    tiles = y.keys.shape[0]
    beyond = 0.0
    if x.s.shape[1] < tiles * n:
        for r in range(n - 1, -1, -1):
            beyond = one_step(x.q[i, r], 0.0, beyond, f)
    y.table[i, BEYOND] = beyond
    total = 0.0
    for tile in range(tiles):
        total = tile_summed(i, tile, 0, total, x, n, f)
        y.table[i, SUMS + tile] = total
    y.table[i, PRED] = predicted(x.q[i], y.keys[tiles - 1], room, tree, f)


@kernel
def judged_sums(pred: Any, act: Any, threshold: Any, relative: Any, f: Any) -> Any:
    """(residual, limit) of a comparison."""
    residual = sub(quiet(pred, f.checker), quiet(act, f.checker), f.checker)
    return residual, allowed_by(threshold, pred, act, relative, f.checker)


# ---- under a change


@inner
def rest_summed(query: Any, tile: Any, total: Any, x: Any, n: Any, f: Any) -> Any:
    """A query's sum at the read-out, of a query that comes to tile `tile` with `total`."""
    table = x.summed.table
    tiles = x.delta.shape[1]
    for at in range(tile, tiles):
        if is_bits(total, table[query, SUMS + at - 1] if at > 0 else 0.0):
            return table[query, SUMS + tiles - 1]
        total = tile_summed(query, at, 0, total, x, n, f)
    return total


@inner
def note_sum_of_scores(query: Any, column: Any, total: Any, x: Any, w: Any) -> Any:
    """Keep a query's sum of scores, if it is not the fault-free one."""
    if is_bits(total, x.summed.table[query, SUMS + x.delta.shape[1] - 1]):
        return MASKED
    w.sums[column, 0] = total
    w.summed[column] |= 1
    return CHANGED


@inner
def note_scores(query: Any, column: Any, tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any,
                f: Any, w: Any) -> Any:
    """The same of a query whose tile is under an edit; for SUMMED the value before and after the strike is noted."""
    if kind not in (KEY, QUERY, PARTIAL, SUMMED):
        return MASKED
    total = x.summed.table[query, SUMS + tile - 1] if tile > 0 else 0.0
    for j in range(n + 1):
        if kind == SUMMED and j == at:
            total = struck_and_noted(total, k, w)
        if j == n:
            break
        key = tile * n + j
        score = score_seen(query, key, x)
        if (kind == QUERY and j >= at) or (kind in (KEY, PARTIAL) and j == at):
            score = score_passing(query, key, kind, row, changed, k, x, n, f, w)
        total = plus(total, score, f.sum, f.checker)
    return note_sum_of_scores(query, column, rest_summed(query, tile + 1, total, x, n, f), x, w)


@inner
def note_after_waves(query: Any, column: Any, tile: Any, first: Any, total: Any, x: Any, n: Any, f: Any, w: Any) -> Any:
    """The same of a query that was stepped through a tile up to key `first`, with the sum `total`."""
    total = tile_summed(query, tile, min(max(first, 0), n), total, x, n, f)
    return note_sum_of_scores(query, column, rest_summed(query, tile + 1, total, x, n, f), x, w)


@inner
def note_predictions(block: Any, e: Any, total: Any, first: Any, x: Any, n: Any, f: Any, w: Any) -> Any:
    """Keep the predicted sums of a block's queries from column `first` on, where dimension e of the keys adds up to
    `total`."""
    y = x.summed
    last = y.keys[y.keys.shape[0] - 1]
    status = MASKED
    if is_bits(total, last[e]):
        return status
    for j in range(n):
        w.row[j] = last[j]
    w.row[e] = total
    for column in range(first, min(n, x.q.shape[0] - block * n)):
        query = block * n + column
        pred = predicted(x.q[query], w.row, w.s, w.tree, f)
        if not is_bits(pred, y.table[query, PRED]):
            w.sums[column, 1] = pred
            w.summed[column] |= 2
            status = CHANGED
    return status


@inner
def rest_of_keys(e: Any, tile: Any, total: Any, x: Any, n: Any, f: Any) -> Any:
    """A dimension's sum over all keys, that comes to tile `tile` with `total`."""
    keys = x.summed.keys
    tiles = keys.shape[0]
    for at in range(tile, tiles):
        if is_bits(total, keys[at - 1, e] if at > 0 else 0.0):
            return keys[tiles - 1, e]
        total = key_sum(x, e, at * n, at * n + n, total, f)
    return total


@inner
def replay_key_sum(tile: Any, e: Any, count: Any, first: Any, k: Any, x: Any, clock: Any, n: Any, f: Any,
                   w: Any) -> Any:
    """A strike on a sum of the keys after `count` keys of a tile; queries before column `first` have been read."""
    block, tile = tile // clock.tiles, tile % clock.tiles
    total = struck_and_noted(key_sum_before(x, e, tile, count, n, f), k, w)
    total = key_sum(x, e, tile * n + count, tile * n + n, total, f)
    total = rest_of_keys(e, tile + 1, total, x, n, f)
    return note_predictions(block, e, total, first, x, n, f, w)


@inner
def replay_key_in_feed(tile: Any, e: Any, j: Any, k: Any, x: Any, clock: Any, n: Any, f: Any, w: Any) -> Any:
    """A strike on dimension e of key j of a tile as it stands in `feed`: what the sum of the keys makes of it."""
    block, tile = tile // clock.tiles, tile % clock.tiles
    element = struck_and_noted(key_element(x, tile * n + j, e), k, w)
    total = plus(key_sum_before(x, e, tile, j, n, f), element, f.operand, f.checker)
    total = key_sum(x, e, tile * n + j + 1, tile * n + n, total, f)
    total = rest_of_keys(e, tile + 1, total, x, n, f)
    return note_predictions(block, e, total, 0, x, n, f, w)


@inner
def compare_sums_again(block: Any, x: Any, n: Any, f: Any, w: Any) -> None:
    """The comparisons of a block's queries that have other sums; makes those golden again."""
    y = x.summed
    for column in range(min(n, x.q.shape[0] - block * n)):
        if w.summed[column] == 0:
            continue
        query = block * n + column
        act = y.table[query, SUMS + y.keys.shape[0] - 1]
        pred = y.table[query, PRED]
        if w.summed[column] & 1:
            act = w.sums[column, 0]
        if w.summed[column] & 2:
            pred = w.sums[column, 1]
        index = int(y.table[query, TOLD])
        w.residual[index], w.limit[index] = judged_sums(pred, act, y.threshold, y.relative, f)
        w.summed[column] = 0
