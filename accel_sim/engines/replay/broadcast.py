"""Faults in the pipeline that all lanes read: the register holds something of one key, and every query of the block
in flight meets it."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.lanes_golden import row_sum
from accel_sim.engines.lanes_step import KEY_TILE
from accel_sim.engines.replay.chains import binary32, native, same_bits, widen
from accel_sim.engines.replay.codes import KEY_TAG, OTHER, R_DELAY, R_TREE, V_DELAY, K, V
from accel_sim.engines.replay.rerun import AT_R, AT_V, AT_V_AND_R, BOTH, Event, rerun_event, rerun_weights
from accel_sim.engines.replay.side_by_side import checksums_again, columns_again
from accel_sim.engines.replay.strike import hit, struck_row_sum, struck_score
from accel_sim.engines.replay.types import FALL_BACK, MASKED, ZERO
from accel_sim.engines.replay.weights import with_score, with_tag
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def replay_broadcast(code, block, j, at, level, k, st, g, f, data, w):
    """A register that holds something of key j while `block` is in flight: MASKED, CHANGED or FALL_BACK."""
    if code == K or code == KEY_TAG:
        return replay_key(code, block, j, at, k, st, g, f, data, w)
    value, new_sum = 0.0, 0.0
    in_column, in_sum = code == V or code == V_DELAY, False
    if in_column:
        value = quiet(hit(data.v[j, at], k, w), f.operand)
        if code == V and g.check:
            widen(w.v, st.v[j])
            w.v[at] = value
            new_sum = row_sum(w.v, w.tree, g, f.checker, f.operand)
            in_sum = not same_bits(new_sum, st.r[j])
    elif code == R_TREE or code == R_DELAY:
        new_sum = struck_row_sum(j, code, level, at, k, st, g, f, w)
        if same_bits(new_sum, st.r[j]):
            return MASKED
        in_sum = True
    else:
        return FALL_BACK
    return replay_value(block, j, at, value, new_sum, in_column, in_sum, k, st, g, f, data, w)


@inner
def replay_key(code, block, j, at, k, st, g, f, data, w):
    """Key j with another element `at` (K), or taken by the mask for another key (KEY_TAG): MASKED or CHANGED."""
    first = block * g.lanes
    status = MASKED
    x = hit(data.k[j, at] if code == K else np.float64(j), k, w)
    for i in range(first, min(first + g.lanes, g.n_queries)):
        if code == K:
            # The key is shared by every query of the block, and by nothing else while it is in flight.
            golden = st.k[j, at]
            st.k[j, at] = quiet(x, f.operand)
            s = struck_score(i, j, OTHER, ZERO, ZERO, k, st, g, f, data, w)
            st.k[j, at] = golden
            changed = with_score(w.P, w.A, i, j, s, st, g, f, data, w)
        else:
            changed = with_tag(w.P, w.A, i, j, x, st, g, f, data, w)
        if changed:
            status = rerun_weights(i - first, i, j, BOTH, k, st, g, f, data, w)
    return status


@inner
def replay_value(block, j, at, value, new_sum, in_column, in_sum, k, st, g, f, data, w):
    """Element `at` of the value vector of key j being `value` (in_column), its row sum `new_sum` (in_sum): MASKED or
    CHANGED."""
    together = g.granularity != KEY_TILE
    if in_column and not native(f.state, w.PT):
        together = False
    if in_sum and not binary32(f.checker, w.PT):
        together = False
    status = MASKED
    if together:
        if in_column:
            status = columns_again(block, j, at, value, st, g, f, data, w)
        if in_sum:
            status = max(status, checksums_again(block, j, new_sum, st, g, f, data, w))
        return status
    kind = AT_R
    if in_column:
        kind = AT_V_AND_R if in_sum else AT_V
    e = Event(kind, j, at, value, new_sum)
    first = block * g.lanes
    for i in range(first, min(first + g.lanes, g.n_queries)):
        status = max(status, rerun_event(i - first, i, e, k, st, g, f, data, w))
    return status
