"""The minutes around an alarm: ten before it, held in memory as frames, and five after it."""

from __future__ import annotations

import logging
from collections import deque

from contracts.errors import PhasewatchError
from edge.record.bounded import Bounded
from edge.record.frames import Batch
from edge.record.part import Part
from edge.record.tee import manifest_of
from edge.watch.evidence import AFTER_NS, BEFORE_NS
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
MOST_HELD, MOST_KEPT = 8 << 20, 32 << 20
"""Bytes in memory, and in one recording: an honest guest's ten minutes take about one megabyte."""
KIND = "evidence"
"""In a manifest's `host`: the watch, and the end of the window with which the alarm rose."""


class EvidenceKeeper:
    """Of one watch. Its methods are called in the recorder's thread, in order."""

    def __init__(self, bounded: Bounded, subject: Subject, facts: dict[str, object], recorder: str) -> None:
        self._bounded, self._subject, self._facts, self._recorder = bounded, subject, facts, recorder
        self._held: deque[Batch] = deque()
        self._size = 0
        self._part: Part | None = None
        self._until_ns = 0

    def take(self, batch: Batch) -> None:
        """A few seconds more."""
        self._held.append(batch)
        self._size += batch.size
        while self._held[0].until_ns < batch.until_ns - BEFORE_NS or (self._size > MOST_HELD and len(self._held) > 1):
            self._size -= self._held.popleft().size
        if self._part is not None:
            try:
                self._part.append(batch)
                if batch.until_ns >= self._until_ns or self._part.size > MOST_KEPT:
                    self._finish(batch.until_ns)
            except (OSError, PhasewatchError) as error:
                self._give_up(error)

    def alarm(self, name: str, end_ns: int) -> None:
        """An alarm has risen with the window that ends at `end_ns` (Unix ns)."""
        try:
            self._finish(end_ns)
            started = max(self._held[0].since_ns if self._held else end_ns, end_ns - BEFORE_NS)
            self._bounded.make_room(end_ns, 0)
            host = {**self._facts, KIND: {"watch": self._subject.episode_id, "window_end_ns": end_ns}}
            draft = manifest_of(self._subject, name, started, self._recorder, host)
            self._part = Part(self._bounded.store / self._subject.host_id / name, draft, self._subject.sources)
            self._until_ns = end_ns + AFTER_NS
            for batch in self._held:
                self._part.append(batch)
            _log.warning("%s: alarm; its rows are kept as %s", self._subject.guest_id, self._part.folder)
        except (OSError, PhasewatchError) as error:
            self._give_up(error)

    def cut(self, at_ns: int) -> None:
        """The clock was set, or rows were lost: what was held is of another time."""
        self._held.clear()
        self._size = 0
        self.end(at_ns)

    def end(self, at_ns: int) -> None:
        """The watch is over."""
        try:
            self._finish(at_ns)
        except (OSError, PhasewatchError) as error:
            self._give_up(error)

    def _finish(self, at_ns: int) -> None:
        part, self._part = self._part, None
        if part is not None:
            self._bounded.finish(part, at_ns)

    def _give_up(self, error: OSError | PhasewatchError) -> None:
        _log.warning("the evidence of %s is not whole: %s", self._subject.guest_id, error)
        if self._part is not None:
            self._bounded.mend_later(self._part)
            self._part = None
