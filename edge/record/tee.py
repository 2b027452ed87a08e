"""A whole watch on disk: parts of an hour, each an episode, which replay together as the watch that they were."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from contracts.errors import PhasewatchError
from contracts.features.schema import SECOND
from contracts.telemetry.manifest import Manifest
from contracts.telemetry.parts import KEY, WatchPart
from edge.record.bounded import Bounded
from edge.record.frames import Batch
from edge.record.part import Part
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
DOUBTFUL_NS = 3600 * SECOND
"""A clock that is set by so much was wrong, or is."""
MOST_EXPANDED = 128 << 20
"""Bytes of rows of one source in a part, however short it is: a reader has to hold them."""
AGAIN_NS = 30 * SECOND
"""After a disk that would not, the next part is tried so much later."""


class Tee:
    """One watch. Its methods are called in the recorder's thread, in order."""

    def __init__(
        self, bounded: Bounded, subject: Subject, facts: dict[str, object], recorder: str, part_ns: int
    ) -> None:
        self._bounded, self._subject, self._facts, self._recorder = bounded, subject, facts, recorder
        self._part_ns = part_ns
        self._part: Part | None = None
        self._next = WatchPart(
            id=subject.episode_id,
            part=0,
            started_wall_ns=subject.started_wall_ns,
            continues=True,
            evidence=subject.evidence,
        )
        self._since_ns = subject.started_wall_ns
        self._not_before = 0
        self._problem = ""

    def take(self, batch: Batch) -> None:
        """A few seconds more."""
        if self._part is None and batch.until_ns < self._not_before:
            return
        self._try(lambda: self._take(batch), batch.until_ns)

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """A part ends at one moment, and the next begins at another."""
        if abs(after_ns - before_ns) > DOUBTFUL_NS:
            self._bounded.doubt_clock()
        self._try(lambda: self._finish(before_ns), after_ns)
        self._since_ns, self._not_before = after_ns, min(self._not_before, after_ns)
        self._next = msgspec.structs.replace(self._next, moved_ns=self._next.moved_ns + after_ns - before_ns)

    def cut(self, at_ns: int) -> None:
        """Something was lost: what comes now does not continue what was."""
        self._try(lambda: self._finish(at_ns), at_ns)
        self._next = msgspec.structs.replace(self._next, continues=False)

    def end(self, at_ns: int) -> None:
        """The watch is over."""
        self._try(lambda: self._finish(at_ns), at_ns)

    def _take(self, batch: Batch) -> None:
        over = self._part is not None and self._part.expanded > MOST_EXPANDED
        if self._part is not None and (over or batch.since_ns - self._since_ns >= self._part_ns):
            self._finish(batch.since_ns)
            self._since_ns = batch.since_ns
        if self._part is None:
            if not self._next.continues:
                self._since_ns = batch.since_ns
            self._part = self._open()
        self._bounded.make_room(batch.until_ns, self._part.size)
        self._part.append(batch)
        if self._problem:
            _log.info("%s: recording goes on", self._part.folder)
            self._problem = ""

    def _open(self) -> Part:
        subject, about = self._subject, self._next
        name = f"{about.id}-p{about.part:04d}"
        draft = manifest_of(subject, name, self._since_ns, self._recorder, {**self._facts, KEY: about})
        part = Part(self._bounded.store / subject.host_id / name, draft, subject.sources)
        self._this = about
        self._next = msgspec.structs.replace(about, part=about.part + 1, continues=True, moved_ns=0)
        return part

    def _finish(self, at_ns: int) -> None:
        part, self._part = self._part, None
        if part is None:
            return
        if not self._bounded.finish(part, at_ns):  # it had no length, and its number is free again
            self._next = self._this

    def _try(self, work: Callable[[], None], at_ns: int) -> None:
        """A disk that will not ends no watch: the part is left as it is, and another begun later."""
        try:
            work()
        except (OSError, PhasewatchError) as error:
            if self._part is not None:
                self._bounded.mend_later(self._part)
                self._part = None
            self._not_before = at_ns + AGAIN_NS
            self._next = msgspec.structs.replace(self._next, continues=False)
            if str(error) != self._problem:
                _log.warning("recording of %s stops for now: %s", self._subject.guest_id, error)
            self._problem = str(error)


def manifest_of(subject: Subject, name: str, started_ns: int, recorder: str, host: dict[str, object]) -> Manifest:
    """Of a recording that has begun, but for its end and files."""
    return Manifest(
        format=1,
        episode_id=name,
        host_id=subject.host_id,
        guest_id=subject.guest_id,
        guest_addresses=sorted(subject.guest_addresses),
        profile="unlabelled",
        sample_name=subject.guest_id,
        started_wall_ns=started_ns,
        ended_wall_ns=started_ns + 1,
        recorder=recorder,
        host={key: msgspec.to_builtins(value) for key, value in host.items()},
        files={},
    )
