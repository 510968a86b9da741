"""The replay engine's kernel: from a fault to what it changes, by recomputing only what it can reach.

A fault in a register of the datapath strikes a known value of a known (query, key, dim): the schedule says
which (accel_sim.machines.lanes_schedule gives the same answers one at a time). `replay_all` finds the place, and leaves
the rest to the file for that part of the machine: `replay_stage` and `replay_broadcast` for the streaming pipeline,
`replay_lane` for what a lane keeps, `replay_drain` for what is behind the lanes, `replay_check` for the comparison.
They recompute the rows of attention that the value enters, from the golden store; `replay.compare` takes the
comparisons again that those rows enter.

A fault whose register is dead in that cycle is masked without running. What control registers do is not a matter
of values: those faults are handed back (FALL_BACK) for the stepped engine.

Everything here is one query block: the rows a fault can change are lanes of the block in flight.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_golden import finish_row, row_sum
from accel_sim.engines.replay.broadcast import replay_broadcast
from accel_sim.engines.replay.chains import (
    accumulate_row,
    checksum_chain,
    keep_accumulators,
    sum_chain,
    widen,
)
from accel_sim.engines.replay.check import replay_check
from accel_sim.engines.replay.codes import CHECK_CODES, OTHER, SUM_OF_KEYS
from accel_sim.engines.replay.compare import (
    compare_block,
    keep_comparisons,
    keep_rows,
    measure,
    restore,
    verdict,
)
from accel_sim.engines.replay.drain import replay_drain
from accel_sim.engines.replay.lane import replay_lane
from accel_sim.engines.replay.stage import replay_stage
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, MASKED, ZERO, Strike
from accel_sim.engines.replay.weights import with_query
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner, kernel

FIRST_OBSERVER = SUM_OF_KEYS
"""Codes from here on are of units that only look."""


@kernel
def replay_all(order, start, faults, wh, cw, st, g, f, data, codec, w, sink, compared, out):
    """Replay many faults of one head, in the given order (a permutation; results do not depend on it), from place
    `start` of it on.

    faults: a `replay.types.Faults`; codec: the output format's; sink: a `replay.types.RowSink` for changed rows; compared:
    a `replay.types.ComparisonSink` for changed comparisons; out: the `Outcomes` to write. Returns the place in the order
    of the first fault that was not replayed, because a sink might not have had room for it.
    """
    clean = verdict(cw, w)
    room, space = sink.row.shape[0], compared.fault.shape[0]
    for turn in range(start, order.shape[0]):
        if room > 0 and sink.filled[0] + g.lanes > room:
            return turn
        if space > 0 and compared.filled[0] + cw.residual.shape[0] > space:
            return turn
        n = order[turn]
        begin(n, clean, w, out)
        cycle = cw.machine_cycle[faults.cycle[n]]
        slot = faults.slot[n]
        code, own, stage, lane = wh.code[slot], wh.own[slot], wh.stage[slot], wh.lane[slot]
        at, level = wh.at[slot], wh.level[slot]
        k = strike_of(n, faults)
        status, block = MASKED, ZERO
        if code == OTHER or cw.machine_cycle[faults.last_cycle[n]] != cycle:
            status = FALL_BACK  # or it acts in more than one machine cycle
        elif code >= FIRST_OBSERVER:
            status = MASKED  # here: no row, and no comparison of the output check, is any other
        elif code in CHECK_CODES:
            status, raised = replay_check(code, cycle, faults.cycle[n], k, cw, st, g, f, w)
            if status == CHANGED:
                if space > 0:
                    keep_comparisons(n, cw, w, compared)
                judge(n, raised, cw, w, out)
        else:
            if stage >= 0:
                block, j = in_stage(stage, cycle, cw, g)
                if j < 0:
                    status = MASKED
                elif lane < 0:
                    status = replay_broadcast(code, block, j, at, level, k, st, g, f, data, w)
                elif block * g.lanes + lane < g.n_queries:
                    i = block * g.lanes + lane
                    status = replay_stage(code, own, lane, i, j, at, level, k, st, g, f, data, w)
            elif lane >= 0:
                status, block = replay_lane(code, own, lane, cycle, at, k, cw, st, g, f, data, w)
            else:
                status, block = replay_drain(code, own, cycle, at, level, k, cw, st, g, f, data, w)
            if status == CHANGED:
                measure(n, block, st, g, codec, w, out)
                if room > 0:
                    keep_rows(n, block, st, g, w, sink)
                if g.check:
                    compare_block(block, cw, st, g, f.checker, w)
                    if space > 0:
                        keep_comparisons(n, cw, w, compared)
                    out.alarm_cycle[n], out.residual[n], out.limit[n] = verdict(cw, w)
                restore(block, cw, g, w)
        out.status[n] = status
        out.old_value[n], out.new_value[n] = w.value[0], w.value[1]
    return order.shape[0]


@inner
def begin(n, clean, w, out):
    """Outcome n of a fault that does nothing; clean: the fault-free `verdict`."""
    out.differs[n] = False
    out.alarm_cycle[n], out.residual[n], out.limit[n] = clean
    out.square[n] = 0.0
    out.max_abs[n] = 0.0
    out.max_ulp[n] = 0
    out.nonfinite[n] = 0
    out.rows[n] = 0
    w.value[:] = np.nan


@inner
def strike_of(n, faults):
    """The `Strike` of fault n."""
    a, b = faults.arith[n], faults.stored[n]
    return Strike(faults.op[n], faults.mask[n], Codec(a[0], a[1], a[2], a[3]), Codec(b[0], b[1], b[2], b[3]))


@inner
def in_stage(stage, cycle, cw, g):
    """(block, key) in a stage of the streaming pipeline; key −1 if there is none."""
    since = cycle - 1 - stage - g.lanes
    block = since // cw.period
    j = since - block * cw.period
    return block, (j if since >= 0 and block < g.blocks and j < g.n_keys else np.int64(-1))


@inner
def judge(n, raised, cw, w, out):
    """Outcome n from the comparisons in the scratch, or an alarm in cycle `raised` (−1: none); makes them golden
    again."""
    out.alarm_cycle[n], out.residual[n], out.limit[n] = verdict(cw, w)
    if raised >= 0:
        out.alarm_cycle[n] = raised
    move(w.residual, cw.residual)
    move(w.limit, cw.limit)


@kernel
def keep_golden(st, g, f, o):
    """Fill the golden accumulators and output trees of the store; o (d,) is scratch of type T."""
    keep_accumulators(st, g, f.state, f.checker, o)
    if g.check:
        for i in range(g.n_queries):
            row_sum(st.o[i], st.out_tree[i], g, f.checker, f.output)


@kernel
def rows_again(first, last, from_key, n_keys, st, g, f, data, w, rows, terms):
    """Queries first … last − 1 meeting the first `n_keys` keys only, with st.scale for the keys from `from_key` on (the
    number of keys or more: for none).

    rows (count, d) and terms (count, 2) float64 receive their outputs and row sums.
    """
    for i in range(first, last):
        with_query(w.P, w.A, i, from_key, st.q[i], st, g, f, data, w)
        w.o[:] = 0
        accumulate_row(w.o, st.v, w.P, w.A, 0, n_keys, f.state)
        total = sum_chain(0.0, w.P, w.A, 0, n_keys, f.state)
        c = 0.0
        if g.check:
            c = checksum_chain(0.0, st.r, w.P, w.A, 0, n_keys, f.checker)
        widen(w.v, w.o)
        finish_row(rows[i - first], terms[i - first], w.v, total, c, total, w.tree, g, f, data.recip_table)
