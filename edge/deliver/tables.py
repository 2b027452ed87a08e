"""The outbox's tables: made, brought up to date, told from another program's, and looked at from outside."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from edge.deliver.patience import refusal

APPLICATION, VERSION = 0x50574F58, 1
"""SQLite's application id ("PWOX") and the version of the tables."""
_EVENT = """
    source TEXT NOT NULL, id TEXT NOT NULL, topic TEXT NOT NULL,
    qos INTEGER NOT NULL, retain INTEGER NOT NULL, payload BLOB NOT NULL, since_ns INTEGER NOT NULL"""
_TABLES = f"""
CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, {_EVENT}, UNIQUE (source, id));
CREATE TABLE IF NOT EXISTS aside (seq INTEGER PRIMARY KEY, {_EVENT}, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS dropped (count INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS retained (topic TEXT PRIMARY KEY, payload BLOB NOT NULL);
"""
_SINCE_1 = """
ALTER TABLE queue ADD COLUMN rank INTEGER NOT NULL DEFAULT 2;
ALTER TABLE queue ADD COLUMN put_s REAL NOT NULL DEFAULT 0;
ALTER TABLE retained ADD COLUMN bundle TEXT;
DROP INDEX IF EXISTS least;
CREATE INDEX least ON queue (rank, seq);
CREATE TABLE streams (source TEXT PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE lost (
    source TEXT NOT NULL, cause TEXT NOT NULL, first INTEGER, last INTEGER, schema TEXT NOT NULL, why TEXT);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""
for _table in ("queue", "aside"):
    _SINCE_1 += "".join(
        f"ALTER TABLE {_table} ADD COLUMN {column};\n" for column in ("number INTEGER", "schema TEXT", "bundle TEXT")
    )


def prepare(db: sqlite3.Connection) -> None:
    """Make what is missing. Raises `sqlite3.Error`."""
    db.execute("PRAGMA auto_vacuum = INCREMENTAL")  # heard only before there is anything in the file
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")  # a power cut takes nothing that was said to be stored
    db.execute("PRAGMA journal_size_limit = 4194304")
    # `checkpoint` does it, in a thread for which nobody waits; this is for where none runs
    db.execute("PRAGMA wal_autocheckpoint = 8000")
    (version,) = db.execute("PRAGMA user_version").fetchone()
    if version < VERSION:
        with transaction(db):
            for statement in f"{_TABLES}{_SINCE_1}".split(";\n"):
                db.execute(statement)
            (dropped,) = db.execute("SELECT ifnull(sum(count), 0) FROM dropped").fetchone()
            db.execute("DELETE FROM dropped")  # an older file has a row per drop
            db.execute("INSERT INTO dropped VALUES (?)", (dropped,))
            db.execute(f"PRAGMA application_id = {APPLICATION}")
            db.execute(f"PRAGMA user_version = {VERSION}")
    if db.execute("PRAGMA auto_vacuum").fetchone() != (2,):  # so that it can shrink, bit by bit
        db.execute("VACUUM")


def is_ours(db: sqlite3.Connection) -> bool:
    """Whether it is an outbox, or empty. Raises `sqlite3.Error`."""
    (application,) = db.execute("PRAGMA application_id").fetchone()
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    return bool(application == APPLICATION or (application == 0 and tables <= _TABLES_OF_0))


_TABLES_OF_0 = {"queue", "aside", "dropped", "retained", "sqlite_sequence"}


def checkpoint(path: Path) -> None:
    """Write the log back into the file, by a connection of its own: nobody who stores waits for it. Raises
    `sqlite3.Error`."""
    with contextlib.closing(sqlite3.connect(path, timeout=0, isolation_level=None)) as db:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def waiting(path: Path) -> int:
    """How many events wait in a file that perhaps another process uses. Raises `StorageError`."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as db:
            (count,) = db.execute("SELECT count(*) FROM queue").fetchone()
    except sqlite3.Error as error:
        raise refusal(path, error, str(error)) from None
    return int(count)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All of it, or nothing."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite has rolled back by itself when the disk is full
            db.execute("ROLLBACK")
        raise
