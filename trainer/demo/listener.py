"""A subscriber like any other: it knows the topics and the envelope, and nothing of the agent."""

from __future__ import annotations

import queue
from collections.abc import Iterator
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from contracts.errors import BrokerError
from contracts.shell.broker import Broker


class Listener:
    """Everything below `phasewatch/<node>/`, as (topic, payload) in the order of receipt."""

    def __init__(self, broker: Broker, node: str) -> None:
        """Raises `BrokerError` if the broker cannot be reached."""
        self._heard: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2)
        if broker.user is not None:
            self._client.username_pw_set(broker.user, broker.password)
        if broker.tls:
            self._client.tls_set(ca_certs=str(broker.ca_file) if broker.ca_file else None)
        subscribed: queue.Queue[None] = queue.Queue()
        self._topics = f"phasewatch/{node}/#"
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = lambda *_: subscribed.put(None)
        self._client.on_message = self._on_message
        try:
            self._client.connect(broker.host, broker.port)
            self._client.loop_start()
            subscribed.get(timeout=10)
        except (OSError, queue.Empty) as error:
            raise BrokerError(
                broker.url, str(error) or "no answer", expected="an MQTT broker", remedy="start it"
            ) from None

    def heard(self, seconds: float) -> Iterator[tuple[str, bytes]]:
        """What has come, until nothing comes for so long."""
        while True:
            try:
                yield self._heard.get(timeout=seconds)
            except queue.Empty:
                return

    def close(self) -> None:
        """Leave."""
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe(self._topics, qos=1)

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self._heard.put((message.topic, bytes(message.payload)))
