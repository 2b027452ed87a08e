"""One source: open it, read rows at each tick, close it. It fails by saying why, and its supervisor tries again."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from contracts.telemetry.rows import Row
from contracts.vocabulary import Source

MS = 1_000_000
_TORN_NS = MS


class SourceError(Exception):
    """A source that cannot be read now. `str()` is what was found; `remedy` what to do about it."""

    def __init__(self, found: str, remedy: str) -> None:
        super().__init__(found)
        self.remedy = remedy


class Stamp(NamedTuple):
    """One moment by both of the host's clocks, ns."""

    wall_ns: int
    mono_ns: int


def now() -> Stamp:
    """This moment. The two clocks are read within a millisecond of each other."""
    while True:
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        if after - before < _TORN_NS:
            return Stamp(wall, (before + after) // 2)


class Taken(NamedTuple):
    """A row, when it came, and by how many ms it came behind what it tells of (None: not known)."""

    row: Row
    at: Stamp
    lag_ms: float | None = None


class Collector(ABC):
    """One source of one guest. Its supervisor calls it from one thread."""

    source: ClassVar[Source]
    period_s: float | None
    """From tick to tick; None for one that waits for what comes by itself, for half a second at most."""

    @abstractmethod
    def open(self) -> None:
        """Find the source. Raises `SourceError`, `OSError`."""

    @abstractmethod
    def read(self) -> Sequence[Taken]:
        """What there is at this tick. Raises `SourceError`, `OSError` when the source is gone."""

    @abstractmethod
    def close(self) -> None:
        """Let go of it; it may be opened again."""

    @property
    def notes(self) -> dict[str, str]:
        """Fields that cannot be read while the source is up, and why."""
        return {}

    @property
    def counts(self) -> dict[str, int]:
        """What else is worth counting, by name."""
        return {}
