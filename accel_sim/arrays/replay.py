"""Replay of single faults in an array: the changed outputs, bit for bit those of the stepped engine, much sooner.

`ArrayReplay` takes faults one by one or by the thousand (points of a `Universe`); `Changes` is what it gives back. A
stuck bit that lasts longer than a cycle goes to the stepped engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.golden import golden
from accel_sim.arrays.operands import constants, rule_of
from accel_sim.arrays.replay_kernel import LOAD, STAYS, Places, Scratch, Strikes, Values, X, Y, replay_all
from accel_sim.arrays.step import FIRST, LAST, VALID
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.faults.fault import Fault
from accel_sim.faults.universe import Points
from accel_sim.machines.integers import INTEGERS
from accel_sim.machines.systolic import SystolicArray
from accel_sim.machines.systolic_schedule import skew_place

_CONTROL = {"": 0, "valid": VALID, "first": FIRST, "last": LAST}
_OPS = {"flip": 0, "burst": 0, "stuck0": 1, "stuck1": 2}
_RECORDS = 1 << 18  # records of one call of the kernel: a few megabytes


@dataclass(frozen=True)
class Changes:
    """The outputs that faults have changed. ends (faults,): fault i has the records ends[i − 1] to before ends[i].

    place (records,): index into the flattened (M, N) output, rising within a fault; value (records,): what stands
    there instead, native type.
    """

    ends: NDArray[np.int64]
    place: NDArray[np.int64]
    value: NDArray[Any]

    def of(self, fault: int) -> tuple[NDArray[np.int64], NDArray[Any]]:
        """(place, value) of one fault."""
        span = slice(int(self.ends[fault - 1]) if fault else 0, int(self.ends[fault]))
        return self.place[span], self.value[span]

    @property
    def counts(self) -> NDArray[np.int64]:
        """(faults,): how many outputs each fault has changed; 0 is a masked fault."""
        return np.diff(self.ends, prepend=0)


def places_of(machine: SystolicArray) -> Places:
    """Where every slot of the inventory is, for the kernel."""
    slots = machine.inventory.slots
    found = Places(*(np.zeros(slots, np.int64) for _ in Places._fields))
    for register in machine.inventory:
        start = machine.inventory.offsets[register.name]
        at = slice(start, start + register.size)
        if register.name == "load":
            found.line[at], found.row[at] = LOAD, np.arange(machine.rows)
            continue
        if register.name == "s":
            row, col = np.indices(register.shape).reshape(2, -1)
            found.line[at], found.row[at], found.col[at] = STAYS, row, col
            continue
        line, _, rest = register.name.partition("_")
        found.line[at] = X if line == "x" else Y
        found.control[at] = _CONTROL[rest.removeprefix("skew").removeprefix("_")]
        if rest.startswith("skew"):
            own, age = np.array([skew_place(element) for element in range(register.size)]).T
            (found.row if line == "x" else found.col)[at] = own
        else:
            row, col = np.indices(register.shape).reshape(2, -1)
            age = row + col + 1
            found.row[at], found.col[at] = (row, col + 1) if line == "x" else (row + 1, col)
        found.age[at] = age
    return found


class ArrayReplay:
    """Replays single faults in the product of A and B on an array. Immutable after construction, but for scratch.

    ConfigError as for `SteppedArray`.
    """

    def __init__(self, machine: SystolicArray, a: Any, b: Any) -> None:
        self.stepped = SteppedArray(machine, a, b)
        self.machine, self.folding = machine, self.stepped.folding
        self.golden = golden(machine, a, b)
        left, right = self.stepped.a, self.stepped.b
        self._turned = machine.flow == "is"  # then p runs along n
        p, q = (right, left.T) if self._turned else (left.T, right)
        out = np.ascontiguousarray(self.golden.T if self._turned else self.golden)
        self._integer = np.dtype(f"int{8 * out.dtype.itemsize}")
        self.values = Values(np.ascontiguousarray(p), np.ascontiguousarray(q), out, out.view(self._integer),
                              constants(machine))
        line, cell = np.zeros(max(out.shape), out.dtype), np.zeros(1, out.dtype)
        self._scratch = Scratch(line, line.view(self._integer), cell, cell.view(self._integer))
        self.places = places_of(machine)

    @cached_property
    def _slots(self) -> NDArray[np.int64]:
        """First slot of each register, in the order of the inventory."""
        return np.array(list(self.machine.inventory.offsets.values()), np.int64)

    def points(self, points: Points) -> Changes:
        """Flips at some points of `Universe.of(machine.inventory, folding.cycles)`, one fault each."""
        return self.replay(Strikes(
            np.ascontiguousarray(points.cycle), self._slots[points.register] + points.element,
            np.int64(1) << points.bit, np.zeros(len(points.cycle), np.int64)))

    def inject(self, fault: Fault) -> Changes:
        """One fault of any kind. ConfigError if the array cannot have it."""
        self.stepped.checked([fault])
        if fault.end > fault.cycle + 1:
            output = self.stepped.run([fault]).output
            changed = output.view(self._integer) != self.golden.view(self._integer)
            place = np.flatnonzero(changed)
            return Changes(np.array([place.size]), place, output.reshape(-1)[place])
        return self.transients([fault])

    def transients(self, faults: Sequence[Fault]) -> Changes:
        """Faults that last one cycle, each on its own. ConfigError for one that the array cannot have; ValueError for
        one that lasts longer."""
        self.stepped.checked(faults)
        if any(fault.end > fault.cycle + 1 for fault in faults):
            raise ValueError("a stuck bit that lasts is no transient: `inject` it")
        return self.replay(Strikes(
            np.array([fault.cycle for fault in faults], np.int64),
            np.array([self.machine.inventory.slot(fault.register, fault.index) for fault in faults], np.int64),
            np.array([fault.mask for fault in faults], np.uint64).view(np.int64),
            np.array([_OPS[fault.kind] for fault in faults], np.int64)))

    def replay(self, strikes: Strikes) -> Changes:
        """Strikes that last one cycle, each on its own; slots of the array's inventory."""
        machine, count = self.machine, strikes.cycle.size
        integer = machine.operand in INTEGERS
        operand = None if integer else machine.operand_format.codec
        total = None if integer else machine.sum_format.codec
        most = self.values.out.shape[0] * machine.cols + self.values.out.shape[1]
        place = np.zeros(max(_RECORDS, most), np.int64)
        value = np.zeros(place.size, self.values.out.dtype)
        ends = np.zeros(count, np.int64)
        places, values, done, kept = [], [], 0, 0
        while done < count:
            begin = done
            done = replay_all(strikes, begin, self.places, self.values, self.stepped.geometry, rule_of(machine),
                              operand, total, machine.operand_format.width_bits, self._scratch, ends, place, value,
                              most)
            made = int(ends[done - 1])
            ends[begin:done] += kept
            kept += made
            places.append(place[:made].copy())
            values.append(value[:made].copy())
        flat = np.concatenate(places) if places else place[:0]
        changed = np.concatenate(values) if values else value[:0]
        if self._turned:
            n, m = np.divmod(flat, self.folding.m)
            flat = m * self.folding.n + n
        order = np.lexsort((flat, np.repeat(np.arange(count), np.diff(ends, prepend=0))))
        return Changes(ends, flat[order], changed[order])
