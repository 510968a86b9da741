"""The `memory` section: off-chip memory, on-chip banks and their protection."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, TypeAlias

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


Kib: TypeAlias = Annotated[float, Field(gt=0, le=2**30)]


class SramKib(Section):
    """Capacity of each tensor's SRAM, in KiB of data, for machines whose work is a program of steps.

    What is null is as large as the numbers of buffers say (k and v: with `kv_resident`, all of a head's), or, for
    what stays on chip, as large as never to spill.
    """

    q: Kib | None = Field(default=None, description="Capacity for queries; null follows `memory.q_buffers`.")
    k: Kib | None = Field(default=None, description="Capacity for keys; null follows `memory.kv_buffers`.")
    v: Kib | None = Field(default=None, description="Capacity for values; null follows `memory.kv_buffers`.")
    o: Kib | None = Field(default=None, description="Capacity for outputs; null follows `memory.o_buffers`.")
    s: Kib | None = Field(
        default=None, description="Capacity for scores; with less than null, they spill off the chip."
    )
    p: Kib | None = Field(
        default=None, description="Capacity for probabilities; with less than null, they spill off the chip."
    )
    u: Kib | None = Field(
        default=None, description="Capacity for outputs before their division, likewise, where a machine keeps them."
    )


class Memory(Section):
    """Where Q, K, V and O stay while the machine works."""

    added: ClassVar[frozenset[str]] = frozenset({"sram_kib", "sram_banks", "ports"})

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
    sram_kib: SramKib = Field(
        default=SramKib(),
        description="Capacities of the SRAM around an array machine; the banks of `lanes` hold whole tiles.",
    )
    sram_banks: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Banks of each SRAM of an array machine; its tiles are dealt out over them in turn.",
    )
    ports: Literal[1, 2] = Field(
        default=2,
        description="Ports of an array machine's SRAM bank: with 1, nothing is loaded or stored in a bank while the "
        "array uses it.",
    )
