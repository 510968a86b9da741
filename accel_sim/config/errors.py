"""What goes wrong in a configuration, and where it stands.

- `Mark`: a file and a line.
- `Problem`: one thing that is wrong, with its mark and its key.
- `ConfigError`: the exception, made of one or more problems; its text is one message.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from accel_sim.config.root import Config

SHOWN_PROBLEMS = 10
"""How many problems one message lists in full."""

_LONGEST_TEXT = 60
_LONGEST_FILE = 300


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a configuration file, lines from 1. `file` is None for values that came from no file."""

    file: str | None = None
    line: int | None = None


NOWHERE = Mark()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: where, at which dotted key (may be empty), and what would be allowed."""

    message: str
    key: str = ""
    mark: Mark = NOWHERE

    def __str__(self) -> str:
        place = ""
        if self.mark.file is not None:
            place = printable(self.mark.file, _LONGEST_FILE)
            if self.mark.line is not None:
                place += f":{self.mark.line}"
        return ": ".join(part for part in (place, self.key, self.message) if part)


class ConfigError(ValueError):
    """A configuration that cannot be used.

    `str()` gives one message, `file:line: key: what is wrong and what is allowed`, with any further problems
    indented on the lines below it. `file`, `line` and `key` belong to the first problem and may be None.
    """

    def __init__(self, problems: Sequence[Problem] | Problem | str) -> None:
        if isinstance(problems, str):
            problems = Problem(problems)
        if isinstance(problems, Problem):
            problems = (problems,)
        self.problems: tuple[Problem, ...] = tuple(problems)
        first = self.problems[0]
        self.file: str | None = first.mark.file
        self.line: int | None = first.mark.line
        self.key: str | None = first.key or None
        super().__init__(self._message())

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)

    def _message(self) -> str:
        lines = [str(self.problems[0])]
        more = self.problems[1:]
        if more:
            lines[0] += f" (and {len(more)} more problem{'s' if len(more) > 1 else ''})"
            lines += [f"  {problem}" for problem in more[: SHOWN_PROBLEMS - 1]]
            if len(more) > SHOWN_PROBLEMS - 1:
                lines.append("  ...")
        return "\n".join(lines)

    @classmethod
    def at(cls, config: Config, key: str, message: str) -> ConfigError:
        """An error about `key` (dotted, such as `workload.path`) of a loaded config, found by a later stage.

        The file and line are those of the key, or of the nearest section that is written down when the key
        has its default.
        """
        return cls(Problem(message, key, config.mark(key)))


def printable(text: str, longest: int | None = None) -> str:
    """`text` on one line that any terminal can print; shortened in the middle when longer than `longest`."""
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
    if longest is not None and len(text) > longest:
        half = (longest - 3) // 2
        text = f"{text[:half]}...{text[-half:]}"
    return text


def shown(value: object) -> str:
    """A value as a message quotes it: in YAML's spelling, short, on one line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'the text "{printable(value, _LONGEST_TEXT)}"'
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return f"a list of {len(value)}" if value else "an empty list"
    if isinstance(value, float) and not math.isfinite(value):
        return repr(value).replace("inf", ".inf").replace("nan", ".nan")
    if isinstance(value, int) and abs(value) >= 10**40:
        return "an integer of more than 40 digits"
    return printable(repr(value), _LONGEST_TEXT)


def any_of(names: Sequence[str]) -> str:
    """`a`, `a or b`, `a, b or c`."""
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} or {names[-1]}"


def did_you_mean(word: str, names: Sequence[str]) -> str:
    """`; did you mean "x"?` when a name is close enough to `word`, otherwise nothing."""
    import difflib

    word = word[:_LONGEST_TEXT]
    close = difflib.get_close_matches(word.lower().replace("-", "_"), names, n=1)
    close = close or difflib.get_close_matches(word.lower(), names, n=1)
    return f'; did you mean "{close[0]}"?' if close else ""
