"""A webhook: each alarm that rises is posted, as JSON, to an address; a few tries, and nothing waits for it."""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from contracts.errors import ConfigError
from contracts.files import read_file

log = logging.getLogger("edge.dashboard")

TRIES, PAUSE_S, PATIENCE_S, WAITING = 4, 2.0, 10.0, 100


class Webhook:
    """The address comes from a file, since it is often a secret."""

    def __init__(self, path: Path) -> None:
        """Raises `ConfigError`, `MissingError`."""
        url = read_file(path, 4096).decode(errors="replace").strip()
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "\n" in url:
            raise ConfigError(path, "no address", expected="one line with http:// or https://", remedy="write it anew")
        self._url, self._host = url, parts.hostname
        self._waiting: queue.Queue[bytes] = queue.Queue(WAITING)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def post(self, said: dict[str, object]) -> None:
        """Later, by another thread; dropped where a hundred wait already."""
        try:
            self._waiting.put_nowait(msgspec.json.encode(said))
        except queue.Full:
            log.warning("webhook: too many wait; an alarm was not posted")

    def close(self) -> None:
        """What waits is given up."""
        self._stop.set()
        self._thread.join(PATIENCE_S)

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(queue.Empty):
                self._send(self._waiting.get(timeout=0.2))

    def _send(self, body: bytes) -> None:
        for attempt in range(TRIES):
            request = urllib.request.Request(  # noqa: S310 - its scheme was looked at
                self._url, body, {"Content-Type": "application/json", "User-Agent": "phasewatch"}
            )
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE_S):  # noqa: S310 - the same
                    return
            except Exception as error:  # whatever answers there, the next alarm is posted
                why = str(error)
            if self._stop.wait(PAUSE_S * 2**attempt):
                return
        log.warning("webhook: %s took no alarm in %d tries (%s)", self._host, TRIES, why)
