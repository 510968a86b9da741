"""How fast records go into the store: encoding, summary, disk, and a whole campaign, without any engine.

    python benchmarks/campaign_store.py [--records 1000000] [--out DIR]

Records come from a stand-in that draws real faults and makes their outcomes up at no cost, so what is measured is
everything around the engine: drawing, sharding, Parquet, summaries, processes, the disk.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from accel_sim.analysis.summary import Summary, summarise
from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign import engines
from accel_sim.campaign.columns import Batch
from accel_sim.campaign.injector import drawn_batch
from accel_sim.campaign.runner import run_campaign
from accel_sim.campaign.sampling import Sampler, Sampling
from accel_sim.campaign.schema import labels_of, to_parquet
from accel_sim.campaign.work import exposure
from accel_sim.config import load_config

SHARD = 65_536


class StandIn:
    """An injector that makes outcomes up: 60 % masked, values and latencies spread as in a real campaign."""

    def __init__(self, assembly: Assembly, sampler: Sampler) -> None:
        self.assembly = assembly
        self.sampler = sampler

    def records(self, first: int, count: int) -> Batch:
        """Records of faults first … first + count − 1."""
        batch, _, _ = drawn_batch(self.assembly, self.sampler, first, count)
        noise = np.random.Generator(np.random.Philox(key=1, counter=[first, 0, 0, 0])).random((5, count))
        batch["old_value"][:] = noise[0].astype(np.float32)
        batch["new_value"][:] = noise[1].astype(np.float32)
        wrong, alarm = noise[2] < 0.4, noise[3] < 0.25
        batch["alarm"][:] = alarm
        batch["outcome"][:] = 2 * alarm + wrong
        batch["latency_cycles"][:] = np.where(alarm, (noise[4] * 5000).astype(np.int64), -1)
        batch["alarm_cycle"][:] = np.where(alarm, batch["cycle"] + batch["latency_cycles"], -1)
        batch["residual"][:] = np.where(wrong, noise[4].astype(np.float32), 1e-6)
        batch["limit"][:] = 1e-3
        for name in ("out_rel_l2", "out_max_abs"):
            batch[name][:] = np.where(wrong, noise[0], 0.0)
        batch["out_max_ulp"][:] = np.where(wrong, (noise[1] * 2**31).astype(np.int64), 0)
        batch["out_rows"][:] = wrong
        return batch


def best(action: Callable[[], Any], times: int = 5) -> float:
    """Shortest of a few runs, in seconds."""
    seconds = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def main() -> None:
    """Print one line per part."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--config", default="lanes-d64")
    options.add_argument("--out", type=Path, help="where to write (a temporary directory)")
    given = options.parse_args()
    config = load_config(given.config)
    assembly = assemble(config, measure=False)
    labels, bits = labels_of(assembly), exposure(assembly)
    stand_in = StandIn(assembly, Sampling().sampler(assembly))
    batch = stand_in.records(0, SHARD)

    def counted() -> Summary:
        return summarise(batch, labels["component"], labels["outcome"], bits)

    size = len(to_parquet(batch, labels, {}))
    print(f"one shard of {SHARD:,} records of {config.name}: {size / SHARD:.1f} bytes/record in Parquet")
    for what, action in {
        "drawing (and making up)": lambda: stand_in.records(0, SHARD),
        "summary": counted,
        "Parquet": lambda: to_parquet(batch, labels, {}),
    }.items():
        seconds = best(action)
        print(f"  {what:<26}{SHARD / seconds / 1e6:6.2f} million records/s   {1e3 * seconds:6.1f} ms a shard")

    engines.ENGINES["stand-in"] = engines.Engine("stand-in", "campaign_store:StandIn", SHARD)
    print(f"a campaign of {given.records:,} records, processes and disk included")
    with tempfile.TemporaryDirectory(dir=given.out) as folder:
        for workers in (1, 2):
            out = Path(folder) / str(workers)
            marks: list[float] = []
            began = time.perf_counter()
            run_campaign(config, out, n=given.records, engine="stand-in", workers=workers,
                         progress=lambda done, total, marks=marks: marks.append(time.perf_counter()))
            whole = time.perf_counter() - began
            writing = marks[-1] - marks[1]
            after_first = given.records - min(SHARD, given.records)
            rate = f"{after_first / writing / 1e6:5.2f} million records/s once begun" if writing else ""
            print(f"  {workers} worker{'s' if workers > 1 else ' '}  {whole:6.2f} s in all   {rate}")
        began = time.perf_counter()
        run_campaign(config, out, n=given.records, engine="stand-in")
        print(f"  again      {time.perf_counter() - began:6.2f} s: nothing to do")


if __name__ == "__main__":
    main()
