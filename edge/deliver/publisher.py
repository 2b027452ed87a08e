"""Outbox -> broker. The seam is `Publisher.send`: it returns when the broker has acknowledged, or raises."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts.errors import BrokerError, ConfigError, StorageError
from contracts.events.envelope import availability_topic
from contracts.shell.broker import Broker
from edge.deliver.outbox import Message, Outbox

log = logging.getLogger("edge.publisher")

BATCH = 200
IN_FLIGHT = 100
KEEP_ALIVE_S = 30


class Publisher(ABC):
    """Something that takes messages and vouches for them."""

    @abstractmethod
    def send(self, messages: Sequence[Message]) -> None:
        """Return only after every QoS 1 message was acknowledged (PUBACK). Raises `BrokerError` if stopped first."""

    @abstractmethod
    def close(self) -> None:
        """Say that we are leaving, if anybody listens."""


class MqttPublisher(Publisher):
    """A persistent MQTT 3.1.1 session under a stable client id, with a last will. Reconnects by itself, without end.

    On every connect `on_connect` gives what a late subscriber needs: (topic, payload) pairs, published as retained.
    """

    def __init__(self, broker: Broker, node: str, on_connect: Callable[[], Sequence[tuple[str, bytes]]]) -> None:
        self.broker, self.problem = broker, "not connected yet"
        self._availability, self._refresh = availability_topic(node), on_connect
        self._connected, self._stopping = threading.Event(), threading.Event()
        # Our own count of PUBACKs: paho's tokens never tell of a message that it had to send twice.
        self._acknowledged: set[int] = set()
        self._news = threading.Condition()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"phasewatch-{node}", clean_session=False)
        client.will_set(self._availability, b"offline", qos=1, retain=True)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            try:
                client.tls_set(ca_certs=str(broker.ca_file) if broker.ca_file else None)
            except OSError as error:
                raise ConfigError(
                    broker.ca_file or broker.url, str(error), expected="PEM certificates", remedy="see --ca-file"
                ) from None
        client.max_inflight_messages_set(IN_FLIGHT)
        # seconds, doubling from the first to the second; the jitter keeps a roomful of Pis apart
        client.reconnect_delay_set(1 + secrets.randbelow(3), 30 + secrets.randbelow(31))
        client.on_connect, client.on_disconnect = self._on_connect, self._on_disconnect
        client.on_publish = self._on_publish
        client.on_connect_fail = self._on_connect_fail
        self._client = client
        client.connect_async(broker.host, broker.port, keepalive=KEEP_ALIVE_S)
        client.loop_start()

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted us."""
        return self._connected.is_set()

    def send(self, messages: Sequence[Message]) -> None:
        """Publish all, then wait for all: the client resends what a lost connection left unacknowledged."""
        while not self._connected.wait(0.2):
            self._require_running()
        self._acknowledged.clear()
        sent = [
            self._client.publish(message.topic, message.payload, message.qos, message.retain).mid
            for message in messages
        ]
        wanted = {mid for mid, message in zip(sent, messages, strict=True) if message.qos}
        while not self._seen(wanted, 0.2):
            self._require_running()

    def close(self) -> None:
        """Publish `stopped` in place of the will and disconnect. Unacknowledged messages stay in the outbox."""
        self._stopping.set()
        if self.connected:
            mid = self._client.publish(self._availability, b"stopped", qos=1, retain=True).mid
            if self._seen({mid}, 2):
                self._client.disconnect()
            elif (connection := self._client.socket()) is not None:
                # no DISCONNECT: the broker then publishes the will instead
                with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.fileno())) as lost:
                    lost.shutdown(socket.SHUT_RDWR)
        self._client.loop_stop()

    def abort(self) -> None:
        """Make a waiting `send` give up."""
        self._stopping.set()

    def _seen(self, mids: set[int], seconds: float) -> bool:
        """Whether all of these were acknowledged within that time."""
        with self._news:
            return self._news.wait_for(lambda: mids <= self._acknowledged, seconds)

    def _on_publish(self, _client: mqtt.Client, _data: Any, mid: int, _reason: Any, _properties: Any) -> None:
        with self._news:
            self._acknowledged.add(mid)
            self._news.notify_all()

    def _require_running(self) -> None:
        if self._stopping.is_set():
            raise BrokerError(self.broker.url, self.problem, expected="an MQTT broker", remedy="start it")

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        if reason.is_failure:
            self._change(False, f"connection refused by the broker ({reason})")
            return
        client.publish(self._availability, b"online", qos=1, retain=True)
        try:
            for topic, payload in self._refresh():
                client.publish(topic, payload, qos=1, retain=True)
        except StorageError as error:  # nothing may end paho's thread
            log.error("%s", error)
        self._change(True, "connected")

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self._change(False, "stopped" if self._stopping.is_set() else f"connection lost ({reason})")

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


class Drain:
    """The thread that empties an outbox through a publisher."""

    def __init__(self, outbox: Outbox, publisher: Publisher, took: Callable[[float], None]) -> None:
        """`took` is told, per event, the milliseconds from the outbox to the acknowledgement."""
        self._outbox, self._publisher, self._took = outbox, publisher, took
        self._stop = threading.Event()
        self.fault: BrokerError | StorageError | None = None
        self._thread = threading.Thread(target=self._run, name="drain", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                batch = self._outbox.pending(BATCH)
                if not batch:
                    self._outbox.wait(0.2)
                    continue
                self._publisher.send(batch)
                now = time.time_ns()
                for message in batch:
                    self._took((now - message.since_ns) / 1e6)
                self._outbox.remove(batch)
        except BrokerError as error:
            self.fault = error
        except StorageError as error:
            log.error("%s", error)
            self.fault = error
        except Exception as error:  # if this thread ended silently, no event would be sent any more
            log.exception("the drain stopped")
            self.fault = BrokerError("drain", repr(error), expected="to go on", remedy="report this as a bug")

    def wait_empty(self, seconds: float) -> bool:
        """Whether everything was acknowledged within that time. Raises `StorageError` if the outbox is the reason."""
        until = time.monotonic() + seconds
        while self._outbox.depth and self.fault is None and time.monotonic() < until:
            began = time.monotonic()
            self._outbox.flush()
            until += time.monotonic() - began  # that time was not the broker's
            self._outbox.wait(0.1)
        return self._outbox.depth == 0

    def stop(self) -> None:
        """End the thread; what it had not seen acknowledged stays in the outbox."""
        self._stop.set()
        self._thread.join(5)
