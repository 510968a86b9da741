"""A systolic array written out register by register, in plain Python: slow, and nothing in common with the engine.

Registers are dictionaries from (row, column) or (row or column, stage) to bit patterns; `clock` forms the next state of
all of them from the present one, as `accel_sim.machines.systolic` words it. Arithmetic is NumPy's and ml_dtypes': a
product or sum of binary64 values, converted once.
"""

from __future__ import annotations

import ml_dtypes
import numpy as np

from accel_sim.faults.fault import Fault
from accel_sim.machines.systolic import SystolicArray

TYPES = {"fp64": np.float64, "fp32": np.float32, "fp16": np.float16, "bf16": ml_dtypes.bfloat16,
         "fp8_e4m3": ml_dtypes.float8_e4m3fn, "fp8_e5m2": ml_dtypes.float8_e5m2, "int8": np.int8, "int32": np.int32}
UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}
CANONICAL_NAN = {"fp64": 0x7FF8 << 48, "fp32": 0x7FC00000, "fp16": 0x7E00, "bf16": 0x7FC0, "fp8_e4m3": 0x7F,
                 "fp8_e5m2": 0x7E}


class Word:
    """One format: patterns to Python numbers and back, canonical NaN, and what a machine without subnormals sees."""

    def __init__(self, name: str, flush: bool) -> None:
        self.name, self.type, self.flush = name, np.dtype(TYPES[name]), flush
        self.unsigned = np.dtype(UNSIGNED[self.type.itemsize])
        self.integer = name.startswith("int")

    def value(self, pattern: int) -> float:
        return float(np.array([pattern], self.unsigned).view(self.type)[0].astype(np.float64))

    def read(self, pattern: int) -> float:
        value = self.value(pattern)
        return value * 0.0 if self.flush and abs(value) < self.smallest_normal else value

    @property
    def smallest_normal(self) -> float:
        return float(ml_dtypes.finfo(self.type).smallest_normal)

    def pattern(self, value: float) -> int:
        """The pattern of a binary64 value, rounded once."""
        if np.isnan(value):
            return CANONICAL_NAN[self.name]
        with np.errstate(all="ignore"):
            rounded = np.array([value], np.float64).astype(self.type)
        if np.isnan(rounded.astype(np.float64)[0]):
            return CANONICAL_NAN[self.name]
        if self.flush and abs(float(rounded.astype(np.float64)[0])) < self.smallest_normal:
            rounded = np.array([np.copysign(0.0, value)]).astype(self.type)
        return int(rounded.view(self.unsigned)[0])


def patterns_of(matrix: np.ndarray, name: str) -> np.ndarray:
    """Patterns of a matrix of values that the format has."""
    kind = np.dtype(TYPES[name])
    return np.asarray(matrix).astype(kind).view(UNSIGNED[kind.itemsize]).astype(np.uint64)


class Reference:
    """One product on one array. `state` maps a register's name to a dict from index to pattern."""

    def __init__(self, machine: SystolicArray, a: np.ndarray, b: np.ndarray) -> None:
        flush = machine.subnormals == "flush"
        self.machine, self.rows, self.cols = machine, machine.rows, machine.cols
        self.operand, self.total = Word(machine.operand, flush), Word(machine.sum, flush)
        pa, pb = patterns_of(a, machine.operand), patterns_of(b, machine.operand)
        m, k = pa.shape
        n = pb.shape[1]
        self.cycle = 0
        # left[t][row], top[t][col], still[row][col]
        if machine.flow == "os":
            self.left, self.top, self.still = pa.T, pb, None
            self.out, sizes = np.zeros((m, n), np.uint64), (m, n, k)
        elif machine.flow == "ws":
            self.left, self.top, self.still = pa, None, pb
            self.out, sizes = np.zeros((m, n), np.uint64), (k, n, m)
        else:
            self.left, self.top, self.still = pb.T, None, pa.T
            self.out, sizes = np.zeros((n, m), np.uint64), (k, m, n)
        self.row_size, self.col_size, self.stream = sizes
        self.sum_stays = machine.flow == "os"
        self.fill = 0 if self.sum_stays else self.rows
        self.period = self.fill + self.stream + self.rows + self.cols - 2
        self.row_folds = -(-self.row_size // self.rows)
        self.cycles = self.row_folds * -(-self.col_size // self.cols) * self.period
        self.state = {r.name: dict.fromkeys(np.ndindex(r.shape), 0) for r in machine.inventory}
        if not self.sum_stays:
            self.state["load"] = dict.fromkeys(self.state["load"], 1)

    def multiply_add(self, total: int, x: int, y: int) -> int:
        if self.total.integer:
            exact = int(self.operand.value(x)) * int(self.operand.value(y)) + int(self.total.value(total))
            return exact & 0xFFFFFFFF
        with np.errstate(all="ignore"):
            product = self.total.pattern(float(np.float64(self.operand.read(x)) * np.float64(self.operand.read(y))))
            return self.total.pattern(float(np.float64(self.total.read(total)) + np.float64(self.total.read(product))))

    def port(self, t: int, base: int, size: int, row: int, words: np.ndarray | None) -> tuple[int, bool]:
        here = 0 <= t < self.stream and base + row < size
        return (int(words[t][base + row]) if here and words is not None else 0), here

    def bits(self) -> list[int]:
        """All patterns, in the order of the inventory."""
        return [self.state[r.name][index] for r in self.machine.inventory for index in np.ndindex(r.shape)]

    def strike(self, fault: Fault) -> None:
        held = self.state[fault.register]
        mask = ((1 << fault.bits) - 1 if fault.kind == "burst" else 1) << fault.bit
        old = held[fault.index]
        held[fault.index] = {"stuck0": old & ~mask, "stuck1": old | mask}.get(fault.kind, old ^ mask)

    def clock(self) -> None:
        """One cycle."""
        fold, step = divmod(self.cycle, self.period)
        row_base, col_base = fold % self.row_folds * self.rows, fold // self.row_folds * self.cols
        t = step - self.fill
        old = self.state
        new = {name: dict(held) for name, held in old.items()}
        tags = ("valid", "first", "last") if self.sum_stays else ("valid",)

        # what stands at the inputs of the first PE of every row and column: [value, tag, tag, …]
        left, top = [], []
        for r in range(self.rows):
            value, here = self.port(t, row_base, self.row_size, r, self.left)
            item = [value, int(here), int(here and t == 0), int(here and t == self.stream - 1)][:1 + len(tags)]
            for stage in range(r):
                at = (r * (r - 1) // 2 + stage,)
                names = ["x_skew", *(f"x_skew_{tag}" for tag in tags)]
                item, following = [old[name][at] for name in names], item
                for name, word in zip(names, following, strict=True):
                    new[name][at] = word
            left.append(item)
        for c in range(self.cols):
            value, here = self.port(t, col_base, self.col_size, c, self.top)
            if not self.sum_stays and here and row_base > 0:
                value = int(self.out[t][col_base + c])
            item = [value, int(here)]
            for stage in range(c):
                at = (c * (c - 1) // 2 + stage,)
                item, following = [old["y_skew"][at], old["y_skew_valid"][at]], item
                new["y_skew"][at], new["y_skew_valid"][at] = following
            top.append(item)

        bus: dict[int, tuple[int, int]] = {}
        for r, c in np.ndindex(self.rows, self.cols):
            x_names = ["x", *(f"x_{tag}" for tag in tags)]
            x = left[r] if c == 0 else [old[name][r, c - 1] for name in x_names]
            y = top[c] if r == 0 else [old["y"][r - 1, c], old["y_valid"][r - 1, c]]
            fires = x[1] and y[1]
            down = y[0]
            if self.sum_stays:
                if fires:
                    start = 0 if x[2] else old["s"][r, c]
                    new["s"][r, c] = self.multiply_add(start, x[0], y[0])
                    if x[3] and c not in bus:
                        bus[c] = (r, new["s"][r, c])
            elif fires:
                down = self.multiply_add(y[0], x[0], old["s"][r, c])
            if c + 1 < self.cols:
                for name, word in zip(x_names, x, strict=True):
                    new[name][r, c] = word
            if r + 1 < self.rows:
                new["y"][r, c], new["y_valid"][r, c] = down, y[1]
            elif not self.sum_stays and y[1]:
                at = t - (self.rows - 1) - c
                if 0 <= at < self.stream and col_base + c < self.col_size:
                    self.out[at][col_base + c] = down
        for c, (r, word) in bus.items():
            if row_base + r < self.row_size and col_base + c < self.col_size:
                self.out[row_base + r][col_base + c] = word

        if not self.sum_stays:
            for r in range(self.rows):
                if old["load"][(r,)]:
                    for c in range(self.cols):
                        if r > 0:
                            new["s"][r, c] = old["s"][r - 1, c]
                            continue
                        row, col = row_base + self.rows - 1 - step, col_base + c
                        here = step < self.rows and row < self.row_size and col < self.col_size
                        new["s"][0, c] = int(self.still[row][col]) if here else 0
                new["load"][(r,)] = int((step + 1) % self.period < self.rows)
        self.state = new
        self.cycle += 1

    def run(self, faults: list[Fault]):
        """Yields the patterns of every register at the start of every cycle, faults having acted."""
        while self.cycle < self.cycles:
            for fault in sorted(faults, key=lambda fault: fault.cycle):
                last = fault.cycle + (fault.duration if fault.kind.startswith("stuck") else 1)
                if fault.cycle <= self.cycle < last:
                    self.strike(fault)
            yield self.bits()
            self.clock()

    @property
    def output(self) -> np.ndarray:
        """(M, N) patterns."""
        return self.out.T if self.machine.flow == "is" else self.out


def serial_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """A times B in binary32, each product and each sum rounded, in the order of k: NumPy's own float32 operations."""
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        total = total + a[:, k:k + 1].astype(np.float32) * b[k:k + 1].astype(np.float32)
    return total
