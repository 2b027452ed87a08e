"""Outbox -> a real mosquitto -> mosquitto_sub."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from contracts.errors import BrokerError
from edge.broker import parse_broker
from edge.outbox import Message, Outbox, opened
from edge.publisher import Drain, MqttPublisher, Publisher
from tests.brokers import Subscriber, free_port, mosquitto_on


def fill(outbox: Outbox, first: int, count: int) -> None:
    for n in range(first, first + count):
        outbox.put(source="s", event_id=str(n), topic="phasewatch/n/g/window", qos=1, retain=False, payload=b"%d" % n)


class Shipped(Publisher):
    """The fake for this room's tests: acknowledges when it is told to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.acknowledge = threading.Event()

    def send(self, messages: Sequence[Message]) -> None:
        self.sent += [message.payload for message in messages]
        if not self.acknowledge.wait(5):
            raise BrokerError("fake", "no acknowledgement", expected="one", remedy="none")

    def close(self) -> None:
        pass


def test_drain_removes_nothing_before_it_is_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 5)
        publisher = Shipped()
        drain = Drain(outbox, publisher, lambda _: None)
        while len(publisher.sent) < 5:
            time.sleep(0.01)
        assert outbox.depth == 5
        publisher.acknowledge.set()
        assert drain.wait_empty(5)
        drain.stop()


@pytest.mark.system
def test_events_of_an_outage_arrive_once_each_and_in_order_when_the_broker_returns(tmp_path: Path) -> None:
    port = free_port()
    broker = parse_broker(f"mqtt://127.0.0.1:{port}")
    with opened(tmp_path / "o") as outbox:
        publisher = MqttPublisher(broker, "n", outbox.retained)
        drain = Drain(outbox, publisher, lambda _: None)
        fill(outbox, 0, 300)  # nobody is there yet
        time.sleep(0.3)
        assert outbox.depth == 300
        with mosquitto_on(port, tmp_path) as url:
            subscriber = Subscriber(url, tmp_path, session="watcher")
            subscriber.wait_for(300, "/window")
            assert drain.wait_empty(10)
            subscriber.close()
        fill(outbox, 300, 300)  # it is gone again
        time.sleep(0.3)
        assert outbox.depth == 300
        with mosquitto_on(port, tmp_path) as url:
            assert drain.wait_empty(30)
            subscriber = Subscriber(url, tmp_path, session="watcher")
            assert subscriber.wait_for(300, "/window") == [b"%d" % n for n in range(300, 600)]
            publisher.abort()
            drain.stop()
            publisher.close()
            subscriber.close()


@pytest.mark.system
def test_availability_is_online_then_stopped_and_offline_by_last_will(tmp_path: Path, mosquitto: str) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    publisher = MqttPublisher(parse_broker(mosquitto), "n", list)
    subscriber.wait_for(1, "n/availability")
    publisher.close()
    assert subscriber.wait_for(2, "n/availability") == [b"online", b"stopped"]

    dying = MqttPublisher(parse_broker(mosquitto), "n", list)
    subscriber.wait_for(3, "n/availability")
    dying._client.loop_stop()
    dying._client.socket().close()  # type: ignore[union-attr] # the power is cut: no DISCONNECT is sent
    assert subscriber.wait_for(4, "n/availability")[2:] == [b"online", b"offline"]
    subscriber.close()


@pytest.mark.system
def test_retained_payloads_are_published_again_on_every_connect(tmp_path: Path, mosquitto: str) -> None:
    publisher = MqttPublisher(parse_broker(mosquitto), "n", lambda: [("phasewatch/n/g/metrics", b"card")])
    while not publisher.connected:
        time.sleep(0.05)
    late = Subscriber(mosquitto, tmp_path)
    late.wait_for(1, "/metrics")
    assert (True, "phasewatch/n/g/metrics", b"card") in late.heard()
    publisher.close()
    late.close()
