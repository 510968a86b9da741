"""When the machine moves: what a protection writes, it writes in the cycles in which its machine does.

While the memory holds the machine no register is written, and no alarm flag either: what stands wrong in a held cycle
is seen in the next one in which the machine moves, and its alarm can be read in the cycle after that.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def next_moves(engine: Any) -> np.ndarray:
    """(cycles,) int64: for each cycle of the fault-free run the first one, itself included, in which the machine moves.

    engine: a stepped or replay engine. One that has no clock counts machine cycles: the machine moves in all of them.
    """
    golden = engine.golden() if callable(engine.golden) else engine.golden
    if hasattr(engine, "machine_cycles"):
        at = engine.machine_cycles
    elif hasattr(engine, "clock"):
        at = engine.clock.machine_cycles(golden.cycles)
    else:
        at = np.arange(golden.cycles)
    last: np.ndarray = np.searchsorted(at, at, side="right") - 1
    return last.astype(np.int64)
