"""How often operators and registers work: the closed forms against a machine that is watched cycle by cycle."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from accel_sim.engines.job import make_job
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.machines.lanes import STREAM, SWAP, LanesMachine
from accel_sim.machines.operators import Activity

CHECKED = {
    "head": {"granularity": "head"},
    "query_block": {"granularity": "query_block"},
    "key_tile": {"granularity": "key_tile"},
    "relative": {"granularity": "key_tile", "threshold": {"kind": "relative", "value": 0.1}},
    "unshared": {"granularity": "key_tile", "shares": dict.fromkeys(("score", "max", "exp", "sum"), False)},
    "own_sum": {"shares": {"sum": False}},
    "statistical": {"granularity": "query_block", "threshold": {"kind": "statistical", "frequent": 9}},
    "none": None,
}


class Meter:
    """Counts what each unit and each register does, from the state at the start of every cycle."""

    def __init__(self, machine: LanesMachine) -> None:
        self.machine = machine
        self.uses: Counter[str] = Counter()
        self.writes: Counter[str] = Counter()
        self.changes: Counter[str] = Counter()
        self.sram: Counter[str] = Counter()
        self.cycles = 0
        self._before: np.ndarray | None = None

    def __call__(self, cycle: int, state: np.ndarray) -> None:
        if self._before is not None:
            self._count_changes(state)
        self._before = state.copy()
        self.cycles += 1
        self._count_stages(state)

    def _at(self, state: np.ndarray, name: str) -> np.ndarray:
        start = self.machine.inventory.offsets[name]
        return state[start:start + self.machine.inventory[name].size]

    def _count_changes(self, state: np.ndarray) -> None:
        changed = self._before.view(np.int64) != state.view(np.int64)
        for register in self.machine.inventory:
            self.changes[register.name] += int(self._at(changed, register.name).sum())

    def _use(self, count: int, *names: str) -> None:
        for name in names:
            self.uses[name] += count

    def _write(self, count: int, *names: str) -> None:
        for name in names:
            self.writes[name] += count

    def _count_stages(self, state: np.ndarray) -> None:
        def flag(name: str) -> bool:
            return name in self.machine.inventory and bool(self._at(state, name)[0])

        def number(name: str) -> int:
            return int(self._at(state, name)[0])

        machine = self.machine
        p, d, depth, levels = machine.lanes, machine.head_dim, machine.depth, machine.levels
        valid = [bool(x) for x in self._at(state, "valid")]
        path = (p - 1).bit_length()
        everything = {r.name for r in machine.inventory}
        for name in everything & {
            "phase", "valid", "norm_valid", "norm_last", "recip_valid", "recip_last", "out_valid", "out_last",
            "compare", "judge", "scanning", "norm_scan", "compare_scan", "sum_valid", "sum_last", "sum_scan",
            "tile_last",
        }:  # no clock enable
            self._write(machine.inventory[name].size, name)

        # Fetch.
        phase = number("phase")
        if phase == STREAM:
            self._use(1, "next_key", "key_is_last", "keys_to_come")
            self._write(d, "k", "v")
            self.sram.update({"k": d, "v": d})
            self._write(1, "key_tag", "key")
            if (number("key") + 1) % machine.key_tile == 0:
                self._write(1, "kv_bank")
        for i in range(1, depth + 3):
            self._write(int(valid[i - 1]), "key_tag")

        # Score.
        for prefix in ("", "chk_") if machine.owns("score") else ("",):
            for t in range(d):
                live = valid[t if machine.dot == "serial" else 0]
                self._use(p * live, f"{prefix}product")
                self._write(p * live, f"{prefix}prod")
            if machine.dot == "tree":
                size = d
                for level in range(levels):
                    half = (size + 1) // 2
                    self._use(p * (size - half) * valid[1 + level], f"{prefix}dot")
                    self._write(p * half * valid[1 + level], f"{prefix}tree")
                    size = half
            elif machine.dot == "serial":
                for t in range(d):
                    self._use(p * valid[1 + t] * (t > 0), f"{prefix}dot")
                    self._write(p * valid[1 + t], f"{prefix}chain")
            else:
                self._use(p * (d - 1) * valid[1], f"{prefix}dot")
                self._write(p * sum(valid[1:1 + levels]), f"{prefix}dot")
            self._use(p * valid[1 + depth], f"{prefix}scale")
            self._write(p * valid[1 + depth], f"{prefix}score")
        for stage in range(1, d):
            if valid[stage - 1]:
                self._write(d - stage, "k_skew")
        self._write(d * sum(valid[:4 + depth]), "v_delay")

        # Softmax.
        prefixes = ["", *(["chk_"] if machine.owns("max") else [])]
        for prefix in prefixes:
            live = p * valid[2 + depth]
            self._use(live, *(f"{prefix}{n}" for n in ("mask", "mask_first", "maximum", "score_minus_max",
                                                       "max_minus_max")))
            self._write(live, *(f"{prefix}{n}" for n in ("m", "seen", "allow", "ds", "da")))
        for prefix in ["", *(["chk_"] if machine.owns("exp") else [])]:
            self._use(2 * p * valid[3 + depth], f"{prefix}exp")
            self._write(p * valid[3 + depth], f"{prefix}p", f"{prefix}a")
            self._write(p * valid[4 + depth], f"{prefix}p_acc", f"{prefix}a_acc")
        for prefix in ["", *(["chk_"] if machine.owns("sum") else [])]:
            live = p * valid[5 + depth]
            self._use(live, f"{prefix}l_rescale", f"{prefix}l_add")
            self._write(live, f"{prefix}l")

        # Output.
        self._use(p * d * valid[4 + depth], "p_times_v")
        self._write(p * d * valid[4 + depth], "pv")
        self._use(p * d * valid[5 + depth], "o_rescale", "o_add")
        self._write(p * d * valid[5 + depth], "o")

        # Swap: drain one lane, load it.
        swapping = phase == SWAP and number("row") < p
        scanning = flag("scanning") and not swapping and number("scan_row") < p
        if swapping:
            self._use(1, "next_row", "next_query", "first_query", "drained_query", "query_exists")
            self._write(1, "row", "query", "bound", "first", "active", "seen", "m", "l", "c", "norm_addr",
                        "chk_m", "chk_seen", "chk_l")
            self._write(d, "q", "o")
            self.sram["q"] += d * (number("query") <= number("last_query"))
            first = (number("query") - number("row")) % (1 << machine.query_bits)
            if number("row") == p - 1 and first <= number("last_query"):
                self._write(1, "key", "kv_bank")
        if swapping or scanning:
            self._use((d + 1) * path, "read_lane")
            self._use(path, "read_lane_c", "read_lane_chk_l")
            self._write(d, "norm_o")
            self._write(1, "norm_l", "norm_c", "norm_chk_l")

        # Normalise.
        self.sram["o"] += d * flag("out_valid")
        finished = flag("norm_valid") and not flag("norm_scan")
        if machine.reciprocal:
            self._use(finished, "reciprocal", "chk_reciprocal")
            self._write(finished, "recip", "chk_recip", "recip_addr", "recip_c")
            self._write(finished * d, "recip_o")
            finished = flag("recip_valid")
        self._use(finished * d, "o_by_l", "o_times_reciprocal")
        self._use(finished, "c_by_l", "c_times_reciprocal")
        self._write(finished * d, "out")
        self._write(finished, "out_addr", "pred_term")
        if machine.check is not None:
            self._count_checker(state, valid, flag, scanning)

    def _count_checker(self, state: np.ndarray, valid: list[bool], flag: Callable[[str], bool],
                       scanning: bool) -> None:
        machine = self.machine
        p, d, levels = machine.lanes, machine.head_dim, machine.levels
        closing = valid[machine.stages - 1] and machine.scans and bool(self._at(state, "tile_last")[-1])
        last_lane = scanning and int(self._at(state, "scan_row")[0]) == p - 1
        self._write(closing or (scanning and not last_lane), "scan_row")
        self._use(scanning and not last_lane, "next_scan_row")
        # The row sum of v.
        self._tree("row_sum", "r_tree", valid[:levels])
        self._write(sum(valid[levels:4 + machine.depth]), "r_delay")
        self._use(p * valid[4 + machine.depth], "p_times_r")
        self._write(p * valid[4 + machine.depth], "chk_pr")
        self._use(p * valid[5 + machine.depth], "c_rescale", "c_add")
        self._write(p * valid[5 + machine.depth], "c")
        # The sum of the delivered or scanned row.
        row = flag("norm_valid") if flag("norm_scan") else flag("out_valid")
        self._use(row * d, "row_select")
        self._use(row, "predicted_select")
        sums = [bool(x) for x in self._at(state, "sum_valid")]
        self._tree("out_sum", "out_tree", [row, *sums[:-1]])
        self._write(row + sum(sums[:-1]), "pred_delay")
        # The comparison.
        self._use(2 * sums[-1], "predicted_and_actual")
        self._write(sums[-1] or flag("compare"), "pred", "act")
        self._use(flag("compare"), "residual", "larger_sum", "limit")
        self._write(flag("compare"), "residual", "limit")
        self._use(flag("judge"), "judge", "judge_small", "count_deviation", "judge_count")
        self._write(flag("judge"), "alarm", "deviations")

    def _tree(self, adders: str, registers: str, live: list[bool]) -> None:
        size = self.machine.head_dim
        for level, works in enumerate(live):
            half = (size + 1) // 2
            self._use((size - half) * works, adders if level else f"{adders}_leaf")
            self._write(half * works, registers)
            size = half


def measured(machine: LanesMachine, n_queries: int, n_keys: int, seed: int) -> Meter:
    """A run on normal operands of the machine's operand format."""
    rng = np.random.default_rng(seed)
    rounding = machine.formats["operand"]
    q, k, v = (rounding.decode(rounding.encode(np.round(rng.normal(size=(n, machine.head_dim)) * 8) / 8))
               for n in (n_queries, n_keys, n_keys))
    meter = Meter(machine)
    result = SteppedEngine(machine, make_job(machine, q, k, v)).run(watch=meter)
    assert not result.hang
    return meter


def agree(meter: Meter, counted: Activity) -> None:
    assert counted.cycles == meter.cycles
    assert {o.name: o.uses for o in counted.operators} == {
        o.name: meter.uses[o.name] for o in counted.operators
    }
    used = {name for name, uses in meter.uses.items() if uses}
    assert used <= {o.name for o in counted.operators} | ABSENT
    assert counted.sram_elements == dict(meter.sram)
    assert counted.register_writes == {name: meter.writes[name] for name in counted.register_writes}


ABSENT = {"keys_to_come", "read_lane_c", "read_lane_chk_l", "reciprocal", "chk_reciprocal", "o_by_l", "c_by_l",
          "o_times_reciprocal", "c_times_reciprocal", "row_select", "predicted_select", "larger_sum", "limit",
          "mask_first", "chk_mask_first", "judge_small", "count_deviation", "judge_count"}
"""What the meter counts without asking whether the design has it."""


@pytest.mark.parametrize("check", CHECKED)
@pytest.mark.parametrize("divide", ["exact", "reciprocal_pwl"])
def test_counts_are_those_of_the_stepped_machine(machine: Any, check: str, divide: str) -> None:
    design = machine(CHECKED[check], divide={"kind": divide})
    for n_queries, n_keys in ((4, 8), (5, 13), (9, 40)):
        meter = measured(design, n_queries, n_keys, seed=n_keys)
        agree(meter, design.activity(design.timing(n_queries, n_keys)))


@pytest.mark.parametrize("dot", ["tree", "serial", "fused"])
@pytest.mark.parametrize("head_dim", [1, 2, 3, 5, 8])
def test_counts_for_every_dot_product_and_odd_sizes(machine: Any, dot: str, head_dim: int) -> None:
    design = machine(CHECKED["unshared"], dot=dot, head_dim=head_dim, lanes=3)
    agree(measured(design, 7, 20, seed=1), design.activity(design.timing(7, 20)))


@pytest.mark.parametrize("seed", range(12))
def test_counts_of_random_designs(machine: Any, seed: int) -> None:
    rng = random.Random(seed)
    lanes = rng.choice([1, 2, 3, 4, 8])
    tile = rng.choice([t for t in (1, 2, 4, 8, 16) if t >= lanes])
    design = machine(
        CHECKED[rng.choice(list(CHECKED))], lanes=lanes, key_tile=tile, head_dim=rng.randint(1, 9),
        dot=rng.choice(["tree", "serial", "fused"]), exp={"kind": rng.choice(["exact", "pwl"])},
        divide={"kind": rng.choice(["exact", "reciprocal_pwl"])}, sliding_window=seed % 2 == 1,
    )
    n_queries, n_keys = rng.randint(1, 20), rng.randint(1, 50)
    agree(measured(design, n_queries, n_keys, seed), design.activity(design.timing(n_queries, n_keys)))


def test_a_register_that_changes_has_been_written(machine: Any) -> None:
    """Independent of how stages are read: compare the registers of one cycle with those of the next."""
    design = machine(CHECKED["unshared"], divide={"kind": "reciprocal_pwl"})
    meter = measured(design, 12, 40, seed=3)
    writes = design.activity(design.timing(12, 40)).register_writes
    assert all(meter.changes[name] <= count for name, count in writes.items())
    # Random data changes at nearly every write.
    for name in ("k", "v_delay", "tree", "score", "o", "r_tree", "c", "chk_tree"):
        assert meter.changes[name] > 0.8 * writes[name], name


def test_sram_is_accessed_in_stored_formats(machine: Any) -> None:
    counted = machine().activity(machine().timing(9, 40))
    assert {name: fmt.name for name, fmt in counted.sram_formats.items()} == {
        "q": "bf16", "k": "bf16", "v": "bf16", "o": "fp32",
    }
