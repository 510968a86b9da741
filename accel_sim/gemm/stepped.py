"""The stepped engine of the gemm machine: clocks every register of the unit that works, every cycle; the definition of
the hardware.

The sequencer's registers (phase, part, step) say which unit works and on what; the units that stand still are not
clocked, and are cleared when they are to work again. So a head is a chain of phases, each from cleared registers and
memory to memory, and `inject` may begin with the phase that a fault strikes in and go on without faults, by the golden
kernels, from the end of the phase in which it ends: the same bits, sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.stepped import Session, SteppedArray
from accel_sim.config.errors import ConfigError
from accel_sim.engines.job import Job
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import Fault
from accel_sim.gemm.edge_step import edge_steps
from accel_sim.gemm.encoder_step import Work, encode_steps
from accel_sim.gemm.golden import (
    Golden,
    comparisons_of,
    judge,
    phase_at,
    run_phase,
    watchdog_cycles,
)
from accel_sim.gemm.head import Head, setting, wide
from accel_sim.gemm.invariants_step import watch_steps
from accel_sim.gemm.registers import CONFIGURATION, Units, struck_value
from accel_sim.gemm.tuples import UNITS
from accel_sim.gemm.vector_step import divide_steps, fused_steps, softmax_steps
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.gemm_registers import SEQUENCER
from accel_sim.machines.gemm_timing import Phase
from accel_sim.machines.memories import Memories
from accel_sim.words import struck as struck_words
from accel_sim.words.events import Events
from accel_sim.words.plan import Element
from accel_sim.words.story import Told, tell


class _Run:
    """A head under way: memories, registers, and the sequencer's three counters."""

    def __init__(self, head: Head) -> None:
        self.head, self.given = head, head.given
        self.machine = head.given.machine
        self.program = head.given.timing.program
        self.units = Units(head.given)
        self.array: Session | None = None
        self._of = ""
        self.at = [0, 0, 0]
        self.cycle = 0
        self.alarm_cycle: int | None = None
        self._work: dict[str, Work] = {}
        self.words: Events | None = None

    # -- the sequencer

    @property
    def done(self) -> bool:
        """Whether the sequencer has passed the last phase."""
        return self.at[0] >= len(self.program)

    @property
    def phase(self) -> Phase:
        """The phase that runs."""
        return self.program[self.at[0]]

    @property
    def local(self) -> int:
        """The cycle of the phase that runs."""
        return self.at[1] * self.phase.steps + self.at[2]

    def move(self, cycles: int) -> None:
        """Some cycles have passed, of the phase that runs."""
        self.cycle += cycles
        phase, local = self.phase, self.local + cycles
        if local == phase.cycles:
            self.enter(self.at[0] + 1)
        else:
            self.at[1:] = divmod(local, phase.steps)

    def idle(self) -> None:
        """A cycle in which a counter stands where its phase has no work: nothing is clocked, and it counts as last."""
        number, part, _ = self.at
        self.cycle += 1
        if part + 1 >= self.phase.parts:
            self.enter(number + 1)
        else:
            self.at[1:] = [part + 1, 0]

    @property
    def legal(self) -> bool:
        """Whether the counters stand where the phase has work."""
        return self.at[1] < self.phase.parts and self.at[2] < self.phase.steps

    def enter(self, number: int) -> None:
        """The next phase, from its beginning."""
        self.at = [number, 0, 0]
        self.begin()

    def begin(self) -> None:
        """The unit of a phase begins to work: from cleared registers."""
        if self.done:
            return
        name, units, head = self.phase.name, self.units, self.head
        if name in head.sums:
            units.clear(units.encoder(name))
            source, group = head.source(name)
            source = source if self.words is None else source.copy()
            sums = head.sums[name]
            self._work[name] = Work(source, sums, self.machine.lanes, group, -(-source.shape[0] // self.machine.lanes),
                                    sums.shape[2])
        elif name in head.outs:
            a, b = head.operands(name)
            self.array = Session(SteppedArray(self.machine.array, a, b))
            self._of = name
            self.array.out[:] = head.outs[name]
            head.outs[name] = self.array.out
            for edge in units.edges.values():
                units.clear(edge)
        elif not name.endswith("_drain"):
            units.clear(units.lanes)
            units.clear(units.sums)
            units.clear(units.watch)
            head.fetch("qk" if name == "softmax" else "pv")

    # -- the units

    def advance(self, cycles: int) -> None:
        """Clock the unit that works for some cycles, all of the phase that runs."""
        phase, begin = self.phase, self.local
        end, name, head = begin + cycles, phase.name, self.head
        if name in head.outs:
            assert self.array is not None
            if self.array.cycle != begin:
                self.array.jump(begin)
            self.array.advance(end)
            self._edge(name, begin, end)
        elif name.endswith("_drain"):
            before = self.given.timing.by_name[name.removesuffix("_drain")].cycles
            self._edge(name.removesuffix("_drain"), before + begin, before + end)
        else:
            at = begin
            while at < end:
                part, step = divmod(at, phase.steps)
                stop = min(phase.steps, step + end - at)
                self._part(name, part, step, stop, self.cycle + at - begin)
                at += stop - step
        self.move(cycles)
        self.note_alarm(False)

    def _edge(self, name: str, begin: int, end: int) -> None:
        if self.given.timing.products[name].checked:
            edge_steps(self.units.edges[name], *self.units.edge_judges(name), self.head.outs[name],
                       self.given.edges[name], self.given.rules, begin, end, self.cycle, self.head.log)

    def _part(self, name: str, part: int, begin: int, end: int, cycle: int) -> None:
        units, head, given, rules = self.units, self.head, self.given, self.given.rules
        lanes, sizes = self.machine.lanes, given.sizes
        if name == "softmax":
            softmax_steps(units.lanes, head.memory, sizes, rules, 0, lanes, part, begin, end)
            if self.machine.softmax is not None:
                watch_steps(units.lanes, units.watch, units.judges["softmax_invariants"], sizes, rules, part, begin,
                            end, cycle, head.log)
        elif name == "divide":
            divide_steps(units.lanes, head.memory, sizes, rules, 0, lanes, part, begin, end)
            if self.machine.fused is not None:
                fused_steps(units.lanes, units.sums, units.judges["fused_output"], sizes, rules, part, begin, end,
                            cycle, head.log)
        else:
            encode_steps(units.encoder(name), self._work[name], rules, 0, lanes, part, begin, end)

    # -- words of the SRAM

    def deliver(self) -> None:
        """Let the reads of this cycle deliver what stands in struck words: those of the program, as long as the
        sequencer keeps to it."""
        if self.words is not None and self.phase.start + self.local == self.cycle:
            self.words.apply(self.cycle, self.head.tensor, self._taken_from)

    def _taken_from(self, tensor: str, where: Element) -> tuple[Any, tuple[int, ...], bool]:
        """Where the unit that works takes an element of a tensor from: array, index, whether it is written anew."""
        name, memory, plan = self.phase.name, self.head.memory, self.given.words
        if name == "softmax":
            return memory.s, where, False
        if name == "divide":
            return memory.u, where, False
        if name == "encode_v":
            return self._work[name].source, where, False
        product = plan.product_of(tensor)
        if name in self.head.outs and tensor not in "qkpv":
            p, q = plan.in_result(tensor, *where)
            return self.head.outs[name], (int(product.p_places[p]), int(product.q_places[q])), True
        along_p, k, line = plan.in_product(tensor, *where)
        if name not in self.head.outs:
            return self._work[name].source, (k, line), False
        place = int((product.p_places if along_p else product.q_places)[line])
        matrix = "a" if along_p != product.turned else "b"
        assert self.array is not None
        array, own = self.array.operand(matrix)
        return array, ((place, k) if own == (matrix == "a") else (k, place)), False

    # -- faults and alarms

    def strike(self, fault: Fault) -> None:
        """Let a fault act now. A unit that stands still is cleared before it works again: it loses the strike."""
        name = fault.register
        if name in SEQUENCER:
            self._strike_sequencer(fault)
        elif name in self.units:
            self.units.strike(fault)
        elif self.array is not None and not self.done and self.phase.name == self._of:
            if self.array.cycle != self.local and self.legal:
                self.array.jump(self.local)
            self.array.registers.strike(fault)

    def _strike_sequencer(self, fault: Fault) -> None:
        which = SEQUENCER.index(fault.register)
        old = list(self.at)
        self.at[which] = int(struck_value(self.machine.inventory[fault.register], float(self.at[which]), fault))
        if self.at[0] != old[0]:
            self.begin()

    def value(self, register: str, index: tuple[int, ...]) -> float:
        """What an element of a register holds now; zero in an array that stands still."""
        if register in SEQUENCER:
            return float(self.at[SEQUENCER.index(register)])
        if register in self.units:
            return self.units.value(register, index)
        if self.array is None or self.done or self.phase.name != self._of:
            return 0.0
        return float(wide(self.array.registers.values(register))[index])

    def note_alarm(self, struck: bool) -> None:
        """Take down the first cycle in which the alarm reads 1. struck: this cycle's faults have acted."""
        first = self.head.log.first
        if self.alarm_cycle is None:
            if first[0] >= 0 and first[0] + 1 < self.cycle:
                self.alarm_cycle = int(first[0]) + 1
            elif struck and self.units.alarmed():
                self.alarm_cycle = self.cycle
        if struck or first[0] + 1 < self.cycle:
            first[0] = -1

    def state(self) -> NDArray[np.float64]:
        """(slots,): every register, in the order of the inventory; zero in an array that stands still."""
        parts: list[NDArray[Any]] = []
        array = self.array.registers if self.array is not None and self.phase.name == self._of else None
        for register in self.machine.inventory:
            if register.name in SEQUENCER:
                parts.append(np.array([self.at[SEQUENCER.index(register.name)]], np.float64))
            elif register.name in self.units:
                parts.append(self.units.arrays[register.name])
            elif array is not None:
                parts.append(wide(array.values(register.name)).reshape(-1))
            else:
                parts.append(np.zeros(register.size))
        return np.concatenate(parts)

    def result(self, hang: bool) -> RunResult:
        """What has come out."""
        table = self.head.log.table[:int(self.head.log.count[0])]
        output = self.head.output()
        if self.words is None:
            return RunResult(output, comparisons_of(table), self.alarm_cycle, self.cycle, hang)
        self.words.leave(output)
        return RunResult(output, comparisons_of(table), self.alarm_cycle, self.cycle, hang, self.words.alarm)


class SteppedGemm:
    """Runs one job cycle by cycle. Holds no state between runs but the fault-free one."""

    def __init__(self, machine: GemmMachine, job: Job) -> None:
        self.machine, self.job = machine, job
        self.given = setting(machine, job)
        self.timing = self.given.timing
        self._golden: Golden | None = None

    @property
    def watchdog_cycles(self) -> int:
        """A run still going after so many cycles is stopped and marked as a hang."""
        return watchdog_cycles(self.given)

    @property
    def memories(self) -> Memories:
        """The words of the SRAM, which faults can strike."""
        return self.given.words.memories

    def _checked(self, faults: Sequence[Fault]) -> tuple[list[Fault], Events | None]:
        """Faults in registers in order, and those in words of the SRAM; ConfigError for one that cannot be."""
        own = sorted((f for f in faults if f.register in self.machine.inventory), key=lambda fault: fault.cycle)
        others = [fault for fault in faults if fault.register not in self.machine.inventory]
        if others and self.memories.spills:
            raise ConfigError.at(self.machine.config, *self.memories.told_of_spills)
        for some, memories in ((own, None), (others, self.memories if others else None)):
            for fault in some:
                try:
                    fault.check(self.machine.inventory, memories)
                except ValueError as error:
                    raise ConfigError(str(error)) from None
        return own, Events(self.given.words, others) if others else None

    def run(self, faults: Sequence[Fault] = (),
            watch: Callable[[int, NDArray[np.float64]], None] | None = None) -> RunResult:
        """Run from cycle 0 under `faults`. Where several act on one register in a cycle, the one that began first acts
        first. watch(cycle, state) sees the flat state at the start of every cycle, after that cycle's faults have
        acted.

        ConfigError for a fault that the machine cannot have.
        """
        run = _Run(Head(self.given))
        own, run.words = self._checked(faults)
        run.begin()
        hang = self._go(run, own, watch, to_boundary=False)
        return run.result(hang)

    def golden(self) -> RunResult:
        """The fault-free run, computed once, every register clocked."""
        return self._kept.result

    @property
    def _kept(self) -> Golden:
        if self._golden is None:
            run = _Run(Head(self.given))
            run.begin()
            counts: list[int] = []
            while not run.done:
                if run.at[1:] == [0, 0]:
                    counts.append(int(run.head.log.count[0]))
                self._go(run, [], None, to_boundary=True)
            counts.append(int(run.head.log.count[0]))
            self._golden = Golden(run.head, run.result(False), tuple(counts))
        return self._golden

    def inject(self, fault: Fault) -> Injection:
        """Run under one fault: stepped from the phase in which it strikes to the end of that in which it ends, the rest
        by the golden kernels, unless the fault is still in a register that no phase clears."""
        golden = self._kept
        checked, words = self._checked([fault])
        if words is not None:
            return self._inject_word(fault, words)
        number = phase_at(self.given, fault.cycle)
        if number < len(self.timing.program) and self.timing.program[number].name.endswith("_drain"):
            number -= 1  # its registers hold what the product has left in them
        if number >= len(self.timing.program):
            value = _Run(Head(self.given)).value(fault.register, fault.index)
            return Injection(fault, value, value, golden.result)
        run = self._before(number, golden)
        before, after = self._values(run, fault)
        hang = False
        while not run.done and not hang:
            hang = self._go(run, checked, None, to_boundary=True)
            checked = [other for other in checked if other.end > run.cycle]
            if not checked and not run.done and self._clean(run):
                run.note_alarm(True)
                self._finish(run)
        return Injection(fault, before, after, run.result(hang))

    def _inject_word(self, fault: Fault, words: Events) -> Injection:
        """The same in a word of the SRAM: stepped from the phase in which it is read first to that in which it is read
        last."""
        golden = self._kept
        before, after = struck_words.struck_value(self.given.words, fault, self._standing(fault))
        number = phase_at(self.given, words.first)
        if number >= len(self.timing.program):
            result = replace(golden.result, output=golden.result.output.copy())
            words.leave(result.output)
            return Injection(fault, before, after, replace(result, memory_alarm_cycle=words.alarm))
        run = self._before(number, golden, words)
        hang = False
        while not run.done and not hang:
            hang = self._go(run, [], None, to_boundary=True)
            words.restore()
            if words.settled(run.cycle) and not run.done and self._clean(run):
                run.note_alarm(True)
                self._finish(run)
        return Injection(fault, before, after, run.result(hang))

    def _tensor(self, fault: Fault) -> NDArray[np.float64]:
        """The fault-free tensor whose memory a fault strikes."""
        return self._kept.head.tensor(self.memories[fault.register].tensor)

    def _standing(self, fault: Fault) -> NDArray[np.float64]:
        """The same as it stands at the start of the fault's cycle: sums between folds may not be what they come to."""
        number, tensor = phase_at(self.given, fault.cycle), self.memories[fault.register].tensor
        product = self.given.words.product_of(tensor)
        if not self.given.words.is_result(tensor) or number != self.timing.by_name[product.name].number:
            return self._tensor(fault)
        run = self._before(number, self._kept)
        while run.cycle < fault.cycle:
            run.advance(min(fault.cycle - run.cycle, run.phase.cycles - run.local))
        return run.head.tensor(tensor)

    def word(self, fault: Fault) -> Told:
        """What becomes of a struck word of the SRAM."""
        return tell(self.given.words, fault, self._standing(fault))

    def live(self, fault: Fault) -> bool:
        """Whether the struck element may be read again before it is written: where not, the fault changes nothing."""
        if fault.register not in self.machine.inventory:
            return struck_words.live(self.given.words, fault)
        register = self.machine.inventory[fault.register]
        return self.machine.occupant(self.timing, register, fault.index, fault.cycle) is not None

    # -- the parts

    @cached_property
    def _loaded(self) -> dict[str, bytes]:
        """Configuration as it is before a head."""
        arrays = Units(self.given).arrays
        return {name: arrays[name].tobytes() for name in CONFIGURATION}

    def _before(self, number: int, golden: Golden, words: Events | None = None) -> _Run:
        """The fault-free run as phase `number` begins."""
        head = Head(self.given)
        head.copy_until(number, golden.head)
        count = golden.counts[number]
        head.log.table[:count] = golden.table[:count]
        head.log.count[0] = count
        run = _Run(head)
        run.words = words
        run.cycle = self.timing.program[number].start
        run.enter(number)
        verdict = judge(golden.table[:count], self.given.policies)
        run.alarm_cycle = verdict.alarm_cycle
        for unit, raised, deviations in zip(UNITS, verdict.raised, verdict.counts, strict=True):
            run.units.judges[unit].alarm[0] = float(raised)
            run.units.judges[unit].deviations[0] = deviations
        return run

    def _values(self, run: _Run, fault: Fault) -> tuple[float, float]:
        """What the fault finds and leaves in its register, in a run that stands at the beginning of its phase."""
        while run.cycle < fault.cycle:
            run.advance(min(fault.cycle - run.cycle, run.phase.cycles - run.local))
        register = self.machine.inventory[fault.register]
        before = run.value(fault.register, fault.index)
        return before, struck_value(register, before, fault)

    def _clean(self, run: _Run) -> bool:
        """Whether a run that stands between two phases goes on as the fault-free one would on its memories."""
        same = all(run.units.arrays[name].tobytes() == loaded for name, loaded in self._loaded.items())
        return same and run.at[1:] == [0, 0] and not run.phase.name.endswith("_drain")

    def _finish(self, run: _Run) -> None:
        """The rest of a head without faults, from between two phases."""
        head, late = run.head, run.cycle - run.phase.start
        count = int(head.log.count[0])
        for phase in self.timing.program[run.at[0]:]:
            run_phase(head, phase, phase.start + late)
        if run.alarm_cycle is None:
            counted = np.array([run.units.judges[unit].deviations[0] for unit in UNITS])
            rest = judge(head.log.table[count:int(head.log.count[0])], self.given.policies, counted)
            run.alarm_cycle = rest.alarm_cycle
        run.cycle = self.timing.head_cycles + late
        run.at = [len(self.timing.program), 0, 0]

    def _go(self, run: _Run, faults: Sequence[Fault],
            watch: Callable[[int, NDArray[np.float64]], None] | None, to_boundary: bool) -> bool:
        """Run to the end, or to the beginning of the next phase; faults are those that have not ended. Returns whether
        the watchdog has stopped it."""
        waiting = list(faults)
        acting: list[Fault] = []
        began = run.cycle
        while not run.done:
            if run.cycle >= self.watchdog_cycles:
                return True
            if to_boundary and run.cycle > began and run.at[1:] == [0, 0]:
                return False
            now = run.cycle
            acting = [fault for fault in acting if now < fault.end]
            while waiting and waiting[0].cycle <= now:
                acting.append(waiting.pop(0))
            for fault in acting:
                if not run.done:
                    run.strike(fault)
            run.note_alarm(True)
            acting = [fault for fault in acting if now + 1 < fault.end]
            if run.done:
                break
            if watch is not None:
                watch(now, run.state())
            if not run.legal:
                run.idle()
                continue
            room = min(run.phase.cycles - run.local, self.watchdog_cycles - now)
            if waiting:
                room = min(room, waiting[0].cycle - now)
            if run.words is not None:
                run.deliver()
                room = min(room, run.words.next(now) - now)
            run.advance(1 if acting or watch is not None else room)
        run.note_alarm(True)
        return False
