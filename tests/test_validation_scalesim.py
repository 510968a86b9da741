"""The table of cycles beside SCALE-Sim."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from accel_sim.config import ConfigError
from accel_sim.machines.folds import Folding
from accel_sim.validation_scalesim import (
    ARRAYS,
    RECORDED,
    SHAPES,
    measured_on_engine,
    measured_on_schedule,
    scalesim_table,
)


def test_every_row_agrees_and_says_how_it_was_measured() -> None:
    told: list[str] = []
    rows = scalesim_table(((7, 5, 6), (12, 8, 4)), ((4, 4), (3, 5)), ("os", "ws", "is"), progress=told.append)
    assert len(rows) == 12 == len(told)
    assert told[0] == "7 x 6 by 6 x 5 on 4 x 4, os"
    assert all(row.agrees and row.measured_by == "engine" and row.recorded is None for row in rows)
    # By hand: ⌈7/4⌉ ⌈5/4⌉ (6 + 4 + 4 − 2), ⌈6/4⌉ ⌈5/4⌉ (7 + 8 + 4 − 2), ⌈6/4⌉ ⌈7/4⌉ (5 + 8 + 4 − 2).
    assert [row.measured for row in rows[:3]] == [48, 68, 60]
    assert [row.scale_sim for row in rows[:3]] == [47, 67, 59]


def test_the_clock_and_the_schedule_measure_the_same() -> None:
    rng = np.random.default_rng(5)
    for _ in range(60):
        sizes = [int(n) for n in rng.integers(1, 14, 3)]
        array = [int(n) for n in rng.integers(1, 6, 2)]
        folding = Folding(*sizes, *array, str(rng.choice(["os", "ws", "is"])))
        assert measured_on_engine(folding) == measured_on_schedule(folding) == folding.cycles, folding


def test_the_table_meets_what_scale_sim_printed() -> None:
    # On the schedule: stepping the large ones takes minutes in all.
    rows = scalesim_table(engine_work=0)
    assert len(rows) == 3 * len(SHAPES) * len(ARRAYS)
    assert {row.measured_by for row in rows} == {"schedule"}
    recorded = [row for row in rows if row.recorded is not None]
    assert len(recorded) == len(RECORDED) == 30
    assert all(row.agrees and row.recorded == row.measured - 1 for row in recorded)
    assert all(row.agrees for row in rows)


def test_a_product_that_scale_sim_was_run_on_is_stepped() -> None:
    (row,) = scalesim_table([(256, 64, 256)], [(16, 16)], ["os"])
    assert (row.measured_by, row.measured, row.recorded) == ("engine", 18304, 18303)


def test_a_row_that_disagrees_says_so() -> None:
    (row,) = scalesim_table([(256, 64, 256)], [(64, 64)], ["os"], engine_work=0)
    assert row.agrees
    assert not dataclasses.replace(row, measured=row.measured - 1).agrees
    assert not dataclasses.replace(row, recorded=row.scale_sim + 1).agrees


@pytest.mark.parametrize(("shapes", "arrays", "flows", "message"), [
    ([(0, 1, 1)], [(1, 1)], ["os"], "m must be an integer from 1"),
    ([(1, 1, 1)], [(1, 0)], ["os"], "cols must be an integer from 1"),
    ([(1, 1, 1)], [(1, 1)], ["rs"], "dataflow must be os, ws or is"),
])
def test_what_is_no_product_is_refused(shapes, arrays, flows, message) -> None:
    with pytest.raises(ConfigError, match=message):
        scalesim_table(shapes, arrays, flows)
