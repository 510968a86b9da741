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
from accel_sim.gemm.tuples import Lanes, Sums
from accel_sim.machines.inventory import Register
from accel_sim.numerics.rounding import flip_bits, force_bits

KEPT = ("scale", "gemm_threshold", "gemm_enable", "gemm_alarm", "fused_threshold", "fused_enable", "fused_alarm")
"""Configuration and alarms: no phase clears them."""


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
        machine = given.machine
        names = {register.name: register for register in machine.inventory}
        self.arrays: dict[str, NDArray[np.float64]] = {}
        lanes, cols = machine.lanes, machine.cols
        words = machine.gemm.words if machine.gemm else 1
        shapes = {"row_act": cols, "row_pred": words, "row_hold": words, "row_valid": cols + words + 1,
                  "col_act": cols, "col_pred": cols}

        def array(name: str, size: int = 1) -> NDArray[np.float64]:
            size = names[name].size if name in names else size
            return self.arrays.setdefault(name, np.zeros(size))

        self.lanes = Lanes(*(array(name, 1 if name == "scale" else lanes) for name in Lanes._fields))
        self.fused_encoder = Encoder(*(array(f"fused_{name}", lanes) for name in ("in", "acc", "word")))
        self.gemm_encoder = Encoder(*(array(f"gemm_{name}", lanes) for name in ("in", "acc", "word")))
        self.sums = Sums(*(array(f"fused_{name}") for name in Sums._fields))
        self.edge = Edge(*(array(name if name not in ("threshold", "enable", "alarm") else f"gemm_{name}",
                                 shapes.get(name, 1)) for name in Edge._fields))
        self.arrays["scale"][0] = given.job.scale
        for prefix, unit in (("gemm", "gemm"), ("fused", "fused_output")):
            self.arrays[f"{prefix}_threshold"][0] = given.limit(unit)
            self.arrays[f"{prefix}_enable"][0] = 1.0
        self._names = names

    def clear(self, unit: Lanes | Encoder | Sums | Edge) -> None:
        """Set the registers of a unit to zero, but for configuration and alarms."""
        kept = [self.arrays[name] for name in KEPT]
        for values in unit:
            if not any(values is other for other in kept):
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
        return any(self.arrays[f"{unit}_alarm"][0] != 0.0 for unit in ("gemm", "fused") if f"{unit}_alarm" in self)
