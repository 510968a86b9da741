"""The equations of docs/machines/lanes.md, as they stand there: no registers, no cycles, no kernels.

Every operation is done exactly, on integers, and rounded once. Only the exponential and the reciprocal are the
package's own: tests/numerics holds them to their definitions. `attention` gives every value that a fault-free run
computes, by what it is, so that a test can ask a register for it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache, partial

import numpy as np

from accel_sim.engines.job import Job
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.exp import exp_exact, exp_pwl, exp_pwl_table
from accel_sim.numerics.formats import Format
from accel_sim.numerics.reciprocal import reciprocal_pwl, reciprocal_table

exp_table, recip_table = lru_cache(exp_pwl_table), lru_cache(reciprocal_table)


class Arithmetic:
    """Exact operations, rounded once into the format given last. Values are floats of their formats."""

    def __init__(self, subnormals: str) -> None:
        self.subnormals = subnormals

    def quiet(self, x: float, fmt: Format) -> float:
        """An operand read from a register of this format."""
        if self.subnormals == "flush" and abs(x) < fmt.min_normal:
            return math.copysign(0.0, x)
        return x

    def special(self, x: float, fmt: Format) -> float:
        """An infinity or NaN in the format."""
        return x if math.isinf(x) and fmt.has_inf else math.nan

    def ratio(self, numerator: int, denominator: int, negative: bool, fmt: Format) -> float:
        """|numerator / denominator| rounded once, to nearest even, with the sign given."""
        size = abs(numerator)
        exponent = size.bit_length() - denominator.bit_length()  # of the leading bit, or one too many
        if size << max(0, -exponent) < denominator << max(0, exponent):
            exponent -= 1
        step = max(exponent, fmt.emin) - fmt.mantissa_bits if size else 0
        count, rest = divmod(size << max(0, -step), denominator << max(0, step))
        half = 2 * rest - (denominator << max(0, step))
        if half > 0 or (half == 0 and count % 2):
            count += 1
        largest = int(math.ldexp(fmt.max_finite, fmt.mantissa_bits - fmt.emax))
        if exponent > fmt.emax or (exponent == fmt.emax and count > largest):
            return math.copysign(math.inf, -1.0 if negative else 1.0) if fmt.has_inf else math.nan
        result = math.ldexp(count, step)
        if self.subnormals == "flush" and result < fmt.min_normal:
            result = 0.0
        return -result if negative else result

    def rounded(self, x: float, fmt: Format) -> float:
        if not math.isfinite(x):
            return self.special(x, fmt)
        return self.ratio(*x.as_integer_ratio(), math.copysign(1.0, x) < 0, fmt)

    def add(self, a: float, b: float, fmt: Format) -> float:
        if not (math.isfinite(a) and math.isfinite(b)):
            return self.special(a + b, fmt)
        (n, m), (k, r) = a.as_integer_ratio(), b.as_integer_ratio()
        total = n * r + k * m
        negative = total < 0 if total else math.copysign(1.0, a) < 0 and math.copysign(1.0, b) < 0
        return self.ratio(total, m * r, negative, fmt)

    def sub(self, a: float, b: float, fmt: Format) -> float:
        return self.add(a, -b, fmt)

    def mul(self, a: float, b: float, fmt: Format) -> float:
        if not (math.isfinite(a) and math.isfinite(b)):
            return self.special(a * b, fmt)
        (n, m), (k, r) = a.as_integer_ratio(), b.as_integer_ratio()
        return self.ratio(n * k, m * r, math.copysign(1.0, a) != math.copysign(1.0, b), fmt)

    def div(self, a: float, b: float, fmt: Format) -> float:
        if not (math.isfinite(a) and math.isfinite(b)) or b == 0.0:
            with np.errstate(all="ignore"):
                quotient = float(np.float64(a) / np.float64(b))
            return quotient if quotient == 0.0 else self.special(quotient, fmt)
        (n, m), (k, r) = a.as_integer_ratio(), b.as_integer_ratio()
        return self.ratio(n * r, m * abs(k), math.copysign(1.0, a) != math.copysign(1.0, b), fmt)

    def maximum(self, a: float, b: float) -> float:
        if math.isnan(a) or math.isnan(b):
            return math.nan
        return 0.0 if a == b == 0.0 and math.copysign(1.0, a) != math.copysign(1.0, b) else max(a, b)

    def tree(self, x: list[float], inputs: Format, fmt: Format) -> list[list[float]]:
        """The levels of an adder tree; the first one rounds what passes through it if the inputs' format differs."""
        read = partial(self.quiet, fmt=inputs)
        levels = []
        while True:
            half = (len(x) + 1) // 2
            level = [self.add(read(x[i]), read(x[i + half]), fmt) for i in range(len(x) - half)]
            if len(level) < half:
                middle = x[half - 1]
                level.append(self.rounded(read(middle), fmt) if not levels and inputs != fmt else middle)
            levels.append(level)
            if half == 1:
                return levels
            x, read = level, partial(self.quiet, fmt=fmt)

    def fused_sum(self, products: list[tuple[float, float]], fmt: Format) -> float:
        """Σ a·b without error, then one rounding."""
        native = [a * b for a, b in products]
        if not all(map(math.isfinite, native)):
            specials = [x for x in native if not math.isfinite(x)]
            return self.special(sum(specials), fmt)
        ratios = [(n * k, m * r) for (n, m), (k, r) in
                  ((a.as_integer_ratio(), b.as_integer_ratio()) for a, b in products)]  # fmt: skip
        denominator = math.lcm(*(m for _, m in ratios))
        total = sum(n * (denominator // m) for n, m in ratios)
        negative_zero = all(x == 0.0 and math.copysign(1.0, x) < 0 for x in native)
        return self.ratio(total, denominator, total < 0 or negative_zero, fmt)


@dataclass
class Values:
    """Every value of a fault-free run, keyed by (query, key, …). `m`, `l`, `o` and `c`: after that key.

    dot holds the partial sums behind the products: of a tree its levels, of a chain its running sums, of a fused
    dot product the sum. row_sum: the levels of the row-sum tree of each key. row_out: those of each output row.
    """

    prod: dict = field(default_factory=dict)
    dot: dict = field(default_factory=dict)
    score: dict = field(default_factory=dict)
    m: dict = field(default_factory=dict)
    ds: dict = field(default_factory=dict)
    da: dict = field(default_factory=dict)
    p: dict = field(default_factory=dict)
    a: dict = field(default_factory=dict)
    pv: dict = field(default_factory=dict)
    l: dict = field(default_factory=dict)  # noqa: E741 - its name everywhere
    o: dict = field(default_factory=dict)
    chk_pr: dict = field(default_factory=dict)
    c: dict = field(default_factory=dict)
    recip: dict = field(default_factory=dict)
    out: dict = field(default_factory=dict)
    pred_term: dict = field(default_factory=dict)
    row_sum: dict = field(default_factory=dict)
    row_out: dict = field(default_factory=dict)
    comparisons: list[tuple[float, float, float, float, bool]] = field(default_factory=list)


def attention(machine: LanesMachine, job: Job) -> Values:
    """All values of the fault-free run of a job. comparisons: (residual, limit, predicted, actual, scanned)."""
    values = Values()
    unit = Arithmetic(machine.subnormals)
    f = machine.formats
    if machine.check:
        for j in range(len(job.k)):
            values.row_sum[j] = unit.tree([float(x) for x in job.v[j]], f["operand"], f["checker"])
    for i in range(len(job.q)):
        _query(values, unit, machine, job, i)
    if machine.check:
        _comparisons(values, unit, machine, job)
    return values


def _query(values: Values, unit: Arithmetic, machine: LanesMachine, job: Job, i: int) -> None:
    f, d = machine.formats, machine.head_dim
    state, checker, exp = f["state"], f["checker"], f["exp"]
    m: float | None = None
    total, c = 0.0, 0.0
    o = [0.0] * d
    for j in range(len(job.k)):
        s = _score(values, unit, machine, job, i, j)
        allowed = job.first[i] <= j <= job.bound[i]
        if not allowed:
            ds = da = 0.0
        else:
            new = unit.rounded(s, state)
            if m is None:
                da = 0.0
            else:
                new = unit.maximum(m, new)
                da = unit.sub(m, new, f["score"])
            ds = unit.sub(s, new, f["score"])
            m = new
        p = _exponential(machine, ds) if allowed else 0.0
        a = _exponential(machine, da)
        total = unit.add(unit.mul(total, a, state), p, state)
        for t in range(d):
            pv = unit.mul(p, unit.quiet(float(job.v[j, t]), f["operand"]), state)
            values.pv[i, j, t] = pv
            o[t] = unit.add(unit.mul(o[t], a, state), pv, state)
            values.o[i, j, t] = o[t]
        values.ds[i, j], values.da[i, j], values.p[i, j], values.a[i, j] = ds, da, p, a
        values.m[i, j], values.l[i, j] = (0.0 if m is None else m), total
        if machine.check:
            pr = unit.mul(unit.quiet(p, exp), values.row_sum[j][-1][0], checker)
            c = unit.add(unit.mul(c, a, checker), pr, checker)
            values.chk_pr[i, j], values.c[i, j] = pr, c
    divisor = _reciprocal(machine, total) if machine.reciprocal else total
    divide = unit.mul if machine.reciprocal else unit.div
    values.recip[i] = divisor
    for t in range(d):
        values.out[i, t] = divide(o[t], divisor, f["output"])
    if machine.check:
        values.pred_term[i] = divide(c, divisor, checker)
        values.row_out[i] = unit.tree([values.out[i, t] for t in range(d)], f["output"], checker)


def _score(values: Values, unit: Arithmetic, machine: LanesMachine, job: Job, i: int, j: int) -> float:
    f, d = machine.formats, machine.head_dim
    score = f["score"]
    q = [unit.quiet(float(x), f["operand"]) for x in job.q[i]]
    k = [unit.quiet(float(x), f["operand"]) for x in job.k[j]]
    if machine.dot == "fused":
        for t in range(d):
            values.prod[i, j, t] = q[t] * k[t]  # exact: a product register holds it
        values.dot[i, j] = [unit.fused_sum(list(zip(q, k, strict=True)), score)]
    else:
        products = [unit.mul(q[t], k[t], score) for t in range(d)]
        for t in range(d):
            values.prod[i, j, t] = products[t]
        if machine.dot == "tree":
            values.dot[i, j] = unit.tree(products, score, score)
        else:
            sums = products[:1]
            for t in range(1, d):
                sums.append(unit.add(sums[-1], products[t], score))
            values.dot[i, j] = sums
    dot = values.dot[i, j][-1]
    s = unit.mul(dot[0] if isinstance(dot, list) else dot, job.scale, score)
    values.score[i, j] = s
    return s


def _exponential(machine: LanesMachine, x: float) -> float:
    r = machine.formats["exp"].rounding(machine.subnormals)  # type: ignore[arg-type]
    return float(exp_pwl(x, exp_table(machine.exp.pieces), r) if machine.exp.kind == "pwl" else exp_exact(x, r))


def _reciprocal(machine: LanesMachine, x: float) -> float:
    r = machine.formats["state"].rounding(machine.subnormals)  # type: ignore[arg-type]
    return float(reciprocal_pwl(x, recip_table(machine.divide.pieces), r))


def _comparisons(values: Values, unit: Arithmetic, machine: LanesMachine, job: Job) -> None:
    checker = machine.formats["checker"]
    n_queries, n_keys, _ = job.shape
    granularity = machine.check.granularity

    def compare(pred: float, act: float, threshold: float, scanned: bool) -> None:
        limit = threshold
        if machine.check.threshold.kind == "relative":
            limit = unit.mul(threshold, unit.maximum(abs(pred), abs(act)), checker)
        values.comparisons.append((unit.sub(pred, act, checker), limit, pred, act, scanned))

    threshold, scan_threshold = (unit.quiet(x, checker) for x in (job.threshold, job.scan_threshold))
    pred = act = 0.0
    for first in range(0, n_queries, machine.lanes):
        block = range(first, min(first + machine.lanes, n_queries))
        if granularity == "key_tile":
            for key in range(machine.key_tile - 1, n_keys - machine.lanes, machine.key_tile):
                scan_pred = scan_act = 0.0
                for i in block:
                    upto = key + i - first  # the scan reads lane by lane while keys go on arriving
                    row = [values.o[i, upto, t] for t in range(machine.head_dim)]
                    scan_pred = unit.add(scan_pred, values.c[i, upto], checker)
                    scan_act = unit.add(scan_act, unit.tree(row, machine.formats["state"], checker)[-1][0], checker)
                compare(scan_pred, scan_act, scan_threshold, True)
        if granularity != "head":
            pred = act = 0.0
        for i in block:
            pred = unit.add(pred, values.pred_term[i], checker)
            act = unit.add(act, values.row_out[i][-1][0], checker)
        if granularity != "head" or block.stop == n_queries:
            compare(pred, act, threshold, False)
