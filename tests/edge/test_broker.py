"""Broker addresses."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.shell.broker import PASSWORD_VARIABLE, parse_broker


def test_parse_broker_fills_in_ports() -> None:
    assert parse_broker("mqtt://pi").url == "mqtt://pi:1883"
    assert parse_broker("mqtts://pi").url == "mqtts://pi:8883"
    broker = parse_broker("mqtt://me@[::1]:1884/")
    assert (broker.user, broker.host, broker.port) == ("me", "::1", 1884)


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("pi:1883", "scheme 'pi'"),
        (
            "http://pi",
            "scheme 'http'; expected mqtt://[user@]host[:port]; begin with mqtt://, mqtts://, ws:// or wss://",
        ),
        ("mqtt://", "more or less than a host and a port"),
        ("mqtt://pi/topic", "more or less than a host and a port"),
        ("mqtt://pi:port", "Port could not be cast"),
        ("mqtt://me:secret@pi", "a password in the address"),
        ("mqtt://a..b", "host 'a..b'; expected mqtt://[user@]host[:port]; correct the address"),
        ("mqtt://pi:0", "port 0"),
    ],
)
def test_parse_broker_refuses(url: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as refusal:
        parse_broker(url)
    assert "secret" not in str(refusal.value)


def test_password_comes_from_the_environment_or_a_file_and_is_never_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(PASSWORD_VARIABLE, "hidden")
    assert parse_broker("mqtt://me@pi").password == "hidden"
    assert parse_broker("mqtt://pi").password is None  # it may be for another program
    assert f"{PASSWORD_VARIABLE} is ignored: the broker's address names no user" in caplog.text
    assert "hidden" not in caplog.text
    (tmp_path / "q").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="q: not UTF-8; expected a password and nothing else"):
        parse_broker("mqtt://me@pi", password_file=tmp_path / "q")
    (tmp_path / "p").write_text("filed\n")
    with pytest.raises(ConfigError, match="a password but no user; expected mqtt://user@host; name the user"):
        parse_broker("mqtt://pi", password_file=tmp_path / "p")
    broker = parse_broker("mqtt://me@pi", password_file=tmp_path / "p")
    assert broker.password == "filed"
    assert "filed" not in repr(broker)


@pytest.mark.parametrize(
    ("written", "password"),
    [
        (b"secret", "secret"),
        (b"secret\n", "secret"),
        (b"secret\r\n", "secret"),
        (b"\xef\xbb\xbfsecret\r\n", "secret"),  # as some editors begin a text in UTF-8
        (b"secret \n", "secret "),
        (b" \tsecret\t", " \tsecret\t"),
        ("geheim\u00df\n".encode(), "geheim\u00df"),
    ],
)
def test_password_file_loses_one_line_end_and_nothing_else(tmp_path: Path, written: bytes, password: str) -> None:
    (tmp_path / "p").write_bytes(written)
    assert parse_broker("mqtt://me@pi", password_file=tmp_path / "p").password == password


@pytest.mark.parametrize(
    ("written", "found"),
    [
        (b"", "empty"),
        (b"\n", "empty"),
        (b"\r\n", "empty"),
        (b"\xef\xbb\xbf\r\n", "empty"),
        (b"secret\n\n", "more than one line"),
        (b"secret\nother\n", "more than one line"),
        (b"secret\r", "more than one line"),
        (b"secret\r\r\n", "more than one line"),
        ("secret\r\n".encode("utf-16"), "not UTF-8"),
    ],
)
def test_password_file_is_refused_when_it_is_not_one_line_of_text(tmp_path: Path, written: bytes, found: str) -> None:
    (tmp_path / "p").write_bytes(written)
    with pytest.raises(
        ConfigError, match=f"p: {found}; expected a password and nothing else; write it anew"
    ) as refusal:
        parse_broker("mqtt://me@pi", password_file=tmp_path / "p")
    assert "secret" not in str(refusal.value)


def test_password_from_the_environment_obeys_the_same_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("secret", "secret\n", "secret\r\n"):
        monkeypatch.setenv(PASSWORD_VARIABLE, given)
        assert parse_broker("mqtt://me@pi").password == "secret"
    for given, found in (("", "empty"), ("secret\r", "more than one line"), ("\udcff", "not UTF-8")):
        monkeypatch.setenv(PASSWORD_VARIABLE, given)
        with pytest.raises(ConfigError, match=f"{PASSWORD_VARIABLE}: {found}; expected a password and nothing else"):
            parse_broker("mqtt://me@pi")
    (tmp_path / "p").write_text("filed")  # which is asked instead
    assert parse_broker("mqtt://me@pi", password_file=tmp_path / "p").password == "filed"


def test_websockets_have_a_path_and_their_own_ports() -> None:
    assert parse_broker("ws://pi").url == "ws://pi:80/mqtt"
    broker = parse_broker("wss://pi:9001/site/mqtt")
    assert (broker.url, broker.tls, broker.path) == ("wss://pi:9001/site/mqtt", True, "/site/mqtt")
    assert parse_broker("mqtt://[::1]").url == "mqtt://[::1]:1883"


def test_what_is_not_named_comes_from_systemds_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("mqtt-password", "mqtt-ca.pem", "mqtt-client.pem", "mqtt-client.key"):
        (tmp_path / name).write_text("filed\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    monkeypatch.setenv(PASSWORD_VARIABLE, "from the environment")
    broker = parse_broker("mqtts://me@pi")
    assert (broker.password, broker.ca_file) == ("filed", tmp_path / "mqtt-ca.pem")
    assert (broker.certificate, broker.key) == (tmp_path / "mqtt-client.pem", tmp_path / "mqtt-client.key")
    plain = parse_broker("mqtt://me@pi")
    assert (plain.ca_file, plain.certificate, plain.key) == (None, None, None)
    named = parse_broker("mqtts://me@pi", certificate=tmp_path / "both.pem")
    assert (named.certificate, named.key) == (tmp_path / "both.pem", None)


def test_a_credential_of_an_empty_line_stands_for_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the units set it where there is no file to load."""
    for name in ("mqtt-password", "mqtt-ca.pem", "mqtt-client.pem", "mqtt-client.key"):
        (tmp_path / name).write_text("\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    broker = parse_broker("mqtts://me@pi")
    assert (broker.password, broker.ca_file, broker.certificate, broker.key) == (None, None, None, None)


@pytest.mark.parametrize(
    ("url", "options", "message"),
    [
        ("mqtt://pi", {"ca_file": Path("ca.pem")}, "ca.pem without TLS; expected mqtts:// or wss://"),
        ("ws://pi", {"certificate": Path("c.pem")}, "c.pem without TLS; expected mqtts:// or wss://"),
        ("mqtts://pi", {"key": Path("k.pem")}, "a client key alone; expected its certificate too; name both"),
    ],
)
def test_certificates_without_their_use_are_refused(url: str, options: dict[str, Path], message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_broker(url, **options)  # type: ignore[arg-type] # none of them is the version
