"""Why a broker cannot be reached: the stage that fails is named, with its remedy."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from contracts.shell.broker import Broker, parse_broker
from edge.deliver import line
from edge.deliver.probe import probe
from tests.brokers import free_port, program, wait_for_port


def stages(broker: Broker) -> list[str]:
    return [f"{one.stage}{'!' if one.remedy else ''}: {one.found}" for one in probe(broker)]


@pytest.mark.system
def test_a_broker_that_accepts_is_said_to(mosquitto: str) -> None:
    found = stages(parse_broker(mosquitto))
    assert found[0] == "name: 127.0.0.1 is 127.0.0.1"
    assert found[1].startswith("TCP: port ")
    assert found[2:] == ["MQTT: accepted (MQTT 5)"]


def test_a_name_that_does_not_exist_is_the_first_stage() -> None:
    (found,) = stages(parse_broker("mqtt://no-such-host.invalid"))
    assert found.startswith("name!: no-such-host.invalid: ")


def test_a_port_where_nobody_listens_is_the_second() -> None:
    assert stages(parse_broker(f"mqtt://127.0.0.1:{free_port()}"))[-1].endswith("Connection refused")


def test_a_port_that_speaks_no_mqtt_is_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(line, "CONNACK_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker = parse_broker(f"mqtt://127.0.0.1:{silent.getsockname()[1]}")
        assert stages(broker)[-1] == "MQTT!: no answer to CONNECT"


@pytest.fixture
def strict(tmp_path: Path) -> Iterator[int]:
    """A mosquitto that wants a password."""
    port = free_port()
    (tmp_path / "m.conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous false\nuser root\n")
    with subprocess.Popen(
        [str(program("mosquitto")), "-c", str(tmp_path / "m.conf")], stderr=subprocess.DEVNULL
    ) as one:
        wait_for_port(port)
        yield port
        one.terminate()


@pytest.mark.system
def test_a_broker_that_refuses_says_why(strict: int) -> None:
    assert stages(parse_broker(f"mqtt://127.0.0.1:{strict}"))[-1] == "MQTT!: refused: Not authorized"


@pytest.mark.system
def test_a_plain_port_that_is_asked_for_tls_is_told(mosquitto: str) -> None:
    found = stages(parse_broker(mosquitto.replace("mqtt:", "mqtts:")))
    assert found[-1].startswith("TLS!: ")


def test_a_certificate_of_an_unknown_authority_is_told(tmp_path: Path) -> None:
    import ssl

    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    command += ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(2):
                with contextlib.suppress(OSError):
                    connection, _ = listener.accept()
                    with connection, contextlib.suppress(OSError):
                        context.wrap_socket(connection, server_side=True).close()

        threading.Thread(target=serve, daemon=True).start()
        port = listener.getsockname()[1]
        found = stages(parse_broker(f"mqtts://localhost:{port}"))
        assert "certificate refused: self" in found[-1]
