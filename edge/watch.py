"""What is watched, and how far the watch has come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from contracts.features import SECOND, FeatureSchema
from contracts.phases import PHASES, SOURCES, Source
from contracts.telemetry.rows import LabelRow
from edge.alarm import Alarm
from edge.detect import Known
from edge.extract import truth_of, window_ends
from edge.ring import Ring

PERF_EVERY_NS = 30 * SECOND


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is watched. Labels and an end are known for recordings only."""

    mode: Literal["live", "replay"]
    host_id: str
    guest_id: str
    episode_id: str
    guest_addresses: frozenset[str]
    sources: tuple[Source, ...]
    started_wall_ns: int
    ended_wall_ns: int | None = None
    profile: str | None = None
    sample_name: str | None = None
    labels: Sequence[LabelRow] = ()


class Watch:
    """The state of one watch."""

    def __init__(self, subject: Subject, schema: FeatureSchema) -> None:
        self.subject, self._schema = subject, schema
        self.ring = Ring(schema, subject.sources, subject.guest_addresses)
        self.windows, self.gaps = 0, dict.fromkeys(SOURCES, 0)
        self.alarm = Alarm()
        self.decisions: list[tuple[int, int]] = []
        self.last_end_ns = subject.started_wall_ns
        self.next_perf_ns = subject.started_wall_ns + PERF_EVERY_NS
        first = window_ends(subject.started_wall_ns, subject.started_wall_ns + 2 * schema.window_ns, schema)
        self._next_end = int(first[0])

    def due(self, now_ns: int) -> int | None:
        """The end of the next window that has settled by now, if there is one."""
        end = self._next_end
        over = self.subject.ended_wall_ns is not None and end > self.subject.ended_wall_ns
        if over or end + self._schema.settle_ns > now_ns:
            return None
        self._next_end += self._schema.stride_ns
        self.last_end_ns = end
        return end

    def known(self, end: int) -> Known | None:
        """Truth about a window, where there is any."""
        if not self.subject.labels or self.subject.ended_wall_ns is None:
            return None
        ends = np.array([end], np.int64)
        truth = truth_of(self.subject.labels, self.subject.ended_wall_ns, ends, self._schema)
        if truth.label[0] < 0:
            return None
        return Known(phase=PHASES[truth.label[0]], purity=float(truth.purity[0]))

    def count(self, observed: dict[Source, float]) -> None:
        """One more window."""
        self.windows += 1
        for source, share in observed.items():
            self.gaps[source] += share < 1
