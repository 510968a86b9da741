"""How figures look: one font, one palette, no frame that says nothing. PNGs are drawn by Agg, without a display.

The colours are those of Okabe and Ito, which people with any colour vision can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, RED, SKY, PURPLE, YELLOW, GREY, INK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#CC79A7", "#F0E442", "#9A9A9A", "#2B2B2B",
)

OUTCOME_COLOURS = {"detected": GREEN, "silent": RED, "false_alarm": ORANGE, "masked": GREY}

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 11,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlepad": 10,
    "axes.labelsize": 11,
    "axes.labelcolor": INK,
    "axes.edgecolor": "#8A8A8A",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 10,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "figure.constrained_layout.use": True,
}

DPI = 160


def drawn(width: float, height: float, draw: Callable[[Figure], None]) -> bytes:
    """The PNG of a figure of so many inches that `draw` fills."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(cast(Any, STYLE)):
        figure = Figure(figsize=(width, height))
        FigureCanvasAgg(figure)
        draw(figure)
        stream = io.BytesIO()
        # No date and no version inside: the same data give the same file.
        figure.savefig(stream, format="png", dpi=DPI, metadata={"Software": None})
    return stream.getvalue()


def grid_along(axes: Axes, axis: str) -> None:
    """Light lines across the value axis, `x` or `y`, and no ticks on the other."""
    axes.grid(axis=axis)  # type: ignore[arg-type]
    axes.tick_params(axis="y" if axis == "x" else "x", length=0)
