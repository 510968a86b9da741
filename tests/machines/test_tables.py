"""The tables of the specification page are true of every machine, and of what it does in every cycle."""

from __future__ import annotations

import numpy as np
import pytest
from engines.draw import gaussian_case, machine_with, random_machine, trace

from accel_sim.config import load_config
from accel_sim.machines.lanes import LanesMachine
from accel_sim.machines.lanes_schedule import pipeline_stage
from accel_sim.machines.tables import CONDITIONS, SIZES, STAGES, WIDTHS, register_rows, timeline

ROWS = {row.name: row for row in register_rows()}


def value(text: str, formulas: dict, machine: LanesMachine) -> int:
    return int(formulas[text.strip("()")](machine))


def of_dot(text: str, machine: LanesMachine) -> str:
    """The part of "1; serial: 1 … D" that is about this machine."""
    common, *others = text.split("; ")
    by_dot = dict(other.split(": ", 1) for other in others)
    return by_dot.get(machine.dot, common)


def test_register_rows_hold_for_any_machine():
    """Existence, shape, format, stage, of machines that the table was not made from."""
    rng = np.random.default_rng(0)
    for _ in range(150):
        machine = random_machine(rng)
        present = {
            row.name for row in register_rows()
            if all(CONDITIONS[c](machine) for c in row.when.split(", ") if c)
        }  # fmt: skip
        if machine.head_dim == 1:
            present.discard("k_skew")
        assert present == {r.name for r in machine.inventory}
        for register in machine.inventory:
            row = ROWS[register.name]
            factors = [] if row.shape == "1" and not register.shape else row.shape.split(" × ")
            assert tuple(value(factor, SIZES, machine) for factor in factors) == register.shape, register.name
            assert (row.role, row.component, row.about) == (register.role, register.component, register.about)
            fmt = of_dot(row.format, machine)
            if register.format.kind == "uint":
                width = fmt.removesuffix(" index").removesuffix(" bits").removesuffix(" bit")
                assert value(width, WIDTHS, machine) == register.width_bits
            elif fmt != "exact product":
                assert machine.formats[fmt] == register.format, register.name
            stages = {pipeline_stage(machine, register.name, index) for index in np.ndindex(register.shape)}
            if row.stage:
                first, last = (of_dot(row.stage, machine).split(" … ") * 2)[:2]
                assert (min(stages), max(stages)) == (value(first, STAGES, machine), value(last, STAGES, machine))
            else:
                assert stages == {None}


def test_rows_stand_in_layout_order():
    names = list(ROWS)
    for machine in (machine_with(), machine_with(dot="serial", divide="reciprocal_pwl", granularity="key_tile")):
        places = [names.index(r.name) for r in machine.inventory]
        assert places == sorted(places)


@pytest.mark.parametrize("options", [
    {}, {"divide": "reciprocal_pwl", "granularity": "query_block"}, {"dot": "serial", "head_dim": 3}, {"check": False},
])  # fmt: skip
def test_the_timeline_is_what_the_machine_does(options):
    machine = machine_with(lanes=2, **({"head_dim": 4} | options))
    case = gaussian_case(machine, 5, 6)
    run = trace(case)
    head, *lines = timeline(machine, 5, 6).splitlines()
    columns = head.split()
    starts, at = [], 0
    for column in columns:  # a title may be part of another: look from the last one on
        starts.append(head.index(column, at))
        at = starts[-1] + len(column)
    assert len(lines) == run.result.cycles == len(run.cycles)
    for cycle, line in enumerate(lines):
        cells = {
            c: line[start:end].strip()
            for c, start, end in zip(columns, starts, [*starts[1:], None], strict=True)
        }  # fmt: skip
        state = {name: run.array(name)[cycle] for name in ("phase", "valid", "key_tag", "norm_valid", "norm_addr")}
        assert cells["cycle"] == str(cycle)
        assert cells["phase"] == ("swap", "stream", "flush", "tail")[int(state["phase"])]
        for stage in range(machine.stages):
            cell = cells[f"s{stage}"]
            assert (cell != ".") == bool(state["valid"][stage])
            if cell != "." and stage < len(state["key_tag"]):
                assert cell == f"k{int(state['key_tag'][stage])}"
        for name in ("norm", *(["recip"] if machine.reciprocal else []), "out"):
            tag, address = (float(run.column(f"{name}_{what}")[cycle]) for what in ("valid", "addr"))
            assert cells[name] == (f"q{int(address)}" if tag else ".")
        if cells["does"].startswith("fetch"):
            assert cells["does"] == f"fetch k{int(run.column('key')[cycle])}"
        if machine.check:
            for level in range(machine.levels):
                assert (cells[f"t{level}"] != ".") == bool(run.column("sum_valid", level)[cycle])
            assert ("compare" in cells["check"]) == bool(run.column("compare")[cycle])
            assert ("residual" in cells["check"]) == bool(run.column("judge")[cycle])


def test_the_example_of_the_page():
    """`tiny` with six keys and five queries: fill 8, period 16, tail 6, 56 cycles."""
    timing = LanesMachine(load_config("tiny")).timing(5, 6)
    assert (timing.flush, timing.period, timing.tail, timing.head_cycles) == (8, 16, 6, 56)
