"""SRAM faults at replay speed: what a struck word's one read delivers, told without running anything.

A word is read once between two writes (but for resident K and V). So a fault in it is one of these:

* nothing reads the word before it is written again, or its decoder corrects it: the run is the fault-free one, but for
  a memory alarm;
* a q, k or v word: the same as a flip of the wrong bits in register `q`, `k` or `v` in the cycle after the read, which
  `ReplayEngine` replays;
* an O word: the delivered row differs, and nothing else;
* wrong bits in several elements, or in several reads: run by the stepped engine.

`SramFaults` lists faults (`faults_of` one), `told` says for all of them which of these they are.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from accel_sim.engines.job import Job
from accel_sim.engines.sram import element_mask, pattern_of, split_masks
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import compare_rows
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.memories import NEVER, Memory, Residence, residence
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.check_bits import PROTECTIONS
from accel_sim.numerics.ecc import decode_word, encode_word
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import flip_bits

CLEAN, FLIP, DELIVERED, RUN = range(4)
"""What a fault comes to: the fault-free run; a flip in a register; a changed output row; a run."""


class SramFaults(NamedTuple):
    """Faults in one memory, each field one array: bank, row, word, bit (the lowest struck), first and last clock cycle
    and op (0 inverts, 1 and 2 force to 0 and 1) int64; data and check masks uint64."""

    bank: np.ndarray
    row: np.ndarray
    word: np.ndarray
    bit: np.ndarray
    cycle: np.ndarray
    last_cycle: np.ndarray
    op: np.ndarray
    data_mask: np.ndarray
    check_mask: np.ndarray


class Told(NamedTuple):
    """What faults come to. what: CLEAN … RUN. alarm_cycle: of the memory alarm, or −1. row: the query or key in the
    word. slot, cycle, mask: of the register flip. old_value, new_value: as `engines.stepped.Injection` has them, NaN
    in a dead word. delivered: wrong bits of the word as read. read_cycle: clock cycle of that read (the cycle count if
    the word leaves at the end of the run), or −1. wrong: whether anything stood wrong in the word then."""

    what: np.ndarray
    alarm_cycle: np.ndarray
    row: np.ndarray
    slot: np.ndarray
    cycle: np.ndarray
    mask: np.ndarray
    old_value: np.ndarray
    new_value: np.ndarray
    delivered: np.ndarray
    read_cycle: np.ndarray
    wrong: np.ndarray


class Reads(NamedTuple):
    """A struck word as it is read: wrong bits delivered, alarm, elements with wrong bits, the first of them and its
    mask, the struck element's value before and after, and whether anything stood wrong in the word."""

    delivered: np.ndarray
    alarm: np.ndarray
    elements: np.ndarray
    element: np.ndarray
    mask: np.ndarray
    old_value: np.ndarray
    new_value: np.ndarray
    wrong: np.ndarray


@kernel
def strike_pattern(pattern, mask, op):
    """A stored pattern under a fault."""
    if op == 0:
        return pattern ^ mask
    return pattern & ~mask if op == 1 else pattern | mask


@kernel
def read_all(values, rows, faults, count, width, hamming, protection, arith, stored, out):
    """Strike and read words of `count` elements in rows `rows` (−1: skipped) of `values`."""
    n = count * width
    for i in range(rows.shape[0]):
        if rows[i] < 0:
            continue
        first = faults.word[i] * count
        written = pattern_of(values, rows[i], first, count, width, arith, stored)
        data = strike_pattern(written, faults.data_mask[i], faults.op[i])
        clean_check = encode_word(written, hamming, protection)
        check = strike_pattern(clean_check, faults.check_mask[i], faults.op[i])
        out.wrong[i] = data != written or check != clean_check
        delivered, alarm = decode_word(data, check, n, hamming, protection)
        out.delivered[i] = delivered ^ written
        out.alarm[i] = alarm
        for j in range(count - 1, -1, -1):
            mask = element_mask(out.delivered[i], j, width)
            if mask != np.uint64(0):
                out.elements[i] += 1
                out.element[i] = first + j
                out.mask[i] = mask
        if faults.bit[i] < n:
            j = faults.bit[i] // width
            out.old_value[i] = values[rows[i], first + j]
            out.new_value[i] = flip_bits(out.old_value[i], arith, stored, element_mask(data ^ written, j, width))


def reads(memory: Memory, values: np.ndarray, rows: np.ndarray, faults: SramFaults) -> Reads:
    """`read_all` on one memory."""
    n = len(rows)
    out = Reads(np.zeros(n, np.uint64), np.zeros(n, np.bool_), np.zeros(n, np.int64), np.zeros(n, np.int64),
                np.zeros(n, np.uint64), np.full(n, np.nan), np.full(n, np.nan), np.zeros(n, np.bool_))
    read_all(values, rows, faults, memory.word_elements, memory.stored.width_bits, memory.hamming_bits,
             PROTECTIONS.index(memory.protection), memory.format.codec, memory.stored.codec, out)
    return out


def told(machine: LanesMachine, job: Job, golden_output: np.ndarray, machine_cycle: np.ndarray, memory: Memory,
         resident: bool, faults: SramFaults) -> Told:
    """What faults in one memory come to. machine_cycle: `golden.Clock.machine_cycles` of the fault-free run."""
    n_queries, n_keys, d = job.shape
    timing, tensor, run_cycles = machine.timing(n_queries, n_keys), memory.tensor, len(machine_cycle)
    resident = resident and tensor in "kv"

    def at(cycle: np.ndarray) -> Residence:
        return residence(machine, timing, tensor, memory.shape[0], faults.bank, faults.row, machine_cycle[cycle],
                         resident)

    begins, ends = at(faults.cycle), at(faults.last_cycle)
    live = begins.read != NEVER
    # A dead word comes to nothing, unless the fault is still there when the word is written again.
    moved = ends.tile != begins.tile
    values = {"q": job.q, "k": job.k, "v": job.v, "o": golden_output}[tensor]
    r = reads(memory, values, np.where(live, begins.row, -1), faults)
    read = np.where(live, begins.read, 0)
    clock = np.searchsorted(machine_cycle, read, side="right") - 1  # a held machine reads as it moves on
    at_end = begins.read == timing.head_cycles
    visible = np.where(at_end, run_cycles, clock + 1)
    what = np.where(r.delivered == 0, CLEAN, DELIVERED if tensor == "o" else np.where(r.elements > 1, RUN, FLIP))
    if resident:
        again = begins.read + timing.period < timing.lanes + timing.blocks * timing.period
        what = np.where((r.delivered != 0) & again, RUN, what)
    what = np.where(moved, RUN, what)
    slot = np.zeros(len(what), dtype=np.int64)
    if tensor != "o":
        lane = np.maximum(begins.row, 0) % machine.lanes if tensor == "q" else 0
        slot = machine.inventory.offsets[tensor] + lane * d + r.element
    return Told(what, np.where(r.alarm, visible, -1), begins.row, slot, visible, r.mask, r.old_value, r.new_value,
                r.delivered, np.where(live, np.where(at_end, run_cycles, clock), -1), r.wrong)


def faults_of(fault: Fault, memory: Memory, run_cycles: int) -> SramFaults:
    """One fault as an array of one."""
    bits = fault.bits if fault.kind == "burst" else 1
    masks = split_masks(np.array([fault.bit]), np.array([bits]), memory.word_bits)
    op = {"stuck0": 1, "stuck1": 2}.get(fault.kind, 0)
    bank, row, word = fault.index
    last_cycle = min(fault.end, run_cycles) - 1

    def one(field: int) -> np.ndarray:
        return np.array([field], dtype=np.int64)

    return SramFaults(one(bank), one(row), one(word), one(fault.bit), one(fault.cycle), one(last_cycle), one(op),
                      *masks)


class Rows(NamedTuple):
    """How far delivered rows are from the fault-free ones: the fields of `replay.types.Outcomes` of those names."""

    differs: np.ndarray
    square: np.ndarray
    max_abs: np.ndarray
    max_ulp: np.ndarray
    nonfinite: np.ndarray
    rows: np.ndarray


@kernel
def change_rows(golden, row, word, delivered, count, width, arith, stored, row_now, out):
    """Compare each row, with one word's wrong bits in it, with the fault-free one. row_now (1, d): scratch."""
    for i in range(row.shape[0]):
        move(row_now[0], golden[row[i]])
        for j in range(count):
            mask = element_mask(delivered[i], j, width)
            if mask != np.uint64(0):
                at = word[i] * count + j
                row_now[0, at] = flip_bits(row_now[0, at], arith, stored, mask)
        square, largest, ulp, nonfinite, rows = compare_rows(golden[row[i]:row[i] + 1], row_now, arith, 0.0)
        out.differs[i] = rows > 0
        out.square[i] = square
        out.max_abs[i] = largest
        out.max_ulp[i] = ulp
        out.nonfinite[i] = nonfinite
        out.rows[i] = rows


def delivered_rows(memory: Memory, golden_output: np.ndarray, row: np.ndarray, word: np.ndarray,
                   delivered: np.ndarray) -> Rows:
    """What changed words of the O SRAM do to the output. row, word (n,) int64; delivered (n,) uint64 wrong bits."""
    n = len(row)
    out = Rows(np.zeros(n, np.bool_), np.zeros(n), np.zeros(n), *(np.zeros(n, np.int64) for _ in range(3)))
    arith, stored = (Codec(*fmt.codec) for fmt in (memory.format, memory.stored))
    change_rows(golden_output, row, word, delivered, memory.word_elements, memory.stored.width_bits, arith, stored,
                np.zeros((1, golden_output.shape[1])), out)
    return out
