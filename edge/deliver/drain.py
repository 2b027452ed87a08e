"""The thread that empties an outbox into a broker: as much in the air as the broker takes, and nothing removed before
the broker has spoken of it. What it will not have is set aside, and what was lost is told."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

from contracts.errors import BrokerError, PhasewatchError, StorageError
from edge.deliver.flight import Flight
from edge.deliver.line import Line
from edge.deliver.outbox import Outbox
from edge.deliver.poison import Poison
from edge.deliver.publisher import Publisher
from edge.deliver.rows import Event, Loss

log = logging.getLogger("edge.publisher")

ANSWER_S = 30.0
"""A broker that is connected and acknowledges nothing for so long is called again."""
EVERY_S = 1.0
"""Housekeeping, and what is told of losses."""


class Drain:
    """took: is told, per event, the milliseconds from the outbox to the acknowledgement. tell: makes of a loss the
    event that says it."""

    def __init__(
        self,
        outbox: Outbox,
        publisher: Publisher,
        took: Callable[[float], None],
        tell: Callable[[Loss, float], Event] | None = None,
    ) -> None:
        self._outbox, self._publisher, self._took, self._tell = outbox, publisher, took, tell
        self._poison = Poison(outbox)
        self._stop = threading.Event()
        self._tended = 0.0
        self.fault: PhasewatchError | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                line = self._publisher.connect(self._stop, self._keep_house)
                if line is not None:
                    self._serve(line)
        except StorageError as error:
            log.error("%s", error)
            self.fault = error
        except PhasewatchError as error:
            self.fault = error
        except Exception as error:  # if this thread ended silently, no event would be sent any more
            log.exception("the drain stopped")
            self.fault = BrokerError("drain", repr(error), expected="to go on", remedy="report this as a bug")

    def _serve(self, line: Line) -> None:
        """As long as the connection lasts."""
        flight = Flight(line)
        while line.open and not self._stop.is_set():
            flight.load(self._outbox.pending, self._poison.again(), careful=self._poison.careful)
            line.turn(0.2, self._outbox.bell)
            self._land(flight)
            self._publisher.tend(line)
            line.answers.clear()  # of nobody's
            self._keep_house(connected=True)
            if flight.silent_s > ANSWER_S:
                line.cut(f"acknowledges nothing for {ANSWER_S:g} s; calling it again")
        self._land(flight, last=True)
        if self._stop.is_set():
            self._publisher.leave(line)
        else:
            self._poison.lost(flight, greeted=self._publisher.greeted)
            self._publisher.lost(line, soon=self._poison.careful)

    def _land(self, flight: Flight, *, last: bool = False) -> None:
        with contextlib.suppress(BlockingIOError):  # nobody has rung
            os.eventfd_read(self._outbox.bell)
        flight.land()
        if flight.refused:
            self._poison.refused(flight.refused)
            flight.refused = []
        if taken := flight.removable(last=last):
            now = self._outbox.clock()
            for message in taken:
                self._took((now - message.put_s) * 1000)
            self._outbox.remove(taken)
            if any(message.qos for message in taken):
                self._poison.passed(max(message.seq for message in taken))

    def _keep_house(self, *, connected: bool = False) -> None:
        if time.monotonic() - self._tended < EVERY_S:
            return
        self._tended = time.monotonic()
        self._outbox.tidy()
        if connected and self._tell is not None:
            for loss in self._outbox.losses():
                self._outbox.tell(loss, self._tell(loss, self._outbox.clock()))

    def wait_empty(self, seconds: float) -> bool:
        """Whether everything was acknowledged within that time. Raises `StorageError` if the outbox is the reason."""
        until = time.monotonic() + seconds
        while self._waits() and self.fault is None and time.monotonic() < until:
            began = time.monotonic()
            self._outbox.flush()
            until += time.monotonic() - began  # that time was not the broker's
            self._outbox.wait(0.1)
        return not self._waits()

    def _waits(self) -> bool:
        return bool(self._outbox.depth or (self._tell is not None and self._outbox.losses()))

    def stop(self) -> None:
        """End the thread; what it had not seen acknowledged stays in the outbox."""
        self._stop.set()
        os.eventfd_write(self._outbox.bell, 1)
        self._thread.join(10)
