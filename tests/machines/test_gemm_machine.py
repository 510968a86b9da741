"""The gemm machine: its time, its layout, its registers, what it holds when, and what it uses."""

from __future__ import annotations

import numpy as np
import pytest
from gemm.draw import fused_unit, gemm_unit, job_for, machine_with, random_case

from accel_sim.config import ConfigError, load_config
from accel_sim.config.gemm import GemmArchitecture
from accel_sim.faults.fault import Fault
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.folds import Folding, closed_formula
from accel_sim.machines.program import check_program


def up(a: int, b: int) -> int:
    return -(-a // b)


@pytest.mark.parametrize("seed", range(60))
def test_cycles_are_the_closed_formulas_and_the_documented_passes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    r, c, d, w, nq, n = (int(x) for x in rng.integers(1, 40, 6))
    flow, pwl, fused = ("os", "ws", "is")[seed % 3], bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    s = int(rng.integers(1, 4)) if seed % 2 else 0
    units = ((gemm_unit(sides="rows", columns=s),) if s else ()) + ((fused_unit(columns=1),) if fused else ())
    machine = machine_with(units, rows=r, cols=c, head_dim=d, vector_lanes=w, dataflow=flow,
                           divide="reciprocal_pwl" if pwl else "exact")
    timing = machine.timing(nq, n)
    phases = {phase.name: phase.cycles for phase in timing.program}
    width = d + int(fused)
    # A checked array is s columns wider, and its groups are filled up: whole folds of C + s columns.
    columns = {"qk": nq if flow == "is" else n, "pv": nq if flow == "is" else width}
    for name, k in (("qk", d), ("pv", n)):
        q = up(columns[name], c) * (c + s) if s else columns[name]
        size = (q, n if name == "qk" else width) if flow == "is" else (nq, q)
        assert phases[name] == closed_formula(Folding(size[0], size[1], k, r, c + s, flow))
        if s:
            assert phases[f"{name}_drain"] == 3
            assert phases[f"encode_{name}_rows"] == up(columns[name], c) * up(k, w) * (c + 1 + 2 * s)
    assert phases["softmax"] == up(nq, w) * (2 * n + 8)
    lead = 2 if pwl else 1
    assert phases["divide"] == up(nq, w) * (lead + d + 2 + (1 + w + 2 if fused else 0))
    assert phases.get("encode_v", 0) == (up(n, w) * (d + 3) if fused else 0)
    assert timing.head_cycles == sum(phases.values()) == sum(cycles for *_, cycles in timing.spans())
    check_program(timing.steps)
    starts = [phase.start for phase in timing.program]
    assert starts == list(np.cumsum([0, *phases.values()])[:-1])


def test_every_tile_that_leaves_the_machine_is_written_once() -> None:
    for seed in range(30):
        machine, job = random_case(seed)
        timing = machine.timing(*job.shape[:2])
        for tensor, width in (("o", machine.head_dim), ("s", job.shape[1]), ("u", machine.head_dim + machine.fused_words)):
            tiles = [tile for step in timing.steps for tile in step.writes if tile.tensor == tensor]
            assert sum(tile.rows for tile in tiles) == job.shape[0], (seed, tensor)
            assert {tile.cols for tile in tiles} == {width}


def test_checksums_stand_between_the_data_and_nothing_is_lost() -> None:
    for seed in range(60):
        machine, job = random_case(seed)
        for product in machine.timing(*job.shape[:2]).products.values():
            checks = {product.q_check(g, i) for g in range(product.q_groups) for i in range(product.row_sums)}
            assert not checks & set(product.q_places) and max(product.q_places) < product.q_total
            assert not checks or max(checks) == product.q_total - 1
            lines = {product.p_check(g, i) for g in range(product.p_groups) for i in range(product.p_extra)}
            assert not lines & set(product.p_places)
            assert max([*lines, *product.p_places]) == product.p_total - 1
            folding = product.folding
            assert folding.col_folds == product.q_groups or not product.row_sums
            fold = folding.fold(product.completing_fold(product.p_groups - 1, product.q_groups - 1))
            assert fold.number == folding.folds - 1


def test_what_is_dead_can_change_nothing() -> None:
    """Every register, every other cycle: a word turned over where the schedule says nothing reads it leaves the run as it is."""
    machine = machine_with((gemm_unit(("pv",), "both", columns=1), fused_unit(columns=1)), rows=2, cols=2, head_dim=2,
                           vector_lanes=2, dataflow="ws", max_keys=4, max_queries=4)
    engine = SteppedGemm(machine, job_for(machine, 3, 2, np.random.default_rng(1), {"gemm": 0.5, "fused_output": 0.5}))
    golden, dead, alive = engine.golden(), 0, 0
    for register in machine.inventory:
        for index in np.ndindex(register.shape):
            for cycle in range(sum(index) % 2, golden.cycles, 2):
                fault = Fault(cycle, register.name, index, 0, "burst", register.width_bits)
                if engine.live(fault):
                    alive += 1
                    continue
                dead += 1
                result = engine.inject(fault).result
                assert result.same_as(golden), fault
    assert dead > 2500 and alive > 750


def test_what_is_live_can_change_something() -> None:
    """In the vector unit, where liveness is exact: some bit of every live word does."""
    machine = machine_with(rows=2, cols=2, head_dim=2, vector_lanes=2, dataflow="os", max_keys=4, max_queries=4)
    engine = SteppedGemm(machine, job_for(machine, 2, 3, np.random.default_rng(1)))
    golden = engine.golden()
    for name in ("scaled", "ds", "p", "p_out", "l", "out"):
        register = machine.inventory[name]
        for cycle in range(golden.cycles):
            faults = [Fault(cycle, name, (1,), bit) for bit in range(register.width_bits)]
            if engine.live(faults[0]) and not (name == "scaled" and cycle < engine.timing.by_name["softmax"].start + 6):
                changed = [not engine.inject(fault).result.same_as(golden) for fault in faults]
                assert any(changed), (name, cycle)


def test_occupants_name_what_they_hold() -> None:
    machine = machine_with((gemm_unit(),), rows=4, cols=4, head_dim=8, vector_lanes=4)
    timing = machine.timing(10, 12)
    softmax = timing.by_name["softmax"].start
    inventory = machine.inventory
    held = machine.occupant(timing, inventory["p"], (1,), softmax + (12 + 3) + 4 + 5)
    assert held is not None and (held.query, held.key) == (1, 5)
    assert machine.occupant(timing, inventory["p"], (1,), softmax + 2) is None
    last = machine.occupant(timing, inventory["l"], (3,), softmax + 2 * timing.by_name["softmax"].steps + 9)
    assert last is None  # queries 8 and 9 are in lanes 0 and 1 of block 2
    qk = timing.by_name["qk"].start
    weight = machine.occupant(timing, inventory["s"], (2, 1), qk + machine.rows)
    assert weight is not None and (weight.key, weight.dim) == (1, 2)
    checksum = machine.occupant(timing, inventory["s"], (2, 4), qk + machine.rows)
    assert checksum is not None and checksum.key is None and checksum.dim == 2


def test_registers_belong_to_the_unit_that_has_them() -> None:
    bare = machine_with().inventory
    checked = machine_with((gemm_unit(sides="both", correct=True), fused_unit())).inventory
    assert not [r for r in bare if r.component.startswith("checker")]
    by_prefix = {"gemm_": "checker.gemm", "row_": "checker.gemm", "col_": "checker.gemm", "fix_": "checker.gemm",
                 "fused_": "checker.fused_output"}
    for register in checked:
        for prefix, component in by_prefix.items():
            if register.name.startswith(prefix):
                assert (register.component, register.role) == (component, "checker")
    assert {r.name for r in bare} < {r.name for r in checked}


@pytest.mark.parametrize("seed", range(20))
def test_activity_counts_every_register_and_agrees_with_the_folds(seed: int) -> None:
    machine, job = random_case(seed)
    timing = machine.timing(*job.shape[:2])
    activity = machine.activity(timing)
    assert set(activity.register_writes) == {r.name for r in machine.inventory}
    assert activity.cycles == timing.head_cycles and set(activity.sram_elements) == set(activity.sram_formats)
    n_queries, n_keys, d = job.shape
    macs = n_queries * n_keys * (2 * d + machine.fused_words)
    assert activity.operator("pe_multiply").uses == macs
    assert activity.operator("exp").uses == up(n_queries, machine.lanes) * n_keys * machine.lanes
    traffic = [product.folding.traffic for product in timing.products.values()]
    assert activity.sram_elements["q"] >= traffic[0].a_reads and activity.sram_elements["o"] == n_queries * d
    for register in machine.inventory:
        assert activity.register_writes[register.name] <= register.size * timing.head_cycles


@pytest.mark.parametrize("seed", range(8))
def test_registers_change_no_oftener_than_they_are_clocked(seed: int) -> None:
    machine, job = random_case(seed)
    engine, states = SteppedGemm(machine, job), []
    engine.run(watch=lambda cycle, state: states.append((engine.timing.at(cycle).name, state.copy())))
    writes, names = machine.activity(engine.timing).register_writes, [name for name, _ in states]
    changes = np.array([(a.view(np.int64) != b.view(np.int64)) for (_, a), (_, b) in zip(states, states[1:], strict=False)])
    inside = np.array([a == b for a, b in zip(names, names[1:], strict=False)])  # not when a unit is cleared
    for register in machine.inventory:
        start = machine.inventory.offsets[register.name]
        seen = int(changes[inside, start:start + register.size].sum())
        assert seen <= writes[register.name], register.name


def test_formats_of_score_and_state_must_agree() -> None:
    with pytest.raises(ValueError, match="one format for its sums"):
        GemmArchitecture.model_validate({"formats": {"score": "bf16"}})
    with pytest.raises(ValueError, match="up to fp32"):
        GemmArchitecture.model_validate({"exp": "pwl", "formats": dict.fromkeys(("score", "exp", "state", "output",
                                                                                  "checker"), "fp64")})


def test_what_the_machine_cannot_build_is_refused() -> None:
    tiny = load_config("tiny-gemm")
    with pytest.raises(ConfigError, match=r"units\.0\.granularity.*a query_block or a head"):
        tiny.changed({"checker.units": [{"kind": "fused_output", "granularity": "key_tile"}]})
    with pytest.raises(ConfigError, match="shares score, max, exp and sum"):
        tiny.changed({"checker.units": [{"kind": "fused_output", "shares": {"sum": False}}]})
    with pytest.raises(ConfigError, match=r"register_format.*the formats of its arithmetic"):
        tiny.changed({"faults.register_format": {"score": "bf16"}})
