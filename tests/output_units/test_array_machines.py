"""Units on the output buffer of machines with arrays: replay hands over the rows that faults change, and they are judged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fused import draw as fused_draw
from gemm import draw as gemm_draw
from gemm.compare import arguments
from gemm.draw_plain import plain_job, plain_machine

from accel_sim.assembly import Assembly
from accel_sim.campaign.replay import ReplayInjector
from accel_sim.engines.job import Job
from accel_sim.engines.replay import rows as rows_module
from accel_sim.engines.replay.types import FALL_BACK, RowSink
from accel_sim.faults.fault import Fault
from accel_sim.fused.replay import FusedReplay
from accel_sim.fused.stepped import SteppedFused
from accel_sim.gemm.replay import ReplayGemm
from accel_sim.gemm.stepped import SteppedGemm
from accel_sim.machines.gemm import GemmMachine
from output_units.draw import RANGE, Points, array_with, assert_same_records, points_of

SUM = {"kind": "column_sum", "threshold": {"kind": "relative", "value": 1e-3}}
LOOSE = {"kind": "fused_output", "threshold": {"kind": "absolute", "value": 0.5}}
FLOWS = ["os", "ws", "is"]
ARRAYS = [*FLOWS, "fused"]


# -- the rows that an engine hands over ----------------------------------------------------------------------


def drawn(machine: Any, cycles: int) -> list[Fault]:
    """Flips, uniform over every bit of every register that no check unit has, in every cycle."""
    rng, registers = np.random.default_rng(2), [r for r in machine.inventory if not r.component.startswith("checker.")]
    share = np.array([r.bits for r in registers]) / sum(r.bits for r in registers)
    return [Fault(int(rng.integers(cycles)), r.name, tuple(int(rng.integers(n)) for n in r.shape),
                  int(rng.integers(r.width_bits))) for r in (registers[i] for i in rng.choice(len(registers), 2500, p=share))]


def of_gemm(machine: GemmMachine, job: Job) -> tuple[Any, ...]:
    """(stepped, replay, faults, how `outcomes` takes them)."""
    cycles = machine.timing(*job.shape[:2]).head_cycles
    faults = drawn(machine, cycles)
    return SteppedGemm(machine, job), ReplayGemm(machine, job), faults, arguments(machine, faults, cycles)


def gemm_case(flow: str) -> tuple[Any, ...]:
    units = (gemm_draw.gemm_unit(sides="both", correct=True), gemm_draw.fused_unit())
    machine = gemm_draw.machine_with(units, dataflow=flow)
    limits = {"gemm": 0.01, "fused_output": 0.01}
    return of_gemm(machine, gemm_draw.job_for(machine, 7, 8, np.random.default_rng(1), limits, causal=True))


def plain_case(flow: str) -> tuple[Any, ...]:
    machine = plain_machine(5, (gemm_draw.gemm_unit(("qk",), "both", True),), dataflow=flow)
    return of_gemm(machine, plain_job(machine, 6, 7, np.random.default_rng(1), 0.01))


def fused_case(_: str) -> tuple[Any, ...]:
    machine = fused_draw.machine(4, columns=2)
    job = fused_draw.head(machine, 7, 9, seed=1, causal=True)
    stepped = SteppedFused(machine, job)
    faults = drawn(machine, stepped.timing.head_cycles)
    return stepped, FusedReplay(machine, job), faults, fused_draw.fault_arguments(machine, faults)


def handed_over(replay: Any, given: tuple[np.ndarray, ...]) -> tuple[Any, dict[int, dict[int, bytes]], int]:
    """(outcomes, the bits of each row by fault and query, how often rows were handed over)."""
    found: dict[int, dict[int, bytes]] = {}
    times = 0

    def changed(sink: RowSink) -> None:
        nonlocal times
        times += 1
        n = int(sink.filled[0])
        assert n > 0
        here = sink.fault[:n].tolist()
        assert not set(here) & set(found)  # those of one fault come all at once
        for fault, query, row in zip(here, sink.query[:n].tolist(), sink.row[:n], strict=True):
            assert query not in found.setdefault(fault, {})
            found[fault][query] = row.tobytes()

    return replay.outcomes(*given, changed=changed), found, times


@pytest.mark.parametrize("case, flow", [*((gemm_case, flow) for flow in FLOWS), *((plain_case, flow) for flow in FLOWS),
                                        (fused_case, "")])
def test_the_rows_handed_over_are_those_that_differ(case: Callable[[str], Any], flow: str,
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    stepped, replay, faults, given = case(flow)
    golden = stepped.golden().output
    out, found, times = handed_over(replay, given)
    assert times == 1
    for i, fault in enumerate(faults):
        if out.status[i] != FALL_BACK:
            output = stepped.inject(fault).result.output
            rows = {q: row.tobytes() for q, row in enumerate(output) if row.tobytes() != golden[q].tobytes()}
            assert found.get(i, {}) == rows, fault
    assert len(found) > 40 and any(len(rows) > 1 for rows in found.values())
    plain = replay.outcomes(*given)
    monkeypatch.setattr(rows_module, "SINK_ELEMENTS", 1)  # room for the rows of a single fault
    narrow, again, times = handed_over(replay, given)
    assert again == found and times > len(found) // 3
    for values in (narrow, plain):
        assert all(np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for a, b in zip(out, values, strict=True))


# -- what units make of them ---------------------------------------------------------------------------------


def assert_none_is_run_for_its_rows(assembly: Assembly, index: np.ndarray) -> None:
    """Of flips at these points, the engine around the units hands back no more than the machine's own does."""
    engine, points = ReplayInjector(assembly, None).engine(0), assembly.universe.points(index)
    registers = assembly.universe.registers
    offset, arith, stored = (np.array(values) for values in (
        [assembly.machine.inventory.offsets[r.name] for r in registers], [r.format.codec for r in registers],
        [r.stored.codec for r in registers]))
    slot, cycle = offset[points.register] + points.element, points.cycle
    mine = (slot < engine.machine.bare.inventory.slots) & (cycle < engine.end)
    given = [x[mine] for x in (slot, cycle, cycle, 0 * cycle, np.uint64(1) << points.bit.astype(np.uint64),
                               arith[points.register], stored[points.register])]
    own, around = engine.bare.outcomes(*given), engine.outcomes(*given)
    assert np.array_equal(own.status == FALL_BACK, around.status == FALL_BACK)
    assert np.count_nonzero(own.differs & (own.status != FALL_BACK)) > 30


@pytest.mark.parametrize("name", ARRAYS)
def test_units_give_the_records_of_the_stepped_engine(name: str, example: None) -> None:
    assembly = array_with(name, LOOSE, SUM, RANGE, faults={"kinds": ["flip", "burst", "stuck0", "stuck1"],
                                                           "burst_bits": 3, "stuck_cycles": 1})
    rng = np.random.default_rng(3)
    index = rng.integers(0, assembly.universe.size, 700)
    assert_same_records(assembly, index, rng.integers(0, 4, 700))
    chosen = [c for c in assembly.components if not c.startswith("checker.") and c != "control"]
    index = rng.choice(points_of(assembly, chosen), 300)
    assert {1, 3} <= set(assert_same_records(assembly, index)["outcome"])
    assert_none_is_run_for_its_rows(assembly, index)


@pytest.mark.parametrize("name, more", [("ws", ["parity"]), ("fused", ["parity"])])
def test_on_protected_machines_that_wait_for_memory(name: str, more: list[str]) -> None:
    memory = {"off_chip": {"bandwidth_bytes_per_cycle": 2, "latency_cycles": 5}}
    assembly = array_with(name, RANGE, *more, memory=memory)
    assert assembly.system.stall_cycles > 0
    rng = np.random.default_rng(4)
    records = assert_same_records(assembly, rng.integers(0, assembly.universe.size, 300))
    assert (records["outcome"] != 0).any()


@pytest.mark.parametrize("name", ["is", "fused"])
def test_rows_that_do_not_fit_the_sink_at_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assembly = array_with(name, RANGE)
    index = np.random.default_rng(5).integers(0, assembly.universe.size, 400)
    whole = assert_same_records(assembly, index)
    assert (whole["outcome"] & 1).any()
    monkeypatch.setattr(rows_module, "SINK_ELEMENTS", 1)
    again = ReplayInjector(assembly, Points(index)).records(0, len(index))
    assert all(np.array_equal(whole[name], again[name], equal_nan=whole[name].dtype.kind == "f") for name in whole)
