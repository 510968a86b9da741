"""One fault, from strike to alarm: what was struck, what it reached, whether anything noticed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accel_sim.analysis.attention import Row
from accel_sim.assembly import Assembly
from accel_sim.engines.replay.sram import faults_of, told
from accel_sim.engines.result import RunResult
from accel_sim.faults.fault import Fault
from accel_sim.faults.outcome import OUTCOMES, Severity, outcome_code, severity
from accel_sim.kinds import bare, part_of, stepped_engine
from accel_sim.machines.inventory import Register
from accel_sim.machines.machine import HeadTiming, Occupant
from accel_sim.machines.memories import Memory
from accel_sim.numerics.rounding import encode_value
from accel_sim.system.program_memories import SlotMemory
from accel_sim.words.story import Told
from accel_sim.workloads import HeadId


@dataclass(frozen=True)
class AttentionRow:
    """One query's attention before and after the fault. Weights are shares of the output; (n,) float64."""

    query: int
    keys: np.ndarray
    golden_weights: np.ndarray
    faulty_keys: np.ndarray
    faulty_weights: np.ndarray


@dataclass(frozen=True)
class WordStory:
    """What became of a struck SRAM word. read_cycle: clock cycle in which it was read next (the length of the run if it
    left with the outputs at the end), None if it never was. decoder: what its decoder made of it then: `not read`,
    `nothing wrong`, `corrected`, `detected` (the data flowed on as it was) or `passed on` (wrong, and not noticed).
    alarm_cycle: first cycle in which the memory alarm could be read, in all of the run."""

    memory: Memory
    read_cycle: int | None
    decoder: str
    alarm_cycle: int | None


@dataclass(frozen=True)
class Explanation:
    """Everything there is to say about one fault.

    occupant: what the schedule says the element held; None if it was dead. phase: what the machine was doing.
    stalled: the pipeline was being held, so that the flip waited in its register. machine_cycle: the
    stall-free cycle of that moment. old_bits, new_bits: stored pattern before and after. score_changes,
    weight_changes: (query, key) entries that differ in any bit. queries: output rows that differ.
    rows: attention before and after, of the queries that changed most (at most three). word: for a fault in SRAM.
    """

    fault: Fault
    head: HeadId
    register: Register | Memory
    occupant: Occupant | None
    phase: str
    stalled: bool
    machine_cycle: int
    old_value: float
    new_value: float
    old_bits: int
    new_bits: int
    golden: RunResult
    faulty: RunResult
    outcome: str
    severity: Severity
    latency_cycles: int | None
    queries: tuple[int, ...]
    score_changes: int
    weight_changes: int
    rows: tuple[AttentionRow, ...]
    word: WordStory | None = None


def explain(assembly: Assembly, head: HeadId, fault: Fault) -> Explanation:
    """Inject one fault into one head and follow it.

    Raises ValueError with a clear message for a fault that this machine and run cannot have.
    """
    engine = stepped_engine(assembly.machine, assembly.job(head))
    fault.check(assembly.machine.inventory, assembly.memories)
    golden = engine.golden()
    if fault.cycle >= golden.cycles:
        raise ValueError(f"the head ends after cycle {golden.cycles - 1}; cycle {fault.cycle} is never reached")
    injection = engine.inject(fault)
    observe = part_of(assembly.machine.kind, "story")
    if observe is None:
        faulty, rows_before, rows_after = engine.run([fault]), {}, {}
    else:
        faulty, rows_after = observe(engine, [fault])
        _, rows_before = observe(engine)
    if not faulty.same_as(injection.result):
        raise AssertionError("two ways of running one fault differ; please report this")
    machine, timing = assembly.machine, engine.timing
    in_memory = fault.register in assembly.memories
    register = assembly.memories[fault.register] if in_memory else machine.inventory[fault.register]
    machine_cycle, stalled = engine.clock.machine_cycle(fault.cycle)
    differs = np.any(golden.output.view(np.int64) != faulty.output.view(np.int64), axis=1)
    harm = severity(golden.output, faulty.output, machine.formats["output"].codec)
    alarm = faulty.raised[1]
    holds, word = _word(engine, register, fault, faulty) if isinstance(register, Memory) else (
        machine.occupant(timing, register, fault.index, machine_cycle), None)
    # A check bit, a word without a row, or what a protection kept from the logic.
    unread = word is not None or machine is not bare(machine)
    empty = unread and injection.old_value != injection.old_value
    patterned = register.stored == register.format and not empty
    changed = _ranked(rows_before, rows_after)
    codec = register.stored.codec
    return Explanation(
        fault=fault,
        head=head,
        register=register,
        occupant=holds,
        phase=_phase(timing, machine_cycle),
        stalled=stalled,
        machine_cycle=machine_cycle,
        old_value=injection.old_value,
        new_value=injection.new_value,
        old_bits=int(encode_value(injection.old_value, codec)) if patterned else -1,
        new_bits=int(encode_value(injection.new_value, codec)) if patterned else -1,
        golden=golden,
        faulty=faulty,
        outcome=OUTCOMES[outcome_code(harm.rows > 0, alarm is not None)],
        severity=harm,
        latency_cycles=None if alarm is None else alarm - fault.cycle,
        queries=tuple(int(q) for q in np.flatnonzero(differs)),
        score_changes=sum(_entries(a.scores, b.scores) for a, b in changed.values()),
        weight_changes=sum(_entries(a.weights, b.weights) for a, b in changed.values()),
        rows=tuple(
            AttentionRow(q, np.array(a.keys), a.weights, np.array(b.keys), b.weights)
            for q, (a, b) in list(changed.items())[:3]
        ),
        word=word,
    )


def _word(engine: Any, memory: Memory, fault: Fault, faulty: RunResult) -> tuple[Occupant | None, WordStory]:
    """What a struck word held, and what became of it."""
    machine = bare(engine)  # without what reads its output buffer back
    run = machine.golden()
    if fault.cycle >= run.cycles:
        return None, WordStory(memory, None, "not read", faulty.memory_alarm_cycle)
    if isinstance(memory, SlotMemory):
        return _slot_word(machine.word(fault), memory, fault, faulty)
    come = told(machine.machine, engine.job, run.output, engine.clock.machine_cycles(run.cycles), memory,
                engine.memories.resident, faults_of(fault, memory, run.cycles))
    read, row = int(come.read_cycle[0]), int(come.row[0])
    if read < 0:
        decoder = "not read"
    elif not come.wrong[0]:
        decoder = "nothing wrong"
    elif come.alarm_cycle[0] >= 0:
        decoder = "detected"
    else:
        decoder = "passed on" if come.delivered[0] else "corrected"
    holds = None
    if read >= 0:
        in_data = fault.bit < memory.word_bits
        dim = fault.index[2] * memory.word_elements + fault.bit // memory.stored.width_bits if in_data else None
        what = {"q": "row of queries", "k": "row of keys", "v": "row of values", "o": "row of outputs"}[memory.tensor]
        holds = Occupant(what if in_data else f"check bits of a {what}", row if memory.tensor in "qo" else None,
                         row if memory.tensor in "kv" else None, dim)
    return holds, WordStory(memory, read if read >= 0 else None, decoder, faulty.memory_alarm_cycle)


_SLOT = {"q": "queries", "k": "keys", "v": "values", "s": "scores", "p": "weights", "u": "undivided outputs",
         "o": "outputs"}
_SLOT_PLAIN = {"q": "A", "k": "B", "o": "the product"}


def _slot_word(told: Told, memory: SlotMemory, fault: Fault, faulty: RunResult) -> tuple[Occupant | None, WordStory]:
    """The same of a word in a slot."""
    holds = None
    if told.read_cycle is not None:
        what = f"word of {_SLOT_PLAIN[memory.tensor] if memory.plain else _SLOT[memory.tensor]}"
        row, col = told.where if told.where is not None else (None, None)
        if fault.bit >= memory.word_bits:
            what, col = f"check bits of a {what}", None
        if memory.tensor in "sp" or (memory.plain and memory.tensor == "o"):
            holds = Occupant(what, row, col)
        else:
            by_key = memory.tensor in "kv"
            holds = Occupant(what, None if by_key else row, row if by_key else None, col)
    return holds, WordStory(memory, told.read_cycle, told.decoder, faulty.memory_alarm_cycle)


def _phase(timing: HeadTiming, cycle: int) -> str:
    for phase, number, first, cycles in timing.spans():
        if first <= cycle < first + cycles:
            return timing.phase_name(phase, number)
    return "done"


def _entries(a: object, b: object) -> int:
    """How many entries of two sequences differ in any bit; entries that only one has count too."""
    x, y = (np.asarray(v, dtype=np.float64).view(np.int64) for v in (a, b))
    n = min(len(x), len(y))
    return int(np.sum(x[:n] != y[:n])) + abs(len(x) - len(y))


def _ranked(before: dict[int, Row], after: dict[int, Row]) -> dict[int, tuple[Row, Row]]:
    """Queries whose row differs in any bit, the largest change of weights first."""
    size: dict[int, float] = {}
    for q in before.keys() & after.keys():
        a, b = before[q], after[q]
        if _entries(a.scores, b.scores) + _entries(a.weights, b.weights) + (a.keys != b.keys):
            n = min(len(a.weights), len(b.weights))
            delta = np.abs(a.weights[:n] - b.weights[:n])
            size[q] = float(np.where(np.isfinite(delta), delta, np.inf).sum())
    return {q: (before[q], after[q]) for q in sorted(size, key=lambda q: (-size[q], q))}
