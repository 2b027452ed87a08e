"""Durations, and their percentiles."""

from __future__ import annotations

import threading
from collections import deque

import numpy as np

from contracts.events.payloads import Latency

_KEPT = 4096


class Timings:
    """Durations of one kind, in ms, since they were last asked for; percentiles are over the last few thousand."""

    def __init__(self) -> None:
        self._held: deque[float] = deque(maxlen=_KEPT)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, milliseconds: float) -> None:
        """One more."""
        with self._lock:
            self._held.append(milliseconds)
            self._count += 1

    def take(self) -> Latency:
        """Percentiles of what has come since the last call."""
        with self._lock:
            held, count = list(self._held), self._count
            self._held.clear()
            self._count = 0
        if not held:
            return Latency(count=0, p50=None, p95=None, p99=None)
        p50, p95, p99 = (round(float(p), 4) for p in np.percentile(held, [50, 95, 99]))
        return Latency(count=count, p50=p50, p95=p95, p99=p99)
