"""Every arithmetic unit of the RTL gives the bits of `accel_sim.numerics`: all formats, mixed ones, keep and flush."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from accel_sim.numerics import FORMATS
from accel_sim.rtl.units import MODULES, Unit, UnitBench, unit_sources
from accel_sim.rtl.verilate import Tools, lint

from .golden import check, expected, operands
from .yosys import synthesise

COUNT = 100_000  # operands of a unit, where not all of them are tried

SAME = tuple(FORMATS)
# Operands and result as machines mix them: products into a wider format, wider state, narrower outputs.
MIXED = (
    ("bf16", "bf16", "fp32"), ("fp16", "bf16", "fp32"), ("fp8_e4m3", "fp8_e5m2", "bf16"), ("fp32", "bf16", "fp16"),
    ("fp32", "fp32", "bf16"), ("fp32", "fp16", "fp8_e4m3"), ("fp16", "fp32", "fp32"), ("bf16", "fp8_e4m3", "fp8_e5m2"),
    ("fp8_e4m3", "fp8_e4m3", "fp32"), ("bf16", "fp32", "fp64"), ("fp64", "fp32", "fp64"),
)  # fmt: skip


def _flushes(*arguments: str, **more: int) -> list[Unit]:
    return [Unit(*arguments, flush=flush, **more) for flush in (False, True)]


UNITS: list[Unit] = []
for module in ("fp_mul", "fp_add", "fp_div"):
    for fmt in SAME:
        UNITS += _flushes(module, fmt)
    for mix in MIXED[:4] if module == "fp_div" else MIXED:
        UNITS += _flushes(module, *mix)
for fmt in SAME:
    UNITS += _flushes("fp_max", fmt)
    UNITS.append(Unit("fp_abs_le", fmt))
for fmt in ("fp32", "fp16", "bf16", "fp8_e4m3"):
    UNITS += _flushes("fp_mul", fmt, fmt, "product")
UNITS += [*_flushes("fp_sub", "fp32"), *_flushes("fp_sub", "fp32", "bf16", "fp16")]
for source in SAME:
    for target in SAME:
        UNITS += [Unit("fp_cvt", source, "", target)] if "fp64" in (source, target) else _flushes("fp_cvt", source, "", target)
for source, target in (("fp32", "fp32"), ("bf16", "bf16"), ("fp16", "fp32"), ("fp32", "fp8_e4m3"),
                       ("fp8_e5m2", "fp16"), ("fp8_e4m3", "fp8_e5m2"), ("fp64", "fp64")):  # fmt: skip
    for pieces in (2, 8, 64) if source == target == "fp32" else (8,):
        UNITS += _flushes("fp_exp_pwl", source, "", target, pieces=pieces)
        UNITS += _flushes("fp_recip_pwl", source, "", target, pieces=pieces)
for source, target, terms in (("bf16", "fp32", 4), ("fp16", "fp16", 3), ("fp8_e4m3", "bf16", 8), ("fp8_e5m2", "fp32", 1),
                              ("fp32", "fp64", 2)):  # fmt: skip
    UNITS += _flushes("fp_dot_exact", source, "", target, terms=terms)

# What a machine of bf16 operands and fp32 state is made of: held against many more operands.
LONG = [
    unit for unit in UNITS
    if (unit.module in ("fp_mul", "fp_add", "fp_div", "fp_dot_exact") and {unit.a, unit.b, unit.y} <= {"bf16", "fp32", ""})
    or (unit.module in ("fp_exp_pwl", "fp_recip_pwl") and unit.a == unit.y == "fp32" and unit.pieces == 8)
]  # fmt: skip

NETLIST = [
    *_flushes("fp_mul", "bf16", "bf16", "fp32"), *_flushes("fp_add", "bf16"), *_flushes("fp_add", "fp32", "bf16", "fp16"),
    Unit("fp_sub", "fp8_e4m3"), *_flushes("fp_div", "bf16"), Unit("fp_max", "fp16", flush=True), Unit("fp_abs_le", "bf16"),
    *_flushes("fp_cvt", "fp32", "", "fp8_e4m3"), Unit("fp_exp_pwl", "bf16", pieces=8),
    Unit("fp_recip_pwl", "fp16", "", "bf16", pieces=4), Unit("fp_dot_exact", "fp8_e4m3", "", "bf16", terms=3),
]  # fmt: skip


@cache
def bench() -> UnitBench:
    return UnitBench(UNITS)


@pytest.mark.parametrize("module", MODULES)
def test_a_unit_gives_the_bits_of_the_simulator(module: str, tools: Tools) -> None:
    for seed, unit in enumerate(UNITS):
        if unit.module == module:
            check(bench(), unit, COUNT, seed)


@pytest.mark.slow
@pytest.mark.parametrize("unit", LONG, ids=str)
def test_a_million_operands(unit: Unit, tools: Tools) -> None:
    """experiments/validation.py tries ten times as many."""
    check(bench(), unit, 1_000_000, seed=1000)


def test_every_unit_is_on_the_bench_with_both_subnormals() -> None:
    assert {unit.module for unit in UNITS} == set(MODULES)
    assert {unit.module for unit in UNITS if unit.flush} == set(MODULES) - {"fp_abs_le"}  # which reads them as they are


def test_operands_reach_every_kind_of_result() -> None:
    """Or the comparisons above would hold for less than they say: each kind is one result in 500 or more."""
    for module in ("fp_mul", "fp_add", "fp_div"):
        for name in ("fp32", "bf16", "fp16"):
            unit = Unit(module, name)
            fmt = FORMATS[name]
            size = np.abs(fmt.decode(expected(unit, *operands(unit, COUNT))))
            kinds = {"nan": np.isnan(size), "inf": np.isinf(size), "subnormal": (size > 0) & (size < fmt.min_normal),
                     "zero": size == 0, "normal": (size >= fmt.min_normal) & (size <= fmt.max_finite)}  # fmt: skip
            assert {kind for kind, there in kinds.items() if there.mean() < 0.002} <= {"nan"}, (unit, kinds)
            assert kinds["nan"].any()


def test_lint_finds_nothing(tools: Tools) -> None:
    chosen = {(unit.module, unit.a, unit.flush): unit for unit in UNITS}
    for unit in chosen.values():
        assert lint(unit_sources(), unit.module, unit.parameters()) == "", unit


@pytest.mark.slow
def test_the_synthesised_netlist_gives_the_same_bits(tools: Tools, tmp_path) -> None:
    """What Yosys makes of the sources is what Verilator makes of them, down to gates."""
    gates = UnitBench(NETLIST, netlist=synthesise(NETLIST, tmp_path))
    for seed, unit in enumerate(NETLIST):
        check(gates, unit, 20_000, seed)


def test_a_bench_refuses_operands_that_do_not_fit(tools: Tools) -> None:
    unit = Unit("fp_add", "fp32")
    two = np.zeros(2, dtype=np.uint64)
    with pytest.raises(ValueError, match="fp_add: operands of shape"):
        bench().run(unit, two)
    with pytest.raises(ValueError, match="fp_add: operands of shape"):
        bench().run(unit, two, np.zeros(3, dtype=np.uint64))
    with pytest.raises(KeyError, match="no such unit"):
        bench().run(Unit("fp_add", "fp32", "fp16"), two, two)
    with pytest.raises(ValueError, match="'fp_sqrt' is not one of fp_mul"):
        Unit("fp_sqrt", "fp32")
