"""The replay engine gives the stepped engine's records, bit for bit, whatever is struck and however."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.columns import Batch
from accel_sim.campaign.injector import SteppedInjector
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import Sampler, Sampling
from accel_sim.config import load_config
from accel_sim.faults.fault import KINDS
from engines.draw import apart, random_machine

QUERY_BLOCK = {"checker.units.0.granularity": "query_block"}
OWN = {"checker.units.0.shares": {"score": False, "max": False, "exp": False, "sum": False}}
RAGGED = {"workload.queries": 9, "workload.keys": 11}
NARROW = {"architecture.formats": dict.fromkeys(("operand", "score", "exp", "state", "output"), "bf16")}

WINDOW = {
    "architecture.sliding_window": True, "workload.queries": 9, "workload.keys": 14, "workload.mask.causal": True,
    "workload.mask.window": 4,
}
STATISTICAL = {"checker.units.0.threshold": {"kind": "statistical", "samples": 2, "large": 1000.0, "frequent": 2}}

CASES = {
    "plain": {},
    "ragged, compared after each block": {**RAGGED, **QUERY_BLOCK},
    "the check unit has everything itself": {**RAGGED, **OWN},
    "scans, and a memory that stalls": {
        "checker.units.0.granularity": "key_tile", **RAGGED, "memory.off_chip.bandwidth_bytes_per_cycle": 4,
    },
    "every kind of fault": {"faults.kinds": list(KINDS), "faults.stuck_cycles": 3, **RAGGED},
    "unprotected": {"checker.units": [], "architecture.lanes": 3, **RAGGED},
    "control registers": {"faults.components": ["control"], "workload.queries": 16, "workload.keys": 16},
    "serial, true bf16, reciprocal, causal": {
        "architecture.dot": "serial", "architecture.divide": {"kind": "reciprocal_pwl", "pieces": 16},
        "workload.mask.causal": True, **NARROW, **OWN,
    },
    "long rows, wide lanes": {
        "architecture.lanes": 5, "architecture.head_dim": 16, "architecture.max_keys": 256, "workload.queries": 12,
        "workload.keys": 150,
    },
    "flushed": {"architecture.subnormals": "flush", **QUERY_BLOCK},
    "a sliding window, and its own maximum": {**WINDOW, **OWN},
    "a window, control registers": {**WINDOW, **QUERY_BLOCK, "faults.components": ["control"]},
    "small deviations counted": {**STATISTICAL, **RAGGED, **QUERY_BLOCK},
    "counted behind a memory that stalls": {
        **STATISTICAL, **RAGGED, **QUERY_BLOCK, "memory.off_chip.bandwidth_bytes_per_cycle": 4,
        "faults.components": ["checker.fused_output"], "faults.kinds": list(KINDS),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_records_are_those_of_the_stepped_engine(case):
    config = load_config("tiny").changed({"checker.units.0.threshold": {"kind": "absolute", "value": 1e-5}})
    assembly = assemble(config.changed(CASES[case]), measure=False)
    stepped = assert_same_records(assembly, 2500)
    assert len(np.unique(stepped["outcome"])) >= 2


@pytest.mark.parametrize("seed", range(4))
def test_records_are_those_of_the_stepped_engine_on_any_machine(seed):
    """Every option at once, masks and a memory that stalls included."""
    rng = np.random.default_rng(seed)
    for _ in range(10):
        assert_same_records(random_campaign(rng), 120)


def random_campaign(rng: np.random.Generator) -> Assembly:
    """Any machine, any head on any memory, every kind of fault."""
    machine = random_machine(rng)
    queries, keys = int(rng.integers(1, 14)), int(rng.integers(1, 30))
    changes = {
        "workload.queries": queries, "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
        "workload.mask.causal": bool(queries <= keys and rng.random() < 0.5),
        "faults.kinds": list(KINDS), "faults.stuck_cycles": int(rng.integers(1, 40)),
        "memory.off_chip.bandwidth_bytes_per_cycle": float(rng.choice([4.0, 64.0, 1000.0])),
    }  # fmt: skip
    other = apart(rng)
    if machine.sliding_window and changes["workload.mask.causal"]:
        changes["workload.mask.window"] = int(other.integers(1, keys + 1))
        changes["workload.mask.valid_keys"] = int(other.integers(1, keys + 1))  # a window may lie in the padding
    if machine.check:
        kind = str(rng.choice(["absolute", "relative"]))
        threshold = {"kind": kind, "value": float(10 ** rng.uniform(-6, -1))}
        if machine.statistical:
            multiple, large = float(10 ** other.uniform(-2, 1)), float(10 ** other.uniform(0, 3))
            threshold = {"kind": "statistical", "samples": 1, "multiple": multiple, "large": large,
                         "frequent": int(other.integers(1, 6))}  # fmt: skip
        changes["checker.units.0.threshold"] = threshold
    return assemble(machine.config.changed(changes), measure=False)


SMALL = {
    "architecture.head_dim": 2, "architecture.key_tile": 2, "architecture.max_keys": 4, "architecture.max_queries": 4,
    "workload.queries": 3, "workload.keys": 3,
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_records_are_those_of_the_stepped_engine_at_every_point_of_a_small_universe(kind):
    """Every bit of every register in every cycle."""
    formats = dict.fromkeys(("operand", "score", "exp", "state", "output"), "fp8_e5m2") | {"checker": "bf16"}
    config = load_config("tiny").changed({
        **SMALL, "architecture.formats": formats, "checker.units.0.threshold": {"kind": "absolute", "value": 0.05},
        "faults.kinds": [kind],
    })
    assembly = assemble(config, measure=False)
    sampler = Sampling("exhaustive").sampler(assembly)
    stepped = assert_same_records(assembly, assembly.universe.size, sampler)
    assert np.array_equal(np.sort(stepped["point"]), np.arange(assembly.universe.size))
    assert set(np.unique(stepped["register"])) == set(range(len(assembly.universe.registers)))
    assert len(np.unique(stepped["outcome"])) == 4


def assert_same_records(assembly: Assembly, count: int, sampler: Sampler | None = None) -> Batch:
    """Both injectors write the same columns; returns them."""
    stepped, replayed = (make(assembly, sampler).records(0, count) for make in (SteppedInjector, ReplayInjector))
    for name, column in stepped.items():
        other = replayed[name]
        if column.dtype.kind == "f":
            same = (column.view(np.int64) == other.view(np.int64)) | (np.isnan(column) & np.isnan(other))
        else:
            same = column == other
        wrong = np.flatnonzero(~same)
        assert not wrong.size, (name, [(int(stepped["register"][i]), int(stepped["cycle"][i]), int(stepped["bit"][i]))
                                       for i in wrong[:5]])  # fmt: skip
    return stepped
