"""Faults in SRAM words of the gemm machine, replayed: what the wrong elements do that `accel_sim.words.told` finds.

A wrong operand changes lines of its product, and through the encoder the checksums; a wrong partial sum one of its
sums; wrong scores and undivided outputs are read by one lane; a wrong output is delivered as it is. From there on
`replay_kernel` follows. Stuck bits in partial sums, and words that lie across the rows of two queries in the divide
pass, are run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.replay.types import FALL_BACK, Outcomes
from accel_sim.gemm.head import Head
from accel_sim.gemm.words_kernel import (
    Axis,
    LineRoom,
    WrongOperands,
    WrongReads,
    follow_reads,
    operand_changes,
    partial_changes,
    partial_sums,
)
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.rounding import flip_bits
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.gemm import ENCODE, FOLD, MAX, PARTIAL
from accel_sim.words.plan import LATER
from accel_sim.words.told import Told, WordFaults, WordOutcomes, WordTables, leave

if TYPE_CHECKING:
    from accel_sim.gemm.replay import ReplayGemm

RECORDS = 1 << 20
"""Changes of a product that are held at once, at least."""

ELEMENTS = 512
"""Wrong operands of one fault, checksums included, at most: 8 in a word, each in a group of a few words."""


class Parts(NamedTuple):
    """Of a replay engine. head: fault-free. arrays: `ArrayReplay` of each product. rule: of the array. codec: of the
    outputs. one: `OneLane`. back: everything that does anything is to be run. untouched (n): outcomes of n faults that
    change nothing; world (out): what kernels follow faults with; follow (which, product, begins, ends, place, value,
    out): follow changes of a product."""

    head: Head
    arrays: dict[str, Any]
    rule: Any
    codec: Any
    one: Callable[[], Any]
    back: bool
    untouched: Callable[[int], Outcomes]
    world: Callable[[Outcomes], Any]
    follow: Callable[..., None]


class ReplayWords:
    """The words around one replay engine's head."""

    def __init__(self, engine: ReplayGemm, parts: Parts) -> None:
        self.engine, self.parts = engine, parts
        self.machine, self.given = engine.machine, parts.head.given
        self.plan = self.given.words
        self._tables: dict[str, WordTables] = {}

    def outcomes(self, memory: SlotMemory, faults: WordFaults) -> WordOutcomes:
        """What faults in one memory do; cycles are the machine's."""
        tensor = memory.tensor
        if tensor not in self._tables:
            self._tables[tensor] = WordTables(self.plan, memory)
        tables = self._tables[tensor]
        told = tables.tell(self.parts.head.tensor(tensor), faults)
        out = self.parts.untouched(len(faults.slot))
        out.old_value[:], out.new_value[:] = told.old_value, told.new_value
        back = told.run.copy()
        if self.parts.back:
            back |= told.taken.any(axis=(1, 2)) | (told.wrong.any(axis=1) & told.leaves)
        told = told._replace(run=back)
        if tensor in "qkpv":
            self._operands(tables, told, out)
        else:
            if self.plan.is_result(tensor):
                self._partial(tables, told, faults, back, out)
            if tensor in "su":
                self._reads(tables, told, back, out)
            else:
                leave(told, self.engine.golden.output, self.parts.codec, out)
        out.status[back] = FALL_BACK
        return WordOutcomes(out, told.alarm_cycle)

    # -- operands

    def _operands(self, tables: WordTables, told: Told, out: Outcomes) -> None:
        """Elements of operands that folds or encoders take wrong."""
        at = np.flatnonzero(told.taken.any(axis=(1, 2)) & ~told.run)
        tensor = tables.memory.tensor
        product, plan = self.plan.product_of(tensor), self.plan
        way, number = tables.reads.way[told.spell[at]], plan.numbers[tables.reads.step[told.spell[at]]]
        fold = np.where(way == FOLD, plan.indices[tables.reads.step[told.spell[at]]], -1)
        taken = told.taken[at]
        here = taken.any(axis=2)
        fault, e = np.nonzero(here)
        taken, way, number, fold = taken[fault, e], way[fault], number[fault], fold[fault]
        along_p, k, line = plan.in_product(tensor, told.row[at][fault, e], told.col[at][fault, e])
        q_group, row = np.divmod(fold, product.folding.row_folds)
        other = q_group if along_p else np.zeros_like(row) if product.streams_p else row
        folds = taken & (way == FOLD)
        encoders = taken & (way == ENCODE)
        of_v = next((phase.number for phase in self.given.timing.program if phase.name == "encode_v"), -1)
        wrong = WrongOperands(
            np.cumsum(here.sum(axis=1)), k, line, told.value[at][fault, e],
            np.where(folds, other, np.iinfo(np.int64).max).min(axis=1), np.where(folds, other, -1).max(axis=1),
            (encoders & (number != of_v)).any(axis=1).astype(np.int64), (encoders & (number == of_v)).any(axis=1))
        self._changes(product.name, at, wrong, self._axis(tensor, along_p), out)

    def _axis(self, tensor: str, along_p: bool) -> Axis:
        product, sums = self.plan.product_of(tensor), self.parts.head.sums
        words = sums.get(f"encode_{product.name}_{'columns' if along_p else 'rows'}")
        p, q = (product.p_group, product.p_extra, product.p_total), (product.cols, product.row_sums, product.q_total)
        own, others = (p, q) if along_p else (q, p)
        across = product.p_total if not along_p and product.streams_p else others[0] + others[1]
        fused = sums["encode_v"].shape[2] if tensor == "v" and "encode_v" in sums else 0
        return Axis(along_p, *own, across, -(-others[2] // across), others[2], 0 if words is None else words.shape[2],
                    fused, self.given.sizes.head_dim)

    def _changes(self, name: str, at: NDArray[np.int64], wrong: WrongOperands, z: Axis, out: Outcomes) -> None:
        head, values = self.parts.head, self.parts.arrays[name].values
        phase = f"encode_{name}_{'columns' if z.along_p else 'rows'}"
        none = np.zeros((0, 0)), np.zeros((0, 0, 0))
        source, sums = (head.source(phase)[0], head.sums[phase]) if z.words else none
        rows, row_sums = (head.source("encode_v")[0], head.sums["encode_v"]) if z.fused else none
        kind = values.out.dtype
        k, line, where, low, high, encoded = np.zeros((6, ELEMENTS), np.int64)
        room = LineRoom(k, line, where, low, high, encoded, np.zeros(ELEMENTS, kind),
                        np.zeros(max(values.out.shape), kind), np.zeros(1, np.int64))
        most = values.out.size + 1
        place, value = np.zeros(max(RECORDS, most), np.int64), np.zeros(max(RECORDS, most), kind)
        ends, begin = np.zeros(len(at), np.int64), 0
        while begin < len(at):
            done = operand_changes(begin, wrong, source, sums, rows, row_sums, z, values, self.given.rules,
                                   self.parts.rule, room, ends, place, value, most)
            self._follow(name, at[begin:done], ends[begin:done], place, value, out)
            begin = done

    def _follow(self, name: str, at: NDArray[np.int64], ends: NDArray[np.int64], place: NDArray[np.int64],
                value: NDArray[Any], out: Outcomes) -> None:
        """Follow changes of a product over (p, q), those of each fault in any order."""
        product = self.given.timing.products[name]
        count = int(ends[-1]) if len(ends) else 0
        flat, found = place[:count], value[:count]
        if product.turned:
            n, m = np.divmod(flat, product.q_total)
            flat = m * product.p_total + n
        begins = np.concatenate([[0], ends[:-1]])
        order = np.lexsort((flat, np.repeat(np.arange(len(ends)), ends - begins)))
        changed = np.flatnonzero(ends > begins)
        self.parts.follow(at[changed], name, begins[changed], ends[changed], flat[order], found[order], out)

    # -- what has been computed

    def _partial(self, tables: WordTables, told: Told, faults: WordFaults, back: NDArray[np.bool_],
                 out: Outcomes) -> None:
        """Sums between folds along k: what they are when they are struck, and what follows from those that are read
        back wrong."""
        tensor, plan = tables.memory.tensor, self.plan
        product, memory = plan.product_of(tensor), tables.memory
        rows, kind = product.folding.rows, self.parts.arrays[product.name].values.out.dtype
        values, rule, cell = self.parts.arrays[product.name].values, self.parts.rule, np.zeros(1, kind)
        partial = (tables.reads.way[told.spell] == PARTIAL)[:, None, :] & told.taken
        codec, stored = Codec(*memory.format.codec), Codec(*memory.stored.codec)
        # What stands there is not yet the sum: which bits are wrong is known, but not what they are forced to.
        unfinished = (told.renewed < plan.timing.head_cycles) & (told.read < LATER)
        back |= unfinished & (faults.op != 0)
        early = np.flatnonzero(unfinished & ~np.isnan(told.old_value) & ~back)
        if early.size:
            width = memory.stored.width_bits
            own = faults.bit[early] // width
            row, col = told.row[early, own], told.col[early, own]
            p, q = (np.where(row >= 0, x, 0) for x in plan.in_result(tensor, row, col))
            done = self._folds_before(tensor, row, col, faults.cycle[early])
            sums = np.zeros(early.size)
            partial_sums(product.p_places[p], product.q_places[q], np.minimum(done * rows, product.k), values, rule,
                         cell, sums)
            struck = faults.data_mask[early] >> (own * width).astype(np.uint64) & np.uint64((1 << width) - 1)
            for i, number in enumerate(early):
                old = float(sums[i]) if row[i] >= 0 else 0.0
                out.old_value[number], out.new_value[number] = old, flip_bits(old, codec, stored, struck[i])
        at = np.flatnonzero(partial.any(axis=(1, 2)) & ~back)
        fault, e, which = np.nonzero(partial[at])
        p, q = plan.in_result(tensor, told.row[at][fault, e], told.col[at][fault, e])
        length = tables.reads.step[told.spell[at[fault]], which] * rows
        place, value, ends = np.zeros(fault.size, np.int64), np.zeros(fault.size, kind), np.zeros(at.size, np.int64)
        numbers = np.bincount(fault, minlength=at.size).cumsum()
        partial_changes(numbers, product.p_places[p], product.q_places[q], length, told.mask[at][fault, e], codec,
                        values, rule, cell, ends, place, value)
        self._follow(product.name, at, ends, place, value, out)

    def _folds_before(self, tensor: str, row: NDArray[np.int64], col: NDArray[np.int64],
                      cycle: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many folds have written elements before some cycles."""
        folds = np.arange(self.plan.folds_along_k(tensor))
        way = np.full((len(row), len(folds)), PARTIAL)
        written = self.plan.write_cycles(tensor, way, np.broadcast_to(folds, way.shape), 0, row[:, None], col[:, None])
        done: NDArray[np.int64] = (written < cycle[:, None]).sum(axis=1)
        return done

    def _reads(self, tables: WordTables, told: Told, back: NDArray[np.bool_], out: Outcomes) -> None:
        """Finished scores and undivided outputs that lanes read wrong."""
        softmax = tables.memory.tensor == "s"
        way = tables.reads.way[told.spell][:, None, :]
        taken = told.taken & (way != PARTIAL)
        if not softmax:
            here = taken.any(axis=2)
            rows = np.where(here, told.row, -1)
            back |= here.any(axis=1) & (np.where(here, told.row, told.row.max(initial=0) + 1).min(axis=1)
                                        != rows.max(axis=1))
        at = np.flatnonzero(taken.any(axis=(1, 2)) & ~back)
        if not at.size:
            return
        here = taken[at].any(axis=2)
        fault, e = np.nonzero(here)
        late = softmax & ~(taken[at] & (way[at] == MAX)).any(axis=2)[fault, e]
        wrong = WrongReads(np.cumsum(here.sum(axis=1)), told.row[at][fault, e], told.col[at][fault, e],
                           told.value[at][fault, e], late.astype(np.int64))
        phase = self.given.timing.by_name["softmax" if softmax else "divide"]
        memory = self.parts.head.memory
        row = np.zeros((1, (memory.s if softmax else memory.u).shape[1]))
        switch = self.given.sizes.n_keys + 3 if softmax else -1
        follow_reads(softmax, at, wrong, row, phase.steps, switch, self.parts.one(), self.parts.world(out))
