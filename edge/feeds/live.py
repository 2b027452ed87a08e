"""A guest that runs now: its rows reach the agent in the order in which they came, as a replay of them would.

Collectors put rows in from their threads; `turn` takes them out, a grace behind the present, so that a row which a
busy machine hands over late still has its place. One that comes later than that is counted, and neither fed nor
recorded: what the agent saw and what the recording holds are the same rows in the same order.
"""

from __future__ import annotations

import bisect
import dataclasses
import logging
import threading
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from contracts.features.schema import SECOND
from contracts.telemetry.addresses import canonical_addresses
from contracts.telemetry.rows import NetflowRow, Row
from contracts.vocabulary import SOURCES, Source
from edge.collectors.base import Stamp, Taken
from edge.collectors.lines import Rate
from edge.collectors.netflow import concerns
from edge.extract.sampled import CLOCK_TOLERANCE_NS
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
GRACE_NS = SECOND // 2
MOST_WAITING = 4096
"""Rows of one source that wait for a turn; the loop takes some hundred at most."""
FLOWS_PER_S, FLOWS_AT_ONCE = 500, 5000
"""Of one guest, which makes as many as it likes: more than the ring holds, and little enough for a Pi and its disk."""


class Recording(Protocol):
    """Who keeps what the agent is fed. Nothing here waits for a disk."""

    def begin(self, subject: Subject) -> None:
        """A watch begins."""

    def row(self, source: Source, row: Row) -> None:
        """A row that the agent was fed."""

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """The wall clock was set."""

    def alarm(self, name: str, end_ns: int) -> None:
        """An alarm has risen; its recording has a name."""

    def turn(self, wall_ns: int, mono_ns: int) -> None:
        """Time has passed."""

    def end(self, wall_ns: int) -> None:
        """The watch ends."""


class Watcher(Protocol):
    """Who looks at the rows: an agent."""

    @property
    def windows(self) -> int:
        """Looked at so far."""

    @property
    def evidence(self) -> tuple[str, int] | None:
        """The name of an alarm's recording and the end of its window, once."""

    def begin(self, subject: Subject) -> None:
        """A watch begins."""

    def feed(self, source: Source, row: Row) -> None:
        """A row has come."""

    def advance(self, now_ns: int) -> None:
        """Time has come so far."""

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """The wall clock was set."""

    def finish(self, wall_ns: int) -> None:
        """No row comes any more."""

    def end(self) -> None:
        """The watch is over."""


class _Waiting(NamedTuple):
    """What has come and was not fed yet; without a row, time itself."""

    at: Stamp
    source: Source | None
    row: Row | None


class Live:
    """One guest's watch, from its first row to its end."""

    def __init__(self, agent: Watcher, subject: Subject, recording: Recording | None) -> None:
        self.subject, self._agent, self._recording = subject, agent, recording
        self._addresses = canonical_addresses(subject.guest_addresses)
        self._lock = threading.Lock()
        self._waiting: list[_Waiting] = []
        self._flows = Rate(FLOWS_PER_S, FLOWS_AT_ONCE)
        self._held = dict.fromkeys(SOURCES, 0)
        self.late = dict.fromkeys(SOURCES, 0)
        """Rows that came too late for their place, or were too many."""
        self._last: Stamp | None = None

    def put(self, source: Source, taken: Sequence[Taken]) -> None:
        """From any thread. What is too much is counted, and costs no other source anything."""
        mine = [one for one in taken if not isinstance(one.row, NetflowRow) or concerns(one.row, self._addresses)]
        fit = [one for one in mine if source != "netflow" or self._flows.spend(one.at.mono_ns / SECOND)]
        with self._lock:
            fit = fit[: max(0, MOST_WAITING + FLOWS_AT_ONCE - self._held[source])]
            self._held[source] += len(fit)
            self._waiting += [_Waiting(one.at, source, one.row) for one in fit]
            self.late[source] += len(mine) - len(fit)

    def begin(self, at: Stamp) -> None:
        """The watch begins."""
        self._last = at
        self._agent.begin(self.subject)
        if self._recording is not None:
            self._recording.begin(self.subject)

    def turn(self, at: Stamp) -> None:
        """It is now `at`: feed what came up to a grace ago, and look at the windows that have settled by then."""
        self._turn(at, at.mono_ns - GRACE_NS)

    def _turn(self, at: Stamp, upto_ns: int) -> None:
        with self._lock:
            self._waiting.append(_Waiting(at, None, None))  # time goes on where no row comes
            self._waiting.sort(key=lambda one: one.at.mono_ns)  # stable: rows of one moment keep their order
            count = bisect.bisect_right(self._waiting, upto_ns, key=lambda one: one.at.mono_ns)
            ready, self._waiting = self._waiting[:count], self._waiting[count:]
            for one in ready:
                if one.source is not None:
                    self._held[one.source] -= 1
        for stamp, source, row in ready:
            if not self._arrives(stamp):
                if source is not None:
                    self.late[source] += 1
                continue
            self._advance(stamp.wall_ns - 1)  # a row that arrives in the very moment of settling still counts
            if source is not None and row is not None:
                self._agent.feed(source, row)
                if self._recording is not None:
                    self._recording.row(source, row)
        if self._recording is not None and self._last is not None:
            self._recording.turn(*self._last)

    def _advance(self, wall_ns: int) -> None:
        """Look at the windows that have settled; an alarm that rises with one is told at once."""
        self._agent.advance(wall_ns)
        self._tell_alarm()

    @property
    def windows(self) -> int:
        """Looked at so far."""
        return self._agent.windows

    def _tell_alarm(self) -> None:
        if self._recording is not None and (named := self._agent.evidence) is not None:
            self._recording.alarm(*named)

    def end(self, at: Stamp) -> None:
        """The watch ends, in order."""
        self._turn(at, at.mono_ns)
        last = self._last or at
        self.subject = dataclasses.replace(self.subject, ended_wall_ns=last.wall_ns)
        self._agent.finish(last.wall_ns)
        self._tell_alarm()
        self._agent.end()
        if self._recording is not None:
            self._recording.end(last.wall_ns)

    def _arrives(self, at: Stamp) -> bool:
        """Time comes to a moment; the clock may have been set before it. False for a moment that is over already."""
        last = self._last
        assert last is not None, "begin() comes first"
        if at.mono_ns < last.mono_ns:
            return False
        moved = (at.wall_ns - at.mono_ns) - (last.wall_ns - last.mono_ns)
        if abs(moved) > CLOCK_TOLERANCE_NS:
            before = at.wall_ns - moved
            _log.warning("%s: the clock was set by %+.3f s", self.subject.guest_id, moved / SECOND)
            self._advance(before - 1)  # so far it went
            self._agent.clock_set(before, at.wall_ns)
            self._advance(at.wall_ns - 1)  # what an alarm of these windows is about was seen before the clock was set
            if self._recording is not None:
                self._recording.clock_set(before, at.wall_ns)
        elif at.wall_ns < last.wall_ns:  # slewed back by a little: time has not come that far yet
            return False
        self._last = at
        return True
