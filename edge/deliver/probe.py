"""Why a broker cannot be reached: name, TCP, TLS and MQTT, one after the other, up to the stage that fails."""

from __future__ import annotations

import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from typing import Literal, NamedTuple

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from contracts.shell.broker import Broker

Stage = Literal["name", "TCP", "TLS", "MQTT"]
PATIENCE_S = 5.0


class Probed(NamedTuple):
    """One stage. remedy: empty where it passed."""

    stage: Stage
    found: str
    remedy: str = ""


def probe(broker: Broker) -> Iterator[Probed]:
    """Up to the first stage that fails."""
    try:
        found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or str(error)
        yield Probed("name", f"{broker.host}: {why}", "correct the broker's name, or see the resolver")
        return
    yield Probed("name", f"{broker.host} is {found[0][4][0]}")
    began = time.monotonic()
    try:
        connection = socket.create_connection((broker.host, broker.port), PATIENCE_S)
    except TimeoutError:
        yield Probed("TCP", f"port {broker.port}: no answer in {PATIENCE_S:g} s", "see the network, or a firewall")
        return
    except OSError as error:
        yield Probed("TCP", f"port {broker.port}: {error.strerror or error}", "start the broker, or correct its port")
        return
    with connection:
        yield Probed("TCP", f"port {broker.port} in {1000 * (time.monotonic() - began):.1f} ms")
        if broker.tls:
            stage = _tls(broker, connection)
            yield stage
            if stage.remedy:
                return
    yield _mqtt(broker)


def _tls(broker: Broker, connection: socket.socket) -> Probed:
    try:
        context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
        with context.wrap_socket(connection, server_hostname=broker.host) as wrapped:
            return Probed("TLS", f"{wrapped.version()}, certificate in order")
    except ssl.SSLCertVerificationError as error:
        return Probed("TLS", f"certificate refused: {error.verify_message}", "see ca_file, the broker's name and clock")
    except ssl.SSLError as error:
        return Probed("TLS", f"{error.reason or error}", "the port may speak plain MQTT: say mqtt:// or correct it")
    except OSError as error:
        return Probed("TLS", f"{error.strerror or error}", "see ca_file, and whether the port speaks TLS")


def _mqtt(broker: Broker) -> Probed:
    """A session of its own, which leaves no trace."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"phasewatch-doctor-{secrets.token_hex(4)}")
    said: list[str] = []

    def connected(_client: object, _data: object, _flags: object, reason: ReasonCode, _properties: object) -> None:
        said.append(str(reason) if reason.is_failure else "")

    client.on_connect = connected
    if broker.user is not None:
        client.username_pw_set(broker.user, broker.password)
    if broker.tls:
        client.tls_set(ca_certs=str(broker.ca_file) if broker.ca_file else None)
    until = time.monotonic() + PATIENCE_S
    try:
        client.connect(broker.host, broker.port)
        while not said and time.monotonic() < until and client.loop(0.2) == mqtt.MQTT_ERR_SUCCESS:
            pass
        client.disconnect()
    except OSError as error:
        return Probed("MQTT", f"{error.strerror or error}", "see whether an MQTT broker listens there")
    if not said:
        return Probed("MQTT", "no answer to CONNECT", "see whether an MQTT broker listens there, and with TLS")
    if said[0]:
        return Probed("MQTT", f"refused: {said[0]}", "see user, password_file and the broker's rules")
    return Probed("MQTT", "accepted")
