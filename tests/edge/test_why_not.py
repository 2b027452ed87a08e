"""Why there is no connection: each cause provoked on a real mosquitto is named, with its remedy, in one line."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.shell.broker import Broker, parse_broker
from edge.deliver import line
from edge.deliver.line import Line
from edge.deliver.probe import probe
from edge.deliver.publisher import MqttPublisher
from tests.brokers import free_port, mosquitto_with, wait_for_port
from tests.certificates import Authority

pytestmark = pytest.mark.system


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "pki")


@contextlib.contextmanager
def over_tls(
    authority: Authority, folder: Path, *names: str, days: int = 30, begun: int = 60, more: str = ""
) -> Iterator[int]:
    """A mosquitto with a certificate for these names; its port."""
    certificate, key = authority.issue("broker", *names, days=days, begun=begun)
    settings = f"certfile {certificate}\nkeyfile {key}\ncafile {authority.certificate}\n{more}"
    with mosquitto_with(folder, settings) as url:
        yield int(url.rpartition(":")[2])


def trouble(broker: Broker) -> str:
    """As the agent finds it, and as `edge doctor` does."""
    found = Line(broker, "phasewatch-n", 5).call()
    assert found is not None
    last = list(probe(broker))[-1]
    assert (last.stage, last.remedy) == (found.stage, found.remedy)
    return str(found)


def test_an_authority_that_is_not_known(authority: Authority, tmp_path: Path) -> None:
    with over_tls(authority, tmp_path, "localhost") as port:
        found = trouble(parse_broker(f"mqtts://localhost:{port}"))
        assert found.startswith("TLS: certificate refused: self-signed certificate in certificate chain; ")
        assert found.endswith("; name its authority with --ca-file (ca_file)")
        other = Authority(tmp_path / "other", "Other CA")
        assert "certificate refused: " in trouble(parse_broker(f"mqtts://localhost:{port}", ca_file=other.certificate))


def test_a_certificate_for_another_name(authority: Authority, tmp_path: Path) -> None:
    with over_tls(authority, tmp_path, "elsewhere.example") as port:
        found = trouble(parse_broker(f"mqtts://localhost:{port}", ca_file=authority.certificate))
        assert found.startswith("TLS: certificate refused: Hostname mismatch, ")
        assert found.endswith("; call the broker by the name that its certificate is for")
        assert "IP address mismatch" in trouble(
            parse_broker(f"mqtts://127.0.0.1:{port}", ca_file=authority.certificate)
        )


def test_a_certificate_that_is_not_valid_yet(authority: Authority, tmp_path: Path) -> None:
    """As a machine sees it whose clock is behind."""
    with over_tls(authority, tmp_path, "localhost", begun=-5) as port:
        broker = parse_broker(f"mqtts://localhost:{port}", ca_file=authority.certificate)
        assert trouble(broker) == (
            "TLS: certificate refused: certificate is not yet valid; it will be valid later: set this machine's clock"
        )


def test_a_certificate_that_has_expired(authority: Authority, tmp_path: Path) -> None:
    with over_tls(authority, tmp_path, "localhost", days=-1) as port:
        assert trouble(parse_broker(f"mqtts://localhost:{port}", ca_file=authority.certificate)) == (
            "TLS: certificate refused: certificate has expired; "
            "renew the broker's certificate, or set this machine's clock"
        )


def test_tls_asked_of_a_plain_port(mosquitto: str) -> None:
    found = trouble(parse_broker(mosquitto.replace("mqtt:", "mqtts:")))
    assert found.startswith("TLS: ")
    assert found.endswith("; the port may not speak TLS: say mqtt:// or ws://, or correct it")


def test_a_plain_call_of_a_port_that_speaks_tls(authority: Authority, tmp_path: Path) -> None:
    with over_tls(authority, tmp_path, "localhost") as port:
        assert trouble(parse_broker(f"mqtt://localhost:{port}")) == (
            f"TLS: port {port} speaks TLS; say mqtts:// or wss://"
        )


@pytest.mark.parametrize("version", ["tlsv1.3", "tlsv1.2"])
def test_a_broker_that_wants_our_certificate(authority: Authority, tmp_path: Path, version: str) -> None:
    with over_tls(authority, tmp_path, "localhost", more=f"require_certificate true\ntls_version {version}\n") as port:
        url = f"mqtts://localhost:{port}"
        found = Line(parse_broker(url, ca_file=authority.certificate), "phasewatch-n", 5).call()
        assert found is not None
        assert str(found).startswith("TLS: the broker does not take our certificate, or wants one (")
        assert found.remedy == "name it with --client-certificate (client_certificate)"
        stranger, key = Authority(tmp_path / "other", "Other CA").issue("me")
        theirs = parse_broker(url, ca_file=authority.certificate, certificate=stranger, key=key)
        assert (found := Line(theirs, "phasewatch-n", 5).call()) is not None
        assert found.stage == "TLS"
        certificate, key = authority.issue("me")
        mine = parse_broker(url, ca_file=authority.certificate, certificate=certificate, key=key)
        assert [one.remedy for one in probe(mine)] == ["", "", "", ""]


def test_a_password_that_is_wrong_or_missing(tmp_path: Path) -> None:
    with mosquitto_with(tmp_path, "allow_anonymous false") as url:
        assert trouble(parse_broker(url)).startswith("MQTT: refused: Not authorized; see the user, the password and")
    (tmp_path / "p").write_text("wrong")
    broker = parse_broker(url.replace("//", "//me@"), password_file=tmp_path / "p")
    assert trouble(broker).startswith("TCP: nobody answers at port ")


@pytest.mark.parametrize("scheme", ["ws", "wss"])
def test_websockets_carry_what_a_plain_connection_carries(authority: Authority, tmp_path: Path, scheme: str) -> None:
    port = free_port()
    more = f"listener {port} 127.0.0.1\nprotocol websockets\n"  # a second one: mosquitto 2.0.11 will not have it alone
    if scheme == "wss":
        certificate, key = authority.issue("broker", "localhost")
        more += f"certfile {certificate}\nkeyfile {key}\n"
    with mosquitto_with(tmp_path, more):
        wait_for_port(port)
        ca_file = authority.certificate if scheme == "wss" else None
        broker = parse_broker(f"{scheme}://localhost:{port}/mqtt", ca_file=ca_file)
        assert [one.remedy for one in probe(broker)][-1] == ""
        sent = Line(broker, "phasewatch-n", 5)
        assert sent.call() is None
        sent.subscribe(["t/#"])
        # few: mosquitto 2.0.11 serves a WebSocket ten times a second
        mids = [sent.publish("t/x", b"%d" % n + bytes(5000), user=(("bundle", "b"),)) for n in range(20)]
        assert sent.wait(lambda: set(mids) <= sent.answers.keys() and len(sent.heard) == 20, 60)
        assert [int(one.payload.rstrip(b"\0")) for one in sent.heard] == list(
            range(20)
        )  # mosquitto 2.0.11 serves a WebSocket ten times a second
        sent.close()


def test_websockets_asked_of_a_plain_port(mosquitto: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = Line(parse_broker(mosquitto.replace("mqtt:", "ws:")), "phasewatch-n", 5).call()
    assert found is not None
    assert found.stage in ("TCP", "MQTT")


def test_certificates_that_do_not_read_are_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the kind")
    with pytest.raises(
        ConfigError, match=r"ca.pem: .*; expected PEM certificates; see --ca-file, --client-certificate"
    ):
        MqttPublisher(parse_broker("mqtts://localhost", ca_file=tmp_path / "ca.pem"), "n")
    found = list(probe(parse_broker("mqtts://localhost", ca_file=tmp_path / "none.pem")))
    assert found[-1].remedy


def test_a_state_that_lasts_is_logged_once_with_its_remedy(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr("edge.deliver.calls.FIRST_S", 0.01)
    monkeypatch.setattr("edge.deliver.calls.LONGEST_S", 0.01)
    stop, tries = threading.Event(), 0
    publisher = MqttPublisher(parse_broker("mqtt://127.0.0.1:1"), "n")

    class Counted(Line):
        def call(self, *given: object) -> object:  # type: ignore[override] # it counts, and does the same
            nonlocal tries
            tries += 1
            if tries > 5:
                stop.set()
            return super().call()

    monkeypatch.setattr("edge.deliver.publisher.Line", Counted)
    assert publisher.connect(stop, lambda: None) is None
    assert tries > 5
    (said,) = caplog.messages
    assert said == (
        "mqtt://127.0.0.1:1: TCP: nobody answers at port 1: Connection refused; start the broker, or correct its port"
    )


def test_back_off_doubles_with_fresh_jitter_and_ends_only_after_a_stable_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from edge.deliver.calls import Calls
    from edge.deliver.trouble import Trouble

    now = [0.0]
    monkeypatch.setattr("edge.deliver.calls.time.monotonic", lambda: now[0])
    drawn = []
    for _ in range(50):
        calls = Calls(5)
        delays = [calls.failed(Trouble("TCP", "nobody", "wait")) for _ in range(9)]
        for delay, most in zip(delays, (1, 2, 4, 8, 16, 32, 60, 60, 60), strict=True):
            assert most / 2 <= delay <= most
        drawn.append(delays[8])
        calls.accepted()
        now[0] += 59
        assert calls.lost() >= 30  # it flaps
        calls.accepted()
        now[0] += 60
        assert calls.lost() <= 1
    assert len(set(drawn)) > 40
    assert line.KEEP_ALIVE_S == 30
