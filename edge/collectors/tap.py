"""The packet counters of a guest's tap, as the network namespace of its process shows them (proc(5), net/dev)."""

from __future__ import annotations

import socket
from pathlib import Path

from edge.collectors.kept import Kept


class Tap:
    """The packet counters of the guest's tap, in the network namespace of its process. rx is what the guest sends."""

    def __init__(self, name: str | None) -> None:
        self._wanted, self._name = name, name
        self._index: int | None = None
        self._kept: Kept | None = None
        self.notes: dict[str, str] = {}

    def open(self, folder: Path) -> None:
        """Raises nothing: a tap that cannot be read is said, and null."""
        self.notes = {}
        if self._wanted is None:
            self.notes["tap"] = "not configured"
            return
        try:
            self._kept = Kept(folder / "net" / "dev")
        except OSError as error:
            self.notes["tap"] = f"{error.strerror}"

    def close(self) -> None:
        """Forget the process; a tap that was renamed meanwhile is still known by its index."""
        if self._kept is not None:
            self._kept.close()
        self._kept = None

    def read(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Bytes and packets received, bytes and packets sent; nulls while the tap is away."""
        try:
            table = b"" if self._kept is None else self._kept.read()
        except OSError:
            table = b""
        line = self._line(table)
        if line is None and self._kept is not None and self._renamed():
            line = self._line(table)
        if line is None:
            if self._kept is not None:
                self.notes["tap"] = f"no interface {self._name} where the guest runs"
            return None, None, None, None
        if self._name == self._wanted:
            self.notes.pop("tap", None)
            if self._index is None:
                self._index = _index_of(line[0])
        field = line[1].split()
        return int(field[0]), int(field[1]), int(field[8]), int(field[9])

    def _line(self, table: bytes) -> tuple[str, bytes] | None:
        wanted = (self._name or "").encode()
        for line in table.splitlines():
            name, colon, rest = line.partition(b":")
            if colon and name.strip() == wanted:
                return wanted.decode(), rest
        return None

    def _renamed(self) -> bool:
        """An interface keeps its index when it is renamed (only where we share its namespace)."""
        try:
            found = None if self._index is None else socket.if_indextoname(self._index)
        except OSError:
            found = None
        if found is None:
            found = self._wanted
        changed, self._name = found != self._name, found
        if changed and found != self._wanted:
            self.notes["tap"] = f"{self._wanted} is called {found} now; its counters go on"
        return changed


def _index_of(name: str) -> int | None:
    try:
        return socket.if_nametoindex(name)
    except OSError:
        return None
