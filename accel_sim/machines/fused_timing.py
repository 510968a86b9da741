"""When the `fused` machine does what: the published instructions, their overlaps, and the closed formulas.

Cycle counts of the instructions and the points from which the next one may issue are those of FSA's ExecutionPlan.scala
and MatrixEngineController.scala (github.com/VCA-EPFL/FSA); the check unit lengthens two of them by its columns.

- `Durations`: cycles of every phase, from the array's size and units.
- `FusedTiming`: one head, instruction by instruction.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from accel_sim.machines.program import ProgramTiming, Step, Tile

LOAD, SCORE, VALUE, WAIT, SCALE, NORM, TAIL, DONE = range(8)
"""Values of the `phase` register: LoadStationary, AttentionScore, AttentionValue, waiting for the accumulators,
LseNormScale, LseNorm, the check unit's last comparison, and done."""

PHASES = ("load_stationary", "attention_score", "attention_value", "wait", "lse_norm_scale", "lse_norm", "check",
          "done")


@dataclass(frozen=True)
class Durations:
    """Cycles of each phase of an N × N array.

    size: N. pieces: of the exponential. reciprocal: cycles of the divider. columns: checksum columns, 0 without a check
    unit. levels: of the check unit's adder tree over N columns.
    """

    size: int
    pieces: int
    reciprocal: int
    columns: int
    levels: int

    @property
    def load(self) -> int:
        """LoadStationary: N."""
        return self.size

    @property
    def score(self) -> int:
        """AttentionScore: 2N + 4 + P."""
        return 2 * self.size + 4 + self.pieces

    @property
    def value(self) -> int:
        """AttentionValue: 2N − 1, and one for every checksum column."""
        return 2 * self.size - 1 + self.columns

    @property
    def tile(self) -> int:
        """One key tile, all three: 5N + 3 + P, and one for every checksum column."""
        return self.load + self.score + self.value

    @property
    def wait(self) -> int:
        """From the end of a query tile's last AttentionValue until its accumulators are idle: N + 2."""
        return self.size + 2

    @property
    def scale(self) -> int:
        """LseNormScale: 2 + R."""
        return 2 + self.reciprocal

    @property
    def hold(self) -> int:
        """LseNorm waits for the accumulators, which LseNormScale has used until its last cycle: 1."""
        return 1

    @property
    def norm(self) -> int:
        """LseNorm: N + 1, and one for every checksum column."""
        return self.size + 1 + self.columns

    @property
    def close(self) -> int:
        """The end of a query tile, from its last AttentionValue to the end of LseNorm."""
        return self.wait + self.scale + self.hold + self.norm

    @property
    def tail(self) -> int:
        """After the last LseNorm: the last row through the check unit's tree, and its comparison."""
        return self.levels + 2 if self.columns else 0

    @property
    def acc_scale(self) -> int:
        """`acc_step` in the first of the two cycles that turn Δm into the correction e^Δm."""
        return 4 * self.size + 2

    @property
    def acc_sum(self) -> int:
        """`acc_step` in the cycle that updates l; the rows of o follow, and then the checksums."""
        return 4 * self.size + 3 + self.pieces

    @property
    def acc_last(self) -> int:
        """`acc_step` in the cycle of the last update of a tile."""
        return self.acc_sum + self.size + self.columns


@dataclass(frozen=True)
class FusedTiming(ProgramTiming):
    """The stall-free run of one head, as a program of instructions."""

    durations: Durations

    @property
    def query_tiles(self) -> int:
        """⌈Nq / N⌉."""
        return -(-self.n_queries // self.durations.size)

    @property
    def key_tiles(self) -> int:
        """⌈N_keys / N⌉."""
        return -(-self.n_keys // self.durations.size)

    @property
    def block(self) -> int:
        """Cycles of a query tile."""
        return self.key_tiles * self.durations.tile + self.durations.close

    @cached_property
    def formula(self) -> int:
        """Cycles of the head, from the sizes alone."""
        return self.query_tiles * self.block + self.durations.tail

    def tile_start(self, query_tile: int, key_tile: int) -> int:
        """First cycle of a key tile's LoadStationary."""
        return query_tile * self.block + key_tile * self.durations.tile

    def norm_start(self, query_tile: int) -> int:
        """First cycle of a query tile's LseNorm; its row t is divided t cycles later."""
        return (query_tile + 1) * self.block - self.durations.norm

    def residual_cycle(self, query_tile: int) -> int:
        """First cycle in which the residual of a comparison that ends with this query tile stands in its register."""
        return (query_tile + 1) * self.block + self.durations.levels + 1

    def read_out_cycle(self, query: int) -> int:
        """First cycle in which the residual of a query's invariants stands in its register: a column is read out in
        each of the first cycles of LseNorm."""
        tile, column = divmod(query, self.durations.size)
        return self.norm_start(tile) + column + 1

    def row_sum_cycle(self, query: int) -> int:
        """First cycle in which the residual of a query's sum of scores stands in its register: a query is read again in
        each of the first cycles of the wait, and goes through a product and a tree."""
        tile, column = divmod(query, self.durations.size)
        waits = (tile + 1) * self.block - self.durations.close
        return waits + column + self.durations.levels + 3

    def alarm_cycle(self, query_tile: int) -> int:
        """First cycle in which the alarm of that comparison is visible."""
        return self.residual_cycle(query_tile) + 1


def fused_timing(durations: Durations, n_queries: int, n_keys: int, again: bool = False) -> FusedTiming:
    """The program of one head of `n_queries` queries and `n_keys` keys (both at least 1). again: whether queries are
    read once more while the accumulators are waited for."""
    size = durations.size
    steps: list[Step] = []
    for block in range(-(-n_queries // size)):
        rows = min(size, n_queries - block * size)
        q = Tile("q", (block,), rows, size, "operand")
        for tile in range(-(-n_keys // size)):
            keys = min(size, n_keys - tile * size)
            k, v = (Tile(name, (tile,), keys, size, "operand") for name in "kv")
            at = f"queries {block}, keys {tile}"
            steps.append(Step(f"load stationary, {at}", PHASES[LOAD], durations.load, (q,)))
            steps.append(Step(f"attention score, {at}", PHASES[SCORE], durations.score, (k,)))
            steps.append(Step(f"attention value, {at}", PHASES[VALUE], durations.value, (v,)))
        at = f"queries {block}"
        steps.append(Step(f"wait for the accumulators, {at}", PHASES[WAIT], durations.wait, (q,) if again else ()))
        steps.append(Step(f"reciprocal, {at}", PHASES[SCALE], durations.scale + durations.hold))
        o = Tile("o", (block,), rows, size, "output")
        steps.append(Step(f"normalise, {at}", PHASES[NORM], durations.norm, (), (o,)))
    if durations.tail:
        steps.append(Step("last comparison", PHASES[TAIL], durations.tail))
    return FusedTiming(n_queries, n_keys, tuple(steps), durations)
