"""Flow export by UDP: whoever exports for this machine's guests sends here, and each guest gets its own flows."""

from __future__ import annotations

import errno
import logging
import select
import socket
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import ClassVar

from contracts.telemetry.addresses import canonical_address
from contracts.telemetry.rows import NetflowRow
from contracts.vocabulary import Source
from edge.collectors.base import MS, Collector, SourceError, Taken, now
from edge.collectors.export.decode import Decoder

_log = logging.getLogger("edge")
_WAIT_S = 0.5
_MOST = 64
"""Datagrams read in one go."""
_LARGEST = 1 << 16
_BUFFER = 1 << 21
"""Bytes that the kernel may hold for us: some thousand datagrams, for a moment in which we are late."""
_STRANGERS = 16


class NetflowCollector(Collector):
    """One UDP port for all guests. Datagrams of exporters that are not named are counted and dropped."""

    source: ClassVar[Source] = "netflow"
    period_s = None

    def __init__(
        self,
        host: str,
        port: int,
        exporters: Collection[str],
        boots: Mapping[str, int],
        keep: Callable[[dict[str, int]], None],
    ) -> None:
        """exporters: addresses that may send; boots, keep: what is known of exporters' boots, and where it is kept."""
        self._address = host, port
        self._exporters = {canonical_address(one) for one in exporters}
        self._decoder, self._keep, self._kept = Decoder(boots), keep, dict(boots)
        self._strangers: Counter[str] = Counter()
        self._dropped = 0
        self._socket: socket.socket | None = None

    @property
    def counts(self) -> dict[str, int]:
        """As the decoder counts, and datagrams of strangers."""
        found = {name: count for name, count in vars(self._decoder.counts).items() if count}
        return {**found, **({"unknown_exporter": self._dropped} if self._dropped else {})}

    @property
    def port(self) -> int:
        """That it listens on."""
        assert self._socket is not None, "open() comes first"
        return int(self._socket.getsockname()[1])

    def open(self) -> None:
        """Bind. Raises `SourceError`."""
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        bound.setblocking(False)
        try:
            bound.bind((host, port))
        except OSError as error:
            bound.close()
            own = error.errno == errno.EACCES
            remedy = "name a port from 1024 up" if own else "end the other collector there, or name another port"
            raise SourceError(f"UDP {host}:{port}: {error.strerror}", remedy) from None
        self._socket = bound

    def close(self) -> None:
        """Let the port go; templates and boots stay known."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def read(self) -> Sequence[Taken]:
        """Flows of the datagrams that have come. Raises `OSError`."""
        assert self._socket is not None, "open() comes first"
        found: list[Taken] = []
        if not select.select([self._socket], [], [], _WAIT_S)[0]:
            return found
        for _ in range(_MOST):
            try:
                data, sender = self._socket.recvfrom(_LARGEST)
            except BlockingIOError:
                break
            at = now()
            if canonical_address(sender[0]) not in self._exporters:
                self._stranger(sender[0])
                continue
            for row in self._decoder.rows(data, f"{sender[0]}:{sender[1]}", at.wall_ns, at.mono_ns):
                found.append(Taken(row, at, (at.wall_ns - row.end_wall_ns) / MS))
        if self._decoder.boots != self._kept:
            self._kept = self._decoder.boots
            self._keep(self._kept)
        return found

    def _stranger(self, sender: str) -> None:
        self._dropped += 1
        if sender not in self._strangers and len(self._strangers) < _STRANGERS:
            _log.warning("netflow: datagrams of %s are dropped; name it in netflow.exporters to take them", sender)
        if sender in self._strangers or len(self._strangers) < _STRANGERS:
            self._strangers[sender] += 1


def concerns(row: NetflowRow, addresses: frozenset[str]) -> bool:
    """Whether a flow is to or from a guest. addresses: in canonical spelling."""
    return canonical_address(row.src) in addresses or canonical_address(row.dst) in addresses
