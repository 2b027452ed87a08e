"""A broker on a free loopback port: amqtt in a process of its own, or a mosquitto that was given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from contracts.errors import BrokerError

_START_S = 20


def free_port() -> int:
    """A loopback port that nobody uses right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def local_broker(mosquitto: Path | None, folder: Path) -> Iterator[str]:
    """The address of a broker that lives as long as the block. Raises `BrokerError` if it does not come up."""
    port = free_port()
    if mosquitto is None:
        command = [sys.executable, "-m", "trainer.demo.embedded_broker", str(port)]
    else:
        settings = folder / "mosquitto.conf"
        settings.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\n")
        command = [str(mosquitto), "-c", str(settings)]
    log = folder / "broker.log"
    with log.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output) as process:
        try:
            _wait_for(port, process, log)
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + _START_S
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
            return
        time.sleep(0.05)
    raise BrokerError(f"127.0.0.1:{port}", "the broker did not start", expected="it to listen", remedy=f"see {log}")


async def _serve(port: int) -> None:
    from amqtt.broker import Broker

    settings = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}", "max_connections": 20}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    broker = Broker(settings)
    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    logging.basicConfig(level=logging.WARNING)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(int(sys.argv[1])))
