"""Why a broker cannot be reached: of an error or a reason code, the stage that failed, what was found, the remedy."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import Literal, NamedTuple

from paho.mqtt.reasoncodes import ReasonCode

from contracts.shell.broker import Broker

Stage = Literal["name", "TCP", "TLS", "MQTT"]
PATIENCE_S = 5.0
"""For each stage."""
OLD = 0x84
"""Unsupported Protocol Version (MQTT 5.0, 3.2.2.2)."""


class Trouble(NamedTuple):
    """unspoken: nothing was said to our CONNECT, as by a broker that cannot read MQTT 5; 1 if it hung up, which one
    that just starts does too, 2 if it kept silent."""

    stage: Stage
    found: str
    remedy: str
    old: bool = False
    unspoken: int = 0

    def __str__(self) -> str:
        return f"{self.stage}: {self.found}; {self.remedy}"


_CERTIFICATE = {  # X509_V_ERR_… of OpenSSL
    9: "it will be valid later: set this machine's clock",
    10: "renew the broker's certificate, or set this machine's clock",
    18: "name its authority with --ca-file (ca_file), or the certificate itself",
    19: "name its authority with --ca-file (ca_file)",
    20: "name its authority with --ca-file (ca_file)",
    62: "call the broker by the name that its certificate is for",
    64: "call the broker by the name that its certificate is for",
}
_SAID = {
    OLD: "let it speak MQTT 3.1.1 with --mqtt-version 3.1.1",
    0x85: "let the broker take client ids that begin with phasewatch-",
    0x86: "see the user and the password",
    0x87: "see the user, the password and the broker's rules",
    0x88: "see the broker's log",
    0x89: "it is busy: wait",
    0x8A: "see the broker's list of banned clients",
    0x97: "see the broker's limits of connections",
    0x9C: "name the other server that it says",
    0x9D: "name the other server that it says",
    0x9F: "see the broker's limits of connections per second",
}
_OURS = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "ALERT_UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN")
_EOF = "EOF OCCURRED IN VIOLATION OF PROTOCOL"
_PLAIN = "the port may not speak TLS: say mqtt:// or ws://, or correct it"


def tls_context(broker: Broker) -> ssl.SSLContext:
    """Raises `OSError` for certificates that do not read."""
    context = ssl.create_default_context(cafile=str(broker.ca_file) if broker.ca_file else None)
    if broker.certificate is not None:
        context.load_cert_chain(broker.certificate, broker.key)
    return context


def of_error(broker: Broker, error: Exception) -> Trouble:
    """Of an attempt to connect."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, socket.gaierror | UnicodeError):
        return Trouble("name", f"{broker.host}: {text}", "correct the broker's name, or see the resolver")
    if isinstance(error, ssl.SSLCertVerificationError):
        remedy = _CERTIFICATE.get(error.verify_code, "see the broker's certificate")
        return Trouble("TLS", f"certificate refused: {error.verify_message}", remedy)
    if "WebSocket" in text:
        return Trouble("MQTT", text, "see the path of the address, and whether WebSockets are spoken there")
    if isinstance(error, ssl.SSLError) or "handshake" in text:
        return of_tls(f"{getattr(error, 'reason', None) or text}")
    if isinstance(error, TimeoutError):
        return Trouble("TCP", f"port {broker.port}: no answer in {PATIENCE_S:g} s", "see the network, or a firewall")
    if broker.tls and isinstance(error, ConnectionResetError | BrokenPipeError | EOFError):
        return Trouble("TLS", text, _PLAIN)
    return Trouble("TCP", f"nobody answers at port {broker.port}: {text}", "start the broker, or correct its port")


def of_tls(reason: str) -> Trouble:
    """Of OpenSSL's reason."""
    if any(one in reason.upper() for one in _OURS) or "after the handshake" in reason:
        return Trouble(
            "TLS",
            f"the broker does not take our certificate, or wants one ({reason})",
            "name it with --client-certificate (client_certificate)",
        )
    return Trouble("TLS", reason, _PLAIN)


def of_refusal(reason: ReasonCode) -> Trouble:
    """Of a CONNACK."""
    remedy = _SAID.get(reason.value, "see the broker's log")
    return Trouble("MQTT", f"refused: {reason}", remedy, old=reason.value == OLD)


def of_silence(broker: Broker, said: str, *, closed: bool) -> Trouble:
    """No CONNACK came. said: paho's last word."""
    if broker.tls and closed and any(one in said.upper() for one in (*_OURS, _EOF)):
        # under TLS 1.3 our side of the handshake is over before the broker has looked at our certificate
        return of_tls("it hung up after the handshake" if _EOF in said.upper() else said)._replace(unspoken=1)
    if not broker.tls and closed and _speaks_tls(broker):
        return Trouble("TLS", f"port {broker.port} speaks TLS", "say mqtts:// or wss://")
    found = "closed the connection without an answer" if closed else "no answer to CONNECT"
    return Trouble("MQTT", found, "see the broker's log, and whether MQTT is spoken there", unspoken=2 - closed)


def _speaks_tls(broker: Broker) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), socket.create_connection((broker.host, broker.port), 2) as plain:
        try:
            context.wrap_socket(plain, server_hostname=broker.host).close()
        except ssl.SSLError as error:
            return any(one in str(error).upper() for one in _OURS)
        return True
    return False
