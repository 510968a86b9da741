"""Random machines that the RTL can express, small enough that building them takes seconds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from engines.draw import ROLES, Case, Rng, random_job, random_machine

from accel_sim.numerics.formats import FORMATS

NARROW = [name for name in FORMATS if name != "fp64"]


def random_rtl_machine_case(rng: Rng, lanes: int = 3, head_dim: int = 5, **fixed: Any) -> Case:
    """Any machine of up to so many lanes and dimensions that the RTL can express, and any head on it, stalls included."""
    while True:
        options = {
            "lanes": int(rng.integers(1, lanes + 1)),
            "head_dim": int(rng.integers(1, head_dim + 1)),
            "exp": {"kind": "pwl", "pieces": int(2 ** rng.integers(1, 7))},
            "formats": {role: str(rng.choice(NARROW)) for role in ROLES},
        }
        try:
            machine = random_machine(rng, 1, plain=True, **(options | fixed))
        except AssertionError:  # these options do not go together
            continue
        return Case(machine, random_job(machine, rng))


def wild_job(case: Case, rng: Rng) -> Case:
    """The same machine on a head whose operands are any bit patterns: subnormals, infinities and NaNs among them."""
    operand = case.machine.formats["operand"]

    def any_bits(shape: tuple[int, ...]) -> np.ndarray:
        return operand.decode(rng.integers(0, 1 << operand.width_bits, shape, dtype=np.uint64))

    job = random_job(case.machine, rng)
    return replace(case, job=replace(job, q=any_bits(job.q.shape), k=any_bits(job.k.shape), v=any_bits(job.v.shape)))
