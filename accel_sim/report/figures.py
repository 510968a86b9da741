"""The PNGs of --out. Every function returns the bytes of one file; Matplotlib is imported when the first is drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from accel_sim.report.figure_style import BLUE, INK, OUTCOME_COLOURS, RED, drawn, grid_along
from accel_sim.report.text import count, number, scaled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAP_PIXELS = 768
"""Attention maps with more queries or keys are averaged down to so many."""


class Bar(NamedTuple):
    """A measure of one component, with its range."""

    name: str
    value: float
    low: float
    high: float
    check_unit: bool = False


def cost_bars(bars: Sequence[Bar], unit: str, title: str, axis: str) -> bytes:
    """A measure by component, largest first, with its range. `unit` is a key of `text.scaled`: um2 or pJ."""
    listed = sorted(bars, key=lambda bar: bar.value)
    shown, size = scaled(max((bar.value for bar in listed), default=0.0), unit)

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        places = np.arange(len(listed))
        values = np.array([bar.value for bar in listed]) / size
        reach = np.array([[bar.value - bar.low, bar.high - bar.value] for bar in listed]).T / size
        colours = [RED if bar.check_unit else BLUE for bar in listed]
        axes.barh(places, values, height=0.62, color=colours)
        axes.errorbar(values, places, xerr=np.maximum(reach, 0.0), fmt="none", ecolor=INK, elinewidth=1.2, capsize=3)
        axes.set_yticks(places, [bar.name for bar in listed])
        axes.set_xlim(left=0)
        axes.set_xlabel(f"{axis} ({shown}), with its range and its share of the total")
        axes.set_title(title)
        grid_along(axes, "x")
        total = sum(bar.value for bar in listed)
        edge = axes.get_xlim()[1]
        for place, bar in zip(places, listed, strict=True):
            share = 100 * bar.value / total if total else 0.0
            axes.text(bar.high / size + 0.012 * edge, float(place), f"{number(share, 2)}%", va="center", fontsize=9,
                      color=INK)
        axes.set_xlim(0, 1.08 * max(edge, max(bar.high for bar in listed) / size))

    return drawn(8.0, 1.3 + 0.38 * len(listed), draw)


def attention_map(weights: np.ndarray, title: str) -> bytes:
    """The weights (Nq, N) of one head as an image: a row for each query, a column for each key."""
    image = _averaged(np.where(np.isfinite(weights), weights, 0.0))

    def draw(figure: Figure) -> None:
        from matplotlib.colors import PowerNorm

        axes = figure.subplots()
        n_queries, n_keys = weights.shape
        top = float(image.max()) or 1.0
        shown = axes.imshow(
            image, cmap="magma_r", norm=PowerNorm(0.5, 0.0, top), aspect="auto", interpolation="nearest",
            extent=(-0.5, n_keys - 0.5, n_queries - 0.5, -0.5),
        )
        axes.set_xlabel("key")
        axes.set_ylabel("query")
        axes.set_title(title)
        for spine in axes.spines.values():
            spine.set_visible(False)
        _whole_numbers(axes)
        bar = figure.colorbar(shown, ax=axes, fraction=0.05, pad=0.02)
        bar.set_label("attention weight (square-root scale)")
        bar.outline.set_visible(False)

    return drawn(7.2, 6.0, draw)


def _averaged(image: np.ndarray) -> np.ndarray:
    """An image of at most `MAP_PIXELS` a side, each pixel the mean of what it stands for."""
    for axis in (0, 1):
        size = image.shape[axis]
        if size > MAP_PIXELS:
            starts = np.linspace(0, size, MAP_PIXELS, endpoint=False).astype(np.int64)
            widths = np.diff(np.append(starts, size))
            image = np.add.reduceat(image, starts, axis=axis) / np.expand_dims(widths, 1 - axis)
    return image


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(nbins=8, integer=True))


def attention_row(keys: Sequence[int], golden: np.ndarray, faulty_keys: Sequence[int], faulty: np.ndarray,
                  title: str) -> bytes:
    """One query's weights before and after a fault, and their difference where both are finite numbers."""
    before, after = _by_key(keys, golden), _by_key(faulty_keys, faulty)
    delta = {key: after[key] - before.get(key, 0.0) for key in after if np.isfinite(after[key])}
    lost = [key for key in after if not np.isfinite(after[key])]

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
        many = len(keys) > 64
        above.bar(keys, golden, width=1.0 if many else 0.7, color="#C4C4C4", label="before")
        above.plot(list(delta), [after[key] for key in delta], linestyle="none", marker="o",
                   markersize=3 if many else 5.5, color=RED, label="after", clip_on=False, zorder=3)
        if lost:
            above.plot(lost, np.zeros(len(lost)), linestyle="none", marker="x", color=RED,
                       label="after: NaN or infinite")
        above.set_ylabel("share of the output")
        above.set_title(title)
        handles, labels = above.get_legend_handles_labels()
        order = sorted(range(len(labels)), key=lambda i: labels[i] != "before")
        above.legend([handles[i] for i in order], [labels[i] for i in order], loc="upper right",
                     bbox_to_anchor=(1.0, 1.14), ncols=3, borderaxespad=0, columnspacing=1.4)
        below.vlines(list(delta), 0, list(delta.values()), color=RED, linewidth=1.5 if many else 4)
        below.set_ylabel("change")
        below.set_xlabel("key")
        below.xaxis.set_major_locator(MaxNLocator(nbins=12, integer=True))
        for axes in (above, below):
            axes.axhline(0, color="#8A8A8A", linewidth=0.8)
            axes.spines["bottom"].set_visible(False)
            grid_along(axes, "y")

    return drawn(8.6, 5.0, draw)


def _by_key(keys: Sequence[int], weights: np.ndarray) -> dict[int, float]:
    """Weight of each key; a key that came twice has the sum."""
    total: dict[int, float] = {}
    for key, weight in zip(keys, weights, strict=False):
        total[int(key)] = total.get(int(key), 0.0) + float(weight)
    return total


class Share(NamedTuple):
    """A rate with its interval, 0 to 1."""

    estimate: float
    low: float
    high: float


def outcomes_by_component(rates: Mapping[str, Mapping[str, Share]], faults: Mapping[str, int], title: str) -> bytes:
    """rates[component][outcome], one row of dots with their intervals for each component; faults: how many each had."""
    components = list(rates)[::-1]
    outcomes = [name for name in OUTCOME_COLOURS if any(name in rates[c] for c in components)]

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        step = 0.7 / max(len(outcomes), 1)
        for i, outcome in enumerate(outcomes):
            places, points, reach = [], [], []
            for row, component in enumerate(components):
                rate = rates[component].get(outcome)
                if rate is not None and rate.estimate == rate.estimate:
                    places.append(row + (len(outcomes) - 1) / 2 * step - i * step)
                    points.append(100 * rate.estimate)
                    reach.append((100 * max(rate.estimate - rate.low, 0), 100 * max(rate.high - rate.estimate, 0)))
            axes.errorbar(points, places, xerr=np.array(reach).reshape(-1, 2).T, fmt="o", markersize=5.5,
                          color=OUTCOME_COLOURS[outcome], elinewidth=1.6, capsize=0, label=outcome.replace("_", " "))
        for row in range(len(components) - 1):
            axes.axhline(row + 0.5, color="#EFEFEF", linewidth=0.8)
        axes.set_yticks(range(len(components)), [f"{c}\n{count(faults.get(c, 0))} faults" for c in components])
        axes.tick_params(axis="y", labelsize=10)
        axes.set_ylim(-0.5, len(components) - 0.5)
        axes.set_xlim(-1, 101)
        axes.set_xlabel("share of the faults in that component (%), with 95% intervals")
        axes.set_title(title)
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), borderaxespad=0.5)
        grid_along(axes, "x")

    return drawn(9.4, 1.5 + 0.72 * len(components), draw)


def latency_histogram(cycles: np.ndarray, counts: np.ndarray, percentiles: Mapping[str, int | None],
                      title: str) -> bytes:
    """How long detection takes: cycles (n,) int64 with how often each was seen, counts (n,)."""

    def draw(figure: Figure) -> None:
        from matplotlib.ticker import MaxNLocator

        axes = figure.subplots()
        bins = _bins(cycles)
        axes.hist(cycles, bins=bins, weights=counts, color=BLUE, edgecolor="white", linewidth=0.6)
        axes.set_xlabel("detection latency: alarm cycle − fault cycle (cycles)")
        axes.set_ylabel("detected faults")
        axes.yaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        top = axes.get_ylim()[1]
        for name, at in percentiles.items():
            if at is not None:
                axes.axvline(at, color=RED, linewidth=1.2, linestyle=(0, (4, 3)))
                axes.text(at, 1.01 * top, name, ha="center", va="bottom", fontsize=9, color=RED)
        axes.set_ylim(0, top)
        axes.set_title(title, pad=24)
        grid_along(axes, "y")

    return drawn(8.0, 4.2, draw)


def least_latency(alarm_cycles: Sequence[int], cycles: int, title: str) -> bytes:
    """How long a fault waits at least, by its cycle: until the next of the cycles in which an alarm can be read.

    cycles: length of the run. A fault after the last comparison raises no alarm.
    """

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        start = 0
        for end in sorted(set(alarm_cycles)):
            axes.fill_between([start, end], [end - start, 0], color=BLUE, alpha=0.18, linewidth=0)
            axes.plot([start, end], [end - start, 0], color=BLUE, linewidth=1.6)
            axes.plot([end], [0], marker="v", color=RED, markersize=6, clip_on=False, linestyle="none",
                      label="an alarm can be read" if not start else None)
            start = end
        axes.set_xlim(0, cycles)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("cycle of the fault")
        axes.set_ylabel("cycles until the next alarm")
        axes.set_title(title)
        axes.legend(loc="upper right")
        grid_along(axes, "y")
        _whole_numbers(axes)

    return drawn(8.0, 4.2, draw)


def _bins(cycles: np.ndarray) -> Any:
    """Edges of equal whole-cycle bins, at most 40 of them."""
    if not len(cycles):
        return np.array([0, 1])
    low, high = int(cycles.min()), int(cycles.max()) + 1
    width = max(1, -(-(high - low) // 40))
    return np.arange(low, high + width, width)
