"""What protection adds to a machine's work: gates, copies of operators, and writes of spares.

Every guarded element has its own generator and its own checker, in gates of two inputs; docs/machines/protection.md has
the counts, and what synthesis makes of them. Gates switch when an element is written. Where nothing is wrong the wires
that gather the alarms stand still, and cost area only.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from accel_sim.machines.operators import Activity, Operator
from accel_sim.numerics.check_bits import data_position, hamming_bits
from accel_sim.protection.codes import SPARES
from accel_sim.protection.guard import Guard
from accel_sim.protection.parts import check_operators
from accel_sim.protection.protect import Protection

UNITS = {"encode": "xor", "check": "xor", "syndrome": "xor", "correct": "xor", "compare": "xor", "locate": "gate",
         "differ": "gate", "vote": "vote"}
"""Groups of gates, and the unit of `accel_sim.machines.operators.UNITS` that they are made of."""


def gates(kind: str, width: int) -> dict[str, int]:
    """Gates of one guarded element of `width` bits, by group (see `UNITS`)."""
    if kind == "parity":
        return {"encode": width - 1, "check": width}
    if kind == "dmr":
        return {"compare": width, "differ": width - 1}
    if kind == "tmr":
        return {"vote": width}
    hamming = hamming_bits(width)
    ones = [data_position(i).bit_count() for i in range(width)]
    # The bit over the whole word is the parity of the data bits that an even number of Hamming bits cover.
    even = sum(n % 2 == 0 for n in ones)
    return {
        "encode": sum(ones) - hamming + max(0, even - 1),
        "syndrome": sum(ones) + even + hamming,
        "locate": 3 * width,
        "correct": width,
    }


def protected_activity(protection: Protection, bare: Activity) -> Activity:
    """The activity of a machine with its protection: `bare` is that of the machine by itself.

    Raises ConfigError if a unit names an operator that the machine does not have.
    """
    check_operators([guard.unit for guard in protection.guards], [operator.name for operator in bare.operators])
    operators, writes = list(bare.operators), dict(bare.register_writes)
    for guard in protection.guards:
        operators += [*_gates(guard, bare), *_copies(guard, bare)]
        for register, spare in zip(guard.guarded, guard.spares, strict=True):
            writes[spare.name] = SPARES[guard.kind] * bare.register_writes[register.name]
        if guard.flag is not None:
            writes[guard.flag.name] = bare.cycles
    return replace(bare, operators=tuple(operators), register_writes=writes)


def _gates(guard: Guard, bare: Activity) -> list[Operator]:
    instances: Counter[str] = Counter()
    uses: Counter[str] = Counter()
    for register in guard.guarded:
        for group, count in gates(guard.kind, register.width_bits).items():
            instances[group] += count * register.size
            uses[group] += count * bare.register_writes[register.name]
    found = [Operator(f"{guard.kind}_{group}", UNITS[group], "uint1", guard.component, count, uses[group])
             for group, count in instances.items() if count]
    if guard.flag is not None:
        # All elements' mismatches and the flag itself, gathered into the flag.
        gathered = sum(register.size for register in guard.guarded)
        found.append(Operator(f"{guard.kind}_alarm", "gate", "uint1", guard.component, gathered, 0))
    return found


def _copies(guard: Guard, bare: Activity) -> list[Operator]:
    """Operators that are built again, once for each further copy of the registers."""
    copies = SPARES[guard.kind]
    return [
        replace(operator, name=f"{guard.kind}_{operator.name}", component=guard.component,
                instances=copies * operator.instances, uses=copies * operator.uses)
        for operator in bare.operators if operator.name in guard.operators
    ]
