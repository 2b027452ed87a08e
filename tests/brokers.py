"""A real mosquitto on a free loopback port, and mosquitto_sub as the independent subscriber."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import BrokerError
from trainer.demo.embedded_broker import free_port, local_broker

PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def program(name: str) -> Path:
    """A program that `make system` installs. Its absence is a failure, not a reason to skip."""
    found = shutil.which(name, path=PATH)
    assert found, f"{name} is not installed: run `make system`"
    return Path(found)


@contextlib.contextmanager
def mosquitto_on(port: int, folder: Path) -> Iterator[str]:
    """A mosquitto on a given port, its persistence in `folder`, so that it can be stopped and started again."""
    settings = folder / "mosquitto.conf"
    settings.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n"
        "max_queued_messages 0\nuser root\n"
    )
    with subprocess.Popen([str(program("mosquitto")), "-c", str(settings)], stderr=subprocess.DEVNULL) as process:
        try:
            wait_for_port(port)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()


@contextlib.contextmanager
def mosquitto_with(folder: Path, settings: str) -> Iterator[str]:
    """A mosquitto with settings of its listener, and others."""
    port = free_port()
    anonymous = "" if "allow_anonymous" in settings else "allow_anonymous true\n"
    (folder / "m.conf").write_text(f"listener {port} 127.0.0.1\n{anonymous}{settings}\nuser root\n")
    with subprocess.Popen([str(program("mosquitto")), "-c", str(folder / "m.conf")], stderr=subprocess.DEVNULL) as one:
        try:
            wait_for_port(port)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            one.terminate()


def wait_for_port(port: int) -> None:
    """Until somebody listens."""
    import socket

    for _ in range(200):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise BrokerError(f"127.0.0.1:{port}", "nobody listens", expected="mosquitto", remedy="see its log")


class Subscriber:
    """mosquitto_sub, writing `topic payload` lines to a file."""

    def __init__(self, url: str, folder: Path, topics: str = "phasewatch/#", *, session: str | None = None) -> None:
        self._path = folder / "heard.txt"
        port = url.rpartition(":")[2]
        command = [
            str(program("mosquitto_sub")),
            "-h",
            "127.0.0.1",
            "-p",
            port,
            "-q",
            "1",
            "-t",
            topics,
            "-F",
            "%r %t %p",
        ]
        if session is not None:
            command += ["-i", session, "-c"]
        self._file = self._path.open("wb")
        self._process = subprocess.Popen(command, stdout=self._file)
        time.sleep(0.5)

    def heard(self) -> list[tuple[bool, str, bytes]]:
        """(retained, topic, payload) so far, less who has a node's name, which is no event."""
        found = []
        whole, _, _ = self._path.read_bytes().rpartition(b"\n")  # the last line may be half written
        for line in whole.splitlines():
            retained, topic, payload = line.split(b" ", 2)
            if not topic.endswith(b"/session"):
                found.append((retained == b"1", topic.decode(), payload))
        return found

    def wait_for(self, count: int, topic_end: str, seconds: float = 60) -> list[bytes]:
        """The payloads of a kind, once there are `count`."""
        until = time.monotonic() + seconds
        while True:
            payloads = [payload for _, topic, payload in self.heard() if topic.endswith(topic_end)]
            if len(payloads) >= count:
                return payloads
            assert time.monotonic() < until, f"{len(payloads)} of {count} {topic_end} after {seconds} s"
            time.sleep(0.1)

    def close(self) -> None:
        """End it, and not by a signal it handles: its handler may wait for ever for a lock that the interrupted code
        holds (mosquitto #3175)."""
        self._process.kill()
        self._process.wait(60)
        self._file.close()


__all__ = ["Subscriber", "free_port", "local_broker", "mosquitto_on", "mosquitto_with", "program", "wait_for_port"]
