"""The registers of the gemm machine's units by hardware name: float64 arrays that the kernels work on, and strikes on
them.

The array's own registers are kept by `accel_sim.arrays`; the sequencer's are what the engine counts with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from accel_sim.faults.fault import Fault
from accel_sim.gemm.edge_step import Edge
from accel_sim.gemm.encoder_step import Encoder
from accel_sim.gemm.head import Setting
from accel_sim.gemm.tuples import LANE_SCALARS, UNITS, Judge, Lanes, Sums, Watch
from accel_sim.machines.gemm import PREFIXES, GemmMachine
from accel_sim.machines.inventory import Register
from accel_sim.numerics.rounding import flip_bits, force_bits

CONFIGURATION = (*LANE_SCALARS, *(f"{prefix}_{name}" for prefix in PREFIXES.values()
                                  for name in ("threshold", "enable", "small_threshold", "frequent")))
"""Registers that nothing writes in a head."""


def struck_value(register: Register, value: float, fault: Fault) -> float:
    """What one strike of a fault makes of a value of a register."""
    codec, mask = register.format.codec, np.uint64(fault.mask)
    if fault.kind in ("flip", "burst"):
        return float(flip_bits(value, codec, codec, mask))
    return float(force_bits(value, codec, codec, mask, mask if fault.kind == "stuck1" else np.uint64(0)))


class Units:
    """The registers of vector unit, encoders, edge and comparisons, as they stand before a head: cleared and
    configured.

    A register that the machine has not is there for the kernels, with one element in each of its places, and unused.
    """

    def __init__(self, given: Setting) -> None:
        machine, job = given.machine, given.job
        names = {register.name: register for register in machine.inventory}
        self.arrays: dict[str, NDArray[np.float64]] = {}
        lanes = machine.lanes

        def array(name: str, size: int = 1) -> NDArray[np.float64]:
            if name not in self.arrays:
                self.arrays[name] = np.zeros(names[name].size if name in names else size)
            return self.arrays[name]

        self.lanes = Lanes(*(array(name, 1 if name in LANE_SCALARS else lanes) for name in Lanes._fields))
        self._encoders = {prefix: Encoder(*(array(f"{prefix}_{name}", lanes) for name in ("in", "acc", "word")))
                          for prefix in ("fused", "gemm", "rowsum")}
        self.sums = Sums(*(array(f"fused_{name}") for name in Sums._fields))
        self.watch = Watch(*(array(f"softmax_{name}") for name in Watch._fields))
        self.edges = {name: Edge(*(array(own) for own in edge_names(machine, name)))
                      for name in machine.product_names}
        self.judges = {unit: Judge(*(array(f"{PREFIXES[unit]}_{name}") for name in Judge._fields)) for unit in UNITS}
        self.arrays["scale"][0] = job.scale
        if machine.softmax is not None and "score" in machine.softmax.which:
            self.arrays["softmax_bound"][0] = given.score_bound
        for unit, judge, policy in zip(UNITS, self.judges.values(), given.policies, strict=True):
            judge.threshold[0], judge.enable[0] = given.limit(unit), 1.0
            if policy[2]:
                judge.small_threshold[0], judge.frequent[0] = job.policy(unit)
                judge.ceiling[0] = policy[2]
        self._machine, self._names = machine, names

    def encoder(self, phase: str) -> Encoder:
        """The encoder that works in a phase."""
        return self._encoders["fused" if phase == "encode_v" else self._machine.encoder_check(phase).prefix]

    def edge_judges(self, product: str) -> tuple[Judge, Judge]:
        """What judges the rows of a product, and what its columns; one that is not checked has some judge."""
        sides = (self._machine.row_check(product), self._machine.col_check(product))
        rows, columns = (self.judges[check.unit if check else "gemm"] for check in sides)
        return rows, columns

    def clear(self, unit: Lanes | Encoder | Sums | Watch | Edge) -> None:
        """Set the registers of a unit to zero, but for configuration."""
        for values in unit:
            if not any(values is self.arrays[name] for name in LANE_SCALARS):
                values[:] = 0.0

    def __contains__(self, name: str) -> bool:
        return name in self.arrays and name in self._names

    def strike(self, fault: Fault) -> None:
        """Let a fault act on its register now."""
        register = self._names[fault.register]
        flat = int(np.ravel_multi_index(fault.index, register.shape)) if register.shape else 0
        values = self.arrays[fault.register]
        values[flat] = struck_value(register, float(values[flat]), fault)

    def value(self, name: str, index: tuple[int, ...]) -> float:
        """What an element holds."""
        shape = self._names[name].shape
        return float(self.arrays[name][int(np.ravel_multi_index(index, shape)) if shape else 0])

    def alarmed(self) -> bool:
        """Whether an alarm register reads 1."""
        return any(self.arrays[name][0] != 0.0 for name in (f"{p}_alarm" for p in PREFIXES.values()) if name in self)


def edge_names(machine: GemmMachine, product: str) -> list[str]:
    """The registers of the edge of a product, as `Edge` has them; a name of no register where the machine has none."""
    found = {field: f"no {field}" for field in Edge._fields}
    for check in machine.array_checks:
        if product in check.products:
            found |= {field: name for name, field in check.edge_fields.items()}
    return list(found.values())
