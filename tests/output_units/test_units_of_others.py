"""Units from other packages: found by entry point, refused with one clear message, used like built-in ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from accel_sim.assembly import assemble
from accel_sim.config import ConfigError, config_from_dict, reference_markdown, schema, to_dict
from accel_sim.kinds import make_machine, run_golden
from output_units.draw import FUSED, RANGE, assert_same_records, config_with
from output_units.packages import EXAMPLE, install, install_example

SUM = {"kind": "column_sum", "threshold": {"kind": "relative", "value": 1e-3}}
ROOT = EXAMPLE.parents[2]

UNIT = '''
from typing import Literal
import numpy as np
from accel_sim.output_units import Held, OutputUnit, UnitSection

class Section(UnitSection):
    kind: Literal["{name}"] = "{name}"

class Unit(OutputUnit):
    kind = "{name}"
    section = Section
    {body}
'''
COMPARE = "def compare(self, rows, queries, held): return np.zeros(len(rows)), None"


def put(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, source: str, points: dict[str, str]) -> None:
    module = f"unit_of_{name}"
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.syspath_prepend(install(folder / name, name, module, source, points))


def refusal(units: list[object]) -> str:
    with pytest.raises(ConfigError) as caught:
        make_machine(config_from_dict({"checker": {"units": units}}))
    return str(caught.value)


# -- the worked example ------------------------------------------------------------------------------------


def test_the_example_is_a_unit_like_any_other(example):
    config = config_with(FUSED, SUM, RANGE, faults={"kinds": ["flip", "stuck1"], "stuck_cycles": 2})
    assert config_from_dict(to_dict(config)) == config
    assembly = assemble(config)
    assert [unit.kind for unit in assembly.machine.units] == ["fused_output", "column_sum", "invariants"]
    assert assembly.limits["column_sum"].unseen_alarms == 0
    found = run_golden(assembly.machine, assembly.job(assembly.workload.heads[0]))
    order = [(c.cycle, c.unit) for c in found.comparisons if c.unit != "fused_output"]
    assert order == sorted(order, key=lambda item: item[0])  # units share a cycle, in the config's order
    assert [unit for _, unit in order] == ["column_sum", "invariants"] * 5
    rng = np.random.default_rng(0)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 2000), 2 * rng.integers(0, 2, 2000) // 2)
    assert set(records["outcome"]) == {0, 1, 2, 3}
    components = np.array([r.component for r in assembly.universe.registers])[records["register"]]
    assert "checker.column_sum" in components


def test_the_sum_of_a_row_lies_within_the_row_sums(example):
    for signed in (True, False):
        config = config_with({**SUM, "signed": signed}, formats="fp64", queries=9, keys=12)
        assembly = assemble(config, measure=False)
        job = assembly.job(assembly.workload.heads[0])
        (unit,) = assembly.machine.load(job)
        sums = job.v.sum(axis=1)
        ends = (sums.min(), sums.max()) if signed else (-np.abs(sums).max(), np.abs(sums).max())
        assert np.allclose([unit.held["low"], unit.held["high"]], ends)
        residual, limit = unit.compare(np.array([job.v[0] * 0, job.v[0] * 1000]), np.arange(2))
        outside = max(ends[0] - 1000 * sums[0], 1000 * sums[0] - ends[1], 0.0)
        assert residual[0] == 0.0 and np.isclose(residual[1], outside)
        assert np.isclose(limit[0], 1e-3 * max(abs(ends[0]), abs(ends[1])))


def accel_sim(folder: Path, cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.run([sys.executable, "-m", "accel_sim", *words], cwd=cwd, capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": path})  # fmt: skip


def test_the_commands_know_an_installed_unit(tmp_path):
    folder, config = install_example(tmp_path / "installed"), EXAMPLE / "column-sum.yaml"
    done = accel_sim(folder, tmp_path, "run", str(config), "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert [unit["unit"] for unit in document["check_units"]] == ["fused_output", "column_sum"]
    assert document["area"]["by_component_um2"]["checker.column_sum"]["value"] > 0
    done = accel_sim(folder, tmp_path, "campaign", str(config), "-n", "64", "--out", "faults", "--workers", "1")
    assert done.returncode == 0, done.stderr
    assert "checker.column_sum" in done.stdout
    missing = accel_sim(tmp_path, tmp_path, "run", str(config))
    assert missing.returncode == 2 and 'got the text "column_sum"' in missing.stderr
    assert "Traceback" not in missing.stderr


@pytest.mark.slow
def test_the_example_installs_with_pip(tmp_path):
    pytest.importorskip("hatchling", reason="needs the extra accel-sim[dev]")
    folder = tmp_path / "target"
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--quiet",
               "--target", str(folder), str(EXAMPLE)]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    done = accel_sim(folder, tmp_path, "campaign", str(EXAMPLE / "column-sum.yaml"), "-n", "64", "--workers", "1",
                     "--out", "faults")
    assert done.returncode == 0 and "checker.column_sum" in done.stdout, done.stderr


# -- what is refused ---------------------------------------------------------------------------------------


def test_an_unknown_kind_lists_built_in_and_installed_ones(example):
    told = refusal(["column_sun"])
    assert "must be fused_output, gemm, score_rowsum, softmax_invariants, invariants" in told and ", or an installed one: column_sum (got" in told
    assert 'did you mean "column_sum"?' in told
    assert "column_sum" not in json.dumps(schema()) + reference_markdown()


def test_errors_inside_an_installed_section_name_their_key(example):
    assert refusal([{"kind": "column_sum", "signed": "maybe"}]).startswith("checker.units.0.signed: must be true or false")
    assert 'unknown key; did you mean "signed"? (allowed here: kind, threshold, signed)' in refusal([{"kind": "column_sum", "sign": True}])
    changed = config_with(SUM).changed({"checker.units.0.signed": False})
    assert changed.checker.units[0].signed is False


def test_a_unit_without_a_magnitude_has_no_relative_threshold():
    told = refusal([{"kind": "invariants", "threshold": {"kind": "relative", "value": 0.1}}])
    assert told == "checker.units.0.threshold.kind: invariants has no magnitude to take a fraction of: use absolute, calibrated or statistical"


def test_no_rounding_bound_is_made_up_for_a_unit():
    with pytest.raises(ConfigError, match="no rounding bound is known for invariants"):
        assemble(config_with({"kind": "invariants", "threshold": {"kind": "bound"}}))


@pytest.mark.parametrize("source, point, message", [
    ("import nothing_of_the_kind", "unit_of_mine:Unit", "ModuleNotFoundError: No module named 'nothing_of_the_kind'"),
    ("1 / 0", "unit_of_mine:Unit", "cannot be imported: ZeroDivisionError"),
    ("", "unit_of_mine:Unit", "cannot be imported: AttributeError"),
    ("Unit = 3", "unit_of_mine:Unit", "is no check unit: it has no attribute section"),
    (UNIT.format(name="yours", body=COMPARE), "unit_of_mine:Unit", "must have that name itself: the kind is 'yours'"),
    (UNIT.format(name="mine", body="pass"), "unit_of_mine:Unit", "has no compare"),
    (UNIT.format(name="mine", body=COMPARE).replace("(OutputUnit)", ""), "unit_of_mine:Unit", "must be a subclass"),
])  # fmt: skip
def test_a_broken_package_is_one_clear_message(forget, tmp_path, monkeypatch, source, point, message):
    put(tmp_path, monkeypatch, "mine", source, {"mine": point})
    told = refusal(["mine"])
    assert told.startswith("checker.units.0.kind: ") and message in told and "\n" not in told


def test_a_package_may_not_take_the_name_of_a_built_in_unit(forget, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, "mine", UNIT.format(name="invariants", body=COMPARE), {"invariants": "unit_of_mine:Unit"})
    assert "gives its own check unit the name of the built-in invariants" in refusal(["invariants"])
    assert make_machine(config_with(FUSED)).units  # who does not use the name is not bothered


def test_two_packages_may_not_claim_one_name(forget, tmp_path, monkeypatch):
    source = UNIT.format(name="mine", body=COMPARE)
    for owner in ("first", "second"):
        put(tmp_path, monkeypatch, owner, source, {"mine": f"unit_of_{owner}:Unit"})
    assert "mine is installed more than once" in refusal(["mine"])


HELD = "def registers(self): return (Held('x', (2,), 'checker', 'x'),)\n    "
LOAD = "def load(self, q, k, v, bound): return {}\n    "


@pytest.mark.parametrize("body, message", [
    ("def compare(self, rows, queries, held): return np.full(len(rows), 1 / 3), None", "gives a residual that is no value of fp32"),
    ("def compare(self, rows, queries, held): return 0.0, None", "gives a residual of shape () for 5 rows"),
    (HELD + COMPARE, "loads nothing; its registers are x"),
    (HELD + LOAD.replace("{}", "{'x': np.zeros(3)}") + COMPARE, "loads x with shape (3,); it has (2,)"),
    (HELD + LOAD.replace("{}", "{'x': np.full(2, 0.1)}") + COMPARE, "loads x with values that are none of fp32"),
    (HELD.replace("'x', (2", "'row', (2") + LOAD + COMPARE, "cannot have a register of its own called row"),
])  # fmt: skip
def test_a_unit_that_breaks_its_promises_is_told(forget, tmp_path, monkeypatch, body, message):
    put(tmp_path, monkeypatch, "mine", UNIT.format(name="mine", body=body), {"mine": "unit_of_mine:Unit"})
    with pytest.raises(ConfigError) as caught:
        assembly = assemble(config_with({"kind": "mine", "threshold": {"kind": "absolute", "value": 1}}), measure=False)
        assert assembly.machine.inventory.bits
        run_golden(assembly.machine, assembly.job(assembly.workload.heads[0]))
    assert f"checker.units: the check unit mine {message}" in str(caught.value)
