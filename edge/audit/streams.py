"""What came of each source, by the sequence numbers of its events: gaps, repeats, reorderings, broken schemas.

A gap that an agent itself has told is known; any other is a loss of which nobody knows why.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Literal, NamedTuple

import msgspec

from contracts.errors import RowError
from contracts.events.envelope import ALL_KINDS, Data, Event, decode_event
from contracts.events.payloads import Cause, GapData, Run
from contracts.vocabulary import MARK
from edge.audit.ranges import Ranges

_REMEMBERED = 10_000
"""Ids of one source, to tell an event that was sent again from another under the same number."""
_SHOWN = 50
_STREAMS = 10_000
"""More sources than any site has: whoever invents them fills no memory."""
_KINDS = {kind.type_name: kind for kind in ALL_KINDS}
What = Literal["gap", "late", "anew", "told", "clash", "violation"]


class Finding(NamedTuple):
    """what: gap: places were passed over (they may still come); late: one came after all; anew: the source counts from
    1 again; told: an agent says what will not come; clash: another event under a number that was taken; violation: no
    event as the schema has it, or not on its own topic."""

    what: What
    where: str
    said: str
    run: tuple[int, int] | None = None
    """Of a gap: the places that were passed over, both ends included."""

    def __str__(self) -> str:
        return f"{self.what}: {self.where}: {self.said}"


class StreamReport(msgspec.Struct, kw_only=True):
    """One source. missing: places that nobody has told; told: how many, by cause, and not come since."""

    events: int
    first: int
    last: int
    missing: int
    missing_places: list[Run]
    told: dict[Cause, int]
    repeats: int
    late: int
    anew: int
    clashes: int


class Report(msgspec.Struct, kw_only=True):
    """whole: nothing is missing that was not told, and nothing breaks the schema."""

    whole: bool
    events: int
    retained: int
    missing: int
    told: int
    repeats: int
    late: int
    clashes: int
    violations: int
    examples: list[str]
    streams: dict[str, StreamReport]


class Stream:
    """One source."""

    def __init__(self, source: str, first: int) -> None:
        self.source, self.first, self.last = source, first, first - 1
        self.events = self.repeats = self.late = self.anew = self.clashes = 0
        self.missing, self.told = Ranges(), dict[Cause, Ranges]()
        self._latest = ""
        self._lost = 0
        """Missing and not told, of the counts before this one."""
        self._ids: OrderedDict[int, str] = OrderedDict()

    def hear(self, number: int, event_id: str, at: str) -> Finding | None:
        """An event came. at: its time; only what is later than all before it can be the first of another count."""
        later, self._latest = at > self._latest, max(self._latest, at)
        self.events += 1
        if number > self.last:
            passed_over = (self.last + 1, number - 1)
            self._take(number, event_id)
            if passed_over[0] > passed_over[1]:
                return None
            self.missing.add(*passed_over)
            return Finding("gap", self.source, f"{_run(*passed_over)} passed over", passed_over)
        if number in self.missing:
            self.missing.discard(number, number)
            self._take(number, event_id)
            self.late += 1
            return Finding("late", self.source, f"{number} came after {self.last}", (number, number))
        known = self._ids.get(number)
        if known == event_id or (known is None and not (number == 1 and later)):
            self.repeats += 1
            return None
        if number == 1 and later:
            self._lost += len(self.unknown)
            self.missing, self.told, self._ids = Ranges(), {}, OrderedDict()
            self.first = self.last = 1
            self._ids[1] = event_id
            self.anew += 1
            return Finding("anew", self.source, "counts from 1 again: its outbox is another")
        self.clashes += 1
        return Finding("clash", self.source, f"{number} is {event_id} now, and was {known}")

    def _take(self, number: int, event_id: str) -> None:
        self.last = max(self.last, number)
        self._ids[number] = event_id
        if len(self._ids) > _REMEMBERED:
            self._ids.popitem(last=False)

    def excuse(self, cause: Cause, runs: list[Run]) -> None:
        """An agent has told a gap."""
        for run in runs:
            self.told.setdefault(cause, Ranges()).add(run.first, run.last)

    @property
    def unknown(self) -> Ranges:
        """Missing, and nobody has told."""
        left = self.missing
        for ranges in self.told.values():
            left = left.without(ranges)
        return left

    def report(self) -> StreamReport:
        """As it stands."""
        unknown = self.unknown
        known = {cause: len(self.missing) - len(self.missing.without(ranges)) for cause, ranges in self.told.items()}
        return StreamReport(
            events=self.events,
            first=self.first,
            last=self.last,
            missing=len(unknown) + self._lost,
            missing_places=[Run(first=first, last=last) for first, last in unknown][:_SHOWN],
            told={cause: count for cause, count in known.items() if count},
            repeats=self.repeats,
            late=self.late,
            anew=self.anew,
            clashes=self.clashes,
        )


class Auditor:
    """All sources."""

    def __init__(self) -> None:
        self._streams: dict[str, Stream] = {}
        self._violations = self._retained = 0
        self._examples: list[str] = []

    def hear(self, topic: str, payload: bytes, *, retained: bool) -> Iterator[Finding]:
        """A message came; what is to be said of it."""
        # availability, session; a retained topic that is cleared; a label for a recording
        if topic.count("/") != 3 or not payload or topic.endswith(f"/{MARK}"):
            return
        try:
            event = decode_event(payload, topic)
            _check(event, topic)
        except RowError as error:
            yield self._violation(topic, str(error).removeprefix(f"{topic}: "))
            return
        if retained:  # it is what was last said, and no part of what is said
            self._retained += 1
            return
        if event.source not in self._streams and len(self._streams) >= _STREAMS:
            yield self._violation(topic, f"one source more than {_STREAMS}")
            return
        number = int(event.sequence)
        stream = self._streams.setdefault(event.source, Stream(event.source, number))
        if (found := stream.hear(number, event.id, event.time)) is not None:
            yield found
        if isinstance(event.data, GapData):
            yield from self._excuse(event.data)

    def _excuse(self, gap: GapData) -> Iterator[Finding]:
        if (stream := self._streams.get(gap.stream)) is not None:
            stream.excuse(gap.cause, gap.ranges)
        runs = ", ".join(_run(run.first, run.last) for run in gap.ranges[:5])
        yield Finding("told", gap.stream, f"{gap.cause}: {runs or 'nobody knows how many'}")

    def _violation(self, topic: str, why: str) -> Finding:
        self._violations += 1
        if len(self._examples) < _SHOWN:
            self._examples.append(f"{topic}: {why}")
        return Finding("violation", topic, why)

    def report(self) -> Report:
        """As it stands."""
        streams = {source: stream.report() for source, stream in sorted(self._streams.items())}
        missing = sum(one.missing for one in streams.values())
        clashes = sum(one.clashes for one in streams.values())
        return Report(
            whole=not (missing or clashes or self._violations),
            events=sum(one.events for one in streams.values()),
            retained=self._retained,
            missing=missing,
            told=sum(sum(one.told.values()) for one in streams.values()),
            repeats=sum(one.repeats for one in streams.values()),
            late=sum(one.late for one in streams.values()),
            clashes=clashes,
            violations=self._violations,
            examples=self._examples,
            streams=streams,
        )


def _check(event: Event[Data], topic: str) -> None:
    """Whether an event is on its own topic, and has its place. Raises `RowError`."""
    kind = _KINDS[event.type]
    path, _, last = topic.rpartition("/")
    if last != kind.name or event.source != f"/{path}{kind.stream}":
        raise RowError(topic, f"{event.type} of {event.source}", expected="it on its own topic", remedy="see who sends")
    if not int(event.sequence):
        raise RowError(topic, "no place", expected="a sequence from 1 on", remedy="see who sends")


def _run(first: int, last: int) -> str:
    return f"{first}" if first == last else f"{first} to {last}"
