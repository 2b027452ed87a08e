"""Which process is the guest: by pidfile, QMP socket, name or libvirt domain."""

from __future__ import annotations

import itertools
import re
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from edge.collectors.base import SourceError

PROC = Path("/proc")
LIBVIRT = Path("/run/libvirt/qemu")
_MOST = 4096


@dataclass
class Known:
    """What one collector of a guest has learned and another needs. Written by qmp, read by proc."""

    pid: int | None = None
    """Whoever listens at the guest's QMP socket."""
    vcpu_threads: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Where:
    """How the process is found: one of these, or else through QMP."""

    pidfile: Path | None = None
    name: str | None = None
    libvirt: str | None = None

    @property
    def asks_qmp(self) -> bool:
        """Whether it is the qmp collector that knows."""
        return self.pidfile is None and self.name is None and self.libvirt is None

    def pid(self, known: Known) -> int:
        """Raises `SourceError` where it does not run, or cannot be told."""
        if self.pidfile is not None:
            return _of_file(self.pidfile)
        if self.libvirt is not None:
            return _of_file(LIBVIRT / f"{self.libvirt}.pid")
        if self.name is not None:
            return _named(self.name)
        if known.pid is None:
            raise SourceError("QMP is not connected, which tells the process", "see the guest's qmp")
        return known.pid


def _of_file(path: Path) -> int:
    try:
        with path.open("rb") as file:
            text = file.read(64).strip()
    except OSError as error:
        raise SourceError(f"{path}: {error.strerror}", "start the guest with -pidfile, and let us read it") from None
    if not re.fullmatch(rb"[1-9][0-9]{0,9}", text):
        raise SourceError(f"{path}: no process id", "start the guest with -pidfile")
    return int(text)


def _named(name: str) -> int:
    """The one QEMU whose `-name` is this: `-name NAME`, or `-name guest=NAME,…`."""
    found = []
    for folder in PROC.iterdir():
        if folder.name.isdigit() and _name_of(folder) == name:
            found.append(int(folder.name))
    if len(found) != 1:
        many = f"{len(found)} processes are" if found else "no process is"
        raise SourceError(f"{many} a QEMU with -name {name}", "start the guest, or find it by pidfile")
    return found[0]


def _name_of(folder: Path) -> str | None:
    try:
        with (folder / "cmdline").open("rb") as file:
            arguments = file.read(1 << 16).split(b"\0")
    except OSError:  # it has ended
        return None
    if b"qemu" not in Path(arguments[0].decode(errors="replace")).name.encode():
        return None
    for option, value in itertools.pairwise(arguments):
        if option in (b"-name", b"--name"):
            first = value.decode(errors="replace").split(",")[0]
            return first.removeprefix("guest=")
    return None


def listener(connection: socket.socket) -> int | None:
    """The process that listens at the other end of a Unix socket (SO_PEERCRED, unix(7))."""
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    return pid or None
