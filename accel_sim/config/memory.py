"""The `memory` section: off-chip memory, on-chip banks and their protection."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from accel_sim.config.sections import PowerOfTwo, Section


class OffChip(Section):
    """The off-chip memory, shared by all transfers. The default is one that never makes the machine wait."""

    bandwidth_bytes_per_cycle: Literal["unlimited"] | Annotated[float, Field(gt=0, le=1e9)] = Field(
        default="unlimited",
        description="Bandwidth, in bytes a clock cycle of the accelerator; `unlimited` takes no time.",
    )
    latency_cycles: int = Field(
        default=0, ge=0, le=1_000_000_000, description="Cycles from a burst's request to its first byte."
    )
    burst_bytes: Annotated[int, PowerOfTwo(1, 65_536)] = Field(
        default=64, description="Bytes of a burst; every transfer is rounded up to whole bursts."
    )


class Memory(Section):
    """Where Q, K, V and O stay while the machine works."""

    off_chip: OffChip = Field(default=OffChip(), description="The off-chip memory.")
    q_buffers: int = Field(
        default=2, ge=1, le=8, description="SRAM banks for blocks of queries; 2 is double buffering."
    )
    kv_buffers: int = Field(
        default=2, ge=1, le=8, description="SRAM banks for tiles of keys and values, each."
    )
    o_buffers: int = Field(default=2, ge=1, le=8, description="SRAM banks for blocks of outputs.")
    kv_resident: bool = Field(
        default=False,
        description="Whether all of a head's K and V stay on chip once the first block of queries read them.",
    )
    ecc: Literal["none", "parity", "secded"] = Field(
        default="none",
        description="Protection of SRAM words, as faults with target `sram` meet it: `parity` detects an odd "
        "number of wrong bits, `secded` corrects one and detects two. Registers are never covered.",
    )
