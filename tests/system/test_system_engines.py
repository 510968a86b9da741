"""The engines run on the very clock that the system model gives them."""

from __future__ import annotations

import random

import numpy as np
import pytest

from accel_sim.engines.golden import run_golden
from accel_sim.engines.job import make_job
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.system import simulate_system

SLOW = {"bandwidth": 2.5, "latency": 9, "burst": 8}


def job_on(machine, nq, n):
    """Small integers, exact in every format. No threshold is set, so every comparison raises the alarm."""
    rng = np.random.default_rng(nq * 1000 + n)
    shapes = [(rows, machine.head_dim) for rows in (nq, n, n)]
    return make_job(machine, *(rng.integers(-2, 3, shape).astype(float) for shape in shapes))


def test_stepped_and_golden_take_the_cycles_of_the_system(random_design):
    for seed in range(12):
        (machine, memory), nq, n = random_design(random.Random(50 + seed))
        run = simulate_system(machine, memory, nq, n)
        job = job_on(machine, nq, n).with_stalls(**run.held)
        assert run_golden(machine, job).cycles == run.cycles, seed
        if run.cycles < 20_000:
            stepped = SteppedEngine(machine, job)
            assert stepped.run().cycles == run.cycles == stepped.golden().cycles, seed


@pytest.mark.parametrize(("check", "scan"), [("head", None), ("query_block", None), ("key_tile", 0)])
def test_the_controller_sees_the_alarm_when_the_engines_raise_it(design, check, scan):
    machine, memory = design(**SLOW, check=check)
    run = simulate_system(machine, memory, 10, 20, reexecute=(0,), alarm_tile=scan)
    clean = simulate_system(machine, memory, 10, 20)
    job = job_on(machine, 10, 20).with_stalls(**clean.held)
    alarm = run_golden(machine, job).alarm_cycle
    assert run.reexecutions[0].alarm_cycle == alarm == SteppedEngine(machine, job).run().alarm_cycle
