"""What the replay engine of the gemm machine keeps of the golden head, and the room that its kernels work in."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.golden import add_products
from accel_sim.arrays.operands import constants, load_matrix, native_type, rule_of
from accel_sim.gemm import golden_kernel as kernels
from accel_sim.gemm.golden import Golden, watched
from accel_sim.gemm.invariants_step import SCORE
from accel_sim.gemm.replay_kernel import add_line
from accel_sim.gemm.replay_types import Counts, Facts, Kept, Room
from accel_sim.gemm.vector_step import difference, exponential, scaled, summed
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.gemm_layout import Product
from accel_sim.numerics.jit import kernel

MIN_SPACING, MOST_BLOCKS = 16, 16
"""Sums are kept every so many keys: not closer than the first, and not more than about the second of them a query."""


@kernel
def keep_softmax(weights: Any, sums: Any, s: Any, m: Any, first: Any, bound: Any, scale: float, spacing: int,
                 f: Any) -> None:
    """Unrounded weights (Nq, N), and the sum before every `spacing`-th key (Nq, N/spacing)."""
    for i in range(s.shape[0]):
        total = 0.0
        for j in range(s.shape[1]):
            if j % spacing == 0:
                sums[i, j // spacing] = total
            weight = 0.0
            if first[i] <= j < bound[i]:
                weight = exponential(difference(scaled(s[i, j], scale, f), m[i], f), f)
            weights[i, j] = weight
            total = summed(total, weight, f)


@kernel
def keep_sums(kept: Any, a: Any, b: Any, nan: Any, rule: Any, spacing: int, row: Any) -> None:
    """Sums of product 2 before every `spacing`-th k: kept (M', K/spacing, N'). row (N',): scratch."""
    for i in range(a.shape[0]):
        row[:] = 0
        for k in range(a.shape[1]):
            if k % spacing == 0:
                for c in range(row.shape[0]):
                    kept[i, k // spacing, c] = row[c]
            add_products(row, a[i, k], b[k], nan, rule)


@kernel
def keep_totals(totals: Any, a: Any, group: int, extra: int) -> None:
    """Sums over the lines of each group of `a`, by the CPU's own binary32 additions, into totals (groups, K), zeros."""
    for g in range(totals.shape[0]):
        for u in range(group):
            add_line(totals[g], a, g * (group + extra) + u, 0)


def facts_of(golden: Golden, spacing: int) -> Facts:
    """The scalars of a golden head."""
    given = golden.head.given
    machine, product = given.machine, given.timing.products[given.machine.product_names[-1]]
    gemm = machine.gemm
    over_queries = gemm is not None and product.checked and (gemm.rows if product.turned else gemm.columns)
    group, extra = (product.cols, product.row_sums) if product.turned else (product.p_group, product.p_extra)
    return Facts(
        turned=product.turned, check1=machine.checks("qk"), check2=machine.checks("pv"), sums_queries=over_queries,
        words=gemm.words if gemm else 1, group=group, extra=extra, scale=given.job.scale,
        score_bound=given.score_bound if given.sizes.watched & SCORE else 0.0, limits=given.limits,
        policies=given.policies, watched=given.sizes.watched, spacing=spacing, plain=plain_sums(machine),
        sums_natively=over_queries and native_encoder(machine),
    )


def native_encoder(machine: GemmMachine) -> bool:
    """Whether the CPU's binary32 additions are those of an encoder, on operands as the array keeps them."""
    fp32 = machine.formats["checker"].name == "fp32" and machine.subnormals == "keep"
    return fp32 and native_type(machine.array) is np.float32


def plain_sums(machine: GemmMachine) -> bool:
    """Whether the CPU's binary32 additions are those of l."""
    formats = machine.formats
    if machine.plain or machine.subnormals != "keep":
        return False
    return formats["state"].name == "fp32" and formats["exp"].name != "fp64"


def spacing_for(n_keys: int) -> int:
    """Keys between two kept sums."""
    return max(MIN_SPACING, -(-n_keys // MOST_BLOCKS))


def _oriented(product: Product, out: NDArray[Any]) -> NDArray[Any]:
    """A (P', Q') output memory as (M', N'), contiguous."""
    return np.ascontiguousarray(out.T if product.turned else out)


def _places(product: Product) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(m' of each m, n' of each n)."""
    p, q = product.p_places, product.q_places
    return (q, p) if product.turned else (p, q)


def _inverse(places: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    found = np.full(size, -1, np.int64)
    found[places] = np.arange(places.size)
    return found


def _edge_ids(golden: Golden, name: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of a product's comparisons: (P', groups of q) of its rows, (groups of p, Q') of its columns."""
    given = golden.head.given
    product = given.timing.products[name]
    by_row, by_column = given.machine.row_check(name), given.machine.col_check(name)
    rows = np.full((product.p_total, product.q_groups), -1, np.int64)
    cols = np.full((product.p_groups, product.q_total), -1, np.int64)
    if not product.checked:
        return rows, cols
    edge = given.edges[name]
    number = list(given.machine.phases).index(name)
    first, last = golden.counts[number], golden.counts[number + 2]  # the drain counts with its product
    start, folding = given.timing.by_name[name].start, product.folding
    cycles, kinds, cells = [], [], []
    for q_group in range(product.q_groups):
        for p_group in range(product.p_groups):
            base = start + product.completing_fold(p_group, q_group) * folding.fold_cycles + product.first_delivery
            begin = p_group * (product.p_group + product.p_extra)
            if by_row is not None:
                u = np.arange(min(product.p_group, product.p_size - p_group * product.p_group))
                cycles.append(base + u + product.cols + by_row.words + 1)
                kinds.append(np.zeros_like(u))
                cells.append(np.stack([begin + u, np.full_like(u, q_group)], 1))
            if by_column is not None:
                c = np.arange(min(product.cols, product.q_size - q_group * product.cols))
                cycles.append(base + product.p_group + product.p_extra - 1 + c + 2)
                kinds.append(np.ones_like(c))
                cells.append(np.stack([np.full_like(c, p_group), q_group * (product.cols + product.row_sums) + c], 1))
    rank = 1 - np.concatenate(kinds) if edge.columns_first else np.concatenate(kinds)
    order = np.lexsort((rank, np.concatenate(cycles)))
    kind, cell = np.concatenate(kinds)[order], np.concatenate(cells)[order]
    index = np.arange(first, last)
    for ids, which in ((rows, 0), (cols, 1)):
        at = kind == which
        ids[cell[at, 0], cell[at, 1]] = index[at]
    return rows, cols


def keep(golden: Golden) -> Kept:
    """Everything that the kernels read."""
    if golden.head.given.machine.plain:
        return _keep_plain(golden)
    head = golden.head
    given, memory = head.given, head.memory
    machine, sizes, f = given.machine, given.sizes, given.rules
    first, second = given.timing.products["qk"], given.timing.products["pv"]
    n_queries, n_keys = memory.s.shape
    spacing = spacing_for(n_keys)
    blocks = -(-n_keys // spacing)
    kind, rule, nan = native_type(machine.array), rule_of(machine.array), constants(machine.array)[1]
    a, b = (np.ascontiguousarray(x.astype(kind)) for x in _loaded(golden))
    p, m, total = np.zeros((n_queries, n_keys)), np.zeros(n_queries), np.zeros(n_queries)
    kernels.softmax(p, m, total, memory.s, memory.first, memory.bound, given.job.scale, f, np.zeros(n_keys))
    weights = np.zeros((n_queries, n_keys), np.float32 if plain_sums(machine) else np.float64)
    l_at = np.zeros((n_queries, blocks))
    keep_softmax(weights, l_at, memory.s, m, memory.first, memory.bound, given.job.scale, spacing, f)
    o_at = np.zeros((a.shape[0], blocks, b.shape[1]), kind)
    keep_sums(o_at, a, b, nan, rule, spacing, np.zeros(b.shape[1], kind))
    terms, prefix, o = np.zeros((n_queries, 2)), np.zeros((n_queries + 1, 2)), np.zeros_like(memory.o)
    kernels.divide(o, terms, memory.u, memory.l, f, sizes.words)
    fused = np.full(sizes.blocks, -1, np.int64)
    if machine.fused is not None:
        phase = given.timing.by_name["divide"]
        count = kernels.fused_table(np.zeros((sizes.blocks, 6)), prefix, terms, sizes, f, given.limit("fused_output"),
                                    phase.start, phase.steps, phase.steps - 1)
        fused[sizes.blocks - count:] = np.arange(golden.counts[-2], golden.counts[-2] + count)
    watch, calm = np.full(n_queries, -1, np.int64), np.ones(n_queries, np.bool_)
    if machine.softmax is not None:
        phase = given.timing.by_name["softmax"]
        watch[:] = golden.counts[phase.number] + np.arange(n_queries)
        calm = watched(head, phase, phase.start)[1] == 0.0
    facts = facts_of(golden, spacing)
    totals = np.zeros((second_groups(second) if facts.sums_natively else 0, a.shape[1]), np.float32)
    keep_totals(totals, a, facts.group, facts.extra)
    rows1, cols1 = _edge_ids(golden, "qk")
    rows2, cols2 = _edge_ids(golden, "pv")
    m1, n1 = _places(first)
    m2, n2 = _places(second)
    out1, out2 = _oriented(first, head.outs["qk"]), _oriented(second, head.outs["pv"])
    return Kept(
        out1=out1, out2=out2, s=memory.s, weights=weights, a2=a, b2=b, m=m, l=memory.l, l_at=l_at, o_at=o_at,
        u=memory.u, o=memory.o, terms=terms, prefix=prefix, first=memory.first, bound=memory.bound, calm=calm,
        totals=totals,
        query1=_inverse(m1, out1.shape[0]), key1=_inverse(n1, out1.shape[1]), query2=_inverse(m2, out2.shape[0]),
        dim2=_inverse(n2, out2.shape[1]), line2=m2, place2=n2, **_judged(golden),
        rows1=rows1, cols1=cols1, rows2=rows2, cols2=cols2, fused=fused, watch=watch,
    )


def second_groups(product: Product) -> int:
    """Groups of queries of product 2 that share a checksum over queries."""
    return product.q_groups if product.turned else product.p_groups


def _judged(golden: Golden) -> dict[str, NDArray[Any]]:
    """The log, and which of its comparisons tell and raise alarms, for `Kept`."""
    table, policies = golden.table.copy(), golden.head.given.policies
    alarms, deviating = np.zeros(len(table), np.bool_), np.zeros(len(table), np.bool_)
    kernels.over_all(alarms, table)
    unit = table[:, 5].astype(np.int64)
    small = table.copy()
    small[:, 2] = policies[unit, 0]
    kernels.over_all(deviating, small)
    deviating &= policies[unit, 2] != 0.0
    return {"table": table, "order": np.lexsort((np.arange(len(table)), -np.abs(table[:, 1]))),
            "alarms": np.flatnonzero(alarms), "deviating": np.flatnonzero(deviating)}


def _keep_plain(golden: Golden) -> Kept:
    """Everything that the kernels read of a plain product; what belongs to the rest of attention is empty."""
    head = golden.head
    product, kind = head.given.timing.products["qk"], native_type(head.given.machine.array)
    output = head.output()
    n_queries = output.shape[0]
    out = _oriented(product, head.outs["qk"])
    m, n = _places(product)
    rows, cols = _edge_ids(golden, "qk")
    values, none = np.zeros((n_queries, 0)), np.zeros(0, np.int64)
    no_product, no_rows = np.zeros((1, 1), kind), np.full((1, 1), -1, np.int64)
    return Kept(
        out1=out, out2=no_product, s=output, weights=values, a2=no_product, b2=no_product, m=np.zeros(n_queries),
        l=np.zeros(n_queries), l_at=values, o_at=np.zeros((1, 1, 1), kind), u=values, o=output,
        terms=np.zeros((n_queries, 2)), prefix=np.zeros((n_queries + 1, 2)), first=head.memory.first,
        bound=head.memory.bound, calm=np.ones(n_queries, np.bool_), totals=np.zeros((0, 0), np.float32),
        query1=_inverse(m, out.shape[0]), key1=_inverse(n, out.shape[1]), query2=none, dim2=none, line2=none,
        place2=none, **_judged(golden), rows1=rows, cols1=cols, rows2=no_rows, cols2=no_rows, fused=none, watch=none,
    )


def _loaded(golden: Golden) -> tuple[NDArray[Any], NDArray[Any]]:
    """A' and B' of product 2, as the array reads them."""
    machine = golden.head.given.machine.array
    a, b = golden.head.operands("pv")
    return load_matrix(a, machine, "A"), load_matrix(b, machine, "B")


def make_room(golden: Golden, kept: Kept) -> tuple[Room, Counts]:
    """Working copies and scratch."""
    turned = golden.head.given.timing.products["qk"].turned
    n_queries, n_keys = kept.s.shape
    out1, out2 = kept.out1.copy(), kept.out2.copy()
    kind, comparisons = out1.dtype, max(1, len(kept.table))
    most = max(out1.size, out2.size) + 1

    def ints(size: int) -> NDArray[np.int64]:
        return np.zeros(size, np.int64)

    room = Room(
        out1=out1, out2=out2, view1=out1.T if turned else out1, view2=out2.T if turned else out2, a2=kept.a2.copy(),
        l=kept.l.copy(), x=np.zeros(max(n_keys, kept.u.shape[1])), p=np.zeros(n_keys), row=np.zeros(out2.shape[1],
        kind), o=np.zeros(kept.o.shape[1]), terms=kept.terms.copy(), lines=ints(kept.a2.shape[0]),
        first=ints(kept.a2.shape[0]), dirty=ints(out2.shape[0]), queries=ints(n_queries),
        mark_line=ints(kept.a2.shape[0]), mark_dirty=ints(out2.shape[0]), mark_query=ints(n_queries),
        mark_over=ints(comparisons), place=ints(most), value=np.zeros(most, kind), over_id=ints(comparisons),
        over_residual=np.zeros(comparisons), over_limit=np.zeros(comparisons), over_at=ints(comparisons),
        deviates=ints(comparisons), total=np.zeros(kept.a2.shape[1], np.float32),
    )
    return room, Counts(*(ints(1) for _ in Counts._fields))
