"""A labelled episode while it is recorded: rows in files that grow, labels in a journal beside them.

It becomes whole when it ends in order. Cut off, it stays a folder with `recording.json` and no `episode.json`, which
`trainer validate` calls by its fault.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from contracts.errors import LabelError, StorageError
from contracts.features.schema import SECOND
from contracts.telemetry.rows import LabelRow, Row
from contracts.vocabulary import Phase, Source
from edge.record.bounded import recorder
from edge.record.frames import batch_of
from edge.record.part import JOURNAL, Part
from edge.record.tee import MOST_EXPANDED, manifest_of
from edge.watch.subject import Subject

_log = logging.getLogger("edge")
FLUSH_NS = 5 * SECOND
"""A power cut costs so much."""
SLACK_NS = 5 * SECOND
"""A mark may name a time that is so little ahead of ours: two clocks of one machine are read one after the other."""
_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, kw_only=True)
class About:
    """What a manifest says of an episode, besides what was watched."""

    profile: str
    sample_name: str
    host: Mapping[str, object] = field(default_factory=dict)
    sample: Mapping[str, object] = field(default_factory=dict)


class Labelled:
    """A recording (as `feeds.live` sees one) of one guest. Where the clock is set, or the rows become too many for one
    episode, it ends, and another begins in the same phase.

    Every method raises `StorageError` when the disk will not.
    """

    def __init__(self, store: Path, about: About, phase: Phase, facts: Callable[[], Mapping[str, object]]) -> None:
        """facts: what is known of the host at an episode's end."""
        self._store, self._about, self._phase, self._facts = store, about, phase, facts
        self._part: Part | None = None
        self._labels: list[LabelRow] = []
        self._rows: dict[Source, list[Row]] = {}
        self._due_ns: int | None = None
        self.finished: list[Path] = []
        """Episodes that are whole."""

    @property
    def folder(self) -> Path:
        """Of the episode that is being recorded."""
        assert self._part is not None, "begin() comes first"
        return self._part.folder

    def begin(self, subject: Subject) -> None:
        """Recording begins."""
        self._subject = subject
        self._open(subject.episode_id, subject.started_wall_ns)

    def row(self, source: Source, row: Row) -> None:
        """A row, in the order in which it came."""
        if source in self._rows:
            self._rows[source].append(row)

    def turn(self, wall_ns: int, mono_ns: int) -> None:
        """Time has passed: every few seconds what there is goes to the disk."""
        self._now = wall_ns, mono_ns
        if self._due_ns is None:
            self._due_ns = mono_ns + FLUSH_NS
        elif mono_ns >= self._due_ns:
            self._due_ns = mono_ns + FLUSH_NS
            self._flush(wall_ns)
            if self._part is not None and self._part.expanded > MOST_EXPANDED:
                self._again(wall_ns, wall_ns)

    def mark(self, phase: Phase, wall_ns: int, mono_ns: int) -> None:
        """From this moment on (both clocks) it is another phase. Raises `LabelError` where that cannot be."""
        last = self._labels[-1]
        since = self._subject_started
        if wall_ns < since:
            raise _refused(f"{phase} {_s(since - wall_ns)} s before the episode", f"a moment since {since}")
        if wall_ns <= last.t_wall_ns:
            found = f"{phase} {_s(last.t_wall_ns - wall_ns)} s before the mark of {last.phase}"
            raise _refused(found, "marks in order of time")
        if wall_ns > self._now[0] + SLACK_NS:
            raise _refused(f"{phase} {_s(wall_ns - self._now[0])} s from now", "a moment that has come")
        self._label(phase, wall_ns, mono_ns)

    def clock_set(self, before_ns: int, after_ns: int) -> None:
        """An episode never holds a step of the clock."""
        self._flush(before_ns)
        _log.warning("%s: the clock was set; the episode ends here, and another begins", self.folder)
        self._again(before_ns, after_ns)

    def alarm(self, name: str, end_ns: int) -> None:
        """Nobody watches."""

    def end(self, wall_ns: int) -> None:
        """Recording ends, and the episode is whole."""
        self._flush(wall_ns)
        self._finish(wall_ns)

    def abandon(self) -> None:
        """It ends as it is, unfinished."""
        if self._part is not None:
            self._part.abandon()
            self._part = None

    def _open(self, name: str, started_ns: int) -> None:
        about, subject = self._about, self._subject
        draft = msgspec.structs.replace(
            manifest_of(subject, name, started_ns, recorder(), dict(about.host)),
            profile=about.profile,
            sample_name=about.sample_name,
            sample=dict(about.sample),
        )
        self._name, self._subject_started = name, started_ns
        self._rows = {source: [] for source in subject.sources}
        self._since_ns, self._now = started_ns, (started_ns, 0)
        self._due_ns = None
        self._labels = []
        try:
            self._part = Part(self._store / subject.host_id / name, draft, subject.sources)
        except FileExistsError:
            raise StorageError(
                self._store / subject.host_id / name, "is there already", expected="an episode of its own",
                remedy="wait a second, or remove it",
            ) from None  # fmt: skip

    def first(self, wall_ns: int, mono_ns: int) -> None:
        """The first label, at the episode's start. wall_ns, mono_ns: that moment by both clocks."""
        self._label(self._phase, max(wall_ns, self._subject_started), mono_ns)

    def _label(self, phase: Phase, wall_ns: int, mono_ns: int) -> None:
        label = LabelRow(t_wall_ns=wall_ns, t_mono_ns=mono_ns, phase=phase)
        with (self.folder / JOURNAL).open("ab") as file:
            file.write(_encoder.encode(label) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._labels.append(label)
        self._phase = phase

    def _flush(self, until_ns: int) -> None:
        assert self._part is not None, "begin() comes first"
        rows, self._rows = self._rows, {source: [] for source in self._rows}
        self._part.append(batch_of(rows, self._since_ns, until_ns))
        self._since_ns = until_ns

    def _again(self, before_ns: int, after_ns: int) -> None:
        mono_ns = self._now[1]
        self._finish(before_ns)
        stem, _, number = self._name.rpartition("-r")
        stem, count = (stem, int(number)) if stem and number.isdigit() else (self._name, 1)
        self._open(f"{stem}-r{count + 1}", after_ns)
        self.first(after_ns, mono_ns)

    def _finish(self, ended_ns: int) -> None:
        part, self._part = self._part, None
        assert part is not None, "begin() comes first"
        ended_ns = max(ended_ns, self._labels[-1].t_wall_ns + 1)
        part.finish_labelled(ended_ns, self._labels, self._facts())
        self.finished.append(part.folder)


def _refused(found: str, expected: str) -> LabelError:
    return LabelError(
        "mark", found, expected=expected, remedy="see `edge mark --help`, or correct it with `trainer label`"
    )


def _s(ns: int) -> str:
    return f"{ns / SECOND:.3f}"
