"""Random gemm machines under random faults of every kind: replay's outcomes are the stepped engine's."""

from __future__ import annotations

import numpy as np
import pytest

from gemm.compare import differences
from gemm.draw import random_case, random_fault


@pytest.mark.parametrize("seed", range(200, 218))
def test_random_machines(seed: int) -> None:
    machine, job = random_case(seed)
    rng = np.random.default_rng(seed)
    cycles = machine.timing(*job.shape[:2]).head_cycles
    found, _ = differences(machine, job, [random_fault(rng, machine, cycles, long=seed % 2 == 0) for _ in range(60)])
    assert not found, found[:5]
