"""Events on their way: a durable queue in one SQLite file. An event leaves it when the broker has acknowledged it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contracts.errors import ConfigError, StorageError
from contracts.telemetry.storage import locked

MAX_EVENTS = 1_000_000
"""About two months of windows of one guest. Past it the oldest go, perf events first, and are counted."""

_TABLES = """
CREATE TABLE IF NOT EXISTS queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL, since_ns INTEGER NOT NULL,
    UNIQUE (source, id));
CREATE INDEX IF NOT EXISTS least ON queue (qos, seq);
CREATE TABLE IF NOT EXISTS dropped (count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
"""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event, ready to send. `seq` is its place in the queue; `since_ns` the Unix time at which it was put there."""

    seq: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    since_ns: int


class Outbox:
    """One process's queue. Safe to use from several threads."""

    def __init__(self, path: Path, max_events: int = MAX_EVENTS) -> None:
        self.path = path
        self._max, self._lock, self._news = max_events, threading.Lock(), threading.Condition()
        with self._storing():
            self._db = sqlite3.connect(path.absolute(), check_same_thread=False, isolation_level=None)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")  # a power cut takes nothing that was said to be stored
            self._db.executescript(_TABLES)
            self._depth = int(self._db.execute("SELECT count(*) FROM queue").fetchone()[0])
            rows, self.dropped = self._db.execute("SELECT count(*), ifnull(sum(count), 0) FROM dropped").fetchone()
            if rows != 1:  # a new file, or an older one with a row per drop
                with self._transaction():
                    self._db.execute("DELETE FROM dropped")
                    self._db.execute("INSERT INTO dropped VALUES (?)", (self.dropped,))

    def put(self, *, source: str, event_id: str, topic: str, qos: int, retain: bool, payload: bytes) -> None:
        """Store an event. One that is waiting already (same source and id) is not stored twice."""
        with self._lock:
            with self._storing(), self._transaction():
                added = self._db.execute(
                    "INSERT OR IGNORE INTO queue (source, id, topic, qos, retain, payload, since_ns)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (source, event_id, topic, qos, retain, payload, time.time_ns()),
                ).rowcount
                if retain:
                    self._db.execute("INSERT OR REPLACE INTO retained VALUES (?, ?)", (topic, payload))
                dropped = max(0, self._depth + added - self._max)
                if dropped:
                    self._db.execute(
                        "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue ORDER BY qos, seq LIMIT ?)", (dropped,)
                    )
                    self._db.execute("UPDATE dropped SET count = count + ?", (dropped,))
            self._depth += added - dropped
            self.dropped += dropped
        with self._news:
            self._news.notify_all()

    def pending(self, limit: int) -> list[Message]:
        """The oldest events."""
        with self._lock, self._storing():
            rows = self._db.execute(
                "SELECT seq, topic, qos, retain, payload, since_ns FROM queue ORDER BY seq LIMIT ?", (limit,)
            ).fetchall()
        return [
            Message(seq=seq, topic=topic, qos=qos, retain=bool(retain), payload=payload, since_ns=since)
            for seq, topic, qos, retain, payload, since in rows
        ]

    def remove(self, messages: Sequence[Message]) -> None:
        """Forget events that the broker has acknowledged."""
        with self._lock:
            with self._storing(), self._transaction():
                gone = [self._db.execute("DELETE FROM queue WHERE seq = ?", (one.seq,)).rowcount for one in messages]
            self._depth -= sum(gone)
        with self._news:
            self._news.notify_all()

    def retained(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """What a late subscriber needs: the last payload of every retained topic, less those that wait to be sent."""
        query = "SELECT topic, payload FROM retained WHERE topic NOT IN (SELECT topic FROM queue WHERE retain)"
        with self._lock, self._storing():
            found = self._db.execute(f"{query} ORDER BY topic").fetchall()
        return [(topic, payload) for topic, payload in found if topic.startswith(prefix)]

    @property
    def depth(self) -> int:
        """How many events wait."""
        return self._depth

    def wait(self, seconds: float) -> None:
        """Until something is put or removed, or the time is up."""
        with self._news:
            self._news.wait(seconds)

    def close(self) -> None:
        """Nothing is lost by not calling this."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # SQLite has rolled back by itself when the disk is full
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextlib.contextmanager
    def _storing(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageError(
                self.path,
                str(error),
                expected="an outbox that can be written",
                remedy="free some space, or move the file away if it is damaged",
            ) from None


@contextlib.contextmanager
def opened(path: Path, max_events: int = MAX_EVENTS) -> Iterator[Outbox]:
    """An outbox that no other process uses. Raises `BusyError`, `ConfigError`, `StorageError`."""
    if not path.name or path.is_dir():
        raise ConfigError(path, "a folder", expected="a file for the outbox", remedy=f"say {path / 'outbox.sqlite'}")
    with locked(path.with_name(f"{path.name}.lock")):
        outbox = Outbox(path, max_events)
        try:
            yield outbox
        finally:
            outbox.close()
