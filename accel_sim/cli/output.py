"""Where a command's results go: standard output, and files that are never half-written.

A command makes one `Output`: the document that --json prints, what a person sees instead, and the files of --out.
"""

from __future__ import annotations

import os
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from accel_sim.cli.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_ASCII = {"µ": "u", "²": "2", "³": "3", "–": "-", "—": "-", "−": "-", "×": "x", "·": "*", "∞": "inf", "→": "->",
          "≤": "<=", "≥": ">=", "√": "sqrt", "ᵀ": "^T", "Σ": "sum", "Π": "product", "±": "+/-", "…": "...", "█": "#",
          "⌈": "ceil(", "⌉": ")", "‖": "||", "₂": "_2", "─": "-"}
"""What to write where the terminal's encoding has no such character."""


@dataclass(frozen=True)
class Output:
    """document: plain data, with every number defined in `report.definitions`. show: prints it for a person.
    files: name to a function that makes the contents, called only with --out."""

    document: Mapping[str, Any]
    show: Callable[[Console], None]
    files: Mapping[str, Callable[[], bytes]] = field(default_factory=dict)


class OutputFolder:
    """The folder of --out. It is made when the first file is written; files appear in it whole or not at all.

    Raises UsageError, before any work is done, if the path is no folder that can be made and written to.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        if not path or "\0" in path:
            raise UsageError(f"--out {path!r}: is no name that a folder can have")
        try:
            place = self.path
            while not place.exists():
                place = place.parent
            with tempfile.TemporaryFile(dir=place):
                pass
        except (OSError, ValueError) as error:
            raise self._unusable(error) from None

    def _unusable(self, error: Exception) -> UsageError:
        reason = getattr(error, "strerror", None) or str(error)
        return UsageError(f"--out {self.path}: cannot be used as a folder: {reason.lower()}")

    def write(self, name: str, contents: bytes) -> Path:
        """Write one file: to a temporary name first, then renamed into place."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._unusable(error) from None
        target = self.path / name
        handle, temporary = tempfile.mkstemp(prefix=f".{name}.", suffix=".tmp", dir=self.path)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(contents)
                stream.flush()
                os.fsync(stream.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, target)
        except BaseException:
            os.unlink(temporary)
            raise
        return target


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def folder_of(options: Namespace) -> OutputFolder | None:
    """The folder of --out; a bad one is known before the work."""
    return None if options.out is None else OutputFolder(options.out)


def emit(output: Output, options: Namespace, folder: OutputFolder | None) -> None:
    """Write the files, then print the document or the text."""
    written = []
    if folder is not None:
        for name, contents in output.files.items():
            written.append(folder.write(name, contents()))
    if options.json:
        from accel_sim.report.plain import dumps

        sys.stdout.write(dumps(output.document))
        return
    print_text(output.show)
    if written:
        print_text(lambda console: console.print(f"\nwrote {', '.join(map(str, written))}", soft_wrap=True))


def print_text(show: Callable[[Console], None]) -> None:
    """What `show` prints, to standard output, in an encoding that it has."""
    from accel_sim.report.text import console

    target = console(sys.stdout)
    with target.capture() as capture:
        show(target)
    text = capture.get()
    if not target.is_terminal:
        text = "".join(f"{line.rstrip()}\n" for line in text.splitlines())
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        text = "".join(_ASCII.get(c, c) for c in text).encode(encoding, "replace").decode(encoding)
    sys.stdout.write(text)
