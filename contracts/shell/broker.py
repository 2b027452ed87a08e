"""Where the broker is: `mqtt://[user@]host[:port]` or `mqtts://…`. A password comes from a file or the environment."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from contracts.errors import ConfigError
from contracts.files import read_file

PASSWORD_VARIABLE = "PHASEWATCH_MQTT_PASSWORD"  # noqa: S105 - a variable's name


@dataclass(frozen=True, kw_only=True)
class Broker:
    """An address and what it takes to get in. The password is in no repr and no message."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None = field(repr=False)
    ca_file: Path | None

    @property
    def url(self) -> str:
        """For messages."""
        return f"{'mqtts' if self.tls else 'mqtt'}://{self.host}:{self.port}"


def parse_broker(url: str, *, password_file: Path | None = None, ca_file: Path | None = None) -> Broker:
    """Raises `ConfigError`; also for a password in the address, where every process list would show it."""

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
    if parts.scheme not in ("mqtt", "mqtts"):
        raise refuse(f"scheme {parts.scheme!r}", "begin with mqtt:// or mqtts://")
    if not parts.hostname or parts.path not in ("", "/") or parts.query or parts.fragment:
        raise refuse("more or less than a host and a port", "give just these")
    if parts.password is not None:
        raise refuse("a password in the address", f"use --password-file or {PASSWORD_VARIABLE}")
    password = _password(password_file)
    if password is not None and parts.username is None:
        raise refuse("a password but no user", "say mqtt://user@host")
    tls = parts.scheme == "mqtts"
    return Broker(
        host=parts.hostname,
        port=port or (8883 if tls else 1883),
        tls=tls,
        user=None if parts.username is None else unquote(parts.username),
        password=password,
        ca_file=ca_file,
    )


def _password(file: Path | None) -> str | None:
    """From the file, or else from the environment. One line: its end, and a byte order mark, are no part of it."""
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
    return password
