"""The attention that a run really computed: scores and probabilities, read off the machine's registers.

The hardware never stores P; `observe` watches the stages of a stepped run and rebuilds it. This is an oracle
for people, not something a checker could see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import SWAP


@dataclass
class Row:
    """One query's pass over its keys, in order of arrival.

    keys: index of each key as the machine counted it. scores: scaled scores. weights: the share of each key in
    the output, p_j · Π later a / l (NaN or infinite if the hardware made it so).
    """

    keys: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    weights: np.ndarray = field(default_factory=lambda: np.zeros(0))


def observe(engine: SteppedEngine, faults: Sequence[Fault] = ()) -> tuple[RunResult, dict[int, Row]]:
    """Run `faults` and rebuild every drained query's row: (result, {query: Row})."""
    machine = engine.machine
    at, n, depth = machine.inventory.offsets, machine.lanes, machine.depth
    valid, query_mask = at["valid"], (1 << machine.query_bits) - 1
    tags: list[list[int]] = [[] for _ in range(n)]
    scores: list[list[float]] = [[] for _ in range(n)]
    steps: list[list[tuple[float, float]]] = [[] for _ in range(n)]
    rows: dict[int, Row] = {}

    def watch(_cycle: int, state: np.ndarray) -> None:
        if state[valid + 2 + depth]:
            tag = int(state[at["key_tag"] + 2 + depth])
            for lane in range(n):
                tags[lane].append(tag)
                scores[lane].append(float(state[at["score"] + lane]))
        if state[valid + 5 + depth]:
            for lane in range(n):
                steps[lane].append((float(state[at["p_acc"] + lane]), float(state[at["a_acc"] + lane])))
        if int(state[at["phase"]]) == SWAP:
            lane = int(state[at["row"]])
            if lane >= n:
                return
            if state[at["active"] + lane] and steps[lane]:
                query = (int(state[at["query"]]) - n) & query_mask
                rows[query] = _row(tags[lane], scores[lane], steps[lane], float(state[at["l"] + lane]))
            tags[lane], scores[lane], steps[lane] = [], [], []

    return engine.run(faults, watch), rows


def _row(tags: list[int], scores: list[float], steps: list[tuple[float, float]], total: float) -> Row:
    weights = np.zeros(len(steps))
    scale = 1.0
    with np.errstate(all="ignore"):
        for j in range(len(steps) - 1, -1, -1):
            p, a = steps[j]
            weights[j] = p * scale / total if total else float("nan")
            scale *= a
    keys = tags if len(tags) == len(steps) else list(range(len(steps)))
    return Row(list(keys), list(scores), weights)
