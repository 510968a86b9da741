"""Area and energy of a machine: inventory and activity, times a technology table.

- `area(machine, technology)`: an `AreaReport`.
- `energy(machine, technology, timing)`: an `EnergyReport` of one head.

Operators and registers are priced in the formats in which they would be built: where a campaign computes in
wider formats than its registers hold (`faults.register_format`), the registers' formats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from accel_sim.cost.prices import Parts, parts_of, sram_parts
from accel_sim.cost.report import AreaReport, EnergyReport, Item
from accel_sim.cost.table import Technology
from accel_sim.kinds import srams_of
from accel_sim.machines.machine import Machine


def area(machine: Machine, technology: Technology, timing: Any = None) -> AreaReport:
    """The area of a machine and its SRAM.

    timing: of the heads that SRAM is made for where the config gives it no size (None: the longest that the machine
    can run). Raises ConfigError if the table has no price for something that the machine has.
    """
    limits = machine.config.architecture
    timing = machine.timing(limits.max_queries, limits.max_keys) if timing is None else timing
    return AreaReport(technology, tuple(_area_items(machine, technology, timing)))


def energy(machine: Machine, technology: Technology, timing: Any, *, cycles: int | None = None,
           bytes_moved: Mapping[str, int] | None = None) -> EnergyReport:
    """The energy of one fault-free head of that timing, memory included.

    cycles: clock cycles from the first to the last, with stalls (`SystemRun.total_cycles`); leakage goes on
    in all of them, and nothing else does in a stall. None: `timing.head_cycles`. bytes_moved: bytes over the
    off-chip channel by tensor (`SystemRun.bytes_moved`, in the machine's arithmetic formats); they are also
    written to the Q, K and V SRAM and read from O's. None: `Machine.streamed_bytes`.
    Raises ConfigError if the table has no price for something that the machine has.
    """
    cycles = timing.head_cycles if cycles is None else cycles
    if bytes_moved is None:
        moved = {tensor: float(count) for tensor, count in machine.streamed_bytes(timing).items()}
    else:
        moved = _as_stored(machine, timing, bytes_moved)
    clock_mhz = machine.config.architecture.clock_mhz
    seconds = cycles / (clock_mhz * 1e6)
    items = [
        *_core_energy(machine, technology, timing),
        *_memory_energy(machine, technology, timing, moved),
        *_leakage(machine, technology, timing, seconds),
    ]
    return EnergyReport(technology, tuple(items), cycles, clock_mhz)


def _area_items(machine: Machine, technology: Technology, timing: Any) -> Iterator[Item]:
    for operator in machine.activity(machine.timing(1, 1)).operators:
        parts = _of(parts_of(technology, operator, operator.instances), "area_um2")
        yield Item(operator.component, "operators", operator.name, operator.instances, parts)
    for register in machine.inventory:
        parts = (("flip_flop.area_um2", float(register.bits)),)
        yield Item(register.component, "registers", register.name, register.bits, parts)
    for sram in srams_of(machine, timing):
        parts = _of(_times(sram_parts(technology, sram.bank_bytes), sram.bits), "area_um2_per_bit")
        yield Item("sram", "sram", sram.tensor, sram.bits, parts)


def _core_energy(machine: Machine, technology: Technology, timing: Any) -> Iterator[Item]:
    counted = machine.activity(timing)
    for operator in counted.operators:
        parts = _of(parts_of(technology, operator, operator.uses), "energy_pj")
        yield Item(operator.component, "operators", operator.name, operator.uses, parts)
    for register in machine.inventory:
        bits = counted.register_writes[register.name] * register.width_bits
        parts = (("flip_flop.energy_pj", float(bits)),)
        yield Item(register.component, "registers", register.name, bits, parts)


def _memory_energy(machine: Machine, technology: Technology, timing: Any,
                   moved: Mapping[str, float]) -> Iterator[Item]:
    counted = machine.activity(timing)
    for sram in srams_of(machine, timing):
        tensor = sram.tensor
        inside = counted.sram_elements[tensor] * counted.sram_formats[tensor].width_bits / 8
        # What crosses no pin is written once for each time that it is read.
        outside = moved.get(tensor, inside / 2)
        inside -= 0.0 if tensor in moved else outside
        ports = {"read": inside, "write": outside} if tensor != "o" else {"read": outside, "write": inside}
        for port, count in ports.items():
            parts = _times(sram_parts(technology, sram.bank_bytes), count * sram.overhead)
            yield Item("sram", "sram", f"{tensor} {port}", count, _of(parts, f"{port}_pj_per_byte"))
    for tensor, count in moved.items():
        yield Item("off_chip", "off_chip", tensor, count, (("off_chip.energy_pj_per_bit", 8 * count),))


def _leakage(machine: Machine, technology: Technology, timing: Any, seconds: float) -> Iterator[Item]:
    """Leakage over the head: nanowatts times seconds are thousands of picojoules. The area that leaks is the
    table's value, whatever sample of the table the energy is taken at."""
    report = area(machine, technology, timing)
    for component, estimate in report.by_component.items():
        if component == "sram":
            bits = sum(item.count for item in report.items if item.component == "sram")
            parts = (("leakage.sram_nw_per_bit", bits * seconds * 1e3),)
        else:
            parts = (("leakage.logic_nw_per_um2", estimate.value * seconds * 1e3),)
        yield Item(component, "leakage", f"{component} leakage", seconds, parts)


def _as_stored(machine: Machine, timing: Any, bytes_moved: Mapping[str, int]) -> dict[str, float]:
    """Bytes that the system model counted in the machine's formats, in those of the hardware."""
    stored, roles = machine.stored_formats, {sram.tensor: sram.role for sram in srams_of(machine, timing)}
    return {
        tensor: count * stored[roles[tensor]].width_bits / machine.formats[roles[tensor]].width_bits
        for tensor, count in bytes_moved.items()
    }


def _times(parts: Parts, count: float) -> Parts:
    return tuple((row, n * count) for row, n in parts)


def _of(parts: Parts, quantity: str) -> Parts:
    return tuple((f"{row}.{quantity}", n) for row, n in parts)
