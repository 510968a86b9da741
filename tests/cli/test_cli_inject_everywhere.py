"""Every register of several machines can be struck, and every story can be told."""

from __future__ import annotations

import random

import pytest

from accel_sim.config import load_config
from accel_sim.machines.lanes import LanesMachine
from accel_sim.report.inject_text import VERDICTS

MACHINES = {
    "tiny": {},
    "everything in the check unit": {
        "checker.units.0.shares": {"score": False, "max": False, "exp": False, "sum": False},
        "checker.units.0.granularity": "key_tile",
        "architecture.divide": "reciprocal_pwl",
    },
    "serial, fp8, behind a slow memory": {
        "architecture.dot": "serial",
        "architecture.formats": {"operand": "fp8_e4m3", "score": "bf16", "exp": "bf16", "state": "bf16"},
        "memory.off_chip.bandwidth_bytes_per_cycle": 3.5,
    },
    "fused, flipped as bf16": {
        "architecture.dot": "fused",
        "faults.register_format": {"state": "bf16", "score": "bf16"},
    },
    "unprotected": {"checker.units": []},
    "units that only look": {
        "checker.units": [
            {"kind": "score_rowsum", "threshold": {"kind": "statistical"}},
            {"kind": "softmax_invariants", "which": ["sum", "max", "mask", "score"]},
        ],
    },
}


@pytest.mark.parametrize("changes", MACHINES.values(), ids=MACHINES)
def test_every_register_can_be_struck_and_explained(run, changes):
    config = load_config("tiny", changes)
    draw = random.Random(1)
    options = [f"--set={key}={value!r}".replace("'", "").replace("True", "true").replace("False", "false")
               for key, value in changes.items()]  # fmt: skip
    for register in LanesMachine(config).inventory:
        kind = draw.choice(["flip", "flip", "stuck0", "stuck1", "burst"]) if register.width_bits > 2 else "flip"
        index = ",".join(str(draw.randrange(n)) for n in register.shape)
        fault = ["--register", register.name, f"--index={index}", "--kind", kind,
                 "--bit", draw.randrange(register.width_bits - (1 if kind == "burst" else 0)),
                 "--cycle", draw.randrange(45)]  # fmt: skip
        told = run("inject", "tiny", *options, *fault)
        assert (told.code, told.err) == (0, ""), fault
        plain = run("inject", "tiny", *options, *fault, "--json")
        outcome = plain.document["outcome"]["class"]
        assert VERDICTS[outcome] in told.out
        assert register.about in " ".join(told.out.split())
        if config.checker.units == ():
            assert outcome in ("silent", "masked")
