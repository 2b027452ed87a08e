"""When a broker is called again, and in which version of MQTT."""

from __future__ import annotations

import logging
import secrets
import time

from contracts.shell.broker import Version
from edge.deliver.trouble import Trouble

log = logging.getLogger("edge.publisher")

FIRST_S, LONGEST_S = 1.0, 60.0
STABLE_S = 60.0
"""A connection that lasted so long ends the waiting that came before it; one that flaps does not."""
_UNSPOKEN = 2
"""Two who hung up, or one who kept silent: it cannot read our CONNECT."""
_random = secrets.SystemRandom()


class Calls:
    """version: that and no other; else 5, and 3.1.1 for good where the broker does not speak 5 (paho does not try)."""

    def __init__(self, version: Version | None = None) -> None:
        self.version: Version = version or 5
        self._forced = self._settled = version is not None
        self._spoken = False
        self._unspoken, self._delay_s, self._since = 0, 0.0, 0.0

    def failed(self, trouble: Trouble) -> float:
        """Seconds until the next call."""
        if not self._settled:
            self._unspoken = self._unspoken + trouble.unspoken if trouble.unspoken else 0
            if trouble.old or self._unspoken >= _UNSPOKEN:
                self.version, self._settled = 4, True
                return 0.0
        elif trouble.unspoken and self.version == 4 and not (self._forced or self._spoken):
            self.version, self._settled, self._unspoken = 5, False, 0  # it was not that
        return self._next()

    def accepted(self) -> None:
        """A connection begins."""
        self._settled = self._spoken = True
        self._since = time.monotonic()

    def lost(self) -> float:
        """Seconds until the next call."""
        if time.monotonic() - self._since >= STABLE_S:
            self._delay_s = 0.0
        return self._next()

    def _next(self) -> float:
        """Twice as long each time, with jitter drawn anew, so that a roomful of agents does not call at once."""
        self._delay_s = min(LONGEST_S, max(FIRST_S, 2 * self._delay_s))
        return _random.uniform(self._delay_s / 2, self._delay_s)
