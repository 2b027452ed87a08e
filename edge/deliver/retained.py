"""What a broker retains of nodes and guests that are gone: found, and cleared."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from contracts.errors import BrokerError
from contracts.shell.broker import Broker
from edge.deliver.calls import Calls
from edge.deliver.line import Heard, Line

QUIET_S, LONGEST_S = 1.0, 60.0
"""What is retained has come once nothing more has for so long; and how long we listen at most."""


def retained(line: Line, topics: list[str]) -> dict[str, bytes]:
    """What is retained there, by topic. Raises `BrokerError`."""
    line.subscribe(topics)
    found: dict[str, bytes] = {}
    until, last = time.monotonic() + LONGEST_S, time.monotonic()
    while time.monotonic() < until and time.monotonic() - last < QUIET_S:
        line.turn(0.1)
        while line.heard:
            heard: Heard = line.heard.popleft()
            if heard.retained:
                found[heard.topic], last = heard.payload, time.monotonic()
    if line.denied or not line.open:
        why = line.lost or f"subscription refused ({', '.join(line.denied)})"
        raise BrokerError(line.url, why, expected="to be let read", remedy="let this user read phasewatch/#")
    return found


def clear(line: Line, topics: list[str]) -> dict[str, str]:
    """Empty them; those that the broker will not have emptied, and why. Raises `BrokerError`."""
    sent: dict[int, str] = {}
    for topic in topics:
        if line.wait(lambda: line.room > 0, 30):
            sent[line.publish(topic, b"", retain=True)] = topic
    if not line.wait(lambda: sent.keys() <= line.answers.keys(), 30):
        raise BrokerError(line.url, line.lost or "acknowledges nothing", expected="an answer", remedy="try again")
    return {topic: why for mid, topic in sent.items() if (why := line.answers[mid]) is not None}


def called(broker: Broker, use: Callable[[Line], None]) -> None:
    """Call a broker for one piece of work. Raises `BrokerError`, `ConfigError`."""
    calls, name = Calls(broker.version), f"phasewatch-forget-{secrets.token_hex(4)}"
    line, tried = Line(broker, name, calls.version), 0
    while (trouble := line.call()) is not None:
        before, tried = calls.version, tried + 1
        calls.failed(trouble)
        if tried == 3 or not (trouble.unspoken or calls.version < before):
            found = f"{trouble.stage}: {trouble.found}"
            raise BrokerError(broker.url, found, expected="an MQTT broker", remedy=trouble.remedy)
        line = Line(broker, name, calls.version)
    try:
        use(line)
    finally:
        line.close()
