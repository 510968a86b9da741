"""The replay engine of the `fused` machine: many faults on one head, each recomputing only what it can reach.

`FusedReplay` holds the fault-free values; `outcomes` gives, for any number of faults, what the stepped engine would.
The sequencer's faults, and stuck bits over several cycles, it hands back.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.replay.rows import ChangedRows
from accel_sim.engines.replay.types import FALL_BACK, Faults, Outcomes, RowSink
from accel_sim.faults.outcome import sum_of_squares
from accel_sim.fused.arithmetic import rules
from accel_sim.fused.behind import Comparisons, Rear
from accel_sim.fused.build import around, initial_state, shape, slots, watchers
from accel_sim.fused.golden import comparison_blocks, constants, golden_values, result_of, sum_block
from accel_sim.fused.reach import Scratch
from accel_sim.fused.replay_kernel import fill_rear, ready_tile, replay_tile
from accel_sim.fused.step import ENV_SIZE, UNITS
from accel_sim.fused.waves import Arrived, Program, Room, Strike
from accel_sim.machines.fused import FusedMachine
from accel_sim.machines.fused_fate import NOTHING, Event, clock, layout, resolve
from accel_sim.machines.fused_places import BACK, CODES, OUT, places
from accel_sim.machines.fused_sequence import fill_edge, fill_program
from accel_sim.numerics.formats import Codec

KEPT_BYTES, WIDEST = 1 << 26, 16
"""Room for the snapshots of all tiles, and the most waves that may lie between two of them then."""

SNAPSHOT_BYTES = 1 << 22
"""Room for the snapshots of one tile, where all do not fit: small enough to stay in the cache."""

_NO_CODEC = Codec(0, 1, 0, 2)


class FusedReplay:
    """The golden run of one job, ready to have faults replayed on it.

    golden: the fault-free run. golden_square: Σ O² of it. gives_rows: `outcomes` can hand over the rows that change.
    """

    gives_rows = True

    def __init__(self, machine: FusedMachine, job: Any) -> None:
        self.machine, self.job = machine, job
        n_queries, n_keys = job.q.shape[0], job.k.shape[0]
        self.timing = machine.timing(n_queries, n_keys)
        self._rules = rules(machine)
        self._x = golden_values(machine, job)
        self.golden = result_of(machine, job, self._x, self._rules)
        self.golden_square = float(sum_of_squares(self.golden.output))
        self._shape = shape(machine, n_queries, n_keys)
        self._slots = slots(machine)
        self._places = places(machine)
        self._constants = constants(machine)
        self._around = around(machine, job)
        self._layout = layout(machine.size)
        self._codec = machine.formats["output"].codec
        self._clock = clock(machine, self.timing)
        self._program = self._control()
        waves = self._program.waves
        self._sel, self._mode = np.zeros(waves + 1, np.int64), np.zeros(waves + 1, np.int64)
        fill_edge(self._sel, self._mode, self._shape)
        self._compare = self._comparisons()
        self._rows = ChangedRows(None, *self.golden.output.shape)
        self._scratch, self._room, self._arrived = self._rooms()
        self._rear, self._rear_around = self._behind()
        self._tiles = Tiles(self)

    def outcomes(self, slots: NDArray[np.int64], cycles: NDArray[np.int64], last_cycles: NDArray[np.int64],
                 ops: NDArray[np.int64], masks: NDArray[np.uint64], arith: NDArray[np.int64],
                 stored: NDArray[np.int64], changed: Callable[[RowSink], None] | None = None) -> Outcomes:
        """Replay faults; see `accel_sim.engines.replay.types.Faults` for the arrays and `Outcomes` for what they
        get. changed: as for `engines.replay.engine.ReplayEngine.outcomes`."""
        n = len(slots)
        self._keep_rows(changed)
        faults = Faults(slots, cycles, last_cycles, ops, masks, arith, stored)
        out = self._clean(n)
        event = Event(*(np.zeros(n, np.int64) for _ in Event._fields))
        resolve(faults, self._places, self._mode, self._sel, self._layout, self._clock, self.machine.size,
                self.machine.columns, event)
        order = np.argsort(event.tile, kind="stable")
        tiles, starts = np.unique(event.tile[order], return_index=True)
        bounds = [*starts.tolist(), n]
        replayed = self._tiles
        for number, (first, last) in zip(tiles.tolist(), itertools.pairwise(bounds), strict=True):
            replayed.replay(int(number), order[first:last], faults, event, out)
        self._rows.hand_over()
        self._keep_rows(None)
        return out

    def _keep_rows(self, changed: Callable[[RowSink], None] | None) -> None:
        """Make room for the rows that faults change; any fault may change all of them."""
        self._rows = ChangedRows(changed, *self.golden.output.shape)
        self._scratch = self._scratch._replace(sink=self._rows.sink)

    # -- the parts ---------------------------------------------------------------------------------------------

    def _clean(self, n: int) -> Outcomes:
        """Outcomes of faults that do nothing."""
        best = (float("nan"), float("nan"))
        for c in self.golden.comparisons:
            if c.alarm or not abs(c.residual) <= abs(best[0]):
                best = c.residual, c.limit
            if c.alarm:
                break
        alarm = -1 if self.golden.alarm_cycle is None else self.golden.alarm_cycle
        return Outcomes(
            status=np.zeros(n, np.int64), differs=np.zeros(n, np.bool_), alarm_cycle=np.full(n, alarm, np.int64),
            residual=np.full(n, best[0]), limit=np.full(n, best[1]), square=np.zeros(n), max_abs=np.zeros(n),
            max_ulp=np.zeros(n, np.int64), nonfinite=np.zeros(n, np.int64), rows=np.zeros(n, np.int64),
            old_value=np.full(n, np.nan), new_value=np.full(n, np.nan),
        )

    def _control(self) -> Program:
        d, n = self.machine.durations, self.machine.size
        side, down, up, commands = (np.zeros(d.tile + 1, np.int64) for _ in range(4))
        fill_program(side, down, up, commands, self._shape)
        late = d.load - n + 1  # an accumulator's cycle as the wave of the value that it takes
        return Program(side, down, up, commands, d.tile, d.acc_scale + late, d.acc_sum + late, d.acc_sum + 1 + late)

    def _comparisons(self) -> Comparisons:
        machine, x = self.machine, self._x
        blocks = x.root.shape[0]
        at_block = np.full(blocks, -1, np.int64)
        ends = comparison_blocks(machine, blocks)
        done = self.golden.comparisons
        units = np.array([UNITS.index(c.unit) for c in done], dtype=np.int64)
        for index, block in zip(np.flatnonzero(units == 0).tolist(), ends, strict=True):
            at_block[block] = index
        head = len(ends) < blocks
        order = {unit.kind: i for i, unit in enumerate(machine.units)}
        before = np.zeros((blocks, 2))
        for block in range(1, blocks if ends and head else 0):
            pred, act = before[block - 1]
            before[block] = sum_block(x.root[block - 1], machine.size, pred, act, self._rules)
        return Comparisons(
            at_block=at_block, unit=units,
            policy=np.array([self.job.policy(unit) for unit in UNITS], dtype=np.float64),
            rank=np.array([order.get(unit, 0) for unit in UNITS]),
            cycle=np.array([c.cycle for c in done], dtype=np.int64),
            residual=np.array([c.residual for c in done], dtype=np.float64),
            limit=np.array([c.limit for c in done], dtype=np.float64),
            before=before, head=head, threshold=self.job.limit("fused_output"),
            relative=machine.check is not None and machine.check.threshold.kind == "relative",
            alarm=-1 if self.golden.alarm_cycle is None else self.golden.alarm_cycle,
        )

    def _rooms(self) -> tuple[Scratch, Room, Arrived]:
        n, width, at = self.machine.size, self.machine.size + self.machine.columns, self._layout
        scratch = Scratch(
            w=np.zeros(at.size), changed=np.zeros(n, np.uint8), rows=np.zeros((n, width)), p=np.zeros(n),
            value=np.full(3, np.nan), o=np.zeros(width), l=np.zeros(1), arrive=np.zeros(width), row=np.zeros(n),
            tree=np.zeros((n + 1) // 2), roots=np.zeros(width), residual=self._compare.residual.copy(),
            limit=self._compare.limit.copy(), scores=np.zeros(width), s=np.zeros(n), q=np.zeros(n),
            all_scores=np.zeros(self._x.s.shape[1]), zeros=np.zeros(width), beyond=np.zeros(1),
            only=np.full(1, -1, np.int64), summed=np.zeros(n, np.uint8), sums=np.zeros((n, 2)),
            sink=self._rows.sink,
        )
        room = Room(words=np.zeros(n, np.int32), **{name: np.zeros(n) for name in Room._fields if name != "words"})
        return scratch, room, Arrived(np.zeros(n), np.zeros(n), np.zeros((width, n)))

    def _behind(self) -> tuple[Rear, Any]:
        machine, inventory = self.machine, self.machine.inventory
        mine = [r for r in inventory if CODES.get(r.name) in (OUT, BACK)]
        chosen = [np.arange(inventory.offsets[r.name], inventory.offsets[r.name] + r.size) for r in mine]
        places_behind = np.concatenate(chosen)
        clock = self._clock
        begins = clock.norm_at if machine.rowsum is None else clock.tiles * clock.tile
        rear = Rear(
            own=watchers(machine), state=initial_state(machine, self.job),
            start=np.zeros((self._clock.blocks, places_behind.size)),
            slots=places_behind, at=begins,
            window=clock.norm_at - begins + machine.durations.norm + machine.levels + 4,
            o=self.golden.output.copy(), env=np.zeros(ENV_SIZE, np.int64), log=self._around.comparisons,
            keys=np.zeros(machine.size),
        )
        outside = self._around._replace(o=rear.o)
        fill_rear(rear, self._slots, self._shape, self._rules, outside, self._clock, self._x)
        rear.o[:] = self.golden.output
        return rear, outside


class Tiles:
    """The fault-free run in wave time: snapshots and ports of every tile, kept where there is room for all, else of the
    tile that faults are being replayed in."""

    def __init__(self, engine: FusedReplay) -> None:
        self.engine = engine
        at, waves, n = engine._layout, engine._program.waves, engine.machine.size
        tiles = engine._clock.tiles * engine._clock.blocks
        everything = waves * at.size * 8 * tiles
        spacing = -(-everything // KEPT_BYTES)
        self.kept = spacing <= WIDEST
        if not self.kept:
            tiles, spacing = 1, -(-waves * at.size * 8 // SNAPSHOT_BYTES)
        self.spacing = max(2, spacing)
        self.snapshots = np.zeros((tiles, -(-waves // self.spacing), at.size))
        self.ports = np.zeros((tiles, waves + 1, n))
        self.history = np.zeros((n + waves + 1, n))
        self.edits = np.zeros((8, 3))
        zero = np.int64(0)
        self.none = Strike(np.int64(NOTHING), zero, zero, zero, zero, np.uint64(0), _NO_CODEC, _NO_CODEC)
        self._restart()

    def _restart(self) -> None:
        at = self.engine._layout
        self.number = -1
        self.state = np.zeros(at.size)
        self.state[at.new_max:at.bound] = -np.inf
        self.state[at.own_max:at.excess] = -np.inf
        self.feed = np.zeros(self.engine.machine.size)

    def at(self, number: int) -> int:
        """Make tile `number` ready; returns where it stands in the arrays."""
        e = self.engine
        if not self.kept and number < self.number:
            self._restart()
        while self.number < number:
            self.number += 1
            place = self.number if self.kept else 0
            ready_tile(self.number, self.state, self.snapshots[place], self.spacing, self.ports[place], self.history,
                       self.feed, e._sel, e._mode, e._layout, e._program, self.none, e._x, e._clock, e._shape,
                       e._rules, e._around, e._room, e._arrived)
        return number if self.kept else 0

    def replay(self, number: int, order: NDArray[np.int64], faults: Faults, event: Event, out: Outcomes) -> None:
        """Replay faults of a tile."""
        e, place, done = self.engine, self.at(number), 0
        while True:
            done += replay_tile(order[done:], faults, event, e._places, self.snapshots[place], self.spacing,
                                self.ports[place], self.edits, e._layout, e._program, e._x, e._clock, e._slots,
                                e._shape, e._constants, e._rules, e._codec, e._rear_around, e._room, e._arrived,
                                e._compare, e._rear, e._scratch, out)
            if done == order.size:
                return
            e._rows.hand_over()


__all__ = ["FALL_BACK", "FusedReplay"]
