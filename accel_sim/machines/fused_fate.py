"""Which tile a fault is in, and as what it acts there: the first half of replay.

docs/machines/fused.md says for each register how far a fault in it reaches, and why the rest of its life is dead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from accel_sim.machines.fused import (
    DIRECT,
    FEED_K,
    FEED_Q,
    FEED_V,
    UPWARD,
    WATCH_MAX,
    WATCH_SUM,
    FusedMachine,
)
from accel_sim.machines.fused_places import (
    BACK,
    BOUND,
    CHECKSUM,
    CMP_ARG,
    CMP_CMD,
    CMP_OUT,
    CTRL,
    CTRL_DOWN,
    CTRL_UP,
    DONE_BIT,
    DOWN,
    EXCESS,
    FACTOR,
    FEED,
    FIRST,
    IN_SKEW,
    KEY_SUM,
    NEW_MAX,
    OLD_MAX,
    OTHER,
    OUT,
    OUT_SKEW,
    OUTPUT,
    OWN_MAX,
    OWN_SUM,
    RIGHT,
    ROW_SUM,
    TOTAL,
    UP,
    S,
)
from accel_sim.machines.fused_timing import FusedTiming
from accel_sim.numerics.jit import inner, kernel

NOTHING, START, EDGE, WORD, WORD_DOWN, WORD_UP, COMMAND, ARGUMENT = range(8)
"""What a strike in wave time acts on: a register of the columns; `right` at their left; the control word of a row, of a
diagonal down or up; the command, or what goes with it."""

NONE, COLUMNS, PORTS, ARRIVE, AFTER, OUT_ROW, BEHIND, RUN, KEYS = range(9)
"""How a fault is replayed: not at all; in wave time; by other values at the left edge; by another value that reaches an
accumulator; in an accumulator; in the output register; behind it; by the stepped engine; by other sums of the keys."""


class Clock(NamedTuple):
    """Cycles: of a block and a tile, from a block's start to its WAIT's end and its LseNorm; numbers of tiles and
    blocks; acc_scale, acc_sum: see `Durations`; load, score: of a tile; reciprocal; cycles of the run. watch: see
    `FusedMachine.watch`. rowsum: whether there are row sums of the scores."""

    block: int
    tile: int
    waited: int
    norm_at: int
    tiles: int
    blocks: int
    acc_scale: int
    acc_sum: int
    load: int
    score: int
    reciprocal: int
    cycles: int
    watch: int
    rowsum: bool


LATE_TOTAL, KEY_IN_FEED = 100, 101
"""Beside the codes of `fused_places`: l after it has been taken for the division; a key in `feed` where it is added up
there."""


class Layout(NamedTuple):
    """Where the parts of a wave state begin: N × N each, then N each. size: all of it. The last four are for machines
    with a window and with units that only look; excess: what is violated in this tile."""

    s: int
    done: int
    right: int
    up: int
    down: int
    cmp_out: int
    new_max: int
    old_max: int
    bound: int
    first: int
    own_max: int
    excess: int
    row_sum: int
    size: int


class Event(NamedTuple):
    """Resolved faults, one entry each, int64: how; tile (block · T + tile, or the block for OUT_ROW and BEHIND); kind
    of the wave strike or what is struck; wave, step or cycle; row; first and last column."""

    how: Any
    tile: Any
    kind: Any
    wave: Any
    row: Any
    first: Any
    last: Any


def layout(n: int) -> Layout:
    """The layout for an N × N array."""
    square = n * n
    small = [5 * square + i * n for i in range(9)]
    return Layout(0, square, 2 * square, 3 * square, 4 * square, *small)


def clock(machine: FusedMachine, timing: FusedTiming) -> Clock:
    """The `Clock` of a head."""
    d = machine.durations
    waited = timing.key_tiles * d.tile + d.wait
    return Clock(
        block=timing.block, tile=d.tile, waited=waited, norm_at=waited + d.scale + d.hold, tiles=timing.key_tiles,
        blocks=timing.query_tiles, acc_scale=d.acc_scale, acc_sum=d.acc_sum, load=d.load, score=d.score,
        reciprocal=d.reciprocal, cycles=timing.head_cycles, watch=machine.watch,
        rowsum=machine.rowsum is not None,
    )


@inner
def in_columns(code: Any, row: Any, col: Any, cycle: Any, at: Any, clock: Any, n: Any) -> Any:
    """(how, tile, kind, wave, row, first, last) of a strike on a register of the columns, as a tuple."""
    between = code in (RIGHT, CTRL, CMP_CMD, CMP_ARG)
    wave = cycle - col - (1 if between else 0)
    if code in (CTRL_DOWN, CTRL_UP):
        wave = cycle
    block = (wave - 1) // clock.block
    off = wave - block * clock.block
    tile = (off - 1) // clock.tile
    reset = clock.norm_at  # in which wave the invariants' unit reads the column out, too
    maximum = code in (NEW_MAX, OLD_MAX, OWN_MAX, EXCESS)
    watched = (code in (OWN_MAX, EXCESS) or (code == NEW_MAX and clock.watch & WATCH_MAX != 0)
               or (code == BOUND and clock.watch & WATCH_SUM != 0))
    if wave < 1 or tile >= clock.tiles:
        if watched and wave >= 1 and off <= reset:
            tile, off = clock.tiles - 1, clock.tiles * clock.tile
        elif (maximum and (wave < 1 or off > reset)) or code == OWN_SUM:  # which is read at the end of the last tile
            block, tile, off = block + 1, 0, 1
            if wave < 1:
                block = 0
            if block >= clock.blocks:
                return NONE, 0, NOTHING, 0, 0, 0, 0
        elif code == CMP_CMD and (wave >= 1 and (off >= reset or clock.watch != 0 or clock.rowsum)):
            return RUN, 0, NOTHING, 0, 0, 0, 0
        else:
            return NONE, 0, NOTHING, 0, 0, 0, 0
    if block >= clock.blocks:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    wave = off - tile * clock.tile
    number = block * clock.tiles + tile
    if code == BOUND and wave - clock.load > 2 * n and not (watched and tile == clock.tiles - 1):
        return NONE, 0, NOTHING, 0, 0, 0, 0  # no key is left, and it will be loaded again
    if code == CTRL:
        return COLUMNS, number, WORD, wave, row, col + 1, n
    if code == RIGHT:
        return COLUMNS, number, EDGE, wave, row, col + 1, n
    if code == CMP_CMD:
        return COLUMNS, number, COMMAND, wave, row, col + 1, n
    if code == CMP_ARG:
        return COLUMNS, number, ARGUMENT, wave, row, col + 1, n
    if code == CTRL_DOWN:
        return COLUMNS, number, WORD_DOWN, wave, col + 1, 0, n
    if code == CTRL_UP:
        return COLUMNS, number, WORD_UP, wave, col, 0, n
    place = at.s + row * n + col
    last = col + 1
    if code == S:
        last = n if wave <= n else col + 1
    elif code == DONE_BIT:
        place = at.done + row * n + col
    elif code == UP:
        place = at.up + row * n + col
    elif code == DOWN:
        place = at.down + row * n + col
    elif code == NEW_MAX:
        place = at.new_max + col
    elif code == OLD_MAX:
        place = at.old_max + col
    elif code == CMP_OUT:
        place = at.cmp_out + col
    elif code in (BOUND, FIRST):
        place = (at.bound if code == BOUND else at.first) + col
        last = n if wave <= n else col + 1
    elif code == OWN_MAX:
        place = at.own_max + col
    elif code == EXCESS:
        place = at.excess + col
    elif code == OWN_SUM:
        place = at.row_sum + col
    return COLUMNS, number, START, wave, place, col, last


@inner
def on_the_way(column: Any, arrival: Any, clock: Any) -> Any:
    """What is on its way to a column's accumulator and arrives in cycle `arrival`."""
    rel = arrival - clock.load
    block = (rel - 1) // clock.block
    rel -= block * clock.block
    tile = (rel - 1) // clock.tile
    step = rel - tile * clock.tile
    here = 0 <= block < clock.blocks and tile < clock.tiles
    if not here or not (step == clock.acc_scale or step >= clock.acc_sum):
        return NONE, 0, NOTHING, 0, 0, 0, 0
    return ARRIVE, block * clock.tiles + tile, NOTHING, step, 0, column, column + 1


@inner
def in_accumulator(code: Any, row: Any, col: Any, cycle: Any, clock: Any, n: Any) -> Any:
    """A strike on scale, l, o or c: number of the tile whose accumulation it comes before (T: the normalisation), and
    for `scale` the step."""
    block = cycle // clock.block
    off = cycle - block * clock.block
    if block >= clock.blocks:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    if code == FACTOR:
        rel = off - clock.load
        tile = (rel - 1) // clock.tile
        step = rel - tile * clock.tile
        if rel >= 1 and tile < clock.tiles and step > clock.acc_scale:
            return AFTER, block * clock.tiles + tile, FACTOR, step, 0, col, col + 1
        timer = off - clock.waited
        if 2 <= timer < 2 + clock.reciprocal:
            return AFTER, block * clock.tiles + clock.tiles - 1, FACTOR, -1, 0, col, col + 1
        divided = off - clock.norm_at
        if timer >= 2 + clock.reciprocal:
            return AFTER, block * clock.tiles + clock.tiles - 1, FACTOR, -2 - max(divided, 0), 0, col, col + 1
        return NONE, 0, NOTHING, 0, 0, 0, 0
    dim = -1
    last_read = clock.waited + 1
    if code in (OUTPUT, CHECKSUM):
        dim = row if code == OUTPUT else n + row
        last_read = clock.norm_at + dim
    first_read = clock.load + clock.acc_sum + 1 + dim
    if code == TOTAL and clock.watch & WATCH_SUM != 0 and last_read < off <= clock.norm_at + col:
        return AFTER, block * clock.tiles + clock.tiles - 1, LATE_TOTAL, 0, 0, col, col + 1
    following = 0 if off <= first_read else (off - first_read + clock.tile - 1) // clock.tile
    if following == 0 or off > last_read:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    following = min(following, clock.tiles)
    return AFTER, block * clock.tiles + following - 1, code, following, dim, col, col + 1


@inner
def at_the_left(code: Any, row: Any, col: Any, cycle: Any, mode: Any, sel: Any, clock: Any, n: Any) -> Any:
    """A strike at the left edge: on the element in `feed`, a delay line, or a row sum. mode, sel (L + 1,): by wave."""
    if code == IN_SKEW:
        leaves = cycle - col + row
        block = (leaves - 1) // clock.block
        off = leaves - block * clock.block
        tile = (off - 1) // clock.tile
        wave = off - tile * clock.tile
        if leaves < 1 or block >= clock.blocks or tile >= clock.tiles or mode[wave] == DIRECT:
            return NONE, 0, NOTHING, 0, 0, 0, 0
        target = n - 1 - row if mode[wave] == UPWARD else row
        return PORTS, block * clock.tiles + tile, IN_SKEW, wave, target, 0, n
    block = cycle // clock.block
    off = cycle - block * clock.block
    tile = off // clock.tile
    wave = off - tile * clock.tile
    if block >= clock.blocks or tile >= clock.tiles:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    number = block * clock.tiles + tile
    if code == FEED:
        here = sel[wave]
        if here != FEED_Q and here != FEED_K and here != FEED_V:
            return NONE, 0, NOTHING, 0, 0, 0, 0
        if here == FEED_Q:
            return PORTS, number, IN_SKEW, wave, col, 0, n
        line = n - 1 - col
        if here == FEED_K:
            return PORTS, number, KEY_IN_FEED if clock.rowsum else IN_SKEW, wave + line, col, 0, n
        return PORTS, number, FEED, wave, line, 0, n
    value_cycle = wave - clock.load - clock.score
    if value_cycle < 2:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    return PORTS, number, ROW_SUM, wave, n - 1 - col, 0, n


@inner
def keys_summed(cycle: Any, clock: Any, n: Any) -> Any:
    """(block, tile, count, waits): what is in the sums of the keys as a cycle starts, `count` keys of a tile and all
    before it in its block. waits: cycles of the wait that have passed; after N they are empty, for the next block."""
    block = cycle // clock.block
    off = cycle - block * clock.block
    waits = off - clock.tiles * clock.tile
    if waits > n:
        block, off, waits = block + 1, 0, -1
    tile = min(off // clock.tile, clock.tiles - 1)
    return block, tile, min(max(0, off - tile * clock.tile - clock.load - 1), n), waits


@inner
def in_key_sums(col: Any, cycle: Any, clock: Any, n: Any) -> Any:
    """A strike on a sum of the keys: `wave` is how many keys of the tile are in it, `first` the first query that has
    not been multiplied with it."""
    block, tile, count, waits = keys_summed(cycle, clock, n)
    if block >= clock.blocks:
        return NONE, 0, NOTHING, 0, 0, 0, 0
    return KEYS, block * clock.tiles + tile, NOTHING, count, col, max(0, waits - 1), n


@kernel
def resolve(faults: Any, places: Any, mode: Any, sel: Any, at: Any, clock: Any, n: int, columns: int, e: Any) -> None:
    """Fill the `Event` arrays e of all faults."""
    for i in range(faults.slot.shape[0]):
        slot, cycle = faults.slot[i], faults.cycle[i]
        code, row, col = places.code[slot], places.row[slot], places.col[slot]
        found = (NONE, 0, NOTHING, 0, 0, 0, 0)
        if cycle >= clock.cycles:
            found = (NONE, 0, NOTHING, 0, 0, 0, 0)
        elif code == OTHER or faults.last_cycle[i] > cycle:
            found = (RUN, 0, NOTHING, 0, 0, 0, 0)
        elif code == OUT_SKEW:
            found = on_the_way(n - 1 - row, cycle - col + row, clock)
        elif code == DOWN and row == n - 1:
            found = on_the_way(col, cycle + n - 1 - col, clock)
        elif code in (FEED, IN_SKEW, ROW_SUM):
            found = at_the_left(code, row, col, cycle, mode, sel, clock, n)
            if code == ROW_SUM and found[3] - clock.load - clock.score > n + columns:
                found = (NONE, 0, NOTHING, 0, 0, 0, 0)
        elif code in (FACTOR, TOTAL, OUTPUT, CHECKSUM):
            found = in_accumulator(code, row, col, cycle, clock, n)
        elif code == KEY_SUM:
            found = in_key_sums(col, cycle, clock, n)
        elif code == OUT:
            block = (cycle - 1) // clock.block
            dim = cycle - block * clock.block - clock.norm_at - 1
            if cycle >= 1 and block < clock.blocks and 0 <= dim < n + columns:
                found = (OUT_ROW, block * clock.tiles, NOTHING, dim, 0, col, col + 1)
        elif code == BACK:
            found = (BEHIND, max(0, min(cycle // clock.block, clock.blocks - 1)) * clock.tiles, NOTHING, cycle, 0, 0, 0)
        else:
            found = in_columns(code, row, col, cycle, at, clock, n)
        e.how[i], e.tile[i], e.kind[i], e.wave[i] = found[0], found[1], found[2], found[3]
        e.row[i], e.first[i], e.last[i] = found[4], found[5], found[6]
