"""What the outbox holds, and within which bounds."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

from contracts.events.payloads import Cause


class Rank(IntEnum):
    """What goes first where there is too much."""

    PERF = 0
    SUPERSEDED = 1
    WINDOW = 2
    LATEST = 3
    """A scorecard; with the next of its topic it is superseded."""
    KEPT = 4
    ALARM = 5


class Bounds(NamedTuple):
    """Of what waits. seconds: of which an agent ran; a clock that is set makes nothing old."""

    events: int = 1_000_000
    bytes: int = 500 << 20
    seconds: float = 30 * 86_400


class Event(NamedTuple):
    """One event on its way into the queue."""

    source: str
    id: str
    topic: str
    qos: int
    retain: bool
    payload: bytes
    since_ns: int
    put_s: float
    rank: Rank
    schema: str | None
    bundle: str | None


class Message(NamedTuple):
    """One event, ready to send. seq: its place in the queue; put_s: when it came there, by the outbox's clock."""

    seq: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    put_s: float
    schema: str | None
    bundle: str | None


class Loss(NamedTuple):
    """Events of one source that were lost for one reason, not told yet. ranges: by their numbers; None if unknown.
    rows: where that is noted, and up to which number."""

    source: str
    cause: Cause
    schema: str
    why: str | None
    ranges: list[tuple[int, int]] | None
    rows: list[tuple[int, int | None]]
