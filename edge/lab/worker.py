"""Orders to the guest, by a virtio-serial port; its work program (firmware-config/guest/work.c) answers each."""

from __future__ import annotations

import contextlib
import socket
import time
from pathlib import Path

from contracts.errors import GuestError

LINE = 256
"""Every order takes so many bytes, so that none is told by its length."""
ANSWER_S = 20.0


class Worker:
    """The port of one guest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._sent = self._answered = 0
        self._said = b""

    def wait_up(self, seconds: float) -> None:
        """Until the guest answers. Raises `GuestError`."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            try:
                self._socket.connect(str(self._path))
                break
            except OSError:
                time.sleep(0.05)
        self._socket.settimeout(0.5)
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                self._socket.sendall(b"hello\n")
                self._sent += 1
                if b"ok" in self._socket.recv(4096):
                    self._catch_up()
                    return
            time.sleep(0.2)
        raise GuestError("the guest", f"no answer in {seconds:.0f} s", expected="a guest that boots",
                         remedy="see its console.log")  # fmt: skip

    def _catch_up(self) -> None:
        """All that was said while it booted has been answered."""
        self._socket.settimeout(1.5)
        with contextlib.suppress(TimeoutError):
            while True:
                self._socket.recv(4096)

    def order(self, line: str) -> bool:
        """Have it done; False where the guest says no. Raises `GuestError` where it says nothing."""
        assert len(line) < LINE, line
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.sendall(line.ljust(LINE - 1).encode() + b"\n")
            while b"\n" not in self._said:
                some = self._socket.recv(4096)
                if not some:
                    raise ConnectionResetError
                self._said += some
        except TimeoutError:
            raise GuestError("the guest", f"no answer to an order in {ANSWER_S:.0f} s", expected="a guest that runs",
                             remedy="give it a larger quota, or less to do") from None  # fmt: skip
        except OSError:
            raise GuestError("the guest", "its port was closed", expected="a guest that runs",
                             remedy="see its console.log") from None  # fmt: skip
        said, _, self._said = self._said.partition(b"\n")
        return said.startswith(b"ok")

    def close(self) -> None:
        """Hang up."""
        self._socket.close()
