"""What a check unit on the output buffer takes of a campaign: faults replayed a second with `invariants` and without.

    python benchmarks/output_units.py [--faults 40000] [config ...]

The first head of each of these shipped configs, without its own check units; flips, uniform over every bit of every
register in every cycle; CPU seconds of one core, the best of a few runs after a warm-up. Faults that replay hands back
are counted, not run.
"""

from __future__ import annotations

import argparse

import numpy as np
from timing import best

from accel_sim.assembly import Assembly, assemble
from accel_sim.config import load_config
from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.kinds import replay_engine


def drawn(assembly: Assembly, count: int) -> tuple[np.ndarray, ...]:
    """The arguments of `outcomes`."""
    registers, offsets = assembly.universe.registers, assembly.machine.inventory.offsets
    points = assembly.universe.points(np.random.default_rng(1).integers(0, assembly.universe.size, count))
    offset, arith, stored = (np.array(values, np.int64) for values in (
        [offsets[r.name] for r in registers], [r.format.codec for r in registers], [r.stored.codec for r in registers]))
    which, cycle = points.register, points.cycle
    return (offset[which] + points.element, cycle, cycle, np.zeros(count, np.int64),
            np.uint64(1) << points.bit.astype(np.uint64), arith[which], stored[which])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=40_000)
    parser.add_argument("configs", nargs="*", default=["lanes-d32", "gemm-ws-d32", "fused-d32"])
    options = parser.parse_args()
    for name in options.configs:
        for units in ([], ["invariants"]):
            assembly = assemble(load_config(name, {"checker.units": units}), measure=False)
            engine = replay_engine(assembly.machine, assembly.job(assembly.workload.heads[0]))
            given = drawn(assembly, options.faults)
            seconds = best(lambda engine=engine, given=given: engine.outcomes(*given))  # type: ignore[misc]
            back = np.mean(engine.outcomes(*given).status == FALL_BACK)
            print(f"{name:12} {', '.join(units) or 'no unit':12} replay {options.faults / seconds:8,.0f}/s   "
                  f"handed back {back:.3%}", flush=True)


if __name__ == "__main__":
    main()
