"""The operators of the `fused` machine, and how often they and its registers work in one head.

In closed form from the sizes. What is counted: a PE works in every cycle in which its control word makes it multiply,
for columns without a query and keys that are masked or do not exist as well: nothing in the machine stops them. In the
cycles
of 2^x every PE evaluates the line of every piece. A PE's multiply-add rounds once; it is priced as a multiplier and an
adder. A register with a clock enable (all that a control word or command moves) is clocked when it is enabled; delay
lines, control words and commands are clocked in every cycle, configuration never. What the checksum columns make the
array do is the check unit's.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from accel_sim.machines.counting import count_bits, frequent_of
from accel_sim.machines.fused import WATCH_MAX, WATCH_SCORE, WATCH_SUM, FusedMachine
from accel_sim.machines.fused_timing import FusedTiming
from accel_sim.machines.lanes import tree_sizes
from accel_sim.machines.operators import Activity, Operator, product_of, sum_of
from accel_sim.numerics.formats import uint_format

CHECKER, INVARIANTS, ROWSUM = "checker.fused_output", "checker.softmax_invariants", "checker.score_rowsum"

_EVERY_CYCLE = (
    "phase timer acc_step feed_sel feed_arg skew_mode ctrl_down ctrl_up ctrl cmp_cmd cmp_arg out_valid in_skew "
    "out_skew out_last sum_valid sum_check sum_last compare judge softmax_judge rowsum_valid rowsum_judge"
)


def fused_activity(machine: FusedMachine, timing: FusedTiming) -> Activity:
    """The activity of one head, in closed form."""
    n_queries, n_keys, n = timing.n_queries, timing.n_keys, machine.size
    operand, output = machine.stored_formats["operand"], machine.stored_formats["output"]
    again = 0 if machine.rowsum is None else 1  # read once more, for the prediction
    return Activity(
        cycles=timing.head_cycles,
        operators=tuple(op for op in _operators(machine, timing) if op.instances or op.uses),
        register_writes=_writes(machine, timing),
        sram_elements={"q": n_queries * n * (timing.key_tiles + again), "k": n_keys * n * timing.query_tiles,
                       "v": n_keys * n * timing.query_tiles, "o": n_queries * n},
        sram_formats={"q": operand, "k": operand, "v": operand, "o": output},
    )


def _comparisons(machine: FusedMachine, timing: FusedTiming) -> int:
    if machine.check is None:
        return 0
    return 1 if machine.check.granularity == "head" else timing.query_tiles


def _operators(machine: FusedMachine, timing: FusedTiming) -> Iterator[Operator]:
    n, c, pieces = machine.size, machine.columns, machine.pieces
    tiles, blocks, pes = timing.query_tiles * timing.key_tiles, timing.query_tiles, machine.size**2
    operand, total, checker = (machine.stored_formats[role] for role in ("operand", "state", "checker"))
    multiply, add = product_of(operand, operand, total), sum_of(total, total, total)
    wide, narrow = product_of(total, total, total), uint_format(machine.piece_bits).name
    each = 2 * n + 3 + pieces  # scores, outputs; subtract, scale, row sum; pieces
    for name, unit, fmt in (("pe_multiply", "fp_mul", multiply), ("pe_add", "fp_add", add)):
        yield Operator(name, unit, fmt, "array", pes, tiles * pes * each)
    yield Operator("pe_piece", "int_cmp", narrow, "array", pes, tiles * pes * pieces)
    yield Operator("row_max", "fp_max", total.name, "compare", n, tiles * n * n)
    yield Operator("max_difference", "fp_add", add, "compare", n, tiles * n * 2)
    yield Operator("mask", "int_cmp", uint_format(machine.bound_bits).name, "compare", n, tiles * n * n)
    if machine.window:
        yield Operator("mask_first", "int_cmp", uint_format(machine.bound_bits).name, "compare", n, tiles * n * n)
    # Scaling and line of the correction, l and o; the division's products.
    updates = tiles * n * (2 + 1 + n) + blocks * n * n
    for name, unit, fmt in (("accumulate_multiply", "fp_mul", wide), ("accumulate_add", "fp_add", add)):
        yield Operator(name, unit, fmt, "accumulate", n, updates)
    yield Operator("reciprocal", "div", total.name, "accumulate", n, blocks * n)
    timer = uint_format(machine.timer_bits).name
    yield Operator("sequencer_count", "int_add", timer, "control", 1, timing.head_cycles)
    if machine.invariants is not None:
        yield from _watching(machine, timing)
    if machine.rowsum is not None:
        yield from _summing(machine, machine.rowsum, timing)
    if machine.check is None:
        return
    compared = _comparisons(machine, timing)
    yield from _counting(machine, machine.check, CHECKER, "check", compared)
    for name, unit, fmt in (("check_pe_multiply", "fp_mul", multiply), ("check_pe_add", "fp_add", add)):
        yield Operator(name, unit, fmt, CHECKER, 0, tiles * pes * c)
    for name, unit, fmt in (("check_accumulate_multiply", "fp_mul", wide), ("check_accumulate_add", "fp_add", add)):
        yield Operator(name, unit, fmt, CHECKER, 0, (tiles + blocks) * n * c)
    row_sum = sum_of(checker, operand, checker)
    yield Operator("check_row_sum", "fp_add", row_sum, CHECKER, n, tiles * n * (n - 1 + c))
    first = sum_of(total, total, checker)
    later = sum_of(checker, checker, checker)
    rows = blocks * (n + c)
    yield Operator("check_tree_first", "fp_add", first, CHECKER, n // 2, rows * (n // 2))
    inner = n - 1 - n // 2
    yield Operator("check_tree", "fp_add", later, CHECKER, inner, rows * inner)
    yield Operator("check_sums", "fp_add", later, CHECKER, 2, rows)
    yield Operator("check_residual", "fp_add", later, CHECKER, 1, compared)
    yield Operator("check_compare", "fp_cmp", checker.name, CHECKER, 1, compared)
    if machine.check.threshold.kind == "relative":
        yield Operator("check_larger", "fp_max", checker.name, CHECKER, 1, compared)
        yield Operator("check_limit", "fp_mul", product_of(checker, checker, checker), CHECKER, 1, compared)


def _watching(machine: FusedMachine, timing: FusedTiming) -> Iterator[Operator]:
    """Of the unit of the softmax's invariants. A column's subtractor of maxima works for the read-out as well."""
    n, watch = machine.size, machine.watch
    keys, reads = timing.query_tiles * timing.key_tiles * n * n, timing.query_tiles * n
    total, checker = machine.stored_formats["state"], machine.stored_formats["checker"]
    largest = "fp_max", checker.name, INVARIANTS
    if watch & (WATCH_MAX | WATCH_SCORE):
        yield _column_select("softmax_read_excess", checker.name, INVARIANTS, n, timing.n_queries)
    if watch & WATCH_MAX:
        yield Operator("softmax_fall", "fp_add", sum_of(total, total, checker), INVARIANTS, n, keys + reads)
        yield Operator("softmax_largest_fall", *largest, n, keys + reads)
    if watch & WATCH_SCORE:
        yield Operator("softmax_score", "fp_add", sum_of(total, checker, checker), INVARIANTS, n, keys)
        yield Operator("softmax_largest_score", *largest, n, keys)
    if watch & WATCH_SUM:
        yield _column_select("softmax_read_sum", total.name, INVARIANTS, n, timing.n_queries)
        yield Operator("softmax_sum", "fp_add", sum_of(total, total, checker), INVARIANTS, 2, 2 * timing.n_queries)
        yield Operator("softmax_largest_sum", *largest, 2, 2 * timing.n_queries)
    yield Operator("softmax_compare", "fp_cmp", checker.name, INVARIANTS, 1, timing.n_queries)
    yield from _counting(machine, machine.invariants, INVARIANTS, "softmax", timing.n_queries)


def _column_select(name: str, fmt: str, component: str, n: int, rows: int) -> Operator:
    """The multiplexer that reads one column of n: a tree of n − 1, of which a reading passes one in each level."""
    return Operator(name, "mux", fmt, component, n - 1, (n - 1).bit_length() * rows)


def _summing(machine: FusedMachine, unit: Any, timing: FusedTiming) -> Iterator[Operator]:
    """Of the unit of the scores' row sums."""
    n, rows, keys = machine.size, timing.n_queries, timing.query_tiles * timing.key_tiles * machine.size
    operand, total, checker = (machine.stored_formats[role] for role in ("operand", "state", "checker"))
    later, square = sum_of(checker, checker, checker), product_of(checker, checker, checker)
    yield Operator("rowsum_key_add", "fp_add", sum_of(operand, checker, checker), ROWSUM, n, keys * n)
    yield Operator("rowsum_score_add", "fp_add", sum_of(total, checker, checker), ROWSUM, n, keys * n)
    yield _column_select("rowsum_read_sum", checker.name, ROWSUM, n, rows)
    yield Operator("rowsum_product", "fp_mul", product_of(operand, checker, checker), ROWSUM, n, rows * n)
    yield Operator("rowsum_dot", "fp_add", later, ROWSUM, n - 1, rows * (n - 1))
    yield Operator("rowsum_residual", "fp_add", later, ROWSUM, 1, rows)
    yield Operator("rowsum_compare", "fp_cmp", checker.name, ROWSUM, 1, rows)
    if unit.threshold.kind == "relative":
        yield Operator("rowsum_larger_sum", "fp_max", checker.name, ROWSUM, 1, rows)
        yield Operator("rowsum_limit", "fp_mul", square, ROWSUM, 1, rows)
    yield from _counting(machine, unit, ROWSUM, "rowsum", rows)


def _counting(machine: FusedMachine, unit: Any, component: str, prefix: str, compared: int) -> Iterator[Operator]:
    """Of a statistical threshold: the second comparison; the counter moves in no fault-free head."""
    bits = count_bits(frequent_of(unit))
    if bits:
        yield Operator(f"{prefix}_small", "fp_cmp", machine.stored_formats["checker"].name, component, 1, compared)
        yield Operator(f"{prefix}_deviations", "int_add", uint_format(bits).name, component, 1, 0)
        yield Operator(f"{prefix}_frequent", "int_cmp", uint_format(bits).name, component, 1, 0)


def _busy(machine: FusedMachine) -> int:
    """Waves of a key tile in which a row's control word is not 0, over all rows (moves overlap each other)."""
    n, end = machine.size, 2 * machine.size + 4 + machine.pieces + machine.size + machine.columns
    return sum(n + len({*range(n - r, 2 * n - r), *range(n + 1 + r, 2 * n + 1 + r), 2 * n + 1,
                        *range(2 * n + 3 - r, 3 * n + 3 - r), *range(2 * n + 2 + r, end + r + 1)}) for r in range(n))


def _writes(machine: FusedMachine, timing: FusedTiming) -> dict[str, int]:
    n, c, pieces, cycles = machine.size, machine.columns, machine.pieces, timing.head_cycles
    n_queries = timing.n_queries
    tiles, blocks = timing.query_tiles * timing.key_tiles, timing.query_tiles
    size = {register.name: register.size for register in machine.inventory}
    softmax = 3 + pieces  # subtract, scale, pieces, row sum
    found = {name: size[name] * cycles for name in _EVERY_CYCLE.split() if name in size}
    found |= {
        "key_tile": tiles, "query_tile": blocks, "last_key_tile": 0, "last_query_tile": 0, "acc_first": tiles,
        "bound": tiles * n * n, "out_dim": blocks * (n + c), "out_tile": blocks * (n + c), "feed": tiles * 3 * n * n,
        "s": tiles * n * n * (n + 4), "right": tiles * size["right"] * (3 * n + c + softmax),
        "up": tiles * n * n * 2 * n, "down": tiles * n * n * (2 * n + c + softmax),
        "done": tiles * n * _busy(machine),
        "new_max": tiles * n * n + blocks * n, "old_max": tiles * n + blocks * n,
        "cmp_out": tiles * n * (n + 3 + pieces), "scale": tiles * n * 2 + blocks * n * 2, "l": tiles * n,
        "o": tiles * n * n, "out": blocks * (n + c) * n,
    }
    if machine.check is not None:
        levels = tree_sizes(n)
        compared = _comparisons(machine, timing)
        found |= {
            "r": tiles * n * (n + c), "c": tiles * n * c, "out_tree": blocks * (n + c) * sum(levels),
            "pred": blocks * c + compared, "act": blocks * n + compared, "residual": compared, "limit": compared,
            "threshold": 0, "enable": 0, "alarm": 0, "small_threshold": 0, "frequent": 0, "deviations": 0,
        }
    if machine.window:
        found["first"] = found["bound"]
    if machine.invariants is not None:
        watched = tiles * n * n + blocks * n  # for every key, and cleared when it is read out
        found |= {"softmax_m": watched, "softmax_excess": watched, "softmax_residual": n_queries}
        still = "bound keys threshold enable alarm small_threshold frequent deviations"
        found |= {f"softmax_{name}": 0 for name in still.split()}
    if machine.rowsum is not None:
        stages = machine.levels + 2
        found |= {
            "rowsum_keys": n * (tiles * n + blocks), "rowsum_sum": n * (tiles * n + blocks),
            "rowsum_query": n * n_queries, "rowsum_prod": n * n_queries,
            "rowsum_tree": size["rowsum_tree"] * n_queries, "rowsum_delay": stages * n_queries,
            "rowsum_residual": n_queries, "rowsum_limit": n_queries,
        }
        still = "threshold enable alarm small_threshold frequent deviations"
        found |= {f"rowsum_{name}": 0 for name in still.split()}
    return {register.name: found[register.name] for register in machine.inventory}
