"""One collector in a thread of its own: started, and after a fault started again, with longer pauses between.

Ticks lie on a grid of the monotonic clock, so they do not drift. One that is late by a whole period is skipped and
counted, never made up.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from contracts.text import printable
from contracts.vocabulary import Source
from edge.collectors.base import Collector, SourceError, Taken

_log = logging.getLogger("edge")

FIRST_S, LONGEST_S = 0.5, 5.0
"""Pauses between tries double from the first to the longest; each is drawn from its upper half. All that is tried is on
this machine and costs little, and a guest that begins again is seen soon."""
STABLE_S = 60.0
"""A source that was up for so long begins with the first pause again."""
_KEPT = 1024
Sink = Callable[[Source, Sequence[Taken]], None]


@dataclass(frozen=True, kw_only=True)
class State:
    """How a source fares. took_ms, lag_ms: of the reads and rows since it was last asked for."""

    source: Source
    up: bool
    problem: str | None
    remedy: str | None
    rows: int
    failures: int
    """Times that it could not be opened, or was lost, since the agent began."""
    skipped: int
    """Ticks that were too late."""
    took_ms: list[float]
    lag_ms: list[float]
    notes: dict[str, str]
    counts: dict[str, int]


class Supervised:
    """A collector that is kept running."""

    def __init__(self, collector: Collector, sink: Sink, name: str) -> None:
        """name: for the log, such as `g1 qmp`."""
        self.collector, self._sink, self._name = collector, sink, name
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._up, self._problem, self._remedy = False, "not started yet", "wait a moment"
        self._rows = self._failures = self._skipped = 0
        self._took: deque[float] = deque(maxlen=_KEPT)
        self._lag: deque[float] = deque(maxlen=_KEPT)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Once."""
        self._thread.start()

    def stop(self) -> None:
        """Ask it to end."""
        self._stop.set()

    def join(self, seconds: float) -> None:
        """Wait for its end, not for ever: a read may hang in the kernel."""
        self._thread.join(seconds)

    @property
    def down(self) -> str | None:
        """Why it is not up, and the remedy; None while it is."""
        with self._lock:
            return None if self._up else f"{self._problem}; {self._remedy}"

    def state(self) -> State:
        """Since the last call, or since the start where it says so."""
        with self._lock:
            took, lag = list(self._took), list(self._lag)
            self._took.clear()
            self._lag.clear()
            return State(
                source=self.collector.source,
                up=self._up,
                problem=None if self._up else self._problem,
                remedy=None if self._up else self._remedy,
                rows=self._rows,
                failures=self._failures,
                skipped=self._skipped,
                took_ms=took,
                lag_ms=lag,
                notes=self.collector.notes if self._up else {},
                counts=self.collector.counts,
            )

    def _run(self) -> None:
        pause = FIRST_S
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                self.collector.open()
                self._change(True, "", "")
                self._read_on()
            except (SourceError, OSError) as error:
                self._fail(str(error), error.remedy if isinstance(error, SourceError) else "see the system's log")
            except Exception as error:  # one source's bug ends no other source
                _log.exception("%s", self._name)
                self._fail(repr(error), "report this as a bug")
            finally:
                self._close()
            if time.monotonic() - began > STABLE_S:
                pause = FIRST_S
            self._stop.wait(pause * random.uniform(0.5, 1))  # noqa: S311 - spreads tries, keeps no secret
            pause = min(2 * pause, LONGEST_S)

    def _close(self) -> None:
        try:
            self.collector.close()
        except Exception:  # it is opened anew in any case
            _log.exception("%s", self._name)

    def _read_on(self) -> None:
        period, due = self.collector.period_s, time.monotonic()
        while not self._stop.is_set():
            if period is not None:
                due, skipped = next_tick(due, period, time.monotonic())
                with self._lock:
                    self._skipped += skipped
                if self._stop.wait(due - time.monotonic()):
                    return
            began = time.monotonic()
            taken = self.collector.read()
            if taken:
                self._sink(self.collector.source, taken)
            with self._lock:
                self._rows += len(taken)
                if period is not None:
                    self._took.append((time.monotonic() - began) * 1000)
                    self._lag.append((began - due) * 1000)
                self._lag.extend(one.lag_ms for one in taken if one.lag_ms is not None)

    def _fail(self, problem: str, remedy: str) -> None:
        problem = printable(problem)  # a guest may have had a hand in it
        with self._lock:
            self._failures += 1
        self._change(False, problem, remedy)

    def _change(self, up: bool, problem: str, remedy: str) -> None:
        """One log line for each change of state."""
        with self._lock:
            changed = (up, problem) != (self._up, self._problem)
            self._up, self._problem, self._remedy = up, problem, remedy
        if changed and up:
            notes = "; ".join(f"without {field}: {why}" for field, why in self.collector.notes.items())
            _log.info("%s: up%s", self._name, f" ({notes})" if notes else "")
        elif changed:
            _log.warning("%s: %s; %s", self._name, problem, remedy)


def next_tick(last: float, period: float, at: float) -> tuple[float, int]:
    """The tick after `last` on its grid, and how many were skipped because they are over by a whole period."""
    behind = max(0, int((at - last) // period) - 1)
    return last + (1 + behind) * period, behind
