"""What is watched, and how far the watch has come."""

from __future__ import annotations

import dataclasses

import numpy as np

from contracts.events.payloads import ClockSet
from contracts.features.schema import SECOND, FeatureSchema
from contracts.vocabulary import PHASES, SOURCES, Source
from edge.alarm import Alarm
from edge.extract import truth_of
from edge.model.known import Known
from edge.watch.evidence import Evidence
from edge.watch.ring import Ring
from edge.watch.subject import Subject

PERF_EVERY_NS = 30 * SECOND
_REMEMBERED = 12
"""Spans of time in which the clock was set; they are looked at for one window each."""


class Watch:
    """The state of one watch. All times are in Unix ns."""

    def __init__(self, subject: Subject, schema: FeatureSchema, alarm: Alarm) -> None:
        self.subject, self._schema, self.alarm = subject, schema, alarm
        self.ring = Ring(schema, subject.sources, subject.guest_addresses)
        self.windows, self.gaps = 0, dict.fromkeys(SOURCES, 0)
        self.evidence = Evidence(subject.guest_id, kept=subject.evidence)
        self.decisions: list[tuple[int, int | None]] = []
        self.last_end_ns = subject.started_wall_ns
        self._next_perf_ns = subject.started_wall_ns + PERF_EVERY_NS
        self._next_end = self._ceiling(subject.started_wall_ns + schema.window_ns)
        self._holes: list[tuple[int, int]] = []
        self._doubtful: list[tuple[int, int]] = []
        self._set = ClockSet(moved_ns=0, skipped=0)

    def due(self, now_ns: int) -> int | None:
        """The end of the next window that has settled by now, if there is one."""
        self._pass_holes()
        end = self._next_end
        over = self.subject.ended_wall_ns is not None and end > self.subject.ended_wall_ns
        if over or end + self._schema.settle_ns > now_ns:
            return None
        self._next_end += self._schema.stride_ns
        self.last_end_ns = end
        return end

    def perf_due(self, at_ns: int) -> bool:
        """Whether it is time to say what the agent costs: every 30 s, however the clock jumps."""
        if at_ns < self._next_perf_ns:
            return False
        self._next_perf_ns = at_ns + PERF_EVERY_NS - (at_ns - self._next_perf_ns) % PERF_EVERY_NS
        return True

    def ends_at(self, wall_ns: int) -> None:
        """A live watch ends: windows beyond this moment are not looked at."""
        self.subject = dataclasses.replace(self.subject, ended_wall_ns=wall_ns)

    def far_back(self, after_ns: int) -> bool:
        """Whether a clock that was set back to `after_ns` would leave the watch without a window for long."""
        return self._next_end > after_ns + self._schema.window_ns

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """The wall clock was set from one time to another. The watch skips to the present: no flood of windows for a
        time that never was, and no silence until a time comes again.

        Forward, the windows that lie wholly in what was skipped are left out. Far back, the watch goes on from there,
        and forgets its rows, which belong to another time.
        """
        skipped, window_ns = 0, self._schema.window_ns
        # ends of windows that span the moment, by either clock
        self._doubtful += [(at + 1, at + window_ns) for at in (before_ns, after_ns)]
        if after_ns > before_ns:
            first = max(self._next_end, self._ceiling(before_ns + window_ns))
            last = after_ns // self._schema.stride_ns * self._schema.stride_ns
            if first <= last:
                self._holes.append((first, last))
                skipped = (last - first) // self._schema.stride_ns + 1
        elif self.far_back(after_ns):
            self.ring.clear()
            self._holes.clear()
            self._next_end = self._ceiling(after_ns + 1)
            self._next_perf_ns = after_ns + PERF_EVERY_NS
        self._set = ClockSet(moved_ns=self._set.moved_ns + after_ns - before_ns, skipped=self._set.skipped + skipped)

    def cut_short(self, before_ns: int) -> None:
        """The clock is about to be set back: windows that have not settled are looked at as they are, and marked."""
        self._doubtful.append((before_ns - self._schema.settle_ns + 1, before_ns + self._schema.stride_ns))

    def spans_step(self, end: int) -> bool:
        """Whether the clock was set inside a window, or before it had settled, as far as its rows do not show it."""
        return any(lower <= end < upper for lower, upper in self._doubtful)

    def take_clock_set(self) -> ClockSet | None:
        """What has happened to the clock since the last window; None for nothing."""
        found, self._set = self._set, ClockSet(moved_ns=0, skipped=0)
        self._doubtful = self._doubtful[-_REMEMBERED:]
        return found if found.moved_ns or found.skipped else None

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

    def _ceiling(self, t_ns: int) -> int:
        """The first multiple of the stride that is not before a time."""
        return -(-t_ns // self._schema.stride_ns) * self._schema.stride_ns

    def _pass_holes(self) -> None:
        while self._holes and self._next_end >= self._holes[0][0]:
            self._next_end = max(self._next_end, self._holes.pop(0)[1] + self._schema.stride_ns)
