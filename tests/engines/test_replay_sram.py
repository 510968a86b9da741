"""The replay engine gives the stepped engine's records of SRAM faults too, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.assembly import Assembly, assemble
from accel_sim.campaign.injector import SteppedInjector
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.campaign.sampling import Sampling
from accel_sim.config import load_config
from accel_sim.faults.fault import KINDS
from engines.draw import random_machine
from engines.test_replay import assert_same_records

ECC = ("none", "parity", "secded")
SMALLEST = {
    "faults.targets": ["sram"],
    "architecture.key_tile": 2, "architecture.max_keys": 4, "architecture.max_queries": 4,
    "architecture.formats": {"operand": "fp8_e4m3", "output": "fp8_e4m3"},
    "workload.queries": 3, "workload.keys": 3,
    "checker.units.0.threshold": {"kind": "absolute", "value": 1.0},
}  # fmt: skip


def same_columns(assembly: Assembly, count: int, plan: Sampling) -> dict[str, np.ndarray]:
    """Both injectors' records of the first faults of a plan, compared."""
    stepped, replayed = (make(assembly, plan.sampler(assembly)).records(0, count)
                         for make in (SteppedInjector, ReplayInjector))  # fmt: skip
    for name, column in stepped.items():
        a, b = (x.view(np.int64) if x.dtype.kind == "f" else x for x in (column, replayed[name]))
        wrong = np.flatnonzero((a != b) & ~((column != column) & (replayed[name] != replayed[name])))
        assert not wrong.size, (name, wrong[:5])
    return stepped


@pytest.mark.parametrize("ecc", ECC)
def test_every_bit_of_every_word_in_every_cycle(ecc):
    """The whole SRAM universe of a small machine. Parity sees every strike that is read, SECDED corrects every one."""
    dims = 2 if ecc == "none" else 1
    assembly = assemble(load_config("tiny", {**SMALLEST, "memory.ecc": ecc, "architecture.head_dim": dims}), measure=False)
    plan = Sampling("exhaustive")
    limit = plan.sampler(assembly).limit
    assert limit == assembly.universe.size
    records = same_columns(assembly, limit, plan)
    differs, alarm_by = records["outcome"] % 2 == 1, records["alarm_by"]
    memory_alarm = alarm_by == 2
    if ecc == "none":
        assert differs.any() and not memory_alarm.any()
        assert set(records["register"][differs]) == {0, 1, 2, 3}
    elif ecc == "parity":
        assert memory_alarm[differs].all() and np.sum(memory_alarm) > np.sum(differs) > 0
    else:
        assert not differs.any() and not records["alarm"].any()


@pytest.mark.parametrize("seed", range(3))
def test_records_are_those_of_the_stepped_engine_on_any_machine(seed):
    """Every option, protection, kind, number of banks and a memory that stalls; registers among them half of the time."""
    rng = np.random.default_rng(seed)
    alarms = np.zeros(3, dtype=np.int64)
    for _ in range(9):
        machine = random_machine(rng)
        queries, keys = int(rng.integers(1, 14)), int(rng.integers(1, 30))
        changes = {
            "workload.queries": queries, "workload.keys": keys, "workload.seed": int(rng.integers(1000)),
            "workload.mask.causal": bool(queries <= keys and rng.random() < 0.5),
            "faults.targets": ["sram"] if rng.random() < 0.5 else ["registers", "sram"],
            "faults.kinds": list(KINDS), "faults.stuck_cycles": int(rng.integers(1, 40)),
            "faults.burst_bits": int(rng.integers(2, 5)),
            "memory.ecc": str(rng.choice(ECC)), "memory.kv_resident": bool(rng.random() < 0.2),
            "memory.off_chip.bandwidth_bytes_per_cycle": float(rng.choice([4.0, 64.0, 1000.0])),
            **{f"memory.{name}_buffers": int(rng.integers(1, 4)) for name in ("q", "kv", "o")},
        }  # fmt: skip
        if machine.check:
            kind = str(rng.choice(["absolute", "relative"]))
            changes["checker.units.0.threshold"] = {"kind": kind, "value": float(10 ** rng.uniform(-4, 0))}
        records = assert_same_records(assemble(machine.config.changed(changes), measure=False), 150)
        alarms += np.bincount(records["alarm_by"], minlength=3)
    assert alarms.all()


@pytest.mark.parametrize("ecc", ECC)
def test_words_stored_more_narrowly_than_they_are_computed_with(ecc):
    """The arithmetic is fp64; the memories have the formats of the registers."""
    formats = dict.fromkeys(("operand", "score", "exp", "state", "output", "checker"), "fp64")
    stored = dict.fromkeys(("operand", "output"), "bf16")
    assembly = assemble(load_config("tiny", {
        "architecture.formats": formats, "faults.register_format": stored, "faults.targets": ["sram"],
        "faults.kinds": list(KINDS), "faults.stuck_cycles": 4, "memory.ecc": ecc,
    }), measure=False)  # fmt: skip
    assert assembly.memories["k_sram"].word_elements == 4
    records = assert_same_records(assembly, 1500)
    assert len(np.unique(records["outcome"])) >= 2
