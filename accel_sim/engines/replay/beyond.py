"""Query blocks beyond those of a head: the DMA engine has brought no keys for them, and they meet what is left in the
banks."""

from __future__ import annotations

import numpy as np

from accel_sim.engines.golden import quiet_operands
from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_golden import golden_queries, row_sums
from accel_sim.engines.observers.again import stream_keys
from accel_sim.engines.observers.golden import room_to_watch
from accel_sim.engines.replay.engine import ReplayEngine
from accel_sim.engines.replay.teller import Drained


def block_beyond(engine: ReplayEngine, started: int, drained: Drained) -> Drained:
    """The queries of a block (its addresses) after they have met what the banks hold when `started` blocks have begun
    to stream before theirs, as many as the head has or more."""
    g, f, data, _ = engine.around
    job, queries, count = engine.job, drained.address, len(drained.lane)
    _, n_keys, d = job.shape
    keys, values = np.zeros((n_keys, d)), np.zeros((n_keys, d))
    stream_keys(started * g.tiles, job.k, keys, g)
    stream_keys(started * g.tiles, job.v, values, g)
    q, v = quiet_operands(job.q[queries], f), quiet_operands(values, f)
    r, tree = np.zeros(n_keys), np.zeros_like(engine.store.out_tree[0])
    if g.check:
        row_sums(r, v, tree, g, f)
    here = g._replace(n_queries=count)
    around = data._replace(bound=data.bound[queries], first=data.first[queries], o=np.zeros((count, d)))
    sums, terms, seen = np.zeros((count, 2)), np.zeros((count, 2)), room_to_watch(count, (0, 0), np.float64)
    none = np.empty((0, 0))
    k_t = np.ascontiguousarray(quiet_operands(keys, f).T)
    golden_queries(here, f, around, 0, count, q, k_t, v, r, job.scale, tree, np.zeros((4, n_keys)),
                   np.zeros((d, KEYS_AT_ONCE)), np.zeros(d), False, none, none, none, sums, terms, np.zeros((1, 1, 2)),
                   seen)
    again = drained._replace(row=around.o, terms=terms)
    if engine.observers is None or not count:
        return again
    return again._replace(seen=engine.observers.judged(queries, keys, job.scale, sums, seen, n_keys - 1))
