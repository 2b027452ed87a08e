"""What a broker refuses is neither lost nor in the way: real mosquittos that deny, limit, hang, or are old."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.shell.broker import parse_broker
from edge.audit.streams import Report
from edge.deliver import drain as draining_room
from edge.deliver import poison
from edge.deliver.drain import Drain
from edge.deliver.line import Line
from edge.deliver.outbox import Outbox, opened
from edge.deliver.publisher import MqttPublisher, Retained
from edge.session.delivery import Delivery
from tests.brokers import Subscriber, local_broker, mosquitto_with
from tests.edge.sending import put_windows
from tests.edge.test_faults import auditing
from tests.edge.test_publisher import fill
from tests.live.lab import until

pytestmark = [pytest.mark.system]


@contextlib.contextmanager
def draining(outbox: Outbox, url: str, version: str | None = None) -> Iterator[tuple[MqttPublisher, Drain]]:
    publisher = MqttPublisher(parse_broker(url, version=version), "n")
    drain = Drain(outbox, publisher, lambda _: None)
    try:
        yield publisher, drain
    finally:
        drain.stop()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poison, "PAUSE_S", 0.05)


def test_what_the_brokers_rules_deny_is_set_aside_and_the_rest_arrives(
    quick: None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acl").write_text("topic readwrite phasewatch/n/allowed/#\ntopic readwrite phasewatch/n/availability\n")
    with mosquitto_with(tmp_path, f"acl_file {tmp_path}/acl") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 20)  # of a guest that is denied
        for i in range(20):
            topic = "phasewatch/n/allowed/window"
            outbox.put(source="a", event_id=str(i), topic=topic, qos=1, retain=False, payload=b"%d" % i)
        subscriber = Subscriber(url, tmp_path)
        with draining(outbox, url) as (publisher, drain):
            assert drain.wait_empty(60)
            assert publisher.version == 5
        assert subscriber.wait_for(20, "allowed/window") == [b"%d" % i for i in range(20)]
        subscriber.close()
        assert [one.why for one in outbox.aside()] == ["Not authorized"] * 20
        assert "events are refused by the broker and set aside (phasewatch/n/g/window: Not authorized)" in caplog.text
        assert caplog.text.count("set aside") == 1
        # the rules are mended: nothing was lost
        (tmp_path / "acl").write_text("topic readwrite #\n")
    with mosquitto_with(tmp_path, "") as url, opened(tmp_path / "o") as outbox:
        subscriber = Subscriber(url, tmp_path)
        assert outbox.resend() == 20
        with draining(outbox, url) as (_, drain):
            assert drain.wait_empty(60)
        assert subscriber.wait_for(20, "/g/window") == [b"%d" % i for i in range(20)]
        subscriber.close()
        assert outbox.aside() == []


def test_what_is_larger_than_the_broker_takes_is_set_aside(quick: None, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, "max_packet_size 4000") as url, opened(tmp_path / "o") as outbox:
        outbox.put(source="s", event_id="big", topic="phasewatch/n/g/window", qos=1, retain=False, payload=b"x" * 9000)
        fill(outbox, 0, 10)
        subscriber = Subscriber(url, tmp_path)
        with draining(outbox, url) as (_, drain):
            assert drain.wait_empty(60)
        assert len(subscriber.wait_for(10, "/window")) == 10
        subscriber.close()
        (aside,) = outbox.aside()
        assert (aside.why, aside.size) == ("larger than the broker takes (4000 bytes)", 9000)


def test_what_is_refused_is_told_as_a_gap_and_fills_it_once_the_limit_is_mended(quick: None, tmp_path: Path) -> None:
    def deliver(outbox: Outbox, url: str, events: int) -> Report:
        with auditing(url) as audit:
            delivery = Delivery(outbox, parse_broker(url), "n", lambda _: None)
            assert delivery.wait_empty(60)
            audit.report(events)
            delivery.hang_up()
            return audit.auditor.report()

    with opened(tmp_path / "o") as outbox:
        put_windows(outbox, 0, 3)
        put_windows(outbox, 3, 1, largely=5000)
        put_windows(outbox, 4, 3)
        with mosquitto_with(tmp_path, "max_packet_size 4000") as url:
            report = deliver(outbox, url, 7)  # six, and the gap
        assert (report.whole, report.missing, report.told) == (True, 0, 1)
        assert report.streams["/phasewatch/n/g"].told == {"refused": 1}
        assert outbox.resend() == 1
        with mosquitto_with(tmp_path, "") as url:
            report = deliver(outbox, url, 1)
        assert (report.streams["/phasewatch/n/g"].first, report.events) == (4, 1)


def test_a_broker_that_limits_messages_says_so_and_nothing_is_lost(quick: None, tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, "message_size_limit 1000") as url, opened(tmp_path / "o") as outbox:
        outbox.put(source="s", event_id="big", topic="phasewatch/n/g/window", qos=1, retain=False, payload=b"x" * 3000)
        fill(outbox, 0, 10)
        with draining(outbox, url) as (_, drain):
            assert drain.wait_empty(180)  # it takes some fifteen calls, seconds apart
        assert [one.size for one in outbox.aside()] == [3000]


def test_a_person_can_list_resend_and_drop_what_was_refused(tmp_path: Path) -> None:
    path = tmp_path / "o"

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "edge.cli", "outbox", *words, "--outbox", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.stdout + done.stderr

    assert "o: no such file; expected an outbox; name it with --outbox" in said("list")
    with opened(path) as outbox:
        fill(outbox, 0, 3)
        first, second, _ = outbox.pending(9)
        outbox.set_aside([first, second], {first.seq: "Not authorized", second.seq: "Not authorized"})
        assert outbox.depth == 1
    assert said("list").splitlines()[0].endswith("phasewatch/n/g/window  1 bytes: Not authorized")
    assert said("list").splitlines()[-1] == "2 events are set aside, 1 wait for the broker"
    assert [one["why"] for one in json.loads(said("list", "--json"))] == ["Not authorized"] * 2
    assert said("resend") == "2 events go to the end of the queue, 3 wait\n"
    with opened(path) as outbox:
        assert [one.payload for one in outbox.pending(9)] == [b"2", b"0", b"1"]
        outbox.set_aside(outbox.pending(1), {outbox.pending(1)[0].seq: "too large"})
    assert said("drop") == "1 events are forgotten\n"
    assert said("list") == "0 events are set aside, 2 wait for the broker\n"


def test_the_demos_broker_which_is_old_is_spoken_to_in_its_own_words(tmp_path: Path) -> None:
    with local_broker(None, tmp_path) as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 50)
        with draining(outbox, url) as (publisher, drain):
            assert drain.wait_empty(60)
            assert publisher.version == 4


def test_a_version_that_was_asked_for_is_kept(tmp_path: Path, mosquitto: str) -> None:
    with opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 5)
        with draining(outbox, mosquitto, version="3.1.1") as (publisher, drain):
            assert drain.wait_empty(60)
            assert publisher.version == 4


def test_a_broker_that_acknowledges_nothing_is_called_again_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(draining_room, "ANSWER_S", 0.5)
    calls = []
    with socket.create_server(("127.0.0.1", 0)) as listener, opened(tmp_path / "o") as outbox:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    calls.append(connection)
                    connection.recv(4096)
                    connection.sendall(b"\x20\x03\x00\x00\x00")  # CONNACK of MQTT 5, and never a word more

        threading.Thread(target=serve, daemon=True).start()
        fill(outbox, 0, 3)
        with draining(outbox, f"mqtt://127.0.0.1:{listener.getsockname()[1]}"):
            until(lambda: len(calls) >= 2, 60, "second call")
        assert "acknowledges nothing for" in caplog.text
        assert outbox.depth == 3


def test_a_password_that_is_wrong_is_said_as_such(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with mosquitto_with(tmp_path, "allow_anonymous false") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 3)
        with draining(outbox, url) as (publisher, _):
            until(lambda: "refused" in publisher.problem, 60, "reason")
            assert (
                publisher.problem == "MQTT: refused: Not authorized; see the user, the password and the broker's rules"
            )
        assert outbox.depth == 3
        assert caplog.text.count("connection lost") == 0


def test_a_greeting_that_the_broker_will_not_have_costs_no_event(quick: None, tmp_path: Path) -> None:
    def greet() -> list[Retained]:
        return [Retained("phasewatch/n/g/metrics", b"x" * 9000), Retained("phasewatch/+/bad", b"x")]

    with mosquitto_with(tmp_path, "max_packet_size 4000") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 10)
        drain = Drain(outbox, MqttPublisher(parse_broker(url), "n", greet), lambda _: None)
        assert drain.wait_empty(60)
        drain.stop()
        assert (drain.fault, outbox.aside()) == (None, [])


def test_a_message_that_nobody_waits_for_leaves_no_answer_that_another_could_take(
    tmp_path: Path, mosquitto: str
) -> None:
    one = Line(parse_broker(mosquitto), "one", 5)
    assert one.call() is None
    mid = one.publish("t", b"1")
    assert one.wait(lambda: mid in one.answers, 60)
    one._client._last_mid = mid - 1  # as after 65,535 more
    assert one.publish("t", b"2") == mid
    assert mid not in one.answers
    one.close()


def test_no_more_is_in_the_air_than_the_broker_takes_whatever_it_is(tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, "max_inflight_messages 5") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 200)
        most = 0

        class Watched(MqttPublisher):
            def tend(self, line: Line) -> None:
                nonlocal most
                super().tend(line)
                most = max(most, len(line._air))
                assert line.window == 5

        cards = [Retained(f"phasewatch/n/g{i}/metrics", b"card") for i in range(50)]
        drain = Drain(outbox, Watched(parse_broker(url), "n", lambda: cards), lambda _: None)
        assert drain.wait_empty(60)
        drain.stop()
        assert drain.fault is None
        assert most <= 5 + 2  # and our place


def test_a_spoiled_topic_is_set_aside_and_the_rest_goes_on(quick: None, tmp_path: Path, mosquitto: str) -> None:
    with opened(tmp_path / "o") as outbox:
        outbox.put(source="s", event_id="x", topic="phasewatch/n+g/window", qos=1, retain=False, payload=b"x")
        fill(outbox, 0, 5)
        with draining(outbox, mosquitto) as (_, drain):
            assert drain.wait_empty(60)
        assert [one.topic for one in outbox.aside()] == ["phasewatch/n+g/window"]
