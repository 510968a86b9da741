"""What synthesis needs to know of a cell library: name and area of each cell, and which of them are flip-flops.

`read_library(paths)` reads one or more Liberty files (`.lib`, or packed as `.lib.gz`) that together are one library.
It reads no timing and no power: the mapper reads those itself.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_LIBRARY = re.compile(r'\blibrary\s*\(\s*"?([^")]+?)"?\s*\)\s*\{')
_CELL = re.compile(r'\bcell\s*\(\s*"?([^")]+?)"?\s*\)\s*\{')
_AREA = re.compile(r'\barea\s*:\s*"?([0-9.eE+-]+)"?\s*[;\n]')  # some files leave the semicolon out
_FLIP_FLOP = re.compile(r"\bff\s*\(")


class LibertyError(ValueError):
    """A Liberty file that cannot be used; the message names it."""


@dataclass(frozen=True)
class LibraryFile:
    """One Liberty file. name: of its library group. text: all of it, unpacked. areas: of each cell, in the file's own
    unit, square micrometres by custom. flip_flops: the cells that are flip-flops."""

    path: Path
    name: str
    text: str
    areas: Mapping[str, float]
    flip_flops: frozenset[str]


@dataclass(frozen=True)
class Library:
    """A cell library, in one or more files."""

    files: tuple[LibraryFile, ...]

    @property
    def name(self) -> str:
        """The names of its files' library groups."""
        return ", ".join(dict.fromkeys(file.name for file in self.files))

    @property
    def areas(self) -> dict[str, float]:
        """Area of each cell, um2."""
        return {cell: area for file in self.files for cell, area in file.areas.items()}

    @property
    def flip_flops(self) -> frozenset[str]:
        """The cells that are flip-flops."""
        return frozenset().union(*(file.flip_flops for file in self.files))


def read_library(paths: Sequence[Path]) -> Library:
    """The library in some Liberty files. Raises LibertyError, naming the file, for what is no cell library, and for
    one without flip-flops or without other cells."""
    library = Library(tuple(_read(path) for path in paths))
    named = ", ".join(str(path) for path in paths)
    if not library.flip_flops:
        raise LibertyError(f"{named}: there is no flip-flop (a cell with an ff group) to map registers to")
    if len(library.flip_flops) == len(library.areas):
        raise LibertyError(f"{named}: there are flip-flops only, and no cell to map logic to")
    return library


def _read(path: Path) -> LibraryFile:
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise LibertyError(f"{path}: cannot be read: {reason}") from None
    text = data.decode("utf-8", "replace")
    bare = _COMMENT.sub(" ", text)
    found = _LIBRARY.search(bare)
    if found is None:
        raise LibertyError(f"{path}: is no Liberty file (it has no library group)")
    areas: dict[str, float] = {}
    flip_flops = set()
    heads = list(_CELL.finditer(bare))
    for i, head in enumerate(heads):
        after = heads[i + 1].start() if i + 1 < len(heads) else len(bare)
        area = _AREA.search(bare, head.end(), after)
        areas[head[1]] = _number(area[1]) if area is not None else 0.0
        if _FLIP_FLOP.search(bare, head.end(), after):
            flip_flops.add(head[1])
    if not areas:
        raise LibertyError(f"{path}: there is no cell in library {found[1]}")
    return LibraryFile(path, found[1], text, areas, frozenset(flip_flops))


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
