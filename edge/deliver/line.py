"""One connection to a broker, by paho, in the thread of whoever calls: nothing happens but in `open` and `turn`."""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from contracts.errors import ConfigError
from contracts.events.envelope import CONTENT_TYPE
from contracts.shell.broker import Broker, Version
from edge.deliver.trouble import PATIENCE_S, Trouble, of_error, of_refusal, of_silence, tls_context

log = logging.getLogger("edge.publisher")

IN_FLIGHT = 400
KEEP_ALIVE_S = 30
CONNACK_S = 4.0
"""Some old brokers say nothing at all to a CONNECT of MQTT 5."""
SESSION_S = 300
"""A session must outlast the delay of its will, or there is none (MQTT 5.0, 3.1.3.2.2)."""
LARGEST_HEARD = 1 << 20
"""Bytes of a message that may be sent to us (MQTT 5): what others publish fills no memory."""
WILL_DELAY_S = 5
"""A short outage is no death (MQTT 5)."""
_HEADER = 512
"""Bytes of a PUBLISH besides topic and payload, at most."""


class Heard(NamedTuple):
    """A message that came."""

    topic: str
    payload: bytes
    retained: bool


class Line:
    """answers: by the number that `publish` gave, None or why the broker will not have it. heard: what came, oldest
    first. lost: why there is no connection any more."""

    def __init__(
        self, broker: Broker, client_id: str, version: Version, will: str | None = None, session_s: int = SESSION_S
    ) -> None:
        """will: the topic that becomes `offline`, retained, if we vanish. session_s: how long the broker keeps for us
        what we subscribed to (MQTT 5). Raises `ConfigError`."""
        self.version, self.lost = version, "not connected yet"
        self.answers: dict[int, str | None] = {}
        self.heard: deque[Heard] = deque()
        self.denied: list[str] = []
        """Why subscriptions were refused."""
        self.granted = False
        """Whether the broker has answered to them."""
        self.window, self._largest = IN_FLIGHT, None
        self.url, self._broker, self._session_s = broker.url, broker, session_s
        self._answer: Trouble | Literal["accepted"] | None = None
        self._said, self._came = "", 0
        self._air: set[int] = set()
        new = version == 5
        self._client = client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id,
            clean_session=None if new else True,
            protocol=mqtt.MQTTv5 if new else mqtt.MQTTv311,
            transport="tcp" if broker.path is None else "websockets",
        )
        if broker.path is not None:
            client.ws_set_options(broker.path)
        if broker.tls:
            try:
                client.tls_set_context(tls_context(broker))
            except OSError as error:
                where = broker.certificate or broker.ca_file or broker.url
                remedy = "see --ca-file, --client-certificate and --client-key"
                raise ConfigError(where, str(error), expected="PEM certificates", remedy=remedy) from None
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if will is not None:
            delay = _properties(PacketTypes.WILLMESSAGE, WillDelayInterval=WILL_DELAY_S) if new else None
            client.will_set(will, b"offline", qos=1, retain=True, properties=delay)
        client.connect_timeout = PATIENCE_S
        client.max_inflight_messages_set(0)  # we count them: paho does not know what a broker takes
        client.on_socket_register_write = _nothing  # packets are written in `turn`, many at a time
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish, client.on_message, client.on_subscribe = (
            self._on_publish,
            self._on_message,
            self._on_subscribe,
        )
        client.on_log = self._on_log

    @property
    def open(self) -> bool:
        """Whether there is a connection."""
        return not self.lost

    def call(self, stopped: Callable[[], bool] = lambda: False) -> Trouble | None:
        """Connect, and wait until the broker has accepted us; what was the trouble otherwise."""
        where = (self._broker.host, self._broker.port, KEEP_ALIVE_S)
        try:
            if self.version == 5:  # the session that a will belongs to goes on
                session = _properties(
                    PacketTypes.CONNECT, SessionExpiryInterval=self._session_s, MaximumPacketSize=LARGEST_HEARD
                )
                self._client.connect(*where, clean_start=False, properties=session)
            else:
                self._client.connect(*where)
        except Exception as error:  # a peer that speaks no WebSocket makes paho raise whatever it likes
            return of_error(self._broker, error)
        self.lost = ""
        if isinstance(connection := self._client.socket(), socket.socket):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        until = time.monotonic() + CONNACK_S
        while self._answer is None and not self.lost and time.monotonic() < until and not stopped():
            self.turn(0.2)
        self._client.on_log = None  # its texts take time
        if self._answer == "accepted":
            return None
        closed = bool(self.lost)
        self.cut(self.lost or "no answer")
        return self._answer or of_silence(self._broker, self._said, closed=closed)

    def turn(self, seconds: float, bell: int | None = None) -> None:
        """Write and read what there is; wait that long for something to read, or for the bell (a file descriptor)."""
        connection: Any = self._client.socket()  # or paho's own for WebSockets
        if connection is None:
            self.lost = self.lost or "connection lost"
            return
        try:
            pending = getattr(connection, "pending", None)
            unread = self._broker.tls and pending is not None and pending() > 0
            writing = [connection] if self._client.want_write() else []
            reading = [connection] if bell is None else [connection, bell]
            readable, writable, _ = select.select(reading, writing, [], 0 if unread else seconds)
            if writable:
                self._client.loop_write()
            framed = self._broker.path is not None
            if unread or framed or connection in readable:
                before = self._came
                self._client.loop_read()
                while framed and self._came > before:  # a frame may hold more than was read from it
                    before = self._came
                    self._client.loop_read()
            self._client.loop_misc()
        except Exception as error:  # paho raises what it cannot read: reason codes that MQTT has not, bad UTF-8
            self.cut(f"connection lost ({type(error).__name__}: {error})")

    def publish(
        self,
        topic: str,
        payload: bytes,
        *,
        qos: int = 1,
        retain: bool = False,
        expires_s: int | None = None,
        user: tuple[tuple[str, str], ...] | None = None,
    ) -> int:
        """Put it into the air; `answers` will have what becomes of it. user: of an event, what MQTT 5 says of it.

        Raises `ValueError` for a topic that is none."""
        properties = None if user is None or self.version == 4 else _of_event(expires_s, user)
        mid = self._client.publish(topic, payload, qos, retain, properties).mid
        self.answers.pop(mid, None)  # of one long ago under the same number
        if qos:
            self._air.add(mid)
        return mid

    @property
    def room(self) -> int:
        """How many more messages the broker takes before it has answered (Receive Maximum)."""
        return self.window - len(self._air)

    def too_large(self, topic: str, payload: bytes) -> str | None:
        """Why the broker will not have it, by what it said when it accepted us."""
        size = len(topic.encode()) + len(payload) + _HEADER
        if self._largest is None or size <= self._largest:
            return None
        return f"larger than the broker takes ({self._largest} bytes)"

    def subscribe(self, topics: Iterable[str]) -> None:
        """Their messages go to `heard`."""
        self._client.subscribe([(topic, 1) for topic in topics])

    def wait(self, until: Callable[[], bool], seconds: float) -> bool:
        """Whether it came true within that time, while the connection lasted."""
        end = time.monotonic() + seconds
        while not until():
            if not self.open or (left := end - time.monotonic()) <= 0:
                return False
            self.turn(min(left, 0.1))
        return True

    def close(self) -> None:
        """Say DISCONNECT."""
        if self.open:
            self._client.disconnect()
            self.turn(0)
            self.cut("closed")

    def cut(self, why: str) -> None:
        """End the connection without a word; the will is published."""
        self.lost = self.lost or why
        if (connection := self._client.socket()) is not None:
            with contextlib.suppress(OSError):
                connection.close()

    def _on_connect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._answer = of_refusal(reason)
            return
        self._answer = "accepted"
        self._largest = getattr(properties, "MaximumPacketSize", None)
        self.window = min(IN_FLIGHT, getattr(properties, "ReceiveMaximum", None) or IN_FLIGHT)

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.lost = self.lost or f"connection lost ({reason})"

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, reason: Any, _properties: Any) -> None:
        self._came += 1
        self._air.discard(mid)
        self.answers[mid] = str(reason) if getattr(reason, "is_failure", False) else None

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._came += 1
        self.heard.append(Heard(message.topic, bytes(message.payload), message.retain))

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self.granted = True
        self.denied += [str(reason) for reason in reasons if reason.is_failure]

    def _on_log(self, _client: mqtt.Client, _data: Any, level: int, text: str) -> None:
        if level == mqtt.MQTT_LOG_ERR:
            self._said = text


def _nothing(*_: object) -> None:
    pass


class _Packed(Properties):
    """Properties that are packed once: it takes a third of the time of a PUBLISH."""

    def __init__(self, packed: bytes) -> None:
        super().__init__(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call] # paho has no types there
        self.__dict__["packed"] = packed

    def pack(self) -> bytes:
        packed: bytes = self.__dict__["packed"]
        return packed


@lru_cache(maxsize=64)
def _of_event(expires_s: int | None, user: tuple[tuple[str, str], ...]) -> Properties:
    said: dict[str, object] = {"ContentType": f"{CONTENT_TYPE}; charset=UTF-8"}
    if expires_s is not None:
        said["MessageExpiryInterval"] = expires_s
    if user:
        said["UserProperty"] = list(user)
    packed: bytes = _properties(PacketTypes.PUBLISH, **said).pack()  # type: ignore[no-untyped-call] # the same
    return _Packed(packed)


def _properties(kind: int, **values: object) -> Properties:
    """Of one packet (MQTT 5.0, 2.2.2)."""
    properties: Properties = Properties(kind)  # type: ignore[no-untyped-call] # paho has no types there
    for name, value in values.items():
        setattr(properties, name, value)
    return properties
