"""How fast the engines are, side by side in one run: golden, stepped, replay, and NumPy as a yardstick.

    python benchmarks/engines.py

16 lanes, d = 64, 256 queries and keys, bf16 operands, fp32 arithmetic. Process CPU time, best of five.
"""

from __future__ import annotations

import numpy as np
from timing import best

from accel_sim.assembly import assemble
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.config import load_config
from accel_sim.engines.golden import run_golden
from accel_sim.engines.stepped import SteppedEngine

FAULTS = 20_000


def softmax_attention(q: np.ndarray, k: np.ndarray, v: np.ndarray) -> np.ndarray:
    """float64 attention by NumPy, which rounds as it likes."""
    s = q @ k.T / np.sqrt(q.shape[1])
    p = np.exp(s - s.max(axis=1, keepdims=True))
    output: np.ndarray = (p / p.sum(axis=1, keepdims=True)) @ v
    return output


def main() -> None:
    """Measure and print."""
    for name in ("lanes-d64", "bf16-d64", "paper-d64"):
        assembly = assemble(load_config(name), measure=False)
        job = assembly.job(assembly.workload.heads[0])
        n_queries, n_keys, d = job.shape
        macs = 2 * n_queries * n_keys * d
        engine = SteppedEngine(assembly.machine, job)
        golden = best(lambda job=job, machine=assembly.machine: run_golden(machine, job))
        stepped = best(engine.run)
        numpy = best(lambda job=job: softmax_attention(job.q, job.k, job.v))
        print(f"{name}: {macs / 1e6:.1f} M multiply-accumulates, {engine.golden().cycles} cycles")
        print(f"  golden   {macs / golden / 1e9:8.2f} G multiply-accumulates/s   (bar, lanes-d64: 0.5)")
        print(f"  stepped  {engine.golden().cycles / stepped:8.0f} cycles/s   (bar, lanes-d64: 20,000)")
        print(f"  golden / stepped {stepped / golden:.1f} x;  numpy float64 / golden {golden / numpy:.1f} x")
        if name == "lanes-d64":
            injector = ReplayInjector(assembly)
            replay = best(lambda injector=injector: injector.records(0, FAULTS), 3)
            print(f"  replay   {FAULTS / replay:8.0f} injections/s, uniform over the universe   (aim: 100,000)")


if __name__ == "__main__":
    main()
