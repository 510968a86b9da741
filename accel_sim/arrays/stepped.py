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
from accel_sim.arrays.step import CYCLE, LAST_WRITE, WRITES, Geometry, Ports, advance
from accel_sim.config.errors import ConfigError
from accel_sim.faults.fault import Fault
from accel_sim.machines.folds import INDICES
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


class Session:
    """An array at work on one product, between two cycles: may be struck, clocked on, and moved to another cycle.

    out: the output memory, the index that is no column first, native type; it may be written to from outside.
    """

    def __init__(self, engine: SteppedArray) -> None:
        self.registers = Registers(engine.machine)
        first, second = engine.folding.size(engine.sum_rows), engine.folding.col_size
        self.out = np.zeros((first, second), native_type(engine.machine))
        self._engine = engine
        self._ports = Ports(engine.right, engine.down, engine.stays, self.out, constants(engine.machine))

    @property
    def cycle(self) -> int:
        """The cycle of the product that is about to begin."""
        return self.registers.cycle

    def operand(self, matrix: str) -> tuple[NDArray[Any], bool]:
        """The memory at an edge that holds operand `a` or `b`, and whether its indices are the matrix's; it may be
        written to from outside."""
        engine, flow = self._engine, self._engine.machine.dataflow
        own = INDICES[matrix]
        sides = ((flow.right, engine.right, (flow.stream, flow.row)), (flow.down, engine.down, (flow.stream, flow.col)),
                 (flow.stays, engine.stays, (flow.row, flow.col)))
        return next((array, indices == own) for name, array, indices in sides if name == matrix)

    def advance(self, until: int) -> None:
        """Clock the array to the start of cycle `until`."""
        advance(self.registers.state, self._ports, self._engine.geometry, self._engine.rule, until)

    def jump(self, cycle: int) -> None:
        """Go on with another cycle of the product, every register holding what it holds."""
        state = self.registers.state
        shift = cycle - self.cycle
        for line in (state.y, state.y_bits):
            line[:] = np.roll(line, shift, axis=0)
        state.env[CYCLE] = cycle
        state.bus[:] = -1


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
        self.rule = rule_of(machine)
        flow, folds = machine.dataflow, self.folding
        self.geometry = Geometry(machine.rows, machine.cols, folds.row_size, folds.col_size, folds.stream_size,
                                  folds.row_folds, folds.fill, folds.fold_cycles, flow.loads)
        nothing = np.zeros((1, 1), native_type(machine))
        self.right = self._laid_out(flow.right, flow.stream, flow.row)
        self.down = nothing if flow.down == "sum" else self._laid_out(flow.down, flow.stream, flow.col)
        self.stays = nothing if flow.stays == "sum" else self._laid_out(flow.stays, flow.row, flow.col)
        self.sum_rows = flow.row if flow.stays == "sum" else flow.stream

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
        session, cycles = Session(self), self.folding.cycles
        registers = session.registers
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
            session.advance(now + 1 if acting or watch is not None else min(until, cycles))
        output = session.out if self.sum_rows == "m" else np.ascontiguousarray(session.out.T)
        env = registers.state.env
        return ArrayRun(output, cycles, int(env[LAST_WRITE]), int(env[WRITES]))
