"""Operators and register writes of the units that only look are those of the stepped machine, count by count."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from engines.draw import observed_machine, random_job, with_limits

from accel_sim.engines.stepped import SteppedEngine
from accel_sim.machines.lanes import SWAP, LanesMachine, tree_sizes
from accel_sim.machines.lanes_observers import COMPONENTS


class Meter:
    """Watches a run and counts what the page of the machine says of each cycle; `changes`: elements that changed."""

    def __init__(self, machine: LanesMachine) -> None:
        self.machine = machine
        self.uses: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.before: np.ndarray | None = None

    def at(self, state: np.ndarray, name: str) -> np.ndarray:
        start = self.machine.inventory.offsets[name]
        return state[start:start + self.machine.inventory[name].size]

    def __call__(self, _: int, state: np.ndarray) -> None:
        machine, writes = self.machine, self.writes
        if self.before is not None:
            for register in machine.inventory:
                before, after = (self.at(x, register.name).view(np.int64) for x in (self.before, state))
                self.changes[register.name] += int(np.sum(before != after))
        self.before = state.copy()
        valid = self.at(state, "valid") != 0
        row, lanes = int(self.at(state, "row")[0]), machine.lanes
        swapping = self.at(state, "phase")[0] == SWAP and row < lanes
        reads = bool(swapping and self.at(state, "active")[row])
        depth = machine.depth
        if machine.rowsum is not None:
            self.count_row_sums(state, valid[0], valid[2 + depth], swapping, reads, swapping and row == lanes - 1)
        if machine.invariants is not None:
            self.count_softmax(state, valid[2 + depth:5 + depth], swapping, reads)
        for prefix in ("rowsum", "softmax"):
            if f"{prefix}_judge" not in machine.inventory:
                continue
            writes[f"{prefix}_judge"] += 1
            judges = int(self.at(state, f"{prefix}_judge")[0])
            for name in ("judge", "judge_small", "count_deviation", "judge_count"):
                self.uses[f"{prefix}_{name}"] += judges
            for name in ("alarm", "deviations"):
                writes[f"{prefix}_{name}"] += judges

    def count_row_sums(self, state, fetched, scored, swapping, reads, closes) -> None:
        machine, uses, writes = self.machine, self.uses, self.writes
        lanes, d, levels = machine.lanes, machine.head_dim, machine.levels
        stages = self.at(state, "rowsum_valid") != 0
        path = (lanes - 1).bit_length()
        uses["rowsum_key_add"] += d * fetched
        writes["rowsum_keys"] += d * bool(fetched or closes)
        uses["rowsum_score_add"] += lanes * scored
        writes["rowsum_sum"] += lanes * scored + swapping
        uses["rowsum_read_q"] += d * path * reads
        uses["rowsum_read_sum"] += path * reads
        uses["rowsum_product"] += d * reads
        writes["rowsum_prod"] += d * reads
        size = d
        for level, half in enumerate(tree_sizes(d)):
            uses["rowsum_dot"] += (size - half) * stages[level]
            writes["rowsum_tree"] += half * stages[level]
            size = half
        uses["rowsum_scale"] += stages[levels]
        writes["rowsum_pred"] += stages[levels]
        writes["rowsum_delay"] += reads + int(stages[:-1].sum())
        for name in ("residual", "larger_sum", "limit"):
            uses[f"rowsum_{name}"] += stages[-1]
        for name in ("residual", "limit"):
            writes[f"rowsum_{name}"] += stages[-1]
        writes["rowsum_valid"] += levels + 2
        writes["rowsum_last"] += levels + 2

    def count_softmax(self, state, valid, swapping, reads) -> None:
        machine, uses, writes = self.machine, self.uses, self.writes
        lanes, path = machine.lanes, (machine.lanes - 1).bit_length()
        scored, between, weighed = (bool(x) for x in valid)
        live = lanes * scored
        uses["softmax_mask"] += live * (2 if machine.sliding_window else 1)
        uses["softmax_fall"] += live
        uses["softmax_beyond"] += live
        early = machine.watches("max") + machine.watches("score")
        uses["softmax_worst"] += live * early + lanes * weighed * machine.watches("mask")
        works = (scored and early) or (weighed and machine.watches("mask"))
        writes["softmax_excess"] += lanes * bool(works) + swapping
        for name in ("m", "seen"):
            writes[f"softmax_{name}"] += live + swapping
        writes["softmax_masked"] += live + lanes * between
        for name, words in (("excess", 1), ("m", 2), ("seen", 1)):
            uses[f"softmax_read_{name}"] += words * path * reads
        uses["softmax_last_fall"] += reads
        uses["softmax_keys"] += reads
        uses["softmax_sum_bounds"] += 2 * reads
        uses["softmax_residual"] += reads * (1 + machine.watches("max") + 2 * machine.watches("sum"))
        for name in ("residual", "limit"):
            writes[f"softmax_{name}"] += reads


@pytest.mark.parametrize("seed", range(3))
def test_counts_are_those_of_the_stepped_machine(seed):
    rng = np.random.default_rng(seed)
    counted = 0
    for _ in range(12):
        machine = observed_machine(rng)
        job = with_limits(machine, random_job(machine, rng, stalls=False, keys=12), rng)
        meter = Meter(machine)
        SteppedEngine(machine, job).run(watch=meter)
        activity = machine.activity(machine.timing(len(job.q), len(job.k)))
        for operator in activity.operators:
            if operator.component in COMPONENTS:
                assert operator.uses == meter.uses[operator.name], (operator.name, machine.config)
                counted += 1
        for register in machine.inventory:
            if register.component not in COMPONENTS:
                continue
            writes = activity.register_writes[register.name]
            assert meter.changes[register.name] <= writes, register.name
            if not register.about.startswith("configuration"):
                assert writes == meter.writes[register.name], (register.name, machine.config)
    assert counted > 60
