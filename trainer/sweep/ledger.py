"""What a sweep has done so far, on disk: a killed sweep goes on where it was, and memory does not grow."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from contracts.errors import StorageError
from trainer.sweep.catalogue import by_itself, with_reason
from trainer.sweep.finding import Finding
from trainer.sweep.reasons import VERDICTS, Reason
from trainer.sweep.twins import TABLES, note, twins
from trainer.versions import VALIDATOR_VERSION

_TABLE = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS found (
    path TEXT PRIMARY KEY, mark TEXT NOT NULL, id TEXT NOT NULL, same TEXT NOT NULL, rank INTEGER NOT NULL,
    seen INTEGER NOT NULL, content TEXT NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS by_id ON found (id);
{TABLES}PRAGMA user_version = {VALIDATOR_VERSION};
"""
_SAME_ID = """
SELECT id, path, same FROM found WHERE seen AND id IN (
    SELECT id FROM found WHERE seen AND id != '' GROUP BY id HAVING count(*) > 1
) ORDER BY id, rank, path
"""

FLEETING = frozenset({"worker-lost", "failed", "file-unreadable", "manifest-unreadable"})
"""Reasons that may lie in the machine or in who asks, and not in the files: such an episode is always read again."""


class Ledger:
    """Findings by path. `seen` marks those that this sweep has met."""

    def __init__(self, connection: sqlite3.Connection, *, resumed: bool) -> None:
        self._db, self.resumed = connection, resumed

    def add(self, findings: Iterable[Finding], *, seen: bool) -> None:
        """Write findings down, for good."""
        findings = [by_itself(finding) for finding in findings]
        rows = [
            (
                finding.path,
                "" if any(reason.code in FLEETING for reason in finding.reasons) else finding.fingerprint,
                finding.episode_id if finding.manifest_sha256 else "",
                finding.manifest_sha256,
                VERDICTS.index(finding.verdict),
                seen,
                finding.content_sha256,
                msgspec.msgpack.encode(finding),
            )
            for finding in findings
        ]
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            note(self._db, findings)

    def keep(self, path: str, mark: str) -> bool:
        """Whether a path is there with this fingerprint; it then counts as seen."""
        with self._db:
            done = self._db.execute("UPDATE found SET seen = 1 WHERE path = ? AND mark = ?", (path, mark))
        return done.rowcount > 0

    def forget_unseen(self) -> None:
        """Drop episodes that are no longer in the store."""
        with self._db:
            self._db.execute("DELETE FROM found WHERE NOT seen")  # `twins` asks for what is in it

    def findings(self) -> Iterator[Finding]:
        """Those that this sweep has met, in order of path, each held against those of its id and of its rows."""
        same_id, same_rows = self._same_id(), twins(self._db)
        for id, path, body in self._db.execute("SELECT id, path, body FROM found WHERE seen ORDER BY path"):
            finding = msgspec.msgpack.decode(body, type=Finding)
            reason = same_id[id].reason_for(path) if id in same_id else None
            reason = reason or same_rows.get(path)
            yield with_reason(finding, reason) if reason else finding

    def _same_id(self) -> dict[str, _SameId]:
        """Ids that occur twice or more. The best verdict comes first, then the first path."""
        rows = self._db.execute(_SAME_ID)
        same = {}
        for id, group in itertools.groupby(rows, key=lambda row: row[0]):
            paths: list[str] = []
            digests = set()
            for _, path, digest in group:
                paths = [*paths, path][:2]
                digests.add(digest)
            same[id] = _SameId(paths[0], paths[1], len(digests) == 1)
        return same


@dataclass(frozen=True)
class _SameId:
    """Episodes of one id: the best two of them, and whether all are the same byte for byte."""

    first: str
    second: str
    same: bool

    def reason_for(self, path: str) -> Reason | None:
        if self.same:
            return None if path == self.first else Reason("duplicate-copy", "", f"the same as {self.first}")
        return Reason("duplicate-id", "", f"{self.second if path == self.first else self.first} has this id too")


@contextlib.contextmanager
def opened_ledger(path: Path, *, full: bool) -> Iterator[Ledger]:
    """The ledger at a path: an earlier sweep's if there is one that fits. A full sweep goes on only with its own kind.

    Raises `StorageError`.
    """
    try:
        resumed = _fits(path, full=full)
        if not resumed:
            remove_ledger(path)
        with contextlib.closing(sqlite3.connect(path.absolute())) as connection:
            connection.executescript(_TABLE)
            if not resumed:
                connection.execute(f"PRAGMA application_id = {int(full)}")
            connection.execute("UPDATE found SET seen = 0")
            connection.commit()
            yield Ledger(connection, resumed=resumed)
    except sqlite3.Error as error:
        raise StorageError(
            path,
            f"cannot be written or read ({error})",
            expected="a writable folder with space left",
            remedy="free some space, or choose another place with --out; if it is damaged, remove it",
        ) from None


def remove_ledger(path: Path) -> None:
    """The index is written: the ledger has done its work."""
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _fits(path: Path, *, full: bool) -> bool:
    if not path.exists():
        return False
    try:
        with contextlib.closing(sqlite3.connect(path.absolute())) as connection:
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (kind,) = connection.execute("PRAGMA application_id").fetchone()
            (sound,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            connection.execute("SELECT count(seen) FROM found").fetchone()
    except sqlite3.Error:
        return False
    return bool(version == VALIDATOR_VERSION and sound == "ok" and (kind == 1 or not full))
