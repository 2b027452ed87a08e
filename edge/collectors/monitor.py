"""A client of QEMU's machine protocol and of its guest agent: JSON, a line each way, bounded in size and in time.

QMP: docs/interop/qmp-spec in QEMU's sources. A blocking client in a thread costs a third of the CPU time of an
asynchronous one.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from contracts.decode import UNDECODABLE
from contracts.text import printable
from edge.collectors.base import SourceError
from edge.collectors.find import listener

ANSWER_S = 2.0
"""QEMU answers in 1 to 3 ms, and in 160 on a machine that is busy."""
MOST = 1 << 20
"""Bytes of one answer; a guest with a hundred disks needs a tenth of it."""
MOST_LINES = 1024
"""Events and the like before an answer."""
_EVENTS = 256
_decoder = msgspec.json.Decoder(dict[str, Any])
"""Refuses half a surrogate, which no later document could hold."""


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
            greeting = self._line(time.monotonic() + ANSWER_S)
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
        until = time.monotonic() + ANSWER_S
        try:
            self._socket.settimeout(ANSWER_S)
            self._socket.sendall(msgspec.json.encode(request) + b"\n")
            for _ in range(MOST_LINES):
                answer = self._line(until)
                if "return" in answer:
                    return answer["return"]
                if "error" in answer:
                    raise RefusedError(printable(str(answer["error"])[:200]))
                self._note(answer)
        except TimeoutError:
            raise SourceError(f"no answer in {ANSWER_S:.0f} s", "see whether the guest hangs") from None
        except OSError as error:
            raise SourceError(f"connection lost ({error.strerror or error})", "start the guest") from None
        raise SourceError(f"{MOST_LINES} lines and no answer", "name the guest's own socket")

    def listen(self) -> None:
        """Take what was said meanwhile. Raises `SourceError`."""
        try:
            for _ in range(MOST_LINES):
                self._note(self._line(0))
        except TimeoutError:
            return
        except OSError as error:
            raise SourceError(f"connection lost ({error.strerror or error})", "start the guest") from None

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _note(self, said: dict[str, Any]) -> None:
        if isinstance(said.get("event"), str):
            self.events.append((said["event"], said.get("data")))
            del self.events[:-_EVENTS]

    def _line(self, until: float) -> dict[str, Any]:
        """until: 0 for what has come already. Raises `TimeoutError` where no line was whole by then, `OSError`,
        `SourceError`."""
        while b"\n" not in self._held:
            if len(self._held) > MOST:
                raise SourceError(f"an answer over {MOST} bytes", "name the guest's own socket")
            left = max(0.0, until - time.monotonic()) if until else 0.0
            if until and not left:
                raise TimeoutError
            self._socket.settimeout(left)
            try:
                some = self._socket.recv(1 << 16)
            except BlockingIOError:
                raise TimeoutError from None
            if not some:
                raise SourceError("connection closed by QEMU", "start the guest")
            self._held += some
        line, _, self._held = self._held.partition(b"\n")
        try:
            said: dict[str, Any] = _decoder.decode(line)
        except UNDECODABLE:
            raise SourceError("an answer that is no JSON object", "name the guest's own socket") from None
        return said


class RefusedError(Exception):
    """The other side knows the command, or not, and will not do it."""


def rows_of(found: Any) -> Sequence[dict[str, Any]]:
    """A list of objects, whatever was said."""
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
