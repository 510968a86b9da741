"""What the replay kernels of the gemm machine are given and what they work in.

T is the array's native type; m' and n' are lines and columns of a product as it stands on the array, checksums and
filling included; p and q are those of `machines.gemm_layout`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

SCORES, UNDIVIDED = range(2)
"""Where a fault in the array enters the head: it has changed scores, or undivided outputs."""


class Kept(NamedTuple):
    """The golden head. SP: `spacing`.

    out1 (M1', N1'), out2 (M2', N2') T: both products. s (Nq, N) float64: scores. weights (Nq, N): unrounded weights,
    float32 if plain, else float64. a2 (M2', K), b2 (K, N2') T: operands of product 2. m, l (Nq,) float64: maxima and
    sums. l_at (Nq, N/SP) float64: the sum before key c · SP. o_at (M2', K/SP, N2') T: sums of product 2 before
    k = c · SP. u (Nq, d + f), o (Nq, d), terms (Nq, 2), prefix (Nq + 1, 2): as in `golden_kernel`. first, bound (Nq,)
    int64. calm (Nq,) bool: the invariants that watch a query's scores and maximum find nothing. totals (groups, K)
    float32: sums over the queries of a group, where `Facts.sums_natively`.

    query1 (M1',), key1 (N1',), query2 (M2',), dim2 (N2',) int64: what stands there, −1 for checksums and filling. line2
    (Nq,), place2 (d + f,): where a query and a dim stand.

    table (comparisons, 6): the log. order (comparisons,): by falling |residual|, earlier ones first. alarms: those over
    their limit. deviating: those that count as deviations of a statistical threshold. rows1, rows2 (P', groups of q),
    cols1, cols2 (groups of p, Q'), fused (blocks,), watch (Nq,): index of a comparison, −1 for none.
    """

    out1: Any
    out2: Any
    s: Any
    weights: Any
    a2: Any
    b2: Any
    m: Any
    l: Any  # noqa: E741
    l_at: Any
    o_at: Any
    u: Any
    o: Any
    terms: Any
    prefix: Any
    first: Any
    bound: Any
    calm: Any
    totals: Any
    query1: Any
    key1: Any
    query2: Any
    dim2: Any
    line2: Any
    place2: Any
    table: Any
    order: Any
    alarms: Any
    deviating: Any
    rows1: Any
    cols1: Any
    rows2: Any
    cols2: Any
    fused: Any
    watch: Any


class Facts(NamedTuple):
    """Scalars. turned: `is`. check1, check2: whether a product is checked. sums1: whether checksums along the lines of
    A' of product 2 (over queries) are formed. words: of such a checksum. group: queries of a group; extra: lines behind
    it. scale, score_bound: configuration. limits (units,), policies (units, 3): as in `head.Setting`. watched: as in
    `Sizes`. spacing: SP. plain: sums of weights are the CPU's binary32 additions. sums_natively: those of checksums
    over queries are."""

    turned: bool
    check1: bool
    check2: bool
    sums_queries: bool
    words: int
    group: int
    extra: int
    scale: float
    score_bound: float
    limits: Any
    policies: Any
    watched: int
    spacing: int
    plain: bool
    sums_natively: bool


class Room(NamedTuple):
    """Working copies, golden between faults, and scratch.

    out1, out2, a2, l: copies of `Kept`'s; view1, view2: out1 and out2 over (p, q). x (N,), p (N,) float64, row (N2',)
    T, o (d,), terms (Nq, 2) float64. lines (M2',): lines of a2 that have changed, first (M2',) the k from which on;
    dirty (M2',): lines of out2 that have; queries (Nq,): queries whose row is to be divided again. mark_* (…) int64:
    stamps of the fault that has listed an entry. place (…) int64, value T: changes of a product. over_id,
    over_residual, over_limit: comparisons that differ. over_at (comparisons,): their place in that list, by stamp
    mark_over. deviates (comparisons,) int64: scratch. total (K,) float32: scratch.
    """

    out1: Any
    out2: Any
    view1: Any
    view2: Any
    a2: Any
    l: Any  # noqa: E741
    x: Any
    p: Any
    row: Any
    o: Any
    terms: Any
    lines: Any
    first: Any
    dirty: Any
    queries: Any
    mark_line: Any
    mark_dirty: Any
    mark_query: Any
    mark_over: Any
    place: Any
    value: Any
    over_id: Any
    over_residual: Any
    over_limit: Any
    over_at: Any
    deviates: Any
    total: Any


class Counts(NamedTuple):
    """(1,) int64 each: how many entries the lists of `Room` have. stamp: number of the fault, for the marks."""

    lines: Any
    dirty: Any
    queries: Any
    over: Any
    changes: Any
    stamp: Any


class Found(NamedTuple):
    """What comes out, one entry a fault: see `engines.replay.types.Outcomes`."""

    status: Any
    differs: Any
    alarm_cycle: Any
    residual: Any
    limit: Any
    square: Any
    max_abs: Any
    max_ulp: Any
    nonfinite: Any
    rows: Any


class World(NamedTuple):
    """Everything that a fault is followed with. z1, z2: `EdgeSizes` of the products; g: `Sizes`; f: `Rules`; nan, rule:
    of the array's arithmetic; codec: of the outputs; w: `Room`; n: `Counts`; found: `Found`; sink: `RowSink`."""

    kept: Any
    facts: Any
    z1: Any
    z2: Any
    g: Any
    f: Any
    nan: Any
    rule: Any
    codec: Any
    w: Any
    n: Any
    found: Any
    sink: Any


class LaneFaults(NamedTuple):
    """Faults in lanes, one entry each: i, number in `Found`; query, whose block it is; softmax, else divide; code,
    place of the register in `Lanes`; step, of the block; steps, of a block; op; mask uint64; codec (n, 4), of the
    register."""

    i: Any
    query: Any
    softmax: Any
    code: Any
    step: Any
    steps: Any
    op: Any
    mask: Any
    codec: Any


class OneLane(NamedTuple):
    """Room for one lane with one query. registers (fields, 1) float64, lanes: a `Lanes` of its rows; g: `Sizes` of one
    lane and one query; p (1, N), l (1,), o (1, d): what it writes."""

    registers: Any
    lanes: Any
    g: Any
    p: Any
    l: Any  # noqa: E741
    o: Any
