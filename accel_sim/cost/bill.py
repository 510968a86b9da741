"""Area and energy of a machine: inventory and activity, times a technology table.

- `area(machine, technology)`: an `AreaReport`.
- `energy(machine, technology, timing)`: an `EnergyReport` of one head.
- `streamed_bytes(machine, timing)`: off-chip traffic when the system model has not counted it.

Operators and registers are priced in the formats in which they would be built: where a campaign computes in
wider formats than its registers hold (`faults.register_format`), the registers' formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from accel_sim.cost.prices import Parts, parts_of, sram_parts
from accel_sim.cost.report import AreaReport, EnergyReport, Item
from accel_sim.cost.table import Technology
from accel_sim.machines.lanes import LanesMachine, Timing
from accel_sim.machines.lanes_operators import stored_formats
from accel_sim.machines.memories import memories
from accel_sim.machines.operators import activity
from accel_sim.system.work import Work, work_of


@dataclass(frozen=True)
class Sram:
    """The SRAM of one tensor: its bits over all banks and the bytes of one bank, check bits included, and the stored
    bits for each bit of data."""

    tensor: str
    bits: float
    bank_bytes: float
    overhead: float


def stored_work(machine: LanesMachine, n_queries: int, n_keys: int) -> Work:
    """What a head moves, in the formats in which the hardware would store it."""
    formats, d = stored_formats(machine), machine.head_dim
    return replace(
        work_of(machine, n_queries, n_keys),
        operand_row_bytes=d * formats["operand"].width_bits // 8,
        output_row_bytes=d * formats["output"].width_bits // 8,
    )


def srams(machine: LanesMachine) -> tuple[Sram, ...]:
    """The SRAM around a machine. With `memory.kv_resident`, K and V for the longest head that it can run."""
    return tuple(
        Sram(m.tensor, m.bits, m.bank_bytes, m.width_bits / m.word_bits) for m in memories(machine)
    )


def streamed_bytes(machine: LanesMachine, timing: Timing) -> dict[str, int]:
    """Off-chip bytes of one head by tensor: Q and O once, K and V once for each query block (once a head with
    `memory.kv_resident`). Whole elements; a system model also knows whole bursts."""
    work = stored_work(machine, timing.n_queries, timing.n_keys)
    passes = 1 if machine.config.memory.kv_resident else timing.blocks
    kv = passes * timing.n_keys * work.operand_row_bytes
    return {
        "q": timing.n_queries * work.operand_row_bytes, "k": kv, "v": kv,
        "o": timing.n_queries * work.output_row_bytes,
    }


def area(machine: LanesMachine, technology: Technology) -> AreaReport:
    """The area of a machine and its SRAM.

    Raises ConfigError if the table has no price for something that the machine has.
    """
    return AreaReport(technology, tuple(_area_items(machine, technology)))


def energy(machine: LanesMachine, technology: Technology, timing: Timing, *, cycles: int | None = None,
           bytes_moved: Mapping[str, int] | None = None) -> EnergyReport:
    """The energy of one fault-free head of that timing, memory included.

    cycles: clock cycles from the first to the last, with stalls (`SystemRun.total_cycles`); leakage goes on
    in all of them, and nothing else does in a stall. None: `timing.head_cycles`. bytes_moved: bytes over the
    off-chip channel by tensor (`SystemRun.bytes_moved`, in the machine's arithmetic formats); they are also
    written to the Q, K and V SRAM and read from O's. None: `streamed_bytes`.
    Raises ConfigError if the table has no price for something that the machine has.
    """
    cycles = timing.head_cycles if cycles is None else cycles
    if bytes_moved is None:
        moved = {tensor: float(count) for tensor, count in streamed_bytes(machine, timing).items()}
    else:
        moved = _as_stored(machine, bytes_moved)
    clock_mhz = machine.config.architecture.clock_mhz
    seconds = cycles / (clock_mhz * 1e6)
    items = [
        *_core_energy(machine, technology, timing),
        *_memory_energy(machine, technology, timing, moved),
        *_leakage(machine, technology, seconds),
    ]
    return EnergyReport(technology, tuple(items), cycles, clock_mhz)


def _area_items(machine: LanesMachine, technology: Technology) -> Iterator[Item]:
    for operator in activity(machine, machine.timing(1, 1)).operators:
        parts = _of(parts_of(technology, operator, operator.instances), "area_um2")
        yield Item(operator.component, "operators", operator.name, operator.instances, parts)
    for register in machine.inventory:
        parts = (("flip_flop.area_um2", float(register.bits)),)
        yield Item(register.component, "registers", register.name, register.bits, parts)
    for sram in srams(machine):
        parts = _of(_times(sram_parts(technology, sram.bank_bytes), sram.bits), "area_um2_per_bit")
        yield Item("sram", "sram", sram.tensor, sram.bits, parts)


def _core_energy(machine: LanesMachine, technology: Technology, timing: Timing) -> Iterator[Item]:
    counted = activity(machine, timing)
    for operator in counted.operators:
        parts = _of(parts_of(technology, operator, operator.uses), "energy_pj")
        yield Item(operator.component, "operators", operator.name, operator.uses, parts)
    for register in machine.inventory:
        bits = counted.register_writes[register.name] * register.width_bits
        parts = (("flip_flop.energy_pj", float(bits)),)
        yield Item(register.component, "registers", register.name, bits, parts)


def _memory_energy(machine: LanesMachine, technology: Technology, timing: Timing,
                   moved: Mapping[str, float]) -> Iterator[Item]:
    counted = activity(machine, timing)
    for sram in srams(machine):
        tensor = sram.tensor
        inside = counted.sram_elements[tensor] * counted.sram_formats[tensor].width_bits / 8
        outside = moved[tensor]
        ports = {"read": inside, "write": outside} if tensor != "o" else {"read": outside, "write": inside}
        for port, count in ports.items():
            parts = _times(sram_parts(technology, sram.bank_bytes), count * sram.overhead)
            yield Item("sram", "sram", f"{tensor} {port}", count, _of(parts, f"{port}_pj_per_byte"))
    for tensor, count in moved.items():
        yield Item("off_chip", "off_chip", tensor, count, (("off_chip.energy_pj_per_bit", 8 * count),))


def _leakage(machine: LanesMachine, technology: Technology, seconds: float) -> Iterator[Item]:
    """Leakage over the head: nanowatts times seconds are thousands of picojoules. The area that leaks is the
    table's value, whatever sample of the table the energy is taken at."""
    report = area(machine, technology)
    for component, estimate in report.by_component.items():
        if component == "sram":
            bits = sum(item.count for item in report.items if item.component == "sram")
            parts = (("leakage.sram_nw_per_bit", bits * seconds * 1e3),)
        else:
            parts = (("leakage.logic_nw_per_um2", estimate.value * seconds * 1e3),)
        yield Item(component, "leakage", f"{component} leakage", seconds, parts)


def _as_stored(machine: LanesMachine, bytes_moved: Mapping[str, int]) -> dict[str, float]:
    """Bytes that the system model counted in the machine's formats, in those of the hardware."""
    stored = stored_formats(machine)
    roles = {"q": "operand", "k": "operand", "v": "operand", "o": "output"}
    return {
        tensor: bytes_moved[tensor] * stored[role].width_bits / machine.formats[role].width_bits
        for tensor, role in roles.items()
    }


def _times(parts: Parts, count: float) -> Parts:
    return tuple((row, n * count) for row, n in parts)


def _of(parts: Parts, quantity: str) -> Parts:
    return tuple((f"{row}.{quantity}", n) for row, n in parts)
