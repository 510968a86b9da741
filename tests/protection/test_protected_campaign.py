"""Campaigns on protected machines: records are those of the stepped engine, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
from engines.test_replay import assert_same_records

from accel_sim.assembly import assemble
from accel_sim.config import load_config
from accel_sim.faults.fault import KINDS

FUSED = {"kind": "fused_output", "threshold": {"kind": "absolute", "value": 1e-3}}
EVERYTHING = ["machine", "checker.fused_output"]
DESIGNS = {kind: [{"kind": kind, "parts": EVERYTHING}] for kind in ("parity", "secded", "dmr", "tmr")} | {
    "mixed": [{"kind": "parity", "parts": ["l", "control"]}, {"kind": "secded", "parts": ["operand", "m", "o"]},
              {"kind": "dmr", "parts": ["prod", "checker.fused_output"]}, {"kind": "tmr", "parts": ["normalise"]}],
}  # fmt: skip


@pytest.mark.parametrize("where", ["registers", "sram behind a memory that stalls"])
@pytest.mark.parametrize("design", DESIGNS)
def test_records_are_those_of_the_stepped_engine(design, where):
    changes = {
        "checker.units": [FUSED, *DESIGNS[design]], "faults.kinds": list(KINDS), "faults.stuck_cycles": 3,
        "faults.burst_bits": 3, "workload.queries": 9, "workload.keys": 11,
    }  # fmt: skip
    if where != "registers":
        # What a word delivers wrong is encoded as it arrives: it is no strike in the register that it is read into.
        changes |= {"faults.targets": ["registers", "sram"], "memory.off_chip.bandwidth_bytes_per_cycle": 4}
    assembly = assemble(load_config("tiny").changed(changes), measure=False)
    records = assert_same_records(assembly, 1500)
    struck = {assembly.universe.registers[number].component for number in np.unique(records["register"])}
    assert {f"checker.{unit['kind']}" for unit in DESIGNS[design]} <= struck
    assert len(np.unique(records["outcome"])) >= (1 if design == "tmr" else 2)
