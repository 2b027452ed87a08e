"""This agent, as the broker sees it: one name, one place, `online` or not, and what is retained for who comes late."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from contracts.errors import ConfigError, StorageError
from contracts.events.envelope import availability_topic, session_topic
from contracts.shell.broker import Broker, Version
from edge.deliver.calls import FIRST_S, Calls
from edge.deliver.line import Line
from edge.deliver.place import Place
from edge.deliver.trouble import Trouble

log = logging.getLogger("edge.publisher")

GOODBYE_S = 2.0
_HANG_UPS = 3
_GREET_S = 5.0
"""Between two times that all that is retained is said again because somebody asks."""
_CORRECT_S = 2.0
"""Between two corrections of what somebody else has made of our availability."""


class Retained(NamedTuple):
    """What a late subscriber needs."""

    topic: str
    payload: bytes


class Publisher(ABC):
    """Something that brings us to a broker."""

    @property
    def greeted(self) -> bool:
        """Whether the broker has taken what is said on connecting."""
        return True

    @abstractmethod
    def connect(self, stop: threading.Event, meanwhile: Callable[[], None]) -> Line | None:
        """Call until somebody answers; None if stopped first. meanwhile: called every second. Raises `BusyError`."""

    @abstractmethod
    def tend(self, line: Line) -> None:
        """Called often while a connection lasts: what came is heard."""

    @abstractmethod
    def lost(self, line: Line, *, soon: bool) -> None:
        """The connection has ended. soon: the next call need not wait long."""

    @abstractmethod
    def leave(self, line: Line) -> None:
        """Say that we are going, if anybody listens."""


class MqttPublisher(Publisher):
    """Under a stable client id, with a last will. Its methods are called from one thread."""

    def __init__(
        self,
        broker: Broker,
        node: str,
        greet: Callable[[], Sequence[Retained]] = tuple,
        *,
        place: Place | None = None,
        listen: str | None = None,
    ) -> None:
        """greet: what is retained on every connect, and again when `listen`, a topic, says `online`. place: with one,
        an agent that has this node's name already is noticed. Raises `ConfigError`."""
        self.broker, self.problem = broker, "not connected yet"
        self.connected = False
        self._node, self._greet, self._listen = node, greet, listen
        self._availability = availability_topic(node)
        self._own = {self._availability, session_topic(node)}
        self._calls, self._place, self._looked = Calls(broker.version), place, place is None
        self._corrected = self._pause_s = 0.0
        self._asked = False
        """Whether somebody wants to hear all that is retained."""
        self._wrong = False
        """Whether what stands at our availability is not what we said."""
        self._greetings: dict[int, str] = {}
        """In the air, by their numbers."""
        self._to_say: deque[Retained] = deque()
        self._never: set[str] = set()
        """Topics over which the broker hung up."""
        self._hung_up: Counter[str] = Counter()
        self._said_at = -_GREET_S
        Line(broker, "phasewatch", 5)  # certificates that do not read are said at once

    @property
    def version(self) -> Version:
        """That is spoken."""
        return self._calls.version

    def connect(self, stop: threading.Event, meanwhile: Callable[[], None]) -> Line | None:
        """As it says above."""
        self._wait(stop, meanwhile)
        while not stop.is_set():
            spoken = self._calls.version
            line, trouble = self._call(spoken, stop)
            if line is not None and trouble is None:
                self._calls.accepted()
                self._say(True, f"connected ({'MQTT 5' if spoken == 5 else 'MQTT 3.1.1'})")
                self._hello(line)
                return line
            assert trouble is not None
            self._pause_s = self._calls.failed(trouble)
            if self._calls.version < spoken:
                log.info("%s: does not speak MQTT 5; trying 3.1.1", self.broker.url)
                continue
            self._say(False, str(trouble))
            self._wait(stop, meanwhile)
        return None

    def _call(self, spoken: Version, stop: threading.Event) -> tuple[Line | None, Trouble | None]:
        try:
            line = Line(self.broker, f"phasewatch-{self._node}", spoken, self._availability)
            if not self._looked and self._place is not None:
                if (trouble := self._place.look(self.broker, spoken, stop.is_set)) is not None:
                    return None, trouble
                self._looked = True
            return line, line.call(stop.is_set)
        except ConfigError as error:  # certificates are changed while we run, and may be half there
            return None, Trouble("TLS", f"{error.where}: {error.found}", error.remedy)

    def _wait(self, stop: threading.Event, meanwhile: Callable[[], None]) -> None:
        until, self._pause_s = time.monotonic() + self._pause_s, 0.0
        while (left := until - time.monotonic()) > 0 and not stop.wait(min(left, 1.0)):
            meanwhile()

    def _hello(self, line: Line) -> None:
        self._greetings.clear()
        self._wrong = False
        line.subscribe([self._availability, *([self._listen] if self._listen else [])])
        if self._place is not None:
            self._greetings[self._place.take(line)] = self._place.topic
        self._greetings[line.publish(self._availability, b"online", retain=True)] = self._availability
        self._prepare()

    def _prepare(self) -> None:
        self._said_at = time.monotonic()
        try:
            self._to_say = deque(one for one in self._greet() if one.topic not in self._never)
        except StorageError as error:  # the drain finds out by itself
            log.error("%s", error)

    def _say_more(self, line: Line) -> None:
        """As much as the broker takes at a time."""
        while self._to_say and line.room > 0:
            topic, payload = self._to_say.popleft()
            if (why := line.too_large(topic, payload)) is not None:
                self._avoid(topic, why)
                continue
            try:
                self._greetings[line.publish(topic, payload, retain=True, user=())] = topic
            except ValueError as error:
                self._avoid(topic, str(error))

    def _avoid(self, topic: str, why: str) -> None:
        self._never.add(topic)
        log.error("%s: %s is not said any more (%s); see the broker's rules and limits", self.broker.url, topic, why)

    @property
    def greeted(self) -> bool:
        """As it says above."""
        return not self._greetings and not self._to_say

    def tend(self, line: Line) -> None:
        """As it says above; also what the broker made of what we retain."""
        for mid in self._greetings.keys() & line.answers.keys():
            topic, why = self._greetings.pop(mid), line.answers.pop(mid)
            if why is not None:
                log.error("%s: %s is refused (%s); see the broker's rules", self.broker.url, topic, why)
        while line.heard:
            heard = line.heard.popleft()
            if heard.topic == self._availability:
                self._wrong = heard.payload != b"online"
            elif heard.topic == self._listen:
                self._asked = self._asked or (heard.payload == b"online" and not heard.retained)
            elif self._place is not None:
                self._place.hear(line, heard)
        if self._asked and self.greeted and time.monotonic() - self._said_at > _GREET_S:
            self._asked = False
            self._prepare()
        self._say_more(line)
        self._correct(line)

    def _correct(self, line: Line) -> None:
        """The will of a connection that we had before may come late, or after the broker's own restart."""
        if self._wrong and self.greeted and time.monotonic() - self._corrected > _CORRECT_S:
            self._corrected, self._wrong = time.monotonic(), False
            self._greetings[line.publish(self._availability, b"online", retain=True)] = self._availability

    def lost(self, line: Line, *, soon: bool) -> None:
        """As it says above."""
        self._say(False, line.lost)
        if not self.greeted:
            self._hung_up.update(set(self._greetings.values()) - self._own)
            for topic in [topic for topic, count in self._hung_up.items() if count >= _HANG_UPS]:
                self._avoid(topic, "it hangs up on it")
                del self._hung_up[topic]
        if self._place is not None and self._place.contested():
            self._looked = False
        self._pause_s = FIRST_S if soon else self._calls.lost()

    def leave(self, line: Line) -> None:
        """`stopped` in place of the will."""
        if line.open:
            last = [line.publish(self._availability, b"stopped", retain=True)]
            if self._place is not None:
                last.append(self._place.leave(line))
            if line.wait(lambda: all(mid in line.answers for mid in last), GOODBYE_S):
                line.close()
            else:
                line.cut("stopped")  # no DISCONNECT: the broker then publishes the will instead
        self._say(False, "stopped")

    def _say(self, connected: bool, problem: str) -> None:
        """One log line for each change of state."""
        if (connected, problem) != (self.connected, self.problem):
            log.log(
                logging.INFO if connected or problem == "stopped" else logging.WARNING,
                "%s: %s",
                self.broker.url,
                problem,
            )
        self.connected, self.problem = connected, problem
