"""A key tile of the array in wave time, a column's own clock: what column c does in cycle t is its wave t − c.

Everything that enters a column from the left comes a cycle later than it came to its left neighbour, so in wave time
all columns run under the same control words at once. A `Wave` state is the PEs and compare units of all columns at the
start of the same wave; it is not a state that the machine is ever in, but each of its columns is. A tile's work is in
the waves 1 … L after its LoadStationary begins; between tiles nothing moves but a reset of the maxima.

Columns first … last − 1 can be run alone: from the left they see only `right` and the command of column first − 1.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.fused.invariants import observe
from accel_sim.fused.row_sums import plus
from accel_sim.fused.step import compare_unit, is_masked, row_of_pes
from accel_sim.machines.fused import FLOW_LR, LOAD_BOUND, LOAD_LI, NO_COMMAND, ROW_MAX, WATCH_MAX, WATCH_SCORE
from accel_sim.machines.fused_fate import ARGUMENT, COMMAND, EDGE, START, WORD, WORD_DOWN, WORD_UP
from accel_sim.machines.fused_sequence import argument, place_in_tile
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import flip_bits, force_bits


class Program(NamedTuple):
    """Control of a tile by wave (0 … L): side, down, up: words that enter the edges; command. waves: L. capture: first
    wave at whose start a value for the accumulators stands in the bottom row: Δm, then the row sum, then the
    outputs."""

    side: Any
    down: Any
    up: Any
    command: Any
    waves: int
    at_delta: int
    at_total: int
    at_value: int


class Strike(NamedTuple):
    """One strike on a tile, at the start of a wave (START) or between two columns in it.

    kind: see the module. wave, row, place (in the wave state) as the kind needs them. op 0 inverts, 1 clears, 2 sets
    the bits of mask; arith, stored: formats of the register.
    """

    kind: Any
    wave: Any
    row: Any
    place: Any
    op: Any
    mask: Any
    arith: Any
    stored: Any


class Arrived(NamedTuple):
    """What reaches the accumulators of all columns in a tile: delta, total (N,), value (N + C, N)."""

    delta: Any
    total: Any
    value: Any


class Room(NamedTuple):
    """Scratch of a wave: left, above, spare (N,), zeros (N,), edge (N,): `right` of the column at the left; value (2,):
    what a strike has found and left; words (N,) int32."""

    left: Any
    above: Any
    spare: Any
    zeros: Any
    edge: Any
    value: Any
    words: Any


@inner
def word_at(program: Any, wave: Any, row: Any, n: Any) -> Any:
    """The control word of a row in a wave."""
    word = program.side[wave]
    if wave >= row:
        word |= program.down[wave - row]
    if wave >= n - 1 - row:
        word |= program.up[wave - (n - 1 - row)]
    return word


@inner
def struck_word(word: Any, k: Any) -> Any:
    """A control word, command or argument after a strike."""
    mask = np.int64(k.mask)
    if k.op == 0:
        return word ^ mask
    return word & ~mask if k.op == 1 else word | mask


@inner
def struck_value(x: Any, k: Any) -> Any:
    """A value after a strike."""
    if k.op == 0:
        return flip_bits(x, k.arith, k.stored, k.mask)
    return force_bits(x, k.arith, k.stored, k.mask, k.mask if k.op == 2 else np.uint64(0))


@inner
def word_under(program: Any, wave: Any, row: Any, n: Any, k: Any) -> Any:
    """The control word of a row in a wave, under a strike."""
    if k.kind == WORD and wave == k.wave and row == k.row:
        return struck_word(word_at(program, wave, row, n), k)
    if k.kind == WORD_DOWN and wave - k.wave == row - k.row and wave >= k.wave:
        word = program.side[wave] | struck_word(program.down[wave - row] if wave >= row else np.int64(0), k)
        return word | (program.up[wave - (n - 1 - row)] if wave >= n - 1 - row else np.int64(0))
    if k.kind == WORD_UP and wave - k.wave == k.row - row and wave >= k.wave:
        word = program.side[wave] | (program.down[wave - row] if wave >= row else np.int64(0))
        return word | struck_word(program.up[wave - (n - 1 - row)] if wave >= n - 1 - row else np.int64(0), k)
    return word_at(program, wave, row, n)


@inner
def note_word(program: Any, wave: Any, row: Any, n: Any, k: Any, room: Any) -> None:
    """Keep what the struck register of a control word holds before and after."""
    word = word_at(program, wave, row, n)
    if k.kind == WORD_DOWN:
        word = program.down[wave - row] if wave >= row else np.int64(0)
    elif k.kind == WORD_UP:
        word = program.up[wave - (n - 1 - row)] if wave >= n - 1 - row else np.int64(0)
    room.value[0] = word
    room.value[1] = struck_word(word, k)


@inner
def capture(w: Any, at: Any, program: Any, wave: Any, first: Any, last: Any, n: Any, arrived: Any) -> None:
    """Note what stands in the bottom row at the start of a wave, if an accumulator will take it."""
    bottom = at.down + (n - 1) * n
    row = wave - program.at_value
    if wave == program.at_delta:
        for c in range(first, last):
            arrived.delta[c] = w[bottom + c]
    elif wave == program.at_total:
        for c in range(first, last):
            arrived.total[c] = w[bottom + c]
    elif 0 <= row < arrived.value.shape[0]:
        for c in range(first, last):
            arrived.value[row, c] = w[bottom + c]


@inner
def commands_of_wave(w: Any, at: Any, cmd: Any, arg: Any, summing: Any, first: Any, last: Any, n: Any, g: Any, f: Any,
                     around: Any) -> None:
    """The compare units of a wave, from the right; arg reaches the first of them. summing: sums of scores are added to,
    if there are any."""
    if cmd == NO_COMMAND:
        return
    if cmd == ROW_MAX and summing:
        for c in range(first, last):
            w[at.row_sum + c] = plus(w[at.row_sum + c], w[at.up + c], f.sum, f.checker)
    watched = cmd == ROW_MAX and g.watch & (WATCH_MAX | WATCH_SCORE) != 0
    for c in range(last - 1, first - 1, -1):
        own = arg
        if cmd == LOAD_BOUND and c > first:
            own = np.int64(w[at.bound + c - 1]) | (np.int64(w[at.first + c - 1]) << g.bound_bits)
        m, held, lowest = w[at.new_max + c], np.int64(w[at.bound + c]), np.int64(w[at.first + c])
        new, old, bound, lower, out, _ = compare_unit(
            cmd, own, w[at.up + c], m, w[at.old_max + c], held, lowest, w[at.cmp_out + c], np.int64(g.bound_bits),
            around.in_array, f)
        w[at.new_max + c] = new
        w[at.old_max + c] = old
        w[at.bound + c] = bound
        w[at.first + c] = lower
        w[at.cmp_out + c] = out
        if watched:
            w[at.own_max + c], w[at.excess + c] = observe(
                is_masked(own & g.bound_mask, held, lowest), w[at.up + c], m, new, w[at.own_max + c], w[at.excess + c],
                around.score_bound, g.watch, f)


@inner
def row_of_wave(w: Any, at: Any, row: Any, word: Any, entering: Any, first: Any, last: Any, n: Any, g: Any, f: Any,
                room: Any) -> None:
    """The PEs of a row in a wave; entering: the left input of the first; room.above: what stands above them."""
    base = row * n
    left, words = room.left, room.words[first:last]
    for c in range(words.shape[0]):
        words[c] = word
    left[first] = entering
    if word & LOAD_LI:
        for c in range(first, last - 1):
            left[c + 1] = w[at.s + base + c]
    elif word & FLOW_LR:
        for c in range(first + 1, last):
            left[c] = entering
    else:
        for c in range(first, last - 1):
            left[c + 1] = w[at.right + base + c]
    lo, hi = base + first, base + last
    below = w[at.up + lo + n:at.up + hi + n] if row < n - 1 else room.zeros[first:last]
    row_of_pes(words, word, w[at.s + lo:at.s + hi], w[at.done + lo:at.done + hi], w[at.right + lo:at.right + hi],
               w[at.down + lo:at.down + hi], w[at.up + lo:at.up + hi], left[first:last], room.above[first:last], below,
               g, f)


@inner
def stationary_before(start: Any, at: Any, ports: Any, row: Any, col: Any, wave: Any, n: Any) -> Any:
    """What the fault-free s of a PE holds at the start of a wave 1 … N of LoadStationary; start: the tile's first
    state."""
    if col >= wave - 1:
        return start[at.s + row * n + col - wave + 1]
    return ports[wave - 1 - col, row]


@inner
def bound_before(start: Any, at: Any, query_tile: Any, col: Any, wave: Any, g: Any, allowed: Any) -> Any:
    """The same for what a compare unit hands on beside LOAD_BOUND: its bound, with its first key above."""
    if col >= wave - 1:
        source = col - wave + 1
        return np.int64(start[at.bound + source]) | (np.int64(start[at.first + source]) << g.bound_bits)
    phase, timer = place_in_tile(wave - 1 - col, g)
    return np.int64(argument(phase, timer, 0, query_tile, g, allowed))


@inner
def run_waves(w: Any, at: Any, program: Any, begin: Any, end: Any, first: Any, last: Any, start: Any, ports: Any,
              key_tile: Any, query_tile: Any, k: Any, g: Any, f: Any, around: Any, room: Any, arrived: Any) -> None:
    """Waves begin … end − 1 of a tile, for columns first … last − 1 of state w, under strike k.

    start: the fault-free state before wave 1. ports (L + 1, N): what the rows see at the left, by wave. room.edge: what
    `right` of column first − 1 holds before wave `begin`, kept up to date.
    """
    n = g.size
    for wave in range(begin, end):
        if k.kind == START and wave == k.wave:
            room.value[0] = w[k.place]
            w[k.place] = struck_value(w[k.place], k)
            room.value[1] = w[k.place]
        capture(w, at, program, wave, first, last, n, arrived)
        for c in range(first, last):
            room.above[c] = w[at.cmp_out + c]
        phase, timer = place_in_tile(wave, g)
        cmd = program.command[wave]
        arg = np.int64(argument(phase, timer, key_tile, query_tile, g, around.allowed))
        if cmd == LOAD_BOUND and first > 0:
            arg = bound_before(start, at, query_tile, first - 1, wave, g, around.allowed)
        if wave == k.wave:
            if k.kind == COMMAND:
                room.value[0] = cmd
                cmd = struck_word(cmd, k)
                room.value[1] = cmd
            elif k.kind == ARGUMENT:
                room.value[0] = arg
                arg = struck_word(arg, k)
                room.value[1] = arg
        # In the last tile's last wave the sums are read, and emptied whatever is added.
        summing = g.rowsum and (wave < program.waves or (key_tile + 1) * n < g.n_keys)
        commands_of_wave(w, at, cmd, arg, summing, first, last, n, g, f, around)
        for row in range(n):
            word = word_at(program, wave, row, n)
            entering = ports[wave, row]
            if first > 0:
                if word & LOAD_LI:
                    room.edge[row] = stationary_before(start, at, ports, row, first - 1, wave, n)
                elif word & FLOW_LR:
                    room.edge[row] = entering
                if k.kind == EDGE and wave == k.wave and row == k.row:
                    room.edge[row] = struck_value(room.edge[row], k)
                entering = room.edge[row]
            if k.kind in (WORD, WORD_DOWN, WORD_UP):
                if wave == k.wave and row == k.row:
                    note_word(program, wave, row, n, k, room)
                word = word_under(program, wave, row, n, k)
            down = at.down + row * n
            for c in range(first, last):
                room.spare[c] = w[down + c]
            if word != 0:
                row_of_wave(w, at, row, word, entering, first, last, n, g, f, room)
            for c in range(first, last):
                room.above[c] = room.spare[c]
    if end == program.waves + 1:
        capture(w, at, program, end, first, last, n, arrived)
