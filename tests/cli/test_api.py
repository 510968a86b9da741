"""The Python API does what the commands do, and its examples run."""

from __future__ import annotations

import doctest
import json
import subprocess
import sys
from types import ModuleType

import numpy as np
import pytest

import accel_sim
import accel_sim.api
from accel_sim.engines.stepped import SteppedEngine
from accel_sim.report.plain import plain


@pytest.mark.parametrize("module", [accel_sim, accel_sim.api], ids=lambda m: m.__name__)
def test_examples_run(module):
    result = doctest.testmod(module, optionflags=doctest.FAIL_FAST)
    assert result.attempted >= 5
    assert result.failed == 0


def test_every_public_name_is_there():
    for name in accel_sim.__all__:
        assert getattr(accel_sim, name) is not None
        assert name in dir(accel_sim)
    with pytest.raises(AttributeError, match="simulat"):
        accel_sim.simulat  # noqa: B018


def test_campaign_is_a_package_and_a_function(tmp_path):
    import accel_sim.campaign.columns as columns
    from accel_sim import campaign

    assert isinstance(campaign, ModuleType)
    assert campaign.columns is columns
    assert campaign("tiny", 3, out=tmp_path, workers=1).n == 3


@pytest.mark.parametrize("first", ["import accel_sim.campaign.columns", "from accel_sim.campaign import columns",
                                   "import accel_sim.api"])  # fmt: skip
def test_campaign_can_be_called_whatever_was_imported_before(first):
    code = f"""
{first}
import accel_sim
assert callable(accel_sim.campaign)
from accel_sim import campaign
assert callable(campaign)
"""
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})


def test_simulate_takes_names_paths_and_configs(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("extends: tiny.yaml\n")
    runs = [accel_sim.simulate(c, measure=False) for c in ("tiny", file, str(file), accel_sim.load_config("tiny"))]
    assert len({json.dumps(plain({**r.to_dict(), "config": None})) for r in runs}) == 1


def test_the_golden_run_is_that_of_the_stepped_engine():
    run = accel_sim.simulate("tiny", measure=False)
    assembly = run.assembly
    (head,) = run.heads
    assert SteppedEngine(assembly.machine, assembly.job(head.head)).run().same_as(head.golden)


def test_the_distance_is_that_of_numpy_attention():
    run = accel_sim.simulate(accel_sim.load_config("tiny", {"workload.mask.causal": True}), measure=False)
    q, k, v = run.workload.tensors(run.heads[0].head)
    scores = q @ k.T / np.sqrt(q.shape[1])
    scores[np.arange(len(k)) > run.workload.bounds()[:, None]] = -np.inf
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    exact = weights / weights.sum(axis=1, keepdims=True) @ v
    error = run.heads[0].golden.output - exact
    assert run.heads[0].distance.max_abs == pytest.approx(np.abs(error).max(), rel=1e-6)
    assert run.heads[0].distance.rel_l2 == pytest.approx(np.linalg.norm(error) / np.linalg.norm(exact), rel=1e-6)


def test_an_unmeasured_run_has_no_false_alarm_rate():
    check = accel_sim.simulate("tiny", measure=False).to_dict()["check_units"][0]
    assert check["unseen_heads"] == 0
    assert check["false_alarm_rate"] == {"estimate": None, "low": None, "high": None}


def test_recovery_can_be_switched_off():
    run = accel_sim.simulate(accel_sim.load_config("tiny", {"recovery": "none"}), measure=False)
    assert run.recovery is None
    assert run.recovery_energy is None


def test_the_energy_of_a_recovery_is_that_of_the_work_done_again():
    whole = accel_sim.simulate("tiny", measure=False)
    assert whole.recovery_energy.total.value == pytest.approx(whole.energy.total.value, rel=0.05)
    block = accel_sim.simulate(
        accel_sim.load_config("tiny", {"checker.units.0.granularity": "query_block"}), measure=False)
    assert block.recovery_energy.total.value < 0.6 * block.energy.total.value


def test_bad_input_raises_config_and_value_errors():
    with pytest.raises(accel_sim.ConfigError, match="lanes"):
        accel_sim.load_config("tiny", {"architecture.lanes": 0})
    with pytest.raises(accel_sim.ConfigError, match="tinny"):
        accel_sim.simulate("tinny")
    with pytest.raises(ValueError, match="no register"):
        accel_sim.inject("tiny", register="x", cycle=0)
    with pytest.raises(ValueError, match="burst"):
        accel_sim.inject("tiny", register="o", cycle=0, bits=2)
    with pytest.raises(ValueError, match="at least one fault"):
        accel_sim.campaign("tiny", 0)
    with pytest.raises(TypeError):
        accel_sim.campaign("tiny", 3, speed="fast")
