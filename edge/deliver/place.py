"""A node's name belongs to one agent at a time. Who comes later finds the other out, and stops, naming it.

An agent that has had its place for a minute keeps it, whatever a message says: only one that starts gives way, or of
two that have thrown each other off three times, as after a network that was apart, the one that began later.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import time
from collections.abc import Callable
from typing import Annotated

import msgspec

from contracts.decode import UNDECODABLE
from contracts.errors import BusyError
from contracts.events.envelope import rfc3339, session_topic
from contracts.shell.broker import Broker, Version
from contracts.text import printable
from edge.deliver.line import Heard, Line
from edge.deliver.trouble import Trouble

log = logging.getLogger("edge.publisher")

ECHO_S, ANSWER_S, OURS_S, AGAIN_S = 2.0, 3.0, 1.0, 0.5
"""How long our own question is waited for; how long an agent that was here before has to answer; the same where it
seems to have been ourselves; and how soon it is asked again."""
THROWN_OFF = 3
SETTLED_S = 60.0
"""Whose place was not contested for so long keeps it."""


class Claim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What stands, retained, at `phasewatch/<node>/session`. asks: of one that starts, and is not retained."""

    session: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}$(?!\n)")]
    host: Annotated[str, msgspec.Meta(max_length=256)]
    pid: Annotated[int, msgspec.Meta(ge=0, le=2**32)]
    since_ns: Annotated[int, msgspec.Meta(ge=0, le=2**62)]
    asks: bool = False


_decoder = msgspec.json.Decoder(Claim)


class Place:
    """Of one agent. before: the session of the run before this one, whose claim may still stand."""

    def __init__(self, node: str, before: str | None) -> None:
        self.topic, self._before = session_topic(node), before
        host = platform.node()[:256]
        self.claim = Claim(session=secrets.token_hex(16), host=host, pid=os.getpid(), since_ns=time.time_ns())
        self._told: str | None = None
        self._taken_at = float("inf")
        self._other: Claim | None = None
        self._answered_at, self._thrown_off = 0.0, 0

    def look(self, broker: Broker, version: Version, stopped: Callable[[], bool]) -> Trouble | None:
        """Before the first call under the node's name, by another name: is an agent there? Our own question must come
        back: under 3.1.1 nothing else tells whether we may publish. Raises `BusyError`, `ConfigError`."""
        line = Line(broker, f"phasewatch-look-{secrets.token_hex(4)}", version)
        if (trouble := line.call(stopped)) is not None:
            return trouble
        try:
            return self._ask(line, broker, stopped)
        finally:
            line.close()

    def _ask(self, line: Line, broker: Broker, stopped: Callable[[], bool]) -> Trouble | None:
        question = msgspec.json.encode(msgspec.structs.replace(self.claim, asks=True))
        line.subscribe([self.topic])
        line.publish(self.topic, question)
        echoed = stood = ours = False
        other: Claim | None = None

        def listen() -> bool:
            nonlocal echoed, stood, ours, other
            while line.heard:
                heard = line.heard.popleft()
                if (claim := _claim(heard)) is None:
                    continue
                if claim.session == self.claim.session:
                    echoed = True
                elif heard.retained:
                    ours = claim.session == self._before
                    stood = not ours
                elif claim.asks and self._later(claim):
                    line.publish(self.topic, msgspec.json.encode(self.claim))  # it gives way
                else:
                    other = claim
            return other is not None or stopped()

        line.wait(lambda: listen() or echoed, ECHO_S)
        # a copy of a running agent's card has its last session for its own, too
        patience_s = ANSWER_S if stood else OURS_S if ours else 0.0
        for _ in range(round(patience_s / AGAIN_S)):
            if line.wait(listen, AGAIN_S):
                break
            line.publish(self.topic, question)
        if other is not None:
            raise BusyError(
                f"{broker.url}: {self.topic}", _named(other), expected="one agent for each node's name",
                remedy="stop it, or give this one another name (node in edge.toml, --node)",
            )  # fmt: skip
        if not echoed and line.open and not stopped():
            may = f"let this user read and write phasewatch/{self.topic.split('/')[1]}/#"
            if line.version == 4:
                found = f"acknowledges what we publish to {self.topic}, and does not pass it on"
                return Trouble("MQTT", found, f"{may}, or use a broker that speaks MQTT 5")
            if self._told is None:
                self._told = ""
                log.warning("%s: another agent under this name cannot be noticed: %s", broker.url, may)
        return None

    def take(self, line: Line) -> int:
        """Stand there."""
        self._taken_at = min(self._taken_at, time.monotonic())
        line.subscribe([self.topic])
        return line.publish(self.topic, msgspec.json.encode(self.claim), retain=True)

    def leave(self, line: Line) -> int:
        """Nobody stands there any more."""
        return line.publish(self.topic, b"", retain=True)

    def hear(self, line: Line, heard: Heard) -> None:
        """Somebody else speaks there: who asks is answered; anything else is said, once for each."""
        claim = _claim(heard)
        if claim is None or claim.session == self.claim.session or (heard.retained and claim.session == self._before):
            return
        if not claim.asks:
            self._other = claim
        if claim.asks:
            if time.monotonic() - self._answered_at > AGAIN_S / 2:  # whoever asks without end is not answered so
                self._answered_at = time.monotonic()
                line.publish(self.topic, msgspec.json.encode(self.claim), retain=True)
        elif claim.session != self._told:
            self._told = claim.session
            log.error("%s: %s; it speaks under our name", self.topic, _named(claim))

    def contested(self) -> bool:
        """Whether to look again, after a connection was lost: somebody else took the place at the same moment, or has
        thrown us off again and again, and was here before us."""
        other, self._other = self._other, None
        if other is None:
            return False
        self._thrown_off += 1
        young = time.monotonic() - self._taken_at < SETTLED_S
        return young or (self._thrown_off >= THROWN_OFF and not self._later(other))

    def _later(self, claim: Claim) -> bool:
        return (claim.since_ns, claim.session) > (self.claim.since_ns, self.claim.session)


def _claim(heard: Heard) -> Claim | None:
    try:
        return _decoder.decode(heard.payload)
    except UNDECODABLE:
        return None


def _named(claim: Claim) -> str:
    return f"an agent is there, on {printable(claim.host)} (pid {claim.pid}, since {rfc3339(claim.since_ns)[:19]}Z)"
