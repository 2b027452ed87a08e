"""This agent, as the broker sees it: one name, one place, `online` or not, and what is retained for who comes late."""

from __future__ import annotations

import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple

from contracts.errors import StorageError
from contracts.events.envelope import availability_topic
from contracts.shell.broker import Broker, Version
from edge.deliver.calls import FIRST_S, Calls
from edge.deliver.line import Line
from edge.deliver.place import Place

log = logging.getLogger("edge.publisher")

GOODBYE_S = 2.0
_CORRECT_S = 2.0
"""Between two corrections of what somebody else has made of our availability."""


class Retained(NamedTuple):
    """What a late subscriber needs."""

    topic: str
    payload: bytes


class Publisher(ABC):
    """Something that brings us to a broker."""

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
        self._calls, self._place, self._looked = Calls(broker.version), place, place is None
        self._corrected = self._pause_s = 0.0
        self._wrong = False
        """Whether what stands at our availability is not what we said."""
        self._greetings: dict[int, str] = {}
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
            line = Line(self.broker, f"phasewatch-{self._node}", spoken, self._availability)
            trouble = None
            if not self._looked and self._place is not None:
                trouble = self._place.look(self.broker, spoken, stop.is_set)
                self._looked = trouble is None
            trouble = trouble or line.call(stop.is_set)
            if trouble is None:
                self._calls.accepted()
                self._say(True, f"connected ({'MQTT 5' if spoken == 5 else 'MQTT 3.1.1'})")
                self._hello(line)
                return line
            self._pause_s = self._calls.failed(trouble)
            if self._calls.version < spoken:
                log.info("%s: does not speak MQTT 5; trying 3.1.1", self.broker.url)
                continue
            self._say(False, str(trouble))
            self._wait(stop, meanwhile)
        return None

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
        self._retain(line)

    def _retain(self, line: Line) -> None:
        try:
            for topic, payload in self._greet():
                self._greetings[line.publish(topic, payload, retain=True, user=())] = topic
        except StorageError as error:  # the drain finds out by itself
            log.error("%s", error)

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
                if heard.payload == b"online" and not heard.retained:
                    self._retain(line)
            elif self._place is not None:
                self._place.hear(line, heard)
        self._correct(line)

    def _correct(self, line: Line) -> None:
        """The will of a connection that we had before may come late, or after the broker's own restart."""
        if self._wrong and not self._greetings and time.monotonic() - self._corrected > _CORRECT_S:
            self._corrected, self._wrong = time.monotonic(), False
            self._greetings[line.publish(self._availability, b"online", retain=True)] = self._availability

    def lost(self, line: Line, *, soon: bool) -> None:
        """As it says above."""
        self._say(False, line.lost)
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
