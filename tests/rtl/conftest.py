"""Tests of the RTL need Verilator and a C++ compiler; without them they skip and say which is missing.

What they build is kept in the user's cache (`accel_sim.rtl.verilate.default_cache`): a second run builds nothing.
"""

from __future__ import annotations

import pytest

from accel_sim.rtl.verilate import ToolMissing, Tools, find_tools


@pytest.fixture(scope="session")
def tools() -> Tools:
    """Verilator and the compiler, or a skip with the reason."""
    try:
        return find_tools()
    except ToolMissing as missing:
        pytest.skip(str(missing))
