"""Where the broker is: `mqtt://[user@]host[:port]`, `mqtts://…`, or over WebSockets `ws://…/path` and `wss://…/path`.

Secrets come from files, from systemd's credentials, or from the environment, and never from the address.
"""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import SplitResult, unquote, urlsplit

from contracts.errors import ConfigError
from contracts.files import read_file

log = logging.getLogger("edge.broker")

PASSWORD_VARIABLE = "PHASEWATCH_MQTT_PASSWORD"  # noqa: S105 - a variable's name
_CREDENTIALS = "CREDENTIALS_DIRECTORY"
"""Where systemd puts what LoadCredential names (systemd.exec(5))."""
Version = Literal[5, 4]
"""Of MQTT: 5, or 3.1.1 by the number that its packets carry."""
VERSIONS: dict[str, Version] = {"5": 5, "3.1.1": 4}
_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}


@dataclass(frozen=True, kw_only=True)
class Broker:
    """An address and what it takes to get in. The password is in no repr and no message. path: of a WebSocket, or None.
    certificate and key: our own, where the broker wants to see one. version: that and no other, or None."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    ca_file: Path | None
    path: str | None = None
    certificate: Path | None = None
    key: Path | None = None
    version: Version | None = None

    @property
    def url(self) -> str:
        """For messages."""
        scheme = ("mqtt" if self.path is None else "ws") + ("s" if self.tls else "")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}{self.path or ''}"


def parse_broker(
    url: str,
    *,
    password_file: Path | None = None,
    ca_file: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    version: str | None = None,
) -> Broker:
    """version: one of `VERSIONS`. What is not named is looked for among systemd's credentials: `mqtt-password`,
    `mqtt-ca.pem`, `mqtt-client.pem`, `mqtt-client.key`. Raises `ConfigError`; also for a password in the address, where
    every process list would show it.
    """
    parts = _split(url)
    tls = parts.scheme in ("mqtts", "wss")
    if not tls and (given := ca_file or certificate or key):
        raise ConfigError(
            "--broker", f"{given} without TLS", expected="mqtts:// or wss://", remedy="say so, or leave it"
        )
    if key is not None and certificate is None:
        raise ConfigError("--broker", "a client key alone", expected="its certificate too", remedy="name both")
    user = None if parts.username is None else unquote(parts.username)
    return Broker(
        host=parts.hostname or "",
        port=parts.port or _PORTS[parts.scheme],
        tls=tls,
        user=user,
        password=_password(password_file, user),
        ca_file=ca_file or (_credential("mqtt-ca.pem") if tls else None),
        path=(parts.path or "/mqtt") if parts.scheme in ("ws", "wss") else None,
        certificate=certificate or (_credential("mqtt-client.pem") if tls else None),
        key=key or (_credential("mqtt-client.key") if tls and certificate is None else None),
        version=None if version is None else VERSIONS[version],
    )


def _split(url: str) -> SplitResult:
    def refuse(found: str, remedy: str) -> ConfigError:
        return ConfigError("--broker", found, expected="mqtt://[user@]host[:port]", remedy=remedy)

    try:
        parts = urlsplit(url)
        port = parts.port
        (parts.hostname or "").encode("idna")
    except UnicodeError:  # whose words are another in every Python
        raise refuse(f"host {parts.hostname!r}", "correct the address") from None
    except ValueError as error:
        raise refuse(str(error), "correct the address") from None
    if port == 0:
        raise refuse("port 0", "name the broker's port")
    if parts.scheme not in _PORTS:
        raise refuse(f"scheme {parts.scheme!r}", "begin with mqtt://, mqtts://, ws:// or wss://")
    path = parts.path if parts.scheme.startswith("mqtt") else ""
    if not parts.hostname or path not in ("", "/") or parts.query or parts.fragment:
        raise refuse("more or less than a host and a port", "give just these")
    if parts.password is not None:
        raise refuse("a password in the address", f"use --password-file or {PASSWORD_VARIABLE}")
    return parts


def _credential(name: str) -> Path | None:
    folder = os.environ.get(_CREDENTIALS, "")
    path = Path(folder) / name
    # where there is no file to load, the units set an empty line
    return path if folder.startswith("/") and path.is_file() and path.stat().st_size > 1 else None


def _password(named: Path | None, user: str | None) -> str | None:
    """From the file that was named, systemd's credential or the environment, in this order. One line: its end, and a
    byte order mark, are no part of it."""
    file = named or _credential("mqtt-password")
    where = file or PASSWORD_VARIABLE

    def refuse(found: str) -> ConfigError:
        return ConfigError(where, found, expected="a password and nothing else", remedy="write it anew")

    given = os.environb.get(PASSWORD_VARIABLE.encode()) if file is None else read_file(file, 4096)
    if given is None:
        return None
    try:
        password = re.sub(r"\r?\n\Z", "", given.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise refuse("not UTF-8") from None
    if not password:
        raise refuse("empty")
    if "\n" in password or "\r" in password:
        raise refuse("more than one line")
    if user is not None:
        return password
    if named is not None:
        raise ConfigError("--broker", "a password but no user", expected="mqtt://user@host", remedy="name the user")
    log.warning("%s is ignored: the broker's address names no user (mqtt://user@host)", where)
    return None
