"""The fakes for this room's tests: a line whose broker acknowledges when it is told to, and who brings us to it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from edge.deliver.line import Heard, Line
from edge.deliver.publisher import Publisher


class FakeLine(Line):
    """`arrived` is called with each payload; what is in `sent` is acknowledged once `acknowledge` is set."""

    def __init__(self, arrived: Callable[[bytes], None], acknowledge: threading.Event) -> None:
        self.version, self.window, self.lost, self.url = 5, 400, "", "mqtt://fake:1883"
        self.answers: dict[int, str | None] = {}
        self.heard = deque[Heard]()
        self._arrived, self._acknowledge = arrived, acknowledge
        self._unanswered: list[int] = []
        self._mid = 0
        self._air: set[int] = set()

    def publish(self, topic: str, payload: bytes, **_: object) -> int:
        self._arrived(payload)
        self._mid += 1
        self._unanswered.append(self._mid)
        return self._mid

    def too_large(self, topic: str, payload: bytes) -> str | None:
        return None

    def turn(self, seconds: float, bell: int | None = None) -> None:
        if self._acknowledge.wait(0.01):
            self.answers.update(dict.fromkeys(self._unanswered))
            self._unanswered.clear()
        time.sleep(0.001)

    def cut(self, why: str) -> None:
        self.lost = self.lost or why


class Quick(Publisher):
    """Acknowledges at once."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.acknowledge = threading.Event()
        self.acknowledge.set()

    def arrived(self, payload: bytes) -> None:
        self.sent.append(payload)

    def connect(self, stop: threading.Event, meanwhile: Callable[[], None]) -> Line | None:
        return FakeLine(self.arrived, self.acknowledge)

    def tend(self, line: Line) -> None:
        pass

    def lost(self, line: Line, *, soon: bool) -> None:
        time.sleep(0.05)

    def leave(self, line: Line) -> None:
        pass
