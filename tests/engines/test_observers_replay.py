"""Faults that the units see that only look: replay tells what a run would have shown, record for record."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.sampling import Sampling
from accel_sim.config import load_config
from accel_sim.faults.fault import KINDS
from engines.draw import observed_machine
from engines.test_replay import SMALL, assert_same_records

Rng = np.random.Generator
EVERY = ["sum", "max", "mask", "score"]


@pytest.mark.parametrize("seed", range(3))
def test_records_are_those_of_the_stepped_engine_on_any_machine(seed):
    rng = np.random.default_rng(seed)
    for _ in range(8):
        assert_same_records(observed_campaign(rng), 150)


def observed_campaign(rng: Rng) -> Assembly:
    """Any machine with such units, any head on any memory, every kind of fault."""
    machine = observed_machine(rng)
    queries, keys = int(rng.integers(1, 14)), int(rng.integers(1, 30))
    return assemble(machine.config.changed({
        "workload.queries": queries, "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
        "workload.mask.causal": bool(queries <= keys and rng.random() < 0.5),
        "faults.kinds": list(KINDS), "faults.stuck_cycles": int(rng.integers(1, 20)),
        "memory.off_chip.bandwidth_bytes_per_cycle": float(rng.choice([4.0, 1000.0])),
    }), measure=False)  # fmt: skip


STATISTICAL = {"kind": "statistical", "multiple": 1.5, "large": 8.0, "frequent": 2}
UNITS = {
    "by fixed limits": [
        "fused_output", {"kind": "score_rowsum", "threshold": {"kind": "absolute", "value": 0.5}},
        {"kind": "softmax_invariants", "which": EVERY, "threshold": {"kind": "absolute", "value": 0.25}},
    ],
    "by large and frequent deviations": [
        {"kind": "softmax_invariants", "which": EVERY, "threshold": STATISTICAL},
        {"kind": "score_rowsum", "threshold": STATISTICAL},
    ],
}  # fmt: skip


def small_config(units: str):
    """Two lanes, three queries, three keys, formats of few bits: a universe that can be walked."""
    formats = dict.fromkeys(("operand", "score", "exp", "state", "output"), "fp8_e5m2") | {"checker": "bf16"}
    return load_config("tiny").changed({
        **SMALL, "architecture.formats": formats, "checker.units": UNITS[units], "workload.mask.causal": True,
    })  # fmt: skip


@pytest.mark.parametrize("units", UNITS)
def test_records_are_those_of_the_stepped_engine_at_every_point_of_their_registers(units):
    """Every bit, in every cycle, of the registers of both units."""
    own = {"faults.components": ["checker.score_rowsum", "checker.softmax_invariants"]}
    assembly = assemble(small_config(units).changed(own), measure=False)
    stepped = assert_same_records(assembly, assembly.universe.size, Sampling("exhaustive").sampler(assembly))
    assert set(np.unique(stepped["register"])) == set(range(len(assembly.universe.registers)))
    assert set(np.unique(stepped["outcome"])) == {0, 2}  # none of them reaches an output


@pytest.mark.parametrize("units", UNITS)
def test_records_are_those_of_the_stepped_engine_in_what_they_read(units):
    own = {"faults.components": ["operand", "score", "softmax", "control"]}
    stepped = assert_same_records(assemble(small_config(units).changed(own), measure=False), 4000)
    assert len(np.unique(stepped["outcome"])) == 4


def test_struck_words_of_the_memories_reach_these_units_too():
    units = ["fused_output", "score_rowsum", "softmax_invariants"]
    config = load_config("tiny").changed({
        "checker.units": units, "faults.targets": ["sram"], "workload.queries": 7, "workload.keys": 9,
    })  # fmt: skip
    stepped = assert_same_records(assemble(config, measure=False), 600)
    assert len(np.unique(stepped["outcome"])) >= 3


