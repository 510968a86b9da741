"""The stepped engine: clocks every register of the machine every cycle. Slow, obvious, and the definition
of the hardware; takes any list of faults.

`SteppedEngine` runs one job: `run` from cycle 0 under any list of faults, `inject` under one fault from a
checkpoint of the fault-free run (the state at the start of the swap before it): the same bits, sooner.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

import numpy as np

from accel_sim.engines.clock import Clock
from accel_sim.engines.golden import clock_of, first_alarms
from accel_sim.engines.job import Job
from accel_sim.engines.lanes_build import data, geometry, initial_state, roundings, slots
from accel_sim.engines.lanes_golden import add_terms
from accel_sim.engines.lanes_log import (
    ALARM_CYCLE,
    COMPARED,
    CYCLE,
    ENV_SIZE,
    STALL,
    SWAPS,
)
from accel_sim.engines.lanes_step import step
from accel_sim.engines.result import Comparison, RunResult, comparisons_from
from accel_sim.engines.sram import (
    Words,
    element_value,
    finish_words,
    ports,
    serve_words,
    settled,
    strike_words,
    words_of,
)
from accel_sim.faults.fault import Fault, FaultArrays, fault_arrays
from accel_sim.machines.lanes import DONE, SWAP, LanesMachine
from accel_sim.machines.memories import NEVER, memories, word_at
from accel_sim.numerics.arithmetic import sub
from accel_sim.numerics.formats import Codec
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import flip_bits, force_bits, quiet

DEAD_AT_SWAP = frozenset(
    "key kv_bank q bound first seen m k v k_skew v_delay key_tag prod tree chain dot score allow ds da p a p_acc a_acc "
    "pv norm_o norm_l norm_addr recip recip_o recip_addr out out_addr chk_prod chk_tree chk_chain chk_dot chk_score "
    "chk_seen chk_m chk_allow chk_ds chk_da chk_p chk_a chk_p_acc chk_a_acc norm_chk_l chk_recip r_tree r_delay "
    "chk_pr norm_c recip_c pred_term out_tree pred_delay residual limit rowsum_prod rowsum_tree rowsum_pred "
    "rowsum_delay rowsum_residual rowsum_limit softmax_masked softmax_residual softmax_limit".split()
)
"""Registers that nothing reads between the start of a swap and their next write, when no tag is set on them:
the streaming pipeline is empty, and every lane is about to be loaded. (A unit that only looks may read q and m as
the lane is drained.)"""

ONLY_FOR_ALARM = tuple(f"{unit}{name}" for unit in ("", "rowsum_", "softmax_")
                       for name in ("alarm", "enable", "small_threshold", "frequent", "deviations"))
"""Registers that nothing depends on but whether, and when, an alarm is raised."""


@kernel
def strike(R, faults, cycle):
    """Apply the faults that act at the start of `cycle`; returns whether any fault is still to come."""
    pending = False
    for i in range(faults.cycle.shape[0]):
        if cycle >= faults.end[i]:
            continue
        pending = True
        if cycle < faults.cycle[i]:
            break  # in order of cycle: none of the rest acts yet
        a, b = faults.arith[i], faults.stored[i]
        arith = Codec(a[0], a[1], a[2], a[3])
        stored = Codec(b[0], b[1], b[2], b[3])
        slot, mask = faults.slot[i], faults.mask[i]
        if faults.kind[i] == 0:
            R[slot] = flip_bits(R[slot], arith, stored, mask)
        else:
            ones = mask if faults.kind[i] == 2 else np.uint64(0)
            R[slot] = force_bits(R[slot], arith, stored, mask, ones)
    return pending


@kernel
def advance(R, s, g, f, env, data, faults, words, limit, stop_at_swap):
    """Run until done, until `limit` cycles, or (stop_at_swap) until a swap is about to begin. `words`: SRAM words
    that are struck, with what strikes them.

    Returns 0 done, 1 limit reached, 2 at a swap.
    """
    pending = faults.cycle.shape[0] > 0
    watched = words.tensor.shape[0] > 0
    while int(R[s.phase]) < DONE:
        if env[CYCLE] >= limit:
            return 1
        if pending:
            pending = strike(R, faults, env[CYCLE])
        if watched:
            strike_words(words, env[CYCLE])
        if env[ALARM_CYCLE] < 0 and alarmed(R, s, g):
            env[ALARM_CYCLE] = env[CYCLE]
        if int(R[s.phase]) >= DONE:
            return 0  # a strike has ended the run: this cycle is not executed
        if env[STALL] > 0:
            env[STALL] -= 1
            env[CYCLE] += 1
            continue
        before = int(R[s.phase])
        if watched:
            seen = ports(R, s, g, env)
            step(R, s, g, f, env, data)
            serve_words(words, seen, R, s, g, env, data)
        else:
            step(R, s, g, f, env, data)
        env[CYCLE] += 1
        if stop_at_swap and int(R[s.phase]) == SWAP and before != SWAP:
            return 2
    if env[ALARM_CYCLE] < 0 and alarmed(R, s, g):
        env[ALARM_CYCLE] = env[CYCLE]
    return 0


@kernel
def alarmed(R, s, g):
    """Whether the alarm of any check unit is up."""
    return ((g.check and R[s.alarm] != 0.0) or (g.rowsum and R[s.rowsum_alarm] != 0.0)
            or (g.softmax and R[s.softmax_alarm] != 0.0))


def _raised(words: Words) -> int | None:
    return int(words.alarm[0]) if words.alarm[0] >= 0 else None


@dataclass(frozen=True)
class Checkpoint:
    """The fault-free machine as a swap is about to begin: registers and environment."""

    state: np.ndarray
    env: np.ndarray


@dataclass(frozen=True)
class Injection:
    """A fault, the value it found and left in the struck element, and the run under it. In a memory that is the
    element that the (lowest) struck bit belongs to, as stored; NaN for a check bit."""

    fault: Fault
    old_value: float
    new_value: float
    result: RunResult


class SteppedEngine:
    """Runs one job cycle by cycle. Holds no state between runs but the checkpoints of the fault-free one."""

    def __init__(self, machine: LanesMachine, job: Job) -> None:
        n_queries, n_keys, _ = job.shape
        self.machine = machine
        self.job = job
        self.timing = machine.timing(n_queries, n_keys)
        self.memories = memories(machine)
        self._slots = slots(machine)
        self._geometry = geometry(machine, n_queries, n_keys)
        self._roundings = roundings(machine)
        self._checkpoints: list[Checkpoint] = []
        self._golden: RunResult | None = None
        self._kinds = [unit.kind for unit in machine.units] or ["fused_output"]

    @property
    def watchdog_cycles(self) -> int:
        """A run still going after so many cycles is stopped and marked as a hang. Three times the fault-free
        length: a single upset of a counter can at most repeat the whole head once."""
        stalls = int(self.job.kv_stall.sum() + self.job.swap_stall.sum())
        return 3 * (self.timing.head_cycles + stalls) + 1000

    def run(self, faults: Sequence[Fault] = (),
            watch: Callable[[int, np.ndarray], None] | None = None) -> RunResult:
        """Run from cycle 0 under `faults`. `watch(cycle, state)` sees the flat state (valid during the call
        only) at the start of every cycle in which the machine moves, after that cycle's faults have acted."""
        state, env, around = self._start()
        arrays, words = self._arrays(faults, env, around)
        if watch is None:
            code = self._advance(state, env, around, arrays, words, self.watchdog_cycles, False)
            return self._result(env, around, words, code)
        none = fault_arrays((), self.machine.inventory)
        code = 1
        while code == 1 and env[CYCLE] < self.watchdog_cycles:
            strike(state, arrays, env[CYCLE])
            if env[STALL] == 0 and state[self._slots.phase] < DONE:
                watch(int(env[CYCLE]), state)
            code = self._advance(state, env, around, none, words, int(env[CYCLE]) + 1, False)
        return self._result(env, around, words, code)

    def golden(self) -> RunResult:
        """The fault-free run, computed once; also takes the checkpoints."""
        if self._golden is None:
            state, env, around = self._start()
            none, words = self._arrays((), env, around)
            code = 2
            while code == 2:
                self._checkpoints.append(Checkpoint(state.copy(), env.copy()))
                code = self._advance(state, env, around, none, words, self.watchdog_cycles, True)
            self._golden = self._result(env, around, words, code)
        return self._golden

    @cached_property
    def clock(self) -> Clock:
        """Where stall-free cycles fall on the clock."""
        return clock_of(self.machine, self.job, self.timing)

    def inject(self, fault: Fault, terms: np.ndarray | None = None) -> Injection:
        """Run under one fault, from the last checkpoint before it, and no further than to a swap at which every
        register that will be read again holds, bit for bit, what it held at the same swap of the fault-free run: the
        rest is then the fault-free rest, as many cycles sooner or later as the swap is.

        terms (Nq, 2): predicted and actual row sum of every query in the fault-free run, if known. With them the
        run may also stop where only the sums pred and act differ, since what is added to them is known.
        """
        golden = self.golden()
        start = self._checkpoints[bisect_right(self._checkpoints, fault.cycle, key=lambda c: int(c.env[CYCLE])) - 1]
        state, env = start.state.copy(), start.env.copy()
        around = data(self.machine, self.job, self._geometry)
        done = self._delivered(env)
        around.o[:done] = golden.output[:done]
        known = golden.comparisons[:int(env[COMPARED])]
        arrays, words = self._arrays([fault], env, around)
        none = fault_arrays((), self.machine.inventory)
        self._advance(state, env, around, none, words, fault.cycle, False)
        before, after = self._values(fault, state, arrays, words, around)
        code = 2
        while code == 2:
            code = self._advance(state, env, around, arrays, words, self.watchdog_cycles, True)
            again = code == 2 and env[CYCLE] >= fault.end and env[SWAPS] < len(self._checkpoints)
            twin = self._checkpoints[int(env[SWAPS])] if again else None
            if twin is not None and settled(words) and self._rejoined(state, env, twin, terms is not None):
                joined = self._joined(golden, env, around, known, twin, state, terms)
                if joined is not None:
                    joined = replace(joined, memory_alarm_cycle=_raised(words))
                    return Injection(fault, before, after, joined)
        return Injection(fault, before, after, self._result(env, around, words, code, known))

    def live(self, fault: Fault) -> bool:
        """Whether the struck element is read again before it is written: where not, the fault can change nothing."""
        cycle, _ = self.clock.machine_cycle(fault.cycle)
        if fault.register in self.memories:
            return word_at(self.machine, self.timing, self.memories, fault.register, fault.index, cycle)[1] != NEVER
        register = self.machine.inventory[fault.register]
        return self.machine.occupant(self.timing, register, fault.index, cycle) is not None

    # -- the parts ------------------------------------------------------------------------------------

    def _start(self) -> tuple[np.ndarray, np.ndarray, Any]:
        state = initial_state(self.machine, self.job)
        env = np.zeros(ENV_SIZE, dtype=np.int64)
        env[ALARM_CYCLE] = -1
        env[STALL] = self.job.swap_stall[0]
        return state, env, data(self.machine, self.job, self._geometry)

    def _arrays(self, faults: Sequence[Fault], env: np.ndarray, around: Any) -> tuple[FaultArrays, Words]:
        """A fault list for the kernels: those of registers, those of SRAM words."""
        for fault in faults:
            fault.check(self.machine.inventory, self.memories)
        struck = [fault for fault in faults if fault.register in self.memories]
        arrays = fault_arrays([fault for fault in faults if fault.register not in self.memories],
                              self.machine.inventory)
        return arrays, words_of(struck, self.memories, self._geometry, env, around)

    def _values(self, fault: Fault, state: np.ndarray, arrays: FaultArrays, words: Words,
                around: Any) -> tuple[float, float]:
        """What the struck element holds, and what the fault is about to make of it."""
        if fault.register in self.memories:
            now = words._replace(data=words.data.copy(), check=words.check.copy())
            before = element_value(now, 0, fault.bit, around, self._geometry)
            strike_words(now, fault.cycle)
            return before, element_value(now, 0, fault.bit, around, self._geometry)
        slot = self.machine.inventory.slot(fault.register, fault.index)
        struck = state.copy()
        strike(struck, arrays, fault.cycle)
        return float(state[slot]), float(struck[slot])

    def _advance(self, state: np.ndarray, env: np.ndarray, around: Any, faults: FaultArrays, words: Words, limit: int,
                 stop: bool) -> int:
        return int(advance(state, self._slots, self._geometry, self._roundings, env, around, faults, words, limit,
                           stop))

    def _result(self, env: np.ndarray, around: Any, words: Words, code: int,
                known: tuple[Comparison, ...] = ()) -> RunResult:
        finish_words(words, around, int(env[CYCLE]))
        return RunResult(
            output=around.o.copy(),
            comparisons=self._compared(env, around, known),
            alarm_cycle=int(env[ALARM_CYCLE]) if env[ALARM_CYCLE] >= 0 else None,
            cycles=int(env[CYCLE]),
            hang=code == 1,
            memory_alarm_cycle=_raised(words),
        )

    def _compared(self, env: np.ndarray, around: Any, known: tuple[Comparison, ...]) -> tuple[Comparison, ...]:
        """All comparisons so far, the first of them being `known`."""
        count = min(int(env[COMPARED]), around.comparisons.shape[0]) - len(known)
        return known + comparisons_from(around.comparisons[len(known):], count, self._kinds)

    @cached_property
    def _read_again(self) -> dict[tuple[bool, bool], np.ndarray]:
        """Slots whose value at the start of a swap matters later, by (without the sums pred and act, without what only
        an alarm depends on)."""
        inventory = self.machine.inventory
        slots = np.ones(inventory.slots, dtype=bool)
        if not self.machine.scans:
            # A scanned row may still be on its way through the checker; without scans the pipe is empty.
            read_again = {"q" if self.machine.rowsum is not None else "", "m" if self.machine.watches("max") else ""}
            for register in inventory:
                if register.name in DEAD_AT_SWAP - read_again:
                    start = inventory.offsets[register.name]
                    slots[start:start + register.size] = False
        found = {}
        for but_sums, but_alarms in product((False, True), repeat=2):
            left_out = (("pred", "act") if but_sums else ()) + (ONLY_FOR_ALARM if but_alarms else ())
            others = slots.copy()
            others[[inventory.offsets[name] for name in left_out if name in inventory]] = False
            found[but_sums, but_alarms] = np.flatnonzero(others)
        return found

    def _rejoined(self, state: np.ndarray, env: np.ndarray, twin: Checkpoint, but_sums: bool) -> bool:
        """Same registers where it matters, and the same view of the memory system (which begins the tiles of a block
        anew). Once an alarm is up no other matters."""
        spoken = bool(env[ALARM_CYCLE] >= 0 or alarmed(state, self._slots, self._geometry))
        slots = self._read_again[but_sums and not self.machine.scans, spoken]
        return bool(env[STALL] == twin.env[STALL]
                    and np.array_equal(state[slots].view(np.int64), twin.state[slots].view(np.int64)))

    def _delivered(self, env: np.ndarray) -> int:
        """Rows in the O SRAM as a swap is about to begin: all but those of the block in the lanes."""
        return min(max(0, int(env[SWAPS]) - 1) * self.machine.lanes, self.job.shape[0])

    def _joined(self, golden: RunResult, env: np.ndarray, around: Any, known: tuple[Comparison, ...],
                twin: Checkpoint, state: np.ndarray, terms: np.ndarray | None) -> RunResult | None:
        """What has happened so far, followed by the fault-free rest; None if that cannot be told. known: the
        comparisons up to the checkpoint that the run began with."""
        late = int(env[CYCLE] - twin.env[CYCLE])
        if golden.cycles + late > self.watchdog_cycles:
            return None
        done = self._delivered(twin.env)
        output = golden.output.copy()
        output[:done] = around.o[:done]
        # Rows of later blocks may have been written too, by a struck address register; they are delivered
        # again by the rest of the run, so that the fault-free row stands.
        rest = list(golden.comparisons[int(twin.env[COMPARED]):])
        if late:
            rest = [replace(c, cycle=c.cycle + late) for c in rest]
        alarm = int(env[ALARM_CYCLE]) if env[ALARM_CYCLE] >= 0 else None
        if alarm is None and alarmed(state, self._slots, self._geometry):
            alarm = int(env[CYCLE])  # raised in the last cycle, and first read in this one
        summed = self._sums_differ(state, twin)
        if summed and terms is not None:
            if not self._sum_up(rest, state, done, terms):
                return None
            if alarm is None:
                alarm = min((self.clock.after(c.cycle - late) + late for c in self._alarms_of(golden, twin, rest)),
                            default=None)
        elif alarm is None and golden.alarm_cycle is not None:
            alarm = golden.alarm_cycle + late
        comparisons = (*self._compared(env, around, known), *rest)[:around.comparisons.shape[0]]
        return RunResult(output, comparisons, alarm, golden.cycles + late)

    def _sums_differ(self, state: np.ndarray, twin: Checkpoint) -> bool:
        """Whether pred or act is not what it was in the fault-free run."""
        at = [self.machine.inventory.offsets[name] for name in ("pred", "act") if name in self.machine.inventory]
        return not np.array_equal(state[at].view(np.int64), twin.state[at].view(np.int64))

    def _sum_up(self, rest: list[Comparison], state: np.ndarray, done: int, terms: np.ndarray) -> bool:
        """Make the next comparison of the output check in `rest` that of the sums as they stand, with the terms of the
        rows that are left; False if that cannot be told. done: rows delivered."""
        machine = self.machine
        first = next((n for n, c in enumerate(rest) if c.unit == "fused_output"), None)
        if machine.check is None or first is None:
            return True
        if machine.check.threshold.kind == "relative":
            return False
        at = machine.inventory.offsets
        pred, act = float(state[at["pred"]]), float(state[at["act"]])
        stop = self.job.shape[0] if machine.check.granularity == "head" else done + machine.lanes
        rc = self._roundings.checker
        pred, act = add_terms(terms, done, min(stop, self.job.shape[0]), quiet(pred, rc), quiet(act, rc), rc)
        rest[first] = replace(rest[first], residual=float(sub(pred, act, rc)), predicted=pred, actual=act)
        return True

    def _alarms_of(self, golden: RunResult, twin: Checkpoint, rest: list[Comparison]) -> list[Comparison]:
        """The comparisons that raise an alarm of those that are left, `rest`, when a run stands as the fault-free one
        did at `twin`. No alarm is up then: what came before counts for its small deviations alone."""
        before = golden.comparisons[:int(twin.env[COMPARED])]
        if golden.alarm_cycle is not None:
            before = tuple(c for c in before if not c.alarm)
        found = first_alarms(self.machine, self.job, (*before, *rest))
        return [first for first in found if any(first is c for c in rest)]
