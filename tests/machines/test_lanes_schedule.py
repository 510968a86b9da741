"""The schedule tells the truth: live registers hold what it says, and what it calls dead nobody reads."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from engines.draw import Case, gaussian_case, machine_with, random_case, random_job, random_machine, trace
from engines.reference import Values, attention

from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import LanesMachine, tree_sizes
from accel_sim.machines.lanes_schedule import Occupant, occupant, pipeline_stage, skew_dim, tree_level_of

Rng = np.random.Generator


def drawn_element(machine: LanesMachine, cycles: int, rng: Rng) -> tuple[Register, tuple[int, ...], int]:
    """Any register array, any element of it, any cycle."""
    registers = machine.inventory.registers
    register = registers[int(rng.integers(len(registers)))]
    return register, tuple(int(rng.integers(n)) for n in register.shape), int(rng.integers(cycles))


def test_a_fault_in_a_dead_element_changes_nothing():
    """Not an output bit, not a residual, not a cycle: whatever bit it strikes."""
    rng = np.random.default_rng(0)
    dead = 0
    for _ in range(70):
        case = random_case(rng, stalls=False)
        engine = case.engine
        golden = engine.golden()
        for _ in range(60):
            register, index, cycle = drawn_element(case.machine, golden.cycles, rng)
            if occupant(case.machine, engine.timing, register, index, cycle) is not None:
                continue
            dead += 1
            for bit in {0, register.width_bits - 1, int(rng.integers(register.width_bits))}:
                faulty = engine.inject(Fault(cycle, register.name, index, bit)).result
                assert faulty.same_as(golden), (register.name, index, cycle, bit, case.machine.config)
    assert dead > 1000


def test_a_dead_element_may_be_stuck_at_anything_while_it_is_dead():
    rng = np.random.default_rng(1)
    for _ in range(40):
        case = random_case(rng, stalls=False)
        engine = case.engine
        golden = engine.golden()
        for _ in range(30):
            register, index, cycle = drawn_element(case.machine, golden.cycles, rng)
            dead = partial(occupant, case.machine, engine.timing, register, index)
            last = cycle
            while last < golden.cycles and dead(last) is None:
                last += 1
            if last > cycle:
                kind, bit = str(rng.choice(["stuck0", "stuck1"])), int(rng.integers(register.width_bits))
                fault = Fault(cycle, register.name, index, bit, kind, duration=last - cycle)
                assert engine.inject(fault).result.same_as(golden), (fault, case.machine.config)


# What must be live: striking the top bit of any of these while it holds a query's value changes something.
TELLING = ("q", "k", "v", "score", "m", "l", "o", "pv", "norm_o", "norm_l", "out", "c", "norm_c", "pred_term", "valid",
           "phase", "active", "p_acc")  # fmt: skip


def test_what_is_live_matters():
    """The sign or top exponent bit of a live value, in a machine without masks, reaches an output or a residual."""
    rng = np.random.default_rng(2)
    telling = dict.fromkeys(TELLING, 0)
    asked = dict.fromkeys(TELLING, 0)
    for _ in range(150):
        machine = random_machine(rng, formats="fp32", check=True, subnormals="keep", sliding_window=False)
        case = Case(machine, random_job(machine, rng, stalls=False))
        engine = case.engine
        golden = engine.golden()
        for name in TELLING:
            register = machine.inventory[name]
            index = tuple(int(rng.integers(n)) for n in register.shape)
            cycle = int(rng.integers(golden.cycles))
            at = occupant(machine, engine.timing, register, index, cycle)
            if at is None or "perhaps" in at.what:
                continue
            asked[name] += 1
            for bit in {register.width_bits - 1, max(0, register.width_bits - 2)}:
                if not engine.inject(Fault(cycle, name, index, bit)).result.same_as(golden):
                    telling[name] += 1
                    break
    for name in TELLING:
        assert asked[name] >= 1, name
        assert telling[name] >= 0.4 * asked[name], (name, telling[name], asked[name])


# -- what a live register holds ----------------------------------------------------------------------------------


def expected(case: Case, values: Values, register: Register, index: tuple[int, ...], at: Occupant) -> float | None:
    """The value that the equations give for an occupant; None for registers that hold no value of the equations."""
    m, job = case.machine, case.job
    name, i, j, t = register.name, at.query, at.key, at.dim
    if register.role == "checker" and name not in ("chk_pr", "chk_l"):
        name = name.removeprefix("chk_")  # the check unit's own copies hold the same, when nothing is wrong
    name = {"chk_l": "l", "norm_chk_l": "norm_l", "chk_recip": "recip", "chk_seen": "seen", "chk_allow": "allow"}.get(
        name, name)  # fmt: skip
    operands = {"q": (job.q, i), "k": (job.k, j), "v": (job.v, j), "v_delay": (job.v, j), "k_skew": (job.k, j)}
    if name in operands:
        matrix, row = operands[name]
        return float(matrix[row, t])
    if name == "prod":
        return values.prod[i, j, index[1]]
    if name in ("tree", "chain", "dot"):
        return _partial_sum(m, values.dot[i, j], name, index[1])
    if name in ("score", "pv", "chk_pr"):
        return getattr(values, name)[(i, j, t) if t is not None else (i, j)]
    if name in ("ds", "da", "p", "a"):
        return getattr(values, name)[i, j]
    if name in ("p_acc", "a_acc"):
        return getattr(values, name[0])[i, j]
    if name == "allow":
        return float(job.first[i] <= j <= job.bound[i])
    if name == "key_tag":
        return float(j)
    if name in ("m", "l", "c", "o", "seen"):
        if j is None:
            return 0.0
        if name == "seen":
            return float(job.first[i] <= min(j, job.bound[i]))
        return getattr(values, name)[(i, j, t) if name == "o" else (i, j)]
    if name in ("r_tree", "r_delay"):
        levels = [x for level in values.row_sum[j] for x in level]
        return levels[index[0]] if name == "r_tree" else levels[-1]
    return _drained(case, values, name, index, i, t)


def _partial_sum(m: LanesMachine, dot: list, name: str, at: int) -> float:
    if name == "tree":
        return [x for level in dot for x in level][at]
    return dot[at] if name == "chain" else dot[0]


def _drained(case: Case, values: Values, name: str, index: tuple[int, ...], i: int | None, t: int | None) -> float | None:
    """Registers behind the lanes: the finished row of query i."""
    if i is None:
        return None
    last = len(case.job.k) - 1
    if name in ("norm_o", "recip_o"):
        return values.o[i, last, t]
    if name in ("norm_l", "norm_c", "recip_c"):
        return {"l": values.l, "c": values.c}[name[-1]][i, last]
    if name in ("norm_addr", "recip_addr", "out_addr"):
        return float(i)
    if name == "recip":
        return values.recip[i]
    if name == "out":
        return values.out[i, t]
    if name in ("pred_term", "pred_delay"):
        return values.pred_term[i]
    if name == "out_tree":
        return [x for level in values.row_out[i] for x in level][index[0]]
    first, bound = case.job.first[i], case.job.bound[i]
    if case.machine.sliding_window and bound < first:
        first, bound = max(first, 1), 0  # no key: a first one behind the last one
    return {"bound": float(bound), "first": float(first), "active": 1.0}.get(name)


def same(got: float, want: float) -> bool:
    return np.float64(got).tobytes() == np.float64(want).tobytes()


def assert_registers_hold_their_values(case: Case, rng: Rng, samples: int) -> set[str]:
    """Ask `samples` random elements, as far as they are live; returns the names of the register arrays that were asked."""
    machine = case.machine
    run = trace(case)
    values, timing = attention(machine, case.job), case.engine.timing
    asked = set()
    for _ in range(samples):
        register, index, cycle = drawn_element(machine, len(run.cycles), rng)
        at = occupant(machine, timing, register, index, cycle)
        if at is None or "perhaps" in at.what:
            continue
        want = expected(case, values, register, index, at)
        if want is None:
            continue
        got = float(run.states[cycle, machine.inventory.slot(register.name, index)])
        assert same(got, want), (register.name, index, cycle, str(at), got, want, machine.config)
        asked.add(register.name)
    return asked


HELD = {
    "q", "k", "v", "v_delay", "k_skew", "prod", "tree", "chain", "dot", "score", "m", "seen", "allow", "bound", "first",
    "active", "ds", "da", "p", "a", "p_acc", "a_acc", "l", "pv", "o", "key_tag", "norm_o", "norm_l", "norm_c", "norm_addr",
    "recip", "recip_o", "recip_c", "recip_addr", "out", "out_addr", "r_tree", "r_delay", "chk_pr", "c", "pred_term",
    "out_tree", "pred_delay", "chk_prod", "chk_tree", "chk_chain", "chk_dot", "chk_score", "chk_m", "chk_seen",
    "chk_allow", "chk_ds", "chk_da", "chk_p", "chk_a", "chk_p_acc", "chk_a_acc", "chk_l", "norm_chk_l", "chk_recip",
}  # fmt: skip
"""Registers whose contents the equations know, element by element."""


def test_live_registers_hold_the_very_values_of_their_query_key_and_dim():
    rng = np.random.default_rng(4)
    asked: set[str] = set()
    for _ in range(70):
        machine = random_machine(rng, head_dim=int(rng.integers(1, 7)))
        case = Case(machine, random_job(machine, rng, stalls=False, queries=5, keys=10))
        asked |= assert_registers_hold_their_values(case, rng, 400)
    assert asked == HELD


def test_every_element_in_every_cycle_of_a_small_machine():
    """Nothing sampled: two lanes, three dims, three queries, four keys."""
    for options in ({"dot": "serial", "shares": {"score": False, "max": False, "exp": False, "sum": False}},
                    {"divide": "reciprocal_pwl", "formats": "bf16"}):  # fmt: skip
        machine = machine_with(2, 3, 2, **options)
        case = gaussian_case(machine, 3, 4, seed=4)
        run, values, timing = trace(case), attention(machine, case.job), case.engine.timing
        checked = 0
        for register in machine.inventory:
            for index in np.ndindex(register.shape):
                for cycle in range(len(run.cycles)):
                    at = occupant(machine, timing, register, index, cycle)
                    want = None if at is None else expected(case, values, register, index, at)
                    if want is not None:
                        got = float(run.states[cycle, machine.inventory.slot(register.name, index)])
                        assert same(got, want), (register.name, index, cycle, str(at), got, want)
                        checked += 1
        assert checked > 900


# -- small facts ---------------------------------------------------------------------------------------------------


def test_an_occupant_says_where_it_belongs():
    assert str(Occupant("score", query=3, key=7)) == "score (query 3, key 7)"
    assert str(Occupant("key", key=0, dim=2)) == "key (key 0, dim 2)"
    assert str(Occupant("phase")) == "phase"


@pytest.mark.parametrize("d", range(1, 20))
def test_flattened_delays_and_trees_know_their_elements(d):
    levels = [level for level, size in enumerate(tree_sizes(d)) for _ in range(size)]
    assert levels == [tree_level_of(d, i) for i in range(len(levels))]
    with pytest.raises(IndexError):
        tree_level_of(d, len(levels))
    dims = [dim for stage in range(1, d) for dim in range(stage, d)]
    assert dims == [skew_dim(d, i) for i in range(d * (d - 1) // 2)]


def test_stages_of_the_pipeline():
    machine = machine_with(2, 8, dot="tree")  # depth 3
    stages = {name: pipeline_stage(machine, name, index) for name, index in [
        ("k", (0,)), ("prod", (0, 5)), ("score", (0,)), ("ds", (1,)), ("p", (1,)), ("pv", (0, 0)), ("chk_pr", (0,)),
        ("m", (0,)), ("out", (0,)),
    ]}  # fmt: skip
    assert stages == {"k": 0, "prod": 1, "score": 5, "ds": 6, "p": 7, "pv": 8, "chk_pr": 8, "m": None, "out": None}


def test_a_result_is_the_same_as_itself_only_bit_for_bit():
    result = RunResult(np.array([[0.0, np.nan]]), (), None, 3)
    assert result.same_as(RunResult(np.array([[0.0, np.nan]]), (), None, 3))
    assert not result.same_as(RunResult(np.array([[-0.0, np.nan]]), (), None, 3))
    assert not result.same_as(RunResult(np.array([[0.0, np.nan]]), (), 2, 3))
    assert not result.same_as(RunResult(np.array([[0.0, np.nan]]), (), None, 4))
