"""How far a campaign is: a bar with rate and time left on standard error, nothing where no terminal is.

`Progress` is all that the runner sees: told how many records there are, after every shard.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from typing import Self

Report = Callable[[int, int | None], None]
"""Called with (records so far, records in all or None if a stopping rule decides)."""


class Progress(Protocol):
    """Somebody who wants to know."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def update(self, done: int, total: int | None) -> None:
        """There are `done` records now, of `total`."""
        ...


class Quiet:
    """Tells nobody, or a function."""

    def __init__(self, report: Report | None = None) -> None:
        self._report = report

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def update(self, done: int, total: int | None) -> None:
        """Pass it on."""
        if self._report is not None:
            self._report(done, total)


class Bar:
    """A bar on standard error: records, rate since it began, time left at that rate."""

    def __init__(self, title: str) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._title = title
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[state]}"),
            console=Console(stderr=True), transient=True,
        )
        self._began: tuple[float, int] | None = None

    def __enter__(self) -> Self:
        self._bar.start()
        self._task = self._bar.add_task(self._title, total=None, state="starting workers")
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def update(self, done: int, total: int | None) -> None:
        """Draw it. The rate counts from the first call, so that a resumed campaign shows its real speed."""
        now = time.monotonic()
        if self._began is None:
            self._began = (now, done)
        seconds, new = now - self._began[0], done - self._began[1]
        self._bar.update(self._task, completed=done, total=total, state=state(done, total, new, seconds))


def state(done: int, total: int | None, new: int, seconds: float) -> str:
    """`120,000 of 1,000,000 · 98,000/s · 0:09 left`."""
    parts = [f"{done:,}" if total is None else f"{done:,} of {total:,}"]
    if new and seconds > 0:
        rate = new / seconds
        parts.append(f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s")
        if total is not None:
            left = round((total - done) / rate)
            clock = f"{left // 60 % 60:02d}:{left % 60:02d}"
            parts.append(f"{left // 3600}:{clock} left" if left >= 3600 else f"{clock.removeprefix('0')} left")
    return " · ".join(parts)


def progress_for(wish: bool | Report | None, title: str) -> Progress:
    """None: a bar if standard error is a terminal. True or False: a bar or none. A function: it is called."""
    if callable(wish):
        return Quiet(wish)
    if wish or (wish is None and sys.stderr.isatty()):
        return Bar(title)
    return Quiet()
