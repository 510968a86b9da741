"""The `fused` machine: one N × N systolic array that runs all of FlashAttention inside (FSA, arXiv 2507.11331).

Which registers it has, and how long its phases take. What the registers do in a cycle is in `accel_sim.fused.step`;
docs/machines/fused.md is the normative text for both, and says which details are published and which are ours.
"""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accel_sim.machines.counting import counting_registers, frequent_of
from accel_sim.machines.fused_timing import Durations, FusedTiming, fused_timing
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.machines.lanes import bits_for, tree_sizes
from accel_sim.machines.program_machine import ProgramMachine
from accel_sim.numerics.formats import FORMATS, Format, Subnormals, uint_format

if TYPE_CHECKING:
    from accel_sim.machines.machine import Occupant
    from accel_sim.machines.operators import Activity

MAC, ACC_UI, LOAD_LI, LOAD_UI, FLOW_LR, FLOW_UD, FLOW_DU, UPDATE, EXP2 = (1 << bit for bit in range(9))
"""Bits of a PE's control word, in the order of the published PE: multiply-add; its addend comes from above; take the
left input, take the upper input; pass on to the right, down, up; take the result; one piece of 2^x."""

NO_COMMAND, ROW_MAX, PUT_MAX, PUT_DELTA, PUT_ZERO, RESET, PUT_PIECE, LOAD_BOUND = range(8)
"""Commands of a compare unit."""

FEED_NONE, FEED_Q, FEED_K, FEED_V, FEED_ONE, FEED_SCALE, FEED_SLOPE, FEED_CHECK = range(8)
"""Values of `feed_sel`: what enters the array's left edge."""

WATCH_SUM, WATCH_MAX, WATCH_SCORE = (1 << bit for bit in range(3))
"""Invariants of the softmax that a unit may watch here, as bits of `FusedMachine.watch`."""

DIRECT, UPWARD, DOWNWARD = range(3)
"""Values of `skew_mode`: rows without delay, delayed from the bottom row up, from the top row down (3 acts as that)."""


class FusedMachine(ProgramMachine):
    """The array that a config describes. Raises nothing of its own: the config has been validated."""

    kind = "fused"
    formula = "⌈Nq/N⌉ (⌈keys/N⌉ (5N + 3 + P + C) + 2N + 6 + R + C) + check"

    def __init__(self, config: Any) -> None:
        a = config.architecture
        self.config = config
        self.head_dim: int = a.head_dim
        self.size: int = a.head_dim
        self.pieces: int = a.exp_pieces
        self.subnormals: Subnormals = a.subnormals
        self.formats: dict[str, Format] = {
            role: FORMATS[getattr(a.formats, role)]
            for role in ("operand", "score", "exp", "state", "output", "checker")
        }
        self.window: bool = a.sliding_window
        self.check = next((u for u in config.checker.units if u.kind == "fused_output"), None)
        self.invariants = next((u for u in config.checker.units if u.kind == "softmax_invariants"), None)
        self.rowsum = next((u for u in config.checker.units if u.kind == "score_rowsum"), None)
        watched = () if self.invariants is None else self.invariants.which
        bits = {"sum": WATCH_SUM, "max": WATCH_MAX, "score": WATCH_SCORE}
        self.watch: int = sum(bits[name] for name in watched)
        self.columns: int = 0 if self.check is None else int(getattr(self.check, "columns", 1))
        self.levels: int = len(tree_sizes(self.size))
        self.durations = Durations(self.size, self.pieces, a.reciprocal_cycles, self.columns, self.levels)

    @property
    def units(self) -> tuple[Any, ...]:
        """The units that are part of the machine: the fused output's, and those that only look."""
        kinds = ("fused_output", "softmax_invariants", "score_rowsum")
        return tuple(u for u in self.config.checker.units if u.kind in kinds)

    @property
    def pes(self) -> int:
        """N²."""
        return self.size * self.size

    def timing(self, n_queries: int, n_keys: int) -> FusedTiming:
        """The program of one head."""
        return fused_timing(self.durations, n_queries, n_keys, self.rowsum is not None)

    def occupant(self, timing: Any, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """What a register holds at the start of a machine cycle; None where nothing reads it before it is written."""
        from accel_sim.machines.fused_schedule import occupant

        return occupant(self, timing, register, index, cycle)

    def activity(self, timing: Any) -> Activity:
        """Operators, and how often they and the registers are used in one fault-free head."""
        from accel_sim.machines.fused_operators import fused_activity

        return fused_activity(self, timing)

    def describe(self) -> dict[str, Any]:
        """Size, units, cycles of a key tile."""
        return {
            "size": f"{self.size} × {self.size} PEs, head dim {self.head_dim}",
            "exp": f"pwl in the PEs, {self.pieces} pieces",
            "divide": f"reciprocal, {self.durations.reciprocal} cycles",
            "tile_cycles": self.durations.tile,
            "checksum_columns": self.columns,
        }

    # -- registers ---------------------------------------------------------------------------------------------

    @cached_property
    def inventory(self) -> Inventory:
        """Every register array of this machine."""
        return Inventory((*self._control(), *self._array(), *self._accumulators(), *self._checker(),
                          *self._invariants(), *self._row_sums()))

    def _register(self, name: str, shape: tuple[int, ...], kind: str | int, role: str, component: str,
                  about: str) -> Register:
        """A register of a format role, or of an unsigned width in bits."""
        if isinstance(kind, int):
            return Register(name, shape, uint_format(kind), role, component, about)
        overrides = self.config.faults.register_format
        stored = getattr(overrides, kind, None) if overrides else None
        fmt = self.formats[kind]
        return Register(name, shape, fmt, role, component, about, FORMATS[stored] if stored else fmt)

    @property
    def timer_bits(self) -> int:
        """Width of the sequencer's timer: it counts through the longest phase."""
        d = self.durations
        return bits_for(max(d.load, d.score, d.value, d.wait, d.scale + d.hold, d.norm, d.tail))

    @property
    def acc_bits(self) -> int:
        """Width of the accumulators' timer."""
        return bits_for(self.durations.acc_last + 1)

    @property
    def key_tile_bits(self) -> int:
        """Width of a key tile's number."""
        return bits_for(math.ceil(self.config.architecture.max_keys / self.size))

    @property
    def query_tile_bits(self) -> int:
        """Width of a query tile's number."""
        return bits_for(math.ceil(self.config.architecture.max_queries / self.size))

    @property
    def bound_bits(self) -> int:
        """Width of a number of keys; what travels beside a compare unit's command is one, or two of them."""
        return max(bits_for(self.config.architecture.max_keys + self.size + 1), self.piece_bits)

    @property
    def piece_bits(self) -> int:
        """Width of a piece's or a checksum column's number."""
        return bits_for(max(self.pieces, self.columns, 2))

    def _control(self) -> list[Register]:
        n = self.size

        def c(name: str, shape: tuple[int, ...], width: int, about: str) -> Register:
            return self._register(name, shape, width, "control", "control", about)

        beside = "key, piece, or number of allowed keys"
        lower = []
        if self.window:
            beside += " with the first of them above"
            lower.append(c("first", (n,), self.bound_bits, "number of the first key that the column's query may see"))
        return [
            c("phase", (), 3, "0 load, 1 score, 2 value, 3 wait, 4 scale, 5 norm, 6 check, 7 done"),
            c("timer", (), self.timer_bits, "cycle of the phase"),
            c("key_tile", (), self.key_tile_bits, "key tile in the array"),
            c("query_tile", (), self.query_tile_bits, "query tile in the array"),
            c("last_key_tile", (), self.key_tile_bits, "configuration: number of the last key tile"),
            c("last_query_tile", (), self.query_tile_bits, "configuration: number of the last query tile"),
            c("acc_step", (), self.acc_bits, "cycle of AttentionScore as the accumulators count it; 0 is idle"),
            c("acc_first", (), 1, "the accumulators start from zero: first key tile"),
            c("feed_sel", (), 3, "0 nothing, 1 q, 2 k, 3 v, 4 one, 5 scale, 6 slope, 7 checksum enters at the left"),
            c("feed_arg", (), self.piece_bits, "number of the slope's piece"),
            c("skew_mode", (), 2, "left edge: 0 no delay, 1 delayed from the bottom up, 2 from the top down"),
            c("ctrl_down", (n - 1,), 9, "control words that move down the left edge; element i waits for row i + 1"),
            c("ctrl_up", (n - 1,), 9, "control words that move up the left edge; element i waits for row i"),
            c("ctrl", (n, n - 1), 9, "control words that move right; element (r, c) waits for PE (r, c + 1)"),
            c("cmp_cmd", (n - 1,), 3, "commands that move right along the compare units"),
            c("cmp_arg", (n - 1,), self.bound_bits * (2 if self.window else 1), f"beside the command: {beside}"),
            c("bound", (n,), self.bound_bits, "number of the first key that the column's query may not attend to"),
            *lower,
            c("out_valid", (), 1, "the output register holds a row"),
            c("out_dim", (), bits_for(n + max(1, self.columns)), "its dimension; from N on, a checksum"),
            c("out_tile", (), self.query_tile_bits, "its query tile"),
        ]

    def _array(self) -> list[Register]:
        n = self.size
        triangle = (n * (n - 1) // 2,)
        reg = self._register
        return [
            reg("feed", (n,), "operand", "operand", "edge", "word read from the scratchpad, element by row"),
            reg("in_skew", triangle, "operand", "pipeline", "edge", "delay of the left edge: line i waits i cycles"),
            reg("s", (n, n), "operand", "operand", "array", "stationary: query element, then score, then weight"),
            reg("right", (n, n - 1), "operand", "operand", "array", "moving right: element of k or v, or a constant"),
            reg("up", (n, n), "score", "score", "array", "moving up: partial scores"),
            reg("down", (n, n), "score", "score", "array", "moving down: scores, −m, Δm, intercepts, partial outputs"),
            reg("done", (n, n), 1, "control", "array", "the PE has found its piece of 2^x"),
            reg("new_max", (n,), "state", "state", "compare", "running maximum of the column's query"),
            reg("old_max", (n,), "state", "state", "compare", "the same before this key tile"),
            reg("cmp_out", (n,), "score", "score", "compare", "what the compare unit sends down its column"),
        ]

    def _accumulators(self) -> list[Register]:
        n = self.size
        triangle = (n * (n - 1) // 2,)
        reg = self._register
        return [
            reg("out_skew", triangle, "score", "pipeline", "accumulate",
                "delay of the bottom edge: line i is column N − 1 − i's and waits i cycles"),
            reg("scale", (n,), "state", "state", "accumulate", "Δm on its way to e^Δm; l, then 1/l"),
            reg("l", (n,), "state", "state", "accumulate", "running sum of the weights"),
            reg("o", (n, n), "state", "output", "accumulate", "outputs by dimension and query, not yet divided by l"),
            reg("out", (n,), "output", "output", "accumulate", "a dimension of all queries on its way to the O SRAM"),
        ]

    def _checker(self) -> list[Register]:
        if self.check is None:
            return []
        n, name, levels = self.size, "checker.fused_output", self.levels

        def reg(reg_name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
            return self._register(reg_name, shape, kind, "checker", name, about)

        return [
            reg("r", (n,), "checker", "row sum of each value of the tile, dimension by dimension; then the remainder"),
            reg("c", (self.columns, n), "state", "checksum accumulators, by column and query"),
            reg("out_last", (), 1, "the row in the output register closes a unit of comparison"),
            reg("out_tree", (sum(tree_sizes(n)),), "checker", "sum of the row over the queries, level by level"),
            reg("sum_valid", (levels,), 1, "level i of out_tree holds a row"),
            reg("sum_check", (levels,), 1, "that row is of checksums"),
            reg("sum_last", (levels,), 1, "that row closes a unit of comparison"),
            reg("pred", (), "checker", "sum of the predicted row sums"),
            reg("act", (), "checker", "sum of the delivered outputs"),
            reg("compare", (), 1, "pred and act are complete"),
            reg("residual", (), "checker", "pred − act"),
            reg("limit", (), "checker", "what the residual's magnitude may not exceed"),
            reg("judge", (), 1, "residual and limit are to be compared"),
            reg("threshold", (), "checker", "configuration: the threshold"),
            reg("enable", (), 1, "configuration: the checker is on"),
            reg("alarm", (), 1, "sticky alarm"),
            *(reg(row, (), kind, about) for row, kind, about in counting_registers(frequent_of(self.check))),
        ]

    def _invariants(self) -> list[Register]:
        if self.invariants is None:
            return []
        n, name = self.size, "checker.softmax_invariants"

        def reg(reg_name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
            return self._register(f"softmax_{reg_name}", shape, kind, "checker", name, about)

        rows = []
        if self.watch & WATCH_MAX:
            rows.append(reg("m", (n,), "state", "what the column's maximum last took"))
        if self.watch & (WATCH_MAX | WATCH_SCORE):
            rows.append(reg("excess", (n,), "checker", "largest violation of the column's query so far"))
        if self.watch & WATCH_SCORE:
            rows.append(reg("bound", (), "checker", "configuration: what no score's magnitude may exceed"))
        if self.watch & WATCH_SUM:
            bits = bits_for(self.config.architecture.max_keys + 1)
            rows.append(reg("keys", (), bits, "configuration: keys of the head, the largest sum of weights"))
        return [
            *rows,
            reg("residual", (), "checker", "largest violation of the query that was read out"),
            reg("judge", (), 1, "the residual is to be compared"),
            reg("threshold", (), "checker", "configuration: the threshold"),
            reg("enable", (), 1, "configuration: the unit is on"),
            reg("alarm", (), 1, "sticky alarm"),
            *(reg(row, (), kind, about) for row, kind, about in counting_registers(frequent_of(self.invariants))),
        ]

    def _row_sums(self) -> list[Register]:
        if self.rowsum is None:
            return []
        n, name, stages = self.size, "checker.score_rowsum", self.levels + 2

        def reg(reg_name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
            return self._register(f"rowsum_{reg_name}", shape, kind, "checker", name, about)

        return [
            reg("keys", (n,), "checker", "sum of the keys so far, by dimension"),
            reg("sum", (n,), "checker", "sum of the column's scores so far"),
            reg("query", (n,), "operand", "query that is read again from the scratchpad"),
            reg("prod", (n,), "checker", "its products with the sums of the keys"),
            reg("tree", (sum(tree_sizes(n)),), "checker", "their sum, level by level"),
            reg("delay", (stages,), "checker", "sum of the scores, in step with its prediction"),
            reg("valid", (stages,), 1, "stage i of the prediction holds a query"),
            reg("residual", (), "checker", "predicted minus actual sum of the scores"),
            reg("limit", (), "checker", "what the residual's magnitude may not exceed"),
            reg("judge", (), 1, "residual and limit are to be compared"),
            reg("threshold", (), "checker", "configuration: the threshold"),
            reg("enable", (), 1, "configuration: the unit is on"),
            reg("alarm", (), 1, "sticky alarm"),
            *(reg(row, (), kind, about) for row, kind, about in counting_registers(frequent_of(self.rowsum))),
        ]
