"""The documentation is true: generated parts are current, links lead somewhere, and the commands work."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from accel_sim.cli.inputs import config_of
from accel_sim.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"(?ms)^```(?P<language>\S*)\n(?P<text>.*?)^```$")
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
NAMED_PATH = re.compile(
    r"`((?:accel_sim|benchmarks|configs|docs|experiments|tests|\.ci)/[\w./-]*|[\w-]+\.(?:md|toml))`"
)
SECONDS = 120
"""No documented command takes longer, compilation included."""

name = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@pytest.fixture(scope="module")
def build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@name
def test_generated_parts_are_what_the_code_says(page: Path, build: ModuleType) -> None:
    text = page.read_text(encoding="utf-8")
    assert build.filled(text) == text, "run: python docs/build.py"


def test_every_generator_is_used_and_every_block_is_closed(build: ModuleType) -> None:
    text = "\n".join(page.read_text(encoding="utf-8") for page in PAGES)
    used = {block["name"].split()[0] for block in build.BLOCK.finditer(text)}
    assert used == set(build.BLOCKS)
    assert text.count("<!-- generated: ") == len(list(build.BLOCK.finditer(text)))


def prose(page: Path) -> str:
    """A page without its code blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The fragments that headings of a page can be linked by."""
    heads = re.findall(r"(?m)^#+ (.+)$", prose(page))
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@name
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(prose(page)):
        if target.startswith(("https://", "mailto:")):
            continue
        path, _, fragment = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{target} in {page.name}"
        assert found.is_relative_to(ROOT), f"{target} in {page.name} leaves the project"
        assert not fragment or fragment in anchors(found), f"no heading {fragment} in {found.name}"


@name
def test_files_that_are_named_exist(page: Path) -> None:
    for path in NAMED_PATH.findall(prose(page)):
        assert (ROOT / path).exists() or (page.parent / path).exists(), f"{path}, named in {page.name}"


def test_every_page_is_reached_from_the_readme() -> None:
    reached, todo = set(), [ROOT / "README.md"]
    while todo:
        page = todo.pop()
        if page in reached:
            continue
        reached.add(page)
        links = (target.partition("#")[0] for target in LINK.findall(prose(page)))
        todo += [(page.parent / link).resolve() for link in links if link.endswith(".md") and "://" not in link]
    assert set(PAGES) <= reached


# -- commands -------------------------------------------------------------------------------------------------


class Shown(NamedTuple):
    """A command as a page shows it: its arguments, and the output lines shown after it (… for what is left out)."""

    words: list[str]
    output: tuple[str, ...]

    @property
    def refused(self) -> bool:
        """Whether the page shows how bad input is answered."""
        return any(line.startswith("accel-sim: error: ") for line in self.output)


def commands(page: Path) -> Iterator[Shown]:
    """The `accel-sim …` commands in a page's shell blocks. A `text` block after one shows lines of its last output."""
    blocks = [*FENCED.finditer(page.read_text(encoding="utf-8")), None]
    for block, after in pairwise(blocks):
        assert block is not None
        if block["language"] not in ("sh", "bash", "console"):
            continue
        found = [words for line in block["text"].replace("\\\n", " ").splitlines() for words in parsed(line)]
        excerpt = tuple(after["text"].splitlines()) if after is not None and after["language"] == "text" else ()
        for words in found:
            yield Shown(words, excerpt if words is found[-1] else ())


def parsed(line: str) -> Iterator[list[str]]:
    """The arguments of every accel-sim in a line of shell; redirections are left out."""
    for part in line.removeprefix("$ ").split("&&"):
        words = shlex.split(part, comments=True)
        if words[:1] == ["accel-sim"]:
            yield words[1 : words.index(">") if ">" in words else None]


def own_files(page: Path, folder: Path) -> None:
    """Write the files that a page shows: YAML blocks whose first line is a comment with a file name."""
    for block in FENCED.finditer(page.read_text(encoding="utf-8")):
        head, _, _ = block["text"].partition("\n")
        if block["language"] == "yaml" and (named := re.fullmatch(r"# ([\w-]+\.yaml)", head)):
            (folder / named[1]).write_text(block["text"], encoding="utf-8")


def test_the_documentation_does_show_commands() -> None:
    for page in (ROOT / "README.md", ROOT / "docs" / "getting-started.md"):
        assert {"run", "inject", "campaign"} <= {shown.words[0] for shown in commands(page)}
        assert any(shown.output for shown in commands(page))


@name
def test_commands_parse_and_their_configs_load(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    own_files(page, tmp_path)
    for shown in commands(page):
        if "--help" in shown.words:
            continue
        options = build_parser().parse_args(shown.words)
        if getattr(options, "config", None) is not None and not shown.refused:
            config_of(options)


def spaced(line: str) -> str:
    """A line with single spaces: how wide a column is changes with what stands in it."""
    return " ".join(line.split())


@pytest.mark.slow
@name
def test_commands_run_and_print_what_is_shown(page: Path, tmp_path: Path) -> None:
    own_files(page, tmp_path)
    plain = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR", "CLICOLOR_FORCE")}
    for shown in commands(page):
        command = [sys.executable, "-m", "accel_sim", *shown.words]
        done = subprocess.run(command, cwd=tmp_path, env=plain, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == (2 if shown.refused else 0), f"accel-sim {shlex.join(shown.words)}\n{done.stderr}"
        printed = (spaced(line) for line in (done.stderr if shown.refused else done.stdout).splitlines())
        for line in shown.output:
            # Consuming the iterator keeps the order.
            assert line.strip() in ("", "…") or spaced(line) in printed, f"{line!r} of {shown.words}"
