"""A node's name belongs to one agent at a time: the later one stops, and says who is there."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import msgspec
import pytest

from contracts.errors import BusyError
from contracts.shell.broker import parse_broker
from edge.deliver.drain import Drain
from edge.deliver.line import Line
from edge.deliver.outbox import Outbox, opened
from edge.deliver.place import Place
from edge.deliver.publisher import MqttPublisher
from edge.session.delivery import Delivery
from tests.brokers import Subscriber, local_broker, mosquitto_with
from tests.edge.test_publisher import fill
from tests.live.lab import until

pytestmark = pytest.mark.system


def delivery(outbox: Outbox, url: str, version: str | None = None) -> Delivery:
    return Delivery(outbox, parse_broker(url, version=version), "n", lambda _: None)


def test_the_later_of_two_agents_under_one_name_stops_and_names_the_other(
    tmp_path: Path, mosquitto: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    subscriber = Subscriber(mosquitto, tmp_path)
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        first = delivery(one, mosquitto)
        until(lambda: first.state == "connected", 60, "first")
        fill(other, 0, 5)
        second = delivery(other, mosquitto)
        until(lambda: second.fault is not None, 60, "second's refusal")
        assert isinstance(second.fault, BusyError)
        assert re.search(
            r"phasewatch/n/session: an agent is there, on .+ \(pid \d+, since 20.+Z\); expected one agent for each "
            r"node's name; stop it, or give this one another name",
            str(second.fault),
        )
        second.hang_up()
        fill(one, 10, 5)
        assert first.wait_empty(60)  # it has not noticed a thing
        assert first.state == "connected"
        assert other.depth == 5
        first.hang_up()
        assert "connection lost" not in caplog.text
        # the place is free now: nobody is waited for
        third = delivery(other, mosquitto)
        assert third.wait_empty(60)
        third.hang_up()
    assert subscriber.wait_for(4, "n/availability") == [b"online", b"stopped", b"online", b"stopped"]
    subscriber.close()


def test_of_two_that_start_at_once_one_stops(tmp_path: Path, mosquitto: str) -> None:
    for round_ in range(3):
        with opened(tmp_path / f"a{round_}") as one, opened(tmp_path / f"b{round_}") as other:
            both = [delivery(one, mosquitto), delivery(other, mosquitto)]

            def decided(both: list[Delivery] = both) -> bool:
                return sorted((some.state == "connected", some.fault is None) for some in both) == [
                    (False, False), (True, True)
                ]  # fmt: skip

            until(decided, 60, "one that gave way")
            for some in both:
                some.hang_up()


def test_an_agent_that_was_killed_finds_its_own_place_free_at_once(tmp_path: Path, mosquitto: str) -> None:
    with opened(tmp_path / "o") as outbox:
        first = delivery(outbox, mosquitto)
        until(lambda: first.state == "connected", 60, "first")
        first._drain._publisher.leave = lambda line: line.cut("killed")  # type: ignore[method-assign] # nothing is said
        first.hang_up()
        second = delivery(outbox, mosquitto)
        until(lambda: second.state == "connected", 2.5, "second, without waiting for an answer")
        second.hang_up()


def test_a_stranger_cannot_end_an_agent_that_has_its_place(
    tmp_path: Path, mosquitto: str, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(tmp_path / "o") as outbox:
        agent = delivery(outbox, mosquitto)
        until(lambda: agent.state == "connected", 60, "agent")
        stranger = Line(parse_broker(mosquitto), "stranger", 5)
        assert stranger.call() is None
        older = Place("n", None).claim
        older = msgspec.structs.replace(older, since_ns=0, host="evil\n\x1b[31m")
        for payload in (b"", b"{}", b"\xff" * 2000, b"[" * 5000, msgspec.json.encode(older)):
            stranger.publish("phasewatch/n/session", payload)
            stranger.publish("phasewatch/n/availability", b"offline", retain=True)
        stranger.wait(lambda: len(stranger.answers) == 10, 60)
        until(lambda: "it speaks under our name" in caplog.text, 60, "a word about it")
        assert "\x1b" not in caplog.text
        fill(outbox, 0, 5)
        assert agent.wait_empty(60)
        assert agent.fault is None
        watcher = Subscriber(mosquitto, tmp_path)
        until(lambda: watcher.heard()[-1][2] == b"online", 60, "correction of what it said of us")
        watcher.close()
        stranger.close()
        agent.hang_up()


@pytest.mark.parametrize("rules", ["topic read phasewatch/#\n", "topic write phasewatch/#\n"])
def test_under_3_1_1_nothing_is_sent_before_our_own_word_has_come_back(tmp_path: Path, rules: str) -> None:
    (tmp_path / "acl").write_text(rules)
    with mosquitto_with(tmp_path, f"acl_file {tmp_path}/acl") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 5)
        agent = delivery(outbox, url, "3.1.1")
        until(lambda: "does not pass it on" in agent.state, 60, "the reason")
        assert agent.state == (
            "MQTT: acknowledges what we publish to phasewatch/n/session, and does not pass it on; "
            "let this user read and write phasewatch/n/#, or use a broker that speaks MQTT 5"
        )
        agent.hang_up()
        assert outbox.depth == 5


def test_under_mqtt_5_an_agent_that_may_not_read_says_so_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "acl").write_text("topic write phasewatch/#\n")
    with mosquitto_with(tmp_path, f"acl_file {tmp_path}/acl") as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 5)
        agent = delivery(outbox, url)
        assert agent.wait_empty(60)
        agent.hang_up()
    assert "another agent under this name cannot be noticed: let this user read and write phasewatch/n/#" in caplog.text


def test_the_demos_broker_passes_our_word_on(tmp_path: Path) -> None:
    with local_broker(None, tmp_path) as url, opened(tmp_path / "o") as outbox:
        fill(outbox, 0, 20)
        agent = delivery(outbox, url, "3.1.1")
        assert agent.wait_empty(60), agent.state
        agent.hang_up()


def test_late_word_of_an_older_connection_is_corrected(tmp_path: Path, mosquitto: str) -> None:
    subscriber = Subscriber(mosquitto, tmp_path)
    with opened(tmp_path / "o") as outbox:
        drain = Drain(outbox, MqttPublisher(parse_broker(mosquitto), "n"), lambda _: None)
        subscriber.wait_for(1, "/availability")
        other = Line(parse_broker(mosquitto), "other", 5)
        assert other.call() is None
        other.wait(lambda: False, 0.2)
        other.publish("phasewatch/n/availability", b"offline", retain=True)
        other.wait(lambda: False, 0.2)
        assert subscriber.wait_for(3, "/availability") == [b"online", b"offline", b"online"]
        drain.stop()
        other.close()
    subscriber.close()


def test_a_copy_of_a_running_agents_card_is_noticed(tmp_path: Path, mosquitto: str) -> None:
    with opened(tmp_path / "o") as outbox:
        first = delivery(outbox, mosquitto)
        until(lambda: first.state == "connected", 60, "first")
        with opened(tmp_path / "copy") as copy:
            copy.note("session", outbox.fact("session") or "")
            second = delivery(copy, mosquitto)
            until(lambda: second.fault is not None, 60, "second's refusal")
            assert isinstance(second.fault, BusyError)
            second.hang_up()
        assert first.state == "connected"
        first.hang_up()


def test_of_two_that_a_network_kept_apart_the_later_gives_way(
    tmp_path: Path, mosquitto: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edge.deliver.place.SETTLED_S", 0.0)  # both have had their place for long
    monkeypatch.setattr("edge.deliver.calls.LONGEST_S", 1.0)
    with opened(tmp_path / "a") as one, opened(tmp_path / "b") as other:
        first = delivery(one, mosquitto)
        until(lambda: first.state == "connected", 60, "first")
        second = Delivery(other, parse_broker(mosquitto), "n", lambda _: None)
        second._drain._publisher._looked = True  # type: ignore[attr-defined] # it had looked, where nobody was
        until(lambda: second.fault is not None, 60, "the later's end")
        assert isinstance(second.fault, BusyError)
        second.hang_up()
        until(lambda: first.state == "connected", 60, "the earlier")
        assert first.fault is None
        first.hang_up()


def test_certificates_that_are_gone_for_a_moment_end_nobody(tmp_path: Path) -> None:
    from edge.deliver.publisher import MqttPublisher as Publisher
    from tests.certificates import Authority

    authority = Authority(tmp_path / "pki")
    certificate, key = authority.issue("broker", "localhost")
    with mosquitto_with(tmp_path, f"certfile {certificate}\nkeyfile {key}\n") as url:
        broker = parse_broker(url.replace("mqtt://127.0.0.1", "mqtts://localhost"), ca_file=authority.certificate)
        publisher = Publisher(broker, "n")
        whole = authority.certificate.read_bytes()
        authority.certificate.unlink()
        with opened(tmp_path / "o") as outbox:
            fill(outbox, 0, 3)
            drain = Drain(outbox, publisher, lambda _: None)
            until(lambda: "ca.pem" in publisher.problem, 60, "word of it")
            authority.certificate.write_bytes(whole)
            assert drain.wait_empty(60)
            drain.stop()
            assert drain.fault is None
