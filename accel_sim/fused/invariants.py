"""The unit of the softmax's invariants, as hardware: what it does beside a compare unit, and when a column is read out.

An observer: nothing of the datapath depends on it. `accel_sim.fused.watched` has the same values without registers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.judgement import judge
from accel_sim.machines.fused import WATCH_MAX, WATCH_SCORE, WATCH_SUM
from accel_sim.machines.fused_timing import NORM
from accel_sim.numerics.arithmetic import maximum, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


class OwnSlots(NamedTuple):
    """First slot of every register array of the unit, without `softmax_` before its name; −1 for what it does not have.
    mask: of the deviations, 0 without a statistical threshold."""

    m: int
    excess: int
    bound: int
    keys: int
    residual: int
    judge: int
    threshold: int
    enable: int
    alarm: int
    small_threshold: int
    frequent: int
    deviations: int
    mask: int


@inner
def violation(larger: Any, smaller: Any, r: Any) -> Any:
    """How far something lies above what it may not exceed; 0 if it does not, NaN if either is NaN."""
    return 0.0 if larger <= smaller else sub(larger, smaller, r)


@inner
def observe(masked: Any, score: Any, m: Any, after: Any, copy: Any, excess: Any, limit: Any, watch: Any,
            f: Any) -> Any:
    """(copy, excess) of a column when a key's score passes its compare unit, which held the maximum m and takes `after`
    as the next one."""
    if watch & WATCH_SCORE:
        beyond = violation(abs(quiet(score, f.sum)), quiet(limit, f.checker), f.checker)
        excess = maximum(quiet(excess, f.checker), beyond)
    if watch & WATCH_MAX and not masked:
        fallen = violation(quiet(copy, f.sum), quiet(m, f.sum), f.checker)
        excess = maximum(quiet(excess, f.checker), fallen)
        copy = after
    return copy, excess


@inner
def read_out(state: Any, s: Any, y: Any, g: Any, f: Any, env: Any, log: Any, compared: Any, cycle: Any) -> Any:
    """The column that LseNorm reads out in this cycle, −1 for none: its residual is formed, and is to be judged if it
    has a query. `compared`, `cycle`: places in env."""
    column = int(state[s.timer])
    state[y.judge] = 0.0
    if int(state[s.phase]) != NORM or column >= g.size:
        return -1
    if int(state[s.query_tile]) * g.size + column >= g.n_queries:
        return column
    r = f.checker
    excess = 0.0
    if g.watch & (WATCH_SCORE | WATCH_MAX):
        excess = maximum(quiet(state[y.excess + column], r), 0.0)
    if g.watch & WATCH_MAX:
        copy, m = quiet(state[y.m + column], f.sum), quiet(state[s.new_max + column], f.sum)
        excess = maximum(excess, violation(copy, m, r))
    if g.watch & WATCH_SUM and state[s.bound + column] != 0.0:
        excess = outside(excess, quiet(state[s.l + column], f.sum), state[y.keys], r)
    state[y.residual] = excess
    state[y.judge] = 1.0
    note(excess, state[y.threshold], env, log, compared, cycle)
    return column


@inner
def outside(excess: Any, l: Any, keys: Any, r: Any) -> Any:  # noqa: E741
    """The larger of a violation and how far a sum of weights lies outside 1 … keys."""
    return maximum(maximum(excess, violation(1.0, l, r)), violation(l, keys, r))


@inner
def note(residual: Any, limit: Any, env: Any, log: Any, compared: Any, cycle: Any) -> None:
    """A comparison of the unit for the table, as far as there is room."""
    if env[compared] < log.shape[0]:
        row = log[env[compared]]
        row[0], row[1], row[2] = env[cycle] + 1, residual, limit
        row[3], row[4], row[5], row[6] = np.nan, np.nan, 0.0, 1.0
    env[compared] += 1


@inner
def cleared(state: Any, y: Any, watch: Any, column: Any) -> None:
    """A column that has been read out begins again, whatever its compare unit did in that cycle."""
    if watch & (WATCH_SCORE | WATCH_MAX):
        state[y.excess + column] = 0.0
    if watch & WATCH_MAX:
        state[y.m + column] = -np.inf


@inner
def judge_softmax(state: Any, y: Any) -> None:
    """The unit's alarm, from what its residual holds."""
    judge(state, y.judge, y.enable, y.residual, y.threshold, y.alarm, y.small_threshold, y.frequent, y.deviations,
          y.mask)
