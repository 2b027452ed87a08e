"""Messages in the air on one connection, as many as the broker takes, and what became of them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from edge.deliver.line import Line
from edge.deliver.rows import Message

FETCHED, REMOVED = 400, 200
"""Messages are read, and when acknowledged removed, so many at a time."""
_OFTEN_S = 0.5
PERF_LIVES_S = 90
"""Of interest to nobody after that (MQTT 5)."""


class Flight:
    """taken: acknowledged, and not removed yet; refused: why, and which; progress: whether any was taken at all."""

    def __init__(self, line: Line) -> None:
        self.line, self.flying = line, dict[int, Message]()
        self.taken: list[Message] = []
        self.refused: list[tuple[Message, str]] = []
        self.progress = False
        self._coming: deque[Message] = deque()
        self._after = 0
        self._heard_at = self._removed_at = time.monotonic()

    def load(self, pending: Callable[[int, int], list[Message]], again: list[Message], *, careful: bool) -> None:
        """Send what there is room for. careful: one at a time, each to be acknowledged."""
        self._coming.extendleft(reversed(again))
        # whenever there is room: a sender that waits for many answers waits for the broker's delayed ones too
        for _ in range(1 - len(self.flying) if careful else self.line.room):
            if not self._coming:
                self._coming.extend(pending(1 if careful else FETCHED, self._after))
            if not self._coming:
                break
            message = self._coming.popleft()
            self._send(message, careful)
            self._after = max(self._after, message.seq)

    def _send(self, message: Message, careful: bool) -> None:
        if (why := self.line.too_large(message.topic, message.payload)) is not None:
            self.refused.append((message, why))
            return
        if not self.flying:
            self._heard_at = time.monotonic()
        said = (("featureschema", message.schema), ("bundle", message.bundle))
        try:
            mid = self.line.publish(
                message.topic,
                message.payload,
                qos=max(message.qos, careful),
                retain=message.retain,
                expires_s=None if message.qos else PERF_LIVES_S,
                user=None if message.schema is None else tuple((name, value) for name, value in said if value),
            )
        except ValueError as error:  # a topic that is none, as a spoiled card leaves it
            self.refused.append((message, str(error)))
            return
        self.flying[mid] = message

    def land(self) -> None:
        """What the broker has answered since."""
        answers = self.line.answers
        for mid in list(answers):
            if (message := self.flying.pop(mid, None)) is None:
                continue  # it belongs to somebody else
            self._heard_at = time.monotonic()
            if (why := answers.pop(mid)) is None:
                self.taken.append(message)
                self.progress = self.progress or message.qos > 0  # any other was written, and no more is known
            else:
                self.refused.append((message, why))

    def removable(self, *, last: bool = False) -> list[Message]:
        """What was taken, once it is worth a step of the outbox."""
        now = time.monotonic()
        if not self.taken or not (
            last or not self.flying or len(self.taken) >= REMOVED or now - self._removed_at > _OFTEN_S
        ):
            return []
        taken, self.taken, self._removed_at = self.taken, [], now
        return taken

    @property
    def silent_s(self) -> float:
        """How long the broker has acknowledged nothing of what is in the air."""
        return time.monotonic() - self._heard_at if self.flying else 0.0
