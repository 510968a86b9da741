"""The stepped engine of an array: clocks every register every cycle, under any list of faults.

`SteppedArray` runs one product. The kernel (`step.advance`) knows no faults: the engine stops at the start of each
cycle in which one acts, strikes the stored bits of its register, and goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import constants, load_matrix, native_type, rule_of
from accel_sim.arrays.registers import Registers
from accel_sim.arrays.step import LAST_WRITE, WRITES, Geometry, Ports, advance
from accel_sim.config.errors import ConfigError
from accel_sim.faults.fault import Fault
from accel_sim.machines.systolic import SystolicArray

MOST_REGISTERS = 1 << 27
"""A larger array is refused: its state would take gigabytes. (4,096 × 4,096 PEs have 10^8 registers and more.)"""


@dataclass(frozen=True)
class ArrayRun:
    """One run. output: (M, N), native type (float32, float64 or int32). cycles: of the whole product. last_write: the
    cycle in which the last output was written, −1 if none was. writes: outputs and partial sums written."""

    output: NDArray[Any]
    cycles: int
    last_write: int
    writes: int


class SteppedArray:
    """Runs A (M × K) times B (K × N) on an array, cycle by cycle. Holds no state between runs.

    The matrices are rounded into the operand format on their way in (`operands.load_matrix`). ConfigError if they do
    not fit each other or the format, and for an array of more than `MOST_REGISTERS` registers.
    """

    def __init__(self, machine: SystolicArray, a: Any, b: Any) -> None:
        self.machine = machine
        self.a = load_matrix(a, machine, "A")
        self.b = load_matrix(b, machine, "B")
        if self.a.shape[1] != self.b.shape[0]:
            raise ConfigError(f"A has {self.a.shape[1]} columns and B {self.b.shape[0]} rows: they must be as many")
        if machine.inventory.slots > MOST_REGISTERS:
            raise ConfigError(f"rows, cols: an array of {machine.rows} × {machine.cols} PEs has "
                              f"{machine.inventory.slots} registers; at most {MOST_REGISTERS} can be stepped")
        self.folding = machine.folding(self.a.shape[0], self.b.shape[1], self.a.shape[1])
        self._rule = rule_of(machine)
        flow, folds = machine.dataflow, self.folding
        self.geometry = Geometry(machine.rows, machine.cols, folds.row_size, folds.col_size, folds.stream_size,
                                  folds.row_folds, folds.fill, folds.fold_cycles, flow.loads)
        nothing = np.zeros((1, 1), native_type(machine))
        self._right = self._laid_out(flow.right, flow.stream, flow.row)
        self._down = nothing if flow.down == "sum" else self._laid_out(flow.down, flow.stream, flow.col)
        self._stays = nothing if flow.stays == "sum" else self._laid_out(flow.stays, flow.row, flow.col)
        self._sum_rows = flow.row if flow.stays == "sum" else flow.stream

    def _laid_out(self, name: str, first: str, second: str) -> NDArray[Any]:
        """Operand `name` as a matrix over the indices first × second."""
        matrix, own = (self.a, "mk") if name == "a" else (self.b, "kn")
        return np.ascontiguousarray(matrix if own == first + second else matrix.T)

    def checked(self, faults: Sequence[Fault]) -> list[Fault]:
        """The faults in order of cycle; ConfigError for one that the array cannot have."""
        for fault in faults:
            try:
                fault.check(self.machine.inventory)
            except ValueError as error:
                raise ConfigError(str(error)) from None
        return sorted(faults, key=lambda fault: fault.cycle)

    def run(self, faults: Sequence[Fault] = (), watch: Callable[[int, Registers], None] | None = None) -> ArrayRun:
        """Run under `faults`; those after the last cycle have no effect. Where several act on one register in a cycle,
        the one that began first acts first, and of those that began together the first in the list.

        watch(cycle, registers) sees the state at the start of every cycle, after that cycle's faults have acted.
        ConfigError for a fault that the array cannot have.
        """
        waiting = self.checked(faults)
        registers, cycles = Registers(self.machine), self.folding.cycles
        first, second = self.folding.size(self._sum_rows), self.folding.col_size
        out = np.zeros((first, second), native_type(self.machine))
        ports = Ports(self._right, self._down, self._stays, out, constants(self.machine))
        acting: list[Fault] = []
        while registers.cycle < cycles:
            now = registers.cycle
            acting = [fault for fault in acting if now < fault.end]
            while waiting and waiting[0].cycle <= now:
                acting.append(waiting.pop(0))
            for fault in acting:
                registers.strike(fault)
            acting = [fault for fault in acting if now + 1 < fault.end]
            if watch is not None:
                watch(now, registers)
            until = waiting[0].cycle if waiting else cycles
            until = now + 1 if acting or watch is not None else min(until, cycles)
            advance(registers.state, ports, self.geometry, self._rule, until)
        output = out if self._sum_rows == "m" else np.ascontiguousarray(out.T)
        env = registers.state.env
        return ArrayRun(output, cycles, int(env[LAST_WRITE]), int(env[WRITES]))
