"""How fast the gemm machine is simulated: a head's fault-free values, its stepped run, and faults replayed.

    python benchmarks/gemm.py [--faults 40000] [--dataflow ws]

A 32 × 32 array, 256 queries, 256 keys, d = 32, 32 vector lanes, bf16 operands and fp32 sums; CPU seconds of one core,
the best of a few runs after a warm-up. Faults are drawn uniformly over every bit of every register in every cycle.
Those that replay hands back are counted with the time that the stepped engine takes for them.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from gemm.draw import fused_unit, gemm_unit, job_for, machine_with, rowsum_unit, softmax_unit
from timing import best

from accel_sim.engines.replay.types import FALL_BACK
from accel_sim.faults.fault import Fault
from accel_sim.gemm.golden import golden
from accel_sim.gemm.replay import ReplayGemm
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine

DESIGNS: dict[str, tuple[Any, ...]] = {
    "no check": (), "gemm rows": (gemm_unit(),), "fused_output": (fused_unit(),),
    "gemm rows + fused_output": (gemm_unit(), fused_unit()),
    "gemm both + correct": (gemm_unit(sides="both", correct=True),),
    "gemm both, statistical": (gemm_unit(sides="both", threshold="statistical", frequent=4),),
    "score_rowsum": (rowsum_unit(),), "softmax_invariants": (softmax_unit(),),
}
LIMITS = {"gemm": 0.05, "gemm.small": 0.05 / 16, "gemm.frequent": 4.0, "fused_output": 0.01, "score_rowsum": 0.05,
          "softmax_invariants": 2.0**-7}


def drawn(machine: GemmMachine, cycles: int, count: int) -> tuple[np.ndarray, ...]:
    """Flips, uniform over the universe: the arguments of `ReplayGemm.outcomes`, and the bit of each."""
    registers = list(machine.inventory)
    bits = np.array([register.bits for register in registers])
    ends, starts = np.cumsum(bits), np.array([machine.inventory.offsets[register.name] for register in registers])
    cycle, place = np.divmod(np.random.default_rng(1).integers(bits.sum() * cycles, size=count), bits.sum())
    which = np.searchsorted(ends, place, side="right")
    element, bit = np.divmod(place - (ends - bits)[which], np.array([r.width_bits for r in registers])[which])
    mask = np.uint64(1) << bit.astype(np.uint64)
    return starts[which] + element, cycle, cycle, np.zeros(count, np.int64), mask, bit


def row(name: str, units: tuple[Any, ...], flow: str, count: int) -> str:
    """One line of the table."""
    machine = machine_with(units, rows=32, cols=32, head_dim=32, vector_lanes=32, max_keys=4096, max_queries=4096,
                           dataflow=flow)
    job = job_for(machine, 256, 256, np.random.default_rng(0), LIMITS)
    replay, stepped = ReplayGemm(machine, job), SteppedGemm(machine, job)
    *arguments, bit = drawn(machine, replay.golden.cycles, count)
    seconds = best(lambda: replay.outcomes(*arguments), 3)
    back = np.flatnonzero(replay.outcomes(*arguments).status == FALL_BACK)
    stepped.golden()
    begin = time.process_time()
    for i in back[:50]:
        register, index = machine.inventory.locate(int(arguments[0][i]))
        stepped.inject(Fault(int(arguments[1][i]), register.name, index, int(bit[i])))
    each = (time.process_time() - begin) / max(1, len(back[:50]))
    whole = seconds + each * len(back)
    return (f"{name:26} {replay.golden.cycles:6} cycles  golden {best(lambda: golden(machine, job)) * 1e3:5.1f} ms  "
            f"stepped {best(stepped.run, 3) * 1e3:5.1f} ms  replay {count / seconds:9,.0f}/s  "
            f"handed back {len(back) / count:7.3%} ({each * 1e3:4.1f} ms each)  together {count / whole:9,.0f}/s")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=40_000)
    parser.add_argument("--dataflow", choices=["os", "ws", "is"], default="ws")
    options = parser.parse_args()
    for name, units in DESIGNS.items():
        print(row(name, units, options.dataflow, options.faults))


if __name__ == "__main__":
    main()
