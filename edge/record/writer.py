"""The thread that writes recordings, so that no window waits for a disk. What it cannot keep up with is counted."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

_log = logging.getLogger("edge")
MOST_WAITING = 64
"""Jobs: a minute of four guests."""


class Writer:
    """Does jobs in their order."""

    def __init__(self) -> None:
        self._jobs: queue.Queue[Callable[[], None] | None] = queue.Queue(MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def do(self, job: Callable[[], None]) -> bool:
        """False, and it is not done, where too many wait: the disk hangs."""
        try:
            self._jobs.put_nowait(job)
        except queue.Full:
            return False
        return True

    def close(self, seconds: float) -> None:
        """Do what waits, and end."""
        try:
            self._jobs.put(None, timeout=seconds)
        except queue.Full:
            _log.error("the recorder hangs; its last minutes are lost")
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except Exception:  # a recording is not worth the watch
                _log.exception("the recorder goes on after a fault")
