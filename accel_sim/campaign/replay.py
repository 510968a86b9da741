"""`ReplayInjector`: records at replay speed, the same as the stepped injector's, bit for bit."""

from __future__ import annotations

import numpy as np

from accel_sim.assembly import Assembly
from accel_sim.campaign.columns import Batch
from accel_sim.campaign.injector import drawn_batch, fault_at, fill_outcome, fill_values
from accel_sim.campaign.sampling import Sampler, UniformSampler
from accel_sim.engines.replay import ReplayEngine
from accel_sim.engines.replay_control import replay_control
from accel_sim.engines.replay_kernel import FALL_BACK
from accel_sim.engines.stepped import Injection, SteppedEngine
from accel_sim.faults.fault import KINDS
from accel_sim.faults.outcome import relative_l2
from accel_sim.faults.universe import Points

_FLIP, _BURST, _STUCK0, _STUCK1 = range(len(KINDS))


class ReplayInjector:
    """Injects by replaying each fault on the golden run of its head; the few that have to be run, are."""

    def __init__(self, assembly: Assembly, sampler: Sampler | None = None) -> None:
        self.assembly = assembly
        self.sampler: Sampler = sampler or UniformSampler(assembly)
        self._replay: dict[int, ReplayEngine] = {}
        self._stepped: dict[int, SteppedEngine] = {}
        registers = assembly.universe.registers
        offsets = assembly.machine.inventory.offsets
        self._offset = np.array([offsets[r.name] for r in registers], dtype=np.int64)
        self._width = np.array([r.width_bits for r in registers], dtype=np.int64)
        self._arith = np.array([r.format.codec for r in registers], dtype=np.int64)
        self._stored = np.array([r.stored.codec for r in registers], dtype=np.int64)

    def engine(self, head: int) -> ReplayEngine:
        """The replay engine of head number `head` of the workload, made when first asked for."""
        if head not in self._replay:
            a = self.assembly
            self._replay[head] = ReplayEngine(a.machine, a.job(a.workload.heads[head]))
        return self._replay[head]

    def stepped(self, head: int) -> SteppedEngine:
        """The stepped engine of that head, for the faults that have to be run."""
        if head not in self._stepped:
            a = self.assembly
            self._stepped[head] = SteppedEngine(a.machine, a.job(a.workload.heads[head]))
        return self._stepped[head]

    def records(self, first: int, count: int) -> Batch:
        """Records of faults first … first + count − 1 of the campaign."""
        batch, points, kinds = drawn_batch(self.assembly, self.sampler, first, count)
        for head in np.unique(points.head):
            self._head(batch, points, kinds, int(head), np.flatnonzero(points.head == head))
        return batch

    def _head(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, rows: np.ndarray) -> None:
        settings = self.assembly.config.faults
        engine = self.engine(head)
        register, bit, kind = points.register[rows], points.bit[rows], kinds[rows]
        bits = np.where(kind == _BURST, np.minimum(settings.burst_bits, self._width[register] - bit), 1)
        masks = ((np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1)) << bit.astype(np.uint64)
        stuck = kind >= _STUCK0
        ops = np.where(stuck, kind - _STUCK0 + 1, 0)
        cycles = points.cycle[rows]
        last = np.minimum(cycles + np.where(stuck, settings.stuck_cycles, 1) - 1, engine.golden.cycles - 1)
        out = engine.outcomes(self._offset[register] + points.element[rows], cycles, last, ops, masks,
                              self._arith[register], self._stored[register])
        alarm = out.alarm_cycle >= 0
        batch["alarm"][rows] = alarm
        batch["alarm_cycle"][rows] = out.alarm_cycle
        batch["latency_cycles"][rows] = np.where(alarm, out.alarm_cycle - cycles, -1)
        batch["residual"][rows], batch["limit"][rows] = out.residual, out.limit
        batch["outcome"][rows] = 2 * alarm + out.differs
        batch["out_rel_l2"][rows] = relative_l2(out.square, out.nonfinite, engine.golden_square)
        batch["out_max_abs"][rows] = np.where(out.nonfinite > 0, np.inf, out.max_abs)
        batch["out_max_ulp"][rows] = out.max_ulp
        batch["out_nonfinite"][rows] = out.nonfinite
        batch["out_rows"][rows] = out.rows
        batch["old_value"][rows], batch["new_value"][rows] = out.old_value, out.new_value
        for at in np.flatnonzero(out.status == FALL_BACK):
            self._run(batch, points, kinds, head, int(rows[at]))

    def _run(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, i: int) -> None:
        """Record i, whose fault the replay kernel handed back."""
        engine, stepped = self.engine(head), self.stepped(head)
        fault = fault_at(self.assembly, points, kinds, i)
        told = replay_control(engine, fault, stepped.watchdog_cycles)
        if told is not None:
            result, old, new = told
            injection = Injection(fault, old, new, result)
        else:
            injection = stepped.inject(fault, engine.terms)
        fill_values(batch, i, stepped, injection)
        fill_outcome(batch, i, fault.cycle, engine.golden, injection.result, stepped.machine.formats["output"].codec)
