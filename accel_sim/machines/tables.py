"""The tables of the `lanes` machine's specification, from the code: registers in symbols, and a timeline.

`register_rows()` says of every register array when the machine has it, its shape and width as formulas, and the
pipeline stage in which it is live. The formulas are found by looking at machines of many sizes and options, and
keeping what is true of all of them. `timeline` prints who is where in every cycle of a small head.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from typing import Any

import numpy as np

from accel_sim.machines.counting import count_bits, frequent_of
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import LanesMachine, bits_for, tree_sizes
from accel_sim.machines.lanes_schedule import pipeline_stage

Formulas = dict[str, Callable[[LanesMachine], int]]

SIZES: Formulas = {
    "1": lambda m: 1,
    "P": lambda m: m.lanes,
    "d": lambda m: m.head_dim,
    "W": lambda m: sum(tree_sizes(m.head_dim)),
    "D": lambda m: m.depth,
    "L": lambda m: m.levels,
    "3 + D": lambda m: 3 + m.depth,
    "4 + D": lambda m: 4 + m.depth,
    "6 + D": lambda m: 6 + m.depth,
    "4 + D − L": lambda m: 4 + m.depth - m.levels,
    "d(d − 1)/2": lambda m: m.head_dim * (m.head_dim - 1) // 2,
    "2": lambda m: 2,
    "2 + L": lambda m: 2 + m.levels,
}
"""Sizes of register arrays. W: registers of an adder tree over d values, ⌈d/2⌉ + ⌈d/4⌉ + … + 1."""

WIDTHS: Formulas = {
    "1": lambda m: 1,
    "3": lambda m: 3,
    "key": lambda m: bits_for(m.config.architecture.max_keys),
    "query": lambda m: bits_for(m.config.architecture.max_queries + m.lanes + 1),
    "lane": lambda m: bits_for(m.lanes),
    "counter": lambda m: max((count_bits(frequent_of(u)) for u in m.units), default=0),
}
"""Widths of control registers: of a key's index, of a query's (which runs past the last one), of a lane's; of a
counter that a threshold's `frequent` fits."""

STAGES: Formulas = {
    "0": lambda m: 0,
    "1": lambda m: 1,
    "2": lambda m: 2,
    "D − 1": lambda m: m.depth - 1,
    "D": lambda m: m.depth,
    "1 + D": lambda m: 1 + m.depth,
    "2 + D": lambda m: 2 + m.depth,
    "3 + D": lambda m: 3 + m.depth,
    "4 + D": lambda m: 4 + m.depth,
    "5 + D": lambda m: 5 + m.depth,
    "L": lambda m: m.levels,
    "1 + L": lambda m: 1 + m.levels,
}
"""Stages of the streaming pipeline."""

CONDITIONS: dict[str, Callable[[LanesMachine], bool]] = {
    "check unit": lambda m: m.check is not None,
    "tree": lambda m: m.dot == "tree",
    "serial": lambda m: m.dot == "serial",
    "fused": lambda m: m.dot == "fused",
    "reciprocal": lambda m: m.reciprocal,
    "own score": lambda m: m.owns("score"),
    "own max": lambda m: m.owns("max"),
    "own exp": lambda m: m.owns("exp"),
    "own sum": lambda m: m.owns("sum"),
    "scans": lambda m: m.scans,
    "window": lambda m: m.sliding_window,
    "statistical": lambda m: m.statistical,
    "row sums": lambda m: m.rowsum is not None,
    "row sums statistical": lambda m: frequent_of(m.rowsum) > 0,
    "invariants": lambda m: m.invariants is not None,
    "invariants statistical": lambda m: frequent_of(m.invariants) > 0,
    "`max` watched": lambda m: m.watches("max"),
    "`max` or `sum` watched": lambda m: m.watches("max", "sum"),
    "`mask` watched": lambda m: m.watches("mask"),
    "`score` watched": lambda m: m.watches("score"),
}
"""What decides whether a machine has a register. `check unit` is fused_output, `own` what it does not share; `row sums`
is score_rowsum, `invariants` softmax_invariants, and `watched` are those that it watches."""

FORMAT_OF_ROLE = {
    "operand": "fp8_e5m2", "score": "bf16", "exp": "fp16", "state": "fp32", "output": "fp8_e4m3", "checker": "fp64",
}  # fmt: skip
"""A different format for every role, so that a register's format tells its role."""


@dataclass(frozen=True)
class RegisterRow:
    """One register array in symbols. `when` is empty for one that every machine has; `stage` for one that is not
    part of the streaming pipeline."""

    name: str
    when: str
    shape: str
    format: str
    stage: str
    role: str
    component: str
    about: str


def probes() -> list[LanesMachine]:
    """Machines of every kind, in two sizes."""
    from accel_sim.config import config_from_dict

    units: list[list[dict[str, Any]]] = [[]]
    often = {"kind": "statistical", "frequent": 300}
    not_shared = ((), ("sum",), ("exp",), ("max", "exp"), ("score", "max", "exp"), ("score", "max", "exp", "sum"))
    for own, granularity in product(not_shared, ("head", "key_tile")):
        units.append([{"kind": "fused_output", "granularity": granularity, "shares": dict.fromkeys(own, False)}])
    invariants = ["sum", "max", "mask", "score"]
    looking: list[dict[str, Any]] = [{"kind": "score_rowsum"}, {"kind": "softmax_invariants", "which": invariants}]
    units.append([{"kind": "fused_output", "threshold": often}])
    units.append([{"kind": "fused_output"}, *({**unit, "threshold": often} for unit in looking)])
    units += [[looking[0]], [{**looking[1], "threshold": often}]]
    units += ([{"kind": "softmax_invariants", "which": [name]}] for name in invariants)
    machines = []
    for dot, divide, chosen in product(("tree", "serial", "fused"), ("exact", "reciprocal_pwl"), units):
        for lanes, head_dim, keys, queries in ((3, 6, 100, 1000), (17, 41, 5000, 30_000)):
            config = config_from_dict({
                "architecture": {
                    "kind": "lanes", "lanes": lanes, "head_dim": head_dim, "dot": dot, "divide": divide,
                    "formats": FORMAT_OF_ROLE, "key_tile": 32, "max_keys": keys, "max_queries": queries,
                    "sliding_window": divide == "exact",
                },
                "checker": {"units": chosen},
                "workload": {"kind": "gaussian", "queries": 1, "keys": 1},
            })  # fmt: skip
            machines.append(LanesMachine(config))
    return machines


@cache
def register_rows() -> tuple[RegisterRow, ...]:
    """Every register array that a machine can have, in layout order."""
    machines = probes()
    return tuple(_row(name, machines) for name in _in_layout_order(machines))


def _in_layout_order(machines: Iterable[LanesMachine]) -> list[str]:
    """All names that occur, each behind the one that it follows in a machine that has both."""
    names: list[str] = []
    for machine in machines:
        at = 0
        for register in machine.inventory:
            if register.name not in names:
                names.insert(at, register.name)
            at = names.index(register.name) + 1
    return names


def _row(name: str, machines: list[LanesMachine]) -> RegisterRow:
    having = [(m, m.inventory[name]) for m in machines if name in m.inventory]
    _, first = having[0]
    sizes = [_formula(SIZES, [(m, r.shape[i]) for m, r in having]) for i in range(len(first.shape))]
    return RegisterRow(
        name=name,
        when=_condition(name, machines),
        shape=" × ".join(_factor(size, len(sizes)) for size in sizes) or "1",
        format=_format(having),
        stage=_stage(having),
        role=first.role,
        component=first.component,
        about=first.about,
    )


def _factor(text: str, of: int) -> str:
    """A size as one of several factors."""
    return f"({text})" if of > 1 and " " in text else text


def _condition(name: str, machines: list[LanesMachine]) -> str:
    """The fewest conditions that hold for exactly the machines that have the register."""
    for count in range(4):
        for chosen in combinations(CONDITIONS, count):
            if all(all(CONDITIONS[c](m) for c in chosen) == (name in m.inventory) for m in machines):
                return ", ".join(chosen)
    raise AssertionError(f"no few conditions say which machines have {name}")


def _formula(formulas: Formulas, values: list[tuple[LanesMachine, int]]) -> str:
    """The first formula that gives every machine its value."""
    for text, formula in formulas.items():
        if all(formula(machine) == value for machine, value in values):
            return text
    raise AssertionError(f"no formula among {', '.join(formulas)} gives {values[0][1]}")


def _format(having: list[tuple[LanesMachine, Register]]) -> str:
    """Role of the format, or width of a control register."""
    if all(r.format.kind == "uint" for _, r in having):
        width = _formula(WIDTHS, [(m, r.width_bits) for m, r in having])
        if width in ("1", "3"):
            return f"{width} bit{'s' if width == '3' else ''}"
        return width if width == "counter" else f"{width} index"
    roles = {fmt: role for role, fmt in FORMAT_OF_ROLE.items()}
    names = {m.dot: roles.get(r.format.name, "exact product") for m, r in having}
    common = names[having[0][0].dot]
    return common + "".join(f"; {dot}: {name}" for dot, name in names.items() if name != common)


def _stage(having: list[tuple[LanesMachine, Register]]) -> str:
    """First and last stage in which elements of the register are live; for each dot product, if they differ."""
    ends: dict[str, list[tuple[LanesMachine, int, int]]] = {}
    for machine, register in having:
        stages = [pipeline_stage(machine, register.name, index) for index in np.ndindex(register.shape)]
        known = [stage for stage in stages if stage is not None]
        if not known:
            return ""
        ends.setdefault(machine.dot, []).append((machine, min(known), max(known)))
    try:
        return _range([end for some in ends.values() for end in some])
    except AssertionError:
        common, *_ = texts = {dot: _range(some) for dot, some in ends.items()}
        return texts[common] + "".join(f"; {dot}: {t}" for dot, t in texts.items() if t != texts[common])


def _range(ends: list[tuple[LanesMachine, int, int]]) -> str:
    low = _formula(STAGES, [(machine, first) for machine, first, _ in ends])
    high = _formula(STAGES, [(machine, last) for machine, _, last in ends])
    return low if low == high else f"{low} … {high}"


def timeline(machine: LanesMachine, n_queries: int, n_keys: int) -> str:
    """Every cycle of a fault-free, stall-free head, one line each.

    Columns: cycle; phase; what the controller does; the key in each stage of the streaming pipeline (the one in the
    last stage is accumulated in this cycle); the query in the normaliser's operand registers (`norm`), in its
    reciprocal stage if it has one, in `out`, in the levels of `out_tree`; and what the check unit holds. Registers
    are as they stand at the start of the cycle.
    """
    timing = machine.timing(n_queries, n_keys)
    behind = {"norm": 1} | ({"recip": 2} if machine.reciprocal else {}) | {"out": 1 + timing.normalise}
    if machine.check:
        behind |= {f"t{i}": 2 + timing.normalise + i for i in range(machine.levels)}
    head = ["cycle", "phase ", "does      ", *(f"s{i}" for i in range(machine.stages)), *behind]
    if machine.check:
        head.append("check")
    lines = ["  ".join(head)]
    events = _events(machine, n_queries, n_keys)
    for phase, block, first, cycles in timing.spans():
        for cycle in range(first, first + cycles):
            cells = [str(cycle), phase, _does(machine, n_queries, phase, block, cycle - first)]
            for stage in range(machine.stages):
                _, key = divmod(cycle - 1 - stage - timing.lanes, timing.period)
                live = timing.lanes <= cycle - 1 - stage < timing.swap_start(timing.blocks) and key < n_keys
                cells.append(f"k{key}" if live else ".")
            for lag in behind.values():
                swap, lane = divmod(cycle - lag, timing.period)
                query = (swap - 1) * timing.lanes + lane
                live = 1 <= swap <= timing.blocks and lane < timing.lanes and query < n_queries
                cells.append(f"q{query}" if live else ".")
            widths = [len(title) for title in head]
            if machine.check:
                cells.append(events.get(cycle, ""))
            lines.append("  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip())
    return "\n".join(lines) + "\n"


def _does(machine: LanesMachine, n_queries: int, phase: str, block: int, step: int) -> str:
    if phase == "stream":
        return f"fetch k{step}"
    if phase != "swap":
        return ""
    query = block * machine.lanes + step
    return f"load q{query}" if query < n_queries else "load –"


def _events(machine: LanesMachine, n_queries: int, n_keys: int) -> dict[int, str]:
    """What the check unit's last registers say, by cycle: compare, residual."""
    if machine.check is None:
        return {}
    timing = machine.timing(n_queries, n_keys)
    blocks = range(timing.blocks) if machine.check.granularity != "head" else (timing.blocks - 1,)
    events: dict[int, str] = {}
    for block in blocks:
        residual = timing.residual_cycle(timing.swap_start(block + 1) + machine.lanes - 1)
        events |= {residual - 1: "compare", residual: "residual"}
    return events
