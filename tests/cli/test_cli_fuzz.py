"""Whatever a config holds, `run` gives a result or one message: never a traceback, never an unexpected error."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

import pytest
import yaml

from accel_sim.config import load_config, to_dict

MUTANTS = 300

JUNK: list[Any] = [
    None, True, False, 0, -1, 1, 2, 3, 7, 64, 10**18, 2**63, 1e-6, -0.5, 1e3, 1e300, 1e-300, float("inf"), float("nan"),
    "", "64", "yes", "all", "lanes", "fused_output", "bf16", "fp64", "fp16", "fp8_e4m3", "fp8_e5m2", "keep", "flush",
    "serial", "fused", "pwl", "reciprocal_pwl", "key_tile", "query_block", "bound", "relative", "calibrated",
    "outliers", "secded", "unlimited", "x" * 300, "\x07", "é", [], {}, [[]], [None], ["control"],
    {"kind": "lanes"}, {"kind": None},
    {"kind": "calibrated", "samples": 2}, {"kind": "bound"}, {"kind": "relative", "value": 1e-3}, {"": ""},
]  # fmt: skip

FORMATS = ["fp64", "fp32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"]

SIZES = [1, 2, 3, 5, 8]

PLAUSIBLE: dict[str, list[Any]] = {
    **dict.fromkeys(("operand", "score", "exp", "state", "output", "checker"), FORMATS),
    **dict.fromkeys(("lanes", "head_dim", "queries", "keys", "heads", "kv_buffers", "o_buffers"), SIZES),
    "key_tile": [1, 2, 8, 64],
    "burst_bytes": [1, 2, 8, 64],
    "dot": ["tree", "serial", "fused"],
    "subnormals": ["keep", "flush"],
    "granularity": ["head", "query_block", "key_tile"],
    "threshold": [{"kind": "calibrated", "samples": 2}, {"kind": "bound"}, {"kind": "relative", "value": 1e-3},
                  {"kind": "absolute", "value": 1e-30}, {"kind": "absolute", "value": 1e300}],
    "exp": [{"kind": "exact"}, {"kind": "pwl", "pieces": 2}, *FORMATS],
    "divide": [{"kind": "exact"}, {"kind": "reciprocal_pwl", "pieces": 2}],
    "units": [[], ["fused_output"]],
    "recovery": ["none", "reexecute"],
    "scale": [1e-30, 1e-3, 30.0, 1e6],
    "causal": [True, False],
    "valid_keys": [1, 2, None],
    "bandwidth_bytes_per_cycle": ["unlimited", 0.3, 7, 1e9],
    "latency_cycles": [0, 1, 1000],
    "kv_resident": [True, False],
    "ecc": ["none", "parity", "secded"],
}  # fmt: skip
"""Values that are allowed somewhere: what passes validation must also run."""

PIECES = [b"", b"\x00", b"\xff", b"\t", b": ", b"- ", b"{", b"*a", b"9"]

STARTS = (
    ("tiny", {}),
    ("tiny", {"checker.units.0.granularity": "key_tile", "memory.off_chip.bandwidth_bytes_per_cycle": 3.5}),
    ("tiny", {"checker.units.0.shares": {"score": False, "max": False, "exp": False, "sum": False},
              "architecture.exp": "pwl", "architecture.divide": "reciprocal_pwl"}),
    ("minilm", {"checker.units.0.threshold.samples": 2}),
    ("paper-d64", {"workload.queries": 5, "workload.keys": 7}),
)  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) of a tree."""
    keys = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    return [place for key in keys for place in ((value, key), *places(value[key]))]


def mutate(data: Any, draw: random.Random) -> None:
    """Drop, rename, replace, scale, copy or nest one value."""
    container, key = draw.choice(places(data))
    value = container[key]
    match draw.randrange(7):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict) and isinstance(key, str):
            container[key[:-1] + draw.choice("aesx_")] = container.pop(key)
        case 2 if isinstance(value, (int, float)) and not isinstance(value, bool):
            container[key] = value * draw.choice([-1, 0, 2, 0.5, 3, 1000])
        case 3:
            container[key] = copy.deepcopy(draw.choice(places(data))[0])
        case 4:
            container[key] = draw.choice([[value], {"kind": value}, str(value), [value, value]])
        case _:
            container[key] = draw.choice(JUNK)


def too_much(data: Any) -> bool:
    """Configs that are allowed and would run for minutes: this is a test of messages, not of patience."""
    try:
        config = load_config_from(data)
    except Exception:
        return False
    workload: Any = config.workload
    size = getattr(workload, "queries", 128) * getattr(workload, "keys", 128) * config.architecture.head_dim
    heads = getattr(workload, "heads", 1) if getattr(workload, "head", 0) != "all" else 12
    samples = max([getattr(unit.threshold, "samples", 0) for unit in config.checker.units], default=0)
    return bool(size * (50 + samples + heads) > 2e8) or config.architecture.lanes * config.architecture.head_dim > 2**16


def load_config_from(data: Any) -> Any:
    from accel_sim.config import config_from_dict

    return config_from_dict(data)


def check(done: Any) -> int:
    """A command's way out is one of the two that bad or strange input may have."""
    assert done.code in (0, 2), done.err
    assert "Traceback" not in done.err
    if done.code == 0:
        assert isinstance(json.loads(done.out, parse_constant=pytest.fail), dict)
        assert done.err == ""
    else:
        assert done.out == ""
        assert done.err.startswith("accel-sim: error: mutant.yaml")
        assert done.err.replace("\n", "").isprintable()
    return int(done.code)


def test_mutated_configs_run_or_are_refused(run, tmp_path):
    draw = random.Random(20250722)
    starts = [to_dict(load_config(name, changes)) for name, changes in STARTS]
    file = tmp_path / "mutant.yaml"
    codes = []
    while len(codes) < MUTANTS:
        data = copy.deepcopy(draw.choice(starts))
        wanted = [place for place in places(data) if place[1] in PLAUSIBLE]
        for container, key in draw.sample(wanted, min(len(wanted), draw.randrange(4))):
            if key in container:
                container[key] = copy.deepcopy(draw.choice(PLAUSIBLE[key]))
        for _ in range(draw.randrange(3)):
            if places(data):
                mutate(data, draw)
        if too_much(data):
            continue
        file.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
        codes.append(check(run("run", file.name, "--json")))
    assert min(codes.count(0), codes.count(2)) > MUTANTS / 5


def test_mutated_text_runs_or_is_refused(run, tmp_path):
    draw = random.Random(5)
    text = yaml.safe_dump(to_dict(load_config("tiny"))).encode()
    file = tmp_path / "mutant.yaml"
    for _ in range(60):
        data = bytearray(text)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(data))
            data[at : at + draw.randint(0, 3)] = draw.choice(PIECES)
        file.write_bytes(bytes(data))
        check(run("run", file.name, "--json"))
