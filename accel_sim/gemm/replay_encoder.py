"""Replay of faults in the encoders. Those of checksums: other words of one, so another checksum line, and other
comparisons of all that crosses it; nothing of the data changes. That of the fused check: other words at one key, which
the array multiplies like elements of a value."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.arrays.golden import add_products
from accel_sim.arrays.step import multiply_add
from accel_sim.engines.replay.rows import is_full
from accel_sim.gemm.edge_step import plus
from accel_sim.gemm.encoder_step import added, at_its_place, encode_steps, rest_of, word_of
from accel_sim.gemm.replay_kernel import begin_fault, behind, note_dirty, override, same, verdict
from accel_sim.gemm.replay_units import struck
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner, kernel


class Encoding(NamedTuple):
    """One encoder phase of one product.

    rows: whether its words are those of the rows' checksums (columns of the array). encoder, work: as `encoder_step`
    has them; work.sums is a copy of the golden words, sums. p (K, P'), q (K, Q') T: operands of the product. out
    (P', Q') T: its golden result. ids: of its comparisons, as in `Kept`. line: T, room for 1 + words lines. changed
    (1 + words,) T: a word, then whether each word's line differs. z: `EdgeSizes`.
    """

    rows: bool
    encoder: Any
    work: Any
    sums: Any
    p: Any
    q: Any
    out: Any
    ids: Any
    line: Any
    changed: Any
    z: Any


class FusedEncoding(NamedTuple):
    """The encoder of the fused check, as `Encoding` has encoder, work and sums."""

    encoder: Any
    work: Any
    sums: Any


class EncoderFaults(NamedTuple):
    """Faults in an encoder, one entry each: i, number in `Found`; lane, part, step; register, 0 `in`, 1 `acc`, 2
    `word`; op; mask uint64; codec (n, 4)."""

    i: Any
    lane: Any
    part: Any
    step: Any
    register: Any
    op: Any
    mask: Any
    codec: Any


@inner
def struck_words(n: Any, faults: Any, c: Any, f: Any, old: Any, new: Any) -> None:
    """Run the unit of work of fault n with its strike; its words are left in c.work.sums."""
    lane, part, step = faults.lane[n], faults.part[n], faults.step[n]
    steps = c.work.group + 1 + 2 * c.work.words
    encode_steps(c.encoder, c.work, f, lane, lane + 1, part, 0, step)
    codes = faults.codec[n]
    codec = Codec(codes[0], codes[1], codes[2], codes[3])
    which = faults.register[n]
    held = c.encoder.inp if which == 0 else c.encoder.acc if which == 1 else c.encoder.word
    old[faults.i[n]] = held[lane]
    held[lane] = struck(held[lane], faults.op[n], faults.mask[n], codec)
    new[faults.i[n]] = held[lane]
    encode_steps(c.encoder, c.work, f, lane, lane + 1, part, step, steps)


@inner
def checksum_line(c: Any, at: Any, k: Any, value: Any, nan: Any, rule: Any) -> None:
    """The results on the checksum line `at`, with another word at k, into c.line."""
    along, across = (c.p, c.q) if c.rows else (c.q, c.p)
    line = c.line[:along.shape[1]]
    for j in range(line.shape[0]):
        line[j] = 0
    c.changed[0] = value  # in the array's native type
    for each in range(along.shape[0]):
        add_products(line, c.changed[0] if each == k else across[each, at], along[each], nan, rule)


@kernel
def follow_encoders(faults: Any, c: Encoding, world: Any, old: Any, new: Any) -> None:
    """Follow each of `EncoderFaults`. old, new: by number."""
    z, f, w, n, kept, work, facts = c.z, world.f, world.w, world.n, world.kept, c.work, world.facts
    period = z.cols + z.row_sums if c.rows else z.p_group + z.p_extra
    data = z.cols if c.rows else z.p_group
    for at in range(faults.i.shape[0]):
        begin_fault(n)
        struck_words(at, faults, c, f, old, new)
        group = faults.part[at] // work.k_blocks
        k = (faults.part[at] - group * work.k_blocks) * work.lanes + faults.lane[at]
        for word in range(work.words):
            value = work.sums[k, group, word]
            if same(value, c.sums[k, group, word]):
                continue
            work.sums[k, group, word] = c.sums[k, group, word]
            # Each word's line is formed alone; the others of the checksum may differ too, so all are kept by word.
            checksum_line(c, group * period + data + word, k, value, world.nan, world.rule)
            keep_line(c, word)
            c.changed[1 + word] = 1
        compare_lines(c, group, facts.limits, kept, f, w, n)
        for word in range(work.words):
            c.changed[1 + word] = 0
        verdict(faults.i[at], kept, facts.policies, w, n, world.found)
        world.found.status[faults.i[at]] = 1 if n.over[0] > 0 else 0


@kernel
def follow_fused(start: int, faults: EncoderFaults, c: FusedEncoding, world: Any, old: Any, new: Any) -> Any:
    """Follow each of `EncoderFaults` in the encoder of the fused check; otherwise as `replay_kernel.follow_lanes`."""
    kept, w, n, work = world.kept, world.w, world.n, c.work
    for at in range(start, faults.i.shape[0]):
        if is_full(kept.o.shape[0], world.sink):
            return at
        begin_fault(n)
        struck_words(at, faults, c, world.f, old, new)
        k = (faults.part[at] % work.k_blocks) * work.lanes + faults.lane[at]
        value_again(k, work, kept, world.facts, world.z2, world.f, w)
        for word in range(work.words):
            work.sums[k, 0, word] = c.sums[k, 0, word]
        for column in range(kept.b2.shape[1]):
            if not same(w.row[column], kept.b2[k, column]):
                column_again(k, column, kept, world.facts.spacing, world.nan, world.rule, w, n)
        behind(faults.i[at], True, -1, world)
    return faults.i.shape[0]


@inner
def value_again(k: Any, work: Any, kept: Any, facts: Any, z: Any, f: Any, w: Any) -> None:
    """Row k of B' of product 2 with the words in `work`, and with checksums of what then stands there, into w.row."""
    data, extra = (z.p_group, z.p_extra) if facts.turned else (z.cols, z.row_sums)
    period, columns, d = data + extra, kept.b2.shape[1], kept.o.shape[1]
    for column in range(columns):
        w.row[column] = kept.b2[k, column]
    for word in range(work.words):
        w.row[kept.place2[d + word]] = work.sums[k, 0, word]
    for begin in range(0, columns if extra > 0 else 0, period):
        total = 0.0
        for column in range(begin, min(begin + data, columns)):
            total = added(total, np.float64(w.row[column]), f)
        for column in range(begin + data, min(begin + data + facts.words, columns)):
            taken = word_of(total, f)
            w.row[column] = taken
            total = rest_of(total, taken, f)


@inner
def column_again(k: Any, column: Any, kept: Any, spacing: Any, nan: Any, rule: Any, w: Any, n: Any) -> None:
    """A column of product 2, where row k of B' is w.row there."""
    block = k // spacing
    for m in range(kept.a2.shape[0]):
        total = kept.o_at[m, block, column]
        for each in range(block * spacing, kept.a2.shape[1]):
            factor = w.row[column] if each == k else kept.b2[each, column]
            total = multiply_add(total, kept.a2[m, each], factor, nan, rule)
        if not same(total, kept.out2[m, column]):
            w.out2[m, column] = total
            note_dirty(m, w, n)


@inner
def keep_line(c: Any, word: Any) -> None:
    """Put c.line aside for a word, behind its first part."""
    size = c.p.shape[1] if c.rows else c.q.shape[1]
    most = c.line.shape[0] // (1 + c.work.words)
    for j in range(size):
        c.line[(1 + word) * most + j] = c.line[j]


@inner
def compare_lines(c: Any, group: Any, limits: Any, kept: Any, f: Any, w: Any, n: Any) -> None:
    """Every comparison that the lines kept are part of."""
    z = c.z
    unit, relative = (z.row_unit, z.row_relative) if c.rows else (z.col_unit, z.col_relative)
    any_word = False
    for word in range(c.work.words):
        any_word = any_word or c.changed[1 + word] != 0
    if not any_word:
        return
    most = c.line.shape[0] // (1 + c.work.words)
    period = z.cols + z.row_sums if c.rows else z.p_group + z.p_extra
    first = group * period + (z.cols if c.rows else z.p_group)
    for j in range(c.p.shape[1] if c.rows else c.q.shape[1]):
        index = c.ids[j, group] if c.rows else c.ids[group, j]
        if index < 0:
            continue
        pred = 0.0
        for word in range(c.work.words):
            value = c.out[j, first + word] if c.rows else c.out[first + word, j]
            if c.changed[1 + word] != 0:
                value = c.line[(1 + word) * most + j]
            pred = plus(pred, at_its_place(np.float64(value), word, f), f)
        override(index, pred, kept.table[index, 4], limits[unit], relative, f, w, n)
