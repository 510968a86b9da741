"""What the operand format costs Flash-ABFT inside a systolic array, and what a second and third column give back.

    python experiments/fused_columns.py [-n 200000] [--out docs/images/fused-columns.png]

On the `fused` machine the row sum of V is one more streamed column, so it enters the array in the operand format; its
remainders can follow as low and lower columns. For one, two and three columns on fused-d32: the threshold (four times
the largest clean residual of 20 heads), and the share of wrong outputs that raise the alarm, by how wrong they are.
Prints the table and draws the figure.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from accel_sim.analysis.statistics import jeffreys
from accel_sim.assembly import assemble
from accel_sim.campaign.runner import run_campaign
from accel_sim.config import load_config
from accel_sim.report.figure_style import BLUE, GREEN, RED, drawn

ROOT = Path(__file__).resolve().parents[1]

EDGES = 10.0 ** np.arange(-6, 1.01, 0.5)
"""Relative L2 errors of the head that bins are cut at."""

COLOURS = {1: RED, 2: BLUE, 3: GREEN}


def main() -> int:
    """Measure, print, draw."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("-n", type=int, default=200_000, help="faults for each number of columns")
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "fused-columns.png")
    given = options.parse_args()
    found = {columns: measured(columns, given.n) for columns in COLOURS}
    for columns, (threshold, among, hits) in found.items():
        total = jeffreys(int(hits.sum()), int(among.sum()))
        print(f"{columns} column{'s' if columns > 1 else ' '}  threshold {threshold:.3g}  coverage of errors above "
              f"{EDGES[0]:.0e}: {100 * total.estimate:.1f} % ({100 * total.low:.1f} to {100 * total.high:.1f})")
    given.out.write_bytes(drawn(8.0, 4.4, lambda figure: draw(figure, found)))
    return 0


def measured(columns: int, n: int) -> tuple[float, np.ndarray, np.ndarray]:
    """(threshold, wrong outputs by bin of their error, those of them with an alarm)."""
    config = load_config("fused-d32", {"checker.units.0.columns": columns})
    threshold = assemble(config, measure=False).limits["fused_output"].limit
    with tempfile.TemporaryDirectory() as folder:
        run_campaign(config, folder, n=n)
        records = pq.read_table(Path(folder) / "shards", columns=["alarm", "out_rel_l2"])
    error, alarm = (records[name].to_numpy() for name in ("out_rel_l2", "alarm"))
    wrong = np.minimum(np.nan_to_num(error, posinf=EDGES[-1]), EDGES[-1])
    return threshold, np.histogram(wrong, EDGES)[0], np.histogram(wrong[alarm], EDGES)[0]


def draw(figure: Any, found: dict[int, tuple[float, np.ndarray, np.ndarray]]) -> None:
    """Coverage against the size of the error, one line for each number of columns."""
    axes = figure.subplots()
    middle = np.sqrt(EDGES[:-1] * EDGES[1:])
    for columns, (threshold, among, hits) in found.items():
        known = [jeffreys(int(k), int(n)) for k, n in zip(hits, among, strict=True)]
        seen = among >= 20
        value = np.where(seen, 100 * hits / np.maximum(among, 1), np.nan)
        low, high = (np.where(seen, [100 * getattr(i, end) for i in known], np.nan) for end in ("low", "high"))
        name = f"{columns} column{'s' if columns > 1 else ''}, threshold {threshold:.2g}"
        axes.plot(middle, value, marker="o", markersize=4, color=COLOURS[columns], label=name)
        axes.fill_between(middle, low, high, color=COLOURS[columns], alpha=0.15, linewidth=0)
    axes.set_xscale("log")
    axes.set_ylim(0, 100)
    axes.set_xlabel("relative error of the head's output, ‖O′ − O‖₂ / ‖O‖₂")
    axes.set_ylabel("wrong outputs with an alarm (%)")
    axes.set_title("Flash-ABFT inside a 32 × 32 array: row sums in bf16 columns")
    axes.grid(axis="both")
    axes.legend(loc="upper left")


if __name__ == "__main__":
    raise SystemExit(main())
