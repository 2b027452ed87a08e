"""What the history holds."""

from __future__ import annotations

from typing import NamedTuple

from contracts.events.payloads import EpisodeData

TABLES = """
CREATE TABLE IF NOT EXISTS guests (
    id INTEGER PRIMARY KEY, node TEXT NOT NULL, guest TEXT NOT NULL, UNIQUE (node, guest));
CREATE TABLE IF NOT EXISTS names (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS episodes (
    id INTEGER PRIMARY KEY, guest INTEGER NOT NULL, name TEXT NOT NULL, said BLOB, heard_ns INTEGER NOT NULL,
    UNIQUE (guest, name));
CREATE TABLE IF NOT EXISTS windows (
    guest INTEGER NOT NULL, episode INTEGER NOT NULL, end_ns INTEGER NOT NULL, packed BLOB NOT NULL,
    PRIMARY KEY (guest, episode, end_ns)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS evidence (guest INTEGER, episode INTEGER, end_ns INTEGER, name TEXT NOT NULL,
    PRIMARY KEY (guest, episode, end_ns)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS latest (
    guest INTEGER, kind TEXT, bundle TEXT, payload BLOB NOT NULL, heard_ns INTEGER NOT NULL,
    PRIMARY KEY (guest, kind, bundle)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS perfs (guest INTEGER, heard_ns INTEGER, payload BLOB NOT NULL,
    PRIMARY KEY (guest, heard_ns)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (guest INTEGER, heard_ns INTEGER, first INTEGER, last INTEGER, cause TEXT NOT NULL,
    episode INTEGER, at_ns INTEGER);
CREATE TABLE IF NOT EXISTS alarms (
    id INTEGER PRIMARY KEY, guest INTEGER NOT NULL, episode INTEGER NOT NULL, start_ns INTEGER NOT NULL,
    end_ns INTEGER NOT NULL, over INTEGER NOT NULL, heard_ns INTEGER NOT NULL, acknowledged_ns INTEGER, note TEXT);
CREATE TABLE IF NOT EXISTS nodes (node TEXT PRIMARY KEY, state TEXT NOT NULL, heard_ns INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""


class Episode(NamedTuple):
    """said: its last `episode` event, or None where that was missed."""

    id: int
    name: str
    said: EpisodeData | None
    heard_ns: int


class Alarm(NamedTuple):
    """A rise of the alarm: from the first window's end that had it to the last's; over once a window had it no more."""

    id: int
    guest: int
    episode: int
    start_ns: int
    end_ns: int
    over: bool
    heard_ns: int
    acknowledged_ns: int | None
    note: str | None


class Gap(NamedTuple):
    """Events that are missing. at_ns: the end of the last window before them."""

    first: int
    last: int
    cause: str
    episode: int | None
    at_ns: int | None
