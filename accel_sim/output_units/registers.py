"""The registers of a check unit on the output buffer, by their names in the inventory."""

from __future__ import annotations

from accel_sim.config import ConfigError, Problem
from accel_sim.machines.counting import counting_registers, frequent_of
from accel_sim.machines.inventory import Register
from accel_sim.machines.lanes import bits_for
from accel_sim.machines.machine import Machine
from accel_sim.numerics.formats import FORMATS, Format, uint_format
from accel_sim.output_units.judge import DRAIN
from accel_sim.output_units.unit import OutputUnit

QUERY, ROW, RESIDUAL, LIMIT, THRESHOLD, ALARM = "query", "row", "residual", "limit", "threshold", "alarm"
"""What every unit has; its registers are called KIND_query, and so on."""

COMMON = (QUERY, ROW, RESIDUAL, LIMIT, THRESHOLD, ALARM)

SMALL, FREQUENT, DEVIATIONS = "small_threshold", "frequent", "deviations"
"""What a unit with a statistical threshold has beside them."""

COUNTING = (SMALL, FREQUENT, DEVIATIONS)


def unit_registers(unit: OutputUnit, machine: Machine) -> tuple[Register, ...]:
    """The register arrays of one unit. Raises ConfigError for a held one with the name of one that every unit has."""
    def register(name: str, shape: tuple[int, ...], kind: str | int, about: str) -> Register:
        full = f"{unit.kind}_{name}"
        if isinstance(kind, int):
            return Register(full, shape, uint_format(kind), "checker", unit.component, about)
        return Register(full, shape, machine.formats[kind], "checker", unit.component, about,
                        stored_format(machine, kind))

    taken = [held.name for held in unit.registers() if held.name in (*COMMON, *COUNTING)]
    if taken:
        raise ConfigError(Problem(f"the check unit {unit.kind} cannot have a register of its own called {taken[0]}: "
                                  f"every unit has one", "checker.units"))
    counted = machine.config.architecture.max_queries + DRAIN + 1
    return (
        register(QUERY, (), bits_for(counted), "row that the next cycle reads; past the last row, cycles since then"),
        register(ROW, (machine.head_dim,), "output", "row read back from the output buffer"),
        register(RESIDUAL, (), "checker", "what must not exceed the limit"),
        register(LIMIT, (), "checker", "what the residual's magnitude may not exceed"),
        register(THRESHOLD, (), "checker", "configuration: the threshold"),
        register(ALARM, (), 1, "sticky alarm"),
        *(register(name, (), kind, about) for name, kind, about in counting_registers(frequent_of(unit.settings))),
        *(register(held.name, held.shape, held.role, held.about) for held in unit.registers()),
    )


def stored_format(machine: Machine, role: str) -> Format:
    """What a register of a role holds in hardware: `faults.register_format`, else its arithmetic's."""
    overrides = machine.config.faults.register_format
    name = getattr(overrides, role, None) if overrides else None
    return FORMATS[name] if name else machine.formats[role]
