"""One head on the gemm machine between two phases: what stands in its memories, and what has been compared so far.

`Head` begins empty; each phase reads what earlier ones left and adds its own. `fresh` lists what each phase writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from accel_sim.arrays.operands import native_type
from accel_sim.arrays.registers import widen
from accel_sim.engines.job import Job
from accel_sim.gemm.edge_step import EdgeSizes, edge_sizes
from accel_sim.gemm.invariants_step import watched_bits
from accel_sim.gemm.tuples import UNITS, Log, Memory, Rules, Sizes, make_log, rules_of
from accel_sim.machines.counting import count_bits
from accel_sim.machines.gemm import GemmMachine
from accel_sim.machines.gemm_layout import Product
from accel_sim.machines.gemm_timing import GemmTiming, Phase
from accel_sim.machines.score_bound import score_bound
from accel_sim.numerics.rounding import quiet
from accel_sim.words.gemm import GemmWords

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Setting:
    """What is fixed for one machine and one job."""

    machine: GemmMachine
    job: Job
    timing: GemmTiming
    rules: Rules
    sizes: Sizes

    def limit(self, unit: str) -> float:
        """The threshold of a unit: NaN where the job has none."""
        limits = getattr(self.job, "limits", None) or {}
        return float(limits.get(unit, float("nan")))

    @cached_property
    def edges(self) -> dict[str, EdgeSizes]:
        """What the edge knows of each product."""
        return {name: edge_sizes(self.machine, product) for name, product in self.timing.products.items()}

    @cached_property
    def limits(self) -> Floats:
        """(units,): the threshold of each of `UNITS`."""
        return np.array([self.limit(unit) for unit in UNITS])

    @cached_property
    def policies(self) -> Floats:
        """(units, 3): of the statistical threshold of each of `UNITS`: small limit as it is read, deviations that raise
        the alarm, and the largest count of them that fits its register; (NaN, 0, 0) of any other."""
        found = np.full((len(UNITS), 3), np.nan)
        for line, unit in zip(found, UNITS, strict=True):
            most = self.machine.frequent(unit)
            line[1:] = 0.0
            if most:
                small, frequent = self.job.policy(unit)
                line[:] = quiet(small, self.rules.checker), frequent, 2 ** count_bits(most) - 1
        return found

    @cached_property
    def ranks(self) -> NDArray[np.int64]:
        """(units,): in which order comparisons of the same cycle are noted, those of a unit together."""
        order = [unit.kind for unit in self.machine.units]
        return np.array([order.index(unit) if unit in order else len(order) for unit in UNITS], np.int64)

    @cached_property
    def words(self) -> GemmWords:
        """What stands in the SRAM when."""
        return GemmWords(self.machine, self.timing)

    @cached_property
    def score_bound(self) -> float:
        """What `softmax_bound` is loaded with."""
        return score_bound(self.job.q, self.job.k, self.machine.formats["checker"])

    @property
    def comparisons(self) -> int:
        """Comparisons of a fault-free head."""
        total, machine, products = 0, self.machine, self.timing.products
        for check in machine.array_checks:
            for product in (products[name] for name in check.products):
                total += product.p_size * product.q_groups if check.rows else 0
                total += product.q_size * product.p_groups if check.columns else 0
        total += self.sizes.n_queries if machine.softmax else 0
        return total + (0 if machine.fused is None else self.sizes.blocks if machine.fused.per_block else 1)


def setting(machine: GemmMachine, job: Job) -> Setting:
    """The setting of a job on a machine. ValueError if it does not fit."""
    n_queries, n_keys, d = job.q.shape[0], job.k.shape[0], job.q.shape[1]
    if d != machine.head_dim:
        raise ValueError(f"the job's head_dim is {d}, the machine's {machine.head_dim}")
    if not machine.window and np.any(job.first > 0):
        raise ValueError("the job has a sliding window, the machine has none (architecture.sliding_window)")
    timing = machine.timing(n_queries, n_keys)
    fused = machine.fused
    sizes = Sizes(machine.lanes, n_queries, n_keys, d, machine.fused_words, fused is not None and fused.per_block,
                  fused is not None and fused.relative, -(-n_queries // machine.lanes),
                  watched_bits(machine.softmax.which) if machine.softmax else 0)
    return Setting(machine, job, timing, rules_of(machine), sizes)


class Head:
    """The memories and the log of one head. sums: checksum words by encoder phase, (K, groups, words). outs: the output
    memory of each product, (P', Q'), native type."""

    def __init__(self, given: Setting) -> None:
        self.given = given
        job, sizes = given.job, given.sizes
        n_queries, n_keys, d = sizes.n_queries, sizes.n_keys, sizes.head_dim
        weights, dims = (0, 0) if given.machine.plain else (n_keys, d)
        self.memory = Memory(
            s=np.zeros((n_queries, n_keys)), p=np.zeros((n_queries, weights)), l=np.zeros(n_queries),
            u=np.zeros((n_queries, dims + sizes.words)), o=np.zeros((n_queries, dims)),
            bound=np.clip(np.asarray(job.bound, np.int64) + 1, 0, n_keys),
            first=np.clip(np.asarray(job.first, np.int64), 0, n_keys),
        )
        kind = native_type(given.machine.array)
        self.outs = {name: np.zeros((product.p_total, product.q_total), kind)
                     for name, product in given.timing.products.items()}
        self.sums = {phase.name: self._room(phase) for phase in given.timing.program
                     if phase.name.startswith("encode_")}
        self.log: Log = make_log(4 * given.comparisons + 64)

    def _room(self, phase: Phase) -> Floats:
        machine = self.given.machine
        if phase.name == "encode_v":
            return np.zeros((self.given.sizes.n_keys, 1, machine.fused_words))
        _, which, side = phase.name.split("_")
        product, words = self.given.timing.products[which], machine.encoder_check(phase.name).words
        return np.zeros((product.k, product.q_groups if side == "rows" else product.p_groups, words))

    def copy_until(self, phase: int, other: Head) -> None:
        """Take what phases before number `phase` have written in another head's run."""
        for done in self.given.timing.program[:phase]:
            if done.name in self.sums:
                self.sums[done.name][:] = other.sums[done.name]
            elif done.name in self.outs:
                self.outs[done.name][:] = other.outs[done.name]
            elif done.name == "softmax":
                self.memory.p[:], self.memory.l[:] = other.memory.p, other.memory.l

    # -- operands

    def values(self) -> Floats:
        """V (N, d + f): with the words of its row sums, where the machine has the fused check."""
        if "encode_v" not in self.sums:
            return self.given.job.v
        return np.concatenate([self.given.job.v, self.sums["encode_v"][:, 0, :]], axis=1)

    def data(self, product: Product) -> tuple[Floats, Floats]:
        """(K, P) and (K, Q): the operands of a product, without its checksums."""
        job = self.given.job
        left, right = (job.q.T, job.k.T) if product.name == "qk" else (self.memory.p.T, self.values())
        return (right, left) if product.turned else (left, right)

    def source(self, phase: str) -> tuple[Floats, int]:
        """(what an encoder sums (K, L), elements of a group)."""
        if phase == "encode_v":
            return np.ascontiguousarray(self.given.job.v), self.given.sizes.head_dim
        _, which, side = phase.split("_")
        product = self.given.timing.products[which]
        p, q = self.data(product)
        return (np.ascontiguousarray(q), product.cols) if side == "rows" else (np.ascontiguousarray(p), product.p_group)

    def operands(self, name: str) -> tuple[Floats, Floats]:
        """A (M' × K) and B (K × N') of a product as it stands on the array, checksums included."""
        product = self.given.timing.products[name]
        p, q = self.data(product)
        wide_p, wide_q = np.zeros((product.k, product.p_total)), np.zeros((product.k, product.q_total))
        wide_p[:, product.p_places], wide_q[:, product.q_places] = p, q
        for side, wide, at in (("rows", wide_q, product.q_check), ("columns", wide_p, product.p_check)):
            sums = self.sums.get(f"encode_{name}_{side}")
            if sums is None:
                continue
            for group in range(sums.shape[1]):
                for word in range(sums.shape[2]):
                    wide[:, at(group, word)] = sums[:, group, word]
        return (wide_q.T, wide_p) if product.turned else (wide_p.T, wide_q)

    def output(self) -> Floats:
        """What the head delivers, a copy: finished outputs (Nq, d), or a plain product (Nq, N) as it stands in the
        array's output memory."""
        if self.given.machine.plain:
            self.fetch("qk")
        found: Floats = self.memory.s if self.given.machine.plain else self.memory.o
        return found.copy()

    def fetch(self, name: str) -> None:
        """Bring the results of a product to where the vector unit reads them: s after `qk`, u after `pv`."""
        target = self.memory.s if name == "qk" else self.memory.u
        target[:] = self._result(name)

    def _result(self, name: str) -> Floats:
        """The sums of a product as they stand in the output memory, without checksums."""
        product = self.given.timing.products[name]
        data = wide(self.outs[name][np.ix_(product.p_places, product.q_places)])
        return data.T if product.turned else data

    def tensor(self, name: str) -> Floats:
        """A tensor as it stands in SRAM."""
        job, memory = self.given.job, self.memory
        if name in "su" or (name == "o" and self.given.machine.plain):
            return self._result("pv" if name == "u" else "qk")
        found: dict[str, Floats] = {"q": job.q, "k": job.k, "v": job.v, "p": memory.p, "o": memory.o}
        return found[name]


def wide(values: NDArray[Any]) -> Floats:
    """Values of the array's native type as float64, bit for bit."""
    return widen(values) if values.dtype == np.float32 else values.astype(np.float64)


def unit_name(index: Any) -> str:
    """Kind of the unit in column 5 of the log."""
    return UNITS[int(index)]
