"""What is left of a changed row once it is normalised: one element, the predicted sum, or all of it.

Each leaves its part in the scratch under the lane, and returns MASKED if the golden row comes out, else CHANGED.
"""

from __future__ import annotations

from accel_sim.engines.lanes_golden import divisor_of, finish_row, normalised, row_sum_with
from accel_sim.engines.replay.chains import same_bits, widen
from accel_sim.engines.replay.types import CHANGED, COLUMN, MASKED, ROW, TERMS
from accel_sim.numerics.jit import inner
from accel_sim.numerics.rounding import quiet


@inner
def new_element(lane, i, t, value, st, g, f, w):
    """Query i with element t of its output row being `value`."""
    if same_bits(value, st.o[i, t]):
        return MASKED
    w.rows[lane, t] = value
    w.changed[lane] = COLUMN
    w.column[0] = t
    if g.check:
        w.terms[lane, 0] = st.terms[i, 0]
        w.terms[lane, 1] = row_sum_with(st.o[i], st.out_tree[i], t, value, g, f.checker, f.output)
    return CHANGED


@inner
def new_accumulator(lane, i, t, x, st, g, f, data, w):
    """Query i with its output accumulator t ending at x."""
    divisor = divisor_of(st.sums[i, 0], g, f, data.recip_table)
    return new_element(lane, i, t, normalised(quiet(x, f.state), divisor, g, f.output), st, g, f, w)


@inner
def new_term(lane, i, term, st, w):
    """Query i with the predicted row sum `term`, and its output golden."""
    if same_bits(term, st.terms[i, 0]):
        return MASKED
    w.terms[lane, 0] = term
    w.terms[lane, 1] = st.terms[i, 1]
    w.changed[lane] = TERMS
    return CHANGED


@inner
def new_checksum(lane, i, c, own, st, g, f, data, w):
    """Query i with the checksum c, divided by what the sum `own` gives, and its output golden."""
    term = normalised(quiet(c, f.checker), divisor_of(own, g, f, data.recip_table), g, f.checker)
    return new_term(lane, i, term, st, w)


@inner
def new_row(lane, o, total, c, own, g, f, data, w):
    """A row whose accumulators end at o (type T), total and c, and the check unit's own sum at `own`."""
    widen(w.v, o)
    finish_row(w.rows[lane], w.terms[lane], w.v, total, c, own, w.tree, g, f, data.recip_table)
    w.changed[lane] = ROW
    return CHANGED
