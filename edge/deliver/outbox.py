"""Events on their way: a durable queue in one SQLite file. An event leaves it when the broker has acknowledged it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import ConfigError
from contracts.files import locked
from edge.deliver.patience import AGAIN_S, PATIENCE_S, Patience, refusal
from edge.deliver.queued import Event, delete, insert, prepare, put_aside, put_back

log = logging.getLogger("edge.outbox")

MAX_EVENTS = 1_000_000
"""About two months of windows of one guest. Past it the oldest go, perf events first, and are counted."""
HELD = 4096
"""Events held in memory while the file cannot be written: about 6 MB, or five hours of one guest."""
BUSY_S = 0.05
"""How long one try waits for another program's lock: much less than the stride of windows."""
_STEP = 256
"""Held events are stored so many at a time."""


@dataclass(frozen=True, kw_only=True)
class Message:
    """One event, ready to send. `seq` is its place in the queue; `since_ns` the Unix time at which it was put there."""

    seq: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    since_ns: int


class Aside(NamedTuple):
    """An event that the broker would not have, and why."""

    topic: str
    why: str
    since_ns: int
    size: int


class Outbox:
    """One process's queue. Safe to use from several threads.

    While the file cannot be written, for a reason that may pass, events are held in memory, in order; whichever call
    comes first after it has passed stores them. Only when `HELD` of them wait does `put` wait too.
    """

    def __init__(self, path: Path, max_events: int = MAX_EVENTS, *, patience_s: float = PATIENCE_S) -> None:
        """patience_s: how long a store that fails is waited for where nothing else is left. Raises `StorageError`."""
        self.path, self._max = path, max_events
        self._lock = threading.Condition()
        self._held: deque[Event] = deque()
        self._gone: set[int] = set()
        """Places of events that were acknowledged, and are still in the file."""
        self._late, self._step = 0, _STEP
        self._writing = Patience(path, "events are held in memory until it has passed", patience_s)
        self._reading = Patience(path, "nothing is sent until it has passed", patience_s)
        opening = Patience(path, "waiting for it", patience_s)
        while (db := opening.attempt(self._open)) is None:
            opening.spend()
            time.sleep(AGAIN_S)
        opening.passed()
        self._db = db

    def _open(self) -> sqlite3.Connection:
        # an absolute path, since SQLite has names of its own (`:memory:`, `file:…`)
        path = self.path.absolute()
        db = sqlite3.connect(path, timeout=BUSY_S, check_same_thread=False, isolation_level=None)
        try:
            self._counts = prepare(db)
        except BaseException:
            db.close()
            raise
        return db

    def put(self, *, source: str, event_id: str, topic: str, qos: int, retain: bool, payload: bytes) -> None:
        """Store an event, or hold it until it can be. One that is waiting already (same source and id) waits once.

        Raises `StorageError` for a fault that cannot pass, and for one that outlasts `HELD` events and our patience.
        """
        with self._lock:
            self._settle()
            while len(self._held) >= HELD:
                self._linger(self._writing)
                self._settle()
            self._held.append(Event(source, event_id, topic, qos, retain, payload, time.time_ns()))
            self._settle()
            self._late += bool(self._held)
            self._lock.notify_all()

    def pending(self, limit: int) -> list[Message]:
        """The oldest events in the file; nothing while it cannot be read, or while what was sent cannot be removed."""
        with self._lock:
            self._settle()
            if self._gone:  # they would be sent again
                return []
            rows = self._read(
                "SELECT seq, topic, qos, retain, payload, since_ns FROM queue ORDER BY seq LIMIT ?", limit
            )
        return [
            Message(seq=seq, topic=topic, qos=qos, retain=bool(retain), payload=payload, since_ns=since)
            for seq, topic, qos, retain, payload, since in rows or ()
        ]

    def remove(self, messages: Sequence[Message]) -> None:
        """Forget events that the broker has acknowledged, now or as soon as the file can be written."""
        with self._lock:
            self._gone.update(message.seq for message in messages)
            self._settle()
            self._lock.notify_all()

    def set_aside(self, messages: Sequence[Message], why: Mapping[int, str]) -> None:
        """Events that the broker will not have wait for a person, with the reason, and the rest goes on. Left in the
        queue while the file cannot be written."""
        with self._lock:
            self._settle()
            chosen = {message.seq: why[message.seq] for message in messages}
            counts = self._writing.attempt(lambda: put_aside(self._db, chosen, self._counts))
            if counts is not None:
                self._counts = counts
                self._writing.passed()
            self._lock.notify_all()

    def aside(self) -> list[Aside]:
        """What was set aside, the oldest first."""
        with self._lock:
            rows = self._read("SELECT topic, why, since_ns, length(payload) FROM aside ORDER BY seq")
        return [Aside(*row) for row in rows or ()]

    def resend(self) -> int:
        """All that was set aside goes to the end of the queue; how many events. Raises `StorageError`."""
        with self._lock:
            done = self._writing.attempt(lambda: put_back(self._db, self._counts))
            if done is None:
                return 0
            self._counts, count = done
            return count

    def drop_aside(self) -> int:
        """Forget all that was set aside; how many events. Raises `StorageError`."""
        with self._lock:
            return self._writing.attempt(lambda: self._db.execute("DELETE FROM aside").rowcount) or 0

    def retained(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """What a late subscriber needs: the last payload of every retained topic, less those that wait to be sent."""
        query = "SELECT topic, payload FROM retained WHERE topic NOT IN (SELECT topic FROM queue WHERE retain)"
        with self._lock:
            self._settle()
            while (found := self._read(f"{query} ORDER BY topic")) is None:
                self._linger(self._reading)
            held = {event.topic for event in self._held if event.retain}
        return [(topic, payload) for topic, payload in found if topic.startswith(prefix) and topic not in held]

    @property
    def depth(self) -> int:
        """How many events wait for the broker, in the file and in memory."""
        with self._lock:
            held = len({(event.source, event.id) for event in self._held})
            return max(0, self._counts.rows + held - len(self._gone))

    @property
    def dropped(self) -> int:
        """How many events went because there were too many, in the file's whole life."""
        return self._counts.dropped

    def wait(self, seconds: float) -> None:
        """Until something is put or removed, or the time is up."""
        with self._lock:
            self._settle()
            self._lock.wait(seconds)

    def flush(self) -> None:
        """Wait while the file cannot be written or read. Raises `StorageError` when patience is at its end."""
        with self._lock:
            self._settle_all()
            while self._reading.tried:  # who reads, in another thread, finds out when it has passed
                self._linger(self._reading)

    def close(self) -> None:
        """Store what is held, or raise `StorageError` when patience is at its end. Only what is held can be lost."""
        with self._lock:
            try:
                self._settle_all()
            finally:
                if self._held:
                    log.error("%s: %d events could not be stored and are lost", self.path, len(self._held))
                self._db.close()

    def _settle(self, *, now: bool = False) -> None:
        """Bring the file up to date, if it is time to try."""
        if (self._held or self._gone) and (now or self._writing.due) and self._writing.attempt(self._write):
            self._writing.passed(f"; {self._late} events were held")
            self._late = 0

    def _settle_all(self) -> None:
        self._settle(now=True)
        while self._held or self._gone:
            self._linger(self._writing)
            self._settle()

    def _linger(self, patience: Patience) -> None:
        """Other threads go on meanwhile: what the drain removes may be the room that is wanted."""
        patience.spend()
        self._lock.wait(AGAIN_S)

    def _read(self, query: str, *values: object) -> list[Any] | None:
        """None if it cannot be read just now."""
        rows = self._reading.attempt(lambda: self._db.execute(query, values).fetchall())
        if rows is not None:
            self._reading.passed()
        return rows

    def _write(self) -> bool:
        """In steps, each for good; removals first, because on a full disk they make room."""
        if self._gone:
            self._counts = delete(self._db, self._gone, self._counts)
            self._gone.clear()
            self._writing.eased()
        while self._held:
            events = list(itertools.islice(self._held, self._step))
            self._step = max(1, len(events) // 2)  # if it fails: there may be room for some of them
            self._counts = insert(self._db, events, self._counts, self._max)
            self._step = min(_STEP, 2 * len(events))
            for _ in events:
                self._held.popleft()
            self._writing.eased()
        return True


def waiting(path: Path) -> int:
    """How many events wait in a file that perhaps another process uses. Raises `StorageError`."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=1)) as db:
            (count,) = db.execute("SELECT count(*) FROM queue").fetchone()
    except sqlite3.Error as error:
        raise refusal(path, error, str(error)) from None
    return int(count)


@contextlib.contextmanager
def opened(path: Path, max_events: int = MAX_EVENTS, *, patience_s: float = PATIENCE_S) -> Iterator[Outbox]:
    """An outbox that no other process uses. Raises `BusyError`, `ConfigError`, `StorageError`."""
    if not path.name or path.is_dir():
        raise ConfigError(path, "a folder", expected="a file for the outbox", remedy=f"say {path / 'outbox.sqlite'}")
    with locked(path.with_name(f"{path.name}.lock")):
        outbox = Outbox(path, max_events, patience_s=patience_s)
        try:
            yield outbox
        finally:
            outbox.close()
