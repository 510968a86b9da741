"""The operators of the `gemm` machine, and how often they, its registers and its memories work in one head.

What is counted:

- Units of the vector unit and the encoders work in all lanes in every cycle of their stage, with or without a query.
- A PE multiplies for every element that passes it, filling and checksums included.
- Registers of the array are clocked in every cycle of a product, those of a lane when their stage works, those of an
edge in every cycle of a checked product and its drain; the unit that stands still is not clocked. Configuration is not
  clocked at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from accel_sim.machines.gemm_schedule import JUDGE, encoder_work
from accel_sim.machines.gemm_timing import GemmTiming
from accel_sim.machines.integers import INTEGERS
from accel_sim.machines.lanes import bits_for
from accel_sim.machines.operators import Activity, Operator, product_of, sum_of, widest

if TYPE_CHECKING:
    from accel_sim.machines.gemm import GemmCheck, GemmMachine, SoftmaxCheck

INTEGER_UNITS = {"fp_mul": "int_mul", "fp_add": "int_add", "fp_cmp": "int_cmp"}
"""What stands in the place of a floating unit where operands and sums are integers."""

ARRAY, VECTOR, FUSED, SOFTMAX = "array", "vector", "checker.fused_output", "checker.softmax_invariants"


class _Checksums(NamedTuple):
    """How often things happen in one head that a unit with checksums on the array does: comparisons of lines and of
    columns, words and terms that its columns add up, cycles of its products with their drains, and folds of them."""

    lines: int
    columns: int
    column_words: int
    column_terms: int
    edge_cycles: int
    folds: int


class _Counts:
    """How often things happen in one head."""

    def __init__(self, machine: GemmMachine, timing: GemmTiming) -> None:
        self.machine, self.timing = machine, timing
        self.blocks = 0 if machine.plain else timing.by_name["softmax"].parts
        self.lane_keys = self.blocks * timing.n_keys * machine.lanes
        self.lane_dims = self.blocks * machine.head_dim * machine.lanes
        self.lane_words = self.blocks * machine.fused_words * machine.lanes
        self.lane_blocks = self.blocks * machine.lanes
        self.product_cycles = sum(timing.by_name[name].cycles for name in timing.products)
        self.folds = sum(product.folding.folds for product in timing.products.values())
        self.compared = self.blocks and timing.n_queries

    def checksums(self, check: GemmCheck) -> _Checksums:
        """How often those of one unit happen."""
        timing, cols = self.timing, self.machine.cols
        checked = [timing.products[name] for name in check.products]
        return _Checksums(
            lines=sum(product.p_size * product.q_groups for product in checked) if check.rows else 0,
            columns=sum(product.q_size * product.p_groups for product in checked) if check.columns else 0,
            column_words=cols * sum(product.p_extra * product.p_groups * product.q_groups for product in checked),
            column_terms=cols * sum(product.p_size * product.q_groups for product in checked),
            edge_cycles=sum(timing.by_name[name].cycles for product in checked
                            for name in (product.name, f"{product.name}_drain")),
            folds=sum(product.folding.folds for product in checked))

    @property
    def macs(self) -> int:
        """Products formed by the array, filling and checksums included."""
        return sum(product.folding.macs for product in self.timing.products.values())

    @property
    def checksum_macs(self) -> int:
        """Those of them that are on checksums of the array, or that fill up a group beside them."""
        return self.macs - sum(product.m * product.n * product.k for product in self.timing.products.values())

    @property
    def column_checksum_macs(self) -> int:
        """Those of the latter that are on checksums along the columns, and on filling between them."""
        return sum((product.p_total - product.p_size) * product.q_total * product.k
                   for product in self.timing.products.values())

    def encoders(self, prefix: str) -> Iterator[tuple[int, int, int]]:
        """(parts, elements of a group, words) of each phase of an encoder."""
        for phase in self.timing.program:
            if not phase.name.startswith("encode_"):
                continue
            whose = "fused" if phase.name == "encode_v" else self.machine.encoder_check(phase.name).prefix
            if whose == prefix:
                group, words, _ = encoder_work(self.machine, self.timing, phase.name)
                yield phase.parts, group, words

    @property
    def fused_compared(self) -> int:
        """Comparisons of the fused check."""
        fused = self.machine.fused
        return 0 if fused is None else self.blocks if fused.per_block else 1


def _operators(machine: GemmMachine, timing: GemmTiming) -> Iterator[Operator]:
    count, formats = _Counts(machine, timing), machine.formats
    operand, score = formats["operand"], formats["score"]
    phase_bits, part_bits, step_bits = machine.counter_bits
    for name, bits, uses in (("next_phase", phase_bits, len(timing.program)),
                             ("next_part", part_bits, sum(phase.parts for phase in timing.program)),
                             ("next_step", step_bits, timing.head_cycles)):
        yield Operator(name, "int_add", f"uint{bits}", "control", 1, uses)
    yield Operator("step_is_last", "int_cmp", f"uint{step_bits}", "control", 1, timing.head_cycles)

    pes, all_pes = machine.rows * machine.cols, machine.array.rows * machine.array.cols
    multiply, add = product_of(operand, operand, score), score.name
    data = count.macs - count.checksum_macs
    yield Operator("pe_multiply", "fp_mul", multiply, ARRAY, pes, data)
    yield Operator("pe_add", "fp_add", add, ARRAY, pes, data)
    for whose, many, uses in _checksum_pes(machine, all_pes - pes, count):
        prefix = "checksum" if whose == "gemm" else "rowsum"
        yield Operator(f"{prefix}_pe_multiply", "fp_mul", multiply, f"checker.{whose}", many, uses)
        yield Operator(f"{prefix}_pe_add", "fp_add", add, f"checker.{whose}", many, uses)

    if not machine.plain:
        yield from _vector(machine, count)
    if machine.fused is not None:
        yield from _fused(machine, count)
    for check in machine.array_checks:
        yield from _checksums(machine, check, count)
    if machine.softmax is not None:
        yield from _invariants(machine, machine.softmax, count)


def _checksum_pes(machine: GemmMachine, more: int, count: _Counts) -> Iterator[tuple[str, int, int]]:
    """(unit, PEs, multiplications) of the PEs that are there for checksums: those of the columns behind the data, and
    below it, belong to the unit that needs most of them."""
    def most(side: str) -> str:
        return max((c for c in machine.array_checks if getattr(c, side)), key=lambda c: c.words).unit

    below = machine.array.cols * machine.col_sums if machine.flow == "os" else 0
    sides = [("rows", more - below, count.checksum_macs - count.column_checksum_macs, machine.row_sums),
             ("columns", below, count.column_checksum_macs, machine.col_sums)]
    found: dict[str, list[int]] = {}
    for side, pes, uses, words in sides:
        if words:
            of = found.setdefault(most(side), [0, 0])
            of[0], of[1] = of[0] + pes, of[1] + uses
    for unit, (pes, uses) in found.items():
        yield unit, pes, uses


def _vector(machine: GemmMachine, count: _Counts) -> Iterator[Operator]:
    score, exp, state, output = (machine.formats[role] for role in ("score", "exp", "state", "output"))
    lanes, keys = machine.lanes, count.lane_keys
    unit = "exp_pwl" if machine.exp.kind == "pwl" else "exp"
    yield Operator("scale", "fp_mul", product_of(score, score, score), VECTOR, lanes, 2 * keys)
    yield Operator("mask", "int_cmp", f"uint{machine.key_bits}", VECTOR, lanes, 2 * keys)
    if machine.window:
        yield Operator("mask_first", "int_cmp", f"uint{machine.key_bits}", VECTOR, lanes, 2 * keys)
    yield Operator("maximum", "fp_max", state.name, VECTOR, lanes, keys)
    yield Operator("score_minus_max", "fp_add", widest(score, state).name, VECTOR, lanes, keys)
    yield Operator("exp", unit, widest(score, exp).name, VECTOR, lanes, keys)
    yield Operator("l_add", "fp_add", sum_of(state, exp, state), VECTOR, lanes, keys)
    if machine.reciprocal:
        yield Operator("reciprocal", "reciprocal_pwl", state.name, VECTOR, lanes, count.lane_blocks)
        yield Operator("o_times_reciprocal", "fp_mul", product_of(state, state, output), VECTOR, lanes, count.lane_dims)
    else:
        yield Operator("o_by_l", "div", widest(state, output).name, VECTOR, lanes, count.lane_dims)


def _encoder(machine: GemmMachine, count: _Counts, component: str, prefix: str) -> Iterator[Operator]:
    operand, checker, lanes = machine.formats["operand"], machine.formats["checker"], machine.lanes
    work = list(count.encoders(prefix))
    yield Operator(f"{prefix}_encode_add", "fp_add", sum_of(checker, operand, checker), component, lanes,
                   lanes * sum(parts * group for parts, group, _ in work))
    yield Operator(f"{prefix}_encode_rest", "fp_add", widest(checker, operand).name, component, lanes,
                   lanes * sum(parts * words for parts, _, words in work))


def _judge(machine: GemmMachine, component: str, prefix: str, compared: int, relative: bool,
           frequent: int) -> Iterator[Operator]:
    """What a comparison needs. Deviations are rare: none is counted in a fault-free head."""
    checker = machine.formats["checker"]
    yield Operator(f"{prefix}_residual", "fp_add", checker.name, component, 1, compared)
    if relative:
        yield Operator(f"{prefix}_larger", "fp_max", checker.name, component, 1, compared)
        yield Operator(f"{prefix}_limit", "fp_mul", product_of(checker, checker, checker), component, 1, compared)
    yield from _predicate(machine, component, prefix, compared, frequent)


def _predicate(machine: GemmMachine, component: str, prefix: str, compared: int, frequent: int) -> Iterator[Operator]:
    checker = machine.formats["checker"]
    yield Operator(f"{prefix}_judge", "fp_cmp", checker.name, component, 1, compared)
    if frequent:
        counter = f"uint{bits_for(frequent + 1)}"
        yield Operator(f"{prefix}_deviates", "fp_cmp", checker.name, component, 1, compared)
        yield Operator(f"{prefix}_count", "int_add", counter, component, 1, 0)
        yield Operator(f"{prefix}_too_frequent", "int_cmp", counter, component, 1, 0)


def _invariants(machine: GemmMachine, softmax: SoftmaxCheck, count: _Counts) -> Iterator[Operator]:
    """Each invariant has its comparators and subtractors in every lane, and takes the largest of what it finds."""
    score, exp, state, checker = (machine.formats[role] for role in ("score", "exp", "state", "checker"))
    lanes, keys, blocks = machine.lanes, count.lane_keys, count.lane_blocks
    for name, many, source, uses, subtractors in (("sum", 2, state, blocks, 2), ("max", 1, state, 2 * keys + blocks, 1),
                                                  ("mask", 1, exp, keys, 0), ("score", 1, score, keys, 1)):
        if name not in softmax.which:
            continue
        if subtractors:
            yield Operator(f"softmax_{name}_violation", "fp_add", widest(source, checker).name, SOFTMAX,
                           lanes * subtractors, uses * subtractors)
        yield Operator(f"softmax_{name}_worst", "fp_max", checker.name, SOFTMAX, lanes * many, uses * many)
    if "mask" in softmax.which or "max" in softmax.which:
        yield Operator("softmax_masked", "int_cmp", f"uint{machine.key_bits}", SOFTMAX,
                       lanes * (2 if machine.window else 1), keys * (2 if machine.window else 1))
    yield Operator("softmax_read_lane", "mux", checker.name, SOFTMAX, lanes - 1, count.compared)
    yield from _predicate(machine, SOFTMAX, "softmax", count.compared, softmax.frequent)


def _fused(machine: GemmMachine, count: _Counts) -> Iterator[Operator]:
    fused, lanes = machine.fused, machine.lanes
    state, output, checker = (machine.formats[role] for role in ("state", "output", "checker"))
    assert fused is not None
    yield from _encoder(machine, count, FUSED, "fused")
    yield Operator("fused_c_add", "fp_add", sum_of(checker, state, checker), FUSED, lanes, count.lane_words)
    yield Operator("fused_sum_add", "fp_add", sum_of(checker, output, checker), FUSED, lanes, count.lane_dims)
    if machine.reciprocal:
        yield Operator("c_times_reciprocal", "fp_mul", product_of(state, checker, checker), FUSED, lanes,
                       count.lane_blocks)
    else:
        yield Operator("c_by_l", "div", widest(state, checker).name, FUSED, lanes, count.lane_blocks)
    yield Operator("fused_read_lane", "mux", checker.name, FUSED, 2 * (lanes - 1), 2 * count.timing.n_queries)
    yield Operator("fused_total", "fp_add", checker.name, FUSED, 2, 2 * count.timing.n_queries)
    yield from _judge(machine, FUSED, "fused", count.fused_compared, fused.relative, fused.frequent)


def _checksums(machine: GemmMachine, check: GemmCheck, count: _Counts) -> Iterator[Operator]:
    cols, component, own = machine.cols, f"checker.{check.unit}", count.checksums(check)
    state, checker = machine.formats["state"], machine.formats["checker"]
    yield from _encoder(machine, count, component, check.prefix)
    add = sum_of(checker, state, checker)
    if check.rows:
        stages, name = cols + check.words, check.edge_name("row", "add")
        yield Operator(name, "fp_add", add, component, stages, stages * own.lines)
        yield from _judge(machine, component, name.removesuffix("_add"), own.lines, check.relative, check.frequent)
    if check.columns:
        name = check.edge_name("col", "add")
        yield Operator(name, "fp_add", add, component, cols, own.column_terms + own.column_words)
        yield Operator(check.edge_name("col", "read"), "mux", checker.name, component, 2 * (cols - 1), 2 * own.columns)
        yield from _judge(machine, component, name.removesuffix("_add"), own.columns, check.relative, check.frequent)
    if check.correct:
        yield Operator("fix_add", "fp_add", widest(state, checker).name, component, 1, 0)


def register_writes(machine: GemmMachine, timing: GemmTiming) -> dict[str, int]:
    """Elements of each register array that are clocked in one head."""
    count, inventory = _Counts(machine, timing), machine.inventory
    found = {register.name: register.size * count.product_cycles for register in machine.array.inventory}
    if machine.array.dataflow.loads:
        found["s"] = inventory["s"].size * machine.array.rows * count.folds
    else:
        found["s"] = count.macs
    keys, blocks, words = count.lane_keys, count.lane_blocks, count.lane_words
    found |= {"phase": len(timing.program), "part": sum(phase.parts for phase in timing.program),
              "step": timing.head_cycles, "scale": 0}
    found |= {"bound": blocks, "first": blocks, "seen": keys + blocks, "m": keys + blocks, "l": keys + 2 * blocks,
              "scaled": 2 * keys, "x_in": 2 * keys + count.lane_dims + words, "out": count.lane_dims, "recip": blocks}
    found |= dict.fromkeys(("allow", "ds", "p", "p_out"), keys)
    for prefix in ("fused", "gemm", "rowsum"):
        work = list(count.encoders(prefix))
        found[f"{prefix}_in"] = machine.lanes * sum(parts * group for parts, group, _ in work)
        found[f"{prefix}_acc"] = machine.lanes * sum(parts * (group + 1 + many) for parts, group, many in work)
        found[f"{prefix}_word"] = machine.lanes * sum(parts * many for parts, _, many in work)
    found |= {"fused_c": words + blocks, "fused_sum": count.lane_dims + blocks, "fused_term": blocks}
    found |= dict.fromkeys(("fused_pred", "fused_act"), timing.n_queries + count.fused_compared)
    found |= dict.fromkeys(("fused_residual", "fused_limit"), count.fused_compared)
    for check in machine.array_checks:
        own = count.checksums(check)
        for name, field in check.edge_fields.items():
            found[name] = inventory[name].size * own.edge_cycles
            if field in ("col_act", "col_pred"):
                found[name] = own.column_terms if field == "col_act" else own.column_words
        found |= dict.fromkeys(("fix_rows", "fix_cols"), own.folds) if check.correct else {}
        found |= dict.fromkeys(("fix_row", "fix_col", "fix_value"), 0) if check.correct else {}
        found |= _judge_writes(check.prefix, own.lines + own.columns)
    # As its block is loaded, in both passes over the keys (scores two stages before weights), and as the sum leaves.
    found |= {"softmax_excess": 2 * keys + 4 * blocks, "softmax_m": keys + blocks, "softmax_bound": 0}
    found |= dict.fromkeys(("softmax_residual", "softmax_limit"), count.lane_blocks)
    found |= _judge_writes("fused", count.fused_compared) | _judge_writes("softmax", count.compared)
    return {register.name: found[register.name] for register in inventory}


def _judge_writes(prefix: str, compared: int) -> dict[str, int]:
    """Configuration is not clocked; an alarm and a count of deviations are with every comparison."""
    found = dict.fromkeys((f"{prefix}_{name}" for name in JUDGE), 0)
    return found | dict.fromkeys((f"{prefix}_alarm", f"{prefix}_deviations"), compared)


def _sram(machine: GemmMachine, timing: GemmTiming) -> dict[str, int]:
    """Elements read from and written to each memory: operands as the array reads them, checksum words with them; sums
    of a product with those read back; what encoders and the vector unit read and write."""
    qk = timing.products["qk"].folding.traffic
    if machine.plain:
        found = {"q": qk.a_reads, "k": qk.b_reads, "o": qk.sum_reads + qk.sum_writes}
    else:
        found = _attention_sram(machine, timing)
    for phase in timing.program:
        if phase.name.startswith("encode_"):
            tensor = encoded_tensor(phase.name, machine.flow)
            group, words, k = encoder_work(machine, timing, phase.name)
            groups = phase.parts // -(-k // machine.lanes)
            found[tensor] += groups * k * (group + words)
    return found


def _attention_sram(machine: GemmMachine, timing: GemmTiming) -> dict[str, int]:
    """Those of both products and of the vector unit."""
    qk, pv = (timing.products[name].folding.traffic for name in ("qk", "pv"))
    n_queries, n_keys, d = timing.n_queries, timing.n_keys, machine.head_dim
    return {
        "q": qk.a_reads, "k": qk.b_reads, "v": pv.b_reads, "s": qk.sum_reads + qk.sum_writes + 2 * n_queries * n_keys,
        "p": pv.a_reads + n_queries * n_keys, "l": 2 * n_queries,
        "u": pv.sum_reads + pv.sum_writes + n_queries * (d + machine.fused_words), "o": n_queries * d,
    }


def encoded_tensor(phase: str, flow: str) -> str:
    """The tensor that an encoder phase reads."""
    from accel_sim.machines.gemm_timing import encoded

    return "v" if phase == "encode_v" else encoded(phase, flow)


def _of_integers(operator: Operator) -> Operator:
    """An operator as it is built where its format is one of integers: multiplication is that of the operands, sums and
    comparisons have the width of the result."""
    names = re.split(r"[*+]|->", operator.format)
    if operator.unit not in INTEGER_UNITS or names[-1] not in INTEGERS:
        return operator
    unit = INTEGER_UNITS[operator.unit]
    return replace(operator, unit=unit, format="*".join(names[:2]) if unit == "int_mul" else names[-1])


def gemm_activity(machine: GemmMachine, timing: GemmTiming) -> Activity:
    """Everything that one head makes the machine do."""
    formats = machine.formats
    role = {**dict.fromkeys("qkvp", "operand"), "s": "score", "l": "state", "u": "state", "o": "output"}
    elements = _sram(machine, timing)
    return Activity(
        cycles=timing.head_cycles,
        operators=tuple(_of_integers(operator) for operator in _operators(machine, timing) if operator.instances),
        register_writes=register_writes(machine, timing),
        sram_elements=elements,
        sram_formats={tensor: formats[name] for tensor, name in role.items() if tensor in elements},
    )
