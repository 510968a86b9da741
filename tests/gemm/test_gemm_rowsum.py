"""The row sums of the scores on the gemm machine: checksums of product 1 over keys, the gemm unit's own hardware."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.config import ConfigError, load_config
from accel_sim.engines.result import Comparison
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from gemm.compare import differences
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with, rowsum_unit

SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}
LIMITS = {"gemm": 0.05, "score_rowsum": 0.05}
FLOWS = ("os", "ws", "is")


def as_unit(comparisons: tuple[Comparison, ...], unit: str) -> list[Comparison]:
    return [replace(c, unit=unit) for c in comparisons]


@pytest.mark.parametrize("flow", FLOWS)
def test_it_is_the_gemm_unit_on_the_sums_over_keys(flow: str) -> None:
    """With `is`, queries are the columns of the array, so that sums over keys are those of its columns."""
    side = "columns" if flow == "is" else "rows"
    own = machine_with((rowsum_unit(),), dataflow=flow)
    same = machine_with((gemm_unit(("qk",), side),), dataflow=flow)
    job = job_for(own, 7, 9, np.random.default_rng(0), LIMITS)
    have, want = golden(own, job), golden(same, job)
    assert as_unit(have.comparisons, "gemm") == list(want.comparisons) and have.comparisons
    assert (have.cycles, have.alarm_cycle) == (want.cycles, want.alarm_cycle)
    assert np.array_equal(have.output, want.output)
    shapes = [(r.shape, r.format, r.role) for r in same.inventory]
    assert [(r.shape, r.format, r.role) for r in own.inventory] == shapes
    renamed = [r for r in own.inventory if r.component.startswith("checker")]
    assert renamed and all(r.name.startswith("rowsum_") and r.component == "checker.score_rowsum" for r in renamed)
    timing = own.timing(7, 9)
    use = {(o.unit, o.format, o.instances, o.uses) for o in own.activity(timing).operators}
    assert use == {(o.unit, o.format, o.instances, o.uses) for o in same.activity(timing).operators}
    assert list(own.activity(timing).register_writes.values()) == list(same.activity(timing).register_writes.values())


@pytest.mark.parametrize("flow", FLOWS)
def test_the_sums_are_those_of_the_scores_of_a_query(flow: str) -> None:
    machine = machine_with((rowsum_unit(3),), dataflow=flow, rows=4, cols=4, head_dim=6)
    job = job_for(machine, 5, 10, np.random.default_rng(2), LIMITS, causal=True)
    groups = [slice(0, 10)] if flow == "is" else [slice(0, 4), slice(4, 8), slice(8, 10)]
    scores = job.q @ job.k.T
    exact = sorted(float(scores[i, keys].sum()) for i in range(5) for keys in groups)
    found = sorted(c.actual for c in golden(machine, job).comparisons)
    assert np.allclose(found, exact, atol=1e-4) and len(found) == len(exact)
    assert np.allclose(sorted(c.predicted for c in golden(machine, job).comparisons), exact, atol=1e-4)


@pytest.mark.parametrize("flow", FLOWS)
def test_it_sees_a_wrong_score_and_no_wrong_output(flow: str) -> None:
    machine = machine_with((rowsum_unit(),), rows=4, cols=4, head_dim=8, vector_lanes=4, dataflow=flow)
    engine = SteppedGemm(machine, job_for(machine, 8, 12, np.random.default_rng(11), LIMITS))
    for product, seen in (("qk", True), ("pv", False)):
        phase, folding = engine.timing.by_name[product], engine.timing.products[product].folding
        at = phase.start + (folding.folds - 1) * folding.fold_cycles + folding.fill + 5
        result = engine.run([Fault(at, "s" if flow == "os" else "y", (0, 1), bit=30)])
        assert not np.array_equal(result.output, engine.golden().output)
        assert (result.alarm_cycle is not None) == seen


def test_what_the_gemm_unit_sums_already_is_refused() -> None:
    for flow, sides in (("ws", "rows"), ("os", "both"), ("is", "columns"), ("is", "both")):
        units = ["score_rowsum", {"kind": "gemm", "products": ["qk"], "sides": sides}]
        with pytest.raises(ConfigError, match=r"checker\.units\.0.*leave one of them out"):
            load_config("tiny-gemm").changed({"architecture.dataflow": flow, "checker.units": units})
    beside = ["score_rowsum", {"kind": "gemm", "products": ["qk"], "sides": "columns"}]
    assert len(load_config("tiny-gemm").changed({"checker.units": beside}).checker.units) == 2


OTHERS = [gemm_unit(("pv",), "rows", columns=1), gemm_unit(("pv",), "both", True, 3),
          gemm_unit(("qk", "pv"), "columns", columns=1), gemm_unit(("qk",), "columns")]


@pytest.mark.parametrize("other", OTHERS, ids=["pv rows", "pv both corrected", "columns", "qk columns"])
@pytest.mark.parametrize("flow", FLOWS)
def test_beside_a_gemm_unit_each_keeps_its_own_comparisons(flow: str, other: object) -> None:
    if flow == "is":  # where the sums over keys are those of columns
        other = gemm_unit(other.products, {"columns": "rows"}.get(other.sides, other.sides), other.correct, other.columns)
    for units in ((rowsum_unit(2), other), (other, rowsum_unit(2))):
        machine = machine_with(units, dataflow=flow)
        job = job_for(machine, 7, 9, np.random.default_rng(0), LIMITS)
        whole = golden(machine, job)
        assert whole.same_as(SteppedGemm(machine, job).run())
        for unit in units:
            alone = golden(machine_with((unit,), dataflow=flow), job)
            mine = [(c.residual, c.limit, c.predicted, c.actual) for c in whole.comparisons if c.unit == unit.kind]
            assert mine == [(c.residual, c.limit, c.predicted, c.actual) for c in alone.comparisons] and mine
        order = [unit.kind for unit in units]
        keys = [(c.cycle, order.index(c.unit)) for c in whole.comparisons]
        assert keys == sorted(keys)
        rng, cycles = np.random.default_rng(7), whole.cycles
        own = [r for r in machine.inventory if r.component.startswith("checker")]
        faults = []
        for _ in range(90):
            register = own[rng.integers(len(own))] if rng.random() < 0.6 else machine.inventory["y" if flow != "os" else "s"]
            faults.append(Fault(int(rng.integers(cycles)), register.name,
                                tuple(int(rng.integers(n)) for n in register.shape), int(rng.integers(register.width_bits))))
        found, back = differences(machine, job, faults)
        assert not found, found[:5]
        assert back < 12


@pytest.mark.parametrize("flow", FLOWS)
def test_every_bit_of_its_registers(flow: str) -> None:
    machine = machine_with((rowsum_unit(1), fused_unit(columns=1)), rows=2, cols=2, head_dim=2, vector_lanes=2,
                           dataflow=flow, formats=SMALL, max_keys=4, max_queries=4)
    job = job_for(machine, 3, 3, np.random.default_rng(1), {"score_rowsum": 0.5, "fused_output": 0.5})
    end = machine.timing(3, 3).by_name["softmax"].start + 5
    own = [r for r in machine.inventory if r.component == "checker.score_rowsum"]
    faults = [Fault(cycle, r.name, index, bit) for r in own for index in np.ndindex(r.shape)
              for bit in range(r.width_bits) for cycle in range((bit + sum(index)) % 7, end, 7)]
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back < len(faults) // 20
