"""The record of one injected fault, column by column.

This table is the schema of the Parquet files, of the docs and of every summary. A column's role says what it
may be used for: a `cause` is known when the fault is drawn, an `observable` is what the hardware would see,
an `outcome` needs the fault-free run to compare with (an oracle). Rules that predict an outcome may use
causes and observables only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from accel_sim.faults.fault import KINDS
from accel_sim.faults.outcome import OUTCOMES

ALARMS = ("none", "checker", "memory")
"""Who raised the alarm."""


@dataclass(frozen=True)
class Column:
    """One column: dtype as NumPy sees it; `labels` names the values of a coded column."""

    name: str
    dtype: str
    role: str
    unit: str
    about: str
    labels: tuple[str, ...] | None = None


COLUMNS = (
    Column("fault", "int64", "cause", "", "number of the fault in the campaign: it depends on (seed, fault) only"),
    Column("point", "int64", "cause", "", "index of the fault in the universe"),
    Column("layer", "int32", "cause", "", "layer of the head that was struck"),
    Column("head", "int32", "cause", "", "head that was struck"),
    Column("cycle", "int64", "cause", "cycles", "clock cycle at whose start the fault acts, from the head's start"),
    Column("register", "int16", "cause", "", "register array or memory, by hardware name", ()),
    Column("component", "int16", "cause", "", "component that the register belongs to", ()),
    Column("element", "int32", "cause", "", "element of the flattened register array; of a memory, the word"),
    Column("bit", "int16", "cause", "", "stored bit, 0 is least significant; a memory's check bits follow its data"),
    Column("kind", "int8", "cause", "", "kind of fault", KINDS),
    Column("weight", "float64", "cause", "",
           "points that the record stands for, over those of a uniformly drawn one; 1 unless strata are oversampled"),
    Column("old_value", "float64", "cause", "",
           "value in the register before the fault, in a memory of the element that the bit belongs to; NaN where it was "
           "dead, and for check bits"),
    Column("new_value", "float64", "cause", "", "value after it; NaN likewise"),
    Column("alarm", "bool", "observable", "", "an alarm was raised, by the checker or by a memory's decoder"),
    Column("alarm_by", "int8", "observable", "", "which alarm could be read first (the checker's if both)", ALARMS),
    Column("alarm_cycle", "int64", "observable", "cycles", "first cycle in which it can be read; −1 for none"),
    Column("latency_cycles", "int64", "observable", "cycles", "alarm_cycle − cycle; −1 for no alarm"),
    Column("residual", "float64", "observable", "output units",
           "pred − act of the comparison that raised the alarm first, or else of the one with the largest |residual|"),
    Column("limit", "float64", "observable", "output units", "what that comparison allowed"),
    Column("hang", "bool", "observable", "", "the machine did not finish in time and was stopped"),
    Column("outcome", "int8", "outcome", "", "detected, silent, false_alarm or masked", OUTCOMES),
    Column("out_rel_l2", "float64", "outcome", "", "‖O' − O‖₂ / ‖O‖₂ over the head; inf if an element became non-finite"),
    Column("out_max_abs", "float64", "outcome", "output units", "largest |O' − O|; inf likewise"),
    Column("out_max_ulp", "int64", "outcome", "ULP", "largest distance in values of the output format"),
    Column("out_nonfinite", "int32", "outcome", "", "elements that became NaN or infinite"),
    Column("out_rows", "int32", "outcome", "", "output rows that differ in any bit"),
)
"""Every column of the records, in order."""

Batch = dict[str, np.ndarray]
"""Records as columns: one array per `COLUMNS` entry, all of one length."""


def empty_batch(count: int) -> Batch:
    """Columns of the right types for `count` records, zeroed."""
    return {c.name: np.zeros(count, dtype=c.dtype) for c in COLUMNS}
