"""Plain products on the gemm machine: cycles, bits, faults, and the product as float64 has it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from accel_sim.config import ConfigError, load_config
from accel_sim.engines.job import make_job
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.folds import Folding, closed_formula
from accel_sim.machines.gemm_registers import SEQUENCER
from accel_sim.machines.gemm_timing import DRAIN, encode_steps
from accel_sim.machines.program import check_program
from gemm.compare import differences
from gemm.draw import gemm_unit, random_fault
from gemm.draw_plain import INTEGERS, plain_job, plain_machine, random_plain

FLOWS = ("os", "ws", "is")
SMALL = {"operand": "fp8_e5m2", "score": "bf16", "exp": "bf16", "state": "bf16", "output": "bf16", "checker": "bf16"}


def test_a_product_takes_the_cycles_of_the_closed_formula() -> None:
    rng = np.random.default_rng(0)
    for _ in range(400):
        m, n, k, rows, cols = (int(x) for x in rng.integers(1, (300, 300, 300, 40, 40)))
        flow = FLOWS[rng.integers(3)]
        machine = plain_machine(k, rows=rows, cols=cols, dataflow=flow, max_keys=300, max_queries=300)
        timing = machine.timing(m, n)
        assert timing.head_cycles == closed_formula(Folding(m, n, k, rows, cols, flow))
        assert timing.head_cycles == sum(cycles for *_, cycles in timing.spans())
        assert machine.utilisation(timing, timing.head_cycles) == m * n * k / (rows * cols * timing.head_cycles) <= 1


@pytest.mark.parametrize("flow", FLOWS)
def test_checksums_add_encoders_longer_folds_and_a_drain(flow: str) -> None:
    m, n, k, rows, cols, words, lanes = 10, 11, 7, 3, 4, 2, 3
    machine = plain_machine(k, (gemm_unit(sides="both", columns=words),), rows=rows, cols=cols, dataflow=flow)
    timing = machine.timing(m, n)
    p, q = (n, m) if flow == "is" else (m, n)
    groups_q, k_blocks = -(-q // cols), -(-k // lanes)
    groups_p, group = (-(-p // rows), rows) if flow == "os" else (1, p)
    assert {name: phase.cycles for name, phase in timing.by_name.items()} == {
        "encode_qk_rows": groups_q * k_blocks * encode_steps(cols, words),
        "encode_qk_columns": groups_p * k_blocks * encode_steps(group, words),
        # Words of rows make the array wider; those of columns higher, or the stream longer.
        "qk": (groups_p * groups_q * (k + (rows + words) + (cols + words) - 2) if flow == "os" else
               -(-k // rows) * groups_q * (p + words + 2 * rows + (cols + words) - 2)),
        "qk_drain": DRAIN}
    assert [phase for phase, *_ in timing.spans()] == list(machine.phases)
    said = machine.formula.removeprefix("encode + ").removesuffix(" + drain, see docs/machines/gemm.md")
    said = said.replace("ceil", "math.ceil").replace(") ", ") * ")
    assert eval(said, {"math": math, "M": m, "N": n, "K": k}) == timing.by_name["qk"].cycles


@pytest.mark.parametrize("seed", range(60))
def test_every_engine_gives_the_same_bits_and_the_cycles_of_the_formula(seed: int) -> None:
    machine, job = random_plain(seed)
    engine = SteppedGemm(machine, job)
    whole = engine.run()
    assert whole.output.shape == (job.q.shape[0], job.k.shape[0])
    assert whole.same_as(golden(machine, job)) and whole.same_as(engine.golden())
    assert whole.cycles == machine.timing(*job.shape[:2]).head_cycles


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("sums, unit", [("fp64", 2.0**-53), ("fp32", 2.0**-24), ("fp16", 2.0**-11), ("bf16", 2.0**-8)])
def test_the_output_is_the_product_but_for_the_rounding_of_its_sums(flow: str, sums: str, unit: float) -> None:
    operand = "bf16" if sums in ("bf16", "fp64") else "fp16"
    checker = "fp64" if sums == "fp64" else "fp32"
    formats = {"operand": operand, "score": sums, "state": sums, "exp": sums, "output": sums, "checker": checker}
    machine = plain_machine(24, rows=8, cols=8, dataflow=flow, formats=formats)
    job = plain_job(machine, 20, 30, np.random.default_rng(1))
    exact, size = job.q @ job.k.T, np.abs(job.q) @ np.abs(job.k).T
    # K products and K additions, each off by up to u of what has been added up: (1 + u)^2K of Σ|a||b|, subnormals aside.
    assert (np.abs(golden(machine, job).output - exact) <= ((1 + unit) ** 48 - 1) * size + 24 * 2.0**-24 * unit).all()


def test_whole_numbers_come_out_exactly() -> None:
    for flow in FLOWS:
        machine = plain_machine(6, (gemm_unit(sides="both", correct=True),), dataflow=flow)
        rng = np.random.default_rng(2)
        a, b = rng.integers(-9, 10, (7, 6)).astype(float), rng.integers(-9, 10, (9, 6)).astype(float)
        result = SteppedGemm(machine, make_job(machine, a, b, np.zeros((9, 0))).with_limits({"gemm": 0.5})).run()
        assert np.array_equal(result.output, a @ b.T) and result.alarm_cycle is None
        assert result.comparisons and all(c.residual == 0.0 for c in result.comparisons)


@pytest.mark.parametrize("formats, limit", [(SMALL, 0.5), (INTEGERS, 0.0)], ids=["floats", "integers"])
@pytest.mark.parametrize("unit", [(), (gemm_unit(),), (gemm_unit(sides="both", correct=True),)])
@pytest.mark.parametrize("flow", FLOWS)
def test_every_bit_of_every_register_by_replay(flow: str, unit: tuple, formats: dict, limit: float) -> None:
    machine = plain_machine(3, unit, rows=2, cols=2, vector_lanes=2, dataflow=flow, formats=formats, max_keys=4,
                            max_queries=4)
    job = plain_job(machine, 3, 3, np.random.default_rng(1), limit)
    cycles = machine.timing(3, 3).head_cycles
    faults = [Fault(cycle, register.name, index, bit) for register in machine.inventory
              for index in np.ndindex(register.shape) for bit in range(register.width_bits)
              for cycle in range((bit + 3 * sum(index)) % 17, cycles, 17)]  # every cycle for a share of the bits
    found, back = differences(machine, job, faults)
    assert not found, found[:5]
    assert back < len(faults) // 6


@pytest.mark.parametrize("seed", range(300, 330))
def test_replay_on_random_machines(seed: int) -> None:
    machine, job = random_plain(seed)
    rng, cycles = np.random.default_rng(seed), machine.timing(*job.shape[:2]).head_cycles
    found, _ = differences(machine, job, [random_fault(rng, machine, cycles, long=seed % 2 == 0) for _ in range(80)])
    assert not found, found[:5]


@pytest.mark.parametrize("seed", range(12))
def test_an_injection_is_the_whole_run_under_that_fault(seed: int) -> None:
    machine, job = random_plain(seed)
    engine, rng = SteppedGemm(machine, job), np.random.default_rng(seed)
    for _ in range(12):
        fault = random_fault(rng, machine, engine.golden().cycles + 3)
        assert engine.inject(fault).result.same_as(engine.run([fault])), fault


@pytest.mark.parametrize("flow", FLOWS)
def test_a_wrong_sum_is_found_and_put_right(flow: str) -> None:
    machine = plain_machine(5, (gemm_unit(sides="both", correct=True),), dataflow=flow)
    job = plain_job(machine, 6, 8, np.random.default_rng(3), 0.01)
    plain = plain_job(plain_machine(5, dataflow=flow), 6, 8, np.random.default_rng(3))
    engine, phase = SteppedGemm(machine, job), machine.timing(6, 8).by_name["qk"]
    register = "s" if flow == "os" else "y"  # where the sums are: they stay, or move down
    assert np.array_equal(plain.q, job.q)
    put_right = 0
    for cycle in range(phase.start, phase.end):
        result = engine.inject(Fault(cycle, register, (1, 2), 29)).result
        wrong = np.abs(result.output - engine.golden().output)
        if result.alarm_cycle is not None and (wrong <= 1e-5).all():
            put_right += 1
    assert put_right >= 5


@pytest.mark.parametrize("flow", FLOWS)
def test_integer_products_and_their_checksums_are_exact(flow: str) -> None:
    rng = np.random.default_rng(5)
    machine = plain_machine(9, (gemm_unit(sides="both", correct=True),), rows=5, cols=6, dataflow=flow,
                            formats=INTEGERS)
    a, b = rng.integers(-128, 128, (11, 9)).astype(float), rng.integers(-128, 128, (13, 9)).astype(float)
    a[0], b[:6] = -128, -128  # sums as far from zero as they get
    engine = SteppedGemm(machine, make_job(machine, a, b, np.zeros((13, 0))).with_limits({"gemm": 0.0}))
    clean, phase = engine.golden(), machine.timing(11, 13).by_name["qk"]
    assert np.array_equal(clean.output, a @ b.T)
    assert len(clean.comparisons) > 20 and all(c.residual == 0.0 for c in clean.comparisons)
    register = "s" if flow == "os" else "y"
    wrong = 0
    for cycle in range(phase.start, phase.end, 3):  # one wrong sum is never missed, and always put right
        for bit in (0, 7, 30, 31):
            result = engine.inject(Fault(cycle, register, (1, 2), bit)).result
            wrong += result.alarm_cycle is not None
            assert np.array_equal(result.output, clean.output)
    assert wrong >= 20


def test_integer_sums_wrap_around() -> None:
    machine = plain_machine(2, formats=INTEGERS, dataflow="ws")
    a, b = np.array([[127.0, 1.0]]), np.array([[127.0, 1.0]])
    engine = SteppedGemm(machine, make_job(machine, a, b, np.zeros((1, 0))))
    assert engine.golden().output == 127 * 127 + 1
    phase, found = machine.timing(1, 1).by_name["qk"], set()
    for cycle in range(phase.start, phase.end):
        found.add(float(engine.inject(Fault(cycle, "y", (0, 0), 31)).result.output[0, 0]))
    assert found == {127 * 127 + 1, 127 * 127 + 1 - 2.0**31}  # bit 31 is the sign


def test_a_plain_machine_has_no_vector_unit() -> None:
    machine = plain_machine(5, (gemm_unit(),))
    own = {*SEQUENCER, *(register.name for register in machine.array.inventory)}
    assert {register.name for register in machine.inventory if register.component != "checker.gemm"} == own
    activity = machine.activity(machine.timing(6, 7))
    assert {operator.component for operator in activity.operators} == {"control", "array", "checker.gemm"}
    assert set(activity.sram_elements) == set(activity.sram_formats) == {"q", "k", "o"}
    assert set(activity.register_writes) == {register.name for register in machine.inventory}
    assert machine.formats["output"] == machine.formats["score"] and "exp" not in machine.formats
    folding = Folding(6, 7, 5, 3, 4, "ws")
    bare = plain_machine(5)
    work = {operator.name: operator.uses for operator in bare.activity(bare.timing(6, 7)).operators}
    assert work["pe_multiply"] == work["pe_add"] == folding.macs == 6 * 7 * 5


@pytest.mark.parametrize("seed", range(20))
def test_tiles_are_the_three_matrices_once_each(seed: int) -> None:
    machine, job = random_plain(seed)
    m, n, k = job.shape
    timing = machine.timing(m, n)
    check_program(timing.steps)
    tiles = {tile.name: tile for step in timing.steps for tile in (*step.reads, *step.writes)}
    for tensor, elements in (("q", m * k), ("k", n * k), ("o", m * n)):
        assert sum(tile.elements for tile in tiles.values() if tile.tensor == tensor) == elements
    widths = {role: fmt.width_bits // 8 for role, fmt in machine.formats.items()}
    assert machine.streamed_bytes(timing) == {
        "q": m * k * widths["operand"], "k": n * k * widths["operand"], "o": m * n * widths["output"]}


def test_what_has_no_place_in_a_product_is_refused() -> None:
    product = load_config("mlp-up")
    for unit in ("fused_output", "score_rowsum", "softmax_invariants", "invariants"):
        with pytest.raises(ConfigError, match=f"{unit} watches the output of attention"):
            product.changed({"checker.units": [unit]})
    with pytest.raises(ConfigError, match="there is no pv"):
        product.changed({"checker.units": [{"kind": "gemm", "products": ["pv"]}]})
    machine = plain_machine(4)
    with pytest.raises(ValueError, match="do not fit"):
        make_job(machine, np.zeros((2, 4)), np.zeros((3, 4)), np.zeros((3, 4)))
    with pytest.raises(ConfigError):
        SteppedGemm(machine, plain_job(machine, 2, 2, np.random.default_rng(0))).run([Fault(0, "m", (0,))])
