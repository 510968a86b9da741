"""`accel_sim.validation`: a config's engines agree, and a difference is found, counted and named."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from accel_sim.campaign.replay import ReplayInjector
from accel_sim.config import load_config
from accel_sim.validation import validate


@pytest.fixture(scope="module")
def tiny():
    return load_config("tiny")


def test_the_engines_of_a_config_agree(tiny):
    found = validate(tiny.changed({"memory.off_chip.bandwidth_bytes_per_cycle": 4.0}), faults=300)
    assert found.agree
    assert [check.what for check in found.checks] == ["cycles of a head", "golden engine", "replay engine"]
    assert [check.compared for check in found.checks] == [1, 5 * 4 + 6 + 3, 300]
    assert 0 < found.distance.max_abs < 1e-2


def test_a_replay_that_is_wrong_in_one_record_is_found(tiny, monkeypatch):
    true = ReplayInjector.records

    def wrong(self, first, count):
        batch = true(self, first, count)
        batch["residual"][17] = np.nextafter(batch["residual"][17], np.inf)
        batch["alarm"][17] ^= True
        return batch

    monkeypatch.setattr(ReplayInjector, "records", wrong)
    found = validate(tiny, faults=50)
    assert not found.agree
    check = found.checks[-1]
    assert check.mismatches == 1
    assert check.first.startswith("fault 17, ")


def test_a_golden_engine_that_is_wrong_is_found(tiny, monkeypatch):
    from accel_sim.engines import golden

    true = golden.run_golden

    def wrong(machine, job):
        result = true(machine, job)
        output = result.output.copy()
        output[2, 3] = np.nextafter(output[2, 3], np.inf)
        return replace(result, output=output)

    monkeypatch.setattr("accel_sim.engines.golden.run_golden", wrong)
    check = validate(tiny, faults=0).checks[1]
    assert check.mismatches == 1
    assert "output[2, 3]" in check.first
