"""The last minute of rows, preallocated: what a live window is extracted from."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from contracts.features.schema import SECOND, FeatureSchema
from contracts.telemetry.rows import Row
from contracts.vocabulary import Source
from edge.extract.columns import Columns, encoder, fields_of
from edge.extract.trust import LOOK_BACK_NS

SPAN_NS = 60 * SECOND
_SLACK = 256
"""Rows that are free before a move is worth it."""
CAPACITY: dict[Source, int] = {"proc": 1024, "qmp": 512, "guest": 1024, "netflow": 16384}


class Ring:
    """Rows of some sources, as columns. When a source overflows, its oldest rows go.

    `dropped` counts the rows that went while a window might still have wanted them; `dropped_ns` is the arrival of the
    youngest of them (Unix ns; None if none ever was), so that a window can tell whether it is one of those.
    """

    def __init__(self, schema: FeatureSchema, sources: Iterable[Source], guest_addresses: frozenset[str]) -> None:
        self.dropped = 0
        self.dropped_ns: int | None = None
        self._wanted_ns = reach_ns(schema) + schema.settle_ns
        self._lines = {source: _Line(schema, source, guest_addresses) for source in sources}

    def append(self, source: Source, row: Row) -> None:
        """Add a row that has just arrived. A row of a source that is not watched is ignored."""
        line = self._lines.get(source)
        if line is None:
            return
        lost_ns = line.append(row)
        if lost_ns is not None and lost_ns >= line.newest_ns - self._wanted_ns:
            self.dropped += 1
            self.dropped_ns = lost_ns if self.dropped_ns is None else max(self.dropped_ns, lost_ns)

    def clear(self) -> None:
        """Forget all rows: the wall clock was set far back, and they belong to another time."""
        self.dropped_ns = None
        for line in self._lines.values():
            line.clear()

    def columns(self) -> dict[Source, Columns]:
        """Views of what is held, per source: valid until the next `append`."""
        return {source: line.columns() for source, line in self._lines.items()}


def reach_ns(schema: FeatureSchema) -> int:
    """How long before its end a window may still look: flows look back one window from its start, doubts further."""
    return max(2 * schema.window_ns, LOOK_BACK_NS)


class _Line:
    """One source: an array twice the capacity, filled from the left, and moved back when half of what was used is free:
    only as much of it becomes memory as is needed."""

    def __init__(self, schema: FeatureSchema, source: Source, guest_addresses: frozenset[str]) -> None:
        self._fields = fields_of(schema.channels, source)
        self._encode = encoder(schema.channels, source, guest_addresses)
        self._capacity = CAPACITY[source]
        self._table = np.empty((4 + len(self._fields), 2 * self._capacity), np.int64)
        self._first = self._end = 0

    @property
    def newest_ns(self) -> int:
        """Arrival of the last row."""
        return int(self._table[2, self._end - 1])

    def append(self, row: Row) -> int | None:
        """Returns the arrival of the row that had to go for want of room, if one had to."""
        if self._end == self._table.shape[1] or self._first >= max(_SLACK, self._end - self._first):
            held = self._table[:, self._first : self._end].copy()
            self._first, self._end = 0, held.shape[1]
            self._table[:, : self._end] = held
        self._table[:, self._end] = self._encode(row)
        self._end += 1
        arrival = self._table[2]
        oldest = arrival[self._end - 1] - SPAN_NS
        # one row older than the span stays: after a jump of the clock it is what the jump shows by
        while self._end - self._first > 2 and arrival[self._first + 1] < oldest:
            self._first += 1
        if self._end - self._first <= self._capacity:
            return None
        self._first += 1
        return int(arrival[self._first - 1])

    def clear(self) -> None:
        self._first = self._end = 0

    def columns(self) -> Columns:
        table = self._table[:, self._first : self._end]
        return Columns(table[0], table[1], table[2], table[3], self._fields, table[4:])
