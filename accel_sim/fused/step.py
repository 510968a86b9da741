"""One cycle of the `fused` machine: what every register does. The definition of the hardware, as code.

In every cycle all registers take their next values from what all of them held at its start. So the order below is from
where values end to where they come from: comparison, accumulators, bottom edge, compare units, PEs row by row, left
edge, sequencer. Names of the registers are those of the inventory; docs/machines/fused.md says the same in words.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.engines.judgement import judge
from accel_sim.fused.adder_tree import first_sums, later_sums, tree_size
from accel_sim.fused.arithmetic import (
    multiply_add,
    multiply_add_native,
    multiply_sum,
    piece_of,
    power_by_table,
    power_of_two,
    tag_of,
    untagged,
)
from accel_sim.fused.invariants import OwnSlots, cleared, judge_softmax, observe, read_out
from accel_sim.fused.row_sums import SumSlots, emptied, plus, watch_rows
from accel_sim.machines.fused import (
    ACC_UI,
    DIRECT,
    EXP2,
    FEED_CHECK,
    FEED_K,
    FEED_ONE,
    FEED_Q,
    FEED_SCALE,
    FEED_SLOPE,
    FEED_V,
    FLOW_DU,
    FLOW_LR,
    FLOW_UD,
    LOAD_BOUND,
    LOAD_LI,
    LOAD_UI,
    MAC,
    NO_COMMAND,
    PUT_DELTA,
    PUT_MAX,
    PUT_PIECE,
    PUT_ZERO,
    RESET,
    ROW_MAX,
    UPDATE,
    UPWARD,
    WATCH_MAX,
    WATCH_SCORE,
)
from accel_sim.machines.fused_sequence import (
    argument,
    command,
    down_word,
    fetched,
    mode_of,
    side_word,
    up_word,
)
from accel_sim.machines.fused_timing import DONE, LOAD, NORM, SCALE, SCORE, TAIL, VALUE, WAIT
from accel_sim.numerics.arithmetic import add, div, maximum, mul, sub
from accel_sim.numerics.jit import inlined, inner
from accel_sim.numerics.rounding import quiet, round_to

CYCLE, ALARM_CYCLE, COMPARED, LAST_WRITE, ENV_SIZE = range(5)
"""Places in `env`: next cycle, first cycle in which the alarm reads 1 (−1: none), comparisons made, cycle in which the
last output was stored (−1: none)."""

COMPARISON_COLUMNS = 7
"""Columns of the table of comparisons: cycle, residual, limit, predicted, actual, scanned, unit (place in `UNITS`)."""

UNITS = ("fused_output", "softmax_invariants", "score_rowsum")
"""Check units that make comparisons."""

HEAD, QUERY_BLOCK = range(2)
"""When comparisons are made."""


class Slots(NamedTuple):
    """First slot of every register array; −1 for what the machine does not have. `frequent` and `deviations` follow
    `small_threshold`; the units that only look have `Watchers` (every call pays for each of them)."""

    phase: int
    timer: int
    key_tile: int
    query_tile: int
    last_key_tile: int
    last_query_tile: int
    acc_step: int
    acc_first: int
    feed_sel: int
    feed_arg: int
    skew_mode: int
    ctrl_down: int
    ctrl_up: int
    ctrl: int
    cmp_cmd: int
    cmp_arg: int
    bound: int
    out_valid: int
    out_dim: int
    out_tile: int
    feed: int
    in_skew: int
    s: int
    right: int
    up: int
    down: int
    done: int
    new_max: int
    old_max: int
    cmp_out: int
    out_skew: int
    scale: int
    l: int  # noqa: E741
    o: int
    out: int
    r: int
    c: int
    out_last: int
    out_tree: int
    sum_valid: int
    sum_check: int
    sum_last: int
    pred: int
    act: int
    compare: int
    residual: int
    limit: int
    judge: int
    threshold: int
    enable: int
    alarm: int
    first: int
    small_threshold: int


class Watchers(NamedTuple):
    """The slots of the units that only look."""

    softmax: OwnSlots
    rowsum: SumSlots


class Shape(NamedTuple):
    """Sizes, as scalars: of the array, of the head, of the phases (see `Durations`), and masks of the counters.

    bound_bits: of a bound; the first key is above it in what goes beside LOAD_BOUND. deviation_mask: of the fused
    output unit's deviations, 0 without a statistical threshold. watch: see `FusedMachine.watch`. rowsum: whether there
    are row sums of the scores; rowsum_relative: whether their limit is.
    """

    size: int
    pieces: int
    columns: int
    levels: int
    granularity: int
    relative: bool
    n_queries: int
    n_keys: int
    load: int
    score: int
    value: int
    wait: int
    scale: int
    norm: int
    tail: int
    reciprocal: int
    acc_scale: int
    acc_sum: int
    acc_last: int
    timer_mask: int
    acc_mask: int
    key_tile_mask: int
    query_tile_mask: int
    bound_mask: int
    bound_bits: int
    deviation_mask: int
    watch: int
    rowsum: bool
    rowsum_relative: bool


class Around(NamedTuple):
    """What surrounds the registers: memories, tables, room to work in.

    q (Nq, N), k and v (N_keys, N), o (Nq, N) float64; allowed (Nq,) int64, what is beside LOAD_BOUND for each query;
    score_bound: of the invariants. comparisons (…, 7). left, above, spare, zeros (N,) float64; words (N,) int32.
    """

    q: Any
    k: Any
    v: Any
    o: Any
    allowed: Any
    in_array: Any
    in_accumulator: Any
    operand_scale: float
    sum_scale: float
    score_bound: float
    comparisons: Any
    left: Any
    above: Any
    spare: Any
    zeros: Any
    words: Any


# ---- the sequencer


@inner
def sequence(state: Any, s: Any, g: Any) -> None:
    """The sequencer's own registers."""
    phase, timer = int(state[s.phase]), int(state[s.timer])
    acc = int(state[s.acc_step])
    if phase == SCORE and timer == 0:
        state[s.acc_first] = 1.0 if state[s.key_tile] == 0.0 else 0.0
        state[s.acc_step] = 1.0
    else:
        state[s.acc_step] = (acc + 1) & g.acc_mask if 0 < acc < g.acc_last else 0
    last = 0
    if phase == LOAD:
        last = g.load
    elif phase == SCORE:
        last = g.score
    elif phase == VALUE:
        last = g.value
    elif phase == WAIT:
        last = g.wait
    elif phase == SCALE:
        last = g.scale
    elif phase == NORM:
        last = g.norm
    elif phase == TAIL:
        last = g.tail
    if timer < last - 1:
        state[s.timer] = (timer + 1) & g.timer_mask
        return
    state[s.timer] = 0.0
    following = phase + 1
    if phase == VALUE and state[s.key_tile] < state[s.last_key_tile]:
        state[s.key_tile] = (int(state[s.key_tile]) + 1) & g.key_tile_mask
        following = LOAD
    elif phase == NORM:
        if state[s.query_tile] < state[s.last_query_tile]:
            state[s.query_tile] = (int(state[s.query_tile]) + 1) & g.query_tile_mask
            state[s.key_tile] = 0.0
            following = LOAD
        elif g.columns == 0:
            following = DONE
    state[s.phase] = following


# ---- the left edge


@inner
def move_lines(lines: Any, fresh: Any) -> None:
    """Move the delay lines of an edge on: line i = 1 … has i stages and follows line i − 1; fresh[i] enters it."""
    further = lines[1:]
    for i in range(further.shape[0] - 1, -1, -1):  # of two views, the compiler makes this one move of memory
        further[i] = lines[i]
    for i in range(1, fresh.shape[0]):
        lines[i * (i - 1) // 2] = fresh[i]


@inner
def entering(state: Any, s: Any, e: Any, sel: Any, arg: Any, g: Any, f: Any, around: Any) -> Any:
    """What enters the left edge's delay lines as element e."""
    if sel == FEED_ONE:
        return 1.0
    if sel == FEED_SCALE:
        return around.operand_scale
    if sel == FEED_SLOPE:
        return around.in_array[0, arg & (g.pieces - 1)]
    if sel == FEED_CHECK:
        return round_to(quiet(state[s.r + e], f.checker), f.operand) if g.columns > 0 else 0.0
    return state[s.feed + e]


@inner
def left_edge(state: Any, s: Any, g: Any, f: Any, around: Any, left: Any) -> None:
    """left[r] becomes what row r sees at its left; the delay lines move."""
    n = g.size
    sel, arg = int(state[s.feed_sel]), int(state[s.feed_arg])
    mode = mode_of(sel, int(state[s.skew_mode]))
    fresh, lines = around.spare, state[s.in_skew:s.in_skew + n * (n - 1) // 2]
    for i in range(n):
        e = n - 1 - i
        fresh[i] = entering(state, s, e, sel, arg, g, f, around)
        delayed = lines[i * (i + 1) // 2 - 1] if i > 0 else fresh[i]
        if mode == DIRECT:
            left[e] = fresh[i]
        elif mode == UPWARD:
            left[e] = delayed
        else:
            left[i] = delayed
    move_lines(lines, fresh)
    state[s.skew_mode] = mode


@inner
def sum_values(state: Any, s: Any, g: Any, f: Any) -> None:
    """The check unit's row sums: of the dimension of v in `feed`, or what is left after a checksum has gone."""
    sel = int(state[s.feed_sel])
    if sel == FEED_V:
        first = int(state[s.feed_arg]) == 1
        for e in range(g.size):
            x = quiet(state[s.feed + e], f.operand)
            state[s.r + e] = round_to(x, f.checker) if first else add(quiet(state[s.r + e], f.checker), x, f.checker)
    elif sel == FEED_CHECK:
        for e in range(g.size):
            rest = quiet(state[s.r + e], f.checker)
            state[s.r + e] = sub(rest, round_to(rest, f.operand), f.checker)


@inner
def fetch(state: Any, s: Any, g: Any, around: Any) -> None:
    """The scratchpad's read: a query, a key, or a dimension of the values, zeros where there is none."""
    phase, timer = int(state[s.phase]), int(state[s.timer])
    n = g.size
    sel = fetched(phase, timer, g)
    if sel == FEED_Q:
        row = int(state[s.query_tile]) * n + n - 1 - timer
        here = row < g.n_queries
        for e in range(n):
            state[s.feed + e] = around.q[row, e] if here else 0.0
    elif sel == FEED_K:
        row = int(state[s.key_tile]) * n + timer
        here = row < g.n_keys
        for e in range(n):
            state[s.feed + e] = around.k[row, e] if here else 0.0
    elif sel == FEED_V:
        row = int(state[s.key_tile]) * n
        for e in range(n):
            state[s.feed + e] = around.v[row + e, timer] if row + e < g.n_keys else 0.0
    state[s.feed_sel] = sel
    arg = 0
    if sel == FEED_SLOPE:
        arg = timer - 2 * n - 3
    elif sel == FEED_V:
        arg = 1 if timer == 0 else 0
    state[s.feed_arg] = arg


# ---- compare units


@inner
def is_masked(key: Any, bound: Any, first: Any) -> Any:
    """Whether a column's query may not attend to a key."""
    return key >= bound or key < first


@inner
def compare_unit(cmd: Any, arg: Any, score: Any, new: Any, old: Any, bound: Any, first: Any, out: Any, bits: Any,
                 lines: Any, f: Any) -> Any:
    """(new_max, old_max, bound, first, cmp_out, what goes on to the right beside the command) of one compare unit.
    bits: of a bound; lines (2, P): of 2^x in the array."""
    onward = arg
    below = (np.int64(1) << bits) - 1
    if cmd == ROW_MAX:
        if is_masked(arg & below, bound, first):
            out = -np.inf
        else:
            x = quiet(score, f.sum)
            new = maximum(quiet(new, f.sum), x)
            out = round_to(x, f.operand)
    elif cmd == PUT_MAX:
        out = 0.0 if new == -np.inf else sub(0.0, quiet(new, f.sum), f.sum)
    elif cmd == PUT_DELTA:
        out = -np.inf if old == -np.inf else sub(quiet(old, f.sum), quiet(new, f.sum), f.sum)
        old = new
    elif cmd == PUT_ZERO:
        out = 0.0
    elif cmd == PUT_PIECE:
        out = lines[1, arg & (lines.shape[1] - 1)]
    elif cmd == RESET:
        new = -np.inf
        old = -np.inf
    elif cmd == LOAD_BOUND:
        onward = bound | (first << bits)
        bound = arg & below
        first = arg >> bits
    return new, old, bound, first, out, onward


@inner
def compare_units(state: Any, s: Any, y: Any, g: Any, f: Any, around: Any, port_cmd: Any, port_arg: Any) -> None:
    """All compare units, from the right, so that each still sees what its left neighbour held."""
    for c in range(g.size - 1, -1, -1):
        cmd, arg = port_cmd, port_arg
        if c > 0:
            cmd, arg = int(state[s.cmp_cmd + c - 1]), int(state[s.cmp_arg + c - 1])
        onward = arg
        if cmd != NO_COMMAND:
            held = int(state[s.bound + c])
            lowest = int(state[s.first + c]) if s.first >= 0 else 0
            m = state[s.new_max + c]
            new, old, bound, first, out, onward = compare_unit(
                cmd, arg, state[s.up + c], m, state[s.old_max + c], held, lowest, state[s.cmp_out + c],
                np.int64(g.bound_bits), around.in_array, f)
            state[s.new_max + c] = new
            state[s.old_max + c] = old
            state[s.bound + c] = bound
            if s.first >= 0:
                state[s.first + c] = first
            state[s.cmp_out + c] = out
            if cmd == ROW_MAX and g.rowsum:
                at = y.rowsum.sum + c
                state[at] = plus(state[at], state[s.up + c], f.sum, f.checker)
            if cmd == ROW_MAX and g.watch & (WATCH_MAX | WATCH_SCORE):
                mine = y.softmax
                own = state[mine.m + c] if g.watch & WATCH_MAX else 0.0
                limit = state[mine.bound] if g.watch & WATCH_SCORE else 0.0
                own, excess = observe(is_masked(arg & g.bound_mask, held, lowest), state[s.up + c], m, new, own,
                                      state[mine.excess + c], limit, g.watch, f)
                state[mine.excess + c] = excess
                if g.watch & WATCH_MAX:
                    state[mine.m + c] = own
        if c < g.size - 1:
            state[s.cmp_cmd + c] = cmd
            state[s.cmp_arg + c] = onward


# ---- the PEs


@inner
def send_up(up: Any, words: Any, s: Any, left: Any, below: Any) -> None:
    """What PEs put into `up`; their sums as those of `multiply_add_native`."""
    for c in range(up.shape[0]):  # everything is loaded under every word, or the loop would not vectorise
        word, held, addend = words[c], up[c], below[c]
        total = multiply_add_native(s[c], left[c], addend)
        flows = addend if word & FLOW_DU else held
        up[c] = total if word & (MAC | ACC_UI) == MAC else flows


@inner
def send_down(down: Any, words: Any, s: Any, left: Any, above: Any) -> None:
    """What PEs put into `down`; their sums as those of `multiply_add_native`."""
    for c in range(down.shape[0]):
        word, held, addend = words[c], down[c], above[c]
        total = multiply_add_native(s[c], left[c], addend)
        flows = addend if word & FLOW_UD else held
        down[c] = total if word & (MAC | ACC_UI) == MAC | ACC_UI else flows


@inner
def send_right(right: Any, words: Any, s: Any, left: Any) -> None:
    """What PEs put into `right`, of which the last one of a row may have none."""
    for c in range(right.shape[0]):
        word, held, stays, arrives = words[c], right[c], s[c], left[c]
        flows = arrives if word & FLOW_LR else held
        right[c] = stays if word & LOAD_LI else flows


@inner
def send_result(words: Any, powers: Any, s: Any, down: Any, up: Any, left: Any, above: Any, below: Any,
                f: Any) -> None:
    """What PEs with MAC put into `up` or `down` where `multiply_add_native` does not give it; powers: under EXP2 only.
    """
    for c in range(s.shape[0]):
        word = words[c]
        if word & MAC == 0 or (powers and word & EXP2 == 0):
            continue
        addend = above[c] if word & ACC_UI else below[c]
        if word & EXP2:
            intercept = quiet(untagged(addend, f.sum_codec), f.sum)
            total = power_of_two(quiet(s[c], f.operand), quiet(left[c], f.operand), intercept, f.sum)
        else:
            total = multiply_add(s[c], left[c], addend, f.sum, f.operand, f.sum)
        if word & ACC_UI:
            down[c] = total
        else:
            up[c] = total


@inner
def replace(words: Any, s: Any, done: Any, left: Any, above: Any, below: Any, pieces: Any, f: Any) -> None:
    """What becomes of `s`, and of `done` under EXP2, where s is calculated or comes from above."""
    for c in range(s.shape[0]):
        word = words[c]
        if word & (LOAD_UI | UPDATE | EXP2) == 0:
            continue
        addend = above[c] if word & ACC_UI else below[c]
        x = quiet(s[c], f.operand)
        matches = False
        if word & EXP2 and done[c] == 0.0 and tag_of(addend, f.sum_codec, pieces) == piece_of(x, pieces):
            matches = True
            done[c] = 1.0
        if word & LOAD_UI:
            s[c] = round_to(quiet(above[c], f.sum), f.operand)
        elif matches or (word & EXP2 and word & UPDATE):
            intercept = quiet(untagged(addend, f.sum_codec), f.sum)
            s[c] = power_of_two(x, quiet(left[c], f.operand), intercept, f.operand)
        elif word & UPDATE:
            s[c] = multiply_add(s[c], left[c], addend, f.operand, f.operand, f.sum)


@inlined
def row_of_pes(words: Any, seen: Any, s: Any, done: Any, right: Any, down: Any, up: Any, left: Any, above: Any,
               below: Any, g: Any, f: Any) -> None:
    """Neighbouring PEs of a row, PE c under words[c]. seen: all bits that are set in any of the words.

    A row that a wavefront crosses has several words side by side, and most rows have. So all its PEs go by one loop for
    each register, which selects by word; what is rare and takes long is calculated PE by PE. `s` comes
    last: the others take what it held.
    """
    if seen & (MAC | FLOW_DU):
        send_up(up, words, s, left, below)
    if seen & (ACC_UI | FLOW_UD):
        send_down(down, words, s, left, above)
    if seen & (LOAD_LI | FLOW_LR):
        send_right(right, words, s, left)
    if seen & MAC and (seen & EXP2 or not f.native):
        send_result(words, f.native, s, down, up, left, above, below, f)
    for c in range(done.shape[0]):
        done[c] = done[c] if words[c] == 0 or words[c] & EXP2 else 0.0
    if seen & (LOAD_UI | UPDATE | EXP2):
        replace(words, s, done, left, above, below, g.pieces, f)
    if seen & LOAD_LI:
        for c in range(s.shape[0]):
            stays, loaded = s[c], left[c]
            s[c] = loaded if words[c] & LOAD_LI else stays


@inner
def take_words(words: Any, moving: Any, word: Any) -> Any:
    """words[c] becomes the control word of PE c of a row, of the first one `word`; in `moving` they go on to the right.
    Returns all bits that are set in any of them."""
    words[0] = word
    further = words[1:]
    for c in range(moving.shape[0]):
        further[c] = np.int32(moving[c])
    seen = words[moving.shape[0]]
    for c in range(moving.shape[0]):
        moving[c] = words[c]
        seen |= words[c]
    return seen


@inner
def array(state: Any, s: Any, g: Any, f: Any, around: Any, ports: Any, down_in: Any, up_in: Any, side: Any) -> None:
    """All PEs, from the top row; what the row below needs of the row above is kept aside. ports[r]: row r's operand."""
    n = g.size
    left, words, above = around.left, around.words, around.above
    for r in range(n):
        word = side | (down_in if r == 0 else int(state[s.ctrl_down + r - 1]))
        word |= up_in if r == n - 1 else int(state[s.ctrl_up + r])
        row, links = r * n, r * (n - 1)
        seen = take_words(words, state[s.ctrl + links:s.ctrl + links + n - 1], word)
        down = state[s.down + row:s.down + row + n]
        kept = down
        if seen & (ACC_UI | FLOW_UD):
            kept = around.spare if r % 2 == 0 else around.above
            for c in range(n):
                kept[c] = down[c]
        if seen != 0:
            before = state[s.right + links - 1:s.right + links - 1 + n]  # one place early: N at a time are faster
            for c in range(n):
                left[c] = before[c]
            left[0] = ports[r]
            below = state[s.up + row + n:s.up + row + 2 * n] if r < n - 1 else around.zeros
            row_of_pes(words, seen, state[s.s + row:s.s + row + n], state[s.done + row:s.done + row + n],
                       state[s.right + links:s.right + links + n - 1], down, state[s.up + row:s.up + row + n], left,
                       above, below, g, f)
        above = kept
    for i in range(n - 2, 0, -1):
        state[s.ctrl_down + i] = state[s.ctrl_down + i - 1]
    state[s.ctrl_down] = down_in
    for i in range(n - 2):
        state[s.ctrl_up + i] = state[s.ctrl_up + i + 1]
    state[s.ctrl_up + n - 2] = up_in


# ---- below the array


@inner
def bottom_edge(state: Any, s: Any, g: Any, fresh: Any, out: Any) -> None:
    """out[c] becomes what column c delivers to its accumulator; the delay lines move. fresh: room."""
    n = g.size
    lines = state[s.out_skew:s.out_skew + n * (n - 1) // 2]
    for i in range(n):
        c = n - 1 - i
        fresh[i] = state[s.down + (n - 1) * n + c]
        out[c] = lines[i * (i + 1) // 2 - 1] if i > 0 else fresh[i]
    move_lines(lines, fresh)


@inner
def accumulate(state: Any, s: Any, g: Any, f: Any, around: Any, arrived: Any) -> None:
    """The accumulators of all columns; arrived[c] is what the bottom edge delivers."""
    n, phase, timer = g.size, int(state[s.phase]), int(state[s.timer])
    step = int(state[s.acc_step])
    first = state[s.acc_first] != 0.0
    valid = phase == NORM and timer < n + g.columns
    if valid:
        at = s.o + timer * n if timer < n else s.c + (timer - n) * n
        for c in range(n):
            state[s.out + c] = multiply_sum(state[s.scale + c], state[at + c], 0.0, f.sum)
        state[s.out_dim] = timer
        state[s.out_tile] = state[s.query_tile]
    state[s.out_valid] = 1.0 if valid else 0.0
    if g.columns > 0:
        closes = g.granularity == QUERY_BLOCK or state[s.query_tile] >= state[s.last_query_tile]
        state[s.out_last] = 1.0 if valid and timer == n + g.columns - 1 and closes else 0.0
    if g.acc_sum <= step <= g.acc_last:
        row = step - g.acc_sum - 1
        at = s.l
        if row >= n:
            at = s.c + (row - n) * n
        elif row >= 0:
            at = s.o + row * n
        for c in range(n):
            held = 0.0 if first else state[at + c]
            state[at + c] = multiply_sum(state[s.scale + c], held, arrived[c], f.sum)
    if step == g.acc_scale:
        for c in range(n):
            state[s.scale + c] = multiply_sum(arrived[c], around.sum_scale, 0.0, f.sum)
    elif step == g.acc_scale + 1:
        for c in range(n):
            state[s.scale + c] = power_by_table(quiet(state[s.scale + c], f.sum), around.in_accumulator, f.sum)
    elif phase == SCALE and timer == 1:
        for c in range(n):
            state[s.scale + c] = state[s.l + c]
    elif phase == SCALE and timer == g.reciprocal + 1:
        for c in range(n):
            state[s.scale + c] = div(1.0, quiet(state[s.scale + c], f.sum), f.sum)


@inner
def store(state: Any, s: Any, g: Any, env: Any, around: Any) -> None:
    """The output register's row goes to the O memory, for queries that exist."""
    dim = int(state[s.out_dim])
    if state[s.out_valid] == 0.0 or dim >= g.size:
        return
    base = int(state[s.out_tile]) * g.size
    for c in range(min(g.size, g.n_queries - base)):
        around.o[base + c, dim] = state[s.out + c]
        env[LAST_WRITE] = env[CYCLE]


# ---- the check unit


@inner
def check_step(state: Any, s: Any, g: Any, f: Any, env: Any, around: Any) -> None:
    """The check unit, from its alarm back to the output register."""
    r = f.checker
    judge(state, s.judge, s.enable, s.residual, s.limit, s.alarm, s.small_threshold, s.small_threshold + 1,
          s.small_threshold + 2, g.deviation_mask)
    state[s.judge] = state[s.compare]
    pred, act = state[s.pred], state[s.act]
    if state[s.compare] != 0.0:
        p, a = quiet(pred, r), quiet(act, r)
        state[s.residual] = sub(p, a, r)
        threshold = state[s.threshold]
        state[s.limit] = mul(quiet(threshold, r), maximum(abs(p), abs(a)), r) if g.relative else threshold
        if env[COMPARED] < around.comparisons.shape[0]:
            row = around.comparisons[env[COMPARED]]
            row[0], row[1], row[2] = env[CYCLE] + 1, state[s.residual], state[s.limit]
            row[3], row[4], row[5], row[6] = p, a, 0.0, 0.0
        env[COMPARED] += 1
        pred, act = 0.0, 0.0
    top = g.levels - 1
    at = s.out_tree
    for level in range(top):
        at += tree_size(g.size, level)
    if state[s.sum_valid + top] != 0.0:
        x = quiet(state[at], r)
        if state[s.sum_check + top] != 0.0:
            pred = add(quiet(pred, r), x, r)
        else:
            act = add(quiet(act, r), x, r)
    state[s.pred], state[s.act] = pred, act
    state[s.compare] = state[s.sum_last + top]
    for level in range(top, 0, -1):
        n = tree_size(g.size, level - 1)
        if state[s.sum_valid + level - 1] != 0.0:
            later_sums(state[at:at + (n + 1) // 2], state[at - n:at], n, r)
        at -= n
        state[s.sum_valid + level] = state[s.sum_valid + level - 1]
        state[s.sum_check + level] = state[s.sum_check + level - 1]
        state[s.sum_last + level] = state[s.sum_last + level - 1]
    if state[s.out_valid] != 0.0:
        live = g.n_queries - int(state[s.out_tile]) * g.size
        first_sums(state[at:at + (g.size + 1) // 2], state[s.out:s.out + g.size], live, r, f.sum)
    state[s.sum_valid] = state[s.out_valid]
    state[s.sum_check] = 1.0 if state[s.out_dim] >= g.size else 0.0
    state[s.sum_last] = state[s.out_last]


# ---- all of it


@inner
def reads_1(state: Any, alarm: Any) -> Any:
    """Whether an alarm, by slot (−1: there is none), reads 1."""
    return alarm >= 0 and state[alarm] != 0.0


@inner
def alarmed(state: Any, s: Any, y: Any) -> Any:
    """Whether one of the alarms reads 1."""
    return reads_1(state, s.alarm) or reads_1(state, y.softmax.alarm) or reads_1(state, y.rowsum.alarm)


@inner
def step(state: Any, s: Any, y: Any, g: Any, f: Any, env: Any, around: Any, ports: Any) -> None:
    """One cycle. ports (N,): room for what the left edge delivers."""
    phase, timer = int(state[s.phase]), int(state[s.timer])
    if g.columns > 0:
        check_step(state, s, g, f, env, around)
    column = -1
    if g.watch > 0:
        judge_softmax(state, y.softmax)
        column = read_out(state, s, y.softmax, g, f, env, around.comparisons, COMPARED, CYCLE)
    if g.rowsum:
        watch_rows(state, s, y.rowsum, g, f, env, around, COMPARED, CYCLE)
    store(state, s, g, env, around)
    bottom_edge(state, s, g, around.left, around.spare)
    accumulate(state, s, g, f, around, around.spare)
    for c in range(g.size):
        around.above[c] = state[s.cmp_out + c]
    arg = argument(phase, timer, int(state[s.key_tile]), int(state[s.query_tile]), g, around.allowed)
    compare_units(state, s, y, g, f, around, command(phase, timer, g), arg)
    if column >= 0:
        cleared(state, y.softmax, g.watch, column)
    if g.rowsum:
        emptied(state, s, y.rowsum, g.size)
    left_edge(state, s, g, f, around, ports)
    array(state, s, g, f, around, ports, down_word(phase, timer, g), up_word(phase, timer, g),
          side_word(phase, timer, g))
    if g.columns > 0:
        sum_values(state, s, g, f)
    fetch(state, s, g, around)
    sequence(state, s, g)
