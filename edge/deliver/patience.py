"""What a store that fails is given: time, where the fault may pass; its right name and remedy, where it does not."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from contracts.errors import StorageError

T = TypeVar("T")
log = logging.getLogger("edge.outbox")

PATIENCE_S = 60.0
"""How long a fault is waited for where nothing can go on without the store."""
AGAIN_S = 0.1
"""Between two tries."""

_PASSING = {
    sqlite3.SQLITE_BUSY: "find the program that holds it with fuser or lsof, and wait for it or end it",
    sqlite3.SQLITE_FULL: "free some space",
    sqlite3.SQLITE_IOERR: "check the disk or card (see dmesg), and this user's quota",
}
_PASSING[sqlite3.SQLITE_LOCKED] = _PASSING[sqlite3.SQLITE_PROTOCOL] = _PASSING[sqlite3.SQLITE_BUSY]
_LASTING = {
    sqlite3.SQLITE_READONLY: "let this user write the file and its folder",
    sqlite3.SQLITE_CANTOPEN: "make its folder, and let this user write there",
}
_DAMAGED = "start again: it is then kept aside, and a new one takes its place"


def _code(error: sqlite3.Error) -> int:
    """SQLite's primary result code; 0 for an error of Python's own."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


class Patience:
    """The faults of one store. A line is logged when one begins and when it has passed; its owner's lock guards it."""

    def __init__(self, path: Path, meanwhile: str, seconds: float) -> None:
        """meanwhile: for the log, what happens until a fault has passed."""
        self._path, self._meanwhile, self._seconds = path, meanwhile, seconds
        self._fault: sqlite3.Error | None = None
        self._since = self._next = 0.0
        self._until: float | None = None

    @property
    def tried(self) -> bool:
        """Whether a fault lasts."""
        return self._fault is not None

    @property
    def due(self) -> bool:
        """Whether it is time to try, for the first time or again."""
        return self._fault is None or time.monotonic() >= self._next

    def attempt(self, work: Callable[[], T]) -> T | None:
        """What `work` returns; None if it met a fault that may pass. Raises `StorageError` for any other."""
        try:
            return work()
        except sqlite3.Error as error:
            if _code(error) not in _PASSING:
                raise refusal(self._path, error, str(error)) from None
            if self._fault is None:
                self._since = time.monotonic()
                log.warning("%s: %s; %s", self._path, error, self._meanwhile)
            self._fault, self._next = error, time.monotonic() + AGAIN_S
            return None

    def eased(self) -> None:
        """Some of the work was done: patience begins anew."""
        self._until = None

    def passed(self, news: str = "") -> None:
        """All of the work was done."""
        if self._fault is not None:
            log.info("%s: that passed after %.1f s%s", self._path, time.monotonic() - self._since, news)
        self._fault = self._until = None

    def spend(self) -> None:
        """Call before waiting for nothing but the store. Raises `StorageError` when patience is at its end."""
        if self._fault is None:
            return
        now = time.monotonic()
        if self._until is None:
            self._until = now + self._seconds
            log.warning("%s: nothing goes on without it now; waiting for up to %.3g s", self._path, self._seconds)
        elif now >= self._until:
            raise refusal(self._path, self._fault, f"{self._fault} for {now - self._since:.1f} s")


def refusal(path: Path, error: sqlite3.Error, found: str) -> StorageError:
    """A fault by its right name."""
    code = _code(error)
    remedy = _PASSING.get(code) or _LASTING.get(code) or _DAMAGED
    return StorageError(path, found, expected="an outbox that can be written", remedy=remedy)
