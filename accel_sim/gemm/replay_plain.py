"""Replay of faults in the array of a plain product: the changes of its sums are the changes of its output."""

from __future__ import annotations

from typing import Any

from accel_sim.engines.replay.rows import is_full, keep_row
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.outcome import add_rows
from accel_sim.gemm.replay_kernel import begin_fault, scores_checked, verdict
from accel_sim.numerics.jit import inner, kernel


@kernel
def follow_plain(start: int, which: Any, begin: Any, end: Any, place: Any, value: Any, world: Any) -> Any:
    """Follow faults that enter as changes of the product; as `replay_kernel.follow`."""
    w, n, kept, found = world.w, world.n, world.kept, world.found
    for at in range(start, which.shape[0]):
        if is_full(kept.o.shape[0], world.sink):
            return at
        i = which[at]
        begin_fault(n)
        n.changes[0] = end[at] - begin[at]
        for j in range(n.changes[0]):
            w.place[j], w.value[j] = place[begin[at] + j], value[begin[at] + j]
        if not scores_checked(kept, world.facts, world.z1, world.f, w, n):
            found.status[i] = FALL_BACK
            continue
        measure(i, kept, world.codec, w, n, found, world.sink)
        verdict(i, kept, world.facts.policies, w, n, found)
        found.status[i] = 1 if found.differs[i] or n.over[0] > 0 else 0
    return which.shape[0]


@inner
def measure(i: Any, kept: Any, codec: Any, w: Any, n: Any, found: Any, sink: Any) -> None:
    """What the working list makes of the output, row by row; checksums and filling are no part of it."""
    columns, at = kept.out1.shape[1], 0
    while at < n.changes[0]:
        m = w.place[at] // columns
        row = kept.query1[m]
        if row >= 0:
            for j in range(w.o.shape[0]):
                w.o[j] = kept.o[row, j]
        while at < n.changes[0] and w.place[at] // columns == m:
            j = kept.key1[w.place[at] % columns]
            if row >= 0 and j >= 0:
                w.o[j] = w.value[at]
            at += 1
        if row >= 0:
            before = found.rows[i]
            add_rows(i, kept.o[row:row + 1], w.o.reshape((1, w.o.shape[0])), codec, found)
            if found.rows[i] > before:
                keep_row(i, row, w.o, sink)
    found.differs[i] = found.rows[i] > 0
