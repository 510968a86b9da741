"""The unit of the scores' row sums, as hardware: what it adds up beside the array, and how it judges a query.

An observer: nothing of the datapath depends on it. `accel_sim.fused.summed` has the same values without registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.judgement import allowed_by, judge
from accel_sim.fused.adder_tree import later_sums, tree_size
from accel_sim.machines.fused import FEED_K
from accel_sim.machines.fused_timing import WAIT
from accel_sim.numerics.arithmetic import add, mul, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import NAN, quiet


class SumSlots(NamedTuple):
    """First slot of every register array of the unit, without `rowsum_` before its name; −1 without it. mask: of the
    deviations, 0 without a statistical threshold."""

    keys: int
    sum: int
    query: int
    prod: int
    tree: int
    delay: int
    valid: int
    residual: int
    limit: int
    judge: int
    threshold: int
    enable: int
    alarm: int
    small_threshold: int
    frequent: int
    deviations: int
    mask: int


@inner
def plus(total: Any, value: Any, fmt: Any, r: Any) -> Any:
    """A sum in the checker format r with one more value, of the format fmt."""
    if r.kind == 1 and r.flush_below == 0.0:  # the CPU's own binary32 addition: the chain is long
        y = np.float64(np.float32(total) + np.float32(value))
        return y if y == y else NAN
    return add(quiet(total, r), quiet(value, fmt), r)


@inner
def predict(state: Any, y: Any, n: Any, levels: Any, f: Any, keys: Any) -> None:
    """The pipeline of the prediction from its root back to the query register. keys (N,): the sums of the keys."""
    at = y.tree
    for level in range(levels):
        at += tree_size(n, level)
    for level in range(levels - 1, -1, -1):
        wide = tree_size(n, level - 1) if level > 0 else n
        half = (wide + 1) // 2
        at -= half
        if state[y.valid + 1 + level] != 0.0:
            before = at - wide if level > 0 else y.prod
            later_sums(state[at:at + half], state[before:before + wide], wide, f.checker)
    if state[y.valid] != 0.0:
        for e in range(n):
            state[y.prod + e] = mul(quiet(state[y.query + e], f.operand), quiet(keys[e], f.checker), f.checker)
    for i in range(levels + 1, 0, -1):
        if state[y.valid + i - 1] != 0.0:
            state[y.delay + i] = state[y.delay + i - 1]
        state[y.valid + i] = state[y.valid + i - 1]
    state[y.valid] = 0.0


@inner
def compare_sums(state: Any, y: Any, n: Any, levels: Any, relative: Any, f: Any, env: Any, log: Any, compared: Any,
                 cycle: Any) -> None:
    """The unit's alarm, from what its residual holds, and the next residual. compared, cycle: places in env; log: the
    table of comparisons."""
    judge(state, y.judge, y.enable, y.residual, y.limit, y.alarm, y.small_threshold, y.frequent, y.deviations, y.mask)
    state[y.judge] = state[y.valid + levels + 1]
    if state[y.judge] == 0.0:
        return
    root = y.tree - 1
    for level in range(levels):
        root += tree_size(n, level)
    pred, act = quiet(state[root], f.checker), quiet(state[y.delay + levels + 1], f.checker)
    state[y.residual] = sub(pred, act, f.checker)
    state[y.limit] = allowed_by(state[y.threshold], pred, act, relative, f.checker)
    if env[compared] < log.shape[0]:
        row = log[env[compared]]
        row[0], row[1], row[2] = env[cycle] + 1, state[y.residual], state[y.limit]
        row[3], row[4], row[5], row[6] = pred, act, 0.0, 2.0
    env[compared] += 1


@inner
def take_query(state: Any, y: Any, total: Any, q: Any, query: Any) -> None:
    """A query is read again from the scratchpad q, with its column's sum of scores."""
    for e in range(q.shape[1]):
        state[y.query + e] = q[query, e]
    state[y.delay] = total
    state[y.valid] = 1.0


@inner
def watch_rows(state: Any, s: Any, y: Any, g: Any, f: Any, env: Any, around: Any, compared: Any, cycle: Any) -> None:
    """One cycle of the unit but for what the scores' sums take, before the datapath moves."""
    n, timer = g.size, int(state[s.timer])
    compare_sums(state, y, n, g.levels, g.rowsum_relative, f, env, around.comparisons, compared, cycle)
    predict(state, y, n, g.levels, f, state[y.keys:y.keys + n])
    waits = int(state[s.phase]) == WAIT
    query = int(state[s.query_tile]) * n + timer
    if waits and timer < n and query < g.n_queries:
        take_query(state, y, state[y.sum + timer], around.q, query)
    if waits and timer == n:
        for e in range(n):
            state[y.keys + e] = 0.0
    elif int(state[s.feed_sel]) == FEED_K:
        for e in range(n):
            state[y.keys + e] = plus(state[y.keys + e], state[s.feed + e], f.operand, f.checker)


@inner
def emptied(state: Any, s: Any, y: Any, n: Any) -> None:
    """A column whose query has been read begins again, whatever reached its sum in that cycle. Before the sequencer
    moves on."""
    timer = int(state[s.timer])
    if int(state[s.phase]) == WAIT and timer < n:
        state[y.sum + timer] = 0.0
