"""The replay engine of the gemm machine: many faults on one head, each following only what it can reach.

`ReplayGemm` runs the fault-free head once by the golden kernels. A fault in the array becomes the changes that
`accel_sim.arrays.replay` finds in its product; one in a lane of the vector unit, a struck run of that lane's block;
both are followed from there by `replay_kernel`. A fault in the edge of a product runs that edge for the few cycles in
which it holds what was struck. Faults in the sequencer, in `scale`, in the encoder and the sums of the fused check, in
`col_valid` (it makes the unit judge what an earlier fold has left), and stuck bits that last, are handed back: the
stepped engine runs the phase that they strike in.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import constants, rule_of
from accel_sim.arrays.replay import ArrayReplay
from accel_sim.arrays.replay_kernel import Strikes
from accel_sim.engines.job import Job
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, Outcomes
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import sum_of_squares
from accel_sim.gemm.edge_step import Edge, EdgeSizes, edge_sizes, edge_steps
from accel_sim.gemm.encoder_step import Encoder, Work
from accel_sim.gemm.golden import Golden, run
from accel_sim.gemm.golden_kernel import over_all
from accel_sim.gemm.replay_encoder import EncoderFaults, Encoding, follow_encoders
from accel_sim.gemm.replay_kernel import follow, follow_lanes
from accel_sim.gemm.replay_plain import follow_plain
from accel_sim.gemm.replay_store import facts_of, keep, make_room, spacing_for
from accel_sim.gemm.replay_types import Found, LaneFaults, OneLane, World
from accel_sim.gemm.replay_units import array_values
from accel_sim.gemm.tuples import Lanes, Log, Rules, make_log
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.gemm_registers import SEQUENCER
from accel_sim.machines.gemm_schedule import live
from accel_sim.machines.gemm_timing import DRAIN, Phase
from accel_sim.machines.inventory import Register
from accel_sim.numerics.rounding import flip_bits, force_bits

Ints = NDArray[np.int64]

BATCH = 4096
"""Faults of an array whose changes are held at once."""


class ReplayGemm:
    """The golden run of one job, ready to have faults replayed on it. ConfigError as for the stepped engine."""

    def __init__(self, machine: GemmMachine, job: Job) -> None:
        self.machine, self.job = machine, job
        self._golden: Golden = run(machine, job)
        self.golden: RunResult = self._golden.result
        self.golden_square = float(sum_of_squares(self.golden.output))
        self.given = self._golden.head.given
        self.timing = self.given.timing
        self._kept = keep(self._golden)
        self._facts = facts_of(self._golden, spacing_for(self.given.sizes.n_keys))
        self._room, self._counts = make_room(self._golden, self._kept)
        self._rule, self._nan = rule_of(machine.array), constants(machine.array)[1]
        self._codec = machine.formats["output"].codec
        self._edges: dict[str, EdgeSizes] = {name: edge_sizes(machine, product) if product.checked else _no_edge()
                                             for name, product in self.timing.products.items()}
        registers = list(machine.inventory)
        self._registers = registers
        self._starts = np.array([machine.inventory.offsets[r.name] for r in registers], np.int64)
        # A correction in the fault-free run (a threshold that clean data exceed) is more than the kernels follow.
        alarmed = any(self._kept.table[i, 5] == 0 for i in self._kept.alarms)
        self._all_back = machine.gemm is not None and machine.gemm.correct and alarmed

    @property
    def machine_cycles(self) -> Ints:
        """(cycles,): the machine cycle of each clock cycle; the same, without stalls."""
        return np.arange(self.golden.cycles, dtype=np.int64)

    def inject(self, fault: Fault, stepped: Any) -> Injection:
        """Run a fault that cannot be replayed, on the stepped engine."""
        injection: Injection = stepped.inject(fault)
        return injection

    def outcomes(self, slots: Ints, cycles: Ints, last_cycles: Ints, ops: Ints, masks: NDArray[np.uint64],
                 arith: Any = None, stored: Any = None) -> Outcomes:
        """Replay faults: slot in the flat inventory, first and last machine cycle, op (0 inverts the bits of the mask,
        1 clears them, 2 sets them), mask; all (n,). arith, stored: formats that other machines may have, ignored."""
        n = len(slots)
        cycles, last_cycles = np.asarray(cycles, np.int64), np.asarray(last_cycles, np.int64)
        ops, masks = np.asarray(ops, np.int64), np.asarray(masks, np.uint64)
        out = self._untouched(n)
        which = np.searchsorted(self._starts, slots, side="right") - 1
        lasting = last_cycles > cycles
        order = np.argsort(which, kind="stable")
        edges = np.flatnonzero(np.diff(which[order])) + 1
        array_names = self.machine.array.inventory
        in_array = []
        for at in np.split(order, edges):
            if not at.size:
                continue
            register = self._registers[int(which[at[0]])]
            if register.name in array_names:
                in_array.append(at)
                continue
            element = np.asarray(slots, np.int64)[at] - self._starts[which[at[0]]]
            self._unit(register, at, element, cycles, lasting, ops, masks, out)
        if in_array:
            at = np.concatenate(in_array)
            slot = np.asarray(slots, np.int64) - self._starts[len(SEQUENCER)]
            self._array(at, slot, cycles, last_cycles, ops, masks, out)
        return out

    def _untouched(self, n: int) -> Outcomes:
        """Outcomes of faults that change nothing."""
        golden = self._kept
        residual, limit = _telling(golden.table)
        alarm = -1 if self.golden.alarm_cycle is None else self.golden.alarm_cycle
        return Outcomes(
            status=np.zeros(n, np.int64), differs=np.zeros(n, np.bool_), alarm_cycle=np.full(n, alarm, np.int64),
            residual=np.full(n, residual), limit=np.full(n, limit), square=np.zeros(n), max_abs=np.zeros(n),
            max_ulp=np.zeros(n, np.int64), nonfinite=np.zeros(n, np.int64), rows=np.zeros(n, np.int64),
            old_value=np.full(n, np.nan), new_value=np.full(n, np.nan))

    # -- the array

    @cached_property
    def _arrays(self) -> dict[str, ArrayReplay]:
        return {name: ArrayReplay(self.machine.array, *self._golden.head.operands(name))
                for name in self.machine.product_names}

    def _array(self, at: Ints, slot: Ints, cycles: Ints, last_cycles: Ints, ops: Ints, masks: NDArray[np.uint64],
               out: Outcomes) -> None:
        """Faults in the registers of the array: at, their numbers."""
        for name in self.machine.product_names:
            phase = self.timing.by_name[name]
            touched = (cycles[at] < phase.end) & (last_cycles[at] >= phase.start)
            here = at[touched & (cycles[at] >= phase.start)]
            lasts = at[touched & (last_cycles[at] > cycles[at])]
            out.status[lasts] = FALL_BACK
            here = here[last_cycles[here] == cycles[here]]
            here = here[np.argsort(cycles[here], kind="stable")]
            for first in range(0, here.size, BATCH):
                self._array_batch(name, phase, here[first:first + BATCH], slot, cycles, ops, masks, out)

    def _array_batch(self, name: str, phase: Phase, at: Ints, slot: Ints, cycles: Ints, ops: Ints,
                     masks: NDArray[np.uint64], out: Outcomes) -> None:
        replay, array = self._arrays[name], self.machine.array
        strikes = Strikes(cycles[at] - phase.start, slot[at], masks[at].view(np.int64), ops[at])
        alive, old, new = np.zeros(at.size, np.bool_), np.zeros(at.size), np.zeros(at.size)
        array_values(strikes, replay.places, replay.values, replay.stepped.geometry, self._rule,
                     array.operand_format.codec, array.sum_format.codec, self.machine.subnormals == "flush", alive, old,
                     new)
        out.old_value[at], out.new_value[at] = old, new
        changes = replay.replay(strikes)
        ends = changes.ends
        begins = np.concatenate([[0], ends[:-1]])
        changed = np.flatnonzero(ends > begins)
        if self._all_back:
            out.status[at[changed]] = FALL_BACK
            return
        if self.machine.plain:
            follow_plain(at[changed], begins[changed], ends[changed], changes.place, changes.value, self._world(out))
            return
        follow(at[changed], name == "qk", begins[changed], ends[changed], changes.place, changes.value,
               self._world(out))

    def _world(self, out: Outcomes) -> World:
        """What the kernels follow faults with, whose outcomes go to `out`."""
        found = Found(out.status, out.differs, out.alarm_cycle, out.residual, out.limit, out.square, out.max_abs,
                      out.max_ulp, out.nonfinite, out.rows)
        return World(self._kept, self._facts, self._edges["qk"], self._edges.get("pv", _no_edge()), self.given.sizes,
                     self.given.rules, self._nan, self._rule, self._codec, self._room, self._counts, found)

    # -- every other unit

    def _unit(self, register: Register, at: Ints, element: Ints, cycles: Ints, lasting: NDArray[np.bool_], ops: Ints,
              masks: NDArray[np.uint64], out: Outcomes) -> None:
        """Faults in one register array outside the array of PEs: at, their numbers; element (at.size,): which
        element."""
        name = register.name
        end = self.golden.cycles
        back = lasting[at] & (cycles[at] < end)
        out.status[at[back]] = FALL_BACK
        alive = live(self.machine, self.timing, name, element, cycles[at]) & ~back
        at, element = at[alive], element[alive]
        if not at.size:
            return
        if name in Lanes._fields and name != "scale":
            self._in_lanes(register, at, element, cycles, ops, masks, out)
        elif name in ("gemm_in", "gemm_acc", "gemm_word") and not self._all_back:
            self._in_encoders(register, at, element, cycles, ops, masks, out)
        elif name.startswith(("row_", "col_")) and name != "col_valid" and not self._kept.alarms.size:
            for i, place in zip(at, element, strict=True):
                self._in_edge(register, int(i), int(place), int(cycles[i]), int(ops[i]), masks[i], out)
        elif name.startswith("fix_") and not self._kept.alarms.size:
            for i in at:  # empty without alarms; one of both counts alone corrects nothing
                out.old_value[i] = 0.0
                out.new_value[i] = _struck(register, 0.0, int(ops[i]), masks[i])
        elif name.endswith(("_threshold", "_enable", "_alarm")) and not self._kept.alarms.size:
            for i in at:
                self._in_judge(register, int(i), int(cycles[i]), int(ops[i]), masks[i], out)
        else:
            out.status[at] = FALL_BACK

    @cached_property
    def _one(self) -> OneLane:
        sizes = self.given.sizes
        registers = np.zeros((len(Lanes._fields) - 1, 1))
        return OneLane(registers, Lanes(*[*registers, np.array([self.job.scale])]),
                       sizes._replace(lanes=1, n_queries=1, blocks=1), np.zeros((1, sizes.n_keys)), np.zeros(1),
                       np.zeros((1, sizes.head_dim)))

    def _in_lanes(self, register: Register, at: Ints, lane: Ints, cycles: Ints, ops: Ints, masks: NDArray[np.uint64],
                  out: Outcomes) -> None:
        """Faults in a live register of the lanes: lane (at.size,), which lane."""
        phases = [self.timing.by_name[name] for name in ("softmax", "divide")]
        softmax = cycles[at] < phases[0].end
        if self._all_back:
            out.status[at[softmax]] = FALL_BACK
            at, lane, softmax = at[~softmax], lane[~softmax], softmax[~softmax]
        start, steps = (np.where(softmax, *(getattr(phase, what) for phase in phases)) for what in ("start", "steps"))
        part, step = np.divmod(cycles[at] - start, steps)
        codec = np.tile(np.array(register.format.codec, np.int64), (at.size, 1))
        code = np.full(at.size, Lanes._fields.index(register.name))
        faults = LaneFaults(at, part * self.machine.lanes + lane, softmax, code, step, steps, ops[at], masks[at], codec)
        follow_lanes(faults, self._one, self._world(out), out.old_value, out.new_value)

    # -- check units

    @cached_property
    def _encodings(self) -> dict[str, Encoding]:
        """What replay knows of each encoder phase of the gemm unit."""
        found, head, lanes = {}, self._golden.head, self.machine.lanes
        for name, sums in head.sums.items():
            if name == "encode_v":
                continue
            _, which, side = name.split("_")
            values, source_group = self._arrays[which].values, head.source(name)
            source, group = source_group
            work = Work(source, sums.copy(), lanes, group, -(-source.shape[0] // lanes), sums.shape[2])
            most = max(values.out.shape)
            rows, ids = side == "rows", {"qk": (self._kept.rows1, self._kept.cols1),
                                         "pv": (self._kept.rows2, self._kept.cols2)}[which]
            found[name] = Encoding(
                rows, Encoder(*(np.zeros(lanes) for _ in Encoder._fields)), work, sums, values.p, values.q,
                np.ascontiguousarray(head.outs[which]), ids[0 if rows else 1],
                np.zeros(most * (1 + work.words), values.out.dtype), np.zeros(1 + work.words, values.out.dtype),
                self._edges[which])
        return found

    def _in_encoders(self, register: Register, at: Ints, lane: Ints, cycles: Ints, ops: Ints,
                     masks: NDArray[np.uint64], out: Outcomes) -> None:
        """Faults in a live register of the gemm unit's encoder: lane (at.size,), which lane."""
        which = ("gemm_in", "gemm_acc", "gemm_word").index(register.name)
        for name, encoding in self._encodings.items():
            phase = self.timing.by_name[name]
            here = (cycles[at] >= phase.start) & (cycles[at] < phase.end)
            mine, n = at[here], int(here.sum())
            if not n:
                continue
            part, step = np.divmod(cycles[mine] - phase.start, phase.steps)
            codec = np.tile(np.array(register.format.codec, np.int64), (n, 1))
            faults = EncoderFaults(mine, lane[here], part, step, np.full(n, which), ops[mine], masks[mine], codec)
            follow_encoders(faults, encoding, self._facts.gemm_limit, self._world(out), out.old_value, out.new_value)

    @cached_property
    def _edge_room(self) -> dict[str, Any]:
        gemm, cols = self.machine.gemm, self.machine.cols
        assert gemm is not None
        sizes = {"row_act": cols, "row_pred": gemm.words, "row_hold": gemm.words, "row_valid": cols + gemm.words + 1,
                 "col_act": cols, "col_pred": cols}
        return {"edge": Edge(*(np.zeros(sizes.get(name, 1)) for name in Edge._fields)), "log": make_log(8192)}

    def _in_edge(self, register: Register, i: int, place: int, cycle: int, op: int, mask: Any, out: Outcomes) -> None:
        """A fault in a live register of a product's edge, where the fault-free run raises no alarm: run the edge for as
        long as it holds what is struck. It is one side's edge, so that nothing is corrected on its account."""
        which = "qk" if self.machine.plain or cycle < self.timing.by_name["softmax"].start else "pv"
        phase, z = self.timing.by_name[which], self._edges[which]
        local, total = cycle - phase.start, phase.cycles + DRAIN
        rows = register.name.startswith("row_")
        if rows:
            begin, end = local - (z.cols + z.words + 4), local + z.cols + z.words + 4
        else:
            fold = local // z.period
            begin, end = (fold - (1 if local - fold * z.period < 3 else 0)) * z.period, (fold + 1) * z.period + 3
        begin, end = max(0, begin), min(total, end)
        room = self._edge_room
        edge, log = room["edge"], room["log"]
        _reset(edge, log, self._facts.gemm_limit)
        view = self._kept.out1 if which == "qk" else self._kept.out2
        view = view.T if self._facts.turned else view
        one_side = z._replace(rows=rows, columns=not rows, correct=False)
        rules: Rules = self.given.rules
        edge_steps(edge, view, one_side, rules, begin, local, phase.start + begin, log)
        log.count[0], log.first[0] = 0, -1
        edge.alarm[0] = 0.0
        held = getattr(edge, register.name)
        out.old_value[i] = held[place]
        held[place] = out.new_value[i] = _struck(register, float(held[place]), op, mask)
        edge_steps(edge, view, one_side, rules, local, end, cycle, log)
        raised = int(log.first[0])
        kind = self._sides(which)
        taken = self._kept.table[:, 0]
        gone = (kind == (0 if rows else 1)) & (taken > cycle) & (taken <= phase.start + end)
        table = np.concatenate([self._kept.table[~gone], log.table[:int(log.count[0])]])
        sides = np.concatenate([kind[~gone], np.full(int(log.count[0]), 0 if rows else 1)])
        table = table[np.lexsort((sides, table[:, 0]))]
        out.residual[i], out.limit[i] = _telling(table)
        out.alarm_cycle[i] = raised + 1 if raised >= 0 else -1
        out.status[i] = CHANGED

    @cached_property
    def _kinds(self) -> dict[str, Ints]:
        found = {}
        kept = self._kept
        for name, rows, cols in (("qk", kept.rows1, kept.cols1), ("pv", kept.rows2, kept.cols2)):
            kind = np.full(len(kept.table), 2, np.int64)
            kind[rows[rows >= 0]] = 0
            kind[cols[cols >= 0]] = 1
            found[name] = kind
        return found

    def _sides(self, which: str) -> Ints:
        """(comparisons,): 0 for rows of a product, 1 for its columns, 2 for all others."""
        return self._kinds[which]

    def _in_judge(self, register: Register, i: int, cycle: int, op: int, mask: Any, out: Outcomes) -> None:
        """A fault in an alarm, an enable or a threshold, where the fault-free run raises no alarm."""
        unit, _, what = register.name.rpartition("_")
        if what == "alarm":
            out.old_value[i] = 0.0
            out.new_value[i] = _struck(register, 0.0, op, mask)
            if out.new_value[i] != 0.0:
                out.alarm_cycle[i], out.status[i] = cycle, CHANGED
        elif what == "enable":
            out.old_value[i] = 1.0
            out.new_value[i] = _struck(register, 1.0, op, mask)
        else:
            self._in_threshold(0 if unit == "gemm" else 1, register, i, cycle, op, mask, out)

    def _in_threshold(self, unit: int, register: Register, i: int, cycle: int, op: int, mask: Any,
                      out: Outcomes) -> None:
        """A threshold that is another from `cycle` on: it is read when a residual is formed."""
        relative = self.machine.gemm.relative if unit == 0 and self.machine.gemm else self.given.sizes.relative
        old = self._facts.gemm_limit if unit == 0 else self._facts.fused_limit
        new = _struck(register, old, op, mask)
        out.old_value[i], out.new_value[i] = old, new
        table = self._kept.table
        later = (table[:, 5] == unit) & (table[:, 0] > cycle)
        if relative or (unit == 0 and self._facts.correct):
            out.status[i] = FALL_BACK
            return
        table = table.copy()
        flush = self.given.rules.checker.flush_below
        table[later, 2] = new * 0.0 if abs(new) < flush else new
        alarms = np.zeros(len(table), np.bool_)
        over_all(alarms, table)
        out.residual[i], out.limit[i] = _telling(table)
        first = np.flatnonzero(alarms)
        out.alarm_cycle[i] = int(table[first[0], 0]) + 1 if first.size else -1
        out.status[i] = CHANGED


def _struck(register: Register, value: float, op: int, mask: Any) -> float:
    """A register's value after one strike."""
    codec = register.format.codec
    if op == 0:
        return float(flip_bits(value, codec, codec, mask))
    return float(force_bits(value, codec, codec, mask, mask if op == 2 else np.uint64(0)))


def _reset(edge: Edge, log: Log, limit: float) -> None:
    for values in edge:
        values[:] = 0.0
    edge.threshold[0], edge.enable[0] = limit, 1.0
    log.count[0], log.first[0] = 0, -1


def _telling(table: NDArray[np.float64]) -> tuple[float, float]:
    """(residual, limit) of the first comparison over its limit, else of the one with the largest |residual|; NaN where
    nothing was compared."""
    if not len(table):
        return float("nan"), float("nan")
    alarms = np.zeros(len(table), np.bool_)
    over_all(alarms, table)
    first = np.flatnonzero(alarms)
    at = int(first[0]) if first.size else int(np.argmax(np.abs(table[:, 1])))
    return float(table[at, 1]), float(table[at, 2])


def _no_edge() -> EdgeSizes:
    """The edge of a product that has none."""
    return EdgeSizes(False, False, False, False, 1, 1, 0, 1, 1, 1, 1, 1, 0, True, 1, 0, 1, 0)
