"""`ReplayInjector`: records at replay speed, the same as the stepped injector's, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.assembly import Assembly
from accel_sim.campaign.columns import ALARMS, Batch
from accel_sim.campaign.injector import drawn_batch, fault_at, fill_outcome, fill_values
from accel_sim.campaign.sampling import Sampler, UniformSampler
from accel_sim.engines.replay.sram import DELIVERED, FLIP, RUN, SramFaults, Told, delivered_rows, told
from accel_sim.engines.replay.types import CHANGED, FALL_BACK, Outcomes
from accel_sim.engines.sram import split_masks
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import KINDS
from accel_sim.faults.outcome import relative_l2
from accel_sim.faults.universe import Points
from accel_sim.kinds import bare, replay_engine, stepped_engine
from accel_sim.machines.inventory import Register
from accel_sim.machines.memories import Memory
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.told import WordFaults, word_faults

_FLIP, _BURST, _STUCK0, _STUCK1 = range(len(KINDS))
_CHECKER, _MEMORY = ALARMS.index("checker"), ALARMS.index("memory")


class ReplayInjector:
    """Injects by replaying each fault on the golden run of its head; the few that have to be run, are."""

    def __init__(self, assembly: Assembly, sampler: Sampler | None = None) -> None:
        self.assembly = assembly
        self.sampler: Sampler = sampler or UniformSampler(assembly)
        self._replay: dict[int, Any] = {}
        self._stepped: dict[int, Any] = {}
        registers = assembly.universe.registers
        offsets = assembly.machine.inventory.offsets
        self._offset = np.array([offsets.get(r.name, -1) for r in registers], dtype=np.int64)
        self._width = np.array([r.width_bits for r in registers], dtype=np.int64)
        self._arith = np.array([r.format.codec for r in registers], dtype=np.int64)
        self._stored = np.array([r.stored.codec for r in registers], dtype=np.int64)

    def engine(self, head: int) -> Any:
        """The replay engine of head number `head` of the workload, made when first asked for."""
        if head not in self._replay:
            a = self.assembly
            self._replay[head] = replay_engine(a.machine, a.job(a.workload.heads[head]))
        return self._replay[head]

    def stepped(self, head: int) -> Any:
        """The stepped engine of that head, for the faults that have to be run."""
        if head not in self._stepped:
            a = self.assembly
            self._stepped[head] = stepped_engine(a.machine, a.job(a.workload.heads[head]))
        return self._stepped[head]

    def records(self, first: int, count: int) -> Batch:
        """Records of faults first … first + count − 1 of the campaign."""
        batch, points, kinds = drawn_batch(self.assembly, self.sampler, first, count)
        for head in np.unique(points.head):
            rows = np.flatnonzero(points.head == head)
            in_memory = self._offset[points.register[rows]] < 0
            if not in_memory.all():
                self._registers(batch, points, kinds, int(head), rows[~in_memory])
            for number in np.unique(points.register[rows[in_memory]]):
                chosen = rows[in_memory & (points.register[rows] == number)]
                self._memory(batch, points, kinds, int(head), chosen, self.assembly.universe.registers[number])
        return batch

    def _strikes(self, points: Points, kinds: np.ndarray, rows: np.ndarray,
                 cycles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(ops, bits struck, last clock cycle) of some faults in a run of `cycles`."""
        settings = self.assembly.config.faults
        kind = kinds[rows]
        room = self._width[points.register[rows]] - points.bit[rows]
        bits = np.where(kind == _BURST, np.minimum(settings.burst_bits, room), 1)
        stuck = kind >= _STUCK0
        last = np.minimum(points.cycle[rows] + np.where(stuck, settings.stuck_cycles, 1) - 1, cycles - 1)
        return np.where(stuck, kind - _STUCK0 + 1, 0), bits, last

    def _registers(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, rows: np.ndarray) -> None:
        """Records of faults in registers."""
        engine = self.engine(head)
        register, cycles = points.register[rows], points.cycle[rows]
        ops, bits, last = self._strikes(points, kinds, rows, engine.golden.cycles)
        masks = ((np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1)) << points.bit[rows].astype(np.uint64)
        out = engine.outcomes(self._offset[register] + points.element[rows], cycles, last, ops, masks,
                              self._arith[register], self._stored[register])
        self._fill(batch, rows, engine, out)
        batch["old_value"][rows], batch["new_value"][rows] = out.old_value, out.new_value
        for at in np.flatnonzero(out.status == FALL_BACK):
            self._run(batch, points, kinds, head, int(rows[at]))

    def _fill(self, batch: Batch, rows: np.ndarray, engine: Any, out: Outcomes) -> None:
        """Write what faults did that `engine` has replayed, memory alarms aside."""
        alarm = out.alarm_cycle >= 0
        cycles = batch["cycle"][rows]
        batch["alarm"][rows] = alarm
        batch["alarm_by"][rows] = np.where(alarm, _CHECKER, 0)
        batch["alarm_cycle"][rows] = out.alarm_cycle
        batch["latency_cycles"][rows] = np.where(alarm, out.alarm_cycle - cycles, -1)
        batch["residual"][rows], batch["limit"][rows] = out.residual, out.limit
        batch["outcome"][rows] = 2 * alarm + out.differs
        batch["out_rel_l2"][rows] = relative_l2(out.square, out.nonfinite, engine.golden_square)
        batch["out_max_abs"][rows] = np.where(out.nonfinite > 0, np.inf, out.max_abs)
        batch["out_max_ulp"][rows] = out.max_ulp
        batch["out_nonfinite"][rows] = out.nonfinite
        batch["out_rows"][rows] = out.rows

    def _memory(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, rows: np.ndarray,
                memory: Register | Memory) -> None:
        """Records of faults in the words of one memory."""
        assert isinstance(memory, Memory)
        engine = self.engine(head)
        machine = bare(engine)  # without what reads its output buffer back
        late = batch["cycle"][rows] >= machine.golden.cycles
        if late.any():  # every word has left the memory by then
            self._clean(batch, rows[late], engine)
            batch["old_value"][rows[late]] = batch["new_value"][rows[late]] = np.nan
            rows = rows[~late]
        ops, bits, last = self._strikes(points, kinds, rows, machine.golden.cycles)
        bit, cycles = points.bit[rows], points.cycle[rows]
        if isinstance(memory, SlotMemory):
            struck = word_faults(memory, points.element[rows], bit, bits, cycles, last, ops)
            self._words(batch, points, kinds, head, rows, memory, struck)
            return
        data, check = split_masks(bit, bits, memory.word_bits)
        bank, row, word = np.unravel_index(points.element[rows], memory.shape)
        faults = SramFaults(bank.astype(np.int64), row.astype(np.int64), word.astype(np.int64), bit, cycles, last, ops,
                            data, check)
        come = told(machine.machine, machine.job, machine.golden.output, machine.machine_cycles, memory,
                    self.assembly.memories.resident, faults)
        self._clean(batch, rows, engine)
        batch["old_value"][rows], batch["new_value"][rows] = come.old_value, come.new_value
        flips = np.flatnonzero(come.what == FLIP)
        if flips.size:
            self._fill(batch, rows[flips], engine, self._flipped(engine, come, memory, flips))
        changed = np.flatnonzero(come.what == DELIVERED)
        if changed.size and machine.golden.cycles < engine.golden.cycles:  # check units read those rows
            come.what[changed] = RUN
        elif changed.size:
            self._deliver(batch, rows[changed], engine, memory, come.row[changed], word[changed],
                          come.delivered[changed])
        self._memory_alarm(batch, rows, come.alarm_cycle)
        for at in np.flatnonzero(come.what == RUN):
            self._run(batch, points, kinds, head, int(rows[at]))

    def _words(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, rows: np.ndarray, memory: SlotMemory,
               faults: WordFaults) -> None:
        """Records of faults in the words of slots."""
        engine = self.engine(head)
        machine = bare(engine)
        found = machine.words(memory, faults)
        out, status = found.outcomes, found.outcomes.status.copy()
        if machine.golden.cycles < engine.golden.cycles:  # check units read changed rows
            status[status == CHANGED] = FALL_BACK
        self._clean(batch, rows, engine)
        batch["old_value"][rows], batch["new_value"][rows] = out.old_value, out.new_value
        changed = np.flatnonzero(status == CHANGED)
        self._fill(batch, rows[changed], engine, Outcomes._make(field[changed] for field in out))
        self._memory_alarm(batch, rows, found.alarm_cycle)
        for at in np.flatnonzero(status == FALL_BACK):
            self._run(batch, points, kinds, head, int(rows[at]))

    def _flipped(self, engine: Any, come: Told, memory: Memory, at: np.ndarray) -> Outcomes:
        """Replay some words' one read as a flip in the register that it was read into."""
        n = len(at)
        codecs = (np.tile(np.array(fmt.codec, dtype=np.int64), (n, 1)) for fmt in (memory.format, memory.stored))
        # A wrong word is protected anew when it is written into its register: no strike that a protection would see.
        unprotected = engine.bare if hasattr(engine, "protection") else engine
        replayed: Outcomes = unprotected.outcomes(come.slot[at], come.cycle[at], come.cycle[at],
                                                  np.zeros(n, dtype=np.int64), come.mask[at], *codecs)
        return replayed

    def _clean(self, batch: Batch, rows: np.ndarray, engine: Any) -> None:
        """What a fault does that changes nothing."""
        golden = engine.golden
        residual, limit = golden.told
        n = len(rows)
        none = np.zeros(n, dtype=np.int64)
        alarm = np.full(n, -1 if golden.alarm_cycle is None else golden.alarm_cycle)
        nan = np.full(n, np.nan)
        self._fill(batch, rows, engine, Outcomes(
            none, none > 0, alarm, np.full(n, residual), np.full(n, limit), np.zeros(n), np.zeros(n), none, none, none,
            nan, nan))

    def _deliver(self, batch: Batch, rows: np.ndarray, engine: Any, memory: Memory, row: np.ndarray,
                 word: np.ndarray, delivered: np.ndarray) -> None:
        """What wrong bits in the O SRAM do: a `_clean` record but for the output."""
        out = delivered_rows(memory, engine.golden.output, row, word, delivered)
        batch["outcome"][rows] += out.differs
        batch["out_rel_l2"][rows] = relative_l2(out.square, out.nonfinite, engine.golden_square)
        batch["out_max_abs"][rows] = np.where(out.nonfinite > 0, np.inf, out.max_abs)
        batch["out_max_ulp"][rows] = out.max_ulp
        batch["out_nonfinite"][rows] = out.nonfinite
        batch["out_rows"][rows] = out.rows

    def _memory_alarm(self, batch: Batch, rows: np.ndarray, cycle: np.ndarray) -> None:
        """Count the memory's alarms beside the checker's."""
        raised = cycle >= 0
        first = raised & ((batch["alarm_cycle"][rows] < 0) | (cycle < batch["alarm_cycle"][rows]))
        batch["outcome"][rows] += np.where(raised & ~batch["alarm"][rows], 2, 0).astype(np.int8)
        batch["alarm"][rows] |= raised
        at = rows[first]
        batch["alarm_by"][at] = _MEMORY
        batch["alarm_cycle"][at] = cycle[first]
        batch["latency_cycles"][at] = cycle[first] - batch["cycle"][at]

    def _run(self, batch: Batch, points: Points, kinds: np.ndarray, head: int, i: int) -> None:
        """Record i, whose fault cannot be replayed."""
        engine, stepped = self.engine(head), self.stepped(head)
        fault = fault_at(self.assembly, points, kinds, i)
        injection: Injection = engine.inject(fault, stepped)
        fill_values(batch, i, stepped, injection)
        fill_outcome(batch, i, fault.cycle, engine.golden, injection.result, stepped.machine.formats["output"].codec)
