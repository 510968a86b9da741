"""How numbers and tables look on a terminal, and through a pipe.

Through a pipe there is no colour and the width is fixed, so that the same run gives the same text. Numbers keep the
digits that mean something: three significant ones for measures, all of them for counts.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

PIPE_WIDTH = 110
"""Columns of a line when nobody says how wide the terminal is."""

WIDEST = 124
"""Lines are no longer than this on any terminal."""

NARROWEST = 60


class Line(NamedTuple):
    """One line of a table of facts: what, how much, in which unit, and what there is to say about it."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


def console(stream: IO[str]) -> Console:
    """A console on `stream`: coloured and as wide as the terminal if it is one, plain and `PIPE_WIDTH` wide if not."""
    from rich.console import Console

    found = Console(file=stream, highlight=False, markup=False, emoji=False)
    columns = os.environ.get("COLUMNS", "")
    known = found.is_terminal or columns.isdecimal()
    width = min(max(found.width if known else PIPE_WIDTH, NARROWEST), WIDEST)
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


# -- numbers --------------------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 3) -> str:
    """A measure with `digits` significant digits: 0.0123, 1,230,000, 1.2e-07; – for None."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    size = abs(value)
    if not 1e-4 <= size < 1e7:
        return f"{value:.{digits - 1}e}"
    decimals = max(0, digits - 1 - math.floor(math.log10(size)))
    return f"{value:,.{decimals}f}"


def count(value: int | None) -> str:
    """All the digits of a count, in groups of three; – for None."""
    return "–" if value is None else f"{value:,}"


def percent(share: float | None, digits: int = 3) -> str:
    """A share as a percentage: 5.32%."""
    return "–" if share is None else f"{number(100 * share, digits)}%"


def span(low: float, high: float, digits: int = 3) -> str:
    """An interval: 4.12–5.86."""
    return f"{number(low, digits)}–{number(high, digits)}"


def percent_span(low: float, high: float, digits: int = 3) -> str:
    """An interval of shares: 4.12–5.86%."""
    return f"{number(100 * low, digits)}–{number(100 * high, digits)}%"


_STEPS = {"pJ": (("pJ", 1.0), ("nJ", 1e3), ("µJ", 1e6), ("mJ", 1e9), ("J", 1e12)),
          "um2": (("µm²", 1.0), ("mm²", 1e6)),
          "us": (("µs", 1.0), ("ms", 1e3), ("s", 1e6)),
          "B": (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30))}


def scaled(largest: float, unit: str) -> tuple[str, float]:
    """The unit in which numbers up to `largest` read best, and what to divide by: `unit` is pJ, um2, us or B."""
    chosen = _STEPS[unit][0]
    for name, size in _STEPS[unit]:
        if abs(largest) >= (size if unit != "um2" else 0.1 * size) and math.isfinite(largest):
            chosen = (name, size)
    return chosen


def quantity(value: float, unit: str, digits: int = 3) -> str:
    """A number with the unit that suits it: 1.23 nJ."""
    name, size = scaled(value, unit)
    return f"{number(value / size, digits)} {name}"


# -- tables ---------------------------------------------------------------------------------------------------


def heading(title: str, note: str = "") -> Text:
    """The line above a section."""
    from rich.text import Text

    text = Text(title, style="bold")
    if note:
        text.append(f"  {note}", style="dim")
    return text


def facts(lines: Iterable[Line]) -> Table:
    """Lines of facts: label, number, unit, note. Notes wrap; the rest never does."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False, expand=False)
    table.add_column(style="cyan", no_wrap=True, min_width=22)
    table.add_column(justify="right", no_wrap=True, min_width=10)
    table.add_column(no_wrap=True, min_width=6)
    table.add_column(style="dim", overflow="fold")
    for line in lines:
        table.add_row(*_cells(line))
    return table


def labelled(lines: Iterable[tuple[str, str]]) -> Table:
    """Lines of text with a label each; the text wraps."""
    from rich.table import Table

    table = Table(box=None, show_header=False, padding=(0, 1), pad_edge=False)
    table.add_column(style="cyan", no_wrap=True, min_width=10)
    table.add_column(overflow="fold")
    for label, text in lines:
        table.add_row(*_cells((label, text)))
    return table


def grid(headers: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, total: bool = False) -> Table:
    """A table with headers; the first `left` columns are text, the others numbers. `total`: set off the last row."""
    from rich import box
    from rich.table import Table

    listed = list(rows)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, show_edge=False)
    for i, header in enumerate(headers):
        table.add_column(header, justify="left" if i < left else "right", overflow="fold", no_wrap=i == 0 or i >= left,
                         style="cyan" if i == 0 else None)
    for i, row in enumerate(listed):
        table.add_row(*_cells(row), style="bold" if total and i == len(listed) - 1 else None)
    return table


def print_grid(console: Console, table: Table) -> None:
    """Print a table of numbers. Where the terminal is too narrow its lines run on: no digit is ever cut off."""
    width = console.width
    needed = console.measure(table, options=console.options.update(max_width=10 * WIDEST)).maximum
    if all(column.no_wrap for column in table.columns):
        console.width = max(width, needed)
    console.print(table)
    console.width = width


def _cells(row: Iterable[str]) -> list[RenderableType]:
    from rich.text import Text

    return [Text(cell) for cell in row]
