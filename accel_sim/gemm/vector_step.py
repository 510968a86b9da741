"""The vector unit, cycle by cycle: softmax of a block of queries, and the division of finished rows.

A lane's registers depend on nothing of other lanes, and the only control is the sequencer's (part, step): so lanes can
be clocked one after the other, all cycles of one before the next, and the bits are the same. Only the fused check's
sums, behind the lanes, see them all: they are clocked by a kernel of their own.

Stages are visited from the last to the first, so that each still reads what the one before held at the start of the
cycle.
"""

from __future__ import annotations

from typing import Any

from accel_sim.engines.judgement import allowed_by
from accel_sim.gemm.invariants_step import MASK, MAX, SCORE, SUM, beyond, fallen, outside, unmasked
from accel_sim.gemm.judge import add_once, judge_now, note, residual_of
from accel_sim.numerics.arithmetic import div, maximum, mul, sub
from accel_sim.numerics.exp import exp_exact, exp_pwl
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet, round_to

FUSED = 1  # its place in tuples.UNITS


@inner
def scaled(s: Any, scale: Any, f: Any) -> Any:
    """s · scale in the score format."""
    return mul(quiet(s, f.score), quiet(scale, f.score), f.score)


@inner
def larger(m: Any, x: Any, seen: Any, f: Any) -> Any:
    """The maximum with one more score; the first one as it is."""
    return maximum(quiet(m, f.state), quiet(x, f.score)) if seen != 0.0 else x


@inner
def difference(x: Any, m: Any, f: Any) -> Any:
    """x − m in the score format."""
    return sub(quiet(x, f.score), quiet(m, f.state), f.score)


@inner
def exponential(x: Any, f: Any) -> Any:
    """e^x in the exp format, by the machine's own unit."""
    x = quiet(x, f.score)
    if f.exp_pwl:
        return exp_pwl(x, f.exp_table, f.exp)
    return exp_exact(x, f.exp)


@inner
def summed(total: Any, p: Any, f: Any) -> Any:
    """l + p in the state format."""
    return add_once(quiet(total, f.state), quiet(p, f.exp), f.state, f.exp)


@inner
def as_operand(p: Any, f: Any) -> Any:
    """A weight as the array takes it."""
    return round_to(quiet(p, f.exp), f.operand)


@inner
def reciprocal(total: Any, f: Any) -> Any:
    """1/l in the state format."""
    return reciprocal_pwl(quiet(total, f.state), f.recip_table, f.state)


@inner
def quotient(x: Any, total: Any, recip: Any, r: Any, source: Any, f: Any) -> Any:
    """x / l in the format of r; x of the format of `source`."""
    if f.reciprocal:
        return mul(quiet(x, source), quiet(recip, f.state), r)
    return div(quiet(x, source), quiet(total, f.state), r)


@inner
def softmax_cycle(i: Any, part: Any, step: Any, v: Any, mem: Any, g: Any, f: Any) -> None:
    """Lane i in one cycle of the softmax pass."""
    n = g.n_keys
    query = part * g.lanes + i
    here = query < g.n_queries
    if step == 0:
        v.bound[i] = mem.bound[query] if here else 0
        v.first[i] = mem.first[query] if here else 0
        v.seen[i] = 0.0
        v.m[i] = 0.0
        v.l[i] = 0.0
        v.softmax_excess[i] = 0.0
        v.softmax_m[i] = 0.0
        return
    t = step - 1
    if t < n + 2:
        if 0 <= t - 2 and v.first[i] <= t - 2 and t - 2 < v.bound[i]:
            if g.watched & MAX != 0 and v.seen[i] != 0.0:
                v.softmax_excess[i] = fallen(v.softmax_excess[i], v.softmax_m[i], v.m[i], f)
            v.m[i] = larger(v.m[i], v.scaled[i], v.seen[i], f)
            v.seen[i] = 1.0
            v.softmax_m[i] = v.m[i]
        if 0 <= t - 1 < n:
            v.scaled[i] = scaled(v.x_in[i], v.scale[0], f)
        if t < n:
            v.x_in[i] = mem.s[query, t] if here else 0.0
        return
    t -= n + 2
    if 0 <= t - 5 < n and here:
        mem.p[query, t - 5] = v.p_out[i]
        if t - 5 == n - 1:
            mem.l[query] = v.l[i]
    if t - 5 == n - 1:
        if g.watched & MAX != 0:
            v.softmax_excess[i] = fallen(v.softmax_excess[i], v.softmax_m[i], v.m[i], f)
        if g.watched & SUM != 0 and v.first[i] < v.bound[i]:
            v.softmax_excess[i] = outside(v.softmax_excess[i], v.l[i], n, f)
    if 0 <= t - 4 < n:
        if g.watched & MASK != 0 and not v.first[i] <= t - 4 < v.bound[i]:
            v.softmax_excess[i] = unmasked(v.softmax_excess[i], v.p[i], f)
        v.p_out[i] = as_operand(v.p[i], f)
        v.l[i] = summed(v.l[i], v.p[i], f)
    if 0 <= t - 3 < n:
        v.p[i] = exponential(v.ds[i], f) if v.allow[i] != 0.0 else 0.0
    if 0 <= t - 2 < n:
        allowed = v.first[i] <= t - 2 < v.bound[i]
        if g.watched & SCORE != 0:
            v.softmax_excess[i] = beyond(v.softmax_excess[i], v.scaled[i], v.softmax_bound[0], f)
        if g.watched & MAX != 0 and allowed:
            v.softmax_excess[i] = fallen(v.softmax_excess[i], v.softmax_m[i], v.m[i], f)
        v.ds[i] = difference(v.scaled[i], v.m[i], f)
        v.allow[i] = 1.0 if allowed else 0.0
    if 0 <= t - 1 < n:
        v.scaled[i] = scaled(v.x_in[i], v.scale[0], f)
    if t < n:
        v.x_in[i] = mem.s[query, t] if here else 0.0


@inner
def divide_cycle(i: Any, part: Any, step: Any, v: Any, mem: Any, g: Any, f: Any) -> None:
    """Lane i in one cycle of the divide pass."""
    d, words = g.head_dim, g.words
    query = part * g.lanes + i
    here = query < g.n_queries
    if step == 0:
        v.l[i] = mem.l[query] if here else 0.0
        v.fused_c[i] = 0.0
        v.fused_sum[i] = 0.0
        return
    if f.reciprocal:
        if step == 1:
            v.recip[i] = reciprocal(v.l[i], f)
            return
        step -= 1
    t = step - 1
    if words > 0 and t == d + words + 1:
        v.fused_term[i] = quotient(v.fused_c[i], v.l[i], v.recip[i], f.checker, f.checker, f)
    if 0 <= t - 2 < d:
        if words > 0:
            v.fused_sum[i] = add_once(quiet(v.fused_sum[i], f.checker), quiet(v.out[i], f.output), f.checker, f.output)
        if here:
            mem.o[query, t - 2] = v.out[i]
    if 0 <= t - 1 < d:
        v.out[i] = quotient(v.x_in[i], v.l[i], v.recip[i], f.output, f.state, f)
    elif d <= t - 1 < d + words:
        v.fused_c[i] = add_once(quiet(v.fused_c[i], f.checker), quiet(v.x_in[i], f.state), f.checker, f.state)
    if t < d + words:
        v.x_in[i] = mem.u[query, t] if here else 0.0


@kernel
def softmax_steps(v: Any, mem: Any, g: Any, f: Any, first: int, last: int, part: int, begin: int, end: int) -> None:
    """Lanes first … last − 1 through steps begin … end − 1 of a block of the softmax pass."""
    for i in range(first, last):
        for step in range(begin, end):
            softmax_cycle(i, part, step, v, mem, g, f)


@kernel
def divide_steps(v: Any, mem: Any, g: Any, f: Any, first: int, last: int, part: int, begin: int, end: int) -> None:
    """Lanes first … last − 1 through steps begin … end − 1 of a block of the divide pass, but for the sums behind."""
    for i in range(first, last):
        for step in range(begin, end):
            divide_cycle(i, part, step, v, mem, g, f)


@inner
def fused_cycle(part: Any, step: Any, v: Any, c: Any, judge: Any, g: Any, f: Any, cycle: Any, log: Any) -> None:
    """The sums behind the lanes in one cycle of the divide pass. cycle: on the head's clock, for the log."""
    lead = 2 if f.reciprocal else 1
    rc = f.checker
    if step == 0:
        if g.per_block or part == 0:
            c.pred[0] = 0.0
            c.act[0] = 0.0
        return
    u = step - lead - (g.head_dim + g.words + 2)
    if 0 <= u < g.lanes:
        if part * g.lanes + u < g.n_queries:
            c.pred[0] = add_once(quiet(c.pred[0], rc), quiet(v.fused_term[u], rc), rc, rc)
            c.act[0] = add_once(quiet(c.act[0], rc), quiet(v.fused_sum[u], rc), rc, rc)
        return
    if not (g.per_block or part == g.blocks - 1):
        return
    if u == g.lanes:
        c.residual[0] = residual_of(c.pred[0], c.act[0], rc)
        c.limit[0] = allowed_by(judge.threshold[0], c.pred[0], c.act[0], g.relative, rc)
        note(log, cycle + 1, c.residual[0], c.limit[0], c.pred[0], c.act[0], FUSED)
    elif u == g.lanes + 1:
        judge_now(judge, c.residual[0], c.limit[0], f, log, cycle)


@kernel
def fused_steps(v: Any, c: Any, judge: Any, g: Any, f: Any, part: int, begin: int, end: int, cycle: int,
                log: Any) -> None:
    """Steps begin … end − 1 of a block for the sums behind the lanes; cycle: that of `begin`. All of these steps, or
    none of them, lie before the lanes' sums are read: run the lanes first."""
    for step in range(begin, end):
        fused_cycle(part, step, v, c, judge, g, f, cycle + step - begin, log)
