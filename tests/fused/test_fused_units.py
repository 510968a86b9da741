"""Windows, statistical thresholds and the softmax's invariants: the three engines are one."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.faults.fault import Fault
from accel_sim.fused.golden import golden_run
from accel_sim.fused.stepped import SteppedFused
from fused.draw import (
    SOFTMAX,
    head,
    machine,
    random_fault,
    random_head,
    random_watched_machine,
    with_random_limits,
)
from fused.test_fused_replay import SEQUENCER, compare

NEW = {"first", "small_threshold", "frequent", "deviations"}


@pytest.mark.parametrize("seed", range(40))
def test_golden_is_stepped(seed: int) -> None:
    rng = np.random.default_rng(3000 + seed)
    m = random_watched_machine(rng, 12)
    job = with_random_limits(m, random_head(m, rng), rng)
    assert golden_run(m, job).same_as(SteppedFused(m, job).golden())


@pytest.mark.parametrize("seed", range(24))
def test_replay_is_stepped(seed: int) -> None:
    """Of the registers that are new, and those that the new ones look at, more than their share."""
    rng = np.random.default_rng(seed)
    m = random_watched_machine(rng, 7)
    job = with_random_limits(m, random_head(m, rng), rng)
    cycles = m.timing(job.q.shape[0], job.k.shape[0]).head_cycles
    names = [r.name for r in m.inventory if r.name not in SEQUENCER and r.name != "softmax_bound"]
    close = [n for n in names if n in NEW or n.startswith("softmax_") or n in ("bound", "cmp_arg", "new_max", "l", "up")]
    faults = [random_fault(m, cycles, rng, str(rng.choice(close if i % 2 else names))) for i in range(300)]
    wrong, _ = compare(m, job, faults)
    assert not wrong, wrong[:5]
