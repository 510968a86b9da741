"""Figures are PNGs of some size, drawn without a display, the same for the same data."""

from __future__ import annotations

import struct
import subprocess
import sys

import numpy as np
import pytest

from accel_sim.report.figures import (
    Bar,
    Share,
    attention_map,
    attention_row,
    cost_bars,
    latency_histogram,
    least_latency,
    outcomes_by_component,
)

BARS = [Bar("score", 2e5, 1e5, 4e5), Bar("output", 5e5, 3e5, 9e5), Bar("checker.fused_output", 4e4, 2e4, 9e4, True)]
RATES = {name: {"detected": Share(0.2, 0.1, 0.3), "silent": Share(0.1, 0.0, 0.2), "masked": Share(0.7, 0.6, 0.8)}
         for name in ("score", "output")}  # fmt: skip
CYCLES, COUNTS = np.arange(5, 900, 7), np.linspace(1, 30, 128)
HALVES = np.array([0.5, 0.5])
NOTHING = Share(float("nan"), 0, 1)

FIGURES = {
    "area": lambda: cost_bars(BARS, "um2", "Area", "area"),
    "energy of nothing": lambda: cost_bars([Bar("score", 0.0, 0.0, 0.0)], "pJ", "Energy", "energy"),
    "map": lambda: attention_map(np.random.default_rng(0).dirichlet(np.ones(40), 30), "Attention"),
    "map of NaN": lambda: attention_map(np.full((3, 3), np.nan), "Attention"),
    "map of one": lambda: attention_map(np.ones((1, 1)), "Attention"),
    "a large map": lambda: attention_map(np.full((900, 2000), 1 / 2000), "Attention"),
    "row": lambda: attention_row([0, 1, 2], np.array([0.2, 0.3, 0.5]), [0, 1, 2], np.array([0.0, 1.0, 0.0]), "Row"),
    "row that became NaN": lambda: attention_row([0, 1], HALVES, [0, 1], np.array([np.nan, np.inf]), "Row"),
    "row with a key twice": lambda: attention_row([0, 1], HALVES, [0, 0], np.array([0.2, 0.8]), "Row"),
    "a long row": lambda: attention_row(range(300), np.full(300, 1 / 300), range(300), np.full(300, 1 / 300), "Row"),
    "outcomes": lambda: outcomes_by_component(RATES, {"score": 10, "output": 20}, "Outcomes"),
    "outcomes of nothing": lambda: outcomes_by_component({"score": {"silent": NOTHING}}, {}, "Outcomes"),
    "latency": lambda: latency_histogram(CYCLES, COUNTS, {"p50": 400, "p99": 890}, "Latency"),
    "least latency": lambda: least_latency([100, 200, 260], 260, "Least latency"),
    "one latency": lambda: latency_histogram(np.array([7]), np.array([1.0]), {"p50": 7}, "Latency"),
}  # fmt: skip


@pytest.mark.parametrize("draw", FIGURES.values(), ids=FIGURES)
def test_a_figure_is_a_png_of_readable_size(draw):
    data = draw()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", data[16:24])
    assert 800 < width < 2500
    assert 250 < height < 2500
    assert len(data) > 4_000


def test_the_same_data_give_the_same_file():
    assert FIGURES["latency"]() == FIGURES["latency"]()


def test_figures_need_no_display_and_leave_the_users_settings_alone():
    code = """
import matplotlib
before = dict(matplotlib.rcParams)
from accel_sim.report.figures import Bar, cost_bars
cost_bars([Bar("a", 1.0, 0.5, 2.0)], "pJ", "t", "x")
assert dict(matplotlib.rcParams) == before
import sys
assert "matplotlib.pyplot" not in sys.modules
"""
    environment = {"PYTHONPATH": ":".join(sys.path), "MPLBACKEND": "agg"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
