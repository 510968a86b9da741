"""The replay engine of the gemm machine: many faults on one head, each following only what it can reach.

`ReplayGemm` runs the fault-free head once by the golden kernels. A fault in the array becomes the changes that
`accel_sim.arrays.replay` finds in its product; one in a lane of the vector unit, a struck run of that lane's block;
both are followed from there by `replay_kernel`. A fault in the edge of a product runs that edge for the few cycles in
which it holds what was struck. Faults in the sequencer, in `scale` and `softmax_bound`, in the encoder and the sums of
the fused check, in the `…_valid` of columns (it makes the unit judge what an earlier fold has left), and stuck bits
that last, are handed back: the stepped engine runs the phase that they strike in.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import constants, rule_of
from accel_sim.arrays.replay import ArrayReplay
from accel_sim.arrays.replay_kernel import Strikes
from accel_sim.engines.job import Job
from accel_sim.engines.replay.rows import ChangedRows
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, Outcomes, RowSink
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import sum_of_squares
from accel_sim.gemm.edge_step import Edge, edge_steps
from accel_sim.gemm.encoder_step import Encoder, Work
from accel_sim.gemm.golden import Golden, judge, run
from accel_sim.gemm.golden_kernel import over_all
from accel_sim.gemm.invariants_step import WATCH
from accel_sim.gemm.replay_encoder import EncoderFaults, Encoding, follow_encoders
from accel_sim.gemm.replay_kernel import follow, follow_lanes
from accel_sim.gemm.replay_plain import follow_plain
from accel_sim.gemm.replay_store import facts_of, keep, make_room, spacing_for
from accel_sim.gemm.replay_types import Found, LaneFaults, OneLane, World
from accel_sim.gemm.replay_units import array_values
from accel_sim.gemm.tuples import LANE_SCALARS, UNITS, Judge, Lanes, Log, Rules, make_log
from accel_sim.gemm.vector_step import FUSED
from accel_sim.machines.gemm import PREFIXES, GemmMachine
from accel_sim.machines.gemm_registers import SEQUENCER
from accel_sim.machines.gemm_schedule import ALWAYS, live
from accel_sim.machines.gemm_timing import DRAIN, Phase
from accel_sim.machines.inventory import Register
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet

Ints = NDArray[np.int64]

BATCH = 4096
"""Faults of an array whose changes are held at once."""


class ReplayGemm:
    """The golden run of one job, ready to have faults replayed on it. ConfigError as for the stepped engine.

    gives_rows: `outcomes` can hand over the rows that change.
    """

    gives_rows = True

    def __init__(self, machine: GemmMachine, job: Job) -> None:
        self.machine, self.job = machine, job
        self._golden: Golden = run(machine, job)
        self.golden: RunResult = self._golden.result
        self.golden_square = float(sum_of_squares(self.golden.output))
        self.given = self._golden.head.given
        self.timing = self.given.timing
        self._kept = keep(self._golden)
        self._rows = self._rows_for(None)
        self._facts = facts_of(self._golden, spacing_for(self.given.sizes.n_keys))
        self._room, self._counts = make_room(self._golden, self._kept)
        self._rule, self._nan = rule_of(machine.array), constants(machine.array)[1]
        self._codec = machine.formats["output"].codec
        self._edges = self.given.edges
        self._edge_fields = {name: (check, field) for check in machine.array_checks
                             for name, field in check.edge_fields.items()}
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
                 arith: Any = None, stored: Any = None, changed: Callable[[RowSink], None] | None = None) -> Outcomes:
        """Replay faults: slot in the flat inventory, first and last machine cycle, op (0 inverts the bits of the mask,
        1 clears them, 2 sets them), mask; all (n,). arith, stored: formats that other machines may have, ignored.
        changed: as for `engines.replay.engine.ReplayEngine.outcomes`."""
        n = len(slots)
        self._rows = self._rows_for(changed)
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
        self._rows.hand_over()
        self._rows = self._rows_for(None)
        return out

    def _rows_for(self, changed: Callable[[RowSink], None] | None) -> ChangedRows:
        """Room for the rows that faults change; any fault may change all of them."""
        return ChangedRows(changed, *self.golden.output.shape)

    def _followed(self, kernel: Callable[..., int], count: int, *given: Any) -> None:
        """Follow `count` faults with a kernel that stops where the sink might be full."""
        done = kernel(0, *given)
        while done < count:
            self._rows.hand_over()
            done = kernel(done, *given)

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
            self._followed(follow_plain, changed.size, at[changed], begins[changed], ends[changed], changes.place,
                           changes.value, self._world(out))
            return
        self._followed(follow, changed.size, name == "qk", at[changed], begins[changed], ends[changed], changes.place,
                       changes.value, self._world(out))

    def _world(self, out: Outcomes) -> World:
        """What the kernels follow faults with, whose outcomes go to `out`."""
        found = Found(out.status, out.differs, out.alarm_cycle, out.residual, out.limit, out.square, out.max_abs,
                      out.max_ulp, out.nonfinite, out.rows)
        first, last = self.machine.product_names[0], self.machine.product_names[-1]
        return World(self._kept, self._facts, self._edges[first], self._edges[last], self.given.sizes, self.given.rules,
                     self._nan, self._rule, self._codec, self._room, self._counts, found, self._rows.sink)

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
        prefix, _, what = name.partition("_")
        _, field = self._edge_fields.get(name, (None, ""))
        if name in Lanes._fields and name not in LANE_SCALARS:
            self._in_lanes(register, at, element, cycles, ops, masks, out)
        elif prefix in ("gemm", "rowsum") and what in ("in", "acc", "word") and not self._all_back:
            self._in_encoders(register, at, element, cycles, ops, masks, out)
        elif self.golden.alarm_cycle is not None:
            out.status[at] = FALL_BACK
        elif field.startswith(("row_", "col_")) and field != "col_valid":
            for i, place in zip(at, element, strict=True):
                self._in_edge(register, int(i), int(place), int(cycles[i]), int(ops[i]), masks[i], out)
        elif field.startswith("fix_"):
            for i in at:  # empty without alarms; one of both counts alone corrects nothing
                out.old_value[i] = 0.0
                out.new_value[i] = _struck(register, 0.0, int(ops[i]), masks[i])
        elif name in ("softmax_residual", "softmax_limit"):
            for i in at:
                self._in_watch(register, int(i), int(cycles[i]), int(ops[i]), masks[i], out)
        elif name in ALWAYS and name not in SEQUENCER:
            for i in at:
                self._in_judge(register, int(i), int(cycles[i]), int(ops[i]), masks[i], out)
        else:
            out.status[at] = FALL_BACK

    @cached_property
    def _one(self) -> OneLane:
        sizes = self.given.sizes
        registers = np.zeros((len(Lanes._fields) - len(LANE_SCALARS), 1))
        scalars = (np.array([value]) for value in (self._facts.score_bound, self.job.scale))
        return OneLane(registers, Lanes(*registers, *scalars),
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
        self._followed(follow_lanes, at.size, faults, self._one, self._world(out), out.old_value, out.new_value)

    # -- check units

    @cached_property
    def _encodings(self) -> dict[str, Encoding]:
        """What replay knows of each phase of an encoder for the array."""
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
        """Faults in a live register of an encoder for the array: lane (at.size,), which lane."""
        prefix, _, what = register.name.partition("_")
        which = ("in", "acc", "word").index(what)
        for name, encoding in self._encodings.items():
            phase = self.timing.by_name[name]
            if self.machine.encoder_check(name).prefix != prefix:
                continue
            here = (cycles[at] >= phase.start) & (cycles[at] < phase.end)
            mine, n = at[here], int(here.sum())
            if not n:
                continue
            part, step = np.divmod(cycles[mine] - phase.start, phase.steps)
            codec = np.tile(np.array(register.format.codec, np.int64), (n, 1))
            faults = EncoderFaults(mine, lane[here], part, step, np.full(n, which), ops[mine], masks[mine], codec)
            follow_encoders(faults, encoding, self._world(out), out.old_value, out.new_value)

    @cached_property
    def _edge_rooms(self) -> dict[str, Edge]:
        found = {}
        for name, z in self._edges.items():
            sizes = {"row_act": z.cols, "row_pred": z.words, "row_hold": z.words, "row_valid": z.cols + z.words + 1,
                     "col_act": z.cols, "col_pred": z.cols}
            found[name] = Edge(*(np.zeros(sizes.get(field, 1)) for field in Edge._fields))
        return found

    @cached_property
    def _edge_log(self) -> Log:
        return make_log(8192, 8192)

    def _in_edge(self, register: Register, i: int, place: int, cycle: int, op: int, mask: Any, out: Outcomes) -> None:
        """A fault in a live register of a product's edge, where the fault-free run raises no alarm: run the edge for as
        long as it holds what is struck. It is one side's edge, so that nothing is corrected on its account."""
        check, field = self._edge_fields[register.name]
        which = "qk" if self.machine.plain or cycle < self.timing.by_name["softmax"].start else "pv"
        phase, z = self.timing.by_name[which], self._edges[which]
        local, total = cycle - phase.start, phase.cycles + DRAIN
        rows, unit = field.startswith("row_"), UNITS.index(check.unit)
        if rows:
            begin, end = local - (z.cols + z.words + 4), local + z.cols + z.words + 4
        else:
            fold = local // z.period
            begin, end = (fold - (1 if local - fold * z.period < 3 else 0)) * z.period, (fold + 1) * z.period + 3
        begin, end = max(0, begin), min(total, end)
        edge, log = self._edge_rooms[which], self._edge_log
        for values in (*edge, log.count, log.judgements):
            values[:] = 0
        judge_of = Judge(np.array([self._facts.limits[unit]]), np.ones(1), *np.zeros((5, 1)))
        view = self._kept.out1 if which == "qk" else self._kept.out2
        view = view.T if self._facts.turned else view
        one_side = z._replace(rows=rows, columns=not rows, correct=False)
        rules: Rules = self.given.rules
        edge_steps(edge, judge_of, judge_of, view, one_side, rules, begin, local, phase.start + begin, log)
        log.count[0], log.judgements[0] = 0, 0
        held = getattr(edge, field)
        out.old_value[i] = held[place]
        held[place] = out.new_value[i] = _struck(register, float(held[place]), op, mask)
        edge_steps(edge, judge_of, judge_of, view, one_side, rules, local, end, cycle, log)
        mine, taken, golden = self._sides(which) == (0 if rows else 1), self._kept.table[:, 0], self._kept.table
        gone = mine & (taken > cycle) & (taken <= phase.start + end)
        table = np.concatenate([golden[~gone], log.table[:int(log.count[0])]])
        late = np.concatenate([mine[~gone], np.ones(int(log.count[0]), np.bool_)]) != (rows != z.columns_first)
        out.residual[i], out.limit[i] = _telling(table[np.lexsort((late, table[:, 0]))])
        # What is judged is not what was compared, if the fault has come between.
        gone = mine & (taken >= cycle) & (taken < phase.start + end)
        judged = log.judged[:int(log.judgements[0])]
        judged[:, 5] = unit
        table = np.concatenate([golden[~gone], judged])
        self._raise(i, table[np.argsort(table[:, 0], kind="stable")], out)

    def _raise(self, i: int, table: NDArray[np.float64], out: Outcomes) -> None:
        """Fault i has made these what is judged, in order."""
        alarm = judge(table, self.given.policies).alarm_cycle
        out.alarm_cycle[i] = -1 if alarm is None else alarm
        out.status[i] = CHANGED

    def _in_watch(self, register: Register, i: int, cycle: int, op: int, mask: Any, out: Outcomes) -> None:
        """A fault in the residual or the limit of the softmax invariants, which are judged in that cycle."""
        table = self._kept.table.copy()
        at = np.flatnonzero((table[:, 5] == WATCH) & (table[:, 0] == cycle))[0]
        column = 1 if register.name == "softmax_residual" else 2
        out.old_value[i] = table[at, column]
        out.new_value[i] = table[at, column] = _struck(register, float(table[at, column]), op, mask)
        self._raise(i, table, out)

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
        """A fault in what a unit judges with, where the fault-free run raises no alarm."""
        prefix, what = register.name.split("_", 1)
        unit = list(PREFIXES.values()).index(prefix)
        if what == "alarm":
            out.old_value[i] = 0.0
            out.new_value[i] = _struck(register, 0.0, op, mask)
            if out.new_value[i] != 0.0:
                out.alarm_cycle[i], out.status[i] = cycle, CHANGED
        elif what == "enable":
            out.old_value[i] = 1.0
            out.new_value[i] = _struck(register, 1.0, op, mask)
        elif what == "threshold":
            self._in_threshold(unit, register, i, cycle, op, mask, out)
        else:
            self._in_policy(unit, what, register, i, cycle, op, mask, out)

    def _in_policy(self, unit: int, what: str, register: Register, i: int, cycle: int, op: int, mask: Any,
                   out: Outcomes) -> None:
        """A small limit or a count that is another from `cycle` on: each is read as a residual is judged."""
        table, policies = self._kept.table, self.given.policies.copy()
        early = table[:, 0] < cycle
        counts = judge(table[early], policies).counts
        small, frequent = self.job.policy(UNITS[unit])
        old = {"small_threshold": small, "frequent": float(frequent), "deviations": float(counts[unit])}[what]
        new = _struck(register, old, op, mask)
        out.old_value[i], out.new_value[i] = old, new
        if what == "deviations":
            counts[unit] = new
        else:
            policies[unit, ("small_threshold", "frequent").index(what)] = quiet(new, self.given.rules.checker)
        alarm = judge(table[~early], policies, counts).alarm_cycle
        out.alarm_cycle[i] = -1 if alarm is None else alarm
        out.status[i] = CHANGED

    def _in_threshold(self, unit: int, register: Register, i: int, cycle: int, op: int, mask: Any,
                      out: Outcomes) -> None:
        """A threshold that is another from `cycle` on: it is read when a residual is formed."""
        check = {check.unit: check for check in self.machine.array_checks}.get(UNITS[unit])
        relative = check.relative if check else unit == FUSED and self.given.sizes.relative
        old = float(self._facts.limits[unit])
        new = _struck(register, old, op, mask)
        out.old_value[i], out.new_value[i] = old, new
        table = self._kept.table
        later = (table[:, 5] == unit) & (table[:, 0] > cycle)
        table = table.copy()
        table[later, 2] = quiet(new, self.given.rules.checker)
        # A limit that others scale, and alarms that correct something, are more than these lines tell.
        if relative or (check is not None and check.correct and judge(table, self.given.policies).alarm_cycle):
            out.status[i] = FALL_BACK
            return
        out.residual[i], out.limit[i] = _telling(table)
        self._raise(i, table, out)


def _struck(register: Register, value: float, op: int, mask: Any) -> float:
    """A register's value after one strike."""
    codec = register.format.codec
    if op == 0:
        return float(flip_bits(value, codec, codec, mask))
    return float(force_bits(value, codec, codec, mask, mask if op == 2 else np.uint64(0)))


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
