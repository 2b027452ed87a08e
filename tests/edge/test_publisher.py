"""Outbox -> a real mosquitto -> mosquitto_sub."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from pathlib import Path

import pytest

from contracts.errors import BrokerError
from contracts.shell.broker import parse_broker
from edge.deliver.drain import Drain
from edge.deliver.outbox import Outbox, opened
from edge.deliver.publisher import MqttPublisher, Retained
from tests.brokers import Subscriber, free_port, mosquitto_on
from tests.edge.fake_line import Quick


def fill(outbox: Outbox, first: int, count: int) -> None:
    for n in range(first, first + count):
        outbox.put(source="s", event_id=str(n), topic="phasewatch/n/g/window", qos=1, retain=False, payload=b"%d" % n)


def test_drain_removes_nothing_before_it_is_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 5)
        publisher = Quick()
        publisher.acknowledge.clear()
        drain = Drain(outbox, publisher, lambda _: None)
        while len(publisher.sent) < 5:
            time.sleep(0.01)
        assert outbox.depth == 5
        publisher.acknowledge.set()
        assert drain.wait_empty(60)
        drain.stop()


@pytest.mark.system
def test_events_of_an_outage_arrive_once_each_and_in_order_when_the_broker_returns(tmp_path: Path) -> None:
    port = free_port()
    broker = parse_broker(f"mqtt://127.0.0.1:{port}")
    with opened(tmp_path / "o") as outbox:
        publisher = MqttPublisher(broker, "n")
        drain = Drain(outbox, publisher, lambda _: None)
        fill(outbox, 0, 300)  # nobody is there yet
        time.sleep(0.3)
        assert outbox.depth == 300
        with mosquitto_on(port, tmp_path) as url:
            subscriber = Subscriber(url, tmp_path, session="watcher")
            subscriber.wait_for(300, "/window")
            assert drain.wait_empty(60)
            subscriber.close()
        fill(outbox, 300, 300)  # it is gone again
        time.sleep(0.3)
        assert outbox.depth == 300
        with mosquitto_on(port, tmp_path) as url:
            assert drain.wait_empty(60)
            subscriber = Subscriber(url, tmp_path, session="watcher")
            assert subscriber.wait_for(300, "/window") == [b"%d" % n for n in range(300, 600)]
            drain.stop()
            subscriber.close()


class Cutting(threading.Thread):
    """A broker that acknowledges `cut` messages, drops the connection in the middle of a burst, then behaves."""

    def __init__(self, cut: int) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._cut, self.got = cut, set[bytes]()

    def run(self) -> None:
        cut = self._cut
        while True:
            connection, _ = self._listener.accept()
            with connection, connection.makefile("rb") as stream, contextlib.suppress(OSError, IndexError):
                while True:
                    kind = stream.read(1)[0]
                    size, shift = 0, 0
                    while True:  # MQTT 3.1.1, section 2.2.3
                        digit = stream.read(1)[0]
                        size += (digit & 127) << shift
                        shift += 7
                        if digit < 128:
                            break
                    body = stream.read(size)
                    if kind >> 4 == 1:
                        if body[6] == 5:  # an old broker hangs up on MQTT 5
                            break
                        connection.sendall(b"\x20\x02\x00\x00")
                    elif kind >> 4 == 8:
                        connection.sendall(b"\x90\x03" + body[:2] + b"\x01")
                    elif kind >> 4 == 3:
                        start = 2 + int.from_bytes(body[:2], "big")
                        if body[2:start].endswith(b"/session"):  # what they publish there they want to hear
                            echo = body[:start] + body[start + 2 :]
                            connection.sendall(b"\x30" + bytes([len(echo) & 127 | 128, len(echo) >> 7]) + echo)
                            connection.sendall(b"\x40\x02" + body[start : start + 2])
                            continue
                        if cut == 0:
                            cut = -1
                            break
                        cut -= 1
                        self.got.add(body[start + 2 :])
                        connection.sendall(b"\x40\x02" + body[start : start + 2])


@pytest.mark.parametrize("cut", [1, 50, 99, 100, 120, 150, 190])
def test_a_connection_that_breaks_in_the_middle_of_a_batch_loses_nothing(tmp_path: Path, cut: int) -> None:
    broker = Cutting(cut)
    broker.start()
    with opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 1000)
        publisher = MqttPublisher(parse_broker(f"mqtt://127.0.0.1:{broker.port}"), "n")
        drain = Drain(outbox, publisher, lambda _: None)
        assert drain.wait_empty(60), (publisher.problem, drain.fault)
        drain.stop()
    assert broker.got >= {b"%d" % n for n in range(1000)}


def test_drain_reports_a_publisher_that_fails_in_an_unforeseen_way(tmp_path: Path) -> None:
    class Broken(Quick):
        def arrived(self, payload: bytes) -> None:
            raise RuntimeError("unforeseen")

    with opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 1)
        drain = Drain(outbox, Broken(), lambda _: None)
        assert not drain.wait_empty(5)
        drain.stop()
        assert outbox.depth == 1
    assert isinstance(drain.fault, BrokerError)
    assert "RuntimeError('unforeseen'); expected to go on; report this as a bug" in str(drain.fault)


@pytest.mark.system
def test_availability_is_online_then_stopped_and_offline_by_last_will(tmp_path: Path, mosquitto: str) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    never = threading.Event()
    publisher = MqttPublisher(parse_broker(mosquitto), "n")
    line = publisher.connect(never, lambda: None)
    assert line is not None
    line.turn(0.1)
    subscriber.wait_for(1, "n/availability")
    publisher.leave(line)
    assert subscriber.wait_for(2, "n/availability") == [b"online", b"stopped"]

    dying = publisher.connect(never, lambda: None)
    assert dying is not None
    dying.turn(0.1)
    subscriber.wait_for(3, "n/availability")
    dying.cut("the power is cut: no DISCONNECT is sent")
    assert subscriber.wait_for(4, "n/availability")[2:] == [b"online", b"offline"]
    subscriber.close()


@pytest.mark.system
def test_retained_payloads_are_published_again_on_every_connect(tmp_path: Path, mosquitto: str) -> None:
    publisher = MqttPublisher(parse_broker(mosquitto), "n", lambda: [Retained("phasewatch/n/g/metrics", b"card")])
    line = publisher.connect(threading.Event(), lambda: None)
    assert line is not None
    while not publisher.greeted:
        line.turn(0.1)
        publisher.tend(line)
    late = Subscriber(mosquitto, tmp_path)
    late.wait_for(1, "/metrics")
    assert (True, "phasewatch/n/g/metrics", b"card") in late.heard()
    publisher.leave(line)
    late.close()
