"""What a sweep has done so far, on disk: a killed sweep goes on where it was, and memory does not grow."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from contracts.errors import StorageError
from trainer.corpus.catalogue import by_itself, with_reason
from trainer.corpus.examine import VALIDATOR_VERSION, Finding
from trainer.corpus.reasons import VERDICTS, Reason

_TABLE = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS found (
    path TEXT PRIMARY KEY, mark TEXT NOT NULL, id TEXT NOT NULL, same TEXT NOT NULL, rank INTEGER NOT NULL,
    seen INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_id ON found (id);
PRAGMA user_version = {VALIDATOR_VERSION};
"""


class Ledger:
    """Findings by path. `seen` marks those that this sweep has met."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._db = connection

    def add(self, findings: Iterable[Finding], *, seen: bool) -> None:
        """Write findings down, for good."""
        rows = [
            (
                finding.path,
                finding.fingerprint,
                finding.episode_id if finding.manifest_sha256 else "",
                finding.manifest_sha256,
                VERDICTS.index(finding.verdict),
                seen,
                msgspec.msgpack.encode(finding),
            )
            for finding in map(by_itself, findings)
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?, ?, ?)", rows)

    def keep(self, path: str, mark: str) -> bool:
        """Whether a path is there with this fingerprint; it then counts as seen."""
        with self._db:
            done = self._db.execute("UPDATE found SET seen = 1 WHERE path = ? AND mark = ?", (path, mark))
        return done.rowcount > 0

    def forget_unseen(self) -> None:
        """Drop episodes that are no longer in the store."""
        with self._db:
            self._db.execute("DELETE FROM found WHERE NOT seen")

    def findings(self) -> Iterator[Finding]:
        """All, in order of path, each held against those of its id."""
        twice = self._db.execute("SELECT id FROM found WHERE id != '' GROUP BY id HAVING count(*) > 1")
        ids = {id for (id,) in twice}
        for id, path, same, body in self._db.execute("SELECT id, path, same, body FROM found ORDER BY path"):
            finding = msgspec.msgpack.decode(body, type=Finding)
            yield with_reason(finding, reason) if id in ids and (reason := self._twin(id, path, same)) else finding

    def _twin(self, id: str, path: str, same: str) -> Reason | None:
        """What another episode of this id means for one. Copies: the one with the best verdict stays, or the first."""
        others = self._db.execute("SELECT path, same FROM found WHERE id = ? ORDER BY rank, path", (id,)).fetchall()
        if all(digest == same for _, digest in others):
            first = others[0][0]
            return None if path == first else Reason("duplicate-copy", "", f"the same as {first}")
        other = next(other for other, _ in others if other != path)
        return Reason("duplicate-id", "", f"{other} has this id too")


@contextlib.contextmanager
def opened_ledger(path: Path, *, fresh: bool) -> Iterator[Ledger]:
    """The ledger at a path: an earlier sweep's if there is one, of this version, and `fresh` is not asked for."""
    try:
        if fresh or not _fits(path):
            remove_ledger(path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(_TABLE)
            connection.execute("UPDATE found SET seen = 0")
            connection.commit()
            yield Ledger(connection)
    except sqlite3.Error as error:
        raise StorageError(
            path,
            f"cannot be written ({error})",
            expected="a writable folder with space left",
            remedy="free some space, or choose another place with --out",
        ) from None


def remove_ledger(path: Path) -> None:
    """The index is written: the ledger has done its work."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _fits(path: Path) -> bool:
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            connection.execute("SELECT count(seen) FROM found").fetchone()
    except sqlite3.Error:
        return False
    return bool(version == VALIDATOR_VERSION)
