"""Cycles: of the schedule, of the stepped engine, of the closed formulas, and of SCALE-Sim."""

from __future__ import annotations

import numpy as np
import pytest

from accel_sim.arrays.registers import Registers
from accel_sim.arrays.stepped import SteppedArray
from accel_sim.config.errors import ConfigError
from accel_sim.machines.folds import DATAFLOWS, Folding, check_cycles, closed_formula
from accel_sim.machines.systolic import SystolicArray

SIZES = 2000

# scalesim 3.0.0, "Total Cycles" of GEMMs (M, N, K) on square arrays: measured, see the module under test.
SCALE_SIM = [
    ((256, 256, 64), 16, (24063, 19327, 19327)), ((256, 256, 64), 32, (8063, 5599, 5599)),
    ((256, 256, 64), 64, (3039, 1783, 1783)), ((256, 64, 256), 16, (18303, 19327, 28159)),
    ((256, 64, 256), 32, (5087, 5599, 10111)), ((256, 64, 256), 64, (1527, 1783, 4063)),
    ((1024, 1024, 64), 16, (385023, 273919, 273919)), ((1024, 1024, 64), 64, (48639, 19423, 19423)),
    ((1024, 64, 1024), 32, (69503, 71551, 161791)), ((1024, 64, 1024), 64, (18399, 19423, 65023)),
]


def random_foldings(seed: int, largest: int, array: int) -> list[Folding]:
    rng = np.random.default_rng(seed)
    flows = list(DATAFLOWS)
    return [Folding(*(int(s) for s in rng.integers(1, largest + 1, 3)), *(int(s) for s in rng.integers(1, array + 1, 2)),
                    flows[rng.integers(3)]) for _ in range(SIZES)]


def unused(folding: Folding) -> int:
    """Cycles by which the last output of the last fold leaves before its last cycle, for want of rows and columns."""
    last = folding.fold(folding.folds - 1)
    missing_rows = 0 if folding.dataflow.loads else folding.rows - last.n_rows  # moving sums pass all rows
    return missing_rows + folding.cols - last.n_cols


def test_measured_cycles_equal_the_closed_formulas() -> None:
    for folding in random_foldings(1, 7, 5):
        machine = SystolicArray(folding.rows, folding.cols, folding.flow, "int8", "int32")
        a, b = np.ones((folding.m, folding.k)), np.ones((folding.k, folding.n))
        run = SteppedArray(machine, a, b).run()
        assert (run.output == folding.k).all()
        measured = run.last_write + 1 + unused(folding)
        check = check_cycles(folding, measured)
        assert (check.deviation, check.formula, check.scale_sim) == (0, run.cycles, run.cycles - 1), folding
        partial = 1 if folding.flow == "os" else folding.row_folds
        assert run.writes == folding.m * folding.n * partial


def test_scheduled_cycles_equal_the_closed_formulas() -> None:
    for folding in random_foldings(2, 100_000, 300):
        m, n, k = folding.m - 1, folding.n - 1, folding.k - 1
        last_fold, row, col, cycle = folding.place(m, n, k)
        assert last_fold == folding.folds - 1
        waits = folding.rows - 1 - row + folding.cols - 1 - col  # until an element has passed all of the array
        assert cycle + waits + 1 == folding.cycles == closed_formula(folding), folding
        assert folding.place(0, 0, 0) == (0, 0, 0, folding.fill)


@pytest.mark.parametrize("flow", list(DATAFLOWS))
def test_each_product_has_one_place_and_no_pe_does_two_at_once(flow: str) -> None:
    folding = Folding(7, 5, 6, 3, 2, flow)
    places = {folding.place(*at) for at in np.ndindex(folding.m, folding.n, folding.k)}
    assert len({(row, col, cycle) for _, row, col, cycle in places}) == folding.macs
    for number, row, col, cycle in places:
        fold = folding.fold(number)
        assert row < fold.n_rows and col < fold.n_cols
        assert fold.start <= cycle < fold.start + folding.fold_cycles
    assert sum(fold.n_rows * fold.n_cols for fold in folding) * folding.stream_size == folding.macs


@pytest.mark.parametrize("sizes, array, printed", SCALE_SIM)
def test_scale_sim_prints_one_less(sizes: tuple[int, int, int], array: int, printed: tuple[int, int, int]) -> None:
    for flow, cycles in zip(("os", "ws", "is"), printed, strict=True):
        folding = Folding(*sizes, array, array, flow)
        assert folding.scale_sim_cycles == cycles
        assert check_cycles(folding, folding.cycles).scale_sim == cycles
    # "Overall Util %" of qk256 on 16 × 16 is over those cycles, too
    assert round(100 * 256 * 256 * 64 / (24063 * 256), 2) == 68.09
    assert round(100 * Folding(256, 256, 64, 16, 16, "os").utilisation, 2) == 68.09


@pytest.mark.parametrize("flow", list(DATAFLOWS))
@pytest.mark.parametrize("m, n, k", [(7, 5, 6), (2, 3, 9), (1, 4, 1)])
def test_traffic_is_what_the_array_is_seen_to_take(flow: str, m: int, n: int, k: int) -> None:
    machine = SystolicArray(3, 4, flow, "int8", "int32")
    engine = SteppedArray(machine, np.ones((m, k)), np.ones((k, n)))
    taken = {"right": 0, "down": 0}
    folding = engine.folding

    def watch(_: int, registers: Registers) -> None:
        taken["right"] += int(registers.values("x_valid")[:, 0].sum())
        taken["down"] += int(registers.values("y_valid")[0].sum())

    run = engine.run(watch=watch)
    traffic = folding.traffic._asdict()
    assert traffic[f"{folding.dataflow.right}_reads"] == taken["right"]
    assert traffic["sum_writes"] == run.writes
    if flow == "os":
        assert traffic["b_reads"] == taken["down"] and traffic["sum_reads"] == 0
    else:  # in the first row fold of each column fold zeros come in at the top, and no memory is read
        first = folding.stream_size * folding.col_size
        assert traffic["sum_reads"] == taken["down"] - first
        assert traffic[f"{folding.dataflow.stays}_reads"] == folding.row_size * folding.col_size


@pytest.mark.parametrize("flow, load, stream", [("os", 0, 4), ("ws", 3, 6), ("is", 3, 5)])
def test_phases_of_a_fold(flow: str, load: int, stream: int) -> None:
    folding = Folding(6, 5, 4, 3, 2, flow)
    phases = [folding.phase(cycle) for cycle in range(folding.cycles)]
    assert phases == (["load"] * load + ["stream"] * stream + ["drain"] * 3) * folding.folds


def test_one_pe_takes_one_cycle_a_product() -> None:
    assert Folding(3, 4, 5, 1, 1, "os").cycles == 60
    assert Folding(3, 4, 5, 1, 1, "ws").cycles == 20 * (3 + 1)  # and one to load each weight


@pytest.mark.parametrize("change, message", [
    ({"rows": 0}, "rows must be an integer from 1"), ({"cols": 2.5}, "cols must be an integer"),
    ({"m": -1}, "m must be"), ({"k": True}, "k must be"), ({"flow": "wss"}, 'did you mean "ws"'), ({"flow": 3}, "os, ws or is"),
])
def test_sizes_that_make_no_sense_are_refused(change: dict[str, object], message: str) -> None:
    sizes: dict[str, object] = {"m": 1, "n": 1, "k": 1, "rows": 1, "cols": 1, "flow": "os"}
    with pytest.raises(ConfigError, match=message):
        Folding(**{**sizes, **change})  # type: ignore[arg-type]


def test_there_is_no_fold_or_product_outside() -> None:
    folding = Folding(2, 2, 2, 2, 2, "ws")
    with pytest.raises(IndexError):
        folding.fold(1)
    with pytest.raises(IndexError):
        folding.place(0, 2, 0)
