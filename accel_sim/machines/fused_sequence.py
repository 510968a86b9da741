"""The control program: what the sequencer sends into the array in each cycle of a phase.

The functions take a phase, its cycle (`timer`) and the sizes g: any bundle of scalars with size, pieces, columns, load,
score and value, such as `Phases`. Where nothing is said the word, command or selection is 0.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from accel_sim.machines.fused import (
    ACC_UI,
    DIRECT,
    DOWNWARD,
    EXP2,
    FEED_CHECK,
    FEED_K,
    FEED_NONE,
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
    FusedMachine,
)
from accel_sim.machines.fused_timing import LOAD, NORM, SCORE, VALUE
from accel_sim.numerics.jit import inner, kernel

MAC_UP = MAC | FLOW_LR
MAC_DOWN = MAC | ACC_UI | FLOW_LR
SUBTRACT = UPDATE | ACC_UI | FLOW_UD | FLOW_LR
MULTIPLY = UPDATE | FLOW_UD | FLOW_LR
PIECE = EXP2 | ACC_UI | FLOW_UD | FLOW_LR
"""Control words of the schedule: a partial score, a partial output or row sum, s − m, (s − m) · scale, a piece."""


class Phases(NamedTuple):
    """The sizes that the control program depends on; cycles of the phases as in `Durations`."""

    size: int
    pieces: int
    columns: int
    load: int
    score: int
    value: int


def phases(machine: FusedMachine) -> Phases:
    """The `Phases` of a machine."""
    d = machine.durations
    return Phases(machine.size, machine.pieces, machine.columns, d.load, d.score, d.value)


@inner
def down_word(phase: Any, timer: Any, g: Any) -> Any:
    """Control word that enters the top of the left edge and moves down."""
    n = g.size
    if phase == SCORE:
        if n + 1 <= timer <= 2 * n:
            return FLOW_UD
        if timer == 2 * n + 2:
            return SUBTRACT
        if timer == 2 * n + 3:
            return MULTIPLY
        if 2 * n + 4 <= timer < 2 * n + 4 + g.pieces:
            return PIECE
    elif phase == VALUE and timer <= n + g.columns:
        return MAC_DOWN  # in its first cycle the row sum of the weights
    return 0


@inner
def up_word(phase: Any, timer: Any, g: Any) -> Any:
    """Control word that enters the bottom of the left edge and moves up."""
    n = g.size
    if phase == SCORE:
        if 1 <= timer <= n:
            return MAC_UP
        if n + 4 <= timer <= 2 * n + 3:
            return FLOW_DU
    return 0


@inner
def side_word(phase: Any, timer: Any, g: Any) -> Any:
    """Control word that reaches all rows at once."""
    if (phase == LOAD and timer >= 1) or (phase == SCORE and timer == 0):
        return LOAD_LI
    if phase == SCORE and timer == 2 * g.size + 1:
        return LOAD_UI
    return 0


@inner
def command(phase: Any, timer: Any, g: Any) -> Any:
    """Command of the first compare unit."""
    n = g.size
    if (phase == LOAD and timer >= 1) or (phase == SCORE and timer == 0):
        return LOAD_BOUND
    if phase == SCORE:
        if n + 1 <= timer <= 2 * n:
            return ROW_MAX
        if timer == 2 * n + 1:
            return PUT_MAX
        if timer == 2 * n + 2:
            return PUT_DELTA
        if 2 * n + 3 <= timer < 2 * n + 3 + g.pieces:
            return PUT_PIECE
        if timer == 2 * n + 3 + g.pieces:
            return PUT_ZERO
    if phase == NORM and timer == 0:
        return RESET
    return NO_COMMAND


@inner
def argument(phase: Any, timer: Any, key_tile: Any, query_tile: Any, g: Any, allowed: Any) -> Any:
    """What goes with that command: allowed keys of a query, index of a key, or number of a piece."""
    n = g.size
    if (phase == LOAD and timer >= 1) or (phase == SCORE and timer == 0):
        position = (timer if phase == LOAD else n) - 1
        query = query_tile * n + n - 1 - position
        return allowed[query] if 0 <= query < g.n_queries else 0
    if phase == SCORE:
        if n + 1 <= timer <= 2 * n:
            return (key_tile * n + timer - n - 1) & g.bound_mask
        if 2 * n + 3 <= timer < 2 * n + 3 + g.pieces:
            return timer - 2 * n - 3
    return 0


@inner
def fetched(phase: Any, timer: Any, g: Any) -> Any:
    """What is asked of the scratchpad: `feed_sel` of the next cycle."""
    n = g.size
    if phase == LOAD and timer < n:
        return FEED_Q
    if phase == SCORE:
        if timer < n:
            return FEED_K
        if timer == 2 * n + 1 or timer == 2 * n + 3 + g.pieces:
            return FEED_ONE
        if timer == 2 * n + 2:
            return FEED_SCALE
        if 2 * n + 3 <= timer < 2 * n + 3 + g.pieces:
            return FEED_SLOPE
    if phase == VALUE:
        if timer < n:
            return FEED_V
        if timer < n + g.columns:
            return FEED_CHECK
    return FEED_NONE


@inner
def mode_of(sel: Any, held: Any) -> Any:
    """Delay of the left edge for what enters it; without anything new, as it was."""
    if sel == FEED_NONE:
        return held
    if sel == FEED_Q:
        return DIRECT
    return UPWARD if sel == FEED_K else DOWNWARD


@inner
def place_in_tile(wave: Any, g: Any) -> Any:
    """(phase, timer) of a tile's cycle 0 … L; the last one is the next instruction's first."""
    if wave < g.load:
        return LOAD, wave
    if wave < g.load + g.score:
        return SCORE, wave - g.load
    if wave < g.load + g.score + g.value:
        return VALUE, wave - g.load - g.score
    return LOAD, 0


@kernel
def fill_program(side: Any, down: Any, up: Any, commands: Any, g: Any) -> None:
    """The edges' words and commands of a tile, by wave."""
    for wave in range(side.shape[0]):
        phase, timer = place_in_tile(wave, g)
        side[wave] = side_word(phase, timer, g)
        down[wave] = down_word(phase, timer, g)
        up[wave] = up_word(phase, timer, g)
        commands[wave] = command(phase, timer, g)


@kernel
def fill_edge(sel: Any, mode: Any, g: Any) -> None:
    """`feed_sel` and the delay mode of the left edge in the cycles 0 … L of a tile."""
    sel[0] = 0
    mode[0] = DIRECT + 2
    for wave in range(1, sel.shape[0]):
        phase, timer = place_in_tile(wave - 1, g)
        sel[wave] = fetched(phase, timer, g)
        mode[wave] = mode_of(sel[wave], mode[wave - 1])
