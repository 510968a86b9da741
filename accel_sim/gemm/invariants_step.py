"""The softmax invariants: what every lane watches while it works, and the judgement of one lane after the other behind.

A violation is how far a value lies beyond what it can be; the register `softmax_excess` of a lane keeps the largest of
its query, so the order in which they are found does not matter. A NaN stays one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from accel_sim.engines.judgement import allowed_by
from accel_sim.gemm.judge import judge_now, note
from accel_sim.numerics.arithmetic import maximum, sub
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import quiet, round_to

SUM, MAX, MASK, SCORE = 1, 2, 4, 8
"""Bits of `Sizes.watched`."""

WATCH = 3  # its place in tuples.UNITS


def watched_bits(which: Iterable[str]) -> int:
    """Invariants by name, as bits."""
    bits = {"sum": SUM, "max": MAX, "mask": MASK, "score": SCORE}
    return sum(bits[name] for name in which)


@inner
def worse(excess: Any, violation: Any, f: Any) -> Any:
    """The largest violation, with one more."""
    return maximum(quiet(excess, f.checker), violation)


@inner
def fallen(excess: Any, before: Any, m: Any, f: Any) -> Any:
    """With how far the maximum m lies below what it was written with."""
    return worse(excess, sub(quiet(before, f.state), quiet(m, f.state), f.checker), f)


@inner
def unmasked(excess: Any, p: Any, f: Any) -> Any:
    """With the weight of a masked key."""
    return worse(excess, round_to(quiet(p, f.exp), f.checker), f)


@inner
def beyond(excess: Any, x: Any, bound: Any, f: Any) -> Any:
    """With how far a scaled score lies beyond the largest that can be."""
    return worse(excess, sub(abs(quiet(x, f.score)), quiet(bound, f.checker), f.checker), f)


@inner
def outside(excess: Any, total: Any, n_keys: Any, f: Any) -> Any:
    """With how far a sum of weights lies outside of 1 … n_keys."""
    total = quiet(total, f.state)
    excess = worse(excess, sub(1.0, total, f.checker), f)
    return worse(excess, sub(total, float(n_keys), f.checker), f)


@kernel
def watch_steps(v: Any, c: Any, judge: Any, g: Any, f: Any, part: int, begin: int, end: int, cycle: int,
                log: Any) -> None:
    """Steps begin … end − 1 of a block of the softmax for what stands behind the lanes; cycle: that of `begin`. Run the
    lanes first: theirs do not change any more where these begin."""
    lead = 2 * g.n_keys + 8
    for step in range(max(begin, lead), end):
        u, now = step - lead, cycle + step - begin
        if u > 0 and part * g.lanes + u - 1 < g.n_queries:
            judge_now(judge, c.residual[0], c.limit[0], f, log, now)
        if u < g.lanes:
            c.residual[0] = v.softmax_excess[u]
            c.limit[0] = allowed_by(judge.threshold[0], 0.0, 0.0, False, f.checker)
            if part * g.lanes + u < g.n_queries:
                note(log, now + 1, c.residual[0], c.limit[0], c.residual[0], 0.0, WATCH)
