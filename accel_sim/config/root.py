"""`Config`: a whole configuration, and the rules between its sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from pydantic import Field, PrivateAttr

from accel_sim.config.architecture import Architecture
from accel_sim.config.arithmetic import ROLES
from accel_sim.config.checker import Checker, GemmUnit
from accel_sim.config.errors import NOWHERE, Mark
from accel_sim.config.faults import Faults
from accel_sim.config.gemm import GemmArchitecture
from accel_sim.config.lanes import LanesArchitecture
from accel_sim.config.memory import Memory
from accel_sim.config.number_formats import covers
from accel_sim.config.protection import PROTECTION_UNITS
from accel_sim.config.recovery import Recovery, ReexecuteRecovery
from accel_sim.config.sections import Clash, Section
from accel_sim.config.technology import Technology
from accel_sim.config.tree import Node
from accel_sim.config.workload import (
    GaussianWorkload,
    GemmWorkload,
    OutliersWorkload,
    RandomWorkload,
    Workload,
)


class Config(Section):
    """A design, its workload and its faults. Every key has a default; `{}` is a complete config.

    Impossible together: a random workload larger than the counters (`max_keys`, `max_queries`) or with more
    outlier channels than `head_dim`; stored formats of registers wider than the arithmetic's; capacities and ports
    of SRAM for a lanes machine; check units that the machine cannot have; plain products on any machine but a gemm
    one, and with them what watches attention.
    """

    name: str = Field(default="", max_length=200, description="A short name for reports; changes no result.")
    description: str = Field(
        default="", max_length=20_000, description="What this config is for; changes no result."
    )
    architecture: Architecture = Field(default=LanesArchitecture(), description="The datapath.")
    memory: Memory = Field(default=Memory(), description="Off-chip memory and on-chip banks.")
    checker: Checker = Field(default=Checker(), description="The check units.")
    recovery: Recovery = Field(default=ReexecuteRecovery(), description="What happens after an alarm.")
    workload: Workload = Field(default=GaussianWorkload(), description="What Q, K and V are.")
    faults: Faults = Field(default=Faults(), description="Which bits are struck, and how.")
    technology: Technology = Field(default=Technology(), description="The hardware's technology.")

    _tree: Node | None = PrivateAttr(default=None)
    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    def __eq__(self, other: object) -> bool:
        # Where a value was written is no part of what it is.
        return self.__dict__ == other.__dict__ if isinstance(other, Config) else NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(getattr(self, name) for name in type(self).model_fields))

    def mark(self, key: str) -> Mark:
        """File and line of a dotted key, or of the nearest section that is written down."""
        return NOWHERE if self._tree is None else self._tree.mark_of(tuple(key.split(".")))[0]

    def states(self, key: str) -> bool:
        """Whether a dotted key is written down, in this config's file or one that it extends."""
        path = tuple(key.split("."))
        return self._tree is not None and self._tree.mark_of(path)[1] == len(path)

    def changed(self, changes: Mapping[str, object]) -> Config:
        """A config with the values at some dotted keys changed, checked like a file.

        `config.changed({"architecture.head_dim": 128, "checker.units.0.granularity": "query_block"})`.
        Mappings merge and a new `kind` replaces, as with `extends`. Raises ConfigError.
        """
        from accel_sim.config.load import apply_changes

        return apply_changes(self, changes)

    def workload_path(self) -> Path | None:
        """The file that the workload reads, or None when it reads none. The file need not exist.

        It stands beside the config that states it, else among the shipped configs; a path from a change
        counts from the working directory at loading.
        """
        from accel_sim.config.paths import resolve_data_file

        stated = getattr(self.workload, "path", None)
        if stated is None:
            return None
        beside: Path | None = None
        if self._tree is None or self.states("workload.path"):
            file = self.mark("workload.path").file
            beside = self._folder if file is None else (self._folder / file).parent
        return resolve_data_file(stated, beside)

    def clashes(self) -> Iterator[Clash]:
        yield from self._workload_clashes()
        yield from self._register_format_clashes()
        yield from self._memory_clashes()
        yield from self._repeated_sums()
        for index, unit in enumerate(self.checker.units):
            for clash in self.architecture.refuses(unit):
                keys = (key.replace("unit.", f"checker.units.{index}.", 1) for key in clash.keys)
                yield Clash(tuple(keys), clash.message)

    def _repeated_sums(self) -> Iterator[Clash]:
        """Sums of scores that the gemm unit forms already: along the array's lines, or along its columns with `is`."""
        arch, at = self.architecture, {unit.kind: index for index, unit in enumerate(self.checker.units)}
        if not isinstance(arch, GemmArchitecture) or not {"gemm", "score_rowsum"} <= at.keys():
            return
        gemm, side = self.checker.units[at["gemm"]], "columns" if arch.dataflow == "is" else "rows"
        if isinstance(gemm, GemmUnit) and "qk" in gemm.products and gemm.sides in (side, "both"):
            key = f"checker.units.{at['score_rowsum']}"
            message = (f"score_rowsum forms the sums that the gemm unit has already with sides: {gemm.sides} of qk "
                       f"(dataflow {arch.dataflow}): leave one of them out")
            yield Clash((f"{key}.kind", key), message)

    def _memory_clashes(self) -> Iterator[Clash]:
        if self.architecture.kind != "lanes":
            return
        for key in ("sram_kib", "sram_banks", "ports"):
            if getattr(self.memory, key) != Memory.model_fields[key].default:
                message = f"memory.{key} is for array machines: the buffers of a lanes machine say what it has"
                yield Clash((f"memory.{key}", "architecture.kind"), message)

    def _workload_clashes(self) -> Iterator[Clash]:
        arch, workload = self.architecture, self.workload
        if isinstance(workload, GemmWorkload) and arch.kind != "gemm":
            message = f"plain products are for a gemm machine (got architecture.kind: {arch.kind})"
            yield Clash(("workload.kind", "workload", "architecture.kind"), message)
            return
        if arch.kind == "gemm" and arch.formats.integers and not isinstance(workload, GemmWorkload):
            message = f"int8 operands are for plain products, workload.kind: gemm (got {workload.kind})"
            yield Clash(("architecture.formats.operand", "workload.kind"), message)
        sizes: tuple[tuple[str, str], ...] = ()
        if isinstance(workload, RandomWorkload):
            sizes = (("keys", "keys"), ("queries", "queries"))
        elif isinstance(workload, GemmWorkload):
            sizes = (("n", "keys"), ("m", "queries"))
            yield from self._plain_clashes()
        for what, limited in sizes:
            count, most = getattr(workload, what), getattr(arch, f"max_{limited}")
            if count > most:
                message = f"workload.{what} must be at most architecture.max_{limited} (got {count} > {most})"
                yield Clash((f"workload.{what}", f"architecture.max_{limited}"), message)
        if isinstance(workload, OutliersWorkload) and workload.channels > arch.head_dim:
            message = (
                f"workload.channels must be at most architecture.head_dim "
                f"(got {workload.channels} > {arch.head_dim})"
            )
            yield Clash(("workload.channels", "architecture.head_dim"), message)

    def _plain_clashes(self) -> Iterator[Clash]:
        """Check units that find nothing to watch in a plain product."""
        integers = isinstance(self.architecture, GemmArchitecture) and self.architecture.formats.integers
        for index, unit in enumerate(self.checker.units):
            key = f"checker.units.{index}"
            if unit.kind != "gemm" and not isinstance(unit, PROTECTION_UNITS):
                message = f"{unit.kind} watches the output of attention: a plain product (workload.kind: gemm) has none"
                yield Clash((f"{key}.kind", key, "workload.kind"), message)
            elif unit.kind == "gemm" and "qk" not in unit.products:
                message = "a plain product (workload.kind: gemm) is called qk: there is no pv"
                yield Clash((f"{key}.products", key, "workload.kind"), message)
            elif unit.kind == "gemm" and integers:
                yield from self._integer_clashes(unit, key)

    def _integer_clashes(self, unit: GemmUnit, key: str) -> Iterator[Clash]:
        """Checksums of int8 operands: their words are the digits of a sum, and they have to be enough."""
        if unit.threshold.kind == "relative":
            message = "an int32 register holds no fraction: checksums of int8 operands need an absolute threshold"
            yield Clash((f"{key}.threshold.kind", key), message)
        arch, work = self.architecture, self.workload
        assert isinstance(arch, GemmArchitecture) and isinstance(work, GemmWorkload)
        along = {"os": arch.rows, "ws": work.m, "is": work.n}[arch.dataflow]
        group = {"rows": arch.cols, "columns": along, "both": max(arch.cols, along)}[unit.sides]
        if group > 256 ** (unit.columns - 1):
            message = f"a checksum of {group} int8 operands does not fit {unit.columns} of them: raise columns"
            yield Clash((f"{key}.columns", key), message)

    def _register_format_clashes(self) -> Iterator[Clash]:
        stored_formats = self.faults.register_format
        if stored_formats is not None and isinstance(self.architecture, GemmArchitecture):
            message = "the registers of a gemm machine have the formats of its arithmetic"
            yield Clash(("faults.register_format",), message)
            return
        for role in ROLES if stored_formats is not None else ():
            stored, arithmetic = getattr(stored_formats, role), getattr(self.architecture.formats, role)
            if stored is not None and not covers(arithmetic, stored):
                message = (
                    f"a register's stored format must be no wider than the arithmetic's "
                    f"(got {stored} for {role}, which computes in {arithmetic})"
                )
                yield Clash((f"faults.register_format.{role}", f"architecture.formats.{role}"), message)
