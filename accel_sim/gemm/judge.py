"""A comparison: the sums it is between, what it allows, whether it raises the alarm, and the note taken of it."""

from __future__ import annotations

from typing import Any

from accel_sim.engines.judgement import over
from accel_sim.numerics.arithmetic import add, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet, round_32


@inner
def add_once(a: Any, b: Any, r: Any, source: Any) -> Any:
    """a + b, rounded once into r: a of r's format, b of that of `source`. In binary32 the sum of two binary32 numbers,
    rounded to binary64 first, is as if rounded once (see `numerics.arithmetic`)."""
    if r.kind == 1 and source.kind != 0:
        return round_32(a + b, r.flush_below)
    return add(a, b, r)


@inner
def residual_of(pred: Any, act: Any, r: Any) -> Any:
    """pred − act in the checker's format."""
    return sub(quiet(pred, r), quiet(act, r), r)


@inner
def note(log: Any, cycle: Any, residual: Any, limit: Any, pred: Any, act: Any, unit: Any) -> None:
    """One more line of the log, if there is room."""
    n = log.count[0]
    if n < log.table.shape[0]:
        line = log.table[n]
        line[0], line[1], line[2], line[3], line[4], line[5] = cycle, residual, limit, pred, act, unit
        log.count[0] = n + 1


@inner
def judge_now(j: Any, residual: Any, limit: Any, f: Any, log: Any, cycle: Any) -> Any:
    """Judge what stands in a unit's residual register in `cycle`. Returns whether it exceeds the limit (and the unit is
    on)."""
    if j.enable[0] == 0.0:
        return False
    n = log.judgements[0]
    if n < log.judged.shape[0]:
        log.judged[n, 0], log.judged[n, 1], log.judged[n, 2] = cycle, residual, limit
        log.judgements[0] = n + 1
    beyond, frequent = over(residual, limit), False
    if j.ceiling[0] != 0.0 and over(residual, quiet(j.small_threshold[0], f.checker)):
        j.deviations[0] = min(j.deviations[0] + 1.0, j.ceiling[0])
        frequent = j.deviations[0] >= j.frequent[0]
    if beyond or frequent:
        raise_alarm(j.alarm, log, cycle)
    return beyond


@inner
def raise_alarm(alarm: Any, log: Any, cycle: Any) -> None:
    """Set the alarm register in `cycle`."""
    if alarm[0] == 0.0:
        alarm[0] = 1.0
        if log.first[0] < 0:
            log.first[0] = cycle
