"""The replay engine gives the stepped engine's records, bit for bit, whatever is struck and however."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.campaign.injector import SteppedInjector
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.config import load_config
from accel_sim.faults.fault import KINDS

QUERY_BLOCK = {"checker.units.0.granularity": "query_block"}
OWN = {"checker.units.0.shares": {"score": False, "max": False, "exp": False, "sum": False}}
RAGGED = {"workload.queries": 9, "workload.keys": 11}
NARROW = {"architecture.formats": dict.fromkeys(("operand", "score", "exp", "state", "output"), "bf16")}

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
    "flushed": {"architecture.subnormals": "flush", **QUERY_BLOCK},
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_records_are_those_of_the_stepped_engine(case):
    config = load_config("tiny").changed({"checker.units.0.threshold": {"kind": "absolute", "value": 1e-5}})
    assembly = assemble(config.changed(CASES[case]), measure=False)
    count = 2500
    stepped, replayed = (make(assembly).records(0, count) for make in (SteppedInjector, ReplayInjector))
    for name, column in stepped.items():
        other = replayed[name]
        if column.dtype.kind == "f":
            same = (column.view(np.int64) == other.view(np.int64)) | (np.isnan(column) & np.isnan(other))
        else:
            same = column == other
        wrong = np.flatnonzero(~same)
        assert not wrong.size, (name, [(int(stepped["register"][i]), int(stepped["cycle"][i]), int(stepped["bit"][i]))
                                       for i in wrong[:5]])  # fmt: skip
    assert len(np.unique(stepped["outcome"])) >= 2
