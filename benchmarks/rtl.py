"""How fast the RTL is beside the engines: the same design, the same head and the same faults, in one run.

    python benchmarks/rtl.py [--lanes 4] [--head-dim 16] [--keys 64] [--faults 200]

The RTL is verilated with full optimisation for one thread, and loaded into this process: no process and no rebuild for
a fault, and each fault starts from a checkpoint before it. bf16 operands, fp32 arithmetic, piecewise linear units.
CPU seconds of one process, builds and compilation not counted (they are printed).
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from timing import best

from accel_sim.assembly import assemble
from accel_sim.campaign.injector import drawn_batch, fault_at
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import UniformSampler
from accel_sim.config import load_config
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.rtl.model import RtlModel

REPLAYED = 100_000


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--lanes", type=int, default=4)
    options.add_argument("--head-dim", type=int, default=16)
    options.add_argument("--keys", type=int, default=64, help="keys and queries")
    options.add_argument("--faults", type=int, default=200, help="faults for the RTL and the stepped engine")
    given = options.parse_args()
    config = load_config("lanes-d64").changed({
        "architecture.lanes": given.lanes, "architecture.head_dim": given.head_dim, "architecture.key_tile": 16,
        "architecture.exp": {"kind": "pwl", "pieces": 8}, "workload.queries": given.keys, "workload.keys": given.keys,
    })
    assembly = assemble(config, measure=False)
    machine, job = assembly.machine, assembly.job(assembly.workload.heads[0])
    bits = machine.inventory.bits
    print(f"{given.lanes} lanes, d = {given.head_dim}, {given.keys} queries and keys: {bits:,} flip-flops")

    began = time.perf_counter()
    model = RtlModel(machine)
    print(f"  the RTL was built, or found built, in {time.perf_counter() - began:.0f} s", flush=True)
    stepped = SteppedEngine(machine, job)
    golden = stepped.golden()
    assert model.run(job).result.same_as(golden)
    verilated = best(lambda: model.run(job), 3) / golden.cycles
    python = best(stepped.run, 3) / golden.cycles
    print(f"  cycles/s       RTL {1 / verilated:12,.0f}   stepped {1 / python:12,.0f}   stepped / RTL "
          f"{verilated / python:8.1f}", flush=True)

    sampler = UniformSampler(assembly)
    _, points, kinds = drawn_batch(assembly, sampler, 0, given.faults)
    faults = [fault_at(assembly, points, kinds, i) for i in range(given.faults)]
    struck = best(lambda: list(model.inject(job, faults)), 1) / given.faults
    injector = ReplayInjector(assembly, sampler)
    replayed = best(lambda: injector.records(0, REPLAYED), 2) / REPLAYED
    records = injector.records(0, given.faults)
    alarm_of = {found.fault: found.result.alarm_cycle for found in model.inject(job, faults)}  # in any order
    alarms = [-1 if alarm_of[fault] is None else alarm_of[fault] for fault in faults]
    assert np.array_equal(records["alarm_cycle"], alarms)
    print(f"  injections/s   RTL {1 / struck:12,.1f}   replay  {1 / replayed:12,.0f}   replay / RTL "
          f"{struck / replayed:9,.0f}   (aim 1,000)")


if __name__ == "__main__":
    main()
