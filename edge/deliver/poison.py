"""Events that a broker will not have. Each is tried three times, then set aside, and the rest goes on."""

from __future__ import annotations

import logging
import time

from edge.deliver.flight import Flight
from edge.deliver.outbox import Outbox
from edge.deliver.rows import Message

log = logging.getLogger("edge.publisher")

TRIES, PAUSE_S = 3, 1.0
LOSSES, HANG_UPS = 3, 2
SAY_S = 60.0
"""Between two log lines of what is refused, each with how many."""
PROMPT_S = 5.0
"""Who hangs up so soon after an event may mean that event."""


class Poison:
    """careful: the broker hung up again and again over the same events, and they go one by one, until it is known on
    which."""

    def __init__(self, outbox: Outbox) -> None:
        self.careful = False
        self._outbox = outbox
        self._tries: dict[int, int] = {}
        self._hang_ups: dict[int, int] = {}
        self._again: list[tuple[float, Message]] = []
        self._losses = self._careful_until = self._unsaid = 0
        self._say_at = 0.0

    def again(self) -> list[Message]:
        """Refused before, and to be tried now."""
        now = time.monotonic()
        due = [message for at, message in self._again if at <= now]
        if due:
            self._again = [one for one in self._again if one[0] > now]
        return due

    def refused(self, refused: list[tuple[Message, str]]) -> None:
        """The broker has said no."""
        given_up, at = {}, time.monotonic() + PAUSE_S
        for message, why in refused:
            self._tries[message.seq] = self._tries.get(message.seq, 0) + 1
            if self._tries[message.seq] >= TRIES:
                given_up[message.seq] = (message, why)
            else:
                self._again.append((at, message))
        self._set_aside(given_up)

    def _set_aside(self, given_up: dict[int, tuple[Message, str]]) -> None:
        if not given_up:
            return
        message, why = next(iter(given_up.values()))
        done = self._outbox.set_aside(
            [one for one, _ in given_up.values()], {seq: why for seq, (_, why) in given_up.items()}
        )
        if not done:  # the file is held: once more, later
            self._again += [(time.monotonic() + PAUSE_S, one) for one, _ in given_up.values()]
            return
        for seq in given_up:
            self._tries.pop(seq, None)
        self._unsaid += len(given_up)
        if time.monotonic() >= self._say_at:
            log.error(
                "%d events are refused by the broker and set aside (%s: %s); see edge outbox list",
                self._unsaid, message.topic, why,
            )  # fmt: skip
            self._unsaid, self._say_at = 0, time.monotonic() + SAY_S
        self.passed(max(given_up))

    def passed(self, seq: int) -> None:
        """The queue has come so far."""
        self._losses = 0
        if self.careful and seq >= self._careful_until:
            self.careful = False
        if len(self._tries) > 10_000:  # of events that are gone
            self._tries.clear()

    def lost(self, flight: Flight, *, greeted: bool) -> None:
        """The broker has hung up, and what was in the air goes again. greeted: it had taken what we say on connecting,
        so that it was not that."""
        self._again.clear()
        if not greeted or not flight.flying or flight.progress or flight.silent_s > PROMPT_S:
            return
        if self.careful:
            message = next(iter(flight.flying.values()))
            seq = message.seq
            self._hang_ups[seq] = self._hang_ups.get(seq, 0) + 1
            if self._hang_ups[seq] >= HANG_UPS:
                self._set_aside({seq: (message, "the broker hangs up on it")})
            return
        self._losses += 1
        if self._losses >= LOSSES:
            self.careful, self._careful_until = True, max(one.seq for one in flight.flying.values())
            log.warning("%s: hangs up again and again; events go one by one", flight.line.url)
