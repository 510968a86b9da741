"""The operators of the `lanes` machine, and how often they and its registers work in one head.

Derived from the same facts as the inventory (`accel_sim.machines.lanes`) and the equations of
docs/machines/lanes.md; the closed forms are held against the stepped engine, count by count.

What is counted:

- A stage of the pipeline works in all lanes whenever a live key is in it. Lanes without a query (a short last
  block) and masked keys count too: nothing in the machine stops their units.
- The normaliser and what follows it work on rows that hold a query.
- A register with a clock enable is clocked when its stage works; valid bits and other control flags without
  one are clocked in every cycle; configuration registers are not clocked at all.

Names used below: P lanes, head dim d, B query blocks, `keys` = B·N keys streamed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from accel_sim.machines.counting import count_bits, frequent_of
from accel_sim.machines.lanes import LanesMachine, Timing, bits_for, tree_sizes
from accel_sim.machines.lanes_observers import observer_operators, observer_writes
from accel_sim.machines.operators import Activity, Operator, product_of, sum_of, widest
from accel_sim.numerics.formats import Format

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKER = "checker.fused_output"


@dataclass(frozen=True)
class Counts:
    """How often things happen in one head: the closed forms that everything else is a multiple of."""

    machine: LanesMachine
    timing: Timing

    @property
    def keys(self) -> int:
        """Cycles in which a key is fetched; every stage of the pipeline works as often."""
        return self.timing.blocks * self.timing.n_keys

    @property
    def swap_rows(self) -> int:
        """Lanes drained and loaded: P in each of B + 1 swaps, with or without a query."""
        return (self.timing.blocks + 1) * self.timing.lanes

    @property
    def scans_per_block(self) -> int:
        """Key tiles of a block that are scanned: those with at least P keys after them."""
        if not self.machine.scans:
            return 0
        return max(0, self.timing.n_keys - self.timing.lanes) // self.machine.key_tile

    @property
    def scan_rows(self) -> int:
        """Lanes read by scans, with or without a query."""
        return self.timing.blocks * self.scans_per_block * self.timing.lanes

    @property
    def rows_read(self) -> int:
        """Lanes read into the normaliser's operand registers."""
        return self.swap_rows + self.scan_rows

    @property
    def rows_summed(self) -> int:
        """Rows with a query that the output sum of the check unit takes in, delivered or scanned."""
        return self.timing.n_queries * (1 + self.scans_per_block)

    @property
    def comparisons(self) -> int:
        """Comparisons of the check unit."""
        check = self.machine.check
        if check is None:
            return 0
        if check.granularity == "head":
            return 1
        return self.timing.blocks * (1 + self.scans_per_block)

    @property
    def sums_emptied_on_the_fly(self) -> int:
        """Comparisons in whose cycle the next row arrives: scans that follow one another without a gap."""
        if self.machine.key_tile != self.timing.lanes:
            return 0
        return self.timing.blocks * max(0, self.scans_per_block - 1)

    @property
    def tiles_finished(self) -> int:
        """Key tiles streamed to their last row; a short last tile does not switch banks."""
        return self.timing.blocks * (self.timing.n_keys // self.machine.key_tile)


class _Operators:
    """The operator groups of one machine and head."""

    def __init__(self, machine: LanesMachine, timing: Timing) -> None:
        self.machine = machine
        self.count = Counts(machine, timing)
        self.n_queries = timing.n_queries
        self.format = machine.stored_formats
        self.lanes, self.d = machine.lanes, machine.head_dim

    def all(self) -> Iterator[Operator]:
        yield from self.control()
        yield from self.score_path("", "score")
        yield from self.maximum("", "softmax")
        yield from self.exponentials("", "softmax")
        yield from self.running_sum("", "softmax")
        yield from self.output()
        yield from self.normaliser()
        if self.machine.check is not None:
            yield from self.checker()
        yield from observer_operators(self.machine, self.count)

    def each_key(self, name: str, unit: str, fmt: str, component: str, instances: int) -> Operator:
        """Units that all work once for every key streamed."""
        return Operator(name, unit, fmt, component, instances, instances * self.count.keys)

    # -- the datapath ----------------------------------------------------------------------------------

    def control(self) -> Iterator[Operator]:
        count, machine = self.count, self.machine
        query, key = f"uint{machine.query_bits}", f"uint{machine.key_bits}"
        swaps = count.swap_rows
        yield Operator("next_row", "int_add", f"uint{bits_for(self.lanes)}", "control", 1, swaps)
        yield Operator("next_query", "int_add", query, "control", 1, swaps)
        yield Operator("first_query", "int_add", query, "control", 1, swaps)
        yield Operator("drained_query", "int_add", query, "control", 1, swaps)
        yield Operator("query_exists", "int_cmp", query, "control", 1, swaps)
        yield self.each_key("next_key", "int_add", key, "control", 1)
        yield self.each_key("key_is_last", "int_cmp", key, "control", 1)

    def score_path(self, prefix: str, component: str) -> Iterator[Operator]:
        operand, score = self.format["operand"], self.format["score"]
        products = self.lanes * self.d
        adds = self.lanes * (self.d - 1)
        exact = self.machine.dot == "fused"
        result = product_of(operand, operand, score)
        if exact:
            result = f"{operand.name}*{operand.name}->exact"
        yield self.each_key(f"{prefix}product", "fp_mul", result, component, products)
        if exact:
            yield self.each_key(f"{prefix}dot", "fused_sum", operand.name, component, adds)
        else:
            yield self.each_key(f"{prefix}dot", "fp_add", score.name, component, adds)
        scale = product_of(score, score, score)
        yield self.each_key(f"{prefix}scale", "fp_mul", scale, component, self.lanes)

    def maximum(self, prefix: str, component: str) -> Iterator[Operator]:
        score, state, lanes = self.format["score"], self.format["state"], self.lanes
        wide = widest(score, state).name
        yield self.each_key(f"{prefix}mask", "int_cmp", f"uint{self.machine.key_bits}", component, lanes)
        if self.machine.sliding_window:
            yield self.each_key(f"{prefix}mask_first", "int_cmp", f"uint{self.machine.key_bits}", component, lanes)
        yield self.each_key(f"{prefix}maximum", "fp_max", wide, component, lanes)
        yield self.each_key(f"{prefix}score_minus_max", "fp_add", wide, component, lanes)
        yield self.each_key(f"{prefix}max_minus_max", "fp_add", sum_of(state, state, score), component, lanes)

    def exponentials(self, prefix: str, component: str) -> Iterator[Operator]:
        unit = "exp_pwl" if self.machine.exp.kind == "pwl" else "exp"
        wide = widest(self.format["score"], self.format["exp"]).name
        yield self.each_key(f"{prefix}exp", unit, wide, component, 2 * self.lanes)

    def running_sum(self, prefix: str, component: str) -> Iterator[Operator]:
        exp, state = self.format["exp"], self.format["state"]
        rescale = product_of(exp, state, state)
        yield self.each_key(f"{prefix}l_rescale", "fp_mul", rescale, component, self.lanes)
        yield self.each_key(f"{prefix}l_add", "fp_add", sum_of(state, exp, state), component, self.lanes)

    def output(self) -> Iterator[Operator]:
        operand, exp, state = (self.format[role] for role in ("operand", "exp", "state"))
        many = self.lanes * self.d
        yield self.each_key("p_times_v", "fp_mul", product_of(exp, operand, state), "output", many)
        yield self.each_key("o_rescale", "fp_mul", product_of(state, exp, state), "output", many)
        yield self.each_key("o_add", "fp_add", state.name, "output", many)

    def normaliser(self) -> Iterator[Operator]:
        state, output = self.format["state"], self.format["output"]
        rows, d = self.n_queries, self.d
        yield from self.lane_select("read_lane", state, "normalise", d + 1)
        if self.machine.reciprocal:
            yield Operator("reciprocal", "reciprocal_pwl", state.name, "normalise", 1, rows)
            scale = product_of(state, state, output)
            yield Operator("o_times_reciprocal", "fp_mul", scale, "normalise", d, rows * d)
        else:
            wide = widest(state, output).name
            yield Operator("o_by_l", "div", wide, "normalise", d, rows * d)

    def lane_select(self, name: str, fmt: Format, component: str, words: int) -> Iterator[Operator]:
        """The multiplexer that reads one lane of P: P − 1 selections in hardware, ⌈log2 P⌉ of them on the
        path of the lane that is read."""
        if self.lanes > 1:
            path = (self.lanes - 1).bit_length()
            instances, uses = words * (self.lanes - 1), words * path * self.count.rows_read
            yield Operator(name, "mux", fmt.name, component, instances, uses)

    # -- the check unit --------------------------------------------------------------------------------

    def checker(self) -> Iterator[Operator]:
        owns, count = self.machine.owns, self.count
        exp, operand, checker = (self.format[role] for role in ("exp", "operand", "checker"))
        if owns("score"):
            yield from self.score_path("chk_", CHECKER)
        if owns("max"):
            yield from self.maximum("chk_", CHECKER)
        if owns("exp"):
            yield from self.exponentials("chk_", CHECKER)
        if owns("sum"):
            yield from self.running_sum("chk_", CHECKER)
        yield from self.tree("row_sum", operand, count.keys)
        weighted = product_of(exp, checker, checker)
        yield self.each_key("p_times_r", "fp_mul", weighted, CHECKER, self.lanes)
        yield self.each_key("c_rescale", "fp_mul", weighted, CHECKER, self.lanes)
        yield self.each_key("c_add", "fp_add", checker.name, CHECKER, self.lanes)
        yield from self.checker_normaliser()
        yield from self.judgement()

    def tree(self, name: str, leaf: Format, rows: int) -> Iterator[Operator]:
        """An adder tree over d values of format `leaf`, `rows` of which pass through it."""
        checker = self.format["checker"]
        leaves = self.d // 2
        rest = self.d - 1 - leaves
        for part, fmt, adders in (
            (f"{name}_leaf", sum_of(leaf, leaf, checker), leaves), (name, checker.name, rest),
        ):
            if adders > 0:
                yield Operator(part, "fp_add", fmt, CHECKER, adders, adders * rows)

    def checker_normaliser(self) -> Iterator[Operator]:
        state, checker = self.format["state"], self.format["checker"]
        rows, own = self.n_queries, self.machine.owns("sum")
        yield from self.lane_select("read_lane_c", checker, CHECKER, 1)
        if own:
            yield from self.lane_select("read_lane_chk_l", state, CHECKER, 1)
        if self.machine.reciprocal:
            if own:
                yield Operator("chk_reciprocal", "reciprocal_pwl", state.name, CHECKER, 1, rows)
            scale = product_of(state, checker, checker)
            yield Operator("c_times_reciprocal", "fp_mul", scale, CHECKER, 1, rows)
        else:
            yield Operator("c_by_l", "div", widest(state, checker).name, CHECKER, 1, rows)

    def judgement(self) -> Iterator[Operator]:
        machine, count, checker = self.machine, self.count, self.format["checker"]
        assert machine.check is not None
        leaf = self.format["output"]
        rows = count.rows_summed
        if machine.scans:
            leaf = widest(leaf, self.format["state"])
            yield Operator("row_select", "mux", leaf.name, CHECKER, self.d, self.d * rows)
            yield Operator("predicted_select", "mux", checker.name, CHECKER, 1, rows)
            key = f"uint{machine.key_bits}"
            yield self.each_key("keys_to_come", "int_add", key, CHECKER, 1)
            steps = count.timing.blocks * count.scans_per_block * (self.lanes - 1)
            yield Operator("next_scan_row", "int_add", f"uint{bits_for(self.lanes)}", CHECKER, 1, steps)
        yield from self.tree("out_sum", leaf, rows)
        yield Operator("predicted_and_actual", "fp_add", checker.name, CHECKER, 2, 2 * rows)
        yield Operator("residual", "fp_add", checker.name, CHECKER, 1, count.comparisons)
        if machine.check.threshold.kind == "relative":
            larger, product = checker.name, product_of(checker, checker, checker)
            yield Operator("larger_sum", "fp_max", larger, CHECKER, 1, count.comparisons)
            yield Operator("limit", "fp_mul", product, CHECKER, 1, count.comparisons)
        yield Operator("judge", "fp_cmp", checker.name, CHECKER, 1, count.comparisons)
        if machine.statistical:
            counter = f"uint{count_bits(frequent_of(machine.check))}"
            yield Operator("judge_small", "fp_cmp", checker.name, CHECKER, 1, count.comparisons)
            yield Operator("count_deviation", "int_add", counter, CHECKER, 1, count.comparisons)
            yield Operator("judge_count", "int_cmp", counter, CHECKER, 1, count.comparisons)


class _Writes:
    """Elements of each register array that are clocked in one head."""

    def __init__(self, machine: LanesMachine, timing: Timing) -> None:
        self.machine, self.timing = machine, timing
        self.count = Counts(machine, timing)

    @cached_property
    def rules(self) -> Mapping[str, int]:
        """Clockings of each register array, in elements, for all arrays that do not work with every key."""
        count, timing, machine = self.count, self.timing, self.machine
        lanes, d = machine.lanes, machine.head_dim
        always, keys, swaps, rows = timing.head_cycles, count.keys, count.swap_rows, count.rows_read
        queries, summed, compared = timing.n_queries, count.rows_summed, count.comparisons
        sums = summed + compared - count.sums_emptied_on_the_fly
        loaded = keys * lanes + swaps  # lane registers that are emptied in the swap
        rules = dict.fromkeys(("last_query", "last_key", "scale", "threshold", "scan_threshold", "small_threshold",
                               "frequent", "enable"), 0)
        rules |= dict.fromkeys(("phase", "norm_valid", "norm_last", "recip_valid", "recip_last", "out_valid",
                                "out_last", "compare", "judge", "scanning", "norm_scan", "compare_scan"), always)
        rules |= dict.fromkeys(("sum_valid", "sum_last", "sum_scan"), machine.levels * always)
        rules |= dict.fromkeys(("valid", "tile_last"), machine.stages * always)
        rules |= dict.fromkeys(("row", "query", "bound", "first", "active", "norm_addr"), swaps)
        rules |= dict.fromkeys(("m", "seen", "l", "c", "chk_m", "chk_seen", "chk_l"), loaded)
        rules |= dict.fromkeys(("norm_l", "norm_c", "norm_chk_l"), rows)
        rules |= dict.fromkeys(("recip", "recip_addr", "recip_c", "chk_recip", "out_addr", "pred_term"), queries)
        rules |= dict.fromkeys(("recip_o", "out"), queries * d)
        rules |= dict.fromkeys(("pred", "act"), sums)
        rules |= dict.fromkeys(("residual", "limit", "alarm", "deviations"), compared)
        return rules | observer_writes(machine, count) | {
            "key": keys + timing.blocks,
            "kv_bank": count.tiles_finished + timing.blocks,
            "q": swaps * d,
            "o": loaded * d,
            "norm_o": rows * d,
            "out_tree": summed * sum(tree_sizes(d)),
            "pred_delay": summed * machine.levels,
            "scan_row": timing.blocks * count.scans_per_block * lanes,
        }

    def all(self) -> dict[str, int]:
        """Every register array of the machine; an array that no rule names works once with every key."""
        return {r.name: self.rules.get(r.name, r.size * self.count.keys) for r in self.machine.inventory}


def lanes_operators(machine: LanesMachine, timing: Timing) -> tuple[Operator, ...]:
    """The operator groups of a lanes machine, with their uses in one head of that timing."""
    return tuple(operator for operator in _Operators(machine, timing).all() if operator.instances)


def lanes_register_writes(machine: LanesMachine, timing: Timing) -> dict[str, int]:
    """Elements clocked of each register array, in one head of that timing."""
    return _Writes(machine, timing).all()


def lanes_activity(machine: LanesMachine, timing: Timing) -> Activity:
    """Everything that one head makes the machine do."""
    d, formats = machine.head_dim, machine.stored_formats
    keys = Counts(machine, timing).keys
    return Activity(
        cycles=timing.head_cycles,
        operators=lanes_operators(machine, timing),
        register_writes=lanes_register_writes(machine, timing),
        sram_elements={"q": timing.n_queries * d, "k": keys * d, "v": keys * d, "o": timing.n_queries * d},
        sram_formats={**dict.fromkeys("qkv", formats["operand"]), "o": formats["output"]},
    )
