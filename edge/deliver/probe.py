"""Why a broker cannot be reached: name, TCP, TLS and MQTT, one after the other, up to the stage that fails."""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator
from typing import NamedTuple

from contracts.errors import ConfigError
from contracts.shell.broker import Broker, Version
from edge.deliver.line import Line
from edge.deliver.trouble import PATIENCE_S, Stage, Trouble, of_error, tls_context


class Probed(NamedTuple):
    """One stage. remedy: empty where it passed."""

    stage: Stage
    found: str
    remedy: str = ""


def probe(broker: Broker) -> Iterator[Probed]:
    """Up to the first stage that fails. Raises nothing."""
    try:
        yield from _network(broker)
        yield _mqtt(broker)
    except ConfigError as error:
        yield Probed("TLS", f"{error.where}: {error.found}", error.remedy)
    except (OSError, ValueError) as error:
        yield _failed(of_error(broker, error))


def _failed(trouble: Trouble) -> Probed:
    return Probed(trouble.stage, trouble.found, trouble.remedy)


def _network(broker: Broker) -> Iterator[Probed]:
    found = socket.getaddrinfo(broker.host, broker.port, type=socket.SOCK_STREAM)
    yield Probed("name", f"{broker.host} is {found[0][4][0]}")
    began = time.monotonic()
    with socket.create_connection((broker.host, broker.port), PATIENCE_S) as connection:
        yield Probed("TCP", f"port {broker.port} in {1000 * (time.monotonic() - began):.1f} ms")
        if broker.tls:
            with tls_context(broker).wrap_socket(connection, server_hostname=broker.host) as wrapped:
                yield Probed("TLS", f"{wrapped.version()}, certificate in order")


def _mqtt(broker: Broker) -> Probed:
    """A session of its own, which leaves no trace: as MQTT 5, or else 3.1.1."""
    name = f"phasewatch-doctor-{secrets.token_hex(4)}"
    trouble = _called(broker, name, 5)
    if trouble is None:
        return Probed("MQTT", "accepted (MQTT 5)")
    if trouble.old or trouble.unspoken:
        trouble = _called(broker, name, 4)
    return Probed("MQTT", "accepted (MQTT 3.1.1)") if trouble is None else _failed(trouble)


def _called(broker: Broker, name: str, version: Version) -> Trouble | None:
    line = Line(broker, name, version)
    try:
        return line.call()
    finally:
        line.close()
