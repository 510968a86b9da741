"""The attention weights that a fault-free head works with, bit for bit.

The hardware never holds P. But what it makes of a value matrix that is 1 at key j and 0 elsewhere is exactly the
weight that it gives to key j, with every rounding of its datapath: that is what `attention_weights` returns.
"""

from __future__ import annotations

import numpy as np

from accel_sim.engines.golden import quiet_operands
from accel_sim.engines.job import Job
from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_build import geometry, roundings, tables
from accel_sim.engines.lanes_golden import score_row, softmax_row
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.arithmetic import add, div_vs, mul, mul_vs
from accel_sim.numerics.dot import fused_digits
from accel_sim.numerics.formats import Rounding
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.reciprocal import reciprocal_pwl
from accel_sim.numerics.rounding import quiet


def attention_weights(machine: LanesMachine, job: Job) -> np.ndarray:
    """Weight of every key in every query's output, (Nq, N) float64 values of the output format.

    Element (i, j) is the machine's own output for query i if v were 1 at key j and 0 at every other key. Masked
    keys have weight 0. Rows sum to 1 only as nearly as the formats allow.
    """
    n_queries, n_keys, d = job.shape
    g, f = geometry(machine, n_queries, n_keys), roundings(machine)
    exp_table, recip_table = tables(machine)
    q, k = quiet_operands(job.q, f), np.ascontiguousarray(quiet_operands(job.k, f).T)
    scores, weights, corrections, maxima = (np.empty(n_keys) for _ in range(4))
    buf, digits = np.empty((d, KEYS_AT_ONCE)), np.zeros(fused_digits(), dtype=np.int64)
    out = np.zeros((n_queries, n_keys))
    for i in range(n_queries):
        score_row(scores, q[i], k, buf, g, f, job.scale, digits)
        softmax_row(scores, weights, corrections, maxima, job.first[i], job.bound[i], g, f, exp_table)
        _weigh(out[i], weights, corrections, machine.reciprocal, recip_table, Rounding(*f.state), Rounding(*f.output))
    return out


@kernel
def _weigh(
    out: np.ndarray, weights: np.ndarray, corrections: np.ndarray, reciprocal: bool, table: np.ndarray,
    state: Rounding, output: Rounding,
) -> None:
    """Outputs for one-hot value columns, into out (N,), from the online weights and corrections of a query."""
    total = 0.0
    unseen = 0.0  # the accumulator of a column whose 1 is still to come: 0, or NaN after an infinite weight
    for j in range(weights.shape[0]):
        p, a = weights[j], corrections[j]
        total = add(mul(total, a, state), p, state)
        if a != 1.0:
            mul_vs(out[:j], out[:j], a, state, 0.0)
        nothing = mul(p, 0.0, state)
        if nothing != 0.0:
            out[:j] = nothing
        unseen = mul(unseen, a, state)
        out[j] = add(unseen, mul(p, 1.0, state), state)
        unseen = add(unseen, nothing, state)
    if reciprocal:
        mul_vs(out, out, quiet(reciprocal_pwl(total, table, state), state), output, 0.0)
    else:
        div_vs(out, out, total, output, 0.0)
