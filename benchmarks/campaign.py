"""How fast campaigns are, side by side in one run: replay and stepped re-execution, the store, workers, growth with N.

    python benchmarks/campaign.py [--faults 100000] [--longest 4096]

Faults are bit flips, uniform over the whole universe, with every record column. The config is `lanes-d64`: 16 lanes,
d = 64, 256 queries and keys, bf16 operands, fp32 arithmetic; replay is timed once more with the units that only look
beside its output check. Engines are timed in CPU seconds of one process, after a warm-up, the few faults that replay
hands to the stepped engine included; campaigns in wall-clock seconds, with their processes and their disk. Memory is
the peak of a process of its own.
"""

from __future__ import annotations

import argparse
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.runner import run_campaign
from accel_sim.config import Config, load_config
from accel_sim.engines.stepped import SteppedEngine

CONFIG = "lanes-d64"
STEPPED_RUNS = 20
EVERY_UNIT = {"checker.units": ["fused_output", "score_rowsum", "softmax_invariants"]}
SHORTEST = 64


def resized(config: Config, n: int, head_dim: int = 64) -> Config:
    """The config with n queries and n keys."""
    return config.changed({
        "workload.queries": n, "workload.keys": n, "architecture.head_dim": head_dim,
        "architecture.max_keys": max(n, 1024), "architecture.max_queries": max(n, 1024),
    })


def replay_seconds(assembly: Assembly, faults: int) -> float:
    """CPU seconds per injection of the replay engine, on faults that follow as many others."""
    injector = ReplayInjector(assembly)
    injector.records(0, faults)
    start = time.process_time()
    injector.records(faults, faults)
    return (time.process_time() - start) / faults


def stepped_seconds(assembly: Assembly) -> float:
    """CPU seconds of one run of the stepped engine under a fault, from cycle 0 to the end: what re-execution costs."""
    engine = SteppedEngine(assembly.machine, assembly.job(assembly.workload.heads[0]))
    engine.run()
    start = time.process_time()
    for _ in range(STEPPED_RUNS):
        engine.run()
    return (time.process_time() - start) / STEPPED_RUNS


def campaign_seconds(config: Config, faults: int, workers: int, folder: Path) -> tuple[float, float]:
    """Wall-clock seconds of a whole campaign, store included, and of running it again."""
    out = folder / f"{workers}-{faults}"
    start = time.perf_counter()
    run_campaign(config, out, n=faults, workers=workers, progress=False)
    whole = time.perf_counter() - start
    start = time.perf_counter()
    run_campaign(config, out, n=faults, workers=workers, progress=False)
    return whole, time.perf_counter() - start


def peak_megabytes(n: int, head_dim: int) -> float:
    """Peak resident memory of a process that injects at that size, its kernels compiled before."""
    command = [sys.executable, __file__, "--memory", str(n), str(head_dim)]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure_memory(n: int, head_dim: int) -> None:
    """In a process of its own: inject, then print the peak in MB."""
    ReplayInjector(assemble(resized(load_config(CONFIG), n, head_dim), measure=False)).records(0, 2000)
    status = Path("/proc/self/status")
    if status.exists():  # what getrusage says began with the process that started this one
        print(int(re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())[0]) / 1024)
    else:
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--faults", type=int, default=100_000, help="injections to time at a size")
    options.add_argument("--longest", type=int, default=4096, help="the largest number of queries and keys")
    options.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    given = options.parse_args()
    if given.memory:
        measure_memory(*given.memory)
        return
    config = load_config(CONFIG)
    assembly = assemble(config, measure=False)

    replay, stepped = replay_seconds(assembly, given.faults), stepped_seconds(assembly)
    print(f"{CONFIG}: {assembly.universe.size / 1e6:,.0f} million points, {assembly.system.cycles:,} cycles")
    print(f"  replay                 {1 / replay:10,.0f} injections/s   (bar 100,000, aim 300,000)")
    watched = replay_seconds(assemble(config.changed(EVERY_UNIT), measure=False), given.faults)
    print(f"  replay, all units      {1 / watched:10,.0f} injections/s   (aim 100,000)")
    print(f"  stepped, from cycle 0  {1 / stepped:10,.1f} injections/s")
    print(f"  ratio                  {stepped / replay:10,.0f}                 (bar 1,000)", flush=True)

    print(f"campaigns, store included, on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        # A worker takes a second or two to begin, which the longer campaign puts into proportion.
        many, most = 10 * given.faults, 50 * given.faults
        times = {}
        for workers, faults in ((2, many), (1, most), (2, most)):
            times[workers], again = campaign_seconds(config, faults, workers, Path(folder))
            print(f"  {workers} worker{'s' * (workers - 1):1} {faults:12,} faults {times[workers]:7.1f} s"
                  f"   {faults / times[workers]:10,.0f} records/s   again {again:5.2f} s"
                  f"{'   (bar 15 s)' if faults == 1_000_000 else ''}", flush=True)
        print(f"  two workers / one      {times[1] / times[2]:10.2f}                 (bar 1.8)")

    print("growth with N = queries = keys, d = 64")
    sizes = [n for n in (2 ** i for i in range(6, 20)) if SHORTEST <= n <= given.longest]
    seconds = []
    for n in sizes:
        seconds.append(replay_seconds(assemble(resized(config, n), measure=False), max(given.faults // 4, 1000)))
        print(f"  N = {n:5}   {1e6 * seconds[-1]:8.2f} µs an injection", flush=True)
    slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
    print(f"  fitted exponent        {slope:10.2f}                 (bar 1.05)")
    print(f"peak memory at N = {given.longest}, d = 128: {peak_megabytes(given.longest, 128):.0f} MB   (bar 500 MB)")


if __name__ == "__main__":
    main()
