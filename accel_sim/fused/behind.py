"""What follows from changed rows, and faults behind the output register: comparisons, alarms, severity."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.judgement import over
from accel_sim.engines.replay.rows import keep_element, keep_row
from accel_sim.engines.replay.types import CHANGED, MASKED
from accel_sim.faults.outcome import add_rows, compare_values
from accel_sim.fused.golden import compared, root_of, sum_block
from accel_sim.fused.invariants import judge_softmax, note
from accel_sim.fused.reach import same, struck
from accel_sim.fused.row_sums import compare_sums, predict, take_query
from accel_sim.fused.step import ALARM_CYCLE, COMPARED, CYCLE, alarmed, check_step, store
from accel_sim.fused.summed import SUMS, compare_sums_again, key_sum_before
from accel_sim.fused.watched import AT_END, with_sum
from accel_sim.machines.fused import WATCH_SUM
from accel_sim.machines.fused_fate import keys_summed
from accel_sim.numerics.jit import inner


class Comparisons(NamedTuple):
    """The head's comparisons, of all units: at_block (B,), index of the one that a block ends, −1 for none; unit,
    cycle, residual, limit (n,); policy (3, 2): by unit, what deviates, and how often raises the alarm (0: never);
    rank (3,): of units whose comparisons come in the same cycle; before (B, 2): pred and act as a block begins; head:
    they run through; threshold; relative; alarm: fault-free alarm cycle, −1 for none."""

    at_block: Any
    unit: Any
    policy: Any
    rank: Any
    cycle: Any
    residual: Any
    limit: Any
    before: Any
    head: bool
    threshold: float
    relative: bool
    alarm: int


@inner
def verdict(w: Any, cmp: Any) -> Any:
    """(alarm cycle or −1, residual and limit of the telling comparison) of the comparisons in the scratch."""
    best = -1
    alarm = np.int64(-1)
    counts = (0, 0, 0)
    for index in range(w.residual.shape[0]):
        residual, unit = w.residual[index], cmp.unit[index]
        if cmp.policy[unit, 1] > 0.0 and over(residual, cmp.policy[unit, 0]):
            counts = (counts[0] + (unit == 0), counts[1] + (unit == 1), counts[2] + (unit == 2))
            if alarm < 0 and counts[unit] >= cmp.policy[unit, 1]:
                alarm = cmp.cycle[index] + 1
        if over(residual, w.limit[index]):
            return alarm if alarm >= 0 else cmp.cycle[index] + 1, residual, w.limit[index]
        if best < 0 or not abs(residual) <= abs(w.residual[best]):
            best = index
    if best < 0:
        return alarm, np.nan, np.nan
    return alarm, w.residual[best], w.limit[best]


@inner
def conclude_comparisons(i: Any, cmp: Any, w: Any, out: Any) -> None:
    """Alarm, residual and limit of outcome i from the comparisons in the scratch; makes them golden again."""
    out.alarm_cycle[i], out.residual[i], out.limit[i] = verdict(w, cmp)
    for index in range(w.residual.shape[0]):
        w.residual[index] = cmp.residual[index]
        w.limit[index] = cmp.limit[index]


@inner
def measure(i: Any, block: Any, x: Any, n: Any, codec: Any, w: Any, out: Any) -> None:
    """How far a block's changed rows are off, as outcome i."""
    live = min(n, x.out.shape[0] - block * n)
    dim = w.only[0]
    for c in range(live):
        if not w.changed[c] or dim >= n:
            continue
        query = block * n + c
        if dim >= 0:
            _, delta, ulp, lost = compare_values(x.out[query, dim], w.rows[c, dim], codec)
            out.square[i] += delta * delta
            out.max_abs[i] = max(out.max_abs[i], abs(delta))
            out.max_ulp[i] = max(out.max_ulp[i], ulp)
            out.nonfinite[i] += lost
            out.rows[i] += 1
            keep_element(i, query, x.out[query], dim, w.rows[c, dim], w.sink)
            continue
        before = out.rows[i]
        add_rows(i, x.out[query:query + 1, :n], w.rows[c:c + 1, :n], codec, out)
        if out.rows[i] > before:
            keep_row(i, query, w.rows[c], w.sink)
    out.differs[i] = out.rows[i] > 0


@inner
def new_roots(block: Any, x: Any, n: Any, f: Any, w: Any) -> None:
    """The tree's roots of a block under its changed rows."""
    live = min(n, x.out.shape[0] - block * n)
    only = w.only[0]
    for dim in range(x.out.shape[1]):
        w.roots[dim] = x.root[block, dim]
        if only >= 0 and dim != only:
            continue
        changed = False
        for c in range(live):
            if w.changed[c] != 0 and not same(w.rows[c, dim], x.out[block * n + c, dim]):
                changed = True
                break
        if not changed:
            continue
        for c in range(live):
            w.row[c] = w.rows[c, dim] if w.changed[c] else x.out[block * n + c, dim]
        for c in range(live, n):
            w.row[c] = 0.0
        w.roots[dim] = root_of(w.row, live, w.tree, f)


@inner
def compare_again(block: Any, x: Any, n: Any, f: Any, cmp: Any, w: Any) -> None:
    """The comparison that a block's changed roots enter."""
    pred, act = sum_block(w.roots, n, cmp.before[block, 0], cmp.before[block, 1], f)
    last = block
    if cmp.head:
        last = x.root.shape[0] - 1
        for later in range(block + 1, last + 1):
            pred, act = sum_block(x.root[later], n, pred, act, f)
    index = cmp.at_block[last]
    w.residual[index], w.limit[index], _, _ = compared(pred, act, cmp.threshold, cmp.relative, f)


@inner
def conclude(i: Any, block: Any, checked: Any, x: Any, n: Any, f: Any, codec: Any, cmp: Any, w: Any, out: Any) -> None:
    """Outcome i of a block's changed rows; makes the scratch golden again."""
    measure(i, block, x, n, codec, w, out)
    if checked:
        new_roots(block, x, n, f, w)
        compare_again(block, x, n, f, cmp, w)
    if x.summed.on:
        compare_sums_again(block, x, n, f, w)
    if checked or x.watched.what != 0 or x.summed.on:
        conclude_comparisons(i, cmp, w, out)
    for c in range(n):
        w.changed[c] = 0
    w.only[0] = -1


@inner
def conclude_element(i: Any, block: Any, column: Any, dim: Any, k: Any, checked: Any, x: Any, n: Any, f: Any,
                     codec: Any, cmp: Any, w: Any, out: Any) -> Any:
    """A strike on an element of the output register: it is stored and added up as it is."""
    query = block * n + column
    if query >= x.out.shape[0]:
        return MASKED
    golden = x.out[query, dim]
    after = struck(golden, k, w)
    if same(golden, after):
        return MASKED
    if dim < n:
        _, delta, ulp, lost = compare_values(golden, after, codec)
        out.square[i], out.max_abs[i], out.max_ulp[i] = delta * delta, abs(delta), ulp
        out.nonfinite[i], out.rows[i], out.differs[i] = lost, 1, True
        keep_element(i, query, x.out[query], dim, after, w.sink)
    if checked:
        live = min(n, x.out.shape[0] - block * n)
        for t in range(x.out.shape[1]):
            w.roots[t] = x.root[block, t]
        for c in range(n):
            w.row[c] = x.out[block * n + c, dim] if c < live else 0.0
        w.row[column] = after
        w.roots[dim] = root_of(w.row, live, w.tree, f)
        compare_again(block, x, n, f, cmp, w)
        conclude_comparisons(i, cmp, w, out)
    return CHANGED


# ---- behind the output register, register by register


class Rear(NamedTuple):
    """The machine behind the array, for faults there. own: slots of the units that only look. state: its flat state
    (only the registers behind the accumulators are used); start (B, …): what `slots` of it hold in cycle `at` of each
    block, before the first of these registers moves there; slots: those registers'; window: cycles from there until
    all is still again. o (Nq, N): the O memory, golden between faults. log: comparisons. keys (N,): room."""

    own: Any
    state: Any
    start: Any
    slots: Any
    at: int
    window: int
    o: Any
    env: Any
    log: Any
    keys: Any


@inner
def output_stage(rear: Any, s: Any, g: Any, cycle: Any, clock: Any, x: Any) -> None:
    """What the accumulators put into the output register in a cycle of the fault-free run."""
    n, state = g.size, rear.state
    block = cycle // clock.block
    row = cycle - block * clock.block - clock.norm_at
    valid = block < clock.blocks and 0 <= row < x.out.shape[1]
    if valid:
        for c in range(n):  # a column without a query has l = 0, and 0 · 1/0 everywhere
            query = block * n + c
            state[s.out + c] = x.out[query, row] if query < g.n_queries else np.nan
        state[s.out_dim] = row
        state[s.out_tile] = block
    state[s.out_valid] = 1.0 if valid else 0.0
    if g.columns > 0:
        closes = g.granularity == 1 or block >= clock.blocks - 1
        state[s.out_last] = 1.0 if valid and row == x.out.shape[1] - 1 and closes else 0.0


@inner
def read_query(rear: Any, g: Any, f: Any, around: Any, cycle: Any, clock: Any, x: Any) -> None:
    """What the invariants' unit reads out in a cycle of the fault-free run, by its `softmax_keys`."""
    state, own = rear.state, rear.own.softmax
    block = cycle // clock.block
    column = cycle - block * clock.block - clock.norm_at
    query = block * g.size + column
    state[own.judge] = 0.0
    if block >= clock.blocks or not 0 <= column < g.size or query >= g.n_queries:
        return
    y = x.watched
    keys = state[own.keys] if y.what & WATCH_SUM else 0.0
    total = x.l[query, x.l.shape[1] - 1]
    residual = with_sum(y.table[query, AT_END], total, x.allowed[query] > 0, keys, y.what, f)
    state[own.residual] = residual
    state[own.judge] = 1.0
    note(residual, state[own.threshold], rear.env, around.comparisons, COMPARED, CYCLE)


@inner
def keys_in_cycle(keys: Any, cycle: Any, clock: Any, x: Any, n: Any, f: Any) -> None:
    """keys (N,) becomes the sums of the keys at the start of a cycle of the fault-free run."""
    _, tile, count, _ = keys_summed(cycle, clock, n)  # beyond the last block as in the first: none yet
    for e in range(n):
        keys[e] = x.summed.keys[tile, e] if count == n else key_sum_before(x, e, tile, count, n, f)


@inner
def read_query_again(rear: Any, g: Any, f: Any, around: Any, cycle: Any, clock: Any, x: Any) -> None:
    """What the unit of the row sums does in a cycle of the fault-free run, from the scratchpad's read on."""
    state, own, n = rear.state, rear.own.rowsum, g.size
    compare_sums(state, own, n, g.levels, g.rowsum_relative, f, rear.env, around.comparisons, COMPARED, CYCLE)
    if state[own.valid] != 0.0:
        keys_in_cycle(rear.keys, cycle, clock, x, n, f)
    predict(state, own, n, g.levels, f, rear.keys)
    block = cycle // clock.block
    column = cycle - block * clock.block - clock.tiles * clock.tile
    query = block * n + column
    if block < clock.blocks and 0 <= column < n and query < g.n_queries:
        take_query(state, own, x.summed.table[query, SUMS + x.summed.keys.shape[0] - 1], around.q, query)


@inner
def rear_cycle(rear: Any, s: Any, g: Any, f: Any, around: Any, cycle: Any, clock: Any, x: Any) -> None:
    """One cycle behind the array."""
    env, state = rear.env, rear.state
    env[CYCLE] = cycle
    if env[ALARM_CYCLE] < 0 and alarmed(state, s, rear.own):
        env[ALARM_CYCLE] = cycle
    if g.columns > 0:
        check_step(state, s, g, f, env, around)
    if g.watch > 0:
        judge_softmax(state, rear.own.softmax)
        read_query(rear, g, f, around, cycle, clock, x)
    if g.rowsum:
        read_query_again(rear, g, f, around, cycle, clock, x)
    if env[ALARM_CYCLE] < 0 and alarmed(state, s, rear.own):
        env[ALARM_CYCLE] = cycle + 1
    store(state, s, g, env, around)
    output_stage(rear, s, g, cycle, clock, x)


@inner
def is_golden(rear: Any, block: Any) -> Any:
    """Whether the registers are what they are as they begin to move in a block."""
    equal = True
    for j in range(rear.slots.shape[0]):
        if not same(rear.state[rear.slots[j]], rear.start[block, j]):
            equal = False
            break
    return equal


@inner
def replay_behind(i: Any, cycle: Any, slot: Any, k: Any, s: Any, g: Any, f: Any, around: Any, clock: Any, x: Any,
                  codec: Any, cmp: Any, rear: Any, w: Any, out: Any) -> Any:
    """A strike on a register behind the array, from the window around or before it to the end. around: as the kernels
    of `step` take it, with rear.o and rear.log as its memories."""
    env, n = rear.env, g.size
    block = (cycle - rear.at) // clock.block
    inside = block >= 0 and cycle < rear.at + block * clock.block + rear.window
    source = block if inside else block + 1
    if not inside and source >= clock.blocks:
        source = clock.blocks - 1  # the head is over but for its tail
        inside = True
    for j in range(rear.slots.shape[0]):
        rear.state[rear.slots[j]] = rear.start[source, j]
    env[COMPARED] = 0
    env[ALARM_CYCLE] = -1
    at = rear.at + source * clock.block if inside else cycle
    if inside:
        for q in range(source * n, min(source * n + n, g.n_queries)):
            for t in range(n):
                rear.o[q, t] = 0.0
    while at < cycle:
        rear_cycle(rear, s, g, f, around, at, clock, x)
        at += 1
    skipped = 0  # comparisons of the fault-free run that were made before what is simulated
    for index in range(cmp.cycle.shape[0]):
        if cmp.cycle[index] <= (rear.at + source * clock.block if inside else cycle):
            skipped += 1
    rear.state[slot] = struck(rear.state[slot], k, w)
    if env[ALARM_CYCLE] == cycle:
        env[ALARM_CYCLE] = -1  # raised in the cycle before, and read after the strike
    if env[ALARM_CYCLE] < 0 and alarmed(rear.state, s, rear.own):
        env[ALARM_CYCLE] = cycle
    touched = source if inside else source - 1
    following = source + 1 if inside else source
    still = cycle + g.levels + 4
    if inside:
        still = max(still, rear.at + source * clock.block + rear.window)
    rejoined = clock.blocks
    while True:
        stop = min(still, clock.cycles)
        if following < clock.blocks:
            begins = rear.at + following * clock.block
            stop = min(stop, begins)
        while at < stop:
            rear_cycle(rear, s, g, f, around, at, clock, x)
            at += 1
        if following >= clock.blocks:
            break
        if is_golden(rear, following):
            rejoined = following
            break
        at = rear.at + following * clock.block
        for q in range(following * n, min(following * n + n, g.n_queries)):
            for t in range(n):
                rear.o[q, t] = 0.0
        touched = following
        still = at + rear.window
        following += 1
    return tell(i, touched, rejoined, skipped, n, clock, x, codec, cmp, rear, g, w, out)


@inner
def tell(i: Any, touched: Any, rejoined: Any, skipped: Any, n: Any, clock: Any, x: Any, codec: Any, cmp: Any, rear: Any,
         g: Any, w: Any, out: Any) -> Any:
    """Outcome i of what has been simulated up to block `touched`, the fault-free rest following from `rejoined` on."""
    status = MASKED
    for q in range(g.n_queries):
        beyond = q >= (touched + 1) * n
        different = False
        for t in range(n):
            if not same(rear.o[q, t], x.out[q, t]):
                different = True
        if different and not beyond:
            add_rows(i, x.out[q:q + 1, :n], rear.o[q:q + 1], codec, out)
            keep_row(i, q, rear.o[q], w.sink)
            status = CHANGED
        if different:
            for t in range(n):
                rear.o[q, t] = x.out[q, t]
    out.differs[i] = out.rows[i] > 0
    if cmp.unit.shape[0] == 0:
        return status
    before = rear.at + rejoined * clock.block
    telling = -1
    best, limit = np.nan, np.nan
    made = min(rear.env[COMPARED], rear.log.shape[0])
    for later in range(1, made):  # of one cycle, in the order of the config's units
        one, other = rear.log[later - 1], rear.log[later]
        if one[0] == other[0] and cmp.rank[int(other[6])] < cmp.rank[int(one[6])]:
            for j in range(one.shape[0]):
                one[j], other[j] = other[j], one[j]
    total = skipped + made
    for index in range(cmp.cycle.shape[0]):
        if rejoined < clock.blocks and cmp.cycle[index] > before:
            total += 1
    for number in range(total):
        if number < skipped:
            r, m = cmp.residual[number], cmp.limit[number]
        elif number < skipped + made:
            r, m = rear.log[number - skipped, 1], rear.log[number - skipped, 2]
        else:
            index = cmp.cycle.shape[0] - (total - number)
            r, m = cmp.residual[index], cmp.limit[index]
        if telling < 0 and (over(r, m) or not abs(r) <= abs(best)):
            best, limit = r, m
            if over(r, m):
                telling = number
    out.residual[i], out.limit[i] = best, limit
    alarm = rear.env[ALARM_CYCLE]
    if alarm < 0 and rejoined < clock.blocks and cmp.alarm >= before:
        alarm = cmp.alarm
    if cmp.alarm >= 0 and cmp.alarm < (alarm if alarm >= 0 else cmp.alarm + 1) and skipped_alarm(cmp, skipped):
        alarm = cmp.alarm
    out.alarm_cycle[i] = alarm
    if alarm != cmp.alarm or status == CHANGED:
        status = CHANGED
    return status


@inner
def skipped_alarm(cmp: Any, skipped: Any) -> Any:
    """Whether the fault-free alarm was raised by a comparison before what is simulated."""
    raised = False
    for index in range(skipped):
        raised = raised or cmp.cycle[index] + 1 == cmp.alarm
    return raised
