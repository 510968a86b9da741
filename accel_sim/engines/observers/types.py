"""What the replay kernels of the units that only look are given beside those of the datapath."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Watching(NamedTuple):
    """The units' golden state of a head, and room to work in. In kernels it goes by the name wt.

    scores (Nq, N) of type T, sums, peak, fall, met, tame (Nq,): as in `observers.golden.Watched`. keys (d,): sum of all
    keys; pred (Nq,): predicted sums of scores. residual, limit (2, Nq): the fault-free comparisons of unit 0
    (score_rowsum) and unit 1 (softmax_invariants); cycle, alarm_cycle (2, Nq) int64: clock cycle in which each residual
    stands in its register, and in which its alarm can be read. depth (2,) int64: cycles from the reading of a lane until
    then. threshold, small (2,) float64, frequent, deviations (2,) int64: of each unit, the last how many there are
    without a fault. score_bound: of softmax_invariants. golden_alarm: alarm cycle of the fault-free run, −1 for none.

    Scratch: row (N,) scores of a query; lane (5,), what the invariants keep of a lane, see `observers.replay_query`;
    q, sum, prod (d,) and tree (W,): vectors of the prediction.
    """

    scores: np.ndarray
    sums: np.ndarray
    peak: np.ndarray
    fall: np.ndarray
    met: np.ndarray
    tame: np.ndarray
    keys: np.ndarray
    pred: np.ndarray
    residual: np.ndarray
    limit: np.ndarray
    cycle: np.ndarray
    alarm_cycle: np.ndarray
    depth: np.ndarray
    threshold: np.ndarray
    small: np.ndarray
    frequent: np.ndarray
    deviations: np.ndarray
    score_bound: float
    golden_alarm: int
    row: np.ndarray
    lane: np.ndarray
    q: np.ndarray
    sum: np.ndarray
    prod: np.ndarray
    tree: np.ndarray


class Seen(NamedTuple):
    """What came of faults, one entry each. status: as in `replay.types.Outcomes`. raised: clock cycle of an alarm that no
    comparison explains, −1 for none. old_value, new_value: of a struck register that the units read."""

    status: np.ndarray
    raised: np.ndarray
    old_value: np.ndarray
    new_value: np.ndarray
