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

from accel_sim.config.errors import ConfigError
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


@dataclass(frozen=True)
class GemmCheck:
    """The Huang-Abraham unit as it is built: which products, which sides, words of a checksum, correction."""

    products: tuple[str, ...]
    rows: bool
    columns: bool
    words: int
    correct: bool
    relative: bool


@dataclass(frozen=True)
class FusedCheck:
    """The fused output unit as it is built: words of a checksum, when it compares."""

    words: int
    per_block: bool
    relative: bool


class GemmMachine(ProgramMachine):
    """The machine that a config describes.

    Raises ConfigError for what the config's sections cannot know: stored formats of registers, or a granularity that
    this machine has not.
    """

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
        self._units: tuple[Any, ...] = tuple(u for u in config.checker.units if u.kind in ("gemm", "fused_output"))
        self.gemm = self._gemm(next((u for u in self._units if u.kind == "gemm"), None))
        self.fused = self._fused(next((u for u in self._units if u.kind == "fused_output"), None))
        if self.plain:
            self.formula = self._plain_formula()
        stored = getattr(config.faults, "register_format", None)
        if stored is not None and any(getattr(stored, role, None) for role in ROLES):
            raise ConfigError("faults.register_format: the gemm machine's registers have the formats of its arithmetic")

    def _gemm(self, unit: Any) -> GemmCheck | None:
        if unit is None:
            return None
        sides = unit.sides
        if self.plain and "qk" not in unit.products:
            raise ConfigError("checker.units: a plain product is called qk; there is no pv")
        products = tuple(name for name in unit.products if name in self.product_names)
        return GemmCheck(products, sides in ("rows", "both"), sides in ("columns", "both"), int(unit.columns),
                         bool(unit.correct), unit.threshold.kind == "relative")

    def _fused(self, unit: Any) -> FusedCheck | None:
        if unit is None:
            return None
        if self.plain:
            raise ConfigError("checker.units: fused_output watches the output of attention; a plain product has none")
        if unit.granularity not in ("query_block", "head"):
            raise ConfigError(f"checker.units: fused_output on the gemm machine compares once a query_block or a head, "
                              f"not once a {unit.granularity}: no row is complete before the second product")
        shares = getattr(unit, "shares", None)
        if shares is not None and not all(getattr(shares, name) for name in ("score", "max", "exp", "sum")):
            raise ConfigError("checker.units: fused_output on the gemm machine shares scores, maximum, exponentials "
                              "and sum with the datapath; it watches the second product alone")
        return FusedCheck(int(unit.columns), unit.granularity == "query_block",
                          unit.threshold.kind == "relative")

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
        return self.gemm.words if self.gemm and self.gemm.rows else 0

    @property
    def col_sums(self) -> int:
        """Words of the checksums along the other side: checksum rows of the array, or elements streamed behind."""
        return self.gemm.words if self.gemm and self.gemm.columns else 0

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
        """Whether the gemm unit watches product `qk` or `pv`."""
        return self.gemm is not None and product in self.gemm.products

    def product(self, name: str, n_queries: int, n_keys: int) -> Product:
        """Product `qk` (scores) or `pv` (outputs) of a head."""
        n, k = (n_keys, self.head_dim) if name == "qk" else (self.head_dim + self.fused_words, n_keys)
        return Product(name, n_queries, n, k, self.flow, self.rows, self.cols, self.row_sums, self.col_sums,
                       self.checks(name))

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases of a head, in order; their numbers are what the register `phase` holds, and one more is done."""
        names = ["encode_v"] if self.fused else []
        for product in self.product_names:
            if self.checks(product):
                assert self.gemm is not None
                names += [f"encode_{product}_{side}" for side in ("rows", "columns") if getattr(self.gemm, side)]
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

    # -- widths of counters

    @property
    def key_bits(self) -> int:
        """Width of `bound`: it counts keys, none included."""
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
