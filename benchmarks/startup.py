"""How long a person waits before accel-sim does anything.

Runs each command several times in fresh processes and prints the median and the fastest time, beside a bare
interpreter::

    python benchmarks/startup.py
    python benchmarks/startup.py --repeats 20 --cold      # also the first run ever, which compiles the kernels

`--cold` gives Numba an empty cache folder of its own, so that nothing on this computer is lost.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PYTHON = [sys.executable]
CLI = [sys.executable, "-m", "accel_sim"]
WARM = {
    "python -c pass": [*PYTHON, "-c", "pass"],
    "import accel_sim": [*PYTHON, "-c", "import accel_sim"],
    "accel-sim --help": [*CLI, "--help"],
    "accel-sim schema": [*CLI, "schema"],
    "accel-sim run minilm": [*CLI, "run", "minilm"],
}
LIMITS_S = {"accel-sim --help": 0.3, "accel-sim run minilm": 3.0}
COLD_LIMIT_S = 60.0


def seconds(command: list[str], cache: Path | None = None) -> float:
    """Wall time of one command in a fresh process. Raises CalledProcessError if it fails."""
    environment = dict(os.environ) if cache is None else {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def report(name: str, times: list[float], limit: float | None, bare: float | None) -> bool:
    """Print one line; whether the median is within its limit."""
    median = statistics.median(times)
    ratio = f"{median / bare:6.1f}x" if bare else "       "
    within = limit is None or median <= limit
    verdict = "" if limit is None else f"  limit {limit:g} s: {'ok' if within else 'MISSED'}"
    print(f"{name:<24} median {median:7.3f} s  fastest {min(times):7.3f} s  {ratio} of a bare python{verdict}")
    return within


def main() -> int:
    """Measure and print; exit 1 if a limit is missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--repeats", type=int, default=7, help="runs of each command (default %(default)s)")
    parser.add_argument("--cold", action="store_true", help="also measure a first run with an empty kernel cache")
    options = parser.parse_args()
    good, bare = True, None
    for name, command in WARM.items():
        seconds(command)  # bytecode, page cache, kernels
        times = [seconds(command) for _ in range(max(1, options.repeats))]
        bare = bare or statistics.median(times)
        good &= report(name, times, LIMITS_S.get(name), bare)
    if options.cold:
        with tempfile.TemporaryDirectory() as cache:
            first = seconds(WARM["accel-sim run minilm"], Path(cache))
        good &= report("first accel-sim run", [first], COLD_LIMIT_S, bare)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
