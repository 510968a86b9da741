"""Help comes at once: nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import pytest

HEAVY = ("numpy", "numba", "scipy", "pydantic", "yaml", "simpy", "matplotlib", "pyarrow", "rich", "asyncio")


def modules_after(code: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running some code."""
    tail = "\nimport sys; sys.stderr.write(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code + tail], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    return {name.partition(".")[0] for name in done.stderr.split()}


BARE = modules_after("")


@pytest.mark.parametrize("code", [
    "import accel_sim",
    "import accel_sim.cli",
    "from accel_sim.cli import main; main(['--help'])",
    "from accel_sim.cli import main; main(['inject', '--help'])",
    "from accel_sim.cli import main; main(['run'])",
    "import accel_sim; accel_sim.__version__",
])  # fmt: skip
def test_nothing_heavy_is_imported(code):
    if "main(['run'])" in code:
        code = f"import sys, io; sys.stderr, kept = io.StringIO(), sys.stderr; {code}; sys.stderr = kept"
    assert not (modules_after(code) - BARE) & set(HEAVY)


def test_figures_are_loaded_for_files_only():
    code = "from accel_sim.cli import main; main(['run', 'tiny', '--json'])"
    assert not (modules_after(code) - BARE) & {"matplotlib", "pyarrow"}


def test_help_is_fast():
    def seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "accel_sim", "--help"], stdout=subprocess.DEVNULL, check=True,
                       env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(5)) < 0.3  # of the processor: other work on the machine does not count


def test_version_names_the_version():
    import accel_sim

    done = subprocess.run([sys.executable, "-m", "accel_sim", "--version"], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    assert done.stdout == f"accel-sim {accel_sim.__version__}\n"
