"""Which part of the array every slot of the inventory is, for the replay kernels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from accel_sim.machines.fused import FusedMachine

(OTHER, S, DONE_BIT, RIGHT, UP, DOWN, CTRL, CTRL_DOWN, CTRL_UP, NEW_MAX, OLD_MAX, CMP_OUT, BOUND, CMP_CMD, CMP_ARG,
 FEED, IN_SKEW, ROW_SUM, OUT_SKEW, FACTOR, TOTAL, OUTPUT, CHECKSUM, OUT, BACK, FIRST, OWN_MAX, EXCESS, OWN_SUM,
 KEY_SUM) = range(30)
"""What a register is to the replay engine. OTHER: the sequencer, what steers the left edge, and the bound of the
scores, whose faults are run by the stepped engine. BACK: everything behind the output register, and behind the columns'
part of the units that only look."""

_BEHIND = (
    "out_valid out_dim out_tile out_last out_tree sum_valid sum_check sum_last pred act compare residual limit judge "
    "threshold enable alarm small_threshold frequent deviations softmax_keys softmax_residual softmax_judge "
    "softmax_threshold softmax_enable softmax_alarm softmax_small_threshold softmax_frequent softmax_deviations "
    "rowsum_query rowsum_prod rowsum_tree rowsum_delay rowsum_valid rowsum_residual rowsum_limit rowsum_judge "
    "rowsum_threshold rowsum_enable rowsum_alarm rowsum_small_threshold rowsum_frequent rowsum_deviations"
)

CODES = {
    "s": S, "done": DONE_BIT, "right": RIGHT, "up": UP, "down": DOWN, "ctrl": CTRL, "ctrl_down": CTRL_DOWN,
    "ctrl_up": CTRL_UP, "new_max": NEW_MAX, "old_max": OLD_MAX, "cmp_out": CMP_OUT, "bound": BOUND, "cmp_cmd": CMP_CMD,
    "cmp_arg": CMP_ARG, "feed": FEED, "in_skew": IN_SKEW, "r": ROW_SUM, "out_skew": OUT_SKEW, "scale": FACTOR,
    "l": TOTAL, "o": OUTPUT, "c": CHECKSUM, "out": OUT, "first": FIRST, "softmax_m": OWN_MAX,
    "softmax_excess": EXCESS, "rowsum_sum": OWN_SUM, "rowsum_keys": KEY_SUM, **dict.fromkeys(_BEHIND.split(), BACK),
}  # fmt: skip
"""By register; what is not here is OTHER."""


class Places(NamedTuple):
    """By slot, int64: code; row and col, as far as the register has them (of a delay line: line and stage from 1; of
    accumulators: dimension and column; else the element in col)."""

    code: NDArray[np.int64]
    row: NDArray[np.int64]
    col: NDArray[np.int64]


def triangle(element: int) -> tuple[int, int]:
    """(line, stage from 1) of an element of a triangle of delays, in which line i = 1 … has i stages."""
    line = 1
    while element >= line:
        element -= line
        line += 1
    return line, element + 1


def places(machine: FusedMachine) -> Places:
    """The `Places` of a machine."""
    inventory = machine.inventory
    code, row, col = (np.zeros(inventory.slots, dtype=np.int64) for _ in range(3))
    for register in inventory:
        start, stop = inventory.offsets[register.name], inventory.offsets[register.name] + register.size
        code[start:stop] = CODES.get(register.name, OTHER)
        if register.name in ("in_skew", "out_skew"):
            lines = np.array([triangle(e) for e in range(register.size)])
            row[start:stop], col[start:stop] = lines[:, 0], lines[:, 1]
        elif len(register.shape) == 2:
            row[start:stop], col[start:stop] = (axis.reshape(-1) for axis in np.indices(register.shape))
        else:
            col[start:stop] = np.arange(register.size)
    return Places(code, row, col)
