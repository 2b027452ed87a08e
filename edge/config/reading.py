"""`edge.toml`, read and checked whole: a fault is named with file, line, key and the nearest right name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from contracts.errors import ConfigError
from contracts.telemetry.addresses import canonical_address
from edge.config.places import Places
from edge.config.settings import PATHS, Config, Guest
from edge.config.toml import nearest, read_toml

T = TypeVar("T")
_UNKNOWN = re.compile(r"unknown field `(.*)`$")
_MISSING = re.compile(r"missing required field `(.*)`$")


def read_config(path: Path, *, guests_may_come: bool = False) -> Config:
    """guests_may_come: it need not name one yet.

    Raises `MissingError`, `UnreadableError`, `BoundError`, `ConfigError`.
    """
    said, text = read_toml(path)
    return _Reader(path, Places(text), guests_may_come).config(said)


class _Reader:
    """One file."""

    def __init__(self, path: Path, places: Places, guests_may_come: bool) -> None:
        self._path, self._places, self._guests_may_come = path, places, guests_may_come

    def config(self, said: dict[str, Any]) -> Config:
        tables = {field.name: field for field in msgspec.structs.fields(Config)}
        for key in said:
            if key not in tables:
                raise self._refuse(f"unknown key `{key}`", nearest(key, tables), "", 0, key)
        none_yet = self._guests_may_come and "guest" not in said
        guests = [] if none_yet else said.get("guest")
        if not isinstance(guests, list) or not (guests or none_yet) or not all(isinstance(one, dict) for one in guests):
            found = "no [[guest]]" if "guest" not in said else "`guest` is no list of tables"
            raise self._refuse(found, "write a [[guest]] for each guest", "", 0, "guest")
        if not isinstance(said.get("broker"), dict):
            raise self._refuse("no [broker]", "write one, with its url", "", 0, "broker")
        whole: dict[str, Any] = {"guest": [self._table(one, Guest, "guest", i) for i, one in enumerate(guests)]}
        for key, value in said.items():
            if key != "guest":
                whole[key] = self._table(value, tables[key].type, key)
        config = Config(**whole)
        self._check(config)
        return config

    def _table(self, said: Any, kind: Any, name: str, index: int = 0) -> Any:
        """One table, or one value at the top."""
        if isinstance(said, dict):
            said = {key: self._absolute(value) if key in PATHS else value for key, value in said.items()}
        try:
            return msgspec.convert(said, kind)
        except msgspec.ValidationError as error:
            found, _, place = str(error).partition(" - at `$")
            key = place.strip("`").strip(".").partition("[")[0].partition(".")[0]
            if not isinstance(said, dict):
                raise self._refuse(f"`{name}`: {found}", "correct that line", "", 0, name) from None
            if unknown := _UNKNOWN.search(found):
                fields = _fields(kind)
                raise self._refuse(
                    f"unknown key `{unknown[1]}`", nearest(unknown[1], fields), name, index, unknown[1]
                ) from None
            if missing := _MISSING.search(found):
                raise self._refuse(f"no `{missing[1]}`", f"say {missing[1]} = …", name, index, "") from None
            raise self._refuse(f"`{key or name}`: {found}", "correct that line", name, index, key) from None

    def _absolute(self, value: Any) -> Any:
        """Relative to the file."""
        return str(self._path.absolute().parent / value) if isinstance(value, str) and value else value

    def _check(self, config: Config) -> None:
        """What the types alone do not catch."""
        seen: set[str] = set()
        for i, guest in enumerate(config.guest):

            def refuse(found: str, remedy: str, key: str, at: int = i) -> ConfigError:
                return self._refuse(found, remedy, "guest", at, key)

            if guest.id in seen:
                raise refuse(f"guest `{guest.id}` is there twice", "give each its own id", "id")
            seen.add(guest.id)
            for address in guest.addresses:
                if canonical_address(address) is None:
                    raise refuse(f"address {address!r}", "write IPv4 or IPv6 addresses", "addresses")
            ways = [key for key in ("pidfile", "name", "libvirt") if getattr(guest, key) is not None]
            if len(ways) > 1:
                raise refuse(f"both `{ways[0]}` and `{ways[1]}`", "find the process in one way", ways[1])
            if guest.feed is not None and guest.agent is not None:
                raise refuse("both `feed` and `agent`", "keep the feed, which says more", "agent")
            if guest.tap is not None and "proc" not in config.sources(guest):
                raise refuse("`tap` without a process", "say qmp, pidfile, name or libvirt too", "tap")
            if not config.sources(guest):
                raise refuse(f"nothing of guest `{guest.id}` is watched", "say at least qmp = …", "id")
        if config.netflow is not None:
            for address in config.netflow.exporters:
                if canonical_address(address) is None:
                    raise self._refuse(
                        f"exporter {address!r}", "write IPv4 or IPv6 addresses", "netflow", 0, "exporters"
                    )
            self._host_and_port(config.netflow.listen, "netflow")
        if config.prometheus is not None:
            self._host_and_port(config.prometheus.listen, "prometheus")

    def _host_and_port(self, text: str, table: str) -> None:
        try:
            host_and_port(text)
        except ValueError:
            raise self._refuse(f"listen {text!r}", 'write "host:port"', table, 0, "listen") from None

    def _refuse(self, found: str, remedy: str, table: str, index: int, key: str) -> ConfigError:
        line = self._places.line(table, index, key)
        where = self._path if line is None else f"{self._path}:{line}"
        expected = f"the keys of [{table}]" if table else "the tables of edge.toml"
        return ConfigError(where, found, expected=f"{expected} as in firmware-config/edge.toml", remedy=remedy)


def host_and_port(text: str) -> tuple[str, int]:
    """Of `host:port` or `[address]:port`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon or not host or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 0xFFFF:
        raise ValueError(text)
    return host.removeprefix("[").removesuffix("]"), int(port)


def _fields(kind: Any) -> list[str]:
    kinds = getattr(kind, "__args__", (kind,))
    return [name for one in kinds for name in getattr(one, "__struct_fields__", ())]
