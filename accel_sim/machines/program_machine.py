"""What machines have in common whose work on a head is a program of steps: `fused` and `gemm`."""

from __future__ import annotations

from abc import abstractmethod

from accel_sim.machines.machine import Machine
from accel_sim.machines.program import OFF_CHIP, ProgramTiming


class ProgramMachine(Machine):
    """A machine that the memory can hold between the steps of its program, and nowhere else.

    useful: as `utilisation` counts.
    """

    useful = "2·Nq·N·d / (PEs · machine cycles)"

    @property
    @abstractmethod
    def pes(self) -> int:
        """Processing elements that multiply and accumulate for the head itself: checksum columns do not count."""

    @abstractmethod
    def timing(self, n_queries: int, n_keys: int) -> ProgramTiming:
        """The program of one head."""

    def stall_points(self, n_queries: int, n_keys: int) -> dict[str, int]:
        """`step`: before each step of the program."""
        return {"step": len(self.timing(n_queries, n_keys).steps)}

    def utilisation(self, timing: ProgramTiming, cycles: int) -> float:
        """2 · Nq · N · d / (PEs · cycles)."""
        return 2 * timing.n_queries * timing.n_keys * self.head_dim / (self.pes * cycles)

    def streamed_bytes(self, timing: ProgramTiming) -> dict[str, int]:
        """Every tile of a tensor whose home is off the chip once."""
        tiles = {tile.name: tile for step in timing.steps for tile in (*step.reads, *step.writes)
                 if tile.tensor in OFF_CHIP}
        moved: dict[str, int] = {}
        for tile in tiles.values():
            moved[tile.tensor] = moved.get(tile.tensor, 0) + tile.n_bytes(self.stored_formats)
        return moved
