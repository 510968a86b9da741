"""From fault numbers to records: draw, inject, classify.

`Injector` is what a campaign's workers hold: one assembled config and the engines of its heads. `records`
is a pure function of the fault numbers.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from accel_sim.assembly import Assembly
from accel_sim.campaign.columns import ALARMS, Batch, empty_batch
from accel_sim.campaign.sampling import Sampler, UniformSampler
from accel_sim.engines.result import RunResult
from accel_sim.engines.stepped import Injection
from accel_sim.faults.fault import KINDS, Fault
from accel_sim.faults.outcome import outcome_code, severity
from accel_sim.faults.universe import Points
from accel_sim.kinds import stepped_engine
from accel_sim.numerics.formats import Codec


class Injector(Protocol):
    """Anything that turns fault numbers into records."""

    assembly: Assembly

    def records(self, first: int, count: int) -> Batch:
        """Records of faults first … first + count − 1 of the campaign."""
        ...


class SteppedInjector:
    """Injects by clocking the whole machine from the checkpoint before each fault."""

    def __init__(self, assembly: Assembly, sampler: Sampler | None = None) -> None:
        self.assembly = assembly
        self.sampler: Sampler = sampler or UniformSampler(assembly)
        self._engines: dict[int, Any] = {}

    def engine(self, head: int) -> Any:
        """The engine of head number `head` of the workload, made when first asked for."""
        if head not in self._engines:
            a = self.assembly
            self._engines[head] = stepped_engine(a.machine, a.job(a.workload.heads[head]))
        return self._engines[head]

    def records(self, first: int, count: int) -> Batch:
        """Records of faults first … first + count − 1 of the campaign."""
        batch, points, kinds = drawn_batch(self.assembly, self.sampler, first, count)
        for i in range(count):
            fault = fault_at(self.assembly, points, kinds, i)
            engine = self.engine(int(points.head[i]))
            self._inject(batch, i, engine, fault)
        return batch

    def _inject(self, batch: Batch, i: int, engine: Any, fault: Fault) -> None:
        injection = engine.inject(fault)
        fill_values(batch, i, engine, injection)
        codec = engine.machine.formats["output"].codec
        fill_outcome(batch, i, fault.cycle, engine.golden(), injection.result, codec)


def drawn_batch(assembly: Assembly, sampler: Sampler, first: int, count: int) -> tuple[Batch, Points, np.ndarray]:
    """Records of faults first … first + count − 1 with their causes filled in, where they strike, and their kinds
    (int64, into `KINDS`)."""
    draw = sampler.draw(first, count)
    batch = empty_batch(count)
    batch["fault"] = np.arange(first, first + count, dtype=np.int64)
    points = fill_causes(batch, assembly, draw.point, draw.kind)
    batch["weight"][:] = draw.weight
    return batch, points, draw.kind


def fill_causes(batch: Batch, assembly: Assembly, index: np.ndarray, kinds: np.ndarray) -> Points:
    """Write where and when each fault strikes; returns the points."""
    universe = assembly.universe
    points = universe.points(index)
    components = list(assembly.components)
    component_of = np.array([components.index(r.component) for r in universe.registers])
    heads = np.array(assembly.workload.heads).reshape(-1, 2)
    batch["point"] = np.asarray(index, dtype=np.int64)
    batch["layer"], batch["head"] = heads[points.head].T.astype(np.int32)
    batch["cycle"] = points.cycle
    batch["register"] = points.register.astype(np.int16)
    batch["component"] = component_of[points.register].astype(np.int16)
    batch["element"] = points.element.astype(np.int32)
    batch["bit"] = points.bit.astype(np.int16)
    batch["kind"] = kinds.astype(np.int8)
    return points


def fault_at(assembly: Assembly, points: Points, kinds: np.ndarray, i: int) -> Fault:
    """The i-th of some points as a `Fault`. A burst at the top of a register or word loses what it has no room for."""
    settings = assembly.config.faults
    register = assembly.universe.registers[int(points.register[i])]
    index = tuple(int(n) for n in np.unravel_index(int(points.element[i]), register.shape)) if register.shape else ()
    kind, bit = KINDS[int(kinds[i])], int(points.bit[i])
    bits = min(settings.burst_bits, register.width_bits - bit) if kind == "burst" else 1
    duration = settings.stuck_cycles if kind.startswith("stuck") else 1
    return Fault(int(points.cycle[i]), register.name, index, bit, kind, bits, duration)


def fill_values(batch: Batch, i: int, engine: Any, injection: Injection) -> None:
    """Write what the struck element held before and after; NaN where the schedule proves that it was dead, so that
    the record is the same whether or not the fault was run."""
    live, nan = engine.live(injection.fault), float("nan")
    batch["old_value"][i] = injection.old_value if live else nan
    batch["new_value"][i] = injection.new_value if live else nan


def fill_outcome(batch: Batch, i: int, cycle: int, golden: RunResult, result: RunResult, codec: Codec) -> None:
    """Write what the fault did."""
    harm = severity(golden.output, result.output, codec)
    by, alarm_cycle = result.raised
    alarm = alarm_cycle is not None
    batch["alarm"][i] = alarm
    batch["alarm_by"][i] = ALARMS.index(by)
    batch["alarm_cycle"][i] = -1 if alarm_cycle is None else alarm_cycle
    batch["latency_cycles"][i] = -1 if alarm_cycle is None else alarm_cycle - cycle
    batch["residual"][i], batch["limit"][i] = result.told
    batch["hang"][i] = result.hang
    batch["outcome"][i] = outcome_code(harm.rows > 0, alarm)
    batch["out_rel_l2"][i] = harm.rel_l2
    batch["out_max_abs"][i] = harm.max_abs
    batch["out_max_ulp"][i] = harm.max_ulp
    batch["out_nonfinite"][i] = harm.nonfinite
    batch["out_rows"][i] = harm.rows
