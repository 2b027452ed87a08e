"""What was received, in one SQLite file. Windows are packed, by guest, episode and end: a replay goes back in time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from contracts.errors import StorageError
from contracts.events.envelope import Data, Event
from contracts.events.payloads import EpisodeData, GapData, PerfData, WindowData
from edge.dashboard.packing import Shown, pack, unpack
from edge.dashboard.rows import TABLES, Alarm, Episode, Gap

_OF_GUEST = ("windows", "evidence", "episodes", "latest", "perfs", "gaps", "alarms")
DAY_NS = 86_400_000_000_000
_NAMES, _EPISODES, _GAPS = 5000, 2000, 500
"""Channels in all, episodes and gaps of one guest, at most: who invents them fills no disk."""
_SECONDS_30 = 30_000_000_000
_LATEST = 200
"""Scorecards of one guest and kind that are kept, at most: who invents bundles fills no disk."""


class History:
    """One writer, many readers, in one process. What is written is committed by `commit`, once a second or so."""

    def __init__(self, path: Path | None, keep_days: float = 7) -> None:
        """path: None for memory alone. Raises `StorageError`."""
        self._keep_ns = round(keep_days * DAY_NS)
        self._lock = threading.RLock()
        try:
            if path is not None and not path.exists():
                path.touch(mode=0o600)  # it is nobody else's, as the pages are not
            self._db = sqlite3.connect(path.absolute() if path else ":memory:", check_same_thread=False, timeout=5)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(TABLES)
        except sqlite3.Error as error:
            raise StorageError(path, str(error), expected="a history", remedy="name another with --history") from None
        self._read()

    def _read(self) -> None:
        self._heard: dict[int, int] = {}
        """When the last window of an episode was heard, as far as the file has it."""
        self._names = dict(self._db.execute("SELECT name, id FROM names"))
        self._guests: dict[tuple[str, str], int] = {
            (node, guest): number for number, node, guest in self._db.execute("SELECT id, node, guest FROM guests")
        }
        self._episodes: dict[tuple[int, str], int] = {
            (guest, name): number for number, guest, name in self._db.execute("SELECT id, guest, name FROM episodes")
        }

    def forget_uncommitted(self) -> None:
        """What could not be written is given up, and what is remembered follows the file."""
        with self._lock:
            self._db.rollback()
            self._read()

    def commit(self) -> None:
        """To the disk."""
        with self._lock:
            self._db.commit()

    def close(self) -> None:
        """For good."""
        with self._lock:
            self._db.commit()
            self._db.close()

    def fact(self, name: str, otherwise: str) -> str:
        """Something that outlives a restart."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO facts VALUES (?, ?)", (name, otherwise))
            self._db.commit()
            return str(self._db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()[0])

    # what comes

    def guest(self, node: str, guest: str) -> int:
        """Its number."""
        with self._lock:
            if (number := self._guests.get((node, guest))) is None:
                self._db.execute("INSERT INTO guests (node, guest) VALUES (?, ?)", (node, guest))
                number = self._guests[node, guest] = self._last()
            return number

    def _last(self) -> int:
        return int(self._db.execute("SELECT last_insert_rowid()").fetchone()[0])

    def _number(self, name: str) -> int:
        name = name[:200]
        if (number := self._names.get(name)) is None:
            if len(self._names) >= _NAMES:
                return 0
            self._db.execute("INSERT INTO names (name) VALUES (?)", (name,))
            number = self._names[name] = self._last()
        return min(number, 65535)

    def episode(self, guest: int, name: str, heard_ns: int) -> int:
        """Its number."""
        with self._lock:
            if (number := self._episodes.get((guest, name))) is None:
                if sum(1 for key in self._episodes if key[0] == guest) >= _EPISODES:
                    raise ValueError(f"more than {_EPISODES} episodes of one guest")
                self._db.execute(
                    "INSERT INTO episodes (guest, name, heard_ns) VALUES (?, ?, ?)", (guest, name, heard_ns)
                )
                number = self._episodes[guest, name] = self._last()
                # another begins: what was up before is over
                self._db.execute("UPDATE alarms SET over = 1 WHERE guest = ? AND episode <> ?", (guest, number))
            return number

    def add(self, guest: int, event: Event[Data], payload: bytes, heard_ns: int) -> None:
        """An event. One that was kept already changes nothing."""
        data = event.data
        with self._lock:
            if isinstance(data, WindowData):
                self._add_window(guest, data, heard_ns)
            elif isinstance(data, EpisodeData):
                number = self.episode(guest, data.episode_id, heard_ns)
                self._db.execute("UPDATE episodes SET said = ?, heard_ns = ? WHERE id = ?",
                                 (msgspec.json.encode(data), heard_ns, number))  # fmt: skip
                if data.state == "ended":
                    self._db.execute("UPDATE alarms SET over = 1 WHERE guest = ? AND episode = ?", (guest, number))
            elif isinstance(data, PerfData):
                self._db.execute("INSERT OR REPLACE INTO perfs VALUES (?, ?, ?)", (guest, heard_ns, payload))
            elif not isinstance(data, GapData):
                kind = event.type.split(".")[1]
                key = f"{data.bundle.name} {data.basis}"
                self._db.execute("INSERT OR REPLACE INTO latest VALUES (?, ?, ?, ?, ?)",
                                 (guest, kind, key, payload, heard_ns))  # fmt: skip
                (count,) = self._db.execute("SELECT count(*) FROM latest WHERE guest = ? AND kind = ?",
                                            (guest, kind)).fetchone()  # fmt: skip
                if count > _LATEST:
                    self._db.execute(
                        "DELETE FROM latest WHERE (guest, kind, bundle) IN (SELECT guest, kind, bundle FROM latest"
                        " WHERE guest = ? AND kind = ? ORDER BY heard_ns LIMIT 1)", (guest, kind),
                    )  # fmt: skip

    def _add_window(self, guest: int, data: WindowData, heard_ns: int) -> None:
        episode = self.episode(guest, data.episode_id, heard_ns)
        if heard_ns - self._heard.get(episode, 0) > _SECONDS_30:
            self._db.execute("UPDATE episodes SET heard_ns = ? WHERE id = ?", (heard_ns, episode))
            self._heard[episode] = heard_ns
        key, packed = (guest, episode, data.end_wall_ns), pack(data, self._number)
        kept = self._db.execute(
            "SELECT packed FROM windows WHERE guest = ? AND episode = ? AND end_ns = ?", key
        ).fetchone()
        if kept == (packed,):
            return  # said again
        self._db.execute("INSERT OR REPLACE INTO windows VALUES (?, ?, ?, ?)", (*key, packed))
        if data.evidence is not None:
            self._db.execute("INSERT OR IGNORE INTO evidence VALUES (?, ?, ?, ?)", (*key, data.evidence[:200]))
        found = self._db.execute("SELECT id FROM alarms WHERE guest = ? AND episode = ? AND over = 0",
                                 (guest, episode)).fetchone()  # fmt: skip
        if data.alarm and found is None:
            self._db.execute(
                "INSERT INTO alarms (guest, episode, start_ns, end_ns, over, heard_ns) VALUES (?, ?, ?, ?, 0, ?)",
                (*key, data.end_wall_ns, heard_ns),
            )
        elif found is not None:
            self._db.execute("UPDATE alarms SET end_ns = ?, over = ? WHERE id = ? AND end_ns <= ?",
                             (data.end_wall_ns, not data.alarm, found[0], data.end_wall_ns))  # fmt: skip

    def add_gap(self, guest: int, gap: Gap, heard_ns: int) -> None:
        """Events that did not come."""
        with self._lock:
            self._db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)", (guest, heard_ns, *gap))
            self._db.execute(
                "DELETE FROM gaps WHERE guest = ? AND rowid <="
                " (SELECT rowid FROM gaps WHERE guest = ? ORDER BY rowid DESC LIMIT 1 OFFSET ?)", (guest, guest, _GAPS),
            )  # fmt: skip

    def fill(self, guest: int, first: int, last: int) -> None:
        """Places of which nobody knew have come, or are known."""
        with self._lock:
            for row in self._db.execute(
                "SELECT rowid, heard_ns, first, last, episode, at_ns FROM gaps WHERE guest = ? AND cause = 'unknown'"
                " AND first <= ? AND last >= ?", (guest, last, first),
            ).fetchall():  # fmt: skip
                place, heard_ns, low, high, episode, at_ns = row
                self._db.execute("DELETE FROM gaps WHERE rowid = ?", (place,))
                for one, other in ((low, first - 1), (last + 1, high)):
                    if one <= other:
                        rest = (guest, heard_ns, one, other, "unknown", episode, at_ns)
                        self._db.execute("INSERT INTO gaps VALUES (?, ?, ?, ?, ?, ?, ?)", rest)

    def missing(self, guest: int) -> int:
        """How many events of a guest did not come, and nobody knows why."""
        with self._lock:
            count = "SELECT ifnull(sum(last - first + 1), 0) FROM gaps WHERE guest = ? AND cause = 'unknown'"
            return int(self._db.execute(count, (guest,)).fetchone()[0])

    def set_node(self, node: str, state: str, heard_ns: int) -> None:
        """Its availability."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO nodes VALUES (?, ?, ?)", (node, state, heard_ns))

    def acknowledge(self, alarm: int, note: str, now_ns: int) -> bool:
        """Somebody has seen it; whether there is such an alarm."""
        with self._lock:
            done = self._db.execute("UPDATE alarms SET acknowledged_ns = ?, note = ? WHERE id = ?",
                                    (now_ns, note[:1000], alarm)).rowcount  # fmt: skip
            self._db.commit()
            return bool(done)

    def remove(self, guest: int) -> None:
        """All of a guest."""
        with self._lock:
            for table in _OF_GUEST:
                self._db.execute(f"DELETE FROM {table} WHERE guest = ?", (guest,))  # noqa: S608 - names of our own
            self._db.execute("DELETE FROM guests WHERE id = ?", (guest,))
            self._guests = {key: number for key, number in self._guests.items() if number != guest}
            self._episodes = {key: number for key, number in self._episodes.items() if key[0] != guest}
            self._db.commit()

    def remove_node(self, node: str) -> None:
        """Its availability."""
        with self._lock:
            self._db.execute("DELETE FROM nodes WHERE node = ?", (node,))
            self._db.commit()

    def prune(self, now_ns: int) -> None:
        """Forget episodes of which nothing was heard for long, the long past of those that go on, and old figures."""
        with self._lock:
            before = now_ns - self._keep_ns
            old = self._db.execute("SELECT id, guest, name FROM episodes WHERE heard_ns < ?", (before,)).fetchall()
            for number, guest, name in old:
                for table in ("windows", "evidence", "alarms"):
                    self._db.execute(f"DELETE FROM {table} WHERE guest = ? AND episode = ?", (guest, number))  # noqa: S608 - the same
                self._db.execute("DELETE FROM episodes WHERE id = ?", (number,))
                self._episodes.pop((guest, name), None)
            # of a watch that goes on, by its own time
            for number, guest in self._db.execute("SELECT id, guest FROM episodes").fetchall():
                last = "SELECT max(end_ns) FROM windows WHERE guest = ? AND episode = ?"
                (newest,) = self._db.execute(last, (guest, number)).fetchone()
                for table in ("windows", "evidence"):
                    self._db.execute(f"DELETE FROM {table} WHERE guest = ? AND episode = ? AND end_ns < ?",  # noqa: S608 - the same
                                     (guest, number, (newest or 0) - self._keep_ns))  # fmt: skip
            for table in ("perfs", "gaps", "latest"):
                self._db.execute(f"DELETE FROM {table} WHERE heard_ns < ?", (before,))  # noqa: S608 - the same
            self._db.commit()

    # what is asked for

    def guests(self) -> dict[tuple[str, str], int]:
        """All, by node and name."""
        with self._lock:
            return dict(self._guests)

    def nodes(self) -> dict[str, tuple[str, int]]:
        """Availability of each node, and when it was heard."""
        with self._lock:
            return {
                node: (state, at) for node, state, at in self._db.execute("SELECT node, state, heard_ns FROM nodes")
            }

    def episodes(self, guest: int, limit: int = 200) -> list[Episode]:
        """The last heard first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, name, said, heard_ns FROM episodes WHERE guest = ? ORDER BY heard_ns DESC, id DESC LIMIT ?",
                (guest, limit),
            ).fetchall()
        return [Episode(number, name, _said(said), at) for number, name, said, at in rows]

    def windows(self, guest: int, episode: int, first_ns: int = 0, last_ns: int = 1 << 62) -> Iterator[Shown]:
        """In order of time, both ends included."""
        with self._lock:
            rows = self._db.execute(
                "SELECT end_ns, packed FROM windows WHERE guest = ? AND episode = ? AND end_ns BETWEEN ? AND ?"
                " ORDER BY end_ns", (guest, episode, first_ns, last_ns),
            ).fetchall()  # fmt: skip
        return (unpack(*row) for row in rows)

    def last_windows(self, guest: int, episode: int, count: int) -> list[Shown]:
        """The last ones, in order of time."""
        with self._lock:
            rows = self._db.execute(
                "SELECT end_ns, packed FROM windows WHERE guest = ? AND episode = ? ORDER BY end_ns DESC LIMIT ?",
                (guest, episode, count),
            ).fetchall()
        return [unpack(*row) for row in reversed(rows)]

    def name(self, number: int) -> str:
        """Of a channel."""
        with self._lock:
            found = self._db.execute("SELECT name FROM names WHERE id = ?", (number,)).fetchone()
        return "?" if found is None else str(found[0])

    def evidence(self, guest: int, episode: int, end_ns: int) -> str | None:
        """The recording that keeps the rows around a window's alarm."""
        with self._lock:
            found = self._db.execute(
                "SELECT name FROM evidence WHERE guest = ? AND episode = ? AND end_ns <= ?"
                " ORDER BY end_ns DESC LIMIT 1",
                (guest, episode, end_ns),
            ).fetchone()
        return None if found is None else str(found[0])

    def alarms(self, guest: int | None = None, episode: int | None = None, limit: int = 100) -> list[Alarm]:
        """The last heard first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT id, guest, episode, start_ns, end_ns, over, heard_ns, acknowledged_ns, note FROM alarms"
                " WHERE (? IS NULL OR guest = ?) AND (? IS NULL OR episode = ?)"
                " ORDER BY heard_ns DESC, id DESC LIMIT ?",
                (guest, guest, episode, episode, limit),
            ).fetchall()
        return [Alarm._make((*row[:5], bool(row[5]), *row[6:])) for row in rows]

    def gaps(self, guest: int, episode: int) -> list[Gap]:
        """Within an episode."""
        with self._lock:
            rows = self._db.execute(
                "SELECT first, last, cause, episode, at_ns FROM gaps WHERE guest = ? AND episode = ?", (guest, episode)
            ).fetchall()
        return [Gap(*row) for row in rows]

    def latest(self, kind: str) -> list[tuple[int, bytes]]:
        """The last of each guest and bundle, of `metrics`, `confusion` or `profiles`; the newest first."""
        with self._lock:
            return list(
                self._db.execute("SELECT guest, payload FROM latest WHERE kind = ? ORDER BY heard_ns DESC", (kind,))
            )

    def perfs(self, guest: int, limit: int = 120) -> list[tuple[int, bytes]]:
        """When, and what; in order of time."""
        with self._lock:
            rows = self._db.execute(
                "SELECT heard_ns, payload FROM perfs WHERE guest = ? ORDER BY heard_ns DESC LIMIT ?", (guest, limit)
            ).fetchall()
        return rows[::-1]


def _said(said: bytes | None) -> EpisodeData | None:
    return None if said is None else msgspec.json.decode(said, type=EpisodeData)


def now_ns() -> int:
    """Unix time."""
    return time.time_ns()
