"""Protected registers once more, as hardware and nothing else: every cell and every spare of a run, clocked.

`clocked` runs a bare machine one cycle at a time, and puts between its registers and its logic what the protection is
made of: spares that are written with their elements, decoders that are searches and counts, a sticky flag. It shares
nothing with `accel_sim.protection` but the names of the registers.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import product

import numpy as np
from engines.draw import Case

from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.numerics.ecc import stored_pattern
from accel_sim.numerics.rounding import flip_bits

POSITIONS = [p for p in range(1, 80) if p & (p - 1)]
"""Where the data bits of a Hamming code stand."""


def hamming(n: int) -> int:
    """Its check bits."""
    return POSITIONS[n - 1].bit_length()


@cache
def check(data: int, n: int) -> int:
    """Check bits of the extended Hamming code."""
    word = 0
    for i in range(n):
        word ^= POSITIONS[i] if data >> i & 1 else 0
    ones = data.bit_count() + word.bit_count()
    return word | (ones & 1) << hamming(n)


@cache
def decoded(data: int, spare: int, n: int) -> tuple[int, bool]:
    """(what is read, alarm): the data of a code word at most one wrong bit away, if there is one."""
    if check(data, n) == spare:
        return data, False
    for bit in range(n):
        if check(data ^ 1 << bit, n) == spare:
            return data ^ 1 << bit, False
    if (check(data, n) ^ spare).bit_count() == 1:
        return data, False
    return data, True


def acted(value: int, fault: Fault) -> int:
    """A cell after a fault."""
    ones = ((1 << fault.bits) - 1 if fault.kind == "burst" else 1) << fault.bit
    return {"stuck0": value & ~ones, "stuck1": value | ones}.get(fault.kind, value ^ ones)


def clocked(case: Case, kinds: dict[str, str], faults: Sequence[Fault]) -> RunResult:
    """The run of a machine whose register arrays `kinds` names, with their kind of protection. Without stalls, or where
    no fault strikes the phase."""
    inventory = case.machine.inventory
    names = {f"{kind}_{name}": name for name, kind in kinds.items()}
    flags = dict.fromkeys(("parity", "secded", "dmr"), 0)
    first: list[int] = []
    since = [0]

    def elements() -> set[tuple[str, tuple[int, ...]]]:
        found = set()
        for fault in faults:
            if fault.register in kinds:
                found.add((fault.register, fault.index))
            elif fault.register in names:
                kind = kinds[names[fault.register]]
                found.add((names[fault.register], fault.index[1:] if kind == "tmr" else fault.index))
        return found

    struck = sorted(elements())

    def strike_flags(cycle: int) -> None:
        for kind in flags:
            for fault in faults:
                if fault.register == f"{kind}_error" and fault.cycle <= cycle < fault.end:
                    flags[kind] = acted(flags[kind], fault)
            if flags[kind]:
                first.append(cycle)

    def watch(cycle: int, state: np.ndarray) -> None:
        begins = range(since[0], cycle + 1)
        since[0] = cycle + 1
        for c in begins:
            strike_flags(c)
        for name, index in struck:
            register, kind = inventory[name], kinds[name]
            slot, n = inventory.slot(name, index), register.width_bits
            arith, stored = register.format.codec, register.stored.codec
            written = int(stored_pattern(float(state[slot]), arith, stored))
            spare = {"parity": [written.bit_count() & 1], "secded": [check(written, n)], "dmr": [written],
                     "tmr": [written, written]}[kind]
            data = written
            for c, fault in product(begins, faults):
                if fault.cycle <= c < fault.end:
                    if (fault.register, fault.index) == (name, index):
                        data = acted(data, fault)
                    elif fault.register == f"{kind}_{name}" and kind == "tmr" and fault.index[1:] == index:
                        spare[fault.index[0]] = acted(spare[fault.index[0]], fault)
                    elif fault.register == f"{kind}_{name}" and kind != "tmr" and fault.index == index:
                        spare[0] = acted(spare[0], fault)
            read, alarm = data, False
            if kind == "parity":
                alarm = (data.bit_count() + spare[0]) % 2 == 1
            elif kind == "secded":
                read, alarm = decoded(data, spare[0], n)
            elif kind == "dmr":
                alarm = data != spare[0]
            else:
                read = sum(1 << b for b in range(n) if (data >> b & 1) + (spare[0] >> b & 1) + (spare[1] >> b & 1) > 1)
            if read != written:
                state[slot] = flip_bits(float(state[slot]), arith, stored, np.uint64(read ^ written))
            if alarm:
                flags[kind] = 1
        if any(flags.values()):
            first.append(cycle + 1)

    bare = [f for f in faults if f.register not in kinds and f.register not in names
            and not f.register.endswith("_error")]
    result = case.engine.run(bare, watch)
    alarms = [cycle for cycle in (result.alarm_cycle, *first) if cycle is not None]
    return RunResult(result.output, result.comparisons, min(alarms, default=None), result.cycles, result.hang)
