"""What changed rows mean: the comparisons that they enter, the alarm, and how far the output is off."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.judgement import over
from accel_sim.engines.lanes_step import HEAD, KEY_TILE, limit_of
from accel_sim.engines.replay.chains import binary32, canonical, same_bits
from accel_sim.engines.replay.types import COLUMN, DROPPED, ROW
from accel_sim.faults.outcome import add_rows, compare_values
from accel_sim.numerics.arithmetic import add, move, sub
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def comparison_of(block, cw, g):
    """Index of the comparison that closes a block, or the head."""
    return cw.block_comparison[g.blocks - 1 if g.granularity == HEAD else block]


@inner
def compare_again(index, pred, act, threshold, g, rc, w):
    """Write comparison `index` into the scratch."""
    pred, act = quiet(pred, rc), quiet(act, rc)
    w.residual[index] = sub(pred, act, rc)
    w.limit[index] = limit_of(threshold, pred, act, g, rc)


@inner
def compare_block(block, cw, st, g, rc, w):
    """Take every comparison again that the changed rows of a block enter."""
    first = block * g.lanes
    last = min(first + g.lanes, g.n_queries)
    if g.granularity == KEY_TILE:
        compare_scans(block, first, last, cw, st, g, rc, w)
    start = first
    while start < last and not w.changed[start - first]:
        start += 1
    stop = g.n_queries if g.granularity == HEAD else last
    if binary32(rc, w.checksums):
        pred, act, golden = add_natively(first, start, last, stop, cw, st, w)
    else:
        pred, act, golden = add_rounded(first, start, last, stop, cw, st, rc, w)
    if not golden:
        compare_again(comparison_of(block, cw, g), pred, act, cw.threshold, g, rc, w)


@inner
def compare_scans(block, first, last, cw, st, g, rc, w):
    """Take the scans of a block again, queries first … last − 1."""
    for tile in range(g.tiles):
        index = cw.scan_comparison[block, tile]
        if index < 0:
            continue
        pred, act = 0.0, 0.0
        for i in range(first, last):
            lane = i - first
            changed = w.changed[lane]
            pred = add(pred, w.scans[lane, tile, 0] if changed else st.scan_terms[i, tile, 0], rc)
            act = add(act, w.scans[lane, tile, 1] if changed else st.scan_terms[i, tile, 1], rc)
        compare_again(index, pred, act, cw.scan_threshold, g, rc, w)


@inner
def add_rounded(first, start, last, stop, cw, st, r, w):
    """(pred, act, False) after queries start … stop − 1, those up to `last` as changed in the block that begins at
    `first`; or True as soon as, behind the block, the sums are golden again, and stay so."""
    pred, act = cw.prefix[start, 0], cw.prefix[start, 1]
    for i in range(start, last):
        changed = w.changed[i - first]
        if changed != DROPPED:
            p = w.terms[i - first, 0] if changed else st.terms[i, 0]
            a = w.terms[i - first, 1] if changed else st.terms[i, 1]
            pred = add(quiet(pred, r), quiet(p, r), r)
            act = add(quiet(act, r), quiet(a, r), r)
    for i in range(last, stop):
        if same_bits(pred, cw.prefix[i, 0]) and same_bits(act, cw.prefix[i, 1]):
            return pred, act, True
        pred = add(quiet(pred, r), quiet(st.terms[i, 0], r), r)
        act = add(quiet(act, r), quiet(st.terms[i, 1], r), r)
    return pred, act, False


@inner
def add_natively(first, start, last, stop, cw, st, w):
    """`add_rounded` in the CPU's binary32: the same up to the payload of a NaN, which is made canonical at the end."""
    x, y = np.float32(cw.prefix[start, 0]), np.float32(cw.prefix[start, 1])
    for i in range(start, last):
        changed = w.changed[i - first]
        if changed != DROPPED:
            x = x + np.float32(w.terms[i - first, 0] if changed else st.terms[i, 0])
            y = y + np.float32(w.terms[i - first, 1] if changed else st.terms[i, 1])
    for i in range(last, stop):
        if x == np.float32(cw.prefix[i, 0]) and y == np.float32(cw.prefix[i, 1]) and x != 0 and y != 0:
            return 0.0, 0.0, True
        x = x + np.float32(st.terms[i, 0])
        y = y + np.float32(st.terms[i, 1])
    return canonical(x), canonical(y), False


@inner
def verdict(cw, w):
    """(alarm cycle or −1, residual and limit of the telling comparison) of the comparisons in the scratch."""
    best = -1
    raised = np.int64(-1)
    deviations = 0
    for index in range(w.residual.shape[0]):
        if cw.frequent > 0 and raised < 0 and over(w.residual[index], cw.small_threshold):
            deviations += 1
            if deviations >= cw.frequent:
                raised = cw.alarm_cycle[index]
        if over(w.residual[index], w.limit[index]):
            return (cw.alarm_cycle[index] if raised < 0 else raised), w.residual[index], w.limit[index]
        if best < 0 or not abs(w.residual[index]) <= abs(w.residual[best]):
            best = index
    if best < 0:
        return -1, np.nan, np.nan
    return raised, w.residual[best], w.limit[best]


@inner
def measure(n, block, st, g, codec, w, out):
    """Write how far the changed rows of a block are from the golden ones, as outcome n."""
    first = block * g.lanes
    for i in range(first, min(first + g.lanes, g.n_queries)):
        mark = w.changed[i - first]
        if mark == COLUMN:
            t = w.column[0]
            _, delta, ulp, lost = compare_values(st.o[i, t], w.rows[i - first, t], codec)
            out.square[n] += delta * delta
            out.max_abs[n] = max(out.max_abs[n], abs(delta))
            out.max_ulp[n] = max(out.max_ulp[n], ulp)
            out.nonfinite[n] += lost
            out.rows[n] += 1
        elif mark == ROW or mark == DROPPED:
            add_rows(n, st.o[i:i + 1], w.rows[i - first:i - first + 1], codec, out)
    out.differs[n] = out.rows[n] > 0


@inner
def keep_rows(n, block, st, g, w, sink):
    """Put the rows of a block that fault n changes in any bit into the sink, which has room for them."""
    first = block * g.lanes
    for i in range(first, min(first + g.lanes, g.n_queries)):
        mark = w.changed[i - first]
        if mark != COLUMN and mark != ROW and mark != DROPPED:
            continue
        at = sink.filled[0]
        changed = mark == COLUMN
        if changed:
            move(sink.row[at], st.o[i])
            sink.row[at, w.column[0]] = w.rows[i - first, w.column[0]]
        else:
            for t in range(g.head_dim):
                sink.row[at, t] = w.rows[i - first, t]
                changed = changed or not same_bits(w.rows[i - first, t], st.o[i, t])
        if changed:
            sink.fault[at], sink.query[at] = n, i
            sink.filled[0] += 1


@inner
def keep_comparisons(n, cw, w, sink):
    """Put the comparisons that fault n changes into the sink, which has room for them."""
    for index in range(cw.residual.shape[0]):
        if same_bits(w.residual[index], cw.residual[index]) and same_bits(w.limit[index], cw.limit[index]):
            continue
        at = sink.filled[0]
        sink.fault[at], sink.number[at] = n, index
        sink.residual[at], sink.limit[at] = w.residual[index], w.limit[index]
        sink.filled[0] += 1


@inner
def restore(block, cw, g, w):
    """Make the scratch golden again after a block's rows were changed."""
    w.changed[:] = 0
    if not g.check:
        return
    index = comparison_of(block, cw, g)
    w.residual[index] = cw.residual[index]
    w.limit[index] = cw.limit[index]
    if g.granularity == KEY_TILE:
        for tile in range(g.tiles):
            index = cw.scan_comparison[block, tile]
            if index >= 0:
                w.residual[index] = cw.residual[index]
                w.limit[index] = cw.limit[index]
