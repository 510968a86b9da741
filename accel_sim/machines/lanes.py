"""The `lanes` machine: a FlashAttention-2 accelerator of P query lanes with the Flash-ABFT check unit.

This file says what the hardware *is*: which registers it has (`LanesMachine.inventory`), how deep its
pipeline is and when each phase runs (`Timing`). What the registers do in a cycle is the stepped engine's
business (`accel_sim.engines.stepped`); docs/machines/lanes.md is the normative text for both.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from accel_sim.machines.counting import counting_registers, frequent_of
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.machines.machine import Machine, Occupant
from accel_sim.numerics.formats import FORMATS, Format, Subnormals, product_format, uint_format

if TYPE_CHECKING:
    from accel_sim.config import Config
    from accel_sim.config.lanes import LanesArchitecture
    from accel_sim.machines.memories import Memories
    from accel_sim.machines.operators import Activity

SWAP, STREAM, FLUSH, TAIL, DONE = range(5)
"""Values of the `phase` register; any other value is treated as DONE."""

PHASES = ("swap", "stream", "flush", "tail", "done")

def tree_sizes(n: int) -> tuple[int, ...]:
    """Registers at each level of an adder tree over `n` values; a single value still takes one level."""
    sizes = []
    while True:
        n = (n + 1) // 2
        sizes.append(n)
        if n == 1:
            return tuple(sizes)


def bits_for(values: int) -> int:
    """Width of a counter that takes `values` different values."""
    return max(1, math.ceil(math.log2(values)))


@dataclass(frozen=True)
class Timing:
    """When things happen in the fault-free, stall-free run of one head.

    All in cycles. `depth` is the latency of the dot product behind the product registers: the tree's
    levels, or d for a serial chain. `check_depth`: levels of the output check's sums, 0 without one. `observe_depth`:
    from the reading of a lane until the slowest of the units that only look has its residual in its register, 0 without
    any.
    """

    lanes: int
    depth: int
    normalise: int
    check_depth: int
    n_queries: int
    n_keys: int
    observe_depth: int = 0

    @property
    def blocks(self) -> int:
        """Query blocks: ⌈Nq / P⌉."""
        return -(-self.n_queries // self.lanes)

    @property
    def flush(self) -> int:
        """Cycles from the last key's fetch until its accumulation is visible: the pipeline's fill."""
        return 6 + self.depth

    @property
    def period(self) -> int:
        """Cycles of a query block: stream N keys, flush the pipeline, swap P rows out and in."""
        return self.n_keys + self.flush + self.lanes

    @property
    def tail(self) -> int:
        """Cycles after the last swap until the last row is delivered and, with check units, judged by all of them."""
        return max(self.normalise + 1 + (self.check_depth + 2 if self.check_depth else 0), self.observe_depth)

    @property
    def head_cycles(self) -> int:
        """P + ⌈Nq/P⌉ (N + fill + P) + tail."""
        return self.lanes + self.blocks * self.period + self.tail

    def stream_start(self, block: int) -> int:
        """Cycle in which query block `block` fetches its key 0."""
        return self.lanes + block * self.period

    def swap_start(self, swap: int) -> int:
        """First cycle of swap number `swap`: it drains block swap − 1 and loads block swap."""
        return swap * self.period

    def accumulate_cycle(self, block: int, key: int) -> int:
        """Cycle in which a key is added to l, o and c; the new values are visible one cycle later."""
        return self.stream_start(block) + key + self.flush

    def out_cycle(self, query: int) -> int:
        """First cycle in which a query's finished row stands in the `out` register."""
        block, lane = divmod(query, self.lanes)
        return self.swap_start(block + 1) + lane + 1 + self.normalise

    def residual_cycle(self, last_row_cycle: int, scan: bool = False) -> int:
        """First cycle in which the residual stands in its register, for a unit of comparison whose last
        row was read from its lane in `last_row_cycle` (by a scan, which skips the normaliser, or a swap)."""
        return last_row_cycle + 1 + (0 if scan else self.normalise) + self.check_depth + 2

    def alarm_cycle(self, last_row_cycle: int, scan: bool = False) -> int:
        """First cycle in which the alarm of that comparison is visible: its detection cycle. Without the output check,
        of the slowest unit that looks."""
        if not self.check_depth and self.observe_depth:
            return last_row_cycle + self.observe_depth + 1
        return self.residual_cycle(last_row_cycle, scan) + 1

    def read_cycle(self, query: int) -> int:
        """Cycle in which a query's lane is read and drained."""
        block, lane = divmod(query, self.lanes)
        return self.swap_start(block + 1) + lane

    def phase_name(self, phase: str, block: int) -> str:
        """A span in words."""
        return f"{phase}, block {block}" if phase in ("stream", "flush") else phase

    @property
    def alarm_delay_cycles(self) -> int:
        """From the last row in the output register until its alarm can be read."""
        last_row = self.swap_start(self.blocks) + self.lanes - 1
        return self.alarm_cycle(last_row) - self.out_cycle(self.n_queries - 1)

    def spans(self) -> Iterator[tuple[str, int, int, int]]:
        """(phase, block, first cycle, cycles) in order: the schedule at the grain of phases."""
        for block in range(self.blocks):
            yield "swap", block, self.swap_start(block), self.lanes
            yield "stream", block, self.stream_start(block), self.n_keys
            yield "flush", block, self.stream_start(block) + self.n_keys, self.flush
        yield "swap", self.blocks, self.swap_start(self.blocks), self.lanes
        yield "tail", self.blocks, self.head_cycles - self.tail, self.tail


def unit_name(unit: Any) -> str:
    """A unit of the config in words: `exact`, or `pwl, 8 pieces`."""
    pieces = getattr(unit, "pieces", None)
    return f"{unit.kind}, {pieces} pieces" if pieces else str(unit.kind)


class LanesMachine(Machine):
    """The lanes accelerator that a config describes.

    Raises nothing of its own: the config has been validated.
    """

    kind = "lanes"
    formula = "P + ⌈Nq/P⌉ (N + fill + P) + tail"
    useful = "Nq·N / (P · machine cycles)"

    def __init__(self, config: Config) -> None:
        a = cast("LanesArchitecture", config.architecture)
        self.config = config
        self.lanes: int = a.lanes
        self.head_dim: int = a.head_dim
        self.dot: str = a.dot
        self.key_tile: int = a.key_tile
        self.subnormals: Subnormals = a.subnormals
        self.sliding_window: bool = a.sliding_window
        self.exp = a.exp
        self.divide = a.divide
        names = a.formats
        self.formats: dict[str, Format] = {
            role: FORMATS[getattr(names, role) or names.state]
            for role in ("operand", "score", "exp", "state", "output", "checker")
        }
        self.check = next((u for u in config.checker.units if u.kind == "fused_output"), None)
        self.rowsum = next((u for u in config.checker.units if u.kind == "score_rowsum"), None)
        self.invariants = next((u for u in config.checker.units if u.kind == "softmax_invariants"), None)
        self.levels: int = len(tree_sizes(self.head_dim))
        self.depth: int = self.head_dim if self.dot == "serial" else self.levels
        self.stages: int = 6 + self.depth
        self.reciprocal: bool = self.divide.kind == "reciprocal_pwl"

    def timing(self, n_queries: int, n_keys: int) -> Timing:
        """Closed-form timing of one head."""
        return Timing(
            lanes=self.lanes,
            depth=self.depth,
            normalise=2 if self.reciprocal else 1,
            check_depth=self.levels if self.check else 0,
            n_queries=n_queries,
            n_keys=n_keys,
            observe_depth=self.observe_depth,
        )

    def stall_points(self, n_queries: int, n_keys: int) -> dict[str, int]:
        """`kv`: before each key tile of each query block. `swap`: before each swap."""
        blocks = self.timing(n_queries, n_keys).blocks
        return {"kv": blocks * -(-n_keys // self.key_tile), "swap": blocks + 1}

    def occupant(self, timing: Timing, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """See `accel_sim.machines.lanes_schedule`."""
        from accel_sim.machines.lanes_schedule import occupant

        return occupant(self, timing, register, index, cycle)

    def activity(self, timing: Timing) -> Activity:
        """See `accel_sim.machines.lanes_operators`."""
        from accel_sim.machines.lanes_operators import lanes_activity

        return lanes_activity(self, timing)

    @property
    def memories(self) -> Memories:
        """See `accel_sim.machines.memories`."""
        from accel_sim.machines.memories import memories

        return memories(self)

    def utilisation(self, timing: Timing, cycles: int) -> float:
        """Nq · N / (P · cycles): one lane's cycle for each query and key."""
        return timing.n_queries * timing.n_keys / (self.lanes * cycles)

    def streamed_bytes(self, timing: Timing) -> dict[str, int]:
        """Q and O once, K and V once for each query block (once a head with `memory.kv_resident`)."""
        row = {role: self.head_dim * self.stored_formats[role].width_bits // 8 for role in ("operand", "output")}
        passes = 1 if self.config.memory.kv_resident else timing.blocks
        kv = passes * timing.n_keys * row["operand"]
        return {"q": timing.n_queries * row["operand"], "k": kv, "v": kv, "o": timing.n_queries * row["output"]}

    @property
    def units(self) -> tuple[Any, ...]:
        """The fused output check and the two units that only look, as far as the config has them."""
        built_in = (self.check, self.rowsum, self.invariants)
        return tuple(unit for unit in self.config.checker.units if any(unit is own for own in built_in))

    def describe(self) -> dict[str, Any]:
        """Lanes, dot product and units."""
        return {
            "size": f"{self.lanes} lanes × head dim {self.head_dim}",
            "lanes": self.lanes,
            "dot": self.dot,
            "exp": unit_name(self.exp),
            "divide": unit_name(self.divide),
        }

    # -- what the checker computes for itself ---------------------------------------------------------

    def owns(self, signal: str) -> bool:
        """True if the check unit computes `signal` (score, max, exp or sum) itself."""
        return self.check is not None and not getattr(self.check.shares, signal)

    @property
    def scans(self) -> bool:
        """True if residuals are also compared inside a query block, at key-tile boundaries."""
        return self.check is not None and self.check.granularity == "key_tile"

    @property
    def statistical(self) -> bool:
        """True if small deviations raise the alarm of the output check too, once they are frequent."""
        return frequent_of(self.check) > 0
    # -- the check units that only look -----------------------------------------------------------------

    @property
    def observed(self) -> bool:
        """True if the machine has a check unit that looks at scores or at the softmax."""
        return self.rowsum is not None or self.invariants is not None

    def watches(self, *names: str) -> bool:
        """True if softmax_invariants watches any of these invariants."""
        return self.invariants is not None and any(name in self.invariants.which for name in names)

    def watch_depth(self, kind: str) -> int:
        """Cycles from the reading of a lane until such a unit has its residual in its register."""
        return self.levels + 3 if kind == "score_rowsum" else 1

    @property
    def observe_depth(self) -> int:
        """The same of the slowest of these units; 0 without any."""
        return max((self.watch_depth(unit.kind) for unit in self.units if unit is not self.check), default=0)

    @property
    def unit_of_work(self) -> str | None:
        """What an alarm is about, and what is run again for it: granularity of the output check; without one a query
        block, whose queries the other units judge one by one; None without any unit."""
        if self.check is not None:
            return str(self.check.granularity)
        return "query_block" if self.observed else None

    # -- registers -------------------------------------------------------------------------------------

    @cached_property
    def inventory(self) -> Inventory:
        """Every register array of this machine."""
        rows = [*self._control(), *self._operands(), *self._datapath()]
        if self.check is not None:
            rows += self._checker()
        if self.observed:
            from accel_sim.machines.lanes_observers import observer_registers

            rows += observer_registers(self)
        return Inventory(tuple(rows))

    def _register(self, name: str, shape: tuple[int, ...], kind: str | int, role: str, component: str,
                  about: str) -> Register:
        """A register of a format role, or of an unsigned width in bits."""
        if isinstance(kind, int):
            return Register(name, shape, uint_format(kind), role, component, about)
        if kind == "product":
            return Register(name, shape, product_format(self.formats["operand"]), role, component, about)
        overrides = self.config.faults.register_format
        stored = getattr(overrides, kind, None) if overrides else None
        fmt = self.formats[kind]
        return Register(name, shape, fmt, role, component, about, FORMATS[stored] if stored else fmt)

    @property
    def key_bits(self) -> int:
        """Width of a key counter."""
        return bits_for(self.config.architecture.max_keys)

    @property
    def query_bits(self) -> int:
        """Width of a query counter; it runs P rows past the last query."""
        return bits_for(self.config.architecture.max_queries + self.lanes + 1)

    def _control(self) -> list[Register]:
        p, kb, qb = self.lanes, self.key_bits, self.query_bits

        def c(name: str, shape: tuple[int, ...], width: int, about: str) -> Register:
            return self._register(name, shape, width, "control", "control", about)

        rows = [
            c("phase", (), 3, "0 swap, 1 stream, 2 flush, 3 tail, 4 done; other values act as done"),
            c("row", (), bits_for(p), "lane being drained and loaded in a swap"),
            c("query", (), qb, "query that the next swap cycle loads"),
            c("key", (), kb, "key that the next stream cycle fetches"),
            c("last_query", (), qb, "configuration: index of the last query"),
            c("last_key", (), kb, "configuration: index of the last key"),
            c("kv_bank", (), 1, "which of the two K/V SRAM banks is read"),
            c("bound", (p,), kb, "last key the lane's query may attend to (causal and padding masks)"),
            *([c("first", (p,), kb, "first key the lane's query may attend to (sliding window)")]
              if self.sliding_window else []),
            c("active", (p,), 1, "the lane holds a query"),
            c("seen", (p,), 1, "the lane has met an allowed key: max and sum are valid"),
            c("valid", (self.stages,), 1, "stage i of the pipeline holds a live key"),
            c("key_tag", (3 + self.depth,), kb, "index of the key in stage i, for the mask"),
            c("norm_valid", (), 1, "the normaliser's operand registers hold a finished row"),
            c("norm_addr", (), qb, "query of that row"),
            c("norm_last", (), 1, "that row is the last of its swap or scan"),
        ]
        if self.reciprocal:
            rows += [
                c("recip_valid", (), 1, "the reciprocal stage holds a finished row"),
                c("recip_addr", (), qb, "query of that row"),
                c("recip_last", (), 1, "that row is the last of its swap"),
            ]
        rows += [
            c("out_valid", (), 1, "the output register holds a finished row"),
            c("out_addr", (), qb, "query of that row: its address in the O SRAM"),
            c("out_last", (), 1, "that row is the last of its swap"),
        ]
        return rows

    def _operands(self) -> list[Register]:
        p, d = self.lanes, self.head_dim
        rows = [
            self._register("scale", (), "score", "control", "score", "configuration: 1/√d, rounded once"),
            self._register("q", (p, d), "operand", "operand", "operand", "the lane's stationary query"),
            self._register("k", (d,), "operand", "operand", "operand", "the key broadcast to all lanes"),
            self._register("v", (d,), "operand", "operand", "operand", "the value fetched with it"),
        ]
        if self.dot == "serial" and d > 1:
            rows.append(self._register("k_skew", (d * (d - 1) // 2,), "operand", "pipeline", "operand",
                                       "triangular delay: element t of k waits t cycles"))
        rows.append(self._register("v_delay", (4 + self.depth, d), "operand", "pipeline", "operand",
                                   "delay line that keeps v in step with its score"))
        return rows

    def _score_path(self, prefix: str, role: str, component: str) -> list[Register]:
        p, d = self.lanes, self.head_dim
        whose = "the check unit's own " if prefix else ""
        product = "product" if self.dot == "fused" else "score"
        rows = [self._register(f"{prefix}prod", (p, d), product, role, component, f"{whose}products q·k")]
        if self.dot == "tree":
            rows.append(self._register(f"{prefix}tree", (p, sum(tree_sizes(d))), "score", role, component,
                                       f"{whose}adder tree, level by level; the last is the dot product"))
        elif self.dot == "serial":
            rows.append(self._register(f"{prefix}chain", (p, d), "score", role, component,
                                       f"{whose}running sums of the serial dot product"))
        else:
            rows.append(self._register(f"{prefix}dot", (p, self.levels), "score", role, component,
                                       f"{whose}fused dot product and its retiming registers"))
        rows.append(self._register(f"{prefix}score", (p,), "score", role, component, f"{whose}scaled score"))
        return rows

    def _datapath(self) -> list[Register]:
        p, d = self.lanes, self.head_dim
        reg = self._register
        rows = [
            *self._score_path("", "score", "score"),
            reg("m", (p,), "state", "state", "softmax", "running maximum of the scores"),
            reg("allow", (p,), 1, "control", "softmax", "the key in the exp stage is not masked"),
            reg("ds", (p,), "score", "score", "softmax", "score minus maximum"),
            reg("da", (p,), "score", "score", "softmax", "old maximum minus maximum"),
            reg("p", (p,), "exp", "score", "softmax", "weight e^ds"),
            reg("a", (p,), "exp", "score", "softmax", "correction e^da"),
            reg("p_acc", (p,), "exp", "pipeline", "softmax", "weight, in step with pv"),
            reg("a_acc", (p,), "exp", "pipeline", "softmax", "correction, in step with pv"),
            reg("l", (p,), "state", "state", "softmax", "running sum of the weights"),
            reg("pv", (p, d), "state", "output", "output", "weight times value"),
            reg("o", (p, d), "state", "output", "output", "output accumulators, not yet divided by l"),
            reg("norm_o", (d,), "state", "output", "normalise", "row being divided"),
            reg("norm_l", (), "state", "state", "normalise", "its divisor"),
        ]
        if self.reciprocal:
            rows += [
                reg("recip", (), "state", "state", "normalise", "1/l of the row"),
                reg("recip_o", (d,), "state", "output", "normalise", "row waiting for its reciprocal"),
            ]
        rows.append(reg("out", (d,), "output", "output", "normalise", "finished row on its way to the O SRAM"))
        return rows

    def _checker(self) -> list[Register]:
        p, d = self.lanes, self.head_dim
        name = "checker.fused_output"

        def reg(reg_name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
            return self._register(reg_name, shape, kind, "checker", name, about)

        rows = []
        if self.owns("score"):
            rows += self._score_path("chk_", "checker", name)
        if self.owns("max"):
            rows += [
                reg("chk_seen", (p,), 1, "the check unit's own copy of seen"),
                reg("chk_m", (p,), "state", "the check unit's own running maximum"),
                reg("chk_allow", (p,), 1, "the check unit's own copy of allow"),
                reg("chk_ds", (p,), "score", "the check unit's own score minus maximum"),
                reg("chk_da", (p,), "score", "the check unit's own old maximum minus maximum"),
            ]
        if self.owns("exp"):
            rows += [
                reg("chk_p", (p,), "exp", "the check unit's own weight"),
                reg("chk_a", (p,), "exp", "the check unit's own correction"),
                reg("chk_p_acc", (p,), "exp", "the check unit's own weight, in step with chk_pr"),
                reg("chk_a_acc", (p,), "exp", "the check unit's own correction, in step with chk_pr"),
            ]
        if self.owns("sum"):
            rows += [
                reg("chk_l", (p,), "state", "the check unit's own running sum of weights"),
                reg("norm_chk_l", (), "state", "divisor of the row's checksum"),
            ]
            if self.reciprocal:
                rows.append(reg("chk_recip", (), "state", "reciprocal of that divisor"))
        rows += [
            reg("r_tree", (sum(tree_sizes(d)),), "checker", "row sum of v, level by level, shared by all lanes"),
            reg("r_delay", (4 + self.depth - self.levels,), "checker",
                "delay that keeps the row sum in step with its score"),
            reg("chk_pr", (p,), "checker", "weight times row sum"),
            reg("c", (p,), "checker", "checksum accumulator: one more output column"),
            reg("norm_c", (), "checker", "checksum of the row being divided"),
        ]
        if self.reciprocal:
            rows.append(reg("recip_c", (), "checker", "checksum waiting for its reciprocal"))
        rows += [
            reg("pred_term", (), "checker", "predicted row sum of the row in out: c/l"),
            reg("out_tree", (sum(tree_sizes(d)),), "checker", "sum of the delivered row, level by level"),
            reg("pred_delay", (self.levels,), "checker", "predicted row sum, in step with out_tree"),
            reg("sum_valid", (self.levels,), 1, "level i of out_tree holds a row"),
            reg("sum_last", (self.levels,), 1, "that row closes a unit of comparison"),
            reg("pred", (), "checker", "sum of the predicted row sums"),
            reg("act", (), "checker", "sum of the delivered rows"),
            reg("compare", (), 1, "pred and act are complete"),
            reg("residual", (), "checker", "pred − act"),
            reg("limit", (), "checker", "what the residual's magnitude may not exceed"),
            reg("judge", (), 1, "residual and limit are to be compared"),
            reg("threshold", (), "checker", "configuration: the threshold"),
            reg("enable", (), 1, "configuration: the checker is on"),
            reg("alarm", (), 1, "sticky alarm"),
        ]
        rows += [reg(name, (), kind, about) for name, kind, about in counting_registers(frequent_of(self.check))]
        if self.scans:
            rows += [
                reg("tile_last", (self.stages,), 1, "the key in stage i closes a key tile that is to be scanned"),
                reg("scanning", (), 1, "a scan of the lanes is under way"),
                reg("scan_row", (), bits_for(p), "lane that the scan reads"),
                reg("norm_scan", (), 1, "the operand registers hold a scanned, undivided row"),
                reg("sum_scan", (self.levels,), 1, "the row in level i of out_tree was scanned"),
                reg("compare_scan", (), 1, "the comparison that is due is a scan's"),
                reg("scan_threshold", (), "checker", "configuration: the threshold for scans"),
            ]
        return rows
