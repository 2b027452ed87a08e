"""A file in the outbox's place that will not do: torn, or something else. It is moved aside, and nothing in it lost."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path

from contracts.errors import StorageError
from edge.deliver.tables import is_ours

BUSY_S = 0.05
"""How long one try waits for another program's lock: much less than the stride of windows."""
_LOOKED_THROUGH = 256 << 20
"""Files up to this size are, when they are opened: it takes a second or two."""
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def connect(path: Path) -> sqlite3.Connection:
    """Raises `sqlite3.Error`."""
    # an absolute path, since SQLite has names of its own (`:memory:`, `file:…`)
    db = sqlite3.connect(path.absolute(), timeout=BUSY_S, check_same_thread=False, isolation_level=None)
    db.text_factory = _text
    return db


def _text(text: bytes) -> str:
    """A byte that the card has spoiled spoils no more than one event."""
    return text.decode(errors="replace")


def is_damage(error: sqlite3.Error) -> bool:
    """Whether it cannot pass, and another file will do."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED


def damage_of(path: Path) -> str | None:
    """Why the file will not do; None where it will, or is not there. Raises `sqlite3.Error` for what may pass."""
    if not path.exists() or not (size := path.stat().st_size):
        return None
    with contextlib.closing(connect(path)) as db:
        try:
            if not is_ours(db):
                return "a database of something else"
            if size > _LOOKED_THROUGH:
                return None
            (said,) = db.execute("PRAGMA quick_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            return str(error)
    return None if said == "ok" else f"damaged: {' '.join(said.split())}"


def move_aside(path: Path) -> Path:
    """With all that belongs to it, to a name that is free. Raises `StorageError`."""
    moved = path.with_name(f"{path.name}.damaged-{time.time_ns()}")
    try:
        for end in ("-shm", "-wal", ""):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(moved.with_name(moved.name + end))
    except OSError as error:
        raise StorageError(
            path, f"damaged, and cannot be moved ({error.strerror})", expected="an outbox", remedy="move it away"
        ) from None
    return moved
