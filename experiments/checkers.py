"""What protection costs and what it buys, design by design: the tables in docs/checkers.md.

    python experiments/checkers.py [-n 100000] [--out docs/checkers.json] && python docs/build.py

Each row is a machine with a set of check units, beside the same machine without any: area and energy from the 28nm
table, cycles from the memory system, and a campaign of `n` faults, uniform over every bit of every register in every
cycle. Rows are kept as they are finished, so that a killed run goes on where it was; a change of a config begins its
rows anew.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from accel_sim import __version__
from accel_sim.api import simulate
from accel_sim.campaign.runner import run_campaign
from accel_sim.config import Config, config_hash, load_config

ROOT = Path(__file__).resolve().parents[1]

RATES = ("detected", "silent", "false_alarm", "coverage")

CALIBRATED = {"kind": "calibrated", "multiple": 4.0, "samples": 20}

STATISTICAL = {"kind": "statistical", "multiple": 4.0, "large": 64.0, "frequent": 4, "samples": 20}

SOFTMAX = {"kind": "softmax_invariants", "which": ["sum", "max", "mask", "score"]}


def fused_output(**keys: object) -> dict[str, object]:
    """The fused output check, once a head."""
    return {"kind": "fused_output", "granularity": "head", "threshold": CALIBRATED, **keys}


def gemm(**keys: object) -> dict[str, object]:
    """Classic checksums on both products."""
    return {"kind": "gemm", "threshold": CALIBRATED, **keys}


class Row(NamedTuple):
    """A row of the table: a shipped config, the name of a checker set, and its units."""

    config: str
    checkers: str
    units: list[dict[str, object]]


def rows() -> Iterator[Row]:
    """Every row, the unprotected design of each machine first."""
    for config in ("lanes-d32", "gemm-ws-d32", "fused-d32"):
        yield Row(config, "none", [])
        yield Row(config, "fused_output", [fused_output()])
        if config != "lanes-d32":
            yield Row(config, "fused_output, 2 columns", [fused_output(columns=2)])
        if config == "fused-d32":
            yield Row(config, "fused_output, 3 columns", [fused_output(columns=3)])
        if config == "gemm-ws-d32":
            yield Row(config, "gemm rows", [gemm()])
            yield Row(config, "gemm rows, 2 columns", [gemm(columns=2)])
            yield Row(config, "gemm both, corrects", [gemm(sides="both", correct=True, columns=2)])
            yield Row(config, "gemm rows (qk) + fused_output", [gemm(products=["qk"]), fused_output()])
            yield Row(config, "gemm rows, 2 columns, statistical", [gemm(columns=2, threshold=STATISTICAL)])
            rowsum = {"kind": "score_rowsum", "columns": 2, "threshold": CALIBRATED}
            yield Row(config, "score_rowsum, 2 columns", [rowsum])
            yield Row(config, "softmax_invariants", [SOFTMAX])
            yield Row(config, "invariants", [{"kind": "invariants"}])
        if config == "lanes-d32":
            rowsum = {"kind": "score_rowsum", "threshold": CALIBRATED}
            yield Row(config, "fused_output, a block", [fused_output(granularity="query_block")])
            yield Row(config, "fused_output, a block, statistical",
                      [fused_output(granularity="query_block", threshold=STATISTICAL)])
            yield Row(config, "score_rowsum", [rowsum])
            yield Row(config, "softmax_invariants", [SOFTMAX])
            yield Row(config, "invariants", [{"kind": "invariants"}])
            yield Row(config, "fused_output + score_rowsum + softmax_invariants", [fused_output(), rowsum, SOFTMAX])
        if config == "fused-d32":
            rowsum = {"kind": "score_rowsum", "threshold": CALIBRATED}
            softmax = {**SOFTMAX, "which": ["sum", "max", "score"]}
            yield Row(config, "score_rowsum", [rowsum])
            yield Row(config, "softmax_invariants", [softmax])
            yield Row(config, "invariants", [{"kind": "invariants"}])
            yield Row(config, "fused_output, 2 columns + score_rowsum + softmax_invariants",
                      [fused_output(columns=2), rowsum, softmax])
        for kind in ("parity", "secded", "dmr", "tmr"):
            yield Row(config, kind, [{"kind": kind}])
        yield Row(config, "fused_output + parity of control",
                  [fused_output(), {"kind": "parity", "parts": ["role:control"]}])


def main() -> int:
    """Run what is missing, and write the results after every row."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-n", type=int, default=100_000, help="faults a row")
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "checkers.json")
    given = options.parse_args()
    found = json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else {}
    listed, kept = list(rows()), {}
    for number, row in enumerate(listed, 1):
        name = f"{row.config}: {row.checkers}"
        config = load_config(row.config, {"checker.units": row.units})
        bare = load_config(row.config, {"checker.units": []})
        old = found.get("rows", {}).get(name)
        if old is None or (old["hash"], old["faults"]) != (config_hash(config), given.n):
            start = time.perf_counter()
            old = measured(config, bare, given.n)
            took = time.perf_counter() - start
            print(f"{number}/{len(listed)}  {name}: {took:.1f} s", flush=True)
        kept[name] = {"config": row.config, "checkers": row.checkers, **old}
        write(given.out, {"version": __version__, "rows": kept})
    return 0


def measured(config: Config, bare: Config, n: int) -> dict[str, Any]:
    """One row."""
    run, without = simulate(config, measure=False), simulate(bare, measure=False)
    with tempfile.TemporaryDirectory() as folder:
        result = run_campaign(config, folder, n=n)
    rates, latency = result.rates(), result.summary.latency_percentiles()
    return {
        "hash": config_hash(config),
        "faults": n,
        "cycles": run.system.total_cycles,
        "cycles_overhead": run.system.total_cycles / without.system.total_cycles - 1.0,
        "register_bits": run.machine.inventory.bits,
        "area": run.area.beside(without.area).as_dict(),
        "energy": run.energy.beside(without.energy).as_dict(),
        "rates": {name: interval(rates[name]) for name in RATES},
        "latency_cycles": latency,
    }


def interval(rate: Any) -> dict[str, float]:
    """A rate with its interval."""
    return {"estimate": rate.interval.estimate, "low": rate.interval.low, "high": rate.interval.high}


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Replace a file by one that is whole."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    os.replace(part, path)


if __name__ == "__main__":
    raise SystemExit(main())
