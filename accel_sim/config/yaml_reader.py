"""YAML text to a tree of marked values.

Built on the event stream and not on PyYAML's own composer, because a configuration may hold any bytes: depth
and size stay bounded, duplicate keys are found, and every value keeps its line.

Scalars follow YAML 1.2's core schema, without the traps of 1.1: `1e-6` is a number; `on`, `off`, `yes` and
`no` are text, and only `true` and `false` are booleans; `010`, `1_000` and `12:30` are text. Integers may be
written in hex (`0x1f`). Anchors and aliases work; tags, merge keys (`<<`) and several documents do not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml

from accel_sim.config.errors import ConfigError, Mark, Problem, printable
from accel_sim.config.tree import Node, Scalar

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
MAX_NODES = 20_000
MAX_INTEGER = 2**63 - 1

_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CONTROL = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_WORDS: dict[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not been read yet."""

    node: Node
    anchor: str | None
    size_before: int
    key: str | None = None
    key_line: int = 0


@dataclass(slots=True)
class _Reader:
    file: str
    lines: list[str]
    open: list[_Open] = field(default_factory=list)
    anchors: dict[str, tuple[Node, int, int]] = field(default_factory=dict)  # node, size, depth below it
    size: int = 0
    root: Node | None = None

    def fail(self, line: int, message: str, *more: str) -> ConfigError:
        here = [
            str(len(item.node.value)) if isinstance(item.node.value, list) else item.key for item in self.open
        ]
        key = ".".join(printable(part, 40) for part in (*here, *more) if part is not None)
        return ConfigError(Problem(message, key, Mark(self.file, line)))

    def event(self, event: Any, line: int) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            if self.root is not None:
                raise self.fail(line, "a second YAML document starts here; a config is one document")
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            self.start(event, line)
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            done = self.open.pop()
            if done.anchor is not None:
                self.anchors[done.anchor] = (done.node, self.size - done.size_before, _depth(done.node))
            self.add(done.node)
        elif isinstance(event, yaml.AliasEvent):
            self.alias(event.anchor, line)
        elif isinstance(event, yaml.ScalarEvent):
            self.scalar(event, line)

    def start(self, event: Any, line: int) -> None:
        self.untagged(event, line)
        is_mapping = isinstance(event, yaml.MappingStartEvent)
        self.text_key_wanted(line, "a mapping" if is_mapping else "a list")
        if len(self.open) >= MAX_DEPTH:
            raise ConfigError(Problem(f"nested deeper than {MAX_DEPTH} levels", "", Mark(self.file, line)))
        node = Node({} if is_mapping else [], Mark(self.file, line))
        self.open.append(_Open(node, event.anchor, self.size))
        self.count(1, line)

    def scalar(self, event: Any, line: int) -> None:
        self.untagged(event, line)
        text: str = event.value
        if _SURROGATE.search(text):
            raise self.fail(line, "text holds half of a surrogate pair, which is no character")
        plain = event.implicit[0]
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            self.mapping_key(top, text, plain, line)
            return
        node = Node(self.resolve(text, line) if plain else text, Mark(self.file, line))
        if event.anchor is not None:
            self.anchors[event.anchor] = (node, 1, 0)
        self.count(1, line)
        self.add(node)

    def mapping_key(self, top: _Open, text: str, plain: bool, line: int) -> None:
        assert isinstance(top.node.value, dict)
        if plain and text == "<<":
            raise self.fail(line, 'merge keys ("<<") are not supported; use "extends" at the top of the file')
        if plain and not isinstance(self.resolve(text, line), str):
            raise self.fail(line, f"keys must be text (got {printable(text, 40) or 'null'})")
        if text in top.node.value:
            first = top.node.key_marks[text].line
            raise self.fail(line, f"duplicate key (first on line {first})", text)
        top.key, top.key_line = text, line

    def alias(self, anchor: Any, line: int) -> None:
        self.text_key_wanted(line, "an alias")
        if anchor not in self.anchors:
            raise self.fail(line, f'alias "*{printable(anchor, 40)}" names no finished anchor above it')
        node, size, depth = self.anchors[anchor]
        if len(self.open) + depth > MAX_DEPTH:
            raise self.fail(line, f"aliases nest deeper than {MAX_DEPTH} levels")
        self.count(size, line)
        self.add(node)

    def add(self, node: Node) -> None:
        if not self.open:
            self.root = node
            return
        top = self.open[-1]
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict):
            assert top.key is not None
            top.node.value[top.key] = node
            top.node.key_marks[top.key] = Mark(self.file, top.key_line)
            top.key = None

    def count(self, nodes: int, line: int) -> None:
        self.size += nodes
        if self.size > MAX_NODES:
            raise self.fail(line, f"more than {MAX_NODES} values (aliases counted each time they are used)")

    def untagged(self, event: Any, line: int) -> None:
        if event.tag is not None:
            raise self.fail(line, f"tags are not supported (got {printable(event.tag, 40)})")

    def text_key_wanted(self, line: int, got: str) -> None:
        top = self.open[-1] if self.open else None
        if top is not None and isinstance(top.node.value, dict) and top.key is None:
            raise self.fail(line, f"keys must be text (got {got})")

    def resolve(self, text: str, line: int) -> Scalar:
        """A plain (unquoted) scalar by YAML 1.2's core schema."""
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            digits = text.lstrip("+-")
            base = 16 if digits.startswith("0x") else 10
            number = int(digits, base) if len(digits) <= 40 else MAX_INTEGER + 1
            if number > MAX_INTEGER:
                raise self.fail(line, f"integers must lie within ±(2^63 - 1) (got {printable(text, 40)})")
            return -number if text.startswith("-") else number
        if _FLOAT.fullmatch(text) and not _leading_zero(text):
            return float(text)
        return text


def read_yaml(data: bytes, file: str) -> Node:
    """The mapping that the bytes of one YAML document hold; `file` is the name its errors and marks carry.

    Raises ConfigError on anything else, whatever the bytes.
    """
    if len(data) > MAX_BYTES:
        raise ConfigError(Problem(f"larger than {MAX_BYTES // 1024} KiB; is it a config?", "", Mark(file)))
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        mark = Mark(file, data.count(b"\n", 0, error.start) + 1)
        raise ConfigError(Problem("not UTF-8 text; is it a config?", "", mark)) from None
    bad = _CONTROL.search(text)
    if bad:
        mark = Mark(file, text.count("\n", 0, bad.start()) + 1)
        raise ConfigError(Problem(f"not YAML text: character U+{ord(bad[0]):04X} is not allowed", "", mark))
    reader = _Reader(file, text.split("\n"))
    _feed(reader, text)
    if reader.root is None or reader.root.value is None:
        raise ConfigError(Problem("holds no configuration (it is empty)", "", Mark(file, 1)))
    if not isinstance(reader.root.value, dict):
        what = "a list" if isinstance(reader.root.value, list) else "a single value"
        message = f'the top level must be a mapping of "key: value" lines (got {what})'
        raise ConfigError(Problem(message, "", reader.root.mark))
    return reader.root


def _feed(reader: _Reader, text: str) -> None:
    line = 1
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = _line(event)
            reader.event(event, line)
    except yaml.MarkedYAMLError as error:
        mark: Any = error.problem_mark if error.problem_mark is not None else error.context_mark
        if "end of stream" in (error.problem or "") and error.context_mark is not None:
            mark = error.context_mark  # where the quote was opened, rather than where the file ends
        line = line if mark is None else mark.line + 1
        raise _syntax_error(reader, line, error) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        # PyYAML lets conversions of escapes and directives fail as they may.
        raise ConfigError(Problem("not valid YAML", "", Mark(reader.file, line))) from None


def _line(event: Any) -> int:
    line: int = event.start_mark.line
    return line + 1


def _syntax_error(reader: _Reader, line: int, error: yaml.MarkedYAMLError) -> ConfigError:
    source = reader.lines[line - 1] if line <= len(reader.lines) else ""
    indent = source[: len(source) - len(source.lstrip())]
    if "\t" in indent:
        message = "a tab stands in the indentation; YAML allows only spaces there"
    else:
        what = " ".join(part for part in (error.context, error.problem) if part)
        message = f"not valid YAML: {printable(what, 160)}"
    return ConfigError(Problem(message, "", Mark(reader.file, line)))


def _depth(node: Node) -> int:
    """Levels of nesting below and including a list or mapping."""
    if isinstance(node.value, dict):
        return 1 + max((_depth(item) for item in node.value.values()), default=0)
    if isinstance(node.value, list):
        return 1 + max((_depth(item) for item in node.value), default=0)
    return 0


def _leading_zero(text: str) -> bool:
    """Whether a number has a zero before its first digit, as in 010: octal to some, decimal to others."""
    digits = re.match(r"[-+]?([0-9]*)", text)
    return digits is not None and len(digits[1]) > 1 and digits[1].startswith("0")
