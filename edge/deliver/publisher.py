"""Outbox -> broker. The seam is `Publisher.send`: it returns when the broker has spoken of each message, or raises.

MQTT 5 where the broker speaks it, since only there an acknowledgement says whether the message was taken (PUBACK's
reason code, MQTT 5.0, 3.4.2.1); else 3.1.1, tried by ourselves, as paho does not.
"""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contracts.errors import BrokerError, ConfigError, StorageError
from contracts.events.envelope import CONTENT_TYPE, availability_topic
from contracts.shell.broker import Broker
from edge.deliver.outbox import Message

log = logging.getLogger("edge.publisher")

IN_FLIGHT = 100
KEEP_ALIVE_S = 30
ANSWER_S = 30.0
"""A broker that is connected and acknowledges nothing for so long is called again."""
CONNACK_S = 4.0
"""Some old brokers say nothing at all to a CONNECT of MQTT 5."""
HANG_UPS, LOSSES = 2, 3
SESSION_S = 7 * 86_400
WILL_DELAY_S = 5
"""A short outage is no death (MQTT 5)."""
PERF_LIVES_S = 90
_HEADER = 512
"""Bytes of a PUBLISH besides topic and payload, at most."""
_OLD = 0x84
"""Unsupported Protocol Version."""
Version = Literal[5, 4]
"""5, or 3.1.1 by the number that its packets carry."""
Refused = Mapping[int, str]
"""Of messages that the broker will not have: why, by their place in the queue."""


class Publisher(ABC):
    """Something that takes messages and vouches for them."""

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> Refused:
        """Return only after every QoS 1 message was answered (PUBACK). Raises `BrokerError` if stopped first."""

    @abstractmethod
    def close(self) -> None:
        """Say that we are leaving, if anybody listens."""

    def tend(self) -> None:  # noqa: B027 - most have nothing to tend
        """Called often, by the thread that sends."""


class MqttPublisher(Publisher):
    """A persistent session under a stable client id, with a last will. Reconnects by itself, without end.

    On every connect `on_connect` gives what a late subscriber needs: (topic, payload) pairs, published as retained.
    """

    def __init__(
        self,
        broker: Broker,
        node: str,
        on_connect: Callable[[], Sequence[tuple[str, bytes]]],
        version: Version | None = None,
    ) -> None:
        """version: that and no other. Raises `ConfigError`."""
        self.broker, self.problem = broker, "not connected yet"
        self._node, self._refresh = node, on_connect
        self._availability = availability_topic(node)
        self._version: Version = version or 5
        self._forced = version is not None
        self._connected, self._stopping = threading.Event(), threading.Event()
        self._answered = self._too_new = self._refused = self._spoken = False
        self._hung_up = 0
        self._largest: int | None = None
        self._window = IN_FLIGHT
        self._losses = 0
        """Times that a connection was lost which the broker had accepted."""
        self._called_at: float | None = None
        # Our own count of PUBACKs: paho's tokens never tell of a message that it had to send twice.
        self._acknowledged: dict[int, str | None] = {}
        self._news = threading.Condition()
        self._client = self._call()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connected.is_set()

    @property
    def version(self) -> Version:
        """That is spoken."""
        return self._version

    def tend(self) -> None:
        """Where the broker does not speak MQTT 5, call it anew and speak 3.1.1."""
        if self.connected or self._stopping.is_set() or self._forced or self._spoken or self._version == 4:
            return
        silent = self._called_at is not None and time.monotonic() - self._called_at > CONNACK_S
        if self._too_new or (silent and not self._answered):
            log.info("%s: does not speak MQTT 5; trying 3.1.1", self.broker.url)
            self._version = 4
            self._anew()

    def send(self, messages: Sequence[Message]) -> Refused:
        """Publish all, as many at a time as the broker takes; the client resends what a lost connection left
        unacknowledged."""
        while not self._connected.wait(0.2):
            self._require_running()
            self.tend()
        refused = {one.seq: why for one in messages if (why := self._too_large(one)) is not None}
        with self._news:
            self._acknowledged.clear()
        coming = deque(one for one in messages if one.seq not in refused)
        flying: dict[int, Message] = {}
        since, losses = time.monotonic(), self._losses
        while coming or flying:
            while coming and len(flying) < self._window:
                one = coming.popleft()
                mid = self._publish(one)
                if one.qos:
                    flying[mid] = one
            answered = self._answers(flying.keys(), 0.2)
            for mid, why in answered.items():
                one = flying.pop(mid)
                if why is not None:
                    refused[one.seq] = why
            self._require_running()
            self.tend()
            if answered or not self.connected:
                since = time.monotonic()
            elif flying and time.monotonic() - since > ANSWER_S:
                log.warning("%s: acknowledges nothing for %.0f s; calling it again", self.broker.url, ANSWER_S)
                self._cut()
                since = time.monotonic()
            if self._losses - losses >= LOSSES and (flying or coming):
                return {**refused, **self._one_by_one([*flying.values(), *coming])}
        return refused

    def _one_by_one(self, messages: Sequence[Message]) -> Refused:
        """After the connection broke again and again: which message does the broker hang up on?"""
        log.warning("%s: hangs up again and again; events go one by one", self.broker.url)
        refused: dict[int, str] = {}
        self._anew()  # or paho would send them all again
        for one in messages:
            while not self._connected.wait(0.2):
                self._require_running()
            losses, mid = self._losses, self._publish(one)
            while one.qos and not (answered := self._answers({mid}, 0.2)):
                self._require_running()
                if self._losses - losses >= 2:
                    answered = {mid: "the broker hangs up on it"}
                    self._anew()
                    break
            if one.qos and (why := answered[mid]) is not None:
                refused[one.seq] = why
        return refused

    def close(self) -> None:
        """Publish `stopped` in place of the will and disconnect. Unacknowledged messages stay in the outbox."""
        self._stopping.set()
        if self.connected:
            mid = self._client.publish(self._availability, b"stopped", qos=1, retain=True).mid
            if self._answers({mid}, 2):
                self._client.disconnect()
            else:
                self._cut()  # no DISCONNECT: the broker then publishes the will instead
        self._client.loop_stop()

    def abort(self) -> None:
        """Make a waiting `send` give up."""
        self._stopping.set()

    def _anew(self) -> None:
        """Forget the client and all that it would send again; what waits is in the outbox."""
        self._client.on_disconnect = None
        self._client.disconnect()
        self._client.loop_stop()
        self._connected.clear()
        self._too_new = False
        self._client = self._call()

    def _call(self) -> mqtt.Client:
        new, name = self._version == 5, f"phasewatch-{self._node}"
        if new:
            client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        else:
            client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, clean_session=False)
        will = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if new else None
        client.will_set(self._availability, b"offline", qos=1, retain=True, properties=will)
        if self.broker.user is not None:
            client.username_pw_set(self.broker.user, self.broker.password)
        if self.broker.tls:
            try:
                client.tls_set(ca_certs=str(self.broker.ca_file) if self.broker.ca_file else None)
            except OSError as error:
                where = self.broker.ca_file or self.broker.url
                raise ConfigError(where, str(error), expected="PEM certificates", remedy="see --ca-file") from None
        client.max_inflight_messages_set(0)  # we count them: paho does not know what a broker takes
        # seconds, doubling from the first to the second; the jitter keeps a roomful of Pis apart
        client.reconnect_delay_set(1 + secrets.randbelow(3), 30 + secrets.randbelow(31))
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish = self._on_publish
        client.on_socket_open = self._on_socket_open
        client.on_connect_fail = self._on_connect_fail
        self._answered, self._called_at = False, None
        if new:
            session = _properties(PacketTypes.CONNECT, SessionExpiryInterval=SESSION_S)
            client.connect_async(
                self.broker.host, self.broker.port, keepalive=KEEP_ALIVE_S, clean_start=False, properties=session
            )
        else:
            client.connect_async(self.broker.host, self.broker.port, keepalive=KEEP_ALIVE_S)
        client.loop_start()
        return client

    def _publish(self, message: Message) -> int:
        properties = None
        if self._version == 5:
            properties = _properties(PacketTypes.PUBLISH, ContentType=f"{CONTENT_TYPE}; charset=UTF-8")
            if message.qos == 0:
                properties.MessageExpiryInterval = PERF_LIVES_S
        return self._client.publish(message.topic, message.payload, message.qos, message.retain, properties).mid

    def _too_large(self, message: Message) -> str | None:
        size = len(message.topic.encode()) + len(message.payload) + _HEADER
        if self._largest is None or size <= self._largest:
            return None
        return f"larger than the broker takes ({self._largest} bytes)"

    def _cut(self) -> None:
        """End the connection without a word."""
        if (connection := self._client.socket()) is not None:
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as lost:
                lost.shutdown(socket.SHUT_RDWR)

    def _answers(self, mids: Collection[int], seconds: float) -> dict[int, str | None]:
        """Those of these that were answered, once there is one or the time is up."""
        with self._news:
            self._news.wait_for(lambda: not mids or any(mid in self._acknowledged for mid in mids), seconds)
            return {mid: self._acknowledged.pop(mid) for mid in list(mids) if mid in self._acknowledged}

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        with self._news:
            self._acknowledged[mid] = str(reason) if getattr(reason, "is_failure", False) else None
            self._news.notify_all()

    def _require_running(self) -> None:
        if self._stopping.is_set():
            raise BrokerError(self.broker.url, self.problem, expected="an MQTT broker", remedy="start it")

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        self._answered = True
        self._refused = bool(reason.is_failure)
        if reason.is_failure:
            self._too_new = not self._forced and self._version == 5 and reason.value == _OLD
            if not self._too_new:
                self._change(False, f"connection refused by the broker ({reason})")
            return
        self._spoken = self._version == 5
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self._window = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", None) or IN_FLIGHT)
        client.publish(self._availability, b"online", qos=1, retain=True)
        try:
            for topic, payload in self._refresh():
                client.publish(topic, payload, qos=1, retain=True)
        except StorageError as error:  # nothing may end paho's thread
            log.error("%s", error)
        self._change(True, "connected")

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if not self._answered and self._version == 5 and not (self._forced or self._spoken):
            self._hung_up += 1  # once may be a broker that is just starting; twice, one that cannot read our CONNECT
            self._too_new = self._hung_up >= HANG_UPS
            self._change(False, "connection closed without an answer")
            return
        self._losses += self.connected
        self._answered, self._called_at = False, None
        if self._stopping.is_set():
            self._change(False, "stopped")
        elif not self._refused:  # a refusal has said why already
            self._change(False, f"connection lost ({reason})")

    def _on_socket_open(self, _client: mqtt.Client, _data: Any, _socket: Any) -> None:
        self._called_at = time.monotonic()

    def _on_connect_fail(self, _client: mqtt.Client, _data: Any) -> None:
        self._change(False, "nobody answers there")

    def _change(self, connected: bool, problem: str) -> None:
        """One log line per change of state."""
        if connected != self.connected or (not connected and problem != self.problem):
            log.info("%s: %s", self.broker.url, problem)
        self.problem = problem
        if connected:
            self._connected.set()
        else:
            self._connected.clear()


def _properties(kind: int, **values: object) -> Properties:
    """Of one packet (MQTT 5.0, 2.2.2)."""
    properties: Properties = Properties(kind)  # type: ignore[no-untyped-call] # paho has no types there
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
