"""Co-simulation: the RTL and the Python engines run the same job, and every bit of both is compared.

`CoSimulation` holds the RTL and the stepped engine of one job. `clean` compares every register of the inventory in
every cycle of the fault-free run, and what the run delivers with the stepped and the golden engine; `under` does the
same under any list of faults; `records` compares what many single faults lead to. `first_mismatch` is the comparison
of registers; `accel_sim.validation` does all of it for a config.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import Job
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.machines.inventory import Inventory
from accel_sim.machines.lanes import LanesMachine
from accel_sim.rtl.model import TRACE_ROWS, RtlModel

if TYPE_CHECKING:
    pass

Bits = NDArray[np.uint64]


@dataclass(frozen=True)
class Mismatch:
    """The first thing in which RTL and engine differ.

    cycle: the clock cycle at whose start it shows, −1 for the run as a whole. where: a register, or what a run
    delivers (`output`, `comparisons`, `alarm_cycle`, `cycles`). fault: under which fault, if any.
    """

    cycle: int
    where: str
    index: tuple[int, ...]
    engine: str
    rtl: str
    fault: Fault | None = None

    def __str__(self) -> str:
        at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
        when = f"cycle {self.cycle}: " if self.cycle >= 0 else ""
        under = f" (under {self.fault})" if self.fault else ""
        return f"{when}{self.where}{at}: engine {self.engine}, RTL {self.rtl}{under}"


@dataclass(frozen=True)
class CoSimReport:
    """What was compared, and the first difference if there is one.

    moves: cycles whose registers were compared; bits: register bits compared in all; faults: runs under a fault.
    Reports add up: the first difference stays.
    """

    moves: int = 0
    bits: int = 0
    faults: int = 0
    mismatches: int = 0
    first: Mismatch | None = field(default=None)

    def __add__(self, other: CoSimReport) -> CoSimReport:
        return CoSimReport(self.moves + other.moves, self.bits + other.bits, self.faults + other.faults,
                           self.mismatches + other.mismatches, self.first or other.first)

    @property
    def agree(self) -> bool:
        """No difference anywhere."""
        return self.mismatches == 0


def encode_states(inventory: Inventory, states: NDArray[np.float64]) -> Bits:
    """Flat machine states (n, slots) of an engine as the raw bits (n, slots) of their registers."""
    bits = np.empty(states.shape, dtype=np.uint64)
    for register in inventory:
        start = inventory.offsets[register.name]
        columns = slice(start, start + register.size)
        bits[:, columns] = register.stored.encode(np.ascontiguousarray(states[:, columns]))
    return bits


def first_mismatch(inventory: Inventory, engine_cycles: NDArray[np.int64], engine_states: Bits,
                   rtl_cycles: NDArray[np.int64], rtl_states: Bits) -> Mismatch | None:
    """The first cycle, and in it the first element of the inventory, in which raw states differ; None if none does.

    cycles (n,): the clock cycle of every row of states (n, slots).
    """
    rows = min(len(engine_cycles), len(rtl_cycles))
    for row in range(rows):
        cycle = int(engine_cycles[row])
        if cycle != rtl_cycles[row]:
            return Mismatch(cycle, "moving cycle", (row,), str(cycle), str(int(rtl_cycles[row])))
        if not np.array_equal(engine_states[row], rtl_states[row]):
            slot = int(np.flatnonzero(engine_states[row] != rtl_states[row])[0])
            register, index = inventory.locate(slot)
            pair = np.array([engine_states[row, slot], rtl_states[row, slot]], dtype=np.uint64)
            texts = [f"{bits:#x} ({value:g})" for bits, value in zip(pair, register.stored.decode(pair), strict=True)]
            return Mismatch(cycle, register.name, index, texts[0], texts[1])
    if len(engine_cycles) != len(rtl_cycles):
        return Mismatch(-1, "moving cycles", (), str(len(engine_cycles)), str(len(rtl_cycles)))
    return None


def result_mismatch(engine: RunResult, rtl: RunResult, fault: Fault | None = None) -> Mismatch | None:
    """The first difference between what two runs delivered, bit for bit; None if there is none."""
    for name in ("hang", "cycles", "alarm_cycle"):
        a, b = getattr(engine, name), getattr(rtl, name)
        if a != b:
            return Mismatch(-1, name, (), str(a), str(b), fault)
    if len(engine.comparisons) != len(rtl.comparisons):
        return Mismatch(-1, "comparisons", (), str(len(engine.comparisons)), str(len(rtl.comparisons)), fault)
    for n, (one, other) in enumerate(zip(engine.comparisons, rtl.comparisons, strict=True)):
        for name in ("cycle", "residual", "limit", "predicted", "actual", "scanned"):
            a, b = float(getattr(one, name)), float(getattr(other, name))
            if np.float64(a).view(np.uint64) != np.float64(b).view(np.uint64):
                return Mismatch(one.cycle, f"comparison {name}", (n,), a.hex(), b.hex(), fault)
    different = engine.output.view(np.uint64) != rtl.output.view(np.uint64)
    if different.any():
        index = tuple(int(i) for i in np.argwhere(different)[0])
        return Mismatch(-1, "output", index, engine.output[index].hex(), rtl.output[index].hex(), fault)
    return None


class CoSimulation:
    """One job on an RTL model of its machine and on the engines."""

    def __init__(self, machine: LanesMachine, job: Job, model: RtlModel) -> None:
        self.machine, self.job = machine, job
        self.stepped = SteppedEngine(machine, job)
        self.rtl = model

    def clean(self) -> CoSimReport:
        """The fault-free run: every register in every cycle, then the results of the stepped and the golden engine."""
        report, result = self._side_by_side(())
        wrong = result_mismatch(run_golden(self.machine, self.job), result)
        return report + CoSimReport(mismatches=int(wrong is not None), first=wrong)

    def under(self, faults: Sequence[Fault]) -> CoSimReport:
        """A run under all of `faults` together: every register in every cycle, and the results."""
        return self._side_by_side(faults)[0]

    def records(self, faults: Sequence[Fault]) -> CoSimReport:
        """Each fault alone: the bits that it found and left, outputs, comparisons, alarm cycle, length and hang."""
        report = CoSimReport()
        for injected in self.rtl.inject(self.job, faults):
            fault = injected.fault
            mine = self.stepped.inject(fault)
            fmt = self.machine.inventory[fault.register].stored
            old, new = (int(bits) for bits in fmt.encode(np.array([mine.old_value, mine.new_value])))
            wrong = result_mismatch(mine.result, injected.result, fault)
            if (old, new) != (injected.old_bits, injected.new_bits):
                wrong = Mismatch(fault.cycle, fault.register, fault.index, f"{old:#x} to {new:#x}",
                                 f"{injected.old_bits:#x} to {injected.new_bits:#x}", fault)
            report += CoSimReport(faults=1, mismatches=int(wrong is not None), first=wrong)
        return report

    def _side_by_side(self, faults: Sequence[Fault]) -> tuple[CoSimReport, RunResult]:
        inventory = self.machine.inventory
        cycles: list[int] = []
        states: list[NDArray[np.float64]] = []
        pieces = self.rtl.chunks(self.job, faults, room=TRACE_ROWS)
        found: list[Mismatch] = []
        moves = 0
        last: RunResult | None = None

        def compare_piece() -> None:
            nonlocal moves, last
            piece = next(pieces, None)
            rtl_cycles = piece.cycles if piece else np.zeros(0, dtype=np.int64)
            rtl_states = piece.states if piece else np.zeros((0, inventory.slots), dtype=np.uint64)
            last = piece.result if piece else last
            bits = encode_states(inventory, np.array(states).reshape(-1, inventory.slots))
            wrong = first_mismatch(inventory, np.array(cycles, dtype=np.int64), bits, rtl_cycles, rtl_states)
            found.extend([wrong] if wrong else [])
            moves += len(rtl_cycles)
            cycles.clear()
            states.clear()

        def watch(cycle: int, state: NDArray[np.float64]) -> None:
            if len(cycles) == TRACE_ROWS:
                compare_piece()
            cycles.append(cycle)
            states.append(state.copy())

        engine = self.stepped.run(faults, watch)
        compare_piece()
        for rest in pieces:  # the RTL goes on where the engine has ended
            if len(rest.cycles):
                found.append(Mismatch(int(rest.cycles[0]), "moving cycle", (), "none", "moves"))
            last = rest.result
        assert last is not None
        wrong = found[0] if found else result_mismatch(engine, last)
        report = CoSimReport(moves, moves * inventory.bits, int(bool(faults)), int(wrong is not None), wrong)
        return report, last


def every_fault(machine: LanesMachine, cycles: int) -> list[Fault]:
    """A flip of every bit of every register in each of `cycles` cycles."""
    return [
        Fault(cycle, register.name, tuple(int(i) for i in index), bit)
        for cycle in range(cycles)
        for register in machine.inventory
        for index in np.ndindex(*register.shape)
        for bit in range(register.width_bits)
    ]


def random_flips(machine: LanesMachine, cycles: int, count: int, seed: int) -> list[Fault]:
    """`count` single-bit flips, uniform over every flip-flop and cycle."""
    rng = np.random.default_rng(seed)
    registers = machine.inventory.registers
    ends = np.cumsum([register.bits for register in registers])
    found = []
    for bit in rng.integers(0, ends[-1], count):
        which = int(np.searchsorted(ends, bit, side="right"))
        register = registers[which]
        element, at = divmod(int(bit - ends[which] + register.bits), register.width_bits)
        index = tuple(int(i) for i in np.unravel_index(element, register.shape)) if register.shape else ()
        found.append(Fault(int(rng.integers(cycles)), register.name, index, at))
    return found
