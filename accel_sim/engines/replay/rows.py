"""The output rows that faults change, for whoever reads them again: kernels keep them in a sink, `ChangedRows` hands
them over when it is full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from accel_sim.engines.replay.types import RowSink, row_sink
from accel_sim.numerics.jit import inner

SINK_ELEMENTS = 1 << 20
"""Room for changed rows, in elements."""


class ChangedRows:
    """A sink with room for all `most` rows that one fault can change, and for up to some megabytes of more; and who is
    handed what is in it. changed None: nobody, and there is no room. width: elements of a row."""

    def __init__(self, changed: Callable[[RowSink], None] | None, most: int, width: int) -> None:
        self.sink = row_sink(0 if changed is None else max(most, SINK_ELEMENTS // width), width)
        self._changed = changed

    def hand_over(self) -> None:
        """Hand over what is in the sink, and empty it."""
        if self._changed is not None and self.sink.filled[0] > 0:
            self._changed(self.sink)
        self.sink.filled[0] = 0


@inner
def is_full(most: Any, sink: Any) -> Any:
    """Whether a sink that rows are kept in might not have room for `most` more."""
    return sink.row.shape[0] > 0 and sink.filled[0] + most > sink.row.shape[0]


@inner
def keep_row(fault: Any, query: Any, row: Any, sink: Any) -> None:
    """Put a row that a fault has changed into the sink, which has room for it if it has any."""
    if sink.row.shape[0] == 0:
        return
    at = sink.filled[0]
    sink.fault[at], sink.query[at] = fault, query
    for t in range(sink.row.shape[1]):
        sink.row[at, t] = row[t]
    sink.filled[0] = at + 1


@inner
def keep_element(fault: Any, query: Any, row: Any, t: Any, value: Any, sink: Any) -> None:
    """The same of a row that is `row` but for its element t."""
    if sink.row.shape[0] > 0:
        keep_row(fault, query, row, sink)
        sink.row[sink.filled[0] - 1, t] = value
