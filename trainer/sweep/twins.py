"""Episodes that are one recording under several ids: found among all of a sweep, by what `identity` says of each."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from trainer.sweep.finding import Finding
from trainer.sweep.identity import SHARED
from trainer.sweep.reasons import Reason

TABLES = """
CREATE TABLE IF NOT EXISTS sketch (key INTEGER NOT NULL, path TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS sketch_by_key ON sketch (key);
CREATE INDEX IF NOT EXISTS sketch_by_path ON sketch (path);
CREATE TABLE IF NOT EXISTS boot (
    boot TEXT NOT NULL, path TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS boot_by_boot ON boot (boot);
CREATE INDEX IF NOT EXISTS boot_by_path ON boot (path);
CREATE INDEX IF NOT EXISTS by_content ON found (content);
"""
_PAIRS = {
    "its rows are those of": """
        SELECT a.path, b.path FROM found a JOIN found b ON a.content = b.content AND a.path < b.path
        WHERE a.content != '' AND a.seen AND b.seen""",
    "most rows are those of": """
        SELECT a.path, b.path FROM sketch a JOIN sketch b ON a.key = b.key AND a.path < b.path
        JOIN found f ON f.path = a.path AND f.seen JOIN found g ON g.path = b.path AND g.seen
        GROUP BY a.path, b.path HAVING count(*) >= :shared""",
    "it shows the same run of a guest, at the same time, as": """
        SELECT DISTINCT a.path, b.path FROM boot a
        JOIN boot b ON a.boot = b.boot AND a.path < b.path AND a.since < b.until AND b.since < a.until
        JOIN found f ON f.path = a.path AND f.seen JOIN found g ON g.path = b.path AND g.seen""",
}
"""The surest first."""


def note(db: sqlite3.Connection, findings: Iterable[Finding]) -> None:
    """Write down what they are known by."""
    for one in findings:
        db.execute("DELETE FROM sketch WHERE path = ?", (one.path,))
        db.execute("DELETE FROM boot WHERE path = ?", (one.path,))
        db.executemany("INSERT INTO sketch VALUES (?, ?)", ((key, one.path) for key in one.sketch))
        span = one.started_wall_ns, one.ended_wall_ns
        db.executemany("INSERT INTO boot VALUES (?, ?, ?, ?)", ((boot, one.path, *span) for boot in one.boots))


def twins(db: sqlite3.Connection) -> dict[str, Reason]:
    """Path → why it is not used: of all that are one recording, the best verdict stays, or the first path."""
    near: dict[str, dict[str, str]] = {}
    for how, query in _PAIRS.items():
        for one, other in db.execute(query, {"shared": SHARED}):
            for path, twin in ((one, other), (other, one)):
                near.setdefault(path, {}).setdefault(twin, how)
    if not near:
        return {}
    rank = dict(db.execute("SELECT path, rank FROM found WHERE seen"))
    found: dict[str, Reason] = {}
    for path in sorted(near, key=lambda path: (rank[path], path)):
        if path in found:
            continue
        # whoever comes here is kept, and all that are one with it go
        for twin, how in near[path].items():
            found.setdefault(twin, Reason("duplicate-rows", "", f"{how} {path}"))
    return found
