"""The schedule of the `gemm` machine: what a register holds in which cycle, and whether anything will read it.

`live` answers for many elements of one register array at once (those of the array itself: `occupant`). A register is
dead where nothing reads it before it is written or cleared again: in a unit that stands still, before the first value
of a part and after the last, in a lane without a query.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.machines.gemm_registers import SEQUENCER
from accel_sim.machines.gemm_timing import GemmTiming, Phase
from accel_sim.machines.inventory import Register
from accel_sim.machines.machine import Occupant
from accel_sim.machines.systolic_schedule import Schedule

if TYPE_CHECKING:
    from accel_sim.machines.gemm import GemmCheck, GemmMachine
    from accel_sim.machines.gemm_layout import Product

JUDGE = ("threshold", "enable", "alarm", "small_threshold", "frequent", "deviations")
"""What every check unit judges with, behind the prefix of its registers."""

ALWAYS = (*SEQUENCER, *(f"{prefix}_{name}" for prefix in ("gemm", "fused", "rowsum", "softmax") for name in JUDGE))
"""Registers that count as live in every cycle."""

Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]


class Window(NamedTuple):
    """Steps of every part of a phase in which a register is live, both included. later: added to the last for each
    lane. first_key: step at which key (or element) 0 stands there, where keys pass one a cycle; None if they do not."""

    phase: str
    first: int
    last: int
    later: int = 0
    first_key: int | None = None


def windows(machine: GemmMachine, n_keys: int) -> dict[str, tuple[Window, ...]]:
    """When each register of the vector unit is live."""
    n, again = n_keys, n_keys + 3  # step in which the exp pass reads its first score
    both: dict[str, tuple[Window, ...]] = {name: (Window("softmax", age, age + n - 1, 0, age),
                   Window("softmax", again + age - 1, again + age + n - 2, 0, again + age - 1))
            for name, age in (("x_in", 2), ("scaled", 3))}
    exps = {name: (Window("softmax", again + age, again + age + n - 1, 0, again + age),)
            for name, age in (("ds", 3), ("allow", 3), ("p", 4), ("p_out", 5))}
    watched = () if machine.softmax is None else machine.softmax.which
    out = again + n + 4  # step in which the sum of a row goes to SRAM; what is judged then is read until then
    masks = (Window("softmax", 1, out if "sum" in watched else again + n + (3 if "mask" in watched else 1)),)
    found: dict[str, tuple[Window, ...]] = {**both, **exps, "bound": masks, "first": masks,
             "m": (Window("softmax", 1, out if "max" in watched else again + n + 1),),
             "seen": (Window("softmax", 1, n + 2),), "l": (Window("softmax", 1, out),),
             "softmax_excess": (Window("softmax", 1, out + 1, 1),), "softmax_m": (Window("softmax", 1, out),)}
    lead, d, words = 2 if machine.reciprocal else 1, machine.head_dim, machine.fused_words
    scan = lead + d + words + 2  # step in which lane 0 is added to the fused check's sums
    found["x_in"] += (Window("divide", lead + 1, lead + d + words, 0, lead + 1),)
    found["out"] = (Window("divide", lead + 2, lead + d + 1, 0, lead + 2),)
    last = scan - 1 if words else lead + d
    found["l"] += (Window("divide", 1, 1 if machine.reciprocal else last),)
    found["recip"] = (Window("divide", 2, last),)
    found["fused_c"] = (Window("divide", 1, scan - 1),)
    found["fused_sum"] = (Window("divide", 1, scan, 1),)
    found["fused_term"] = (Window("divide", scan, scan, 1),)
    return found


def encoder_work(machine: GemmMachine, timing: GemmTiming, phase: str) -> tuple[int, int, int]:
    """(elements of a group, words of a checksum, values of k) of an encoder phase."""
    if phase == "encode_v":
        return machine.head_dim, machine.fused_words, timing.n_keys
    _, which, side = phase.split("_")
    product = timing.products[which]
    group = product.cols if side == "rows" else product.p_group
    return group, machine.encoder_check(phase).words, product.k


def live(machine: GemmMachine, timing: GemmTiming, name: str, element: Ints, cycle: Ints) -> Bools:
    """Whether elements (flat indices) of a register array outside the array of PEs are live at the start of machine
    cycles; both (n,)."""
    inside = (cycle >= 0) & (cycle < timing.head_cycles)
    if name in ALWAYS:
        return inside
    if name in ("scale", "softmax_bound") and not machine.plain:
        return inside & (cycle < timing.by_name["softmax"].end)
    found = np.zeros(cycle.shape, dtype=bool)
    for phase in timing.program:
        at = np.flatnonzero((cycle >= phase.start) & (cycle < phase.end))
        if at.size:
            part, step = np.divmod(cycle[at] - phase.start, phase.steps)
            found[at] = _live_in(machine, timing, phase, name, element[at], part, step)
    return found


def _live_in(machine: GemmMachine, timing: GemmTiming, phase: Phase, name: str, element: Ints, part: Ints,
             step: Ints) -> Bools:
    none = np.zeros(part.shape, dtype=bool)
    if phase.name in ("softmax", "divide"):
        if name in ("softmax_residual", "softmax_limit"):
            lane = step - (2 * timing.n_keys + 9)
            return (phase.name == "softmax") & (lane >= 0) & (part * machine.lanes + lane < timing.n_queries)
        if name in ("fused_pred", "fused_act", "fused_residual", "fused_limit"):
            return _live_sums(machine, phase, name, part, step) if phase.name == "divide" else none
        for window in windows(machine, timing.n_keys).get(name, ()):
            if window.phase == phase.name:
                none |= (step >= window.first) & (step <= window.last + window.later * element)
        return none & (part * machine.lanes + element < timing.n_queries)
    if phase.name.startswith("encode_"):
        return _live_encoder(machine, timing, phase, name, element, part, step)
    local = part * phase.steps + step
    if phase.name.endswith("_drain"):
        local = local + timing.by_name[phase.name.removesuffix("_drain")].cycles
    product = phase.name.removesuffix("_drain")
    for check in machine.array_checks:
        if product in check.products and name in check.edge_fields:
            return _live_edge(check, timing.products[product], check.edge_fields[name], element, local)
    return none


def _live_sums(machine: GemmMachine, phase: Phase, name: str, part: Ints, step: Ints) -> Bools:
    assert machine.fused is not None
    compares = phase.steps - 2
    last: Bools = (part == phase.parts - 1) | machine.fused.per_block
    judged: Bools = last & (step == phase.steps - 1)
    if name in ("fused_residual", "fused_limit"):
        return judged
    begun: Bools = (step > 0) | ((part > 0) & (not machine.fused.per_block))
    return begun & ~(last & (step > compares))


def _live_encoder(machine: GemmMachine, timing: GemmTiming, phase: Phase, name: str, element: Ints, part: Ints,
                  step: Ints) -> Bools:
    prefix, _, what = name.partition("_")
    group, words, k_size = encoder_work(machine, timing, phase.name)
    own = "fused" if phase.name == "encode_v" else machine.encoder_check(phase.name).prefix
    if prefix != own or what not in ("in", "acc", "word"):
        return np.zeros(part.shape, dtype=bool)
    k = part % -(-k_size // machine.lanes) * machine.lanes + element
    holds: Bools
    if what == "in":
        holds = (step >= 1) & (step <= group)
    elif what == "acc":
        holds = (step >= 1) & (step < group + 2 * words)
    else:
        holds = (step > group + 1) & ((step - group) % 2 == 0)
    return holds & (k < k_size)


def _live_edge(check: GemmCheck, product: Product, name: str, element: Ints, local: Ints) -> Bools:
    """Data is live while what it belongs to is summed and compared; tags, and what a correction goes by, all the
    time. name: of the field of the edge."""
    if name in ("row_valid", "col_valid") or name.startswith("fix_"):
        return np.ones(local.shape, dtype=bool)
    behind = product.cols + check.words
    stages: dict[str, Any] = {
        "row_act": element, "row_pred": product.cols + element, "row_hold": product.cols + element,
        "row_residual": behind, "row_limit": behind, "col_act": element, "col_pred": element}
    since: Ints = local - 1 - stages.get(name, 1)
    if name in ("col_residual", "col_limit"):  # one column after the other stands there, each for a cycle
        since = since - (product.p_group + product.p_extra - 1) - product.first_delivery
    period, folds = product.folding.fold_cycles, product.folding.row_folds
    fold, u = np.divmod(since, period)
    row = fold % folds
    complete: Bools = (row == folds - 1) | (not product.streams_p)
    inside: Bools = (since >= 0) & (fold < product.folding.folds) & complete
    columns = product.q_size - fold // folds * product.cols  # of the group, from here on
    if name in ("col_residual", "col_limit"):
        inside &= u < np.minimum(columns, product.cols)
        return inside
    u = u - product.first_delivery
    if name.startswith("col_"):
        first = product.p_group if name == "col_pred" else 0
        return inside & (u >= first) & (u < product.p_group + product.p_extra) & (element < columns)
    line = (np.zeros_like(row) if product.streams_p else row) * product.p_group + u
    return inside & (u >= 0) & (u < product.p_group) & (line < product.p_size)


def occupant(machine: GemmMachine, timing: GemmTiming, register: Register, index: tuple[int, ...],
             cycle: int) -> Occupant | None:
    """What an element holds at the start of machine cycle `cycle`, or None if it is dead."""
    phase = timing.at(cycle)
    if phase is None:
        return None
    if register.name in machine.array.inventory:
        return _in_array(machine, timing, phase, register, index, cycle)
    flat = int(np.ravel_multi_index(index, register.shape)) if register.shape else 0
    if not live(machine, timing, register.name, np.array([flat]), np.array([cycle]))[0]:
        return None
    part, step = divmod(cycle - phase.start, phase.steps)
    query, key, dim = None, None, None
    if phase.name in ("softmax", "divide") and register.shape == (machine.lanes,):
        query = part * machine.lanes + flat
        for window in windows(machine, timing.n_keys).get(register.name, ()):
            if window.phase == phase.name and window.first_key is not None and window.first <= step <= window.last:
                passed = step - window.first_key
                key, dim = (passed, None) if phase.name == "softmax" else (None, passed)
    what = register.about
    return Occupant(what, query, key, dim if dim is None or dim < machine.head_dim else None)


def _in_array(machine: GemmMachine, timing: GemmTiming, phase: Phase, register: Register, index: tuple[int, ...],
              cycle: int) -> Occupant | None:
    """An element of the array while it works on a product; it is cleared before it works again."""
    product = timing.products.get(phase.name)
    if product is None:
        return None
    schedule = Schedule(machine.array, product.folding)
    local = cycle - phase.start
    if not schedule.reach(register.name, index, local).any():
        return None
    held = schedule.held(register.name, index, local)
    if held is None:
        return Occupant(register.about)
    return _named(machine, product, held, register)


def _named(machine: GemmMachine, product: Any, held: Any, register: Register) -> Occupant:
    """What an element of a product is in the head; checksums and filling have no query, key or dim."""
    p, q = (held.n, held.m) if product.turned else (held.m, held.n)
    lines = {"p": product.p_places, "q": product.q_places}

    def data(at: int | None, axis: str) -> int | None:
        if at is None:
            return None
        found = np.flatnonzero(lines[axis] == at)
        return int(found[0]) if found.size else None

    p, q = data(p, "p"), data(q, "q")
    m, n = (q, p) if product.turned else (p, q)
    if product.name == "qk":
        return Occupant(register.about, m, n, held.k if held.matrix != "sum" else None)
    dim = n if n is None or n < machine.head_dim else None
    return Occupant(register.about, m, held.k if held.matrix != "sum" else None, dim)
