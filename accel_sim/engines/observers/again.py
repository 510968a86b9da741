"""What the units that only look would see of a query block under another scale, or with another number of keys."""

from __future__ import annotations

from accel_sim.engines.lanes_golden import score_row, softmax_row
from accel_sim.engines.lanes_step import sram_row
from accel_sim.engines.observers.golden import watch_query
from accel_sim.numerics.arithmetic import add, mul
from accel_sim.numerics.jit import kernel


@kernel
def stream_keys(tile, k, keys, g):
    """The key vectors that a block streams, its first tile being number `tile` of the head, from the head's own k
    (N, d) into keys (count, d): past the block's last key, whatever stands in the banks."""
    for j in range(keys.shape[0]):
        streamed = tile + j // g.key_tile
        source = sram_row(streamed & 1, j % g.key_tile, streamed, g)
        for t in range(g.head_dim):
            keys[j, t] = k[source, t] if source >= 0 else 0.0


@kernel
def watch_again(from_key, before, scale, q, k_t, buf, rows, g, f, data, sums, seen):
    """What the units see of the queries q (count, d), with the scale `before` up to key `from_key` and `scale` from
    there on, into seen, an `observers.golden.Watched`; and their final l into column 0 of sums (count, 2).

    q, k_t (d, N): quiet operands. buf (d, KEYS_AT_ONCE), rows (4, N): scratch. data.first and data.bound are those of
    these queries.
    """
    r = f.state
    scores, weights, corrections, maxima = rows[0], rows[1], rows[2], rows[3]
    for i in range(q.shape[0]):
        score_row(scores, q[i], k_t, buf, g, f, scale, data.digits)
        if from_key > 0:
            score_row(weights, q[i], k_t, buf, g, f, before, data.digits)
            for j in range(from_key):
                scores[j] = weights[j]
        softmax_row(scores, weights, corrections, maxima, data.first[i], data.bound[i], g, f, data.exp_table)
        watch_query(i, scores, maxima, g, f, data, seen)
        total = 0.0
        for j in range(g.n_keys):
            total = add(mul(total, corrections[j], r), weights[j], r)
        sums[i, 0] = total
