"""What wrong words of the SRAM make of a head of the gemm machine, up to where `replay_kernel` follows it on.

Wrong operands of a product change lines of it, and the checksums that are formed of them other lines; wrong partial
sums change one sum; wrong scores, or undivided outputs, change what a lane reads of one query.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from accel_sim.arrays.golden import add_products
from accel_sim.gemm.encoder_step import added, rest_of, word_of
from accel_sim.gemm.replay_kernel import begin_fault, behind, note_query, same, weights_changed
from accel_sim.gemm.tuples import Memory
from accel_sim.gemm.vector_step import divide_cycle, softmax_cycle
from accel_sim.numerics.arithmetic import move
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import flip_bits


class WrongOperands(NamedTuple):
    """Wrong elements of one operand: fault i has numbers end[i − 1] … end[i] − 1 of k, line (along p or q) and value.
    low, high: first and last group of the other lines whose fold takes it so; encoded: the array's encoder does;
    summed: that of the fused check does."""

    end: Any
    k: Any
    line: Any
    value: Any
    low: Any
    high: Any
    encoded: Any
    summed: Any


class Axis(NamedTuple):
    """The lines of an operand, and those that they meet. along_p: they run along p. group, extra: data and checksum
    lines of a group; total: all of them. across: lines of a group of the others; groups, others: how many of both there
    are. words: of a checksum that is formed of them, 0 for none. fused: words of the fused check's row sums, which
    stand behind the `dims` dimensions of V; 0 in other operands."""

    along_p: bool
    group: int
    extra: int
    total: int
    across: int
    groups: int
    others: int
    words: int
    fused: int
    dims: int


class LineRoom(NamedTuple):
    """Room for one fault: its elements, those of checksums behind them. k, line (−1: a checksum), place, low, high,
    encoded int64; value T; out (…,) T: a segment of a line. count (1,)."""

    k: Any
    line: Any
    place: Any
    low: Any
    high: Any
    encoded: Any
    value: Any
    out: Any
    count: Any


@inner
def put(k: Any, line: Any, place: Any, value: Any, low: Any, high: Any, encoded: Any, w: Any) -> None:
    """One more wrong element."""
    at = w.count[0]
    w.k[at], w.line[at], w.place[at], w.low[at], w.high[at], w.encoded[at] = k, line, place, low, high, encoded
    w.value[at] = value
    w.count[0] = at + 1


@inner
def place_of(line: Any, z: Any) -> Any:
    """Where a data line stands on the array."""
    return line + line // z.group * z.extra


@inner
def taken_by_encoder(k: Any, line: Any, x: Any, w: Any) -> Any:
    """What the array's encoder takes for an operand that is x."""
    for at in range(w.count[0]):
        if w.encoded[at] != 0 and w.k[at] == k and w.line[at] == line:
            x = np.float64(w.value[at])
    return x


@inner
def sum_row(k: Any, low: Any, high: Any, wrong: Any, source: Any, sums: Any, z: Any, f: Any, w: Any) -> None:
    """The fused check's words of row k of V, which are data of the product like the row's elements."""
    acc = 0.0
    for t in range(z.dims):
        x = source[k, t]
        for e in range(low, high):
            if wrong.summed[e] and wrong.k[e] == k and wrong.line[e] == t:
                x = wrong.value[e]
        acc = added(acc, x, f)
    for word in range(z.fused):
        found = word_of(acc, f)
        acc = rest_of(acc, found, f)
        if not same(found, sums[k, 0, word]):
            line = z.dims + word
            put(k, line, place_of(line, z), found, 0, z.groups, 1, w)


@inner
def encode_group(k: Any, group: Any, source: Any, sums: Any, z: Any, f: Any, w: Any) -> None:
    """The words of a checksum of a group of operands that have changed."""
    acc = 0.0
    for j in range(z.group):
        line = group * z.group + j
        acc = added(acc, taken_by_encoder(k, line, source[k, line], w) if line < source.shape[1] else 0.0, f)
    for word in range(z.words):
        found = word_of(acc, f)
        acc = rest_of(acc, found, f)
        if not same(found, sums[k, group, word]):
            put(k, -1, group * (z.group + z.extra) + z.group + word, found, 0, z.groups, 0, w)


@inner
def wrong_elements(low: Any, high: Any, wrong: Any, source: Any, sums: Any, rows: Any, row_sums: Any, z: Any, f: Any,
                   w: Any) -> None:
    """All wrong operands of a fault, in the room: its own, and the checksums that are formed of them."""
    w.count[0] = 0
    for e in range(low, high):
        put(wrong.k[e], wrong.line[e], place_of(wrong.line[e], z), wrong.value[e], wrong.low[e], wrong.high[e],
            wrong.encoded[e], w)
    for e in range(low, high if z.fused > 0 else low):
        first = wrong.summed[e] != 0
        for other in range(low, e):
            first = first and not (wrong.summed[other] != 0 and wrong.k[other] == wrong.k[e])
        if first:
            sum_row(wrong.k[e], low, high, wrong, rows, row_sums, z, f, w)
    count = w.count[0] if z.words > 0 else 0
    for e in range(count):
        first = w.encoded[e] != 0
        for other in range(e):
            alike = w.k[other] == w.k[e] and w.line[other] // z.group == w.line[e] // z.group
            first = first and not (w.encoded[other] != 0 and alike)
        if first:
            encode_group(w.k[e], w.line[e] // z.group, source, sums, z, f, w)


@inner
def in_force(place: Any, group: Any, w: Any) -> Any:
    """Whether an operand of a line is wrong in the folds of a group of the others."""
    found = False
    for at in range(w.count[0]):
        found = found or (w.place[at] == place and w.low[at] <= group <= w.high[at])
    return found


@inner
def form_segment(place: Any, group: Any, begin: Any, end: Any, z: Any, v: Any, nan: Any, rule: Any, w: Any) -> None:
    """Sums of a line with the others begin … end − 1, in w.out."""
    scalars, vectors = (v.p, v.q) if z.along_p else (v.q, v.p)
    line = w.out[:end - begin]
    for j in range(line.shape[0]):
        line[j] = v.constants[0]
    for k in range(scalars.shape[0]):
        scalar = scalars[k, place]
        for at in range(w.count[0]):
            if w.place[at] == place and w.k[at] == k and w.low[at] <= group <= w.high[at]:
                scalar = w.value[at]
        add_products(line, scalar, vectors[k, begin:end], nan, rule)


@kernel
def operand_changes(begin: int, wrong: Any, source: Any, sums: Any, rows: Any, row_sums: Any, z: Any, v: Any, f: Any,
                    rule: Any, w: Any, ends: Any, place: Any, value: Any, most: int) -> int:
    """Changes of a product under wrong operands, from fault `begin` on until all are done or the records may not hold
    another (`most` sums): ends, place, value as in `arrays.replay_kernel.replay_all`. source, sums: what the array's
    encoder reads and has written, fault-free; rows, row_sums: that of the fused check. Returns the next fault."""
    at, nan = 0, v.constants[1]
    columns = v.out.shape[1]
    for i in range(begin, wrong.end.shape[0]):
        if at + most > place.shape[0]:
            return i
        wrong_elements(wrong.end[i - 1] if i > 0 else 0, wrong.end[i], wrong, source, sums, rows, row_sums, z, f, w)
        for e in range(w.count[0]):
            mine, first = w.place[e], True
            for other in range(e):
                first = first and w.place[other] != mine
            for group in range(z.groups if first else 0):
                if not in_force(mine, group, w):
                    continue
                low, high = group * z.across, min((group + 1) * z.across, z.others)
                form_segment(mine, group, low, high, z, v, nan, rule, w)
                for j in range(high - low):
                    p, q = (mine, low + j) if z.along_p else (low + j, mine)
                    if not same(w.out[j], v.out[p, q]):
                        place[at] = p * columns + q
                        value[at] = w.out[j]
                        at += 1
        ends[i] = at
    return int(wrong.end.shape[0])


@inner
def sum_up(cell: Any, p: Any, q: Any, first: Any, last: Any, v: Any, rule: Any) -> None:
    """Add products first … last − 1 of an element to cell (1,)."""
    for k in range(first, last):
        add_products(cell, v.p[k, p], v.q[k, q:q + 1], v.constants[1], rule)


@kernel
def partial_sums(p: Any, q: Any, length: Any, v: Any, rule: Any, cell: Any, out: Any) -> None:
    """out (n,) float64: sums of elements before product `length`. cell (1,) T: room."""
    for i in range(p.shape[0]):
        cell[0] = v.constants[0]
        sum_up(cell, p[i], q[i], 0, length[i], v, rule)
        out[i] = np.float64(cell[0])


@kernel
def partial_changes(end: Any, p: Any, q: Any, length: Any, mask: Any, codec: Any, v: Any, rule: Any, cell: Any,
                    ends: Any, place: Any, value: Any) -> int:
    """Changes of a product whose sums before product `length` are read back with the bits `mask` inverted; fault i has
    numbers end[i − 1] … end[i] − 1. Returns how many there are."""
    at, columns = 0, v.out.shape[1]
    for i in range(end.shape[0]):
        for e in range(end[i - 1] if i > 0 else 0, end[i]):
            cell[0] = v.constants[0]
            sum_up(cell, p[e], q[e], 0, length[e], v, rule)
            cell[0] = flip_bits(np.float64(cell[0]), codec, codec, mask[e])
            sum_up(cell, p[e], q[e], length[e], v.p.shape[0], v, rule)
            if not same(cell[0], v.out[p[e], q[e]]):
                place[at] = p[e] * columns + q[e]
                value[at] = cell[0]
                at += 1
        ends[i] = at
    return at


class WrongReads(NamedTuple):
    """Wrong elements that lanes read: end, as above; query, col, value; late: only in the softmax's second pass."""

    end: Any
    query: Any
    col: Any
    value: Any
    late: Any


@inner
def bring(row: Any, query: Any, late: Any, low: Any, high: Any, wrong: Any) -> None:
    """The wrong elements of a query, those of the second pass or the others, into its row (1, …)."""
    for e in range(low, high):
        if wrong.query[e] == query and wrong.late[e] == late:
            row[0, wrong.col[e]] = wrong.value[e]


@kernel
def follow_reads(softmax: bool, which: Any, wrong: Any, row: Any, steps: int, switch: int, one: Any,
                 world: Any) -> None:
    """Run the blocks of lanes that read wrong scores, or else undivided outputs (of one query), and follow what they
    leave. which (faults,): their numbers in `found`; row (1, …): room; switch: first step of the second pass."""
    w, n, kept, g = world.w, world.n, world.kept, world.g
    for at in range(which.shape[0]):
        low, high = wrong.end[at - 1] if at > 0 else 0, wrong.end[at]
        begin_fault(n)
        query = wrong.query[low]
        for e in range(low, high):
            query, first = wrong.query[e], True
            for other in range(low, e):
                first = first and wrong.query[other] != query
            if not first:
                continue
            move(row[0], kept.s[query] if softmax else kept.u[query])
            bring(row, query, 0, low, high, wrong)
            memory = Memory(row, one.p, one.l, row, one.o, kept.bound[query:query + 1], kept.first[query:query + 1])
            one.l[0] = kept.l[query]
            for field in range(one.registers.shape[0]):
                one.registers[field, 0] = 0.0
            for step in range(steps):
                if step == switch:
                    bring(row, query, 1, low, high, wrong)
                if softmax:
                    softmax_cycle(0, 0, step, one.lanes, memory, one.g, world.f)
                else:
                    divide_cycle(0, 0, step, one.lanes, memory, one.g, world.f)
            if softmax:
                weights_changed(query, one, kept, world.facts, world.f, w, n)
        if softmax:
            behind(which[at], True, -1, world)
            continue
        move(w.o, one.o[0])
        if g.words > 0:
            w.terms[query, 0], w.terms[query, 1] = one.lanes.fused_term[0], one.lanes.fused_sum[0]
        note_query(query, w, n)
        behind(which[at], True, query, world)
