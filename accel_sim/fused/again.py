"""A column's tile again under one changed value: what reaches its accumulators, without going through the waves.

An edit (see `accel_sim.machines.fused_edits`) says where in a column's work a value is another one; `tile_again` works
it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.fused.arithmetic import multiply_add, piece_of, power_of_two, tag_of, untagged
from accel_sim.fused.column import (
    add_products,
    difference,
    negative,
    one_step,
    put_back,
    scores,
    weight,
)
from accel_sim.fused.waves import struck_value, struck_word
from accel_sim.machines.fused_edits import (
    ADDEND,
    BEGINNING,
    DEAD,
    DELTA,
    ELEMENT,
    INTERCEPT,
    KEY,
    LIMIT,
    LOW,
    LOWER,
    MINUS,
    NEW,
    OLD,
    ONE,
    ONE_SUM,
    PARTIAL,
    QUERY,
    SCALE,
    SLOPE,
    STATIONARY,
    SUM,
    VALUE,
)
from accel_sim.numerics.arithmetic import maximum
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_to

NO_DIMENSION, ALL_DIMENSIONS = -1, -2
"""Which outputs of the tile are others: none, or any of them (or the number of the only one)."""


@inner
def left_value(kind: Any, row: Any, at: Any, query: Any, tile: Any, x: Any, t: Any, n: Any) -> Any:
    """The fault-free value at a left input, by its edit."""
    if kind == QUERY:
        return x.q[query, row]
    if kind == KEY:
        key = tile * n + at
        return x.k_t[row, key] if key < x.s.shape[1] else 0.0
    if kind == SCALE:
        return t.operand_scale
    if kind == SLOPE:
        return t.in_array[0, at]
    if kind == ELEMENT:
        key = tile * n + n - 1 - row
        return x.v[key, at] if key < x.s.shape[1] else 0.0
    return 1.0


@inner
def noted(before: Any, k: Any, w: Any) -> Any:
    """A value struck, with before and after noted."""
    after = struck_value(before, k)
    w.value[0], w.value[1] = before, after
    return after


@inner
def weight_again(low: Any, minus: Any, kind: Any, at: Any, changed: Any, k: Any, t: Any, f: Any, w: Any) -> Any:
    """The weight of one row under an edit; changed: the value that an edit other than a strike on s brings in."""
    pieces = t.in_array.shape[1]
    if kind == STATIONARY and at == 0:
        low = noted(low, k, w)
    x = multiply_add(low, changed if kind == ONE else 1.0, minus, f.operand, f.operand, f.sum)
    if kind == STATIONARY and at == 1:
        x = noted(x, k, w)
    x = multiply_add(x, changed if kind == SCALE else t.operand_scale, changed if kind == ADDEND else 0.0, f.operand,
                     f.operand, f.sum)
    done = False
    for i in range(pieces):
        if kind == STATIONARY and at == 2 + i:
            x = noted(x, k, w)
        tagged = changed if kind == INTERCEPT and at == i else t.tags[i]
        y = quiet(x, f.operand)
        if not done and tag_of(tagged, f.sum_codec, pieces) == piece_of(y, pieces):
            slope = changed if kind == SLOPE and at == i else t.in_array[0, i]
            x = power_of_two(y, quiet(slope, f.operand), quiet(untagged(tagged, f.sum_codec), f.sum),
                             f.operand)
            done = True
    if kind == STATIONARY and at >= 2 + pieces:
        x = noted(x, k, w)
    return x


@inner
def score_again(query: Any, key: Any, kind: Any, row: Any, changed: Any, k: Any, x: Any, f: Any, w: Any) -> Any:
    """The score of one key with another element of the key, or struck after a row."""
    total = 0.0
    for r in range(x.q.shape[1] - 1, -1, -1):
        element = changed if kind == KEY and r == row else x.k_t[r, key]
        total = one_step(x.q[query, r], element, total, f)
        if kind == PARTIAL and r == row:
            total = noted(total, k, w)
    return total


@inner
def scores_again(query: Any, tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any, f: Any,
                 w: Any) -> Any:
    """The tile's scores under an edit, in w.s; returns whether an allowed one is another."""
    first, last = tile * n, min(x.s.shape[1], tile * n + n)
    stop = min(last, x.allowed[query])
    for j in range(first, last):
        w.s[j - first] = x.s[query, j]
    if kind == QUERY:
        for r in range(n):
            w.q[r] = x.q[query, r]
        w.q[row] = changed
        different = False
        if first + at < stop:
            scores(w.all_scores, w.q, x.k_t, first + at, stop, f)
            for j in range(first + at, stop):
                seen = j >= x.first[query]
                different = different or (seen and not same_bits(w.all_scores[j], w.s[j - first]))
                w.s[j - first] = w.all_scores[j]
        return different
    key = first + at
    if key >= stop or key < x.first[query]:
        if kind == PARTIAL and key < last:  # masked: noted, and never looked at
            score_again(query, key, kind, row, changed, k, x, f, w)
        return False
    w.s[at] = score_again(query, key, kind, row, changed, k, x, f, w)
    return not same_bits(w.s[at], x.s[query, key])


@inner
def same_bits(a: Any, b: Any) -> Any:
    """Whether two values have the same bits."""
    return np.float64(a).view(np.int64) == np.float64(b).view(np.int64)


@inner
def golden_weights(query: Any, tile: Any, x: Any, n: Any, w: Any) -> None:
    """The tile's fault-free weights, in w.p."""
    first, last = tile * n, min(x.s.shape[1], tile * n + n)
    for j in range(first, last):
        w.p[j - first] = np.float64(x.p[query, j])
    for j in range(last - first, n):
        w.p[j] = 0.0


@inner
def low_of(query: Any, tile: Any, j: Any, x: Any, n: Any, f: Any) -> Any:
    """The fault-free score of key j of a tile as it goes back into the array."""
    key = tile * n + j
    if key >= x.allowed[query] or key < x.first[query]:
        return -np.inf
    return put_back(x.s[query, key], False, f)


@inner
def total_again(kind: Any, row: Any, at: Any, changed: Any, k: Any, n: Any, f: Any, w: Any) -> Any:
    """Row sum of the weights in w.p under an edit."""
    total = changed if kind == BEGINNING and at == 0 else 0.0
    for r in range(n):
        one = changed if kind == ONE_SUM and r == row else 1.0
        total = one_step(w.p[n - 1 - r], one, total, f)
        if kind == SUM and r == row:
            total = noted(total, k, w)
    return total


@inner
def output_again(tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any, f: Any, w: Any) -> Any:
    """One output of the tile, with the weights in w.p, under an edit."""
    total = 0.0
    for r in range(n):
        j = n - 1 - r
        key = tile * n + j
        element = x.v[key, at] if key < x.s.shape[1] else 0.0
        if kind == ELEMENT and r == row:
            element = changed
        total = one_step(w.p[j], element, total, f)
        if kind == VALUE and r == row:
            total = noted(total, k, w)
    return total


@inner
def outputs_again(query: Any, tile: Any, start: Any, first: Any, x: Any, n: Any, f: Any, w: Any) -> None:
    """The outputs from dimension `first` on, of the weights in w.p, starting from `start`, in w.scores."""
    for c in range(first, w.scores.shape[0]):
        w.scores[c] = start
    for r in range(n):
        j = n - 1 - r
        key = tile * n + j
        if key < x.s.shape[1]:
            add_products(w.scores[first:], w.p[j], x.v[key, first:], f)
        elif w.p[j] != 0.0:
            add_products(w.scores[first:], w.p[j], w.zeros[first:], f)


@inner
def tile_again(query: Any, tile: Any, kind: Any, row: Any, at: Any, changed: Any, k: Any, x: Any, n: Any, t: Any,
               f: Any, w: Any) -> Any:
    """(Δm, row sum, new maximum, old maximum, which outputs are others): the tile of a query under an edit, its outputs
    in w.scores. changed: the value that a QUERY, KEY, ONE, SCALE, SLOPE, ONE_SUM, ELEMENT, LIMIT or LOWER brings
    in."""
    golden = x.new_max[query, tile]
    before = x.new_max[query, tile - 1] if tile > 0 else -np.inf
    new, old = golden, golden
    delta, total = x.delta[query, tile], x.total[query, tile]
    first, last = tile * n, min(x.s.shape[1], tile * n + n)
    allowed, start = x.allowed[query] - first, x.first[query] - first
    pieces = t.in_array.shape[1]
    for c in range(w.scores.shape[0]):
        w.scores[c] = x.value[query, tile, c]
    if kind == DELTA:
        return noted(delta, k, w), total, new, old, NO_DIMENSION
    if kind == OLD:
        if at == 1:
            return delta, total, new, noted(old, k, w), NO_DIMENSION
        return difference(noted(before, k, w), golden, f), total, new, old, NO_DIMENSION
    if kind == NEW and at == n + 2:
        return delta, total, noted(golden, k, w), old, NO_DIMENSION
    if kind == NEW and at == n + 1:
        new = noted(golden, k, w)
        return difference(before, new, f), total, new, new, NO_DIMENSION
    golden_weights(query, tile, x, n, w)
    if kind in (ELEMENT, VALUE):
        w.scores[at] = output_again(tile, kind, row, at, changed, k, x, n, f, w)
        return delta, total, new, old, at
    if kind in (SUM, ONE_SUM):
        return delta, total_again(kind, row, at, changed, k, n, f, w), new, old, NO_DIMENSION
    if kind == BEGINNING:
        begin = noted(0.0, k, w)
        if at == 0:
            total = total_again(kind, row, at, begin, k, n, f, w)
        outputs_again(query, tile, begin, max(0, at - 1), x, n, f, w)
        return delta, total, new, old, ALL_DIMENSIONS
    minus = negative(golden, f)
    different = False
    if kind in (KEY, QUERY, PARTIAL, NEW, LIMIT, LOWER):
        if kind in (NEW, LIMIT, LOWER):
            for j in range(first, last):
                w.s[j - first] = x.s[query, j]
        elif not scores_again(query, tile, kind, row, at, changed, k, x, n, f, w):
            return delta, total, new, old, NO_DIMENSION
        new = before
        # From key `at` on, where the bound or the first key is another.
        allowed_on = changed - first if kind == LIMIT else allowed
        start_on = changed - first if kind == LOWER else start
        for j in range(n):
            if kind == NEW and j == at:
                new = noted(new, k, w)
            if (start_on if j >= at else start) <= j < (allowed_on if j >= at else allowed):
                new = maximum(quiet(new, f.sum), quiet(w.s[j] if j < last - first else w.beyond[0], f.sum))
        if kind == NEW and at == n:
            new = noted(new, k, w)
        old = new
        minus = negative(new, f)
        delta = difference(before, new, f)
        kept = same_bits(new, golden)
        for j in range(n):
            here = j < last - first
            if kept and kind != LIMIT and kind != LOWER and (not here or same_bits(w.s[j], x.s[query, first + j])):
                continue
            masked = not (start_on if j >= at else start) <= j < (allowed_on if j >= at else allowed)
            p = weight(put_back(w.s[j] if here else w.beyond[0], masked, f), minus, t, f)
            different = different or not same_bits(p, w.p[j])
            w.p[j] = p
    elif kind == LOW:
        low = round_to(quiet(noted(low_of(query, tile, at, x, n, f), k, w), f.sum), f.operand)
        p = weight(low, minus, t, f)
        different = not same_bits(p, w.p[at])
        w.p[at] = p
    else:
        top, bottom = row, row + 1
        if kind == MINUS:
            minus = noted(minus, k, w)
            bottom = n
        elif kind == INTERCEPT:
            changed = noted(t.tags[at], k, w)
            bottom = n
        elif kind == ADDEND:
            changed = noted(0.0, k, w)
        for r in range(top, bottom):
            j = n - 1 - r
            p = weight_again(low_of(query, tile, j, x, n, f), minus, kind, at, changed, k, t, f, w)
            different = different or not same_bits(p, w.p[j])
            w.p[j] = p
    if not different:
        return delta, total, new, old, NO_DIMENSION
    begins = 0
    if kind == STATIONARY and at > 2 + pieces:
        begins = at - 3 - pieces
    else:
        total = total_again(DEAD, 0, 0, 0.0, k, n, f, w)
    outputs_again(query, tile, 0.0, begins, x, n, f, w)
    return delta, total, new, old, ALL_DIMENSIONS


@inner
def struck_bound(query: Any, kind: Any, k: Any, x: Any, w: Any) -> Any:
    """A query's bound, or (LOWER) first key, after a strike."""
    golden = np.int64(x.first[query] if kind == LOWER else x.allowed[query])
    after = struck_word(golden, k)
    w.value[0], w.value[1] = np.float64(golden), np.float64(after)
    return after

