"""What the guest says of itself over virtio-serial: a JSON object a line, ten a second (firmware-config/guest).

It is never trusted. A guest that floods, lies or hangs costs its own source, and no other one a tick: at most
`MOST_READ` bytes are looked at some thirty times a second, and twelve lines of a second are rows.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from contracts.decode import UNDECODABLE
from contracts.telemetry.rows import GuestRow, Reading, Text
from contracts.types import Nanoseconds
from contracts.vocabulary import Source
from edge.collectors.base import MS, Collector, SourceError, Taken, now
from edge.collectors.lines import MOST_READ, Heard, Lines, Rate

_WAIT_S = 0.5
_PAUSE_S = 0.1
_STALE_NS = 1500 * MS
"""A line that lies so much further behind than the quickest of late has waited somewhere."""
_DRAIN_S = 0.3
"""For what had piled up before we came."""
_DRAIN_MOST = 1 << 20


class Said(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One line: the guest's clocks, its boot, and counters and gauges of its kernel; null or absent is not known."""

    g_wall_ns: Nanoseconds
    g_mono_ns: Nanoseconds
    boot_id: Text
    cpu_user: Reading = None
    cpu_system: Reading = None
    cpu_iowait: Reading = None
    cpu_idle: Reading = None
    ctxt: Reading = None
    intr: Reading = None
    procs_running: Reading = None
    mem_free_kb: Reading = None
    slab_kb: Reading = None
    wr_sectors: Reading = None
    rd_sectors: Reading = None
    tcp_active_opens: Reading = None


_decoder = msgspec.json.Decoder(Said)


class GuestFeed(Collector):
    """One guest's feed, by the socket of its virtio-serial port."""

    source: ClassVar[Source] = "guest"
    period_s = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._heard = Heard()
        self._socket: socket.socket | None = None

    @property
    def counts(self) -> dict[str, int]:
        """Lines that were of no use."""
        return {name: count for name, count in vars(self._heard).items() if count}

    def open(self) -> None:
        """Connect, and throw away what had piled up. Raises `SourceError`."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        connection.settimeout(_WAIT_S)
        try:
            connection.connect(str(self._path))
        except OSError as error:
            connection.close()
            raise SourceError(
                f"{self._path}: {error.strerror or error}",
                "start the guest with this virtio-serial socket, and let us use it",
            ) from None
        connection.setblocking(False)
        self._socket, self._lines, self._rate = connection, Lines(self._heard), Rate(12, 4)
        self._reads = Rate(15, 10)
        self._behind: tuple[str, int] | None = None
        until, thrown = time.monotonic() + _DRAIN_S, 0
        while time.monotonic() < until and thrown < _DRAIN_MOST:
            for _ in self._lines.take(some := self._some(0.05)):
                self._heard.stale += 1
            thrown += len(some)

    def close(self) -> None:
        """Hang up."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def read(self) -> Sequence[Taken]:
        """Rows of the lines that have come. Raises `SourceError` when QEMU has hung up."""
        if not self._reads.spend(time.monotonic()):
            time.sleep(_PAUSE_S)  # it floods: the rest waits on its side
        data = self._some(_WAIT_S)
        return [taken for line in self._lines.take(data) if (taken := self._row(line)) is not None]

    def _some(self, seconds: float) -> bytes:
        assert self._socket is not None, "open() comes first"
        if not select.select([self._socket], [], [], seconds)[0]:
            return b""
        try:
            data = self._socket.recv(MOST_READ)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise SourceError(f"connection lost ({error.strerror})", "start the guest") from None
        if not data:
            raise SourceError("connection closed by QEMU", "start the guest")
        return data

    def _row(self, line: bytes) -> Taken | None:
        at = now()
        if not self._rate.spend(at.mono_ns / 1e9):
            self._heard.flooded += 1
            return None
        said = None
        with contextlib.suppress(*UNDECODABLE):
            said = _decoder.decode(line)
        if said is None:
            self._heard.garbage += 1
            return None
        behind = at.mono_ns - said.g_mono_ns
        if self._behind is None or self._behind[0] != said.boot_id or behind < self._behind[1]:
            self._behind = said.boot_id, behind
        late = behind - self._behind[1]
        # two clocks drift apart by parts in a million; let the mark follow
        self._behind = said.boot_id, self._behind[1] + min(late, MS // 100)
        if late > _STALE_NS:
            self._heard.stale += 1
            if late > 20 * _STALE_NS:  # it cannot have waited that long: the guest's clock stood still, or lies
                self._behind = None
            return None
        row = GuestRow(t_wall_ns=at.wall_ns, t_mono_ns=at.mono_ns, **msgspec.structs.asdict(said))
        return Taken(row, at, late / MS)
