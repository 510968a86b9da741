"""The generated design as other tools read it: Verilator's lint, and Yosys, whose flip-flops are the inventory's."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest
from engines.draw import SHARES, machine_with

from accel_sim.config import ConfigError, config_from_dict
from accel_sim.machines.lanes import LanesMachine
from accel_sim.rtl.generate import TOP, write_design
from accel_sim.rtl.registers import HOMES
from accel_sim.rtl.verilate import Tools
from rtl.yosys import yosys_command

PWL = {"kind": "pwl", "pieces": 4}
RECIPROCAL = {"kind": "reciprocal_pwl", "pieces": 4}

DESIGNS = {
    "tiny": dict(lanes=2, head_dim=4, exp=PWL),
    "all own, serial": dict(lanes=3, head_dim=5, exp=PWL, dot="serial", granularity="key_tile", divide=RECIPROCAL,
                            shares=SHARES[-1], subnormals="flush"),
    "all own, fused": dict(lanes=2, head_dim=3, exp=PWL, dot="fused", granularity="query_block", divide=RECIPROCAL,
                           shares=SHARES[-1], formats="bf16", threshold={"kind": "relative", "value": 1e-3}),
    "one of everything": dict(lanes=1, head_dim=1, key_tile=1, max_keys=1, max_queries=1, exp=PWL, dot="fused",
                              granularity="key_tile", formats="fp8_e5m2"),
    "unprotected": dict(lanes=5, head_dim=3, exp=PWL, check=False),
}  # fmt: skip


@pytest.mark.parametrize("name", DESIGNS)
def test_every_design_is_clean_under_verilators_lint(name: str, tmp_path: Path, tools: Tools):
    write_design(machine_with(**DESIGNS[name]), tmp_path)
    command = [*tools.verilator, "--lint-only", "-Wall", "--no-timing", "--top-module", TOP, "-f", "files.f"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={"VERILATOR_ROOT": str(tools.root), "PATH": "/usr/bin:/bin"})  # fmt: skip
    assert done.returncode == 0, done.stderr[:2000]
    assert "%Warning" not in done.stderr


@pytest.mark.parametrize("name", DESIGNS)
def test_the_flip_flops_of_a_design_are_those_of_the_inventory(name: str, tmp_path: Path):
    machine = machine_with(**DESIGNS[name])
    write_design(machine, tmp_path)
    found = flip_flops(tmp_path)
    assert sum(found.values()) == machine.inventory.bits
    # A register is called what the register table calls it, and has its bits.
    assert found == {register.name: register.bits for register in machine.inventory}


def flip_flops(design: Path) -> dict[str, int]:
    """Flip-flop bits of a design by the name of the register that they drive, all copies together."""
    files = " ".join((design / "files.f").read_text().split())
    script = f"read_verilog -sv {files}; hierarchy -check -top {TOP}; proc; opt_clean; write_json net.json"
    command = [*yosys_command(), "-q", "-p", script]
    done = subprocess.run(command, cwd=design, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    modules = json.loads((design / "net.json").read_text())["modules"]
    found: dict[str, int] = {}
    pending = [TOP]
    while pending:  # one entry for each instance
        name = pending.pop()
        registers = {register for home in HOMES if home.module == name for register in home.registers}
        names: dict[int, str] = {}
        for path, net in modules[name]["netnames"].items():
            if path.split(".")[-1] in registers:
                names.update(dict.fromkeys(net["bits"], path.split(".")[-1]))
        for cell in modules[name]["cells"].values():
            assert not re.search("latch|mem", cell["type"]), cell["type"]
            if cell["type"] in modules:
                pending.append(cell["type"])
            elif "dff" in cell["type"]:
                for bit in cell["connections"]["Q"]:
                    found[names[bit]] = found.get(names[bit], 0) + 1
    return found


def test_a_design_is_a_directory_that_tells_what_it_is(tmp_path: Path):
    machine = machine_with(**DESIGNS["tiny"])
    files = write_design(machine, tmp_path / "new" / "folder")
    assert {path.parent for path in files} == {tmp_path / "new" / "folder"}
    readme = (tmp_path / "new" / "folder" / "README.md").read_text()
    assert f"{machine.inventory.bits} flip-flops" in readme
    assert "| `v_delay` | 24 | 16 | 384 |" in readme


def test_a_name_of_many_lines_stays_a_comment(tmp_path: Path):
    text = {"architecture": {"kind": "lanes", "lanes": 1, "head_dim": 2, "exp": {"kind": "pwl"}},
            "workload": {"kind": "gaussian", "queries": 1, "keys": 1}, "name": "x\nmodule evil; endmodule"}  # fmt: skip
    try:
        machine = LanesMachine(config_from_dict(text))
    except ConfigError:
        return  # the config refuses such a name already
    write_design(machine, tmp_path)
    assert not re.search(r"^module", (tmp_path / "lanes_cfg.sv").read_text(), re.MULTILINE)
