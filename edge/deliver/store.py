"""What is done to the outbox's file, in one step each. Every method raises `sqlite3.Error`."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from contracts.events.envelope import GAP, numbered
from contracts.events.payloads import Cause
from edge.deliver.rows import Bounds, Event, Loss, Rank
from edge.deliver.tables import prepare, transaction

_INSERT = (
    "INSERT OR IGNORE INTO queue"
    " (source, id, topic, qos, retain, payload, since_ns, put_s, rank, schema, bundle, number)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_TO_ASIDE = (
    "INSERT OR REPLACE INTO aside"
    " (seq, source, id, topic, qos, retain, payload, since_ns, schema, bundle, number, why)"
    " SELECT seq, source, id, topic, qos, retain, payload, since_ns, schema, bundle, number, ? FROM queue WHERE seq = ?"
)
_FROM_ASIDE = (
    "INSERT OR IGNORE INTO queue"
    " (source, id, topic, qos, retain, payload, since_ns, schema, bundle, number, put_s, rank)"
    " SELECT source, id, topic, qos, retain, payload, since_ns, schema, bundle, number, ?, ? FROM aside ORDER BY seq"
)
_LEAST = "SELECT seq, source, number, schema, length(payload) FROM queue ORDER BY rank, seq LIMIT 1"
# notices of gaps go first, and nobody is told of them: or each would push out what waits for a person
_OLDEST_ASIDE = "SELECT seq, source, number, schema, topic FROM aside ORDER BY topic NOT LIKE '%/gap', seq LIMIT 1"
_OLDEST = "SELECT seq, source, number, schema, length(payload) FROM queue ORDER BY seq LIMIT 1"
_ROW = 300
"""Bytes that a row takes besides its payload, about."""
_YOUNG_S = 86_400.0
"""Of the outbox's own clock: so long a source that begins may have been in the file before this one."""
ASIDE = 10_000
"""Events that are kept for a person."""
_SPARE_PAGES = 64
"""A quarter of a megabyte."""


class Store:
    """The file, opened."""

    def __init__(self, db: sqlite3.Connection, bounds: Bounds) -> None:
        """Make what is missing."""
        self._db, self._bounds = db, bounds
        prepare(db)
        self.rows: int
        self.bytes: int
        self.dropped: int
        self.rows, self.bytes = db.execute("SELECT count(*), ifnull(sum(length(payload)), 0) FROM queue").fetchone()
        self.bytes += _ROW * self.rows
        (self.dropped,) = db.execute("SELECT count FROM dropped").fetchone()
        self.put_s: float
        (self.put_s,) = db.execute("SELECT ifnull(max(put_s), 0) FROM queue").fetchone()
        self._streams: dict[str, int] = dict(db.execute("SELECT source, last FROM streams"))

    def insert(self, events: Iterable[Event], told: Iterable[tuple[int, int | None]] = ()) -> None:
        """Add those that are not there yet, each with its number. Past the bounds some go, and are kept in mind as
        lost, to be told. told: rows of the losses that these events tell, of which more may have been lost since."""
        with self._step() as step:
            for row, last in told:
                if not self._db.execute("DELETE FROM lost WHERE rowid = ? AND last IS ?", (row, last)).rowcount:
                    self._db.execute("UPDATE lost SET first = ? WHERE rowid = ?", ((last or 0) + 1, row))
            for event in events:
                number = step.last(event.source) + 1
                payload = numbered(event.payload, number)
                if payload is event.payload:
                    number = 0
                added = self._db.execute(_INSERT, (*event._replace(payload=payload), number or None)).rowcount
                if not added:
                    continue
                if number:
                    self._begin(event, step)
                    step.streams[event.source] = number
                step.add(1, len(payload))
                if event.rank == Rank.LATEST:
                    self._db.execute(
                        "UPDATE queue SET rank = ? WHERE rank = ? AND topic = ? AND id <> ?",
                        (Rank.SUPERSEDED, Rank.LATEST, event.topic, event.id),
                    )
                if event.retain:
                    kept = (event.topic, payload, event.bundle)
                    self._db.execute("INSERT OR REPLACE INTO retained VALUES (?, ?, ?)", kept)
                self._trim(step, event.put_s)

    def _begin(self, event: Event, step: _Step) -> None:
        """The first of a source, in a file that stands in for one that could not be read."""
        young = event.put_s < _YOUNG_S  # a guest that is new a year later has lost nothing
        if young and event.source not in step.streams and event.schema and self.fact("damaged") is not None:
            self._lose(event.source, "outbox_damaged", None, event.schema, self.fact("damaged"))

    def _trim(self, step: _Step, now_s: float) -> None:
        bounds = self._bounds
        while step.rows > bounds.events or step.bytes > bounds.bytes:
            self._drop(step, "outbox_full", _LEAST)
        while (oldest := self._db.execute("SELECT put_s FROM queue ORDER BY seq LIMIT 1").fetchone()) is not None:
            if oldest[0] >= now_s - bounds.seconds:
                break
            self._drop(step, "too_old", _OLDEST)

    def _drop(self, step: _Step, cause: Cause, which: str) -> None:
        seq, source, number, schema, size = self._db.execute(which).fetchone()
        self._db.execute("DELETE FROM queue WHERE seq = ?", (seq,))
        step.remove(1, size)
        step.dropped += 1
        self._lose(source, cause, number, schema)

    def _lose(self, source: str, cause: Cause, number: int | None, schema: str | None, why: str | None = None) -> None:
        """Keep it in mind until it is told."""
        if schema is None:  # no event of ours
            return
        run = "UPDATE lost SET last = ? WHERE source = ? AND cause = ? AND last = ? AND why IS ?"
        if number is None or not self._db.execute(run, (number, source, cause, number - 1, why)).rowcount:
            self._db.execute("INSERT INTO lost VALUES (?, ?, ?, ?, ?, ?)", (source, cause, number, number, schema, why))

    def losses(self) -> list[Loss]:
        """What is lost and not told yet, some of it."""
        found: dict[tuple[Any, ...], Loss] = {}
        rows = self._db.execute(
            "SELECT rowid, source, cause, schema, why, first, last FROM lost ORDER BY rowid LIMIT 100"
        )
        for row, source, cause, schema, why, first, last in rows:
            key = (source, cause, schema, why, first is None)
            loss = found.setdefault(key, Loss(source, cause, schema, why, None if first is None else [], []))
            if loss.ranges is not None:
                loss.ranges.append((first, last))
            loss.rows.append((row, last))
        return list(found.values())

    def delete(self, places: Iterable[int]) -> None:
        """Remove the rows of these places; those that are there no more count for nothing."""
        with self._step() as step:
            for run in _runs(sorted(places)):
                size = "SELECT count(*), ifnull(sum(length(payload)), 0) FROM queue WHERE seq BETWEEN ? AND ?"
                step.remove(*self._db.execute(size, run).fetchone())
                self._db.execute("DELETE FROM queue WHERE seq BETWEEN ? AND ?", run)

    def put_aside(self, why: Mapping[int, str]) -> None:
        """Move rows of the queue, by their places, to where they wait for a person; the newest of them, if too many."""
        with self._step() as step:
            for seq, reason in why.items():
                found = self._db.execute(
                    "SELECT source, number, schema, topic, length(payload) FROM queue WHERE seq = ?", (seq,)
                )
                if (row := found.fetchone()) is None:
                    continue
                source, number, schema, topic, size = row
                self._db.execute(_TO_ASIDE, (reason, seq))
                self._db.execute("DELETE FROM queue WHERE seq = ?", (seq,))
                self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))  # or each start would say it again
                step.remove(1, size)
                if not topic.endswith(f"/{GAP.name}"):  # or that would be told, and refused, without end
                    self._lose(source, "refused", number, schema, reason)
            (count,) = self._db.execute("SELECT count(*) FROM aside").fetchone()
            for _ in range(count - ASIDE):
                seq, source, number, schema, topic = self._db.execute(_OLDEST_ASIDE).fetchone()
                self._db.execute("DELETE FROM aside WHERE seq = ?", (seq,))
                if not topic.endswith(f"/{GAP.name}"):
                    self._lose(source, "outbox_full", number, schema)

    def put_back(self) -> int:
        """All that was put aside goes to the end of the queue; how many they were."""
        with self._step() as step:
            back = self._db.execute(_FROM_ASIDE, (self.put_s, Rank.KEPT)).rowcount
            self._db.execute("DELETE FROM aside")
            rows, size = self._db.execute("SELECT count(*), ifnull(sum(length(payload)), 0) FROM queue").fetchone()
            step.rows, step.bytes = rows, size + _ROW * rows
        return back

    def drop_aside(self) -> int:
        """Forget all that was put aside; how many they were."""
        with self._step():
            for source, number, schema in self._db.execute("SELECT source, number, schema FROM aside").fetchall():
                self._lose(source, "dropped_by_hand", number, schema)
            return self._db.execute("DELETE FROM aside").rowcount

    def clear(self, prefix: str, but: str | None, at_ns: int) -> int:
        """Retained topics that begin so, and are not of the bundle `but`, are to be emptied on the broker too; how many
        topics."""
        topics = [
            topic
            for topic, bundle in self._db.execute("SELECT topic, bundle FROM retained ORDER BY topic").fetchall()
            if topic.startswith(prefix) and (but is None or bundle != but)
        ]
        if not topics:
            return 0
        with self._step() as step:
            for topic in topics:
                name = f"clear {topic} {at_ns}"
                nothing = Event("", name, topic, 1, True, b"", at_ns, self.put_s, Rank.KEPT, None, None)
                self._db.execute(_INSERT, (*nothing, None))
                self._db.execute("DELETE FROM retained WHERE topic = ?", (topic,))
            step.add(len(topics), 0)
        return len(topics)

    def shrink(self) -> bool:
        """Give room back to the disk, a little at a time; whether there may be more."""
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        if free <= _SPARE_PAGES:
            return False
        self._db.executescript(f"PRAGMA incremental_vacuum({_SPARE_PAGES})")  # `execute` does one page of them
        return True

    def fact(self, name: str) -> str | None:
        """Something that was noted."""
        found = self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if found is None else str(found[0])

    def note(self, name: str, value: str) -> None:
        """To be remembered for good."""
        self._db.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    @contextlib.contextmanager
    def _step(self) -> Iterator[_Step]:
        """All of it, or nothing; what is counted follows the file."""
        step = _Step(self)
        with transaction(self._db):
            yield step
            if step.dropped > self.dropped:
                self._db.execute("UPDATE dropped SET count = ?", (step.dropped,))
            self._db.executemany(
                "INSERT OR REPLACE INTO streams VALUES (?, ?)", step.streams.items() - self._streams.items()
            )
        self.rows, self.bytes, self.dropped = step.rows, step.bytes, step.dropped
        self._streams = step.streams


class _Step:
    """What is counted, while a step is done."""

    def __init__(self, store: Store) -> None:
        self.rows, self.bytes, self.dropped = store.rows, store.bytes, store.dropped
        self.streams = dict(store._streams)

    def last(self, source: str) -> int:
        return self.streams.get(source, 0)

    def add(self, rows: int, size: int) -> None:
        self.rows, self.bytes = self.rows + rows, self.bytes + size + _ROW * rows

    def remove(self, rows: int, size: int) -> None:
        self.add(-rows, -size)


def _runs(places: list[int]) -> Iterator[tuple[int, int]]:
    """The first and last of each run."""
    for _, run in itertools.groupby(enumerate(places), lambda one: one[1] - one[0]):
        some = [place for _, place in run]
        yield some[0], some[-1]
