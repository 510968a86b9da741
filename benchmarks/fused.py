"""How fast the fused machine's engines are: PE-cycles/s stepped, milliseconds a fault-free head, injections/s replayed.

Run: python benchmarks/fused.py [--faults 100000]
"""

from __future__ import annotations

import argparse
from types import SimpleNamespace
from typing import Any

import numpy as np
from timing import best

from accel_sim.config.checker import (
    AbsoluteThreshold,
    FusedOutputUnit,
    ScoreRowsumUnit,
    SoftmaxInvariantsUnit,
)
from accel_sim.config.fused import FusedArchitecture, FusedFormats
from accel_sim.engines.job import Job, make_job
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.fault import Fault
from accel_sim.faults.universe import Universe
from accel_sim.fused.golden import golden_run
from accel_sim.fused.replay import FusedReplay
from accel_sim.fused.stepped import SteppedFused
from accel_sim.machines.fused import FusedMachine
from accel_sim.numerics.arithmetic import mul_vs

FUSED_OUTPUT = FusedOutputUnit(threshold=AbsoluteThreshold(value=0.5))
ROW_SUMS = ScoreRowsumUnit(threshold=AbsoluteThreshold(value=0.5))
INVARIANTS = SoftmaxInvariantsUnit(which=("sum", "max", "score"))
SETS = ((FUSED_OUTPUT,), (), (ROW_SUMS,), (INVARIANTS,), (FUSED_OUTPUT, ROW_SUMS, INVARIANTS))
"""Check units that replay is timed with."""


def machine(size: int, operand: str = "bf16", units: tuple[Any, ...] = (FUSED_OUTPUT,)) -> FusedMachine:
    """An array, by default with a check unit of one column."""
    config = SimpleNamespace(
        architecture=FusedArchitecture(head_dim=size, formats=FusedFormats(operand=operand)),  # type: ignore[arg-type]
        checker=SimpleNamespace(units=units), faults=SimpleNamespace(register_format=None))
    return FusedMachine(config)


def head(m: FusedMachine, queries: int, keys: int) -> Job:
    """Normal operands, no mask."""
    rng = np.random.default_rng(1)

    def operands(rows: int) -> np.ndarray:
        drawn = rng.standard_normal(rows * m.size)
        out = np.empty_like(drawn)
        mul_vs(out, drawn, 1.0, m.formats["operand"].rounding(), 0.0)
        return out.reshape(rows, m.size)

    return make_job(m, operands(queries), operands(keys), operands(keys)).with_limits(
        {"fused_output": 0.5, "score_rowsum": 0.5, "softmax_invariants": 0.0078125})


def replay_rate(units: tuple[Any, ...], faults: int) -> str:
    """Injections/s of uniform flips, N = 32, 256 queries, 256 keys, those that are handed back run too."""
    m = machine(32, units=units)
    job = head(m, 256, 256)
    replay, stepped = FusedReplay(m, job), SteppedFused(m, job)
    stepped.golden()
    universe = Universe.of(m.inventory, replay.timing.head_cycles)
    points = universe.points(universe.draw(1, 0, faults))
    offset, arith, stored = (np.array(values, dtype=np.int64) for values in (
        [m.inventory.offsets[r.name] for r in universe.registers], [r.format.codec for r in universe.registers],
        [r.stored.codec for r in universe.registers]))
    register, cycle = points.register, points.cycle.astype(np.int64)
    arguments = (offset[register] + points.element, cycle, cycle, np.zeros(faults, np.int64),
                 np.uint64(1) << points.bit.astype(np.uint64), arith[register], stored[register])
    seconds = best(lambda: replay.outcomes(*arguments), 3)
    back = np.flatnonzero(replay.outcomes(*arguments).status == FALL_BACK)
    some = [Fault(int(cycle[i]), universe.registers[register[i]].name,
                  tuple(int(n) for n in np.unravel_index(points.element[i], universe.registers[register[i]].shape)),
                  int(points.bit[i])) for i in back[:50]]
    run = best(lambda: [stepped.inject(fault) for fault in some], 1) / max(len(some), 1) * len(back)
    return f"{faults / (seconds + run):10.3g} injections/s, {100 * len(back) / faults:.3f} % of them stepped"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--faults", type=int, default=100_000)
    options = parser.parse_args()

    print(f"{'N':>4} {'operand':>8} {'queries':>8} {'keys':>6} {'cycles':>8} {'stepped ms':>11} {'PE-cycles/s':>12} "
          f"{'golden ms':>10}")
    for size, operand in ((16, "bf16"), (32, "bf16"), (32, "fp32"), (64, "bf16"), (128, "bf16")):
        m = machine(size, operand)
        job = head(m, 4 * size, 4 * size)
        engine = SteppedFused(m, job)
        stepped = best(engine.run, 3)
        golden = best(lambda m=m, job=job: golden_run(m, job), 3)  # type: ignore[misc]
        cycles = engine.timing.head_cycles
        print(f"{size:4} {operand:>8} {4 * size:8} {4 * size:6} {cycles:8} {stepped * 1e3:11.1f} "
              f"{cycles * size * size / stepped:12.3g} {golden * 1e3:10.2f}", flush=True)

    print("\nreplay, N = 32, 256 queries, 256 keys, uniform flips, by check units")
    for units in SETS:
        name = " + ".join(unit.kind for unit in units) or "none"
        print(f"{name:52} {replay_rate(units, options.faults)}", flush=True)


if __name__ == "__main__":
    main()
