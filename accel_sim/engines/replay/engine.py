"""The replay engine: many faults on one head, each recomputing only what it can reach.

`ReplayEngine` runs the fault-free head once and keeps what `engines.replay.store.Store` lists; `outcomes`
then gives, for any number of faults, exactly what the stepped engine would: outputs compared, residuals, alarm
cycle. Faults that the kernel hands back (control registers, stuck bits over several cycles) are run by
the stepped engine from the checkpoint before them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from accel_sim.engines.golden import Kept, Maxima, clock_of, comparison_cycles, golden_run, quiet_operands
from accel_sim.engines.job import Job
from accel_sim.engines.lanes_blocks import KEYS_AT_ONCE
from accel_sim.engines.lanes_build import data, geometry, policy_of, roundings
from accel_sim.engines.lanes_golden import add_terms
from accel_sim.engines.observers.golden import Observed, Watched, room_to_watch
from accel_sim.engines.observers.replay import ObserverReplay
from accel_sim.engines.replay.codes import ADDRESS, IN_LANE, OTHER, code_of
from accel_sim.engines.replay.kernel import keep_golden, replay_all, rows_again
from accel_sim.engines.replay.rows import ChangedRows
from accel_sim.engines.replay.store import Store
from accel_sim.engines.replay.types import (
    Clockwork,
    Faults,
    Outcomes,
    RowSink,
    Scratch,
    Where,
    comparison_sink,
)
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.engines.stepped import Injection, SteppedEngine
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import sum_of_squares
from accel_sim.machines.lanes import LanesMachine, tree_sizes
from accel_sim.machines.lanes_schedule import SHARED_BY_LANES, pipeline_stage, skew_dim, tree_level_of

KEPT_BYTES = 1 << 27
"""Room for rows under another scale or key count, counted in doubles (most are kept as binary32)."""

MIN_SPACING, MAX_KEPT = 16, 16
"""Golden accumulators are kept every so many keys: not closer than the first, and not more than the second of them."""


def where(machine: LanesMachine) -> Where:
    """The kernel's view of every slot of the machine's state."""
    inventory = machine.inventory
    code, stage, lane, at, level = (np.full(inventory.slots, fill, dtype=np.int64) for fill in (OTHER, -1, -1, 0, 0))
    own = np.zeros(inventory.slots, dtype=np.bool_)
    for register in inventory:
        kind, copied = code_of(register.name)
        if kind == OTHER:
            continue
        start = inventory.offsets[register.name]
        per_lane = register.shape[:1] == (machine.lanes,) and register.name not in SHARED_BY_LANES
        for element, index in enumerate(np.ndindex(*register.shape)):
            slot = start + element
            code[slot], own[slot] = kind, copied
            where_live = pipeline_stage(machine, register.name, index)
            if where_live is not None and kind not in IN_LANE:
                stage[slot] = where_live
            if per_lane:
                lane[slot] = index[0]
            last = index[-1] if index else 0
            at[slot] = skew_dim(machine.head_dim, last) if register.name == "k_skew" else last
            if kind == ADDRESS:
                level[slot] = {"norm_addr": 0, "recip_addr": 1}.get(register.name, 2 if machine.reciprocal else 1)
            if register.name.removeprefix("chk_") in ("tree", "r_tree", "out_tree", "rowsum_tree"):
                level[slot] = tree_level_of(machine.head_dim, last)
                at[slot] = last - sum(tree_sizes(machine.head_dim)[: level[slot]])
    return Where(code, own, stage, lane, at, level)


class ReplayEngine:
    """The golden run of one job, ready to have faults replayed on it. gives_rows: `outcomes` can hand over the rows
    that change; observers: what the units that only look see, None without any."""

    gives_rows = True

    def __init__(self, machine: LanesMachine, job: Job) -> None:
        self.machine, self.job = machine, job
        n_queries, n_keys, _ = job.shape
        self.timing = machine.timing(n_queries, n_keys)
        self._g = geometry(machine, n_queries, n_keys)
        self.roundings = roundings(machine)
        self._data = data(machine, job, self._g)
        self._where = where(machine)
        self.clock = clock_of(machine, job, self.timing)
        self.golden, self.store, watched, observed = self._run()
        self.golden_square = float(sum_of_squares(self.store.o))
        self._clockwork = self._wind()
        self._scratch = self._room()
        self._codec = machine.formats["output"].codec
        self._kept: OrderedDict[tuple[int, int, int, int, str], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self.observers = None if observed is None else ObserverReplay(self, watched, observed)

    def outcomes(self, slots: np.ndarray, cycles: np.ndarray, last_cycles: np.ndarray, ops: np.ndarray,
                 masks: np.ndarray, arith: np.ndarray, stored: np.ndarray,
                 changed: Callable[[RowSink], None] | None = None) -> Outcomes:
        """Replay faults; see `replay.types.Faults` for the arrays, and `replay.types.Outcomes` for what they get.

        changed: is handed the output rows that faults change, those of one fault all at once and of many faults at a
        time, in a sink that is used again afterwards.
        """
        n = len(slots)
        out = Outcomes(
            status=np.zeros(n, np.int64), differs=np.zeros(n, np.bool_), alarm_cycle=np.zeros(n, np.int64),
            residual=np.zeros(n), limit=np.zeros(n), square=np.zeros(n), max_abs=np.zeros(n),
            max_ulp=np.zeros(n, np.int64), nonfinite=np.zeros(n, np.int64), rows=np.zeros(n, np.int64),
            old_value=np.full(n, np.nan), new_value=np.full(n, np.nan),
        )
        order = np.argsort(cycles, kind="stable")  # block after block: what a block needs is set up once
        faults = Faults(slots, cycles, last_cycles, ops, masks, arith, stored)
        rows, done = ChangedRows(changed, self._g.lanes, self._g.head_dim), 0
        observers, of_check = self.observers, []
        compared = comparison_sink(0 if observers is None else observers.check_room)
        while done < n:
            compared.filled[0] = 0
            done = replay_all(order, done, faults, self._where, self._clockwork, self.store, self._g, self.roundings,
                              self._data, self._codec, self._scratch, rows.sink, compared, out)
            rows.hand_over()
            if observers is not None:
                of_check.append(observers.of_check(compared))
        return out if observers is None else observers.joined(out, faults, order, of_check)

    @property
    def places(self) -> tuple[Where, Clockwork, Store]:
        """Where and when the kernels find things, and the golden values."""
        return self._where, self._clockwork, self.store

    @property
    def around(self) -> tuple[Any, Any, Any, Scratch]:
        """What else the kernels take: shape, roundings, surroundings, room to work in."""
        return self._g, self.roundings, self._data, self._scratch

    def inject(self, fault: Fault, stepped: SteppedEngine) -> Injection:
        """One fault that `outcomes` has left: told from the golden run where it can be, else run by `stepped`, the
        stepped engine of the same job."""
        from accel_sim.engines.replay.control import replay_control

        known = None if fault.register in stepped.memories else replay_control(self, fault, stepped.watchdog_cycles)
        if known is None:
            return stepped.inject(fault, self.terms)
        result, old, new = known
        return Injection(fault, old, new, result)

    @cached_property
    def machine_cycles(self) -> np.ndarray:
        """`Clock.machine_cycles` of the fault-free run."""
        return self.clock.machine_cycles(self.golden.cycles)

    @cached_property
    def seen(self) -> list[tuple[Comparison, ...]]:
        """Of each query, its comparisons by the units that only look."""
        by_unit = [[c for c in self.golden.comparisons if c.unit == unit.kind]
                   for unit in self.machine.units if unit is not self.machine.check]
        return list(zip(*by_unit, strict=True)) if by_unit else [()] * self.timing.n_queries

    @property
    def terms(self) -> np.ndarray | None:
        """(Nq, 2) predicted and actual row sum of every query, or None without a check unit."""
        return self.store.terms if self.machine.check else None

    def rows_again(self, first: int, last: int, from_key: int, n_keys: int,
                   scale: float) -> tuple[np.ndarray, np.ndarray]:
        """Outputs (count, d) and terms (count, 2) of some queries under another key count and scale; see
        `replay.kernel.rows_again`. Not to be written to: what faults have in common (they differ in when they strike,
        and later queries do not) is kept."""
        key = (first, last, from_key, n_keys, repr(scale))  # which tells zeros by their sign
        if key in self._kept:
            self._kept.move_to_end(key)
            return self._kept[key]
        rows, terms = np.zeros((last - first, self._g.head_dim)), np.zeros((last - first, 2))
        store = self.store._replace(scale=scale)
        rows_again(first, last, from_key, n_keys, store, self._g, self.roundings, self._data, self._scratch,
                   rows, terms)
        if from_key in (0, self._g.n_keys):
            narrow = self.machine.formats["output"].precision <= 24
            self._kept[key] = rows.astype(np.float32 if narrow else np.float64), terms
            while len(self._kept) * rows.nbytes > KEPT_BYTES:
                self._kept.popitem(last=False)
        return rows, terms

    # -- the golden store ----------------------------------------------------------------------------

    @property
    def element_type(self) -> Any:
        """float32 if every format from operand to state fits it, else float64."""
        formats = self.machine.formats
        narrow = all(formats[role].precision <= 24 for role in ("operand", "score", "exp", "state"))
        return np.float32 if narrow else np.float64

    def _run(self) -> tuple[RunResult, Store, Watched, Observed | None]:
        job, t = self.job, self.element_type
        n_queries, n_keys, d = job.shape
        q, k, v = (quiet_operands(x, self.roundings).astype(t) for x in (job.q, job.k, job.v))
        watched = room_to_watch(n_queries, (n_queries, n_keys) if self.machine.observed else (0, 0), t)
        kept_rows = Kept(np.zeros((n_queries, n_keys), t), np.zeros((n_queries, n_keys), t), Maxima(), watched)
        result, r, sums, terms, scan_terms, observed = golden_run(self.machine, job, kept_rows)
        m_start, m_key, m_value = kept_rows.maxima.arrays
        spacing = max(MIN_SPACING, -(-n_keys // MAX_KEPT))
        kept = max(1, -(-n_keys // spacing))
        store = Store(
            q=q, k=k, k_t=np.ascontiguousarray(k.T), v=v, v_t=np.ascontiguousarray(v.T), scale=job.scale,
            P=kept_rows.P, A=kept_rows.A, m_start=m_start, m_key=m_key, m_value=m_value,
            r=r, o=result.output, sums=sums, terms=terms, scan_terms=scan_terms,
            o_at=np.zeros((n_queries, kept, d), t), l_at=np.zeros((n_queries, kept)), c_at=np.zeros((n_queries, kept)),
            out_tree=np.zeros((n_queries, sum(tree_sizes(d)))), spacing=spacing,
        )
        keep_golden(store, self._g, self.roundings, np.zeros(d, t))
        return result, store, watched, observed

    def _wind(self) -> Clockwork:
        machine, job, g = self.machine, self.job, self._g
        clock = self.clock
        small_threshold, frequent = policy_of(job, machine.check)
        comparisons = [c for c in self.golden.comparisons if c.unit == "fused_output"]
        at_block = np.full(g.blocks, -1, dtype=np.int64)
        at_scan = np.full((g.blocks, g.tiles), -1, dtype=np.int64)
        if machine.check:
            index_of = {c.cycle: n for n, c in enumerate(comparisons)}
            block_cycles, scan_cycles = comparison_cycles(machine, self.timing, clock)
            for b in range(g.blocks):
                at_block[b] = index_of.get(int(block_cycles[b]), -1)
                for t in range(g.tiles):
                    at_scan[b, t] = index_of.get(int(scan_cycles[b, t]), -1)
        return Clockwork(
            period=self.timing.period,
            normalise=self.timing.normalise,
            machine_cycle=clock.machine_cycles(self.golden.cycles),
            cycle=np.array([c.cycle for c in comparisons], dtype=np.int64),
            prefix=self._prefix(),
            alarm_cycle=np.array([clock.after(c.cycle) for c in comparisons], dtype=np.int64),
            block_comparison=at_block,
            scan_comparison=at_scan,
            residual=np.array([c.residual for c in comparisons]),
            limit=np.array([c.limit for c in comparisons]),
            threshold=job.threshold,
            scan_threshold=job.scan_threshold,
            golden_alarm=-1 if self.golden.alarm_cycle is None else self.golden.alarm_cycle,
            small_threshold=small_threshold,
            frequent=frequent,
        )

    def _prefix(self) -> np.ndarray:
        g, terms = self._g, self.store.terms
        prefix = np.zeros((g.n_queries + 1, 2))
        for i in range(g.n_queries):
            whole = self.machine.check is not None and self.machine.check.granularity == "head"
            start = prefix[i] if i % g.lanes or whole else np.zeros(2)
            prefix[i] = start
            prefix[i + 1] = add_terms(terms, i, i + 1, start[0], start[1], self.roundings.checker)
        return prefix

    def _room(self) -> Scratch:
        g, t = self._g, self.element_type
        n, d, p = g.n_keys, g.head_dim, g.lanes
        c = self._clockwork
        return Scratch(
            P=np.zeros(n, t), A=np.zeros(n, t), PC=np.zeros(n, t), AC=np.zeros(n, t),
            S=np.zeros(n), E=np.zeros(n), spare=np.zeros(n),
            o=np.zeros(d, t), q=np.zeros(d, t), xa=np.zeros(d, t), xb=np.zeros(d, t), v=np.zeros(d),
            buf=np.zeros((d, KEYS_AT_ONCE), t), tree=np.zeros(sum(tree_sizes(d))),
            changed=np.zeros(p, np.uint8), rows=np.zeros((p, d)), terms=np.zeros((p, 2)),
            scans=np.zeros((p, g.tiles, 2)), column=np.zeros(1, np.int64),
            residual=c.residual.copy(), limit=c.limit.copy(), value=np.zeros(2),
            PT=np.zeros((n, p), t), AT=np.zeros((n, p), t), turned=np.full(1, -1, np.int64),
            columns=np.zeros(p, t), checksums=np.zeros(p, np.float32),
        )
