"""What a stepped run writes down beside its registers: shared by all check units."""

from __future__ import annotations

from accel_sim.numerics.jit import kernel

# Fields of the environment vector: what the memory system and the run know, outside the fault universe.
CYCLE, TILE, SWAPS, STALL, COMPARED, ALARM_CYCLE, ENV_SIZE = 0, 1, 2, 3, 4, 5, 6

# Columns of `Data.comparisons`; UNIT is the number of the check unit among those of the machine.
AT_CYCLE, RESIDUAL, LIMIT, PREDICTED, ACTUAL, SCANNED, UNIT, COMPARISON_COLUMNS = 0, 1, 2, 3, 4, 5, 6, 7


@kernel
def log_comparison(env, data, unit, residual, limit, pred, act, scanned):
    """Write down a comparison whose residual stands in its register from the next cycle on, as far as there is room."""
    n = env[COMPARED]
    if n < data.comparisons.shape[0]:
        data.comparisons[n, AT_CYCLE] = env[CYCLE] + 1
        data.comparisons[n, RESIDUAL] = residual
        data.comparisons[n, LIMIT] = limit
        data.comparisons[n, PREDICTED] = pred
        data.comparisons[n, ACTUAL] = act
        data.comparisons[n, SCANNED] = 1.0 if scanned else 0.0
        data.comparisons[n, UNIT] = unit
    env[COMPARED] = n + 1
