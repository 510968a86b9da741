"""Packages with check units, found as if they were installed."""

from __future__ import annotations

import sys

import pytest

from accel_sim.config import installed
from output_units.packages import install_example


@pytest.fixture
def forget():
    """What has been found installed is forgotten before the test and after it."""
    def clear() -> None:
        from accel_sim.config.checker import Checker
        from accel_sim.config.explain import field_slot

        installed.installed_names.cache_clear()
        installed.installed.cache_clear()
        items = field_slot(Checker, "units").items
        assert items is not None and items.kinds is not None
        items.kinds.forget()

    clear()
    yield clear
    clear()


@pytest.fixture
def example(forget, tmp_path, monkeypatch):
    """The package of the documentation, on the path."""
    monkeypatch.syspath_prepend(install_example(tmp_path))
    monkeypatch.delitem(sys.modules, "column_sum_unit", raising=False)
