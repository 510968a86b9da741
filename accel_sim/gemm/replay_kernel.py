"""Replay of faults on the gemm machine: what a change anywhere in the head makes of everything behind it.

A fault enters as changed scores, as one query's changed weights, as changed undivided outputs, or as one changed row;
each is followed through the phases behind it, line by line, from working copies of the golden memories that are put
right again afterwards. Operations and their order are those of the units' kernels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.arrays.golden import add_products
from accel_sim.engines.judgement import allowed_by, over
from accel_sim.engines.replay.rows import is_full, keep_row
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.outcome import add_rows
from accel_sim.gemm.edge_step import corrected, is_data
from accel_sim.gemm.encoder_step import added, rest_of, word_of
from accel_sim.gemm.golden_kernel import (
    add_terms,
    column_sums,
    divided_row,
    excess_but_sum,
    row_sums,
    with_sum,
)
from accel_sim.gemm.invariants_step import MAX, SCORE, WATCH, beyond
from accel_sim.gemm.judge import residual_of
from accel_sim.gemm.replay_units import struck_block
from accel_sim.gemm.tuples import Memory
from accel_sim.gemm.vector_step import FUSED, as_operand, difference, exponential, larger, scaled, summed
from accel_sim.numerics.arithmetic import maximum
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import inner, kernel
from accel_sim.numerics.rounding import NAN, bits_of


@inner
def same(a: Any, b: Any) -> Any:
    """Whether two values are the same bits, as binary64."""
    return bits_of(np.float64(a)) == bits_of(np.float64(b))


# ---- comparisons that differ

@inner
def override(index: Any, pred: Any, act: Any, threshold: Any, relative: Any, f: Any, w: Any, n: Any) -> None:
    """Comparison `index` is now between these sums."""
    override_with(index, residual_of(pred, act, f.checker), allowed_by(threshold, pred, act, relative, f.checker), w, n)


@inner
def override_with(index: Any, residual: Any, limit: Any, w: Any, n: Any) -> None:
    """Comparison `index` now has this residual and limit."""
    if w.mark_over[index] != n.stamp[0]:
        w.mark_over[index] = n.stamp[0]
        w.over_at[index] = n.over[0]
        w.over_id[n.over[0]] = index
        n.over[0] += 1
    at = w.over_at[index]
    w.over_residual[at] = residual
    w.over_limit[at] = limit


@inner
def excess_now(query: Any, excess: Any, kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """The softmax invariants of a query are violated as far as this."""
    index = kept.watch[query]
    if not same(excess, kept.table[index, 1]):
        override_with(index, excess, allowed_by(facts.limits[WATCH], 0.0, 0.0, False, f.checker), w, n)


@inner
def listed(index: Any, w: Any, n: Any) -> Any:
    """Whether a comparison differs from the golden one."""
    return w.mark_over[index] == n.stamp[0]


@inner
def too_frequent(unit: Any, kept: Any, policies: Any, w: Any, n: Any) -> Any:
    """Index of the comparison that makes the deviations of a unit frequent, −1 for none."""
    count = 0
    for at in range(n.over[0]):  # those that differ and deviate, in order
        index = w.over_id[at]
        if int(kept.table[index, 5]) != unit or not over(w.over_residual[at], policies[unit, 0]):
            continue
        place = count
        while place > 0 and w.deviates[place - 1] > index:
            w.deviates[place] = w.deviates[place - 1]
            place -= 1
        w.deviates[place] = index
        count += 1
    mine, theirs, so_far = 0, 0, 0.0
    while mine < count or theirs < kept.deviating.shape[0]:
        index = kept.deviating[theirs] if theirs < kept.deviating.shape[0] else kept.table.shape[0]
        if mine < count and w.deviates[mine] < index:
            index = w.deviates[mine]
            mine += 1
        else:
            theirs += 1
            if int(kept.table[index, 5]) != unit or listed(index, w, n):
                continue
        so_far += 1.0
        if so_far >= policies[unit, 1]:
            return index
    return -1


@inner
def verdict(i: Any, kept: Any, policies: Any, w: Any, n: Any, found: Any) -> None:
    """Alarm cycle, and residual and limit of the telling comparison, of fault i."""
    first = -1
    residual, limit = np.nan, np.nan
    for at in range(n.over[0]):
        index = w.over_id[at]
        if (first < 0 or index < first) and over(w.over_residual[at], w.over_limit[at]):
            first = index
            residual, limit = w.over_residual[at], w.over_limit[at]
    for at in range(kept.alarms.shape[0]):
        index = kept.alarms[at]
        if not listed(index, w, n):
            if first < 0 or index < first:
                first = index
                residual, limit = kept.table[index, 1], kept.table[index, 2]
            break
    raised = first
    for unit in range(policies.shape[0]):
        if policies[unit, 2] != 0.0:
            index = too_frequent(unit, kept, policies, w, n)
            raised = index if index >= 0 and (raised < 0 or index < raised) else raised
    found.alarm_cycle[i] = np.int64(kept.table[raised, 0]) + 1 if raised >= 0 else -1
    if first < 0:
        best = -1
        for at in range(kept.order.shape[0]):
            best = kept.order[at]
            if not listed(best, w, n):
                residual, limit = kept.table[best, 1], kept.table[best, 2]
                break
            best = -1
        for at in range(n.over[0]):
            index, size = w.over_id[at], abs(w.over_residual[at])
            if best < 0 or size > abs(residual) or (size == abs(residual) and index < best):
                best = index
                residual, limit = w.over_residual[at], w.over_limit[at]
    found.residual[i], found.limit[i] = residual, limit


# ---- the edge of a product

@inner
def check_cell(view: Any, p: Any, q: Any, rows: Any, cols: Any, z: Any, f: Any, limits: Any, w: Any, n: Any) -> None:
    """Compare again what an element (p, q) of the output memory is part of, once a fault."""
    check_at(view, p, q, p // (z.p_group + z.p_extra), q // (z.cols + z.row_sums), rows, cols, z, f, limits, w, n)


@inner
def check_at(view: Any, p: Any, q: Any, p_group: Any, q_group: Any, rows: Any, cols: Any, z: Any, f: Any, limits: Any,
             w: Any, n: Any) -> None:
    """`check_cell` of an element whose groups are known."""
    u = p - p_group * (z.p_group + z.p_extra)
    if z.rows and is_data(p_group, u, z):
        index = rows[p, q_group]
        if index >= 0 and not listed(index, w, n):
            pred, act = row_sums(view, p, q_group, z, f)
            override(index, pred, act, limits[z.row_unit], z.row_relative, f, w, n)
    if z.columns:
        index = cols[p_group, q]
        if index >= 0 and not listed(index, w, n):
            pred, act = column_sums(view, q, p_group, z, f)
            override(index, pred, act, limits[z.col_unit], z.col_relative, f, w, n)


@inner
def check_line(m: Any, turned: Any, now: Any, golden: Any, view: Any, rows: Any, cols: Any, z: Any, f: Any, limits: Any,
               w: Any, n: Any) -> None:
    """`check_cell` of the elements of line m of a product that differ from the golden ones. now, golden: that line."""
    periods = (z.cols + z.row_sums, z.p_group + z.p_extra)
    across, along = (periods[0], periods[1]) if turned else (periods[1], periods[0])
    fixed, group, end = m // across, 0, along
    for c in range(now.shape[0]):
        if c == end:
            group, end = group + 1, end + along
        if same(now[c], golden[c]):
            continue
        if turned:
            check_at(view, c, m, group, fixed, rows, cols, z, f, limits, w, n)
        else:
            check_at(view, m, c, fixed, group, rows, cols, z, f, limits, w, n)


@inner
def alarmed(index: Any, w: Any, n: Any) -> Any:
    """Whether a comparison that differs raises the alarm."""
    if index < 0 or not listed(index, w, n):
        return False
    return over(w.over_residual[w.over_at[index]], w.over_limit[w.over_at[index]])


@inner
def element_to_fix(rows: Any, cols: Any, z: Any, w: Any, n: Any) -> Any:
    """(p, q, residual) of the element that the unit corrects, p < 0 for none, where the golden run raises no alarm; p =
    −2 if there is more than one, in as many groups."""
    p_found, q_found, value = -1, -1, 0.0
    for q_group in range(rows.shape[1]):
        for p_group in range(cols.shape[0]):
            row_alarms, column_alarms, p_here, q_here = 0, 0, -1, -1
            begin = p_group * (z.p_group + z.p_extra)
            for p in range(begin, min(begin + z.p_group, rows.shape[0])):
                if alarmed(rows[p, q_group], w, n):
                    row_alarms += 1
                    p_here = p
            if row_alarms != 1:
                continue
            residual = w.over_residual[w.over_at[rows[p_here, q_group]]]
            begin = q_group * (z.cols + z.row_sums)
            for q in range(begin, min(begin + z.cols, cols.shape[1])):
                if alarmed(cols[p_group, q], w, n):
                    column_alarms += 1
                    q_here = q
            if column_alarms != 1 or not abs(residual) < np.inf:
                continue
            if p_found >= 0:
                return -2, -1, 0.0
            p_found, q_found, value = p_here, q_here, residual
    return p_found, q_found, value


# ---- product 1 and softmax

@inner
def note_line(m: Any, k: Any, w: Any, n: Any) -> None:
    """Line m of a2 has changed at k, and perhaps behind."""
    if w.mark_line[m] != n.stamp[0]:
        w.mark_line[m] = n.stamp[0]
        w.first[m] = k
        w.lines[n.lines[0]] = m
        n.lines[0] += 1
    w.first[m] = min(w.first[m], k)


@inner
def note_query(query: Any, w: Any, n: Any) -> None:
    """The row of a query is to be divided again. The list is kept in order."""
    if w.mark_query[query] == n.stamp[0]:
        return
    w.mark_query[query] = n.stamp[0]
    at = n.queries[0]
    while at > 0 and w.queries[at - 1] > query:
        w.queries[at] = w.queries[at - 1]
        at -= 1
    w.queries[at] = query
    n.queries[0] += 1


@inner
def note_dirty(m: Any, w: Any, n: Any) -> None:
    """Line m of out2 has changed."""
    if w.mark_dirty[m] != n.stamp[0]:
        w.mark_dirty[m] = n.stamp[0]
        w.dirty[n.dirty[0]] = m
        n.dirty[0] += 1


@inner
def set_weight(query: Any, j: Any, weight: Any, kept: Any, f: Any, w: Any, n: Any) -> None:
    """The weight of a key for a query, as the array takes it."""
    m = kept.line2[query]
    old = w.a2[m, j]
    w.row[0] = as_operand(weight, f)
    if not same(w.row[0], old):
        w.a2[m, j] = w.row[0]
        note_line(m, j, w, n)


@inner
def set_sum(query: Any, total: Any, w: Any, n: Any) -> None:
    """The divisor of a query."""
    if not same(total, w.l[query]):
        w.l[query] = total
        note_query(query, w, n)


@inner
def sum_on(total: Any, weights: Any, begin: Any, end: Any, plain: Any, f: Any) -> Any:
    """A sum of weights with those of keys begin … end − 1 added. plain: the CPU's own binary32 additions do it."""
    if plain:
        narrow = np.float32(total)
        for j in range(begin, end):
            narrow = narrow + np.float32(weights[j])
        return np.float64(narrow) if narrow == narrow else NAN
    for j in range(begin, end):
        total = summed(total, np.float64(weights[j]), f)
    return total


@inner
def softmax_again(query: Any, begin: Any, end: Any, kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """The softmax of a query whose scores have changed: records begin … end − 1 of the working list, rising."""
    columns = kept.out1.shape[1]
    lowest, bound, n_keys = kept.first[query], kept.bound[query], kept.s.shape[1]
    m_old = kept.m[query]
    again, m = m_old != m_old or not kept.calm[query], m_old
    count, first, excess = 0, n_keys, 0.0
    for at in range(begin, end):
        j = kept.key1[w.place[at] % columns]
        if j < 0:
            continue
        if facts.watched & SCORE != 0:
            excess = beyond(excess, scaled(np.float64(w.value[at]), facts.scale, f), facts.score_bound, f)
        if j < lowest or j >= bound:
            continue
        first = min(first, j)
        count += 1
        if scaled(kept.s[query, j], facts.scale, f) == m_old or (facts.watched & MAX != 0 and w.value[at] == -np.inf):
            again = True  # the maximum may be another, or may not have been finite before the last one
        m = maximum(m, scaled(np.float64(w.value[at]), facts.scale, f))
    if count == 0 and facts.watched & SCORE == 0:
        return
    if count == 0 and kept.calm[query]:
        excess = with_sum(excess, kept.l[query], lowest, bound, n_keys, facts.watched, f)
        excess_now(query, excess, kept, facts, f, w, n)
        return
    if not again and same(m, m_old):
        block = first // facts.spacing
        total = kept.l_at[query, block]
        done = block * facts.spacing
        for at in range(begin, end):
            j = kept.key1[w.place[at] % columns]
            if j < lowest or j >= bound:
                continue
            total = sum_on(total, kept.weights[query], done, j, facts.plain, f)
            x = scaled(np.float64(w.value[at]), facts.scale, f)
            weight = exponential(difference(x, m, f), f)
            set_weight(query, j, weight, kept, f, w, n)
            total = summed(total, weight, f)
            done = j + 1
        total = sum_on(total, kept.weights[query], done, n_keys, facts.plain, f)
        set_sum(query, total, w, n)
        if facts.watched != 0:
            excess_now(query, with_sum(excess, total, lowest, bound, n_keys, facts.watched, f), kept, facts, f, w, n)
        return
    at, seen = begin, 0.0
    m = 0.0
    for j in range(n_keys):
        s = kept.s[query, j]
        while at < end and kept.key1[w.place[at] % columns] < j:
            at += 1
        if at < end and kept.key1[w.place[at] % columns] == j:
            s = np.float64(w.value[at])
        w.x[j] = scaled(s, facts.scale, f)
        if lowest <= j < bound:
            m = larger(m, w.x[j], seen, f)
            seen = 1.0
    total = 0.0
    for j in range(n_keys):
        weight = exponential(difference(w.x[j], m, f), f) if lowest <= j < bound else 0.0
        set_weight(query, j, weight, kept, f, w, n)
        total = summed(total, weight, f)
    set_sum(query, total, w, n)
    if facts.watched != 0:
        excess = excess_but_sum(w.x[:n_keys], lowest, bound, facts.score_bound, facts.watched, f)
        excess_now(query, with_sum(excess, total, lowest, bound, n_keys, facts.watched, f), kept, facts, f, w, n)


@inner
def insert_change(place: Any, value: Any, w: Any, n: Any) -> None:
    """Put a change into the working list, in order; it takes the place of one of the same element."""
    at = n.changes[0]
    while at > 0 and w.place[at - 1] > place:
        at -= 1
    if at > 0 and w.place[at - 1] == place:
        w.value[at - 1] = value
        return
    for j in range(n.changes[0], at, -1):
        w.place[j], w.value[j] = w.place[j - 1], w.value[j - 1]
    w.place[at], w.value[at] = place, value
    n.changes[0] += 1


@inner
def scores_checked(kept: Any, facts: Any, z: Any, f: Any, w: Any, n: Any) -> Any:
    """Product 1 has the changes of the working list: check, and correct in that list. False: fall back."""
    columns = kept.out1.shape[1]
    if facts.check1:
        for at in range(n.changes[0]):
            w.out1[w.place[at] // columns, w.place[at] % columns] = w.value[at]
        for at in range(n.changes[0]):
            m, c = w.place[at] // columns, w.place[at] % columns
            p, q = (c, m) if facts.turned else (m, c)
            check_cell(w.view1, p, q, kept.rows1, kept.cols1, z, f, facts.limits, w, n)
        usable = True
        if z.correct and n.over[0] > 0:
            p, q, value = element_to_fix(kept.rows1, kept.cols1, z, w, n)
            usable = p != -2
            if p >= 0:
                w.row[0] = corrected(np.float64(w.view1[p, q]), value, f)
                m, c = (q, p) if facts.turned else (p, q)
                insert_change(m * columns + c, w.row[0], w, n)
        for at in range(n.changes[0]):
            m, c = w.place[at] // columns, w.place[at] % columns
            w.out1[m, c] = kept.out1[m, c]
        return usable
    return True


@inner
def scores_changed(kept: Any, facts: Any, z: Any, f: Any, w: Any, n: Any) -> Any:
    """Product 1 has the changes of the working list: check, correct, and form weights again. False: fall back."""
    columns = kept.out1.shape[1]
    if not scores_checked(kept, facts, z, f, w, n):
        return False
    at = 0
    while at < n.changes[0]:
        m = w.place[at] // columns
        end = at
        while end < n.changes[0] and w.place[end] // columns == m:
            end += 1
        if kept.query1[m] >= 0:
            softmax_again(kept.query1[m], at, end, kept, facts, f, w, n)
        at = end
    return True


# ---- product 2

@inner
def add_line(total: Any, a: Any, line: Any, begin: Any) -> None:
    """total[k] = total[k] + a[line, k] from k = begin on, in binary32 by the CPU's own additions."""
    for k in range(begin, total.shape[0]):
        total[k] = total[k] + np.float32(a[line, k])


@inner
def sums_natively(kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """`sums_again`, for all k of a group side by side."""
    changed, period = n.lines[0], facts.group + facts.extra
    n_queries = kept.s.shape[0]
    for at in range(changed):
        group, begin, done = w.lines[at] // period, w.first[w.lines[at]], False
        for earlier in range(at):
            done = done or w.lines[earlier] // period == group
        if done:
            continue
        for later in range(at + 1, changed):
            if w.lines[later] // period == group:
                begin = min(begin, w.first[w.lines[later]])
        for k in range(begin, kept.a2.shape[1]):
            w.total[k] = 0.0
        for u in range(min(facts.group, n_queries - group * facts.group)):
            add_line(w.total, w.a2, group * period + u, begin)
        for k in range(begin, kept.a2.shape[1]):
            if not same(w.total[k], kept.totals[group, k]):
                total = np.float64(w.total[k])
                words_again(group, k, total if total == total else NAN, kept, facts, f, w, n)


@inner
def words_again(group: Any, k: Any, total: Any, kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """The words of a checksum over queries at k, of its sum."""
    for word in range(facts.words):
        line = group * (facts.group + facts.extra) + facts.group + word
        taken = word_of(total, f)
        w.row[0] = taken
        if not same(w.row[0], w.a2[line, k]):
            w.a2[line, k] = w.row[0]
            note_line(line, k, w, n)
        total = rest_of(total, taken, f)


@inner
def sums_again(kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """Checksums over queries, where a query's weights have changed."""
    if facts.sums_natively:
        sums_natively(kept, facts, f, w, n)
        return
    changed = n.lines[0]
    period = facts.group + facts.extra
    n_queries = kept.s.shape[0]
    for at in range(changed):
        m = w.lines[at]
        group = m // period
        done = False
        for earlier in range(at):
            done = done or w.lines[earlier] // period == group
        if done:
            continue
        for k in range(kept.a2.shape[1]):
            differs = False
            for other in range(at, changed):
                line = w.lines[other]
                if line // period == group and w.first[line] <= k and not same(w.a2[line, k], kept.a2[line, k]):
                    differs = True
                    break
            if not differs:
                continue
            total = 0.0
            for u in range(facts.group):
                query = group * facts.group + u
                x = np.float64(w.a2[group * period + u, k]) if query < n_queries else 0.0
                total = added(total, x, f)
            words_again(group, k, total, kept, facts, f, w, n)


@inner
def add_plainly(out: Any, a: Any, b: Any, begin: Any, nan: Any) -> None:
    """out[j] = out[j] + Σ a[k] · b[k, j] from k = begin on, one after the other, where the CPU's operations are the
    hardware's. Four products a pass, so that a sum stays in its register for so long; a sum that has become NaN stays
    one, and is made canonical at the end."""
    k = begin
    while k + 4 <= a.shape[0]:
        a0, a1, a2, a3 = a[k], a[k + 1], a[k + 2], a[k + 3]
        b0, b1, b2, b3 = b[k], b[k + 1], b[k + 2], b[k + 3]
        for j in range(out.shape[0]):
            out[j] = (((out[j] + a0 * b0[j]) + a1 * b1[j]) + a2 * b2[j]) + a3 * b3[j]
        k += 4
    for last in range(k, a.shape[0]):
        for j in range(out.shape[0]):
            out[j] = out[j] + a[last] * b[last, j]
    for j in range(out.shape[0]):
        out[j] = out[j] if out[j] == out[j] else nan


@inner
def product_again(kept: Any, facts: Any, nan: Any, rule: Any, w: Any, n: Any) -> None:
    """Lines of product 2 whose operands have changed, from the first of these on."""
    for at in range(n.lines[0]):
        m = w.lines[at]
        block = w.first[m] // facts.spacing
        row = w.out2[m]
        for c in range(row.shape[0]):
            row[c] = kept.o_at[m, block, c]
        if rule is None:
            add_plainly(row, w.a2[m], kept.b2, block * facts.spacing, nan)
        else:
            for k in range(block * facts.spacing, kept.a2.shape[1]):
                add_products(row, w.a2[m, k], kept.b2[k], nan, rule)
        for c in range(row.shape[0]):
            if not same(row[c], kept.out2[m, c]):
                note_dirty(m, w, n)
                break


@inner
def outputs_changed(kept: Any, facts: Any, z: Any, f: Any, w: Any, n: Any) -> Any:
    """Product 2 has changed in the lines noted: check, correct, and note what is to be divided. False: fall back."""
    if facts.check2:
        before = n.over[0]
        for at in range(n.dirty[0]):
            m = w.dirty[at]
            check_line(m, facts.turned, w.out2[m], kept.out2[m], w.view2, kept.rows2, kept.cols2, z, f, facts.limits, w,
                       n)
        if z.correct and n.over[0] > before:
            p, q, value = element_to_fix(kept.rows2, kept.cols2, z, w, n)
            if p == -2:
                return False
            if p >= 0:
                w.view2[p, q] = corrected(np.float64(w.view2[p, q]), value, f)
                note_dirty(q if facts.turned else p, w, n)
    for at in range(n.dirty[0]):
        if kept.query2[w.dirty[at]] >= 0:
            note_query(kept.query2[w.dirty[at]], w, n)
    return True


# ---- divide, compare, put right

@inner
def rows_again(i: Any, one: Any, kept: Any, facts: Any, g: Any, f: Any, codec: Any, w: Any, n: Any, found: Any,
               sink: Any) -> None:
    """Divide again, row by row, and measure. one: a query whose row and terms stand in the room already, or −1."""
    first, last = -1, -1
    for at in range(n.queries[0]):
        query = w.queries[at]
        if query != one:
            m = kept.line2[query]
            for t in range(kept.u.shape[1]):
                w.x[t] = np.float64(w.out2[m, kept.place2[t]])
            divided_row(w.o, w.terms[query], w.x, w.l[query], f, g.words)
        before = found.rows[i]
        add_rows(i, kept.o[query:query + 1], w.o.reshape((1, w.o.shape[0])), codec, found)
        if found.rows[i] > before:
            keep_row(i, query, w.o, sink)
        if g.words > 0 and not (same(w.terms[query, 0], kept.terms[query, 0])
                                and same(w.terms[query, 1], kept.terms[query, 1])):
            first = query if first < 0 else first
            last = query
    found.differs[i] = found.rows[i] > 0
    if first >= 0:
        fused_again(first, last, kept, facts, g, f, w, n)
    for at in range(n.queries[0]):
        query = w.queries[at]
        w.terms[query, 0], w.terms[query, 1] = kept.terms[query, 0], kept.terms[query, 1]


@inner
def fused_again(first: Any, last: Any, kept: Any, facts: Any, g: Any, f: Any, w: Any, n: Any) -> None:
    """The fused check's comparisons, where terms of queries first … last have changed."""
    pred, act = kept.prefix[first, 0], kept.prefix[first, 1]
    query = first
    for block in range(first // g.lanes, g.blocks):
        end = min((block + 1) * g.lanes, g.n_queries)
        if g.per_block and query == block * g.lanes:
            if query > last:
                return
            pred, act = 0.0, 0.0
        pred, act = add_terms(pred, act, w.terms, query, end, f.checker)
        query = end
        if g.per_block or block == g.blocks - 1:
            override(kept.fused[block], pred, act, facts.limits[FUSED], g.relative, f, w, n)


@inner
def put_right(kept: Any, w: Any, n: Any) -> None:
    """Make the working copies golden again."""
    for at in range(n.lines[0]):
        m = w.lines[at]
        for k in range(w.first[m], kept.a2.shape[1]):
            w.a2[m, k] = kept.a2[m, k]
        for c in range(kept.out2.shape[1]):
            w.out2[m, c] = kept.out2[m, c]
    for at in range(n.dirty[0]):
        m = w.dirty[at]
        for c in range(kept.out2.shape[1]):
            w.out2[m, c] = kept.out2[m, c]
    for at in range(n.queries[0]):
        w.l[w.queries[at]] = kept.l[w.queries[at]]


@inner
def begin_fault(n: Any) -> None:
    """Empty lists for the next fault."""
    n.stamp[0] += 1
    n.lines[0], n.dirty[0], n.queries[0], n.over[0] = 0, 0, 0, 0


@kernel
def follow(start: int, scores: bool, which: Any, begin: Any, end: Any, place: Any, value: Any, world: Any) -> Any:
    """Follow faults, from number `start` on, that enter as changes of a product: scores, or else undivided outputs.
    which (faults,): their numbers in `found`; begin, end: their records of place, flat index m' · N' + n', rising, and
    value T. Returns the number of the first that was not followed: the sink might not have had room for its rows."""
    w, n, kept = world.w, world.n, world.kept
    for at in range(start, which.shape[0]):
        if is_full(kept.o.shape[0], world.sink):
            return at
        begin_fault(n)
        usable = True
        if scores:
            n.changes[0] = end[at] - begin[at]
            for j in range(n.changes[0]):
                w.place[j], w.value[j] = place[begin[at] + j], value[begin[at] + j]
            usable = scores_changed(kept, world.facts, world.z1, world.f, w, n)
        else:
            columns = kept.out2.shape[1]
            for j in range(begin[at], end[at]):
                m = place[j] // columns
                w.out2[m, place[j] % columns] = value[j]
                note_dirty(m, w, n)
        behind(which[at], usable, -1, world)
    return which.shape[0]


@inner
def behind(i: Any, usable: Any, one: Any, world: Any) -> None:
    """Everything from product 2 on, for what has been noted. one: see `rows_again`."""
    kept, facts, f, w, n, found = world.kept, world.facts, world.f, world.w, world.n, world.found
    if usable:
        if facts.sums_queries:
            sums_again(kept, facts, f, w, n)
        product_again(kept, facts, world.nan, world.rule, w, n)
        usable = outputs_changed(kept, facts, world.z2, f, w, n)
    if usable:
        rows_again(i, one, kept, facts, world.g, f, world.codec, w, n, found, world.sink)
        verdict(i, kept, facts.policies, w, n, found)
        found.status[i] = 1 if found.differs[i] or n.over[0] > 0 else 0
    else:
        found.status[i] = FALL_BACK
    put_right(kept, w, n)


@inner
def weights_changed(query: Any, one: Any, kept: Any, facts: Any, f: Any, w: Any, n: Any) -> None:
    """A query has the weights and the sum that stand in `one`."""
    m = kept.line2[query]
    for j in range(one.p.shape[1]):
        w.row[0] = one.p[0, j]
        if not same(w.row[0], w.a2[m, j]):
            w.a2[m, j] = w.row[0]
            note_line(m, j, w, n)
    set_sum(query, one.l[0], w, n)
    if facts.watched != 0:
        excess_now(query, one.lanes.softmax_excess[0], kept, facts, f, w, n)


@kernel
def follow_lanes(start: int, faults: Any, one: Any, world: Any, old: Any, new: Any) -> Any:
    """Run the struck block of a lane for each of `LaneFaults` from number `start` on, and follow what it leaves. old,
    new: by number in `found`. Returns what `follow` does."""
    w, n, kept, words = world.w, world.n, world.kept, world.g.words
    for at in range(start, faults.i.shape[0]):
        if is_full(kept.o.shape[0], world.sink):
            return at
        i, query = faults.i[at], faults.query[at]
        row = Memory(kept.s[query:query + 1], one.p, one.l, kept.u[query:query + 1], one.o,
                     kept.bound[query:query + 1], kept.first[query:query + 1])
        one.l[0] = kept.l[query]
        c = faults.codec[at]
        codec = Codec(c[0], c[1], c[2], c[3])
        old[i], new[i] = struck_block(faults.softmax[at], faults.code[at], faults.step[at], faults.steps[at],
                                      faults.op[at], faults.mask[at], codec, one, row, world.f)
        begin_fault(n)
        if faults.softmax[at]:
            weights_changed(query, one, kept, world.facts, world.f, w, n)
            behind(i, True, -1, world)
        else:
            for t in range(w.o.shape[0]):
                w.o[t] = one.o[0, t]
            if words > 0:
                w.terms[query, 0], w.terms[query, 1] = one.lanes.fused_term[0], one.lanes.fused_sum[0]
            note_query(query, w, n)
            behind(i, True, query, world)
    return faults.i.shape[0]
