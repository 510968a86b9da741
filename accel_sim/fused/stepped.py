"""The stepped engine of the `fused` machine: clocks every register every cycle, under any list of faults.

`SteppedFused` runs one job: `run` from cycle 0, `inject` under one fault from a checkpoint of the fault-free run (the
state as a query tile begins) until it is that run again: the same bits, sooner (see `accel_sim.fused.rejoin`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.config.errors import ConfigError
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.engines.stepped import Injection, strike
from accel_sim.faults.fault import Fault, FaultArrays, fault_arrays
from accel_sim.fused.arithmetic import rules
from accel_sim.fused.build import around, in_order, initial_state, shape, slots, watchers
from accel_sim.fused.rejoin import ALARMS, Rejoin, skip_repeats
from accel_sim.fused.step import (
    ALARM_CYCLE,
    COMPARED,
    CYCLE,
    ENV_SIZE,
    LAST_WRITE,
    UNITS,
    Around,
    alarmed,
    step,
)
from accel_sim.machines.fused import FusedMachine
from accel_sim.machines.fused_timing import DONE, LOAD
from accel_sim.machines.memories import Memories
from accel_sim.numerics.jit import kernel
from accel_sim.words.fused import FusedWords
from accel_sim.words.story import Told, tell
from accel_sim.words.struck import StruckWords, live, struck_value

State = NDArray[np.float64]
Env = NDArray[np.int64]

_LIMIT, _DONE, _BEGINS = 1, 0, 2
_NEVER, _QUERY_TILE, _KEY_TILE = range(3)


@kernel
def advance(state: Any, s: Any, y: Any, g: Any, f: Any, env: Any, around: Any, faults: Any, ports: Any, limit: int,
            stop: int) -> int:
    """Run until done (returns 0), until cycle `limit` (1), or until (2) a tile is about to begin: of queries (stop 1),
    or any of keys (2)."""
    pending = faults.cycle.shape[0] > 0
    while int(state[s.phase]) < DONE:
        if env[CYCLE] >= limit:
            return _LIMIT
        if pending:
            pending = strike(state, faults, env[CYCLE])
        if env[ALARM_CYCLE] < 0 and alarmed(state, s, y):
            env[ALARM_CYCLE] = env[CYCLE]
        if int(state[s.phase]) >= DONE:
            return _DONE  # a strike has ended the run: this cycle is not executed
        step(state, s, y, g, f, env, around, ports)
        env[CYCLE] += 1
        begins = int(state[s.phase]) == LOAD and state[s.timer] == 0.0
        if begins and (stop == _KEY_TILE or (stop == _QUERY_TILE and state[s.key_tile] == 0.0)):
            return _BEGINS
    if env[ALARM_CYCLE] < 0 and alarmed(state, s, y):
        env[ALARM_CYCLE] = env[CYCLE]
    return _DONE


@dataclass(frozen=True)
class Checkpoint:
    """The fault-free machine as a query tile is about to begin."""

    state: State
    env: Env


def comparisons_of(table: NDArray[np.float64], count: int) -> tuple[Comparison, ...]:
    """Comparisons from the kernel's table."""
    return tuple(Comparison(int(row[0]), float(row[1]), float(row[2]), float(row[3]), float(row[4]), bool(row[5]),
                            UNITS[int(row[6])])
                 for row in table[:count])


def _own(outside: Around, words: StruckWords) -> Around:
    """Memories that may be changed, where words of them are."""
    if words.quiet:
        return outside
    return outside._replace(q=outside.q.copy(), k=outside.k.copy(), v=outside.v.copy())


def _delivered(result: RunResult, words: StruckWords) -> RunResult:
    """A run with its outputs as they have left the SRAM, and the memory's alarm."""
    words.leave("o", result.output)
    return replace(result, memory_alarm_cycle=words.alarm)


class SteppedFused:
    """Runs one job cycle by cycle. Holds no state between runs but the checkpoints of the fault-free one."""

    def __init__(self, machine: FusedMachine, job: Any) -> None:
        n_queries, n_keys, d = job.q.shape[0], job.k.shape[0], job.q.shape[1]
        if d != machine.size or job.k.shape != (n_keys, d) or job.v.shape != (n_keys, d) or not n_queries or not n_keys:
            raise ConfigError(f"q {job.q.shape}, k {job.k.shape}, v {job.v.shape} do not fit head_dim {machine.size}")
        self.machine = machine
        self.job = job
        self.timing = machine.timing(n_queries, n_keys)
        self._slots, self._own = slots(machine), watchers(machine)
        self._shape = shape(machine, n_queries, n_keys)
        self._rules = rules(machine)
        self._ports = np.zeros(machine.size)
        self._quiet = StruckWords.none()
        self._checkpoints: list[Checkpoint] = []
        self._golden: RunResult | None = None
        self._rejoin = Rejoin(machine, job)

    @property
    def watchdog_cycles(self) -> int:
        """A run still going after so many cycles is stopped and marked as a hang: three times the fault-free length,
        and a thousand."""
        return 3 * self.timing.head_cycles + 1000

    @cached_property
    def words(self) -> FusedWords:
        """What stands in the SRAM when."""
        return FusedWords(self.machine, self.timing)

    @property
    def memories(self) -> Memories:
        """The words of the SRAM, which faults can strike."""
        return self.words.memories

    def run(self, faults: Sequence[Fault] = (), watch: Callable[[int, State], None] | None = None) -> RunResult:
        """Run from cycle 0 under `faults`. `watch(cycle, state)` sees the flat state (valid during the call only) at
        the start of every cycle, after that cycle's faults have acted. ValueError for a fault that the machine cannot
        have."""
        state, env, outside = self._start()
        faults, words = self._apart(faults)
        arrays, outside = fault_arrays(faults, self.machine.inventory), _own(outside, words)
        if watch is None:
            code = self._clocked(state, env, outside, arrays, words, self.watchdog_cycles, _NEVER)
            return self._result(env, outside, words, code)
        none = fault_arrays((), self.machine.inventory)
        code = _LIMIT
        while code == _LIMIT and env[CYCLE] < self.watchdog_cycles:
            strike(state, arrays, env[CYCLE])
            if state[self._slots.phase] < DONE:
                watch(int(env[CYCLE]), state)
            code = self._clocked(state, env, outside, none, words, int(env[CYCLE]) + 1, _NEVER)
        return self._result(env, outside, words, code)

    def golden(self) -> RunResult:
        """The fault-free run, computed once; also takes the checkpoints."""
        if self._golden is None:
            state, env, outside = self._start()
            none = fault_arrays((), self.machine.inventory)
            code = _BEGINS
            while code == _BEGINS:
                self._checkpoints.append(Checkpoint(state.copy(), env.copy()))
                code = self._advance(state, env, outside, none, self.watchdog_cycles, _QUERY_TILE)
            self.last_write = int(env[LAST_WRITE])
            self._golden = self._result(env, outside, self._quiet, code)
        return self._golden

    def inject(self, fault: Fault, terms: object = None) -> Injection:
        """Run under one fault, from the last checkpoint before it, until the machine is, bit for bit, what it is at a
        later checkpoint: the rest is then the fault-free rest, as many cycles sooner or later. `terms` is not used."""
        golden = self.golden()
        faults, words = self._apart([fault])
        number = self._acts_in(fault)
        start = self._checkpoints[number]
        struck_at = max(fault.cycle, int(start.env[CYCLE]))
        state, env, outside = start.state.copy(), start.env.copy(), around(self.machine, self.job)
        done, count = number * self.machine.size, int(env[COMPARED])
        outside.o[:done] = golden.output[:done]
        for row, comparison in enumerate(golden.comparisons[:count]):
            outside.comparisons[row] = (comparison.cycle, comparison.residual, comparison.limit, comparison.predicted,
                                        comparison.actual, comparison.scanned, UNITS.index(comparison.unit))
        faults = [replace(own, cycle=struck_at) for own in faults]
        arrays, outside = fault_arrays(faults, self.machine.inventory), _own(outside, words)
        none = fault_arrays((), self.machine.inventory)
        code = self._advance(state, env, outside, none, struck_at, _NEVER)
        before, after = self._values(fault, state, arrays, struck_at)
        if code == _DONE:
            return Injection(fault, before, after, golden)  # the run is over before the fault
        code, begun = _BEGINS, None
        stop = _KEY_TILE if fault.register == "last_key_tile" else _QUERY_TILE
        while code == _BEGINS:
            code = self._clocked(state, env, outside, arrays, words, self.watchdog_cycles, stop)
            if code != _BEGINS or env[CYCLE] < fault.end or not words.settled(int(env[CYCLE])):
                continue
            twin = self._twin(state)
            if twin is not None:
                joined = self._joined(golden, state, env, outside, twin)
                return Injection(fault, before, after, _delivered(joined, words))
            if begun is not None:
                skip_repeats(self.machine, self.job, state, env, begun, self.watchdog_cycles)
            begun = state.copy(), env.copy()
        return Injection(fault, before, after, self._result(env, outside, words, code))

    def live(self, fault: Fault) -> bool:
        """Whether the struck element is read again before it is written."""
        if fault.register in self.machine.inventory:
            register = self.machine.inventory[fault.register]
            return self.machine.occupant(self.timing, register, fault.index, fault.cycle) is not None
        return live(self.words, fault)

    def word(self, fault: Fault) -> Told:
        """What becomes of a struck word of the SRAM."""
        return tell(self.words, fault, self._tensor(fault))

    # -- the parts ---------------------------------------------------------------------------------------------

    def _tensor(self, fault: Fault) -> State:
        """The fault-free tensor whose memory a fault strikes."""
        values: dict[str, State] = {"q": self.job.q, "k": self.job.k, "v": self.job.v, "o": self.golden().output}
        return values[self.memories[fault.register].tensor]

    def _apart(self, faults: Sequence[Fault]) -> tuple[list[Fault], StruckWords]:
        """Faults in registers, and those in words of the SRAM; ValueError for one that the machine cannot have."""
        own = [fault for fault in faults if fault.register in self.machine.inventory]
        for fault in own:
            fault.check(self.machine.inventory)
        others = [fault for fault in faults if fault.register not in self.machine.inventory]
        if not others:
            return own, self._quiet
        for fault in others:
            fault.check(self.machine.inventory, self.memories)
        return own, StruckWords(self.words, others, {"q": self.job.q, "k": self.job.k, "v": self.job.v})

    def _values(self, fault: Fault, state: State, arrays: FaultArrays, cycle: int) -> tuple[float, float]:
        """What a fault finds and leaves where it strikes. state: as `cycle` begins, in which it does."""
        if fault.register not in self.machine.inventory:
            return struck_value(self.words, fault, self._tensor(fault))
        slot = self.machine.inventory.slot(fault.register, fault.index)
        struck = state.copy()
        strike(struck, arrays, cycle)
        return float(state[slot]), float(struck[slot])

    def _clocked(self, state: State, env: Env, outside: Around, faults: FaultArrays, words: StruckWords, limit: int,
                 stop: int) -> int:
        """`_advance` with memories in which words have been struck."""
        code = _LIMIT
        while code == _LIMIT and env[CYCLE] < limit:
            now = int(env[CYCLE])
            words.apply({"q": outside.q, "k": outside.k, "v": outside.v}, now)
            code = self._advance(state, env, outside, faults, min(limit, words.next(now)), stop)
        return code

    def _start(self) -> tuple[State, Env, Around]:
        env = np.zeros(ENV_SIZE, dtype=np.int64)
        env[ALARM_CYCLE] = env[LAST_WRITE] = -1
        return initial_state(self.machine, self.job), env, around(self.machine, self.job)

    def _advance(self, state: State, env: Env, outside: Around, faults: FaultArrays, limit: int, stop: int) -> int:
        return int(advance(state, self._slots, self._own, self._shape, self._rules, env, outside, faults, self._ports,
                           limit, stop))

    def _result(self, env: Env, outside: Around, words: StruckWords, code: int) -> RunResult:
        count = min(int(env[COMPARED]), outside.comparisons.shape[0])
        return _delivered(RunResult(
            output=outside.o.copy(),
            comparisons=in_order(self.machine, comparisons_of(outside.comparisons, count)),
            alarm_cycle=int(env[ALARM_CYCLE]) if env[ALARM_CYCLE] >= 0 else None,
            cycles=int(env[CYCLE]),
            hang=code == _LIMIT,
        ), words)

    def _acts_in(self, fault: Fault) -> int:
        """The last query tile before which a fault has done nothing yet."""
        number = bisect_right(self._checkpoints, fault.cycle, key=lambda c: int(c.env[CYCLE])) - 1
        if fault.register != "last_query_tile" or fault.kind not in ("flip", "burst"):
            return number
        last = len(self._checkpoints) - 1  # and is read as a tile ends: up to either of the two there is another
        return max(number, min(last, last ^ int(fault.mask)))

    def _twin(self, state: State) -> int | None:
        """The checkpoint that the machine is at now, if everything that follows is what follows from there."""
        number = int(state[self._slots.query_tile])
        if not 0 < number < len(self._checkpoints):
            return None
        return number if self._rejoin.is_golden(state, self._checkpoints[number].state) else None

    def _joined(self, golden: RunResult, state: State, env: Env, outside: Around, number: int) -> RunResult:
        """What has happened so far, followed by the fault-free rest."""
        twin = self._checkpoints[number]
        late = int(env[CYCLE] - twin.env[CYCLE])
        if golden.cycles + late > self.watchdog_cycles:
            raise RuntimeError("a run that rejoins the fault-free one cannot be a hang")
        done = number * self.machine.size
        output = golden.output.copy()
        output[:done] = outside.o[:done]
        room = outside.comparisons.shape[0]
        count = min(int(env[COMPARED]), room)
        rest = [replace(c, cycle=c.cycle + late) for c in golden.comparisons[int(twin.env[COMPARED]):]]
        alarm = int(env[ALARM_CYCLE]) if env[ALARM_CYCLE] >= 0 else None
        offsets = self.machine.inventory.offsets
        if alarm is None and any(state[offsets[name]] != 0.0 for name in ALARMS if name in offsets):
            alarm = int(env[CYCLE])  # raised in the last cycle, and first read in this one
        clean, ends = golden.alarm_cycle, golden.comparisons[-1] if golden.comparisons else None
        last = None if ends is None else self._rejoin.last_comparison(state, twin.state, number, ends)
        if ends is not None and last is not None:
            rest[-1] = replace(last, cycle=last.cycle + late)
            if clean is None or clean == ends.cycle + 1:
                clean = ends.cycle + 1 if last.alarm else None
        if alarm is None and clean is not None:
            alarm = clean + late
        told = (*comparisons_of(outside.comparisons, count), *rest)[:room]
        return RunResult(output, in_order(self.machine, told), alarm, golden.cycles + late)
