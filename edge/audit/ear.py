"""The subscriber: it hears all that a broker has of us, and calls again when it is hung up on."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from contracts.errors import BrokerError
from contracts.shell.broker import Broker
from edge.deliver.calls import Calls
from edge.deliver.line import SESSION_S, Heard, Line
from edge.deliver.trouble import Trouble

PATIENCE_S = 30.0
"""How long the first call is tried."""


class Ear:
    """topics: with wildcards. The broker keeps what comes while we are away, as far as it does that (MQTT 5)."""

    def __init__(
        self,
        broker: Broker,
        topics: list[str],
        said: Callable[[str], None],
        *,
        name: str | None = None,
        session_s: int = SESSION_S,
    ) -> None:
        """said: is told when the connection comes and goes. name: of the session, by which the broker knows us again;
        session_s: how long it keeps what comes."""
        self._broker, self._topics, self._said = broker, topics, said
        self._name, self._session_s = name or f"phasewatch-audit-{secrets.token_hex(4)}", session_s
        self._calls = Calls(broker.version)
        self._line: Line | None = None
        self._again = 0.0

    def connect(self) -> None:
        """For the first time. Raises `BrokerError` where nobody lets us in, `ConfigError`."""
        until = time.monotonic() + PATIENCE_S
        while (trouble := self._call()) is not None:
            if time.monotonic() + (pause := self._calls.failed(trouble)) > until:
                raise BrokerError(self._broker.url, f"{trouble.stage}: {trouble.found}", expected="an MQTT broker",
                                  remedy=trouble.remedy)  # fmt: skip
            time.sleep(pause)

    def _call(self) -> Trouble | None:
        line = Line(self._broker, self._name, self._calls.version, session_s=self._session_s)
        if (trouble := line.call()) is not None:
            return trouble
        self._calls.accepted()
        line.subscribe(self._topics)
        if not line.wait(lambda: line.granted, PATIENCE_S):
            why = line.lost or "no answer to SUBSCRIBE"
            line.close()
            return Trouble("MQTT", why, "see the broker's log")
        if line.denied:
            line.close()
            raise BrokerError(self._broker.url, f"subscription refused ({', '.join(line.denied)})",
                              expected="to be let listen", remedy="let this user read phasewatch/#")  # fmt: skip
        self._said(f"listening to {', '.join(self._topics)}")
        self._line = line
        return None

    def listen(self, seconds: float) -> list[Heard]:
        """What came within that time, or sooner. Raises `BrokerError` where we may not listen any more."""
        line = self._line
        if line is None:
            if time.monotonic() < self._again:
                time.sleep(min(seconds, 0.1))
            elif (trouble := self._call()) is not None:
                self._again = time.monotonic() + self._calls.failed(trouble)
            return []
        line.turn(seconds)
        heard = list(line.heard)
        line.heard.clear()
        if not line.open:
            self._said(line.lost)
            self._line, self._again = None, time.monotonic() + self._calls.lost()
        return heard

    def close(self) -> None:
        """End it."""
        if self._line is not None:
            self._line.close()
