"""The outbox's tables, and what is done to them in one step."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

_TABLES = """
CREATE TABLE IF NOT EXISTS queue (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL, since_ns INTEGER NOT NULL,
    UNIQUE (source, id));
CREATE INDEX IF NOT EXISTS least ON queue (qos, seq);
CREATE TABLE IF NOT EXISTS dropped (count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS aside (
    seq INTEGER PRIMARY KEY,
    source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL, since_ns INTEGER NOT NULL,
    why TEXT NOT NULL);
"""


class Event(NamedTuple):
    """One event on its way into the queue: a row, less its place."""

    source: str
    id: str
    topic: str
    qos: int
    retain: bool
    payload: bytes
    since_ns: int


class Counts(NamedTuple):
    """Events in the queue, and events dropped from it in all its life."""

    rows: int
    dropped: int


def prepare(db: sqlite3.Connection) -> Counts:
    """Make what is missing. Raises `sqlite3.Error`, as all functions here."""
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # a power cut takes nothing that was said to be stored
    db.executescript(_TABLES)
    counters, dropped = db.execute("SELECT count(*), ifnull(sum(count), 0) FROM dropped").fetchone()
    if counters != 1:  # a new file, or an older one with a row per drop
        with _transaction(db):
            db.execute("DELETE FROM dropped")
            db.execute("INSERT INTO dropped VALUES (?)", (dropped,))
    (rows,) = db.execute("SELECT count(*) FROM queue").fetchone()
    return Counts(rows, dropped)


def insert(db: sqlite3.Connection, events: Iterable[Event], counts: Counts, most: int) -> Counts:
    """Add those that are not there yet. Past `most` rows the oldest go, perf events (QoS 0) first, and are counted."""
    rows, dropped = counts
    with _transaction(db):
        for event in events:
            rows += db.execute(
                "INSERT OR IGNORE INTO queue (source, id, topic, qos, retain, payload, since_ns)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                event,
            ).rowcount
            if event.retain:
                db.execute("INSERT OR REPLACE INTO retained VALUES (?, ?)", (event.topic, event.payload))
            if rows > most:
                db.execute(
                    "DELETE FROM queue WHERE seq IN (SELECT seq FROM queue ORDER BY qos, seq LIMIT ?)", (rows - most,)
                )
                dropped += rows - most
                rows = most
        if dropped > counts.dropped:
            db.execute("UPDATE dropped SET count = ?", (dropped,))
    return Counts(rows, dropped)


def delete(db: sqlite3.Connection, places: Iterable[int], counts: Counts) -> Counts:
    """Remove the rows of these places; those that are there no more count for nothing."""
    with _transaction(db):
        gone = [db.execute("DELETE FROM queue WHERE seq = ?", (seq,)).rowcount for seq in places]
    return Counts(counts.rows - sum(gone), counts.dropped)


def put_aside(db: sqlite3.Connection, why: Mapping[int, str], counts: Counts) -> Counts:
    """Move rows of the queue, by their places, to where they wait for a person."""
    with _transaction(db):
        for seq, reason in why.items():
            db.execute("INSERT OR REPLACE INTO aside SELECT *, ? FROM queue WHERE seq = ?", (reason, seq))
            gone = db.execute("DELETE FROM queue WHERE seq = ?", (seq,)).rowcount
            counts = counts._replace(rows=counts.rows - gone)
    return counts


def put_back(db: sqlite3.Connection, counts: Counts) -> tuple[Counts, int]:
    """All that was put aside goes to the end of the queue; how many they were."""
    with _transaction(db):
        back = db.execute(
            "INSERT OR IGNORE INTO queue (source, id, topic, qos, retain, payload, since_ns)"
            " SELECT source, id, topic, qos, retain, payload, since_ns FROM aside ORDER BY seq"
        ).rowcount
        db.execute("DELETE FROM aside")
    return counts._replace(rows=counts.rows + back), back


@contextlib.contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite has rolled back by itself when the disk is full
            db.execute("ROLLBACK")
        raise
