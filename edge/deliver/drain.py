"""The thread that empties an outbox through a publisher, and sets aside what the broker will not have."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from contracts.errors import BrokerError, StorageError
from edge.deliver.outbox import Message, Outbox
from edge.deliver.publisher import Publisher, Refused

log = logging.getLogger("edge.publisher")

BATCH = 200


class Drain:
    """The thread that empties an outbox through a publisher. What the broker refuses `TRIES` times is set aside."""

    TRIES = 3
    PAUSE_S = 1.0

    def __init__(self, outbox: Outbox, publisher: Publisher, took: Callable[[float], None]) -> None:
        """`took` is told, per event, the milliseconds from the outbox to the acknowledgement."""
        self._outbox, self._publisher, self._took = outbox, publisher, took
        self._tries: dict[int, int] = {}
        self._stop = threading.Event()
        self.fault: BrokerError | StorageError | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._publisher.tend()
                batch = self._outbox.pending(BATCH)
                if not batch:
                    self._outbox.wait(0.2)
                    continue
                refused = self._publisher.send(batch)
                now = time.time_ns()
                taken = [message for message in batch if message.seq not in refused]
                for message in taken:
                    self._took((now - message.since_ns) / 1e6)
                self._outbox.remove(taken)
                if refused:
                    self._refuse([message for message in batch if message.seq in refused], refused)
        except BrokerError as error:
            self.fault = error
        except StorageError as error:
            log.error("%s", error)
            self.fault = error
        except Exception as error:  # if this thread ended silently, no event would be sent any more
            log.exception("the drain stopped")
            self.fault = BrokerError("drain", repr(error), expected="to go on", remedy="report this as a bug")

    def _refuse(self, messages: Sequence[Message], why: Refused) -> None:
        for message in messages:
            self._tries[message.seq] = self._tries.get(message.seq, 0) + 1
        given_up = [message for message in messages if self._tries[message.seq] >= self.TRIES]
        if given_up:
            first = given_up[0]
            log.error(
                "%d events are refused by the broker and set aside (%s: %s); see edge outbox list",
                len(given_up), first.topic, why[first.seq],
            )  # fmt: skip
            self._outbox.set_aside(given_up, why)
            for message in given_up:
                del self._tries[message.seq]
        self._stop.wait(self.PAUSE_S)

    def wait_empty(self, seconds: float) -> bool:
        """Whether everything was acknowledged within that time. Raises `StorageError` if the outbox is the reason."""
        until = time.monotonic() + seconds
        while self._outbox.depth and self.fault is None and time.monotonic() < until:
            began = time.monotonic()
            self._outbox.flush()
            until += time.monotonic() - began  # that time was not the broker's
            self._outbox.wait(0.1)
        return self._outbox.depth == 0

    def stop(self) -> None:
        """End the thread; what it had not seen acknowledged stays in the outbox."""
        self._stop.set()
        self._thread.join(5)
