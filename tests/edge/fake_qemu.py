"""A QMP server for tests of one room: answers as QEMU does, and does what QEMU does not."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from pathlib import Path
from typing import Any

DISK = {
    "rd_bytes": 10, "wr_bytes": 20, "rd_operations": 1, "wr_operations": 2, "flush_operations": 3,
    "rd_total_time_ns": 4, "wr_total_time_ns": 5, "flush_total_time_ns": 6, "wr_highest_offset": 7, "idle_time_ns": 50,
}  # fmt: skip


class FakeQemu:
    """One socket. `answers` may be changed while it runs; `asked` holds every command that came."""

    def __init__(self, path: Path) -> None:
        self.asked: list[str] = []
        self.greets = True
        self.answers: dict[str, Any] = {
            "qmp_capabilities": {},
            "query-status": {"status": "running"},
            "query-block": [{"device": "d", "qdev": "", "removable": False, "inserted": {"file": "x"}}],
            "query-blockstats": [{"device": "d", "qdev": "", "stats": DISK}],
            "query-cpus-fast": [{"thread-id": 7}, {"thread-id": 7}, {"thread-id": 5}],
        }
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def say(self, data: bytes) -> None:
        """To whoever is connected."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.sendall(data)

    def hang_up(self) -> None:
        """On everybody."""
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections = []

    def close(self) -> None:
        self.hang_up()
        self._listener.close()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.greets:
                connection.sendall(b'{"QMP": {"version": {}, "capabilities": []}}\r\n')
            file = connection.makefile("rb")
            for line in file:
                command = json.loads(line)["execute"]
                self.asked.append(command)
                answer = self.answers.get(command)
                said = {"error": {"class": "CommandNotFound"}} if answer is None else {"return": answer}
                connection.sendall(json.dumps(said).encode() + b"\r\n")
