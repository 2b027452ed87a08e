"""A guest that has QEMU's guest agent and no feed: about once a second, by reading files of its /proc.

The agent (qemu-ga) has no command for most of what is wanted, but `guest-file-read` reads any file; nothing is written,
and no program is started. It answers slowly, so the rows come as far apart as the schema's maximum age allows.
"""

from __future__ import annotations

import base64
import contextlib
import re
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from contracts.telemetry.rows import GuestRow
from contracts.text import printable
from contracts.vocabulary import Source
from edge.collectors.base import MS, Collector, SourceError, Taken, now
from edge.collectors.monitor import Monitor, RefusedError

READ_ONLY = frozenset(
    {"guest-sync", "guest-get-time", "guest-file-open", "guest-file-read", "guest-file-seek", "guest-file-close"}
)
"""All that is ever sent; files are opened for reading alone."""
_FILES = {
    "stat": "/proc/stat",
    "uptime": "/proc/uptime",
    "memory": "/proc/meminfo",
    "disks": "/proc/diskstats",
    "tcp": "/proc/net/snmp",
}
_BOOT = "/proc/sys/kernel/random/boot_id"
_MOST = 1 << 15
_LARGEST = 1 << 62


class GuestAgent(Collector):
    """One guest's agent, by the socket of its port `org.qemu.guest_agent.0`."""

    source: ClassVar[Source] = "guest"
    period_s = 0.8

    def __init__(self, path: Path) -> None:
        self._path = path
        self._monitor: Monitor | None = None
        self._handles: dict[str, int] = {}
        self._boot = ""

    def open(self) -> None:
        """Connect, and open the files there. Raises `SourceError`."""
        self._monitor = Monitor(self._path, READ_ONLY)
        self._handles = {}
        try:
            token = secrets.randbelow(1 << 30)
            if self._monitor.ask("guest-sync", id=token) != token:
                raise SourceError("an answer to another question", "give the agent this socket alone")
            handle = self._opened(_BOOT)
            self._boot = printable(self._text(handle).strip())[:64] or "unknown"
            self._monitor.ask("guest-file-close", handle=handle)
            self._handles = {name: self._opened(path) for name, path in _FILES.items()}
        except RefusedError as error:
            self.close()
            raise SourceError(f"refused: {error}", "allow guest-file-open and guest-file-read in the guest") from None
        except SourceError:
            self.close()
            raise

    def close(self) -> None:
        """Close the files there, if it still answers."""
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            with contextlib.suppress(SourceError, RefusedError):
                for handle in self._handles.values():
                    monitor.ask("guest-file-close", handle=handle)
            monitor.close()
        self._handles = {}

    def read(self) -> Sequence[Taken]:
        """One row. Raises `SourceError`."""
        assert self._monitor is not None, "open() comes first"
        try:
            texts = {name: self._text(handle) for name, handle in self._handles.items()}
            clock = self._monitor.ask("guest-get-time")
        except RefusedError as error:
            raise SourceError(f"refused: {error}", "restart the agent in the guest") from None
        at = now()
        wall = clock if type(clock) is int and 0 <= clock < _LARGEST else 0
        return [Taken(row_of(texts, wall, self._boot, at.wall_ns, at.mono_ns), at)]

    def _opened(self, path: str) -> int:
        assert self._monitor is not None
        handle = self._monitor.ask("guest-file-open", path=path, mode="r")
        if type(handle) is not int:
            raise SourceError("a file without a handle", "update the guest's agent")
        return handle

    def _text(self, handle: int) -> str:
        assert self._monitor is not None
        self._monitor.ask("guest-file-seek", handle=handle, offset=0, whence=0)
        answer: Any = self._monitor.ask("guest-file-read", handle=handle, count=_MOST)
        coded = answer.get("buf-b64") if isinstance(answer, dict) else None
        try:
            return base64.b64decode(coded if isinstance(coded, str) else "").decode("ascii", "replace")
        except ValueError:
            raise SourceError("a file that is no base64", "update the guest's agent") from None


def row_of(texts: dict[str, str], g_wall_ns: int, boot_id: str, t_wall_ns: int, t_mono_ns: int) -> GuestRow:
    """A row of the texts of the guest's files; what cannot be read in them is null."""
    cpu = [_count(text) for text in _after("cpu", texts["stat"])] + [None] * 8
    seconds, _, hundredths = (texts["uptime"].split() or ["0"])[0].partition(".")
    up = (_count(seconds) or 0) * 1000 * MS + (_count(hundredths) or 0) * 10 * MS
    whole = [line.split() for line in texts["disks"].splitlines()]
    # loops and partitions are parts of others; RAM disks hold nothing
    disks = [one for one in whole if len(one) > 9 and re.fullmatch(r"[vsh]d[a-z]+|nvme\d+n\d+|mmcblk\d+", one[2])]
    return GuestRow(
        t_wall_ns=t_wall_ns,
        t_mono_ns=t_mono_ns,
        g_wall_ns=g_wall_ns,
        g_mono_ns=min(up, _LARGEST),
        boot_id=boot_id,
        cpu_user=_sum(cpu[0:2]),
        cpu_system=_sum([cpu[2], cpu[5], cpu[6]]),
        cpu_iowait=cpu[4],
        cpu_idle=cpu[3],
        ctxt=_first("ctxt", texts["stat"]),
        intr=_first("intr", texts["stat"]),
        procs_running=_first("procs_running", texts["stat"]),
        mem_free_kb=_first("MemFree:", texts["memory"]),
        slab_kb=_first("Slab:", texts["memory"]),
        wr_sectors=_sum([_count(one[9]) for one in disks]),
        rd_sectors=_sum([_count(one[5]) for one in disks]),
        tcp_active_opens=_opens(texts["tcp"]),
    )


def _after(word: str, text: str) -> list[str]:
    for line in text.splitlines():
        first, *rest = line.split() or [""]
        if first == word:
            return rest
    return []


def _first(word: str, text: str) -> int | None:
    rest = _after(word, text)
    return _count(rest[0]) if rest else None


def _opens(text: str) -> int | None:
    lines = [line.split() for line in text.splitlines() if line.startswith("Tcp:")]
    return _count(dict(zip(*lines, strict=False)).get("ActiveOpens", "")) if len(lines) == 2 else None


def _sum(some: Sequence[int | None]) -> int | None:
    whole = [value for value in some if value is not None]
    return sum(whole) if some and len(whole) == len(some) and sum(whole) < _LARGEST else None


def _count(text: str) -> int | None:
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else None
