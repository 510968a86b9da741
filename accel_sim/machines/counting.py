"""What a check unit with a statistical threshold has to count deviations, on whatever machine it is."""

from __future__ import annotations

from typing import Any


def frequent_of(unit: Any) -> int:
    """How many deviations raise the alarm of a check unit (its section; None: no unit); 0 if they are not counted."""
    if unit is None or unit.threshold.kind != "statistical":
        return 0
    return int(unit.threshold.frequent)


def count_bits(frequent: int) -> int:
    """Width of a counter that reaches that number; 0 without one."""
    return frequent.bit_length()


def counting_registers(frequent: int) -> tuple[tuple[str, str | int, str], ...]:
    """(name, format role or width in bits, what it holds) of the registers behind such a unit's own; none for 0."""
    if not frequent:
        return ()
    return (
        ("small_threshold", "checker", "configuration: what a residual's magnitude exceeds to deviate"),
        ("frequent", count_bits(frequent), "configuration: deviations that raise the alarm"),
        ("deviations", count_bits(frequent), "deviations of the head so far; stays at all ones"),
    )
