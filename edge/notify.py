"""What systemd is told: ready, reloading, alive, and a sentence (sd_notify(3)); nothing where it did not start us."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """A datagram to the socket in NOTIFY_SOCKET. Raises nothing: a service manager that went is no fault of ours."""

    def __init__(self) -> None:
        address = os.environ.pop("NOTIFY_SOCKET", "")
        # systemd wants a sign of life every WATCHDOG_USEC; half of that leaves room for a slow turn
        usec = os.environ.pop("WATCHDOG_USEC", "")
        self._every_s = int(usec) / 2e6 if usec.isdigit() else None
        self._last_s = 0.0
        self._said = ""
        self._socket: socket.socket | None = None
        if address[:1] in ("/", "@"):
            self._address = f"\0{address[1:]}" if address[0] == "@" else address
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)

    def ready(self) -> None:
        """Started, or reloaded."""
        self._send("READY=1")

    def reloading(self) -> None:
        """`ready` follows when it is done."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The end has begun."""
        self._send("STOPPING=1")

    def status(self, sentence: str) -> None:
        """Shown by `systemctl status`."""
        if sentence != self._said:
            self._said = sentence
            self._send(f"STATUS={sentence}")

    def alive(self) -> None:
        """Call at each turn of the loop that must not hang."""
        now = time.monotonic()
        if self._every_s is not None and now - self._last_s >= self._every_s / 2:
            self._last_s = now
            self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self._socket is not None:
            try:
                self._socket.sendto(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL, self._address)
            except OSError:
                return
