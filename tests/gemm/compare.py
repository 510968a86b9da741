"""Replay beside stepped: what one fault does, in both engines' words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from accel_sim.engines.job import Job
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import severity
from accel_sim.gemm.replay import ReplayGemm
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine


def bits(value: float) -> int:
    """The binary64 pattern, so that NaN equals itself."""
    return int(np.float64(value).view(np.int64))


def arguments(machine: GemmMachine, faults: Sequence[Fault], cycles: int) -> tuple[np.ndarray, ...]:
    """A fault list as `outcomes` takes it."""
    inventory = machine.inventory
    ops = {"stuck0": 1, "stuck1": 2}
    return (np.array([inventory.slot(f.register, f.index) for f in faults]), np.array([f.cycle for f in faults]),
            np.array([min(f.end, cycles) - 1 for f in faults]), np.array([ops.get(f.kind, 0) for f in faults]),
            np.array([f.mask for f in faults], np.uint64))


def stepped_words(engine: SteppedGemm, fault: Fault) -> dict[str, Any]:
    """What the stepped engine says."""
    golden, injection, live = engine.golden(), engine.inject(fault), engine.live(fault)
    result, nan = injection.result, float("nan")
    measured = severity(golden.output, result.output, engine.machine.formats["output"].codec)
    telling = result.told
    return {
        "differs": golden.output.tobytes() != result.output.tobytes(),
        "alarm_cycle": -1 if result.alarm_cycle is None else result.alarm_cycle,
        "residual": bits(telling[0]), "limit": bits(telling[1]), "max_ulp": measured.max_ulp,
        "nonfinite": measured.nonfinite, "rows": measured.rows, "rel_l2": bits(measured.rel_l2),
        "old_value": bits(injection.old_value if live else nan), "new_value": bits(injection.new_value if live else nan),
    }


def differences(machine: GemmMachine, job: Job, faults: Sequence[Fault]) -> tuple[list[str], int]:
    """(faults that the engines tell apart, in words; how many of them replay has handed back)."""
    from accel_sim.faults.outcome import relative_l2

    stepped, replay = SteppedGemm(machine, job), ReplayGemm(machine, job)
    assert replay.golden.same_as(stepped.golden())
    out = replay.outcomes(*arguments(machine, faults, stepped.golden().cycles))
    rel = relative_l2(out.square, out.nonfinite, replay.golden_square)
    found, back = [], 0
    for i, fault in enumerate(faults):
        if out.status[i] == FALL_BACK:
            back += 1
            continue
        want = stepped_words(stepped, fault)
        have = {"differs": bool(out.differs[i]), "alarm_cycle": int(out.alarm_cycle[i]),
                "residual": bits(out.residual[i]), "limit": bits(out.limit[i]), "max_ulp": int(out.max_ulp[i]),
                "nonfinite": int(out.nonfinite[i]), "rows": int(out.rows[i]), "rel_l2": bits(rel[i]),
                "old_value": bits(out.old_value[i]), "new_value": bits(out.new_value[i])}
        if want != have:
            found.append(f"{fault}: {[(key, want[key], have[key]) for key in want if want[key] != have[key]]}")
    return found, back
