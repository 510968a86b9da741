"""The `gemm` machine: one plain systolic array for both products of attention, and a vector unit for softmax; or, for a
workload of plain products, the array alone.

This file says what the hardware *is*: its formats, its array, its check units, its phases and how long they take.
`gemm_registers` lists the registers, `gemm_layout` says where elements and checksums stand on the array,
`gemm_schedule` what a register holds when, `gemm_operators` what it computes with. docs/machines/gemm.md is the
normative text; `accel_sim.gemm` has the engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from accel_sim.machines.counting import frequent_of
from accel_sim.machines.gemm_layout import Product
from accel_sim.machines.integers import format_named
from accel_sim.machines.inventory import Inventory, Register
from accel_sim.machines.lanes import bits_for, unit_name
from accel_sim.machines.program_machine import ProgramMachine
from accel_sim.machines.systolic import SystolicArray
from accel_sim.numerics.formats import Format, Subnormals

if TYPE_CHECKING:
    from accel_sim.config import Config
    from accel_sim.machines.gemm_timing import GemmTiming
    from accel_sim.machines.machine import Occupant
    from accel_sim.machines.operators import Activity
    from accel_sim.machines.program import ProgramTiming

ROLES = ("operand", "score", "exp", "state", "output", "checker")


PREFIXES = {"gemm": "gemm", "fused_output": "fused", "score_rowsum": "rowsum", "softmax_invariants": "softmax"}
"""The check units that this machine can have, and what the names of their registers begin with."""

ROW_FIELDS = ("act", "pred", "hold", "residual", "limit", "valid")
COL_FIELDS = ("act", "pred", "residual", "limit", "valid")
FIX_FIELDS = ("fix_rows", "fix_row", "fix_value", "fix_cols", "fix_col")
"""Registers of the edge of a checked product."""


@dataclass(frozen=True)
class GemmCheck:
    """Checksums of products as they are built: of which unit (its kind), which products, which sides of the array,
    words of a checksum, correction. frequent: of a statistical threshold, else 0.

    The Huang-Abraham unit is one, and so are the row sums of the scores.
    """

    unit: str
    products: tuple[str, ...]
    rows: bool
    columns: bool
    words: int
    correct: bool
    relative: bool
    frequent: int

    @property
    def prefix(self) -> str:
        """What the names of its encoder's and of its judge's registers begin with."""
        return PREFIXES[self.unit]

    def edge_name(self, side: str, field: str) -> str:
        """Name of an edge register. side: `row` or `col`."""
        return f"{side if self.unit == 'gemm' else self.prefix}_{field}"

    @cached_property
    def edge_fields(self) -> dict[str, str]:
        """The registers of its edge by name, and what each is on the edge of a product."""
        sides = [("row", ROW_FIELDS)] * self.rows + [("col", COL_FIELDS)] * self.columns
        found = {self.edge_name(side, name): f"{side}_{name}" for side, fields in sides for name in fields}
        return found | {name: name for name in FIX_FIELDS if self.correct}


@dataclass(frozen=True)
class FusedCheck:
    """The fused output unit as it is built: words of a checksum, when it compares. frequent: see `GemmCheck`."""

    words: int
    per_block: bool
    relative: bool
    frequent: int


@dataclass(frozen=True)
class SoftmaxCheck:
    """The invariants of the softmax as they are built: which are watched. frequent: see `GemmCheck`."""

    which: tuple[str, ...]
    frequent: int


class GemmMachine(ProgramMachine):
    """The machine that a config describes. Raises nothing of its own: the config has been validated."""

    kind = "gemm"
    formula = "encode + product QK^T + 2 ceil(Nq/W) (N + 4) + product PV + divide, see docs/machines/gemm.md"

    def __init__(self, config: Config) -> None:
        a: Any = config.architecture
        self.config = config
        self.rows: int = a.rows
        self.cols: int = a.cols
        self.flow: str = a.dataflow
        workload: Any = getattr(config, "workload", None)
        self.plain = getattr(workload, "kind", None) == "gemm"
        self.head_dim: int = workload.k if self.plain else a.head_dim
        self.lanes: int = a.vector_lanes
        self.max_keys: int = a.max_keys
        self.max_queries: int = a.max_queries
        self.subnormals: Subnormals = a.subnormals
        self.exp = a.exp
        self.divide = a.divide
        self.formats: dict[str, Format] = {role: format_named(getattr(a.formats, role)) for role in ROLES}
        self.reciprocal: bool = a.divide.kind == "reciprocal_pwl" and not self.plain
        if self.plain:  # no exponentials, and what comes out are the sums as the array has them
            del self.formats["exp"]
            self.formats["output"] = self.formats["score"]
            self.useful = "M·N·K / (PEs · machine cycles)"
        self.window: bool = a.sliding_window and not self.plain
        self._units: tuple[Any, ...] = tuple(u for u in config.checker.units if u.kind in PREFIXES)
        by_kind = {u.kind: u for u in self._units}
        self.gemm = self._gemm(by_kind.get("gemm"))
        self.fused = self._fused(by_kind.get("fused_output"))
        self.rowsum = self._rowsum(by_kind.get("score_rowsum"))
        self.softmax = self._softmax(by_kind.get("softmax_invariants"))
        if self.plain:
            self.formula = self._plain_formula()
        elif self.softmax is not None:
            self.formula = self.formula.replace("2 ceil(Nq/W) (N + 4)", "ceil(Nq/W) (2 N + W + 9)")

    def _gemm(self, unit: Any) -> GemmCheck | None:
        if unit is None:
            return None
        sides = unit.sides
        products = tuple(name for name in unit.products if name in self.product_names)
        return GemmCheck("gemm", products, sides in ("rows", "both"), sides in ("columns", "both"), int(unit.columns),
                         bool(unit.correct), unit.threshold.kind == "relative", frequent_of(unit))

    def _fused(self, unit: Any) -> FusedCheck | None:
        if unit is None:
            return None
        return FusedCheck(int(unit.columns), unit.granularity == "query_block",
                          unit.threshold.kind == "relative", frequent_of(unit))

    def _rowsum(self, unit: Any) -> GemmCheck | None:
        """The sums over keys: along the lines of the array, but for `is`, whose columns are queries."""
        if unit is None:
            return None
        rows = self.flow != "is"
        return GemmCheck("score_rowsum", ("qk",), rows, not rows, int(unit.columns), False,
                         unit.threshold.kind == "relative", frequent_of(unit))

    def _softmax(self, unit: Any) -> SoftmaxCheck | None:
        if unit is None:
            return None
        return SoftmaxCheck(tuple(unit.which), frequent_of(unit))

    @property
    def units(self) -> tuple[Any, ...]:
        """The check units that are built in."""
        return self._units

    @property
    def pes(self) -> int:
        """Processing elements for data: R · C."""
        return self.rows * self.cols

    # -- the array and its products

    @property
    def product_names(self) -> tuple[str, ...]:
        """The products of a head, in order; a plain one is its only one."""
        return ("qk",) if self.plain else ("qk", "pv")

    @property
    def row_sums(self) -> int:
        """Checksum columns of the array."""
        return max((check.words for check in self.array_checks if check.rows), default=0)

    @property
    def col_sums(self) -> int:
        """Words of the checksums along the other side: checksum rows of the array, or elements streamed behind."""
        return max((check.words for check in self.array_checks if check.columns), default=0)

    @cached_property
    def array_checks(self) -> tuple[GemmCheck, ...]:
        """What puts checksums on the array."""
        return tuple(check for check in (self.gemm, self.rowsum) if check is not None)

    def row_check(self, product: str) -> GemmCheck | None:
        """What compares the sums along the lines of the array, of product `qk` or `pv`."""
        return next((c for c in self.array_checks if c.rows and product in c.products), None)

    def col_check(self, product: str) -> GemmCheck | None:
        """What compares the sums of the array's columns."""
        return next((c for c in self.array_checks if c.columns and product in c.products), None)

    def encoder_check(self, phase: str) -> GemmCheck:
        """Whose encoder works in a phase `encode_PRODUCT_SIDE`."""
        _, product, side = phase.split("_")
        found = self.row_check(product) if side == "rows" else self.col_check(product)
        assert found is not None
        return found

    @cached_property
    def array(self) -> SystolicArray:
        """The array, checksum columns and rows included."""
        rows = self.rows + (self.col_sums if self.flow == "os" else 0)
        return SystolicArray(rows, self.cols + self.row_sums, self.flow, self.formats["operand"].name,
                             self.formats["score"].name, self.subnormals)

    @property
    def fused_words(self) -> int:
        """Columns that the fused check adds to V."""
        return self.fused.words if self.fused else 0

    def checks(self, product: str) -> bool:
        """Whether product `qk` or `pv` has checksums."""
        return any(product in check.products for check in self.array_checks)

    def product(self, name: str, n_queries: int, n_keys: int) -> Product:
        """Product `qk` (scores) or `pv` (outputs) of a head."""
        n, k = (n_keys, self.head_dim) if name == "qk" else (self.head_dim + self.fused_words, n_keys)
        streamed = self.col_check(name)
        return Product(name, n_queries, n, k, self.flow, self.rows, self.cols, self.row_sums, self.col_sums,
                       self.checks(name), streamed.words if streamed else 0)

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of a head, in order; their numbers are what the register `phase` holds, and one more is done."""
        names = ["encode_v"] if self.fused else []
        for product in self.product_names:
            names += [f"encode_{product}_rows"] * (self.row_check(product) is not None)
            names += [f"encode_{product}_columns"] * (self.col_check(product) is not None)
            names += [product] + ([f"{product}_drain"] if self.checks(product) else [])
            if not self.plain:
                names += ["softmax"] if product == "qk" else ["divide"]
        return tuple(names)

    def timing(self, n_queries: int, n_keys: int) -> GemmTiming:
        """When the phases of one head begin, how long they take, and its steps for the memory system."""
        from accel_sim.machines.gemm_timing import gemm_timing

        return gemm_timing(self, n_queries, n_keys)

    def utilisation(self, timing: ProgramTiming, cycles: int) -> float:
        """Multiply-accumulates of a head's products over PEs · cycles."""
        if self.plain:
            return timing.n_queries * timing.n_keys * self.head_dim / (self.pes * cycles)
        return super().utilisation(timing, cycles)

    def _plain_formula(self) -> str:
        """The cycles of a plain product, as reports print them."""
        rows, cols, more = self.rows, self.cols, self.row_sums + self.col_sums
        folds = {"os": f"ceil(M/{rows}) ceil(N/{cols}) (K + {rows + cols - 2 + more})",
                 "ws": f"ceil(K/{rows}) ceil(N/{cols}) (M + {2 * rows + cols - 2 + more})",
                 "is": f"ceil(K/{rows}) ceil(M/{cols}) (N + {2 * rows + cols - 2 + more})"}[self.flow]
        return folds if self.gemm is None else f"encode + {folds} + drain, see docs/machines/gemm.md"

    def frequent(self, unit: str) -> int:
        """Deviations that raise the alarm of a check unit with a statistical threshold; 0 for any other."""
        built = {"gemm": self.gemm, "fused_output": self.fused, "score_rowsum": self.rowsum,
                 "softmax_invariants": self.softmax}[unit]
        return 0 if built is None else built.frequent

    # -- widths of counters

    @property
    def key_bits(self) -> int:
        """Width of `bound`: it counts keys, none included; and of `first`."""
        return bits_for(self.max_keys + 1)

    @property
    def counter_bits(self) -> tuple[int, int, int]:
        """Widths of `phase`, `part` and `step`, for the largest head."""
        from accel_sim.machines.gemm_timing import gemm_program

        program, _ = gemm_program(self, self.max_queries, self.max_keys)
        return (bits_for(len(program) + 1), bits_for(max(phase.parts for phase in program)),
                bits_for(max(phase.steps for phase in program)))

    # -- what it is made of and does

    @cached_property
    def inventory(self) -> Inventory:
        """Every register array of this machine: sequencer, array, vector unit, check units."""
        from accel_sim.machines.gemm_registers import gemm_registers

        return Inventory(gemm_registers(self))

    def occupant(self, timing: GemmTiming, register: Register, index: tuple[int, ...], cycle: int) -> Occupant | None:
        """What one element of a register holds in a machine cycle; None where a fault in it can change nothing."""
        from accel_sim.machines.gemm_schedule import occupant

        return occupant(self, timing, register, index, cycle)

    def activity(self, timing: GemmTiming) -> Activity:
        """Operators, register writes and SRAM accesses of one fault-free head."""
        from accel_sim.machines.gemm_operators import gemm_activity

        return gemm_activity(self, timing)

    def describe(self) -> dict[str, object]:
        """Facts of the design for reports, plain values by name: its size first."""
        size = f"{self.rows} × {self.cols} PEs, {self.flow}"
        found: dict[str, object] = {"rows": self.rows, "cols": self.cols, "dataflow": self.flow}
        if self.plain:
            found = {"size": f"{size}, plain products", **found}
        else:
            found = {"size": f"{size}, {self.lanes} vector lanes, head dim {self.head_dim}", **found,
                     "vector_lanes": self.lanes, "exp": unit_name(self.exp), "divide": unit_name(self.divide)}
        if self.row_sums:
            found["checksum_columns"] = self.row_sums
        if self.col_sums:
            found["checksum_rows" if self.flow == "os" else "checksum_elements"] = self.col_sums
        if self.fused_words:
            found["fused_columns"] = self.fused_words
        return found
