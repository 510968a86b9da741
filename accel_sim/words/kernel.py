"""What reads of struck words deliver, many at once: the kernels of `accel_sim.words.told`."""

from __future__ import annotations

from typing import Any

import numpy as np

from accel_sim.engines.replay.sram import strike_pattern
from accel_sim.engines.replay.types import CHANGED
from accel_sim.engines.sram import element_mask
from accel_sim.faults.outcome import compare_values
from accel_sim.numerics.ecc import decode_word, encode_word, stored_pattern
from accel_sim.numerics.jit import kernel
from accel_sim.numerics.rounding import flip_bits


@kernel
def deliver_all(values: Any, rows: Any, cols: Any, faults: Any, width: int, hamming: int, protection: int, arith: Any,
                stored: Any, out: Any) -> None:
    """Strike words and read them. rows, cols (n, e): where in `values` each element of the words is, −1 for one that
    does not exist (zero stands there); a word whose first column is below −1 is skipped. faults: `told.WordFaults`;
    out: `told.Delivered`."""
    count = rows.shape[1]
    n = count * width
    for i in range(rows.shape[0]):
        if cols[i, 0] < -1:
            continue
        written = np.uint64(0)
        for j in range(count):
            if rows[i, j] >= 0:
                bits = np.uint64(stored_pattern(values[rows[i, j], cols[i, j]], arith, stored))
                written |= bits << np.uint64(j * width)
        data = strike_pattern(written, faults.data_mask[i], faults.op[i])
        clean = encode_word(written, hamming, protection)
        check = strike_pattern(clean, faults.check_mask[i], faults.op[i])
        out.wrong[i] = data != written or check != clean
        delivered, alarm = decode_word(data, check, n, hamming, protection)
        delivered ^= written
        out.alarm[i] = alarm
        for j in range(count):
            mask = element_mask(delivered, j, width)
            out.mask[i, j] = mask
            if mask != np.uint64(0) and rows[i, j] >= 0:
                out.value[i, j] = flip_bits(values[rows[i, j], cols[i, j]], arith, stored, mask)
        if faults.bit[i] < n:
            j = faults.bit[i] // width
            old = values[rows[i, j], cols[i, j]] if rows[i, j] >= 0 else 0.0
            out.old_value[i] = old
            out.new_value[i] = flip_bits(old, arith, stored, element_mask(data ^ written, j, width))


@kernel
def deliver_words(order: Any, row: Any, col: Any, value: Any, wrong: Any, golden: Any, codec: Any, out: Any) -> None:
    """Outcomes `order` of outputs that leave with wrong elements: row, col, value, wrong (n, e), in order of rows and,
    within one, of columns."""
    for j in range(order.shape[0]):
        i = order[j]
        before = -1
        for e in range(row.shape[1]):
            if not wrong[j, e]:
                continue
            differs, delta, ulp, lost = compare_values(golden[row[j, e], col[j, e]], value[j, e], codec)
            out.square[i] += delta * delta
            out.max_abs[i] = max(out.max_abs[i], abs(delta))
            out.max_ulp[i] = max(out.max_ulp[i], ulp)
            out.nonfinite[i] += lost
            if differs and row[j, e] != before:
                out.rows[i] += 1
                before = row[j, e]
        out.differs[i] = out.rows[i] > 0
        if out.differs[i]:
            out.status[i] = CHANGED
