"""The verilated lanes machine from Python: one model, any number of jobs and faults, no process and no rebuild.

`RtlModel` builds the model of one machine (once; see `verilate`), runs jobs on it (`run`), with the raw bits of every
register in every cycle if asked for (`RtlRun.states`), and injects faults one after another (`inject`).
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.engines.job import Job
from accel_sim.engines.result import Comparison, RunResult
from accel_sim.faults.fault import Fault
from accel_sim.machines.lanes import LanesMachine
from accel_sim.numerics.formats import Format
from accel_sim.rtl.generate import PACKAGE_FILE, TOP, design_files, package_text
from accel_sim.rtl.registers import placements
from accel_sim.rtl.verilate import SOURCES, build

Bits = NDArray[np.uint64]

TRACE_ROWS = 512
"""Cycles of a trace that are held at once."""

HARNESS = SOURCES / "harness" / "lanes.cpp"
_FIELDS_MARK = '#include "lanes_fields.inc"\n'
_KINDS = {"flip": 0, "burst": 0, "stuck0": 1, "stuck1": 2}
_MORE = 2  # the library's code for a trace that goes on
_CHUNK_WORDS = 4_000_000  # of outcomes that one call of the library may fill


@dataclass(frozen=True)
class RtlRun:
    """One run of the RTL.

    result: as every engine returns it. cycles (moves,): clock cycles in which the machine moved. states (moves,
    slots): raw bits of every register element at the start of each, after that cycle's faults; both empty unless
    they were asked for.
    """

    result: RunResult
    cycles: NDArray[np.int64]
    states: Bits


@dataclass(frozen=True)
class RtlInjection:
    """A fault, the bits that it found and left in the struck element, and the run under it."""

    fault: Fault
    old_bits: int
    new_bits: int
    result: RunResult


class _Job(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_int64) for name in
          ("n_queries", "n_keys", "head_dim", "key_tile", "tiles", "blocks", "row_bytes")),
        *((name, ctypes.c_void_p) for name in ("q", "k", "v", "bound")),
        ("n_kv_stall", ctypes.c_int64), ("n_swap_stall", ctypes.c_int64),
        ("kv_stall", ctypes.c_void_p), ("swap_stall", ctypes.c_void_p),
        *((name, ctypes.c_uint64) for name in ("scale", "threshold", "scan_threshold")),
    )  # fmt: skip


class _Faults(ctypes.Structure):
    _fields_ = (("count", ctypes.c_int64),
                *((name, ctypes.c_void_p) for name in ("cycle", "end", "slot", "kind", "mask")))  # fmt: skip


class _Outcome(ctypes.Structure):
    _fields_ = (
        ("output", ctypes.c_void_p), ("comparisons", ctypes.c_void_p),
        *((name, ctypes.c_int64) for name in ("capacity", "compared", "alarm_cycle", "cycles", "code")),
    )  # fmt: skip


def encode_one(value: float, fmt: Format) -> int:
    """The bit pattern of one value of a format."""
    return int(fmt.encode(np.array([value]))[0])


def packed_rows(values: NDArray[np.float64], fmt: Format) -> NDArray[np.uint8]:
    """Rows (n, d) as the memories hold them: (n, bytes) uint8, element 0 in the lowest bits."""
    shifts = np.arange(fmt.width_bits, dtype=np.uint64)
    bits = (fmt.encode(values)[..., None] >> shifts & np.uint64(1)).astype(np.uint8)
    return np.packbits(bits.reshape(len(values), -1), axis=1, bitorder="little")


class RtlModel:
    """The RTL of one machine, built and loaded.

    cache_dir: where built models are kept, `verilate.default_cache()` by default. optimise: compile for speed; without
    it the build is several times shorter and the model several times slower.

    Raises ConfigError for a machine that the RTL cannot express, `verilate.ToolMissing` without Verilator or a C++
    compiler, `verilate.BuildFailed` if one of them refuses.
    """

    def __init__(self, machine: LanesMachine, cache_dir: Path | None = None, optimise: bool = True) -> None:
        self.machine = machine
        self._library = self._load(cache_dir, optimise)
        self._handle = ctypes.c_void_p(self._library.lanes_new())
        if self._library.lanes_slots(self._handle) != machine.inventory.slots:
            raise AssertionError("the model does not have the inventory's registers")

    def close(self) -> None:
        """Free the model."""
        if self._handle:
            self._library.lanes_free(self._handle)
            self._handle = ctypes.c_void_p()

    def __enter__(self) -> RtlModel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, job: Job, faults: Sequence[Fault] = (), limit: int | None = None, trace: bool = False) -> RtlRun:
        """One head from reset under any faults, for at most `limit` cycles (`watchdog_cycles` by default).

        trace: keep every register in every cycle in which the machine moves.
        """
        if trace:
            parts = list(self.chunks(job, faults, limit))
            return RtlRun(parts[-1].result, np.concatenate([part.cycles for part in parts]),
                          np.concatenate([part.states for part in parts]))
        return next(self.chunks(job, faults, limit, room=0))

    def chunks(self, job: Job, faults: Sequence[Fault] = (), limit: int | None = None,
               room: int = TRACE_ROWS) -> Iterator[RtlRun]:
        """The run of `run(trace=True)` in pieces of `room` moving cycles, the result in the last one.

        The model is busy until the last piece has been taken. room 0: one piece, without a trace.
        """
        limit = self.watchdog_cycles(job) if limit is None else limit
        held, with_faults = _JobArrays(self.machine, job), _FaultArrays(self.machine, faults)
        outcomes = _Outcomes(self.machine, job, 1)
        resume = False
        while not resume or outcomes.structs[0].code == _MORE:
            states = np.zeros((room, self.machine.inventory.slots), dtype=np.uint64)
            moves = np.zeros(room, dtype=np.int64)
            moved = int(self._library.lanes_run(
                self._handle, ctypes.byref(held.struct), ctypes.byref(with_faults.struct), limit,
                ctypes.byref(outcomes.structs[0]), states.ctypes.data if room else None,
                moves.ctypes.data if room else None, room, int(resume)))  # fmt: skip
            resume = True
            yield RtlRun(outcomes.result(0), moves[:moved], states[:moved])

    def inject(self, job: Job, faults: Sequence[Fault], limit: int | None = None) -> Iterator[RtlInjection]:
        """Each fault alone, in its own run from the fault-free state at its cycle. In order of cycle."""
        limit = self.watchdog_cycles(job) if limit is None else limit
        held = _JobArrays(self.machine, job)
        ordered = sorted(faults, key=lambda fault: fault.cycle)
        chunk = max(1, _CHUNK_WORDS // _Outcomes.words(self.machine, job))
        for start in range(0, len(ordered), chunk):
            some = ordered[start:start + chunk]
            arrays, outcomes = _FaultArrays(self.machine, some), _Outcomes(self.machine, job, len(some))
            old, new = np.zeros((2, len(some)), dtype=np.uint64)
            self._library.lanes_inject(self._handle, ctypes.byref(held.struct), ctypes.byref(arrays.struct), limit,
                                       outcomes.structs, old.ctypes.data, new.ctypes.data)
            for i, fault in enumerate(some):
                yield RtlInjection(fault, int(old[i]), int(new[i]), outcomes.result(i))

    def watchdog_cycles(self, job: Job) -> int:
        """As the stepped engine's."""
        stalls = int(job.kv_stall.sum() + job.swap_stall.sum())
        return 3 * (self.machine.timing(*job.shape[:2]).head_cycles + stalls) + 1000

    def _load(self, cache_dir: Path | None, optimise: bool) -> Any:
        with tempfile.TemporaryDirectory() as folder:
            package, visible = Path(folder) / PACKAGE_FILE, Path(folder) / "visible.vlt"
            package.write_text(package_text(self.machine), encoding="utf-8")
            visible.write_text(visible_registers(self.machine), encoding="utf-8")
            path = build([visible, *design_files(package)], TOP, harness_text(self.machine), cache_dir=cache_dir,
                         optimise=optimise)
        library = ctypes.CDLL(str(path))
        pointer, integer = ctypes.c_void_p, ctypes.c_int64
        for name, result, arguments in (
            ("lanes_new", pointer, ()),
            ("lanes_free", None, (pointer,)),
            ("lanes_slots", integer, (pointer,)),
            ("lanes_run", integer, (pointer, pointer, pointer, integer, pointer, pointer, pointer, integer, integer)),
            ("lanes_inject", None, (pointer, pointer, pointer, integer, pointer, pointer, pointer)),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
        return library


def visible_registers(machine: LanesMachine) -> str:
    """Verilator's control file: every register of the inventory can be read and written from outside."""
    pairs = dict.fromkeys((place.module, place.register) for place in placements(machine))
    lines = [f'public_flat_rw -module "{module}" -var "{register}"\n' for module, register in pairs]
    return "".join(["`verilator_config\n", *lines])


def harness_text(machine: LanesMachine) -> str:
    """The C++ harness with this machine's registers filled in."""
    fields = []
    for place in placements(machine):
        path = f"{TOP}.{place.path}".replace(".", "__DOT__").replace("[", "__BRA__").replace("]", "__KET__")
        fields.append(f'        FIELD("{place.register}", {path}, {place.slot}, {place.count}, {place.width})\n')
    text = HARNESS.read_text(encoding="utf-8")
    width = f"#define OUTPUT_WIDTH {machine.formats['output'].width_bits}\n"
    return width + text.replace(_FIELDS_MARK, "".join(fields))


# -- what the library reads and writes. Each object keeps the arrays alive that its struct points into. ---------------


class _JobArrays:
    def __init__(self, machine: LanesMachine, job: Job) -> None:
        n_queries, n_keys, d = job.shape
        operand = machine.formats["operand"]
        self._keep = [packed_rows(x, operand) for x in (job.q, job.k, job.v)]
        vectors = [np.ascontiguousarray(x, dtype=np.int64) for x in (job.bound, job.kv_stall, job.swap_stall)]
        bound, kv_stall, swap_stall = vectors
        self._vectors = vectors
        q, k, v = (rows.ctypes.data for rows in self._keep)
        checker = machine.formats["checker"]
        self.struct = _Job(
            n_queries, n_keys, d, machine.key_tile, -(-n_keys // machine.key_tile), -(-n_queries // machine.lanes),
            self._keep[0].shape[1], q, k, v, bound.ctypes.data, len(kv_stall), len(swap_stall), kv_stall.ctypes.data,
            swap_stall.ctypes.data, encode_one(job.scale, machine.formats["score"]),
            encode_one(job.threshold, checker), encode_one(job.scan_threshold, checker),
        )  # fmt: skip


class _FaultArrays:
    def __init__(self, machine: LanesMachine, faults: Sequence[Fault]) -> None:
        inventory = machine.inventory
        for fault in faults:
            fault.check(inventory)
        ordered = sorted(faults, key=lambda fault: fault.cycle)
        self._keep = [
            np.array([fault.cycle for fault in ordered], dtype=np.int64),
            np.array([fault.end for fault in ordered], dtype=np.int64),
            np.array([inventory.slot(fault.register, fault.index) for fault in ordered], dtype=np.int64),
            np.array([_KINDS[fault.kind] for fault in ordered], dtype=np.int64),
            np.array([fault.mask for fault in ordered], dtype=np.uint64),
        ]
        self.struct = _Faults(len(ordered), *(array.ctypes.data for array in self._keep))


class _Outcomes:
    """Room for the outcomes of `count` runs of one job."""

    def __init__(self, machine: LanesMachine, job: Job, count: int) -> None:
        n_queries, _, d = job.shape
        self._machine = machine
        self._capacity = self.capacity(machine, job)
        self._output = np.zeros((count, n_queries, d), dtype=np.uint64)
        self._table = np.zeros((count, self._capacity, 6), dtype=np.uint64)
        self.structs = (_Outcome * count)(*(
            _Outcome(self._output[i].ctypes.data, self._table[i].ctypes.data, self._capacity, 0, 0, 0, 0)
            for i in range(count)))  # fmt: skip

    @staticmethod
    def capacity(machine: LanesMachine, job: Job) -> int:
        """Comparisons that are kept, as in the stepped engine."""
        n_queries, n_keys, _ = job.shape
        return 4 * (-(-n_queries // machine.lanes) + 1) * (-(-n_keys // machine.key_tile) + 1)

    @classmethod
    def words(cls, machine: LanesMachine, job: Job) -> int:
        """64-bit words of one outcome."""
        return job.shape[0] * job.shape[2] + 6 * cls.capacity(machine, job)

    def result(self, i: int) -> RunResult:
        """Outcome i in the words of the engines."""
        out, formats = self.structs[i], self._machine.formats
        checker = formats["checker"]
        rows = self._table[i, :out.compared]
        residual, limit, pred, act = (checker.decode(rows[:, column]) for column in (1, 2, 3, 4))
        tiny = checker.rounding(self._machine.subnormals).flush_below
        # The comparison reads its sums like any operand.
        pred, act = (np.where(np.abs(x) < tiny, np.copysign(0.0, x), x) for x in (pred, act))
        comparisons = tuple(
            Comparison(int(rows[n, 0]), float(residual[n]), float(limit[n]), float(pred[n]), float(act[n]),
                       bool(rows[n, 5]))
            for n in range(out.compared)
        )  # fmt: skip
        alarm = int(out.alarm_cycle)
        return RunResult(formats["output"].decode(self._output[i]), comparisons, alarm if alarm >= 0 else None,
                         int(out.cycles), out.code != 0)
