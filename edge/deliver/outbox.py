"""Events on their way: a durable queue in one SQLite file. An event leaves it when the broker has acknowledged it."""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from contracts.errors import ConfigError
from contracts.files import locked
from edge.deliver.damage import connect, damage_of, is_damage, move_aside
from edge.deliver.patience import AGAIN_S, PATIENCE_S, Patience
from edge.deliver.rows import Bounds, Event, Loss, Message, Rank
from edge.deliver.store import Store
from edge.deliver.tables import checkpoint

T = TypeVar("T")
log = logging.getLogger("edge.outbox")

HELD = 4096
"""Events held in memory while the file cannot be written: about 6 MB, or five hours of one guest."""
_STEP = 256
"""Held events are stored so many at a time."""


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

    def __init__(self, path: Path, bounds: Bounds = Bounds(), *, patience_s: float = PATIENCE_S) -> None:  # noqa: B008 - immutable
        """patience_s: how long a store that fails is waited for where nothing else is left. A file that cannot be read,
        or is something else, is moved aside. Raises `StorageError`."""
        self.path, self._bounds = path, bounds
        self._lock = threading.Condition()
        self._held: deque[Event] = deque()
        self._gone: set[int] = set()
        """Places of events that were acknowledged, and are still in the file."""
        self._late, self._step = 0, _STEP
        self._damage: str | None = None
        self._writing = Patience(path, "events are held in memory until it has passed", patience_s)
        self._reading = Patience(path, "nothing is sent until it has passed", patience_s)
        opening = Patience(path, "waiting for it", patience_s)
        while (store := opening.attempt(self._open)) is None:
            opening.spend()
            time.sleep(AGAIN_S)
        opening.passed()
        self._store, self._began = store, time.monotonic()
        self.bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        """Readable once something was put."""

    def _open(self) -> Store:
        if (damage := damage_of(self.path)) is not None:
            self._replace(damage)
        db = connect(self.path)
        try:
            store = Store(db, self._bounds)
            if self._damage is not None:
                store.note("damaged", self._damage)
        except sqlite3.DatabaseError as error:
            db.close()
            if not is_damage(error):
                raise
            self._replace(str(error))  # in a part that was not looked at
            return self._open()
        except BaseException:
            db.close()
            raise
        self._db = db
        return store

    def _replace(self, damage: str) -> None:
        self._damage = damage  # until it is noted, whatever comes between
        moved = move_aside(self.path)
        log.error("%s: %s; it is kept as %s, and a new outbox takes its place", self.path, damage, moved)

    def clock(self) -> float:
        """Seconds of which an agent ran, since long ago. It is not set, and does not go back."""
        return self._store.put_s + time.monotonic() - self._began

    def put(
        self,
        *,
        source: str,
        event_id: str,
        topic: str,
        qos: int,
        retain: bool,
        payload: bytes,
        rank: Rank | None = None,
        schema: str | None = None,
        bundle: str | None = None,
    ) -> None:
        """Store an event, or hold it until it can be. One that is waiting already (same source and id) waits once.

        rank: how soon it goes where there is too much (default: by its QoS); schema, bundle: what MQTT says of it.
        Raises `StorageError` for a fault that cannot pass, and for one that outlasts `HELD` events and our patience.
        """
        rank = (Rank.WINDOW if qos else Rank.PERF) if rank is None else rank
        with self._lock:
            self._settle()
            while len(self._held) >= HELD:
                self._linger(self._writing)
                self._settle()
            self._held.append(
                Event(source, event_id, topic, qos, retain, payload, time.time_ns(), self.clock(), rank, schema, bundle)
            )
            self._settle()
            self._late += bool(self._held)
            self._news()

    def pending(self, limit: int, after: int = 0) -> list[Message]:
        """The oldest events in the file beyond a place; nothing while it cannot be read, or while what was sent cannot
        be removed."""
        with self._lock:
            self._settle()
            if self._gone:  # they would be sent again
                return []
            rows = self._read(
                "SELECT seq, topic, qos, retain, payload, put_s, schema, bundle FROM queue WHERE seq > ? ORDER BY seq"
                " LIMIT ?",
                after, limit,
            )  # fmt: skip
        return [Message(*row) for row in rows or ()]

    def remove(self, messages: Iterable[Message]) -> None:
        """Forget events that the broker has acknowledged, now or as soon as the file can be written."""
        with self._lock:
            self._gone.update(message.seq for message in messages)
            self._settle()
            self._lock.notify_all()

    def set_aside(self, messages: Sequence[Message], why: Mapping[int, str]) -> bool:
        """Events that the broker will not have wait for a person, with the reason, and the rest goes on. False where
        they are left in the queue, because the file cannot be written."""
        chosen = {message.seq: why[message.seq] for message in messages}

        def put() -> bool:
            self._store.put_aside(chosen)
            return True

        return self._do(put) or False

    def aside(self) -> list[Aside]:
        """What was set aside, the oldest first."""
        with self._lock:
            rows = self._read("SELECT topic, why, since_ns, length(payload) FROM aside ORDER BY seq")
        return [Aside(*row) for row in rows or ()]

    def resend(self) -> int:
        """All that was set aside goes to the end of the queue; how many events. Raises `StorageError`."""
        return self._do(lambda: self._store.put_back()) or 0

    def drop_aside(self) -> int:
        """Forget all that was set aside; how many events. Raises `StorageError`."""
        return self._do(self._store.drop_aside) or 0

    def losses(self) -> list[Loss]:
        """What was lost here and is not told yet, some of it."""
        return self._do(self._store.losses) or []

    def tell(self, loss: Loss, event: Event) -> None:
        """An event tells a loss, which is forgotten as soon as the event is stored."""
        self._do(lambda: self._store.insert([event], loss.rows))

    def clear(self, prefix: str, but: str | None = None) -> int:
        """What the broker retains for us under topics that begin so is to be emptied, less what is of the bundle `but`;
        how many topics. Raises `StorageError`."""
        return self._do(lambda: self._store.clear(prefix, but, time.time_ns())) or 0

    def fact(self, name: str) -> str | None:
        """Something that was noted in the file."""
        return self._do(lambda: self._store.fact(name))

    def note(self, name: str, value: str) -> None:
        """To be remembered for good."""
        self._do(lambda: self._store.note(name, value))

    def tidy(self) -> None:
        """Housekeeping, of which those who put notice little: call it now and then, from a thread that may wait."""
        with contextlib.suppress(sqlite3.Error):
            checkpoint(self.path.absolute())
        if self.depth < _STEP:
            self._do(self._store.shrink)

    def retained(self, prefix: str = "") -> list[tuple[str, bytes]]:
        """What a late subscriber needs: the last payload of every retained topic, less those that wait to be sent."""
        query = "SELECT topic, payload FROM retained WHERE topic NOT IN (SELECT topic FROM queue WHERE retain)"
        with self._lock:
            self._settle()
            while (found := self._read(f"{query} ORDER BY topic")) is None:
                self._linger(self._reading)
            held = {event.topic for event in self._held if event.retain}
        return [(topic, payload) for topic, payload in found if topic.startswith(prefix) and topic not in held]

    def standing(self) -> set[str]:
        """All topics that are retained, or are to be."""
        with self._lock:
            while (found := self._read("SELECT topic FROM retained")) is None:
                self._linger(self._reading)
            return {topic for (topic,) in found} | {event.topic for event in self._held if event.retain}

    @property
    def depth(self) -> int:
        """How many events wait for the broker, in the file and in memory."""
        with self._lock:
            held = len({(event.source, event.id) for event in self._held})
            return max(0, self._store.rows + held - len(self._gone))

    @property
    def dropped(self) -> int:
        """How many events went because there were too many, in the file's whole life."""
        return self._store.dropped

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
                os.close(self.bell)

    def _news(self) -> None:
        self._lock.notify_all()
        os.eventfd_write(self.bell, 1)

    def _do(self, work: Callable[[], T]) -> T | None:
        """One step; None while the file cannot be written or read."""
        with self._lock:
            self._settle()
            done = self._writing.attempt(lambda: (work(),))
            if done is not None and not (self._held or self._gone):
                self._writing.passed()
            self._news()
            return done and done[0]

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
            self._store.delete(self._gone)
            self._gone.clear()
            self._writing.eased()
        while self._held:
            events = list(itertools.islice(self._held, self._step))
            self._step = max(1, len(events) // 2)  # if it fails: there may be room for some of them
            self._store.insert(events)
            self._step = min(_STEP, 2 * len(events))
            for _ in events:
                self._held.popleft()
            self._writing.eased()
        return True


@contextlib.contextmanager
def opened(path: Path, bounds: Bounds = Bounds(), *, patience_s: float = PATIENCE_S) -> Iterator[Outbox]:  # noqa: B008 - immutable
    """An outbox that no other process uses. Raises `BusyError`, `ConfigError`, `StorageError`."""
    if not path.name or path.is_dir():
        raise ConfigError(path, "a folder", expected="a file for the outbox", remedy=f"say {path / 'outbox.sqlite'}")
    with locked(path.with_name(f"{path.name}.lock")):
        outbox = Outbox(path, bounds, patience_s=patience_s)
        try:
            yield outbox
        finally:
            outbox.close()
