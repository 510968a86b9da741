"""The steps of a plain product on the `gemm` machine, for the memory system: folds, and the tiles that each needs.

Every matrix is cut as the folds cut it, checksums left out: those of A and B stand in SRAM beside the operands, and
never leave it. Where sums move through the array (`ws`, `is`), each fold but the first of a block of columns reads the
partial sums of the fold before and writes them back in place, and only complete ones leave the SRAM; where the unit
corrects, they leave it once the next fold (or the drain) has had its chance to. An encoder reads the operands of one
group of lines after the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from accel_sim.machines.gemm_layout import Product
from accel_sim.machines.program import Step, Tile

if TYPE_CHECKING:
    from accel_sim.machines.gemm import GemmMachine
    from accel_sim.machines.gemm_timing import Phase


class _Grid:
    """The tiles of A (`q`, M × K), Bᵀ (`k`, N × K) and the product (`o`, M × N)."""

    def __init__(self, product: Product) -> None:
        k_step = product.rows if product.streams_p else product.k
        self.turned = product.turned
        self.cuts = {"p": (product.p_size, product.p_group), "q": (product.q_size, product.cols),
                     "k": (product.k, k_step)}

    def count(self, axis: str) -> int:
        """Tiles along p, q or k."""
        size, step = self.cuts[axis]
        return -(-size // step)

    def _extent(self, axis: str, at: int) -> int:
        size, step = self.cuts[axis]
        return min(step, size - at * step)

    def operand(self, axis: str, at: int, k: int) -> Tile:
        """A tile of the operand whose lines are those of p or of q."""
        tensor = "q" if (axis == "p") != self.turned else "k"
        return Tile(tensor, (at, k), self._extent(axis, at), self._extent("k", k), "operand")

    def sums(self, p: int, q: int) -> Tile:
        """A tile of the product."""
        index, rows, cols = (p, q), self._extent("p", p), self._extent("q", q)
        return Tile("o", index[::-1], cols, rows, "output") if self.turned else Tile("o", index, rows, cols, "output")


def plain_steps(machine: GemmMachine, program: tuple[Phase, ...], product: Product) -> tuple[Step, ...]:
    """The steps of a plain product, in order."""
    grid, steps = _Grid(product), []
    for phase in program:
        if phase.name == product.name:
            steps += _folds(machine, phase, product, grid)
        elif phase.name.endswith("_drain"):
            last = _corrected(machine, product, grid, product.folding.folds)
            steps.append(Step("drain", phase.name, phase.cycles, last, last))
        else:
            axis = "q" if phase.name.endswith("_rows") else "p"
            groups = grid.count(axis)
            for group in range(groups):
                reads = tuple(grid.operand(axis, group, k) for k in range(grid.count("k")))
                name = f"{phase.name.replace('_', ' ')} {group}"
                steps.append(Step(name, phase.name, phase.cycles // groups, reads))
    return tuple(steps)


def _place(product: Product, fold: int) -> tuple[int, int, int]:
    """(tile along p, along q, along k) of a fold."""
    q, row = divmod(fold, product.folding.row_folds)
    return (0, q, row) if product.streams_p else (row, q, 0)


def _folds(machine: GemmMachine, phase: Phase, product: Product, grid: _Grid) -> list[Step]:
    steps = []
    for fold in range(phase.parts):
        p, q, k = _place(product, fold)
        sums, before = grid.sums(p, q), _corrected(machine, product, grid, fold)
        reads = (grid.operand("p", p, k), grid.operand("q", q, k), *before)
        if k:
            reads += (sums,)
        steps.append(Step(f"fold {fold}", phase.name, phase.steps, reads, (*before, sums)))
    return steps


def _corrected(machine: GemmMachine, product: Product, grid: _Grid, fold: int) -> tuple[Tile, ...]:
    """The sums that the fold before has completed, if an element of them may be corrected in this one."""
    if machine.gemm is None or not machine.gemm.correct or fold == 0:
        return ()
    p, q, k = _place(product, fold - 1)
    return (grid.sums(p, q),) if k == grid.count("k") - 1 else ()
