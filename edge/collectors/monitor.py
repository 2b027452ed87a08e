"""A client of QEMU's machine protocol and of its guest agent: JSON, a line each way, bounded in size and in time.

QMP: docs/interop/qmp-spec in QEMU's sources. A blocking client in a thread costs a third of the CPU time of an
asynchronous one.
"""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edge.collectors.base import SourceError
from edge.collectors.find import listener

ANSWER_S = 2.0
"""QEMU answers in 1 to 3 ms, and in 160 on a machine that is busy."""
MOST = 1 << 20
"""Bytes of one answer; a guest with a hundred disks needs a tenth of it."""
_EVENTS = 256


class Monitor:
    """One connection. Nothing is sent that is not in `allowed`."""

    def __init__(self, path: Path, allowed: frozenset[str]) -> None:
        """Raises `SourceError`."""
        self._allowed, self._held = allowed, b""
        self.events: list[tuple[str, Any]] = []
        """Names and data of what was said without being asked, the newest last, some hundred at most."""
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._socket.settimeout(ANSWER_S)
        try:
            self._socket.connect(str(path))
            self.pid = listener(self._socket)
        except OSError as error:
            self._socket.close()
            raise SourceError(
                f"{path}: {error.strerror or error}", "start the guest with this socket, and let us use it"
            ) from None

    def greet(self) -> None:
        """QMP's greeting, and our answer. Raises `SourceError`; a socket that somebody else has says nothing."""
        try:
            greeting = self._line()
        except TimeoutError:
            raise SourceError(
                f"connected, and not greeted in {ANSWER_S:.0f} s: another program has this socket",
                "give the agent a -qmp socket of its own",
            ) from None
        if "QMP" not in greeting:
            raise SourceError("no QMP greeting", "name the guest's -qmp socket")
        self.ask("qmp_capabilities")

    def ask(self, command: str, **arguments: Any) -> Any:
        """What it returns. Raises `SourceError` when it does not answer, `RefusedError` when it will not."""
        assert command in self._allowed, command
        request = {"execute": command, **({"arguments": arguments} if arguments else {})}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            while True:
                answer = self._line()
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise RefusedError(str(answer["error"])[:200])
                self._note(answer)
        except TimeoutError:
            raise SourceError(f"no answer in {ANSWER_S:.0f} s", "see whether the guest hangs") from None
        except OSError as error:
            raise SourceError(f"connection lost ({error.strerror or error})", "start the guest") from None

    def listen(self) -> None:
        """Take what was said meanwhile. Raises `SourceError`."""
        self._socket.setblocking(False)
        try:
            while True:
                self._note(self._line())
        except BlockingIOError:
            pass
        except OSError as error:
            raise SourceError(f"connection lost ({error.strerror or error})", "start the guest") from None
        finally:
            with contextlib.suppress(OSError):
                self._socket.settimeout(ANSWER_S)

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _note(self, said: dict[str, Any]) -> None:
        if isinstance(said.get("event"), str):
            self.events.append((said["event"], said.get("data")))
            del self.events[:-_EVENTS]

    def _line(self) -> dict[str, Any]:
        until = time.monotonic() + ANSWER_S
        while b"\n" not in self._held:
            if len(self._held) > MOST:
                raise SourceError(f"an answer over {MOST} bytes", "name the guest's own socket")
            if time.monotonic() > until:
                raise TimeoutError
            some = self._socket.recv(1 << 16)
            if not some:
                raise SourceError("connection closed by QEMU", "start the guest")
            self._held += some
        line, _, self._held = self._held.partition(b"\n")
        try:
            said = json.loads(line)
        except (ValueError, RecursionError):
            raise SourceError("an answer that is no JSON", "name the guest's own socket") from None
        if not isinstance(said, dict):
            raise SourceError("an answer that is no JSON object", "name the guest's own socket")
        return said


class RefusedError(Exception):
    """The other side knows the command, or not, and will not do it."""


def rows_of(found: Any) -> Sequence[dict[str, Any]]:
    """A list of objects, whatever was said."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
