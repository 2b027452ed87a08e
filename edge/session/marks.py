"""Marks for a recording that runs: by a Unix socket beside the agent's state (`edge mark`), and by MQTT.

Whoever may open the socket may mark; it is its owner's alone. What comes is checked like everything from outside.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from contracts.decode import UNDECODABLE
from contracts.errors import BrokerError, LabelError, MissingError, PhasewatchError
from contracts.moments import unix_ns
from contracts.shell.broker import Broker
from contracts.text import printable
from contracts.types import Nanoseconds
from contracts.vocabulary import MARK, Phase
from edge.audit.ear import Ear
from edge.collectors.base import Stamp, now

_log = logging.getLogger("edge")
_LARGEST = 4096
_PATIENCE_S = 5.0


class Order(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As `edge mark` says it. at_ns: the moment, Unix ns; null for now."""

    phase: Phase
    at_ns: Nanoseconds | None = None


class Answer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What became of it: words for the user, or why not."""

    done: str | None = None
    refused: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """As MQTT brings it: `{"phase": "armed"}`. time: ISO 8601, UTC where it names no zone."""

    phase: Phase
    time: str | None = None


class Mark(NamedTuple):
    """One that is well-formed."""

    phase: Phase
    at: Stamp


def moment(text: str) -> int:
    """Unix ns of a time as ISO 8601. Raises `LabelError`."""
    try:
        return unix_ns(text)
    except ValueError:
        raise LabelError("mark", f"time {text[:64]!r}", expected="ISO 8601, as 2026-01-31T12:00:00.5Z",
                         remedy="correct it") from None  # fmt: skip


def stamp_of(at_ns: int | None) -> Stamp:
    """A moment by both clocks; None for now."""
    at = now()
    return at if at_ns is None else Stamp(at_ns, max(0, at.mono_ns - (at.wall_ns - at_ns)))


class Socket:
    """Where `edge mark` finds a recording. Raises `MissingError` where it cannot be made."""

    def __init__(self, state: Path, guest: str) -> None:
        self._path = socket_of(state, guest)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        try:
            state.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()  # of one that was killed: who records holds a lock
            before = os.umask(0o177)
            try:
                with _short(self._path) as short:
                    self._socket.bind(short)
            finally:
                os.umask(before)
            self._socket.listen(8)
        except OSError as error:
            raise MissingError(self._path, f"no socket ({error.strerror})", expected="a folder that we may write to",
                               remedy="name another state folder in [bundle]") from None  # fmt: skip
        self._socket.setblocking(False)

    def orders(self) -> Iterator[tuple[Order | None, socket.socket]]:
        """What has come, and whom to answer; None for what is no order."""
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            with connection:
                connection.settimeout(0.2)
                order = None
                with contextlib.suppress(*UNDECODABLE, OSError):
                    order = msgspec.json.decode(connection.recv(_LARGEST), type=Order)
                yield order, connection

    def close(self) -> None:
        """Take it away."""
        self._socket.close()
        self._path.unlink(missing_ok=True)


def answer(connection: socket.socket, said: Answer) -> None:
    """Whoever has gone is not told."""
    with contextlib.suppress(OSError):
        connection.sendall(msgspec.json.encode(said))


def send_mark(state: Path, guest: str, order: Order) -> str:
    """Mark a recording that runs; what it says. Raises `MissingError` where none does, `LabelError` if refused."""
    path = socket_of(state, guest)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as connection:
        connection.settimeout(_PATIENCE_S)
        try:
            with _short(path) as short:
                connection.connect(short)
            connection.sendall(msgspec.json.encode(order))
            said = msgspec.json.decode(connection.recv(_LARGEST), type=Answer)
        except (OSError, *UNDECODABLE) as error:
            found = error.strerror if isinstance(error, OSError) and error.strerror else "no answer"
            raise MissingError(path, f"nobody records {guest} ({found})", expected="a running `edge record`",
                               remedy="start it, or name the same --config") from None  # fmt: skip
    if said.done is None:
        raise LabelError("mark", said.refused or "refused", expected="a mark that fits", remedy="see the message")
    return said.done


class ByMqtt:
    """Marks that come as messages to `phasewatch/<node>/<guest>/mark`. A retained one is of another time: ignored."""

    def __init__(self, broker: Broker, node: str, guest: str) -> None:
        self.topic = f"phasewatch/{node}/{guest}/{MARK}"
        self._ear = Ear(broker, [self.topic], lambda said: _log.info("%s", said))
        self._came: queue.Queue[Mark] = queue.Queue(64)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="marks", daemon=True)

    def start(self) -> None:
        """Raises `BrokerError`, `ConfigError` where the broker does not let us in."""
        self._ear.connect()
        self._thread.start()

    def take(self) -> Iterator[Mark]:
        """What has come."""
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._came.get_nowait()

    def stop(self) -> None:
        """Hang up."""
        self._stop.set()
        self._thread.join(3)

    def _listen(self) -> None:
        try:
            while not self._stop.is_set():
                for heard in self._ear.listen(0.2):
                    if heard.retained:
                        _log.warning("a retained mark is ignored: it is of another time")
                        continue
                    try:
                        self._came.put_nowait(mark_of(heard.payload))
                    except (PhasewatchError, queue.Full) as error:
                        _log.warning("a mark by MQTT is refused: %s", error or "too many at once")
        except BrokerError as error:
            _log.warning("marks by MQTT end: %s", error)
        finally:
            self._ear.close()


def mark_of(payload: bytes) -> Mark:
    """Raises `LabelError`."""
    try:
        message = msgspec.json.decode(payload[:_LARGEST], type=Message)
    except UNDECODABLE as error:
        raise LabelError("mark", printable(str(error))[:200], expected='{"phase": "armed"}, or with a "time"',
                         remedy="send that") from None  # fmt: skip
    return Mark(message.phase, stamp_of(None if message.time is None else moment(message.time)))


def socket_of(state: Path, guest: str) -> Path:
    """Of one guest's recording."""
    return state / f"recording-{re.sub(r'[^A-Za-z0-9._-]', '-', guest)}.sock"


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """A name that fits into a socket's address (unix(7): 107 bytes), however long the path is."""
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)
